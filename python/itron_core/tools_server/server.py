"""The tools server (FDM Tools): holds issued material of business units and passes it on when field tools sync.

Whatever it is asked twice it answers in the same way, so that a connection may be cut at any point. Each tool sees a
stream of its own, by serial, which only grows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core._arguments import instance, text, whole
from itron_core._rust import Revocations, accepted_revocations, verify_tokens
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, ActionGroup, Code, Permission
from itron_core.errors import ExchangeError, InputError, RequestRefused, TokenRefused
from itron_core.exchange.material import SPENT, Material, MaterialState, Page
from itron_core.exchange.protocols import OutcomePage
from itron_core.exchange.records import (
    MOST_DELEGATIONS,
    CommandRequest,
    DeviceRecord,
    OutcomeReport,
    SignIn,
    record_row,
)
from itron_core.exchange.verification import check_before, judged, ring_at
from itron_core.policy import permission_for
from itron_core.stores.protocol import rows_of
from itron_core.tools_server.ledger import Ledger, Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core._rust import Keyring
    from itron_core.audit import AuditLog
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["ToolsServer"]

# A token may come early or late; everything else about it must be right before it is held.
TIMELY_LATER = frozenset({Code.OK, Code.NOT_YET_VALID, Code.EXPIRED})
EVERY_PERMISSION = int(sum(Permission))

STEPS = [
    """
    CREATE TABLE server_source (source TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL) STRICT;
    CREATE TABLE server_user (name TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, permissions INTEGER NOT NULL) STRICT;
    CREATE TABLE server_tool (
        tool TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, name TEXT NOT NULL,
        wanted INTEGER NOT NULL, granted INTEGER NOT NULL, reported INTEGER NOT NULL, acknowledged INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE server_device (
        device TEXT NOT NULL PRIMARY KEY, unit TEXT NOT NULL, device_class INTEGER NOT NULL, mode INTEGER NOT NULL,
        security_level INTEGER NOT NULL, level_verified INTEGER NOT NULL, epoch INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE server_delegation (position INTEGER NOT NULL PRIMARY KEY, token BLOB NOT NULL) STRICT;
    CREATE TABLE server_revocation (one INTEGER NOT NULL PRIMARY KEY, version INTEGER NOT NULL, token BLOB NOT NULL) STRICT;
    CREATE TABLE server_material (
        serial INTEGER NOT NULL PRIMARY KEY, kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL,
        unit TEXT NOT NULL, device TEXT NOT NULL, token_type TEXT NOT NULL, actions INTEGER NOT NULL,
        sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, issued_at INTEGER NOT NULL, not_before INTEGER,
        expires_at INTEGER NOT NULL, session_seconds INTEGER, token BLOB NOT NULL, used INTEGER NOT NULL,
        UNIQUE (cti, kid)
    ) STRICT;
    CREATE INDEX server_material_device ON server_material (device, token_type);
    CREATE TABLE server_want (
        tool TEXT NOT NULL, number INTEGER NOT NULL, unit TEXT NOT NULL, device TEXT NOT NULL, token_type TEXT NOT NULL,
        action_bit INTEGER NOT NULL, PRIMARY KEY (tool, number)
    ) STRICT;
    CREATE INDEX server_want_device ON server_want (device, token_type);
    CREATE TABLE server_grant (
        tool TEXT NOT NULL, serial INTEGER NOT NULL, material INTEGER NOT NULL,
        PRIMARY KEY (tool, serial), UNIQUE (tool, material)
    ) STRICT;
    CREATE TABLE server_outcome (
        serial INTEGER NOT NULL PRIMARY KEY, tool TEXT NOT NULL, number INTEGER NOT NULL, device TEXT NOT NULL,
        action INTEGER NOT NULL, kid BLOB NOT NULL, cti BLOB NOT NULL, content BLOB NOT NULL, state INTEGER NOT NULL,
        reason INTEGER NOT NULL, answer BLOB NOT NULL, happened_at INTEGER NOT NULL, code INTEGER NOT NULL,
        UNIQUE (tool, number)
    ) STRICT
    """,
    "ALTER TABLE server_device ADD COLUMN installation INTEGER NOT NULL DEFAULT 0",
]
MATERIAL = (
    "m.unit, m.device, m.token_type, m.actions, m.kid, m.sequence, m.epoch, m.issued_at, m.not_before, m.expires_at,"
    " m.session_seconds, m.token"
)
OUTCOME = "number, device, action, kid, cti, content, state, reason, answer, happened_at"
# Every wish meets every unused and unexpired token that fulfils it, unless its tool has that token already.
GRANT = """
    INSERT INTO server_grant
    SELECT found.tool, t.granted + row_number() OVER (PARTITION BY found.tool ORDER BY found.material), found.material
    FROM (
        SELECT DISTINCT w.tool AS tool, m.serial AS material
        FROM server_want w JOIN server_material m
            ON m.device = w.device AND m.token_type = w.token_type AND m.unit = w.unit AND (m.actions & w.action_bit) <> 0
        WHERE m.used = 0 AND m.expires_at > ? AND {new}
    ) found
    JOIN server_tool t ON t.tool = found.tool
    WHERE NOT EXISTS (SELECT 1 FROM server_grant g WHERE g.tool = found.tool AND g.material = found.material)
"""
COUNT_GRANTS = """
    UPDATE server_tool SET granted =
        (SELECT coalesce(max(g.serial), 0) FROM server_grant g WHERE g.tool = server_tool.tool)
"""
# No report can be about what no tool was granted.
PRUNE_UNGRANTED = (
    "DELETE FROM server_material WHERE expires_at < ? AND serial NOT IN (SELECT material FROM server_grant)"
)
# What a tool was granted stays known without its token: a report of its use may come late, and is decided by it.
PRUNE_TOKENS = "UPDATE server_material SET token = ? WHERE expires_at < ? AND length(token) > 0"


class _Tool(NamedTuple):
    tool: str
    unit: str
    name: str
    wanted: int
    granted: int
    reported: int
    acknowledged: int


class ToolsServer:
    """A tools server over a store; `keyring` holds the roots, and delegations come with the material."""

    def __init__(self, store: Store, keyring: Keyring, *, log: AuditLog | None = None) -> None:
        self._store, self._keyring = store, keyring
        store.migrate("server", STEPS)
        self._ledger = Ledger(store)
        self._journal = Journal(store, "server", log)

    # --- The security manager's side ---

    def received(self, source: str) -> int:
        """Return the cursor up to which the material of a source is here."""
        with self._store.read() as t:
            return _number(t, "SELECT position FROM server_source WHERE source = ?", source)

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Take a page of material and return a `Code` a row: what does not verify is not held, and says why.

        Rows at or behind the cursor of the source were taken before: their code is 0. Raises ExchangeError for a page
        whose serials do not rise, or which lies behind what it says.
        """
        for _, row in instance("page", page, Page).rows:
            instance("a row of the page", row, Material)
        _check_rising([serial for serial, _ in page.rows], page.next)
        with self._store.write() as t:
            cursor = _number(t, "SELECT position FROM server_source WHERE source = ?", source)
            fresh = [(index, row) for index, (serial, row) in enumerate(page.rows) if serial > cursor]
            codes = [int(Code.OK)] * len(page.rows)
            for (index, _), code in zip(
                fresh, judged([row for _, row in fresh], self._ring(t, now), now=now), strict=True
            ):
                codes[index] = code
            self._hold(t, [row for index, row in fresh if codes[index] in TIMELY_LATER], now)
            t.run(
                "INSERT INTO server_source VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET position = excluded.position",
                (source, max(cursor, page.next)),
            )
            self._journal.write(
                t,
                [
                    audit_entry(
                        "material_refused", now, source=source, device=row.device, cti=_cti(row), code=codes[index]
                    )
                    for index, row in fresh
                    if codes[index] not in TIMELY_LATER
                ],
            )
        self._journal.publish()
        return codes

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace all users: name, business unit, permissions (a bit set); raises InputError where one could not sign in."""
        rows = [
            (
                text("a user's name", name),
                text("a user's unit", unit),
                whole("permissions", permissions, 0, EVERY_PERMISSION),
            )
            for name, unit, permissions in users
        ]
        if len({name for name, _, _ in rows}) != len(rows):
            raise InputError("users: a name came twice; wanted each once")
        with self._store.write() as t:
            t.run("DELETE FROM server_user")
            t.run_many("INSERT INTO server_user VALUES (?, ?, ?)", rows)
            self._journal.write(t, [audit_entry("users_set", now, count=len(rows))])
        self._journal.publish()

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add devices, or renew what is known of them."""
        rows = [record_row(record) for record in records]
        with self._store.write() as t:
            t.run_many(
                "INSERT INTO server_device VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
                " unit = excluded.unit, device_class = excluded.device_class, mode = excluded.mode,"
                " security_level = excluded.security_level, level_verified = excluded.level_verified,"
                " epoch = excluded.epoch, installation = excluded.installation",
                rows,
            )
            self._journal.write(t, [audit_entry("devices_set", now, count=len(rows))])
        self._journal.publish()

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations; raises TokenRefused where one does not verify.

        One may begin later, and a key may have two: that which ends last stands for it as soon as it is in force.
        """
        if len(tokens) > MOST_DELEGATIONS:
            raise InputError(f"delegations: got {len(tokens)}, expected at most {MOST_DELEGATIONS}")
        for token in tokens:
            try:
                self._keyring.with_delegations([token], now=now)
            except TokenRefused as refused:
                if refused.code != Code.NOT_YET_VALID:
                    raise
        with self._store.write() as t:
            t.run("DELETE FROM server_delegation")
            t.run_many("INSERT INTO server_delegation VALUES (?, ?)", list(enumerate(tokens)))
            self._journal.write(t, [audit_entry("delegations_set", now, count=len(tokens))])
        self._journal.publish()

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Take a newer revocation snapshot, read under the one in force, however long ago that expired.

        Raises TokenRefused, and ItronCoreError for one older than the last or other bytes of its version.
        """
        with self._store.write() as t:
            held = t.rows("SELECT token FROM server_revocation")
            in_force = accepted_revocations(bytes(held[0][0])) if held else None
            revocations = Revocations.from_token(token, self._ring(t, now), now=now, revocations=in_force)
            t.run("DELETE FROM server_revocation")
            t.run("INSERT INTO server_revocation VALUES (1, ?, ?)", (revocations.version, token))
            self._journal.write(t, [audit_entry("revocations_set", now, version=revocations.version)])
        self._journal.publish()

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return what tools have reported behind the cursor `after`; a code of 801 is a use that is not to be believed."""
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            found = t.rows(
                f"SELECT serial, tool, code, {OUTCOME} FROM server_outcome WHERE serial > ? ORDER BY serial LIMIT ?",  # noqa: S608
                (after, limit + 1),
            )
        rows = [(serial, tool, OutcomeReport(*_plain(rest)), code) for serial, tool, code, *rest in found[:limit]]
        return OutcomePage(rows, rows[-1][0] if rows else after, len(found) > limit)

    def prune(self, *, before: int, now: int) -> int:
        """Forget the tokens of material that ended before a moment, in seconds since 1970; returns how many.

        What no tool was granted is forgotten altogether. Of the rest all that decides a report stays, as do grants,
        outcomes and the ledger: however late a tool comes, it is answered as ever. Raises InputError for a moment to come.
        """
        ended = check_before(before, now)
        with self._store.write() as t:
            count = t.run(PRUNE_UNGRANTED, (ended,)) + t.run(PRUNE_TOKENS, (b"", ended))
            self._journal.write(t, [audit_entry("pruned", now, before=before, count=count)])
        self._journal.publish()
        return count

    # --- Who asks, and the verifier as a service ---

    def signed_in(self, tool: str) -> tuple[str, str] | None:
        """Return the user who signed in last at a tool, and its unit; none for a tool that is unknown."""
        with self._store.read() as t:
            found = t.rows("SELECT name, unit FROM server_tool WHERE tool = ?", (tool,))
        return found[0] if found else None

    def verify(self, tokens: Sequence[bytes], *, now: int, token_type: str = "authorization") -> list[int]:
        """Return a `Code` a token, by the delegations and revocations that are in force here."""
        with self._store.read() as t:
            ring = self._ring(t, now)
            held = t.rows("SELECT token FROM server_revocation")
        try:
            revocations = Revocations.from_token(bytes(held[0][0]), ring, now=now) if held else None
        except TokenRefused:
            # Revocations that are late or no longer believed cannot clear anything.
            codes = verify_tokens(tokens, ring, now=now, token_type=token_type)["code"].to_pylist()
            return [int(Code.SNAPSHOT_STALE) if code == Code.OK else code for code in codes]
        results = verify_tokens(tokens, ring, now=now, token_type=token_type, revocations=revocations)
        return list(results["code"].to_pylist())

    # --- The field tool's side: Exchange ---

    def snapshot(self, tool: str, user: str, *, now: int, unit: str | None = None) -> SignIn:
        """Sign in; a tool belongs to the unit of its first user. Nobody signs in whose unit is not `unit`, if one is given."""
        with self._store.write() as t:
            known = t.rows("SELECT unit, permissions FROM server_user WHERE name = ?", (user,))
            if not known:
                raise RequestRefused("user_unknown", f"{user!r} is no user here: the security officer adds users")
            ((own, permissions),) = known
            # Before the tool is bound to the unit: what is refused must leave nothing behind.
            if unit not in {None, own}:
                raise RequestRefused(
                    "unit_mismatch", f"the bearer is of unit {unit!r}, the user of another: have a new bearer made"
                )
            self._sign_in(t, tool, user, own)
            revocations = t.rows("SELECT token FROM server_revocation")
            delegations = t.rows("SELECT token FROM server_delegation ORDER BY position")
            known_tool = _known_tool(t, tool)
            self._journal.write(t, [audit_entry("sign_in", now, tool=tool, user=user)])
        self._journal.publish()
        return SignIn(
            user=user,
            unit=own,
            permissions=permissions,
            revocations=bytes(revocations[0][0]) if revocations else None,
            delegations=tuple(bytes(token) for (token,) in delegations),
            reported=known_tool.reported,
            wanted=known_tool.wanted,
            answered_at=now,
        )

    def request(self, tool: str, wants: Sequence[CommandRequest], *, now: int) -> int:
        """Take the wishes that are new, and grant what is here already.

        What the signed-in user may not have, or a device of another unit, is taken and never granted. Raises
        RequestRefused `number_reused` for another wish under a number that was granted.
        """
        for want in wants:
            _check_want(want)
        with self._store.write() as t:
            known = _known_tool(t, tool)
            fresh = _new_numbers(wants, known.wanted)
            _check_same_wants(t, tool, [want for want in wants if want.number <= known.wanted])
            permissions = Permission(
                _number(t, "SELECT permissions FROM server_user WHERE name = ? AND unit = ?", known.name, known.unit)
            )
            granted = [want for want in fresh if _wants_of(want) in permissions]
            t.run_many(
                "INSERT INTO server_want VALUES (?, ?, ?, ?, ?, ?)",
                [(tool, w.number, known.unit, w.device, w.token_type, 1 << w.action) for w in granted],
            )
            t.run("UPDATE server_tool SET wanted = ? WHERE tool = ?", (known.wanted + len(fresh), tool))
            if granted:
                _grant(t, now, "w.tool = ? AND w.number > ?", tool, known.wanted)
            self._journal.write(t, [*_request_entries(known, fresh, granted, now)])
        self._journal.publish()
        return known.wanted + len(fresh)

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return what was granted behind `after`, up to `limit` rows.

        What was used or pruned meanwhile is left out, and what was signed by a key that was rotated out since.
        """
        whole("limit", limit, 1)
        with self._store.write() as t:
            known = _known_tool(t, tool)
            if not t.rows("SELECT 1 FROM server_user WHERE name = ? AND unit = ?", (known.name, known.unit)):
                raise RequestRefused("user_unknown", f"{known.name!r} is no user here any more: sign in as another")
            if whole("after", after) > known.granted:
                raise RequestRefused(
                    "cursor_unknown",
                    f"cursor {after} of {tool!r}, which has been granted {known.granted}: start from 0",
                )
            # A tool takes no page with a key in it that it does not believe: it could never sync again.
            kids = [entry.key.kid for entry in self._ring(t, now).entries]
            found = t.rows(
                f"SELECT g.serial, {MATERIAL} FROM server_grant g JOIN server_material m ON m.serial = g.material"  # noqa: S608
                f" WHERE g.tool = ? AND g.serial > ? AND m.used = 0 AND length(m.token) > 0"
                f" AND m.kid IN ({', '.join('?' * len(kids))})"
                " ORDER BY g.serial LIMIT ?",
                (tool, after, *kids, limit + 1),
            )
            rows = [(serial, Material(*_plain(rest))) for serial, *rest in found[:limit]]
            more = len(found) > limit
            page = Page(rows, rows[-1][0] if more else known.granted, more)
            t.run("UPDATE server_tool SET acknowledged = ? WHERE tool = ?", (max(after, known.acknowledged), tool))
            self._journal.write(
                t, [audit_entry("sync", now, tool=tool, user=known.name, after=after, next=page.next, count=len(rows))]
            )
        self._journal.publish()
        return page

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:  # noqa: ARG002  # Exchange's
        """Return what is known of these devices of the tool's unit."""
        with self._store.read() as t:
            rows = rows_of(
                t,
                "SELECT device, unit, device_class, mode, security_level, level_verified, epoch, installation FROM server_device"
                " WHERE unit = ? AND device IN ({values})",
                list(dict.fromkeys(text("a device", name) for name in names)),
                (_known_tool(t, tool).unit,),
            )
            return [DeviceRecord(*row)._replace(level_verified=row[5] == 1) for row in rows]

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:
        """Take outcomes: each use is decided by the ledger once; one reported before gets the same code again.

        The use of material that this tool was not granted, or of other content under its identity, is a conflict: 801,
        and an alarm in the audit log. Another outcome under a number that was taken raises RequestRefused
        (`number_reused`): the tool works with an old copy of its store.
        """
        for outcome in outcomes:
            _check_outcome(outcome)
        with self._store.write() as t:
            known = _known_tool(t, tool)
            fresh = _new_numbers(outcomes, known.reported)
            _check_same_outcomes(t, tool, [outcome for outcome in outcomes if outcome.number <= known.reported])
            codes = self._decided(t, tool, fresh)
            start = _number(t, "SELECT max(serial) FROM server_outcome") + 1
            t.run_many(
                "INSERT INTO server_outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (serial, tool, *outcome, code)
                    for serial, (outcome, code) in enumerate(zip(fresh, codes, strict=True), start)
                ],
            )
            t.run("UPDATE server_tool SET reported = ? WHERE tool = ?", (known.reported + len(fresh), tool))
            self._journal.write(
                t, [_outcome_entry(known, outcome, code, now) for outcome, code in zip(fresh, codes, strict=True)]
            )
            answer = dict(zip((outcome.number for outcome in fresh), codes, strict=True))
            answer |= _codes_given(t, tool, [outcome.number for outcome in outcomes if outcome.number not in answer])
        self._journal.publish()
        return [answer[outcome.number] for outcome in outcomes]

    # --- Inside a transaction ---

    def _ring(self, t: Transaction, now: int) -> Keyring:
        found = t.rows("SELECT token FROM server_delegation ORDER BY position")
        return ring_at(self._keyring, [bytes(token) for (token,) in found], now)

    def _hold(self, t: Transaction, rows: list[Material], now: int) -> None:
        start = _number(t, "SELECT max(serial) FROM server_material") + 1
        t.run_many(
            "INSERT INTO server_material VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
            " ON CONFLICT (cti, kid) DO NOTHING",
            [(serial, row.kid, row.cti, row.content, *row[:4], *row[5:]) for serial, row in enumerate(rows, start)],
        )
        if rows:
            _grant(t, now, "m.serial >= ?", start)

    def _sign_in(self, t: Transaction, tool: str, user: str, unit: str) -> None:
        known = t.rows("SELECT unit FROM server_tool WHERE tool = ?", (tool,))
        if not known:
            t.run("INSERT INTO server_tool VALUES (?, ?, ?, 0, 0, 0, 0)", (tool, unit, user))
        elif known[0][0] != unit:
            raise RequestRefused(
                "unit_mismatch", f"tool {tool!r} is of unit {known[0][0]!r}, user {user!r} of {unit!r}"
            )
        else:
            t.run("UPDATE server_tool SET name = ? WHERE tool = ?", (user, tool))

    def _decided(self, t: Transaction, tool: str, outcomes: Sequence[OutcomeReport]) -> list[int]:
        spent = [outcome for outcome in outcomes if outcome.state in SPENT and outcome.kid]
        granted = _granted(t, tool, [outcome.cti for outcome in spent])
        honest = [
            outcome for outcome in spent if granted.get((outcome.kid, outcome.cti)) == (outcome.content, outcome.device)
        ]
        uses = [Use(outcome.kid, outcome.cti, outcome.content, outcome.answer, outcome.at) for outcome in honest]
        verdicts = self._ledger.decide(uses, t)
        t.run_many(
            "UPDATE server_material SET used = 1 WHERE kid = ? AND cti = ?", [(use.kid, use.cti) for use in uses]
        )
        codes = {outcome.number: int(Code.REPLAY_CONFLICT) for outcome in spent}
        codes |= {outcome.number: int(verdict.code) for outcome, verdict in zip(honest, verdicts, strict=True)}
        return [codes.get(outcome.number, int(Code.OK)) for outcome in outcomes]


def _grant(t: Transaction, now: int, new: str, *parameters: object) -> None:
    t.run(GRANT.replace("{new}", new), (now, *parameters))
    t.run(COUNT_GRANTS)


def _granted(t: Transaction, tool: str, ids: Sequence[bytes]) -> dict[tuple[bytes, bytes], tuple[bytes, str]]:
    """Return content and device of what the tool was granted, by key id and CWT id."""
    found = rows_of(
        t,
        # CROSS keeps SQLite from looking through all grants of the tool instead.
        "SELECT m.kid, m.cti, m.content, m.device FROM server_material m CROSS JOIN server_grant g"
        " WHERE g.tool = ? AND g.material = m.serial AND m.cti IN ({values})",
        ids,
        (tool,),
    )
    return {(bytes(kid), bytes(cti)): (bytes(content), device) for kid, cti, content, device in found}


def _codes_given(t: Transaction, tool: str, numbers: Sequence[int]) -> dict[int, int]:
    if not numbers:
        return {}
    rows = t.rows(
        "SELECT number, code FROM server_outcome WHERE tool = ? AND number BETWEEN ? AND ?",
        (tool, min(numbers), max(numbers)),
    )
    return dict(rows)


def _known_tool(t: Transaction, tool: str) -> _Tool:
    found = t.rows(
        "SELECT tool, unit, name, wanted, granted, reported, acknowledged FROM server_tool WHERE tool = ?", (tool,)
    )
    if not found:
        raise RequestRefused("sign_in_required", f"tool {tool!r} has never signed in: sync begins with the snapshot")
    return _Tool(*found[0])


def _number(t: Transaction, sql: str, *parameters: object) -> int:
    rows = t.rows(sql, parameters)
    return int(rows[0][0] or 0) if rows else 0


def _new_numbers(rows: Sequence[Any], last: int) -> list[Any]:
    fresh = [row for row in rows if row.number > last]
    if [row.number for row in fresh] != list(range(last + 1, last + 1 + len(fresh))):
        raise RequestRefused(
            "number_skipped", f"numbers {[row.number for row in fresh][:5]}; wanted {last + 1} and rising by one"
        )
    return fresh


def _check_same_outcomes(t: Transaction, tool: str, outcomes: Sequence[OutcomeReport]) -> None:
    if outcomes:
        numbers = [outcome.number for outcome in outcomes]
        rows = t.rows(
            f"SELECT {OUTCOME} FROM server_outcome WHERE tool = ? AND number BETWEEN ? AND ?",  # noqa: S608
            (tool, min(numbers), max(numbers)),
        )
        known = {row[0]: OutcomeReport(*_plain(row)) for row in rows}
        _check_reused(tool, [one.number for one in outcomes if known.get(one.number, one) != one])


def _check_same_wants(t: Transaction, tool: str, wants: Sequence[CommandRequest]) -> None:
    if wants:
        numbers = [want.number for want in wants]
        rows = t.rows(
            "SELECT number, device, token_type, action_bit FROM server_want WHERE tool = ? AND number BETWEEN ? AND ?",
            (tool, min(numbers), max(numbers)),
        )
        # A wish that was not permitted is not kept, and cannot be compared.
        known = {number: tuple(said) for number, *said in rows}
        said = {want.number: (want.device, want.token_type, 1 << want.action) for want in wants}
        _check_reused(tool, [number for number, one in said.items() if known.get(number, one) != one])


def _check_reused(tool: str, numbers: Sequence[int]) -> None:
    if numbers:
        raise RequestRefused(
            "number_reused",
            f"tool {tool!r} said something else under the numbers {list(numbers)[:5]} before: its store is an old copy;"
            " a sync goes on behind them",
        )


def _check_rising(serials: Sequence[int], end: int) -> None:
    if any(later <= earlier for earlier, later in pairwise(serials)) or (serials and serials[-1] > end):
        raise ExchangeError(f"a page whose serials do not rise up to its end, {end}")


def _check_want(want: CommandRequest) -> None:
    instance("a wish", want, CommandRequest)
    if want.token_type not in DEVICE_TOKEN_TYPES or want.action not in Action._value2member_map_:
        raise InputError(
            f"a wish for {want.token_type!r}, action {want.action!r}; wanted one of {', '.join(DEVICE_TOKEN_TYPES)} and an action"
        )


def _check_outcome(outcome: OutcomeReport) -> None:
    instance("an outcome", outcome, OutcomeReport)
    if outcome.number < 1:
        raise InputError(f"an outcome of number {outcome.number}; wanted 1 or more")
    if outcome.state not in MaterialState._value2member_map_ or outcome.action not in Action._value2member_map_:
        raise InputError(
            f"an outcome of state {outcome.state!r}, action {outcome.action!r}; wanted numbers of the enums"
        )


def _wants_of(want: CommandRequest) -> Permission:
    wanted = permission_for(Action(want.action))
    return wanted | Permission.SIGNED_AUTHORIZATION if want.token_type == "authorization" else wanted


def _request_entries(
    known: _Tool, fresh: list[CommandRequest], granted: list[CommandRequest], now: int
) -> Iterable[bytes]:
    if fresh:
        yield audit_entry("request", now, tool=known.tool, user=known.name, count=len(fresh), permitted=len(granted))
    permitted = {want.number for want in granted}
    for want in fresh:
        if want.number not in permitted and Action(want.action).group is ActionGroup.SERVICE:
            yield audit_entry(
                "critical_refused",
                now,
                tool=known.tool,
                user=known.name,
                device=want.device,
                action=Action(want.action).name.lower(),
                reason="permission_denied",
            )


def _outcome_entry(known: _Tool, outcome: OutcomeReport, code: int, now: int) -> bytes:
    alarm = code == Code.REPLAY_CONFLICT
    return audit_entry(
        "alarm" if alarm else "outcome",
        now,
        tool=known.tool,
        user=known.name,
        number=outcome.number,
        device=outcome.device,
        action=Action(outcome.action).name.lower(),
        state=MaterialState(outcome.state).name.lower(),
        reason=outcome.reason,
        code=code,
        kid=outcome.kid,
        cti=outcome.cti,
        happened_at=outcome.at,
    )


def _cti(row: Material) -> bytes:
    try:
        return row.cti
    except (InputError, OverflowError):
        return b""


def _plain(values: Iterable[Any]) -> Iterable[Any]:
    return (bytes(value) if isinstance(value, memoryview) else value for value in values)
