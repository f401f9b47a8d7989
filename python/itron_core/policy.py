"""The material that an action needs: a pure function of a device's class, mode and level and of the action.

The rules R1 to R22 are those of docs/policy.md, and each line names its rule. Nothing is decided here: Rust compares the
needs with the material held.
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
    """Choices where the sources of the policy conflict, and limits of uses before a sync; immutable and hashable.

    The switches are False by default, the safe choice: `allow_service_on_basic` (R2), `reads_without_session` (R11),
    `status_without_key` (R13), `service_needs_command_in_network_mode` (R16). `command_limit` is the number of connects
    and disconnects per device before a sync, `authorization_limit` that of signed authorizations: 0 to 2^63 - 1. Raises
    InputError for another type, or a number outside.
    """

    # Not a dataclass: importing `dataclasses` takes a third of the time that importing this package may take.
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
        for name, value in (
            ("allow_service_on_basic", allow_service_on_basic),
            ("reads_without_session", reads_without_session),
            ("status_without_key", status_without_key),
            ("service_needs_command_in_network_mode", service_needs_command_in_network_mode),
            ("command_limit", command_limit),
            ("authorization_limit", authorization_limit),
        ):
            object.__setattr__(self, name, (_limit if name.endswith("_limit") else _switch)(name, value))

    def lowered_to(self, *, command_limit: int, authorization_limit: int) -> "PolicyOptions":
        """Return the same options with each limit of uses lowered to the given one, if that is less."""
        limits = {
            "command_limit": min(self.command_limit, command_limit),
            "authorization_limit": min(self.authorization_limit, authorization_limit),
        }
        return _options_from({**self._values(), **limits})

    def _values(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in type(self).__annotations__}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"PolicyOptions are immutable: {name} cannot change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"PolicyOptions are immutable: {name} cannot change")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, PolicyOptions) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __repr__(self) -> str:
        return f"PolicyOptions({', '.join(f'{name}={value}' for name, value in self._values().items())})"

    def __reduce__(self) -> tuple[object, tuple[dict[str, int]]]:
        return _options_from, (self._values(),)


def options_given(options: object) -> PolicyOptions:
    """Return the options of a call. Raises InputError for anything but PolicyOptions."""
    if isinstance(options, PolicyOptions):
        return options
    raise InputError(f"options: got {type(options).__name__}, expected PolicyOptions")


def _options_from(values: dict[str, int]) -> PolicyOptions:
    return PolicyOptions(**values)  # type: ignore[arg-type]  # the constructor checks them


def _switch(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InputError(f"{name}: got {value!r:.100}, expected True or False")


def _limit(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _I64_MAX:
        return int(value)
    raise InputError(f"{name}: got {value!r:.100}, expected a whole number from 0 to 2^63 - 1")


DEFAULT_OPTIONS = PolicyOptions()

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


# Uses of secure commands for these count until the next sync; uses of authorizations always count.
_COUNTED = frozenset({Action.CONNECT_SERVICE, Action.DISCONNECT_SERVICE})


class _Answer(NamedTuple):
    """Needs besides permission and menu; `never` is the reason why no material suffices, else OK.

    `opener` is the material, as a need, that opens the required session.
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
    """One line of the complete table; `reason` is OK unless the needs contain NEVER.

    `opener` is the material, as a need, that opens the session which the action needs; it is empty if the action needs no
    session, or none may be opened for it (R19). `counted` is the material whose uses count until the next sync.
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
    options: PolicyOptions = DEFAULT_OPTIONS,
) -> Need:
    """Return all needs of the action; PERMISSION and ON_MENU are always among them.

    If the mode of a multi-mode device is unknown, the answer is the union over both modes, without NEVER. Raises
    InputError for a value that is neither a member of its enumeration nor the number of one.
    """
    return entry(device_class, mode, level, action, options).needs


def entry(
    device_class: DeviceClass,
    mode: Mode,
    level: SecurityLevel,
    action: Action,
    options: PolicyOptions = DEFAULT_OPTIONS,
) -> Entry:
    """Return one line of the complete table. Raises as `needs` does."""
    situation = _situation(device_class, mode, level, action)
    answer = _answer(*situation, options_given(options))
    needed = _ALWAYS | answer.needs | (Need.NEVER if answer.never else Need(0))
    counted = (answer.needs | answer.opener) & counted_material(situation[-1])
    return Entry(*situation, needed, answer.never, answer.opener, counted)


def never_reason(
    device_class: DeviceClass,
    mode: Mode,
    level: SecurityLevel,
    action: Action,
    options: PolicyOptions = DEFAULT_OPTIONS,
) -> Reason:
    """Return why `needs` contains NEVER, or `Reason.OK` if it does not. Raises as `needs` does."""
    return entry(device_class, mode, level, action, options).reason


def counted_material(action: Action) -> Need:
    """Return the material, as needs, whose uses for this action count until the next sync."""
    return Need.AUTHORIZATION | Need.SECURE_COMMAND if action in _COUNTED else Need.AUTHORIZATION


def permission_for(action: Action) -> Permission:
    """Return the permission that the action requires."""
    return _SINGLE_PERMISSIONS.get(action) or _GROUP_PERMISSIONS[action.group]


def permission_for_scope(token_type: str, scope: int) -> Permission:
    """Return the permissions that a user needs for material of this type and scope (a bit set of actions).

    Every action of the scope requires its permission, whatever the material was requested for. Bits without an action
    require none.
    """
    return _permission_for_scope(token_type, scope)


@lru_cache(maxsize=1024)
def _permission_for_scope(token_type: str, scope: int) -> Permission:
    needed = Permission.SIGNED_AUTHORIZATION if token_type == "authorization" else Permission(0)
    for action in Action:
        if scope >> action & 1:
            needed |= permission_for(action)
    return needed


def entries(options: PolicyOptions = DEFAULT_OPTIONS) -> Iterator[Entry]:
    """Yield all 864 lines in the order of class, mode, level and action; the action changes fastest."""
    for device_class in DeviceClass:
        for mode in Mode:
            for level in SecurityLevel:
                for action in Action:
                    yield entry(device_class, mode, level, action, options)


class Compiled(NamedTuple):
    """The complete table for the extension: the columns of `Entry`, and the actions."""

    needs: "array[int]"
    reasons: "array[int]"
    openers: "array[int]"
    counted: "array[int]"
    actions: list[tuple[int, int]]


def compiled_table(options: PolicyOptions = DEFAULT_OPTIONS) -> Compiled:
    """Return the complete table for the extension.

    The index is `((class * 3 + mode) * 4 + level) * 24 + place`, where `place` is the action's position in `actions`:
    pairs of its number and the required permission, rising by number.
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
    # A member of another enumeration is an int too: arguments in a wrong order would not be noticed.
    if isinstance(value, enumeration):
        return value
    if not isinstance(value, (bool, IntEnum)) and hasattr(value, "__index__"):
        number = index(value)  # also accepts an int of NumPy
        if number in enumeration._value2member_map_:
            return enumeration(number)
    names = ", ".join(enumeration.__members__)
    raise InputError(f"{enumeration.__name__}: got {value!r}, expected one of {names}")


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
    """Return the needs of an action in an open session; no session is opened only to close it (R19)."""
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
