"""Decides who may request which material, and which devices can take it. Pure functions; nothing is stored here."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from itron_core.enums import DEVICE_TOKEN_TYPES, Action, ActionGroup, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.errors import InputError
from itron_core.policy import never_reason, permission_for, permission_for_scope

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from itron_core.exchange.records import DeviceRecord

__all__ = [
    "actions_of",
    "check_content",
    "command_of",
    "is_critical",
    "missing_permissions",
    "session_of",
    "split_devices",
    "warnings_of",
]

DEFAULT_SESSION = 3_600
EVERY_ACTION = sum(1 << action for action in Action)
SERVICE_ACTIONS = sum(1 << action for action in Action if action.group is ActionGroup.SERVICE)
LEVELS = tuple(level.name.lower() for level in SecurityLevel if level is not SecurityLevel.UNKNOWN)


def actions_of(scope: int) -> list[Action]:
    """Return the actions of a bit set. Raises InputError for an unknown bit."""
    if scope < 0 or scope & ~EVERY_ACTION:
        raise InputError(f"actions: got {scope:#x}, expected a bit set of known actions")
    return [action for action in Action if scope >> action & 1]


def is_critical(scope: int) -> bool:
    """Return whether a scope connects or disconnects: it has any action of the SERVICE group."""
    return bool(scope & SERVICE_ACTIONS)


def check_content(token_type: str, actions: Sequence[Action], argument: str) -> None:
    """Raise InputError for an unknown type, a command of several actions, or an argument that is not allowed."""
    if token_type not in DEVICE_TOKEN_TYPES:
        raise InputError(f"token_type: got {token_type!r}, expected one of {', '.join(DEVICE_TOKEN_TYPES)}")
    if not isinstance(argument, str):
        raise InputError(f"argument: got {type(argument).__name__}, expected str")
    if not actions or (token_type == "secure_command" and len(actions) != 1):
        most = "exactly 1 for a secure command" if token_type == "secure_command" else "1 or more"
        raise InputError(f"actions: got {len(actions)}, expected {most}")
    sets_level = token_type == "secure_command" and actions[0] is Action.SET_SECURITY_LEVEL
    if sets_level and argument not in LEVELS:
        raise InputError(f"argument: got the level {argument!r}, expected one of {', '.join(LEVELS)}")
    if argument and (token_type != "secure_command" or not argument.isascii()):
        raise InputError(
            f"argument: got {argument!r} for a {token_type}, expected ASCII text, for a secure command only"
        )


def command_of(actions: Sequence[Action], argument: str) -> bytes:
    """Return the content of a secure command: the action's name, and its argument after a colon."""
    name = actions[0].name.lower()
    return f"{name}:{argument}".encode("ascii") if argument else name.encode("ascii")


def session_of(token_type: str, actions: Sequence[Action], seconds: int | None) -> int | None:
    """Return the length of the session that a token opens. Raises InputError for a length if it opens none."""
    opens = token_type == "authorization" or (token_type == "secure_command" and list(actions) == [Action.OPEN_SESSION])
    if not opens and seconds is not None:
        raise InputError("session_seconds: not allowed for a token that opens no session")
    return (DEFAULT_SESSION if seconds is None else seconds) if opens else None


def missing_permissions(token_type: str, actions: Sequence[Action], permissions: Permission) -> str:
    """Return the names of the missing permissions, or an empty text if none is missing."""
    needed = permission_for_scope(token_type, sum(1 << action for action in set(actions)))
    return ", ".join(one.name.lower() for one in needed & ~permissions if one.name)


def warnings_of(token_type: str, actions: Sequence[Action]) -> tuple[str, ...]:
    """Return warnings about an allowed but unusual request: an authorization whose actions need different permissions.

    It is granted only to a user who has all of them (docs/exchange.md, Grants).
    """
    needed = sorted(
        {permission.name.lower() for action in actions for permission in permission_for(action) if permission.name}
    )
    if token_type != "authorization" or len(needed) < 2:  # noqa: PLR2004  # it needs at least two permissions
        return ()
    return (
        f"the actions need different permissions ({', '.join(needed)}): it is granted only to users who have all of them",
    )


def split_devices(
    devices: Sequence[str],
    known: Mapping[str, tuple[DeviceRecord, SecurityLevel]],
    scope: int,
    retired: Collection[str] = (),
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the devices that can take the material, each once, and each other device with the name of the reason.

    `known` maps the known devices to their record and pending level; `retired` are out of use.
    """
    taken: dict[str, None] = {}
    refused = []
    for device in devices:
        if device not in known:
            refused.append((device, "device_retired" if device in retired else "device_unknown"))
        elif device in taken:
            refused.append((device, "named_twice"))
        elif reason := _never(known[device], scope):
            refused.append((device, reason))
        else:
            taken[device] = None
    return list(taken), refused


def _never(known: tuple[DeviceRecord, SecurityLevel], scope: int) -> str:
    record, pending = known
    return _why_never(record.device_class, record.mode, record.security_level, pending, scope)


def _never_in(device_class: int, mode: int, level: int, pending: int, scope: int) -> str:
    """Return why this is possible neither at the current nor at the pending level; empty if it is possible.

    An unknown level refuses nothing here: the field tool checks again before use.
    """
    levels = {SecurityLevel(level), SecurityLevel(pending)} - {SecurityLevel.UNKNOWN} or {SecurityLevel.COMMAND}
    for action in actions_of(scope):
        reasons = [never_reason(DeviceClass(device_class), Mode(mode), one, action) for one in sorted(levels)]
        if all(reasons):
            return reasons[0].name.lower()
    return ""


# Many devices share few situations.
_why_never = lru_cache(maxsize=4096)(_never_in)
