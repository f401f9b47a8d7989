"""Single use: the answers that a device keeps, and the sequence number up to which it refuses all other tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.device.rules import Refusal
from itron_core.device.state import ANSWERS_KEPT
from itron_core.enums import Code
from itron_core.exchange.messages import Answer, Outcome

if TYPE_CHECKING:
    from itron_core._rust import Token
    from itron_core.device.state import DeviceState, Use

__all__ = ["again", "spent", "used_before"]


def again(use: Use) -> Answer:
    """Return the first answer, marked as a replay."""
    return Answer(Outcome.REPLAYED, int(Code.REPLAY_IDENTICAL), dict(use.data))


def used_before(state: DeviceState, token: Token, content: str) -> Use | None:
    """Return an earlier use of this token, by (kid, cti), never by signature. Refuses with 801 and 802."""
    sequence = token.sequence or 0
    for use in state.uses:
        if (use.kid, use.sequence) == (token.kid.hex(), sequence):
            if use.content != content:
                raise Refusal(Code.REPLAY_CONFLICT)
            return use
    if sequence <= state.floor:
        raise Refusal(Code.SEQUENCE_OLD)
    return None


def spent(state: DeviceState, use: Use) -> DeviceState:
    """Store a use. If there are too many, drop the one with the lowest sequence, which becomes the floor."""
    kept, floor = state.uses, state.floor
    if len(kept) == ANSWERS_KEPT:
        # The lowest, so that the floor refuses as few unused tokens as possible.
        lowest = min(kept, key=lambda one: one.sequence)
        kept = tuple(one for one in kept if one is not lowest)
        floor = max(floor, lowest.sequence)
    return state._replace(uses=(*kept, use), floor=floor)
