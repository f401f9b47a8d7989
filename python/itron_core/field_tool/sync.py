"""The sync of a field tool with a tools server: each step is durable before the next, and may be repeated.

No transaction is open during a call to the server: a connection may hang for a long time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import moment as moment_given
from itron_core.audit import audit_entry
from itron_core.enums import Code
from itron_core.errors import ExchangeError, RequestRefused
from itron_core.exchange.material import Material, MaterialState, Page
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn
from itron_core.exchange.verification import ring_at
from itron_core.field_tool.server_answers import (
    check_codes,
    check_material,
    check_page,
    check_records,
    check_sign_in,
    check_taken,
)
from itron_core.field_tool.state import State, advance, delegations_of, moment_of, state_of
from itron_core.stores.incarnation import clear_restored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core._rust import Keyring
    from itron_core.audit.journal import Journal
    from itron_core.exchange.protocols import Exchange
    from itron_core.field_tool.server_answers import SignedIn
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Sync", "SyncReport"]

OUTCOME = "number, device, action, kid, cti, content, state, reason, answer, happened_at"
# A server's reason: the number was used for different content.
REUSED = "number_reused"
# Reasons that show that the server or this tool works with an older copy of its store; the sign-in shows which.
OLD_COPY = frozenset({REUSED, "number_skipped", "sign_in_required"})
# A server's reason: the cursor lies beyond its last grant.
CURSOR_UNKNOWN = "cursor_unknown"
LEARNED = ("device_class", "mode", "security_level", "level_verified", "epoch", "installation")


class SyncReport(NamedTuple):
    """The result of a complete sync: the number of rows per step, and the numbers of outcomes in conflict."""

    outcomes: int
    replays: int
    conflicts: tuple[int, ...]
    requests: int
    material: int
    devices: int


class Sync:
    """One sync; `run` calls its steps in order."""

    def __init__(
        self, store: Store, journal: Journal, keyring: Keyring, exchange: Exchange, *, now: int, page: int
    ) -> None:
        self._store, self._journal, self._keyring, self._exchange, self._page = store, journal, keyring, exchange, page
        # A server in the same process gets the tool's own clock, not the latest time that the tool has seen.
        self._now = moment_given("now", now)
        with store.write() as t:
            state = state_of(t)
            self._tool = state.tool
            self._wanted = 0
            self._answered_at = 0
            self._disagrees = False  # whether the server has refused this tool's numbers
            self._moment = moment_of(state, now)
            advance(t, seen=self._moment)

    def run(self, user: str) -> SyncReport:
        """Report, sign in, request and fetch; only then restart the use counts."""
        try:
            codes = self.report()
        except RequestRefused as refused:
            if refused.reason not in OLD_COPY:
                raise
            codes, self._disagrees = {}, True
        # Uses that other processes report from now on still count.
        reported = self._state().reported_serial
        usable = self._sign_in(user)
        # Outcomes that an old copy of the server or this store did not know; normally none are left.
        codes |= self.report()
        requests = self._request()
        # Without revocations in force nothing may be used: material is fetched after the next snapshot.
        material = self._fetch_material() if usable else 0
        devices = self._fetch_devices()
        report = SyncReport(
            len(codes),
            sum(code == Code.REPLAY_IDENTICAL for code in codes.values()),
            tuple(number for number, code in codes.items() if code == Code.REPLAY_CONFLICT),
            requests,
            material,
            devices,
        )
        with self._store.write() as t:
            if usable:
                advance(t, counted_from=max(reported, state_of(t).counted_from))
                clear_restored(t)
            self._journal.write(t, [audit_entry("sync", self._moment, tool=self._tool, user=user)])
        return report

    def _state(self) -> State:
        with self._store.read() as t:
            return state_of(t)

    # --- Outcomes ---

    def report(self) -> dict[int, int]:
        """Report unacknowledged outcomes. An outcome never changes after it was sent, so a repeat is identical."""
        found: dict[int, int] = {}
        while outcomes := self._offer():
            codes = check_codes(self._exchange.report(self._tool, outcomes, now=self._now), outcomes)
            last = outcomes[-1].number
            with self._store.write() as t:
                t.run_many(
                    "UPDATE tool_outcome SET code = ? WHERE number = ?",
                    [(code, outcome.number) for code, outcome in zip(codes, outcomes, strict=True)],
                )
                state = state_of(t)
                ((serial,),) = t.rows("SELECT serial FROM tool_outcome WHERE number = ?", (last,))
                advance(
                    t, acknowledged=max(last, state.acknowledged), reported_serial=max(serial, state.reported_serial)
                )
                self._journal.write(
                    t,
                    [
                        audit_entry("alarm", self._moment, device=outcome.device, cti=outcome.cti, code=code)
                        for code, outcome in zip(codes, outcomes, strict=True)
                        if code == Code.REPLAY_CONFLICT
                    ],
                )
            found |= zip((outcome.number for outcome in outcomes), codes, strict=True)
        return found

    def _offer(self) -> list[OutcomeReport]:
        with self._store.write() as t:
            state = state_of(t)
            pending = t.rows(
                "SELECT serial, number FROM tool_outcome WHERE code IS NULL ORDER BY serial LIMIT ?", (self._page,)
            )
            fresh = [serial for serial, number in pending if number is None]
            t.run_many(
                "UPDATE tool_outcome SET number = ? WHERE serial = ?",
                [(number, serial) for number, serial in enumerate(fresh, state.offered + 1)],
            )
            if not pending:
                return []
            advance(t, offered=state.offered + len(fresh))
            rows = t.rows(
                f"SELECT {OUTCOME} FROM tool_outcome WHERE code IS NULL AND number IS NOT NULL ORDER BY serial LIMIT ?",  # noqa: S608
                (len(pending),),
            )
            return [OutcomeReport(*row) for row in rows]

    # --- Sign-in ---

    def _sign_in(self, user: str) -> bool:
        """Sign in, store the user and the trust, and return whether material may be used."""
        try:
            answer = self._exchange.snapshot(self._tool, user, now=self._now)
        except RequestRefused as refused:
            self._forget_permissions(user, refused.reason)
            raise
        with self._store.read() as t:
            state, delegations = state_of(t), delegations_of(t)
        checked = check_sign_in(answer, user, state, self._keyring, delegations, seen=max(self._moment, state.seen))
        with self._store.write() as t:
            self._take(t, checked)
        self._journal.publish()
        return checked.in_force

    def _take(self, t: Transaction, checked: SignedIn) -> None:
        state, sign_in = state_of(t), checked.sign_in
        t.run("DELETE FROM tool_delegation")
        t.run_many("INSERT INTO tool_delegation (position, token) VALUES (?, ?)", list(enumerate(sign_in.delegations)))
        seen = max(self._moment, state.seen)
        self._moment = checked.moment
        self._wanted, self._answered_at = sign_in.wanted, sign_in.answered_at
        permissions = int(sign_in.permissions)
        # Each server, user and set of permissions has its own stream of grants.
        same = (state.server, state.user_name, state.permissions) == (sign_in.incarnation, sign_in.user, permissions)
        advance(
            t,
            server=sign_in.incarnation,
            user_name=sign_in.user,
            unit=sign_in.unit,
            permissions=permissions,
            command_limit=sign_in.command_limit,
            authorization_limit=sign_in.authorization_limit,
            revocations=checked.revocations.token,
            revocations_version=checked.revocations.version,
            accepted_at=checked.revocations.accepted_at,
            seen=checked.moment,
            position=state.position if same else 0,
        )
        # A removed permission ends the command requests made with it.
        t.run("UPDATE tool_want SET asked_with = asked_with & ? WHERE asked_by = ?", (permissions, sign_in.user))
        if checked.moment < seen:
            advance(t, forgotten=min(state.forgotten, checked.moment))
            self._note(t, "clock_healed", seen=seen)
        self._reconcile(t, state, sign_in)

    def _reconcile(self, t: Transaction, state: State, sign_in: SignIn) -> None:
        """Reconcile the numbers: send again what the server lost, and reuse no number that this store lost."""
        facts = {"reported": sign_in.reported, "wanted": sign_in.wanted}
        offered = _last_number(t)
        lost = sign_in.reported < state.acknowledged or sign_in.wanted < state.taken
        if lost or (state.server and state.server != sign_in.incarnation):
            # An earlier cursor may follow other material.
            advance(t, position=0)
            self._note(t, "server_restored", **facts)
        # Outcomes that another process of this tool is reporting may be there without an acknowledgement.
        ahead = sign_in.reported > (state.acknowledged if self._disagrees else state.offered)
        if not lost and (ahead or sign_in.wanted > max(state.taken, offered)):
            self._note(t, "store_behind", **facts)
        if ahead or sign_in.reported < state.acknowledged:
            t.run(
                "UPDATE tool_outcome SET number = NULL, code = NULL WHERE number > ? OR code IS NULL",
                (sign_in.reported,),
            )
            advance(t, offered=sign_in.reported, acknowledged=sign_in.reported)
        others = t.rows(
            "SELECT 1 FROM tool_want WHERE number > ? AND asked_by <> ? LIMIT 1", (state.taken, sign_in.user)
        )
        if sign_in.wanted < state.taken or sign_in.wanted > max(state.taken, offered) or others:
            self._renumber(t)

    def _renumber(self, t: Transaction) -> None:
        """Give command requests that the server may lack new numbers, after all that it has."""
        t.run("UPDATE tool_want SET number = NULL WHERE number > ?", (min(self._wanted, state_of(t).taken),))
        advance(t, taken=self._wanted)

    def _note(self, t: Transaction, kind: str, **facts: int) -> None:
        self._journal.write(t, [audit_entry(kind, self._moment, tool=self._tool, **facts)])

    def _forget_permissions(self, user: str, reason: str) -> None:
        """Remove the permissions of a user who may no longer sign in."""
        with self._store.write() as t:
            if state_of(t).user_name == user:
                advance(t, permissions=0)
                self._journal.write(
                    t, [audit_entry("sign_in_refused", self._moment, tool=self._tool, user=user, reason=reason)]
                )

    # --- Command requests ---

    def _request(self) -> int:
        """Send command requests that the server lacks; at least one call, which compares the numbers."""
        self._assign_numbers()
        count, more = 0, True
        while more:
            requests = self._unsent_requests()
            last = requests[-1].number if requests else self._state().taken
            try:
                taken = self._exchange.request(self._tool, requests, now=self._now)
            except RequestRefused as refused:
                if refused.reason != REUSED or self._wanted <= self._state().taken:
                    raise
                with self._store.write() as t:
                    self._renumber(t)
                self._assign_numbers()
                continue
            check_taken(taken, last)
            with self._store.write() as t:
                advance(t, taken=max(last, state_of(t).taken))
            count, more = count + len(requests), len(requests) == self._page
        return count

    def _assign_numbers(self) -> None:
        """Number the requests that nobody has made yet, or that were lost, as those of the signed-in user."""
        with self._store.write() as t:
            state = state_of(t)
            found = t.rows(
                "SELECT serial FROM tool_want WHERE number IS NULL AND (asked_by IS NULL OR asked_by = ?)"
                " ORDER BY serial",
                (state.user_name,),
            )
            t.run_many(
                "UPDATE tool_want SET number = ?, asked_by = ?, asked_with = ? WHERE serial = ?",
                [
                    (number, state.user_name, state.permissions, serial)
                    for number, (serial,) in enumerate(found, max(state.taken, _last_number(t)) + 1)
                ],
            )

    def _unsent_requests(self) -> list[CommandRequest]:
        with self._store.read() as t:
            rows = t.rows(
                "SELECT number, device, token_type, action FROM tool_want WHERE number > ? ORDER BY number LIMIT ?",
                (state_of(t).taken, self._page),
            )
            return [CommandRequest(*row) for row in rows]

    # --- Material and devices ---

    def _fetch_material(self) -> int:
        count, more = 0, True
        seen: set[tuple[bytes, bytes]] = set()
        while more:
            after = self._state().position
            try:
                answer = self._exchange.material(self._tool, after, self._page, now=self._now)
            except RequestRefused as refused:
                if refused.reason != CURSOR_UNKNOWN or after == 0:
                    raise
                with self._store.write() as t:  # the server lost its grants
                    advance(t, position=0)
                continue
            page = check_page(answer, after, self._page)
            rows = check_material(page, *self._trusted()) if page.rows else []
            fresh = {(row.kid, row.cti) for row in rows} - seen
            if page.more and not fresh:
                raise ExchangeError("the server sent a page without anything new before the last one")
            seen |= fresh
            count += self._store_page(rows, after, page)
            more = page.more
        return count

    def _trusted(self) -> tuple[str, Keyring, int]:
        with self._store.read() as t:
            # The server grants by its own time: a key not yet valid by a slow clock is stored, and used later.
            moment = self._answered_at or self._moment
            return state_of(t).unit, ring_at(self._keyring, delegations_of(t), moment), moment

    def _store_page(self, rows: Sequence[Material], after: int, page: Page) -> int:
        with self._store.write() as t:
            state = state_of(t)
            if state.position != after:  # another process of this tool stored it first
                return 0
            rows = [row for row in rows if row.expires_at >= state.forgotten]
            new = t.insert_new(
                "INSERT INTO tool_material (kid, cti, device, token_type, actions, sequence, epoch, issued_at,"
                " not_before, expires_at, session_seconds, content, token, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (kid, cti) DO NOTHING",
                [
                    (
                        *(row.kid, row.cti, row.device, row.token_type, row.actions, row.sequence, row.epoch),
                        *(row.issued_at, row.not_before, row.expires_at, row.session_seconds, row.content, row.token),
                        int(MaterialState.HELD),
                    )
                    for row in rows
                ],
            )
            _check_same(t, [row for row, is_new in zip(rows, new, strict=True) if not is_new])
            held = t.insert_new(
                "INSERT INTO tool_holder (user_name, kid, cti) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(state.user_name, row.kid, row.cti) for row in rows],
            )
            advance(t, position=page.next)
            return sum(held)

    def _fetch_devices(self) -> int:
        count = 0
        with self._store.read() as t:
            unit = state_of(t).unit
            names = [name for (name,) in t.rows("SELECT device FROM tool_device ORDER BY device")]
        for start in range(0, len(names), self._page):
            some = names[start : start + self._page]
            records = check_records(self._exchange.devices(self._tool, some, now=self._now), some, unit)
            with self._store.write() as t:
                _update_devices(t, records)
            count += len(records)
        return count


def _last_number(t: Transaction) -> int:
    ((last,),) = t.rows("SELECT max(number) FROM tool_want")
    return int(last or 0)


def _check_same(t: Transaction, rows: Sequence[Material]) -> None:
    for row in rows:
        found = t.rows("SELECT content FROM tool_material WHERE kid = ? AND cti = ?", (row.kid, row.cti))
        if found != [(row.content,)]:
            raise ExchangeError(
                f"the server sent invalid material for {row.device!r}, sequence {row.sequence}: two different tokens share one id"
            )


def _update_devices(t: Transaction, records: Sequence[DeviceRecord]) -> None:
    """Store news from the server: changed records, and an older epoch only of a newer installation.

    A device's own report stands until the server's record changes: the server learns of it later, by this tool's report.
    Another meter in its place starts anew: the trust brought to the old one, and its session, are removed.
    """
    rows = [(record, ",".join(str(int(value)) for value in record[2:])) for record in records]
    t.run_many(
        "UPDATE tool_device SET session_opened_at = NULL, session_seconds = NULL, session_actions = NULL,"
        " opened_by = NULL, trust = NULL, given = NULL, epoch = NULL, installation = ?"
        " WHERE device = ? AND installation < ?",
        [(record.installation, record.device, record.installation) for record in records],
    )
    t.run_many(
        "UPDATE tool_device SET device_class = ?, mode = ?, security_level = ?, level_verified = ?,"
        " epoch = ?, installation = ?, given = ?"
        " WHERE device = ? AND (given IS NULL OR given <> ?) AND (epoch IS NULL OR epoch <= ?)"
        " AND (installation IS NULL OR installation <= ?)",
        [
            (
                *(int(getattr(record, name)) for name in LEARNED),
                *(said, record.device, said, record.epoch, record.installation),
            )
            for record, said in rows
        ],
    )
