"""A party's audit entries: written in the transaction that they tell of, then copied to its tamper-evident log.

The database decides what happened; the files of the log follow it, and after a crash they catch up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.audit import AuditLog
    from itron_core.store import Store, Transaction

__all__ = ["Journal"]

STEPS = [
    """
    CREATE TABLE journal_entry (
        party TEXT NOT NULL, position INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (party, position)
    ) STRICT, WITHOUT ROWID
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
            start = self._length(transaction)
            transaction.run_block(
                "INSERT INTO journal_entry VALUES {rows}",
                [(self._party, position, entry) for position, entry in enumerate(entries, start)],
            )

    def publish(self) -> None:
        """Copy to the log what it lacks; call it after the transaction. Any number of processes may."""
        while self._log is not None:
            start = self._log.size
            entries = self.entries(start, start + ENTRIES_A_STEP)
            if not entries:
                return
            self._log.append(entries, at=start)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= position < end, as far as there are."""
        with self._store.read() as t:
            return [
                bytes(entry)
                for (entry,) in t.rows(
                    "SELECT entry FROM journal_entry WHERE party = ? AND position >= ? AND position < ? "
                    "ORDER BY position",
                    (self._party, start, end),
                )
            ]

    def __len__(self) -> int:
        with self._store.read() as t:
            return self._length(t)

    def _length(self, transaction: Transaction) -> int:
        ((last,),) = transaction.rows("SELECT max(position) FROM journal_entry WHERE party = ?", (self._party,))
        return 0 if last is None else int(last) + 1
