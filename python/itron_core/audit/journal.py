"""A party's audit entries: committed with the change they record, then copied to its tamper-evident log.

The database decides what happened. The files of the log follow it, and catch up after a crash. Entries that are written
together form one row, whose position is that of the first entry. The log is the witness: a store that was put back to an
older state has fewer entries than its log, or different ones. Then nothing more is written.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from itron_core.errors import StoreError
from itron_core.stores.byte_strings import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from itron_core.audit import AuditLog
    from itron_core.stores.protocol import Store, Transaction

__all__ = ["Journal", "adopt_log_entries"]

STEPS = [
    """
    CREATE TABLE journal_block (
        party TEXT NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL, entries BLOB NOT NULL,
        PRIMARY KEY (party, position)
    ) STRICT
    """
]
ENTRIES_PER_STEP = 10_000
# How many of the log's last entries are compared with the journal's each time.
ENTRIES_COMPARED = 16
REMEDY = (
    "nothing was written; put the newest store back, or restore a backup with itron-core restore, which keeps the log"
    " (docs/restore.md)"
)


class Journal:
    """The entries of one party in its store, from position 0; they are published to `log` if there is one.

    Raises StoreError if the log and the journal disagree: one of the two was put back to an older state.
    """

    def __init__(self, store: Store, party: str, log: AuditLog | None = None) -> None:
        self._store, self._party, self._log = store, party, log
        # The log's size and last entries when last read; they are valid until the log grows.
        self._seen: tuple[int, list[bytes]] = (0, [])
        store.migrate("journal", STEPS)
        if log is not None:
            end = self._end_of_log()  # read before the journal, which may grow meanwhile
            with store.read() as t:
                self._check(t, end)
        self.publish()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a write transaction, and publish its entries after it is committed."""
        with self._store.write() as t:
            yield t
        self.publish()

    def write(self, transaction: Transaction, entries: Sequence[bytes]) -> None:
        """Add entries as part of the transaction. Raises StoreError if the log and the journal disagree."""
        if entries:
            if self._log is not None:
                self._check(transaction, self._end_of_log())
            _add(transaction, self._party, _length(transaction, self._party), entries)

    def publish(self) -> None:
        """Copy missing entries to the log. Call it after the transaction; several processes may call it at once."""
        if self._log is None:
            return
        end = len(self)
        while (start := self._log.size) < end and (entries := self.entries(start, start + ENTRIES_PER_STEP)):
            self._log.append(entries, at=start)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the existing entries at start <= position < end."""
        with self._store.read() as t:
            return _entries(t, self._party, start, end)

    def __len__(self) -> int:
        with self._store.read() as t:
            return _length(t, self._party)

    def _end_of_log(self) -> tuple[int, list[bytes]]:
        """Return the log's size and its last entries."""
        assert self._log is not None  # noqa: S101  # called only if there is a log
        size = self._log.size
        if size != self._seen[0]:
            self._seen = size, self._log.entries(max(0, size - ENTRIES_COMPARED), size)
        return self._seen

    def _check(self, t: Transaction, end: tuple[int, list[bytes]]) -> None:
        size, last = end
        length = _length(t, self._party)
        if length < size:
            raise StoreError(
                f"the audit log of {self._party!r} has {size} entries, but its store {length}: the store was put back to"
                f" an older state; {REMEDY}"
            )
        if last != _entries(t, self._party, size - len(last), size):
            raise StoreError(
                f"the last of the {size} entries in the audit log of {self._party!r} differ from those of its store: one of"
                f" the two was put back to an older state, or belongs to another party; {REMEDY}"
            )


def adopt_log_entries(t: Transaction, party: str, log: AuditLog) -> list[bytes]:
    """Add to the journal of a restored store the entries that only the log has, and return them.

    Raises StoreError if the two begin differently: the log belongs to another store.
    """
    length, size = _length(t, party), log.size
    first, last = max(0, min(length, size) - ENTRIES_COMPARED), min(length, size)
    if log.entries(first, last) != _entries(t, party, first, last):
        raise StoreError(f"the audit log belongs to another store: their entries before entry {last} differ")
    found: list[bytes] = []
    for start in range(length, size, ENTRIES_PER_STEP):
        entries = log.entries(start, min(start + ENTRIES_PER_STEP, size))
        _add(t, party, start, entries)
        found += entries
    return found


def _add(t: Transaction, party: str, position: int, entries: Sequence[bytes]) -> None:
    t.run(
        "INSERT INTO journal_block (party, position, size, entries) VALUES (?, ?, ?, ?)",
        (party, position, len(entries), packed(entries)),
    )


def _entries(t: Transaction, party: str, start: int, end: int) -> list[bytes]:
    if start >= end:
        return []
    blocks = t.rows(
        "SELECT position, entries FROM journal_block WHERE party = ? AND position < ? AND position >="
        " (SELECT coalesce(max(position), 0) FROM journal_block WHERE party = ? AND position <= ?)"
        " ORDER BY position",
        (party, end, party, start),
    )
    return [
        entry
        for position, block in blocks
        for entry in unpacked(bytes(block))[max(start - position, 0) : end - position]
    ]


def _length(t: Transaction, party: str) -> int:
    last = t.rows("SELECT position + size FROM journal_block WHERE party = ? ORDER BY position DESC LIMIT 1", (party,))
    return int(last[0][0]) if last else 0
