"""The form of an entry of the audit log: one line of deterministic JSON."""

from __future__ import annotations

import json
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from itron_core._arguments import whole
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["audit_entries", "audit_entry"]


def audit_entry(kind: str, now: int, **facts: str | int | bytes) -> bytes:
    """Return an entry: the facts with `kind` and `at` (seconds since 1970), keys sorted, bytes as hexadecimal digits.

    Raises InputError if a fact is not text, a whole number or bytes, if it is named `at`, or if the time is invalid.
    """
    if "at" in facts:
        raise InputError("at: reserved for the time of the entry; give the fact another name")
    whole("now", now)
    plain = {name: _plain(name, value) for name, value in {**facts, "kind": kind, "at": now}.items()}
    try:
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"facts: got text that is not valid Unicode: {error}") from error


def audit_entries(
    kind: str, now: int, columns: Mapping[str, Sequence[str | int | bytes]], **facts: str | int | bytes
) -> list[bytes]:
    """Return one entry per row of `columns`, as `audit_entry` does; `facts` are common to all of them.

    Raises InputError as `audit_entry` does, and if the columns differ in length.
    """
    if not columns or len({len(column) for column in columns.values()}) != 1 or {"at", "kind", *facts} & columns.keys():
        raise InputError(
            f"columns: got {', '.join(columns)}, expected one or more, of one length and with unique names"
        )
    same = json.loads(audit_entry(kind, now, **facts))
    parts = {name: json.dumps(value, ensure_ascii=False).replace("%", "%%") for name, value in same.items()}
    parts |= dict.fromkeys(columns, "%s")
    names = {name: encode_basestring(name).replace("%", "%%") for name in parts}
    template = "{" + ",".join(f"{names[name]}:{parts[name]}" for name in sorted(parts)) + "}"
    texts = [[_text(name, value) for value in columns[name]] for name in sorted(columns)]
    try:
        return [(template % row).encode() for row in zip(*texts, strict=True)]
    except UnicodeEncodeError as error:
        raise InputError(f"facts: got text that is not valid Unicode: {error}") from error


def _text(name: str, value: object) -> str:
    if type(value) is bytes:
        return f'"{value.hex()}"'
    plain = _plain(name, value)
    return encode_basestring(plain) if isinstance(plain, str) else int.__repr__(plain)


def _plain(name: str, value: object) -> str | int:
    if isinstance(value, bytes):
        return value.hex()
    # A bool is an int in Python, but JSON writes it as true or false.
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise InputError(f"{name}: got {type(value).__name__}, expected text, a whole number or bytes")
