"""The interface of a store: one writer at a time, durable when `write()` returns; SQL in SQLite's spelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = ["SECONDS_TO_WAIT_FOR_A_LOCK", "Row", "Store", "Transaction", "Undone", "rows_of"]

SECONDS_TO_WAIT_FOR_A_LOCK = 10.0
# The most values in one query: planning longer lists takes longer than finding the rows.
VALUES_A_QUERY = 500

Row = tuple[Any, ...]


class Undone(Exception):  # noqa: N818  # not an error: ends the transaction of a dry run
    """Raised inside a transaction to discard its changes, and caught around it."""


class Transaction(Protocol):
    """A consistent view of a store and, inside `write()`, the changes to it; parameters replace `?`."""

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return all rows of a query."""

    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement and return how many rows it changed."""

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement per row."""

    def insert_new(self, sql: str, rows: Sequence[Sequence[object]]) -> list[bool]:
        """Run an `INSERT ... ON CONFLICT DO NOTHING` per row, in order, and return which rows were new."""


class Store(Protocol):
    """A database of one or more parties."""

    @property
    def incarnation(self) -> str:
        """The id of the store, 32 hexadecimal digits; a restored store gets a new one."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Open a write transaction: durable when the block ends, undone if it raises.

        Raises StoreError if the store is locked for too long, full, corrupted or unreachable.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """Open a read transaction: a consistent view of the store. Raises StoreError as `write` does."""

    def migrate(self, party: str, steps: Sequence[str]) -> None:
        """Bring the tables of a party up to date: each step is taken once, in order, completely or not at all.

        Raises StoreError if a newer version has taken more steps than this version knows.
        """

    def close(self) -> None:
        """Close the database."""


def rows_of(t: Transaction, sql: str, values: Sequence[object], parameters: Sequence[object] = ()) -> Iterator[Row]:
    """Yield the rows of a query for many values; `sql` takes `parameters`, then the values in place of `{values}`."""
    for start in range(0, len(values), VALUES_A_QUERY):
        some = values[start : start + VALUES_A_QUERY]
        yield from t.rows(sql.replace("{values}", ", ".join("?" * len(some))), (*parameters, *some))
