"""One row of results in sentences: the decision, why, what is missing and what to request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.enums import Action, Code, Decision, DeviceClass, Mode, Need, Reason, SecurityLevel
from itron_core.policy import Entry, PolicyOptions, entry, needs, permission_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Row", "because", "explain", "explain_cells", "reason_name"]

FIRST_POLICY_REASON = 1000

WHY = {
    Reason.PERMISSION_DENIED: "you do not hold the permission for this action",
    Reason.NOT_ON_MENU: "the action is not on this device's menu",
    Reason.SERVICE_UNAVAILABLE_UNSECURED: "service commands are unavailable on a device that is not secured",
    Reason.MODE_UNKNOWN: "the device's mode is not known; ask the device first",
    Reason.SECURITY_STATE_UNKNOWN: "the device's security level is not known",
    Reason.SESSION_REQUIRED: "it needs an open session",
    Reason.SESSION_EXPIRED: "its session has expired",
    Reason.SESSION_NOT_STARTED: "its session has not started yet",
    Reason.SECURE_COMMAND_MISSING: "no secure command for it is held",
    Reason.READING_KEY_MISSING: "no reading key for it is held",
    Reason.AUTHORIZATION_MISSING: "no signed authorization for it is held",
    Reason.KEY_EXCHANGE_MISSING: "keys were not exchanged with the device",
    Reason.RESYNC_REQUIRED: "all uses allowed before a sync are spent",
    Reason.REPLAY: "its material was already used",
}

SWITCHES = frozenset({Action.SWITCH_TO_NETWORK_MODE, Action.SWITCH_TO_MOBILE_MODE})
NAMED_COLUMNS = {"device_class": DeviceClass, "security_level": SecurityLevel, "mode": Mode, "action": Action}
SIGNATURES = {
    Code.OK: "The signature is genuine.",
    Code.NO_TOKEN: "The message or the signature is missing.",
    Code.SIGNATURE_INVALID: "The signature does not match the message and the key.",
}
SESSIONS = ("open", "not started", "expired", "closed")


class Row(NamedTuple):
    """A row with its answer from the extension; the enumerations are None if the row is unreadable."""

    device: str | None
    device_class: int | None
    mode: int | None
    security_level: int | None
    action: int | None
    decision: int
    reason: int
    missing: int
    unverified: bool
    unreadable: str | None
    session_until: datetime | None
    authorization_code: int | None
    secure_command_code: int | None
    reading_key_code: int | None


def reason_name(number: int) -> str:
    """Return the stable name of a reason: a token's code below 1000, a policy reason from 1000."""
    return (Reason(number) if number >= FIRST_POLICY_REASON else Code(number)).name.lower()


def explain(row: Row, options: PolicyOptions) -> str:
    """Return a row of a route in sentences, one per line."""
    return "\n".join(_sentences(row, options))


def explain_cells(row: int, cells: Mapping[str, Any]) -> str:
    """Return a row of any other results in sentences, one per line, from the cells of its columns."""
    if isinstance(cells.get("state"), int):
        return f"Row {row}: {_session(cells['state'], cells['remaining'])}"
    if not isinstance(cells.get("code"), int):  # a table of names, which explains itself
        return f"Row {row}: {', '.join(f'{name} {_shown(value)}' for name, value in cells.items())}."
    code = Code(cells["code"])
    sentence = code.explain() if "key" in cells else SIGNATURES.get(code, code.explain())
    return "\n".join([f"Row {row}: {reason_name(code)} ({int(code)}): {sentence}", *_claims(cells)])


def _sentences(row: Row, options: PolicyOptions) -> list[str]:
    decision = Decision(row.decision)
    if row.device_class is None or row.mode is None or row.security_level is None or row.action is None:
        fault = _fault(row.unreadable or "")
        return [f"{row.device or 'A row without a device'}: {decision.name}, row_unreadable ({row.reason}): {fault}."]
    line = entry(
        DeviceClass(row.device_class), Mode(row.mode), SecurityLevel(row.security_level), Action(row.action), options
    )
    because = f", {_because(row.reason)}." if row.reason else "."
    lines = [f"{row.device}: {_name(line.action)} on {_described(line)} is {decision.name}{because}"]
    if decision is Decision.ALLOWED_AFTER_OPEN:
        lines.append("Send the held session-opening material first.")
    if Need.NEVER not in line.needs:
        lines.append(f"Needed: {_listed(line.needs)}.")
    if line.device_class is DeviceClass.MULTI_MODE and line.mode is Mode.UNKNOWN:
        for possible in (Mode.MOBILE, Mode.NETWORK):
            needed = needs(line.device_class, possible, line.security_level, line.action, options)
            lines.append(f"In {possible.name.capitalize()} Mode: {_listed(needed)}.")
    lines += _remedies(line, Need(row.missing), options)
    lines += _materials(row)
    if row.session_until is not None:
        lines.append(f"Its session is open until {_moment(row.session_until)}.")
    if line.action in SWITCHES:
        lines.append("Warning: changing the mode deletes the interval data.")
    if row.unverified:
        lines.append("Unverified: the security level was not read from the device.")
    return lines


def _remedies(line: Entry, missing: Need, options: PolicyOptions) -> list[str]:
    """Return the remedies for everything missing, in the order of the needs."""
    if Need.NEVER in missing:
        return ["Not possible on this device at this level, whatever you hold."]
    action = _name(line.action)
    command = action if Need.SECURE_COMMAND in line.needs else _name(Action.OPEN_SESSION)
    session = "A session must be open on this device."
    remedies = {
        Need.PERMISSION: f'Your role needs the permission "{_name(permission_for(line.action))}"; a sync brings it.',
        Need.ON_MENU: "The action must be on the device's menu.",
        Need.READING_KEY: f'Request a reading key "{action}" for this device.',
        Need.OPEN_SESSION: session if line.opener else f"{session} None is opened for this action.",
        Need.SECURE_COMMAND: f'Request a secure command "{command}" for this device.',
        Need.AUTHORIZATION: f'Request a signed authorization "{action}" for this device.',
        Need.KEY_EXCHANGE: "Exchange keys with this device.",
        Need.RESYNC: _resync(line, options),
    }
    return [remedy for need, remedy in remedies.items() if need in missing]


def _resync(line: Entry, options: PolicyOptions) -> str:
    limits = {Need.SECURE_COMMAND: options.command_limit, Need.AUTHORIZATION: options.authorization_limit}
    counted = {limit for need, limit in limits.items() if need in line.counted}
    uses = {frozenset({1}): "The one allowed use", frozenset({2}): "Both allowed uses"}.get(frozenset(counted))
    uses = uses or (f"All {min(counted)} allowed uses" if len(counted) == 1 else "The allowed uses")
    return f"{uses} since the last sync {'is' if counted == {1} else 'are'} spent; sync first."


def _fault(unreadable: str) -> str:
    """Return the fault of a row, from its column and value, and the correction."""
    column, _, value = unreadable.partition(": ")
    if value == "null":
        return f"column {column}: the value is missing"
    if column == "device":
        digits = value.strip('"')
        write = f"write ert:{digits}" if digits.isdecimal() else "write ert: and a decimal, or eui64: and 16 hex digits"
        return f"column device: {value} is not a device id; {write}"
    if column in NAMED_COLUMNS:
        *some, last = (_name(member) for member in NAMED_COLUMNS[column])
        return f"column {column}: {value} is not known; use {', '.join(some)} or {last}"
    return f"column {column}: {value}; expected a number from 0"


def because(reason: int) -> str:
    """Return a reason as a clause. Raises ValueError for an unknown number."""
    if reason == Reason.ROW_UNREADABLE:
        return "the row cannot be read: a name is not known, or a required value is null"
    return WHY[Reason(reason)] if reason >= FIRST_POLICY_REASON else _clause(Code(reason).explain())


def _because(reason: int) -> str:
    return f"{reason_name(reason)} ({reason}): {because(reason)}"


def _materials(row: Row) -> list[str]:
    codes = {
        "authorization": row.authorization_code,
        "secure command": row.secure_command_code,
        "reading key": row.reading_key_code,
    }
    given = {name: code for name, code in codes.items() if code is not None}
    return [
        f"The {name} is genuine and in force."
        if code == Code.OK
        else f"The {name} is refused, {reason_name(code)} ({code}): {_clause(Code(code).explain())}."
        for name, code in given.items()
    ]


def _claims(cells: Mapping[str, Any]) -> list[str]:
    if cells.get("issued_at") is None:
        return []
    granted = ", ".join(_name(action) for action in Action if cells["actions"] >> action & 1) or "no action"
    times = f"valid from {_moment(cells['not_before'])} to {_moment(cells['expires_at'])}"
    # A delegation has no sequence, and is not for one device.
    device = f"is for {cells['device']}, and " if cells["device"] and cells["sequence"] is not None else ""
    return [f"It {device}grants {granted}; {times}."]


def _session(state: int, remaining: int) -> str:
    if state >= len(SESSIONS):
        return "There is no session."
    return f"The session is {SESSIONS[state]}" + (f" for {remaining} more seconds." if state == 0 else ".")


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _name(member: Any) -> str:
    return str(member.name).lower()


def _described(line: Entry) -> str:
    level = f"at level {_name(line.security_level).replace('_', ' ')}"
    if line.device_class is DeviceClass.BASIC:
        return "a basic device"
    if line.device_class is DeviceClass.ENHANCED:
        return f"an enhanced device {level}"
    if line.mode is Mode.NETWORK:
        return "a multi-mode device in Network Mode"
    if line.mode is Mode.MOBILE:
        return f"a multi-mode device in Mobile Mode {level}"
    return f"a multi-mode device in an unknown mode, {level}"


def _listed(some: Need) -> str:
    return ", ".join(_name(need).replace("_", " ") for need in some)
