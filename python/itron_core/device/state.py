"""A device's state as plain values; stored as JSON with its SHA-256, and read back whole or not at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from itron_core._arguments import EARLIEST, member
from itron_core.enums import Action, DeviceClass, Mode, SecurityLevel
from itron_core.errors import InputError
from itron_core.exchange.identity import device_id
from itron_core.exchange.messages import canonical, is_int, is_value
from itron_core.policy import PolicyOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "ANSWERS_KEPT",
    "CHECK_VALUE_BYTES",
    "COUNTER_MAX",
    "DELEGATIONS_KEPT",
    "EPOCH_MAX",
    "LONGEST_SNAPSHOT",
    "DeviceState",
    "Session",
    "Use",
    "checked",
    "menu_of",
    "read",
    "written",
]

ANSWERS_KEPT = 64
CHECK_VALUE_BYTES = 4
# The room of a device: delegations, and bytes of a revocation snapshot; both are stored as hexadecimal digits.
DELEGATIONS_KEPT = 64
LONGEST_SNAPSHOT = 1 << 20
STATE_BYTES = 4 << 20
STATE_VERSION = 1
EPOCH_MAX = 2**32 - 1
COUNTER_MAX = 2**32 - 1
I64_MAX = 2**63 - 1
SERVICE_STATES = frozenset({"connected", "disconnected", "restricted", "armed"})
TOKEN_TYPES = frozenset({"secure_command", "authorization"})


class Session(NamedTuple):
    """An open session: it ends when the timer reads `end`; `actions` is the bit set of allowed actions."""

    end: int
    actions: int


class Use(NamedTuple):
    """A used token: its identity, the SHA-256 of its signed content, the action, the time, and the answer.

    `at` is the time at which it was verified, in seconds since 1970.
    """

    kid: str
    sequence: int
    content: str
    token_type: str
    action: Action
    at: int
    data: tuple[tuple[str, int | str], ...]


class DeviceState(NamedTuple):
    """A device's state without its root keys: plain values, none of them secret.

    `delegations` and `snapshot` are the signed tokens of the last trust update, in hexadecimal; `snapshot_at` is the time
    at which the snapshot was verified, in seconds since 1970. `reading_counter` is that of the last protected reading.
    """

    device: str
    device_class: DeviceClass
    mode: Mode
    level: SecurityLevel
    menu: tuple[Action, ...]
    options: PolicyOptions
    epoch: int
    key_version: int = 1
    check_value: str | None = None
    uptime: int = 0
    session: Session | None = None
    watermark: int = EARLIEST
    floor: int = -1
    uses: tuple[Use, ...] = ()
    service: str = "connected"
    operations: int = 0
    reading: int = 1_000
    interval_count: int = 96
    settings: tuple[tuple[str, int | str], ...] = ()
    delegations: tuple[str, ...] = ()
    snapshot: str | None = None
    snapshot_at: int = 0
    reading_counter: int = 0


def menu_of(menu: Iterable[object]) -> tuple[Action, ...]:
    """Return a menu in order. Raises InputError for an unknown action."""
    try:
        return tuple(sorted({member("menu", action, Action) for action in menu}))
    except TypeError as error:
        raise InputError(f"menu: got {menu!r:.80}, expected Actions") from error


def checked(state: DeviceState) -> DeviceState:
    """Return the state if a device can be in it. Raises InputError otherwise."""
    if not isinstance(state.device, str):
        raise InputError(f"device: got {type(state.device).__name__}, expected a device id, a str")
    device_id(state.device)
    if state.mode is Mode.UNKNOWN or state.level is SecurityLevel.UNKNOWN:
        raise InputError("mode, level: got UNKNOWN, expected the device's own")
    if state.mode is Mode.NETWORK and state.device_class is not DeviceClass.MULTI_MODE:
        raise InputError(f"mode: got NETWORK for class {state.device_class.name}, expected MOBILE")
    if state.level is not SecurityLevel.READY_TO_SECURE and state.device_class is DeviceClass.BASIC:
        raise InputError(f"level: got {state.level.name} for a basic device, expected READY_TO_SECURE")
    for name, high in (("epoch", EPOCH_MAX), ("key_version", I64_MAX)):
        if not is_int(getattr(state, name), 0, high):
            raise InputError(f"{name}: got {getattr(state, name)!r:.80}, expected a whole number from 0 to {high}")
    return state


def _digest(plain: object) -> str:
    import hashlib

    return hashlib.sha256(canonical(plain)).hexdigest()


def written(state: DeviceState) -> bytes:
    """Return a state as deterministic JSON with its SHA-256."""
    options = {name: getattr(state.options, name) for name in PolicyOptions.__slots__}
    plain = {**state._asdict(), "options": options}
    return canonical({"device_state": STATE_VERSION, "sha256": _digest(plain), "state": plain})


def read(data: object) -> DeviceState:
    """Return the state that `written` wrote. Raises InputError for any other bytes."""
    if not isinstance(data, bytes) or len(data) > STATE_BYTES:
        raise InputError(f"state: got {type(data).__name__}, expected up to {STATE_BYTES} bytes")
    try:
        outer = json.loads(data)
        plain = outer["state"]
        if outer != {"device_state": STATE_VERSION, "sha256": _digest(plain), "state": plain}:
            _corrupted("its SHA-256 does not match")
        state = _state_of(plain)
        if written(state) != data:
            _corrupted("it was rewritten")
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"state: not a device's state: {type(error).__name__}: {error!s:.200}") from error
    return state


def _corrupted(why: str) -> NoReturn:
    raise InputError(f"state: corrupted: {why}")


def _state_of(plain: dict[str, Any]) -> DeviceState:
    made = DeviceState(**plain)
    state = made._replace(
        device_class=member("device_class", made.device_class, DeviceClass),
        mode=member("mode", made.mode, Mode),
        level=member("level", made.level, SecurityLevel),
        menu=menu_of(made.menu),
        options=PolicyOptions(**plain["options"]),
        session=None if made.session is None else Session(*made.session),
        uses=tuple(_use_of(row) for row in made.uses),
        settings=_pairs(made.settings),
        delegations=tuple(made.delegations),
    )
    if len(state.delegations) > DELEGATIONS_KEPT or not all(bytes.fromhex(token) for token in state.delegations):
        _corrupted("invalid delegations")
    if state.snapshot is not None and not bytes.fromhex(state.snapshot):
        _corrupted("invalid snapshot")
    numbers = [state.snapshot_at, state.uptime, state.operations, state.reading, state.interval_count, state.watermark]
    if not is_int(state.reading_counter, 0, COUNTER_MAX):
        _corrupted("invalid counter")
    if not all(is_int(number, 0, I64_MAX) for number in numbers) or not is_int(state.floor, -1, I64_MAX):
        _corrupted("number out of range")
    if state.session is not None and not all(is_int(number, 0, I64_MAX) for number in state.session):
        _corrupted("invalid session")
    if state.service not in SERVICE_STATES or len(state.uses) > ANSWERS_KEPT:
        _corrupted("invalid service state or log")
    if state.check_value is not None and len(bytes.fromhex(state.check_value)) != CHECK_VALUE_BYTES:
        _corrupted("check value not of 4 bytes")
    return checked(state)


def _use_of(row: Sequence[Any]) -> Use:
    use = Use(*row)
    texts = (use.kid, use.content, use.token_type)
    if not all(type(text) is str for text in texts) or not all(is_int(n, 0, I64_MAX) for n in (use.sequence, use.at)):
        _corrupted("invalid use")
    if use.token_type not in TOKEN_TYPES:
        _corrupted("use of an unknown token type")
    return use._replace(action=member("action", use.action, Action), data=_pairs(use.data))


def _pairs(rows: Iterable[Any]) -> tuple[tuple[str, int | str], ...]:
    pairs = tuple((name, value) for name, value in rows)
    if not all(type(name) is str and is_value(value) for name, value in pairs):
        _corrupted("invalid value")
    return pairs
