"""The one row that holds how far a field tool has come, and whom it believes at a moment."""

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
    """How far everything has come; `seen` is the latest moment of all, in seconds since 1970.

    `server` is the incarnation of the server that was met last, and `position` the cursor of its material for the user
    signed in. Command requests up to the number `taken` are with the server. Outcomes up to the number `offered` may be
    known to the server, and those up to `acknowledged` are. `serial` is the last serial of an outcome; those up to
    `reported_serial` are acknowledged, and uses by outcomes up to `counted_from` count no longer. Material that ended before
    `forgotten` was forgotten, and is not taken again.
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
    """Whom the tool believes at a moment, and whom no longer."""

    keyring: Keyring
    revocations: Revocations | None


def bind(t: Transaction, tool: str) -> None:
    """Make the store that of a tool; raises StoreError if it is another's: numbers and cursors are each tool's own."""
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
    """Return the state; raises StoreError if it was taken away."""
    found = t.rows(f"SELECT {', '.join(State._fields)} FROM tool_state WHERE one = 1")  # noqa: S608
    if not found:
        raise StoreError("the field-tool store has no state row; it is damaged")
    return State(*found[0])


def advance(t: Transaction, **changes: object) -> None:
    """Change fields of the state."""
    t.run(f"UPDATE tool_state SET {', '.join(f'{name} = ?' for name in changes)}", tuple(changes.values()))  # noqa: S608


def moment_of(state: State, now: object) -> int:
    """Return the later of `now` and the latest moment seen; raises InputError outside 2020 to 2100.

    A clock that was set back revives neither expired material nor a session.
    """
    return max(moment("now", now), state.seen)


def delegations_of(t: Transaction) -> list[bytes]:
    """Return the delegations that came with the last sign-in."""
    return [bytes(token) for (token,) in t.rows("SELECT token FROM tool_delegation ORDER BY position")]


def trust_at(t: Transaction, keyring: Keyring, state: State, moment: int) -> Trust:
    """Return whom the tool believes; raises StoreError if the revocations held are not the ones that were accepted."""
    delegations = delegations_of(t)
    ring = ring_at(keyring, delegations, moment)
    if state.revocations is None:
        return Trust(ring, None)
    # As it was accepted: when it ends it must not vanish, but make everything stale.
    accepting = ring_at(keyring, delegations, state.accepted_at)
    try:
        return Trust(ring, Revocations.from_token(state.revocations, accepting, now=state.accepted_at))
    except TokenRefused as refused:
        raise StoreError(f"the revocations held do not verify any more, {refused}: sync") from refused
