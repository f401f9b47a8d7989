"""A master key that stays in an HSM and derives there: KBKDF in counter mode, one MAC per block (SP 800-108r1 section 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from itron_core.errors import InputError, KeyRefused, SignerError
from itron_core.exchange.identity import device_id
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
    from collections.abc import Callable, Iterable
    from os import PathLike
    from typing import Self

    from pkcs11 import Session

    from itron_core.hsm.session import Pin

__all__ = ["Pkcs11DerivedKeys", "Pkcs11MasterKey", "fixed_input"]

SHA256_BYTES = 32
CMAC_BYTES = 16
CHECK_VALUE_BYTES = 4
DEVICE_ID_BYTES = 8
LENGTHS = (16, 32)
LABELS = ("device", "read-enc", "read-auth", "session", "kcv")
MASTER_LENGTHS = {"kbkdf-hmac-sha256": range(16, 65), "kbkdf-cmac-aes256": (32,), "kbkdf-cmac-aes128": (16,)}
MAX_UTILITY = 16
MAX_EXTRA = 32
# Every derivation input starts with a counter, never with this text, so this MAC reveals no key.
SAME_KEY = b"itron_core/v1/is this the key of before?"


class Pkcs11MasterKey(KeyHolder):
    """A master key in an HSM. It derives the same keys as `derive_keys` does, and its bytes stay inside.

    A generic secret of 16 bytes or more derives by CKM_SHA256_HMAC (kdf id 1), an AES key by CKM_AES_CMAC (of 32 bytes
    kdf id 2, of 16 kdf id 4). Arguments, errors and threads as for `Pkcs11Signer`.
    """

    __slots__ = ()

    def __init__(
        self,
        library: str | PathLike[str],
        *,
        token: str,
        pin: Pin,
        label: str | None = None,
        key_id: bytes | None = None,
    ) -> None:
        """Open the secret key of `label` or `key_id` (or both) in the token of label `token`."""
        self._key = TokenKey(place_of(library, token, label, key_id), pin, _find_secret_key)

    @classmethod
    def generate(
        cls,
        library: str | PathLike[str],
        *,
        token: str,
        pin: Pin,
        label: str,
        kdf: str = "kbkdf-hmac-sha256",
        length: int = 32,
    ) -> Self:
        """Create a key of `length` bytes in the token that cannot be exported, and open it."""
        place = place_of(library, token, label, None)
        key_type = _key_type(kdf, length)
        make(place, pin, lambda session: _generate_secret(session, place, key_type, length))
        return cls(library, token=token, pin=pin, label=label)

    @classmethod
    def import_bytes(
        cls,
        data: bytes,
        library: str | PathLike[str],
        *,
        token: str,
        pin: Pin,
        label: str,
        kdf: str = "kbkdf-hmac-sha256",
    ) -> Self:
        """Import an existing master key into the token (with CKA_EXTRACTABLE false), and open it.

        Use it to move a key into an HSM. Copies that exist outside are as secret as before.
        """
        place = place_of(library, token, label, None)
        key_type = _key_type(kdf, len(data))
        make(place, pin, lambda session: _import_secret(session, place, key_type, data))
        return cls(library, token=token, pin=pin, label=label)

    @property
    def kdf(self) -> str:
        """The name of the derivation, as in `derive_keys`."""
        return self._key.held.name

    def derive_keys(
        self,
        device_ids: Iterable[str | bytes],
        *,
        utility: str | bytes,
        label: str = "read-enc",
        key_version: int = 1,
        length: int = 16,
        extra: bytes | None = None,
    ) -> Pkcs11DerivedKeys:
        """Derive one key per device in the token; `device_ids` are device ids (`ert:5`), or 8 bytes each.

        Raises InputError as `derive_keys` does, and SignerError if the token fails.
        """
        ids = _ids(device_ids)
        ask = {"label": label, "utility": utility, "key_version": key_version, "length": length, "extra": extra}
        inputs = [fixed_input(one, **ask) for one in ids]
        keys = bytearray(self._key.use(lambda held: _derived(held, inputs, length)))
        return Pkcs11DerivedKeys(
            keys, length, lambda: self.check_values(ids, utility=utility, key_version=key_version, extra=extra)
        )

    def check_values(
        self,
        device_ids: Iterable[str | bytes],
        *,
        utility: str | bytes,
        key_version: int = 1,
        extra: bytes | None = None,
    ) -> memoryview:
        """Return only the key check values, shape (n, 4); issuing a reading key needs no more."""
        ask = {"label": "kcv", "utility": utility, "key_version": key_version, "length": LENGTHS[0], "extra": extra}
        inputs = [fixed_input(one, **ask) for one in _ids(device_ids)]
        values = self._key.use(lambda held: _derived(held, inputs, CHECK_VALUE_BYTES))
        return _rows(values, CHECK_VALUE_BYTES)

    def __repr__(self) -> str:
        return "Pkcs11MasterKey(...)"


class Pkcs11DerivedKeys:
    """The keys of many devices, like `DerivedKeys`. Its buffer is wiped when it is deleted; copies that Python made are not."""

    __slots__ = ("_check_values", "_keys", "_length")

    def __init__(self, keys: bytearray, length: int, check_values: Callable[[], memoryview]) -> None:
        self._keys, self._length, self._check_values = keys, length, check_values

    def key(self, index: int, /) -> bytes:
        """Return one device's key."""
        place = range(len(self))[index] * self._length
        return bytes(self._keys[place : place + self._length])

    def to_buffer(self) -> memoryview:
        """Return a copy of all keys, shape (n, length)."""
        return _rows(bytes(self._keys), self._length)

    def check_values(self) -> memoryview:
        """Return the key check values, shape (n, 4): one per master key, utility, device and version. Uses the token."""
        return self._check_values()

    def __len__(self) -> int:
        return len(self._keys) // self._length

    def __del__(self) -> None:
        self._keys[:] = bytes(len(self._keys))

    def __repr__(self) -> str:
        return f"Pkcs11DerivedKeys({len(self)} keys of {self._length} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Pkcs11DerivedKeys cannot be pickled or copied: they are secret")

    __copy__ = __reduce__

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()


def fixed_input(
    device: bytes, *, label: object, utility: object, key_version: object, length: object, extra: object
) -> bytes:
    """Return label || 00 || context || L (docs/format.md, "Key derivation"). Raises InputError for an invalid part."""
    if label not in LABELS:
        raise InputError(f"label: got {label!r}, expected one of {', '.join(LABELS)}")
    if not isinstance(length, int) or length not in LENGTHS:
        raise InputError(f"length: got {length!r}, expected 16 or 32 bytes")
    context = [b"\x01", _byte_string(_utility(utility)), _byte_string(device), _head(0, _version(key_version))]
    if extra is not None:
        context.append(_byte_string(_extra(extra)))
    array = bytes([0x80 + len(context)]) + b"".join(context)
    return f"itron_core/v1/{label}".encode() + b"\0" + array + (8 * length).to_bytes(4)


def _utility(utility: object) -> bytes:
    data = utility.encode("ascii") if isinstance(utility, str) and utility.isascii() else utility
    if not isinstance(data, bytes) or not 1 <= len(data) <= MAX_UTILITY:
        raise InputError(f"utility: got {utility!r}, expected 1 to {MAX_UTILITY} bytes or ASCII characters")
    return data


def _version(version: object) -> int:
    if not isinstance(version, int) or not 0 <= version < 1 << 64:
        raise InputError(f"key_version: got {version!r}, expected a whole number from 0 to 2^64 - 1")
    return version


def _extra(extra: object) -> bytes:
    if not isinstance(extra, bytes) or len(extra) > MAX_EXTRA:
        raise InputError(f"extra: got {type(extra).__name__}, expected at most {MAX_EXTRA} bytes")
    return extra


def _byte_string(data: bytes) -> bytes:
    return _head(2, len(data)) + data


def _head(major: int, argument: int) -> bytes:
    """Return the shortest head of a CBOR item (RFC 8949 section 4.2.1)."""
    if argument < 24:  # noqa: PLR2004  # the largest argument that fits the first byte
        return bytes([major << 5 | argument])
    power = next(power for power in range(4) if argument < 1 << (8 << power))
    return bytes([major << 5 | 24 + power]) + argument.to_bytes(1 << power)


def _ids(device_ids: Any) -> list[bytes]:
    """Return 8 bytes per device, from any kind of column."""
    if isinstance(device_ids, str | bytes):
        raise InputError(f"device_ids: got {type(device_ids).__name__}, expected a column of device ids")
    rows = device_ids.to_pylist() if hasattr(device_ids, "to_pylist") else list(device_ids)
    return [_id(row, value) for row, value in enumerate(rows)]


def _id(row: int, value: object) -> bytes:
    if isinstance(value, str):
        return device_id(value)
    if isinstance(value, bytes) and len(value) == DEVICE_ID_BYTES:
        return value
    raise InputError(f"device_ids: got {value!r} in row {row}, expected a device id or 8 bytes")


def _derived(held: Held, inputs: list[bytes], length: int) -> bytes:
    """Derive, and check before and after that the handle still means the same key: another process may replace it."""
    _check_same(held)
    keys = b"".join([_derive(held, fixed, length) for fixed in inputs])
    _check_same(held)
    return keys


def _check_same(held: Held) -> None:
    if _mac(held, SAME_KEY) != held.identity:
        raise AnotherKeyError


def _derive(held: Held, fixed: bytes, length: int) -> bytes:
    """KBKDF in counter mode (SP 800-108r1 section 4.1), 4 bytes of counter before the fixed input."""
    from pkcs11 import Mechanism

    block = SHA256_BYTES if held.mechanism == Mechanism.SHA256_HMAC else CMAC_BYTES
    counters = range(1, -(-length // block) + 1)
    return b"".join([_mac(held, counter.to_bytes(4) + fixed) for counter in counters])[:length]


def _mac(held: Held, data: bytes) -> bytes:
    mac: bytes = held.key.sign(data, mechanism=held.mechanism)
    return mac


def _rows(data: bytes, width: int) -> memoryview:
    """Return rows of `width` bytes; a memoryview cannot have the shape (0, width)."""
    return memoryview(data).cast("B", (len(data) // width, width)) if data else memoryview(b"")


def _key_type(kdf: str, length: int) -> str:
    """Return the PKCS#11 name of the key type. Raises if `kdf` takes no master key of `length` bytes."""
    if kdf not in MASTER_LENGTHS:
        raise InputError(f"kdf: got {kdf!r}, expected one of {', '.join(MASTER_LENGTHS)}")
    if length not in MASTER_LENGTHS[kdf]:
        raise KeyRefused(f"master key: got {length} bytes, which {kdf} does not accept")
    return "GENERIC_SECRET" if "hmac" in kdf else "AES"


def _find_secret_key(session: Session, place: Place) -> Held:
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    key = only(place, objects(session, place, CLASS=ObjectClass.SECRET_KEY), "secret key")
    check_stays(place, key)
    length = key[Attribute.VALUE_LEN]
    if key.key_type in {KeyType.GENERIC_SECRET, KeyType.SHA256_HMAC} and length >= LENGTHS[0]:
        mechanism, name = Mechanism.SHA256_HMAC, "kbkdf-hmac-sha256"
    elif key.key_type == KeyType.AES and length in LENGTHS:
        mechanism, name = Mechanism.AES_CMAC, f"kbkdf-cmac-aes{8 * length}"
    else:
        name = getattr(key.key_type, "name", key.key_type)
        raise SignerError(
            f"{place} is a key of {length} bytes for {name}, expected a generic secret of 16 or more, or AES of 16 or 32"
        )
    held = Held(key, mechanism, b"", name)
    return held._replace(identity=_mac(held, SAME_KEY))


def _secret_template(place: Place) -> dict[Any, Any]:
    from pkcs11 import Attribute

    may = {Attribute.SIGN: True, Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True}
    uses = (Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.WRAP, Attribute.UNWRAP, Attribute.DERIVE)
    may_not = dict.fromkeys((Attribute.EXTRACTABLE, Attribute.VERIFY, *uses), False)
    return {**may, **may_not, Attribute.LABEL: place.label}


def _generate_secret(session: Session, place: Place, key_type: str, length: int) -> None:
    from pkcs11 import KeyType, MechanismFlag

    session.generate_key(
        KeyType[key_type],
        8 * length,
        label=place.label,
        store=True,
        capabilities=MechanismFlag.SIGN,
        template=_secret_template(place),
    )


def _import_secret(session: Session, place: Place, key_type: str, data: bytes) -> None:
    from pkcs11 import Attribute, KeyType, ObjectClass

    form = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType[key_type], Attribute.VALUE: data}
    session.create_object(form | _secret_template(place))
