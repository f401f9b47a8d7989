"""A store in PostgreSQL (extra `postgres`, psycopg 3): the same protocol and the same SQL as SQLite's."""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from itron_core.errors import InputError, StoreError
from itron_core.stores.migrations import MIGRATIONS, take_steps
from itron_core.stores.protocol import SECONDS_TO_WAIT_FOR_A_LOCK, Row, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

__all__ = ["PostgresStore"]

# The lock that makes one writer of all that write to a database; an arbitrary number, ours alone.
WRITERS_LOCK = 0x6974726F6E
WORDS = {"INTEGER": "BIGINT", "BLOB": "BYTEA", "group_concat": "string_agg"}


def translated(sql: str) -> str:
    """Return SQLite's spelling of a statement in PostgreSQL's: parameters, types, one function, and no STRICT."""
    return _remembered(sql)


def _translate(sql: str) -> str:
    text = re.sub(rf"\b({'|'.join(WORDS)})\b", lambda match: WORDS[match[0]], sql.replace("%", "%%").replace("?", "%s"))
    return re.sub(r"\)\s*(?:WITHOUT ROWID,\s*)?STRICT\b(?:,\s*WITHOUT ROWID)?", ")", text)


_remembered = lru_cache(maxsize=512)(_translate)


class PostgresStore:
    """A database of PostgreSQL; a connection that was lost is made again by the next transaction."""

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError("a PostgreSQL store needs psycopg: pip install 'itron-core[postgres]'") from error
        self._url = url
        self._lock = threading.RLock()
        self._owner = -1
        self._connection: psycopg.Connection[Row] | None = None
        self._error = psycopg.Error
        with self.write() as t:
            t.run(MIGRATIONS)

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Be the one writer, in all processes."""
        yield from self._transaction(writes=True)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See one moment of the store."""
        yield from self._transaction(writes=False)

    def migrate(self, party: str, steps: Sequence[str]) -> None:
        """Bring the tables of a party up to date."""
        with self.write() as t:
            take_steps(t, party, steps)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Row]:
        import psycopg

        # As with SQLite, a forked child opens a connection of its own.
        if self._connection is None or self._owner != os.getpid() or self._connection.closed:
            self._connection = psycopg.connect(self._url, connect_timeout=int(SECONDS_TO_WAIT_FOR_A_LOCK))
            self._owner = os.getpid()
            milliseconds = int(SECONDS_TO_WAIT_FOR_A_LOCK * 1000)
            self._connection.execute(f"SET lock_timeout = {milliseconds}")
            self._connection.execute("SET synchronous_commit = on")
            self._connection.commit()
        return self._connection

    def _transaction(self, *, writes: bool) -> Iterator[Transaction]:
        import psycopg

        with self._lock, self._errors():
            connection = self._connected()
            if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                raise InputError("a transaction inside another of the same store; wanted one after the other")
            with connection.transaction():
                if writes:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
                else:
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield _PostgresTransaction(connection)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:
            # Its text may hold the parameter.
            raise InputError("a text that is no Unicode; no store holds it") from None
        except self._error as error:
            # The first line: the rest may repeat parameters.
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise StoreError(f"the PostgreSQL store cannot be used: {said}") from error


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(_query(sql), parameters).fetchall()

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        return self._connection.execute(_query(sql), parameters).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_query(sql), rows)

    def insert_new(self, sql: str, rows: Sequence[Sequence[object]]) -> list[bool]:
        if not rows:
            return []
        with self._connection.cursor() as cursor:
            cursor.executemany(_query(sql), rows, returning=True)
            return [result.rowcount == 1 for result in cursor.results()]


def _query(sql: str) -> Any:
    # psycopg asks for literal strings, so that no value enters a statement: all of ours are written in this package.
    return translated(sql)
