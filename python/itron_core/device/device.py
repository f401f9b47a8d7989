"""A simulated meter or ERT: it enforces its class, level and mode, and believes nothing that it has not verified.

Written from the rules of docs/policy.md as a device has to keep them, not from the table that field tools ask: that the
two agree is a test. It has a timer and needs no clock (docs/device.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import EARLIEST, moment
from itron_core._rust import verify_token, verify_tokens
from itron_core.device.effects import done
from itron_core.device.learning import learned, revocations_of, trusted_keys
from itron_core.device.protecting import ReadingKey, protected
from itron_core.device.rules import (
    SWITCHES,
    Refusal,
    check_offered,
    check_reading_key,
    check_session,
    wants_authorization,
    wants_command,
    wants_reading_key,
    wants_session,
)
from itron_core.device.single_use import again, spent, used_before
from itron_core.device.state import (
    CHECK_VALUE_BYTES,
    DeviceState,
    Use,
    checked,
    member,
    menu_of,
    read,
    written,
)
from itron_core.enums import Action, DeviceClass, Mode, Reason, SecurityLevel
from itron_core.errors import InputError, TokenRefused
from itron_core.exchange.identity import content_of
from itron_core.exchange.messages import Answer, Outcome, TrustUpdate, check_message, is_int
from itron_core.policy import PolicyOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core._rust import DerivedKeys, Keyring, Revocations, Token
    from itron_core.exchange.messages import Message

__all__ = ["Device"]

# As format.md has it of a token; ML-DSA signatures take most of it.
TOKEN_BYTES = 4_096
I64_MAX = 2**63 - 1
DEFAULT_OPTIONS = PolicyOptions()
MISSING = {
    "secure_command": Reason.SECURE_COMMAND_MISSING,
    "reading_key": Reason.READING_KEY_MISSING,
    "authorization": Reason.AUTHORIZATION_MISSING,
}


class Device:
    """One simulated device: `device` is its `aud`, `keyring` whom it trusts, `menu` the actions that it offers.

    `options` are the readings of the policy that it was built with; the limits of uses are a field tool's, not a
    device's. `check_value` (4 bytes) with `key_version` says which reading key is its own; without it any genuine grant
    for this device is taken. `revocations` is the snapshot that it was made with; it learns newer ones, and delegations
    of the roots in its keyring, from a `TrustUpdate`. With a `reading_key` (one derived key, or its bytes beside
    `check_value`) it answers readings at full security protected by it, and never in the clear. Raises InputError for a mode or level that is unknown, or that a
    device of this class has not. One caller at a time.
    """

    __slots__ = ("_keyring", "_reading_key", "_revocations", "_state")

    def __init__(
        self,
        device: str,
        device_class: DeviceClass,
        *,
        keyring: Keyring,
        epoch: int = 0,
        mode: Mode = Mode.MOBILE,
        level: SecurityLevel = SecurityLevel.READY_TO_SECURE,
        menu: Iterable[Action] | None = None,
        options: PolicyOptions = DEFAULT_OPTIONS,
        key_version: int = 1,
        check_value: bytes | None = None,
        revocations: Revocations | None = None,
        reading_key: DerivedKeys | bytes | None = None,
    ) -> None:
        if not isinstance(options, PolicyOptions):
            raise InputError(f"options: got {type(options).__name__}, expected PolicyOptions")
        if check_value is not None and (type(check_value) is not bytes or len(check_value) != CHECK_VALUE_BYTES):
            raise InputError(f"check_value: got {check_value!r:.80}, expected 4 bytes or None")
        self._reading_key = ReadingKey.given(reading_key, check_value)
        if self._reading_key is not None:
            check_value = self._reading_key.check_value
        state = DeviceState(
            device,
            member(DeviceClass, device_class),
            member(Mode, mode),
            member(SecurityLevel, level),
            tuple(Action) if menu is None else menu_of(menu),
            options,
            epoch,
            key_version,
            None if check_value is None else check_value.hex(),
        )
        self._state = checked(state)
        self._keyring, self._revocations = keyring, revocations

    @property
    def device(self) -> str:
        """Its `aud`."""
        return self._state.device

    @property
    def state(self) -> DeviceState:
        """All that it remembers."""
        return self._state

    def __repr__(self) -> str:
        state = self._state
        return f"Device({state.device}, {state.device_class.name}, {state.mode.name}, {state.level.name})"

    def __getstate__(self) -> object:
        """Refuse to be pickled or copied with a reading key: two devices would send one counter under one key."""
        if self._reading_key is not None:
            raise TypeError("a device with a reading key cannot be pickled or copied; use to_bytes")
        return super().__getstate__()

    def to_bytes(self) -> bytes:
        """Return its state as deterministic JSON with its SHA-256, for `from_bytes`."""
        return written(self._state)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        keyring: Keyring,
        revocations: Revocations | None = None,
        reading_key: DerivedKeys | bytes | None = None,
        check_value: bytes | None = None,
    ) -> Device:
        """Make the device whose state `to_bytes` returned, with the root keys that it shall trust from now on.

        A reading key is no part of the state and is given again; after a key exchange it is the new one, and its check
        value becomes the device's. Any other bytes raise InputError, one flipped bit included, and a reading key of
        another check value.
        """
        device, state, key = cls.__new__(cls), read(data), ReadingKey.given(reading_key, check_value)
        if key is not None:
            if state.check_value not in {None, key.check_value.hex()}:
                raise InputError("reading_key: got a key of another check value than the device's")
            state = state._replace(check_value=key.check_value.hex())
        device._state, device._keyring, device._revocations = state, keyring, revocations  # noqa: SLF001  # its own
        device._reading_key = key  # noqa: SLF001  # its own
        return device

    def restart(self) -> None:
        """Lose power for a moment: the timer begins again at 0, and an open session is gone. The rest stays."""
        self._state = self._state._replace(uptime=0, session=None)

    def answer(self, message: Message | TrustUpdate, *, uptime: int, now: int | None = None) -> Answer:
        """Answer a message at a moment of the device's own timer, in seconds since it was started.

        `now`, in seconds since 1970, is given only where the device has a clock. It never counts for less than the
        latest issue time of the tokens that were used here, and without a clock that is the time. A message that is
        refused changes nothing but the timer's reading. Raises InputError for a timer that runs backwards, for a `now`
        outside 2020 to 2100 and for arguments of a wrong type; all else is an answer.
        """
        check_message(message)
        check_timer(uptime, self._state.uptime)
        clock = None if now is None else moment("now", now)
        before = self._state._replace(uptime=uptime)
        try:
            if isinstance(message, TrustUpdate):
                answer, after = learned(before, message, self._keyring, self._revocations, clock)
            else:
                answer, after = self._answered(before, message, clock)
        except Refusal as refusal:
            answer, after = Answer(Outcome.REFUSED, refusal.reason, {}), before
        self._state = after
        return answer

    def _answered(self, state: DeviceState, message: Message, now: int | None) -> tuple[Answer, DeviceState]:
        # Before any rule: who got no answer sends again, and what was done since may have changed every rule.
        if first := self._repeated(state, message):
            return again(first), state
        action = message.action
        check_offered(state, action)
        if wants_session(state, action):
            check_session(state, action)
        token, reading_key = self._shown(state, message, now)
        if action in SWITCHES and not message.key_exchange:
            raise Refusal(Reason.KEY_EXCHANGE_MISSING)
        content = content_of(message.token).hex() if token and message.token else ""
        if token and (first := used_before(state, token, content)):
            return again(first), state
        after, data = done(state, message, token)
        if self._reading_key is not None and wants_reading_key(state, action):
            data, after = protected(after, data, self._reading_key)
        seen = [int(shown.issued_at.timestamp()) for shown in (token, reading_key) if shown]
        after = after._replace(watermark=max(state.watermark, *seen, EARLIEST))
        if token:
            at = max(after.watermark, now or 0)
            use = Use(token.kid.hex(), token.sequence or 0, content, token.token_type, action, at, tuple(data.items()))
            after = spent(after, use)
        return Answer(Outcome.DONE, 0, data), after

    def _shown(self, state: DeviceState, message: Message, now: int | None) -> tuple[Token | None, Token | None]:
        """Verify what the action asks for; what it does not ask for is not looked at."""
        action = message.action
        token = reading_key = None
        if wants_command(state, action):
            token = self._verified(state, message.token, "secure_command", action, now)
        elif wants_authorization(state, action):
            token = self._verified(state, message.token, "authorization", action, now)
        if wants_reading_key(state, action):
            reading_key = self._verified(state, message.reading_key, "reading_key", action, now)
            check_reading_key(state, reading_key)
        return token, reading_key

    def _verified(
        self, state: DeviceState, token: bytes | None, token_type: str, action: Action, now: int | None
    ) -> Token:
        if not token:
            raise Refusal(MISSING[token_type])
        at = max(self._issued_at(state, token, token_type) if now is None else now, state.watermark)
        try:
            return verify_token(
                token,
                trusted_keys(state, self._keyring, at),
                now=at,
                token_type=token_type,
                audience=state.device,
                action=action,
                epoch=state.epoch,
                revocations=revocations_of(state, self._revocations),
            )
        except TokenRefused as refused:
            raise Refusal(refused.code) from None

    def _issued_at(self, state: DeviceState, token: bytes, token_type: str) -> int:
        """Return the issue time that a genuine token shows, 0 if its signature does not hold."""
        ring = trusted_keys(state, self._keyring, None)
        (shown,) = verify_tokens([token], ring, now=EARLIEST, token_type=token_type)["issued_at"].to_pylist()
        return 0 if shown is None else int(shown.timestamp())

    def _repeated(self, state: DeviceState, message: Message) -> Use | None:
        """Return the use that this very message repeats, when its signature holds."""
        if not message.token or len(message.token) > TOKEN_BYTES:
            return None
        content = content_of(message.token).hex()
        for use in state.uses:
            if use.content == content and use.action is message.action:
                self._check_genuine(state, message.token, use)
                return use
        return None

    def _check_genuine(self, state: DeviceState, token: bytes, use: Use) -> None:
        """Judge as at the first time: since then it may have expired, and a key exchange made its epoch stale."""
        ring = trusted_keys(state, self._keyring, use.at)
        try:
            verify_token(token, ring, now=use.at, token_type=use.token_type, audience=state.device)
        except TokenRefused as refused:
            raise Refusal(refused.code) from None


def check_timer(uptime: object, last: int) -> None:
    if not is_int(uptime, 0, I64_MAX - 86_400):
        raise InputError(f"uptime: got {uptime!r:.80}, expected whole seconds since the device was started")
    if isinstance(uptime, int) and uptime < last:
        raise InputError(f"uptime: got {uptime} after {last}, expected a timer that never runs backwards")
