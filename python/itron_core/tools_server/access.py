"""Revoked bearer tokens: by id, or all of a field tool up to a given time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from itron_core.stores.protocol import Transaction

__all__ = ["is_refused", "refuse"]


def refuse(t: Transaction, *, ids: Iterable[str], tools: Iterable[str], now: int) -> None:
    """Refuse bearers by id, and all bearers of these tools issued up to now."""
    t.run_many(
        "INSERT INTO server_bearer_refusal (kind, name, until) VALUES (?, ?, ?)"
        " ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until",
        [*(("id", name, now) for name in ids), *(("tool", name, now) for name in tools)],
    )


def is_refused(t: Transaction, token_id: str, tool: str, issued_at: int) -> bool:
    """Return whether a bearer was revoked, by its id or together with all earlier bearers of its tool."""
    return bool(
        t.rows(
            "SELECT 1 FROM server_bearer_refusal WHERE (kind = 'id' AND name = ?)"
            " OR (kind = 'tool' AND name = ? AND until >= ?)",
            (token_id, tool, issued_at),
        )
    )
