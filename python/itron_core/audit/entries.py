"""What an entry of the audit log looks like: one line of deterministic JSON."""

from __future__ import annotations

import json

from itron_core.errors import InputError

__all__ = ["audit_entry"]


def audit_entry(kind: str, now: int, **facts: str | int | bytes) -> bytes:
    """Return an entry: the facts with `kind` and `at` (seconds since 1970), keys sorted, bytes as hexadecimal digits.

    Raises InputError for a fact that is no text, whole number or bytes, or is named `at`.
    """
    if "at" in facts:
        raise InputError("a fact 'at' of an audit entry; that is the time of the entry itself")
    whole = {name: _plain(name, value) for name, value in {**facts, "kind": kind, "at": now}.items()}
    try:
        return json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"an audit entry with text that is no Unicode: {error}") from error


def _plain(name: str, value: object) -> str | int:
    if isinstance(value, bytes):
        return value.hex()
    # A truth value is an int in Python, and would be another word in JSON.
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise InputError(f"fact {name!r} of an audit entry is {type(value).__name__}; wanted text, a whole number or bytes")
