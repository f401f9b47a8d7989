"""Where the parties keep what they must not forget: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import os

from itron_core.errors import InputError
from itron_core.stores.protocol import Store, Transaction, rows_of
from itron_core.stores.sqlite import SqliteStore

__all__ = ["Store", "Transaction", "open_store", "rows_of"]


def open_store(url: str | os.PathLike[str]) -> Store:
    """Open a store: a path or `sqlite:///path` (made if it is not there), or `postgresql://...` (extra `postgres`)."""
    text = os.fspath(url)
    if text.startswith(("postgresql://", "postgres://")):
        from itron_core.stores.postgres import PostgresStore

        return PostgresStore(text)
    scheme, separator, path = text.partition(":///")
    if separator and scheme != "sqlite":
        raise InputError(f"a store at {scheme}:///...; wanted a path, sqlite:///path or postgresql://...")
    return SqliteStore(path if separator else text)
