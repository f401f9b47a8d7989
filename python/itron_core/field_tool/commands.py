"""Request and Current Commands: command requests, material held, and the tool's status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from itron_core.enums import Action, Code, Need, Permission
from itron_core.exchange.material import SPENT, MaterialState
from itron_core.field_tool.planning import UNUSED, Held, codes_of, held_by_user, later_time, limits_of, uses_of
from itron_core.field_tool.state import moment_of, state_of, trust_at
from itron_core.policy import counted_material, permission_for_scope
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core._rust import Keyring
    from itron_core.field_tool.state import State
    from itron_core.policy import PolicyOptions
    from itron_core.stores.protocol import Transaction

__all__ = ["Command", "Status", "current", "queue", "status"]

# Unused material with one of these codes is still held: the snapshot has expired, or its time has not come. Material whose
# key is no longer in force counts as revoked.
TO_COME = frozenset({Code.OK, Code.NOT_YET_VALID, Code.IAT_IN_FUTURE, Code.SNAPSHOT_STALE})
DERIVED = {
    Code.EXPIRED: MaterialState.EXPIRED,
    Code.EPOCH_STALE: MaterialState.SUPERSEDED,
}
# A command request belongs to the user who made it, and to anybody until a sync has sent it.
REQUESTS_OF_USER = """
    SELECT w.device, w.token_type, w.action, w.asked_with, w.number FROM tool_want w
    WHERE (w.asked_by IS NULL OR w.asked_by = ?) AND w.device IN ({values})
"""
# It is open until its user has received the first material for it.
UNFULFILLED = """
    AND NOT EXISTS (
        SELECT 1 FROM tool_material m JOIN tool_holder h ON h.kid = m.kid AND h.cti = m.cti
        WHERE h.user_name = ? AND m.device = w.device AND m.token_type = w.token_type
            AND (m.actions & w.action_bit) <> 0
    )
"""
REQUESTS_PER_QUERY = 500
UNUSED_STATES = ", ".join(str(int(state)) for state in sorted(UNUSED))


class Command(NamedTuple):
    """One line of Current Commands: a piece of material, or an open command request.

    `actions` is a bit set; `code` is the result of verifying it now, 0 for a request. `uses_left` is how often this kind
    may still be used at this device before a sync, None if uses are not limited. Times are in seconds since 1970; a
    request has neither sequence nor times.
    """

    device: str
    token_type: str
    actions: int
    state: MaterialState
    code: int
    uses_left: int | None
    sequence: int | None
    not_before: int | None
    expires_at: int | None


class Status(NamedTuple):
    """The status of a field tool: its signed-in user, and what blocks it.

    `withheld` counts unused material that is not shown because it was granted to another user, or because this user's
    permissions do not cover all its actions. `seen` is a time later than the clock's that the tool has seen, or None.
    `revocations_until` is the end of the revocation snapshot, None if there is none. Times are in seconds since 1970.
    `needs_attention` is true if one of these blocks something.
    """

    user: str
    unit: str
    permissions: Permission
    withheld: int
    seen: int | None
    revocations_until: int | None
    explanation: str
    needs_attention: bool


def queue(t: Transaction, state: State, requests: Iterable[tuple[str, str, Action]], names: Sequence[str]) -> int:
    """Queue command requests that are not open already, and return how many are new."""
    rows = rows_of(t, REQUESTS_OF_USER, names, (state.user_name,))
    is_open = {
        (device, token_type, action)
        for device, token_type, action, asked_with, number in rows
        if not _is_asked(number, state) or _permits(asked_with, token_type, action)
    }
    new = [request for request in dict.fromkeys(requests) if request not in is_open]
    ((last,),) = t.rows("SELECT max(serial) FROM tool_want")
    t.run_many(
        "INSERT INTO tool_want (serial, device, token_type, action, action_bit) VALUES (?, ?, ?, ?, ?)",
        [
            (serial, device, kind, int(action), 1 << action)
            for serial, (device, kind, action) in enumerate(new, (last or 0) + 1)
        ],
    )
    return len(new)


def current(
    t: Transaction,
    keyring: Keyring,
    options: PolicyOptions,
    *,
    now: int,
    expiring_before: int | None,
    devices: Sequence[str] | None,
) -> list[Command]:
    """Return the signed-in user's material and command requests by device; all material is verified again."""
    state = state_of(t)
    moment = moment_of(state, now)
    names = _names(t) if devices is None else list(dict.fromkeys(devices))
    held = held_by_user(t, names, state)
    epochs: dict[str, int | None] = dict(
        rows_of(t, "SELECT device, epoch FROM tool_device WHERE device IN ({values})", names)
    )
    codes = codes_of(held, [epochs.get(piece.device) for piece in held], trust_at(t, keyring, state, moment), moment)
    limits, uses = limits_of(options, state), uses_of(t, names, state)
    lines = [_line(piece, code, limits, uses) for piece, code in zip(held, codes, strict=True)]
    if expiring_before is None:
        lines += [_request(row, state) for row in _open_requests(t, names, state)]
    else:
        lines = [line for line in lines if _ends_before(line, expiring_before)]
    return sorted(lines, key=lambda line: (line.device, line.token_type, line.actions, line.sequence or 0))


def status(t: Transaction, keyring: Keyring, *, now: int) -> Status:
    """Return the status of a field tool at a given time."""
    state = state_of(t)
    moment = moment_of(state, now)
    permissions = Permission(state.permissions)
    ((unused,),) = t.rows(
        f"SELECT count(*) FROM tool_material WHERE state IN ({UNUSED_STATES}) AND expires_at > ?",  # noqa: S608
        (moment,),
    )
    shown = t.rows(
        f"SELECT token_type, actions, count(*) FROM tool_material m JOIN tool_holder h ON h.kid = m.kid"  # noqa: S608
        f" AND h.cti = m.cti WHERE h.user_name = ? AND state IN ({UNUSED_STATES}) AND expires_at > ?"
        " GROUP BY token_type, actions",
        (state.user_name, moment),
    )
    withheld = unused - sum(
        count for token_type, actions, count in shown if permission_for_scope(token_type, actions) in permissions
    )
    later = later_time(state, moment, now)
    revocations = trust_at(t, keyring, state, moment).revocations
    until = None if revocations is None else revocations.expires_at
    ended_at = None if until is None or until > moment else until
    sentences = [
        f"Signed in: {state.user_name}, unit {state.unit}."
        if state.user_name
        else "Nobody has signed in yet: sync first.",
        "This user has no permissions: sync to check whether that has changed."
        if state.user_name and not permissions
        else "",
        f"{withheld:,} unused {'piece' if withheld == 1 else 'pieces'} of material not shown: granted to another user,"
        " or beyond the permissions of this one."
        if withheld
        else "",
        f"The revocation snapshot ended at {datetime.fromtimestamp(ended_at, UTC):%Y-%m-%d %H:%M:%S} UTC: nothing is used"
        " until a sync brings the next."
        if ended_at is not None
        else "",
        later,
    ]
    return Status(
        state.user_name,
        state.unit,
        permissions,
        withheld,
        state.seen if later else None,
        until,
        "\n".join(sentence for sentence in sentences if sentence),
        needs_attention=bool(withheld or later or ended_at),
    )


def _names(t: Transaction) -> list[str]:
    return [name for (name,) in t.rows("SELECT device FROM tool_device ORDER BY device")]


def _open_requests(
    t: Transaction, names: Sequence[str], state: State
) -> Iterable[tuple[str, str, int, int | None, int | None]]:
    for start in range(0, len(names), REQUESTS_PER_QUERY):
        some = names[start : start + REQUESTS_PER_QUERY]
        sql = (REQUESTS_OF_USER + UNFULFILLED).replace("{values}", ", ".join("?" * len(some)))
        yield from ((*row,) for row in t.rows(sql, (state.user_name, *some, state.user_name)))


def _is_asked(number: int | None, state: State) -> bool:
    return number is not None and number <= state.taken


def _permits(asked_with: int | None, token_type: str, action: int) -> bool:
    return permission_for_scope(token_type, 1 << action) in Permission(asked_with or 0)


def _line(piece: Held, code: int, limits: PolicyOptions, uses: dict[tuple[str, str], int]) -> Command:
    stored = MaterialState(piece.state)
    return Command(
        piece.device,
        piece.token_type,
        piece.actions,
        stored if stored not in UNUSED or code in TO_COME else DERIVED.get(Code(code), MaterialState.REVOKED),
        code,
        _uses_left(piece, limits, uses),
        piece.sequence,
        piece.not_before,
        piece.expires_at,
    )


def _uses_left(piece: Held, limits: PolicyOptions, uses: dict[tuple[str, str], int]) -> int | None:
    if piece.token_type == "authorization":
        limit = limits.authorization_limit
    elif piece.token_type == "secure_command" and any(
        piece.covers(action) and Need.SECURE_COMMAND in counted_material(action) for action in Action
    ):
        limit = limits.command_limit
    else:
        return None
    return max(0, limit - uses.get((piece.device, piece.token_type), 0))


def _request(row: tuple[str, str, int, int | None, int | None], state: State) -> Command:
    device, token_type, action, asked_with, number = row
    refused = _is_asked(number, state) and not _permits(asked_with, token_type, action)
    became = MaterialState.REFUSED if refused else MaterialState.REQUESTED
    return Command(device, token_type, 1 << action, became, 0, None, None, None, None)


def _ends_before(line: Command, moment: int) -> bool:
    unused = line.state is not MaterialState.REFUSED and line.state not in SPENT
    return unused and line.expires_at is not None and line.expires_at < moment
