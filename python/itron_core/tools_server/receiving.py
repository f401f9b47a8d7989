"""Receives what the security manager delivers: users, devices, delegations, revocations and material."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from itron_core._arguments import instance, text, whole
from itron_core._rust import Revocations, accepted_revocations
from itron_core.audit import audit_entry
from itron_core.enums import Code, Permission
from itron_core.errors import ExchangeError, InputError, TokenRefused
from itron_core.exchange.material import Material, Page
from itron_core.exchange.pages import MOST_NUMBER
from itron_core.exchange.records import MOST_DELEGATIONS, record_row
from itron_core.exchange.snapshots import NOTHING, Snapshot, snapshot_after
from itron_core.exchange.verification import judge, ring_at
from itron_core.policy import permission_for_scope
from itron_core.tools_server.tools import number_in, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core._rust import Keyring
    from itron_core.exchange.records import DeviceRecord
    from itron_core.stores.protocol import Transaction

__all__ = [
    "check_page",
    "check_users",
    "delegations",
    "forget",
    "held_page",
    "mark_used",
    "received",
    "replace_delegations",
    "replace_users",
    "ring_of",
    "set_devices",
    "snapshot_held",
    "take_page",
    "take_snapshot",
]

# A stored token may not be valid yet (the manager's clock may be ahead) or have expired, but all else must be right.
TIMELY_LATER = frozenset({Code.OK, Code.IAT_IN_FUTURE, Code.NOT_YET_VALID, Code.EXPIRED})
EVERY_PERMISSION = int(sum(Permission))
# No report can be about material that no tool was granted.
FORGET_UNGRANTED = (
    "DELETE FROM server_material WHERE expires_at < ? AND serial NOT IN (SELECT material FROM server_grant)"
)
# Granted material stays known without its token: a late report of its use is decided by it.
FORGET_TOKENS = "UPDATE server_material SET token = ? WHERE expires_at < ? AND length(token) > 0"


def received(t: Transaction, source: str) -> int:
    """Return the cursor up to which a source's material was received."""
    return number_in(t, "SELECT position FROM server_source WHERE source = ?", source)


def check_page(page: Page) -> None:
    """Raise InputError for rows of another type, and ExchangeError unless the serials rise to the end of the page."""
    for _, row in instance("page", page, Page).rows:
        instance("page.rows", row, Material)
    serials, end = [serial for serial, _ in page.rows], whole("page.next", page.next, 0, MOST_NUMBER)
    if any(later <= earlier for earlier, later in pairwise(serials)) or (serials and serials[-1] > end):
        raise ExchangeError(f"the page is out of order: its serials must rise to its end, {end}")


def take_page(t: Transaction, source: str, page: Page, ring: Keyring, now: int) -> tuple[list[int], int, list[bytes]]:
    """Store the rows after the cursor that verify; return one code per row, the first new serial, and audit entries."""
    cursor = received(t, source)
    fresh = [(index, row) for index, (serial, row) in enumerate(page.rows) if serial > cursor]
    codes = [int(Code.OK)] * len(page.rows)
    for (index, _), code in zip(fresh, judge([row for _, row in fresh], ring, now=now), strict=True):
        codes[index] = code
    start = _hold(t, [row for index, row in fresh if codes[index] in TIMELY_LATER])
    t.run(
        "INSERT INTO server_source (source, position) VALUES (?, ?)"
        " ON CONFLICT (source) DO UPDATE SET position = excluded.position",
        (source, max(cursor, page.next)),
    )
    refused = [
        audit_entry("material_refused", now, source=source, device=row.device, cti=_cti(row), code=codes[index])
        for index, row in fresh
        if codes[index] not in TIMELY_LATER
    ]
    return codes, start, refused


def held_page(t: Transaction, after: int, limit: int) -> Page:
    """Return material after a cursor, used or not, without the tokens."""
    found = t.rows(
        f"SELECT serial, {', '.join(Material._fields)} FROM server_material WHERE serial > ? ORDER BY serial LIMIT ?",  # noqa: S608
        (after, limit + 1),
    )
    rows = [(serial, Material(*plain(columns))._replace(token=b"")) for serial, *columns in found[:limit]]
    return Page(rows, rows[-1][0] if rows else after, len(found) > limit)


def _hold(t: Transaction, rows: Sequence[Material]) -> int:
    start = number_in(t, "SELECT max(serial) FROM server_material") + 1
    t.run_many(
        "INSERT INTO server_material (serial, cti, content, permissions, unit, device, token_type, actions, kid, sequence,"
        " epoch, issued_at, not_before, expires_at, session_seconds, token, used)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT (cti, kid) DO NOTHING",
        [
            (serial, row.cti, row.content, int(permission_for_scope(row.token_type, row.actions)), *row)
            for serial, row in enumerate(rows, start)
        ],
    )
    return start


def mark_used(t: Transaction, identities: Sequence[tuple[bytes, bytes]]) -> None:
    """Mark material as used, by key id and CWT id, so that it is granted no more."""
    t.run_many("UPDATE server_material SET used = 1 WHERE kid = ? AND cti = ?", identities)


def forget(t: Transaction, ended: int) -> int:
    """Delete the tokens of material that ended before a given time, and return their number."""
    return t.run(FORGET_UNGRANTED, (ended,)) + t.run(FORGET_TOKENS, (b"", ended))


def check_users(users: Iterable[tuple[str, str, int]]) -> dict[str, tuple[str, int]]:
    """Return unit and permissions by name. Raises InputError for an invalid user or a duplicate name."""
    found: dict[str, tuple[str, int]] = {}
    for name, unit, permissions in users:
        if text("name of a user", name) in found:
            raise InputError(f"users: duplicate name {name!r}")
        found[name] = text("unit of a user", unit), whole("permissions", permissions, 0, EVERY_PERMISSION)
    return found


def replace_users(t: Transaction, users: dict[str, tuple[str, int]]) -> list[str]:
    """Replace all users; return the names of those who lost permissions, changed their unit, or were removed."""
    before = {
        name: (unit, permissions)
        for name, unit, permissions in t.rows("SELECT name, unit, permissions FROM server_user")
    }
    t.run("DELETE FROM server_user")
    t.run_many(
        "INSERT INTO server_user (name, unit, permissions) VALUES (?, ?, ?)",
        [(name, unit, permissions) for name, (unit, permissions) in users.items()],
    )
    return [
        name
        for name, (unit, permissions) in before.items()
        if users.get(name, ("", 0))[0] != unit or permissions & ~users[name][1]
    ]


def set_devices(t: Transaction, records: Iterable[DeviceRecord]) -> int:
    """Add or update devices, and return their number."""
    rows = [record_row(record) for record in records]
    t.run_many(
        "INSERT INTO server_device (device, unit, device_class, mode, security_level, level_verified, epoch, installation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
        " unit = excluded.unit, device_class = excluded.device_class, mode = excluded.mode,"
        " security_level = excluded.security_level, level_verified = excluded.level_verified,"
        " epoch = excluded.epoch, installation = excluded.installation",
        rows,
    )
    return len(rows)


def delegations(t: Transaction) -> list[bytes]:
    """Return the delegations as delivered."""
    return [bytes(token) for (token,) in t.rows("SELECT token FROM server_delegation ORDER BY position")]


def ring_of(t: Transaction, keyring: Keyring, now: int) -> Keyring:
    """Return the keyring with the delegations that are in force."""
    return ring_at(keyring, delegations(t), now)


def replace_delegations(t: Transaction, tokens: Sequence[bytes], keyring: Keyring, now: int) -> None:
    """Replace the delegations. Raises TokenRefused unless each is valid, now or later."""
    if len(tokens) > MOST_DELEGATIONS:
        raise InputError(f"delegations: got {len(tokens)}, expected at most {MOST_DELEGATIONS}")
    for token in tokens:
        try:
            keyring.with_delegations([token], now=now)
        except TokenRefused as refused:
            if refused.code != Code.NOT_YET_VALID:
                raise
    t.run("DELETE FROM server_delegation")
    t.run_many("INSERT INTO server_delegation (position, token) VALUES (?, ?)", list(enumerate(tokens)))


def snapshot_held(t: Transaction) -> Snapshot:
    """Return the stored revocation snapshot, in force or not."""
    found = t.rows("SELECT token, version, accepted_at FROM server_revocation")
    return Snapshot(bytes(found[0][0]), found[0][1], found[0][2]) if found else NOTHING


def take_snapshot(t: Transaction, token: bytes, keyring: Keyring, now: int) -> int:
    """Store a newer revocation snapshot, verified under the stored one, and return its version.

    An excessive version loses its effect when the key that signed it is no longer trusted. Raises TokenRefused if it is
    invalid, and ItronCoreError if it is older than the stored one, or differs from it under the same version.
    """
    held, trusted = snapshot_held(t), delegations(t)
    ring = ring_at(keyring, trusted, now)
    Revocations.from_token(token, ring, now=now)
    found = snapshot_after(held, token, keyring, delegations=(trusted, trusted), moment=now)
    if found.token != token:
        # The error names both versions.
        Revocations.from_token(token, ring, now=now, revocations=accepted_revocations(held.token or b""))
    t.run("DELETE FROM server_revocation")
    t.run(
        "INSERT INTO server_revocation (one, version, accepted_at, token) VALUES (1, ?, ?, ?)",
        (found.version, found.accepted_at, found.token),
    )
    return found.version


def _cti(row: Material) -> bytes:
    try:
        return row.cti
    except (InputError, OverflowError):
        return b""
