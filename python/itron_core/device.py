"""A simulated meter or ERT: it enforces its class, level and mode, and believes nothing that it has not verified.

Written from the rules of docs/policy.md for a device, not from the table that field tools ask: that the two agree is a
test. It has a timer and needs no clock.
"""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core._rust import verify_token, verify_tokens
from itron_core.errors import InputError, TokenRefused
from itron_core.levels import Action, ActionGroup, Code, DeviceClass, Mode, Reason, SecurityLevel
from itron_core.material import content_of, device_id
from itron_core.policy import PolicyOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core._rust import Keyring, Token

__all__ = ["Answer", "Device", "Message", "Outcome"]

DEFAULT_SESSION = 3_600
LONGEST_LIFETIME = 31 * 86_400  # the hard limit: its issuer chose within it
ANSWERS_KEPT = 64
EARLIEST = 1_577_836_800  # 2020-01-01, before which no token was issued
DEFAULT_OPTIONS = PolicyOptions()
SWITCHES = {Action.SWITCH_TO_NETWORK_MODE: Mode.NETWORK, Action.SWITCH_TO_MOBILE_MODE: Mode.MOBILE}
SERVICE_STATES = {
    Action.CONNECT_SERVICE: "connected",
    Action.DISCONNECT_SERVICE: "disconnected",
    Action.RESTRICT_SERVICE: "restricted",
    Action.CONNECT_OVERRIDE: "connected",
    Action.DISCONNECT_OVERRIDE: "disconnected",
    Action.ARM_SERVICE: "armed",
}


class Outcome(IntEnum):
    """What a device did with a message."""

    DONE = 0
    REFUSED = 1
    REPLAYED = 2


class Message(NamedTuple):
    """What a field tool sends: `token` is the secure command or the authorization that the action needs.

    `key_exchange` says that the tool carries out a key exchange with it, as a switch of mode wants. `level` is the one to
    set where a session allows it without a command; a command names its own.
    """

    action: Action
    token: bytes | None = None
    reading_key: bytes | None = None
    key_exchange: bool = False
    level: SecurityLevel = SecurityLevel.FULL


class Answer(NamedTuple):
    """What the device says: `reason` is 0, a `Reason` or a `Code`; `data` holds plain values.

    A replay repeats the data of the first answer, with reason 800 (replay_identical).
    """

    outcome: Outcome
    reason: int
    data: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return the data as deterministic JSON."""
        return json.dumps(self.data, sort_keys=True, separators=(",", ":")).encode()


class _Refusal(Exception):  # noqa: N818  # it leaves `answer` as an Answer, never as an exception
    def __init__(self, reason: int) -> None:
        self.reason = int(reason)


class _Spent(NamedTuple):
    """A token that was used: what it was, and what was answered."""

    kid: str
    cti: str
    content: str
    sequence: int
    data: dict[str, Any]


class Device:
    """One simulated device; `device` is its `aud`, `keyring` whom it trusts, `menu` the actions that it offers.

    `options` are the readings of the policy that it was built with (docs/policy.md); the limits of uses are a field
    tool's, not a device's. Raises InputError for a mode or level that is unknown: the device knows its own.
    """

    def __init__(
        self,
        device: str,
        device_class: DeviceClass,
        *,
        keyring: Keyring,
        epoch: int = 0,
        mode: Mode = Mode.MOBILE,
        level: SecurityLevel = SecurityLevel.READY_TO_SECURE,
        menu: Iterable[Action] = tuple(Action),
        options: PolicyOptions = DEFAULT_OPTIONS,
    ) -> None:
        if Mode(mode) is Mode.UNKNOWN or SecurityLevel(level) is SecurityLevel.UNKNOWN:
            raise InputError("a device of unknown mode or level; it knows its own")
        device_id(device)
        self._device, self._keyring, self._options = device, keyring, options
        self._class = DeviceClass(device_class)
        self._menu = frozenset(Action(action) for action in menu)
        self._mode, self._level, self._epoch = Mode(mode), SecurityLevel(level), int(epoch)
        self._key_version = 1
        self._uptime = 0
        self._session: tuple[int, int] | None = None  # its end by the timer, the actions that it allows
        self._seen = EARLIEST
        self._floor = 0
        self._spent: list[_Spent] = []
        self._service = "connected"
        self._settings: dict[str, int] = {}
        self._intervals = 96
        self._index = 1_000

    # --- What can be seen of it ---

    @property
    def device(self) -> str:
        """Its `aud`."""
        return self._device

    @property
    def state(self) -> dict[str, Any]:
        """All that it remembers, as plain values."""
        return {
            "device": self._device,
            "device_class": self._class.name.lower(),
            "mode": self._mode.name.lower(),
            "level": self._level.name.lower(),
            "epoch": self._epoch,
            "key_version": self._key_version,
            "menu": sorted(self._menu),
            "uptime": self._uptime,
            "session": None if self._session is None else list(self._session),
            "seen": self._seen,
            "floor": self._floor,
            "spent": [list(spent) for spent in self._spent],
            "service": self._service,
            "settings": dict(self._settings),
            "intervals": self._intervals,
            "index": self._index,
        }

    def to_bytes(self) -> bytes:
        """Return its state as JSON, for `from_bytes`; keys of issuers and options are not part of it."""
        return json.dumps(self.state, sort_keys=True, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, keyring: Keyring, options: PolicyOptions = DEFAULT_OPTIONS) -> Device:
        """Make the device whose state this is; raises InputError where it is none."""
        try:
            state = json.loads(data)
            device = cls(
                state["device"],
                DeviceClass[state["device_class"].upper()],
                keyring=keyring,
                epoch=state["epoch"],
                mode=Mode[state["mode"].upper()],
                level=SecurityLevel[state["level"].upper()],
                menu=state["menu"],
                options=options,
            )
            device._key_version, device._uptime = int(state["key_version"]), int(state["uptime"])
            device._session = None if state["session"] is None else (int(state["session"][0]), int(state["session"][1]))
            device._seen, device._floor = int(state["seen"]), int(state["floor"])
            device._spent = [_Spent(*spent) for spent in state["spent"]]
            device._service, device._settings = str(state["service"]), dict(state["settings"])
            device._intervals, device._index = int(state["intervals"]), int(state["index"])
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"no state of a device: {type(error).__name__}: {error}") from error
        return device

    def restart(self) -> None:
        """Lose power for a moment: the timer begins again, and a session is gone."""
        self._uptime, self._session = 0, None

    # --- What it does ---

    def answer(self, message: Message, *, uptime: int, now: int | None = None) -> Answer:
        """Answer a message at a moment of the device's own timer, in seconds since it was started.

        `now` is given only where the device has a clock. Without one, tokens are judged at the latest issue time of all
        that it found genuine: what was seen to be past stays past. Raises InputError for a timer that runs backwards
        and for a message that is none; everything else is an answer.
        """
        if uptime < self._uptime:
            raise InputError(f"a timer at {uptime} after {self._uptime}; wanted one that never runs backwards")
        action = _action_of(message)
        self._uptime = uptime
        try:
            return self._answered(message, action, now)
        except _Refusal as refusal:
            return Answer(Outcome.REFUSED, refusal.reason, {})

    def _answered(self, message: Message, action: Action, now: int | None) -> Answer:
        if action not in self._menu:
            raise _Refusal(Reason.NOT_ON_MENU)
        token_type = self._spends(action)
        token = self._verified(message.token, token_type, action, now) if token_type and message.token else None
        content = content_of(message.token or b"").hex()
        if token is not None and (replay := self._replayed(token, content)):
            return replay
        self._check_session(action)
        if token is not None:
            self._check_fresh(token)
        elif token_type is not None:
            needs_command = token_type == "secure_command"
            raise _Refusal(Reason.SECURE_COMMAND_MISSING if needs_command else Reason.AUTHORIZATION_MISSING)
        grant = None
        if self._wants_reading_key(action):
            if not message.reading_key:
                raise _Refusal(Reason.READING_KEY_MISSING)
            grant = self._verified(message.reading_key, "reading_key", action, now)
            self._check_epoch(grant)
        if action in SWITCHES and not message.key_exchange:
            raise _Refusal(Reason.KEY_EXCHANGE_MISSING)
        data = self._done(action, token, message.level)
        if token is not None:
            self._spend(token, content, data)
        if grant is not None:
            self._believe(grant)
        return Answer(Outcome.DONE, 0, data)

    def _spends(self, action: Action) -> str | None:
        """Return the type of the token that this action spends here, None where it spends none; refuses what never is."""
        if self._class is DeviceClass.BASIC:
            self._check_basic(action)
            return None
        if action in SWITCHES:
            if self._class is DeviceClass.ENHANCED:
                raise _Refusal(Reason.NOT_ON_MENU)
            return "authorization"
        if self._in_network_mode:
            if action is Action.OPEN_SESSION:
                return "authorization"
            commanded = self._options.service_needs_command_in_network_mode and action.group is ActionGroup.SERVICE
            return "secure_command" if commanded else None
        if action.group is ActionGroup.SECURITY:
            return "secure_command"
        if self._level is SecurityLevel.READY_TO_SECURE:
            if action.group is ActionGroup.SERVICE:
                raise _Refusal(Reason.SERVICE_UNAVAILABLE_UNSECURED)
            if action.group is ActionGroup.SESSION:
                raise _Refusal(Reason.NOT_ON_MENU)
            return None
        spends = action.group is ActionGroup.SERVICE or action is Action.OPEN_SESSION
        return "secure_command" if spends else None

    def _check_basic(self, action: Action) -> None:
        if action.group is ActionGroup.SERVICE and not self._options.allow_service_on_basic:
            raise _Refusal(Reason.SERVICE_UNAVAILABLE_UNSECURED)
        if action.group in {ActionGroup.SESSION, ActionGroup.SECURITY}:
            raise _Refusal(Reason.NOT_ON_MENU)

    @property
    def _in_network_mode(self) -> bool:
        return self._class is DeviceClass.MULTI_MODE and self._mode is Mode.NETWORK

    @property
    def _is_secured(self) -> bool:
        """Whether it has a level that asks for something, in Mobile Mode."""
        return (
            self._class is not DeviceClass.BASIC
            and not self._in_network_mode
            and self._level is not SecurityLevel.READY_TO_SECURE
        )

    def _wants_session(self, action: Action) -> bool:
        if action is Action.OPEN_SESSION or action in SWITCHES:
            return False
        if self._in_network_mode:
            return True
        if not self._is_secured:
            return False
        if action.group is ActionGroup.READ:
            return action is not Action.READ_ENDPOINT and not self._options.reads_without_session
        return action.group is ActionGroup.CONFIGURE or action is Action.CLOSE_SESSION

    def _wants_reading_key(self, action: Action) -> bool:
        if not self._is_secured or self._level is not SecurityLevel.FULL or action.group is not ActionGroup.READ:
            return False
        return not (self._options.status_without_key and action is Action.GET_SERVICE_STATUS)

    def _check_session(self, action: Action) -> None:
        if not self._wants_session(action):
            return
        if self._session is None:
            raise _Refusal(Reason.SESSION_REQUIRED)
        end, allowed = self._session
        if self._uptime >= end:
            raise _Refusal(Reason.SESSION_EXPIRED)
        if action is not Action.CLOSE_SESSION and not allowed >> action & 1:
            raise _Refusal(Code.SCOPE_DENIED)

    # --- Tokens ---

    def _verified(self, token: bytes, token_type: str, action: Action, now: int | None) -> Token:
        """Verify everything but the epoch: a repeat is answered from the log, after a key exchange, too."""
        moment = self._moment(token, token_type, now)

        def ask(epoch: int | None) -> Token:
            return verify_token(
                token,
                self._keyring,
                now=moment,
                token_type=token_type,
                audience=self._device,
                action=action,
                epoch=epoch,
                max_lifetime=LONGEST_LIFETIME,
            )

        try:
            return ask(None)
        except TokenRefused as refused:
            code = refused.code
        try:
            ask(self._epoch)  # a stale epoch comes before what the first look found
        except TokenRefused as refused:
            code = refused.code
        raise _Refusal(code)

    def _moment(self, token: bytes, token_type: str, now: int | None) -> int:
        """Return when it is for this token: the clock, or the latest genuine issue time, this token's own included."""
        if now is not None:
            return now
        claims = verify_tokens(
            [token], self._keyring, now=self._seen, token_type=token_type, max_lifetime=LONGEST_LIFETIME
        )
        (issued_at,) = claims["issued_at"].to_pylist()
        return self._seen if issued_at is None else max(self._seen, int(issued_at.timestamp()))

    def _replayed(self, token: Token, content: str) -> Answer | None:
        for spent in self._spent:
            if (spent.kid, spent.cti) == _identity(token):
                if spent.content != content:
                    raise _Refusal(Code.REPLAY_CONFLICT)
                return Answer(Outcome.REPLAYED, int(Code.REPLAY_IDENTICAL), spent.data)
        return None

    def _check_fresh(self, token: Token) -> None:
        self._check_epoch(token)
        if token.sequence is not None and token.sequence <= self._floor:
            raise _Refusal(Code.SEQUENCE_OLD)

    def _check_epoch(self, token: Token) -> None:
        if token.epoch is not None and token.epoch < self._epoch:
            raise _Refusal(Code.EPOCH_STALE)

    def _believe(self, token: Token) -> None:
        self._seen = max(self._seen, int(token.issued_at.timestamp()))

    def _spend(self, token: Token, content: str, data: dict[str, Any]) -> None:
        self._believe(token)
        self._spent.append(_Spent(*_identity(token), content, token.sequence or 0, data))
        if len(self._spent) > ANSWERS_KEPT:
            self._floor = max(self._floor, self._spent.pop(0).sequence)

    # --- Effects ---

    def _done(self, action: Action, token: Token | None, level: SecurityLevel) -> dict[str, Any]:
        if action.group is ActionGroup.READ:
            return self._read(action)
        if action.group is ActionGroup.CONFIGURE:
            name = action.name.lower()
            self._settings[name] = self._settings.get(name, 0) + 1
            return {"setting": name, "changes": self._settings[name]}
        if action.group is ActionGroup.SERVICE:
            self._service = SERVICE_STATES.get(action, self._service)
            return {"service": self._service}
        if action is Action.OPEN_SESSION and token is not None:
            return self._open(token)
        if action is Action.CLOSE_SESSION:
            self._session = None
            return {"session_seconds": 0}
        if action in SWITCHES:
            return self._switch(SWITCHES[action])
        if action is Action.EXCHANGE_KEYS:
            self._exchange_keys()
        else:
            self._level = level if token is None else _level_of(token)
            self._session = None
        return self._security()

    def _read(self, action: Action) -> dict[str, Any]:
        if action is Action.GET_SERVICE_STATUS:
            return {"service": self._service}
        if action is Action.READ_INTERVAL_DATA:
            return {"intervals": self._intervals}
        return {"index": self._index}

    def _open(self, token: Token) -> dict[str, Any]:
        seconds = token.session_seconds or DEFAULT_SESSION
        # A command opens the session for everything; an authorization for what its scope says.
        allowed = sum(1 << a for a in (token.actions if token.token_type == "authorization" else Action))
        self._session = (self._uptime + seconds, allowed)
        return {"session_seconds": seconds}

    def _switch(self, mode: Mode) -> dict[str, Any]:
        if mode is not self._mode:
            self._intervals = 0  # the manual: interval data are lost
        self._mode, self._session = mode, None
        self._exchange_keys()
        return self._security()

    def _exchange_keys(self) -> None:
        self._epoch += 1
        self._key_version += 1

    def _security(self) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "key_version": self._key_version,
            "level": self._level.name.lower(),
            "mode": self._mode.name.lower(),
        }


def _action_of(message: Message) -> Action:
    tokens = (message.token, message.reading_key)
    if not all(token is None or isinstance(token, bytes) for token in tokens):
        raise InputError("a message whose token is no bytes; wanted bytes or None")
    if message.level not in set(SecurityLevel) - {SecurityLevel.UNKNOWN}:
        raise InputError(f"a message with the level {message.level!r}; wanted a SecurityLevel that is known")
    try:
        return Action(message.action)
    except ValueError:
        raise InputError(f"a message with the action {message.action!r}; wanted an Action") from None


def _identity(token: Token) -> tuple[str, str]:
    return token.kid.hex(), (token.cti or b"").hex()


def _level_of(token: Token) -> SecurityLevel:
    """Return the level that a command names: `set_security_level:` and the level's name."""
    said = token.command or b""
    action, _, name = said.decode("ascii", "replace").partition(":")
    level = SecurityLevel.__members__.get(name.upper())
    if action != "set_security_level" or level is None or level is SecurityLevel.UNKNOWN:
        raise _Refusal(Code.CLAIM_RANGE)
    return level
