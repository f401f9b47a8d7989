"""Readings as a device at full security sends them: protected under its reading key (reading profile 1)."""

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
    """A reading key and its check value; it is no part of a device's state, and nothing shows it."""

    key: DerivedKeys | bytes
    check_value: bytes

    @classmethod
    def given(cls, key: object, check_value: bytes | None) -> Self | None:
        """Return the key that a device was given, None for none; raises InputError for one that it cannot use.

        A key in bytes needs its check value of 4 bytes beside it; derived keys know theirs.
        """
        if key is None:
            return None
        if isinstance(key, DerivedKeys):
            if len(key) != 1:
                raise InputError(f"reading_key: got {len(key)} derived keys, expected 1")
            known = bytes(key.check_values())
            if check_value not in {None, known}:
                raise InputError("check_value: got that of another key than reading_key")
            return cls(key, known)
        if not isinstance(key, bytes) or len(key) not in KEY_LENGTHS:
            raise InputError(
                f"reading_key: got {type(key).__name__}, expected DerivedKeys, or bytes of length 16 or 32"
            )
        if check_value is None or len(check_value) != CHECK_VALUE_BYTES:
            raise InputError("check_value: got none, expected the 4 bytes that belong to reading_key")
        return cls(key, check_value)

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "ReadingKey(...)"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled or copied."""
        raise TypeError("a reading key cannot be pickled or copied")


def protected(
    state: DeviceState, data: Mapping[str, int | str], key: ReadingKey
) -> tuple[dict[str, int | str], DeviceState]:
    """Return a reading protected under the next counter, and the state that has counted it.

    A key exchange ends the key: until the device is given its new one it sends no reading, and none in the clear.
    """
    if state.check_value != key.check_value.hex():
        raise Refusal(Reason.READING_KEY_MISSING)
    if state.reading_counter == COUNTER_MAX:
        raise Refusal(Code.INTERNAL)  # one counter never twice under one key
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
