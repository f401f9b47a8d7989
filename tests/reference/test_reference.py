"""The second reading against the pages: the worked example, the scenarios, and codes that a person worked out."""

import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from itron_core.enums import Code
from itron_core.policy import PolicyOptions
from reference import cbor
from reference.build import Parts, Signer, cose_key, envelope, header, sign, token_id
from reference.cbor import Raw, Tagged, write
from reference.claims import TYPS, device_id
from reference.generate import SMALL_ORDER_Y, cases, each_pair_of_options
from reference.generate_routes import routes
from reference.keyring import DelegationRefusedError, Entry, Keyring
from reference.revocation import Revocations, SnapshotOlderError, SnapshotRefusedError
from reference.route import ALLOWED, ALLOWED_AFTER_OPEN, REFUSED, UNDETERMINED, process_row
from reference.signatures import (
    ED25519,
    ESP256,
    IDENTITY,
    P256_N,
    KeyRefusedError,
    L,
    P,
    check_key,
    ed25519_add,
    ed25519_multiply,
    ed25519_point,
    thumbprint,
)
from reference.signatures import verify as verify_signature
from reference.token import verify
from reference.world import World

T = 1_811_937_600  # 2027-06-01 12:00:00 UTC
ISSUED = T - 3600
DAY = 86_400

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PROTECTED = bytes.fromhex("a301320448866eefbd6718c88410781a6170706c69636174696f6e2f782e6d74722d617574682b637774")
CLAIMS = bytes.fromhex(
    "a7036d6572743a313030303030303031041a6b06c140061a6afd86c007500000000005f5e1010000000000000007"
    "0945818201183f1828190e103a0001000004"
)
SIGNATURE = bytes.fromhex(
    "85362f7c599b2e158c87c74f1bd7428321655dba5aa63cdd3c00dfa9eaec981b"
    "57509d0e773c89b94063647b05ca2cc4910c84c13c3c8167af2323382c1acf02"
)
TOKEN = bytes.fromhex("d284582a") + PROTECTED + bytes.fromhex("a05840") + CLAIMS + bytes.fromhex("5840") + SIGNATURE

ONE = Signer(ED25519, "one")
TWO = Signer(ESP256, "two")
KEYRING = Keyring([Entry(each.algorithm, each.raw, token_types=frozenset(TYPS)) for each in (ONE, TWO)])


def authorization(**changes):
    """Good claims of an authorization for ert:7, changed by name."""
    return _changed(
        {3: "ert:7", 4: T + DAY, 6: ISSUED, 7: token_id(7, 1), 9: write([[1, 31]]), 40: 3600, -65537: 3}, changes
    )


def command(**changes):
    claims = {3: "ert:7", 4: T + DAY, 6: ISSUED, 7: token_id(7, 1), 9: write([[3, 2]]), -65537: 3, -65538: b"command"}
    return _changed(claims, changes)


def reading_key(**changes):
    claims = {3: "ert:7", 4: T + DAY, 6: ISSUED, 7: token_id(7, 1), 9: write([[1, 31]]), -65537: 3}
    return _changed(claims | {-65539: [1, 4, b"kcv."]}, changes)


def delegation(child, **changes):
    claims = {1: "issuer", 4: T + DAY, 6: ISSUED, 7: bytes(16), 8: {1: cose_key(child)}, 9: write([[1, 31]])}
    return _changed(claims | {-65540: [TYPS["authorization"]]}, changes)


def snapshot(**changes):
    return _changed({1: "issuer", 4: T + 60, 6: ISSUED, -65541: 7, -65542: [], -65543: [], -65544: []}, changes)


NAMES = {
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
    "types": -65540,
    "version": -65541,
    "issuers": -65542,
    "devices": -65543,
    "tokens": -65544,
}


def _changed(claims, changes):
    changed = claims | {NAMES[name]: value for name, value in changes.items()}
    return {key: value for key, value in changed.items() if value is not None}


def code_of(claims, token_type="authorization", signer=ONE, keyring=KEYRING, **options):
    payload = claims if isinstance(claims, bytes) else write(claims)
    token = Parts(write(header(signer, token_type)), payload, signer).token()
    return verify(token, keyring, options.pop("now", T), token_type, **options)[0]


# The worked example, byte for byte.


def test_the_worked_example_is_made_and_read():
    signer = Signer(ED25519, "")
    signer.private, signer.raw, signer.kid = ed25519.Ed25519PrivateKey.from_private_bytes(SEED), PUBLIC, PROTECTED[5:13]
    assert thumbprint(ED25519, PUBLIC).hex() == "866eefbd6718c8846cd7ddfe43fc74ab1daac4538ff8514ea2ec2d410a415743"
    claims = {
        3: "ert:100000001",
        4: 1_795_604_800,
        6: 1_795_000_000,
        7: bytes.fromhex("0000000005f5e1010000000000000007"),
        9: write([[1, 63]]),
        40: 3600,
        -65537: 4,
    }
    assert write(header(signer, "authorization")) == PROTECTED
    assert write(claims) == CLAIMS
    assert sign(signer, "authorization", claims) == TOKEN
    assert len(TOKEN) == 179

    code, index, read = verify(
        TOKEN,
        Keyring([Entry(ED25519, PUBLIC)]),
        1_795_000_000,
        "authorization",
        audience="ert:100000001",
        action=4,
        epoch=4,
    )
    assert (code, index) == (0, 0)
    assert read["actions"] == 0b11111
    assert (read["sequence"], read["epoch"], read["session_seconds"]) == (7, 4, 3600)


@pytest.mark.slow
def test_any_flipped_bit_of_the_example_leaves_no_trusted_claim():
    keyring = Keyring([Entry(ED25519, PUBLIC)])
    for bit in range(len(TOKEN) * 8):
        flipped = bytearray(TOKEN)
        flipped[bit // 8] ^= 1 << bit % 8
        code, _, claims = verify(bytes(flipped), keyring, 1_795_000_000, "authorization")
        assert 100 <= code < 400
        assert claims is None


# CBOR documents.


@pytest.mark.parametrize(
    "document,code",
    [
        ("", 102),
        ("1c", 102),
        ("5d", 102),
        ("ff", 102),
        ("1f", 102),
        ("df", 102),
        ("5f", 103),
        ("7fff", 103),
        ("9fff", 103),
        ("bfff", 103),
        ("18", 102),
        ("1817", 103),
        ("1818", 0),
        ("1900ff", 103),
        ("190100", 0),
        ("1a0000ffff", 103),
        ("1b00000000ffffffff", 103),
        ("1900", 102),
        ("5801", 103),
        ("41", 102),
        ("4100", 0),
        ("61ff", 102),
        ("62c080", 102),
        ("63eda080", 102),
        ("62c3a9", 0),
        ("f814", 102),
        ("f820", 0),
        ("f90000", 0),
        ("fb0000000000000000", 0),
        ("0000", 105),
        ("81818180", 0),
        ("8181818180", 106),
        ("818181819f", 103),
        ("c1c1c1c1c100", 106),
        ("a100a100a100a100a0", 106),
        ("8181818118", 102),
        ("a2010002", 102),
        ("a201000200", 0),
        ("a202000100", 103),
        ("a201000100", 104),
        ("a3010002000100", 103),
        ("a2010061ff", 102),
        ("a202001801", 103),
        ("a2020001", 103),
        ("a20100015f", 104),
        ("a218ff0000", 103),
        ("8201", 102),
        ("82011c", 102),
        ("9bffffffffffffffff", 102),
    ],
)
def test_documents_are_read_to_their_first_fault(document, code):
    if code == 0:
        cbor.read(bytes.fromhex(document))
        return
    with pytest.raises(cbor.FaultError) as caught:
        cbor.read(bytes.fromhex(document))
    assert caught.value.code == code


# The envelope and the protected header.


def test_the_envelope_is_read_front_to_back():
    good = Parts(write(header(ONE, "authorization")), write(authorization()), ONE)
    protected, payload, signature = good.protected, good.payload, good.signature()

    def code(token):
        return verify(token, KEYRING, T, "authorization")[0]

    def of(*items, tag=18):
        return code(write(Tagged(tag, list(items))))

    assert code(good.token()) == 0
    assert code(None) == code(b"") == 1
    assert code(bytes(95)) == 101
    assert code(bytes(96)) == 110
    assert code(bytes(4097)) == 100
    assert code(good.token() + b"\x00") == 105
    assert code(good.token()[:-1]) == 102
    assert of(protected, {}, payload, signature, tag=17) == 110
    assert of(protected, {}, payload) == 111
    assert of(protected, {}, payload, signature, 0) == 111
    assert of({}, {}, payload, signature) == 111
    assert of(protected, b"", payload, signature) == 111
    assert of(protected, {1: Raw(b"\x1c")}, payload, signature) == 113
    assert of(protected, Raw(b"\xbf\xff"), payload, signature) == 103
    assert of(protected, {}, None, bytes(200)) == 112
    assert of(protected, {}, Raw(b"\xf7"), bytes(200)) == 111
    assert of(bytes(129), {}, payload, signature) == 100
    assert of(bytes(128), {}, payload, signature) == 105
    assert of(protected, {}, bytes(641), signature) == 100
    assert of(protected, {}, bytes(640), signature) == 302
    assert of(b"", {1: 2}, payload, bytes(100)) == 102
    assert of(protected, {}, b"", bytes(100)) == 102
    assert of(protected, {}, payload, signature + b"x") == 300
    # Its end is beyond the token's, and it is over its limit.
    assert code(good.token()[:2] + b"\x59\xff\xff" + good.token()[4:]) == 102


@pytest.mark.parametrize(
    "fields,code",
    [
        ({}, 0),
        ({5: 0}, 200),
        ({"alg": 0}, 200),
        ({2: [1]}, 203),
        ({2: [1], 5: 0}, 200),
        ({2: [1], 1: None}, 201),
        ({4: None}, 201),
        ({16: None}, 201),
        ({16: None, 1: "x"}, 201),
        ({1: "EdDSA"}, 202),
        ({1: "EdDSA", 2: []}, 202),
        ({4: bytes(7)}, 202),
        ({4: "12345678"}, 202),
        ({16: 61}, 202),
        ({16: ""}, 210),
        ({16: TYPS["reading_key"], 1: -7}, 210),
        ({1: -7}, 221),
        ({1: -8}, 221),
        ({1: -50}, 220),
        ({1: -51}, 220),
        ({1: 5}, 220),
        ({1: -(2**64)}, 220),
        ({4: bytes(8)}, 230),
        ({1: -9}, 231),
        ({1: -9, 4: TWO.kid}, 302),
    ],
)
def test_the_lowest_number_wins_in_the_protected_header(fields, code):
    fields = {key: value for key, value in (header(ONE, "authorization") | fields).items() if value is not None}
    token = Parts(write(fields), write(authorization()), ONE).token()
    assert verify(token, KEYRING, T, "authorization")[0] == code


def test_a_header_that_is_not_a_map_has_a_wrong_type():
    for protected in (write([1]), write(0), write("x")):
        assert verify(Parts(protected, write(authorization()), ONE).token(), KEYRING, T, "authorization")[0] == 202


def test_legacy_algorithms_fit_their_keys_only():
    for signer, alg, code in ((ONE, -8, 0), (TWO, -7, 0), (ONE, -7, 231), (TWO, -8, 231), (ONE, -19, 0), (TWO, -9, 0)):
        token = Parts(write(header(signer, "authorization") | {1: alg}), write(authorization()), signer).token()
        assert verify(token, KEYRING, T, "authorization", legacy_algorithms=True)[0] == code


# Signatures and keys.


def test_ed25519_signatures_have_one_encoding():
    message = b"message"
    good = ONE.sign(message)
    s = int.from_bytes(good[32:], "little")

    def code(r, s):
        return verify_signature(ED25519, ONE.raw, message, r + s.to_bytes(32, "little"))

    assert code(good[:32], s) == 0
    assert code(good[:32], s + L) == 301
    assert code((P + 3).to_bytes(32, "little"), s) == 301
    assert code((1 | 1 << 255).to_bytes(32, "little"), s) == 301
    assert code((2).to_bytes(32, "little"), s) == 302
    for y in SMALL_ORDER_Y:
        assert code(y.to_bytes(32, "little"), s) == 302
    # Both faults at once: the encoding comes first.
    assert code((1).to_bytes(32, "little"), L) == 301


def test_a_second_p256_signature_is_valid_and_edges_are_not():
    message = b"message"
    good = TWO.sign(message)
    r, s = int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")

    def code(r, s):
        return verify_signature(ESP256, TWO.raw, message, r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    assert code(r, s) == code(r, P256_N - s) == 0
    assert code(0, s) == code(r, 0) == code(P256_N, s) == code(r, P256_N) == 301
    assert code(P256_N - 1, P256_N - 1) == 302


def test_keys_of_no_use_are_refused_at_load():
    torsion = ed25519_point(SMALL_ORDER_Y[3].to_bytes(32, "little"))
    mixed = ed25519_add(ed25519_point(ONE.raw), torsion)
    assert ed25519_multiply(8, torsion) == IDENTITY
    weak = [y.to_bytes(32, "little") for y in [*SMALL_ORDER_Y, P, P + 1, 2]]
    weak.append((mixed[1] | (mixed[0] & 1) << 255).to_bytes(32, "little"))
    weak.append((1 | 1 << 255).to_bytes(32, "little"))
    for raw in weak:
        with pytest.raises(KeyRefusedError):
            check_key(ED25519, raw)
    for raw in (TWO.raw[:-1] + bytes([TWO.raw[-1] ^ 1]), b"\x04" + bytes(64), b"\x02" + TWO.raw[1:], TWO.raw[:33]):
        with pytest.raises(KeyRefusedError):
            check_key(ESP256, raw)
    with pytest.raises(KeyRefusedError):
        Keyring([Entry(ONE.algorithm, ONE.raw), Entry(ONE.algorithm, ONE.raw, issuer="again")])


# Claims.


@pytest.mark.parametrize(
    "changes,code",
    [
        ({}, 0),
        ({"aud": None, "exp": "x"}, 401),
        ({"exp": "x", "iss": "x"}, 402),
        ({"iss": 1, "exi": 59}, 403),
        ({"iss": 1}, 403),
        ({"exi": 59, "exp": ISSUED}, 404),
        ({"exi": 60}, 0),
        ({"exi": 28_801}, 404),
        ({"exi": None}, 401),
        ({"exi": -1}, 402),
        ({"exp": ISSUED + 7 * DAY + 1, "nbf": ISSUED + 8 * DAY}, 405),
        ({"exp": ISSUED}, 406),
        ({"exp": T, "nbf": T}, 406),
        ({"nbf": T + 121}, 501),
        ({"nbf": T + 120}, 0),
        ({"nbf": 1_577_836_799}, 404),
        ({"nbf": 1_577_836_800}, 0),
        ({"sub": ""}, 404),
        ({"sub": "é" * 32}, 0),
        ({"sub": "é" * 32 + "x"}, 404),
        ({"sub": Raw(b"\xf6")}, 402),
        ({"sub": Raw(b"\xf9\x00\x00")}, 402),
        ({"sub": Tagged(1, 0)}, 402),
        ({"aud": "ert:07"}, 404),
        ({"aud": "ert:8"}, 407),
        ({"cti": token_id(7, 2**63)}, 404),
        ({"cti": token_id(7, 2**63 - 1)}, 0),
        ({"cti": bytes(15)}, 404),
        ({"cti": "x"}, 402),
        ({"epoch": 2**32}, 404),
        ({"epoch": 2**32 - 1}, 0),
        ({"command": b"x"}, 403),
        ({"cnf": {3: bytes(8)}}, 0),
        ({"cnf": {3: bytes(7)}}, 404),
        ({"cnf": {3: "12345678"}}, 402),
        ({"cnf": {}}, 402),
        ({"cnf": {1: {}, 3: bytes(8)}}, 402),
        ({"cnf": {2: 0}}, 402),
        ({"cnf": {1: {}}}, 404),
        ({"cnf": {1: cose_key(TWO)}}, 0),
        ({"cnf": {1: cose_key(TWO) | {-3: True}}}, 404),
        ({"cnf": {1: cose_key(ONE) | {2: b"kid"}}}, 404),
        ({"scope": b""}, 102),
        ({"scope": b"\x80\x00"}, 105),
        ({"scope": b"\x80\x00", "aud": None}, 105),
        ({"scope": b"\x80"}, 404),
        ({"scope": b"\xa0"}, 402),
        ({"scope": "x"}, 402),
        ({"scope": write([[1, -1]])}, 402),
        ({"scope": write([[1, 1, 1]])}, 402),
        ({"scope": write([[1, 0]])}, 404),
        ({"scope": write([[1, 2**32]])}, 404),
        ({"scope": write([[2, 1], [1, 1]])}, 404),
        ({"scope": write([[group, 1] for group in range(16)])}, 0),
        ({"scope": write([[group, 1] for group in range(17)])}, 404),
        ({"scope": write([[0, 7], [99, 2**32 - 1]])}, 0),
    ],
    ids=repr,
)
def test_claims_of_an_authorization(changes, code):
    assert code_of(authorization(**changes)) == code


def test_claims_are_a_small_map_of_integers():
    assert code_of(write([1])) == 400
    assert code_of(authorization() | {"x": 0}) == 400
    assert code_of(authorization() | {100 + n: 0 for n in range(9)}) == 403
    assert code_of(authorization() | {100 + n: 0 for n in range(10)}) == 400
    assert code_of(authorization(scope=b"\x1c") | {"x": 0}) == 400
    assert code_of(write(authorization()) + b"\x00") == 105
    assert code_of(b"") == 102


@pytest.mark.parametrize(
    "changes,code",
    [
        ({}, 0),
        ({"scope": write([[4, 1]])}, 401),
        ({"scope": write([[4, 1]]), "exi": 60}, 0),
        ({"exi": 60}, 407),
        ({"exi": 59}, 404),
        ({"scope": write([[4, 2]]), "exi": 60}, 407),
        ({"scope": write([[4, 3]])}, 404),
        ({"scope": write([[4, 1], [5, 1]])}, 404),
        ({"scope": write([[9, 1]])}, 0),
        ({"command": None}, 401),
        ({"command": b""}, 404),
        ({"command": bytes(256)}, 0),
        ({"command": bytes(257)}, 404),
    ],
    ids=repr,
)
def test_claims_of_a_secure_command(changes, code):
    assert code_of(command(**changes), "secure_command") == code


@pytest.mark.parametrize(
    "rkey,code",
    [
        ([1, 0, b"1234"], 0),
        ([4, 2**64 - 1, b"1234"], 0),
        ([0, 1, b"1234"], 404),
        ([5, 1, b"1234"], 404),
        ([5, 1, "1234"], 402),
        ([1, 1, b"123"], 404),
        ([1, 1], 402),
        ([1, 1, b"1234", 1], 402),
        ({}, 402),
    ],
    ids=repr,
)
def test_a_reading_key_names_itself(rkey, code):
    assert code_of(reading_key(rkey=rkey), "reading_key") == code


@pytest.mark.parametrize(
    "changes,code",
    [
        ({}, 0),
        ({"aud": "any prefix"}, 0),
        ({"cti": b"\xff" * 16}, 0),
        ({"cnf": {3: bytes(8)}}, 402),
        ({"cnf": {1: {1: 1, -1: 6, -2: bytes([2]) + bytes(31)}}}, 0),
        ({"cnf": None}, 401),
        ({"types": []}, 404),
        ({"types": ["x"]}, 404),
        ({"types": [TYPS["reading_key"]] * 2}, 404),
        ({"types": [TYPS["reading_key"], 1]}, 402),
        ({"types": list(TYPS.values())}, 0),
        ({"exp": ISSUED + 400 * DAY}, 0),
        ({"exp": ISSUED + 400 * DAY + 1}, 405),
        ({"iss": None}, 401),
        ({"epoch": 1}, 403),
    ],
    ids=repr,
)
def test_claims_of_a_delegation(changes, code):
    assert code_of(delegation(Signer(ED25519, "child"), **changes), "delegation") == code


@pytest.mark.parametrize(
    "changes,code",
    [
        ({}, 0),
        ({"version": None}, 401),
        ({"issuers": [bytes(7)]}, 404),
        ({"issuers": ["x"]}, 402),
        ({"issuers": [b"b" * 8, b"a" * 8]}, 404),
        ({"issuers": [b"a" * 8, b"a" * 8]}, 404),
        ({"issuers": [b"a" * 8, b"b" * 8]}, 0),
        ({"devices": [["ert:10", 0, 0, 0], ["ert:2", 2**64 - 1, 0, 0]]}, 0),
        ({"devices": [["ert:2", 0, 0, 0], ["ert:10", 0, 0, 0]]}, 404),
        ({"devices": [["ert:2", 0, 0]]}, 402),
        ({"devices": [["ert:02", 0, 0, 0]]}, 404),
        ({"tokens": [[bytes(8), bytes(16)], [bytes(8), b"\x01" * 16]]}, 0),
        ({"tokens": [[b"\x01" * 8, bytes(16)], [bytes(8), b"\x01" * 16]]}, 404),
        ({"tokens": [[bytes(8), bytes(15)]]}, 404),
        ({"exp": ISSUED + DAY + 1}, 405),
        ({"nbf": T}, 403),
    ],
    ids=repr,
)
def test_claims_of_a_snapshot(changes, code):
    assert code_of(snapshot(**changes), "revocation") == code


@pytest.mark.parametrize(
    "name,number",
    [
        ("ert:0", 0),
        ("ert:281474976710655", 2**48 - 1),
        ("ert:281474976710656", None),
        ("ert:00", None),
        ("ert:", None),
        ("ert:1\n", None),
        ("eui64:0001000000000000", 2**48),
        ("eui64:0000ffffffffffff", None),
        ("eui64:ffffffffffffffff", 2**64 - 1),
        ("eui64:FFFFFFFFFFFFFFFF", None),
    ],
)
def test_a_device_has_one_name(name, number):
    assert device_id(name) == number


# Ceilings, time, revocation, audience, scope.


@pytest.mark.slow
def test_ceilings_come_before_the_issuer_s_window():
    def keyring(**ceilings):
        return Keyring([Entry(ONE.algorithm, ONE.raw, **{"token_types": frozenset(TYPS)} | ceilings)])

    good = authorization()
    assert code_of(good, keyring=keyring(actions=0b11111)) == 0
    assert code_of(good, keyring=keyring(actions=0b1111)) == 410
    assert code_of(good, keyring=keyring(audience_prefix="ert:7")) == 0
    assert code_of(good, keyring=keyring(audience_prefix="ert:77")) == 410
    assert code_of(good, keyring=keyring(token_types=frozenset({"secure_command"}))) == 232
    assert code_of(good, keyring=keyring(valid_from=ISSUED, valid_until=ISSUED + 1)) == 0
    assert code_of(good, keyring=keyring(valid_from=ISSUED + 1)) == 411
    assert code_of(good, keyring=keyring(valid_until=ISSUED)) == 411
    assert code_of(good, keyring=keyring(valid_until=ISSUED, actions=1)) == 410
    assert code_of(snapshot(), "revocation", keyring=keyring(audience_prefix="e")) == 410


def test_windows_are_half_open():
    claims = authorization(exp=T + 100, nbf=T)
    moments = [(T - 121, 501), (T - 120, 0), (T + 219, 0), (T + 220, 502), (ISSUED - 121, 500), (ISSUED - 120, 501)]
    for now, code in moments:
        assert code_of(claims, now=now) == code
    assert code_of(claims, now=T + 100, skew=0) == 502
    assert code_of(claims, now=T + 99, skew=0) == 0
    assert code_of(authorization(exp=ISSUED + 61), max_lifetime=60) == 405


def test_revocation_is_checked_in_its_order():
    def code(now=T, epoch=None, token_type="authorization", claims=None, **revoked):
        revocations = Revocations(1, T + 1, **revoked)
        return code_of(claims or authorization(), token_type, now=now, epoch=epoch, revocations=revocations)

    mine = frozenset({ONE.kid})
    this = frozenset({(ONE.kid, token_id(7, 1))})
    assert code() == 0
    assert code(now=T + 1, issuers=mine) == 600
    assert code(issuers=mine, devices={"ert:7": (2, 0, 0)}) == 601
    assert code(devices={"ert:7": (2, 0, 0)}, epoch=4) == 602
    assert code(devices={"ert:7": (1, ISSUED, 3)}) == 0
    assert code(devices={"ert:7": (0, ISSUED + 1, 0)}) == 602
    assert code(devices={"ert:7": (0, 0, 4)}) == 602
    assert code(devices={"ert:8": (9, T, 9)}) == 0
    assert code(epoch=4, tokens=this) == 603
    assert code(epoch=3, tokens=this) == 604
    assert code_of(authorization(), epoch=4) == 603


def test_audience_comes_before_scope():
    assert code_of(authorization(), audience="ert:8", action=8) == 700
    assert code_of(authorization(), audience="ert:7", action=8) == 701
    assert code_of(authorization(), audience="ert:7", action=4) == 0
    assert code_of(authorization(), action=24) == 0
    assert code_of(command(), "secure_command", action=24) == 701
    child = Signer(ED25519, "child")
    assert code_of(delegation(child, aud="ert:"), "delegation", audience="ert:8") == 0
    assert code_of(delegation(child, aud="eui64:"), "delegation", audience="ert:8") == 700
    assert code_of(delegation(child), "delegation", audience="ert:8", action=24) == 701


def test_the_columns_of_a_refused_token():
    token = sign(ONE, "authorization", authorization(exi=59))
    assert verify(token, KEYRING, T, "authorization") == (404, 0, None)
    code, index, claims = verify(sign(TWO, "authorization", authorization()), KEYRING, T + 30 * DAY, "authorization")
    assert (code, index, claims["audience"]) == (502, 1, "ert:7")
    assert verify(token, KEYRING, T, "secure_command") == (210, 0, None)
    code, _, claims = verify(sign(ONE, "authorization", authorization(exp=ISSUED)), KEYRING, T, "authorization")
    assert (code, claims["audience"]) == (406, "ert:7")


# Delegations and snapshots.


def test_a_delegated_key_has_its_own_ceilings():
    child = Signer(ED25519, "child")
    types = [TYPS["authorization"], TYPS["delegation"]]
    token = sign(ONE, "delegation", delegation(child, aud="ert:7", nbf=ISSUED - 60, types=types))
    keyring = KEYRING.with_delegations([token], T)
    entry = keyring.entries[2]
    assert (entry.issuer, entry.audience_prefix, entry.actions) == ("issuer", "ert:7", 0b11111)
    assert (entry.valid_from, entry.valid_until) == (ISSUED - 60, T + DAY)
    assert entry.token_types == {"authorization"}
    assert code_of(authorization(), signer=child, keyring=keyring) == 0
    assert code_of(authorization(aud="ert:8", cti=token_id(8, 1)), signer=child, keyring=keyring) == 410
    assert code_of(command(), "secure_command", signer=child, keyring=keyring) == 232
    grandchild = delegation(Signer(ED25519, "grandchild"))
    assert code_of(grandchild, "delegation", signer=child, keyring=keyring) == 232

    for revoked in ({"issuers": frozenset({ONE.kid})}, {"issuers": frozenset({child.kid})}):
        assert (
            code_of(authorization(), signer=child, keyring=keyring, revocations=Revocations(1, T + 1, **revoked)) == 601
        )
    revocations = Revocations(1, T + 1, tokens=frozenset({(ONE.kid, bytes(16))}))
    assert code_of(authorization(), signer=child, keyring=keyring, revocations=revocations) == 604


def test_a_delegation_lies_inside_its_parent():
    child = Signer(ESP256, "child")
    parent = Keyring(
        [
            Entry(
                ONE.algorithm,
                ONE.raw,
                actions=0b111,
                audience_prefix="ert:",
                token_types=frozenset({"delegation", "authorization"}),
                valid_from=ISSUED - 10,
                valid_until=T + 10,
            )
        ]
    )
    inside = {"aud": "ert:1", "scope": write([[1, 7]]), "exp": T + 10}
    for changes, code in (
        ({}, 0),
        ({"aud": None}, 0),
        ({"aud": "er"}, 410),
        ({"scope": write([[1, 15]])}, 410),
        ({"scope": write([[1, 2**32 - 32 | 7], [77, 1]])}, 0),
        ({"exp": T + 11}, 410),
        ({"nbf": ISSUED - 10}, 0),
        ({"nbf": ISSUED - 11}, 410),
        ({"types": [TYPS["reading_key"]]}, 410),
    ):
        assert code_of(delegation(child, **inside | changes), "delegation", keyring=parent) == code
    token = sign(ONE, "delegation", delegation(child, **inside | {"aud": None}))
    assert parent.with_delegations([token], T).entries[1].audience_prefix == "ert:"
    with pytest.raises(DelegationRefusedError):
        parent.with_delegations([token], T + DAY)


def test_a_delegation_of_an_unusable_key_is_genuine_but_raises():
    claims = delegation(ONE, cnf={1: {1: 1, -1: 6, -2: (2).to_bytes(32, "little")}})
    assert code_of(claims, "delegation") == 0
    with pytest.raises(KeyRefusedError):
        KEYRING.with_delegations([sign(ONE, "delegation", claims)], T)
    with pytest.raises(KeyRefusedError):
        KEYRING.with_delegations([sign(ONE, "delegation", delegation(TWO))], T)


def test_a_snapshot_is_read_whole():
    rows = [["ert:7", 1, 2, 3]]
    many = sorted(Signer(ED25519, number).kid for number in range(300))
    token = sign(ONE, "revocation", snapshot(devices=rows, issuers=many, tokens=[[bytes(8), bytes(16)]]))
    assert len(token) > 1024
    revocations = Revocations.from_token(token, KEYRING, T, newer_than=7)
    assert (revocations.version, revocations.expires_at, revocations.devices) == (7, T + 60, {"ert:7": (1, 2, 3)})
    assert len(revocations.issuers) == 300
    assert revocations.tokens == {(bytes(8), bytes(16))}
    with pytest.raises(SnapshotOlderError):
        Revocations.from_token(token, KEYRING, T, newer_than=8)
    with pytest.raises(SnapshotRefusedError):
        Revocations.from_token(token, KEYRING, T + 200)


# The scenarios of the policy, by their numbers.


def decide(permissions=-1, now=T, options=None, **row):
    row = {"device": "ert:7", "device_class": "enhanced", "security_level": "command"} | row
    return process_row(row, KEYRING, now=now, permissions=permissions, options=options or PolicyOptions())


def outcome(**row):
    decided = decide(**row)
    return decided["decision"], decided["reason"]


def test_scenario_1_a_basic_device_answers_a_permitted_user():
    row = {"device_class": "basic", "security_level": "unknown", "action": "read_endpoint"}
    assert outcome(permissions=1, **row) == (ALLOWED, 0)
    assert outcome(permissions=0, **row) == (REFUSED, 1000)


def test_scenario_2_ready_to_secure_is_programmed_at_once():
    assert outcome(security_level="ready_to_secure", action="program_endpoint") == (ALLOWED, 0)


def test_scenario_3_no_service_on_an_unsecured_device():
    held = sign(ONE, "secure_command", command(scope=write([[3, 2]])))
    decided = decide(security_level="ready_to_secure", action="disconnect_service", secure_command=held)
    assert (decided["decision"], decided["reason"], decided["missing"]) == (REFUSED, 1002, 256)
    assert decided["secure_command_code"] == 0


def test_scenario_4_a_disconnect_needs_its_command_once():
    row = {"action": "disconnect_service"}
    held = {"secure_command": sign(ONE, "secure_command", command(scope=write([[3, 2]])))}
    assert outcome(**row) == (REFUSED, 1020)
    assert outcome(**row, **held) == (ALLOWED, 0)
    assert outcome(**row, **held, secure_command_used=True) == (REFUSED, 1031)
    assert decide(**row, **held, secure_command_used=True)["missing"] == 16
    assert outcome(**row, **held, commands_used=2) == (REFUSED, 1030)
    assert decide(**row, commands_used=2)["missing"] == 16 | 128


def test_scenario_5_a_connect_command_disconnects_nothing():
    held = sign(ONE, "secure_command", command(scope=write([[3, 1]])))
    assert outcome(action="disconnect_service", secure_command=held) == (REFUSED, 701)


def test_scenario_6_a_held_command_opens_the_session_first():
    held = {"secure_command": sign(ONE, "secure_command", command(scope=write([[4, 1]]), exi=3600))}
    row = {"action": "program_endpoint"}
    assert outcome(**row, **held) == (ALLOWED_AFTER_OPEN, 0)
    assert decide(**row, **held)["missing"] == 0
    assert outcome(**row) == (REFUSED, 1010)
    assert decide(**row)["missing"] == 8 | 16
    assert outcome(**row, **held, secure_command_used=True) == (REFUSED, 1031)


def test_scenario_7_a_full_security_device_is_read_with_its_key():
    row = {"security_level": "full", "action": "read_endpoint"}
    other = sign(ONE, "reading_key", reading_key(aud="ert:8", cti=token_id(8, 1)))
    assert outcome(**row) == (REFUSED, 1021)
    assert outcome(**row, reading_key=other) == (REFUSED, 700)
    assert outcome(**row, reading_key=sign(ONE, "reading_key", reading_key())) == (ALLOWED, 0)
    narrow = sign(ONE, "reading_key", reading_key(scope=write([[1, 2]])))
    assert outcome(**row, reading_key=narrow) == (REFUSED, 701)


def test_scenario_8_network_mode_is_always_secure():
    row = {
        "device_class": "multi_mode",
        "mode": "network",
        "security_level": "ready_to_secure",
        "action": "read_endpoint",
    }
    assert outcome(**row) == (REFUSED, 1010)
    assert decide(**row)["missing"] == 8 | 32
    held = {"authorization": sign(ONE, "authorization", authorization())}
    assert outcome(**row, **held) == (ALLOWED_AFTER_OPEN, 0)
    assert outcome(**row, **held, authorizations_used=2) == (REFUSED, 1030)
    assert decide(**row, **held, authorizations_used=2)["missing"] == 128
    assert outcome(**row, secure_command=sign(ONE, "secure_command", command(scope=write([[4, 1]]), exi=60))) == (
        REFUSED,
        1010,
    )
    assert outcome(**row | {"action": "program_endpoint"}, **held) == (REFUSED, 701)


@pytest.mark.parametrize(
    "after,decision,reason,until",
    [(3599, ALLOWED, 0, T + 3600), (3600, REFUSED, 1011, None), (-1, REFUSED, 1012, None), (0, ALLOWED, 0, T + 3600)],
)
def test_scenario_9_a_session_is_half_open(after, decision, reason, until):
    decided = decide(now=T + after, action="program_endpoint", session_opened_at=T, session_seconds=3600)
    assert (decided["decision"], decided["reason"], decided["session_until"]) == (decision, reason, until)


def test_scenario_10_one_flipped_bit_and_nothing_is_trusted():
    token = sign(TWO, "authorization", authorization(aud="ert:8", cti=token_id(8, 1), exp=T - DAY, iat=T - 2 * DAY))
    for bit in range(0, len(token) * 8, 7):
        flipped = bytearray(token)
        flipped[bit // 8] ^= 1 << bit % 8
        assert 100 <= verify(bytes(flipped), KEYRING, T, "authorization", audience="ert:7")[0] < 400


def test_scenario_11_expired_comes_before_another_device():
    token = sign(TWO, "authorization", authorization(aud="ert:8", cti=token_id(8, 1), exp=T - DAY, iat=T - 2 * DAY))
    assert verify(token, KEYRING, T, "authorization", audience="ert:7")[0] == 502


def test_scenario_15_a_malformed_row_has_its_own_refusal():
    for wrong in (
        {"device": "ert:07"},
        {"device": None},
        {"action": "reed"},
        {"action": 5},
        {"security_level": None},
        {"device_class": 3},
        {"mode": "x"},
    ):
        decided = decide(**{"action": "read_endpoint", "authorization": b"x"} | wrong)
        assert (decided["decision"], decided["reason"], decided["missing"]) == (REFUSED, 1005, 0)
        assert (decided["unverified"], decided["session_until"], decided["authorization_code"]) == (False, None, None)
    assert outcome(action="Read-Endpoint", device_class="ENHANCED", security_level=1) == (ALLOWED, 0)


def test_scenario_16_requested_data_need_a_session():
    assert outcome(action="read_endpoint") == (ALLOWED, 0)
    asked = {"action": "read_interval_data"}
    session = {"session_opened_at": T, "session_seconds": 60}
    assert outcome(**asked) == (REFUSED, 1010)
    assert decide(**asked)["missing"] == 8 | 16
    assert outcome(**asked, **session) == (ALLOWED, 0)
    full = asked | {"security_level": "full"}
    assert decide(**full)["missing"] == 4 | 8 | 16
    assert outcome(**full, **session) == (REFUSED, 1021)
    key = {"reading_key": sign(ONE, "reading_key", reading_key())}
    assert outcome(**full, **key) == (REFUSED, 1010)
    assert outcome(**full, **session, **key) == (ALLOWED, 0)


# What the scenarios leave out.


def test_an_unknown_mode_is_undetermined_until_the_device_is_asked():
    row = {"device_class": "multi_mode", "action": "program_endpoint"}
    assert outcome(**row) == (UNDETERMINED, 1003)
    assert decide(**row)["missing"] == 8 | 16 | 32
    held = sign(ONE, "secure_command", command(scope=write([[4, 1]]), exi=3600))
    assert decide(**row, secure_command=held)["missing"] == 8 | 32
    assert outcome(**row, permissions=0) == (REFUSED, 1000)
    assert outcome(**row, on_menu=False) == (REFUSED, 1001)


def test_a_session_is_not_opened_to_be_closed():
    held = sign(ONE, "secure_command", command(scope=write([[4, 1]]), exi=3600))
    assert decide(action="close_session", secure_command=held)["missing"] == 8
    assert outcome(action="close_session", secure_command=held) == (REFUSED, 1010)
    assert outcome(action="close_session", session_opened_at=T, session_seconds=60) == (ALLOWED, 0)


def test_a_switch_of_mode_needs_two_things():
    row = {"device_class": "multi_mode", "mode": "mobile", "action": "switch_to_network_mode"}
    assert decide(**row)["missing"] == 32 | 64
    assert outcome(**row) == (REFUSED, 1022)
    held = {"authorization": sign(ONE, "authorization", authorization(scope=write([[5, 2]])))}
    assert outcome(**row, **held) == (REFUSED, 1023)
    assert outcome(**row, **held, key_exchange=True) == (ALLOWED, 0)
    assert outcome(**row, **held, key_exchange=True, authorizations_used=2) == (REFUSED, 1030)
    assert outcome(**row, key_exchange=True, authorization=sign(ONE, "authorization", authorization())) == (
        REFUSED,
        701,
    )


def test_an_empty_token_counts_as_missing():
    for empty in (None, b""):
        decided = decide(action="disconnect_service", secure_command=empty, secure_command_used=True)
        assert (decided["reason"], decided["secure_command_code"]) == (1020, None)


def test_an_unverified_level_is_marked():
    def marked(**row):
        return decide(**{"action": "read_endpoint"} | row)["unverified"]

    assert marked(security_level="unknown")
    assert outcome(security_level="unknown", action="read_endpoint") == (ALLOWED, 0)
    assert outcome(security_level="unknown", action="program_endpoint") == (REFUSED, 1004)
    assert outcome(security_level="unknown", action="switch_to_mobile_mode") == (REFUSED, 1001)
    assert marked(level_verified=False)
    assert not marked()
    assert not marked(device_class="basic", level_verified=False)
    assert not marked(device_class="multi_mode", mode="network", level_verified=False)
    assert marked(device_class="multi_mode", level_verified=False)
    assert marked(device_class="multi_mode", mode="mobile", level_verified=False)


# The generators.


@pytest.mark.slow
def test_random_tokens_reach_every_code_of_the_checks():
    world = World(1)
    codes = set()
    for case in [*each_pair_of_options(world, 0), *cases(world, 3, 4000)]:
        options = dict(case.options)
        if options.get("revocations") is not None:
            options["revocations"] = world.revocations if options["revocations"] else None
        code, index, claims = verify(case.token, world.keyring, case.now, case.token_type, **options)
        codes.add(code)
        assert (claims is None) == (0 < code < 405)
        assert index is not None or code <= 230
    # The generator makes bytes; text is read before all checks (test_tokens.py).
    assert {code for code in Code if code < 800} - codes <= {Code.UNPROTECTED_NOT_EMPTY, Code.TEXT_UNREADABLE}


@pytest.mark.slow
def test_random_tokens_are_the_same_for_a_seed():
    assert list(cases(World(1), 5, 50)) == list(cases(World(1), 5, 50))
    assert list(cases(World(1), 5, 50)) != list(cases(World(1), 6, 50))


@pytest.mark.slow
def test_random_rows_reach_every_reason():
    world, reasons = World(1), set()
    for route in routes(world, 1, 60, 100):
        for row in route.rows:
            decided = process_row(
                row,
                world.keyring,
                now=route.now,
                permissions=route.permissions,
                options=route.options,
                revocations=world.revocations if route.with_revocations else None,
            )
            reasons.add(decided["reason"])
            assert (decided["decision"] in {ALLOWED, ALLOWED_AFTER_OPEN}) == (decided["reason"] == 0)
            if decided["decision"] == REFUSED and decided["reason"] != 1005:
                assert decided["missing"]
            if decided["reason"] == 0:
                assert decided["missing"] == 0
    policy = {1000, 1001, 1002, 1003, 1004, 1005, 1010, 1011, 1012, 1020, 1021, 1022, 1023, 1030, 1031}
    assert reasons >= policy | {0, 404, 502, 603, 700, 701}


def test_encoding_and_reading_are_each_other_s_mirror():
    rng = random.Random(1)
    for size in (0, 1, 23, 24, 255, 256, 65_535, 65_536):
        for value in (size, -1 - size, rng.randbytes(size), "x" * size):
            item = cbor.read(write(value))
            assert item.value == value
    assert envelope(b"", b"", b"") == bytes.fromhex("d28440a04040")
