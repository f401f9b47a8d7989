"""Records a sent message and a device's answer, with their effects on material, session and device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core.enums import Action, ActionGroup, Code, Mode, Need, Reason, SecurityLevel
from itron_core.exchange.material import MaterialState
from itron_core.exchange.messages import Answer, Outcome
from itron_core.field_tool.state import advance, state_of
from itron_core.policy import counted_material

if TYPE_CHECKING:
    from itron_core.field_tool.planning import Held
    from itron_core.stores.protocol import Transaction

__all__ = ["Sending", "actions_opened_by", "answer_bytes", "became_of", "note", "settle"]

DEFAULT_SESSION = 3_600
LONGEST_SESSION = 28_800
EVERY_ACTION = sum(1 << action for action in Action)
NO_SESSION = frozenset({Reason.SESSION_REQUIRED, Reason.SESSION_EXPIRED, Reason.SESSION_NOT_STARTED})
# Codes by which a device refuses this token for ever; those of its clock or a session's scope are not among them.
FINAL = frozenset(
    code
    for code in Code
    if Code.NO_TOKEN < code < Code.INTERNAL
    and code
    not in {
        Code.IAT_IN_FUTURE,
        Code.NOT_YET_VALID,
        Code.EXPIRED,
        Code.SNAPSHOT_STALE,
        Code.SCOPE_DENIED,
        Code.REPLAY_IDENTICAL,
    }
)
STATES = {
    Outcome.DONE: MaterialState.USED,
    Outcome.REPLAYED: MaterialState.REPLAYED,
    Outcome.REFUSED: MaterialState.REFUSED,
}


class Sending(NamedTuple):
    """A message to a device, and the piece of material that it uses, as it was before."""

    device: str
    action: Action
    spent: Held | None


def answer_bytes(answer: object) -> bytes:
    """Return the answer's data as bytes. Raises for an invalid answer."""
    if not isinstance(answer, Answer) or not isinstance(answer.data, dict):
        raise TypeError(f"answer: got {type(answer).__name__}, expected an Answer")
    Outcome(answer.outcome)
    int(answer.reason)
    return answer.to_bytes()


def became_of(answer: Answer) -> MaterialState:
    """Return the state of an outcome with this answer."""
    return STATES[Outcome(answer.outcome)]


def note(t: Transaction, sending: Sending, moment: int) -> int:
    """Record that a message is about to be sent, count its use once, and return the outcome's serial."""
    serial = _insert(t, sending, (int(MaterialState.SENT), 0, b"", moment))
    spent = sending.spent
    if spent is not None:
        counts = Need[spent.token_type.upper()] in counted_material(sending.action)
        t.run(
            "UPDATE tool_material SET state = ?, sent_at = ?, counted = ? WHERE kid = ? AND cti = ?",
            (
                int(MaterialState.SENT),
                moment if spent.sent_at is None else spent.sent_at,
                serial if counts and spent.counted is None else spent.counted,
                spent.kid,
                spent.cti,
            ),
        )
    return serial


def settle(t: Transaction, sending: Sending, serial: int, answer: Answer, moment: int) -> int:
    """Record an answer to the outcome `serial`, and return the serial of the outcome that holds it."""
    values = int(became_of(answer)), int(answer.reason), answer_bytes(answer), moment
    # If a sync has reported the sending meanwhile, the answer becomes a new outcome.
    if not t.run(
        "UPDATE tool_outcome SET state = ?, reason = ?, answer = ?, happened_at = ?"
        " WHERE serial = ? AND number IS NULL AND state = ?",
        (*values, serial, int(MaterialState.SENT)),
    ):
        serial = _insert(t, sending, values)
    if sending.spent is not None:
        _settle_material(t, sending.spent, answer)
    _update_device(t, sending, answer, moment)
    return serial


def actions_opened_by(spent: Held | None) -> int:
    """Return the actions that a session allows: all of them by a command, those of the scope by an authorization."""
    return spent.actions if spent is not None and spent.token_type == "authorization" else EVERY_ACTION


def _insert(t: Transaction, sending: Sending, values: tuple[int, int, bytes, int]) -> int:
    # Counted in the state, since the last outcome may be deleted: no serial is used twice.
    serial = state_of(t).serial + 1
    advance(t, serial=serial)
    spent = sending.spent
    identity = (b"", b"", b"") if spent is None else (spent.kid, spent.cti, spent.content)
    t.run(
        "INSERT INTO tool_outcome"
        " (serial, device, action, kid, cti, content, state, reason, answer, happened_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (serial, sending.device, int(sending.action), *identity, *values),
    )
    return serial


def _settle_material(t: Transaction, spent: Held, answer: Answer) -> None:
    """Record the new state of a piece of material.

    A refused piece is unused if this was its first sending. If it was sent before without an answer, it may have been
    used then, and stays so unless the device refuses it for ever.
    """
    was_sent = spent.state == MaterialState.SENT
    if answer.outcome != Outcome.REFUSED:
        t.run(
            "UPDATE tool_material SET state = ? WHERE kid = ? AND cti = ?",
            (int(became_of(answer)), spent.kid, spent.cti),
        )
    elif answer.reason in FINAL or not was_sent:
        became = MaterialState.REFUSED if answer.reason in FINAL else MaterialState.HELD
        unused = "" if was_sent else ", counted = NULL, sent_at = NULL"
        t.run(
            f"UPDATE tool_material SET state = ?{unused} WHERE kid = ? AND cti = ? AND state = ?",  # noqa: S608
            (int(became), spent.kid, spent.cti, int(MaterialState.SENT)),
        )


def _update_device(t: Transaction, sending: Sending, answer: Answer, moment: int) -> None:
    device, action, spent = sending
    if answer.outcome == Outcome.REFUSED:
        if answer.reason in NO_SESSION:
            _set_session(t, device, None, None, None)
        return
    # A session does not survive new keys, another level or another mode.
    if action is Action.CLOSE_SESSION or action.group is ActionGroup.SECURITY:
        _set_session(t, device, None, None, None)
    if action.group is ActionGroup.SECURITY:
        _update_security(t, device, answer.data)
    if action is Action.OPEN_SESSION and spent is not None:
        opened_at = moment if answer.outcome == Outcome.DONE else _first_sent(spent)
        # A replay of a token that this tool never sent: another tool opened the session, at an unknown time.
        if opened_at is not None:
            _set_session(t, device, opened_at, _seconds(answer.data, spent), actions_opened_by(spent))


def _first_sent(spent: Held) -> int | None:
    return spent.sent_at if spent.state == MaterialState.SENT else None


def _set_session(t: Transaction, device: str, opened_at: int | None, seconds: int | None, actions: int | None) -> None:
    user = None if opened_at is None else state_of(t).user_name
    t.run(
        "UPDATE tool_device SET session_opened_at = ?, session_seconds = ?, session_actions = ?, opened_by = ?"
        " WHERE device = ?",
        (opened_at, seconds, actions, user, device),
    )


def _update_security(t: Transaction, device: str, data: dict[str, Any]) -> None:
    """Store the device's reported epoch, level and mode; an answer with an older epoch is a repeated old one."""
    epoch = data.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 2**63:
        return
    level = SecurityLevel.__members__.get(str(data.get("level")).upper(), SecurityLevel.UNKNOWN)
    mode = Mode.__members__.get(str(data.get("mode")).upper(), Mode.UNKNOWN)
    if level is SecurityLevel.UNKNOWN or mode is Mode.UNKNOWN:
        return
    t.run(
        "UPDATE tool_device SET epoch = ?, security_level = ?, mode = ?, level_verified = 1"
        " WHERE device = ? AND epoch <= ?",
        (epoch, int(level), int(mode), device, epoch),
    )


def _seconds(data: dict[str, Any], spent: Held) -> int:
    """Return the session's length: the shorter of the device's answer and the token's limit."""
    allowed = spent.session_seconds or DEFAULT_SESSION
    said = data.get("session_seconds")
    if isinstance(said, int) and not isinstance(said, bool) and 0 < said <= LONGEST_SESSION:
        return min(said, allowed)
    return allowed
