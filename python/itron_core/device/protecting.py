"""Protects the readings of a device at full security under its reading key (reading profile 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from itron_core._rust import DerivedKeys
from itron_core.device.rules import Refusal
from itron_core.device.state import CHECK_VALUE_BYTES, COUNTER_MAX, DeviceState
from itron_core.enums import Code, Reason
from itron_core.errors import InputError
from itron_core.exchange.messages import canonical
from itron_core.readings import protect_readings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ReadingKey", "protected"]

KEY_LENGTHS = frozenset({16, 32})


class ReadingKey(NamedTuple):
    """A reading key and its check value. It is not part of a device's state, and its repr hides it."""

    key: DerivedKeys | bytes
    check_value: bytes

    @classmethod
    def given(cls, key: object, check_value: bytes | None) -> Self | None:
        """Return the key as a ReadingKey, or None without a key. Raises InputError for an unusable key.

        A key in bytes needs its check value of 4 bytes too; derived keys know theirs.
        """
        if key is None:
            return None
        if isinstance(key, DerivedKeys):
            if len(key) != 1:
                raise InputError(f"reading_key: got {len(key)} derived keys, expected 1")
            known = bytes(key.check_values())
            if check_value not in {None, known}:
                raise InputError("check_value: does not belong to reading_key")
            return cls(key, known)
        if not isinstance(key, bytes) or len(key) not in KEY_LENGTHS:
            raise InputError(
                f"reading_key: got {type(key).__name__}, expected DerivedKeys, or bytes of length 16 or 32"
            )
        if check_value is None or len(check_value) != CHECK_VALUE_BYTES:
            raise InputError("check_value: got none, expected the 4 bytes that belong to reading_key")
        return cls(key, check_value)

    def __repr__(self) -> str:
        """Return a text that hides the key."""
        return "ReadingKey(...)"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse pickling and copying."""
        raise TypeError("a reading key cannot be pickled or copied")


def protected(
    state: DeviceState, data: Mapping[str, int | str], key: ReadingKey
) -> tuple[dict[str, int | str], DeviceState]:
    """Return a reading protected under the next counter, and the state with that counter.

    A key exchange ends the key: until the device has its new one, it sends no reading at all.
    """
    if state.check_value != key.check_value.hex():
        raise Refusal(Reason.READING_KEY_MISSING)
    if state.reading_counter == COUNTER_MAX:
        raise Refusal(Code.INTERNAL)  # no counter is used twice under one key
    counter = state.reading_counter + 1
    column = protect_readings(
        [canonical(data)],
        key.key if isinstance(key.key, DerivedKeys) else [key.key],
        devices=[state.device],
        counters=[counter],
        check_values=None if isinstance(key.key, DerivedKeys) else [key.check_value],
        algorithm="A256GCM" if _length(key.key) == max(KEY_LENGTHS) else "A128GCM",
    )
    (reading,) = column.to_pylist()
    return {"reading": reading.hex()}, state._replace(reading_counter=counter)


def _length(key: DerivedKeys | bytes) -> int:
    return len(key) if isinstance(key, bytes) else key.to_buffer().nbytes
