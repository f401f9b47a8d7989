"""Security material as the parties hand it to each other: issued tokens, and pages of them. Pure data."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from itron_core.exchange.identity import content_of, cti_of

__all__ = ["LONGEST_LIFETIME", "SPENT", "Material", "MaterialState", "Page"]

# The longest that material is in force, in seconds: what routes and devices believe (docs/format.md, limits: the default).
# Who issues, passes on or holds it goes by the same: nothing may be held that is refused where it is used.
LONGEST_LIFETIME = 7 * 86_400


class MaterialState(IntEnum):
    """The life of one piece of material at a field tool; SENT is sent without an answer: neither used nor unused."""

    REQUESTED = 0
    HELD = 1
    SENT = 2
    USED = 3
    REPLAYED = 4
    EXPIRED = 5
    SUPERSEDED = 6
    REVOKED = 7
    REFUSED = 8


# The states in which a piece of material was used.
SPENT = frozenset({MaterialState.USED, MaterialState.REPLAYED})


class Material(NamedTuple):
    """One issued token and what it says; times in seconds since 1970, `actions` the bit set of actions."""

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
        """Its CWT id, 16 bytes."""
        return cti_of(self.device, self.sequence)

    @property
    def content(self) -> bytes:
        """What tells it from other content under one identity."""
        return content_of(self.token)


class Page(NamedTuple):
    """Rows behind a cursor, each with its serial, rising; `next` is the cursor to go on from."""

    rows: list[tuple[int, Material]]
    next: int
    more: bool
