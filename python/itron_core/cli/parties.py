"""Output common to the commands of several parties: all pages of material, and the ids of root keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from itron_core._rust import Keyring
    from itron_core.exchange.material import Material, Page
    from itron_core.tools_server import ToolsServer

__all__ = ["all_rows", "named_roots", "rows_held_by"]

PAGE_ROWS = 10_000


class _Holder(Protocol):
    def materials(self, after: int, limit: int) -> Page: ...


def all_rows(party: _Holder) -> Iterator[Material]:
    """Yield all material of a manager or a server."""
    after, more = 0, True
    while more:
        page = party.materials(after, PAGE_ROWS)
        after, more = page.next, page.more
        yield from (one for _, one in page.rows)


def rows_held_by(server: ToolsServer, tool: str, now: int) -> Iterator[Material]:
    """Yield the material that a field tool may still use."""
    after, more = 0, True
    while more:
        page = server.held_by(tool, after, PAGE_ROWS, now=now)
        after, more = page.next, page.more
        yield from (one for _, one in page.rows)


def named_roots(keyring: Keyring) -> str:
    """Return the number of root keys and their ids as the end of a sentence."""
    kids = [entry.key.kid.hex() for entry in keyring.entries]
    return f"{len(kids)} root {'key' if len(kids) == 1 else 'keys'}: {', '.join(kids)}"
