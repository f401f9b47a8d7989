"""Migrations: bring the tables of a party up to date step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.stores.protocol import Transaction

__all__ = ["MIGRATIONS", "take_steps"]

# The number of steps that this store has taken, per party.
MIGRATIONS = "CREATE TABLE IF NOT EXISTS migrations (party TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL) STRICT"


def take_steps(t: Transaction, party: str, steps: Sequence[str]) -> None:
    """Take the steps of a party that this store has not taken yet."""
    taken = sum(number for (number,) in t.rows("SELECT number FROM migrations WHERE party = ?", (party,)))
    if taken > len(steps):
        raise StoreError(
            f"the store has {taken} steps of {party!r}, but this version knows {len(steps)}: use the newer itron_core that wrote it"
        )
    if taken == len(steps):
        return
    for step in steps[taken:]:
        for statement in step.split(";"):
            if statement.strip():
                t.run(statement)
    t.run(
        "INSERT INTO migrations (party, number) VALUES (?, ?) ON CONFLICT (party) DO UPDATE SET number = excluded.number",
        (party, len(steps)),
    )
