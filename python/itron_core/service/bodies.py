"""What the parties say to each other over HTTP, as Arrow IPC or as JSON: one place for both sides.

A body is a few named facts and a table of rows, both told by a `Shape`. In Arrow the facts are JSON in the metadata of the
schema; in JSON the rows are objects, and bytes are base64 (RFC 4648 section 4). What is read is as strict as what is written:
exactly the columns of the shape, whole numbers from 0 to 2^63 - 1, no dictionaries and no compression.
"""

from __future__ import annotations

import binascii
import json
import struct
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from itron_core.errors import InputError
from itron_core.exchange.material import Material, Page
from itron_core.exchange.protocols import OutcomePage
from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


__all__ = [
    "ARROW",
    "CODES",
    "DEVICES",
    "JSON",
    "LARGEST",
    "MEDIA_TYPES",
    "NAMES",
    "OUTCOMES",
    "OUTCOME_PAGE",
    "PAGE",
    "POSITION",
    "SNAPSHOT",
    "TOKENS",
    "USERS",
    "WANTS",
    "Body",
    "Field",
    "Shape",
    "TooLarge",
    "WireError",
    "decode",
    "devices_of",
    "encode",
    "outcome_page_of",
    "outcome_page_rows",
    "outcomes_of",
    "page_of",
    "page_rows",
    "snapshot_facts",
    "snapshot_of",
    "wants_of",
]

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
MEDIA_TYPES: dict[str, Literal["arrow", "json"]] = {ARROW: "arrow", JSON: "json"}

LARGEST = 2**63 - 1
LONGEST_TEXT = 1_024
LONGEST_BYTES = 65_536
# As docs/format.md has it of a revocation snapshot.
LONGEST_SNAPSHOT = 64 * 2**20
MOST_BATCHES = 1_024
# Brackets and commas that a body may have beside those of its rows: in texts, and around the facts.
SPARE_MARKS = 1_024
FACTS = b"facts"


class WireError(InputError):
    """A body that cannot be read, or is not of its shape."""


class TooLarge(WireError):  # noqa: N818  # as the status of HTTP says it
    """A body with more rows, batches or bytes than are taken at once."""


class Field(NamedTuple):
    """One fact or column: numbers are whole, from 0 to 2^63 - 1; `most` bounds the length of texts and bytes."""

    name: str
    kind: Literal["text", "bytes", "number", "flag"]
    nullable: bool = False
    most: int = LONGEST_TEXT


class Shape(NamedTuple):
    """What a body consists of; without `rows` it has facts alone."""

    name: str
    facts: tuple[Field, ...] = ()
    rows: tuple[Field, ...] = ()


class Body(NamedTuple):
    """A body that was read: its facts by name, its rows in order."""

    facts: dict[str, Any]
    rows: list[tuple[Any, ...]]


def _text(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "text") for name in names)


def _numbers(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "number") for name in names)


TOKEN = Field("token", "bytes", most=LONGEST_BYTES)
CURSOR = (*_numbers("next"), Field("more", "flag"))
MATERIAL = (
    *(*_text("unit", "device", "token_type"), *_numbers("actions"), Field("kid", "bytes")),
    *(*_numbers("sequence", "epoch", "issued_at"), Field("not_before", "number", nullable=True)),
    *(*_numbers("expires_at"), Field("session_seconds", "number", nullable=True), TOKEN),
)
OUTCOME = (
    *(*_numbers("number"), *_text("device"), *_numbers("action")),
    *(Field(name, "bytes") for name in ("kid", "cti", "content")),
    *(*_numbers("state", "reason"), Field("answer", "bytes", most=LONGEST_BYTES), *_numbers("at")),
)
PAGE = Shape("MaterialPage", CURSOR, (*_numbers("serial"), *MATERIAL))
OUTCOME_PAGE = Shape("OutcomePage", CURSOR, (*_numbers("serial"), *_text("tool"), *OUTCOME, *_numbers("code")))
OUTCOMES = Shape("Outcomes", rows=OUTCOME)
WANTS = Shape("Wants", rows=(*_numbers("number"), *_text("device", "token_type"), *_numbers("action")))
NAMES = Shape("DeviceNames", rows=_text("device"))
DEVICES = Shape(
    "DeviceRecords",
    rows=(
        *_text("device", "unit"),
        *_numbers("device_class", "mode", "security_level"),
        *(Field("level_verified", "flag"), *_numbers("epoch", "installation")),
    ),
)
USERS = Shape("Users", rows=(*_text("name", "unit"), *_numbers("permissions")))
TOKENS = Shape("Tokens", rows=(TOKEN._replace(most=LONGEST_SNAPSHOT),))
CODES = Shape("Codes", rows=_numbers("code"))
POSITION = Shape("Position", _numbers("position"))
SNAPSHOT = Shape(
    "SignIn",
    (
        *(*_text("user", "unit"), *_numbers("permissions", "command_limit", "authorization_limit")),
        *_numbers("reported", "wanted", "answered_at"),
        Field("revocations", "bytes", nullable=True, most=LONGEST_SNAPSHOT),
    ),
    (TOKEN,),
)


# --- Bodies ---


def encode(
    shape: Shape,
    rows: Iterable[Sequence[Any]] = (),
    facts: Mapping[str, Any] | None = None,
    *,
    to: Literal["arrow", "json"],
) -> bytes:
    """Write a body; raises InputError for values that are not of its shape."""
    told = _told(shape, facts or {})
    columns: list[Any] = list(zip(*rows, strict=True)) or [()] * len(shape.rows)
    try:
        return _encode_arrow(shape, columns, told) if to == "arrow" else _encode_json(shape, columns, told)
    except (OverflowError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"rows that are no {shape.name}: {error}") from error


def decode(shape: Shape, body: bytes, *, of: Literal["arrow", "json"], most_rows: int) -> Body:
    """Read a body; raises WireError, and TooLarge for more than `most_rows` rows, which are told before they are read."""
    found = _decode_arrow(shape, body, most_rows) if of == "arrow" else _decode_json(shape, body, most_rows)
    for field in shape.facts:
        _check(field, [found.facts[field.name]])
    return found


def _told(shape: Shape, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: _as_json(field, facts[field.name]) for field in shape.facts}


def _as_json(field: Field, value: Any) -> Any:
    return _base64(value) if field.kind == "bytes" and value is not None else value


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _check(field: Field, values: Sequence[Any]) -> None:
    """Refuse values that are out of bounds; their types are right already."""
    present = [value for value in values if value is not None] if field.nullable else values
    if not present or field.kind == "flag":
        return
    if field.kind == "number":
        if min(present) < 0 or max(present) > LARGEST:
            raise WireError(f"{field.name} out of its bounds; wanted whole numbers from 0 to 2^63 - 1")
        return
    if max(map(len, present)) > field.most:
        raise WireError(f"{field.name} of {max(map(len, present))}; wanted up to {field.most}")
    if field.kind == "text":
        _check_texts(field, present)


def _check_texts(field: Field, texts: Sequence[str]) -> None:
    """Refuse what a database or a log cannot take as a text: NUL, and halves of surrogate pairs."""
    joined = "".join(texts)
    if "\0" in joined or not (joined.isascii() or _is_unicode(joined)):
        raise WireError(f"{field.name} that is no text; wanted Unicode without U+0000")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- JSON (RFC 8259) ---

TYPES = {"text": str, "bytes": str, "number": int, "flag": bool}


def _encode_json(shape: Shape, columns: Sequence[Sequence[Any]], told: dict[str, Any]) -> bytes:
    if shape.rows:
        names = [field.name for field in shape.rows]
        texts = [_json_column(field, values) for field, values in zip(shape.rows, columns, strict=True)]
        told = {**told, "rows": [dict(zip(names, row, strict=True)) for row in zip(*texts, strict=True)]}
    return json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def _json_column(field: Field, values: Sequence[Any]) -> Sequence[Any]:
    return [_base64(value) for value in values] if field.kind == "bytes" else values


def _decode_json(shape: Shape, body: bytes, most_rows: int) -> Body:
    _bound_json(body, most_rows, len(shape.rows))
    found = _parsed(body)
    wanted = {field.name for field in shape.facts} | ({"rows"} if shape.rows else set())
    if type(found) is not dict or found.keys() != wanted:
        raise WireError(f"JSON that is no {shape.name}; wanted an object of {', '.join(sorted(wanted)) or 'nothing'}")
    facts = {field.name: _from_json(field, [found[field.name]])[0] for field in shape.facts}
    return Body(facts, _rows_of_json(shape, found["rows"], most_rows) if shape.rows else [])


def _bound_json(body: bytes, most_rows: int, columns: int) -> None:
    """Count what makes objects, before any is made: a parsed value takes many times its bytes."""
    most_values = most_rows * max(columns, 1) + SPARE_MARKS
    if body.count(b"{") > most_rows + SPARE_MARKS or body.count(b",") > most_values or body.count(b"[") > SPARE_MARKS:
        raise TooLarge(f"JSON of more than {most_rows} rows, or nested; wanted fewer at once")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_number, parse_float=_no_number)
    except WireError:
        raise
    except (ValueError, RecursionError):
        # Never the parser's own words: they may show the body.
        raise WireError("a body that is no JSON of whole numbers, texts, objects and arrays, in UTF-8") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireError("a JSON object with one name twice")
    return found


def _no_number(_text: str) -> NoReturn:
    raise WireError("a JSON number that is not whole")


def _rows_of_json(shape: Shape, rows: object, most_rows: int) -> list[tuple[Any, ...]]:
    if type(rows) is not list:
        raise WireError(f"rows that are no array; wanted the rows of {shape.name}")
    if len(rows) > most_rows:
        raise TooLarge(f"{len(rows)} rows; wanted up to {most_rows} at once")
    names = [field.name for field in shape.rows]
    wanted = dict.fromkeys(names).keys()
    if not all(type(row) is dict and row.keys() == wanted for row in rows):
        raise WireError(f"a row that is no object of {', '.join(names)}")
    columns = [_from_json(field, [row[field.name] for row in rows]) for field in shape.rows]
    for field, values in zip(shape.rows, columns, strict=True):
        _check(field, values)
    return list(zip(*columns, strict=True))


def _from_json(field: Field, values: list[Any]) -> list[Any]:
    allowed = {TYPES[field.kind], type(None)} if field.nullable else {TYPES[field.kind]}
    if not set(map(type, values)) <= allowed:
        raise WireError(f"{field.name} of another type; wanted a {field.kind}{' or null' if field.nullable else ''}")
    if field.kind != "bytes":
        return values
    try:
        return [None if value is None else binascii.a2b_base64(value, strict_mode=True) for value in values]
    except ValueError:
        raise WireError(f"{field.name} that is no base64 (RFC 4648 section 4)") from None


# --- Arrow IPC streams ---


def _arrow_schema(shape: Shape, told: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    types = {"text": pa.string(), "bytes": pa.binary(), "number": pa.int64(), "flag": pa.bool_()}
    fields = [pa.field(field.name, types[field.kind], nullable=field.nullable) for field in shape.rows]
    return pa.schema(fields, metadata={FACTS: json.dumps(told, separators=(",", ":"))} if shape.facts else None)


def _encode_arrow(shape: Shape, columns: Sequence[Sequence[Any]], told: Mapping[str, Any]) -> bytes:
    import pyarrow as pa

    schema = _arrow_schema(shape, told)
    arrays = [pa.array(values, field.type) for field, values in zip(schema, columns, strict=True)]
    for field, array in zip(shape.rows, arrays, strict=True):
        if array.null_count and not field.nullable:
            raise InputError(f"{field.name} with nulls; wanted a {field.kind}")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if arrays and len(arrays[0]):
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def _decode_arrow(shape: Shape, body: bytes, most_rows: int) -> Body:
    import pyarrow as pa

    try:
        messages = iter(pa.ipc.MessageReader.open_stream(pa.py_buffer(body)))
        schema = _schema_of(shape, messages)
        batches = _batches(messages, schema, most_rows)
        columns = [
            [value for batch in batches for value in batch.column(place).to_pylist()] for place in range(len(schema))
        ]
    except (pa.ArrowException, EOFError, OSError, OverflowError, UnicodeDecodeError, struct.error):
        # Never the reader's own words: they may show the body.
        raise WireError(f"a body that is no Arrow IPC stream of {shape.name}") from None
    for field, values, nulls in zip(shape.rows, columns, _null_counts(batches, len(schema)), strict=True):
        if nulls and not field.nullable:
            raise WireError(f"{field.name} with nulls; wanted a {field.kind}")
        _check(field, values)
    return Body(_facts_of(shape, schema), list(zip(*columns, strict=True)))


def _null_counts(batches: Sequence[Any], columns: int) -> list[int]:
    return [sum(batch.column(place).null_count for batch in batches) for place in range(columns)]


def _schema_of(shape: Shape, messages: Any) -> Any:
    import pyarrow as pa

    message = next(messages, None)
    if message is None or message.type != "schema":
        raise WireError("an Arrow IPC stream that does not begin with its schema")
    schema = pa.ipc.read_schema(message)
    wanted = _arrow_schema(shape, {})
    if schema.names != wanted.names or schema.types != wanted.types:
        columns = ", ".join(f"{field.name}: {field.type}" for field in wanted)
        raise WireError(f"an Arrow schema that is not that of {shape.name}; wanted {columns or 'no columns'}")
    return schema


def _facts_of(shape: Shape, schema: Any) -> dict[str, Any]:
    if not shape.facts:
        return {}
    text = (schema.metadata or {}).get(FACTS, b"")
    return _decode_json(Shape(shape.name, shape.facts), text, len(shape.facts)).facts


def _batches(messages: Any, schema: Any, most_rows: int) -> list[Any]:
    """Read the batches; how many rows a batch has, and whether it is compressed, is asked of its header before."""
    import pyarrow as pa

    found: list[Any] = []
    rows = 0
    for message in messages:
        if message.type != "record batch":
            raise WireError(f"an Arrow message that is a {message.type}; wanted record batches, and no dictionaries")
        length, compressed = _batch_header(message.metadata)
        rows += length
        if compressed:
            raise WireError("an Arrow batch that is compressed; wanted plain buffers")
        if length < 0 or rows > most_rows or len(found) >= MOST_BATCHES:
            raise TooLarge(f"{rows} rows in {len(found) + 1} batches; wanted up to {most_rows} rows at once")
        found.append(_batch(pa.ipc.read_record_batch(message, schema), message))
    return found


def _batch(batch: Any, message: Any) -> Any:
    batch.validate(full=True)
    # Buffers that overlap would decode to more than was sent.
    if batch.nbytes > len(message.body or b""):
        raise WireError("an Arrow batch whose columns share their bytes")
    return batch


# Places of fields in the tables of Arrow's Message.fbs.
MESSAGE_HEADER, BATCH_LENGTH, BATCH_COMPRESSION = 2, 0, 3


def _batch_header(metadata: Any) -> tuple[int, bool]:
    """Return how many rows a record batch says it has, and whether it is compressed.

    pyarrow tells neither before it has decoded all. The bytes are a FlatBuffer that pyarrow has verified.
    """
    data = memoryview(metadata)
    (root,) = struct.unpack_from("<I", data, 0)
    place = _flat_field(data, root, MESSAGE_HEADER)
    if place is None:
        raise WireError("an Arrow message without a header")
    header = place + struct.unpack_from("<I", data, place)[0]
    length = _flat_field(data, header, BATCH_LENGTH)
    rows = 0 if length is None else struct.unpack_from("<q", data, length)[0]
    return rows, _flat_field(data, header, BATCH_COMPRESSION) is not None


def _flat_field(data: memoryview, table: int, number: int) -> int | None:
    """Return where a field of a FlatBuffer's table lies; none for one that is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * number
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + slot)
    return table + offset if offset else None


# --- The parties' types ---


def wants_of(body: Body) -> list[CommandRequest]:
    """Return the wishes of a body of WANTS."""
    return [CommandRequest(*row) for row in body.rows]


def outcomes_of(body: Body) -> list[OutcomeReport]:
    """Return the outcomes of a body of OUTCOMES."""
    return [OutcomeReport(*row) for row in body.rows]


def devices_of(body: Body) -> list[DeviceRecord]:
    """Return the records of a body of DEVICES."""
    return [DeviceRecord(*row) for row in body.rows]


def page_rows(page: Page) -> list[tuple[Any, ...]]:
    """Return the rows of PAGE."""
    return [(serial, *row) for serial, row in page.rows]


def page_of(body: Body) -> Page:
    """Return the page of a body of PAGE."""
    return Page([(row[0], Material._make(row[1:])) for row in body.rows], body.facts["next"], body.facts["more"])


def outcome_page_rows(page: OutcomePage) -> list[tuple[Any, ...]]:
    """Return the rows of OUTCOME_PAGE."""
    return [(serial, tool, *row, code) for serial, tool, row, code in page.rows]


def outcome_page_of(body: Body) -> OutcomePage:
    """Return the page of a body of OUTCOME_PAGE."""
    rows = [(serial, tool, OutcomeReport(*rest), code) for serial, tool, *rest, code in body.rows]
    return OutcomePage(rows, body.facts["next"], body.facts["more"])


def snapshot_facts(snapshot: SignIn) -> dict[str, Any]:
    """Return the facts of SNAPSHOT; its rows are the delegations."""
    return {**snapshot._asdict(), "permissions": int(snapshot.permissions)}


def snapshot_of(body: Body) -> SignIn:
    """Return the snapshot of a body of SNAPSHOT."""
    return SignIn(**body.facts, delegations=tuple(token for (token,) in body.rows))
