"""Checks of arguments: one form of error for every call that cannot be made."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from typing import TypeVar

from itron_core.errors import InputError

__all__ = ["EARLIEST", "LATEST", "instance", "member", "moment", "text", "whole"]

# 2020-01-01 and 2100-01-01: the earliest and the latest time of the format (docs/format.md, section Limits).
EARLIEST = 1_577_836_800
LATEST = 4_102_444_800
# In UTF-8: a name can be the key of a table in every store (an index entry of PostgreSQL has up to 2,704 bytes).
LONGEST_TEXT = 1_000


T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)


def whole(name: str, value: object, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return a whole number. Raises InputError for another type (bool included) or a number outside the bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InputError(f"{name}: got {value!r:.100}, expected a whole number from {least} to {most}")


def moment(name: str, value: object) -> int:
    """Return a moment in whole seconds since 1970. Raises InputError outside 2020 to 2100 (both ends are allowed).

    Takes an int, or an aware datetime of a whole second. The bounds reject a clock that is far off: a party never forgets
    a time that it has seen.
    """
    seconds = value
    # pandas.NaT and some time zones raise. Such a value is refused below, like any other wrong one.
    with suppress(Exception):
        if isinstance(value, datetime) and value.tzinfo is not None and value.utcoffset() is not None:
            stamp = value.timestamp()
            seconds = int(stamp) if stamp.is_integer() else value
    if isinstance(seconds, int) and not isinstance(seconds, bool) and EARLIEST <= seconds <= LATEST:
        return int(seconds)
    hint = ": these are milliseconds; divide by 1,000" if _is_milliseconds(seconds) else ""
    raise InputError(f"{name}: got {value!r:.100}, expected whole seconds since 1970, from 2020 to 2100{hint}")


def _is_milliseconds(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and EARLIEST <= value // 1_000 <= LATEST


def text(name: str, value: object) -> str:
    """Return a name: text of 1 to 1,000 bytes of UTF-8 without NUL. Raises InputError for anything else."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{name}: got {value!r:.100}, expected non-empty text")
    # A lone surrogate has no UTF-8, and no store holds it.
    size = len(value.encode(errors="replace"))
    if size > LONGEST_TEXT or "\0" in value or value.encode(errors="replace").decode() != value:
        raise InputError(
            f"{name}: got {value!r:.100} of {size:,} bytes, expected at most {LONGEST_TEXT:,}, Unicode, no NUL"
        )
    return value


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return the value if it is an instance of `kind`. Raises InputError otherwise."""
    if isinstance(value, kind):
        return value
    raise InputError(f"{name}: got {type(value).__name__}, expected {kind.__name__}")


def member(name: str, value: object, kind: type[E]) -> E:
    """Return the member of an enumeration, from itself or its number. Raises InputError for anything else."""
    if isinstance(value, kind):
        return value
    if type(value) is int and value in kind._value2member_map_:
        return kind(value)
    raise InputError(f"{name}: got {value!r:.100}, expected one of {', '.join(kind.__members__)}")
