"""Security material that the parties exchange: issued tokens, and pages of them. Pure data."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from itron_core.exchange.identity import content_of, cti_of

__all__ = ["LONGEST_LIFETIME", "SPENT", "Material", "MaterialState", "Page"]

# The longest lifetime of material in seconds, which routes and devices accept by default (docs/format.md, section Limits).
# Every party applies it, so that none stores material that is refused at its use.
LONGEST_LIFETIME = 7 * 86_400


class MaterialState(IntEnum):
    """The state of one piece of material at a field tool. SENT means sent without an answer: it may or may not be used."""

    REQUESTED = 0
    HELD = 1
    SENT = 2
    USED = 3
    REPLAYED = 4
    EXPIRED = 5
    SUPERSEDED = 6
    REVOKED = 7
    REFUSED = 8


# The states of used material.
SPENT = frozenset({MaterialState.USED, MaterialState.REPLAYED})


class Material(NamedTuple):
    """One issued token and its claims; times are in seconds since 1970, `actions` is a bit set."""

    unit: str
    device: str
    token_type: str
    actions: int
    kid: bytes
    sequence: int
    epoch: int
    issued_at: int
    not_before: int | None
    expires_at: int
    session_seconds: int | None
    token: bytes

    @property
    def cti(self) -> bytes:
        """The CWT id, 16 bytes."""
        return cti_of(self.device, self.sequence)

    @property
    def content(self) -> bytes:
        """A digest that distinguishes it from different content under the same identity."""
        return content_of(self.token)


class Page(NamedTuple):
    """Rows after a cursor, each with its rising serial; continue from the cursor `next`."""

    rows: list[tuple[int, Material]]
    next: int
    more: bool
