"""Keyrings: which keys can be loaded and from what, ceilings, two keys with one kid, pickling."""

import base64
import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519

from helpers import (
    ALGORITHMS,
    DAY,
    ISSUER,
    KEYRING,
    NOW,
    SECOND_ISSUER,
    SIGNERS,
    STRANGER,
    claims,
    code_of,
    delegation,
    entry,
    public,
    ring,
    token,
)
from itron_core import (
    Action,
    Code,
    ItronCoreError,
    KeyRefused,
    Keyring,
    KeyringEntry,
    PublicKey,
    Revocations,
    verify_tokens,
)
from reference.build import Signer, sign
from reference.cbor import write
from reference.signatures import (
    ED25519,
    P256_P,
    L,
    P,
    ed25519_add,
    ed25519_multiply,
    ed25519_point,
    thumbprint,
)

pytestmark = pytest.mark.kernels

EVERY_ACTION = sum(1 << action for action in Action)
BASE = ed25519_point(bytes.fromhex("58" + "66" * 31))
ORDER_8 = ed25519_point(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))


def encode(point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(signer: Signer, **members) -> dict:
    if signer.algorithm == ED25519:
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(signer.raw)} | members
    return {"kty": "EC", "crv": "P-256", "x": b64(signer.raw[1:33]), "y": b64(signer.raw[33:])} | members


def jwks(*keys) -> str:
    return json.dumps({"keys": list(keys)})


def pem(signer: Signer) -> str:
    key = signer.private.public_key()
    return key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()


# Keys.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_kid_is_the_first_8_bytes_of_the_thumbprint(algorithm):
    """RFC 9679, an EC2 key with its whole y; for Ed25519 the input that the page writes out."""
    signer = SIGNERS[algorithm]
    assert public(signer).kid == thumbprint(algorithm, signer.raw)[:8]
    if algorithm == ED25519:
        assert public(signer).kid == hashlib.sha256(bytes.fromhex("a301012006215820") + signer.raw).digest()[:8]
    else:
        members = {1: 2, -1: 1, -2: signer.raw[1:33], -3: signer.raw[33:]}
        assert public(signer).kid == hashlib.sha256(write(members)).digest()[:8]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_the_same_from_every_form(algorithm):
    signer = SIGNERS[algorithm]
    keys = [
        PublicKey.from_raw(algorithm, signer.raw),
        PublicKey.from_pem(pem(signer)),
        PublicKey.from_pem(pem(signer).encode()),
        PublicKey.from_jwk(jwk(signer)),
    ]
    keys += [PublicKey.from_raw(algorithm, signer.raw[1:])] if algorithm == "ESP256" else []
    assert {key.raw for key in keys} == {signer.raw}
    assert len(set(keys)) == 1
    assert all(key == keys[0] for key in keys)
    assert {key.algorithm for key in keys} == {algorithm}
    assert keys[0] != public(STRANGER)


@pytest.mark.parametrize("make", [bytearray, memoryview])
def test_raw_bytes_are_any_buffer(make):
    """As the stub says of `data`."""
    assert PublicKey.from_raw("Ed25519", make(ISSUER.raw)) == public(ISSUER)


def test_a_key_of_a_wrong_length_is_refused():
    for algorithm, good in (("Ed25519", {32}), ("ESP256", {64, 65})):
        for length in (0, 1, 31, 32, 33, 63, 64, 65, 66, 97):
            if length in good:
                continue
            with pytest.raises(KeyRefused):
                PublicKey.from_raw(algorithm, (SIGNERS[algorithm].raw + bytes(100))[:length])


@pytest.mark.parametrize("order", range(8))
def test_an_ed25519_key_of_small_order_is_refused(order):
    raw = encode(ed25519_multiply(order, ORDER_8))
    for load in (
        lambda: PublicKey.from_raw("Ed25519", raw),
        lambda: PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}),
        lambda: Keyring.from_jwks(jwks({"kty": "OKP", "crv": "Ed25519", "x": b64(raw)})),
    ):
        with pytest.raises(KeyRefused):
            load()


@pytest.mark.parametrize("order", range(1, 8))
def test_an_ed25519_key_with_a_torsion_component_is_refused(order):
    point = ed25519_multiply(12345, BASE)
    assert PublicKey.from_raw("Ed25519", encode(point))
    with pytest.raises(KeyRefused):
        PublicKey.from_raw("Ed25519", encode(ed25519_add(point, ed25519_multiply(order, ORDER_8))))


@pytest.mark.parametrize(
    "raw",
    [
        *((P + offset).to_bytes(32, "little") for offset in range(19)),
        *((P + offset | 1 << 255).to_bytes(32, "little") for offset in range(19)),
        (1 | 1 << 255).to_bytes(32, "little"),
        (P - 1 | 1 << 255).to_bytes(32, "little"),
        *(y.to_bytes(32, "little") for y in range(2, 40) if ed25519_point(y.to_bytes(32, "little")) is None),
    ],
    ids=lambda raw: raw.hex()[:4] + raw.hex()[-4:],
)
def test_a_non_canonical_ed25519_key_is_refused(raw):
    with pytest.raises(KeyRefused):
        PublicKey.from_raw("Ed25519", raw)


def test_a_p256_key_off_the_curve_is_refused():
    raw = SECOND_ISSUER.raw
    x, y = raw[1:33], raw[33:]
    compressed = bytes([2 + (y[-1] & 1)]) + x
    over = int.from_bytes(x, "big") + P256_P
    bad = [
        raw[:-1] + bytes([raw[-1] ^ 1]),
        b"\x04" + y + x,
        b"\x04" + bytes(64),
        b"\x04" + P256_P.to_bytes(32, "big") + y,
        b"\x04" + b"\xff" * 64,
        b"\x02" + raw[1:],
        b"\x03" + raw[1:],
        b"\x05" + raw[1:],
        b"\x06" + raw[1:],
        b"\x07" + raw[1:],
        b"\x00" + raw[1:],
        compressed,
        b"\x00",
        (x + y)[:-1] + bytes([y[-1] ^ 1]),
        bytes(64),
    ]
    bad += [b"\x04" + over.to_bytes(32, "big") + y] if over < 2**256 else []
    for one in bad:
        with pytest.raises(KeyRefused):
            PublicKey.from_raw("ESP256", one)


@pytest.mark.parametrize("name", ["", "ed25519", "EdDSA", "ES256", "ECDSA", "RS256", "ML-DSA-87", "ml-dsa-44"])
def test_another_algorithm_s_name_is_refused(name):
    with pytest.raises(KeyRefused, match="Ed25519"):
        PublicKey.from_raw(name, ISSUER.raw)


def other_pems():
    encoding, format_ = form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    private = ISSUER.private.private_bytes(encoding, form.PrivateFormat.PKCS8, form.NoEncryption())
    sec1 = SECOND_ISSUER.private.private_bytes(encoding, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    others = [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        x25519.X25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ]
    yield from (key.public_key().public_bytes(encoding, format_) for key in others)
    yield from (private, sec1)
    yield from (b"", b"no PEM", pem(ISSUER).encode()[:60], b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")
    yield pem(ISSUER).replace("PUBLIC KEY", "CERTIFICATE").encode()
    yield b"\xff\xfe"


@pytest.mark.parametrize("data", list(other_pems()), ids=range(13))
def test_a_pem_of_another_kind_is_refused_and_shows_no_private_byte(data):
    with pytest.raises(KeyRefused) as refused:
        PublicKey.from_pem(data)
    seed = ISSUER.private.private_bytes_raw()
    assert seed.hex() not in str(refused.value)
    assert base64.b64encode(seed).decode()[:20] not in str(refused.value)


def pem_of(der: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
COMPRESSED_SPKI = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")


def test_a_public_key_info_has_one_form():
    """What lies around the bytes of the key is DER, and the profile's own; the good forms first."""
    raw, ec_raw = ISSUER.raw, SECOND_ISSUER.raw
    assert PublicKey.from_pem(pem_of(ED25519_SPKI + raw)) == public(ISSUER)
    assert PublicKey.from_pem(pem_of(P256_SPKI + ec_raw)) == public(SECOND_ISSUER)
    compressed = bytes([2 + (ec_raw[-1] & 1)]) + ec_raw[1:33]
    for bad in (
        ED25519_SPKI + raw + b"\x00",
        ED25519_SPKI + raw[:-1],
        bytes.fromhex("302a300506032b6570032101") + raw,
        bytes.fromhex("302f300a06032b657006032b6570032100") + raw,
        bytes.fromhex("302a300506032b656e032100") + raw,
        COMPRESSED_SPKI + compressed,
        P256_SPKI[:-1] + b"\x01" + ec_raw,
        P256_SPKI + ec_raw[:-1],
    ):
        with pytest.raises(KeyRefused):
            PublicKey.from_pem(pem_of(bad))


def test_an_ed25519_key_info_has_no_parameters():
    """RFC 8410 section 3: "the parameters field ... MUST be absent", so a NULL is refused as well."""
    with pytest.raises(KeyRefused):
        PublicKey.from_pem(pem_of(bytes.fromhex("302c300706032b65700500032100") + ISSUER.raw))


def test_a_pem_file_of_another_system_is_read():
    """Line ends of carriage return and line feed, and none at the end."""
    for text in (pem(ISSUER).replace("\n", "\r\n"), pem(ISSUER).rstrip(), "\n" + pem(ISSUER)):
        assert PublicKey.from_pem(text) == public(ISSUER)


@pytest.mark.parametrize(
    "around",
    [
        lambda text: "  " + text.replace("\n", "  \n\t"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", " "),
        lambda text: "\ufeff" + text,
        lambda text: "The key of the meter, as of 2027:\n" + text + "\nEnd of the mail -- greetings\n",
        lambda text: ("\ufeff" + text).encode("utf-16-le"),
        lambda text: ("\ufeff" + text).encode("utf-16-be"),
        lambda text: b"Schl\xfcssel\n" + text.encode(),
    ],
    ids=["indented", "blank lines", "one line", "mark", "text", "utf-16-le", "utf-16-be", "latin-1"],
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_white_space_marks_and_text_around_a_pem_are_passed_over(algorithm, around, tmp_path):
    """RFC 7468 sections 2 and 3."""
    signer = SIGNERS[algorithm]
    given = around(pem(signer))
    assert PublicKey.from_pem(given) == public(signer)
    path = tmp_path / "key.pem"
    path.write_bytes(given if isinstance(given, bytes) else given.encode())
    assert Keyring.from_pem_files([path]) == Keyring([public(signer)])


def test_two_blocks_in_one_pem_are_refused():
    private = ISSUER.private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
    for text in (pem(ISSUER) + pem(SECOND_ISSUER), pem(ISSUER) + private, private + pem(ISSUER)):
        with pytest.raises(KeyRefused) as refused:
            PublicKey.from_pem(text)
        assert private.splitlines()[1] not in str(refused.value)


# Keyrings.


def test_a_keyring_has_its_entries_in_their_order():
    signers = [Signer(ALGORITHMS[n % 2], n) for n in range(40)]
    keyring = ring(*signers)
    assert len(keyring) == 40
    assert [each.key.raw for each in keyring.entries] == [signer.raw for signer in signers]
    for index, signer in enumerate(signers):
        assert verify_tokens([token(signer=signer)], keyring, now=NOW)["key"].to_pylist() == [index]


def test_a_key_alone_is_an_entry_without_ceilings():
    (plain,) = Keyring([public(ISSUER)]).entries
    assert plain == KeyringEntry(public(ISSUER))
    assert plain.token_types == {"authorization", "secure_command", "reading_key"}
    assert plain.actions == EVERY_ACTION
    assert (plain.issuer, plain.audience_prefix, plain.valid_from, plain.valid_until) == (None, "", None, None)
    assert plain.delegated_by is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_keys_with_one_kid_raise(algorithm):
    signer = SIGNERS[algorithm]
    with pytest.raises(KeyRefused, match=signer.kid.hex()):
        Keyring([public(signer), public(STRANGER), entry(signer, issuer="again", actions=1)])
    with pytest.raises(KeyRefused):
        Keyring.from_jwks(jwks(jwk(signer), jwk(signer, kid="another label")))


@pytest.mark.slow
def test_a_keyring_has_at_most_4096_keys():
    points, point = [], BASE
    for _ in range(4097):
        points.append(point)
        point = ed25519_add(point, BASE)
    keys = [PublicKey.from_raw("Ed25519", encode(one)) for one in points]
    keyring = Keyring(keys[:4096])
    assert len(keyring) == 4096
    with pytest.raises(KeyRefused, match=r"4,?096"):
        Keyring(keys)


@pytest.mark.slow
def test_table_memory_is_reported_and_does_not_grow_with_every_key():
    few, many = ring(ISSUER), ring(*(Signer(ED25519, n) for n in range(200)))
    for keyring in (few, many):
        assert 0 <= keyring.table_bytes < 1 << 30
        verifying = [token(signer=ISSUER, sequence=n) for n in range(200)]
        verify_tokens(verifying, keyring, now=NOW)
        assert 0 <= keyring.table_bytes < 1 << 30


def test_a_keyring_does_not_change():
    keyring = ring(ISSUER)
    keyring.entries.clear()
    assert len(keyring) == 1
    for name in ("entries", "more"):
        with pytest.raises(AttributeError):
            setattr(keyring, name, [])
    with pytest.raises(AttributeError):
        keyring.entries[0].actions = 1


# Ceilings.


def test_an_entry_s_types_are_232():
    for allowed in ("authorization", "secure_command", "reading_key"):
        keyring = ring(ISSUER, token_types=[allowed])
        for asked in ("authorization", "secure_command", "reading_key"):
            wanted = 0 if asked == allowed else Code.KEY_NOT_FOR_TYPE
            assert code_of(token(asked), keyring, token_type=asked) == wanted
    assert code_of(token(), ring(ISSUER, token_types=[])) == Code.KEY_NOT_FOR_TYPE


def test_an_entry_s_actions_are_a_ceiling():
    keyring = ring(ISSUER, actions=0b101)
    assert code_of(token(actions=(0, 2)), keyring) == 0
    assert code_of(token(actions=(0,)), keyring) == 0
    assert code_of(token(actions=(0, 1)), keyring) == Code.CEILING_EXCEEDED
    assert code_of(token(scope=write([[1, 0b101 | 1 << 7], [6, 1]])), keyring) == 0
    by_name = ring(ISSUER, actions=[Action.READ_ENDPOINT, Action.READ_INTERVAL_DATA])
    assert by_name.entries[0].actions == 0b101
    assert code_of(token(actions=(1,)), by_name) == Code.CEILING_EXCEEDED
    assert code_of(token(actions=(0,)), ring(ISSUER, actions=0)) == Code.CEILING_EXCEEDED


def test_an_authorization_opens_by_its_type_below_any_ceiling():
    """open_session is granted by the type, so an issuer without that action may issue authorizations."""
    keyring = ring(ISSUER, actions=1 << Action.READ_ENDPOINT)
    assert code_of(token(actions=(0,)), keyring, action=Action.OPEN_SESSION) == 0


def test_an_entry_s_audience_is_a_prefix():
    keyring = ring(ISSUER, audience_prefix="ert:1000")
    for device, code in (("ert:1000", 0), ("ert:100000001", 0), ("ert:100", 410), ("ert:2000", 410)):
        assert code_of(token(device=device), keyring) == code
    assert code_of(token(device="eui64:0001000000000000"), keyring) == 410


def test_an_entry_s_window_is_half_open_and_without_skew():
    """valid_from <= iat < valid_until."""
    keyring = ring(ISSUER, valid_from=NOW - 60, valid_until=NOW)
    for issued, code in ((NOW - 61, 411), (NOW - 60, 0), (NOW - 1, 0), (NOW, 411)):
        assert code_of(token(issued_at=issued), keyring) == code
    one_sided = ring(ISSUER, valid_until=NOW)
    assert code_of(token(issued_at=NOW - DAY + 1), one_sided) == 0


def test_a_ceiling_is_of_its_own_entry():
    keyring = Keyring([entry(ISSUER, actions=1), entry(SECOND_ISSUER, audience_prefix="eui64:")])
    assert code_of(token(actions=(1,)), keyring) == 410
    assert code_of(token(actions=(0,)), keyring) == 0
    assert code_of(token(signer=SECOND_ISSUER), keyring) == 410
    assert code_of(token(signer=SECOND_ISSUER, device="eui64:0001000000000000", actions=(1,)), keyring) == 0


# JWKS.


def test_a_jwk_set_is_a_keyring():
    text = jwks(
        jwk(
            ISSUER,
            kid="its own label",
            alg="EdDSA",
            use="sig",
            mtr_issuer="security manager",
            mtr_token_types=["authorization", "reading_key"],
            mtr_actions=["read_endpoint", "geomode"],
            mtr_audience_prefix="ert:1",
            mtr_valid_from=NOW - DAY,
            mtr_valid_until=NOW + DAY,
        ),
        jwk(SECOND_ISSUER, alg="ES256", key_ops=["verify"]),
    )
    wanted = Keyring(
        [
            entry(
                ISSUER,
                issuer="security manager",
                token_types=["reading_key", "authorization"],
                actions=[Action.READ_ENDPOINT, Action.GEOMODE],
                audience_prefix="ert:1",
                valid_from=NOW - DAY,
                valid_until=NOW + DAY,
            ),
            KeyringEntry(public(SECOND_ISSUER)),
        ]
    )
    for given in (text, text.encode()):
        keyring = Keyring.from_jwks(given)
        assert keyring == wanted
        assert [each.issuer for each in keyring.entries] == ["security manager", None]
        # The JWK's own kid is only a label.
        assert keyring.entries[0].key.kid == ISSUER.kid
        assert keyring.skipped == []


STRANGERS = [
    ({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "1"}, "RSA"),
    ({"kty": "oct"}, "oct"),
    ({"kty": "AKP", "alg": "ML-DSA-87", "pub": "AA"}, "AKP"),
    ({"kty": "OKP", "crv": "X25519", "x": "AA"}, "X25519"),
    ({"kty": "OKP", "crv": "P-256", "x": "AA"}, "P-256"),
    ({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}, "P-384"),
    (jwk(ISSUER, alg="ES256"), "ES256"),
    (jwk(ISSUER, use="enc"), "enc"),
    (jwk(ISSUER, key_ops=["encrypt", "sign"]), "encrypt"),
    (jwk(ISSUER, key_ops=[]), "key_ops"),
]


@pytest.mark.parametrize("stranger,says", STRANGERS, ids=str)
def test_a_stranger_in_a_jwk_set_is_passed_over_and_named(stranger, says):
    """RFC 7517 section 5; alone it is a set without a usable key, and given as a key it is refused."""
    keyring = Keyring.from_jwks(jwks(stranger, jwk(SECOND_ISSUER)))
    assert keyring == Keyring([public(SECOND_ISSUER)])
    (skipped,) = keyring.skipped
    assert skipped.startswith("key 0: ")
    assert says in skipped
    assert pickle.loads(pickle.dumps(keyring)).skipped == [skipped]
    assert keyring.with_delegations([], now=NOW).skipped == [skipped]
    for load in (lambda: Keyring.from_jwks(jwks(stranger)), lambda: PublicKey.from_jwk(stranger)):
        with pytest.raises(KeyRefused, match=says):
            load()


def test_a_set_without_a_key_raises():
    with pytest.raises(KeyRefused, match="no key"):
        Keyring.from_jwks('{"keys": []}')


@pytest.mark.parametrize(
    "name,ours",
    [
        ("MTR_ACTIONS", "mtr_actions"),
        ("mtr-actions", "mtr_actions"),
        ("mtr_action", "mtr_actions"),
        ("mrt_acitons", "mtr_actions"),
        ("mtrIssuer", "mtr_issuer"),
        ("mtr_audience_prefx", "mtr_audience_prefix"),
        ("mtr valid until", "mtr_valid_until"),
        ("Use", "use"),
        ("keyOps", "key_ops"),
        ("Alg", "alg"),
        ("D", "d"),
        ("Kty", "kty"),
    ],
)
def test_a_member_that_is_nearly_ours_raises(name, ours):
    """Passed over in silence, a misspelt limit would be no limit."""
    for load in (PublicKey.from_jwk, lambda mapping: Keyring.from_jwks(jwks(jwk(SECOND_ISSUER), mapping))):
        with pytest.raises(KeyRefused, match=f"{name}.*{ours}"):
            load(jwk(ISSUER) | {name: ["read_endpoint"]})
    with pytest.raises(KeyRefused, match=r"Keys.*keys"):
        Keyring.from_jwks(json.dumps({"keys": [jwk(ISSUER)], "Keys": []}))


def test_members_of_others_are_passed_over():
    """Those of the IANA registry, and names of nobody."""
    others = dict.fromkeys(
        ("x5c", "x5t", "x5t#S256", "x5u", "ext", "exp", "nbf", "iat", "key_id", "colour", "actions"), 1
    )
    assert Keyring.from_jwks(jwks(jwk(ISSUER, **others))) == Keyring([public(ISSUER)])
    assert PublicKey.from_jwk(jwk(ISSUER, **others)) == public(ISSUER)
    assert len(Keyring.from_jwks(json.dumps({"keys": [jwk(ISSUER)], "issued": 7, "jwks_uri": "x"}))) == 1


def test_a_member_that_comes_twice_is_refused():
    """Readers differ in which of the two counts (RFC 8259 section 4)."""
    one = json.dumps(jwk(ISSUER, mtr_actions=["read_endpoint"]))
    twice = one[:-1] + ', "mtr_actions": ["disconnect_service"]}'
    for text in (f'{{"keys": [{twice}]}}', f'{{"keys": [{one}], "keys": [{one}]}}'):
        with pytest.raises(KeyRefused, match="twice"):
            Keyring.from_jwks(text)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_written_as_a_jwk_that_others_read(algorithm):
    """RFC 7517 and RFC 8037, with the fully specified algorithm of RFC 9864."""
    signer = SIGNERS[algorithm]
    assert public(signer).to_jwk() == jwk(signer, alg=algorithm, kid=signer.kid.hex())
    assert PublicKey.from_jwk(public(signer).to_jwk()) == public(signer)


def test_a_keyring_is_written_as_a_jwk_set_with_its_limits():
    keyring = Keyring(
        [
            entry(ISSUER, issuer="root", valid_from=NOW, valid_until=NOW + DAY),
            entry(
                SECOND_ISSUER, token_types=["secure_command"], actions=1 << Action.GEOMODE | 1, audience_prefix="ert:"
            ),
        ]
    )
    assert Keyring.from_jwks(keyring.to_jwks()) == keyring
    first, second = json.loads(keyring.to_jwks())["keys"]
    assert first["mtr_token_types"] == ["authorization", "secure_command", "reading_key", "delegation", "revocation"]
    assert "mtr_actions" not in first
    assert second["mtr_actions"] == ["read_endpoint", "geomode"]


def test_a_jwk_set_with_a_byte_order_mark_is_read():
    text = "\ufeff" + jwks(jwk(ISSUER))
    for given in (text, text.encode(), text.encode("utf-16-le")):
        assert Keyring.from_jwks(given) == Keyring([public(ISSUER)])


@pytest.mark.parametrize(
    "members,says",
    [
        ({"mtr_colour": "red"}, "mtr_colour"),
        ({"mtr_": 1}, "mtr_"),
        ({"mtr_issuer": 7}, "mtr_issuer"),
        ({"mtr_token_types": "authorization"}, "mtr_token_types"),
        ({"mtr_token_types": ["authorisation"]}, "authorisation"),
        ({"mtr_actions": ["fly"]}, "mtr_actions"),
        ({"mtr_actions": 31}, "mtr_actions"),
        ({"mtr_actions": [0]}, "mtr_actions"),
        ({"mtr_audience_prefix": 1}, "mtr_audience_prefix"),
        ({"mtr_valid_from": "2027-01-01"}, "mtr_valid_from"),
        ({"mtr_valid_from": -1}, "mtr_valid_from"),
        ({"mtr_valid_until": 1.5}, "mtr_valid_until"),
        ({"mtr_valid_until": True}, "mtr_valid_until"),
        ({"mtr_valid_until": None}, "mtr_valid_until"),
        ({"alg": 7}, "alg"),
        ({"use": ["sig"]}, "use"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"key_ops": [1]}, "key_ops"),
        ({"kty": None}, "kty"),
        ({"crv": None}, "crv"),
        ({"kty": "RSA", "mtr_colour": "red"}, "mtr_colour"),
        ({"kty": "RSA", "d": "secret"}, "private"),
        ({"priv": "secret"}, "private"),
        ({"MTR_colour": "red"}, "MTR_colour"),
        ({"x": None}, "x"),
        ({"x": 5}, "x"),
        ({"x": "AA"}, "x"),
        ({"x": b64(bytes(33))}, "x"),
        ({"x": b64(ISSUER.raw) + "="}, "x"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_a_jwk_that_is_of_no_use_here_raises_and_says_why(members, says):
    with pytest.raises(ItronCoreError, match=says):
        Keyring.from_jwks(jwks(jwk(SECOND_ISSUER), jwk(ISSUER, **members)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_private_part_is_refused_and_not_shown(algorithm):
    secret = b64(b"this must never be shown, really")
    for load in (PublicKey.from_jwk, lambda mapping: Keyring.from_jwks(jwks(mapping))):
        with pytest.raises(KeyRefused, match="private") as refused:
            load(jwk(SIGNERS[algorithm], d=secret))
        assert secret not in repr(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"keys": {}}',
        '{"keys": 1}',
        '{"keys": [1]}',
        '{"keys": [[]]}',
        '{"keys": null}',
        b"\xff",
    ],
    ids=repr,
)
def test_an_invalid_jwk_set_raises(text):
    with pytest.raises(ItronCoreError):
        Keyring.from_jwks(text)


# PEM files.


def test_pem_files_are_a_keyring(tmp_path):
    paths = [tmp_path / "first.pem", tmp_path / "second.pem"]
    for path, signer in zip(paths, (ISSUER, SECOND_ISSUER), strict=True):
        path.write_text(pem(signer))
    wanted = Keyring([public(ISSUER), public(SECOND_ISSUER)])
    assert Keyring.from_pem_files(paths) == wanted
    assert Keyring.from_pem_files(str(path) for path in paths) == wanted
    assert Keyring.from_pem_files(map(os.fspath, paths)) == wanted


def test_a_pem_file_that_cannot_be_used_is_named(tmp_path):
    good, bad, gone = tmp_path / "good.pem", tmp_path / "bad.pem", tmp_path / "gone.pem"
    good.write_text(pem(ISSUER))
    bad.write_text("no PEM")
    for path in (bad, gone, tmp_path):
        with pytest.raises(ItronCoreError, match=path.name):
            Keyring.from_pem_files([good, path])
    with pytest.raises(ItronCoreError):
        Keyring.from_pem_files(str(good))


# Pickle.


def delegated_keyring():
    child = Signer(ED25519, "child")
    made = sign(ISSUER, "delegation", delegation(child, aud="ert:1"))
    return child, Keyring(
        [
            entry(ISSUER, issuer="root", valid_from=NOW - DAY, valid_until=NOW + 400 * DAY),
            entry(SECOND_ISSUER, token_types=["authorization"], actions=3, audience_prefix="ert:"),
        ]
    ).with_delegations([made], now=NOW)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_keyring_is_pickled_with_its_ceilings_and_delegations(protocol):
    child, keyring = delegated_keyring()
    again = pickle.loads(pickle.dumps(keyring, protocol))
    assert again == keyring
    assert hash(again) == hash(keyring)
    assert [each.delegated_by for each in again.entries] == [None, None, ISSUER.kid]
    for each, other in zip(again.entries, keyring.entries, strict=True):
        assert pickle.loads(pickle.dumps(each, protocol)) == other
        assert pickle.loads(pickle.dumps(each.key, protocol)) == other.key
    assert code_of(token(signer=child), again) == 0
    assert code_of(token(signer=child, device="ert:2"), again) == Code.CEILING_EXCEEDED


def test_a_pickled_delegation_is_still_revoked_with_its_parent_and_by_its_id():
    child, keyring = delegated_keyring()
    again = pickle.loads(pickle.dumps(keyring))
    fresh = {"version": 1, "expires_at": NOW + 60}
    for revoked, code in (
        (Revocations(issuers=[ISSUER.kid], **fresh), 601),
        (Revocations(tokens=[(ISSUER.kid, child.kid * 2)], **fresh), 604),
    ):
        assert code_of(token(signer=child), again, revocations=revoked) == code


def test_a_keyring_is_read_in_another_process():
    """Pickled here, verified there."""
    script = (
        "import pickle, sys; from itron_core import verify_tokens; "
        "keyring, tokens = pickle.load(sys.stdin.buffer); "
        f"print(verify_tokens(tokens, keyring, now={NOW})['code'].to_pylist())"
    )
    child, keyring = delegated_keyring()
    given = pickle.dumps((keyring, [token(), token(signer=child), token(signer=STRANGER)]))
    done = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, check=True)
    assert done.stdout.split() == b"[0, 0, 230]".split()


def test_copies_are_the_same_keyring():
    _, keyring = delegated_keyring()
    assert copy.copy(keyring) == copy.deepcopy(keyring) == keyring
    assert keyring != ring(ISSUER)
    assert keyring != "keyring"


def test_entries_differ_by_any_ceiling():
    ways = [
        {},
        {"issuer": "i"},
        {"token_types": ["authorization"]},
        {"actions": 1},
        {"audience_prefix": "ert:"},
        {"valid_from": 1},
        {"valid_until": 1},
    ]
    entries = [KeyringEntry(public(ISSUER), **ways_) for ways_ in ways]
    assert all((first == second) == (a == b) for a, first in enumerate(entries) for b, second in enumerate(entries))
    keyrings = {pickle.dumps(Keyring([each])) for each in entries}
    assert len(keyrings) == len(ways)


def test_keys_show_their_kid():
    assert ISSUER.kid.hex() in repr(public(ISSUER))
    assert ISSUER.kid.hex() in repr(entry(ISSUER))
    assert repr(KEYRING) == "Keyring(2 keys)"


def test_order_of_l_is_the_group_s():
    """The helper's arithmetic is that of the curve."""
    assert ed25519_multiply(L, BASE) == (0, 1)
    assert claims()[3] == "ert:100000001"
