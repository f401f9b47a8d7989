"""The state row of a field tool, and the keys that it trusts at a given time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import moment
from itron_core._rust import Revocations
from itron_core.errors import StoreError, TokenRefused
from itron_core.exchange.verification import ring_at

if TYPE_CHECKING:
    from itron_core._rust import Keyring
    from itron_core.stores.protocol import Transaction

__all__ = ["State", "Trust", "advance", "bind", "delegations_of", "moment_of", "state_of", "trust_at"]


class State(NamedTuple):
    """The progress of a field tool; `seen` is the latest time that it has seen, in seconds since 1970.

    `server` is the incarnation of the last server, and `position` the cursor of its material for the signed-in user. The
    server has command requests up to the number `taken`. It may know outcomes up to the number `offered`, and has
    acknowledged those up to `acknowledged`. `serial` is the last serial of an outcome; those up to `reported_serial` are
    acknowledged, and uses by outcomes up to `counted_from` no longer count. Material that ended before `forgotten` was
    deleted, and is not accepted again.
    """

    tool: str
    server: str
    user_name: str
    unit: str
    permissions: int
    command_limit: int
    authorization_limit: int
    revocations: bytes | None
    revocations_version: int
    accepted_at: int
    seen: int
    position: int
    taken: int
    offered: int
    acknowledged: int
    serial: int
    reported_serial: int
    counted_from: int
    forgotten: int


class Trust(NamedTuple):
    """The keys that the tool trusts at a given time, and the revocations."""

    keyring: Keyring
    revocations: Revocations | None


def bind(t: Transaction, tool: str) -> None:
    """Bind the store to a tool. Raises StoreError if it belongs to another one: numbers and cursors are per tool."""
    found = t.rows("SELECT tool FROM tool_state")
    if not found:
        t.run(
            "INSERT INTO tool_state (one, tool, server, user_name, unit, permissions, command_limit,"
            " authorization_limit, revocations, revocations_version, accepted_at, seen, position, taken, offered,"
            " acknowledged, serial, reported_serial, counted_from, forgotten)"
            " VALUES (1, ?, '', '', '', 0, 2, 2, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)",
            (tool,),
        )
    elif found[0][0] != tool:
        raise StoreError(f"the store belongs to tool {found[0][0]!r}, expected {tool!r}")


def state_of(t: Transaction) -> State:
    """Return the state. Raises StoreError if its row is missing."""
    found = t.rows(f"SELECT {', '.join(State._fields)} FROM tool_state WHERE one = 1")  # noqa: S608
    if not found:
        raise StoreError("the field-tool store has no state row; it is damaged")
    return State(*found[0])


def advance(t: Transaction, **changes: object) -> None:
    """Change fields of the state."""
    t.run(f"UPDATE tool_state SET {', '.join(f'{name} = ?' for name in changes)}", tuple(changes.values()))  # noqa: S608


def moment_of(state: State, now: object) -> int:
    """Return the later of `now` and the latest time seen. Raises InputError outside 2020 to 2100.

    A clock that is set back revives neither expired material nor a session.
    """
    return max(moment("now", now), state.seen)


def delegations_of(t: Transaction) -> list[bytes]:
    """Return the delegations that came with the last sign-in."""
    return [bytes(token) for (token,) in t.rows("SELECT token FROM tool_delegation ORDER BY position")]


def trust_at(t: Transaction, keyring: Keyring, state: State, moment: int) -> Trust:
    """Return the keys and revocations in force. Raises StoreError if the stored revocations no longer verify."""
    delegations = delegations_of(t)
    ring = ring_at(keyring, delegations, moment)
    if state.revocations is None:
        return Trust(ring, None)
    # Verified as when accepted: an expired snapshot must not disappear, but make everything stale.
    accepting = ring_at(keyring, delegations, state.accepted_at)
    try:
        return Trust(ring, Revocations.from_token(state.revocations, accepting, now=state.accepted_at))
    except TokenRefused as refused:
        raise StoreError(f"the stored revocations no longer verify ({refused}): sync again") from refused
