"""Who may ask for which material, and which devices can take it: pure functions of what is known. Nothing is stored here."""

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
    "check_kind",
    "command_of",
    "is_critical",
    "lacking",
    "session_of",
    "sorted_out",
    "warnings_of",
]

DEFAULT_SESSION = 3_600
EVERY_ACTION = sum(1 << action for action in Action)
SERVICE_ACTIONS = sum(1 << action for action in Action if action.group is ActionGroup.SERVICE)
LEVELS = tuple(level.name.lower() for level in SecurityLevel if level is not SecurityLevel.UNKNOWN)


def actions_of(scope: int) -> list[Action]:
    """Return the actions of a bit set; raises InputError for a bit that is no action."""
    if scope < 0 or scope & ~EVERY_ACTION:
        raise InputError(f"actions {scope:#x}; wanted a bit set of the actions there are")
    return [action for action in Action if scope >> action & 1]


def is_critical(scope: int) -> bool:
    """Say whether a scope connects or disconnects: any action of the SERVICE group."""
    return bool(scope & SERVICE_ACTIONS)


def check_kind(token_type: str, actions: Sequence[Action], argument: str) -> None:
    """Raise InputError for a type that is none, a command of several actions, or an argument where none belongs."""
    if token_type not in DEVICE_TOKEN_TYPES:
        raise InputError(f"a request for {token_type!r}; wanted one of {', '.join(DEVICE_TOKEN_TYPES)}")
    if not isinstance(argument, str):
        raise InputError(f"an argument of type {type(argument).__name__}; wanted a str")
    if not actions or (token_type == "secure_command" and len(actions) != 1):
        raise InputError(f"a request for {len(actions)} actions; wanted one for a command, one or more for the others")
    sets_level = token_type == "secure_command" and actions[0] is Action.SET_SECURITY_LEVEL
    if sets_level and argument not in LEVELS:
        raise InputError(f"a level {argument!r} to set; wanted argument= one of {', '.join(LEVELS)}")
    if argument and (token_type != "secure_command" or not argument.isascii()):
        raise InputError(f"the argument {argument!r} of a {token_type}; wanted ASCII, and of a secure command only")


def command_of(actions: Sequence[Action], argument: str) -> bytes:
    """Return what a secure command says to its device: the action's name, and behind a colon its argument."""
    name = actions[0].name.lower()
    return f"{name}:{argument}".encode("ascii") if argument else name.encode("ascii")


def session_of(token_type: str, actions: Sequence[Action], seconds: int | None) -> int | None:
    """Return the session's length of what opens one; raises InputError for a length where nothing is opened."""
    opens = token_type == "authorization" or (token_type == "secure_command" and list(actions) == [Action.OPEN_SESSION])
    if not opens and seconds is not None:
        raise InputError("a session's length for what opens none; wanted None")
    return (DEFAULT_SESSION if seconds is None else seconds) if opens else None


def lacking(token_type: str, actions: Sequence[Action], permissions: Permission) -> str:
    """Return the names of the permissions that this wants and that are not there; empty where none is missing."""
    wanted = permission_for_scope(token_type, sum(1 << action for action in set(actions)))
    return ", ".join(one.name.lower() for one in wanted & ~permissions if one.name)


def warnings_of(token_type: str, actions: Sequence[Action]) -> tuple[str, ...]:
    """Return what is unusual about a request and is allowed: an authorization whose actions need different permissions.

    Only a user who has all of them is granted it (docs/exchange.md, Grants).
    """
    wanted = sorted(
        {permission.name.lower() for action in actions for permission in permission_for(action) if permission.name}
    )
    if token_type != "authorization" or len(wanted) < 2:  # noqa: PLR2004  # two permissions and more
        return ()
    return (f"the actions need different permissions ({', '.join(wanted)}): only who has all of them is granted it",)


def sorted_out(
    devices: Sequence[str],
    known: Mapping[str, tuple[DeviceRecord, SecurityLevel]],
    scope: int,
    retired: Collection[str] = (),
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the devices that can take it, each once, and the others each with the name of the reason.

    `known` holds what there is of these devices, with the level that each is about to have; `retired` are out of use.
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
    """Return why this can never be taken at the level now, nor at the one about to be; empty where it can.

    A level that nobody knows refuses nothing here: to issue is not to use, and the field tool asks again.
    """
    levels = {SecurityLevel(level), SecurityLevel(pending)} - {SecurityLevel.UNKNOWN} or {SecurityLevel.COMMAND}
    for action in actions_of(scope):
        reasons = [never_reason(DeviceClass(device_class), Mode(mode), one, action) for one in sorted(levels)]
        if all(reasons):
            return reasons[0].name.lower()
    return ""


# The situations are few where the devices are many.
_why_never = lru_cache(maxsize=4096)(_never_in)
