"""Delivery between a security manager and a tools server: material out and outcomes in, each after a cursor."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from itron_core.audit import audit_entry
from itron_core.errors import ExchangeError
from itron_core.exchange.material import Material, Page
from itron_core.manager.batches import last_serial, released
from itron_core.manager.requests import request_to_issue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from itron_core.stores.protocol import Transaction

__all__ = ["Cursor", "check_received", "cursor_of", "delivered_entries", "issued_page", "set_cursor"]


class Cursor(NamedTuple):
    """The position up to which a server's outcomes were collected; `incarnation` identifies the server's store."""

    position: int = 0
    incarnation: str = ""


def issued_page(t: Transaction, after: int, limit: int) -> Page:
    """Return up to `limit` rows of issued material after a cursor."""
    end = last_serial(t)
    last = min(after + limit, end)
    return Page(list(_materials(t, after, last)), max(after, last), last < end)


def check_received(t: Transaction, cursor: int, source: str) -> None:
    """Raise ExchangeError if a server has more rows than were ever issued here."""
    last = last_serial(t)
    if not 0 <= cursor <= last:
        raise ExchangeError(
            f"the server has {cursor} rows of {source!r}, but only {last} were issued here. Was this manager put back to an older"
            " state? Repair it with itron-core restore HOME (docs/restore.md)"
        )


def delivered_entries(page: Page, codes: Sequence[int], now: int) -> list[bytes]:
    """Return the audit entries for a server's answer to a page. Raises ExchangeError if the answer has another length."""
    if len(codes) != len(page.rows):
        raise ExchangeError(f"the server answered {len(page.rows)} rows with {len(codes)} codes: deliver again")
    refused = [(row, code) for (_, row), code in zip(page.rows, codes, strict=True) if code]
    return [
        audit_entry("delivered", now, count=len(page.rows) - len(refused), next=page.next),
        *(
            audit_entry("delivery_refused", now, device=row.device, cti=row.cti, code=int(code))
            for row, code in refused
        ),
    ]


def cursor_of(t: Transaction, source: str) -> Cursor:
    """Return the position up to which a server's outcomes were collected."""
    found = t.rows("SELECT position, incarnation FROM manager_cursor WHERE source = ?", (source,))
    return Cursor(*found[0]) if found else Cursor()


def set_cursor(t: Transaction, source: str, cursor: Cursor) -> None:
    """Store the position from which to continue the next time."""
    t.run(
        "INSERT INTO manager_cursor (source, position, incarnation) VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE SET"
        " position = excluded.position, incarnation = excluded.incarnation",
        (source, *cursor),
    )


def _materials(t: Transaction, after: int, last: int) -> Iterator[tuple[int, Material]]:
    """Yield issued material with its serial: after < serial <= last."""
    for batch, first, kid, tokens in released(t, after, last):
        asked = request_to_issue(t, batch.request)
        start, end = max(after + 1 - first, 0), last + 1 - first
        rows = islice(zip(batch.devices, batch.epochs, tokens, strict=True), start, end)
        for serial, (device, epoch, token) in enumerate(rows, first + start):
            yield (
                serial,
                Material(
                    unit=asked.unit,
                    device=device,
                    token_type=asked.terms.token_type,
                    actions=asked.terms.actions,
                    kid=kid,
                    sequence=batch.sequence,
                    epoch=epoch,
                    issued_at=asked.allotted_at,
                    not_before=None,
                    expires_at=asked.allotted_at + asked.terms.lifetime,
                    session_seconds=asked.terms.session_seconds,
                    token=token,
                ),
            )
