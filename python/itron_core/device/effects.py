"""The effect of each action on a device's state, and the data of its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.device.rules import SWITCHES, Refusal
from itron_core.device.state import EPOCH_MAX, Session
from itron_core.enums import Action, ActionGroup, Code, Reason, SecurityLevel
from itron_core.exchange.messages import SETTINGS_KEPT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from itron_core._rust import Token
    from itron_core.device.state import DeviceState
    from itron_core.exchange.messages import Message

__all__ = ["done"]

ALL_ACTIONS = sum(1 << action for action in Action)
COMMANDED_LEVEL = b"set_security_level:"
SERVICE_STATES = {
    Action.CONNECT_SERVICE: "connected",
    Action.DISCONNECT_SERVICE: "disconnected",
    Action.RESTRICT_SERVICE: "restricted",
    Action.CONNECT_OVERRIDE: "connected",
    Action.DISCONNECT_OVERRIDE: "disconnected",
    Action.ARM_SERVICE: "armed",
}


def done(state: DeviceState, message: Message, token: Token | None) -> tuple[DeviceState, dict[str, int | str]]:
    """Return the state after an action, and the data of the answer."""
    action = message.action
    if action.group is ActionGroup.READ:
        return state, _reading(state, action)
    if action.group is ActionGroup.CONFIGURE:
        return _configured(state, action, message.settings or {})
    if action.group is ActionGroup.SERVICE:
        service = SERVICE_STATES.get(action, state.service)
        after = state._replace(service=service, operations=state.operations + 1)
        return after, {"service": service, "operations": after.operations}
    if action is Action.OPEN_SESSION and token is not None:
        return _opened(state, token)
    if action is Action.CLOSE_SESSION:
        return state._replace(session=None), {"session_seconds": 0}
    if action is Action.SET_SECURITY_LEVEL:
        after = state._replace(level=_level_of(message, token))
    else:
        after = _with_new_keys(state)
    if action in SWITCHES:
        after = after._replace(mode=SWITCHES[action], interval_count=0)  # R18: interval data are lost
    # A session does not survive new keys, another level or another mode.
    return after._replace(session=None), _security(after)


def _reading(state: DeviceState, action: Action) -> dict[str, int | str]:
    if action is Action.GET_SERVICE_STATUS:
        return {"service": state.service}
    if action is Action.READ_INTERVAL_DATA:
        return {"index": state.reading, "intervals": state.interval_count}
    return {"index": state.reading}


def _configured(
    state: DeviceState, action: Action, given: Mapping[str, int | str]
) -> tuple[DeviceState, dict[str, int | str]]:
    """Store the settings, and count under the action's name how often it was done."""
    name = action.name.lower()
    settings = dict(state.settings)
    changes = int(settings.get(name, 0)) + 1
    kept = {} if action is Action.RESET_ENDPOINT else settings
    settings = {**kept, **given, name: changes}
    if len(settings) > SETTINGS_KEPT:
        raise Refusal(Reason.ROW_UNREADABLE)
    return state._replace(settings=tuple(sorted(settings.items()))), {"setting": name, "changes": changes}


def _opened(state: DeviceState, token: Token) -> tuple[DeviceState, dict[str, int | str]]:
    seconds = token.session_seconds
    if seconds is None:
        raise Refusal(Code.CLAIM_MISSING)  # verified before; a session without a length would never end
    # A command opens a session for every action; an authorization for those of its scope.
    is_scoped = token.token_type == "authorization"
    actions = sum(1 << action for action in token.actions) if is_scoped else ALL_ACTIONS
    return state._replace(session=Session(state.uptime + seconds, actions)), {"session_seconds": seconds}


def _with_new_keys(state: DeviceState) -> DeviceState:
    if state.epoch == EPOCH_MAX:
        raise Refusal(Code.INTERNAL)  # an epoch that cannot rise would leave old material in force
    return state._replace(epoch=state.epoch + 1, key_version=state.key_version + 1, check_value=None)


def _security(state: DeviceState) -> dict[str, int | str]:
    return {
        "epoch": state.epoch,
        "key_version": state.key_version,
        "level": state.level.name.lower(),
        "mode": state.mode.name.lower(),
    }


def _level_of(message: Message, token: Token | None) -> SecurityLevel:
    """Return the level to set. The command's level is signed; a message with another one is refused."""
    command = b"" if token is None or token.command is None else token.command
    if not command.startswith(COMMANDED_LEVEL):
        if message.level is None:
            raise Refusal(Reason.ROW_UNREADABLE)
        return message.level
    name = command.removeprefix(COMMANDED_LEVEL).decode("ascii", "replace")
    level = next((level for level in SecurityLevel if level.name.lower() == name), SecurityLevel.UNKNOWN)
    if level is SecurityLevel.UNKNOWN:
        raise Refusal(Code.CLAIM_RANGE)
    if message.level not in {None, level}:
        raise Refusal(Code.SCOPE_DENIED)
    return level
