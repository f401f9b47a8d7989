"""Roles, users and devices of a security manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from itron_core._arguments import member, text, whole
from itron_core.enums import Permission, SecurityLevel
from itron_core.errors import InputError, RequestRefused
from itron_core.exchange.identity import device_id
from itron_core.exchange.records import DeviceRecord, record_row
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core.stores.protocol import Row, Transaction

__all__ = [
    "devices",
    "known_devices",
    "officer_of",
    "remove_role",
    "remove_user",
    "retire",
    "retired",
    "roles",
    "set_devices",
    "set_pending_level",
    "set_role",
    "set_user",
    "take_state",
    "users",
]

ALL_PERMISSIONS = sum(Permission)
DEVICE = "device, unit, device_class, mode, security_level, level_verified, epoch, installation"


def set_role(t: Transaction, name: str, permissions: int, *, officer: bool) -> None:
    """Add or change a role. Raises InputError for unknown permissions."""
    text("name", name)
    whole("permissions", permissions, 0, ALL_PERMISSIONS)
    t.run(
        "INSERT INTO manager_role (name, permissions, officer) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " permissions = excluded.permissions, officer = excluded.officer",
        (name, int(permissions), int(officer)),
    )


def remove_role(t: Transaction, name: str) -> None:
    """Remove an unused role. Raises RequestRefused (`role_unknown`, `role_in_use`)."""
    text("name", name)
    users_of_role = [user for (user,) in t.rows("SELECT name FROM manager_user WHERE role = ? ORDER BY name", (name,))]
    if users_of_role:
        raise RequestRefused(
            "role_in_use",
            f"role {name!r} is in use by {', '.join(map(repr, users_of_role[:5]))}: change these users first",
        )
    if not t.run("DELETE FROM manager_role WHERE name = ?", (name,)):
        raise RequestRefused("role_unknown", f"unknown role {name!r}")


def roles(t: Transaction) -> list[tuple[str, int, bool]]:
    """Return every role: its name, its permissions, and whether its users are officers."""
    found = t.rows("SELECT name, permissions, officer FROM manager_role ORDER BY name")
    return [(name, permissions, bool(officer)) for name, permissions, officer in found]


def set_user(t: Transaction, name: str, role: str, unit: str) -> None:
    """Add or change a user. Raises RequestRefused (`role_unknown`)."""
    for what, value in (("name", name), ("role", role), ("unit", unit)):
        text(what, value)
    if not t.rows("SELECT 1 FROM manager_role WHERE name = ?", (role,)):
        raise RequestRefused("role_unknown", f"unknown role {role!r}: add it first with set_role")
    t.run(
        "INSERT INTO manager_user (name, role, unit) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " role = excluded.role, unit = excluded.unit",
        (name, role, unit),
    )


def remove_user(t: Transaction, name: str) -> None:
    """Remove a user. Raises RequestRefused (`user_unknown`)."""
    if not t.run("DELETE FROM manager_user WHERE name = ?", (text("name", name),)):
        raise RequestRefused("user_unknown", f"unknown user {name!r}")


def users(t: Transaction) -> list[tuple[str, str, int]]:
    """Return every user: name, unit and permissions."""
    found = t.rows(
        "SELECT u.name, u.unit, r.permissions FROM manager_user u JOIN manager_role r ON r.name = u.role ORDER BY u.name"
    )
    return [(name, unit, permissions) for name, unit, permissions in found]


def officer_of(t: Transaction, name: str) -> tuple[str, Permission]:
    """Return the unit and the permissions of an officer. Raises RequestRefused (`not_an_officer`) for anybody else."""
    found = t.rows(
        "SELECT u.unit, r.permissions, r.officer FROM manager_user u JOIN manager_role r ON r.name = u.role"
        " WHERE u.name = ?",
        (text("officer", name),),
    )
    if not found or not found[0][2]:
        raise RequestRefused("not_an_officer", f"{name!r} is not an officer: ask an officer, or change the role")
    return found[0][0], Permission(found[0][1])


def set_devices(
    t: Transaction,
    records: Iterable[DeviceRecord],
    pending_level: SecurityLevel | Mapping[str, SecurityLevel] | None,
) -> int:
    """Add or update devices, and return their number. Raises InputError, and then stores none.

    A lower epoch than the known one means another meter in its place: its installation number rises by one. One that was
    retired is in use again.
    """
    rows = [record_row(record) for record in records]
    levels = _pending_levels(pending_level, [row[0] for row in rows])
    t.run_many(
        f"INSERT INTO manager_device AS known ({DEVICE}, pending_level, key_version, told_sequence, told_at, retired)"  # noqa: S608
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 3, 1, 0, 0, 0) ON CONFLICT (device) DO UPDATE"
        " SET unit = excluded.unit, device_class = excluded.device_class, mode = excluded.mode,"
        " security_level = excluded.security_level, level_verified = excluded.level_verified,"
        " epoch = excluded.epoch, retired = 0, installation = CASE"
        " WHEN excluded.installation > known.installation THEN excluded.installation"
        " WHEN excluded.epoch < known.epoch THEN known.installation + 1 ELSE known.installation END",
        rows,
    )
    t.run_many("UPDATE manager_device SET pending_level = ? WHERE device = ?", levels)
    return len(rows)


def set_pending_level(t: Transaction, level: SecurityLevel, names: Iterable[str]) -> None:
    """Store the level that devices are about to have."""
    t.run_many("UPDATE manager_device SET pending_level = ? WHERE device = ?", [(int(level), name) for name in names])


def take_state(t: Transaction, device: str, state: Sequence[int], source: Sequence[int]) -> None:
    """Store a device's reported state (epoch, key version, level, mode), with the sequence number and time of the report."""
    t.run(
        "UPDATE manager_device SET epoch = ?, key_version = ?, security_level = ?, mode = ?, level_verified = 1,"
        " pending_level = CASE WHEN pending_level = ? THEN 3 ELSE pending_level END, told_sequence = ?, told_at = ?"
        " WHERE device = ?",
        (*state, state[2], *source, device),
    )


def retire(t: Transaction, names: Iterable[str]) -> list[str]:
    """Retire devices and return their names, each once. Raises RequestRefused (`device_unknown`), and then retires none."""
    terms = list(dict.fromkeys(text("devices", name) for name in names))
    sql = "SELECT device FROM manager_device WHERE device IN ({values})"
    known = {device for (device,) in rows_of(t, sql, [name for name in terms if _is_device(name)])}
    if unknown := [name for name in terms if name not in known]:
        raise RequestRefused("device_unknown", f"unknown device {unknown[0]!r}")
    t.run_many("UPDATE manager_device SET retired = 1 WHERE device = ?", [(name,) for name in terms])
    return terms


def retired(t: Transaction) -> set[str]:
    """Return the retired devices."""
    return {device for (device,) in t.rows("SELECT device FROM manager_device WHERE retired = 1")}


def devices(t: Transaction) -> list[DeviceRecord]:
    """Return the records of all devices, including retired ones."""
    return [_record(row) for row in t.rows(f"SELECT {DEVICE} FROM manager_device ORDER BY device")]  # noqa: S608


def known_devices(t: Transaction, names: Sequence[str], unit: str) -> dict[str, tuple[DeviceRecord, SecurityLevel]]:
    """Return the devices in use in this unit, each with its record and its pending level."""
    rows = rows_of(
        t,
        f"SELECT {DEVICE}, pending_level FROM manager_device WHERE unit = ? AND retired = 0 AND device IN ({{values}})",  # noqa: S608
        [name for name in dict.fromkeys(names) if _is_device(name)],
        (unit,),
    )
    return {row[0]: (_record(row[:-1]), SecurityLevel(row[-1])) for row in rows}


def _record(row: Row) -> DeviceRecord:
    return DeviceRecord(*row)._replace(level_verified=row[5] == 1)


def _is_device(name: str) -> bool:
    try:
        return bool(device_id(name))
    except InputError:
        return False


def _pending_levels(
    given: SecurityLevel | Mapping[str, SecurityLevel] | None, names: list[str]
) -> list[tuple[int, str]]:
    if given is None:
        return []
    by_device: Mapping[str, Any] = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    return [(int(member("pending_level", level, SecurityLevel)), device) for device, level in by_device.items()]
