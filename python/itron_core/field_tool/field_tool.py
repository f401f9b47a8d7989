"""The field tool over its store. Everything but `sync` and `report` works offline."""

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
from itron_core.field_tool.planning import decided, known_of, limits_of, missing_requests
from itron_core.field_tool.schema import STEPS
from itron_core.field_tool.state import advance, bind, moment_of, state_of, trust_at
from itron_core.field_tool.sync import Sync
from itron_core.field_tool.trust import bring_trust
from itron_core.field_tool.work import Work
from itron_core.policy import DEFAULT_OPTIONS, PolicyOptions
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


class FieldTool:
    """A field tool over its own store; `keyring` holds the roots, and delegations come with a sync.

    A time before the latest recorded one counts as that one: a clock set back revives nothing. Reading methods
    (`current_commands`, `preflight`) record no time. The limits of uses are the lower of the options' and the server's.
    Raises StoreError if the store belongs to another tool; every method raises it if the store is unusable.
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
        """Report outcomes, sign in, send command requests, and fetch material and device records.

        Each step is stored before the next, and may be interrupted: the next sync continues. Use counts restart only
        after a complete sync. Raises RequestRefused if the user may not sign in; then the material held may no longer be
        used with that user's permissions. Raises ExchangeError if the server cannot be reached or its answer is invalid;
        nothing of that answer is stored.
        """
        report = self._syncing(exchange, now, page).run(user)
        self._journal.publish()
        return report

    def report(self, exchange: Exchange, *, now: int, page: int = 10_000) -> dict[int, int]:
        """Report outcomes only, and return one code per outcome number: 0, 800 or 801.

        Nothing is fetched, and use counts do not restart. Raises as `sync` does.
        """
        codes = self._syncing(exchange, now, page).report()
        self._journal.publish()
        return codes

    def _syncing(self, exchange: Exchange, now: int, page: int) -> Sync:
        rows = whole("page", page, 1)
        return Sync(self._store, self._journal, self._keyring, exchange, now=now, page=rows)

    # --- Request Commands and Current Commands ---

    def request_commands(self, devices: Sequence[str], *, token_type: str, actions: Iterable[Action], now: int) -> int:
        """Queue command requests for the next sync, and return how many are new; open ones are not queued twice.

        `token_type` is secure_command, authorization or reading_key. The next sync fetches the records of these devices.
        """
        if token_type not in DEVICE_TOKEN_TYPES:
            raise InputError(f"token_type: got {token_type!r:.80}, expected one of {', '.join(DEVICE_TOKEN_TYPES)}")
        listed = [_action(action) for action in actions]
        return self._queue([(device, token_type, action) for device in devices for action in listed], devices, now)[0]

    def request_missing(self, plan: Sequence[tuple[str, Action]], results: RouteResults, *, now: int) -> int:
        """Queue command requests for the material that a preflight of the same plan found missing; return how many are new.

        The next sync fetches the records of devices that are not known yet.
        """
        missing = results["missing"].to_pylist()
        if len(missing) != len(plan):
            raise InputError(
                f"results: got {len(missing)} rows for a plan of {len(plan)}, expected those of its preflight"
            )
        rows = _rows(plan)
        with self._store.read() as t:
            known, limited = known_of(t, rows), limits_of(self._options, state_of(t))
        return self._queue(missing_requests(rows, missing, known, limited), [device for device, _ in plan], now)[0]

    def add_devices(self, devices: Iterable[str], *, now: int) -> int:
        """Let the next sync fetch the records of these devices, without command requests; return how many are new."""
        return self._queue([], list(devices), now)[1]

    def current_commands(
        self, *, now: int, expiring_before: int | None = None, devices: Sequence[str] | None = None
    ) -> list[Command]:
        """Return the signed-in user's material and command requests by device; all material is verified again at `now`.

        Material granted to another user, or not fully covered by this user's permissions, is omitted; `status` counts it.
        `expiring_before`, in seconds since 1970, keeps only material that ends before it; `devices` keeps only these.
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
        """Return the signed-in user, and what blocks the tool: a later time seen, or expired revocations."""
        with self._store.read() as t:
            return status(t, self._keyring, now=moment("now", now))

    def prune(self, *, before: int, now: int, dry_run: bool = False) -> int:
        """Delete material that ended before a time in seconds since 1970, and older outcomes; return the number of pieces.

        Material stays while its outcome is not acknowledged, or while its use counts (until the next complete sync). Used
        material that has not expired stays too, so that it is not sent as new. Command requests stay: one whose material
        is deleted is open again, also at the server. Raises InputError for a time in the future. With `dry_run` it only
        counts.
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
        """Decide every row of a planned route by the material held, in one call; nothing is stored or used.

        `key_exchange` states that the tool can exchange keys with the devices, as a change of mode requires. A device without
        a record from a sync is refused as unreadable (1005).
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
        """Perform an action on a device if the policy allows it; a session that it needs is opened first.

        `level` and `settings` are passed on in the `Message`. Every message is recorded before it is sent; an exception of
        `link` means that no answer came. Raises StoreError; then either nothing was sent, or the answer is not recorded
        and the message stays without one.
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
        """Bring a device the delegations and the revocation snapshot of the last sync, and return its answer.

        `work` does this before the first message, unless the device is known to have them. Returns None if there is nothing
        to bring, or if no answer came. A device with newer ones answers SEQUENCE_OLD (802).
        """
        device_id(device)
        return bring_trust(self._store, self._journal, link, device, now=moment("now", now), always=True)

    # --- Inside ---

    def _queue(self, requests: Sequence[tuple[str, str, Action]], devices: Sequence[str], now: int) -> tuple[int, int]:
        """Queue requests that are not open, add the devices, and return how many requests and devices are new."""
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
            new = queue(t, state, requests, names)
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
            raise InputError(f"plan: got a device of type {type(device).__name__}, expected a device id, a str")
    return [(device, _action(action)) for device, action in pairs]
