"""The identity of a store: a random id made with it, which the other parties record with their cursors.

A restored store gets a new id, and stays marked until its party has synchronized with the others (docs/restore.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from itron_core.errors import StoreError

if TYPE_CHECKING:
    from itron_core.stores.protocol import Transaction

__all__ = ["INCARNATIONS", "add_incarnation", "clear_restored", "incarnation", "mark_restored", "restored"]

INCARNATION_BYTES = 16
# `restored` counts the restores that the party has not handled yet.
INCARNATIONS = """
    CREATE TABLE IF NOT EXISTS store_incarnation (
        one INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL, restored INTEGER NOT NULL
    ) STRICT
"""


def add_incarnation(t: Transaction) -> None:
    """Give a new store its id; an existing id stays."""
    t.run(
        "INSERT INTO store_incarnation (one, id, restored) VALUES (1, ?, 0) ON CONFLICT (one) DO NOTHING", (_fresh(),)
    )


def incarnation(t: Transaction) -> str:
    """Return the id of the store, 32 hexadecimal digits. Raises StoreError if it is missing."""
    return str(_row(t)[0])


def restored(t: Transaction) -> bool:
    """Return whether the store was restored and its party has not handled that yet."""
    return bool(_row(t)[1])


def mark_restored(t: Transaction) -> None:
    """Give the store a new id, and mark it as restored from a backup."""
    t.run("UPDATE store_incarnation SET id = ?, restored = restored + 1 WHERE one = 1", (_fresh(),))


def clear_restored(t: Transaction) -> None:
    """Remove the mark: the losses are repaired or recorded."""
    t.run("UPDATE store_incarnation SET restored = 0 WHERE one = 1")


def _row(t: Transaction) -> tuple[str, int]:
    found = t.rows("SELECT id, restored FROM store_incarnation WHERE one = 1")
    if not found:
        raise StoreError("the store is damaged: its id is missing")
    ((name, count),) = found
    return name, count


def _fresh() -> str:
    return os.urandom(INCARNATION_BYTES).hex()
