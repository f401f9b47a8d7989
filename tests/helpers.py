"""Keys, tokens and calls that several tests share.

Tokens are put together by `reference.build`, so that what is verified was not written by what verifies it.
"""

import datetime as dt

import itron_core
from itron_core import Keyring, KeyringEntry, PublicKey, TokenRefused, verify_token, verify_tokens
from itron_core.enums import TOKEN_TYPES
from reference.build import Signer, cose_key, sign, token_id
from reference.cbor import write
from reference.claims import TYPS, device_id
from reference.signatures import ED25519, ESP256

NOW = 1_795_000_000
DAY = 86_400
# The moment of the scenarios.
T = int(dt.datetime(2027, 6, 1, 12, tzinfo=dt.UTC).timestamp())

ALGORITHMS = (ED25519, ESP256)
# One signer of each algorithm, and what they are called in the keyring.
ISSUER = Signer(ED25519, "issuer")
SECOND_ISSUER = Signer(ESP256, "second issuer")
STRANGER = Signer(ED25519, "stranger")
SIGNERS = {ED25519: ISSUER, ESP256: SECOND_ISSUER}

DEVICE = "ert:100000001"
EVERY_PERMISSION = 31

COLUMNS = (
    *("code", "key", "issued_at", "not_before", "expires_at", "session_seconds"),
    *("actions", "sequence", "epoch", "kid", "device"),
)


def public(signer: Signer) -> PublicKey:
    return PublicKey.from_raw(signer.algorithm, signer.raw)


def entry(signer: Signer, **ceilings) -> KeyringEntry:
    """Return an entry of a key that may sign every type of token, as a root's may."""
    return KeyringEntry(public(signer), **{"token_types": TOKEN_TYPES} | ceilings)


def ring(*signers: Signer, **ceilings) -> Keyring:
    """Return a keyring of these signers, all with the same ceilings."""
    return Keyring([entry(signer, **ceilings) for signer in signers])


KEYRING = ring(ISSUER, SECOND_ISSUER)


def scope(*actions: int) -> bytes:
    """Return the scope of these actions, encoded."""
    groups = {action // 8 + 1: 0 for action in sorted(actions)}
    for action in actions:
        groups[action // 8 + 1] |= 1 << action % 8
    return write([[group, bits] for group, bits in groups.items()])


def claims(token_type="authorization", device=DEVICE, sequence=7, issued_at=NOW, actions=(0,), **changes):
    """Return good claims of a token for one device by their keys; `changes` are by name, None takes one away."""
    made = {
        3: device,
        4: issued_at + DAY,
        6: issued_at,
        7: token_id(device_id(device), sequence),
        9: scope(*actions),
        -65537: 4,
    }
    if token_type == "authorization" or (token_type == "secure_command" and tuple(actions) == (24,)):
        made[40] = 3_600
    if token_type == "secure_command":
        made[-65538] = b"command"
    if token_type == "reading_key":
        made[-65539] = [1, 4, b"kcv."]
    return changed(made, **changes)


def delegation(child: Signer, *, issued_at=NOW, lifetime=30 * DAY, types=("authorization",), **changes):
    """Return good claims of a delegation of a signer's key."""
    made = {
        1: "an issuer",
        4: issued_at + lifetime,
        6: issued_at,
        7: child.kid * 2,
        8: {1: cose_key(child)},
        9: scope(*range(5), *range(8, 14), *range(16, 23), 24, 25, *range(32, 36)),
        -65540: [TYPS[name] for name in types],
    }
    return changed(made, **changes)


def snapshot(*, issued_at=NOW, lifetime=3_600, version=1, issuers=(), devices=(), tokens=(), **changes):
    """Return good claims of a snapshot of revocations."""
    made = {
        1: "an issuer",
        4: issued_at + lifetime,
        6: issued_at,
        -65541: version,
        -65542: list(issuers),
        -65543: [list(row) for row in devices],
        -65544: [list(row) for row in tokens],
    }
    return changed(made, **changes)


CLAIM_KEYS = {
    "iss": 1,
    "sub": 2,
    "aud": 3,
    "exp": 4,
    "nbf": 5,
    "iat": 6,
    "cti": 7,
    "cnf": 8,
    "scope": 9,
    "exi": 40,
    "epoch": -65537,
    "command": -65538,
    "rkey": -65539,
    "typs": -65540,
}


def changed(made, **changes):
    made |= {CLAIM_KEYS[name]: value for name, value in changes.items()}
    return {key: value for key, value in made.items() if value is not None}


def token(token_type="authorization", signer=ISSUER, **wanted) -> bytes:
    """Return a signed token for one device; `wanted` as `claims` takes it."""
    return sign(signer, token_type, claims(token_type, **wanted))


def code_of(one, keyring=KEYRING, *, now=NOW, **options) -> int:
    """Return the code of one token, the same from the bulk call and from its twin."""
    (bulk,) = verify_tokens([one], keyring, now=now, **options)["code"].to_pylist()
    assert single_code(one, keyring, now=now, **options) == bulk
    return bulk


def single_code(one, keyring=KEYRING, *, now=NOW, **options) -> int:
    """Return the code with which `verify_token` refuses a token, 0 when it does not."""
    try:
        verify_token(one, keyring, now=now, **options)
    except TokenRefused as refused:
        return int(refused.code)
    return 0


def codes_of(tokens, keyring=KEYRING, *, now=NOW, **options) -> list[int]:
    return verify_tokens(tokens, keyring, now=now, **options)["code"].to_pylist()


def rows_of(results) -> list[tuple]:
    """Return results row by row."""
    columns = results.to_pydict()
    return list(zip(*columns.values(), strict=True))


def decide(keyring=KEYRING, *, now=T, permissions=EVERY_PERMISSION, options=None, revocations=None, **row):
    """Decide one row of a route, and return its answer by column."""
    route = {name: [value] for name, value in row.items()}
    options = options or itron_core.PolicyOptions()
    results = itron_core.process_route(
        route, keyring, now=now, permissions=permissions, options=options, revocations=revocations
    )
    return {name: values[0] for name, values in results.to_pydict().items()}
