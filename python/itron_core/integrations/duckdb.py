"""DuckDB: a function for SQL (extra `duckdb`). Relations are frames: `frames.verify(relation, ...)` returns a relation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itron_core.integrations.structs import TokenFunction
from itron_core.tables import library

if TYPE_CHECKING:
    from datetime import datetime

    from itron_core._rust import Keyring

__all__ = ["register"]


def register(
    connection: Any, keyring: Keyring, *, now: int | datetime, name: str = "verify_token", **options: Any
) -> None:
    """Register a SQL function of a token and its device (NULL: not asked) that returns a struct of the result columns.

    `SELECT verify_token(token, device).code FROM t`; `unnest` gives all columns. `options` are those of `verify_tokens`, and
    `names`. DuckDB calls it with at most 2,048 rows, from all its threads at once, so each call takes one. It reads a table of
    fewer than 122,880 rows on one thread: pass `threads=None` for those.
    """
    library("pyarrow", "integrations.duckdb", "duckdb")
    verified = TokenFunction(keyring, now=now, **{"threads": 1} | options)

    def answer(tokens: Any, devices: Any) -> Any:
        return verified(tokens, devices)

    connection.create_function(
        name,
        answer,
        [connection.type("BLOB"), connection.type("VARCHAR")],
        connection.type(f"STRUCT({verified.schema.ddl('duckdb')})"),
        type="arrow",
        null_handling="special",
    )
