"""Delegations: a child lies inside its parent, signs no delegation, and goes when its parent goes."""

import pytest

from helpers import (
    ALGORITHMS,
    DAY,
    ISSUER,
    NOW,
    SECOND_ISSUER,
    SIGNERS,
    STRANGER,
    code_of,
    delegation,
    entry,
    public,
    ring,
    scope,
    token,
)
from itron_core import (
    Action,
    Code,
    InputError,
    KeyRefused,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Revocations,
    TokenRefused,
    issue_delegation,
    verify_token,
    verify_tokens,
)
from itron_core.enums import TOKEN_TYPES
from reference.build import Signer, cose_key, sign
from reference.cbor import write
from reference.claims import TYPS
from reference.signatures import ED25519, ESP256

pytestmark = pytest.mark.kernels

CHILD = Signer(ED25519, "child")
SECOND_CHILD = Signer(ESP256, "second child")


def root_of(signer):
    return KeyringEntry(signer.public_key, token_types=TOKEN_TYPES)


def refusal(keyring, *tokens, now=NOW):
    """Return the code with which the delegations are refused, 0 when they are taken."""
    try:
        keyring.with_delegations(list(tokens), now=now)
    except TokenRefused as refused:
        return int(refused.code)
    return 0


def signed(made, signer=ISSUER):
    return sign(signer, "delegation", made)


def with_child(keyring=None, child=CHILD, signer=ISSUER, **changes):
    keyring = keyring or ring(ISSUER, SECOND_ISSUER)
    return keyring.with_delegations([signed(delegation(child, **changes), signer)], now=NOW)


@pytest.mark.parametrize("parent", ALGORITHMS)
@pytest.mark.parametrize("child", [CHILD, SECOND_CHILD], ids=ALGORITHMS)
def test_a_delegated_key_s_tokens_are_good(parent, child):
    """All four pairs of algorithms; the child's entry comes after those there, its issuer is the delegation's iss."""
    keyring = with_child(child=child, signer=SIGNERS[parent], types=("authorization", "reading_key"))
    assert len(keyring) == 3
    added = keyring.entries[2]
    assert added.key == public(child)
    assert added.issuer == "an issuer"
    assert added.delegated_by == SIGNERS[parent].kid
    assert added.token_types == {"authorization", "reading_key"}
    assert (added.valid_from, added.valid_until) == (NOW, NOW + 30 * DAY)
    assert code_of(token(signer=child), keyring) == 0
    assert verify_tokens([token(signer=child)], keyring, now=NOW)["key"].to_pylist() == [2]
    assert verify_token(token(signer=child), keyring, now=NOW).issuer == "an issuer"
    assert code_of(token(signer=child), ring(ISSUER, SECOND_ISSUER)) == Code.KEY_UNKNOWN


def test_the_keyring_that_was_there_stays_as_it_was():
    before = ring(ISSUER)
    after = with_child(before)
    assert (len(before), len(after)) == (1, 2)
    assert before == ring(ISSUER)
    assert before.with_delegations([], now=NOW) == before


def test_a_delegation_can_be_verified_as_a_token():
    """`verify_tokens` verifies it, and asked for an audience it covers the devices that begin with its prefix."""
    one = signed(delegation(CHILD, aud="ert:1"))
    keyring = ring(ISSUER)
    assert code_of(one, keyring, token_type="delegation") == 0
    for device, code in (("ert:1", 0), ("ert:100000001", 0), ("ert:2", 700), ("ert:", 700), ("eui64:1", 700)):
        assert code_of(one, keyring, token_type="delegation", audience=device) == code
    free = signed(delegation(CHILD))
    assert code_of(free, keyring, token_type="delegation", audience="anything") == 0
    below = ring(ISSUER, audience_prefix="ert:1")
    assert code_of(free, below, token_type="delegation", audience="ert:12") == 0
    assert code_of(free, below, token_type="delegation", audience="ert:2") == 700


# Ceilings of the child.


def test_a_child_signs_only_the_types_named():
    keyring = with_child(types=("secure_command",))
    assert code_of(token("secure_command", signer=CHILD), keyring, token_type="secure_command") == 0
    assert code_of(token(signer=CHILD), keyring) == Code.KEY_NOT_FOR_TYPE
    assert code_of(token("reading_key", signer=CHILD), keyring, token_type="reading_key") == Code.KEY_NOT_FOR_TYPE


def test_a_child_s_scope_is_a_ceiling():
    keyring = with_child(scope=scope(0, 8))
    assert keyring.entries[-1].actions == 1 | 1 << 8
    assert code_of(token(signer=CHILD, actions=(0,)), keyring) == 0
    assert code_of(token(signer=CHILD, actions=(0, 8)), keyring) == 0
    assert code_of(token(signer=CHILD, actions=(0, 1)), keyring) == Code.CEILING_EXCEEDED


def test_a_child_s_audience_is_a_prefix_and_defaults_to_its_parent_s():
    keyring = with_child(aud="ert:1")
    assert code_of(token(signer=CHILD), keyring) == 0
    assert code_of(token(signer=CHILD, device="ert:2"), keyring) == Code.CEILING_EXCEEDED
    keyring = with_child(ring(ISSUER, audience_prefix="ert:1"))
    assert keyring.entries[-1].audience_prefix == "ert:1"
    assert code_of(token(signer=CHILD), keyring) == 0
    assert code_of(token(signer=CHILD, device="ert:2"), keyring) == Code.CEILING_EXCEEDED


def test_a_child_s_window_is_its_delegation_s():
    keyring = with_child(issued_at=NOW - 10, nbf=NOW - 100, lifetime=1_000)
    for issued, code in ((NOW - 101, 411), (NOW - 100, 0), (NOW, 0)):
        assert code_of(token(signer=CHILD, issued_at=issued), keyring) == code
    later = NOW + 2_000
    assert code_of(token(signer=CHILD, issued_at=NOW + 989), keyring, now=later) == 0
    assert code_of(token(signer=CHILD, issued_at=NOW + 990), keyring, now=later) == Code.ISSUER_WINDOW


# A child lies inside its parent.


@pytest.mark.parametrize(
    "ceilings,changes,code",
    [
        ({"actions": 0b111}, {"scope": scope(0, 1, 2)}, 0),
        ({"actions": 0b111}, {"scope": scope(0, 3)}, 410),
        ({"actions": 0b111}, {"scope": write([[1, 7 | 1 << 5], [9, 1]])}, 0),
        ({"audience_prefix": "ert:1"}, {"aud": "ert:1"}, 0),
        ({"audience_prefix": "ert:1"}, {"aud": "ert:12"}, 0),
        ({"audience_prefix": "ert:1"}, {"aud": "ert:"}, 410),
        ({"audience_prefix": "ert:1"}, {"aud": "ert:2"}, 410),
        ({"audience_prefix": "ert:1"}, {}, 0),
        ({"valid_from": NOW}, {}, 0),
        ({"valid_from": NOW}, {"nbf": NOW - 1}, 410),
        ({"valid_from": NOW}, {"issued_at": NOW - 1, "nbf": NOW}, 411),
        ({"valid_from": NOW - 1}, {"issued_at": NOW - 1, "nbf": NOW}, 0),
        ({"valid_until": NOW + 30 * DAY}, {}, 0),
        ({"valid_until": NOW + 30 * DAY - 1}, {}, 410),
        ({"token_types": ["delegation"]}, {}, 410),
        ({"token_types": ["delegation", "authorization"]}, {}, 0),
        ({"token_types": ["delegation", "authorization"]}, {"types": ("authorization", "reading_key")}, 410),
        ({"token_types": ["authorization"]}, {}, 232),
    ],
    ids=str,
)
def test_a_delegation_lies_inside_its_parent(ceilings, changes, code):
    one = signed(delegation(CHILD, **changes))
    keyring = ring(ISSUER, **ceilings)
    assert refusal(keyring, one) == code
    assert code_of(one, keyring, token_type="delegation") == code


def test_a_delegated_key_signs_no_delegation():
    """The chain has depth 2, also where the delegation names the delegation's own type."""
    grandchild = Signer(ED25519, "grandchild")
    for types in (("authorization",), ("authorization", "delegation"), tuple(TYPS)):
        keyring = with_child(types=types)
        assert "delegation" not in keyring.entries[-1].token_types
        one = signed(delegation(grandchild), CHILD)
        assert refusal(keyring, one) == Code.KEY_NOT_FOR_TYPE
        assert code_of(one, keyring, token_type="delegation") == Code.KEY_NOT_FOR_TYPE


def test_of_two_in_one_call_the_second_cannot_rest_on_the_first():
    grandchild = Signer(ED25519, "grandchild")
    first, second = signed(delegation(CHILD, types=tuple(TYPS))), signed(delegation(grandchild), CHILD)
    keyring = ring(ISSUER)
    assert refusal(keyring, first, second) in {Code.KEY_UNKNOWN, Code.KEY_NOT_FOR_TYPE}
    assert refusal(keyring, second, first) == Code.KEY_UNKNOWN


# Refusals.


def test_a_delegation_is_refused_with_its_code():
    keyring = ring(ISSUER)
    good = signed(delegation(CHILD))
    assert refusal(keyring, good) == 0
    assert refusal(keyring, good[:-1] + bytes([good[-1] ^ 1])) in {301, 302}
    assert refusal(keyring, signed(delegation(CHILD), STRANGER)) == Code.KEY_UNKNOWN
    assert refusal(keyring, token()) == Code.TYP_MISMATCH
    assert refusal(keyring, b"") == Code.NO_TOKEN
    assert refusal(keyring, signed(delegation(CHILD, issued_at=NOW + 121))) == Code.IAT_IN_FUTURE
    assert refusal(keyring, signed(delegation(CHILD, nbf=NOW + 121))) == Code.NOT_YET_VALID
    assert refusal(keyring, good, now=NOW + 30 * DAY + 120) == Code.EXPIRED
    assert refusal(keyring, signed(delegation(CHILD, lifetime=400 * DAY + 1))) == Code.LIFETIME_TOO_LONG
    assert refusal(keyring, signed(delegation(CHILD) | {40: 60})) == Code.CLAIM_UNKNOWN
    assert refusal(keyring, signed(delegation(CHILD, cnf=None))) == Code.CLAIM_MISSING


@pytest.mark.parametrize(
    "cnf,code",
    [
        ({3: b"12345678"}, 402),
        ({}, 402),
        ({1: cose_key(CHILD), 3: b"12345678"}, 402),
        ({2: cose_key(CHILD)}, 402),
        ({1: b"key"}, 402),
        ({1: {1: 4, -1: b"x" * 32}}, 404),
        ({1: {1: 1, -1: 4, -2: CHILD.raw}}, 404),
        ({1: {1: 1, -1: 6, -2: CHILD.raw[:31]}}, 404),
        ({1: {1: 1, -1: 6, -2: CHILD.raw, 3: -19}}, 404),
        ({1: {1: 1, -1: 6}}, 404),
        ({1: {1: 2, -1: 1, -2: SECOND_CHILD.raw[1:33], -3: True}}, 404),
        ({1: {1: 2, -1: 1, -2: SECOND_CHILD.raw[1:33]}}, 404),
        ({1: {1: 2, -1: 1, -2: SECOND_CHILD.raw[1:33], -3: SECOND_CHILD.raw[33:], -4: bytes(32)}}, 404),
    ],
    ids=str,
)
def test_a_cose_key_has_the_thumbprint_s_members_and_no_other(cnf, code):
    assert refusal(ring(ISSUER), signed(delegation(CHILD, cnf=cnf))) == code


@pytest.mark.parametrize(
    "raw",
    [b"\x01" + bytes(31), bytes(32), b"\xff" * 32, (2).to_bytes(32, "little")],
    ids=["identity", "order 4", "not canonical", "off the curve"],
)
def test_an_unusable_point_raises_when_the_key_is_loaded(raw):
    """The delegation itself is genuine; the key that it names cannot be used."""
    one = signed(delegation(CHILD, cnf={1: {1: 1, -1: 6, -2: raw}}))
    assert code_of(one, ring(ISSUER), token_type="delegation") == 0
    with pytest.raises(KeyRefused):
        ring(ISSUER).with_delegations([one], now=NOW)


def test_a_delegated_key_that_is_there_already_raises():
    keyring = ring(ISSUER)
    for child in (ISSUER,):
        with pytest.raises(KeyRefused, match=child.kid.hex()):
            keyring.with_delegations([signed(delegation(child))], now=NOW)
    with pytest.raises(KeyRefused):
        keyring.with_delegations([signed(delegation(CHILD)), signed(delegation(CHILD, cti=bytes(16)))], now=NOW)
    with pytest.raises(KeyRefused):
        with_child(keyring).with_delegations([signed(delegation(CHILD))], now=NOW)


def test_one_refused_delegation_refuses_the_call():
    good, bad = signed(delegation(CHILD)), signed(delegation(SECOND_CHILD), STRANGER)
    assert refusal(ring(ISSUER), good, bad) == Code.KEY_UNKNOWN


# Revocation of what a delegation rests on.


def test_a_child_goes_with_its_parent_its_own_kid_or_its_delegation():
    keyring = with_child()
    one, parents = token(signer=CHILD), token()
    fresh = {"version": 1, "expires_at": NOW + 60}
    for revoked, code in (
        (Revocations(issuers=[ISSUER.kid], **fresh), 601),
        (Revocations(issuers=[CHILD.kid], **fresh), 601),
        (Revocations(issuers=[SECOND_ISSUER.kid], **fresh), 0),
        (Revocations(tokens=[(ISSUER.kid, CHILD.kid * 2)], **fresh), 604),
        (Revocations(tokens=[(CHILD.kid, CHILD.kid * 2)], **fresh), 0),
        (Revocations(tokens=[(SECOND_ISSUER.kid, CHILD.kid * 2)], **fresh), 0),
    ):
        assert code_of(one, keyring, revocations=revoked) == code
    only_child = Revocations(issuers=[CHILD.kid], **fresh)
    assert code_of(parents, keyring, revocations=only_child) == 0


# Issuing.


def test_an_issued_delegation_becomes_the_entry_it_was_made_of():
    signer, child = LocalSigner.generate(), LocalSigner.generate("ESP256")
    wanted = KeyringEntry(
        child.public_key,
        issuer="district 7",
        token_types=["authorization", "reading_key"],
        actions=[Action.READ_ENDPOINT, Action.OPEN_SESSION],
        audience_prefix="ert:1",
        valid_from=NOW - 60,
    )
    one = issue_delegation(wanted, signer, now=NOW, expires_at=NOW + DAY)
    keyring = Keyring([root_of(signer)]).with_delegations([one], now=NOW)
    added = keyring.entries[1]
    assert added.delegated_by == signer.public_key.kid
    assert (added.key, added.issuer, added.token_types) == (wanted.key, "district 7", wanted.token_types)
    assert (added.actions, added.audience_prefix) == (wanted.actions, "ert:1")
    assert (added.valid_from, added.valid_until) == (NOW - 60, NOW + DAY)


def test_delegation_is_left_out_of_the_types_issued():
    signer, child = LocalSigner.generate(), LocalSigner.generate()
    wanted = entry_of(child, token_types=TOKEN_TYPES)
    one = issue_delegation(wanted, signer, now=NOW, expires_at=NOW + DAY)
    added = Keyring([root_of(signer)]).with_delegations([one], now=NOW).entries[1]
    assert added.token_types == {"authorization", "secure_command", "reading_key", "revocation"}


def entry_of(signer, **ceilings):
    return KeyringEntry(signer.public_key, **{"issuer": "district 7"} | ceilings)


@pytest.mark.parametrize(
    "ceilings,expires,says",
    [
        ({"issuer": None}, DAY, "issuer"),
        ({"issuer": ""}, DAY, "claim_range"),
        ({"issuer": "x" * 65}, DAY, "claim_range"),
        ({"valid_until": NOW + 1}, DAY, "valid_until"),
        ({"actions": 0}, DAY, "claim_range"),
        ({"token_types": ["delegation"]}, DAY, "claim_range"),
        ({"audience_prefix": "x" * 65}, DAY, "claim_range"),
        ({}, 400 * DAY + 1, "lifetime_too_long"),
        ({}, 0, "window_inverted"),
        ({"valid_from": NOW + DAY}, DAY, "window_inverted"),
        ({"valid_from": 5}, DAY, "claim_range"),
    ],
    ids=str,
)
def test_a_delegation_that_the_reader_would_refuse_is_not_issued(ceilings, expires, says):
    signer, child = LocalSigner.generate(), LocalSigner.generate()
    with pytest.raises(InputError, match=says):
        issue_delegation(entry_of(child, **ceilings), signer, now=NOW, expires_at=NOW + expires)


def test_two_delegations_of_one_key_have_different_ids():
    signer, child = LocalSigner.generate(), LocalSigner.generate()
    keyring = Keyring([root_of(signer)])
    ones = [issue_delegation(entry_of(child), signer, now=NOW, expires_at=NOW + DAY) for _ in range(2)]
    ids = {verify_token(one, keyring, now=NOW, token_type="delegation").cti for one in ones}
    assert len(ids) == 2


def test_an_invalid_collection_of_tokens_raises():
    for wrong in ("text", 7, None, [7], [None]):
        with pytest.raises(TypeError):
            ring(ISSUER).with_delegations(wrong, now=NOW)
    with pytest.raises(TypeError):
        entry(ISSUER).delegated_by()
