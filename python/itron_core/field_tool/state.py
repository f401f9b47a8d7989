"""What a field tool keeps: its tables, and the one row that says how far everything has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core._rust import Revocations
from itron_core.errors import InputError, StoreError, TokenRefused
from itron_core.exchange.verification import ring_at

if TYPE_CHECKING:
    from itron_core._rust import Keyring
    from itron_core.stores.protocol import Transaction

__all__ = ["STEPS", "State", "Trust", "advance", "bind", "moment_of", "state_of", "trust_at"]

STEPS = [
    # `counted` is the outcome by which a use was counted; `given` is what a server last said of a device.
    """
    CREATE TABLE tool_state (
        one INTEGER NOT NULL PRIMARY KEY, tool TEXT NOT NULL, user_name TEXT NOT NULL, unit TEXT NOT NULL,
        permissions INTEGER NOT NULL, command_limit INTEGER NOT NULL, authorization_limit INTEGER NOT NULL,
        revocations BLOB, revocations_version INTEGER NOT NULL, accepted_at INTEGER NOT NULL, seen INTEGER NOT NULL,
        position INTEGER NOT NULL, taken INTEGER NOT NULL, offered INTEGER NOT NULL, acknowledged INTEGER NOT NULL,
        counted_from INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tool_delegation (position INTEGER NOT NULL PRIMARY KEY, token BLOB NOT NULL) STRICT;
    CREATE TABLE tool_want (
        number INTEGER NOT NULL PRIMARY KEY, device TEXT NOT NULL, token_type TEXT NOT NULL, action INTEGER NOT NULL,
        action_bit INTEGER NOT NULL, asked_with INTEGER
    ) STRICT;
    CREATE INDEX tool_want_device ON tool_want (device, token_type, action);
    CREATE TABLE tool_device (
        device TEXT NOT NULL PRIMARY KEY, device_class INTEGER, mode INTEGER, security_level INTEGER,
        level_verified INTEGER, epoch INTEGER, given TEXT, session_opened_at INTEGER, session_seconds INTEGER,
        session_actions INTEGER
    ) STRICT;
    CREATE TABLE tool_material (
        kid BLOB NOT NULL, cti BLOB NOT NULL, device TEXT NOT NULL, token_type TEXT NOT NULL, actions INTEGER NOT NULL,
        sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, issued_at INTEGER NOT NULL, not_before INTEGER,
        expires_at INTEGER NOT NULL, session_seconds INTEGER, content BLOB NOT NULL, token BLOB NOT NULL,
        state INTEGER NOT NULL, sent_at INTEGER, counted INTEGER, PRIMARY KEY (kid, cti)
    ) STRICT;
    CREATE INDEX tool_material_device ON tool_material (device, token_type);
    CREATE TABLE tool_outcome (
        number INTEGER NOT NULL PRIMARY KEY, device TEXT NOT NULL, action INTEGER NOT NULL, kid BLOB NOT NULL,
        cti BLOB NOT NULL, content BLOB NOT NULL, state INTEGER NOT NULL, reason INTEGER NOT NULL, answer BLOB NOT NULL,
        happened_at INTEGER NOT NULL, code INTEGER
    ) STRICT
    """
]


class State(NamedTuple):
    """How far everything has come; `seen` is the latest moment of all, in seconds since 1970.

    `position` is the cursor of the material, `taken` the last wish that the server has. Outcomes up to `offered` may be
    known to the server and are never changed again; those up to `acknowledged` are. Uses by outcomes up to
    `counted_from` count no longer.
    """

    tool: str
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
    counted_from: int


class Trust(NamedTuple):
    """Whom the tool believes at a moment, and whom no longer."""

    keyring: Keyring
    revocations: Revocations | None


def bind(t: Transaction, tool: str) -> None:
    """Make the store that of a tool; raises StoreError where it is another's: numbers and cursors are each tool's own."""
    found = t.rows("SELECT tool FROM tool_state")
    if not found:
        t.run("INSERT INTO tool_state VALUES (1, ?, '', '', 0, 2, 2, NULL, 0, 0, 0, 0, 0, 0, 0, 0)", (tool,))
    elif found[0][0] != tool:
        raise StoreError(f"the store of tool {found[0][0]!r}; wanted that of {tool!r}")


def state_of(t: Transaction) -> State:
    """Return the state; raises StoreError where it was taken away."""
    found = t.rows(f"SELECT {', '.join(State._fields)} FROM tool_state WHERE one = 1")  # noqa: S608
    if not found:
        raise StoreError("the store of a field tool without its state; wanted one that nobody changed")
    return State(*found[0])


def advance(t: Transaction, **changes: object) -> None:
    """Change fields of the state."""
    t.run(f"UPDATE tool_state SET {', '.join(f'{name} = ?' for name in changes)}", tuple(changes.values()))  # noqa: S608


def moment_of(state: State, now: object) -> int:
    """Return the later of `now` and the latest moment seen.

    A clock that was set back revives neither expired material nor a session.
    """
    if not isinstance(now, int) or isinstance(now, bool) or now < 0:
        raise InputError(f"now is {now!r}; wanted whole seconds since 1970")
    return max(now, state.seen)


def trust_at(t: Transaction, keyring: Keyring, state: State, moment: int) -> Trust:
    """Return whom the tool believes; raises StoreError where the revocations held are not the ones that were accepted."""
    delegations = [token for (token,) in t.rows("SELECT token FROM tool_delegation ORDER BY position")]
    ring = ring_at(keyring, delegations, moment)
    if state.revocations is None:
        return Trust(ring, None)
    # As it was accepted: when it ends it must not vanish, but make everything stale.
    accepting = ring_at(keyring, delegations, state.accepted_at)
    try:
        return Trust(ring, Revocations.from_token(state.revocations, accepting, now=state.accepted_at))
    except TokenRefused as refused:
        raise StoreError(f"the revocations held do not verify any more, {refused}: sync") from refused
