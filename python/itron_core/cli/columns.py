"""The columns that the commands read, typed by name. An invalid value is refused with its row and column."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from itron_core._rust import near_name
from itron_core.cli.failures import UnreadableError
from itron_core.enums import Action, DeviceClass, Mode, Permission, SecurityLevel
from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from enum import IntEnum

__all__ = [
    "DEVICE_COLUMNS",
    "REQUEST_COLUMNS",
    "ROUTE_COLUMNS",
    "WANTED_COLUMNS",
    "Kind",
    "Mended",
    "TypedColumns",
    "check_columns",
    "device_ids",
]


class Kind(NamedTuple):
    """The type of a column: the reader of a text cell, the Arrow type, and the description of expected values."""

    read: Callable[[str, _Context], Any]
    arrow: str
    expected: str


class _Context:
    """The context for reading cells: a zone for times without one, and counts of corrected ids, `rows` at a time."""

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone, self.mended, self.rows = zone, Mended(), 1


class Mended(Counter[str]):
    """Counts the device ids that were corrected."""

    def lines(self) -> list[str]:
        """Return the counts in sentences."""
        sentences = {
            "plain": "{} given as a plain number, read as ert:",
            "zeros": "{} with leading zeros, capital letters or a spreadsheet's .0, corrected",
        }
        return ["Device ids: " + sentences[kind].format(f"{count:,}") for kind, count in sorted(self.items()) if count]


# --- A cell of text ---

INTEGER: Final = re.compile(r"([+-]?\d+)(?:[.,]0{1,2})?", re.ASCII)
DEVICE: Final = re.compile(r"ert:(?:0|[1-9]\d*)|(?:eui64|dlms):[0-9a-f]{16}", re.ASCII)
ERT: Final = re.compile(r"(ert:\s*)?0*(\d+?)([.,]0)?", re.ASCII | re.IGNORECASE)
HEX_DEVICE: Final = re.compile(r"(?:eui64|dlms):[0-9a-f]{16}", re.ASCII | re.IGNORECASE)
SCIENTIFIC: Final = re.compile(r"(?:ert:)?[+-]?\d+(?:[.,]\d+)?e[+-]?\d+", re.ASCII | re.IGNORECASE)
HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
MARKED_HEX: Final = re.compile(r"(?:0x|\\x)((?:[0-9a-f]{2})*)", re.ASCII | re.IGNORECASE)
LINE_BREAK: Final = re.compile(r"\s*[\r\n]\s*")
SPACE_BEFORE_ZONE: Final = re.compile(r"\s+(?=[+-]\d\d(?::?\d\d)?$|Z$)")
FLAGS: Final = dict.fromkeys(("1", "yes", "true", "y", "t", "1.0"), True) | dict.fromkeys(
    ("0", "no", "false", "n", "f", "0.0"), False
)
INT64: Final = range(-(2**63), 2**63)
# Seconds since 1970 in these years; any other number is most likely in milliseconds.
SECONDS: Final = range(1_577_836_800, 4_133_980_800)


class ZoneMissingError(ValueError):
    """A time without a zone, when no zone was given."""


class ShortenedError(ValueError):
    """A device id that a spreadsheet shortened to a few digits."""


def _text(text: str, _context: _Context) -> str:
    return text


def _integer(text: str, _context: _Context) -> int:
    found = INTEGER.fullmatch(text.strip())
    if found is None or int(found[1]) not in INT64:
        raise ValueError(text)
    return int(found[1])


def _flag(text: str, _context: _Context) -> bool:
    return FLAGS[text.strip().lower()]


def _time(text: str, context: _Context) -> datetime:
    text = text.strip()
    if text.endswith("UTC"):
        text = text.removesuffix("UTC") + "Z"
    text = SPACE_BEFORE_ZONE.sub("", text)
    if re.fullmatch(r"\d+(?:\.0)?", text, re.ASCII):
        return datetime.fromtimestamp(_in_range(int(text.partition(".")[0])), UTC)
    if ":" not in text:  # a date alone
        raise ValueError(text)
    read = datetime.fromisoformat(text)
    read = read if read.tzinfo is not None else in_zone(read, context.zone)
    _in_range(int(read.timestamp()))
    return read


def _in_range(seconds: int) -> int:
    if seconds not in SECONDS:
        raise ValueError(seconds)
    return seconds


def in_zone(naive: datetime, zone: tzinfo | None) -> datetime:
    """Return a wall clock's time with its zone. Raises for a time that does not exist there, or exists twice."""
    if zone is None:
        raise ZoneMissingError(str(naive))
    first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise ValueError(str(naive))
    return first


def _device(text: str, context: _Context) -> str:
    """Return a device id in its canonical form; an unknown form is kept, so that its row is refused."""
    if DEVICE.fullmatch(text):
        return text
    stripped = text.strip()
    if SCIENTIFIC.fullmatch(stripped):
        raise ShortenedError(text)
    if number := ERT.fullmatch(stripped):
        context.mended["plain"] += context.rows * (number[1] is None)
        context.mended["zeros"] += context.rows * (stripped not in {number[2], f"ert:{number[2]}"})
        return f"ert:{number[2]}"
    if HEX_DEVICE.fullmatch(stripped):
        context.mended["zeros"] += context.rows
        return stripped.lower()
    return text


def device_ids(given: list[str] | None) -> list[str] | None:
    """Return device ids of the command line in their canonical form: a plain number is an ERT, as in a file."""
    context = _Context(None)
    # What a spreadsheet shortened is an unknown device, as it stands.
    return None if given is None else [one if SCIENTIFIC.fullmatch(one) else _device(one, context) for one in given]


def _named(enumeration: type[IntEnum], text: str, _context: _Context) -> str:
    """Return the name for a number of an enumeration; the library checks names."""
    if number := INTEGER.fullmatch(text.strip()):
        known = next((member.name.lower() for member in enumeration if member == int(number[1])), None)
        return text if known is None else known
    return text


def _bit_set(enumeration: Any, text: str, context: _Context) -> int:
    """Return a bit set from a number, or from names separated by bars, commas or spaces."""
    if INTEGER.fullmatch(text.strip()):
        number = _integer(text, context)
        if number & ~sum(1 << member if enumeration is Action else member for member in enumeration):
            raise ValueError(text)
        return number
    bits = 0
    for name in re.split(r"[|,;]", text):
        member = enumeration[re.sub(r"[\s_-]+", "_", name.strip()).upper()]
        bits |= 1 << member if enumeration is Action else member
    return bits


def bytes_of_text(text: str, _context: _Context | None = None) -> bytes:
    r"""Read bytes in usual notations: hexadecimal (also after `0x` or `\x`), base64 or base64url, with or without line breaks.

    Text of only hexadecimal digits, in even number, is hexadecimal.
    """
    packed = LINE_BREAK.sub("", text.strip())
    if marked := MARKED_HEX.fullmatch(packed):
        return bytes.fromhex(marked[1])
    if HEX.fullmatch(packed):
        return bytes.fromhex(packed)
    standard = packed.rstrip("=").replace("-", "+").replace("_", "/")
    padded = standard + "=" * (-len(standard) % 4)
    try:
        data = base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise ValueError(text) from None
    if base64.b64encode(data).decode() != padded:  # unused bits are set: a word, not bytes
        raise ValueError(text)
    return data


def _names(enumeration: Any) -> str:
    return ", ".join(member.name.lower() for member in enumeration)


TEXT: Final = Kind(_text, "string", "text")
INTEGERS: Final = Kind(_integer, "int64", "a whole number")
FLAG: Final = Kind(_flag, "bool", "yes or no, true or false, 1 or 0")
TIME: Final = Kind(_time, "time", "a time such as 2026-11-18T12:00:00+01:00, or seconds since 1970, from 2020 to 2100")
DEVICE_ID: Final = Kind(_device, "string", "a device id such as ert:100000001")
BYTES: Final = Kind(bytes_of_text, "binary", "hexadecimal digits, base64 or base64url")
# The library itself reads tokens as text, and refuses the row of any other text.
TOKEN: Final = Kind(_text, "string", "a token")
ACTIONS: Final = Kind(partial(_bit_set, Action), "int64", "action names joined by |, or their bit set")
PERMISSIONS: Final = Kind(
    partial(_bit_set, Permission), "int64", f"names joined by | ({_names(Permission)}), or their bit set"
)


def _enumeration(enumeration: type[IntEnum]) -> Kind:
    return Kind(partial(_named, enumeration), "string", _names(enumeration))


ROUTE_COLUMNS: Final[dict[str, Kind]] = {
    "device": DEVICE_ID,
    "device_class": _enumeration(DeviceClass),
    "security_level": _enumeration(SecurityLevel),
    "action": _enumeration(Action),
    "mode": _enumeration(Mode),
    "authorization": TOKEN,
    "secure_command": TOKEN,
    "reading_key": TOKEN,
    "session_opened_at": TIME,
    "session_seconds": INTEGERS,
    "commands_used": INTEGERS,
    "authorizations_used": INTEGERS,
    "secure_command_used": FLAG,
    "authorization_used": FLAG,
    "on_menu": FLAG,
    "level_verified": FLAG,
    "key_exchange": FLAG,
    "permissions": PERMISSIONS,
    "epoch": INTEGERS,
}
REQUIRED_OF_ROUTE: Final = ("device", "device_class", "security_level", "action")
REQUEST_COLUMNS: Final[dict[str, Kind]] = {
    "device": DEVICE_ID,
    "actions": ACTIONS,
    "sequence": INTEGERS,
    "epoch": INTEGERS,
    "expires_at": TIME,
    "not_before": TIME,
    "session_seconds": INTEGERS,
    "subject": TEXT,
    "command": BYTES,
    "kdf": INTEGERS,
    "key_version": INTEGERS,
    "check_value": BYTES,
}
DEVICE_COLUMNS: Final[dict[str, Kind]] = {
    "device": DEVICE_ID,
    "unit": TEXT,
    "device_class": _enumeration(DeviceClass),
    "mode": _enumeration(Mode),
    "security_level": _enumeration(SecurityLevel),
    "level_verified": FLAG,
    "epoch": INTEGERS,
}
WANTED_COLUMNS: Final[dict[str, Kind]] = {
    "device": DEVICE_ID,
    "token_type": TEXT,
    "action": _enumeration(Action),
}


# --- Columns ---


def _are_devices(column: Any) -> bool:
    """Return whether every cell is a device id in its canonical form, which most files have: nothing is left to read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type != pa.string() or column.null_count:
        return False
    return bool(pc.all(pc.match_substring_regex(column, f"^(?:{DEVICE.pattern})$")).as_py())


class TypedColumns:
    """Reads batches of one input, in order: the command's columns by their types, all others unchanged."""

    def __init__(self, source: str, kinds: Mapping[str, Kind], zone: tzinfo | None, *, has_header: bool) -> None:
        self._source, self._kinds = source, kinds
        self._context = _Context(zone)
        self.mended = self._context.mended
        self._place = place_of(has_header=has_header)
        self._rows = 0
        self._seen: set[str] = set()

    def read(self, batch: Any) -> Any:
        """Return a batch with typed columns. Raises UnreadableError with row, column and value."""
        import pyarrow as pa

        for name in batch.schema.names:
            if name not in self._seen:
                self._check_spelling(name)
        self._seen.update(batch.schema.names)
        twice = [name for name in self._kinds if batch.schema.names.count(name) > 1]
        if twice:
            raise UnreadableError(f'{self._source}: column "{twice[0]}" occurs twice', "remove or rename one of them")
        columns, fields = list(batch.columns), list(batch.schema)
        for at, field in enumerate(fields):
            if (kind := self._kinds.get(field.name)) is not None:
                columns[at] = self._typed(columns[at], field.name, kind)
                fields[at] = pa.field(field.name, columns[at].type, field.nullable)
        self._rows += batch.num_rows
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields, batch.schema.metadata))

    def _check_spelling(self, name: str) -> None:
        """Refuse a misspelled name of a known column, which would be ignored; a command's only column is never ignored."""
        if len(self._kinds) > 1 and (meant := near_name(name, list(self._kinds))) is not None:
            raise UnreadableError(
                f'{self._source}: unknown column "{name}"; did you mean "{meant}"?', "rename the column, or remove it"
            )

    def _typed(self, column: Any, name: str, kind: Kind) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not is_text(column.type):
            column = _as_cells(column, kind)
        if kind is TIME and not is_text(column.type):
            self._check_times(column, name)
        if kind in {TEXT, TOKEN} or not is_text(column.type) or (kind == DEVICE_ID and _are_devices(column)):
            return column
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        rows = {entry["values"]: entry["counts"] for entry in pc.value_counts(encoded.indices).to_pylist()}
        values = []
        for at, text in enumerate(encoded.dictionary.to_pylist()):
            self._context.rows = rows.get(at, 0)
            try:
                values.append(None if not text else kind.read(text, self._context))
            except (ValueError, KeyError, OverflowError) as error:
                row = encoded.indices.to_pylist().index(at)
                raise self._refusal(error, row, name, text, kind) from None
        return pa.array(values, _arrow_type(kind)).take(encoded.indices)

    def _check_times(self, column: Any, name: str) -> None:
        """Refuse times outside 2020 to 2100 in a file of types, as in one of text: they are in milliseconds, or days."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_timestamp(column.type):
            seconds = column.cast(pa.timestamp("s", column.type.tz), safe=False).cast(pa.int64())
        elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            seconds = column.cast(pa.float64(), safe=False)
        else:
            return
        fits = pc.and_(pc.greater_equal(seconds, SECONDS.start), pc.less(seconds, SECONDS.stop))
        if pa.types.is_floating(column.type):
            fits = pc.or_(fits, pc.is_nan(column))  # which stands for no value
        if not pc.all(fits, min_count=0).as_py():
            row = pc.index(fits, value=False).as_py()
            raise self._refusal(ValueError(), row, name, str(column[row].as_py()), TIME)

    def _refusal(self, error: Exception, row: int, name: str, text: str, kind: Kind) -> UnreadableError:
        where = f'{self._source}: {self._place(self._rows + row)}, column "{name}"'
        if isinstance(error, ZoneMissingError):
            return UnreadableError(
                f"{where}: got {text!r}, a time without a zone",
                "name the zone: --time-zone Europe/Berlin; or write the offset: 2026-11-18T12:00:00+01:00",
            )
        if isinstance(error, ShortenedError):
            return UnreadableError(
                f"{where}: got {text!r}, a number that a spreadsheet shortened",
                "format the column as text, or as a number without decimals, and save the file again",
            )
        return UnreadableError(f"{where}: got {text!r}, expected {kind.expected}")


def _as_cells(column: Any, kind: Kind) -> Any:
    """Return times without a zone, and numbers that are not of the kind's own type, as text: the same rules apply."""
    import pyarrow as pa

    naive = kind is TIME and pa.types.is_timestamp(column.type) and column.type.tz is None
    floating = pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
    number = (floating and kind not in {TEXT, TOKEN, BYTES, TIME}) or (
        kind in {DEVICE_ID, FLAG} and pa.types.is_integer(column.type)
    )
    if naive:
        column = column.cast(pa.timestamp("us"), safe=False)
    if not (naive or number):
        return column
    texts = [None if value is None else str(value) for value in column.to_pylist()]
    return pa.array([None if text == "nan" else text for text in texts], pa.string())


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    return pa.timestamp("us", "UTC") if kind is TIME else pa.type_for_alias(kind.arrow)


def place_of(*, has_header: bool) -> Callable[[int], str]:
    """Return the function that names rows: counted from 1, after the header if there is one."""
    header = " (after the header)" if has_header else ""
    return lambda row: f"row {row + 1:,}{header}"


def check_columns(source: str, batch: Any, needed: Iterable[str], hint: str = "") -> None:
    """Raise UnreadableError, which shows the columns of a file, unless it has all that are needed."""
    missing = [f'"{name}"' for name in needed if name not in batch.schema.names]
    if missing:
        there = ", ".join(batch.schema.names) or "none"
        raise UnreadableError(f"{source}: no column {', '.join(missing)}; its columns: {there}", hint)


def is_text(arrow: Any) -> bool:
    """Return whether a column holds text, in any encoding."""
    import pyarrow as pa

    if pa.types.is_dictionary(arrow):
        return is_text(arrow.value_type)
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow))


@contextmanager
def rows_counted_from(first: int) -> Iterator[None]:
    """Change row numbers in a library's message, counted from 0 in one batch, to those of the input, counted from 1."""
    try:
        yield
    except InputError as error:
        message = re.sub(r"\brow (\d+)", lambda row: f"row {first + int(row[1]) + 1:,}", str(error))
        raise UnreadableError(message) from error
