"""The security manager (ISM): issues signed authorizations, secure commands and reading keys at an officer's request.

Every token needs a request. Critical material in bulk needs two officers and is limited by a sliding cap. No sequence
number is used twice for a device, whatever crashes. Private keys are never in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import instance, moment, text, whole
from itron_core._rust import prepare_tokens
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import Action, Permission, SecurityLevel
from itron_core.errors import ExchangeError, InputError, RequestRefused
from itron_core.exchange.material import LONGEST_LIFETIME, Material, Page
from itron_core.manager import batches, delivery, people, restoring
from itron_core.manager.batches import OPEN, Batch, open_places
from itron_core.manager.delivery import Cursor
from itron_core.manager.device_reports import check_page, learn
from itron_core.manager.eligibility import (
    actions_of,
    check_content,
    is_critical,
    session_of,
    split_devices,
    warnings_of,
)
from itron_core.manager.issuance import Issuance, RemoteMasterKey, columns_of, numbered
from itron_core.manager.issuing_keys import IssuingKeys, list_revoked
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
    Terms,
    add_request,
    answered,
    check_cap,
    check_key,
    check_permitted,
    check_still_permitted,
    content_of_request,
    first_state,
    keep_answer,
    request_to_issue,
    shorten,
    to_decide,
)
from itron_core.manager.restoring import Restored
from itron_core.manager.schema import STEPS
from itron_core.stores.incarnation import mark_restored, restored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from itron_core._rust import Keyring, MasterKey
    from itron_core.audit import AuditLog
    from itron_core.exchange.protocols import ManagedServer, OutcomePage
    from itron_core.exchange.records import DeviceRecord
    from itron_core.manager.issuing_keys import IssuingKey
    from itron_core.signing import Signer
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["IssueReport", "Limits", "RemoteMasterKey", "Request", "RequestRecord", "Restored", "SecurityManager"]

ROWS_PER_PAGE = 10_000
DAY = 86_400


class IssueReport(NamedTuple):
    """The issued requests, the number of tokens released, and the devices that got none, each with the reason.

    The reason is `unit_changed`: the device has moved to another unit.
    """

    requests: list[int]
    issued: int
    refused: list[tuple[str, str]]


class SecurityManager:
    """A security manager over a store, which several processes may share.

    `signer` holds the issuing key; `root` holds the key that delegates it by `rotate` (without a root, the issuing key
    itself is trusted). `master`, a MasterKey or a master key in an HSM, and `utility` are needed for reading keys. Every
    call raises StoreError if the store is unusable, and can then be repeated.
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
        self._keys = IssuingKeys(store, self._journal, root, issuer)

    # --- People and devices ---

    def set_role(self, name: str, permissions: Permission | int, *, officer: bool = False, now: int) -> None:
        """Add or change a role; an officer's role may make requests. Raises InputError for unknown permissions."""
        now = moment("now", now)
        with self._audited() as t:
            people.set_role(t, name, permissions, officer=officer)
            self._note(t, "role_set", now, role=name, permissions=int(permissions), officer=int(officer))

    def remove_role(self, name: str, *, now: int) -> None:
        """Remove an unused role. Raises RequestRefused (`role_unknown`, `role_in_use`)."""
        now = moment("now", now)
        with self._audited() as t:
            people.remove_role(t, name)
            self._note(t, "role_removed", now, role=name)

    def roles(self) -> list[tuple[str, int, bool]]:
        """Return every role: its name, its permissions, and whether its users are officers."""
        with self._store.read() as t:
            return people.roles(t)

    def set_user(self, name: str, role: str, unit: str, *, now: int) -> None:
        """Add or change a user: an existing role and a business unit. Raises RequestRefused (`role_unknown`)."""
        now = moment("now", now)
        with self._audited() as t:
            people.set_user(t, name, role, unit)
            self._note(t, "user_set", now, user=name, role=role, unit=unit)

    def remove_user(self, name: str, *, now: int) -> None:
        """Remove a user. Raises RequestRefused (`user_unknown`).

        The user's requests that are not issued yet are refused from now on. The next delivery removes the user's rights.
        """
        now = moment("now", now)
        with self._audited() as t:
            people.remove_user(t, name)
            self._note(t, "user_removed", now, user=name)

    def users(self) -> list[tuple[str, str, int]]:
        """Return every user: name, unit and permissions."""
        with self._store.read() as t:
            return people.users(t)

    def set_devices(
        self,
        records: Iterable[DeviceRecord],
        *,
        pending_level: SecurityLevel | Mapping[str, SecurityLevel] | None = None,
        now: int,
    ) -> None:
        """Add or update devices; the key version of a known device stays.

        `pending_level` is the level that they are about to have: one for all, or one per device; UNKNOWN means none.
        Devices that it does not name keep theirs. A lower epoch than the known one means another meter in its place: its
        installation number rises by one, which informs servers and field tools. Raises InputError, and then stores none.
        """
        now = moment("now", now)
        with self._audited() as t:
            count = people.set_devices(t, records, pending_level)
            self._note(t, "devices_set", now, count=count)

    def devices(self) -> list[DeviceRecord]:
        """Return the records of all devices."""
        with self._store.read() as t:
            return people.devices(t)

    def retire(self, devices: Sequence[str], *, now: int) -> None:
        """Retire devices: nothing more is issued for them, and all their material is revoked.

        `set_devices` takes one into use again, from the next sequence number on. Raises RequestRefused (`device_unknown`),
        and then none is retired.
        """
        now = moment("now", now)
        with self._audited() as t:
            names = people.retire(t, _names(devices))
            # By number, not by time: this includes material issued in this second.
            least = max(batches.last_sequence(t), restoring.sequence_floor(t)) + 1
            list_revoked(t, devices=dict.fromkeys(names, (least, 0, 0)))
            for name in names:
                self._note(t, "device_retired", now, device=name, sequence=least)

    def retired(self) -> set[str]:
        """Return the retired devices."""
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
        """Request one token per device; `actions` is one Action of a secure command, or the bit set of a token's scope.

        `argument` follows the action's name in a secure command: the level, for set_security_level. Critical material
        for many devices waits for a second officer; its state is then `waiting`. A device that cannot take it is a
        refused row. `lifetime` is in seconds, 7 days by default and at most.

        `key` is an idempotency key, any text of the officer's choice. Repeating the call with it, for example after a
        crash, returns the first answer and makes no second request.

        Raises InputError for invalid token content. Raises RequestRefused if the officer may not request it
        (`not_an_officer`, `permission_denied`), if it exceeds the whole cap (`critical_cap`), or if the key was used for
        another request (`key_reused`).
        """
        now = moment("now", now)
        names = _names(devices)
        scope = 1 << actions if isinstance(actions, Action) else whole("actions", actions)
        listed = actions_of(scope)
        check_content(token_type, listed, argument)
        if session_seconds is not None:
            instance("session_seconds", session_seconds, int)
        if subject is not None:
            text("subject", subject)
        session = session_of(token_type, listed, session_seconds)
        terms = Terms(token_type, scope, argument, session, LONGEST_LIFETIME if lifetime is None else lifetime, subject)
        self._try_out(terms, now)
        check_key(key)
        critical = is_critical(scope)
        facts: dict[str, str | int] = {"officer": officer, "token_type": token_type, "actions": scope}
        with self._audited(now if critical else None, **facts) as t:
            unit, permissions = people.officer_of(t, officer)
            check_permitted(officer, terms, permissions)
            content = content_of_request(terms, names)
            if (first := answered(t, officer, key, content)) is not None:
                return first
            taken, refused = split_devices(names, people.known_devices(t, names, unit), scope, people.retired(t))
            state = self._first_state(t, officer, len(taken), now) if critical else APPROVED
            least = restoring.next_request(t)
            number = add_request(t, officer, unit, terms, taken=taken, state=state, now=now, least=least)
            counts = {"count": len(taken), "refused": len(refused)}
            self._note(t, "requested", now, request=number, state=state, **counts, **facts)
            answer = Request(number, state, len(taken), refused, warnings_of(token_type, listed))
            keep_answer(t, officer, key, content, answer)
        return answer

    def requests(self, *, state: str | None = None) -> list[RequestRecord]:
        """Return all requests, or those in one state, oldest first. Raises InputError for an unknown state."""
        if state is not None and state not in STATES:
            raise InputError(f"state: got {state!r}, expected one of {', '.join(STATES)}")
        columns = ", ".join(RequestRecord._fields)
        where, parameters = ("", ()) if state is None else (" WHERE state = ?", (state,))
        with self._store.read() as t:
            found = t.rows(f"SELECT {columns} FROM manager_request{where} ORDER BY id", parameters)  # noqa: S608
        return [RequestRecord(*row) for row in found]

    def approve(self, request: int, officer: str, *, now: int) -> None:
        """Approve a waiting request as the second officer. Raises RequestRefused.

        The reasons: `second_person` for the officer who made the request, `permission_denied` for an officer who may not
        make it, and `not_waiting` for a request in another state.
        """
        now = moment("now", now)
        with self._audited(now, request=request, officer=officer) as t:
            found = to_decide(t, request, officer, {WAITING})
            if found.officer == officer:
                raise RequestRefused(
                    "second_person",
                    f"{officer!r} made request {request}: another officer of unit {found.unit!r} must approve it",
                )
            t.run("UPDATE manager_request SET state = ?, approver = ? WHERE id = ?", (APPROVED, officer, request))
            self._note(t, APPROVED, now, request=request, officer=officer)

    def reject(self, request: int, officer: str, *, now: int) -> None:
        """Reject a waiting request, or withdraw an approved one that is not issued yet; its own officer may do so too.

        Raises RequestRefused as `approve` does.
        """
        now = moment("now", now)
        with self._audited(now, request=request, officer=officer) as t:
            to_decide(t, request, officer, {WAITING, APPROVED})
            t.run("UPDATE manager_request SET state = ?, approver = ? WHERE id = ?", (REJECTED, officer, request))
            self._note(t, REJECTED, now, request=request, officer=officer)

    # --- Issuing ---

    def issue(self, *, now: int, request_id: int | None = None) -> IssueReport:
        """Issue all approved requests, or one, and finish those that a crash interrupted, under the same numbers.

        A request that cannot be issued does not hold back the others; the call raises after them. It raises
        RequestRefused if the cap leaves no room (`critical_cap`, with the time when it will), if the officer who made or
        approved it may no longer do so (`permission_denied`, `not_an_officer`: reject it), or if the one request is not
        approved (`not_approved`). It raises InputError for an issuing key without delegation, and for reading keys
        without a master key. Exceptions of the signer pass through. Repeating the call later continues the work.
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
        """Return issued material after the cursor `after`. Raises InputError for a cursor below 0 or a limit below 1."""
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return delivery.issued_page(t, after, limit)

    # --- The tools server ---

    def deliver(
        self,
        server: ManagedServer,
        *,
        now: int,
        source: str = "ism",
        limit: int = ROWS_PER_PAGE,
        refused: Callable[[Material, int], object] | None = None,
    ) -> int:
        """Bring a tools server up to date, and return the number of tokens that it accepted. Repeating it is safe.

        Tokens that the server did not accept are in the audit log (`delivery_refused`); `refused` is called with each of
        them and its code. Raises ExchangeError if the server has
        more than was ever issued here: one of the two was put back to an older state.
        """
        now = moment("now", now)
        server.set_users(self.users(), now=now)
        server.set_devices(self.devices(), now=now)
        if delegations := self.delegations(now=now):
            server.set_delegations(delegations, now=now)
        if self._keys.has_revoked():
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
                for (_, row), code in zip(page.rows, codes, strict=True):
                    if code and refused is not None:
                        refused(row, code)
            cursor, more = page.next, page.more
        return taken

    def collect(self, server: ManagedServer, *, now: int, source: str = "server") -> int:
        """Collect field tools' outcome reports, update the devices' states from them, and return the number of outcomes.

        Only the use of a token issued here updates a device, and only if the server found no conflict (801: not granted
        to the tool, or other content). Any other use is an `alarm` in the audit log. Raises ExchangeError for an invalid
        page; nothing of it is stored.
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
        """Return the next page of outcomes; None if the server was restored, so that all its outcomes are collected again."""
        try:
            page = server.outcomes(cursor.position, ROWS_PER_PAGE)
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
        """Make a manager usable whose store was put back to an older state. Call it once after each restore.

        New sequence numbers, requests and snapshots start beyond all that may have been used. Open requests are
        withdrawn, since they may have been issued meanwhile: request again. Material is delivered under a new source.
        `itron-core restore` calls this, and also uses the audit log.
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
        """Issue with this key from now on: the root delegates it, and earlier keys stay in force for `overlap` seconds.

        Tokens are accepted only while their key is delegated: choose `overlap` no shorter than the tokens' lifetime.
        Returns the delegation. Raises InputError if there is no root key, or for a lifetime over 400 days.
        """
        now = moment("now", now)
        with self._store.read() as t:
            ((oldest,),) = t.rows(
                "SELECT min(allotted_at) FROM manager_request WHERE state = ? AND EXISTS (SELECT 1 FROM manager_lot"  # noqa: S608
                f" WHERE request = manager_request.id AND {OPEN})",
                (ALLOTTED,),
            )
        # Allotted but unsigned requests keep their issue time: the new key must be valid from then.
        valid_from = now if oldest is None else min(now, oldest)
        delegation = self._keys.delegate(signer, now=now, valid_from=valid_from, overlap=overlap, lifetime=lifetime)
        self._signer = signer
        return delegation

    def change_root(self, root: Signer, *, now: int) -> None:
        """Delegate and sign snapshots with another root key from now on; pass it as `root` at the next opening.

        All verifiers must trust the new root before this call (docs/runbooks.md): it signs the delegations in force again,
        each with its previous end. Raises InputError if there is no root key.
        """
        self._keys.change_root(root, now=now)

    def issuing_keys(self) -> list[IssuingKey]:
        """Return all issuing keys that were ever delegated here, oldest first."""
        return self._keys.keys()

    def revoked(self) -> tuple[list[bytes], dict[str, tuple[int, int, int]], list[tuple[bytes, bytes]]]:
        """Return all revocations: keys, devices with their watermarks (least sequence, issue time, epoch), and tokens."""
        return self._keys.revoked()

    def delegations(self, *, now: int) -> list[bytes]:
        """Return the delegations in force, the oldest key first."""
        return self._keys.delegations(now=moment("now", now))

    def keyring(self, *, now: int) -> Keyring:
        """Return the keyring for verifying: the root with its delegations, or the issuing key alone."""
        return self._keys.keyring(self._signer, now=moment("now", now))

    def revoke(
        self,
        *,
        issuers: Iterable[bytes] = (),
        devices: Mapping[str, tuple[int, int, int]] | None = None,
        tokens: Iterable[tuple[bytes, bytes]] = (),
        now: int,
    ) -> None:
        """Revoke keys (kids), devices and tokens (kid, cti) in all later snapshots.

        A device's watermarks are the least sequence, issue time and epoch that stay valid; they only rise. Raises
        InputError for an id of wrong length or an invalid device; then nothing is revoked.
        """
        self._keys.revoke(issuers, devices or {}, tokens, now=moment("now", now))

    def held_by(self, server: ManagedServer, tool: str, *, now: int) -> list[Material]:
        """Return the material that a field tool received and may still use, as the tools server knows it, without tokens."""
        now, found, after, more = moment("now", now), [], 0, True
        while more:
            page = server.held_by(tool, after, ROWS_PER_PAGE, now=now)
            if page.more and page.next <= after:
                raise ExchangeError(
                    f"the server's page of material held by {tool!r} is out of order: it must continue from {after}"
                )
            found += [row for _, row in page.rows]
            after, more = page.next, page.more
        return found

    def revoke_held(self, server: ManagedServer, tool: str, *, now: int) -> list[Material]:
        """Revoke all material that a lost or stolen field tool may still use, and return it. The next delivery carries it."""
        held = self.held_by(server, tool, now=now)
        self.revoke(tokens=sorted({(row.kid, row.cti) for row in held}), now=now)
        return held

    def snapshot(self, *, now: int, lifetime: int = DAY) -> bytes:
        """Return a new signed snapshot of all revocations; its version is one more than the last."""
        return self._keys.snapshot(self._signer, now=now, lifetime=lifetime)

    # --- Inside: who may ---

    @contextmanager
    def _audited(self, refused_at: int | None = None, **facts: str | int) -> Iterator[Transaction]:
        """Open a write transaction; with a time, a refusal is audited in a transaction of its own."""
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
        # Tokens issued shortly before a restore are unknown, so no officer's allowance can be counted.
        alone = not restoring.restored_within(t, now - self._limits.window)
        return first_state(t, self._limits, officer, size, now, alone_allowed=alone)

    def _check_not_restored(self, t: Transaction) -> None:
        if restored(t):
            raise RequestRefused(
                "restored",
                "the store was restored from a backup: call go_on_after_restore once, or run itron-core restore",
            )

    # --- Inside: issuing ---

    def _try_out(self, terms: Terms, now: int) -> None:
        """Raise InputError for what issuing would refuse, before any number is assigned."""
        whole("lifetime", terms.lifetime, 1, LONGEST_LIFETIME)
        columns = columns_of(terms, Batch(0, 0, 1, ["ert:0"], [0], [1]), now)
        if terms.token_type == "reading_key":
            columns |= {"kdf": [1], "key_version": [1], "check_value": [bytes(4)]}
        prepare_tokens(
            columns,
            self._signer.public_key,
            now=now,
            token_type=terms.token_type,
            max_lifetime=LONGEST_LIFETIME,
        )

    def _to_allot(self, request_id: int | None) -> list[int]:
        with self._store.read() as t:
            if request_id is None:
                found = t.rows("SELECT id FROM manager_request WHERE state = ? ORDER BY id", (APPROVED,))
                return [number for (number,) in found]
            states = [state for (state,) in t.rows("SELECT state FROM manager_request WHERE id = ?", (request_id,))]
        if states not in ([APPROVED], [ALLOTTED]):
            how = f"is {states[0]}, expected approved" if states else "is unknown"
            raise RequestRefused("not_approved", f"request {request_id} {how}")
        return [request_id] if states == [APPROVED] else []

    def _allot(self, number: int, now: int) -> list[tuple[str, str]]:
        """Allot a request: commit its issue time and its first number before anything is signed."""
        with self._audited(now, request=number) as t:
            found = t.rows(
                "SELECT critical, size, officer, approver FROM manager_request WHERE id = ? AND state = ?",
                (number, APPROVED),
            )
            if not found:
                return []
            ((critical, size, *people),) = found
            asked = request_to_issue(t, number)
            check_still_permitted(t, asked, people)
            self._check_not_restored(t)
            until = self._keys.delegated_until(t, self._signer, now=now)
            # A token is not accepted after the delegation of its key has ended.
            if asked.terms.lifetime > until - now:
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
        """Sign and release the rest of a request; return the number of tokens, and the devices that got none."""
        with self._store.read() as t:
            asked = request_to_issue(t, number)
            self._keys.delegated_until(t, self._signer, now=asked.allotted_at)
        reading_key = None if self._master is None or self._utility is None else (self._master, self._utility)
        return Issuance(self._store, self._journal, asked, self._signer, reading_key, now=now).run()


def _names(devices: object) -> list[str]:
    if isinstance(devices, str | bytes) or not isinstance(devices, Iterable):
        raise InputError(f"devices: got {devices!r:.100}, expected a sequence of device ids")
    names = list(devices)
    for row, name in enumerate(names):
        if not isinstance(name, str):
            raise InputError(f"devices: got {type(name).__name__} in row {row}, expected a device id, a str")
    return names
