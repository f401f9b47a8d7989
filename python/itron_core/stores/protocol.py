"""What a party asks of a database: one writer at a time, durable when `write()` returns; SQL in SQLite's spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["SECONDS_TO_WAIT_FOR_A_LOCK", "Row", "Store", "Transaction", "Undone", "rows_of"]

SECONDS_TO_WAIT_FOR_A_LOCK = 10.0
# What one query names: more would be planned longer than they are sought.
VALUES_A_QUERY = 500

Row = tuple[Any, ...]


class Undone(Exception):  # noqa: N818  # no error: what a dry run leaves its transaction by
    """Raised inside a transaction whose changes are not wanted, and caught around it."""


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

    @property
    def incarnation(self) -> str:
        """The id that was made with the store, 32 hexadecimal digits; a restored one has another."""

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


def rows_of(t: Transaction, sql: str, values: Sequence[object], parameters: Sequence[object] = ()) -> Iterator[Row]:
    """Yield the rows of a query for many values; `sql` takes `parameters`, then the values in place of `{values}`."""
    for start in range(0, len(values), VALUES_A_QUERY):
        some = values[start : start + VALUES_A_QUERY]
        yield from t.rows(sql.replace("{values}", ", ".join("?" * len(some))), (*parameters, *some))
