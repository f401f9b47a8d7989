"""A store in an SQLite file: one writer at a time over all processes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from itron_core.errors import InputError, StoreError
from itron_core.stores.connected import ConnectedStore
from itron_core.stores.private_files import open_private
from itron_core.stores.protocol import SECONDS_TO_WAIT_FOR_A_LOCK, Row, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SqliteStore"]

# Device and inode, which distinguish a file from another one of the same name.
Identity = tuple[int, int]


class SqliteStore(ConnectedStore):
    """An SQLite file: write-ahead log, every commit synced to the disk (synchronous=FULL)."""

    WRITES, READS = "BEGIN IMMEDIATE", "BEGIN"
    IS_NEW = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'store_incarnation')"
    _connection: sqlite3.Connection | None

    def __init__(self, path: str, *, create: bool = True) -> None:
        if not path or path == ":memory:" or "\0" in path:
            raise InputError(f"store: got {path!r}, expected the path of a file that outlives the process")
        super().__init__()
        self._path, self._create = path, create
        self._files: dict[str, Identity] = {}
        with self._lock, self._errors():
            self._connected()
        self._set_up()

    def copy_to(self, path: str) -> None:
        """Copy a consistent state of the store to a new file of mode 600, while others may write (SQLite's online backup).

        Raises StoreError for a damaged store: its copy would be no backup.
        """
        try:
            os.close(open_private(path, os.O_RDWR | os.O_EXCL))
        except OSError as error:
            raise StoreError(f"the copy {path} cannot be made: {error.strerror}") from error
        with self._lock, self._errors():
            copy = sqlite3.connect(path, isolation_level=None)
            try:
                self._checked().backup(copy)
                # A single file, without a log beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
                ((found, *_),) = copy.execute("PRAGMA quick_check(1)").fetchall()
                if found != "ok":
                    raise StoreError(f"the store {self._path} is damaged, and was not copied: {found}")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                raise StoreError(f"the copy {path} cannot be made: no space is left on its disk") from error
            finally:
                copy.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._files.pop(f"{self._path}-wal", None)  # the last connection removes it
            self._open_file()
            connection = sqlite3.connect(
                self._path, timeout=SECONDS_TO_WAIT_FOR_A_LOCK, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            # From now on, a missing file was removed.
            self._create = False
        return self._connection

    def _open_file(self) -> None:
        """Create the file if allowed; SQLite gives its other files the mode of this one."""
        try:
            if self._create:
                os.close(open_private(self._path, os.O_RDWR))
            self._check_files()
            if not self._create and os.stat(self._path).st_size == 0:  # noqa: PTH116
                raise StoreError(self._gone(self._path, "is empty"))
        except OSError as error:
            raise StoreError(f"the store {self._path} cannot be opened: {error.strerror}") from error

    def _check_files(self) -> None:
        """Raise StoreError if the file at the path is not the opened one: changes would be lost."""
        for path in (self._path, f"{self._path}-wal"):
            try:
                there = os.stat(path)  # noqa: PTH116  # for each transaction, and a Path costs more than the call
            except FileNotFoundError:
                if path == self._path or path in self._files:
                    raise StoreError(
                        self._gone(path, "was removed" if path in self._files else "does not exist")
                    ) from None
                continue
            identity = there.st_dev, there.st_ino
            if self._files.setdefault(path, identity) != identity:
                raise StoreError(self._gone(path, "was replaced by another file"))

    def _gone(self, path: str, what: str) -> str:
        hint = "stop all programs that use it, put the file back or restore a backup, and start again"
        return f"the store {self._path} is unusable: {path} {what}; {hint}"

    def _checked(self) -> sqlite3.Connection:
        connection = self._connected()
        if connection.in_transaction:
            raise InputError("nested transaction: the same store is already in one; use one after the other")
        self._check_files()
        return connection

    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._lock, self._errors():
            connection = self._checked()
            connection.execute(begin)
            try:
                yield _SqliteTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                _roll_back(connection)
                raise
            # A commit into a removed file would be lost.
            self._check_files()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            # SQLite's parameter errors may hold the parameter in their text.
            if isinstance(error, OverflowError | UnicodeEncodeError):
                raise InputError(
                    "a number beyond 64 bits, or text that is not valid Unicode, cannot be stored"
                ) from None
            raise StoreError(f"the store {self._path} is unusable: {error}") from error


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite may have rolled back by itself, for example on a full disk.
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
