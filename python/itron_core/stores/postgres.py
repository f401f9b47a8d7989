"""A store in PostgreSQL (extra `postgres`, psycopg 3): the same protocol and the same SQL as SQLite's.

Nothing depends on the session, so a pooler may use a different server connection for each transaction.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from itron_core.errors import InputError, StoreError
from itron_core.stores.connected import ConnectedStore
from itron_core.stores.protocol import SECONDS_TO_WAIT_FOR_A_LOCK, Row, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

__all__ = ["PostgresStore"]

# The lock that admits one writer to a database; an arbitrary number that only this package uses.
WRITERS_LOCK = 0x6974726F6E
WORDS = {"INTEGER": "BIGINT", "BLOB": "BYTEA", "group_concat": "string_agg"}
# Seconds to wait before each new attempt to connect to a server that restarts or has no connection left.
PAUSES = (0.0, 0.1, 0.3, 1.0)
# Every transaction sets its options: a database, a user or a pooler may have other defaults.
BEGIN = "BEGIN ISOLATION LEVEL {level}; SET LOCAL lock_timeout = {milliseconds}; SET LOCAL synchronous_commit = on"
# Words in the client library's connection errors, and their meaning; its own text may show parts of the URL.
REASONS = {
    "refused": "the connection was refused",
    "resolve": "the host name is unknown",
    "translate host": "the host name is unknown",
    "timeout": "the server did not answer in time",
    "password": "the user or the password was refused",
    "authentication": "the user or the password was refused",
    "certificate": "the certificate of the server is not trusted",
    "ssl": "TLS is refused or required",
    "too many": "the server has no connection left",
    "remaining connection": "the server has no connection left",
    "starting up": "the server is starting",
    "shutting down": "the server is shutting down",
    "does not exist": "the database or the user does not exist",
}


def translated(sql: str) -> str:
    """Translate a statement from SQLite's spelling into PostgreSQL's: parameters, types, one function, and no STRICT."""
    return _remembered(sql)


def _translate(sql: str) -> str:
    text = re.sub(rf"\b({'|'.join(WORDS)})\b", lambda match: WORDS[match[0]], sql.replace("%", "%%").replace("?", "%s"))
    return re.sub(r"\)\s*(?:WITHOUT ROWID,\s*)?STRICT\b(?:,\s*WITHOUT ROWID)?", ")", text)


_remembered = lru_cache(maxsize=512)(_translate)


class PostgresStore(ConnectedStore):
    """A PostgreSQL database; the next transaction restores a lost connection."""

    # A writer's snapshot must not be older than its lock: each statement sees everything committed before it.
    WRITES = "READ COMMITTED, READ WRITE"
    READS = "REPEATABLE READ, READ ONLY"
    IS_NEW = "SELECT 1 WHERE to_regclass('store_incarnation') IS NULL"
    _connection: psycopg.Connection[Row] | None

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise StoreError("a PostgreSQL store needs psycopg; run: pip install 'itron-core[postgres]'") from error
        _check_url(url)
        super().__init__()
        self._url = url
        self._error = psycopg.Error
        self._set_up()

    def _transaction(self, level: str) -> Iterator[Transaction]:
        import psycopg

        with self._lock, self._errors():
            if self._connection is not None and not self._connection.closed:
                status = self._connection.info.transaction_status
                if status in {psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.INERROR}:
                    raise InputError("nested transaction: the same store is already in one; use one after the other")
            connection = self._begun(level)
            try:
                if level == self.WRITES:
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS_LOCK,))
                yield _PostgresTransaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    def _begun(self, level: str) -> psycopg.Connection[Row]:
        """Begin a transaction, on a new connection if the previous one was lost, which had no open transaction."""
        begin = BEGIN.format(level=level, milliseconds=int(SECONDS_TO_WAIT_FOR_A_LOCK * 1000))
        known = self._connection
        if known is not None and not known.closed:
            try:
                known.execute(_literal(begin))
            except self._error:
                self.close()
            else:
                return known
        connection = self._connection = self._connected()
        connection.execute(_literal(begin))
        return connection

    def _connected(self) -> psycopg.Connection[Row]:
        import psycopg

        said = ""
        for pause in PAUSES:
            time.sleep(pause)
            try:
                connection = psycopg.connect(
                    self._url,
                    autocommit=True,  # each transaction is started explicitly
                    prepare_threshold=None,  # a prepared statement belongs to one connection of the server
                    connect_timeout=int(SECONDS_TO_WAIT_FOR_A_LOCK),
                    client_encoding="utf8",
                )
            except (self._error, UnicodeError, ValueError) as error:
                said = _reason(error)
                continue
            if (encoding := connection.info.parameter_status("server_encoding")) != "UTF8":
                connection.close()
                raise StoreError(
                    f"the PostgreSQL database has the encoding {encoding}, expected UTF8; create one with ENCODING 'UTF8'"
                )
            return connection
        # Outside of any handler: the library's exception may hold the URL.
        raise StoreError(f"the PostgreSQL store is unusable: {said}")

    def _roll_back(self, connection: psycopg.Connection[Row]) -> None:
        try:
            connection.execute("ROLLBACK")
        except self._error:
            connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError:
            # The error's text may hold the parameter.
            raise InputError("text is not valid Unicode and cannot be stored") from None
        except self._error as error:
            # The primary message only: the rest may repeat parameters.
            said = error.diag.message_primary or (str(error) or type(error).__name__).splitlines()[0]
            raise StoreError(f"the PostgreSQL store is unusable: {said}") from error


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


def _check_url(url: str) -> None:
    """Raise InputError for an ambiguous URL, and show nothing of it, since it may hold a password."""
    from psycopg.conninfo import conninfo_to_dict

    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    is_plain = not re.search(r"[\s\x00-\x1f\x7f]", url) and authority.count("@") <= 1
    is_plain = is_plain and "[" not in authority.rpartition("@")[0]
    try:
        known = conninfo_to_dict(url) if is_plain and not re.search(r"%(?![0-9A-Fa-f]{2})", url) else {}
    except Exception:  # noqa: BLE001  # whatever it is, its text may show the URL
        known = {}
    if not known:
        raise InputError(
            "store: got an unreadable PostgreSQL URL; write blanks, %, @, /, [ in a user or password as %20,"
            " %25, %40, %2F, %5B"
        )


def _reason(error: Exception) -> str:
    said = str(error).lower()
    return next((reason for words, reason in REASONS.items() if words in said), "no connection could be made")


def _query(sql: str) -> Any:
    # psycopg requires literal strings, so that no value enters a statement; all statements are written in this package.
    return translated(sql)


def _literal(sql: str) -> Any:
    return sql
