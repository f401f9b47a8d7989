"""Command requests and grants: material is granted to one tool and one user, by its whole scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import instance
from itron_core.audit import audit_entry
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, ActionGroup, Permission
from itron_core.errors import InputError, RequestRefused
from itron_core.exchange.identity import device_id
from itron_core.exchange.material import Material, Page
from itron_core.exchange.pages import page_length
from itron_core.exchange.records import CommandRequest
from itron_core.policy import permission_for_scope
from itron_core.stores.incarnation import restored
from itron_core.stores.protocol import rows_of
from itron_core.tools_server.tools import advance, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from itron_core.stores.protocol import Transaction
    from itron_core.tools_server.tools import Tool

__all__ = [
    "check_request",
    "differing_requests",
    "end_grants",
    "end_tool",
    "entries_of",
    "grant",
    "granted",
    "granted_page",
    "held_page",
    "take",
]

EVERY_PERMISSION = int(sum(Permission))
MATERIAL = (
    "m.unit, m.device, m.token_type, m.actions, m.kid, m.sequence, m.epoch, m.issued_at, m.not_before, m.expires_at,"
    " m.session_seconds, m.token"
)
# Every request is granted every unused and unexpired token that fulfils it, if its user may do all that the token permits
# and does not have it at this tool already.
GRANT = """
    INSERT INTO server_grant (tool, serial, user_name, material, ended)
    SELECT found.tool,
        t.granted + row_number() OVER (PARTITION BY found.tool ORDER BY found.material, found.user_name),
        found.user_name, found.material, 0
    FROM (
        SELECT DISTINCT w.tool AS tool, w.user_name AS user_name, m.serial AS material
        FROM server_want w
        JOIN server_material m
            ON m.device = w.device AND m.token_type = w.token_type AND m.unit = w.unit AND (m.actions & w.action_bit) <> 0
        JOIN server_user u
            ON u.name = w.user_name AND u.unit = w.unit AND (m.permissions & ~u.permissions) = 0
        WHERE m.used = 0 AND m.expires_at > ? AND {new}
    ) found
    JOIN server_tool t ON t.tool = found.tool
    WHERE NOT EXISTS (
        SELECT 1 FROM server_grant g
        WHERE g.tool = found.tool AND g.material = found.material AND g.user_name = found.user_name AND g.ended = 0
    )
"""
OF_UNIT = (
    "SELECT m.kid, m.cti, m.content, m.device FROM server_material m JOIN server_tool s ON s.unit = m.unit"
    " WHERE s.tool = ? AND m.cti IN ({values})"
)
COUNT_GRANTS = """
    UPDATE server_tool SET granted =
        (SELECT coalesce(max(g.serial), 0) FROM server_grant g WHERE g.tool = server_tool.tool)
"""
END_REQUESTS = """
    DELETE FROM server_want WHERE user_name = ? AND NOT EXISTS (
        SELECT 1 FROM server_user u WHERE u.name = server_want.user_name AND u.unit = server_want.unit
        AND (server_want.permissions & ~u.permissions) = 0
    )
"""
END_GRANTS = """
    UPDATE server_grant SET ended = 1 WHERE user_name = ? AND ended = 0 AND NOT EXISTS (
        SELECT 1 FROM server_material m JOIN server_user u ON u.unit = m.unit
        WHERE m.serial = server_grant.material AND u.name = server_grant.user_name
        AND (m.permissions & ~u.permissions) = 0
    )
"""
# Each fetch is decided by the user who is signed in then, and that user's permissions at that time.
HANDED_OUT = """
    FROM server_grant g JOIN server_material m ON m.serial = g.material
    WHERE g.tool = ? AND g.user_name = ? AND m.unit = ? AND g.serial > ? AND g.ended = 0 AND m.used = 0
    AND length(m.token) > 0 AND (m.permissions & ?) = 0 AND m.kid IN ({kids})
"""


def check_request(request: CommandRequest) -> None:
    """Raise InputError unless the request names a device, a token type and an action."""
    instance("requests", request, CommandRequest)
    if request.token_type not in DEVICE_TOKEN_TYPES or request.action not in Action._value2member_map_:
        raise InputError(
            f"requests: got type {request.token_type!r:.80}, action {request.action!r:.80},"
            f" expected one of {', '.join(DEVICE_TOKEN_TYPES)} and an action"
        )
    device_id(request.device)


def take(
    t: Transaction, known: Tool, requests: Sequence[CommandRequest], permissions: Permission, most: int
) -> list[CommandRequest]:
    """Store the new requests that their user may make, and return them.

    Equal requests are stored once. Raises RequestRefused `quota_exceeded` if the tool would have more than `most`.
    """
    permitted = [one for one in requests if _needed_for(one) in permissions]
    t.run_many(
        "INSERT INTO server_want (tool, number, user_name, unit, device, token_type, action_bit, permissions)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tool, user_name, device, token_type, action_bit)"
        " DO UPDATE SET number = excluded.number",
        [
            (
                known.tool,
                one.number,
                known.name,
                known.unit,
                one.device,
                one.token_type,
                1 << one.action,
                int(_needed_for(one)),
            )
            for one in permitted
        ],
    )
    advance(t, known.tool, wanted=known.wanted + len(requests))
    ((count,),) = t.rows("SELECT count(*) FROM server_want WHERE tool = ?", (known.tool,)) if permitted else ((0,),)
    if count > most:
        raise RequestRefused(
            "quota_exceeded",
            f"tool {known.tool!r} would have {count} command requests, more than its limit of {most}: request fewer",
        )
    return permitted


def differing_requests(t: Transaction, tool: str, requests: Sequence[CommandRequest]) -> list[int]:
    """Return the numbers that were already used for a different request.

    A request that was not permitted, or was repeated later, is not stored under its number and cannot be compared.
    """
    given = {one.number: (one.device, one.token_type, 1 << one.action) for one in requests}
    found = rows_of(
        t,
        "SELECT number, device, token_type, action_bit FROM server_want WHERE tool = ? AND number IN ({values})",
        list(given),
        (tool,),
    )
    return [number for number, *kept in found if tuple(kept) != given[number]]


def grant(t: Transaction, now: int, new: str, *parameters: object) -> None:
    """Grant the material that fulfils command requests; `new` limits which rows are examined."""
    t.run(GRANT.replace("{new}", new), (now, *parameters))
    t.run(COUNT_GRANTS)


def end_grants(t: Transaction, users: Iterable[str]) -> None:
    """End the command requests and grants of users who lost a permission that they need."""
    for user in users:
        t.run(END_REQUESTS, (user,))
        t.run(END_GRANTS, (user,))


def end_tool(t: Transaction, tool: str) -> None:
    """End the command requests and grants of a removed tool."""
    t.run("DELETE FROM server_want WHERE tool = ?", (tool,))
    t.run("UPDATE server_grant SET ended = 1 WHERE tool = ?", (tool,))


def granted_page(
    t: Transaction, known: Tool, permissions: int, kids: Sequence[bytes], *, after: int, limit: int
) -> Page:
    """Return material granted after a cursor to the signed-in user, and signed by one of the keys `kids`."""
    rest = HANDED_OUT.replace("{kids}", ", ".join("?" * len(kids)))
    parameters = (known.tool, known.name, known.unit, after, EVERY_PERMISSION & ~permissions, *kids)
    # Sizes first: the end of a page is found before any token is read.
    sizes = t.rows(f"SELECT g.serial, length(m.token) {rest} ORDER BY g.serial LIMIT ?", (*parameters, limit + 1))
    count = page_length((size for _, size in sizes), limit)
    more = count < len(sizes)
    end = sizes[count - 1][0] if count else after
    found = t.rows(f"SELECT g.serial, {MATERIAL} {rest} AND g.serial <= ? ORDER BY g.serial", (*parameters, end))
    rows = [(serial, Material(*plain(columns))) for serial, *columns in found]
    return Page(rows, end if more else known.granted, more)


def held_page(t: Transaction, tool: str, *, after: int, limit: int, now: int) -> Page:
    """Return material granted to a tool's users after a cursor that it may still hold unused, without the tokens."""
    found = t.rows(
        f"SELECT g.serial, {MATERIAL} FROM server_grant g JOIN server_material m ON m.serial = g.material"  # noqa: S608
        " WHERE g.tool = ? AND g.serial > ? AND m.used = 0 AND m.expires_at > ? ORDER BY g.serial LIMIT ?",
        (tool, after, now, limit + 1),
    )
    rows = [(serial, Material(*plain(columns))._replace(token=b"")) for serial, *columns in found[:limit]]
    return Page(rows, rows[-1][0] if rows else after, len(found) > limit)


def granted(t: Transaction, tool: str, ids: Sequence[bytes]) -> dict[tuple[bytes, bytes], tuple[bytes, str]]:
    """Return the content and device of material granted to the tool, by key id and CWT id, including ended grants.

    A server restored from a backup has lost grants by which tools report. There, all material of the tool's unit counts
    as granted.
    """
    lost = rows_of(t, OF_UNIT, ids, (tool,)) if restored(t) else ()
    found = rows_of(
        t,
        # CROSS stops SQLite from scanning all grants of the tool instead.
        "SELECT m.kid, m.cti, m.content, m.device FROM server_material m CROSS JOIN server_grant g"
        " WHERE g.tool = ? AND g.material = m.serial AND m.cti IN ({values})",
        ids,
        (tool,),
    )
    return {(bytes(kid), bytes(cti)): (bytes(content), device) for kid, cti, content, device in (*lost, *found)}


def entries_of(
    known: Tool, fresh: Sequence[CommandRequest], permitted: Sequence[CommandRequest], now: int
) -> Iterator[bytes]:
    """Yield the audit entries of new command requests: one for all, and one for each refused critical request."""
    if fresh:
        yield audit_entry("request", now, tool=known.tool, user=known.name, count=len(fresh), permitted=len(permitted))
    numbers = {one.number for one in permitted}
    for one in fresh:
        if one.number not in numbers and Action(one.action).group is ActionGroup.SERVICE:
            yield audit_entry(
                "critical_refused",
                now,
                tool=known.tool,
                user=known.name,
                device=one.device,
                action=Action(one.action).name.lower(),
                reason="permission_denied",
            )


def _needed_for(request: CommandRequest) -> Permission:
    return permission_for_scope(request.token_type, 1 << request.action)
