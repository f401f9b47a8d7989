"""Interfaces of the tools server: `Exchange` for a field tool, `ManagedServer` for the security manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from itron_core.exchange.material import Page
    from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn

__all__ = ["Exchange", "ManagedServer", "OutcomePage"]


class OutcomePage(NamedTuple):
    """Outcomes after a cursor, each with its serial, the tool that reported it, and the server's code.

    `incarnation` identifies the server's store. Cursors belong to one incarnation: with another, start from 0.
    """

    rows: list[tuple[int, str, OutcomeReport, int]]
    next: int
    more: bool
    incarnation: str = ""


class Exchange(Protocol):
    """A tools server for field tools. Every call can be repeated with the same result.

    Every call raises RequestRefused if the tool or its user may not make it, and ExchangeError if the server cannot be
    reached or sends an invalid answer.
    """

    def snapshot(self, tool: str, user: str, *, now: int) -> SignIn:
        """Sign a user in, and return the user's permissions, the revocations and the delegations."""

    def request(self, tool: str, requests: Sequence[CommandRequest], *, now: int) -> int:
        """Request Commands: send command requests, and return the highest number accepted."""

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return material granted to the tool after the cursor `after`."""

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:
        """Return the records of these devices that belong to the tool's unit; unknown devices are omitted."""

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:
        """Report outcomes, and return one code per outcome: 0, 800 or 801."""


class ManagedServer(Protocol):
    """A tools server for the security manager, in this process or over HTTP."""

    def received(self, source: str) -> int:
        """Return the cursor up to which a source's material was received."""

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:
        """Receive a page of material, and return one `Code` per row."""

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:
        """Replace the users."""

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:
        """Add or update devices."""

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:
        """Replace the delegations."""

    def set_revocations(self, token: bytes, *, now: int) -> None:
        """Store a newer revocation snapshot."""

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return the outcomes that tools reported after a cursor."""

    def held_by(self, tool: str, after: int, limit: int, *, now: int) -> Page:
        """Return material that a tool may still hold unused, without the tokens."""
