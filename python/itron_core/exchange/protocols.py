"""The tools server as the other parties see it: `Exchange` for a field tool, `ManagedServer` for the security manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core.exchange.material import Page
    from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn

__all__ = ["Exchange", "ManagedServer", "OutcomePage"]


class OutcomePage(NamedTuple):
    """Outcomes after a cursor: each with its serial, the tool that reported it, and the code that this was answered.

    `incarnation` is the id of the server's store. Cursors are those of one incarnation: after another, begin at 0.
    """

    rows: list[tuple[int, str, OutcomeReport, int]]
    next: int
    more: bool
    incarnation: str = ""


class Exchange(Protocol):
    """What a field tool sees of a tools server; every call may be repeated, and answers the same.

    All of them raise RequestRefused for what the tool or its user may not have, ExchangeError where the server cannot
    be reached or believed.
    """

    def snapshot(self, tool: str, user: str, *, now: int) -> SignIn:
        """Sign in: what the user may do, what is revoked, whose keys are delegated."""

    def request(self, tool: str, wants: Sequence[CommandRequest], *, now: int) -> int:
        """Request Commands; returns the highest number taken."""

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return what was granted to the tool behind the cursor `after`."""

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:
        """Return what is known of these devices of the tool's unit; unknown ones are left out."""

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:
        """Take what became of the material; returns a code each: 0, 800 or 801."""


class ManagedServer(Protocol):
    """What the security manager needs of a tools server, here or behind HTTP."""

    def received(self, source: str) -> int:
        """Return how far material has come."""

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Take a page of material; returns a `Code` a row."""

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace the users."""

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add or renew devices."""

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations."""

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Take a newer snapshot."""

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return what tools have reported."""

    def held_by(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return what a tool may hold unused, without the tokens."""
