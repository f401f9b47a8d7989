"""What an argument must be: the same words everywhere for a call that cannot be made."""

from __future__ import annotations

from typing import TypeVar

from itron_core.errors import InputError

__all__ = ["instance", "text", "whole"]


T = TypeVar("T")


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


def instance(name: str, value: object, kind: type[T]) -> T:
    """Return an object of a class; raises InputError for another."""
    if isinstance(value, kind):
        return value
    raise InputError(f"{name} is of type {type(value).__name__}; wanted {kind.__name__}")
