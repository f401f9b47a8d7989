"""The tools server (FDM Tools): stores the issued material of business units and passes it to field tools on sync.

Every call can be repeated with the same result, so a connection may break at any point. Each tool reads its own stream,
by serial, which only grows.
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
    """A tools server over a store; `keyring` holds the roots, and delegations are delivered with the material."""

    def __init__(
        self, store: Store, keyring: Keyring, *, log: AuditLog | None = None, quotas: Quotas | None = None
    ) -> None:
        self._store, self._keyring, self._quotas = store, keyring, quotas or Quotas()
        store.migrate("server", STEPS)
        self._ledger = Ledger(store)
        self._journal = Journal(store, "server", log)

    @contextmanager
    def _changes(self) -> Iterator[Transaction]:
        """Open a write transaction, and publish its audit entries after it is committed."""
        with self._store.write() as t:
            yield t
        self._journal.publish()

    # --- The security manager's side ---

    def received(self, source: str) -> int:
        """Return the cursor up to which a source's material was received."""
        text("source", source)
        with self._store.read() as t:
            return receiving.received(t, source)

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Receive a page of material and return one `Code` per row. Only tokens that verify are stored.

        Rows up to the source's cursor were received before: their code is 0. Raises ExchangeError for a page whose
        serials do not rise to its end.
        """
        now = moment("now", now)
        text("source", source)
        receiving.check_page(page)
        with self._changes() as t:
            ring = receiving.ring_of(t, self._keyring, now)
            codes, start, refused = receiving.take_page(t, source, page, ring, now)
            if page.rows:
                granting.grant(t, now, "m.serial >= ?", start)
            self._journal.write(t, refused)
        return codes

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace all users: name, business unit, permissions (a bit set). Raises InputError for an invalid user.

        Removing a permission ends the command requests and grants that need it.
        """
        now = moment("now", now)
        given = receiving.check_users(users)
        with self._changes() as t:
            granting.end_grants(t, receiving.replace_users(t, given))
            self._journal.write(t, [audit_entry("users_set", now, count=len(given))])

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add or update devices."""
        now = moment("now", now)
        with self._changes() as t:
            count = receiving.set_devices(t, records)
            self._journal.write(t, [audit_entry("devices_set", now, count=count)])

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations. Raises TokenRefused if one of them is invalid.

        A delegation may start later, and a key may have two: the one that ends last counts as soon as it is in force.
        """
        now = moment("now", now)
        with self._changes() as t:
            receiving.replace_delegations(t, tokens, self._keyring, now)
            self._journal.write(t, [audit_entry("delegations_set", now, count=len(tokens))])

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Store a newer revocation snapshot, verified under the stored one, even if that has expired.

        An excessive version loses its effect when the key that signed it is no longer trusted. Raises TokenRefused if it
        is invalid, and ItronCoreError if it is older than the stored one, or differs from it under the same version.
        """
        now = moment("now", now)
        with self._changes() as t:
            version = receiving.take_snapshot(t, token, self._keyring, now)
            self._journal.write(t, [audit_entry("revocations_set", now, version=version)])

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return the outcomes reported after a cursor. A code of 801 marks a use that is not to be trusted.

        A page is limited in bytes, too. Raises RequestRefused `cursor_unknown` for a cursor beyond the last outcome: this
        store was put back to an older state.
        """
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return reported.page_of(t, after, limit, incarnation(t))

    def held_by(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return material granted to a tool after a cursor that it may still hold unused, without the tokens.

        It is all that the holder of a lost or stolen tool can use: every user's material, including ended grants.
        """
        text("tool", tool)
        whole("after", after)
        whole("limit", limit, 1)
        now = moment("now", now)
        with self._store.read() as t:
            return granting.held_page(t, tool, after=after, limit=limit, now=now)

    def prune(self, *, before: int, now: int, dry_run: bool = False) -> int:
        """Delete the tokens of material that ended before a time in seconds since 1970, and return their number.

        Material that no tool was granted is deleted completely. For the rest, everything needed to judge late reports
        stays: grants, outcomes and the ledger. Raises InputError for a time in the future. With `dry_run` it only counts.
        """
        ended, count = check_before(before, now), 0
        with suppress(Undone), self._changes() as t:
            count = receiving.forget(t, ended)
            if dry_run:
                raise Undone
            self._journal.write(t, [audit_entry("pruned", now, before=before, count=count)])
        return count

    # --- Sign-ins, bearers, and verification as a service ---

    def signed_in(self, tool: str) -> tuple[str, str] | None:
        """Return the last user who signed in at a tool, and the tool's unit; None for an unknown tool."""
        with self._store.read() as t:
            return tools.signed_in(t, tool)

    def revoke_bearers(self, *, ids: Iterable[str] = (), tools: Iterable[str] = (), now: int) -> None:
        """Refuse bearer tokens from now on: by id, or all that were issued to these field tools up to now."""
        now = moment("now", now)
        named, lost = [text("ids", one) for one in ids], [text("tools", one) for one in tools]
        with self._changes() as t:
            access.refuse(t, ids=named, tools=lost, now=now)
            entries = [audit_entry("bearer_revoked", now, bearer=one) for one in named]
            self._journal.write(t, [*entries, *(audit_entry("bearers_revoked", now, tool=one) for one in lost)])

    def keep_bearer(self, made: BearerRecord, *, now: int) -> None:
        """Record a bearer token for this server, so that `bearers` lists it. Raises InputError for an invalid record.

        The service also accepts unrecorded bearers: their signature decides.
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
        """Return the recorded bearer tokens, oldest first; the tokens themselves are not stored."""
        with self._store.read() as t:
            return access.bearers(t)

    def remove_tool(self, tool: str, *, now: int) -> None:
        """Remove a field tool for good: it cannot sign in, report or fetch, and its name cannot be used again.

        Raises RequestRefused `tool_unknown` for a tool that has neither signed in nor a recorded bearer.
        """
        now = moment("now", now)
        with self._changes() as t:
            access.remove_tool(t, text("tool", tool), now)
            access.refuse(t, ids=(), tools=(tool,), now=now)
            granting.end_tool(t, tool)
            self._journal.write(t, [audit_entry("tool_removed", now, tool=tool)])

    def tools(self) -> list[ToolRecord]:
        """Return a record of each field tool that has signed in or was removed, by name."""
        with self._store.read() as t:
            return tools.records(t, access.removed_tools(t))

    def users(self) -> list[tuple[str, str, int]]:
        """Return every user who may sign in: name, unit and permissions."""
        with self._store.read() as t:
            found = t.rows("SELECT name, unit, permissions FROM server_user ORDER BY name")
        return [(name, unit, permissions) for name, unit, permissions in found]

    def all_devices(self) -> list[DeviceRecord]:
        """Return the device records of all units."""
        with self._store.read() as t:
            found = t.rows(f"SELECT {DEVICE} FROM server_device ORDER BY device")  # noqa: S608
        return [DeviceRecord(*row)._replace(level_verified=row[5] == 1) for row in found]

    def materials(self, after: int, limit: int) -> Page:
        """Return stored material after the cursor `after`, used or not, without the tokens."""
        whole("after", after)
        whole("limit", limit, 1)
        with self._store.read() as t:
            return receiving.held_page(t, after, limit)

    def bearer_revoked(self, token_id: str, tool: str, issued_at: int) -> bool:
        """Return whether a bearer token was revoked."""
        with self._store.read() as t:
            return access.is_refused(t, token_id, tool, issued_at)

    def verify(self, tokens: Sequence[bytes], *, now: int, token_type: str = "authorization") -> list[int]:
        """Return one `Code` per token, by the delegations and revocations in force here."""
        now = moment("now", now)
        with self._store.read() as t:
            ring = receiving.ring_of(t, self._keyring, now)
            held = receiving.snapshot_held(t).token
        try:
            revocations = None if held is None else Revocations.from_token(held, ring, now=now)
        except TokenRefused:
            # Expired or untrusted revocations cannot prove that a token is not revoked.
            codes = verify_tokens(tokens, ring, now=now, token_type=token_type)["code"].to_pylist()
            return [int(Code.SNAPSHOT_STALE) if code == Code.OK else code for code in codes]
        results = verify_tokens(tokens, ring, now=now, token_type=token_type, revocations=revocations)
        return list(results["code"].to_pylist())

    # --- The field tool's side: Exchange ---

    def snapshot(self, tool: str, user: str, *, now: int, unit: str | None = None) -> SignIn:
        """Sign a user in. A tool belongs to the unit of its first user; with `unit`, the user must belong to it."""
        now = moment("now", now)
        text("tool", tool)
        text("user", user)
        with self._changes() as t:
            known = t.rows("SELECT unit, permissions FROM server_user WHERE name = ?", (user,))
            if not known:
                raise RequestRefused("user_unknown", f"unknown user {user!r}: a security officer must add this user")
            ((own, permissions),) = known
            # Checked before the tool is bound to the unit: a refusal must change nothing.
            if unit not in {None, own}:
                raise RequestRefused(
                    "unit_mismatch",
                    f"the bearer token belongs to unit {unit!r}, the user to another: request a new bearer token",
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

    def request(self, tool: str, requests: Sequence[CommandRequest], *, now: int) -> int:
        """Store new command requests, and grant the material that is already here.

        Requests that the signed-in user may not make, or for a device of another unit, are accepted but never granted.
        Raises RequestRefused: `number_reused` if a number was used for a different request, `quota_exceeded` for too many.
        """
        now = moment("now", now)
        for one in requests:
            granting.check_request(one)
        with self._changes() as t:
            known = tools.known_tool(t, tool)
            count = tools.fresh_numbers([one.number for one in requests], known.wanted)
            before = [one for one in requests if one.number <= known.wanted]
            tools.check_reused(tool, granting.differing_requests(t, tool, before))
            fresh = [one for one in requests if one.number > known.wanted]
            permissions = Permission(tools.permissions_of(t, known) or 0)
            permitted = granting.take(t, known, fresh, permissions, self._quotas.command_requests)
            if permitted:
                granting.grant(t, now, "w.tool = ? AND w.number > ?", tool, known.wanted)
            self._journal.write(t, [*granting.entries_of(known, fresh, permitted, now)])
        return known.wanted + count

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return material granted after a cursor to the signed-in user, up to `limit` rows or the bytes of a page.

        It holds only what this user may use now, without material that was used or pruned, or whose key is no longer
        delegated. While the stored revocation snapshot is not in force it holds nothing; the next snapshot releases it.
        """
        now = moment("now", now)
        whole("limit", limit, 1)
        with self._changes() as t:
            known = tools.known_tool(t, tool)
            permissions = tools.permissions_of(t, known)
            if permissions is None:
                raise RequestRefused("user_unknown", f"the user {known.name!r} was removed: sign in as another user")
            if whole("after", after) > known.granted:
                raise RequestRefused(
                    "cursor_unknown",
                    f"cursor {after} of {tool!r} lies beyond its last grant, {known.granted}: start from 0",
                )
            if not receiving.snapshot_held(t).is_in_force(self._keyring, receiving.delegations(t), now):
                return Page([], after, more=False)  # the next snapshot releases it
            # A tool rejects a page with an untrusted key: it could never sync again.
            kids = [entry.key.kid for entry in receiving.ring_of(t, self._keyring, now).entries]
            page = granting.granted_page(t, known, permissions, kids, after=after, limit=limit)
            facts = {"after": after, "next": page.next, "count": len(page.rows)}
            self._journal.write(t, [audit_entry("sync", now, tool=tool, user=known.name, **facts)])
        return page

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:
        """Return the records of these devices, as far as they belong to the tool's unit."""
        moment("now", now)
        with self._store.read() as t:
            rows = rows_of(
                t,
                f"SELECT {DEVICE} FROM server_device WHERE unit = ? AND device IN ({{values}})",  # noqa: S608
                list(dict.fromkeys(text("names", name) for name in names)),
                (tools.known_tool(t, tool).unit,),
            )
            return [DeviceRecord(*row)._replace(level_verified=row[5] == 1) for row in rows]

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:
        """Store outcomes; the ledger decides each use once, and a repeated outcome gets the same code again.

        Using material that this tool was not granted, or different content under its identity, is a conflict: 801, and
        an alarm in the audit log. Raises RequestRefused: `number_reused` if a number was used for a different outcome,
        `quota_exceeded` for more bytes than a tool may report per day.
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
                tools.charge(t, known, reported.bytes_of(fresh), self._quotas.outcome_bytes_per_day, now)
            codes = reported.decided(t, self._ledger, tool, fresh)
            reported.keep(t, tool, fresh, codes)
            tools.advance(t, tool, reported=known.reported + count)
            self._journal.write(
                t, [reported.entry_of(known, one, code, now) for one, code in zip(fresh, codes, strict=True)]
            )
            answer = reported.codes_given(t, tool, [one.number for one in before])
            answer |= dict(zip((one.number for one in fresh), codes, strict=True))
        return [answer[one.number] for one in outcomes]
