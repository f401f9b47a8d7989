"""Spark 4: frames in and out, and a function for SQL; classic sessions and Spark Connect (extra `spark`).

Every worker needs this package. The keyring travels in the function (some hundred bytes), `now` is that of the driver, and a
task that runs again gives the same rows: nothing is written. Consume tokens in a ledger after the job, never in a task.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from itron_core import frames
from itron_core.errors import InputError
from itron_core.integrations.structs import TokenFunction
from itron_core.tables import library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from itron_core._rust import Keyring
    from itron_core.enums import Permission

__all__ = ["process", "register", "verify"]


def verify(frame: Any, keyring: Keyring, *, now: int | datetime, **options: Any) -> Any:
    """Return a Spark frame with the columns of `frames.verify` beside its own; `options` are those of that function."""
    return _mapped(frame, partial(frames.verify, keyring=keyring, now=now, **{"threads": 1} | options))


def process(frame: Any, keyring: Keyring, *, now: int | datetime, permissions: Permission | int, **options: Any) -> Any:
    """Return a Spark frame with the columns of `frames.process` beside its own; `options` are those of that function."""
    fixed = {"keyring": keyring, "now": now, "permissions": permissions, "threads": 1}
    return _mapped(frame, partial(frames.process, **fixed | options))


def register(session: Any, keyring: Keyring, *, now: int | datetime, name: str = "verify_token", **options: Any) -> Any:
    """Register a SQL function of a token and its device (NULL: not asked) that returns a struct of the result columns.

    `options` are those of `verify_tokens`, and `names`. Returns the function for frames.
    """
    functions = library("pyspark.sql.functions", "integrations.spark")
    pa = library("pyarrow", "integrations.spark", "spark")
    verified = TokenFunction(keyring, now=now, **{"threads": 1} | options)

    def answer(tokens: Any, devices: Any) -> Any:
        return verified(tokens, devices)

    # Spark reads from these what the function takes.
    answer.__annotations__ = dict.fromkeys(("tokens", "devices", "return"), pa.Array)
    return session.udf.register(name, functions.arrow_udf(answer, _struct_type(pa.schema(verified.schema))))


# Spark's types by the names of Arrow's.
_TYPES = {
    "int8": "ByteType",
    "int16": "ShortType",
    "int32": "IntegerType",
    "int64": "LongType",
    "bool": "BooleanType",
    "string": "StringType",
    "binary": "BinaryType",
    "timestamp[us, tz=UTC]": "TimestampType",
}


def _mapped(frame: Any, answer: Callable[[Any], Any]) -> Any:
    pa = library("pyarrow", "integrations.spark", "spark")
    types = library("pyspark.sql.types", "integrations.spark")
    if not hasattr(frame, "mapInArrow"):
        raise InputError(
            f"frame: got {type(frame).__name__}, expected a frame of Spark; call itron_core.frames for others"
        )
    # The answers of no rows: they have the types, and every argument is checked on the driver.
    empty = answer(pa.table({name: pa.nulls(0) for name in frame.columns}))
    added = _struct_type([*empty.schema][len(frame.columns) :])

    def each(batches: Iterable[Any]) -> Iterator[Any]:
        return map(answer, batches)

    return frame.mapInArrow(each, types.StructType([*frame.schema.fields, *added.fields]))


def _struct_type(fields: Iterable[Any]) -> Any:
    types = library("pyspark.sql.types", "integrations.spark")
    return types.StructType(
        [types.StructField(field.name, getattr(types, _TYPES[str(field.type)])()) for field in fields]
    )
