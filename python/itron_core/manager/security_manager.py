"""The security manager (ISM): issues signed authorizations, secure commands and reading keys at an officer's request.

Nothing without a request; two people for critical material in bulk; a sliding cap on it; one token a sequence number,
whatever crashes. Private keys are never in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import moment, whole
from itron_core._rust import prepare_tokens
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import Action, Permission, SecurityLevel
from itron_core.errors import ExchangeError, InputError, RequestRefused
from itron_core.exchange.material import LONGEST_LIFETIME, Material, Page
from itron_core.manager import batches, delivery, people, restoring
from itron_core.manager.batches import OPEN, Lot, open_places
from itron_core.manager.delivery import Cursor
from itron_core.manager.device_reports import check_page, learn
from itron_core.manager.eligibility import actions_of, check_kind, is_critical, session_of, sorted_out, warnings_of
from itron_core.manager.issuance import Issuance, RemoteMasterKey, columns_of, numbered
from itron_core.manager.issuing_keys import Authority, list_revoked
from itron_core.manager.requests import (
    ALLOTTED,
    APPROVED,
    DEFAULT_LIMITS,
    REJECTED,
    STATES,
    WAITING,
    Limits,
    Request,
    RequestRecord,
    Wanted,
    add_request,
    answered,
    asked_of,
    check_cap,
    check_key,
    check_permitted,
    check_still_permitted,
    content_of_request,
    first_state,
    keep_answer,
    shorten,
    to_decide,
)
from itron_core.manager.restoring import Restored
from itron_core.manager.schema import STEPS
from itron_core.stores.incarnation import mark_restored, restored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from itron_core._rust import Keyring, MasterKey
    from itron_core.audit import AuditLog
    from itron_core.exchange.protocols import ManagedServer, OutcomePage
    from itron_core.exchange.records import DeviceRecord
    from itron_core.manager.issuing_keys import IssuingKey
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["IssueReport", "Limits", "RemoteMasterKey", "Request", "RequestRecord", "Restored", "SecurityManager"]

ROWS_A_PAGE = 10_000
DAY = 86_400


class IssueReport(NamedTuple):
    """For which requests how many tokens were released, and which devices got none after all, with the reason.

    The reason is `unit_changed`: the device moved since.
    """

    requests: list[int]
    issued: int
    refused: list[tuple[str, str]]


class SecurityManager:
    """A security manager over a store; any number of processes may share one.

    `signer` holds the issuing key; `root` the key that delegates it by `rotate` (without one, the issuing key is trusted
    by itself). `master` and `utility` are for reading keys: a MasterKey, or one in an HSM. Every call raises StoreError
    where the store cannot be used; what is then not done may be called again.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        root: Signer | None = None,
        master: MasterKey | RemoteMasterKey | None = None,
        utility: str | None = None,
        issuer: str = "ism",
        limits: Limits = DEFAULT_LIMITS,
        log: AuditLog | None = None,
    ) -> None:
        self._store, self._signer = store, signer
        self._master, self._utility, self._limits = master, utility, limits
        store.migrate("manager", STEPS)
        self._journal = Journal(store, "manager", log)
        self._authority = Authority(store, self._journal, root, issuer)

    # --- People and devices ---

    def set_role(self, name: str, permissions: Permission | int, *, officer: bool = False, now: int) -> None:
        """Add or change a role; those of officers may request. Raises InputError for unknown permissions."""
        now = moment("now", now)
        with self._audited() as t:
            people.set_role(t, name, permissions, officer=officer)
            self._note(t, "role_set", now, role=name, permissions=int(permissions), officer=int(officer))

    def remove_role(self, name: str, *, now: int) -> None:
        """Remove a role that nobody has; raises RequestRefused (`role_unknown`, `role_in_use`)."""
        now = moment("now", now)
        with self._audited() as t:
            people.remove_role(t, name)
            self._note(t, "role_removed", now, role=name)

    def roles(self) -> list[tuple[str, int, bool]]:
        """Return name, permissions and whether people of it are officers, of every role."""
        with self._store.read() as t:
            return people.roles(t)

    def set_user(self, name: str, role: str, unit: str, *, now: int) -> None:
        """Add or change a person: a role that exists, a business unit. Raises RequestRefused (`role_unknown`)."""
        now = moment("now", now)
        with self._audited() as t:
            people.set_user(t, name, role, unit)
            self._note(t, "user_set", now, user=name, role=role, unit=unit)

    def remove_user(self, name: str, *, now: int) -> None:
        """Remove a person; raises RequestRefused (`user_unknown`).

        What the person asked for and nobody issued yet is refused from now on; the next delivery takes the rights away.
        """
        now = moment("now", now)
        with self._audited() as t:
            people.remove_user(t, name)
            self._note(t, "user_removed", now, user=name)

    def users(self) -> list[tuple[str, str, int]]:
        """Return name, unit and permissions of everybody."""
        with self._store.read() as t:
            return people.users(t)

    def set_devices(
        self,
        records: Iterable[DeviceRecord],
        *,
        pending_level: SecurityLevel | Mapping[str, SecurityLevel] | None = None,
        now: int,
    ) -> None:
        """Add devices or change what is known of them; the key version of a known device stays.

        `pending_level` is the level that they are about to have, one for all or by device, UNKNOWN for none; what is not
        named keeps its own. A lower epoch than the one known is that of another meter in its place: its installation
        rises by one, by which servers and field tools know that. Raises InputError, and then none is kept.
        """
        now = moment("now", now)
        with self._audited() as t:
            count = people.set_devices(t, records, pending_level)
            self._note(t, "devices_set", now, count=count)

    def devices(self) -> list[DeviceRecord]:
        """Return what is known of all devices."""
        with self._store.read() as t:
            return people.devices(t)

    def retire(self, devices: Sequence[str], *, now: int) -> None:
        """Take devices out of use: nothing is issued for them any more, and all that was issued is revoked.

        `set_devices` takes one into use again, from the next sequence number on. Raises RequestRefused (`device_unknown`),
        and then none is retired.
        """
        now = moment("now", now)
        with self._audited() as t:
            names = people.retire(t, _names(devices))
            # By number and not by time: what was issued in this very second is meant as well.
            least = max(batches.last_sequence(t), restoring.sequence_floor(t)) + 1
            list_revoked(t, devices=dict.fromkeys(names, (least, 0, 0)))
            for name in names:
                self._note(t, "device_retired", now, device=name, sequence=least)

    def retired(self) -> set[str]:
        """Return the devices that were taken out of use."""
        with self._store.read() as t:
            return people.retired(t)

    # --- Requests ---

    def request(
        self,
        officer: str,
        devices: Sequence[str],
        *,
        token_type: str,
        actions: Action | int,
        now: int,
        argument: str = "",
        session_seconds: int | None = None,
        lifetime: int | None = None,
        subject: str | None = None,
        key: str | None = None,
    ) -> Request:
        """Ask for one token a device; `actions` is one action of a command, or the bit set of the others' scope.

        `argument` stands behind the action's name in a command: the level, for set_security_level. Critical material
        for many devices waits for a second officer; its state is `waiting` then. A device that cannot take it is a
        refused row. `lifetime` is in seconds, 7 days by default and at most.

        With a `key`, a text of the officer's own choice, the call may be repeated, as after a crash: the same request is
        answered as the first time, whatever became of it since, and nothing is asked twice.

        Raises InputError for what no token may say, RequestRefused for what the officer may not ask (`not_an_officer`,
        `permission_denied`), for more than the cap could ever let pass (`critical_cap`), and for another request under a
        key that was used (`key_reused`).
        """
        now = moment("now", now)
        names = _names(devices)
        scope = 1 << actions if isinstance(actions, Action) else whole("actions", actions)
        wanted_actions = actions_of(scope)
        check_kind(token_type, wanted_actions, argument)
        session = session_of(token_type, wanted_actions, session_seconds)
        wanted = Wanted(
            token_type, scope, argument, session, LONGEST_LIFETIME if lifetime is None else lifetime, subject
        )
        self._try_out(wanted, now)
        check_key(key)
        critical = is_critical(scope)
        facts: dict[str, str | int] = {"officer": officer, "token_type": token_type, "actions": scope}
        with self._audited(now if critical else None, **facts) as t:
            unit, permissions = people.officer_of(t, officer)
            check_permitted(officer, wanted, permissions)
            content = content_of_request(wanted, names)
            if (first := answered(t, officer, key, content)) is not None:
                return first
            taken, refused = sorted_out(names, people.known_devices(t, names, unit), scope, people.retired(t))
            state = self._first_state(t, officer, len(taken), now) if critical else APPROVED
            least = restoring.next_request(t)
            number = add_request(t, officer, unit, wanted, taken=taken, state=state, now=now, least=least)
            counts = {"count": len(taken), "refused": len(refused)}
            self._note(t, "requested", now, request=number, state=state, **counts, **facts)
            answer = Request(number, state, len(taken), refused, warnings_of(token_type, wanted_actions))
            keep_answer(t, officer, key, content, answer)
        return answer

    def requests(self, *, state: str | None = None) -> list[RequestRecord]:
        """Return all requests, or those of one state, the oldest first; raises InputError for a state that is none."""
        if state is not None and state not in STATES:
            raise InputError(f"requests of state {state!r}; wanted one of {', '.join(STATES)}")
        columns = ", ".join(RequestRecord._fields)
        where, parameters = ("", ()) if state is None else (" WHERE state = ?", (state,))
        with self._store.read() as t:
            found = t.rows(f"SELECT {columns} FROM manager_request{where} ORDER BY id", parameters)  # noqa: S608
        return [RequestRecord(*row) for row in found]

    def approve(self, request: int, officer: str, *, now: int) -> None:
        """Be the second person. Raises RequestRefused.

        `second_person` for the one who asked, `permission_denied` for one who could not have asked, `not_waiting`.
        """
        now = moment("now", now)
        with self._audited(now, request=request, officer=officer) as t:
            found = to_decide(t, request, officer, {WAITING})
            if found.officer == officer:
                raise RequestRefused(
                    "second_person", f"{officer!r} made request {request}: another officer of {found.unit!r} approves"
                )
            t.run("UPDATE manager_request SET state = ?, approver = ? WHERE id = ?", (APPROVED, officer, request))
            self._note(t, APPROVED, now, request=request, officer=officer)

    def reject(self, request: int, officer: str, *, now: int) -> None:
        """Turn down a request that waits, or withdraw one that is not issued yet; the one who asked may, too.

        Raises RequestRefused as `approve` does.
        """
        now = moment("now", now)
        with self._audited(now, request=request, officer=officer) as t:
            to_decide(t, request, officer, {WAITING, APPROVED})
            t.run("UPDATE manager_request SET state = ?, approver = ? WHERE id = ?", (REJECTED, officer, request))
            self._note(t, REJECTED, now, request=request, officer=officer)

    # --- Issuing ---

    def issue(self, *, now: int, request_id: int | None = None) -> IssueReport:
        """Issue everything that is approved, or one request, and finish what a crash has left under the same numbers.

        What cannot be issued does not keep back the rest; then it raises: RequestRefused where the cap leaves no room
        (`critical_cap`, with the time when there is), where who asked or approved may no longer (`permission_denied`,
        `not_an_officer`: reject it), or where the one request is not approved (`not_approved`);
        InputError for a key without delegation, or reading keys without a master key. What the signer raises passes
        through. In each case the same call goes on later.
        """
        now = moment("now", now)
        refused: list[tuple[str, str]] = []
        problem: RequestRefused | InputError | None = None
        for number in self._to_allot(request_id):
            try:
                refused += self._allot(number, now)
            except (RequestRefused, InputError) as error:
                problem = problem or error
        requests, issued = [], 0
        for number in self._to_sign(request_id):
            try:
                count, without = self._finish(number, now)
            except InputError as error:
                problem = problem or error
                continue
            issued, refused = issued + count, refused + without
            requests += [number] if count else []
        if problem is not None:
            raise problem
        return IssueReport(requests, issued, refused)

    def materials(self, after: int, limit: int) -> Page:
        """Return what was issued behind the cursor `after`; raises InputError for a cursor below 0 or a limit below 1."""
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return delivery.issued_page(t, after, limit)

    # --- The tools server ---

    def deliver(self, server: ManagedServer, *, now: int, source: str = "ism", limit: int = ROWS_A_PAGE) -> int:
        """Bring a tools server up to date; returns how many tokens it took. May be repeated at any time.

        What the server would not take is in the audit log (`delivery_refused`). Raises ExchangeError where it has more
        than was ever issued here: one of the two was put back to an older state.
        """
        now = moment("now", now)
        server.set_users(self.users(), now=now)
        server.set_devices(self.devices(), now=now)
        if delegations := self.delegations(now=now):
            server.set_delegations(delegations, now=now)
        if self._authority.has_revoked():
            server.set_revocations(self.snapshot(now=now), now=now)
        with self._store.read() as t:
            self._check_not_restored(t)
            source = restoring.source_of(t, source)
        cursor, taken, more = server.received(source), 0, True
        with self._store.read() as t:
            delivery.check_received(t, cursor, source)
        while more:
            page = self.materials(cursor, limit)
            if page.rows:
                entries = delivery.delivered_entries(page, codes := server.receive(source, page, now=now), now)
                with self._audited() as t:
                    self._journal.write(t, entries)
                taken += len(page.rows) - sum(map(bool, codes))
            cursor, more = page.next, page.more
        return taken

    def collect(self, server: ManagedServer, *, now: int, source: str = "server") -> int:
        """Take what field tools have reported, and learn from it what devices are now; returns how many outcomes.

        Only the use of a token that was issued here, and that the server did not find in conflict (801: not granted to
        the tool, or other content), teaches anything; another one is an `alarm` in the audit log.
        Raises ExchangeError for a page that is none; nothing of it is kept.
        """
        now = moment("now", now)
        taken, more = 0, True
        while more:
            with self._store.read() as t:
                cursor = delivery.cursor_of(t, source)
            page = self._outcomes(server, cursor, source, now)
            if page is None:
                continue
            check_page(page, cursor.position)
            with self._audited() as t:
                if delivery.cursor_of(t, source) != cursor:
                    continue  # another process took this page meanwhile
                learn(t, self._journal, page, now)
                delivery.set_cursor(t, source, Cursor(page.next, page.incarnation))
            taken, more = taken + len(page.rows), page.more
        return taken

    def _outcomes(self, server: ManagedServer, cursor: Cursor, source: str, now: int) -> OutcomePage | None:
        """Return the next page of outcomes; None where the server was restored: then all of its outcomes are taken anew."""
        try:
            page = server.outcomes(cursor.position, ROWS_A_PAGE)
        except RequestRefused as refusal:
            if refusal.reason != "cursor_unknown" or not cursor.position:
                raise
        else:
            if not cursor.position or page.incarnation == cursor.incarnation:
                return page
        with self._audited() as t:
            if delivery.cursor_of(t, source) == cursor:
                delivery.set_cursor(t, source, Cursor())
                self._note(t, "server_restored", now, source=source, position=cursor.position)
        return None

    # --- After a restore ---

    def go_on_after_restore(self, *, now: int) -> Restored:
        """Let a manager whose store was put back to an older state go on after what it lost; call it once after each restore.

        New sequence numbers, requests and snapshots are beyond all that can have been given; requests that were open are
        withdrawn, as they may have been issued since: ask again. Material is delivered under a new source. A restore by
        `itron-core restore` calls this, and takes up what the audit log knows.
        """
        now = moment("now", now)
        with self._audited() as t:
            if not restored(t):
                mark_restored(t)
            found, entries = restoring.go_on(t, [], now=now)
            self._journal.write(t, entries)
        return found

    # --- Keys ---

    def rotate(self, signer: Signer, *, now: int, overlap: int = 7 * DAY, lifetime: int = 90 * DAY) -> bytes:
        """Issue with this key from now on; the root delegates it, and those before it stay in force for `overlap`.

        Tokens of a key are believed as long as its delegation is there: choose `overlap` no shorter than what was issued
        lives. Returns the delegation. Raises InputError where there is no root key, or for a lifetime over 400 days.
        """
        now = moment("now", now)
        with self._store.read() as t:
            ((oldest,),) = t.rows(
                "SELECT min(allotted_at) FROM manager_request WHERE state = ? AND EXISTS (SELECT 1 FROM manager_lot"  # noqa: S608
                f" WHERE request = manager_request.id AND {OPEN})",
                (ALLOTTED,),
            )
        # What is allotted and not signed yet keeps its issue time: the new key must have been good then.
        valid_from = now if oldest is None else min(now, oldest)
        delegation = self._authority.delegate(
            signer, now=now, valid_from=valid_from, overlap=overlap, lifetime=lifetime
        )
        self._signer = signer
        return delegation

    def change_root(self, root: Signer, *, now: int) -> None:
        """Let another root key delegate from now on, and sign the snapshots; give it as `root` at the next opening.

        Everybody who reads must trust the new root before this (docs/runbooks.md): the delegations in force are signed
        anew by it, each until it would have ended. Raises InputError where there is no root key.
        """
        self._authority.change_root(root, now=now)

    def issuing_keys(self) -> list[IssuingKey]:
        """Return all issuing keys that were ever delegated here, the oldest first."""
        return self._authority.keys()

    def revoked(self) -> tuple[list[bytes], dict[str, tuple[int, int, int]], list[tuple[bytes, bytes]]]:
        """Return all that was revoked: keys, devices with their watermarks (least sequence, issue time, epoch), tokens."""
        return self._authority.revoked()

    def delegations(self, *, now: int) -> list[bytes]:
        """Return the delegations in force, the oldest key first."""
        return self._authority.delegations(now=now)

    def keyring(self, *, now: int) -> Keyring:
        """Return what a reader needs: the root with its delegations, or the issuing key alone."""
        return self._authority.keyring(self._signer, now=now)

    def revoke(
        self,
        *,
        issuers: Iterable[bytes] = (),
        devices: Mapping[str, tuple[int, int, int]] | None = None,
        tokens: Iterable[tuple[bytes, bytes]] = (),
        now: int,
    ) -> None:
        """Put keys (kids), devices and tokens (kid, cti) on the list of all snapshots to come.

        A device's watermarks are the least sequence, issue time and epoch that stay good; they only rise. Raises
        InputError for an id of a wrong length or no device; nothing is listed then.
        """
        self._authority.revoke(issuers, devices or {}, tokens, now=moment("now", now))

    def held_by(self, server: ManagedServer, tool: str, *, now: int) -> list[Material]:
        """Return what a field tool was handed and may still use, as a tools server knows it; without the tokens."""
        now, found, after, more = moment("now", now), [], 0, True
        while more:
            page = server.held_by(tool, after, ROWS_A_PAGE, now=now)
            if page.more and page.next <= after:
                raise ExchangeError(f"a page of what {tool!r} holds that does not go on from {after}")
            found += [row for _, row in page.rows]
            after, more = page.next, page.more
        return found

    def revoke_held(self, server: ManagedServer, tool: str, *, now: int) -> list[Material]:
        """Revoke all that a lost or stolen field tool may still use, and return it; the next delivery takes the list along."""
        held = self.held_by(server, tool, now=now)
        self.revoke(tokens=sorted({(row.kid, row.cti) for row in held}), now=now)
        return held

    def snapshot(self, *, now: int, lifetime: int = DAY) -> bytes:
        """Return a new signed snapshot of all that is revoked; its version is one more than the last."""
        return self._authority.snapshot(self._signer, now=now, lifetime=lifetime)

    # --- Inside: who may ---

    @contextmanager
    def _audited(self, refused_at: int | None = None, **facts: str | int) -> Iterator[Transaction]:
        """Be the one writer; with a time, a refusal is written down in a transaction of its own."""
        try:
            with self._journal.transaction() as t:
                yield t
        except RequestRefused as refusal:
            if refused_at is not None:
                with self._journal.transaction() as t:
                    self._note(t, "critical_refused", refused_at, reason=refusal.reason, **facts)
            raise

    def _note(self, t: Transaction, kind: str, now: int, **facts: str | int | bytes) -> None:
        self._journal.write(t, [audit_entry(kind, now, **facts)])

    def _first_state(self, t: Transaction, officer: str, size: int, now: int) -> str:
        # What was issued shortly before a restore is not known: nobody's allowance can be counted.
        alone = not restoring.restored_within(t, now - self._limits.window)
        return first_state(t, self._limits, officer, size, now, alone_allowed=alone)

    def _check_not_restored(self, t: Transaction) -> None:
        if restored(t):
            raise RequestRefused(
                "restored", "the store was restored from a backup: go_on_after_restore lets it go on after what it lost"
            )

    # --- Inside: issuing ---

    def _try_out(self, wanted: Wanted, now: int) -> None:
        """Raise InputError for what the issuing would refuse: it must not be found when numbers are allotted."""
        whole("lifetime", wanted.lifetime, 1, LONGEST_LIFETIME)
        columns = columns_of(wanted, Lot(0, 0, 1, ["ert:0"], [0], [1]), now)
        if wanted.token_type == "reading_key":
            columns |= {"kdf": [1], "key_version": [1], "check_value": [bytes(4)]}
        prepare_tokens(
            columns,
            self._signer.public_key,
            now=now,
            token_type=wanted.token_type,
            max_lifetime=LONGEST_LIFETIME,
        )

    def _to_allot(self, request_id: int | None) -> list[int]:
        with self._store.read() as t:
            if request_id is None:
                found = t.rows("SELECT id FROM manager_request WHERE state = ? ORDER BY id", (APPROVED,))
                return [number for (number,) in found]
            states = [state for (state,) in t.rows("SELECT state FROM manager_request WHERE id = ?", (request_id,))]
        if states not in ([APPROVED], [ALLOTTED]):
            how = f"is {states[0]}" if states else "is none"
            raise RequestRefused("not_approved", f"request {request_id} {how}; another officer approves what waits")
        return [request_id] if states == [APPROVED] else []

    def _allot(self, number: int, now: int) -> list[tuple[str, str]]:
        """Let a request be issued: its issue time and its first numbers are committed before anything is signed."""
        with self._audited(now, request=number) as t:
            found = t.rows(
                "SELECT critical, size, officer, approver FROM manager_request WHERE id = ? AND state = ?",
                (number, APPROVED),
            )
            if not found:
                return []
            ((critical, size, *people),) = found
            asked = asked_of(t, number)
            check_still_permitted(t, asked, people)
            self._check_not_restored(t)
            until = self._authority.delegated_until(t, self._signer, now=now)
            # Nobody believes a token when the delegation of its key has ended.
            if asked.wanted.lifetime > until - now:
                shorten(t, number, until - now)
                self._note(t, "shortened", now, request=number, expires_at=until)
            if critical:
                check_cap(t, self._limits, number, size, now)
            t.run("UPDATE manager_request SET state = ?, allotted_at = ? WHERE id = ?", (ALLOTTED, now, number))
            first = open_places(t, number)[:1]
            return [lost for place in first for lost in numbered(t, self._journal, asked, place, now)[1]]

    def _to_sign(self, request_id: int | None) -> list[int]:
        one, parameters = ("", ()) if request_id is None else (" AND id = ?", (request_id,))
        with self._store.read() as t:
            found = t.rows(
                f"SELECT id FROM manager_request WHERE state = ?{one} AND EXISTS (SELECT 1 FROM manager_lot"  # noqa: S608
                f" WHERE request = manager_request.id AND {OPEN}) ORDER BY id",
                (ALLOTTED, *parameters),
            )
        return [number for (number,) in found]

    def _finish(self, number: int, now: int) -> tuple[int, list[tuple[str, str]]]:
        """Sign and release what of a request is still to be; returns how many tokens were, and what got none."""
        with self._store.read() as t:
            asked = asked_of(t, number)
            self._authority.delegated_until(t, self._signer, now=asked.allotted_at)
        reading_key = None if self._master is None or self._utility is None else (self._master, self._utility)
        return Issuance(self._store, self._journal, asked, self._signer, reading_key, now=now).run()


def _names(devices: object) -> list[str]:
    if isinstance(devices, str | bytes) or not isinstance(devices, Iterable):
        raise InputError(f"devices: {devices!r:.100}; wanted a sequence of devices")
    names = list(devices)
    for row, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(f"devices: row {row} is {type(name).__name__}; wanted its aud, a str")
    return names
