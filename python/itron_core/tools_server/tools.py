"""The state of each field tool at the server: its last sign-in, its numbers, and its quotas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.errors import RequestRefused
from itron_core.tools_server.access import check_present

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from itron_core.stores.protocol import Transaction

__all__ = [
    "Quotas",
    "Tool",
    "ToolRecord",
    "advance",
    "charge",
    "check_reused",
    "fresh_numbers",
    "known_tool",
    "number_in",
    "permissions_of",
    "plain",
    "records",
    "sign_in",
    "signed_in",
]

SECONDS_PER_DAY = 86_400


class Quotas(NamedTuple):
    """Limits of one field tool: command requests in all, and bytes of outcomes per day (UTC)."""

    command_requests: int = 250_000
    outcome_bytes_per_day: int = 256 * 2**20


class Tool(NamedTuple):
    """A field tool; `name` is the last user who signed in; the numbers are the highest of each kind."""

    tool: str
    unit: str
    name: str
    wanted: int
    granted: int
    reported: int
    report_day: int
    report_bytes: int


class ToolRecord(NamedTuple):
    """The record of a field tool: its unit, the last user, its numbers, and whether it was removed."""

    tool: str
    unit: str
    user: str
    command_requests: int
    granted: int
    reported: int
    removed: bool


def records(t: Transaction, removed: Iterable[str]) -> list[ToolRecord]:
    """Return a record of each tool that has signed in or was removed, by name."""
    gone = set(removed)
    found = {
        tool: ToolRecord(tool, unit, user, requests, granted, reported, tool in gone)
        for tool, unit, user, requests, granted, reported in t.rows(
            "SELECT tool, unit, name, wanted, granted, reported FROM server_tool"
        )
    }
    found |= {tool: ToolRecord(tool, "", "", 0, 0, 0, removed=True) for tool in gone - found.keys()}
    return [found[tool] for tool in sorted(found)]


def known_tool(t: Transaction, tool: str) -> Tool:
    """Return a tool that has signed in. Raises RequestRefused `sign_in_required` or `tool_removed`."""
    check_present(t, tool)
    found = t.rows(f"SELECT {', '.join(Tool._fields)} FROM server_tool WHERE tool = ?", (tool,))  # noqa: S608
    if not found:
        raise RequestRefused("sign_in_required", f"tool {tool!r} has never signed in: sign in first")
    return Tool(*found[0])


def signed_in(t: Transaction, tool: str) -> tuple[str, str] | None:
    """Return the last user who signed in at a tool, and the tool's unit; None for an unknown tool."""
    found = t.rows("SELECT name, unit FROM server_tool WHERE tool = ?", (tool,))
    return found[0] if found else None


def sign_in(t: Transaction, tool: str, user: str, unit: str) -> None:
    """Sign a user in at a tool, which belongs to the unit of its first user."""
    check_present(t, tool)
    known = signed_in(t, tool)
    if known is None:
        t.run(
            "INSERT INTO server_tool (tool, unit, name, wanted, granted, reported, report_day, report_bytes)"
            " VALUES (?, ?, ?, 0, 0, 0, 0, 0)",
            (tool, unit, user),
        )
    elif known[1] != unit:
        raise RequestRefused(
            "unit_mismatch",
            f"tool {tool!r} belongs to unit {known[1]!r}, but user {user!r} to {unit!r}: use another tool",
        )
    else:
        t.run("UPDATE server_tool SET name = ? WHERE tool = ?", (user, tool))


def permissions_of(t: Transaction, known: Tool) -> int | None:
    """Return the current permissions of the signed-in user; None if the user was removed."""
    found = t.rows("SELECT permissions FROM server_user WHERE name = ? AND unit = ?", (known.name, known.unit))
    return int(found[0][0]) if found else None


def advance(t: Transaction, tool: str, **changes: int) -> None:
    """Update the numbers of a tool."""
    names = ", ".join(f"{name} = ?" for name in changes)
    t.run(f"UPDATE server_tool SET {names} WHERE tool = ?", (*changes.values(), tool))  # noqa: S608


def charge(t: Transaction, known: Tool, size: int, most: int, now: int) -> None:
    """Count bytes of outcomes against the daily quota. Raises RequestRefused `quota_exceeded` beyond it."""
    day = now // SECONDS_PER_DAY
    total = size + (known.report_bytes if known.report_day == day else 0)
    if total > most:
        raise RequestRefused(
            "quota_exceeded",
            f"tool {known.tool!r} would report {total} bytes of outcomes today, more than its limit of {most}: report the rest tomorrow",
        )
    advance(t, known.tool, report_day=day, report_bytes=total)


def fresh_numbers(numbers: Sequence[int], last: int) -> int:
    """Return how many of the numbers are new. Raises RequestRefused `number_skipped` unless these follow the last one.

    Numbers that were received before may be repeated.
    """
    fresh = [number for number in numbers if number > last]
    if fresh != list(range(last + 1, last + 1 + len(fresh))):
        raise RequestRefused("number_skipped", f"numbers: got {fresh[:5]}, expected {last + 1} and rising by one")
    return len(fresh)


def plain(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the values of a row with bytes for byte strings: PostgreSQL's driver returns views."""
    return (bytes(value) if isinstance(value, memoryview) else value for value in values)


def check_reused(tool: str, numbers: Sequence[int]) -> None:
    """Raise RequestRefused `number_reused` if any numbers were already used for different content."""
    if numbers:
        raise RequestRefused(
            "number_reused",
            f"tool {tool!r}: numbers {', '.join(map(str, numbers[:5]))} were already used for different content;"
            " its store is an outdated copy; sync again",
        )


def number_in(t: Transaction, sql: str, *parameters: object) -> int:
    """Return the only number that a query finds, or 0 if it finds none."""
    rows = t.rows(sql, parameters)
    return int(rows[0][0] or 0) if rows else 0
