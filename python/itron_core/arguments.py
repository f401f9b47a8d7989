"""What an argument must be: the same words everywhere for a call that cannot be made."""

from __future__ import annotations

from itron_core.errors import InputError

__all__ = ["text", "whole"]


def whole(name: str, value: object, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return a whole number; raises InputError for another type (truth values too), or beyond its bounds."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise InputError(f"{name} is {value!r:.100}; wanted a whole number from {least} up to {most}")


def text(name: str, value: object) -> str:
    """Return a text with something in it; raises InputError for another type, or an empty one."""
    if isinstance(value, str) and value:
        return value
    raise InputError(f"{name} is {value!r:.100}; wanted a text that is not empty")
