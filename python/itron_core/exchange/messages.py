"""Messages to a device and its answers. A message of wrong types raises; any other gets an answer."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.enums import Action, SecurityLevel
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SETTINGS_KEPT",
    "Answer",
    "Message",
    "Outcome",
    "TrustUpdate",
    "canonical",
    "check_message",
    "is_int",
    "is_value",
]

SETTINGS_KEPT = 64
NAME_LENGTH = 64
TEXT_LENGTH = 256
I64_MAX = 2**63 - 1


class Outcome(IntEnum):
    """The result of a message at a device."""

    DONE = 0
    REFUSED = 1
    REPLAYED = 2


class Message(NamedTuple):
    """A field tool's message: `token` is the secure command or the authorization that the action needs.

    `key_exchange` states that the tool performs a key exchange with it, as a change of mode requires. `level` is the
    level for set_security_level, if its command does not name one. `settings` are the values of a CONFIGURE action: up to
    64 names of up to 64 characters, each with a bool, an int64, or a text of up to 256 characters.
    """

    action: Action
    token: bytes | None = None
    reading_key: bytes | None = None
    key_exchange: bool = False
    level: SecurityLevel | None = None
    settings: Mapping[str, int | str] | None = None


class TrustUpdate(NamedTuple):
    """Delegations and a revocation snapshot, both signed, that a field tool brings to update a device's trust.

    The delegations replace the earlier ones; None keeps the revocations. A device accepts all of it or nothing.
    """

    delegations: tuple[bytes, ...] = ()
    revocations: bytes | None = None


class Answer(NamedTuple):
    """A device's answer: `reason` is 0, a `Reason` or a `Code`; `data` has plain values, and is empty if refused.

    A replay repeats the data of the first answer, with reason 800 (replay_identical).
    """

    outcome: Outcome
    reason: int
    data: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the data as deterministic JSON."""
        return canonical(self.data)


def canonical(plain: object) -> bytes:
    """Return deterministic JSON."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def check_message(message: object) -> None:
    """Raise InputError for a message that no field tool can send."""
    if isinstance(message, TrustUpdate):
        _check_update(message)
        return
    if not isinstance(message, Message):
        raise InputError(f"message: got {type(message).__name__}, expected a Message or a TrustUpdate")
    if not isinstance(message.action, Action):
        raise InputError(f"action: got {message.action!r:.80}, expected an Action")
    for name in ("token", "reading_key"):
        if not isinstance(getattr(message, name), bytes | None):
            raise InputError(f"{name}: got {type(getattr(message, name)).__name__}, expected bytes or None")
    if type(message.key_exchange) is not bool:
        raise InputError(f"key_exchange: got {message.key_exchange!r:.80}, expected True or False")
    level: object = message.level
    if level is not None and (type(level) is not SecurityLevel or level is SecurityLevel.UNKNOWN):
        raise InputError(f"level: got {level!r:.80}, expected a known SecurityLevel or None")
    _check_settings(message.settings)


def _check_update(update: TrustUpdate) -> None:
    delegations: object = update.delegations
    if not isinstance(delegations, tuple) or not all(isinstance(token, bytes) for token in delegations):
        raise InputError(f"delegations: got {type(delegations).__name__}, expected a tuple of bytes")
    if not isinstance(update.revocations, bytes | None):
        raise InputError(f"revocations: got {type(update.revocations).__name__}, expected bytes or None")


def _check_settings(settings: object) -> None:
    if settings is None:
        return
    if not isinstance(settings, dict) or len(settings) > SETTINGS_KEPT:
        raise InputError(f"settings: got {type(settings).__name__}, expected a dict of up to {SETTINGS_KEPT}")
    for name, value in settings.items():
        if not _is_setting(name, value):
            raise InputError(
                f"settings: got {name!r:.80} with {value!r:.80}, expected a name, and a bool, int64 or short text"
            )


def _is_setting(name: object, value: object) -> bool:
    # An action's name is its counter in the device's state, which no message may set.
    is_name = type(name) is str and 0 < len(name) <= NAME_LENGTH and name.upper() not in Action.__members__
    return is_name and is_value(value)


def is_value(value: object) -> bool:
    """Return whether a device's state can hold the value: a bool, an int64, or text of up to 256 characters."""
    if type(value) is str:
        return len(value) <= TEXT_LENGTH
    return type(value) is bool or is_int(value, -I64_MAX - 1, I64_MAX)


def is_int(value: object, low: int, high: int) -> bool:
    """Return whether the value is an int (not a bool) from `low` to `high`."""
    return type(value) is int and low <= value <= high
