"""Field tools' reports about devices: when they are trusted, and what the security manager stores of them."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from itron_core.audit import audit_entry
from itron_core.enums import Action, ActionGroup, Code, Mode, SecurityLevel
from itron_core.errors import ExchangeError
from itron_core.exchange.identity import content_of, cti_of
from itron_core.exchange.material import SPENT, MaterialState
from itron_core.exchange.records import VERDICTS
from itron_core.manager.batches import of_sequences
from itron_core.manager.people import take_state
from itron_core.manager.requests import request_to_issue
from itron_core.manager.restoring import is_lost
from itron_core.stores.protocol import rows_of

if TYPE_CHECKING:
    from itron_core.audit.journal import Journal
    from itron_core.exchange.protocols import OutcomePage
    from itron_core.exchange.records import OutcomeReport
    from itron_core.stores.protocol import Transaction

__all__ = ["check_page", "learn"]

UINT32 = 2**32
INT64 = 2**63
LEVELS = {level.name.lower(): level for level in SecurityLevel if level is not SecurityLevel.UNKNOWN}


class Issued(NamedTuple):
    """An issued token: the parts with which an outcome is compared."""

    device: str
    token_type: str
    actions: int
    kid: bytes
    sequence: int
    epoch: int
    token: bytes

    def covers(self, action: int) -> bool:
        """Return whether the action could use the token: an authorization opens a session by its type."""
        opens = action == Action.OPEN_SESSION and self.token_type == "authorization"
        return opens or bool(self.actions >> action & 1)


class Known(NamedTuple):
    """The known state of a device, with the token and the time of the report that it came from."""

    epoch: int
    told_sequence: int
    told_at: int


class ReportedState(NamedTuple):
    """A device's report of its own security state."""

    epoch: int
    key_version: int
    level: SecurityLevel
    mode: Mode


def check_page(page: OutcomePage, after: int) -> None:
    """Raise ExchangeError for a page that does not continue from `after`, or holds an invalid outcome."""
    serials = [after, *(serial for serial, _, _, _ in page.rows)]
    rises = all(earlier < later for earlier, later in pairwise(serials))
    if not rises or page.next < serials[-1] or (page.more and page.next == after):
        raise ExchangeError(
            f"the server's page of outcomes is out of order: its serials must rise from {after} to {page.next}"
        )
    for serial, _, outcome, code in page.rows:
        known = outcome.action in Action._value2member_map_ and outcome.state in MaterialState._value2member_map_
        if not known or not 0 <= outcome.at < INT64 or code not in VERDICTS:
            raise ExchangeError(
                f"outcome {serial}: unknown action, state, time or code; nothing of the page was stored"
            )


def is_spent(outcome: OutcomeReport) -> bool:
    """Return whether an outcome reports the use of a token, first or repeated."""
    return outcome.state in SPENT and bool(outcome.kid)


def is_of(outcome: OutcomeReport, code: int, issued: Issued | None) -> bool:
    """Return whether an outcome is about this token: its device, id, content and action.

    An outcome that the server found in conflict is about none: the tool was never granted it, or another use was first.
    """
    return (
        issued is not None
        and code != Code.REPLAY_CONFLICT
        and outcome.device == issued.device
        and outcome.kid == issued.kid
        and outcome.content == content_of(issued.token)
        and issued.covers(outcome.action)
    )


def reported_state(outcome: OutcomeReport) -> ReportedState | None:
    """Return the state that an answer to an action of the SECURITY group reports; None if it cannot be read."""
    if Action(outcome.action).group is not ActionGroup.SECURITY:
        return None
    try:
        said = json.loads(outcome.answer)
        answer = ReportedState(
            int(said["epoch"]), int(said["key_version"]), LEVELS[said["level"]], Mode[said["mode"].upper()]
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return answer if 0 <= answer.epoch < UINT32 and 0 <= answer.key_version < UINT32 else None


def is_newer(said: ReportedState, outcome: OutcomeReport, issued: Issued, known: Known) -> bool:
    """Return whether a report is newer than the known state.

    A device takes no token below its epoch, and the epoch rises by one per token: a higher one is false. Within one
    epoch the later use counts. A replay repeats an old answer, which counts only if no later token was reported.
    """
    if said.epoch > issued.epoch + 1 or said.epoch < known.epoch:
        return False
    if said.epoch > known.epoch:
        return True
    if outcome.state == MaterialState.REPLAYED:
        return issued.sequence > known.told_sequence
    return outcome.at >= known.told_at


def learn(t: Transaction, journal: Journal, page: OutcomePage, now: int) -> None:
    """Store the device states that a page of outcomes reports, and write an audit entry for every outcome."""
    issued = _issued(
        t, [outcome for _, _, outcome, code in page.rows if is_spent(outcome) and code != Code.REPLAY_CONFLICT]
    )
    known = _known_states(t, [token.device for token in issued.values()])
    entries = []
    for _, tool, said_at, code in page.rows:
        # A tool's clock that is ahead must not make later reports look old.
        outcome = said_at._replace(at=min(said_at.at, now))
        token = issued.get(outcome.cti)
        genuine = is_of(outcome, code, token)
        kind = "outcome"
        if is_spent(outcome) and not genuine:
            lost = token is None and code != Code.REPLAY_CONFLICT and is_lost(t, int.from_bytes(outcome.cti[8:]))
            kind = "outcome_of_lost" if lost else "alarm"
        entries.append(_outcome_entry(kind, tool, outcome, code, now))
        said = reported_state(outcome) if genuine and is_spent(outcome) else None
        if token is None or said is None or not is_newer(said, outcome, token, known[token.device]):
            continue
        known[token.device] = Known(said.epoch, max(token.sequence, known[token.device].told_sequence), outcome.at)
        take_state(t, token.device, (said.epoch, said.key_version, said.level, said.mode), known[token.device][1:])
        entries.append(_confirmed_entry(token.device, said, now))
    journal.write(t, entries)


def _issued(t: Transaction, outcomes: list[OutcomeReport]) -> dict[bytes, Issued]:
    """Return the issued tokens with the CWT ids of these outcomes."""
    devices_of = defaultdict(set)
    for outcome in outcomes:
        devices_of[int.from_bytes(outcome.cti[8:])].add(outcome.device)
    found = {}
    for batch, _, kid, tokens in of_sequences(t, devices_of):
        terms = request_to_issue(t, batch.request).terms
        for device, epoch, token in zip(batch.devices, batch.epochs, tokens, strict=True):
            if device in devices_of[batch.sequence]:
                issued = Issued(device, terms.token_type, terms.actions, kid, batch.sequence, epoch, token)
                found[cti_of(device, batch.sequence)] = issued
    return found


def _known_states(t: Transaction, devices: list[str]) -> dict[str, Known]:
    sql = "SELECT device, epoch, told_sequence, told_at FROM manager_device WHERE device IN ({values})"
    return {device: Known(*known) for device, *known in rows_of(t, sql, list(dict.fromkeys(devices)))}


def _outcome_entry(kind: str, tool: str, outcome: OutcomeReport, code: int, now: int) -> bytes:
    return audit_entry(
        kind,
        now,
        tool=tool,
        device=outcome.device,
        action=Action(outcome.action).name.lower(),
        state=MaterialState(outcome.state).name.lower(),
        code=code,
        cti=outcome.cti,
    )


def _confirmed_entry(device: str, said: ReportedState, now: int) -> bytes:
    return audit_entry(
        "device_confirmed",
        now,
        device=device,
        epoch=said.epoch,
        key_version=said.key_version,
        level=said.level.name.lower(),
        mode=said.mode.name.lower(),
    )
