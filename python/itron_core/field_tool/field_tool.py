"""The field tool itself: a face over its store. Everything but `sync` works offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import whole
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, Code, Need, Permission, SecurityLevel
from itron_core.errors import InputError
from itron_core.exchange.identity import device_id
from itron_core.exchange.material import SPENT, MaterialState
from itron_core.exchange.verification import check_before
from itron_core.field_tool.planning import (
    HELD,
    UNUSED,
    Held,
    codes_of,
    decided,
    known_of,
    limits_of,
    missing_wants,
    uses_of,
)
from itron_core.field_tool.state import STEPS, advance, bind, moment_of, state_of, trust_at
from itron_core.field_tool.sync import Sync
from itron_core.field_tool.work import Work
from itron_core.policy import PolicyOptions, counted_material, permission_for
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from itron_core._rust import Keyring
    from itron_core.audit import AuditLog
    from itron_core.exchange.protocols import Exchange
    from itron_core.field_tool.sync import SyncReport
    from itron_core.field_tool.work import Link, WorkResult
    from itron_core.routes import RouteResults
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Command", "FieldTool"]

DEFAULT_OPTIONS = PolicyOptions()
DERIVED = {
    Code.EXPIRED: MaterialState.EXPIRED,
    Code.ISSUER_REVOKED: MaterialState.REVOKED,
    Code.DEVICE_REVOKED: MaterialState.REVOKED,
    Code.TOKEN_REVOKED: MaterialState.REVOKED,
    Code.EPOCH_STALE: MaterialState.SUPERSEDED,
}


class Command(NamedTuple):
    """One line of Current Commands: a piece of material, or a wish that nothing fulfils yet (no sequence, no times).

    `actions` is a bit set; `code` what verifying it says now, 0 for a wish; `uses_left` how often this kind may be used
    at this device before a resync, None where that is not counted. Times in seconds since 1970.
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


class FieldTool:
    """A field tool over a store of its own; `keyring` holds the roots, delegations come with a sync.

    A moment before one that was written down counts as that one: a clock set back revives nothing. What only reads
    (`current_commands`, `preflight`) writes no moment down. The limits of uses are the lower of the options' and the
    server's. Raises StoreError for the store of another tool, and everywhere for a store that cannot be read.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        tool: str,
        *,
        options: PolicyOptions = DEFAULT_OPTIONS,
        log: AuditLog | None = None,
    ) -> None:
        if not tool:
            raise InputError(f"a tool of the name {tool!r}; wanted a text")
        self._store, self._keyring, self._tool, self._options = store, keyring, tool, options
        store.migrate("tool", STEPS)
        with store.write() as t:
            bind(t, tool)
        self._journal = Journal(store, "tool", log)

    # --- With a tools server ---

    def sync(self, exchange: Exchange, user: str, *, now: int, page: int = 10_000) -> SyncReport:
        """Report outcomes, sign in, request what is wanted, fetch material and what is known of devices.

        Each step is durable before the next, and may be cut at any point: the next sync goes on. Uses are counted anew
        after a whole sync only. Raises RequestRefused where the user is not let in: then nothing held may be used any
        more by that user's permissions; ExchangeError for a server that cannot be reached or believed: nothing of that
        answer is kept.
        """
        report = self._syncing(exchange, now, page).run(user)
        self._journal.publish()
        return report

    def report(self, exchange: Exchange, *, now: int, page: int = 10_000) -> dict[int, int]:
        """Report outcomes alone, and return a code for the number of each: 0, 800 or 801.

        Nothing is fetched and no uses are counted anew. Raises as `sync` does.
        """
        codes = self._syncing(exchange, now, page).report()
        self._journal.publish()
        return codes

    def _syncing(self, exchange: Exchange, now: int, page: int) -> Sync:
        rows = whole("page", page, 1)
        return Sync(self._store, self._journal, self._keyring, exchange, now=whole("now", now), page=rows)

    # --- Request Commands and Current Commands ---

    def request_commands(self, devices: Sequence[str], *, token_type: str, actions: Iterable[Action], now: int) -> int:
        """Queue wishes for the next sync, and return how many are new; one that is open already is not queued twice.

        `token_type` is secure_command, authorization or reading_key. The devices are those of which the next sync asks.
        """
        if token_type not in DEVICE_TOKEN_TYPES:
            raise InputError(f"material of type {token_type!r}; wanted one of {', '.join(DEVICE_TOKEN_TYPES)}")
        wanted = [_action(action) for action in actions]
        return self._want([(device, token_type, action) for device in devices for action in wanted], devices, now)[0]

    def request_missing(self, plan: Sequence[tuple[str, Action]], results: RouteResults, *, now: int) -> int:
        """Queue wishes for what a preflight of the same plan found missing; returns how many are new.

        Of devices that are not known yet, the next sync asks what they are.
        """
        missing = results["missing"].to_pylist()
        if len(missing) != len(plan):
            raise InputError(f"{len(missing)} results for a plan of {len(plan)} rows; wanted those of its preflight")
        rows = _rows(plan)
        with self._store.read() as t:
            known, limited = known_of(t, rows), limits_of(self._options, state_of(t))
        return self._want(missing_wants(rows, missing, known, limited), [device for device, _ in plan], now)[0]

    def add_devices(self, devices: Iterable[str], *, now: int) -> int:
        """Let the next sync ask what these devices are, without a wish; returns how many are new."""
        return self._want([], list(devices), now)[1]

    def current_commands(
        self, *, now: int, expiring_before: int | None = None, devices: Sequence[str] | None = None
    ) -> list[Command]:
        """Return what is held and what is wished for, by device; all of it is verified anew at this moment.

        `expiring_before` leaves what ends before it, in seconds since 1970; `devices` leaves these.
        """
        with self._store.read() as t:
            state = state_of(t)
            moment = moment_of(state, now)
            trust = trust_at(t, self._keyring, state, moment)
            names = _names(t) if devices is None else list(dict.fromkeys(devices))
            held = [Held(*row) for row in rows_of(t, _HELD_OF, names)]
            wishes = [] if expiring_before is not None else list(rows_of(t, _OPEN_WANTS, names))
            epochs: dict[str, int | None] = dict(
                rows_of(t, "SELECT device, epoch FROM tool_device WHERE device IN ({values})", names)
            )
            uses = uses_of(t, names, state)
        limits = limits_of(self._options, state)
        codes = codes_of(held, [epochs.get(piece.device) for piece in held], trust, moment)
        lines = _lines(held, codes, limits, uses)
        lines += [_wish(device, token_type, Action(action), asked) for device, token_type, action, asked in wishes]
        lines = [line for line in lines if expiring_before is None or _ends_before(line, expiring_before)]
        return sorted(lines, key=lambda line: (line.device, line.token_type, line.actions, line.sequence or 0))

    def prune(self, *, before: int, now: int) -> int:
        """Forget material that ended before a moment, in seconds since 1970, and outcomes of before; returns how much material.

        What a server has not acknowledged stays, and what still counts as a use until the next whole sync. What was used
        and has not ended stays, too: it must not be sent as new. So do wishes: one whose material is forgotten is open
        again, at the server as well. Raises InputError for a moment to come.
        """
        with self._store.write() as t:
            state = state_of(t)
            moment = moment_of(state, now)
            ended = check_before(before, moment)
            advance(t, seen=moment)
            count = t.run(
                "DELETE FROM tool_material WHERE expires_at < ? AND (counted IS NULL OR counted <= ?)"
                " AND (kid, cti) NOT IN (SELECT kid, cti FROM tool_outcome WHERE number > ?)",
                (ended, state.counted_from, state.acknowledged),
            )
            t.run("DELETE FROM tool_outcome WHERE number <= ? AND happened_at < ?", (state.acknowledged, ended))
            self._journal.write(t, [audit_entry("pruned", moment, before=before, count=count)])
        self._journal.publish()
        return count

    # --- In the field ---

    def preflight(self, plan: Sequence[tuple[str, Action]], *, now: int, key_exchange: bool = False) -> RouteResults:
        """Decide every row of a planned route by what is held, in one call; nothing is written or used up.

        `key_exchange` says that the tool can exchange keys with the devices, which a switch of mode wants. A device of
        which no sync has told is refused as unreadable (1005).
        """
        rows = _rows(plan)
        with self._store.read() as t:
            state = state_of(t)
            moment = moment_of(state, now)
            trust = trust_at(t, self._keyring, state, moment)
            made = decided(t, rows, state, trust, moment=moment, options=self._options, key_exchange=key_exchange)
        return made.results

    def work(
        self,
        device: str,
        action: Action,
        link: Link,
        *,
        now: int,
        key_exchange: bool = False,
        level: SecurityLevel | None = None,
        settings: Mapping[str, int | str] | None = None,
    ) -> WorkResult:
        """Do an action on a device, if the policy allows it: a session that it needs is opened first.

        `level` and `settings` go into the message as they are (`Message`). What is sent is written down before; an exception of `link` means that no answer came. Raises StoreError;
        then either nothing was sent, or the answer is not written down and the message stays without one.
        """
        device_id(device)
        work = Work(
            self._store,
            self._journal,
            self._keyring,
            self._options,
            device=device,
            link=link,
            now=now,
            key_exchange=key_exchange,
            level=level,
            settings=settings,
        )
        return work.run(_action(action))

    # --- Inside ---

    def _want(self, wants: Sequence[tuple[str, str, Action]], devices: Sequence[str], now: int) -> tuple[int, int]:
        """Queue what is not open, and list the devices; returns how many wishes and devices are new."""
        names = list(dict.fromkeys(devices))
        for name in names:
            device_id(name)
        with self._store.write() as t:
            state = state_of(t)
            moment = moment_of(state, now)
            advance(t, seen=moment)
            added = t.insert_new(
                "INSERT INTO tool_device (device) VALUES (?) ON CONFLICT (device) DO NOTHING",
                [(name,) for name in names],
            )
            new = _not_open(t, dict.fromkeys(wants), names)
            start = max(state.taken, _last_want(t)) + 1
            t.run_many(
                "INSERT INTO tool_want VALUES (?, ?, ?, ?, ?, NULL)",
                [
                    (number, device, kind, int(action), 1 << action)
                    for number, (device, kind, action) in enumerate(new, start)
                ],
            )
            if new:
                self._journal.write(t, [audit_entry("request", moment, tool=self._tool, count=len(new))])
        self._journal.publish()
        return len(new), sum(added)


_HELD_OF = f"SELECT {HELD} FROM tool_material WHERE device IN ({{values}})"  # noqa: S608
# A wish is open until the first material for it came.
_OPEN_WANTS = """
    SELECT w.device, w.token_type, w.action, w.asked_with FROM tool_want w
    WHERE w.device IN ({values}) AND NOT EXISTS (
        SELECT 1 FROM tool_material m
        WHERE m.device = w.device AND m.token_type = w.token_type AND (m.actions & w.action_bit) <> 0
    )
"""


def _action(action: object) -> Action:
    if isinstance(action, int) and action in Action._value2member_map_:
        return Action(action)
    raise InputError(f"{action!r} is no action; wanted an Action")


def _rows(plan: Sequence[tuple[str, Action]]) -> list[tuple[str, Action]]:
    try:
        pairs = [(device, action) for device, action in plan]
    except (TypeError, ValueError) as error:
        raise InputError(f"a plan of {type(plan).__name__}; wanted pairs of a device and an action") from error
    for device, _ in pairs:
        if not isinstance(device, str):
            raise InputError(f"a device of type {type(device).__name__} in a plan; wanted its aud, a str")
    return [(device, _action(action)) for device, action in pairs]


def _names(t: Transaction) -> list[str]:
    return [name for (name,) in t.rows("SELECT device FROM tool_device ORDER BY device")]


def _last_want(t: Transaction) -> int:
    ((last,),) = t.rows("SELECT max(number) FROM tool_want")
    return int(last or 0)


def _not_open(
    t: Transaction, wants: Iterable[tuple[str, str, Action]], names: Sequence[str]
) -> list[tuple[str, str, Action]]:
    """Return the wishes that neither wait for a sync nor are with the server, which keeps those of a permitted user."""
    rows = rows_of(t, "SELECT device, token_type, action, asked_with FROM tool_want WHERE device IN ({values})", names)
    is_open = {
        (device, token_type, action)
        for device, token_type, action, asked in rows
        if asked is None or _permits(asked, token_type, Action(action))
    }
    return [want for want in wants if want not in is_open]


def _permits(asked_with: int, token_type: str, action: Action) -> bool:
    wanted = permission_for(action)
    if token_type == "authorization":
        wanted |= Permission.SIGNED_AUTHORIZATION
    return wanted in Permission(asked_with)


def _lines(
    held: Sequence[Held], codes: Sequence[int], limits: PolicyOptions, uses: dict[tuple[str, str], int]
) -> list[Command]:
    return [
        Command(
            piece.device,
            piece.token_type,
            piece.actions,
            _state_by(piece, code),
            code,
            _uses_left(piece, limits, uses),
            piece.sequence,
            piece.not_before,
            piece.expires_at,
        )
        for piece, code in zip(held, codes, strict=True)
    ]


def _state_by(piece: Held, code: int) -> MaterialState:
    stored = MaterialState(piece.state)
    return stored if stored not in UNUSED else DERIVED.get(Code(code), stored)


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


def _wish(device: str, token_type: str, action: Action, asked_with: int | None) -> Command:
    refused = asked_with is not None and not _permits(asked_with, token_type, action)
    state = MaterialState.REFUSED if refused else MaterialState.REQUESTED
    return Command(device, token_type, 1 << action, state, 0, None, None, None, None)


def _ends_before(line: Command, moment: int) -> bool:
    unused = line.state is not MaterialState.REFUSED and line.state not in SPENT
    return unused and line.expires_at is not None and line.expires_at < moment
