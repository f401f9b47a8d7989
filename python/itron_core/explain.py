"""One row of a route in sentences: the decision, why, what is missing and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from itron_core.enums import Action, Code, Decision, DeviceClass, Mode, Need, Reason, SecurityLevel
from itron_core.policy import PolicyOptions, needs

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Row", "because", "explain", "reason_name"]

FIRST_POLICY_REASON = 1000

HOW_TO_GET = {
    Need.PERMISSION: "a permission that the user does not hold: it comes with a role's snapshot at the next sync",
    Need.ON_MENU: "the action on the device's menu",
    Need.READING_KEY: "a reading key for this device: Request Commands retrieves it",
    Need.OPEN_SESSION: "an open session on this device",
    Need.SECURE_COMMAND: "a secure command for this device: Request Commands retrieves it",
    Need.AUTHORIZATION: "a signed authorization for this device: Request Commands retrieves it",
    Need.KEY_EXCHANGE: "a key exchange with this device",
    Need.RESYNC: "a sync with the tools server, since the uses before a sync are spent",
    Need.NEVER: "nothing that can be fetched: no material makes this possible",
}

WHY = {
    Reason.PERMISSION_DENIED: "the user does not hold the permission for this action",
    Reason.NOT_ON_MENU: "the action is not on this device's menu",
    Reason.SERVICE_UNAVAILABLE_UNSECURED: "service commands are unavailable on a device that is not secured",
    Reason.MODE_UNKNOWN: "the device's mode is not known, so the device must be asked first",
    Reason.SECURITY_STATE_UNKNOWN: "the device's security level is not known",
    Reason.ROW_UNREADABLE: "the row cannot be read: an unknown name, or nothing where something is required",
    Reason.SESSION_REQUIRED: "it needs an open session",
    Reason.SESSION_EXPIRED: "its session has expired",
    Reason.SESSION_NOT_STARTED: "its session has not started yet",
    Reason.SECURE_COMMAND_MISSING: "no secure command for it is held",
    Reason.READING_KEY_MISSING: "no reading key for it is held",
    Reason.AUTHORIZATION_MISSING: "no signed authorization for it is held",
    Reason.KEY_EXCHANGE_MISSING: "keys were not exchanged with it",
    Reason.RESYNC_REQUIRED: "the uses before a sync are spent",
    Reason.REPLAY: "the material for it was used already",
}

SWITCHES = frozenset({Action.SWITCH_TO_NETWORK_MODE, Action.SWITCH_TO_MOBILE_MODE})


class Row(NamedTuple):
    """A row with its answer, as the extension hands it out; what could not be read is None."""

    device: str | None
    device_class: int | None
    mode: int | None
    security_level: int | None
    action: int | None
    decision: int
    reason: int
    missing: int
    unverified: bool
    session_until: datetime | None
    authorization_code: int | None
    secure_command_code: int | None
    reading_key_code: int | None


def reason_name(number: int) -> str:
    """Return the stable name of a reason: a token's code below 1000, the policy's own from there on."""
    return (Reason(number) if number >= FIRST_POLICY_REASON else Code(number)).name.lower()


def explain(row: Row, options: PolicyOptions) -> str:
    """Say a row in sentences, a line each."""
    return "\n".join(_sentences(row, options))


def _sentences(row: Row, options: PolicyOptions) -> list[str]:
    decision = Decision(row.decision)
    if row.device_class is None or row.mode is None or row.security_level is None or row.action is None:
        return [f"{row.device or 'A device without a name'}: REFUSED, {_because(row)}."]
    device_class, mode = DeviceClass(row.device_class), Mode(row.mode)
    level, action = SecurityLevel(row.security_level), Action(row.action)
    lines = [
        f"{row.device}: {_words(action)} on {_described(device_class, mode, level)} is {decision.name}"
        + (f", {_because(row)}." if row.reason else ".")
    ]
    if decision is Decision.ALLOWED_AFTER_OPEN:
        lines.append("Send the held session-opening material first.")
    lines += [f"Needed: {_listed(needs(device_class, mode, level, action, options))}."]
    if device_class is DeviceClass.MULTI_MODE and mode is Mode.UNKNOWN:
        for possible in (Mode.MOBILE, Mode.NETWORK):
            wanted = needs(device_class, possible, level, action, options)
            lines.append(f"In {possible.name.capitalize()} Mode: {_listed(wanted)}.")
    lines += [f"Missing: {how}." for need, how in HOW_TO_GET.items() if need & row.missing]
    lines += _materials(row)
    if row.session_until is not None:
        lines.append(f"Its session is open until {row.session_until:%Y-%m-%d %H:%M:%S} UTC.")
    if action in SWITCHES:
        lines.append("Warning: interval data are lost when the mode is switched.")
    if row.unverified:
        lines.append("Unverified: the security level was not asked of the device.")
    return lines


def because(reason: int) -> str:
    """Return a reason as a clause; raises ValueError for a number that is no reason."""
    return WHY[Reason(reason)] if reason >= FIRST_POLICY_REASON else _clause(Code(reason).explain())


def _because(row: Row) -> str:
    return f"{reason_name(row.reason)} ({row.reason}): {because(row.reason)}"


def _materials(row: Row) -> list[str]:
    codes = {
        "authorization": row.authorization_code,
        "secure command": row.secure_command_code,
        "reading key": row.reading_key_code,
    }
    given = {name: code for name, code in codes.items() if code is not None}
    return [
        f"The {name} given is genuine and in force."
        if code == Code.OK
        else f"The {name} given is refused, {Code(code).name.lower()} ({code}): {_clause(Code(code).explain())}."
        for name, code in given.items()
    ]


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _words(action: Action) -> str:
    return action.name.lower()


def _described(device_class: DeviceClass, mode: Mode, level: SecurityLevel) -> str:
    level_words = f"at level {level.name.lower().replace('_', ' ')}"
    if device_class is DeviceClass.BASIC:
        return "a basic device"
    if device_class is DeviceClass.ENHANCED:
        return f"an enhanced device {level_words}"
    if mode is Mode.NETWORK:
        return "a multi-mode device in Network Mode"
    if mode is Mode.MOBILE:
        return f"a multi-mode device in Mobile Mode {level_words}"
    return f"a multi-mode device in a mode that is not known, {level_words}"


def _listed(wanted: Need) -> str:
    return ", ".join(str(need.name).lower().replace("_", " ") for need in wanted)
