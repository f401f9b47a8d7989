"""What field tools report of devices: when it may be believed, and what the security manager keeps of it."""

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
from itron_core.manager.requests import asked_of
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
    """A token that was issued, as far as an outcome is compared with it."""

    device: str
    token_type: str
    actions: int
    kid: bytes
    sequence: int
    epoch: int
    token: bytes

    def covers(self, action: int) -> bool:
        """Say whether the action could spend it: an authorization opens a session by its type."""
        opens = action == Action.OPEN_SESSION and self.token_type == "authorization"
        return opens or bool(self.actions >> action & 1)


class Known(NamedTuple):
    """What is known of a device, and by which token and report it was told."""

    epoch: int
    told_sequence: int
    told_at: int


class Told(NamedTuple):
    """What a device said of its own security."""

    epoch: int
    key_version: int
    level: SecurityLevel
    mode: Mode


def check_page(page: OutcomePage, after: int) -> None:
    """Raise ExchangeError for a page that does not go on from `after`, or holds what is no outcome."""
    serials = [after, *(serial for serial, _, _, _ in page.rows)]
    rises = all(earlier < later for earlier, later in pairwise(serials))
    if not rises or page.next < serials[-1] or (page.more and page.next == after):
        raise ExchangeError(f"a page of outcomes behind {after} that does not rise from there to its end, {page.next}")
    for serial, _, outcome, code in page.rows:
        known = outcome.action in Action._value2member_map_ and outcome.state in MaterialState._value2member_map_
        if not known or not 0 <= outcome.at < INT64 or code not in VERDICTS:
            raise ExchangeError(
                f"outcome {serial}: no action, state, time or code that there is; nothing of the page was kept"
            )


def is_spent(outcome: OutcomeReport) -> bool:
    """Say whether an outcome reports the use of a token, first or repeated."""
    return outcome.state in SPENT and bool(outcome.kid)


def is_of(outcome: OutcomeReport, code: int, issued: Issued | None) -> bool:
    """Say whether an outcome is about this very token: its device, identity, content and action.

    What the server answered with a conflict is about none: the tool was never granted it, or another use stands.
    """
    return (
        issued is not None
        and code != Code.REPLAY_CONFLICT
        and outcome.device == issued.device
        and outcome.kid == issued.kid
        and outcome.content == content_of(issued.token)
        and issued.covers(outcome.action)
    )


def told(outcome: OutcomeReport) -> Told | None:
    """Return what the answer to an action of the SECURITY group says, None where it says nothing that can be read."""
    if Action(outcome.action).group is not ActionGroup.SECURITY:
        return None
    try:
        said = json.loads(outcome.answer)
        answer = Told(int(said["epoch"]), int(said["key_version"]), LEVELS[said["level"]], Mode[said["mode"].upper()])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return answer if 0 <= answer.epoch < UINT32 and 0 <= answer.key_version < UINT32 else None


def teaches(said: Told, outcome: OutcomeReport, issued: Issued, known: Known) -> bool:
    """Say whether an answer is newer than what is known.

    A device takes no token below its epoch, and rises by one: it cannot be further than that. In one epoch the later
    use counts; a replay repeats an old answer, which counts only where no later token has spoken.
    """
    if said.epoch > issued.epoch + 1 or said.epoch < known.epoch:
        return False
    if said.epoch > known.epoch:
        return True
    if outcome.state == MaterialState.REPLAYED:
        return issued.sequence > known.told_sequence
    return outcome.at >= known.told_at


def learn(t: Transaction, journal: Journal, page: OutcomePage, now: int) -> None:
    """Keep what a page of outcomes tells of devices, and write down every one of them."""
    issued = _issued(
        t, [outcome for _, _, outcome, code in page.rows if is_spent(outcome) and code != Code.REPLAY_CONFLICT]
    )
    known = _known_states(t, [token.device for token in issued.values()])
    entries = []
    for _, tool, said_at, code in page.rows:
        # A tool's clock that was ahead must not make what comes later old.
        outcome = said_at._replace(at=min(said_at.at, now))
        token = issued.get(outcome.cti)
        genuine = is_of(outcome, code, token)
        kind = "outcome"
        if is_spent(outcome) and not genuine:
            lost = token is None and code != Code.REPLAY_CONFLICT and is_lost(t, int.from_bytes(outcome.cti[8:]))
            kind = "outcome_of_lost" if lost else "alarm"
        entries.append(_outcome_entry(kind, tool, outcome, code, now))
        said = told(outcome) if genuine and is_spent(outcome) else None
        if token is None or said is None or not teaches(said, outcome, token, known[token.device]):
            continue
        known[token.device] = Known(said.epoch, max(token.sequence, known[token.device].told_sequence), outcome.at)
        take_state(t, token.device, (said.epoch, said.key_version, said.level, said.mode), known[token.device][1:])
        entries.append(_confirmed_entry(token.device, said, now))
    journal.write(t, entries)


def _issued(t: Transaction, outcomes: list[OutcomeReport]) -> dict[bytes, Issued]:
    """Return the tokens that were issued under these CWT ids."""
    wanted = defaultdict(set)
    for outcome in outcomes:
        wanted[int.from_bytes(outcome.cti[8:])].add(outcome.device)
    found = {}
    for lot, _, kid, tokens in of_sequences(t, wanted):
        said = asked_of(t, lot.request).wanted
        for device, epoch, token in zip(lot.devices, lot.epochs, tokens, strict=True):
            if device in wanted[lot.sequence]:
                issued = Issued(device, said.token_type, said.actions, kid, lot.sequence, epoch, token)
                found[cti_of(device, lot.sequence)] = issued
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


def _confirmed_entry(device: str, said: Told, now: int) -> bytes:
    return audit_entry(
        "device_confirmed",
        now,
        device=device,
        epoch=said.epoch,
        key_version=said.key_version,
        level=said.level.name.lower(),
        mode=said.mode.name.lower(),
    )
