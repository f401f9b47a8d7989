"""python-cwt, cbor2 and pyca beside ours, on tokens of every type, good, random and damaged; where the profile is stricter.

python-cwt 3.3 knows the fully-specified algorithms (-19, -9) and the deprecated ones (-8, -7), so both are asked of it.
"""

import random

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cwt import COSE, COSEKey, CWTError

from helpers import (
    ALGORITHMS,
    DAY,
    DEVICE,
    ISSUER,
    KEYRING,
    NOW,
    SIGNERS,
    claims,
    code_of,
    codes_of,
    delegation,
    public,
    ring,
    snapshot,
    token,
)
from itron_core import (
    KeyringEntry,
    LocalSigner,
    Revocations,
    issue_delegation,
    issue_revocations,
    issue_tokens,
    verify_token,
)
from reference.build import Signer, cose_key, header, sign
from reference.cbor import write
from reference.claims import TYPS
from reference.generate import each_pair_of_options
from reference.signatures import ED25519
from reference.world import World

pytestmark = pytest.mark.kernels

ALGS = {"Ed25519": -19, "ESP256": -9}
LEGACY = {"Ed25519": (-8, "EdDSA"), "ESP256": (-7, "ES256")}
TYPES = tuple(TYPS)


def cwt_key(signer, *, private=False, alg=None) -> COSEKey:
    """Return the signer's key as python-cwt takes it."""
    if private:
        data = signer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    else:
        data = signer.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return COSEKey.from_pem(data, kid=signer.kid, alg=alg or signer.algorithm)


def good_claims(token_type):
    if token_type == "delegation":
        return delegation(Signer(ED25519, "child"))
    return snapshot(version=3) if token_type == "revocation" else claims(token_type)


def ours(one, token_type, **options):
    """Return our code for a token of any type."""
    if token_type != "revocation":
        return code_of(one, token_type=token_type, **options)
    return 0 if Revocations.from_token(one, KEYRING, now=NOW) else None


# Theirs to us.


@pytest.mark.parametrize("token_type", TYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tokens_signed_by_python_cwt_under_the_profile_verify_here(algorithm, token_type):
    """Its bytes are the very bytes of the plain writer, where the signature is deterministic; all five types."""
    signer = SIGNERS[algorithm]
    payload = cbor2.dumps(good_claims(token_type), canonical=True)
    fields = {1: ALGS[algorithm], 4: signer.kid, 16: TYPS[token_type]}
    one = COSE.new().encode(payload, cwt_key(signer, private=True), protected=fields)
    assert ours(one, token_type) == 0
    if algorithm == "Ed25519":
        assert one == sign(signer, token_type, good_claims(token_type))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_deprecated_algorithms_of_python_cwt_need_the_switch(algorithm):
    signer, (alg, name) = SIGNERS[algorithm], LEGACY[algorithm]
    fields = {1: alg, 4: signer.kid, 16: TYPS["authorization"]}
    payload = cbor2.dumps(claims(), canonical=True)
    one = COSE.new().encode(payload, cwt_key(signer, private=True, alg=name), protected=fields)
    assert code_of(one) == 221
    assert code_of(one, legacy_algorithms=True) == 0
    read, _, _ = COSE.new().decode_with_headers(one, cwt_key(signer, alg=name))
    assert read[1] == alg


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_delegation_signed_by_python_cwt_makes_an_issuer(algorithm):
    signer, child = SIGNERS[algorithm], Signer(ED25519, "child")
    fields = {1: ALGS[algorithm], 4: signer.kid, 16: TYPS["delegation"]}
    made = cbor2.dumps(delegation(child), canonical=True)
    one = COSE.new().encode(made, cwt_key(signer, private=True), protected=fields)
    keyring = ring(signer).with_delegations([one], now=NOW)
    assert code_of(token(signer=child), keyring) == 0


# Ours to them.


def issued_here(token_type, signer):
    if token_type == "delegation":
        entry = KeyringEntry(public(Signer(ED25519, "child")), issuer="district 7", actions=31)
        return issue_delegation(entry, signer, now=NOW, expires_at=NOW + DAY)
    if token_type == "revocation":
        made = Revocations(devices={DEVICE: (1, 2, 3)}, version=3, expires_at=NOW + 60)
        return issue_revocations(made, signer, issuer="officer", now=NOW)
    request = {"device": [DEVICE], "actions": [1], "sequence": [9], "epoch": [4], "subject": ["worker 7"]}
    request |= {"command": [b"\x01"]} if token_type == "secure_command" else {}
    request |= {"kdf": [1], "key_version": [1], "check_value": [b"kcv!"]} if token_type == "reading_key" else {}
    return issue_tokens(request, signer, now=NOW, token_type=token_type).to_pylist()[0]


@pytest.mark.parametrize("token_type", TYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_python_cwt_verifies_our_tokens(algorithm, token_type):
    """All five types: header, claims and signature; a flipped bit is refused by it."""
    local = LocalSigner(SIGNERS[algorithm].private)
    one = issued_here(token_type, local)
    key = cwt_key(SIGNERS[algorithm])
    protected, unprotected, payload = COSE.new().decode_with_headers(one, key)
    assert protected == {1: ALGS[algorithm], 4: SIGNERS[algorithm].kid, 16: TYPS[token_type]}
    assert list(protected) == [1, 4, 16]
    assert unprotected == {}
    read = cbor2.loads(payload)
    assert read[6] == NOW
    assert cbor2.dumps(read, canonical=True) == payload
    with pytest.raises(CWTError):
        COSE.new().decode(one[:-1] + bytes([one[-1] ^ 1]), key)


@pytest.mark.parametrize("token_type", TYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cbor2_and_pyca_alone_verify_our_tokens(algorithm, token_type):
    """By RFC 9052 section 4.4, without a COSE library: the Sig_structure over the received protected bytes."""
    one = issued_here(token_type, LocalSigner(SIGNERS[algorithm].private))
    tagged = cbor2.loads(one)
    assert tagged.tag == 18
    protected, unprotected, payload, signature = tagged.value
    assert unprotected == {}
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    key = SIGNERS[algorithm].private.public_key()
    verify_by_pyca(key, signature, signed)
    with pytest.raises(InvalidSignature):
        verify_by_pyca(key, signature, signed + b"\x00")
    assert cbor2.dumps(tagged, canonical=True) == one


def verify_by_pyca(key, signature, message):
    if isinstance(key, ec.EllipticCurvePublicKey):
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    else:
        key.verify(signature, message)


def test_the_scope_is_aif_that_any_reader_takes():
    one = issued_here("authorization", LocalSigner.generate())
    payload = cbor2.loads(cbor2.loads(one).value[2])
    assert cbor2.loads(payload[9]) == [[1, 1]]


# Both asked about the same tokens.


def theirs(one, keys):
    """Tell whether python-cwt takes the signature of a token by the key that its header names."""
    try:
        kid = cbor2.loads(cbor2.loads(one).value[0])[4]
        COSE.new().decode(one, keys[kid])
    except Exception:  # noqa: BLE001  # whatever it raises, it does not take the token
        return False
    return True


def keys_of(world):
    """Return python-cwt's keys of the signers whose algorithm it knows: it has no ML-DSA."""
    return {signer.kid: cwt_key(signer) for signer in world.signers if signer.algorithm in ALGS}


@pytest.mark.slow
def test_on_damaged_tokens_whatever_is_genuine_here_is_genuine_there():
    """Flips, cuts and insertions of tokens: a code of 400 and above, or 0, means that python-cwt verifies too."""
    rng = random.Random(4)
    keys = {signer.kid: cwt_key(signer) for signer in SIGNERS.values()}
    taken = 0
    for number in range(300):
        one = token(signer=SIGNERS[ALGORITHMS[number % 2]], sequence=number)
        at = rng.randrange(len(one))
        damaged = [
            one,
            one[:at] + bytes([one[at] ^ 1 << rng.randrange(8)]) + one[at + 1 :],
            one[:at] + one[at + 1 :],
            one[:at] + rng.randbytes(1) + one[at:],
            one + b"\x00",
        ]
        for each, code in zip(damaged, codes_of(damaged), strict=True):
            if code == 0 or code >= 400:
                assert theirs(each, keys)
                taken += 1
    assert taken == 300


def test_on_random_good_tokens_of_every_signer_both_agree():
    world = World(21)
    keys = keys_of(world)
    keyring = ring(*(signer for signer in world.signers if signer.kid in keys))
    compared = 0
    for case in each_pair_of_options(world, 2):
        if case.token_type == "revocation":
            continue
        code = code_of(case.token, keyring, now=case.now, token_type=case.token_type)
        genuine = code == 0 or code >= 400
        assert genuine == theirs(case.token, keys)
        compared += genuine
    assert compared > 30


def resigned(protected, payload, *, unprotected=None, signer=ISSUER, extra=b""):
    signature = signer.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return cbor2.dumps(cbor2.CBORTag(18, [protected, unprotected or {}, payload, signature])) + extra


STRICTER = {
    "bytes behind the token": (lambda: resigned(fields(), body(), extra=b"\x00"), 105),
    "an unprotected header": (lambda: resigned(fields(), body(), unprotected={4: ISSUER.kid}), 113),
    "alg in the unprotected header": (lambda: resigned(fields(), body(), unprotected={1: -19}), 113),
    "an unknown protected label": (lambda: resigned(write(good_header() | {100: 1}), body()), 200),
    "another content type": (lambda: resigned(write(good_header() | {16: "application/cwt"}), body()), 210),
    "a protected header out of order": (lambda: resigned(unordered(good_header()), body()), 103),
    "a label twice": (lambda: resigned(b"\xa4" + fields()[1:3] + fields()[1:], body()), 104),
    "claims out of order": (lambda: resigned(fields(), unordered(claims())), 103),
    "a claim twice": (lambda: resigned(fields(), b"\xa8\x03\x61x" + body()[1:]), 104),
    "an integer longer than need be": (lambda: resigned(fields(), body().replace(b"\x28\x19", b"\x28\x1a\0\0")), 103),
    "a claims map of indefinite length": (lambda: resigned(fields(), b"\xbf" + body()[1:] + b"\xff"), 103),
    "an unknown claim": (lambda: resigned(fields(), write(claims() | {100: 1})), 403),
    "exp as a float": (lambda: resigned(fields(), cbor2.dumps(claims() | {4: float(NOW + 60)}, canonical=True)), 402),
    "exp as a text": (lambda: resigned(fields(), write(claims() | {4: "later"})), 402),
    "aud as an array": (lambda: resigned(fields(), write(claims() | {3: [DEVICE]})), 402),
    "a tagged exp": (
        lambda: resigned(fields(), cbor2.dumps(claims() | {4: cbor2.CBORTag(1, NOW + 60)}, canonical=True)),
        402,
    ),
}


def good_header():
    return header(ISSUER, "authorization")


def fields():
    return write(good_header())


def body():
    return write(claims())


def unordered(pairs):
    return bytes([0xA0 + len(pairs)]) + b"".join(write(k) + write(v) for k, v in reversed(pairs.items()))


@pytest.mark.parametrize("name", STRICTER)
def test_where_the_profile_is_stricter(name):
    """Each is genuinely signed, and most COSE libraries take it; here it is refused, with this code."""
    make, code = STRICTER[name]
    assert code_of(make()) == code


def test_python_cwt_accepts_some_tokens_that_the_profile_refuses():
    """So the list above is one of real differences, not of tokens that nobody takes."""
    keys = {ISSUER.kid: cwt_key(ISSUER)}
    taken = {name for name, (make, _) in STRICTER.items() if theirs(make(), keys)}
    assert {"bytes behind the token", "an unprotected header", "claims out of order", "an unknown claim"} <= taken


def test_a_cnf_key_is_the_cose_key_that_python_cwt_reads():
    """The holder's key in a token of ours can be loaded there."""
    holder = Signer("ESP256", "holder")
    one = token(cnf={1: cose_key(holder)})
    assert verify_token(one, KEYRING, now=NOW)
    read = cbor2.loads(cbor2.loads(one).value[2])[8][1]
    key = COSEKey.new(read | {3: -9})
    assert key.kty == 2
    assert (key.to_dict()[-2], key.to_dict()[-3]) == (holder.raw[1:33], holder.raw[33:])
