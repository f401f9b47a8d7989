"""Recorded and revoked bearer tokens, and removed field tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.stores.protocol import Transaction

__all__ = [
    "BearerRecord",
    "bearers",
    "check_present",
    "is_refused",
    "keep_bearer",
    "keep_removed",
    "refuse",
    "remove_tool",
    "removed_tools",
]


class BearerRecord(NamedTuple):
    """The record of a bearer token for this server, without the token itself.

    `roles` are joined by commas. Times are in seconds since 1970. `revoked` is whether it is refused by its id or tool.
    """

    token_id: str
    user: str
    roles: str
    tool: str
    unit: str
    issued_at: int
    expires_at: int
    revoked: bool = False


REFUSED = (
    "EXISTS (SELECT 1 FROM server_bearer_refusal r WHERE (r.kind = 'id' AND r.name = b.id)"
    " OR (r.kind = 'tool' AND r.name = b.tool AND r.until >= b.issued_at))"
)


def keep_bearer(t: Transaction, made: BearerRecord) -> None:
    """Record a bearer token, so that it can be listed and revoked by its id."""
    t.run(
        "INSERT INTO server_bearer (id, user_name, roles, tool, unit, issued_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id, issued_at) DO NOTHING",
        made[:-1],
    )


def bearers(t: Transaction) -> list[BearerRecord]:
    """Return the recorded bearer tokens, oldest first."""
    found = t.rows(
        f"SELECT id, user_name, roles, tool, unit, issued_at, expires_at, CASE WHEN {REFUSED} THEN 1 ELSE 0 END"  # noqa: S608
        " FROM server_bearer b ORDER BY issued_at, user_name, id"
    )
    return [BearerRecord(*row)._replace(revoked=row[-1] == 1) for row in found]


def refuse(t: Transaction, *, ids: Iterable[str], tools: Iterable[str], now: int) -> None:
    """Refuse bearers by id, and all bearers of these tools issued up to now."""
    t.run_many(
        "INSERT INTO server_bearer_refusal (kind, name, until) VALUES (?, ?, ?)"
        " ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until",
        [*(("id", name, now) for name in ids), *(("tool", name, now) for name in tools)],
    )


def is_refused(t: Transaction, token_id: str, tool: str, issued_at: int) -> bool:
    """Return whether a bearer was revoked, by its id or together with all earlier bearers of its tool."""
    return bool(
        t.rows(
            "SELECT 1 FROM server_bearer_refusal WHERE (kind = 'id' AND name = ?)"
            " OR (kind = 'tool' AND name = ? AND until >= ?)",
            (token_id, tool, issued_at),
        )
    )


def remove_tool(t: Transaction, tool: str, now: int) -> None:
    """Remove a field tool for good. Raises RequestRefused (`tool_unknown`) for an unknown one."""
    known = "SELECT 1 FROM server_tool WHERE tool = ? UNION ALL SELECT 1 FROM server_bearer WHERE tool = ?"
    if not t.rows(known, (tool, tool)):
        raise RequestRefused(
            "tool_unknown", f"unknown tool {tool!r}: it has neither signed in here nor a recorded bearer token"
        )
    keep_removed(t, tool, now)


def keep_removed(t: Transaction, tool: str, now: int) -> None:
    """Record that a field tool was removed, known or not."""
    t.run("INSERT INTO server_removed_tool (tool, removed_at) VALUES (?, ?) ON CONFLICT (tool) DO NOTHING", (tool, now))


def removed_tools(t: Transaction) -> set[str]:
    """Return the removed field tools."""
    return {tool for (tool,) in t.rows("SELECT tool FROM server_removed_tool")}


def check_present(t: Transaction, tool: str) -> None:
    """Raise RequestRefused (`tool_removed`) for a removed tool."""
    if t.rows("SELECT 1 FROM server_removed_tool WHERE tool = ?", (tool,)):
        raise RequestRefused(
            "tool_removed", f"tool {tool!r} was removed from this server: set up a tool with another name"
        )
