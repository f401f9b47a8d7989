"""What a device needs before it answers: a pure function of its class, mode and level and of the action.

The rules R1..R22 are those of docs/policy.md, and each line names its own. Nothing is decided here: what is in hand is
subtracted elsewhere.
"""

from array import array
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from operator import index
from typing import NamedTuple, TypeVar

from itron_core.enums import Action, ActionGroup, DeviceClass, Mode, Need, Permission, Reason, SecurityLevel
from itron_core.errors import InputError

__all__ = [
    "Entry",
    "PolicyOptions",
    "compiled_table",
    "counted_material",
    "entries",
    "entry",
    "needs",
    "never_reason",
    "options_given",
    "permission_for",
    "permission_for_scope",
]

_I64_MAX = 2**63 - 1


class PolicyOptions:
    """Readings of the policy where its sources collide, and the uses before a sync; immutable and hashable.

    The switches are False by default, the safe reading: `allow_service_on_basic` (R2), `reads_without_session` (R11),
    `status_without_key` (R13), `service_needs_command_in_network_mode` (R16). `command_limit` counts connects and
    disconnects of one device before a resync, `authorization_limit` its signed authorizations: 0..2^63-1. Another type
    or a number outside raises `InputError`.
    """

    # Written out, since `dataclasses` alone would take a third of the time that importing the package may take.
    __slots__ = (
        "allow_service_on_basic",
        "authorization_limit",
        "command_limit",
        "reads_without_session",
        "service_needs_command_in_network_mode",
        "status_without_key",
    )

    allow_service_on_basic: bool
    reads_without_session: bool
    status_without_key: bool
    service_needs_command_in_network_mode: bool
    command_limit: int
    authorization_limit: int

    def __init__(
        self,
        *,
        allow_service_on_basic: bool = False,
        reads_without_session: bool = False,
        status_without_key: bool = False,
        service_needs_command_in_network_mode: bool = False,
        command_limit: int = 2,
        authorization_limit: int = 2,
    ) -> None:
        self._set("allow_service_on_basic", _switch("allow_service_on_basic", allow_service_on_basic))
        self._set("reads_without_session", _switch("reads_without_session", reads_without_session))
        self._set("status_without_key", _switch("status_without_key", status_without_key))
        self._set(
            "service_needs_command_in_network_mode",
            _switch("service_needs_command_in_network_mode", service_needs_command_in_network_mode),
        )
        self._set("command_limit", _limit("command_limit", command_limit))
        self._set("authorization_limit", _limit("authorization_limit", authorization_limit))

    def _set(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)

    def _values(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"PolicyOptions are immutable: {name} stays as it was made")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"PolicyOptions are immutable: {name} stays as it was made")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, PolicyOptions) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        return f"PolicyOptions({', '.join(f'{name}={value}' for name, value in self._values().items())})"

    def __reduce__(self) -> tuple[object, tuple[dict[str, int]]]:
        return _options_from, (self._values(),)


def options_given(options: object) -> PolicyOptions:
    """Return the options of a call as they came; anything but `PolicyOptions` raises `InputError`."""
    if isinstance(options, PolicyOptions):
        return options
    raise InputError(f"options: got {type(options).__name__}, wanted PolicyOptions")


def _options_from(values: dict[str, int]) -> PolicyOptions:
    return PolicyOptions(**values)  # type: ignore[arg-type]  # checked when it is made


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InputError(f"{name} is {value!r}; wanted True or False")


def _limit(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _I64_MAX:
        return int(value)
    raise InputError(f"{name} is {value!r}; wanted a whole number 0..2^63-1")


_DEFAULT_OPTIONS = PolicyOptions()

_ALWAYS = Need.PERMISSION | Need.ON_MENU

_SINGLE_PERMISSIONS = {
    Action.CONNECT_SERVICE: Permission.REMOTE_CONNECT,
    Action.EXERCISE_VALVE: Permission.REMOTE_CONNECT,
    Action.CONNECT_OVERRIDE: Permission.REMOTE_CONNECT,
    Action.ARM_SERVICE: Permission.REMOTE_CONNECT,
    Action.DISCONNECT_SERVICE: Permission.REMOTE_DISCONNECT,
    Action.RESTRICT_SERVICE: Permission.REMOTE_DISCONNECT,
    Action.DISCONNECT_OVERRIDE: Permission.REMOTE_DISCONNECT,
}

_GROUP_PERMISSIONS = {
    ActionGroup.READ: Permission.READ_ENDPOINTS,
    ActionGroup.CONFIGURE: Permission.PROGRAM_ENDPOINTS,
    ActionGroup.SESSION: Permission.PROGRAM_ENDPOINTS,
    ActionGroup.SECURITY: Permission.SIGNED_AUTHORIZATION,
}

_SWITCHES = frozenset({Action.SWITCH_TO_NETWORK_MODE, Action.SWITCH_TO_MOBILE_MODE})


# Their uses by secure command count until the next sync; those of an authorization always do.
_COUNTED = frozenset({Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE})


class _Answer(NamedTuple):
    """Needs beyond permission and menu; `never` says why there is nothing that would do, else OK.

    `opener` is the material that opens the session which is needed, as a need.
    """

    needs: Need = Need(0)
    never: Reason = Reason.OK
    opener: Need = Need(0)


_NOTHING = _Answer()
_COMMAND = _Answer(Need.SECURE_COMMAND)
_NOT_ON_MENU = _Answer(never=Reason.NOT_ON_MENU)
_UNSECURED = _Answer(never=Reason.SERVICE_UNAVAILABLE_UNSECURED)
_STATE_UNKNOWN = _Answer(never=Reason.SECURITY_STATE_UNKNOWN)


class Entry(NamedTuple):
    """One line of the complete table; `reason` is OK but for a NEVER.

    `opener` is the material, as a need, that opens the session which the action needs: none where it needs no session, or
    where nothing may be opened for it (R19). `counted` is the material whose uses count until the next sync.
    """

    device_class: DeviceClass
    mode: Mode
    security_level: SecurityLevel
    action: Action
    needs: Need
    reason: Reason
    opener: Need
    counted: Need


def needs(
    device_class: DeviceClass,
    mode: Mode,
    level: SecurityLevel,
    action: Action,
    options: PolicyOptions = _DEFAULT_OPTIONS,
) -> Need:
    """Return everything that the action needs; PERMISSION and ON_MENU are in every answer.

    A value that is no member of its enumeration, nor the number of one, raises `InputError`. Where the mode of a
    multi-mode device is not known, the answer is the union over both modes, without NEVER.
    """
    return entry(device_class, mode, level, action, options).needs


def entry(
    device_class: DeviceClass,
    mode: Mode,
    level: SecurityLevel,
    action: Action,
    options: PolicyOptions = _DEFAULT_OPTIONS,
) -> Entry:
    """Return one line of the complete table; raises as `needs` does."""
    situation = _situation(device_class, mode, level, action)
    answer = _answer(*situation, options_given(options))
    wanted = _ALWAYS | answer.needs | (Need.NEVER if answer.never else Need(0))
    counted = (answer.needs | answer.opener) & counted_material(situation[-1])
    return Entry(*situation, wanted, answer.never, answer.opener, counted)


def never_reason(
    device_class: DeviceClass,
    mode: Mode,
    level: SecurityLevel,
    action: Action,
    options: PolicyOptions = _DEFAULT_OPTIONS,
) -> Reason:
    """Return why `needs` says NEVER, and `Reason.OK` where it does not; raises as `needs` does."""
    return entry(device_class, mode, level, action, options).reason


def counted_material(action: Action) -> Need:
    """Return the material, as needs, whose uses for this action count until the next sync."""
    return Need.AUTHORIZATION | Need.SECURE_COMMAND if action in _COUNTED else Need.AUTHORIZATION


def permission_for(action: Action) -> Permission:
    """Return the permission that the action wants of its user."""
    return _SINGLE_PERMISSIONS.get(action) or _GROUP_PERMISSIONS[action.group]


def permission_for_scope(token_type: str, scope: int) -> Permission:
    """Return all that a user must hold to be granted material of this type and scope (a bit set of actions).

    Every action of the scope wants its permission, whatever the material was asked for. Bits without an action grant
    nothing and want nothing.
    """
    return _permission_for_scope(token_type, scope)


@lru_cache(maxsize=1024)
def _permission_for_scope(token_type: str, scope: int) -> Permission:
    wanted = Permission.SIGNED_AUTHORIZATION if token_type == "authorization" else Permission(0)
    for action in Action:
        if scope >> action & 1:
            wanted |= permission_for(action)
    return wanted


def entries(options: PolicyOptions = _DEFAULT_OPTIONS) -> Iterator[Entry]:
    """Yield all 864 answers, by class, mode, level and action, the last fastest."""
    for device_class in DeviceClass:
        for mode in Mode:
            for level in SecurityLevel:
                for action in Action:
                    yield entry(device_class, mode, level, action, options)


class Compiled(NamedTuple):
    """The complete table as the extension takes it: a column each of `Entry`, and the actions."""

    needs: "array[int]"
    reasons: "array[int]"
    openers: "array[int]"
    counted: "array[int]"
    actions: list[tuple[int, int]]


def compiled_table(options: PolicyOptions = _DEFAULT_OPTIONS) -> Compiled:
    """Return the complete table as the extension takes it.

    Index `((class * 3 + mode) * 4 + level) * 24 + place`, where an action's place is that in `actions`: pairs of its
    number and the permission it wants, rising by number.
    """
    table = list(entries(options))
    actions = [(int(action), int(permission_for(action))) for action in Action]
    return Compiled(
        array("i", [line.needs for line in table]),
        array("h", [line.reason for line in table]),
        array("i", [line.opener for line in table]),
        array("i", [line.counted for line in table]),
        actions,
    )


def _situation(
    device_class: DeviceClass, mode: Mode, level: SecurityLevel, action: Action
) -> tuple[DeviceClass, Mode, SecurityLevel, Action]:
    return (
        _member(DeviceClass, device_class),
        _member(Mode, mode),
        _member(SecurityLevel, level),
        _member(Action, action),
    )


_E = TypeVar("_E", DeviceClass, Mode, SecurityLevel, Action)


def _member(enumeration: type[_E], value: object) -> _E:
    # A member of another enumeration is an int as well: arguments in a wrong order would pass unseen.
    if isinstance(value, enumeration):
        return value
    if not isinstance(value, (bool, IntEnum)) and hasattr(value, "__index__"):
        number = index(value)  # an int of NumPy, too
        if number in enumeration._value2member_map_:
            return enumeration(number)
    wanted = ", ".join(enumeration.__members__)
    raise InputError(f"{enumeration.__name__}: got {value!r}, expected one of {wanted}")


def _answer(
    device_class: DeviceClass, mode: Mode, level: SecurityLevel, action: Action, options: PolicyOptions
) -> _Answer:
    if device_class is DeviceClass.BASIC:
        return _basic(action, options)
    if device_class is DeviceClass.ENHANCED:
        return _NOT_ON_MENU if action in _SWITCHES else _mobile(level, action, options)  # R18
    if mode is Mode.MOBILE:
        return _mobile(level, action, options)
    if mode is Mode.NETWORK:
        return _network(action, options)
    mobile, network = _mobile(level, action, options), _network(action, options)
    return _Answer(mobile.needs | network.needs, opener=mobile.opener | network.opener)  # R20


def _basic(action: Action, options: PolicyOptions) -> _Answer:
    if action.group in {ActionGroup.READ, ActionGroup.CONFIGURE}:
        return _NOTHING  # R1
    if action.group is ActionGroup.SERVICE:
        return _NOTHING if options.allow_service_on_basic else _UNSECURED  # R2
    return _NOT_ON_MENU  # R3


def _network(action: Action, options: PolicyOptions) -> _Answer:
    if action in _SWITCHES:
        return _switch_of_mode()  # R18
    if action is Action.OPEN_SESSION:
        return _Answer(Need.AUTHORIZATION)  # R17
    if action.group is ActionGroup.SERVICE and options.service_needs_command_in_network_mode:
        return _in_session(action, Need.AUTHORIZATION, Need.SECURE_COMMAND)  # R16
    return _in_session(action, Need.AUTHORIZATION)  # R15, R16, R19


def _mobile(level: SecurityLevel, action: Action, options: PolicyOptions) -> _Answer:
    if level is SecurityLevel.UNKNOWN:
        return _NOTHING if action.group is ActionGroup.READ else _STATE_UNKNOWN  # R21
    if action in _SWITCHES:
        return _switch_of_mode()  # R18
    if action.group is ActionGroup.SECURITY:
        return _COMMAND  # R7
    if level is SecurityLevel.READY_TO_SECURE:
        return _ready_to_secure(action)
    return _secured(level, action, options)


def _in_session(action: Action, opener: Need, besides: Need = _NOTHING.needs) -> _Answer:
    """Return the answer of an action that needs an open session; to close one, none is opened (R19)."""
    opens = Need(0) if action is Action.CLOSE_SESSION else opener
    return _Answer(Need.OPEN_SESSION | besides, opener=opens)


def _switch_of_mode() -> _Answer:
    return _Answer(Need.AUTHORIZATION | Need.KEY_EXCHANGE)


def _ready_to_secure(action: Action) -> _Answer:
    if action.group is ActionGroup.SERVICE:
        return _UNSECURED  # R5
    if action.group is ActionGroup.SESSION:
        return _NOT_ON_MENU  # R6
    return _NOTHING  # R4


def _secured(level: SecurityLevel, action: Action, options: PolicyOptions) -> _Answer:
    if action.group is ActionGroup.READ:
        key = _reading_key(action, options) if level is SecurityLevel.FULL else Need(0)  # R13
        if action is Action.READ_ENDPOINT or options.reads_without_session:  # R8, R11
            return _Answer(key)
        return _in_session(action, Need.SECURE_COMMAND, key)
    if action.group is ActionGroup.SERVICE or action is Action.OPEN_SESSION:
        return _COMMAND  # R10, R12, R14
    return _in_session(action, Need.SECURE_COMMAND)  # R9, R14, R19


def _reading_key(action: Action, options: PolicyOptions) -> Need:
    is_free = action is Action.GET_SERVICE_STATUS and options.status_without_key
    return Need(0) if is_free else Need.READING_KEY
