"""Values of any Arrow type as JSON and as text, for formats that lack the type."""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any, Final

from itron_core.cli.failures import UnreadableError
from itron_core.enums import DEVICE_TOKEN_TYPES

__all__ = ["AS_JSON", "TOKEN_COLUMNS", "cell_texts", "fitted", "json_value", "plain_text", "values_of"]

# Marks a column whose cells are JSON copied from the input.
AS_JSON: Final = {b"itron_core": b"json"}
# Bytes of these columns are written as base64url, those of other columns as hexadecimal digits.
TOKEN_COLUMNS: Final = frozenset({"token", *DEVICE_TOKEN_TYPES})


def plain_text(batch: Any) -> Any:
    """Return a batch with JSON cells as text: a string without quotes, any other value as JSON."""
    import pyarrow as pa

    columns, fields = list(batch.columns), list(batch.schema)
    for at, field in enumerate(fields):
        if field.metadata == AS_JSON:
            texts = [json.loads(c) if c and c[0] == '"' else c for c in columns[at].to_pylist()]
            columns[at], fields[at] = pa.array(texts, pa.string()), field.remove_metadata()
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata))


def fitted(batch: Any, schema: Any) -> Any:
    """Return a batch with the columns of the first one: missing columns are null, and new ones raise."""
    import pyarrow as pa

    if batch.schema.equals(schema):
        return batch
    new = [name for name in batch.schema.names if name not in schema.names]
    if new:
        raise UnreadableError(
            f'column "{new[0]}" first appears after the rows that were written',
            "write JSON Lines (--output-format jsonl), or read the input from a file instead of a pipe",
        )
    columns = [
        batch.column(batch.schema.names.index(field.name)).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def values_of(column: Any) -> list[Any]:
    """Return a column's values as Python objects; times with nanoseconds, which Python lacks, as text."""
    import pyarrow as pa

    arrow = column.type
    if isinstance(arrow, pa.BaseExtensionType):
        return values_of(column.storage)
    if pa.types.is_run_end_encoded(arrow):
        import pyarrow.compute as pc

        return values_of(pc.run_end_decode(column))
    if pa.types.is_timestamp(arrow) and arrow.unit == "ns":
        return [None if text is None else text.replace(" ", "T", 1) for text in column.cast(pa.string()).to_pylist()]
    if (pa.types.is_duration(arrow) or pa.types.is_time64(arrow)) and arrow.unit == "ns":
        unit = pa.duration("us") if pa.types.is_duration(arrow) else pa.time64("us")
        return list(column.cast(unit, safe=False).to_pylist())
    try:
        return list(column.to_pylist())
    except (OverflowError, ValueError):  # a date or a time in a year that Python lacks: as it is stored
        return [_stored(scalar) for scalar in column]


def _stored(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return scalar.value if hasattr(scalar, "value") else str(scalar)


def json_value(value: Any, name: str = "") -> Any:
    """Return a value for JSON: times as ISO 8601, decimals as text, bytes as hexadecimal digits (tokens: base64url)."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).decode().rstrip("=") if name in TOKEN_COLUMNS else value.hex()
    if isinstance(value, (datetime, date, time_of_day)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _iso_duration(value)
    if isinstance(value, dict):
        return {key: json_value(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [json_value(one) for one in value]
    return str(value)


def _iso_duration(value: timedelta) -> str:
    seconds = Decimal(value.days * 86_400 + value.seconds) + Decimal(value.microseconds) / 1_000_000
    return f"PT{seconds.normalize():f}S"


def cell_texts(column: Any, name: str) -> Any:
    """Return a column as text: strings without quotes, numbers and nested values as JSON."""
    import pyarrow as pa

    texts = []
    for value in values_of(column):
        plain = json_value(value, name)
        texts.append(plain if plain is None or isinstance(plain, str) else json.dumps(plain))
    return pa.array(texts, pa.string())
