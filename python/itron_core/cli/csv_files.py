"""CSV files: detects separator, encoding and header; every cell is text."""

from __future__ import annotations

import csv
import io
import re
from typing import IO, TYPE_CHECKING, Any, Final

from itron_core.cli.cells import cell_texts, fitted, plain_text
from itron_core.cli.encoding import BLOCK_BYTES, Utf8Source
from itron_core.cli.failures import UnreadableError
from itron_core.cli.output import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CsvWriter", "read_csv"]

SEPARATORS: Final = (",", ";", "\t")
LONGEST_HEADER_BYTES: Final = 1 << 20
LONGEST_CELL_BYTES: Final = 1 << 26


def read_csv(path: str, source: IO[bytes], ours: frozenset[str]) -> Iterator[Any]:
    """Yield batches of text columns with the names of the header; an empty cell is null."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    text = Utf8Source(path, source)
    header, separator = _header_of(path, text, ours)
    names = [str(at) for at in range(len(header))]
    ragged: list[Any] = []

    def note(row: Any) -> str:
        ragged.append(row)
        return "error"

    def named(batch: Any) -> Any:
        return pa.RecordBatch.from_arrays(batch.columns, names=header)

    if text.at_end():
        yield named(pa.RecordBatch.from_arrays([pa.array([], pa.string())] * len(names), names=names))
        return
    try:
        with arrow_csv.open_csv(
            pa.PythonFile(_QuotesChecked(path, text, separator), mode="r"),
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=BLOCK_BYTES, use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                check_utf8=False,  # `Utf8Source` has checked it, and knows the line
            ),
        ) as reader:
            for batch in reader:
                yield named(batch)
    except pa.ArrowInvalid as error:
        if ragged:
            raise _ragged(path, ragged[0]) from error
        if "straddling" in str(error):
            raise UnreadableError(
                f"{path}: a row has more than {BLOCK_BYTES >> 20} MiB, the most for CSV",
                "shorten its cells, or give the file as JSON Lines or Parquet",
            ) from error
        raise


class _QuotesChecked(io.RawIOBase):
    """Passes text on, and refuses a quotation mark that opens a cell and does not close it: the rows in it would be lost."""

    def __init__(self, path: str, text: Utf8Source, separator: str) -> None:
        super().__init__()
        ends = rb"[\r\n" + separator.encode() + rb"]"
        quoted = rb'"(?>[^"]++|"")*+" *+'
        # All up to a quotation mark that opens a cell and closes it badly, or not at all.
        self._right = re.compile(
            rb'(?:[^"]++|(?<=' + ends + rb")" + quoted + rb"(?=" + ends + rb")|(?<!" + ends + rb')")*+'
        )
        self._wrong = re.compile(quoted + rb"(?!" + ends + rb")(?=.)", re.DOTALL)
        self._path, self._text, self._line = path, text, 1
        self._waiting = b"\n"  # the byte before what is to be checked, and what is not checked yet

    def readable(self) -> bool:
        """Return true."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return bytes, as the text does."""
        data = self._text.read(size)
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        # At the end of the text a line ends, too.
        together = self._waiting + (data or b"\n")
        found = self._right.match(together, 1)
        end = found.end() if found else 1
        self._line += together.count(b"\n", 1, end)
        if end < len(together) and (
            not data or len(together) - end > LONGEST_CELL_BYTES or self._wrong.match(together, end)
        ):
            raise UnreadableError(
                f"{self._path}: line {self._line + 1:,} has a cell that begins with a quotation mark and is not closed",
                "close the cell with a quotation mark, or write each one within it twice",
            )
        self._waiting = together[end - 1 :]


def _ragged(path: str, row: Any) -> UnreadableError:
    place = f"row {row.number:,} (after the header)" if row.number else "a row"
    return UnreadableError(
        f"{path}: {place} has {counted(row.actual_columns, 'cell')}, but the header {row.expected_columns}",
        "put a cell that contains the separator or a quotation mark in quotation marks",
    )


# --- Header ---


def _header_of(path: str, text: Utf8Source, ours: frozenset[str]) -> tuple[list[str], str]:
    """Read the header with the separator that gives the most known names, else the most names."""
    record = _first_record(path, text)
    if not record.strip():
        raise UnreadableError(f"{path} is empty", "the first line names the columns")
    if record[:4].lower() == "sep=" and len(record.rstrip("\r\n")) == len(
        "sep=;"
    ):  # a spreadsheet's line that names the separator
        separator = record[4]
        return _cells(_first_record(path, text), separator), separator
    separator = max(SEPARATORS, key=lambda one: (len(ours & set(_cells(record, one))), len(_cells(record, one))))
    header = _cells(record, separator)
    if len(header) == 1 and (other := _other_separator(record, ours)) is not None:
        raise UnreadableError(
            f"{path}: the columns are separated by {other!r}, expected a comma, a semicolon or a tab",
            f"save it with one of these, or name the separator in a line before the header: sep={other}",
        )
    return header, separator


def _other_separator(record: str, ours: frozenset[str]) -> str | None:
    """Return the character that cuts a header into the command's columns, or None; a space must give two of them."""
    between = sorted(set(re.sub(r'[\w"\r\n.-]', "", record)), key=record.count, reverse=True)
    for one in between:
        names = {cell.strip() for cell in _cells(record.strip(), one)} if one.isascii() else set(record.split(one))
        if len(ours & names) > one.isspace():
            return one
    return None


def _cells(record: str, separator: str) -> list[str]:
    return next(csv.reader([record], delimiter=separator), [])


def _first_record(path: str, text: Utf8Source) -> str:
    """Return the first record that is not blank, which ends at a line end outside quotation marks."""
    data = b""
    while True:
        block = text.read(BLOCK_BYTES)
        data = (data + block).lstrip(b"\r\n")
        end = _end_of_record(data)
        if end is not None or not block:
            break
        if len(data) > LONGEST_HEADER_BYTES:
            raise UnreadableError(f"{path}: the header is longer than {LONGEST_HEADER_BYTES:,} bytes", "is it CSV?")
    end = len(data) if end is None else end
    text.push_back(data[end:])
    return data[:end].decode()


def _end_of_record(data: bytes) -> int | None:
    quoted = False
    for at, byte in enumerate(data[: LONGEST_HEADER_BYTES + 1]):
        if byte == ord('"'):
            quoted = not quoted
        elif not quoted and byte in b"\r\n":
            return at + 1 + (data[at : at + 2] == b"\r\n")
    return None


# --- Writing ---


class CsvWriter:
    """Writes CSV with a header; bytes as hexadecimal digits, nested values as JSON."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._writer: Any = None
        self._schema: Any = None

    def write(self, batch: Any) -> None:
        """Write a batch; the first batch determines the columns of the file."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        plain = plain_text(batch)
        if self._schema is None:
            self._schema = plain.schema
        plain = fitted(plain, self._schema)
        columns = [
            column if _is_simple(column.type) else cell_texts(column, name)
            for name, column in zip(plain.schema.names, plain.columns, strict=True)
        ]
        written = pa.RecordBatch.from_arrays(columns, names=plain.schema.names)
        if self._writer is None:
            self._writer = arrow_csv.CSVWriter(self._target, written.schema)
        self._writer.write(written)

    def close(self) -> None:
        """Write the remaining rows."""
        if self._writer is not None:
            self._writer.close()


def _is_simple(arrow: Any) -> bool:
    """Return whether pyarrow writes a type in a readable form."""
    import pyarrow as pa

    types = pa.types
    return any(
        one(arrow) for one in (types.is_string, types.is_integer, types.is_boolean, types.is_date, types.is_decimal)
    ) or bool(types.is_float64(arrow) or (types.is_timestamp(arrow) and arrow.tz in {None, "UTC"}))
