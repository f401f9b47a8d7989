"""A signer whose private key stays in an HSM: Ed25519 (CKM_EDDSA), or P-256 (CKM_ECDSA)."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from itron_core._rust import PublicKey, verify_signatures
from itron_core.errors import InputError, SignerError
from itron_core.hsm.session import (
    AnotherKeyError,
    Held,
    KeyHolder,
    Place,
    TokenKey,
    check_stays,
    make,
    objects,
    only,
    place_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import Self

    from pkcs11 import Session

    from itron_core.hsm.session import Pin

__all__ = ["Pkcs11Signer"]

SIGNATURE_BYTES = 64
KEY_ID_BYTES = 8
# CKA_EC_PARAMS: an object identifier, or for Edwards curves a name too (PKCS#11 v3.0 section 2.3.5).
ED25519_OID = bytes.fromhex("06032b6570")
P256_OID = bytes.fromhex("06082a8648ce3d030107")
CURVES = {
    ED25519_OID: "Ed25519",
    bytes.fromhex("06092b06010401da470f01"): "Ed25519",
    b"\x13\x0cedwards25519": "Ed25519",
    P256_OID: "ESP256",
}
POINT_BYTES = {"Ed25519": 32, "ESP256": 65}
OCTET_STRING = 4


class Pkcs11Signer(KeyHolder):
    """Signs in an HSM: Ed25519 (CKM_EDDSA), or ECDSA on P-256 with SHA-256 (CKM_ECDSA over the digest; ESP256).

    `pin` is the user's PIN, or a callable that returns it and is called at every login; it is never shown or pickled.
    An exportable key (CKA_EXTRACTABLE, or not CKA_SENSITIVE) is refused. Threads may share the signer and take turns;
    after a fork, each process opens its own. Raises SignerError if the library, the token or the key is missing,
    ambiguous or of another kind, PinRefused if the PIN is wrong or locked, and KeyRefused for a bad public key.
    """

    __slots__ = ("_public_key",)

    def __init__(
        self,
        library: str | PathLike[str],
        *,
        token: str,
        pin: Pin,
        label: str | None = None,
        key_id: bytes | None = None,
    ) -> None:
        """Open the private key of `label` or `key_id` (or both) in the token of label `token`.

        `library` is the PKCS#11 module's path. The public key is read from the object beside it, of the same id or label.
        """
        self._key = TokenKey(place_of(library, token, label, key_id), pin, _find_private_key)
        held = self._key.held
        self._public_key = PublicKey.from_raw(held.name, held.identity)

    @classmethod
    def generate(
        cls,
        library: str | PathLike[str],
        *,
        token: str,
        pin: Pin,
        label: str,
        key_id: bytes | None = None,
        algorithm: str = "Ed25519",
    ) -> Self:
        """Create a key pair in the token that cannot be exported, and open it; `algorithm` is "Ed25519" or "ESP256".

        Without `key_id`, the id is 8 random bytes. Raises SignerError if a key of that label exists.
        """
        if algorithm not in POINT_BYTES:
            raise InputError(f'algorithm: got {algorithm!r}, expected "Ed25519" or "ESP256"')
        place = place_of(library, token, label, None)._replace(key_id=key_id or os.urandom(KEY_ID_BYTES))
        make(place, pin, lambda session: _generate_pair(session, place, algorithm))
        return cls(library, token=token, pin=pin, label=label, key_id=place.key_id)

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signer signs."""
        return self._public_key

    def sign(self, message: bytes) -> bytes:
        """Return the raw signature of 64 bytes. Raises SignerError if the token fails."""
        _check_messages([message])
        return self._key.use(lambda held: self._signed(held, [message]))

    def sign_many(self, messages: Sequence[bytes]) -> memoryview:
        """Return the signatures in order, shape (n, 64), made in one session. Raises SignerError if any of them fails."""
        if not messages:
            return memoryview(b"")  # a memoryview cannot have the shape (0, 64)
        _check_messages(messages)
        signatures = self._key.use(lambda held: self._signed(held, messages))
        return memoryview(signatures).cast("B", (len(messages), SIGNATURE_BYTES))

    def _signed(self, held: Held, messages: Sequence[bytes]) -> bytes:
        """Sign all messages and verify all signatures, so that none by a key that replaced this one is returned."""
        signatures = [_signature(held, message) for message in messages]
        if any(verify_signatures(self._public_key, messages, signatures)["code"].to_pylist()):
            raise AnotherKeyError
        return b"".join(signatures)

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self._public_key.algorithm}, kid={self._public_key.kid.hex()})"


def _find_private_key(session: Session, place: Place) -> Held:
    from pkcs11 import Mechanism, ObjectClass

    private = only(place, objects(session, place, CLASS=ObjectClass.PRIVATE_KEY), "private key")
    check_stays(place, private)
    algorithm, point = _public_part(session, place, private)
    mechanism = Mechanism.EDDSA if algorithm == "Ed25519" else Mechanism.ECDSA
    return Held(private, mechanism, PublicKey.from_raw(algorithm, point).raw, algorithm)


def _public_part(session: Session, place: Place, private: Any) -> tuple[str, bytes]:
    from pkcs11 import Attribute, KeyType, ObjectClass

    if private.key_type not in {KeyType.EC, KeyType.EC_EDWARDS}:
        name = getattr(private.key_type, "name", private.key_type)
        raise SignerError(f"{place} is a key for {name}, expected Ed25519 or P-256")
    beside = Place(*place[:2], None, private.id) if private.id else place
    public = only(place, objects(session, beside, CLASS=ObjectClass.PUBLIC_KEY), "public key")
    algorithm = CURVES.get(public[Attribute.EC_PARAMS])
    if algorithm is None or (algorithm == "Ed25519") != (private.key_type == KeyType.EC_EDWARDS):
        raise SignerError(f"{place} is on an unsupported curve, expected Ed25519 or P-256")
    return algorithm, point_of(public[Attribute.EC_POINT], POINT_BYTES[algorithm])


def point_of(data: bytes, length: int) -> bytes:
    """Return the point of a CKA_EC_POINT: an OCTET STRING (PKCS#11 v2.40 section 2.3.3), or the bytes themselves."""
    if len(data) == length:
        return data
    if data[:2] == bytes([OCTET_STRING, length]) and len(data) == 2 + length:
        return data[2:]
    raise SignerError(
        f"the token holds a public point of {len(data)} bytes, expected {length}, or an OCTET STRING of {length}"
    )


def _generate_pair(session: Session, place: Place, algorithm: str) -> None:
    from pkcs11 import Attribute, KeyType

    key_type, curve = (KeyType.EC_EDWARDS, ED25519_OID) if algorithm == "Ed25519" else (KeyType.EC, P256_OID)
    parameters = session.create_domain_parameters(key_type, {Attribute.EC_PARAMS: curve}, local=True)
    stays = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.DERIVE: False}
    parameters.generate_keypair(label=place.label, id=place.key_id, store=True, private_template=stays)


def _check_messages(messages: Sequence[bytes]) -> None:
    for message in messages:
        if not isinstance(message, bytes):
            raise InputError(f"message: got {type(message).__name__}, expected bytes")


def _signature(held: Held, message: bytes) -> bytes:
    signed = message if held.name == "Ed25519" else sha256(message).digest()
    signature: bytes = held.key.sign(signed, mechanism=held.mechanism)
    if len(signature) != SIGNATURE_BYTES:
        raise SignerError(f"the token returned a signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}")
    return signature
