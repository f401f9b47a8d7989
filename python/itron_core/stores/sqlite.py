"""A store in a file of SQLite: one writer at a time, in whichever process it is."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from itron_core.errors import InputError, StoreError
from itron_core.stores.migrations import MIGRATIONS, take_steps
from itron_core.stores.protocol import SECONDS_TO_WAIT_FOR_A_LOCK, Row, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SqliteStore"]


class SqliteStore:
    """A file of SQLite: write-ahead log, every commit synced to the disk (synchronous=FULL)."""

    def __init__(self, path: str) -> None:
        if not path or path == ":memory:":
            raise InputError(f"a store at {path!r}; wanted the path of a file, which outlives the process")
        self._path = path
        self._lock = threading.RLock()
        self._owner = -1
        self._connection: sqlite3.Connection | None = None
        with self._lock, self._errors():
            self._connected().execute(MIGRATIONS)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Be the one writer, in all processes."""
        yield from self._transaction("BEGIN IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See one moment of the store."""
        yield from self._transaction("BEGIN")

    def migrate(self, party: str, steps: Sequence[str]) -> None:
        """Bring the tables of a party up to date."""
        with self.write() as t:
            take_steps(t, party, steps)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        # A connection must not be carried into a forked child: the child opens one of its own.
        if self._connection is None or self._owner != os.getpid():
            connection = sqlite3.connect(
                self._path, timeout=SECONDS_TO_WAIT_FOR_A_LOCK, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._connection, self._owner = connection, os.getpid()
        return self._connection

    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._lock, self._errors():
            connection = self._connected()
            if connection.in_transaction:
                raise InputError("a transaction inside another of the same store; wanted one after the other")
            connection.execute(begin)
            try:
                yield _SqliteTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            # SQLite's reader of parameters has errors of its own; their text may hold the parameter.
            if isinstance(error, OverflowError | UnicodeEncodeError):
                raise InputError("a number beyond 64 bits or a text that is no Unicode; no store holds it") from None
            raise StoreError(f"the store {self._path} cannot be used: {error}") from error


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself, as it does when the disk is full.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        return self._connection.execute(sql, parameters).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)

    def insert_new(self, sql: str, rows: Sequence[Sequence[object]]) -> list[bool]:
        execute = self._connection.cursor().execute
        return [execute(sql, row).rowcount == 1 for row in rows]
