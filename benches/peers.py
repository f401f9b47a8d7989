"""The peers: the same work, done as well as a Python program with the usual libraries would do it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ML_DSA = {"ML-DSA-44": mldsa.MLDSA44PublicKey, "ML-DSA-65": mldsa.MLDSA65PublicKey}


class Signed(NamedTuple):
    """What a bare verification takes: the exact signed bytes and the raw signature."""

    message: bytes
    signature: bytes


def signed_parts(token: bytes) -> Signed:
    """Take a token apart (not timed where the peer is a bare verification)."""
    protected, _, payload, signature = cbor2.loads(token).value
    return Signed(cbor2.dumps(["Signature1", protected, b"", payload]), signature)


def pyca_verifier(public_key: Any) -> Callable[[bytes, bytes], bool]:
    """Return a function that verifies one raw signature with `cryptography`, the key loaded once."""
    if public_key.algorithm == "Ed25519":
        key = ed25519.Ed25519PublicKey.from_public_bytes(public_key.raw)
        return partial(_verified, key.verify)
    if public_key.algorithm in ML_DSA:
        return partial(_verified, ML_DSA[public_key.algorithm].from_public_bytes(public_key.raw).verify)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key.raw)
    return partial(_ecdsa, point.verify, ec.ECDSA(hashes.SHA256()))


def _verified(verify: Callable[[bytes, bytes], None], message: bytes, signature: bytes) -> bool:
    try:
        verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _ecdsa(verify: Any, scheme: ec.ECDSA, message: bytes, signature: bytes) -> bool:
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    try:
        verify(der, message, scheme)
    except InvalidSignature:
        return False
    return True


def pyca_loop(verify: Callable[[bytes, bytes], bool], rows: Sequence[Signed]) -> list[bool]:
    """Verify row by row with `cryptography`."""
    return [verify(message, signature) for message, signature in rows]


def pyca_threads(verify: Callable[[bytes, bytes], bool], rows: Sequence[Signed], threads: int) -> list[bool]:
    """Verify with `cryptography` on several threads: it releases the interpreter lock."""
    size = -(-len(rows) // threads)
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(partial(pyca_loop, verify), [rows[at : at + size] for at in range(0, len(rows), size)])
        return [good for part in parts for good in part]


def pynacl_loop(public_key: Any, rows: Sequence[Signed]) -> list[bool]:
    """Verify row by row with PyNaCl (libsodium)."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    key = VerifyKey(public_key.raw)

    def verify(row: Signed) -> bool:
        try:
            key.verify(row.message, row.signature)
        except BadSignatureError:
            return False
        return True

    return [verify(row) for row in rows]


def cwt_key(public_key: Any) -> Any:
    """Load a public key for python-cwt."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cwt import COSEKey

    if public_key.algorithm == "Ed25519":
        key: Any = ed25519.Ed25519PublicKey.from_public_bytes(public_key.raw)
    else:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key.raw)
    return COSEKey.from_pem(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), kid=public_key.kid)


def cwt_loop(key: Any, tokens: Sequence[bytes]) -> list[bool]:
    """Decode and verify row by row with python-cwt."""
    from cwt import COSE, VerifyError

    cose = COSE.new()

    def verify(token: bytes) -> bool:
        try:
            cose.decode(token, key)
        except VerifyError:
            return False
        return True

    return [verify(token) for token in tokens]


def numpy_windows(not_before: Any, not_after: Any, now: int, out: Any, scratch: Any) -> Any:
    """Check windows with NumPy, careful: no temporary is allocated."""
    import numpy as np

    np.less_equal(not_before, now, out=out)
    np.greater(not_after, now, out=scratch)
    np.logical_and(out, scratch, out=out)
    return out


def polars_windows(frame: Any, now: int) -> Any:
    """Check windows with Polars."""
    import polars as pl

    return frame.select((pl.col("not_before") <= now) & (pl.col("not_after") > now)).to_series()


def pyca_derive(master: bytes, contexts: Sequence[bytes], label: bytes) -> list[bytes]:
    """Derive a 16-byte key for every context with `cryptography`'s KBKDFHMAC (SP 800-108 in counter mode)."""
    from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

    return [
        KBKDFHMAC(
            algorithm=hashes.SHA256(),
            mode=Mode.CounterMode,
            length=16,
            rlen=4,
            llen=4,
            location=CounterLocation.BeforeFixed,
            label=label,
            context=context,
            fixed=None,
        ).derive(master)
        for context in contexts
    ]
