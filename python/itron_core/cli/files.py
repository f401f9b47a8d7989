"""Columns from files and to files, batch by batch: Parquet, Arrow IPC, CSV and JSON Lines (extra `io`).

In the two text formats bytes are text: a token is read as hex (only hex digits, an even number of them) or else as
base64url, padded or not, and written as base64url; other bytes are written as hex. What is neither is handed on as it
stands, so that one bad row stays one bad row: no ASCII text is a token.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FORMATS: Final = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
STANDARD_STREAM: Final = "-"
BATCH_ROWS: Final = 65_536
ARROW_MAGIC: Final = b"ARROW1"
TEXT_BLOCK_BYTES: Final = 1 << 24
TOKEN_COLUMNS: Final = frozenset({"token", "authorization", "secure_command", "reading_key"})
BYTES_COLUMNS: Final = TOKEN_COLUMNS | {"command", "check_value"}
TEXT_COLUMNS: Final = BYTES_COLUMNS | {"device", "subject", "actions"}
HEX: Final = re.compile(rb"(?:[0-9a-fA-F]{2})+")


class UnreadableError(Exception):
    """A file that cannot be read or written; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the message and the hint."""
        super().__init__(message)
        self.hint = hint


def format_of(path: str, named: str | None) -> str:
    """Tell a file's format from the name given to it, or from its suffix; raises ValueError where neither tells."""
    if named is not None:
        return named
    if (known := FORMATS.get(Path(path).suffix.lower())) is not None:
        return known
    raise ValueError(f"the format of {path!r} cannot be told from its suffix; wanted one of {', '.join(FORMATS)}")


def read_batches(path: str, file_format: str) -> Iterator[Any]:
    """Read a file (`-`: standard input) as `pyarrow.RecordBatch`es of at most 65,536 rows; there is at least one."""
    import pyarrow as pa

    if path != STANDARD_STREAM and not Path(path).exists():
        raise UnreadableError(f"there is no file {path!r}")
    try:
        with _source(path) as source:
            for batch in READERS[file_format](source):
                for start in range(0, max(batch.num_rows, 1), BATCH_ROWS):
                    yield _bytes_from_text(batch.slice(start, BATCH_ROWS))
    except (OSError, pa.ArrowException) as error:
        hint = "name the format with --format if the suffix misleads"
        raise UnreadableError(f"{path} cannot be read as {file_format}: {error}", hint) from error


@contextmanager
def writer(path: str, file_format: str) -> Iterator[Callable[[Any], None]]:
    """Write `pyarrow.RecordBatch`es of one schema to a file (`-`: standard output) with the function that it yields."""
    import pyarrow as pa

    sink: Any = None

    def write(batch: Any) -> None:
        nonlocal sink
        if sink is None:
            sink = WRITERS[file_format](target, batch.schema)
        sink.write(batch)

    try:
        with _target(path) as target:
            try:
                yield write
            finally:
                if sink is not None:
                    sink.close()
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UnreadableError(f"{path} cannot be written as {file_format}: {error}") from error


def bytes_from_text(text: str) -> bytes:
    """Read bytes written as hex or base64url; anything else is returned as the text's own bytes."""
    raw = text.strip().encode()
    if HEX.fullmatch(raw):
        return bytes.fromhex(raw.decode())
    try:
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return raw


# --- Reading ---


@contextmanager
def _source(path: str) -> Iterator[Any]:
    import pyarrow as pa

    if path == STANDARD_STREAM:
        yield pa.PythonFile(sys.stdin.buffer, mode="r")
    else:
        with pa.OSFile(path) as file:
            yield file


def _read_parquet(source: Any) -> Iterable[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    seekable = source if isinstance(source, pa.OSFile) else pa.BufferReader(source.read())
    file = parquet.ParquetFile(seekable)
    yield from _at_least_one(file.iter_batches(BATCH_ROWS), file.schema_arrow)


def _read_arrow(source: Any) -> Iterable[Any]:
    import pyarrow as pa

    if isinstance(source, pa.OSFile):
        is_file = source.read(len(ARROW_MAGIC)) == ARROW_MAGIC
        source.seek(0)
        if is_file:
            file = pa.ipc.open_file(source)
            yield from _at_least_one(map(file.get_batch, range(file.num_record_batches)), file.schema)
            return
    reader = pa.ipc.open_stream(source)
    yield from _at_least_one(reader, reader.schema)


def _read_csv(source: Any) -> Iterable[Any]:
    import pyarrow as pa
    from pyarrow import csv

    with closing(
        csv.open_csv(
            source,
            read_options=csv.ReadOptions(block_size=TEXT_BLOCK_BYTES),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(TEXT_COLUMNS, pa.string()), strings_can_be_null=True
            ),
        )
    ) as reader:
        yield from _at_least_one(reader, reader.schema)


def _read_jsonl(source: Any) -> Iterable[Any]:
    from pyarrow import json as arrow_json

    yield from arrow_json.open_json(source, read_options=arrow_json.ReadOptions(block_size=TEXT_BLOCK_BYTES))


def _at_least_one(batches: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Give no rows as a batch, too: it tells the columns."""
    import pyarrow as pa

    batch = None
    for batch in batches:  # asked for below
        yield batch
    if batch is None:
        yield pa.RecordBatch.from_pylist([], schema=schema)


READERS: Final[dict[str, Callable[[Any], Iterable[Any]]]] = {
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "csv": _read_csv,
    "jsonl": _read_jsonl,
}


def _bytes_from_text(batch: Any) -> Any:
    """Turn the text columns that stand for bytes into binary ones, and names joined by `|` into lists."""
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        if field.name in BYTES_COLUMNS and _is_text(field.type):
            values = [None if text is None else bytes_from_text(text) for text in batch.column(index).to_pylist()]
            batch = batch.set_column(index, field.name, pa.array(values, pa.binary()))
        elif field.name == "actions" and _is_text(field.type):
            batch = batch.set_column(index, field.name, pa.array(_action_sets(batch.column(index).to_pylist())))
    return batch


def _action_sets(texts: list[str | None]) -> list[int | None] | list[list[str] | None]:
    """A column of numbers is bit sets; any other is names between bars."""
    if all(text is None or text.isdecimal() for text in texts):
        return [None if text is None else int(text) for text in texts]
    return [None if text is None else text.split("|") for text in texts]


def _is_text(arrow_type: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type)
    )


# --- Writing ---


@contextmanager
def _target(path: str) -> Iterator[IO[bytes]]:
    """Open a file that appears whole or not at all."""
    target = Path(path)
    if path == STANDARD_STREAM:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif target.exists() and not target.is_file():  # a pipe, a device
        with target.open("wb") as file:
            yield file
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        try:
            with part.open("wb") as file:
                yield file
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)


class _JsonLines:
    """Writes one JSON object a row; a null is left out."""

    def __init__(self, target: IO[bytes], _schema: Any) -> None:
        self._target = target

    def write(self, batch: Any) -> None:
        for row in batch.to_pylist():
            written = {name: _json_value(name, value) for name, value in row.items() if value is not None}
            self._target.write(json.dumps(written).encode() + b"\n")

    def close(self) -> None:
        """Leave the file to whoever opened it."""


class _Csv:
    """Writes CSV with a header; bytes as text."""

    def __init__(self, target: IO[bytes], _schema: Any) -> None:
        self._target = target
        self._writer: Any = None

    def write(self, batch: Any) -> None:
        import pyarrow as pa
        from pyarrow import csv

        for index, field in enumerate(batch.schema):
            if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
                texts = [
                    None if value is None else _text(field.name, value) for value in batch.column(index).to_pylist()
                ]
                batch = batch.set_column(index, field.name, pa.array(texts, pa.string()))
        if self._writer is None:
            self._writer = csv.CSVWriter(self._target, batch.schema)
        self._writer.write(batch)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _write_parquet(target: IO[bytes], schema: Any) -> Any:
    from pyarrow import parquet

    return parquet.ParquetWriter(target, schema)


def _write_arrow(target: IO[bytes], schema: Any) -> Any:
    import pyarrow as pa

    return pa.ipc.new_stream(target, schema)


WRITERS: Final[dict[str, Callable[[IO[bytes], Any], Any]]] = {
    "parquet": _write_parquet,
    "arrow": _write_arrow,
    "csv": _Csv,
    "jsonl": _JsonLines,
}


def _json_value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(name, value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _text(name: str, value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=") if name in TOKEN_COLUMNS else value.hex()
