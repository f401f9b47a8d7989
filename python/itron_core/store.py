"""Where the parties keep what they must not forget: SQLite by default, PostgreSQL by URL.

One protocol for both. SQL is written once, in SQLite's spelling; a store has one writer at a time, in whichever process
it is, and what was written is on the disk when `write()` returns.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from itron_core.errors import InputError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["SqliteStore", "Store", "Transaction", "open_store", "rows_of", "take_steps"]

SECONDS_TO_WAIT_FOR_A_LOCK = 10.0
# What one query names: more would be planned longer than they are sought.
VALUES_A_QUERY = 500
# Of each party, how many of its steps this store has taken.
MIGRATIONS = "CREATE TABLE IF NOT EXISTS migrations (party TEXT NOT NULL PRIMARY KEY, number INTEGER NOT NULL) STRICT"

Row = tuple[Any, ...]


class Transaction(Protocol):
    """One consistent view of a store, and inside `write()` the changes to it; parameters stand for `?`."""

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a query."""

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return how many rows it changed."""

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""

    def insert_new(self, sql: str, rows: Sequence[Sequence[object]]) -> list[bool]:
        """Run an `INSERT ... ON CONFLICT DO NOTHING` for each row, in order, and say which were new."""


class Store(Protocol):
    """A database of one or more parties."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Be the one writer: durable when it returns, as if it had never been when it raises.

        Raises StoreError when the store is locked for too long, full, corrupted or out of reach.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """See one moment of the store; raises StoreError as `write` does."""

    def migrate(self, party: str, steps: Sequence[str]) -> None:
        """Bring the tables of a party up to date: each step is taken once, in order, whole or not at all.

        Raises StoreError where a newer version has taken more steps than are known here.
        """

    def close(self) -> None:
        """Let go of the database."""


def open_store(url: str | os.PathLike[str]) -> Store:
    """Open a store: a path or `sqlite:///path` (made if it is not there), or `postgresql://...` (extra `postgres`)."""
    text = os.fspath(url)
    if text.startswith(("postgresql://", "postgres://")):
        from itron_core.postgres import PostgresStore

        return PostgresStore(text)
    scheme, separator, path = text.partition(":///")
    if separator and scheme != "sqlite":
        raise InputError(f"a store at {scheme}:///...; wanted a path, sqlite:///path or postgresql://...")
    return SqliteStore(path if separator else text)


def rows_of(t: Transaction, sql: str, values: Sequence[object], parameters: Sequence[object] = ()) -> Iterator[Row]:
    """Yield the rows of a query for many values; `sql` takes `parameters`, then the values in place of `{values}`."""
    for start in range(0, len(values), VALUES_A_QUERY):
        some = values[start : start + VALUES_A_QUERY]
        yield from t.rows(sql.replace("{values}", ", ".join("?" * len(some))), (*parameters, *some))


def take_steps(t: Transaction, party: str, steps: Sequence[str]) -> None:
    """Take those steps of a party that this store has not taken yet."""
    taken = sum(number for (number,) in t.rows("SELECT number FROM migrations WHERE party = ?", (party,)))
    if taken > len(steps):
        raise StoreError(
            f"the store has {taken} steps of {party!r}, and this version knows {len(steps)}: a newer itron_core wrote it"
        )
    if taken == len(steps):
        return
    for step in steps[taken:]:
        for statement in step.split(";"):
            if statement.strip():
                t.run(statement)
    t.run(
        "INSERT INTO migrations VALUES (?, ?) ON CONFLICT (party) DO UPDATE SET number = excluded.number",
        (party, len(steps)),
    )


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
