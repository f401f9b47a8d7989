"""The field tool itself: a face over its store. Everything but `sync` works offline."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from itron_core._arguments import moment, text, whole
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, SecurityLevel
from itron_core.errors import InputError
from itron_core.exchange.identity import device_id
from itron_core.exchange.verification import check_before
from itron_core.field_tool.commands import current, queue, status
from itron_core.field_tool.planning import decided, known_of, limits_of, missing_wants
from itron_core.field_tool.schema import STEPS
from itron_core.field_tool.state import advance, bind, moment_of, state_of, trust_at
from itron_core.field_tool.sync import Sync
from itron_core.field_tool.trust import bring_trust
from itron_core.field_tool.work import Work
from itron_core.policy import PolicyOptions
from itron_core.stores.protocol import Undone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from itron_core._rust import Keyring
    from itron_core.audit import AuditLog
    from itron_core.exchange.messages import Answer
    from itron_core.exchange.protocols import Exchange
    from itron_core.field_tool.commands import Command, Status
    from itron_core.field_tool.sync import SyncReport
    from itron_core.field_tool.work import Link, WorkResult
    from itron_core.routes import RouteResults
    from itron_core.stores.protocol import Store

__all__ = ["FieldTool"]

DEFAULT_OPTIONS = PolicyOptions()


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
        self._store, self._keyring, self._tool, self._options = store, keyring, text("tool", tool), options
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
        return Sync(self._store, self._journal, self._keyring, exchange, now=now, page=rows)

    # --- Request Commands and Current Commands ---

    def request_commands(self, devices: Sequence[str], *, token_type: str, actions: Iterable[Action], now: int) -> int:
        """Queue wishes for the next sync, and return how many are new; one that is open already is not queued twice.

        `token_type` is secure_command, authorization or reading_key. The devices are those of which the next sync asks.
        """
        if token_type not in DEVICE_TOKEN_TYPES:
            raise InputError(f"token_type: got {token_type!r:.80}, expected one of {', '.join(DEVICE_TOKEN_TYPES)}")
        wanted = [_action(action) for action in actions]
        return self._want([(device, token_type, action) for device in devices for action in wanted], devices, now)[0]

    def request_missing(self, plan: Sequence[tuple[str, Action]], results: RouteResults, *, now: int) -> int:
        """Queue wishes for what a preflight of the same plan found missing; returns how many are new.

        Of devices that are not known yet, the next sync asks what they are.
        """
        missing = results["missing"].to_pylist()
        if len(missing) != len(plan):
            raise InputError(
                f"results: got {len(missing)} rows for a plan of {len(plan)}, expected those of its preflight"
            )
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
        """Return what the user signed in holds and has asked for, by device; all of it is verified anew at this moment.

        Material that was granted to another user, or that this user's permissions do not cover whole, is not shown:
        `status` counts it. `expiring_before` leaves what ends before it, in seconds since 1970; `devices` leaves these.
        """
        before = None if expiring_before is None else moment("expiring_before", expiring_before)
        with self._store.read() as t:
            return current(
                t,
                self._keyring,
                self._options,
                now=moment("now", now),
                expiring_before=before,
                devices=devices,
            )

    def status(self, *, now: int) -> Status:
        """Return for whom the tool works now, and what holds it up: a later time seen, revocations that have ended."""
        with self._store.read() as t:
            return status(t, self._keyring, now=moment("now", now))

    def prune(self, *, before: int, now: int, dry_run: bool = False) -> int:
        """Forget material that ended before a moment, in seconds since 1970, and outcomes of before; returns how much material.

        What a server has not acknowledged stays, and what still counts as a use until the next whole sync. What was used
        and has not ended stays, too: it must not be sent as new. So do wishes: one whose material is forgotten is open
        again, at the server as well. Raises InputError for a moment to come. With `dry_run` it only counts.
        """
        count = 0
        with suppress(Undone), self._store.write() as t:
            state = state_of(t)
            latest = moment_of(state, now)
            ended = check_before(before, latest)
            advance(t, seen=latest, forgotten=max(ended, state.forgotten))
            count = t.run(
                "DELETE FROM tool_material WHERE expires_at < ? AND (counted IS NULL OR counted <= ?)"
                " AND (kid, cti) NOT IN (SELECT kid, cti FROM tool_outcome WHERE code IS NULL)",
                (ended, state.counted_from),
            )
            if dry_run:
                raise Undone
            t.run("DELETE FROM tool_holder WHERE (kid, cti) NOT IN (SELECT kid, cti FROM tool_material)")
            t.run("DELETE FROM tool_outcome WHERE code IS NOT NULL AND happened_at < ?", (ended,))
            self._journal.write(t, [audit_entry("pruned", latest, before=before, count=count)])
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
            trust = trust_at(t, self._keyring, state, moment_of(state, now))
            made = decided(
                t,
                rows,
                state,
                trust,
                now=moment("now", now),
                options=self._options,
                key_exchange=key_exchange,
            )
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
            now=moment("now", now),
            key_exchange=key_exchange,
            level=level,
            settings=settings,
        )
        return work.run(_action(action))

    def update_trust(self, device: str, link: Link, *, now: int) -> Answer | None:
        """Bring a device the delegations and the revocation snapshot of the last sync; returns its answer.

        `work` does so by itself before the first message, if the device is not known to have them. None if nothing is
        there to bring, or no answer came. A device that has newer ones answers SEQUENCE_OLD (802).
        """
        device_id(device)
        return bring_trust(self._store, self._journal, link, device, now=moment("now", now), always=True)

    # --- Inside ---

    def _want(self, wants: Sequence[tuple[str, str, Action]], devices: Sequence[str], now: int) -> tuple[int, int]:
        """Queue what is not open, and list the devices; returns how many wishes and devices are new."""
        names = list(dict.fromkeys(devices))
        for name in names:
            device_id(name)
        with self._store.write() as t:
            state = state_of(t)
            latest = moment_of(state, now)
            advance(t, seen=latest)
            added = t.insert_new(
                "INSERT INTO tool_device (device) VALUES (?) ON CONFLICT (device) DO NOTHING",
                [(name,) for name in names],
            )
            new = queue(t, state, wants, names)
            if new:
                self._journal.write(t, [audit_entry("request", latest, tool=self._tool, count=new)])
        self._journal.publish()
        return new, sum(added)


def _action(action: object) -> Action:
    if isinstance(action, int) and action in Action._value2member_map_:
        return Action(action)
    raise InputError(f"action: got {action!r:.80}, expected an Action")


def _rows(plan: Sequence[tuple[str, Action]]) -> list[tuple[str, Action]]:
    try:
        pairs = [(device, action) for device, action in plan]
    except (TypeError, ValueError) as error:
        raise InputError(f"plan: got {type(plan).__name__}, expected pairs of a device and an action") from error
    for device, _ in pairs:
        if not isinstance(device, str):
            raise InputError(f"plan: got a device of type {type(device).__name__}, expected its aud, a str")
    return [(device, _action(action)) for device, action in pairs]
