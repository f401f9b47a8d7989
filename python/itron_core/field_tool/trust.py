"""Brings a device the delegations and revocations of the last sign-in, if the device has older ones."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from itron_core.audit import audit_entry
from itron_core.enums import Code
from itron_core.exchange.messages import Outcome, TrustUpdate
from itron_core.field_tool.outcomes import answer_bytes
from itron_core.field_tool.state import delegations_of, moment_of, state_of

if TYPE_CHECKING:
    from itron_core.audit.journal import Journal
    from itron_core.exchange.messages import Answer
    from itron_core.field_tool.work import Link
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["bring_trust"]


def bring_trust(
    store: Store, journal: Journal, link: Link, device: str, *, now: int, always: bool = False
) -> Answer | None:
    """Bring a device this tool's trust unless it is known to have it. Return its answer, or None if none came.

    `always` brings it even to a device that is known to have it. A device with newer delegations or revocations says so,
    and is not asked again until this tool has others. Without an answer nothing is recorded: the next work repeats it.
    """
    with store.read() as t:
        update, digest = _update(t)
        known = t.rows("SELECT trust FROM tool_device WHERE device = ?", (device,))
    if update == TrustUpdate() or (known == [(digest,)] and not always):
        return None
    try:
        answer = link(update)
        answer_bytes(answer)
    except Exception:  # noqa: BLE001  # no answer came, or the device does not know this message: the work itself will show it
        return None
    if answer.outcome != Outcome.REFUSED or answer.reason == Code.SEQUENCE_OLD:
        with store.write() as t:
            t.run("UPDATE tool_device SET trust = ? WHERE device = ?", (digest, device))
            outcome = Outcome(answer.outcome).name.lower()
            latest = moment_of(state_of(t), now)
            journal.write(
                t, [audit_entry("trust_brought", latest, device=device, outcome=outcome, reason=int(answer.reason))]
            )
        journal.publish()
    return answer


def _update(t: Transaction) -> tuple[TrustUpdate, str]:
    """Return this tool's trust update and its digest."""
    update = TrustUpdate(tuple(delegations_of(t)), state_of(t).revocations)
    digest = hashlib.sha256()
    for token in (*update.delegations, update.revocations or b""):
        digest.update(hashlib.sha256(token).digest())
    return update, digest.hexdigest()
