"""Bare signatures in bulk: outside vectors, the exact Ed25519 rule, both forms of an ECDSA signature, keys by row."""

import hashlib
import itertools
import re
from pathlib import Path

import cryptography_vectors
import pyarrow as pa
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from helpers import ALGORITHMS, ISSUER, SECOND_ISSUER, SIGNERS, STRANGER, public
from itron_core import KeyRefused, PublicKey, verify_signatures
from reference.build import Signer
from reference.generate import ED25519_SIGNATURES, EDGES_OF_R, P256_SIGNATURES
from reference.signatures import ED25519, ESP256, P256_N, L, P, ed25519_add, ed25519_multiply, ed25519_point
from reference.signatures import verify as verify_plainly

pytestmark = pytest.mark.kernels

VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"
# RFC 8032 section 5.1: the base point.
BASE = ed25519_point(bytes.fromhex("58" + "66" * 31))


def codes(key, messages, signatures, **options):
    return verify_signatures(key, messages, signatures, **options)["code"].to_pylist()


def encode(point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


# Outside vectors.


@pytest.fixture(scope="module")
def sign_input():
    """The 1,024 vectors of Ed25519's authors, RFC 8032's first three among them: (key, message, signature)."""
    lines = (VECTORS / "Ed25519" / "sign.input").read_text().split()
    fields = [line.split(":") for line in lines]
    return [
        (PublicKey.from_raw("Ed25519", bytes.fromhex(public)), bytes.fromhex(message), bytes.fromhex(signed)[:64])
        for _, public, message, signed, _ in fields
    ]


def test_all_vectors_of_ed25519_s_authors_verify_with_one_key_per_row(sign_input):
    keys, messages, signatures = (list(column) for column in zip(*sign_input, strict=True))
    assert len(keys) == 1024
    assert codes(keys, messages, signatures, key_index=list(range(1024))) == [0] * 1024


def test_all_vectors_of_ed25519_s_authors_verify_one_by_one(sign_input):
    for key, message, signature in sign_input[::7]:
        assert codes(key, [message], [signature]) == [0]


def test_a_vector_s_signature_is_refused_for_another_message_and_another_key(sign_input):
    keys, messages, signatures = (list(column) for column in zip(*sign_input, strict=True))
    index = list(range(1024))
    assert codes(keys, messages[1:] + messages[:1], signatures, key_index=index) == [302] * 1024
    assert codes(keys, messages, signatures, key_index=index[1:] + index[:1]) == [302] * 1024


def test_rfc_8032_section_7_1():
    """Tests 1, 2, 3 and SHA(abc), copied from the RFC."""
    vectors = {
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a": (
            b"",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0"
                "595bbe24655141438e7a100b"
            ),
        ),
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c": (
            b"\x72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eae"
                "b4302aeeb00d291612bb0c00"
            ),
        ),
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025": (
            b"\xaf\x82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9"
                "716ed28dc027beceea1ec40a"
            ),
        ),
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf": (
            hashlib.sha512(b"abc").digest(),
            (
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c"
                "138ac17ad9bef1177331a704"
            ),
        ),
    }
    for raw, (message, signature) in vectors.items():
        key = PublicKey.from_raw("Ed25519", bytes.fromhex(raw))
        assert codes(key, [message], [bytes.fromhex(signature)]) == [0]


def nist_p256():
    """NIST's SigVer of P-256 with SHA-256: (key, message, signature, whether it is good)."""
    text = (VECTORS / "ECDSA" / "FIPS_186-3" / "SigVer.rsp").read_text().replace("\r", "")
    section = text.split("[P-256,SHA-256]")[1].split("[")[0]
    rows = re.findall(r"Msg = (\w+)\nQx = (\w+)\nQy = (\w+)\nR = (\w+)\nS = (\w+)\nResult = ([PF])", section)
    for message, x, y, r, s, result in rows:
        yield bytes.fromhex(x + y), bytes.fromhex(message), bytes.fromhex(r.zfill(64) + s.zfill(64)), result == "P"


def test_nist_s_p256_vectors_have_nist_s_answers():
    answers = []
    for raw, message, signature, is_good in nist_p256():
        (code,) = codes(PublicKey.from_raw("ESP256", raw), [message], [signature])
        assert (code == 0) == is_good
        answers.append(is_good)
    assert len(answers) == 15
    assert len(set(answers)) == 2


def test_nist_s_generated_p256_signatures_verify_in_one_call():
    """SigGen of P-256 with SHA-256: 15 keys, a row each."""
    text = (VECTORS / "ECDSA" / "FIPS_186-3" / "SigGen.txt").read_text().replace("\r", "")
    section = text.split("[P-256,SHA-256]")[1].split("[")[0]
    rows = re.findall(r"Msg = (\w+)\n(?:d = \w+\n)?Qx = (\w+)\nQy = (\w+)\n(?:k = \w+\n)?R = (\w+)\nS = (\w+)", section)
    assert len(rows) == 15
    keys = [PublicKey.from_raw("ESP256", bytes.fromhex("04" + x + y)) for _, x, y, _, _ in rows]
    messages = [bytes.fromhex(message) for message, *_ in rows]
    signatures = [bytes.fromhex(r.zfill(64) + s.zfill(64)) for *_, r, s in rows]
    assert codes(keys, messages, signatures, key_index=list(range(15))) == [0] * 15
    assert codes(keys, messages[1:] + messages[:1], signatures, key_index=list(range(15))) == [302] * 15


def test_rfc_6979_a_2_5():
    """P-256 with SHA-256, messages "sample" and "test", copied from the RFC."""
    raw = bytes.fromhex(
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"
    )
    signatures = [
        bytes.fromhex(
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        ),
        bytes.fromhex(
            "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
            "019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"
        ),
    ]
    assert codes(PublicKey.from_raw("ESP256", raw), [b"sample", b"test"], signatures) == [0, 0]


# Bits.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_bit_of_the_signature_and_of_the_message_counts(algorithm):
    signer = SIGNERS[algorithm]
    message = b"every bit of this message"
    signature = signer.sign(message)
    bad = codes(public(signer), [message] * 512, [flipped(signature, bit) for bit in range(512)])
    assert set(bad) <= {301, 302}
    assert len(bad) == 512
    bits = len(message) * 8
    assert codes(public(signer), [flipped(message, bit) for bit in range(bits)], [signature] * bits) == [302] * bits


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("length", [0, 1, 32, 63, 65, 70, 72, 96, 128, 4096])
def test_a_signature_of_another_length_is_300(algorithm, length):
    signer = SIGNERS[algorithm]
    signature = (signer.sign(b"m") + bytes(4096))[:length]
    assert codes(public(signer), [b"m"], [signature]) == [300]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_null_is_1_and_an_empty_message_is_a_message(algorithm):
    signer = SIGNERS[algorithm]
    signature = signer.sign(b"")
    assert codes(public(signer), [b"", None, b"", None], [signature, signature, None, None]) == [0, 1, 1, 1]


# The Ed25519 rule of format.md, exactly.


def signature_of(scalar: int, nonce: int, message: bytes, public_key: bytes, r: bytes | None = None) -> bytes:
    """Sign by the equation alone; `r` takes the place of the nonce's point in the hash and in the signature."""
    r = encode(ed25519_multiply(nonce, BASE)) if r is None else r
    challenge = int.from_bytes(hashlib.sha512(r + public_key + message).digest(), "little") % L
    return r + ((nonce + challenge * scalar) % L).to_bytes(32, "little")


SCALAR = 0x1234567890ABCDEF1234567890ABCDEF % L
PUBLIC = encode(ed25519_multiply(SCALAR, BASE))
# A point of order 8, from which come all eight of small order.
ORDER_8 = ed25519_point(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
SMALL_ORDER = [ed25519_multiply(n, ORDER_8) for n in range(8)]


def test_the_eight_points_of_small_order_are_eight():
    assert len(set(SMALL_ORDER)) == 8
    assert SMALL_ORDER[0] == (0, 1)


def test_an_equation_by_hand_is_valid():
    """The helper above makes good signatures, so that the refusals below are for the reason named."""
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    assert codes(key, [b"m"], [signature_of(SCALAR, 77, b"m", PUBLIC)]) == [0]


def test_s_is_below_l():
    """S + L and S + 2L satisfy the equation and are refused as an encoding; L - 1 is one, of a wrong signature."""
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    good = signature_of(SCALAR, 77, b"m", PUBLIC)
    s = int.from_bytes(good[32:], "little")
    values = [s + L, s + 2 * L, s + 7 * L, L, L + 1, 2**253, 2**255 - 1, 2**256 - 1, L - 1, 0]
    signatures = [good[:32] + value.to_bytes(32, "little") for value in values]
    assert codes(key, [b"m"] * len(values), signatures) == [301] * 8 + [302] * 2


@pytest.mark.parametrize("number", range(8))
def test_r_of_small_order_is_302(number):
    """With S = k a the cofactored equation holds for every R of small order, and with R = 0 the other one too."""
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    r = encode(SMALL_ORDER[number])
    assert codes(key, [b"m"], [signature_of(SCALAR, 0, b"m", PUBLIC, r)]) == [302]


@pytest.mark.parametrize("number", range(1, 8))
def test_r_with_a_torsion_component_is_302(number):
    """The cofactored equation takes it; the rule here is without cofactor."""
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    r = encode(ed25519_add(ed25519_multiply(77, BASE), SMALL_ORDER[number]))
    assert codes(key, [b"m"], [signature_of(SCALAR, 77, b"m", PUBLIC, r)]) == [302]


def test_an_r_that_is_not_canonical_is_301():
    """y from p to 2^255 - 1, and a sign on x = 0: an encoding, whatever the equation says."""
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    not_canonical = [(P + offset).to_bytes(32, "little") for offset in range(19)]
    not_canonical += [((P + offset) | 1 << 255).to_bytes(32, "little") for offset in range(19)]
    not_canonical += [(1 | 1 << 255).to_bytes(32, "little"), ((P - 1) | 1 << 255).to_bytes(32, "little")]
    signatures = [signature_of(SCALAR, 0, b"m", PUBLIC, r) for r in not_canonical]
    assert codes(key, [b"m"] * 40, signatures) == [301] * 40


def test_an_r_off_the_curve_is_302():
    key = PublicKey.from_raw("Ed25519", PUBLIC)
    off = [y.to_bytes(32, "little") for y in range(2, 60) if ed25519_point(y.to_bytes(32, "little")) is None]
    assert len(off) > 15
    assert codes(key, [b"m"] * len(off), [signature_of(SCALAR, 0, b"m", PUBLIC, r) for r in off]) == [302] * len(off)


@pytest.mark.parametrize("number", range(8))
def test_a_key_of_small_order_cannot_be_loaded(number):
    with pytest.raises(KeyRefused):
        PublicKey.from_raw("Ed25519", encode(SMALL_ORDER[number]))


@pytest.mark.parametrize("number", range(1, 8))
def test_a_key_with_a_torsion_component_cannot_be_loaded(number):
    with pytest.raises(KeyRefused):
        PublicKey.from_raw("Ed25519", encode(ed25519_add(ed25519_multiply(SCALAR, BASE), SMALL_ORDER[number])))


@pytest.mark.slow
@given(
    st.sampled_from(ALGORITHMS),
    st.integers(0, 2**32),
    st.binary(max_size=100),
    st.lists(st.integers(0, 99), max_size=12),
)
def test_codes_are_those_of_the_plain_reading(algorithm, seed, message, choices):
    """Good, damaged and crafted signatures: the code is that of plain integers and another library's equation."""
    import random

    rng = random.Random(seed)
    signer = Signer(algorithm, seed % 5)
    good = signer.sign(message)
    crafts = ED25519_SIGNATURES if algorithm == ED25519 else P256_SIGNATURES
    signatures = [good, *(crafts[choice % len(crafts)](good, rng) for choice in choices)]
    wanted = [verify_plainly(algorithm, signer.raw, message, signature) for signature in signatures]
    assert codes(public(signer), [message] * len(signatures), signatures) == wanted


def test_whatever_is_accepted_another_library_accepts():
    """The rule is a part of every other rule set: pyca accepts each of the crafted signatures that is accepted here."""
    crafted = [signature_of(SCALAR, 0, b"m", PUBLIC, r) for r in EDGES_OF_R]
    crafted += [signature_of(SCALAR, nonce, b"m", PUBLIC) for nonce in range(1, 30)]
    answers = codes(PublicKey.from_raw("Ed25519", PUBLIC), [b"m"] * len(crafted), crafted)
    accepted = 0
    for code, signature in zip(answers, crafted, strict=True):
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(PUBLIC).verify(signature, b"m")
        except InvalidSignature:
            assert code != 0
        else:
            accepted += code == 0
    assert accepted == 29


# ECDSA.


def test_both_forms_of_an_ecdsa_signature_are_valid():
    """(r, s) and (r, n - s): high s is accepted, so that identity must never be the signature's bytes."""
    messages = [b"%d" % n for n in range(50)]
    signatures = [SECOND_ISSUER.sign(message) for message in messages]
    other = [
        signature[:32] + (P256_N - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
        for signature in signatures
    ]
    assert codes(public(SECOND_ISSUER), messages * 2, signatures + other) == [0] * 100


def test_r_and_s_of_ecdsa_lie_in_1_to_n_minus_1():
    good = SECOND_ISSUER.sign(b"m")
    r, s = int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")
    bad = [0, P256_N, P256_N + 1, 2**256 - 1]
    pairs = [(value, s) for value in bad] + [(r, value) for value in bad] + [(0, 0)]
    inside = [(1, 1), (P256_N - 1, P256_N - 1), (1, P256_N - 1), (r, 1), (r, P256_N - 1), (P256_N - 1, s)]
    signatures = [r.to_bytes(32, "big") + s.to_bytes(32, "big") for r, s in pairs + inside]
    wanted = [301] * len(pairs) + [302] * len(inside)
    assert codes(public(SECOND_ISSUER), [b"m"] * len(wanted), signatures) == wanted


def test_a_der_signature_is_refused():
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    good = SECOND_ISSUER.sign(b"m")
    der = encode_dss_signature(int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big"))
    assert codes(public(SECOND_ISSUER), [b"m"], [der]) == [300]


# Where additions of points meet their exceptions.

# Rows of one key in one call: as many as need no table, a small one, larger ones.
VOLUMES = (1, 2, 9, 40, 2_500, 16_000)
E_OF_M = int.from_bytes(hashlib.sha256(b"m").digest(), "big")
# SP 800-186 section 3.2.1.3: the base point of P-256.
P256_BASE = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers()


def p256_key(scalar: int) -> PublicKey:
    numbers = ec.derive_private_key(scalar, ec.SECP256R1()).public_key().public_numbers()
    return PublicKey.from_raw("ESP256", numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))


def p256_r(nonce: int) -> int:
    return ec.derive_private_key(nonce, ec.SECP256R1()).public_key().public_numbers().x % P256_N


def inverse(value: int) -> int:
    return pow(value, -1, P256_N)


def in_every_volume(key, good, bad):
    """Ask for one good signature of b"m" and a bad one behind it, in calls of every volume."""
    for volume in VOLUMES:
        answers = codes(key, [b"m"] * (volume + 1), [good] * volume + [bad], threads=1)
        assert answers == [0] * volume + [302]


@pytest.mark.slow
@pytest.mark.parametrize("target", [1, 2, 3, 15, 16, 31, 32, 2**8, 2**64, 2**128, 2**255, P256_N - 2, P256_N - 1])
@pytest.mark.parametrize("which", ["u1", "u2"])
def test_ecdsa_with_a_chosen_scalar(which, target):
    """The key is chosen so that u1 or u2 is the target: nearly all of its digits are zero, or all of them are not."""
    nonce = 0x1234567
    r = p256_r(nonce)
    # k = u1 + u2 d, with u1 = e/s and u2 = r/s.
    s = E_OF_M * inverse(target) if which == "u1" else r * inverse(target)
    scalar = (nonce * s - E_OF_M) * inverse(r) % P256_N
    good = r.to_bytes(32, "big") + (s % P256_N).to_bytes(32, "big")
    in_every_volume(p256_key(scalar), good, good[:-1] + bytes([good[-1] ^ 1]))


@pytest.mark.slow
@pytest.mark.parametrize("nonce", [1, 2, 3, 5, 0xFFFF, 2**200 + 1, P256_N - 1])
def test_ecdsa_whose_last_addition_is_a_doubling(nonce):
    """u1 G = u2 Q: the key is d = e/r, and s = 2e/k."""
    r = p256_r(nonce)
    scalar, s = E_OF_M * inverse(r) % P256_N, 2 * E_OF_M * inverse(nonce) % P256_N
    assert E_OF_M * inverse(s) % P256_N == r * inverse(s) * scalar % P256_N
    good = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    in_every_volume(p256_key(scalar), good, r.to_bytes(32, "big") + (s ^ 1).to_bytes(32, "big"))


@pytest.mark.slow
@pytest.mark.parametrize("r", [1, 2, p256_r(7), P256_BASE.x % P256_N])
def test_ecdsa_whose_sum_is_the_point_at_infinity(r):
    """u1 G = -u2 Q for every s, where d = -e/r: there is no x to compare, so it is invalid."""
    key = p256_key(-E_OF_M * inverse(r) % P256_N)
    for volume in VOLUMES:
        signatures = [r.to_bytes(32, "big") + (s + 1).to_bytes(32, "big") for s in range(volume)]
        assert codes(key, [b"m"] * volume, signatures, threads=1) == [302] * volume


@pytest.mark.slow
@pytest.mark.parametrize("scalar", [1, 2, 3, 4, 8, 2**16, 2**255, P256_N - 1, P256_N - 2, (P256_N + 1) // 2])
def test_ecdsa_with_a_key_that_is_a_multiple_everybody_knows(scalar):
    """Q = G, -G, 2G, G/2...: the tables of both points share their entries."""
    key = p256_key(scalar)
    for nonce in (1, 2, 12345, P256_N - 1):
        r = p256_r(nonce)
        s = (E_OF_M + r * scalar) * inverse(nonce) % P256_N
        good = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        in_every_volume(key, good, r.to_bytes(32, "big") + ((s + 1) % P256_N).to_bytes(32, "big"))


@pytest.mark.slow
@pytest.mark.parametrize("scalar", [1, 2, 3, 8, 2**64, 2**252, L - 1, L - 2, (L + 1) // 2])
def test_ed25519_with_a_key_that_is_a_multiple_everybody_knows(scalar):
    """A = B, -B, 2B, B/2..., signed by the equation with small and large nonces."""
    raw = encode(ed25519_multiply(scalar, BASE))
    key = PublicKey.from_raw("Ed25519", raw)
    for nonce in (1, 2, 12345, L - 1):
        good = signature_of(scalar, nonce, b"m", raw)
        bad = good[:32] + ((int.from_bytes(good[32:], "little") + 1) % L).to_bytes(32, "little")
        in_every_volume(key, good, bad)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_messages_of_every_length_side_by_side(algorithm):
    """0 to 600 bytes in one batch, so that lanes end in different blocks of their hash; and some very long ones."""
    signer = SIGNERS[algorithm]
    messages = [hashlib.shake_128(b"%d" % size).digest(size) for size in [*range(600), 10_000, 65_537, 1_000_000]]
    signatures = [signer.sign(message) for message in messages]
    order = sorted(range(len(messages)), key=lambda row: row * 7919 % 603)
    for rows in (range(len(messages)), order):
        answers = codes(public(signer), [messages[row] for row in rows], [signatures[row] for row in rows])
        assert set(answers) == {0}
    shifted = codes(public(signer), messages[1:], signatures[:-1])
    assert set(shifted) == {302}


# Keys by row.


def test_each_row_has_the_key_that_its_index_names():
    keys = [public(ISSUER), public(SECOND_ISSUER), public(STRANGER)]
    signers = [ISSUER, SECOND_ISSUER, STRANGER]
    pairs = list(itertools.product(range(3), range(3)))
    messages = [b"row %d" % row for row in range(9)]
    signatures = [signers[signed].sign(message) for (signed, _), message in zip(pairs, messages, strict=True)]
    answers = codes(keys, messages, signatures, key_index=[asked for _, asked in pairs])
    assert [code == 0 for code in answers] == [signed == asked for signed, asked in pairs]
    assert set(answers) <= {0, 301, 302}


@pytest.mark.parametrize("dtype", [pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.int64(), pa.uint64()])
def test_an_index_is_of_any_integer_type(dtype):
    messages = [b"a", b"b"]
    signatures = [ISSUER.sign(b"a"), SECOND_ISSUER.sign(b"b")]
    keys = [public(ISSUER), public(SECOND_ISSUER)]
    assert codes(keys, messages, signatures, key_index=pa.array([0, 1], dtype)) == [0, 0]
    assert codes(keys, messages, signatures, key_index=pa.array([1, 0], dtype)) != [0, 0]


def test_one_key_takes_an_index_too():
    assert codes(public(ISSUER), [b"m"] * 2, [ISSUER.sign(b"m")] * 2, key_index=[0, 0]) == [0, 0]


def test_no_rows_are_no_answers():
    assert codes(public(ISSUER), [], []) == []
    assert codes([public(ISSUER)], [], [], key_index=pa.array([], pa.int64())) == []


def test_the_answer_is_an_int16_column_of_its_name():
    results = pa.record_batch(verify_signatures(public(ISSUER), [b"m"], [ISSUER.sign(b"m")]))
    assert results.schema == pa.schema({"code": pa.int16()})


def test_algorithms_are_those_of_the_profile():
    assert {public(ISSUER).algorithm, public(SECOND_ISSUER).algorithm} == {ED25519, ESP256}
