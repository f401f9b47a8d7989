"""Signers hold a private key. `LocalSigner` keeps one of `cryptography` in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn, Protocol, runtime_checkable

from itron_core._rust import PublicKey
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
    from typing_extensions import Buffer

__all__ = ["LocalSigner", "Signer"]

COORDINATE_BYTES = 32
# Messages per task of a thread: few enough that all threads finish at about the same time.
MESSAGES_A_CHUNK = 64


@runtime_checkable
class Signer(Protocol):
    """Holds a private key: in memory, in an HSM, or behind a service."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signer signs."""

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, of the length of the key's algorithm.

        64 bytes for Ed25519 (R || S, RFC 8032 section 5.1.6) and ESP256 (r || s, RFC 9053 section 2.1); 2,420 for ML-DSA-44
        and 3,309 for ML-DSA-65 (FIPS 204, empty context).
        """

    def sign_many(self, messages: Sequence[bytes]) -> Buffer:
        """Return the signatures in order, as one buffer of shape (n, length of a signature)."""


class LocalSigner:
    """Signs with a private key of `cryptography`: Ed25519, ECDSA on P-256 with SHA-256 (ESP256), ML-DSA-44 or ML-DSA-65.

    The private key stays in the memory of this process; it is never shown, pickled or copied.
    """

    __slots__ = ("_public_key", "_sign")

    _sign: Callable[[bytes], bytes]
    _public_key: PublicKey

    def __init__(
        self,
        private_key: ed25519.Ed25519PrivateKey
        | ec.EllipticCurvePrivateKey
        | mldsa.MLDSA44PrivateKey
        | mldsa.MLDSA65PrivateKey,
    ) -> None:
        """Hold a private key object of `cryptography`. Raises InputError for another algorithm or curve."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

        if isinstance(private_key, ed25519.Ed25519PrivateKey):
            self._sign = private_key.sign
            self._public_key = PublicKey.from_raw("Ed25519", private_key.public_key().public_bytes_raw())
        elif isinstance(private_key, ec.EllipticCurvePrivateKey) and isinstance(private_key.curve, ec.SECP256R1):
            self._sign = _ecdsa_sign(private_key)
            self._public_key = PublicKey.from_raw("ESP256", _uncompressed_point(private_key))
        elif isinstance(private_key, mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey):
            name = "ML-DSA-44" if isinstance(private_key, mldsa.MLDSA44PrivateKey) else "ML-DSA-65"
            self._sign = private_key.sign
            self._public_key = PublicKey.from_raw(name, private_key.public_key().public_bytes_raw())
        else:
            came = getattr(getattr(private_key, "curve", None), "name", type(private_key).__name__)
            raise InputError(
                f"private_key: got a key of {came}, expected one of Ed25519, P-256 (secp256r1), ML-DSA-44 or ML-DSA-65"
            )

    @classmethod
    def from_pem(cls, data: bytes | str, password: bytes | None = None) -> LocalSigner:
        """Read a private key in PEM (PKCS#8, RFC 5958, encrypted or not, ML-DSA by its seed, RFC 9881; SEC1 for EC)."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            pem = data.encode() if isinstance(data, str) else data
            key = load_pem_private_key(pem, password)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InputError(f"PEM: got no readable private key: {error}") from error
        return cls(key)  # type: ignore[arg-type]  # another kind of key is refused by the constructor

    @classmethod
    def generate(cls, algorithm: str = "Ed25519") -> LocalSigner:
        """Return a signer with a new random key.

        `algorithm` is "Ed25519", "ESP256", "ML-DSA-44" or "ML-DSA-65".
        """
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

        match algorithm:
            case "Ed25519":
                return cls(ed25519.Ed25519PrivateKey.generate())
            case "ESP256":
                return cls(ec.generate_private_key(ec.SECP256R1()))
            case "ML-DSA-44":
                return cls(mldsa.MLDSA44PrivateKey.generate())
            case "ML-DSA-65":
                return cls(mldsa.MLDSA65PrivateKey.generate())
        known = '"Ed25519", "ESP256", "ML-DSA-44" or "ML-DSA-65"'
        raise InputError(f"algorithm: got {algorithm!r}, expected {known}")

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signer signs."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature, of the length of the key's algorithm."""
        return self._sign(message)

    def sign_many(self, messages: Sequence[bytes]) -> memoryview:
        """Return the signatures in order, shape (n, length of one); large batches are signed on all cores."""
        if not messages:
            return memoryview(b"")  # a memoryview cannot have the shape (0, length)
        chunks = [messages[start : start + MESSAGES_A_CHUNK] for start in range(0, len(messages), MESSAGES_A_CHUNK)]
        workers = min(os.cpu_count() or 1, len(chunks))
        if workers == 1:
            signatures = b"".join(map(self._sign, messages))
        else:
            from concurrent.futures import ThreadPoolExecutor  # imports logging, which few calls need

            with ThreadPoolExecutor(workers) as pool:
                signatures = b"".join(pool.map(self._sign_chunk, chunks))
        return memoryview(signatures).cast("B", (len(messages), len(signatures) // len(messages)))

    def _sign_chunk(self, messages: Sequence[bytes]) -> bytes:
        return b"".join(map(self._sign, messages))

    def __repr__(self) -> str:
        return f"LocalSigner({self._public_key.algorithm}, kid={self._public_key.kid.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LocalSigner cannot be pickled or copied: it holds a private key")

    __copy__ = __reduce__

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


def _ecdsa_sign(private_key: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    # RFC 6979: no signature depends on the quality of the system's randomness.
    scheme = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private_key.sign(message, scheme))
        return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)

    return sign


def _uncompressed_point(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
