"""A simulated meter or ERT: it enforces its class, level and mode, and trusts nothing that it has not verified.

It implements the rules of docs/policy.md from a device's view, not from the table of field tools; a test proves that the
two agree. It has a timer and needs no clock (docs/device.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core._arguments import EARLIEST, member, moment
from itron_core._rust import verify_token, verify_tokens
from itron_core.device.effects import done
from itron_core.device.learning import keys_known, learned, revocations_of, trusted_keys
from itron_core.device.protecting import ReadingKey, protected
from itron_core.device.rules import (
    SWITCHES,
    Refusal,
    check_offered,
    check_reading_key,
    check_session,
    needs_authorization,
    needs_command,
    needs_reading_key,
    needs_session,
)
from itron_core.device.single_use import again, spent, used_before
from itron_core.device.state import (
    CHECK_VALUE_BYTES,
    DeviceState,
    Use,
    checked,
    menu_of,
    read,
    written,
)
from itron_core.enums import Action, DeviceClass, Mode, Reason, SecurityLevel
from itron_core.errors import InputError, TokenRefused
from itron_core.exchange.identity import content_of
from itron_core.exchange.messages import Answer, Outcome, TrustUpdate, check_message, is_int
from itron_core.policy import DEFAULT_OPTIONS, PolicyOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core._rust import DerivedKeys, Keyring, Revocations, Token
    from itron_core.exchange.messages import Message

__all__ = ["Device"]

# The limit of format.md for a token; ML-DSA signatures take most of it.
TOKEN_BYTES = 4_096
EVERY_ACTION = tuple(Action)
I64_MAX = 2**63 - 1
MISSING = {
    "secure_command": Reason.SECURE_COMMAND_MISSING,
    "reading_key": Reason.READING_KEY_MISSING,
    "authorization": Reason.AUTHORIZATION_MISSING,
}


class Device:
    """A simulated device: `device` is its id, `keyring` the keys that it trusts, `menu` the actions that it offers.

    `options` are the policy options that it was built with; only field tools limit uses. `check_value` (4 bytes) with
    `key_version` identifies its reading key; without it any genuine grant for this device is accepted. `revocations` is
    the snapshot that it was built with. A `TrustUpdate` brings newer ones, and delegations of the roots in its keyring.
    With a `reading_key` (one derived key, or its bytes with `check_value`), readings at full security are protected by
    it, and never sent in the clear. Raises InputError for an unknown mode or level, or one that this class lacks. Not
    thread-safe.
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
            member("device_class", device_class, DeviceClass),
            member("mode", mode, Mode),
            member("level", level, SecurityLevel),
            EVERY_ACTION if menu is None else menu_of(menu),
            options,
            epoch,
            key_version,
            None if check_value is None else check_value.hex(),
        )
        self._state = checked(state)
        self._keyring, self._revocations = keyring, revocations

    @property
    def device(self) -> str:
        """The device's id, such as `ert:5`."""
        return self._state.device

    @property
    def state(self) -> DeviceState:
        """The device's whole state."""
        return self._state

    def __repr__(self) -> str:
        state = self._state
        return f"Device({state.device}, {state.device_class.name}, {state.mode.name}, {state.level.name})"

    def __getstate__(self) -> object:
        """Refuse pickling and copying with a reading key: two devices would use the same counter under one key."""
        if self._reading_key is not None:
            raise TypeError("a device with a reading key cannot be pickled or copied; use to_bytes")
        return super().__getstate__()

    def to_bytes(self) -> bytes:
        """Return the state as deterministic JSON with its SHA-256, for `from_bytes`."""
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
        """Return the device whose state `to_bytes` returned; from now on it trusts the root keys of `keyring`.

        The state holds no reading key, so it is passed again; after a key exchange it is the new one, and its check value
        becomes the device's. Raises InputError for any other bytes, even with one flipped bit, and for a reading key with
        another check value.
        """
        device, state, key = cls.__new__(cls), read(data), ReadingKey.given(reading_key, check_value)
        if key is not None:
            if state.check_value not in {None, key.check_value.hex()}:
                raise InputError("reading_key: got a key whose check value differs from the device's")
            state = state._replace(check_value=key.check_value.hex())
        device._state, device._keyring, device._revocations = state, keyring, revocations  # noqa: SLF001  # the instance under construction
        device._reading_key = key  # noqa: SLF001  # the instance under construction
        return device

    def restart(self) -> None:
        """Simulate a power loss: the timer restarts at 0 and an open session ends. The rest of the state stays."""
        self._state = self._state._replace(uptime=0, session=None)

    def answer(self, message: Message | TrustUpdate, *, uptime: int, now: int | None = None) -> Answer:
        """Answer a message at a time of the device's own timer, in seconds since its start.

        `now`, in seconds since 1970, is passed only if the device has a clock. The latest issue time of the tokens used
        here is a lower bound for it, and replaces it without a clock. A refused message changes nothing but the timer's
        reading. Raises InputError if the timer runs backwards, if `now` is outside 2020 to 2100, and for arguments of a
        wrong type; everything else gets an answer.
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
        # Before any rule: a tool without an answer sends again, and later actions may have changed every rule.
        if first := self._repeated(state, message):
            return again(first), state
        action = message.action
        check_offered(state, action)
        if needs_session(state, action):
            check_session(state, action)
        token, reading_key = self._shown(state, message, now)
        if action in SWITCHES and not message.key_exchange:
            raise Refusal(Reason.KEY_EXCHANGE_MISSING)
        content = content_of(message.token).hex() if token and message.token else ""
        if token and (first := used_before(state, token, content)):
            return again(first), state
        after, data = done(state, message, token)
        if self._reading_key is not None and needs_reading_key(state, action):
            data, after = protected(after, data, self._reading_key)
        seen = [int(shown.issued_at.timestamp()) for shown in (token, reading_key) if shown]
        after = after._replace(watermark=max(state.watermark, *seen, EARLIEST))
        if token:
            at = max(after.watermark, now or 0)
            use = Use(token.kid.hex(), token.sequence or 0, content, token.token_type, action, at, tuple(data.items()))
            after = spent(after, use)
        return Answer(Outcome.DONE, 0, data), after

    def _shown(self, state: DeviceState, message: Message, now: int | None) -> tuple[Token | None, Token | None]:
        """Verify the tokens that the action needs, and ignore the others."""
        action = message.action
        token = reading_key = None
        if needs_command(state, action):
            token = self._verified(state, message.token, "secure_command", action, now)
        elif needs_authorization(state, action):
            token = self._verified(state, message.token, "authorization", action, now)
        if needs_reading_key(state, action):
            reading_key = self._verified(state, message.reading_key, "reading_key", action, now)
            check_reading_key(state, reading_key)
        return token, reading_key

    def _verified(
        self, state: DeviceState, token: bytes | None, token_type: str, action: Action, now: int | None
    ) -> Token:
        if not token:
            raise Refusal(MISSING[token_type])
        at = max(self._issued_at(state, token, token_type) if now is None else now, state.watermark)
        ring = (keys_known if now is None else trusted_keys)(state, self._keyring, at)
        try:
            return verify_token(
                token,
                ring,
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
        """Return the issue time of a genuine token, or 0 if its signature is invalid."""
        ring = keys_known(state, self._keyring)
        (shown,) = verify_tokens([token], ring, now=EARLIEST, token_type=token_type)["issued_at"].to_pylist()
        return 0 if shown is None else int(shown.timestamp())

    def _repeated(self, state: DeviceState, message: Message) -> Use | None:
        """Return the use that this message repeats, if its signature is valid."""
        if not message.token or len(message.token) > TOKEN_BYTES:
            return None
        content = content_of(message.token).hex()
        for use in state.uses:
            if use.content == content and use.action is message.action:
                self._check_genuine(state, message.token, use)
                return use
        return None

    def _check_genuine(self, state: DeviceState, token: bytes, use: Use) -> None:
        """Verify it as at its first use: since then it may have expired, or a key exchange made its epoch stale."""
        ring = keys_known(state, self._keyring, use.at)
        try:
            verify_token(token, ring, now=use.at, token_type=use.token_type, audience=state.device)
        except TokenRefused as refused:
            raise Refusal(refused.code) from None


def check_timer(uptime: object, last: int) -> None:
    if not is_int(uptime, 0, I64_MAX - 86_400):
        raise InputError(f"uptime: got {uptime!r:.80}, expected whole seconds since the device's start")
    if isinstance(uptime, int) and uptime < last:
        raise InputError(f"uptime: got {uptime} after {last}, expected a timer that never runs backwards")
