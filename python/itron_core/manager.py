"""The security manager (ISM): issues signed authorizations, secure commands and reading keys at an officer's request.

Nothing without a request; two people for critical material in bulk; a sliding cap on it; one token a sequence number,
whatever crashes. Private keys are never in the store.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from itron_core._rust import Keyring, KeyringEntry, Revocations, derive_keys
from itron_core.audit import audit_entry
from itron_core.errors import InputError, RequestRefused
from itron_core.issuing import issue_delegation, issue_revocations, issue_tokens
from itron_core.journal import Journal
from itron_core.levels import Action, ActionGroup, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.material import DeviceRecord, Material, MaterialState, Page, cti_of, device_id
from itron_core.policy import never_reason, permission_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core._rust import MasterKey
    from itron_core.audit import AuditLog
    from itron_core.issuing import Signer
    from itron_core.store import Store, Transaction
    from itron_core.tools_server import OutcomePage

__all__ = ["IssueReport", "Limits", "ManagedServer", "Request", "SecurityManager"]

TOKEN_TYPES = ("authorization", "secure_command", "reading_key")
DEFAULT_SESSION = 3_600
ROWS_A_CHUNK = 10_000
DAY = 86_400
KDF = 1
WAITING, APPROVED, ALLOTTED, REJECTED = "waiting", "approved", "allotted", "rejected"
SERVICE_ACTIONS = sum(1 << action for action in Action if action.group is ActionGroup.SERVICE)

STEPS = [
    """
    CREATE TABLE manager_role (
        name TEXT NOT NULL PRIMARY KEY, permissions INTEGER NOT NULL, officer INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_user (name TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL, unit TEXT NOT NULL) STRICT;
    CREATE TABLE manager_device (
        device TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, device_class INTEGER NOT NULL, mode INTEGER NOT NULL,
        security_level INTEGER NOT NULL, level_verified INTEGER NOT NULL, epoch INTEGER NOT NULL,
        pending_level INTEGER NOT NULL, key_version INTEGER NOT NULL, sequence INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_request (
        id INTEGER NOT NULL PRIMARY KEY, officer TEXT NOT NULL, approver TEXT, token_type TEXT NOT NULL,
        actions INTEGER NOT NULL, argument TEXT NOT NULL, session_seconds INTEGER, lifetime INTEGER NOT NULL,
        subject TEXT, critical INTEGER NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL,
        requested_at INTEGER NOT NULL, allotted_at INTEGER
    ) STRICT;
    CREATE TABLE manager_row (
        request INTEGER NOT NULL, device TEXT NOT NULL, unit TEXT, sequence INTEGER, epoch INTEGER, key_version INTEGER,
        serial INTEGER, kid BLOB, token BLOB, PRIMARY KEY (request, device)
    ) STRICT;
    CREATE INDEX manager_row_serial ON manager_row (serial);
    CREATE TABLE manager_key (
        kid BLOB NOT NULL PRIMARY KEY, delegation BLOB NOT NULL, valid_until INTEGER NOT NULL, position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE manager_revocation (kind TEXT NOT NULL, item TEXT NOT NULL, PRIMARY KEY (kind, item)) STRICT;
    CREATE TABLE manager_counter (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT
    """
]
DEVICE = "device, unit, device_class, mode, security_level, level_verified, epoch"


class Limits(NamedTuple):
    """What stands against misuse: `alone` critical rows by one officer and `critical` in all, within `window` seconds."""

    alone: int = 10
    critical: int = 5_000
    window: int = DAY


DEFAULT_LIMITS = Limits()


class Request(NamedTuple):
    """What became of a request; `refused` holds a device and why it gets nothing, a row each."""

    id: int
    state: str
    rows: int
    refused: list[tuple[str, str]]


class IssueReport(NamedTuple):
    """How many tokens were released, and for which requests."""

    requests: list[int]
    issued: int


class ManagedServer(Protocol):
    """What the security manager needs of a tools server, here or behind HTTP."""

    def received(self, source: str) -> int:
        """Return how far material has come."""

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Take a page of material."""

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace the users."""

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add or renew devices."""

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations."""

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Take a newer snapshot."""

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return what tools have reported."""


class SecurityManager:
    """A security manager over a store.

    `signer` holds the issuing key; `root` the key that delegates it (without one, the issuing key is trusted by itself).
    `master` and `utility` are for reading keys: a MasterKey, or one in an HSM.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        root: Signer | None = None,
        master: MasterKey | None = None,
        utility: str | None = None,
        issuer: str = "ism",
        limits: Limits = DEFAULT_LIMITS,
        log: AuditLog | None = None,
    ) -> None:
        self._store, self._signer, self._root = store, signer, root
        self._master, self._utility, self._issuer, self._limits = master, utility, issuer, limits
        store.migrate("manager", STEPS)
        self._journal = Journal(store, "manager", log)

    # --- People and devices ---

    def set_role(self, name: str, permissions: Permission | int, *, officer: bool = False, now: int) -> None:
        """Add or change a role; those of officers may request."""
        with self._store.write() as t:
            t.run(
                "INSERT INTO manager_role VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " permissions = excluded.permissions, officer = excluded.officer",
                (name, int(permissions), int(officer)),
            )
            self._note(t, "role_set", now, role=name, permissions=int(permissions), officer=int(officer))
        self._journal.publish()

    def set_user(self, name: str, role: str, unit: str, *, now: int) -> None:
        """Add or change a person: a role that exists, a business unit."""
        with self._store.write() as t:
            if not t.rows("SELECT 1 FROM manager_role WHERE name = ?", (role,)):
                raise RequestRefused("role_unknown", f"{role!r} is no role: add it first")
            t.run(
                "INSERT INTO manager_user VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " role = excluded.role, unit = excluded.unit",
                (name, role, unit),
            )
            self._note(t, "user_set", now, user=name, role=role, unit=unit)
        self._journal.publish()

    def users(self) -> list[tuple[str, str, int]]:
        """Return name, unit and permissions of everybody."""
        with self._store.read() as t:
            return [
                (name, unit, permissions)
                for name, unit, permissions in t.rows(
                    "SELECT u.name, u.unit, r.permissions FROM manager_user u JOIN manager_role r ON r.name = u.role"
                    " ORDER BY u.name"
                )
            ]

    def set_devices(
        self, records: Iterable[DeviceRecord], *, pending_level: SecurityLevel = SecurityLevel.UNKNOWN, now: int
    ) -> None:
        """Add devices or change what is known of them; the sequence and key version of a known device stay.

        `pending_level` is the level that they are about to have, UNKNOWN for none.
        """
        known = list(records)
        for record in known:
            device_id(record.device)
        rows = [(*record[:2], *(int(value) for value in record[2:]), int(pending_level)) for record in known]
        with self._store.write() as t:
            t.run_many(
                "INSERT INTO manager_device VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0) ON CONFLICT (device) DO UPDATE SET"
                " unit = excluded.unit, device_class = excluded.device_class, mode = excluded.mode,"
                " security_level = excluded.security_level, level_verified = excluded.level_verified,"
                " epoch = excluded.epoch, pending_level = excluded.pending_level",
                rows,
            )
            self._note(t, "devices_set", now, count=len(rows))
        self._journal.publish()

    def devices(self) -> list[DeviceRecord]:
        """Return what is known of all devices."""
        with self._store.read() as t:
            return [_record(row) for row in t.rows(f"SELECT {DEVICE} FROM manager_device ORDER BY device")]  # noqa: S608

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
        lifetime: int = 7 * DAY,
        subject: str | None = None,
    ) -> Request:
        """Ask for one token a device; `actions` is one action of a command, or the bit set of the others' scope.

        Raises RequestRefused where the officer may not ask for this. A device that cannot take it is a refused row.
        Critical material for many devices waits for a second officer; its state is `waiting` then.
        """
        scope = 1 << actions if isinstance(actions, Action) else int(actions)
        wanted = _actions_of(scope)
        _check_request(token_type, wanted, lifetime)
        critical = bool(scope & SERVICE_ACTIONS)
        unit = self._permitted(officer, token_type, scope, now)
        with self._store.write() as t:
            known = {
                row[0]: (_record(row[:7]), SecurityLevel(row[7]))
                for row in t.rows(f"SELECT {DEVICE}, pending_level FROM manager_device WHERE unit = ?", (unit,))  # noqa: S608
            }
            taken, refused = _sorted_out(devices, known, wanted)
            alone = self._critical_alone(t, officer, now) + len(taken)
            state = WAITING if critical and alone > self._limits.alone else APPROVED
            number = _count(t, "SELECT max(id) FROM manager_request") + 1
            session = _session_of(token_type, wanted, session_seconds)
            t.run(
                "INSERT INTO manager_request VALUES (?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    *(number, officer, token_type, scope, argument, session),
                    *(lifetime, subject, int(critical), len(taken), state, now),
                ),
            )
            t.run_many(
                "INSERT INTO manager_row (request, device, unit) VALUES (?, ?, ?)",
                [(number, device, unit) for device in taken],
            )
            facts: dict[str, str | int | bytes] = {
                "token_type": token_type,
                "actions": scope,
                "count": len(taken),
                "refused": len(refused),
            }
            self._note(t, "requested", now, request=number, officer=officer, state=state, **facts)
        self._journal.publish()
        return Request(number, state, len(taken), refused)

    def approve(self, request: int, officer: str, *, now: int) -> None:
        """Be the second person; raises RequestRefused for the first one, or one who may not."""
        self._decide(request, officer, APPROVED, now)

    def reject(self, request: int, officer: str, *, now: int) -> None:
        """Turn a waiting request down."""
        self._decide(request, officer, REJECTED, now)

    def issue(self, *, now: int) -> IssueReport:
        """Issue everything that is approved, and finish what a crash has left: signed under the same sequence numbers.

        Raises RequestRefused (`critical_cap`) where the cap leaves no room for a request; those before it were issued.
        """
        try:
            self._allot_all(now)
        finally:
            report = self._sign_all(now)
        return report

    def materials(self, after: int, limit: int) -> Page:
        """Return what was issued behind the cursor `after`."""
        with self._store.read() as t:
            found = t.rows(
                "SELECT w.serial, w.unit, w.device, r.token_type, r.actions, w.kid, w.sequence, w.epoch, r.allotted_at,"
                " r.lifetime, r.session_seconds, w.token FROM manager_row w JOIN manager_request r ON r.id = w.request"
                " WHERE w.serial > ? ORDER BY w.serial LIMIT ?",
                (after, limit + 1),
            )
        rows = [(row[0], _material(row)) for row in found[:limit]]
        return Page(rows, rows[-1][0] if rows else after, len(found) > limit)

    # --- The tools server ---

    def deliver(self, server: ManagedServer, *, now: int, source: str = "ism", limit: int = ROWS_A_CHUNK) -> int:
        """Bring a tools server up to date; returns how many tokens it took. May be repeated at any time."""
        server.set_users(self.users(), now=now)
        server.set_devices(self.devices(), now=now)
        delegations = self.delegations(now=now)
        if delegations:
            server.set_delegations(delegations, now=now)
        with self._store.read() as t:
            revoked = t.rows("SELECT 1 FROM manager_revocation LIMIT 1")
        if revoked:
            server.set_revocations(self.snapshot(now=now), now=now)
        cursor, taken = server.received(source), 0
        while True:
            page = self.materials(cursor, limit)
            if page.rows:
                server.receive(source, page, now=now)
            cursor, taken = page.next, taken + len(page.rows)
            if not page.more:
                return taken

    def collect(self, server: ManagedServer, *, now: int, source: str = "server") -> int:
        """Take what field tools have reported, and learn from it what devices are now; returns how many outcomes."""
        taken = 0
        while True:
            with self._store.read() as t:
                cursor = _counter(t, f"outcomes:{source}")
            page = server.outcomes(cursor, ROWS_A_CHUNK)
            with self._store.write() as t:
                if _counter(t, f"outcomes:{source}") != cursor:
                    continue  # another process took this page meanwhile
                for _, tool, outcome in page.rows:
                    if outcome.state in {MaterialState.USED, MaterialState.REPLAYED}:
                        self._learn(t, outcome.device, outcome.answer)
                    self._note(
                        t,
                        "outcome",
                        now,
                        tool=tool,
                        device=outcome.device,
                        action=Action(outcome.action).name.lower(),
                        state=MaterialState(outcome.state).name.lower(),
                        cti=outcome.cti,
                    )
                _set_counter(t, f"outcomes:{source}", page.next)
            self._journal.publish()
            taken += len(page.rows)
            if not page.more:
                return taken

    # --- Keys ---

    def rotate(self, signer: Signer, *, now: int, overlap: int = 7 * DAY, lifetime: int = 90 * DAY) -> bytes:
        """Issue with another key from now on; the root delegates it, and the old one stays in force for `overlap`.

        Returns the delegation. Raises InputError where there is no root key.
        """
        if self._root is None:
            raise InputError("a rotation without a root key; give the manager the key that delegates")
        until = now + lifetime
        entry = KeyringEntry(signer.public_key, issuer=self._issuer, valid_until=until, token_types=list(TOKEN_TYPES))
        delegation = issue_delegation(entry, self._root, now=now, expires_at=until)
        with self._store.write() as t:
            position = _count(t, "SELECT max(position) FROM manager_key") + 1
            t.run("UPDATE manager_key SET valid_until = ? WHERE valid_until > ?", (now + overlap, now + overlap))
            t.run(
                "INSERT INTO manager_key VALUES (?, ?, ?, ?) ON CONFLICT (kid) DO UPDATE SET"
                " delegation = excluded.delegation, valid_until = excluded.valid_until, position = excluded.position",
                (signer.public_key.kid, delegation, until, position),
            )
            self._note(t, "rotated", now, kid=signer.public_key.kid, overlap=overlap)
        self._journal.publish()
        self._signer = signer
        return delegation

    def delegations(self, *, now: int) -> list[bytes]:
        """Return the delegations in force, the oldest key first."""
        with self._store.read() as t:
            return [
                bytes(token)
                for (token,) in t.rows(
                    "SELECT delegation FROM manager_key WHERE valid_until > ? ORDER BY position", (now,)
                )
            ]

    def keyring(self, *, now: int) -> Keyring:
        """Return what a reader needs: the root with its delegations, or the issuing key alone."""
        if self._root is None:
            return Keyring([KeyringEntry(self._signer.public_key, issuer=self._issuer)])
        ring = Keyring([KeyringEntry(self._root.public_key, issuer=self._issuer)])
        return ring.with_delegations(self.delegations(now=now), now=now)

    def revoke(
        self,
        *,
        issuers: Iterable[bytes] = (),
        devices: dict[str, tuple[int, int, int]] | None = None,
        tokens: Iterable[tuple[bytes, bytes]] = (),
        now: int,
    ) -> None:
        """Put keys (kids), devices (their watermarks) and tokens (kid, cti) on the list of all snapshots to come."""
        rows = [("issuer", kid.hex()) for kid in issuers]
        rows += [("device", json.dumps([name, *marks])) for name, marks in (devices or {}).items()]
        rows += [("token", f"{kid.hex()}:{cti.hex()}") for kid, cti in tokens]
        with self._store.write() as t:
            t.run_many("INSERT INTO manager_revocation VALUES (?, ?) ON CONFLICT DO NOTHING", rows)
            self._journal.write(t, [audit_entry("revoked", now, what=kind, item=item) for kind, item in rows])
        self._journal.publish()

    def snapshot(self, *, now: int, lifetime: int = DAY) -> bytes:
        """Return a new signed snapshot of all that is revoked; its version is one more than the last."""
        with self._store.write() as t:
            listed = t.rows("SELECT kind, item FROM manager_revocation")
            version = _counter(t, "snapshot") + 1
            _set_counter(t, "snapshot", version)
            self._note(t, "snapshot", now, version=version, count=len(listed))
        self._journal.publish()
        return issue_revocations(
            _revocations(listed, version, now + lifetime), self._root or self._signer, issuer=self._issuer, now=now
        )

    # --- Inside ---

    def _note(self, t: Transaction, kind: str, now: int, **facts: str | int | bytes) -> None:
        self._journal.write(t, [audit_entry(kind, now, **facts)])

    def _officer(self, t: Transaction, name: str) -> tuple[str, Permission]:
        found = t.rows(
            "SELECT u.unit, r.permissions, r.officer FROM manager_user u JOIN manager_role r ON r.name = u.role"
            " WHERE u.name = ?",
            (name,),
        )
        if not found or not found[0][2]:
            raise RequestRefused("not_an_officer", f"{name!r} has no role of an officer: only officers request")
        return found[0][0], Permission(found[0][1])

    def _permitted(self, officer: str, token_type: str, scope: int, now: int) -> str:
        """Return the officer's unit; raises RequestRefused, and writes down the refusal of what is critical."""
        with self._store.write() as t:
            unit, permissions = self._officer(t, officer)
            lacking = _lacking(token_type, _actions_of(scope), permissions)
            if lacking and scope & SERVICE_ACTIONS:
                self._note(t, "critical_refused", now, officer=officer, actions=scope, reason="permission_denied")
        self._journal.publish()
        if lacking:
            raise RequestRefused("permission_denied", f"officer {officer!r} lacks {lacking}: change the role")
        return unit

    def _critical_alone(self, t: Transaction, officer: str, now: int) -> int:
        return _count(
            t,
            "SELECT sum(size) FROM manager_request WHERE officer = ? AND critical = 1 AND approver IS NULL"
            " AND state IN (?, ?) AND requested_at > ?",
            officer,
            APPROVED,
            ALLOTTED,
            now - self._limits.window,
        )

    def _decide(self, number: int, officer: str, state: str, now: int) -> None:
        with self._store.write() as t:
            unit, permissions = self._officer(t, officer)
            found = t.rows("SELECT officer, state, token_type, actions FROM manager_request WHERE id = ?", (number,))
            if not found or found[0][1] != WAITING:
                raise RequestRefused("not_waiting", f"request {number} does not wait for a second officer")
            first, _, token_type, scope = found[0]
            if first == officer:
                raise RequestRefused("second_person", f"{officer!r} made request {number}: another officer decides")
            lacking = _lacking(token_type, _actions_of(scope), permissions)
            of_unit = t.rows("SELECT 1 FROM manager_user WHERE name = ? AND unit = ?", (first, unit))
            if lacking or not of_unit:
                raise RequestRefused(
                    "permission_denied", f"{officer!r} may not decide this: {lacking or 'another unit'}"
                )
            t.run("UPDATE manager_request SET state = ?, approver = ? WHERE id = ?", (state, officer, number))
            self._note(t, state, now, request=number, officer=officer)
        self._journal.publish()

    def _allot_all(self, now: int) -> None:
        with self._store.read() as t:
            approved = [n for (n,) in t.rows("SELECT id FROM manager_request WHERE state = ? ORDER BY id", (APPROVED,))]
        for number in approved:
            self._allot(number, now)

    def _allot(self, number: int, now: int) -> None:
        """Fix the whole content of a request's tokens, and commit it before anything is signed."""
        refusal = None
        with self._store.write() as t:
            found = t.rows("SELECT critical, size FROM manager_request WHERE id = ? AND state = ?", (number, APPROVED))
            if not found:
                return
            critical, size = found[0]
            since = now - self._limits.window
            spent = "SELECT sum(size) FROM manager_request WHERE critical = 1 AND state = ? AND allotted_at > ?"
            if critical and _count(t, spent, ALLOTTED, since) + size > self._limits.critical:
                first = (
                    "SELECT min(allotted_at) FROM manager_request WHERE critical = 1 AND state = ? AND allotted_at > ?"
                )
                again = _count(t, first, ALLOTTED, since) + self._limits.window
                refusal = RequestRefused(
                    "critical_cap",
                    f"request {number} of {size} is beyond {self._limits.critical} critical commands in"
                    f" {self._limits.window} s; there is more room from {again} on",
                )
                self._note(t, "critical_refused", now, request=number, count=size, reason=refusal.reason)
            else:
                inside = "(SELECT device FROM manager_row WHERE request = ?)"
                t.run(f"UPDATE manager_device SET sequence = sequence + 1 WHERE device IN {inside}", (number,))  # noqa: S608
                for column in ("sequence", "epoch", "key_version"):
                    t.run(
                        f"UPDATE manager_row SET {column} = (SELECT d.{column} FROM manager_device d"  # noqa: S608
                        " WHERE d.device = manager_row.device) WHERE request = ?",
                        (number,),
                    )
                t.run("UPDATE manager_request SET state = ?, allotted_at = ? WHERE id = ?", (ALLOTTED, now, number))
                self._note(t, "allotted", now, request=number, count=size)
        self._journal.publish()
        if refusal is not None:
            raise refusal

    def _sign_all(self, now: int) -> IssueReport:
        requests: list[int] = []
        issued = 0
        while True:
            with self._store.read() as t:
                found = t.rows(
                    "SELECT request FROM manager_row WHERE token IS NULL AND sequence IS NOT NULL ORDER BY request LIMIT 1"
                )
                if not found:
                    return IssueReport(requests, issued)
                number = found[0][0]
                rows = t.rows(
                    "SELECT device, sequence, epoch, key_version FROM manager_row WHERE request = ? AND token IS NULL"
                    " ORDER BY device LIMIT ?",
                    (number, ROWS_A_CHUNK),
                )
                (wanted,) = t.rows(
                    "SELECT token_type, actions, argument, session_seconds, lifetime, subject, allotted_at, officer"
                    " FROM manager_request WHERE id = ?",
                    (number,),
                )
            tokens = self._signed(rows, wanted)
            issued += self._release(number, rows, tokens, wanted, now)
            requests += [number] if number not in requests else []

    def _signed(self, rows: list[tuple[Any, ...]], wanted: tuple[Any, ...]) -> list[bytes]:
        token_type, actions, argument, session_seconds, lifetime, subject, allotted_at, _ = wanted
        count = len(rows)
        columns: dict[str, Any] = {
            "device": [row[0] for row in rows],
            "actions": [actions] * count,
            "sequence": [row[1] for row in rows],
            "epoch": [row[2] for row in rows],
            "expires_at": [allotted_at + lifetime] * count,
        }
        if session_seconds is not None:
            columns["session_seconds"] = [session_seconds] * count
        if subject is not None:
            columns["subject"] = [subject] * count
        if token_type == "secure_command":
            name = _actions_of(actions)[0].name.lower()
            columns["command"] = [f"{name}:{argument}".encode() if argument else name.encode()] * count
        if token_type == "reading_key":
            columns |= self._reading_keys(rows)
        issued = issue_tokens(columns, self._signer, now=allotted_at, token_type=token_type, max_lifetime=31 * DAY)
        return [token for token in issued.to_pylist() if isinstance(token, bytes)]

    def _reading_keys(self, rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
        if self._master is None or self._utility is None:
            raise InputError("reading keys without a master key; give the manager `master` and `utility`")
        checks: list[bytes] = [b""] * len(rows)
        for version in {row[3] for row in rows}:
            places = [place for place, row in enumerate(rows) if row[3] == version]
            keys = derive_keys(
                self._master, [rows[place][0] for place in places], utility=self._utility, key_version=version
            )
            values = memoryview(keys.check_values()).tobytes()
            for number, place in enumerate(places):
                checks[place] = values[4 * number : 4 * number + 4]
        return {"kdf": [KDF] * len(rows), "key_version": [row[3] for row in rows], "check_value": checks}

    def _release(
        self, number: int, rows: list[tuple[Any, ...]], tokens: list[bytes], wanted: tuple[Any, ...], now: int
    ) -> int:
        """Store tokens; where another process was first, its token stays the only one of that sequence number."""
        kid = self._signer.public_key.kid
        with self._store.write() as t:
            taken = {
                device
                for (device,) in t.rows(
                    "SELECT device FROM manager_row WHERE request = ? AND token IS NOT NULL", (number,)
                )
            }
            serial = _count(t, "SELECT max(serial) FROM manager_row")
            fresh = [(row, token) for row, token in zip(rows, tokens, strict=True) if row[0] not in taken]
            t.run_many(
                "UPDATE manager_row SET serial = ?, kid = ?, token = ? WHERE request = ? AND device = ?",
                [(serial + place, kid, token, number, row[0]) for place, (row, token) in enumerate(fresh, 1)],
            )
            self._journal.write(
                t,
                [
                    audit_entry(
                        "issued",
                        now,
                        request=number,
                        officer=wanted[7],
                        device=row[0],
                        token_type=wanted[0],
                        actions=wanted[1],
                        kid=kid,
                        cti=cti_of(row[0], row[1]),
                    )
                    for row, _ in fresh
                ],
            )
        self._journal.publish()
        return len(fresh)

    def _learn(self, t: Transaction, device: str, answer: bytes) -> None:
        """Take the level, mode, epoch and key version that a device has told."""
        try:
            said = json.loads(answer) if answer else {}
            known = {
                "epoch": int(said["epoch"]),
                "key_version": int(said["key_version"]),
                "security_level": int(SecurityLevel[said["level"].upper()]),
                "mode": int(Mode[said["mode"].upper()]),
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            return
        t.run(
            "UPDATE manager_device SET epoch = ?, key_version = ?, security_level = ?, mode = ?, level_verified = 1"
            " WHERE device = ? AND epoch <= ?",
            (*known.values(), device, known["epoch"]),
        )


def _check_request(token_type: str, actions: list[Action], lifetime: int) -> None:
    if token_type not in TOKEN_TYPES:
        raise InputError(f"a request for {token_type!r}; wanted one of {', '.join(TOKEN_TYPES)}")
    if not actions or (token_type == "secure_command" and len(actions) != 1):
        raise InputError(f"a request for {len(actions)} actions; wanted one for a command, one or more for the others")
    if not 1 <= lifetime <= 31 * DAY:
        raise InputError(f"a lifetime of {lifetime} s; wanted 1 to {31 * DAY}")


def _actions_of(scope: int) -> list[Action]:
    if scope < 0 or scope & ~sum(1 << action for action in Action):
        raise InputError(f"actions {scope:#x}; wanted a bit set of the actions there are")
    return [action for action in Action if scope >> action & 1]


def _lacking(token_type: str, actions: list[Action], permissions: Permission) -> str:
    wanted = Permission.SIGNED_AUTHORIZATION if token_type == "authorization" else Permission(0)
    for action in actions:
        wanted |= permission_for(action)
    return ", ".join(one.name.lower() for one in wanted & ~permissions if one.name)


def _session_of(token_type: str, actions: list[Action], seconds: int | None) -> int | None:
    opens = token_type == "authorization" or (token_type == "secure_command" and actions == [Action.OPEN_SESSION])
    if not opens and seconds is not None:
        raise InputError("a session's length for what opens none; wanted None")
    return (seconds or DEFAULT_SESSION) if opens else None


def _sorted_out(
    devices: Sequence[str], known: dict[str, tuple[DeviceRecord, SecurityLevel]], actions: list[Action]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the devices that can take it, and the others each with the reason."""
    taken: dict[str, None] = {}
    refused = []
    for device in devices:
        if device not in known:
            refused.append((device, "device_unknown"))
        elif device in taken:
            refused.append((device, "named_twice"))
        elif reason := _never(*known[device], actions):
            refused.append((device, reason))
        else:
            taken[device] = None
    return list(taken), refused


def _never(record: DeviceRecord, pending: SecurityLevel, actions: list[Action]) -> str:
    """Return why a device can never take this, at the level that it has or is about to have; nothing where it can."""
    levels = {SecurityLevel(record.security_level), pending} - {SecurityLevel.UNKNOWN} or {SecurityLevel.COMMAND}
    modes = [Mode(record.mode)] if record.mode != Mode.UNKNOWN else [Mode.MOBILE, Mode.NETWORK]
    for action in actions:
        reasons = [
            never_reason(DeviceClass(record.device_class), mode, level, action) for mode in modes for level in levels
        ]
        if all(reasons):
            return reasons[0].name.lower()
    return ""


def _revocations(listed: list[tuple[Any, ...]], version: int, expires_at: int) -> Revocations:
    devices = [json.loads(item) for kind, item in listed if kind == "device"]
    tokens = [item.split(":") for kind, item in listed if kind == "token"]
    return Revocations(
        issuers=[bytes.fromhex(item) for kind, item in listed if kind == "issuer"],
        devices={name: tuple(marks) for name, *marks in devices},
        tokens=[(bytes.fromhex(kid), bytes.fromhex(cti)) for kid, cti in tokens],
        version=version,
        expires_at=expires_at,
    )


def _record(row: tuple[Any, ...]) -> DeviceRecord:
    return DeviceRecord(*row)._replace(level_verified=row[5] == 1)


def _material(row: tuple[Any, ...]) -> Material:
    _, unit, device, token_type, actions, kid, sequence, epoch, issued_at, lifetime, session_seconds, token = row
    return Material(
        unit=unit,
        device=device,
        token_type=token_type,
        actions=actions,
        kid=bytes(kid),
        sequence=sequence,
        epoch=epoch,
        issued_at=issued_at,
        not_before=None,
        expires_at=issued_at + lifetime,
        session_seconds=session_seconds,
        token=bytes(token),
    )


def _count(t: Transaction, sql: str, *parameters: object) -> int:
    ((value,),) = t.rows(sql, parameters)
    return int(value or 0)


def _counter(t: Transaction, name: str) -> int:
    return sum(value for (value,) in t.rows("SELECT value FROM manager_counter WHERE name = ?", (name,)))


def _set_counter(t: Transaction, name: str, value: int) -> None:
    t.run(
        "INSERT INTO manager_counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
