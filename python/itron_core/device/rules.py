"""The rules of docs/policy.md (R1 to R19) as a device applies them in its current state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.enums import Action, ActionGroup, Code, DeviceClass, Mode, Reason, SecurityLevel

if TYPE_CHECKING:
    from itron_core._rust import Token
    from itron_core.device.state import DeviceState

__all__ = [
    "SWITCHES",
    "Refusal",
    "check_offered",
    "check_reading_key",
    "check_session",
    "needs_authorization",
    "needs_command",
    "needs_reading_key",
    "needs_session",
]

SWITCHES = {Action.SWITCH_TO_NETWORK_MODE: Mode.NETWORK, Action.SWITCH_TO_MOBILE_MODE: Mode.MOBILE}


class Refusal(Exception):  # noqa: N818  # it leaves `answer` as an Answer
    """A refused message; `Device.answer` turns it into an Answer."""

    def __init__(self, reason: int) -> None:
        self.reason = int(reason)


def check_offered(state: DeviceState, action: Action) -> None:
    """Refuse actions that no material makes possible (R2, R3, R5, R6, R18)."""
    is_basic = state.device_class is DeviceClass.BASIC
    if action not in state.menu or (action in SWITCHES and state.device_class is not DeviceClass.MULTI_MODE):
        raise Refusal(Reason.NOT_ON_MENU)
    if is_basic and action.group is ActionGroup.SECURITY:
        raise Refusal(Reason.NOT_ON_MENU)
    if action.group is ActionGroup.SESSION and _is_unsecured(state):
        raise Refusal(Reason.NOT_ON_MENU)
    if action.group is ActionGroup.SERVICE and _is_unsecured(state):
        if is_basic and state.options.allow_service_on_basic:
            return
        raise Refusal(Reason.SERVICE_UNAVAILABLE_UNSECURED)


def needs_session(state: DeviceState, action: Action) -> bool:
    """Return whether the action needs an open session."""
    if action is Action.OPEN_SESSION or action in SWITCHES or _is_unsecured(state):
        return False
    if _speaks_cosem(state) or action is Action.CLOSE_SESSION or action.group is ActionGroup.CONFIGURE:
        return True  # R15, R16, R19, R9
    if action.group is ActionGroup.READ:  # R8, R11
        return action is not Action.READ_ENDPOINT and not state.options.reads_without_session
    return False


def needs_command(state: DeviceState, action: Action) -> bool:
    """Return whether the action uses a secure command."""
    if _speaks_cosem(state):  # R16
        return action.group is ActionGroup.SERVICE and state.options.service_needs_command_in_network_mode
    if action in {Action.EXCHANGE_KEYS, Action.SET_SECURITY_LEVEL}:  # R7
        return True
    return not _is_unsecured(state) and (action.group is ActionGroup.SERVICE or action is Action.OPEN_SESSION)


def needs_authorization(state: DeviceState, action: Action) -> bool:
    """Return whether the action uses an authorization."""
    return action in SWITCHES or (action is Action.OPEN_SESSION and _speaks_cosem(state))  # R18, R17


def needs_reading_key(state: DeviceState, action: Action) -> bool:
    """Return whether the action needs a reading-key grant."""
    if state.level is not SecurityLevel.FULL or _speaks_cosem(state) or action.group is not ActionGroup.READ:
        return False
    return action is not Action.GET_SERVICE_STATUS or not state.options.status_without_key  # R13


def check_session(state: DeviceState, action: Action) -> None:
    """Refuse unless an open session allows the action; any session may be closed."""
    session = state.session
    if session is None:
        raise Refusal(Reason.SESSION_REQUIRED)
    if state.uptime >= session.end:
        raise Refusal(Reason.SESSION_EXPIRED)
    if not session.actions >> action & 1 and action is not Action.CLOSE_SESSION:
        raise Refusal(Code.SCOPE_DENIED)


def check_reading_key(state: DeviceState, token: Token) -> None:
    """Refuse a grant of another reading key, if the device knows its own."""
    named = token.reading_key
    if state.check_value is None or named is None:
        return
    if (named.key_version, named.check_value.hex()) != (state.key_version, state.check_value):
        raise Refusal(
            Reason.READING_KEY_MISSING
        )  # genuine, but of another key, which does not open this device's readings


def _speaks_cosem(state: DeviceState) -> bool:
    return state.mode is Mode.NETWORK


def _is_unsecured(state: DeviceState) -> bool:
    return not _speaks_cosem(state) and state.level is SecurityLevel.READY_TO_SECURE
