"""JSON Lines: one object per line; columns that a command does not read pass unchanged."""

from __future__ import annotations

import io
import json
from itertools import chain, islice
from math import isinf
from typing import IO, TYPE_CHECKING, Any, Final

from itron_core.cli.cells import AS_JSON, json_value, values_of
from itron_core.cli.encoding import Utf8Source, is_file
from itron_core.cli.failures import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["JsonLinesWriter", "read_json_lines"]

ROWS: Final = 65_536


def read_json_lines(path: str, source: IO[bytes], ours: frozenset[str]) -> Iterator[Any]:
    """Yield batches: the command's columns as text cells, all others as unchanged JSON.

    Every batch has all columns of a file, wherever they first appear. From a pipe it has those that have appeared so far.
    """
    start = source.tell() if is_file(source) else None
    objects = _objects(path, source)
    first = list(islice(objects, ROWS + 1))
    names: dict[str, None] = {}
    if start is not None and len(first) > ROWS:
        source.seek(start)
        for row in _objects(path, source):
            names.update(dict.fromkeys(row))
        source.seek(start)
        objects = _objects(path, source)
    else:
        objects = chain(first, objects)
    given = False
    while (rows := list(islice(objects, ROWS))) or not given:
        for row in rows:
            names.update(dict.fromkeys(row))
        yield _batch(rows, names, ours)
        given = True


def _objects(path: str, source: IO[bytes]) -> Iterator[dict[str, Any]]:
    # json.loads would make one for each line.
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_constant, parse_float=_float)
    row = 0
    for line in io.BufferedReader(Utf8Source(path, source)):
        if line.isspace():
            continue
        row += 1
        try:
            pairs = decoder.decode(line.decode().removeprefix("\ufeff"))  # of files that were joined
        except (ValueError, RecursionError) as error:
            reason = (
                "nested too deeply"
                if isinstance(error, RecursionError)
                else error.msg
                if isinstance(error, json.JSONDecodeError)
                else str(error)
            )
            raise UnreadableError(
                f"{path}: row {row:,} is not JSON: {reason}", "JSON Lines has one object per line"
            ) from None
        if not isinstance(pairs, _Pairs):
            raise UnreadableError(f"{path}: row {row:,} is not a JSON object", "JSON Lines has one object per line")
        if b"\\ud" in line.lower() and not _is_unicode(pairs):
            raise UnreadableError(f"{path}: row {row:,} has half of a surrogate pair, which is not a character")
        found = dict(pairs)
        if len(found) < len(pairs):
            raise UnreadableError(f"{path}: row {row:,} has a duplicate column")
        yield found


def _float(text: str) -> float:
    """Return a number; refuse one that no double holds, which would be written as infinity."""
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text[:40]} is too large for a number")
    return number


def _constant(name: str) -> None:
    """Return null for NaN, which is what data frames write for it; refuse infinite numbers, which JSON has not."""
    if name != "NaN":
        raise ValueError(f"it has no {name}")


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(_plain(value), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Pairs(list):  # type: ignore[type-arg]
    """The members of an object, in order."""


def _batch(rows: list[dict[str, Any]], names: Mapping[str, None], ours: frozenset[str]) -> Any:
    import pyarrow as pa

    columns, fields = [], []
    for name in names:
        read = _cell if name in ours else _json
        columns.append(pa.array([read(row.get(name)) for row in rows], pa.string()))
        fields.append(pa.field(name, pa.string(), metadata=None if name in ours else AS_JSON))
    if not fields:  # rows without columns
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(rows), pa.struct([])))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _cell(value: Any) -> str | None:
    """Return a value as the text cell that CSV would have: a list of names is joined by bars."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and not isinstance(value, _Pairs) and all(isinstance(one, str) for one in value):
        return "|".join(value)
    return _json(value)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(one) for name, one in value}
    return [_plain(one) for one in value] if isinstance(value, list) else value


class JsonLinesWriter:
    """Writes one object per line, without nulls; a column with a duplicate name gets the next free name."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target

    def write(self, batch: Any) -> None:
        """Write a batch."""
        names = unique_names(batch.schema.names)
        columns = [
            column.to_pylist()
            if field.metadata == AS_JSON
            else [
                None if value is None else json.dumps(json_value(value, name), ensure_ascii=False)
                for value in values_of(column)
            ]
            for name, field, column in zip(names, batch.schema, batch.columns, strict=True)
        ]
        keys = [json.dumps(name, ensure_ascii=False) + ": " for name in names]
        for row in range(batch.num_rows):
            cells = [key + cell for key, column in zip(keys, columns, strict=True) if (cell := column[row]) is not None]
            self._target.write(("{" + ", ".join(cells) + "}\n").encode())

    def close(self) -> None:
        """Do nothing: the opener closes the file."""


def unique_names(names: list[str]) -> list[str]:
    """Return unique names: the second `note` becomes `note_2`."""
    free: list[str] = []
    for name in names:
        new, number = name, 2
        while new in free or (new != name and new in names):
            new, number = f"{name}_{number}", number + 1
        free.append(new)
    return free
