"""What a device's answer tells the security manager, and when it may be believed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from itron_core.errors import ExchangeError
from itron_core.levels import Action, ActionGroup, Code, Mode, SecurityLevel
from itron_core.material import SPENT, VERDICTS, MaterialState, content_of

if TYPE_CHECKING:
    from itron_core.material import Outcome
    from itron_core.tools_server import OutcomePage

__all__ = ["Issued", "Known", "Told", "check_page", "is_of", "is_spent", "teaches", "told"]

UINT32 = 2**32
INT64 = 2**63


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


def is_spent(outcome: Outcome) -> bool:
    """Say whether an outcome reports the use of a token, first or repeated."""
    return outcome.state in SPENT and bool(outcome.kid)


def is_of(outcome: Outcome, code: int, issued: Issued | None) -> bool:
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


def told(outcome: Outcome) -> Told | None:
    """Return what the answer to an action of the SECURITY group says, None where it says nothing that can be read."""
    if Action(outcome.action).group is not ActionGroup.SECURITY:
        return None
    try:
        said = json.loads(outcome.answer)
        answer = Told(int(said["epoch"]), int(said["key_version"]), _LEVELS[said["level"]], Mode[said["mode"].upper()])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return answer if 0 <= answer.epoch < UINT32 and 0 <= answer.key_version < UINT32 else None


def teaches(said: Told, outcome: Outcome, issued: Issued, known: Known) -> bool:
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


_LEVELS = {level.name.lower(): level for level in SecurityLevel if level is not SecurityLevel.UNKNOWN}
