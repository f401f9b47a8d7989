"""The sync of a field tool with a tools server: each step is durable before the next, and may be repeated.

No transaction is open while the server is asked: a connection may hang for long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.audit import audit_entry
from itron_core.enums import Code
from itron_core.errors import ExchangeError, RequestRefused, StoreError
from itron_core.exchange.material import Material, MaterialState, Page
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn
from itron_core.exchange.verification import ring_at
from itron_core.field_tool.server_answers import (
    check_codes,
    check_material,
    check_page,
    check_records,
    check_snapshot,
    check_taken,
)
from itron_core.field_tool.state import State, advance, moment_of, state_of, trust_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core._rust import Keyring, Revocations
    from itron_core.audit.journal import Journal
    from itron_core.exchange.protocols import Exchange
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Sync", "SyncReport"]

OUTCOME = "number, device, action, kid, cti, content, state, reason, answer, happened_at"
# A server's reason: something else came under this number before.
REUSED = "number_reused"
LEARNED = ("device_class", "mode", "security_level", "level_verified", "epoch")


class SyncReport(NamedTuple):
    """What a whole sync did: rows of each step, and the numbers of the outcomes that the ledger found in conflict."""

    outcomes: int
    replays: int
    conflicts: tuple[int, ...]
    wants: int
    material: int
    devices: int


class Sync:
    """One sync; its steps in their order are the methods of `run`."""

    def __init__(
        self, store: Store, journal: Journal, keyring: Keyring, exchange: Exchange, *, now: int, page: int
    ) -> None:
        self._store, self._journal, self._keyring, self._exchange, self._page = store, journal, keyring, exchange, page
        with store.write() as t:
            state = state_of(t)
            self._tool = state.tool
            self._wanted = 0
            self._moment = moment_of(state, now)
            advance(t, seen=self._moment)

    def run(self, user: str) -> SyncReport:
        """Report, sign in, request, fetch; only then are uses counted from here on."""
        try:
            codes = self.report()
        except RequestRefused as refused:
            if refused.reason != REUSED:
                raise
            codes = {}
        # Uses that other processes reported or will report after this are still counted.
        reported = self._state().acknowledged
        self._sign_in(user)
        # What an old copy of the store had given a number of the past; else there is nothing left.
        codes |= self.report()
        wants = self._request()
        material = self._fetch_material()
        devices = self._fetch_devices()
        report = SyncReport(
            len(codes),
            sum(code == Code.REPLAY_IDENTICAL for code in codes.values()),
            tuple(number for number, code in codes.items() if code == Code.REPLAY_CONFLICT),
            wants,
            material,
            devices,
        )
        with self._store.write() as t:
            advance(t, counted_from=max(reported, state_of(t).counted_from))
            self._journal.write(t, [audit_entry("sync", self._moment, tool=self._tool, user=user)])
        return report

    def _state(self) -> State:
        with self._store.read() as t:
            return state_of(t)

    def report(self) -> dict[int, int]:
        """Report what is not acknowledged; what was offered once is never changed again, so a repeat is the same."""
        found: dict[int, int] = {}
        while outcomes := self._offer():
            try:
                codes = check_codes(self._exchange.report(self._tool, outcomes, now=self._moment), outcomes)
            except RequestRefused as refused:
                if refused.reason == REUSED:
                    self._take_back()
                raise
            last = outcomes[-1].number
            with self._store.write() as t:
                t.run_many(
                    "UPDATE tool_outcome SET code = ? WHERE number = ?",
                    [(code, outcome.number) for code, outcome in zip(codes, outcomes, strict=True)],
                )
                advance(t, acknowledged=max(last, state_of(t).acknowledged))
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

    def _take_back(self) -> None:
        """Let what is not acknowledged count as never offered: the server has others under these numbers."""
        with self._store.write() as t:
            advance(t, offered=state_of(t).acknowledged)

    def _offer(self) -> list[OutcomeReport]:
        with self._store.write() as t:
            state = state_of(t)
            rows = t.rows(
                f"SELECT {OUTCOME} FROM tool_outcome WHERE number > ? ORDER BY number LIMIT ?",  # noqa: S608
                (state.acknowledged, self._page),
            )
            outcomes = [OutcomeReport(*row) for row in rows]
            if outcomes:
                advance(t, offered=max(outcomes[-1].number, state.offered))
        return outcomes

    def _in_force(self) -> Revocations | None:
        """Return the revocations held; none if they do not verify any more, which this sync mends."""
        with self._store.read() as t:
            try:
                return trust_at(t, self._keyring, state_of(t), self._moment).revocations
            except StoreError:
                return None

    def _sign_in(self, user: str) -> None:
        try:
            answer = self._exchange.snapshot(self._tool, user, now=self._moment)
        except RequestRefused as refused:
            self._forget_permissions(user, refused.reason)
            raise
        state, in_force = self._state(), self._in_force()
        snapshot, version, accepted_at = check_snapshot(
            answer, user, state, self._keyring, self._moment, in_force=in_force
        )
        with self._store.write() as t:
            t.run("DELETE FROM tool_delegation")
            t.run_many("INSERT INTO tool_delegation VALUES (?, ?)", list(enumerate(snapshot.delegations)))
            advance(
                t,
                user_name=user,
                unit=snapshot.unit,
                permissions=int(snapshot.permissions),
                command_limit=snapshot.command_limit,
                authorization_limit=snapshot.authorization_limit,
                revocations=snapshot.revocations,
                revocations_version=version,
                accepted_at=accepted_at,
            )
            self._wanted = snapshot.wanted
            self._go_on_behind(t, snapshot)
        self._journal.publish()

    def _go_on_behind(self, t: Transaction, snapshot: SignIn) -> None:
        """Give no number twice: where the server has more than was ever offered, this store is an old copy."""
        state = state_of(t)
        if snapshot.reported > state.offered:
            behind = snapshot.reported - state.acknowledged
            _shift(t, "tool_outcome", "number", state.acknowledged, behind)
            _shift(t, "tool_material", "counted", state.acknowledged, behind)
            advance(t, acknowledged=snapshot.reported, offered=snapshot.reported)
        ((last,),) = t.rows("SELECT max(number) FROM tool_want")
        if snapshot.wanted > max(state.taken, last or 0):
            self._want_behind(t)
        elif snapshot.reported <= state.offered:
            return
        facts = {"reported": snapshot.reported, "wanted": snapshot.wanted}
        self._journal.write(t, [audit_entry("store_behind", self._moment, tool=self._tool, **facts)])

    def _want_behind(self, t: Transaction) -> None:
        taken = state_of(t).taken
        if self._wanted > taken:
            _shift(t, "tool_want", "number", taken, self._wanted - taken)
            advance(t, taken=self._wanted)

    def _forget_permissions(self, user: str, reason: str) -> None:
        """A user who is no longer let in may do nothing more with what is held."""
        with self._store.write() as t:
            if state_of(t).user_name == user:
                advance(t, permissions=0)
                self._journal.write(
                    t, [audit_entry("sign_in_refused", self._moment, tool=self._tool, user=user, reason=reason)]
                )

    def _request(self) -> int:
        """Request what the server has not taken yet; at least once, which shows whether both count alike."""
        count, more = 0, True
        while more:
            wants = self._wants()
            last = wants[-1].number if wants else self._state().taken
            try:
                taken = self._exchange.request(self._tool, wants, now=self._moment)
            except RequestRefused as refused:
                if refused.reason != REUSED or self._wanted <= self._state().taken:
                    raise
                with self._store.write() as t:
                    self._want_behind(t)
                continue
            check_taken(taken, last)
            with self._store.write() as t:
                state = state_of(t)
                t.run(
                    "UPDATE tool_want SET asked_with = ? WHERE asked_with IS NULL AND number <= ?",
                    (state.permissions, last),
                )
                advance(t, taken=max(last, state.taken))
            count, more = count + len(wants), len(wants) == self._page
        return count

    def _wants(self) -> list[CommandRequest]:
        with self._store.read() as t:
            rows = t.rows(
                "SELECT number, device, token_type, action FROM tool_want WHERE number > ? ORDER BY number LIMIT ?",
                (state_of(t).taken, self._page),
            )
            return [CommandRequest(*row) for row in rows]

    def _fetch_material(self) -> int:
        count, more = 0, True
        while more:
            after = self._state().position
            answer = self._exchange.material(self._tool, after, self._page, now=self._moment)
            page = check_page(answer, after, self._page)
            rows = check_material(page, *self._believed()) if page.rows else []
            count += self._store_page(rows, after, page)
            more = page.more
        return count

    def _believed(self) -> tuple[str, Keyring, int]:
        with self._store.read() as t:
            delegations = [token for (token,) in t.rows("SELECT token FROM tool_delegation ORDER BY position")]
            return state_of(t).unit, ring_at(self._keyring, delegations, self._moment), self._moment

    def _store_page(self, rows: Sequence[Material], after: int, page: Page) -> int:
        with self._store.write() as t:
            if state_of(t).position != after:  # another process of this tool was faster
                return 0
            new = t.insert_new(
                "INSERT INTO tool_material VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)"
                " ON CONFLICT (kid, cti) DO NOTHING",
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
            if page.more and not any(new):
                raise ExchangeError("the server answered a page that brings nothing new, with more to come")
            advance(t, position=page.next)
            return sum(new)

    def _fetch_devices(self) -> int:
        count = 0
        with self._store.read() as t:
            unit = state_of(t).unit
            names = [name for (name,) in t.rows("SELECT device FROM tool_device ORDER BY device")]
        for start in range(0, len(names), self._page):
            some = names[start : start + self._page]
            records = check_records(self._exchange.devices(self._tool, some, now=self._moment), some, unit)
            with self._store.write() as t:
                _learn(t, records)
            count += len(records)
        return count


def _shift(t: Transaction, table: str, column: str, after: int, by: int) -> None:
    """Raise numbers; two steps, since no number may be there twice even between rows."""
    t.run(f"UPDATE {table} SET {column} = -({column} + ?) WHERE {column} > ?", (by, after))  # noqa: S608
    t.run(f"UPDATE {table} SET {column} = -{column} WHERE {column} < 0")  # noqa: S608


def _check_same(t: Transaction, rows: Sequence[Material]) -> None:
    for row in rows:
        found = t.rows("SELECT content FROM tool_material WHERE kid = ? AND cti = ?", (row.kid, row.cti))
        if found != [(row.content,)]:
            raise ExchangeError(
                f"material for {row.device!r}, sequence {row.sequence}: two contents under one identity"
            )


def _learn(t: Transaction, records: Sequence[DeviceRecord]) -> None:
    """Take what the server knows better: what it says anew, and never an older epoch.

    What a device itself has told stands until the server has other news than before; it hears of it by this tool's
    report, only later.
    """
    rows = [(record, ",".join(str(int(value)) for value in record[2:])) for record in records]
    t.run_many(
        "UPDATE tool_device SET device_class = ?, mode = ?, security_level = ?, level_verified = ?,"
        " epoch = ?, given = ?"
        " WHERE device = ? AND (given IS NULL OR given <> ?) AND (epoch IS NULL OR epoch <= ?)",
        [
            (*(int(getattr(record, name)) for name in LEARNED), said, record.device, said, record.epoch)
            for record, said in rows
        ],
    )
