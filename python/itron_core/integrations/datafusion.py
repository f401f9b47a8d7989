"""DataFusion: a function for SQL and frames (extra `datafusion`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from itron_core.integrations.structs import TokenFunction
from itron_core.tables import library

if TYPE_CHECKING:
    from datetime import datetime

    from itron_core._rust import Keyring

__all__ = ["register"]


def register(context: Any, keyring: Keyring, *, now: int | datetime, name: str = "verify_token", **options: Any) -> Any:
    """Register a function of a token and its device (NULL: not asked) that returns a struct of the result columns.

    Read the columns with `unnest`, once: DataFusion before 56 runs the function again for each field of a subquery's struct.
    `options` are those of `verify_tokens`, and `names`. Returns the function for frames.
    """
    datafusion = library("datafusion", "integrations.datafusion")
    pa = library("pyarrow", "integrations.datafusion", "datafusion")
    verified = TokenFunction(keyring, now=now, **options)
    function = datafusion.udf(
        verified, [pa.binary(), pa.string()], pa.struct(list(pa.schema(verified.schema))), "stable", name
    )
    context.register_udf(function)
    return function
