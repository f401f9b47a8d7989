"""Rows from files and to files, batch by batch: Parquet, Arrow IPC, CSV and JSON Lines (extra `io`).

Columns of the two text formats are text; `columns` gives those of a command their types, by name.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from itron_core.cli.cells import cell_texts, fitted, plain_text
from itron_core.cli.columns import TypedColumns
from itron_core.cli.csv_files import CsvWriter, read_csv
from itron_core.cli.encoding import Utf8Source, is_file
from itron_core.cli.failures import ReaderGoneError, UnreadableError, UnwritableError, UsageError
from itron_core.cli.json_lines import JsonLinesWriter, read_json_lines
from itron_core.cli.options import FileFormat
from itron_core.cli.output import remark
from itron_core.cli.written_files import note_read, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import tzinfo

    from itron_core.cli.columns import Kind

__all__ = ["STANDARD_STREAM", "format_of", "read_rows", "rows_to", "text_lines"]

FORMATS: Final = {
    ".parquet": FileFormat.PARQUET,
    ".arrow": FileFormat.ARROW,
    ".arrows": FileFormat.ARROW,
    ".ipc": FileFormat.ARROW,
    ".feather": FileFormat.ARROW,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
    ".jsonl": FileFormat.JSONL,
    ".ndjson": FileFormat.JSONL,
}
STANDARD_STREAM: Final = "-"
BATCH_ROWS: Final = 65_536
ARROW_MAGIC: Final = b"ARROW1"


def format_of(path: str, named: FileFormat | None, option: str) -> FileFormat:
    """Return a file's format: the given one, else that of its suffix; JSON Lines for a standard stream."""
    if named is not None:
        return named
    if path == STANDARD_STREAM:
        return FileFormat.JSONL
    known = FORMATS.get(Path(path).suffix.lower())
    if known is None:
        hint = f"name it: {option} {'|'.join(FileFormat)}"
        if Path(path).suffix.lower() in {".xlsx", ".xls", ".ods"}:
            hint = "save the sheet as CSV (UTF-8)"
        raise UsageError(f"{path}: unknown suffix, expected one of {', '.join(FORMATS)}", hint)
    return known


def read_rows(
    path: str,
    named: FileFormat | None,
    columns: Mapping[str, Kind] | None = None,
    *,
    zone: tzinfo | None = None,
) -> Iterator[Any]:
    """Yield a file (`-`: standard input) as one or more `pyarrow.RecordBatch`es of at most 65,536 rows.

    `columns` are those of the command, with their types. Every other column passes unchanged, in a text format as text.
    `zone` is the zone of times without one. Corrected device ids are counted on standard error.
    """
    file_format = format_of(path, named, "--format")
    typed = TypedColumns(path, columns or {}, zone, has_header=file_format is FileFormat.CSV)
    for batch in _raw_batches(path, file_format, frozenset(columns or ())):
        yield typed.read(batch)
    for line in typed.mended.lines():
        remark(line)


def _raw_batches(path: str, file_format: FileFormat, ours: frozenset[str]) -> Iterator[Any]:
    import pyarrow as pa

    try:
        with _source(path) as source:
            for batch in _READERS[file_format](path, source, ours):
                for start in range(0, max(batch.num_rows, 1), BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)
    except FileNotFoundError:
        raise UnreadableError(f"file {path!r} does not exist") from None
    except (OSError, pa.ArrowException) as error:
        hint = "name the format with --format if the suffix misleads"
        raise UnreadableError(f"{path} cannot be read as {file_format}: {error}", hint) from error


def text_lines(path: str) -> Iterator[str]:
    """Yield the lines of a text file (`-`: standard input) in the encoding of its byte order mark."""
    import io

    try:
        with _source(path) as source:
            yield from io.TextIOWrapper(io.BufferedReader(Utf8Source(path, source)), "utf-8")
    except FileNotFoundError:
        raise UnreadableError(f"file {path!r} does not exist") from None
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def rows_to(path: str | None, named: FileFormat | None, *, private: bool = False) -> Iterator[Callable[[Any], None]]:
    """Yield a function that writes `pyarrow.RecordBatch`es to a file (`-`: standard output), or drops them for None.

    A file appears complete or not at all; a private one can be read by its owner alone. Raises for a column that the first
    batch lacks, except in JSON Lines.
    """
    if path is None:
        yield lambda _batch: None
        return
    import pyarrow as pa

    file_format = format_of(path, named, "--output-format")
    sink: Any = None

    def write(batch: Any) -> None:
        nonlocal sink
        if sink is None:
            sink = _WRITERS[file_format](target)
        sink.write(batch)

    try:
        with _target(path, private=private) as target:
            try:
                yield write
            finally:
                if sink is not None:
                    sink.close()
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        name = "standard output" if path == STANDARD_STREAM else path
        raise UnwritableError(f"{name} cannot be written as {file_format}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# --- Reading ---


@contextmanager
def _source(path: str) -> Iterator[IO[bytes]]:
    if path == STANDARD_STREAM:
        if sys.stdin is None:
            raise UnreadableError("standard input is closed")
        yield sys.stdin.buffer
    else:
        with Path(path).open("rb") as file:
            note_read(path)
            yield file


def _arrow_file(path: str, source: IO[bytes]) -> Any:
    """Return a seekable pyarrow file: memory-mapped if it is a regular file, else held in memory."""
    import pyarrow as pa

    if path != STANDARD_STREAM and is_file(source):
        return pa.OSFile(path)
    return pa.BufferReader(source.read())


def _read_parquet(path: str, source: IO[bytes], _ours: frozenset[str]) -> Iterable[Any]:
    from pyarrow import parquet

    with _arrow_file(path, source) as opened:
        file = parquet.ParquetFile(opened)
        yield from _at_least_one(file.iter_batches(BATCH_ROWS), file.schema_arrow)


def _read_arrow(path: str, source: IO[bytes], _ours: frozenset[str]) -> Iterable[Any]:
    import pyarrow as pa

    peek: Callable[[int], bytes] | None = getattr(source, "peek", None)
    start = peek(len(ARROW_MAGIC))[: len(ARROW_MAGIC)] if peek is not None else b""
    if start == ARROW_MAGIC:
        with _arrow_file(path, source) as opened:
            file = pa.ipc.open_file(opened)
            yield from _at_least_one(map(file.get_batch, range(file.num_record_batches)), file.schema)
    else:
        reader = pa.ipc.open_stream(source)
        yield from _at_least_one(reader, reader.schema)


def _at_least_one(batches: Iterable[Any], schema: Any) -> Iterator[Any]:
    """Yield an empty batch if there are no rows: it has the columns."""
    batch = None
    for batch in batches:  # taken below
        yield batch
    if batch is None:
        yield _empty(schema)


def _empty(schema: Any) -> Any:
    """Return a batch without rows. `pa.array`, which would make its columns as well, imports pandas: half a second."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


_READERS: Final[dict[FileFormat, Callable[[str, IO[bytes], frozenset[str]], Iterable[Any]]]] = {
    FileFormat.PARQUET: _read_parquet,
    FileFormat.ARROW: _read_arrow,
    FileFormat.CSV: read_csv,
    FileFormat.JSONL: read_json_lines,
}


# --- Writing ---


@contextmanager
def _target(path: str, *, private: bool) -> Iterator[IO[bytes]]:
    """Open a file that appears complete or not at all."""
    target = Path(path)
    if path == STANDARD_STREAM:
        if sys.stdout is None:
            raise UnwritableError("standard output is closed")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif target.exists() and not target.is_file():  # a pipe, a device
        with target.open("wb") as file:
            yield file
    else:
        with written(target, private=private) as file:
            yield file


class _ArrowWriter:
    """Writes batches with a writer of pyarrow; a column whose type the format lacks is written as text."""

    def __init__(self, target: IO[bytes], open_writer: Callable[[IO[bytes], Any], Any]) -> None:
        self._target, self._open = target, open_writer
        self._writer: Any = None
        self._schema: Any = None
        self._written: Any = None
        self._as_text: frozenset[int] = frozenset()

    def write(self, batch: Any) -> None:
        """Write a batch; the first batch determines the columns of the file."""
        import pyarrow as pa

        plain = plain_text(batch)
        if self._writer is None:
            self._as_text = frozenset(at for at, field in enumerate(plain.schema) if not self._takes(field))
        else:
            plain = fitted(plain, self._schema)
        columns = [cell_texts(c, "") if at in self._as_text else c for at, c in enumerate(plain.columns)]
        if self._writer is None:
            fields = [field.with_type(c.type) for field, c in zip(plain.schema, columns, strict=True)]
            self._schema, self._written = plain.schema, pa.schema(fields, plain.schema.metadata)
            self._writer = self._open(self._target, self._written)
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._written))

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()

    def _takes(self, field: Any) -> bool:
        import io

        import pyarrow as pa

        schema = pa.schema([field])
        try:
            with self._open(io.BytesIO(), schema) as writer:
                writer.write_batch(_empty(schema))
        except pa.ArrowException:
            return False
        return True


def _write_parquet(target: IO[bytes]) -> Any:
    from pyarrow import parquet

    return _ArrowWriter(target, parquet.ParquetWriter)


def _write_arrow(target: IO[bytes]) -> Any:
    import pyarrow as pa

    return _ArrowWriter(target, pa.ipc.new_stream)


_WRITERS: Final[dict[FileFormat, Callable[[IO[bytes]], Any]]] = {
    FileFormat.PARQUET: _write_parquet,
    FileFormat.ARROW: _write_arrow,
    FileFormat.CSV: CsvWriter,
    FileFormat.JSONL: JsonLinesWriter,
}
