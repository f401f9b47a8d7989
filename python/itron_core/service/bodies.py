"""The bodies of the service: JSON (RFC 8259), read into typed models on both sides.

Reading is as strict as writing: exactly the fields of a model, each name once, whole numbers from 0 to 2^63 - 1, texts
without U+0000, bytes in base64 (RFC 4648 section 4). The memory that a body takes is bounded before it is read.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from itron_core.errors import InputError
from itron_core.exchange.material import Material, Page
from itron_core.exchange.protocols import OutcomePage
from itron_core.exchange.records import LONGEST_ANSWER, CommandRequest, DeviceRecord, OutcomeReport, SignIn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "JSON",
    "LARGEST",
    "LARGEST_BODY",
    "MODELS",
    "Codes",
    "DeviceNames",
    "DeviceRecords",
    "MaterialPage",
    "Model",
    "OutcomePages",
    "Outcomes",
    "Position",
    "SignIns",
    "Tokens",
    "TooLarge",
    "Users",
    "Wants",
    "WireError",
    "decode",
    "encode",
]

JSON = "application/json"
LARGEST = 2**63 - 1
# The largest body; a page of the exchange (exchange/pages.py) in base64 fits in half of it.
LARGEST_BODY = 64 * 2**20
LONGEST_TEXT = 1_024
LONGEST_TOKEN = 65_536
# The limit of docs/format.md for a revocation snapshot.
LONGEST_SNAPSHOT = 64 * 2**20
# The most objects in a body besides its rows.
SPARE_OBJECTS = 1_024
# All bytes except those that are counted before a body is read.
UNCOUNTED = bytes(byte for byte in range(256) if byte not in b'{"')
LONGEST_FAULT = 200


class WireError(InputError):
    """A body that is unreadable, or does not match its model."""


class TooLarge(WireError):  # noqa: N818  # the name of the HTTP status
    """A body with more rows or bytes than are accepted at once."""


Number = Annotated[int, Meta(ge=0, le=LARGEST)]
Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Identity = Annotated[bytes, Meta(max_length=64)]
Token = Annotated[bytes, Meta(max_length=LONGEST_TOKEN)]
Answer = Annotated[bytes, Meta(max_length=LONGEST_ANSWER)]
Snapshot = Annotated[bytes, Meta(max_length=LONGEST_SNAPSHOT)]


class Model(Struct, frozen=True, forbid_unknown_fields=True):
    """A body: a few named values, and usually an array of rows."""


class Row(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One row: an object of these fields, in the order of the party's type."""


class MaterialRow(Row, frozen=True):
    """One issued token; times in seconds since 1970."""

    serial: Number
    unit: Text
    device: Text
    token_type: Text
    actions: Number
    kid: Identity
    sequence: Number
    epoch: Number
    issued_at: Number
    not_before: Number | None
    expires_at: Number
    session_seconds: Number | None
    token: Token


class MaterialPage(Model, frozen=True):
    """Material after a cursor; continue from the cursor `next`."""

    next: Number
    more: bool
    rows: list[MaterialRow]

    @classmethod
    def of(cls, page: Page) -> MaterialPage:
        """Return the body of a page."""
        return cls(page.next, page.more, [MaterialRow(serial, *row) for serial, row in page.rows])

    def page(self) -> Page:
        """Return the page of a body."""
        rows = [astuple(row) for row in self.rows]
        return Page([(row[0], Material._make(row[1:])) for row in rows], self.next, self.more)


class OutcomeRow(Row, frozen=True):
    """The outcome of one message to a device."""

    number: Number
    device: Text
    action: Number
    kid: Identity
    cti: Identity
    content: Identity
    state: Number
    reason: Number
    answer: Answer
    at: Number


class Outcomes(Model, frozen=True):
    """Outcomes of a field tool."""

    rows: list[OutcomeRow]

    @classmethod
    def of(cls, reports: Iterable[OutcomeReport]) -> Outcomes:
        """Return the body of outcomes."""
        return cls([OutcomeRow(*report) for report in reports])

    def reports(self) -> list[OutcomeReport]:
        """Return the outcomes of a body."""
        return [OutcomeReport._make(astuple(row)) for row in self.rows]


class ReportedRow(Row, frozen=True):
    """An outcome with its serial, the tool that reported it, and the server's code."""

    serial: Number
    tool: Text
    number: Number
    device: Text
    action: Number
    kid: Identity
    cti: Identity
    content: Identity
    state: Number
    reason: Number
    answer: Answer
    at: Number
    code: Number


class OutcomePages(Model, frozen=True):
    """Outcomes after a cursor of the server's store `incarnation`."""

    next: Number
    more: bool
    incarnation: Text
    rows: list[ReportedRow]

    @classmethod
    def of(cls, page: OutcomePage) -> OutcomePages:
        """Return the body of a page of outcomes."""
        rows = [ReportedRow(serial, tool, *report, code) for serial, tool, report, code in page.rows]
        return cls(page.next, page.more, page.incarnation, rows)

    def page(self) -> OutcomePage:
        """Return the page of a body."""
        rows = [astuple(row) for row in self.rows]
        return OutcomePage(
            [(row[0], row[1], OutcomeReport._make(row[2:-1]), row[-1]) for row in rows],
            self.next,
            self.more,
            self.incarnation,
        )


class WantRow(Row, frozen=True):
    """One command request."""

    number: Number
    device: Text
    token_type: Text
    action: Number


class Wants(Model, frozen=True):
    """Command requests of a field tool."""

    rows: list[WantRow]

    @classmethod
    def of(cls, requests: Iterable[CommandRequest]) -> Wants:
        """Return the body of command requests."""
        return cls([WantRow(*one) for one in requests])

    def requests(self) -> list[CommandRequest]:
        """Return the command requests of a body."""
        return [CommandRequest._make(astuple(row)) for row in self.rows]


class DeviceName(Row, frozen=True):
    """A device id."""

    device: Text


class DeviceNames(Model, frozen=True):
    """Requested devices."""

    rows: list[DeviceName]

    @classmethod
    def of(cls, names: Iterable[str]) -> DeviceNames:
        """Return the body of device ids."""
        return cls([DeviceName(name) for name in names])


class DeviceRow(Row, frozen=True):
    """The record of a device."""

    device: Text
    unit: Text
    device_class: Number
    mode: Number
    security_level: Number
    level_verified: bool
    epoch: Number
    installation: Number


class DeviceRecords(Model, frozen=True):
    """Records of devices."""

    rows: list[DeviceRow]

    @classmethod
    def of(cls, records: Iterable[DeviceRecord]) -> DeviceRecords:
        """Return the body of records."""
        return cls(
            [
                DeviceRow(
                    *(record.device, record.unit, int(record.device_class), int(record.mode)),
                    *(int(record.security_level), bool(record.level_verified), record.epoch, record.installation),
                )
                for record in records
            ]
        )

    def records(self) -> list[DeviceRecord]:
        """Return the records of a body."""
        return [DeviceRecord._make(astuple(row)) for row in self.rows]


class UserRow(Row, frozen=True):
    """A user, the business unit, and a bit set of permissions."""

    name: Text
    unit: Text
    permissions: Number


class Users(Model, frozen=True):
    """All users."""

    rows: list[UserRow]

    @classmethod
    def of(cls, users: Iterable[tuple[str, str, int]]) -> Users:
        """Return the body of users."""
        return cls([UserRow(name, unit, int(permissions)) for name, unit, permissions in users])


class TokenRow(Row, frozen=True):
    """A signed token: a delegation, a revocation snapshot, or one to verify."""

    token: Snapshot


class Tokens(Model, frozen=True):
    """Signed tokens."""

    rows: list[TokenRow]

    @classmethod
    def of(cls, tokens: Iterable[bytes]) -> Tokens:
        """Return the body of tokens."""
        return cls([TokenRow(token) for token in tokens])

    def tokens(self) -> list[bytes]:
        """Return the tokens of a body."""
        return [row.token for row in self.rows]


class CodeRow(Row, frozen=True):
    """The code of one row."""

    code: Number


class Codes(Model, frozen=True):
    """One code per row sent."""

    rows: list[CodeRow]

    @classmethod
    def of(cls, codes: Iterable[int]) -> Codes:
        """Return the body of codes."""
        return cls([CodeRow(int(code)) for code in codes])


class Position(Model, frozen=True):
    """A cursor, or the highest number accepted."""

    position: Number


class SignIns(Model, frozen=True):
    """The answer to a sign-in; its rows are the delegations."""

    user: Text
    unit: Text
    permissions: Number
    command_limit: Number
    authorization_limit: Number
    reported: Number
    wanted: Number
    answered_at: Number
    incarnation: Text
    revocations: Snapshot | None
    rows: list[TokenRow]

    @classmethod
    def of(cls, found: SignIn) -> SignIns:
        """Return the body of a sign-in."""
        values = {name: value for name, value in found._asdict().items() if name != "delegations"}
        rows = [TokenRow(token) for token in found.delegations]
        return cls(**{**values, "permissions": int(found.permissions)}, rows=rows)

    def sign_in(self) -> SignIn:
        """Return the sign-in of a body."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name != "rows"}
        return SignIn(**values, delegations=tuple(row.token for row in self.rows))


MODELS: tuple[type[Model], ...] = (
    *(MaterialPage, OutcomePages, Outcomes, Wants, DeviceNames, DeviceRecords, Users, Tokens, Codes, Position, SignIns),
)
M = TypeVar("M", bound=Model)
_ENCODER = msgspec.json.Encoder()


def encode(body: Model) -> bytes:
    """Write a body. Raises InputError for values that its model cannot hold."""
    try:
        return _ENCODER.encode(body)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InputError(f"rows: not valid as {type(body).__name__}: {error}") from error


def decode(model: type[M], body: bytes, *, most_rows: int) -> M:
    """Read a body. Raises WireError, and TooLarge for more than `most_rows` rows, which are counted before they are read.

    The fields and rows of a model give the number of its texts, and so the number of quotation marks in its body. A
    duplicate name, of which JSON leaves open which value counts, adds some more.
    """
    marks = body.translate(None, UNCOUNTED)
    if marks.count(b"{") > most_rows + SPARE_OBJECTS:
        raise TooLarge(f"body: got more than {most_rows} rows, or nested objects; send fewer rows at once")
    try:
        found = _DECODERS[model].decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"body: got invalid JSON, expected {model.__name__}: {_fault_of(error)}") from None
    rows: list[Row] = getattr(found, "rows", [])
    if len(rows) > most_rows:
        raise TooLarge(f"body: got {len(rows)} rows, expected at most {most_rows} at once")
    _check_names_once(body, marks, found, rows)
    assert isinstance(found, model)  # noqa: S101  # for mypy: its decoder makes nothing else
    return found


def _check_names_once(body: bytes, marks: bytes, found: Model, rows: list[Row]) -> None:
    quotes = marks.count(b'"')
    if b"\\" in body:
        # Escapes occur only in texts. Escaped backslashes are removed first, since escapes are read from the left.
        escapes = body.replace(b"\\\\", b"")
        if b"\\u0000" in escapes:
            raise WireError("body: got text with U+0000, expected Unicode without it")
        quotes -= escapes.count(b'\\"')
    expected = _texts_of(type(found)) - sum(value is None for value in _nullable_texts(found))
    expected += len(rows) * _texts_of(type(rows[0])) if rows else 0
    if quotes != 2 * expected:
        raise WireError("body: got an object with a duplicate name, expected each name once")


def _texts_of(kind: type[Struct]) -> int:
    """Return the number of texts in an object of this kind: its names, and its values that are texts or bytes."""
    return _TEXTS[kind]


def _nullable_texts(found: Model) -> list[object]:
    return [found.revocations] if isinstance(found, SignIns) else []


def _is_text(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_text(get_args(hint)[0])
    return hint in (str, bytes) or any(_is_text(one) for one in get_args(hint) if get_origin(hint) is not list)


def _counted(kind: type[Struct]) -> int:
    hints = get_type_hints(kind, include_extras=True)
    return len(kind.__struct_fields__) + sum(_is_text(hints[name]) for name in kind.__struct_fields__)


def _kinds() -> list[type[Struct]]:
    return [*MODELS, *Row.__subclasses__()]


_TEXTS = {kind: _counted(kind) for kind in _kinds()}
_DECODERS: dict[type[Model], msgspec.json.Decoder[Any]] = {model: msgspec.json.Decoder(model) for model in MODELS}


def _fault_of(error: Exception) -> str:
    """Return the fault and its place in the reader's words, without names invented by the sender."""
    said = str(error)
    if said.startswith("Object contains unknown field"):
        said = "unknown field" + "".join(said.rpartition(" - at ")[1:]) if " - at `$" in said else "unknown field"
    return "".join(sign for sign in said if sign in string.printable)[:LONGEST_FAULT]
