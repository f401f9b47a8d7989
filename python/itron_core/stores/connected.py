"""What the stores of both databases share: one connection, renewed after a fork, and the tables of the store itself."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from itron_core.stores.forks import leave_in_parent, renewed_in_child
from itron_core.stores.incarnation import INCARNATIONS, add_incarnation, incarnation
from itron_core.stores.migrations import MIGRATIONS, take_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from itron_core.stores.protocol import Transaction

__all__ = ["ConnectedStore"]


class ConnectedStore(ABC):
    """A store with one connection; its database says how a transaction for writing, and one for reading, begins."""

    WRITES: ClassVar[str]
    READS: ClassVar[str]
    # Answers one row if the store's own tables are missing.
    IS_NEW: ClassVar[str]

    _connection: Any

    def __init__(self) -> None:
        self._lock, self._connection = threading.RLock(), None
        renewed_in_child(self)

    @abstractmethod
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        """Yield a transaction, and commit it."""

    def _set_up(self) -> None:
        """Create the store's own tables in a new database."""
        with self.read() as t:
            is_new = bool(t.rows(self.IS_NEW))
        if is_new:
            with self.write() as t:
                t.run(MIGRATIONS)
                t.run(INCARNATIONS)
                add_incarnation(t)

    @property
    def incarnation(self) -> str:
        """The id of the store, 32 hexadecimal digits; a restored store gets a new one."""
        with self.read() as t:
            return incarnation(t)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a write transaction: one writer at a time over all processes."""
        yield from self._transaction(self.WRITES)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a read transaction: a consistent view of the store."""
        yield from self._transaction(self.READS)

    def migrate(self, party: str, steps: Sequence[str]) -> None:
        """Bring the tables of a party up to date."""
        with self.write() as t:
            take_steps(t, party, steps)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def renew_in_child(self) -> None:
        """Leave the connection to the parent of a fork; the child opens its own."""
        self._lock = threading.RLock()
        if self._connection is not None:
            leave_in_parent(self._connection)
        self._connection = None
