"""Work on a device: ask the policy, record the message, and only then send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from itron_core.audit import audit_entry
from itron_core.enums import Action, ActionGroup, Decision, SecurityLevel
from itron_core.exchange.messages import Message, Outcome
from itron_core.field_tool.outcomes import Sending, actions_opened_by, answer_bytes, became_of, note, settle
from itron_core.field_tool.planning import decided, limits_of, spent_by
from itron_core.field_tool.refusals import refused_by_device
from itron_core.field_tool.state import advance, moment_of, state_of, trust_at
from itron_core.field_tool.trust import bring_trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from itron_core._rust import Keyring
    from itron_core.audit.journal import Journal
    from itron_core.exchange.messages import Answer, TrustUpdate
    from itron_core.field_tool.planning import Held
    from itron_core.policy import PolicyOptions
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Link", "Work", "WorkResult"]


class Link(Protocol):
    """The connection to a device: sends a message and returns the answer. Any exception means that no answer came."""

    def __call__(self, message: Message | TrustUpdate, /) -> Answer:
        """Send a message and wait for the answer."""


class WorkResult(NamedTuple):
    """The result of an action: the policy's decision, the messages sent, in order, and the answers received.

    `reason` is the policy's if it refused, else the last answer's; 0 if the action was done. If there is one answer fewer
    than messages, the last message may or may not have been carried out, and is safe to send again; `failure` is then
    the link's exception, or the fault of its answer. `explanation` describes the decision, or the device's refusal.
    """

    decision: Decision
    reason: int
    answers: tuple[Answer, ...]
    sent: tuple[Action, ...]
    explanation: str
    failure: str = ""


class _Step(NamedTuple):
    """A decision, and the message recorded as sent, if there is one."""

    decision: Decision
    reason: int
    explanation: str
    serial: int = 0
    message: Message | None = None
    spent: Held | None = None
    reading_key: Held | None = None


class Work:
    """The work of one call on one device."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        keyring: Keyring,
        options: PolicyOptions,
        *,
        device: str,
        link: Link,
        now: int,
        key_exchange: bool,
        level: SecurityLevel | None,
        settings: Mapping[str, int | str] | None,
    ) -> None:
        self._store, self._journal, self._keyring, self._options = store, journal, keyring, options
        self._device, self._link, self._now, self._key_exchange = device, link, now, key_exchange
        self._level, self._settings = level, settings

    def run(self, action: Action) -> WorkResult:
        """Open a session if one is needed and possible, then perform the action."""
        step = self._begin(action)
        if step.message is None:
            return WorkResult(step.decision, step.reason, (), (), step.explanation)
        bring_trust(self._store, self._journal, self._link, self._device, now=self._now)
        first = step
        answers: list[Answer] = []
        sent: list[Action] = []
        explanation, failure = first.explanation, ""
        while step.message is not None:
            sent.append(step.message.action)
            answer = self._send(step, step.message)
            if isinstance(answer, Exception):
                failure = f"{type(answer).__name__}: {answer}".rstrip(": ")
                explanation = (
                    f"{step.message.action.name.lower()} was sent to {self._device}, and no answer came ({failure})."
                    " It is safe to send again."
                )
                break
            answers.append(answer)
            if answer.outcome is Outcome.REFUSED:
                explanation = refused_by_device(answer, step.message, step.spent, step.reading_key)
            if step.decision is not Decision.ALLOWED_AFTER_OPEN or answer.outcome is Outcome.REFUSED:
                break
            # A replay may belong to a session that another tool opened; only the device knows whether it is still open.
            step = self._begin(action, opened=actions_opened_by(step.spent))
            if step.message is None:
                return WorkResult(step.decision, step.reason, tuple(answers), tuple(sent), step.explanation)
        reason = answers[-1].reason if len(answers) == len(sent) else 0
        return WorkResult(first.decision, int(reason), tuple(answers), tuple(sent), explanation, failure)

    def _begin(self, action: Action, opened: int | None = None) -> _Step:
        """Decide, and record the message to send, in one transaction, so that two processes cannot both send it."""
        with self._store.write() as t:
            step = self._decide(t, action, opened)
        self._journal.publish()
        return step

    def _decide(self, t: Transaction, action: Action, opened: int | None) -> _Step:
        state = state_of(t)
        moment = moment_of(state, self._now)
        advance(t, seen=moment)
        plan = decided(
            t,
            [(self._device, action)],
            state,
            trust_at(t, self._keyring, state, moment),
            now=self._now,
            options=self._options,
            key_exchange=self._key_exchange,
            opened=opened,
        )
        decision, reason = Decision(plan.results["decision"][0]), int(plan.results["reason"][0])
        step = _Step(decision, reason, plan.results.explain(0))
        if decision in {Decision.REFUSED, Decision.UNDETERMINED}:
            self._refuse(t, action, reason, moment)
            return step
        opens = decision is Decision.ALLOWED_AFTER_OPEN
        (known,), (choice,) = plan.known, plan.choices
        spent = spent_by(known, choice, action, limits_of(self._options, state), opens=opens)
        token = None if spent is None else spent.token
        message = Message(Action.OPEN_SESSION, token)
        if not opens:
            message = Message(
                action,
                token,
                None if choice.reading_key is None else choice.reading_key.token,
                key_exchange=self._key_exchange,
                level=self._level,
                settings=self._settings,
            )
        sending = Sending(self._device, message.action, spent)
        serial = note(t, sending, moment)
        self._journal.write(t, [_entry("sent", sending, serial, moment)])
        reading_key = None if opens else choice.reading_key
        return step._replace(serial=serial, message=message, spent=spent, reading_key=reading_key)

    def _refuse(self, t: Transaction, action: Action, reason: int, moment: int) -> None:
        if action.group is ActionGroup.SERVICE:
            self._journal.write(
                t,
                [
                    audit_entry(
                        "critical_refused", moment, device=self._device, action=action.name.lower(), reason=reason
                    )
                ],
            )

    def _send(self, step: _Step, message: Message) -> Answer | Exception:
        """Send the message and record the answer, or return the reason why none came."""
        try:
            answer = self._link(message)
            answer_bytes(answer)
        except Exception as error:  # noqa: BLE001  # whatever went wrong on the way, no answer came
            return error
        sending = Sending(self._device, message.action, step.spent)
        with self._store.write() as t:
            moment = moment_of(state_of(t), self._now)
            serial = settle(t, sending, step.serial, answer, moment)
            became = became_of(answer).name.lower()
            self._journal.write(t, [_entry(became, sending, serial, moment, reason=int(answer.reason))])
        self._journal.publish()
        return answer


def _entry(kind: str, sending: Sending, serial: int, moment: int, **facts: int) -> bytes:
    token = {} if sending.spent is None else {"kid": sending.spent.kid, "cti": sending.spent.cti}
    action = sending.action.name.lower()
    return audit_entry(kind, moment, device=sending.device, action=action, serial=serial, **token, **facts)
