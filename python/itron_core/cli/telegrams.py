"""Telegrams in files: lines of hexadecimal digits as receivers write them, and tables with a column of telegrams."""

from __future__ import annotations

import re
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from itron_core.cli.columns import INTEGERS, TEXT, check_columns
from itron_core.cli.files import BATCH_ROWS, FORMATS, STANDARD_STREAM, read_rows, text_lines
from itron_core.cli.options import FileFormat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["COLUMNS", "ReadingFormat", "telegrams_in"]


class ReadingFormat(StrEnum):
    """The formats of a file of telegrams."""

    HEX = "hex"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    ARROW = "arrow"


# The columns beside that of the telegrams: the argument of the call, and how a text format's cells are read.
COLUMNS: Final = {
    "key": ("keys", TEXT),
    "authentication_key": ("authentication_keys", TEXT),
    "system_title": ("system_titles", TEXT),
    "counter_floor": ("counter_floors", INTEGERS),
}
# wmbusmeters writes telegram=|...|, with marks between the fields; rtl-wmbus writes fields joined by ;, the last in 0x.
WMBUSMETERS: Final = re.compile(r"telegram=\|+([0-9A-Fa-f_|]+?)\|*(?:\+\d+)?$")
DIGITS: Final = re.compile(r"(?:0x)?[0-9A-Fa-f]{2,}")


def telegrams_in(source: str, named: ReadingFormat | None, column: str) -> Iterator[Any]:
    """Read telegrams as record batches of at most 65,536 rows, with the column of that name; there is at least one."""
    suffix = FORMATS.get(Path(source).suffix.lower())
    if named is ReadingFormat.HEX or (named is None and (source == STANDARD_STREAM or suffix is None)):
        yield from _hex_lines(source, column)
        return
    file_format = suffix if named is None else FileFormat(named.value)
    is_text = file_format in {FileFormat.CSV, FileFormat.JSONL}
    kinds: Mapping[str, Any] = {name: kind for name, (_, kind) in COLUMNS.items() if is_text or kind is INTEGERS}
    for batch in read_rows(source, file_format, {column: TEXT, **kinds} if is_text else kinds):
        check_columns(source, batch, [column], "name the column of telegrams: --column NAME")
        yield batch


def _hex_lines(source: str, column: str) -> Iterator[Any]:
    import pyarrow as pa

    lines = (_telegram_of(line) for line in map(str.strip, text_lines(source)) if line and line[0] != "#")
    some = list(islice(lines, BATCH_ROWS))
    while True:
        yield pa.record_batch({column: pa.array(some, pa.string())})
        some = list(islice(lines, BATCH_ROWS))
        if not some:
            return


def _telegram_of(line: str) -> str:
    """Return the telegram's digits; a line without any stays as it is, and is a malformed row."""
    if found := WMBUSMETERS.search(line):
        return re.sub(r"[_|]", "", found[1])
    fields = [field.strip() for field in line.split(";")]
    if len(fields) > 1:
        marked = [field for field in fields if field[:2].lower() == "0x"]
        digits = marked or sorted((field for field in fields if DIGITS.fullmatch(field)), key=len)
        return digits[-1] if digits else line
    return line
