"""The decided rows of a route, as the page stores them: what rows have in common is stored once, as a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core._arguments import EARLIEST, LATEST, moment
from itron_core._printable import printable
from itron_core._rust import verify_tokens
from itron_core.enums import DEVICE_TOKEN_TYPES, Action, Code, Decision, DeviceClass, Mode, Need, SecurityLevel
from itron_core.errors import InputError
from itron_core.explain import Row, explain, reason_name
from itron_core.routes import process_route

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from enum import IntEnum

    from itron_core._rust import Keyring, Revocations
    from itron_core.enums import Permission
    from itron_core.policy import PolicyOptions

__all__ = ["DEVICE", "LONGEST_TEXT", "UNREADABLE", "Kind", "Rows", "decided_rows"]

UNREADABLE = "unreadable"
# Stands for the device in the sentences of a kind; no device id has it.
DEVICE = "\ue000"
LONGEST_TEXT = 80


class Kind(NamedTuple):
    """What rows of one kind have in common, by name, and their explanation, in which DEVICE stands for the device."""

    decision: str
    reason: str
    missing: str
    action: str
    device_class: str
    security_level: str
    mode: str
    explanation: str


class Rows(NamedTuple):
    """The rows of a report, column by column.

    `at` is the time of the decisions and `planned` that of each stop, in seconds since 1970: None for a stop without one, and for a
    route without any. `session_left` and `material_left` are the minutes from the stop to the end of the session, and to that of
    the accepted token that ends first, rounded down; None without one. `requests` are what to ask for: device, token type, action.
    """

    at: int
    planned: list[int | None] | None
    kinds: list[Kind]
    kind: list[int]
    device: list[str]
    session_left: list[int | None]
    material_left: list[int | None]
    requests: list[tuple[str, str, str]]

    def __len__(self) -> int:
        """Return the number of rows (not of columns)."""
        return len(self.kind)


def decided_rows(
    route: Any,
    keyring: Keyring,
    *,
    now: int | datetime,
    permissions: Permission | int,
    options: PolicyOptions,
    revocations: Revocations | None,
    planned: object,
    threads: int | None,
) -> Rows:
    """Decide a route, and return its rows; the arguments are those of `route_report`."""
    import pyarrow as pa

    at, table = moment("now", now), pa.table(route)
    results = process_route(
        table,
        keyring,
        now=at,
        permissions=permissions,
        options=options,
        revocations=revocations,
        threads=threads,
    )
    stops = None if planned is None else _stops(planned, len(results))
    found = [Row(**results._row(row)) for row in range(len(results))]  # noqa: SLF001  # the columns of the same package
    kinds: dict[tuple[Any, ...], int] = {}
    kind = [kinds.setdefault(_key(row), len(kinds)) for row in found]
    stop_of = [at if stop is None else stop for stop in stops or [None] * len(found)]
    ends = _material_ends(table, found, keyring, at=at, revocations=revocations, threads=threads)
    return Rows(
        at=at,
        planned=stops,
        kinds=[_kind(key, options) for key in kinds],
        kind=kind,
        device=[printable(row.device or "", LONGEST_TEXT) for row in found],
        session_left=[
            None if row.session_until is None else int(row.session_until.timestamp() - stop) // 60
            for row, stop in zip(found, stop_of, strict=True)
        ],
        material_left=[None if end is None else (end - stop) // 60 for end, stop in zip(ends, stop_of, strict=True)],
        requests=[
            (one["device"], one["token_type"], one["action"])
            for one in pa.record_batch(results.requests()).select(["device", "token_type", "action"]).to_pylist()
        ],
    )


def _key(row: Row) -> tuple[Any, ...]:
    """Return what decides the kind of a row: everything but its device and the end of its session."""
    return row._replace(device=None if row.device is None else DEVICE, session_until=None)


def _kind(key: tuple[Any, ...], options: PolicyOptions) -> Kind:
    row = Row(*key)
    # The value of an unreadable row is the file's own text.
    shown = row if row.unreadable is None else row._replace(unreadable=printable(row.unreadable, LONGEST_TEXT))
    return Kind(
        decision=Decision(row.decision).name.lower(),
        reason=reason_name(row.reason),
        missing=", ".join(str(need.name).lower().replace("_", " ") for need in Need(row.missing)),
        action=_name(Action, row.action),
        device_class=_name(DeviceClass, row.device_class),
        security_level=_name(SecurityLevel, row.security_level),
        mode=_name(Mode, row.mode),
        explanation=explain(shown, options),
    )


def _name(enumeration: type[IntEnum], number: int | None) -> str:
    return UNREADABLE if number is None else enumeration(number).name.lower()


def _stops(planned: object, count: int) -> list[int | None] | None:
    """Return the planned time of each stop in seconds; None if no stop has one. Raises InputError for another type, length or year."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = planned if isinstance(planned, (pa.Array, pa.ChunkedArray)) else pa.array(planned)
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise InputError(f"planned: got {column.type}, expected timestamps with a zone")
    if len(column) != count:
        raise InputError(f"planned: got {len(column)} rows, expected {count}")
    seconds = column.cast(pa.timestamp("s", column.type.tz), safe=False).cast(pa.int64())
    outside = pc.invert(pc.and_(pc.greater_equal(seconds, EARLIEST), pc.less_equal(seconds, LATEST)))
    row = pc.index(outside, True).as_py()  # the value that is looked for
    if row >= 0:
        raise InputError(
            f"planned: got {seconds[row]} seconds since 1970 in row {row}, expected a time from 2020 to 2100"
        )
    found: list[int | None] = seconds.to_pylist()
    return None if seconds.null_count == len(seconds) else found


def _material_ends(
    table: Any, rows: list[Row], keyring: Keyring, *, at: int, revocations: Revocations | None, threads: int | None
) -> list[int | None]:
    """Return when the first accepted token of each row ends, in seconds; None if it has none."""
    ends: list[int | None] = [None] * len(rows)
    for token_type in DEVICE_TOKEN_TYPES:
        if token_type in table.schema.names:
            found = verify_tokens(
                table[token_type],
                keyring,
                now=at,
                token_type=token_type,
                revocations=revocations,
                columns=["expires_at"],
                threads=threads,
            )
            accepted = (getattr(row, f"{token_type}_code") == Code.OK for row in rows)
            for row, (good, end) in enumerate(zip(accepted, _seconds(found["expires_at"]), strict=True)):
                if good and end is not None:
                    ends[row] = end if ends[row] is None else min(end, ends[row] or end)
    return ends


def _seconds(times: Any) -> Iterator[int | None]:
    import pyarrow as pa

    for micros in pa.array(times).cast(pa.int64()).to_pylist():
        yield None if micros is None else micros // 1_000_000
