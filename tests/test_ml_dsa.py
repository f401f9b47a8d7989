"""Post-quantum keys: ML-DSA-44 and ML-DSA-65 (FIPS 204, RFC 9964) in tokens, delegations, snapshots, keys and key sets."""

import base64
import hashlib
import itertools
import json
import pickle
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from helpers import (
    DAY,
    DEVICE,
    ISSUER,
    NOW,
    SECOND_ISSUER,
    STRANGER,
    changed,
    claims,
    code_of,
    codes_of,
    delegation,
    entry,
    public,
    ring,
    snapshot,
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
    PublicKey,
    Revocations,
    TokenRefused,
    issue_delegation,
    issue_revocations,
    issue_tokens,
    verify_signatures,
    verify_token,
)
from itron_core.enums import TOKEN_TYPES
from itron_core.exchange.identity import content_of
from itron_core.testing import make_signer
from reference import token as reference_token
from reference.build import Parts, Signer, cose_key, envelope, header, sign
from reference.cbor import write
from reference.keyring import Entry as ReferenceEntry
from reference.keyring import Keyring as ReferenceKeyring
from reference.signatures import ED25519, ML_DSA_44, ML_DSA_65

pytestmark = pytest.mark.kernels

ALGORITHMS = (ML_DSA_44, ML_DSA_65)
KEY_BYTES = {ML_DSA_44: 1312, ML_DSA_65: 1952}
SIGNATURE_BYTES = {ML_DSA_44: 2420, ML_DSA_65: 3309}
PUBLIC_KINDS = {ML_DSA_44: mldsa.MLDSA44PublicKey, ML_DSA_65: mldsa.MLDSA65PublicKey}
KINDS = {ML_DSA_44: mldsa.MLDSA44PrivateKey, ML_DSA_65: mldsa.MLDSA65PrivateKey}
ALGS = {ML_DSA_44: -48, ML_DSA_65: -49}
SIGNERS = {algorithm: Signer(algorithm, "issuer") for algorithm in ALGORITHMS}
KEYRING = ring(SIGNERS[ML_DSA_44], SIGNERS[ML_DSA_65], ISSUER, SECOND_ISSUER)
ISSUERS = pytest.mark.parametrize("signer", SIGNERS.values(), ids=ALGORITHMS)
NAMES = pytest.mark.parametrize("algorithm", ALGORITHMS)


# Tokens.


@ISSUERS
@pytest.mark.parametrize("token_type", ["authorization", "secure_command", "reading_key"])
def test_each_type_for_a_device_verifies(signer, token_type):
    one = token(token_type, signer)
    assert len(one) > 1_024 + 1_000  # over the bound of the curves' time
    assert code_of(one, KEYRING, token_type=token_type, audience=DEVICE, action=Action.READ_ENDPOINT) == 0
    believed = verify_token(one, KEYRING, now=NOW, token_type=token_type)
    assert (believed.kid, believed.audience, believed.sequence) == (signer.kid, DEVICE, 7)


def with_header(signer, **fields):
    """Return a token whose header was changed before it was signed; fields are by name, None takes one away."""
    labels = {"alg": 1, "crit": 2, "kid": 4, "typ": 16, "other": 17}
    made = header(signer, "authorization") | {labels[name]: value for name, value in fields.items()}
    made = {label: value for label, value in made.items() if value is not None}
    return Parts(write(made), write(claims()), signer).token()


def enveloped(signer, *, protected=None, unprotected=None, payload=None, signature=None):
    parts = Parts(write(header(signer, "authorization")), write(claims()), signer)
    documents = parts.protected if protected is None else protected, parts.payload if payload is None else payload
    whole = envelope(documents[0], documents[1], parts.signature() if signature is None else signature)
    return whole if unprotected is None else whole.replace(b"\xa0\x58", unprotected + b"\x58", 1)


def damaged(signer):
    """Return a token for each code that a row can have, after the code, with the options of its call."""
    good = token(signer=signer)
    length = SIGNATURE_BYTES[signer.algorithm]
    kept = {"version": 1, "expires_at": NOW + 60}
    return [
        (1, b"", {}),
        (100, good.ljust(4_097, b"\x00"), {}),
        (101, good[:95], {}),
        (102, good[:-1], {}),
        (102, enveloped(signer, protected=b""), {}),
        (102, enveloped(signer, payload=b""), {}),
        (103, b"\xd8\x12" + good[1:], {}),
        (104, Parts(write(header(signer, "authorization")), b"\xa2\x01\x00\x01\x00", signer).token(), {}),
        (105, good + b"\x00", {}),
        (106, Parts(write(header(signer, "authorization")), b"\xa1\x09\x81\x81\x81\x80", signer).token(), {}),
        (110, b"\xd1" + good[1:], {}),
        (111, good[:1] + b"\x83" + good[2:], {}),
        (112, good[: good.index(b"\xa0\x58") + 1] + b"\xf6" + good[good.index(b"\xa0\x58") + 2 :], {}),
        (113, enveloped(signer, unprotected=b"\xa1\x01\x00"), {}),
        (200, with_header(signer, other=1), {}),
        (201, with_header(signer, kid=None), {}),
        (202, with_header(signer, kid=b"short"), {}),
        (203, with_header(signer, crit=[1]), {}),
        (210, good, {"token_type": "secure_command"}),
        (220, with_header(signer, alg=-50), {}),
        (221, with_header(signer, alg=-8), {}),
        (230, with_header(signer, kid=bytes(8)), {}),
        (231, with_header(signer, alg=-19), {}),
        (231, with_header(signer, alg=-97 - ALGS[signer.algorithm]), {}),
        (231, with_header(signer, alg=-8), {"legacy_algorithms": True}),
        (300, enveloped(signer, signature=bytes(64)), {}),
        (300, enveloped(signer, signature=bytes(length - 1)), {}),
        (300, enveloped(signer, signature=bytes(length + 1)), {}),
        (302, enveloped(signer, signature=bytes(length)), {}),
        (302, enveloped(signer, signature=b"\xff" * length), {}),
        (400, Parts(write(header(signer, "authorization")), write([]).ljust(1), signer).token(), {}),
        (401, sign(signer, "authorization", claims(epoch=None)), {}),
        (402, sign(signer, "authorization", claims(epoch="4")), {}),
        (403, sign(signer, "authorization", claims() | {-70_000: 1}), {}),
        (404, sign(signer, "authorization", claims(exi=59)), {}),
        (405, sign(signer, "authorization", claims(exp=NOW + 7 * DAY + 1)), {}),
        (406, sign(signer, "authorization", claims(exp=NOW)), {}),
        (407, sign(signer, "authorization", claims(cti=bytes(16))), {}),
        (500, good, {"now": NOW - 121}),
        (501, sign(signer, "authorization", claims(nbf=NOW + 121)), {}),
        (502, good, {"now": NOW + DAY + 120}),
        (600, good, {"revocations": Revocations(version=1, expires_at=NOW)}),
        (601, good, {"revocations": Revocations(issuers=[signer.kid], **kept)}),
        (602, good, {"revocations": Revocations(devices={DEVICE: (8, 0, 0)}, **kept)}),
        (603, good, {"epoch": 5}),
        (604, good, {"revocations": Revocations(tokens=[(signer.kid, claims()[7])], **kept)}),
        (700, good, {"audience": "ert:100000002"}),
        (701, good, {"action": Action.GEOMODE}),
    ]


@ISSUERS
def test_each_code_that_a_row_can_have(signer):
    wrong = [
        (number, expected, got)
        for number, (expected, one, options) in enumerate(damaged(signer))
        if (got := code_of(one, KEYRING, **options)) != expected
    ]
    assert wrong == []


@ISSUERS
def test_ceilings_and_validity_of_the_key_are_checked(signer):
    good = token(signer=signer)
    for ceilings, code in [
        ({"token_types": {"reading_key"}}, 232),
        ({"actions": 0b10}, 410),
        ({"audience_prefix": "eui64:"}, 410),
        ({"valid_until": NOW}, 411),
        ({"valid_from": NOW, "valid_until": NOW + 1, "actions": 1}, 0),
    ]:
        assert code_of(good, Keyring([entry(signer, **ceilings)])) == code


@pytest.mark.slow
@ISSUERS
def test_a_flipped_bit_anywhere_is_refused(signer):
    good, rng = token(signer=signer), random.Random(48)
    front = 8 * (len(good) - SIGNATURE_BYTES[signer.algorithm])
    bits = [*range(front), *rng.sample(range(front, 8 * len(good)), 1_000), *range(8 * len(good) - 64, 8 * len(good))]
    flipped = [good[: bit // 8] + bytes([good[bit // 8] ^ 1 << bit % 8]) + good[bit // 8 + 1 :] for bit in bits]
    codes = codes_of([good, *flipped], KEYRING)
    assert codes[0] == 0
    assert {code // 100 for code in codes[1:]} <= {1, 2, 3}
    assert 301 not in codes
    assert set(codes[1 + front :]) == {302}


@pytest.mark.slow
@ISSUERS
def test_codes_are_the_second_reading_s(signer):
    keyring = ReferenceKeyring(
        [ReferenceEntry(one.algorithm, one.raw) for one in (*SIGNERS.values(), ISSUER, SECOND_ISSUER)]
    )
    plain = Keyring([KeyringEntry(public(one)) for one in (*SIGNERS.values(), ISSUER, SECOND_ISSUER)])
    rng = random.Random(49)
    tokens = [one for _, one, options in damaged(signer) if not options]
    good = token(signer=signer)
    for _ in range(300):
        at = rng.randrange(len(good))
        tokens.append(good[:at] + rng.randbytes(1) + good[at + rng.randrange(3) :])
    expected = [reference_token.verify(one, keyring, NOW, "authorization")[0] if one else 1 for one in tokens]
    assert codes_of(tokens, plain) == expected


@pytest.mark.parametrize("other", [1, 63, 64, 65, 2_000])
def test_tokens_of_all_algorithms_mixed_have_each_its_own_answer(other):
    signers = [*SIGNERS.values(), ISSUER, SECOND_ISSUER]
    ready = [token(signer=signer, sequence=n) for n, signer in enumerate(signers)]
    ready += [one[:-5] + bytes([one[-5] ^ 1]) + one[-4:] for one in ready] + [None, b"x" * 96]
    rows = list(itertools.islice(itertools.cycle(range(len(ready))), other))
    alone = codes_of(ready, KEYRING, threads=1)
    assert alone[:4] == [0] * 4
    assert set(alone[4:8]) == {302}
    for threads in (1, 3):
        assert codes_of([ready[row] for row in rows], KEYRING, threads=threads) == [alone[row] for row in rows]


# Sizes: 4,096 bytes, and 6,144 with a payload of 2,688 for a delegation.


@pytest.mark.parametrize("size,code", [(1_024, 105), (1_025, 105), (4_096, 105), (4_097, 100), (6_145, 100)])
@pytest.mark.parametrize("token_type", ["authorization", "secure_command", "reading_key"])
def test_a_token_for_a_device_has_at_most_4096_bytes(token_type, size, code):
    one = token(token_type).ljust(size, b"\x00")
    assert code_of(one, KEYRING, token_type=token_type) == code


@ISSUERS
def test_the_largest_payload_of_a_device_token(signer):
    for size, code in [(640, 403), (641, 100)]:
        made = claims() | {-70_000: b""}
        made[-70_000] = bytes(size - len(write(made)) - 2)
        assert len(write(made)) == size
        assert code_of(sign(signer, "authorization", made), KEYRING) == code


@pytest.mark.parametrize("size,code", [(4_097, 105), (6_144, 105), (6_145, 100)])
def test_a_delegation_has_at_most_6144_bytes(size, code):
    one = sign(ISSUER, "delegation", delegation(SIGNERS[ML_DSA_65])).ljust(size, b"\x00")
    assert code_of(one, KEYRING, token_type="delegation") == code


@pytest.mark.parametrize("size,code", [(2_688, 403), (2_689, 100)])
def test_a_delegation_s_payload_has_at_most_2688_bytes(size, code):
    made = delegation(SIGNERS[ML_DSA_65]) | {-70_000: b""}
    made[-70_000] = bytes(size - len(write(made)) - 2)
    assert len(write(made)) == size
    assert code_of(sign(SIGNERS[ML_DSA_65], "delegation", made), KEYRING, token_type="delegation") == code


def test_an_ml_dsa_key_has_no_room_in_a_device_token():
    one = sign(ISSUER, "authorization", claims(cnf={1: cose_key(SIGNERS[ML_DSA_44])}))
    assert code_of(one, KEYRING) == 100


# Keys.


@NAMES
def test_the_kid_is_the_thumbprint_s_first_bytes(algorithm):
    raw = KINDS[algorithm].from_seed_bytes(bytes(32)).public_key().public_bytes_raw()
    key = PublicKey.from_raw(algorithm, raw)
    # RFC 9679 section 4 with the members of RFC 9964: {1: 7, 3: alg, -1: pub}.
    hashed = hashlib.sha256(write({1: 7, 3: ALGS[algorithm], -1: raw})).digest()
    assert (key.algorithm, key.raw, key.kid) == (algorithm, raw, hashed[:8])
    assert PublicKey.from_raw(algorithm, bytearray(raw)) == key
    assert hash(PublicKey.from_raw(algorithm, raw)) == hash(key)
    assert pickle.loads(pickle.dumps(key)) == key
    assert key.kid.hex() in repr(key)


@NAMES
def test_a_key_of_another_length_is_refused(algorithm):
    for length in (0, 32, 64, KEY_BYTES[algorithm] - 1, KEY_BYTES[algorithm] + 1, 2592):
        with pytest.raises(KeyRefused, match=f"got {length} bytes, expected {KEY_BYTES[algorithm]} for {algorithm}"):
            PublicKey.from_raw(algorithm, bytes(length))
    with pytest.raises(KeyRefused, match='got "ML-DSA-87", expected one of "Ed25519", "ESP256", "ML-DSA-44"'):
        PublicKey.from_raw("ML-DSA-87", bytes(2592))


@NAMES
def test_pem_of_cryptography_is_read(algorithm):
    private = KINDS[algorithm].generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert PublicKey.from_pem(pem).raw == private.public_key().public_bytes_raw()
    assert PublicKey.from_pem(pem.decode()).algorithm == algorithm


def test_pem_of_ml_dsa_87_is_a_key_of_another_kind():
    public_key = mldsa.MLDSA87PrivateKey.generate().public_key()
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyRefused, match=r"another kind \(2\.16\.840\.1\.101\.3\.4\.3\.19\)"):
        PublicKey.from_pem(pem)


def jwk(signer, **members):
    encoded = base64.urlsafe_b64encode(signer.raw).rstrip(b"=").decode()
    return {"kty": "AKP", "alg": signer.algorithm, "pub": encoded} | members


@ISSUERS
def test_jwk_in_and_out(signer):
    key = public(signer)
    assert key.to_jwk() == jwk(signer, kid=signer.kid.hex())
    assert PublicKey.from_jwk(jwk(signer)) == key
    assert PublicKey.from_jwk(key.to_jwk() | {"use": "sig", "key_ops": ["verify"]}) == key


@ISSUERS
def test_a_jwk_that_is_broken_raises(signer):
    good = jwk(signer)
    without = [{name: value for name, value in good.items() if name != missing} for missing in ("alg", "pub", "kty")]
    other = {ML_DSA_44: ML_DSA_65, ML_DSA_65: ML_DSA_44}[signer.algorithm]
    broken = [
        *without,
        good | {"pub": good["pub"][:-4]},
        good | {"pub": good["pub"] + "="},
        good | {"pub": ""},
        good | {"pub": 7},
        good | {"alg": other},
        good | {"alg": "ML-DSA-87"},
        good | {"alg": "EdDSA"},
        good | {"kty": "OKP"},
        good | {"use": "enc"},
        good | {"priv": good["pub"][:43]},
        good | {"Pub": good["pub"]},
    ]
    for one in broken:
        with pytest.raises(KeyRefused):
            PublicKey.from_jwk(one)


@ISSUERS
def test_a_key_set_passes_over_an_unknown_alg_and_raises_for_a_broken_key(signer):
    stranger = jwk(signer, alg="ML-DSA-87", pub="AAAA")
    keyring = Keyring.from_jwks(json.dumps({"keys": [stranger, jwk(signer, mtr_issuer="post-quantum")]}))
    assert [one.key for one in keyring.entries] == [public(signer)]
    assert keyring.entries[0].issuer == "post-quantum"
    assert len(keyring.skipped) == 1
    assert "ML-DSA-87" in str(keyring.skipped)
    assert code_of(token(signer=signer), keyring) == 0
    with pytest.raises(KeyRefused, match="bytes, expected"):
        Keyring.from_jwks(json.dumps({"keys": [jwk(signer), jwk(signer, pub="AAAA")]}))


# Signers.


@pytest.mark.slow
@NAMES
def test_a_generated_signer_signs_tokens_that_verify(algorithm):
    signer = LocalSigner.generate(algorithm)
    assert signer.public_key.algorithm == algorithm
    assert len(signer.sign(b"m")) == SIGNATURE_BYTES[algorithm]
    many = memoryview(signer.sign_many([b"%d" % n for n in range(70)]))
    assert many.shape == (70, SIGNATURE_BYTES[algorithm])
    rows = [many.tobytes()[at : at + SIGNATURE_BYTES[algorithm]] for at in range(0, many.nbytes, many.shape[1])]
    codes = verify_signatures(signer.public_key, [b"%d" % n for n in range(70)], rows)["code"].to_pylist()
    assert codes == [0] * 70
    assert memoryview(signer.sign_many([])).nbytes == 0
    request = {"device": [DEVICE] * 3, "actions": [1] * 3, "sequence": [1, 2, 3], "epoch": [4] * 3}
    tokens = issue_tokens(request, signer, now=NOW).to_pylist()
    assert codes_of(tokens, Keyring([signer.public_key])) == [0] * 3


@NAMES
def test_private_keys_of_cryptography_are_read_from_pem(algorithm):
    private = KINDS[algorithm].generate()
    for encryption, password in [(NoEncryption(), None), (BestAvailableEncryption(b"secret"), b"secret")]:
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        signer = LocalSigner.from_pem(pem, password)
        assert signer.public_key.raw == private.public_key().public_bytes_raw()
        private.public_key().verify(signer.sign(b"message"), b"message")
        assert "secret" not in repr(signer)
        with pytest.raises(TypeError):
            pickle.dumps(signer)


def test_ml_dsa_87_signs_nothing_here():
    with pytest.raises(InputError, match="MLDSA87"):
        LocalSigner(mldsa.MLDSA87PrivateKey.generate())
    with pytest.raises(InputError, match="ML-DSA-87"):
        LocalSigner.generate("ML-DSA-87")


@NAMES
def test_the_length_of_signatures_is_the_key_s(algorithm):
    class Wrong:
        public_key = make_signer(algorithm).public_key

        def sign(self, message):
            return make_signer("Ed25519").sign(message)

        def sign_many(self, messages):
            return b"".join(map(self.sign, messages))

    request = {"device": [DEVICE], "actions": [1], "sequence": [1], "epoch": [4]}
    with pytest.raises(InputError, match=f"got 64 bytes, expected {SIGNATURE_BYTES[algorithm]}"):
        issue_tokens(request, Wrong(), now=NOW)


@ISSUERS
def test_hedged_and_repeated_signatures_are_one_token_for_replay(signer):
    """Signing is hedged, so each signature is another; what was signed, and so the token's identity, stays."""
    parts = Parts(write(header(signer, "authorization")), write(claims()), signer)
    message = write(["Signature1", parts.protected, b"", parts.payload])
    one, two = (envelope(parts.protected, parts.payload, signer.private.sign(message)) for _ in range(2))
    assert one != two
    assert codes_of([one, two], KEYRING) == [0, 0]
    first, second = (verify_token(each, KEYRING, now=NOW) for each in (one, two))
    assert (first.kid, first.cti) == (second.kid, second.cti)
    assert content_of(one) == content_of(two)
    assert content_of(token(signer=signer, sequence=8)) != content_of(one)


@pytest.mark.slow
@NAMES
def test_nist_signatures_under_a_context_are_invalid(algorithm):
    """Deterministic signatures under a context: genuine there, and 302 here, where the context is empty.

    The crate's own tests take deterministic signatures with an empty context.
    """
    import cryptography_vectors

    path = f"asymmetric/MLDSA/kat_MLDSA_{algorithm[-2:]}_det_pure.rsp"
    with cryptography_vectors.open_vector_file(path, "r") as file:
        lines = [line.partition("=") for line in file if "=" in line]
    column = {
        wanted: [bytes.fromhex(value.strip()) for name, _, value in lines if name.strip() == wanted]
        for wanted in ("pk", "msg", "sm", "ctx")
    }
    signatures = [one[: SIGNATURE_BYTES[algorithm]] for one in column["sm"]]
    keys = [PublicKey.from_raw(algorithm, raw) for raw in column["pk"]]
    for key, message, signature, context in zip(keys, column["msg"], signatures, column["ctx"], strict=True):
        PUBLIC_KINDS[algorithm].from_public_bytes(key.raw).verify(signature, message, context)
    codes = verify_signatures(keys, column["msg"], signatures, key_index=range(100))["code"].to_pylist()
    assert codes == [302] * 100


@NAMES
def test_a_content_is_hashed_without_the_signature_s_bytes(algorithm):
    for signer in (SIGNERS[algorithm], ISSUER):
        one = token(signer=signer)
        length = SIGNATURE_BYTES.get(signer.algorithm, 64)
        assert content_of(one) == hashlib.sha256(one[:-length]).digest()


# Delegations and snapshots.


@pytest.mark.parametrize("root", ["Ed25519", "ESP256", *ALGORITHMS])
@pytest.mark.parametrize("child", ["Ed25519", "ESP256", *ALGORITHMS])
def test_each_algorithm_delegates_to_each(root, child):
    root, child = make_signer(root, seed="root"), make_signer(child, seed="child")
    trusted = Keyring([KeyringEntry(root.public_key, token_types=TOKEN_TYPES)])
    wanted = KeyringEntry(child.public_key, issuer="child", actions=0b1, audience_prefix="ert:")
    made = issue_delegation(wanted, root, now=NOW, expires_at=NOW + DAY)
    keyring = trusted.with_delegations([made], now=NOW)
    assert keyring.entries[1].key == child.public_key
    request = {"device": [DEVICE], "actions": [1], "sequence": [1], "epoch": [4]}
    (one,) = issue_tokens(request, child, now=NOW, max_lifetime=3_600).to_pylist()
    assert code_of(one, keyring) == 0
    (more,) = issue_tokens(request | {"actions": [2]}, child, now=NOW, max_lifetime=3_600).to_pylist()
    assert code_of(more, keyring) == 410
    kept = {"version": 1, "expires_at": NOW + 60}
    assert code_of(one, keyring, revocations=Revocations(issuers=[root.public_key.kid], **kept)) == 601
    cti = verify_token(made, trusted, now=NOW, token_type="delegation").cti
    assert code_of(one, keyring, revocations=Revocations(tokens=[(root.public_key.kid, cti)], **kept)) == 604


def akp(algorithm=ML_DSA_44, **members):
    labels = {"kty": 1, "kid": 2, "alg": 3, "key_ops": 4, "pub": -1, "priv": -2}
    made = dict(cose_key(SIGNERS[algorithm]))
    made |= {labels[name]: value for name, value in members.items()}
    return {label: value for label, value in made.items() if value is not None}


@pytest.mark.parametrize(
    "key,code",
    [
        (akp(), 0),
        (akp(ML_DSA_65), 0),
        (akp(alg=-49), 404),
        (akp(ML_DSA_65, alg=-48), 404),
        (akp(alg=-50), 404),
        (akp(alg=-19), 404),
        (akp(alg=48), 404),
        (akp(alg="ML-DSA-44"), 404),
        (akp(alg=None), 404),
        (akp(pub=None), 404),
        (akp(pub=bytes(1311)), 404),
        (akp(pub=bytes(1313)), 404),
        (akp(pub=b""), 404),
        (akp(pub="x" * 1312), 404),
        (akp(kty=1), 404),
        (akp(kty=6), 404),
        (akp(kid=b"label"), 404),
        (akp(priv=bytes(32)), 404),
        (akp(alg=None, pub=None), 404),
    ],
)
def test_a_cose_key_in_a_delegation_has_the_thumbprint_s_members(key, code):
    made = changed(delegation(SIGNERS[ML_DSA_44]), cnf={1: key})
    for signer in (ISSUER, Signer(ML_DSA_65, "another root")):
        keyring = ring(signer)
        one = sign(signer, "delegation", made)
        assert code_of(one, keyring, token_type="delegation") == code
        if code:
            with pytest.raises(TokenRefused) as refused:
                keyring.with_delegations([one], now=NOW)
            assert refused.value.code == Code(code)
        else:
            assert keyring.with_delegations([one], now=NOW).entries[1].key.raw == key[-1]


@ISSUERS
def test_snapshots_are_signed_and_refused_by_the_one_in_force(signer):
    one = sign(signer, "revocation", snapshot(version=7, issuers=[STRANGER.kid]))
    assert Revocations.from_token(one, KEYRING, now=NOW).version == 7
    local = LocalSigner(signer.private)
    made = Revocations(issuers=[STRANGER.kid], version=8, expires_at=NOW + 3_600)
    assert Revocations.from_token(issue_revocations(made, local, issuer="root", now=NOW), KEYRING, now=NOW) == made
    in_force = Revocations(issuers=[signer.kid], version=6, expires_at=NOW + 60)
    with pytest.raises(TokenRefused) as refused:
        Revocations.from_token(one, KEYRING, now=NOW, revocations=in_force)
    assert refused.value.code == Code.ISSUER_REVOKED


def test_a_snapshot_of_a_delegated_key_goes_with_its_delegation():
    root, child = make_signer(ML_DSA_65, seed="root"), make_signer(ML_DSA_44, seed="snapshots")
    trusted = Keyring([KeyringEntry(root.public_key, token_types=TOKEN_TYPES)])
    wanted = KeyringEntry(child.public_key, issuer="child", token_types={"revocation"}, actions=0b1)
    made = issue_delegation(wanted, root, now=NOW, expires_at=NOW + DAY)
    keyring = trusted.with_delegations([made], now=NOW)
    following = Revocations(version=2, expires_at=NOW + 3_600)
    one = issue_revocations(following, child, issuer="child", now=NOW)
    assert Revocations.from_token(one, keyring, now=NOW) == following
    cti = verify_token(made, trusted, now=NOW, token_type="delegation").cti
    for lists, code in [({"tokens": [(root.public_key.kid, cti)]}, 604), ({"issuers": [root.public_key.kid]}, 601)]:
        in_force = Revocations(version=1, expires_at=NOW + 60, **lists)
        with pytest.raises(TokenRefused) as refused:
            Revocations.from_token(one, keyring, now=NOW, revocations=in_force)
        assert int(refused.value.code) == code


# Bare signatures.


@ISSUERS
def test_bare_signatures_of_cryptography_and_their_damage(signer):
    message = b"an empty context" * 9
    good = signer.private.sign(message)
    in_context = signer.private.sign(message, b"context")
    length = SIGNATURE_BYTES[signer.algorithm]
    columns = [
        (message, good, 0),
        (message, in_context, 302),
        (message + b".", good, 302),
        (message, good[:-1], 300),
        (message, good + b"\x00", 300),
        (message, b"", 300),
        (message, bytes(length), 302),
        (None, good, 1),
        (message, None, 1),
        (b"", signer.private.sign(b""), 0),
    ]
    messages, signatures, expected = map(list, zip(*columns, strict=True))
    assert verify_signatures(public(signer), messages, signatures)["code"].to_pylist() == expected


@pytest.mark.slow
def test_keys_of_all_algorithms_in_one_call():
    signers = [*SIGNERS.values(), ISSUER, SECOND_ISSUER]
    index = [n % 4 for n in range(200)]
    messages = [b"%d" % n for n in range(200)]
    signatures = [signers[i].sign(message) for i, message in zip(index, messages, strict=True)]
    keys = [public(signer) for signer in signers]
    assert verify_signatures(keys, messages, signatures, key_index=index)["code"].to_pylist() == [0] * 200
    shifted = index[1:] + index[:1]
    codes = verify_signatures(keys, messages, signatures, key_index=shifted)["code"].to_pylist()
    assert set(codes) <= {300, 301, 302}
    assert codes.count(300) == 150


def test_the_child_of_another_algorithm_is_the_second_reading_s_too():
    child = Signer(ML_DSA_44, "reference child")
    made = sign(ISSUER, "delegation", delegation(child))
    ours = ring(ISSUER).with_delegations([made], now=NOW)
    reference = ReferenceKeyring(
        [ReferenceEntry(ED25519, ISSUER.raw, token_types=frozenset(TOKEN_TYPES))]
    ).with_delegations([made], NOW)
    assert [one.kid for one in reference.entries] == [one.key.kid for one in ours.entries]
