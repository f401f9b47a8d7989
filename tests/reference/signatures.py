"""Public keys and signatures: which key is usable, and which signature is valid, by the page's one rule.

The signature equation itself is `cryptography`'s; everything that it leaves open is decided here, on plain integers.
"""

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, utils
from cryptography.hazmat.primitives.hashes import SHA256

from reference import cbor

ED25519, ESP256, ML_DSA_44, ML_DSA_65 = "Ed25519", "ESP256", "ML-DSA-44", "ML-DSA-65"
# Bytes of a key and of a signature (FIPS 204, table 2).
ML_DSA_SIZES = {ML_DSA_44: (1312, 2420), ML_DSA_65: (1952, 3309)}
LENGTH, ENCODING, INVALID = 300, 301, 302

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1)

P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class KeyRefusedError(Exception):
    """A key that no keyring may hold."""


def ed25519_add(a, b):
    """Add two affine points of the twisted Edwards curve (RFC 8032 section 5.1.4, without its coordinates)."""
    (ax, ay), (bx, by) = a, b
    product = D * ax * bx * ay * by
    x = (ax * by + bx * ay) * pow(1 + product, -1, P)
    y = (ay * by + ax * bx) * pow(1 - product, -1, P)
    return x % P, y % P


def ed25519_multiply(scalar, point):
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = ed25519_add(result, point)
        point = ed25519_add(point, point)
        scalar >>= 1
    return result


def is_canonical(encoded):
    """Tell whether y < p, and whether x = 0 carries no sign."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    return y < P and not (sign and y in {1, P - 1})


def ed25519_point(encoded):
    """Return the point of a canonical encoding, None when it is not on the curve (RFC 8032 section 5.1.3)."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * SQRT_MINUS_1 % P
    if x * x % P != square:
        return None
    return (P - x if x & 1 != sign and x else x), y


def is_small_order(point):
    return ed25519_multiply(8, point) == IDENTITY


def check_ed25519_key(raw):
    """Raise `KeyRefusedError` for a key that is not canonical, off the curve, of small order or with torsion."""
    if len(raw) != 32 or not is_canonical(raw):
        raise KeyRefusedError("not the canonical encoding of a point")
    point = ed25519_point(raw)
    if point is None:
        raise KeyRefusedError("not on the curve")
    # The identity has no torsion component, and is of small order all the same.
    if is_small_order(point) or ed25519_multiply(L, point) != IDENTITY:
        raise KeyRefusedError("of small order, or with a torsion component")


def check_p256_key(raw):
    """Raise `KeyRefusedError` for what is no uncompressed point of P-256."""
    if len(raw) != 65 or raw[0] != 4:
        raise KeyRefusedError("not an uncompressed point")
    x, y = int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big")
    if x >= P256_P or y >= P256_P or (y * y - (x**3 - 3 * x + P256_B)) % P256_P:
        raise KeyRefusedError("not on the curve")


def check_key(algorithm, raw):
    """Raise `KeyRefusedError` for a key that no keyring may hold; of ML-DSA every key of the right length is one."""
    if algorithm in ML_DSA_SIZES:
        if len(raw) != ML_DSA_SIZES[algorithm][0]:
            raise KeyRefusedError("not a key's length")
        return
    (check_ed25519_key if algorithm == ED25519 else check_p256_key)(raw)


def thumbprint(algorithm, raw):
    """Return the SHA-256 COSE Key Thumbprint (RFC 9679)."""
    members = {
        ED25519: {1: 1, -1: 6, -2: raw},
        ESP256: {1: 2, -1: 1, -2: raw[1:33], -3: raw[33:]},
        ML_DSA_44: {1: 7, 3: -48, -1: raw},
        ML_DSA_65: {1: 7, 3: -49, -1: raw},
    }[algorithm]
    return hashlib.sha256(cbor.write(members)).digest()


def verify(algorithm, raw, message, signature):
    """Return 0, or the code of the first fault; the key is one that `check_key` passes."""
    if len(signature) != ML_DSA_SIZES.get(algorithm, (None, 64))[1]:
        return LENGTH
    if algorithm in ML_DSA_SIZES:
        return _verify_ml_dsa(algorithm, raw, message, signature)
    return (_verify_ed25519 if algorithm == ED25519 else _verify_p256)(raw, message, signature)


def _verify_ed25519(raw, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L or not is_canonical(r):
        return ENCODING
    point = ed25519_point(r)
    if point is None or is_small_order(point):
        return INVALID
    try:
        _ed25519_key(raw).verify(signature, message)
    except InvalidSignature:
        return INVALID
    return 0


def _verify_p256(raw, message, signature):
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (1 <= r < P256_N and 1 <= s < P256_N):
        return ENCODING
    try:
        _p256_key(raw).verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return INVALID
    return 0


def _verify_ml_dsa(algorithm, raw, message, signature):
    try:
        _ml_dsa_key(algorithm, raw).verify(signature, message)
    except InvalidSignature:
        return INVALID
    return 0


@lru_cache(maxsize=256)
def _ml_dsa_key(algorithm, raw):
    kind = mldsa.MLDSA44PublicKey if algorithm == ML_DSA_44 else mldsa.MLDSA65PublicKey
    return kind.from_public_bytes(raw)


@lru_cache(maxsize=256)
def _ed25519_key(raw):
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


@lru_cache(maxsize=256)
def _p256_key(raw):
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
