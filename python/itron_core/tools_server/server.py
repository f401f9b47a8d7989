"""The tools server (FDM Tools): holds issued material of business units and passes it on when field tools sync.

Whatever it is asked twice it answers in the same way, so that a connection may be cut at any point. Each tool sees a
stream of its own, by serial, which only grows.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from itron_core._arguments import instance, moment, text, whole
from itron_core._rust import Revocations, verify_tokens
from itron_core.audit import audit_entry
from itron_core.audit.journal import Journal
from itron_core.enums import Code, Permission
from itron_core.errors import RequestRefused, TokenRefused
from itron_core.exchange.material import Page
from itron_core.exchange.records import DeviceRecord, SignIn
from itron_core.exchange.verification import check_before
from itron_core.stores.incarnation import incarnation
from itron_core.stores.protocol import Undone, rows_of
from itron_core.tools_server import access, granting, receiving, tools
from itron_core.tools_server import outcomes as reported
from itron_core.tools_server.access import BearerRecord
from itron_core.tools_server.ledger import Ledger
from itron_core.tools_server.schema import STEPS
from itron_core.tools_server.tools import Quotas, ToolRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from itron_core._rust import Keyring
    from itron_core.audit import AuditLog
    from itron_core.exchange.protocols import OutcomePage
    from itron_core.exchange.records import CommandRequest, OutcomeReport
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["BearerRecord", "Quotas", "ToolRecord", "ToolsServer"]

DEVICE = "device, unit, device_class, mode, security_level, level_verified, epoch, installation"


class ToolsServer:
    """A tools server over a store; `keyring` holds the roots, and delegations come with the material."""

    def __init__(
        self, store: Store, keyring: Keyring, *, log: AuditLog | None = None, quotas: Quotas | None = None
    ) -> None:
        self._store, self._keyring, self._quotas = store, keyring, quotas or Quotas()
        store.migrate("server", STEPS)
        self._ledger = Ledger(store)
        self._journal = Journal(store, "server", log)

    @contextmanager
    def _changes(self) -> Iterator[Transaction]:
        """Be the one writer, and publish the audit entries of what was done."""
        with self._store.write() as t:
            yield t
        self._journal.publish()

    # --- The security manager's side ---

    def received(self, source: str) -> int:
        """Return the cursor up to which the material of a source is here."""
        with self._store.read() as t:
            return receiving.received(t, source)

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Take a page of material and return a `Code` per row: what does not verify is not held.

        Rows at or before the cursor of the source were taken before: their code is 0. Raises ExchangeError for a page
        whose serials do not rise up to its end.
        """
        now = moment("now", now)
        receiving.check_page(page)
        with self._changes() as t:
            ring = receiving.ring_of(t, self._keyring, now)
            codes, start, refused = receiving.take_page(t, source, page, ring, now)
            if page.rows:
                granting.grant(t, now, "m.serial >= ?", start)
            self._journal.write(t, refused)
        return codes

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace all users: name, business unit, permissions (a bit set); raises InputError where one could not sign in.

        A permission that is taken away ends the command requests and grants that stand on it.
        """
        now = moment("now", now)
        given = receiving.check_users(users)
        with self._changes() as t:
            granting.end_grants(t, receiving.replace_users(t, given))
            self._journal.write(t, [audit_entry("users_set", now, count=len(given))])

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add devices, or renew what is known of them."""
        now = moment("now", now)
        with self._changes() as t:
            count = receiving.set_devices(t, records)
            self._journal.write(t, [audit_entry("devices_set", now, count=count)])

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations; raises TokenRefused where one does not verify.

        One may begin later, and a key may have two: that which ends last stands for it as soon as it is in force.
        """
        now = moment("now", now)
        with self._changes() as t:
            receiving.replace_delegations(t, tokens, self._keyring, now)
            self._journal.write(t, [audit_entry("delegations_set", now, count=len(tokens))])

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Take a newer revocation snapshot, read under the one that is held, however long ago that expired.

        A version that was run up heals when the key that signed it is trusted no more. Raises TokenRefused, and
        ItronCoreError for one older than the one held, or other bytes of its version.
        """
        now = moment("now", now)
        with self._changes() as t:
            version = receiving.take_snapshot(t, token, self._keyring, now)
            self._journal.write(t, [audit_entry("revocations_set", now, version=version)])

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return what tools have reported after a cursor; a code of 801 is a use that is not to be believed.

        A page ends at its bytes, too. Raises RequestRefused `cursor_unknown` for a cursor beyond what there is: this
        store was put back.
        """
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return reported.page_of(t, after, limit, incarnation(t))

    def held_by(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return what a tool was granted after a cursor and may still hold unused, without the tokens themselves.

        It is what the one who has a lost or stolen tool can use: each user's, and what was taken away since.
        """
        text("tool", tool)
        whole("after", after)
        whole("limit", limit, 1)
        now = moment("now", now)
        with self._store.read() as t:
            return granting.held_page(t, tool, after=after, limit=limit, now=now)

    def prune(self, *, before: int, now: int, dry_run: bool = False) -> int:
        """Forget the tokens of material that ended before a moment, in seconds since 1970; returns how many.

        What no tool was granted is forgotten altogether. Of the rest all that decides a report stays, as do grants,
        outcomes and the ledger: however late a tool comes, it is answered as ever. Raises InputError for a moment to come.
        With `dry_run` it only counts.
        """
        ended, count = check_before(before, now), 0
        with suppress(Undone), self._changes() as t:
            count = receiving.forget(t, ended)
            if dry_run:
                raise Undone
            self._journal.write(t, [audit_entry("pruned", now, before=before, count=count)])
        return count

    # --- Who asks, and the verifier as a service ---

    def signed_in(self, tool: str) -> tuple[str, str] | None:
        """Return the user who signed in last at a tool, and its unit; None for a tool that is unknown."""
        with self._store.read() as t:
            return tools.signed_in(t, tool)

    def revoke_bearers(self, *, ids: Iterable[str] = (), tools: Iterable[str] = (), now: int) -> None:
        """Refuse bearer tokens from now on: by their ids, or all that field tools were given up to this moment."""
        now = moment("now", now)
        named, lost = [text("a bearer's id", one) for one in ids], [text("a tool's name", one) for one in tools]
        with self._changes() as t:
            access.refuse(t, ids=named, tools=lost, now=now)
            entries = [audit_entry("bearer_revoked", now, bearer=one) for one in named]
            self._journal.write(t, [*entries, *(audit_entry("bearers_revoked", now, tool=one) for one in lost)])

    def keep_bearer(self, made: BearerRecord, *, now: int) -> None:
        """Record a bearer token that was made for this server, so that `bearers` lists it; raises InputError for no record.

        The service takes bearers that are not recorded as well: their signature decides.
        """
        now = moment("now", now)
        instance("made", made, BearerRecord)
        for name in made[:5]:
            text("a bearer's name", name or "-")
        for time in (made.issued_at, made.expires_at):
            moment("a bearer's time", time)
        with self._changes() as t:
            access.keep_bearer(t, made)
            names = {"bearer": made.token_id, "user": made.user, "roles": made.roles, "tool": made.tool}
            self._journal.write(t, [audit_entry("bearer_made", now, expires_at=made.expires_at, **names)])

    def bearers(self) -> list[BearerRecord]:
        """Return the bearer tokens that were recorded, the oldest first; the tokens themselves are not kept."""
        with self._store.read() as t:
            return access.bearers(t)

    def remove_tool(self, tool: str, *, now: int) -> None:
        """Let a field tool sign in, report and fetch no more: its bearers and grants end, and its name is not used again.

        Raises RequestRefused `tool_unknown` for a tool that has never signed in nor been given a recorded bearer.
        """
        now = moment("now", now)
        with self._changes() as t:
            access.remove_tool(t, text("tool", tool), now)
            access.refuse(t, ids=(), tools=(tool,), now=now)
            granting.end_tool(t, tool)
            self._journal.write(t, [audit_entry("tool_removed", now, tool=tool)])

    def tools(self) -> list[ToolRecord]:
        """Return what there is of each field tool that has signed in or was removed, by name."""
        with self._store.read() as t:
            return tools.records(t, access.removed_tools(t))

    def users(self) -> list[tuple[str, str, int]]:
        """Return name, unit and permissions of everybody who may sign in."""
        with self._store.read() as t:
            found = t.rows("SELECT name, unit, permissions FROM server_user ORDER BY name")
        return [(name, unit, permissions) for name, unit, permissions in found]

    def all_devices(self) -> list[DeviceRecord]:
        """Return what is known of the devices of all units."""
        with self._store.read() as t:
            found = t.rows(f"SELECT {DEVICE} FROM server_device ORDER BY device")  # noqa: S608
        return [DeviceRecord(*row)._replace(level_verified=row[5] == 1) for row in found]

    def materials(self, after: int, limit: int) -> Page:
        """Return what is held here after the cursor `after`, used or not, without the tokens themselves."""
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return receiving.held_page(t, after, limit)

    def bearer_revoked(self, token_id: str, tool: str, issued_at: int) -> bool:
        """Return whether a bearer token was revoked."""
        with self._store.read() as t:
            return access.is_refused(t, token_id, tool, issued_at)

    def verify(self, tokens: Sequence[bytes], *, now: int, token_type: str = "authorization") -> list[int]:
        """Return a `Code` per token, by the delegations and revocations that are in force here."""
        now = moment("now", now)
        with self._store.read() as t:
            ring = receiving.ring_of(t, self._keyring, now)
            held = receiving.snapshot_held(t).token
        try:
            revocations = None if held is None else Revocations.from_token(held, ring, now=now)
        except TokenRefused:
            # Revocations that are late or no longer believed cannot clear anything.
            codes = verify_tokens(tokens, ring, now=now, token_type=token_type)["code"].to_pylist()
            return [int(Code.SNAPSHOT_STALE) if code == Code.OK else code for code in codes]
        results = verify_tokens(tokens, ring, now=now, token_type=token_type, revocations=revocations)
        return list(results["code"].to_pylist())

    # --- The field tool's side: Exchange ---

    def snapshot(self, tool: str, user: str, *, now: int, unit: str | None = None) -> SignIn:
        """Sign in; a tool belongs to the unit of its first user. Nobody signs in whose unit is not `unit`, if one is given."""
        now = moment("now", now)
        with self._changes() as t:
            known = t.rows("SELECT unit, permissions FROM server_user WHERE name = ?", (user,))
            if not known:
                raise RequestRefused("user_unknown", f"{user!r} is no user here: the security officer adds users")
            ((own, permissions),) = known
            # Before the tool is bound to the unit: what is refused must leave nothing behind.
            if unit not in {None, own}:
                raise RequestRefused(
                    "unit_mismatch", f"the bearer is of unit {unit!r}, the user of another: have a new bearer made"
                )
            tools.sign_in(t, tool, user, own)
            revocations = receiving.snapshot_held(t).token
            delegations = receiving.delegations(t)
            counts, store = tools.known_tool(t, tool), incarnation(t)
            self._journal.write(t, [audit_entry("sign_in", now, tool=tool, user=user)])
        return SignIn(
            user=user,
            unit=own,
            permissions=permissions,
            revocations=revocations,
            delegations=tuple(delegations),
            reported=counts.reported,
            wanted=counts.wanted,
            answered_at=now,
            incarnation=store,
        )

    def request(self, tool: str, wants: Sequence[CommandRequest], *, now: int) -> int:
        """Take the command requests that are new, and grant what is here already.

        What the signed-in user may not have, or a device of another unit, is taken and never granted. Raises
        RequestRefused `number_reused` for another request under a number that was kept, `quota_exceeded` for too many.
        """
        now = moment("now", now)
        for one in wants:
            granting.check_request(one)
        with self._changes() as t:
            known = tools.known_tool(t, tool)
            count = tools.fresh_numbers([one.number for one in wants], known.wanted)
            before = [one for one in wants if one.number <= known.wanted]
            tools.check_reused(tool, granting.differing_requests(t, tool, before))
            fresh = [one for one in wants if one.number > known.wanted]
            permissions = Permission(tools.permissions_of(t, known) or 0)
            permitted = granting.take(t, known, fresh, permissions, self._quotas.command_requests)
            if permitted:
                granting.grant(t, now, "w.tool = ? AND w.number > ?", tool, known.wanted)
            self._journal.write(t, [*granting.entries_of(known, fresh, permitted, now)])
        return known.wanted + count

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return what was granted after a cursor to the user who is signed in, up to `limit` rows or the bytes of a page.

        Only what that user may use at this moment; what was used or pruned meanwhile is left out, and what was signed by
        a key that was rotated out since. While a revocation snapshot is held that is not in force, nothing at all: the
        next one hands it out.
        """
        now = moment("now", now)
        whole("limit", limit, 1)
        with self._changes() as t:
            known = tools.known_tool(t, tool)
            permissions = tools.permissions_of(t, known)
            if permissions is None:
                raise RequestRefused("user_unknown", f"{known.name!r} is no user here any more: sign in as another")
            if whole("after", after) > known.granted:
                raise RequestRefused(
                    "cursor_unknown",
                    f"cursor {after} of {tool!r}, which has been granted {known.granted}: start from 0",
                )
            if not receiving.snapshot_held(t).is_in_force(self._keyring, receiving.delegations(t), now):
                return Page([], after, more=False)  # the next snapshot hands it out
            # A tool takes no page with a key in it that it does not believe: it could never sync again.
            kids = [entry.key.kid for entry in receiving.ring_of(t, self._keyring, now).entries]
            page = granting.granted_page(t, known, permissions, kids, after=after, limit=limit)
            facts = {"after": after, "next": page.next, "count": len(page.rows)}
            self._journal.write(t, [audit_entry("sync", now, tool=tool, user=known.name, **facts)])
        return page

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:
        """Return what is known of these devices of the tool's unit."""
        moment("now", now)
        with self._store.read() as t:
            rows = rows_of(
                t,
                f"SELECT {DEVICE} FROM server_device WHERE unit = ? AND device IN ({{values}})",  # noqa: S608
                list(dict.fromkeys(text("a device", name) for name in names)),
                (tools.known_tool(t, tool).unit,),
            )
            return [DeviceRecord(*row)._replace(level_verified=row[5] == 1) for row in rows]

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:
        """Take outcomes: each use is decided by the ledger once; one reported before gets the same code again.

        The use of material that this tool was not granted, or of other content under its identity, is a conflict: 801,
        and an alarm in the audit log. Raises RequestRefused `number_reused` for another outcome under a number that was
        taken, `quota_exceeded` for more bytes than a tool may report per day.
        """
        now = moment("now", now)
        for outcome in outcomes:
            reported.check_outcome(outcome)
        with self._changes() as t:
            known = tools.known_tool(t, tool)
            count = tools.fresh_numbers([one.number for one in outcomes], known.reported)
            before = [one for one in outcomes if one.number <= known.reported]
            tools.check_reused(tool, reported.differing_outcomes(t, tool, before))
            fresh = [one for one in outcomes if one.number > known.reported]
            if fresh:
                tools.charge(t, known, reported.bytes_of(fresh), self._quotas.outcome_bytes_a_day, now)
            codes = reported.decided(t, self._ledger, tool, fresh)
            reported.keep(t, tool, fresh, codes)
            tools.advance(t, tool, reported=known.reported + count)
            self._journal.write(
                t, [reported.entry_of(known, one, code, now) for one, code in zip(fresh, codes, strict=True)]
            )
            answer = reported.codes_given(t, tool, [one.number for one in before])
            answer |= dict(zip((one.number for one in fresh), codes, strict=True))
        return [answer[one.number] for one in outcomes]
