"""A party's audit entries: written in the transaction that they tell of, then copied to its tamper-evident log.

The database decides what happened; the files of the log follow it, and after a crash they catch up. The entries that are
written together are one row, whose position is that of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from itron_core.stores.byte_strings import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.audit import AuditLog
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Journal"]

STEPS = [
    """
    CREATE TABLE journal_block (
        party TEXT NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL, entries BLOB NOT NULL,
        PRIMARY KEY (party, position)
    ) STRICT
    """
]
ENTRIES_A_STEP = 10_000


class Journal:
    """The entries of one party in its store, from position 0 up; `log` is where they are published, if anywhere."""

    def __init__(self, store: Store, party: str, log: AuditLog | None = None) -> None:
        self._store, self._party, self._log = store, party, log
        store.migrate("journal", STEPS)
        self.publish()

    def write(self, transaction: Transaction, entries: Sequence[bytes]) -> None:
        """Add entries as part of the transaction."""
        if entries:
            transaction.run(
                "INSERT INTO journal_block VALUES (?, ?, ?, ?)",
                (self._party, self._length(transaction), len(entries), packed(entries)),
            )

    def publish(self) -> None:
        """Copy to the log what it lacks; call it after the transaction. Any number of processes may."""
        if self._log is None:
            return
        end = len(self)
        while (start := self._log.size) < end and (entries := self.entries(start, start + ENTRIES_A_STEP)):
            self._log.append(entries, at=start)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= position < end, as far as there are."""
        with self._store.read() as t:
            blocks = t.rows(
                "SELECT position, entries FROM journal_block WHERE party = ? AND position < ? AND position >="
                " (SELECT coalesce(max(position), 0) FROM journal_block WHERE party = ? AND position <= ?)"
                " ORDER BY position",
                (self._party, end, self._party, start),
            )
        return [
            entry
            for position, block in blocks
            for entry in unpacked(bytes(block))[max(start - position, 0) : end - position]
        ]

    def __len__(self) -> int:
        with self._store.read() as t:
            return self._length(t)

    def _length(self, transaction: Transaction) -> int:
        last = transaction.rows(
            "SELECT position + size FROM journal_block WHERE party = ? ORDER BY position DESC LIMIT 1", (self._party,)
        )
        return int(last[0][0]) if last else 0
