"""Routes in files: decide every row, explain one, write an example."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from itron_core.cli.answers import Beside, named, paired, record_batch
from itron_core.cli.columns import REQUIRED_OF_ROUTE, ROUTE_COLUMNS, TOKEN, check_columns, place_of
from itron_core.cli.failures import UsageError
from itron_core.cli.files import STANDARD_STREAM, format_of, read_rows, rows_to
from itron_core.cli.inputs import moment, permissions_of, planned_moment, read_keyring, zone_of
from itron_core.cli.options import (
    AT,
    INPUT_FILE,
    INPUT_FORMAT,
    JSON,
    KEYRING,
    NOW,
    OUTPUT_FILE,
    OUTPUT_FORMAT,
    PERMISSIONS,
    THREADS,
    TIME_ZONE,
    FileFormat,
    group,
    with_policy,
)
from itron_core.cli.output import counted, exit_code, remark, say, show_counts, with_progress
from itron_core.enums import Decision
from itron_core.explain import reason_name
from itron_core.policy import PolicyOptions  # noqa: TC001  # Typer reads the signature
from itron_core.routes import process_batches, process_route

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from itron_core.cli.columns import Kind

route_app = group("Routes as files: an example with every column.")
EXAMPLE: Final[tuple[dict[str, str], ...]] = (
    {
        "device": "ert:100000001",
        "device_class": "basic",
        "security_level": "ready_to_secure",
        "action": "read_endpoint",
        "on_menu": "yes",
    },
    {
        "device": "ert:100000002",
        "device_class": "enhanced",
        "security_level": "command",
        "action": "read_interval_data",
        "session_opened_at": "2026-11-18T12:00:00+01:00",
        "session_seconds": "3600",
        "level_verified": "yes",
        "epoch": "4",
    },
    {
        "device": "ert:100000003",
        "device_class": "multi_mode",
        "security_level": "full",
        "mode": "mobile",
        "action": "disconnect_service",
        "commands_used": "0",
        "authorizations_used": "0",
        "secure_command_used": "no",
        "authorization_used": "no",
        "key_exchange": "no",
        "permissions": "read_endpoints|remote_disconnect",
    },
)


@with_policy
def preflight(
    source: Annotated[str, INPUT_FILE],
    permissions: Annotated[str, PERMISSIONS],
    keyring: Annotated[list[Path] | None, KEYRING] = None,
    *,
    options: PolicyOptions,
    threads: Annotated[int | None, THREADS] = None,
    at: Annotated[str | None, AT] = None,
    time_zone: Annotated[str | None, TIME_ZONE] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
    requests: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the command requests to make: columns device, token_type and action."),
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Decide every row of a route.

    Adds the decision and what is missing. A route without tokens needs no keyring. `itron-core route template` shows the columns.
    """
    decide = partial(
        process_batches,
        keyring=read_keyring(keyring),
        now=moment_of(now, at, time_zone),
        permissions=permissions_of(permissions),
        options=options,
        threads=threads,
    )
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    beside = Beside()
    unreadable = Unreadable()
    with rows_to(target, target_format) as write, rows_to(requests, None) as ask:
        batches = with_progress(route_batches(source, input_format, time_zone, keyring), "rows decided")
        for batch, results in paired(batches, decide):
            answers, some_decisions, some_reasons = decided(results)
            decisions += some_decisions
            reasons += some_reasons
            unreadable.add(answers)
            if target is not None:
                write(beside(batch, answers))
            if requests is not None:
                ask(record_batch(results.requests()).select(["device", "token_type", "action"]))
    unreadable.remark(has_header=format_of(source, input_format, "--format") is FileFormat.CSV)
    show_counts({"decision": decisions, "reason": reasons}, as_json=as_json, to_remarks=target == STANDARD_STREAM)
    raise typer.Exit(exit_code(decisions, "allowed", "allowed_after_open"))


@with_policy
def explain(
    source: Annotated[str, INPUT_FILE],
    row: Annotated[str, typer.Argument(metavar="ROW", help="A row, counted from 1 after the header, or a device id.")],
    permissions: Annotated[str, PERMISSIONS],
    keyring: Annotated[list[Path] | None, KEYRING] = None,
    *,
    options: PolicyOptions,
    at: Annotated[str | None, AT] = None,
    time_zone: Annotated[str | None, TIME_ZONE] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
) -> None:
    """Explain one row of a route in sentences.

    The policy options are those of preflight.
    """
    ring, at_moment, granted = read_keyring(keyring), moment_of(now, at, time_zone), permissions_of(permissions)
    decisions: Counter[str] = Counter()
    for batch in _rows(route_batches(source, input_format, time_zone, keyring), row):
        results = process_route(batch, ring, now=at_moment, permissions=granted, options=options)
        decisions += decided(results)[1]
        say(results.explain(0))
        for missing in record_batch(results.requests()).to_pylist():
            what = f"{missing['device']} --type {missing['token_type']} --action {missing['action']}"
            say(f"Request it: itron-core field request HOME {what}")
    raise typer.Exit(exit_code(decisions, "allowed", "allowed_after_open"))


@route_app.command("template")
def route_template(
    target: Annotated[
        str, typer.Argument(metavar="FILE", help="Write the example here; - is standard output.")
    ] = STANDARD_STREAM,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Write an example of a route with every column.

    Only device, device_class, security_level and action are required; docs/files.md describes every column.
    """
    import pyarrow as pa

    if target != STANDARD_STREAM and Path(target).exists():
        raise UsageError(f"{target} already exists", "name another file: it may be a route of yours")
    if target_format is None and target == STANDARD_STREAM:
        target_format = FileFormat.CSV
    with rows_to(target, target_format) as write:
        columns = {name: [row.get(name) for row in EXAMPLE] for name in ROUTE_COLUMNS}
        write(pa.record_batch({name: pa.array(cells, pa.string()) for name, cells in columns.items()}))


class Unreadable:
    """Reports the first unreadable rows, each with its column and value."""

    SHOWN = 5
    LONGEST_LIST = 100  # all but the actions, which docs/files.md lists

    def __init__(self) -> None:
        self._first: list[tuple[int, str]] = []
        self._rows = self._count = 0

    def add(self, answers: Any) -> None:
        """Collect the unreadable rows of a batch of answers."""
        import pyarrow.compute as pc

        column = answers["unreadable"]
        count = len(column) - column.null_count
        if count and len(self._first) < self.SHOWN:
            for at in pc.indices_nonzero(column.is_valid()).to_pylist()[: self.SHOWN - len(self._first)]:
                self._first.append((self._rows + at, column[at].as_py()))
        self._count += count
        self._rows += len(column)

    def remark(self, *, has_header: bool) -> None:
        """Print them to standard error."""
        place = place_of(has_header=has_header)
        for row, what in self._first:
            kind = ROUTE_COLUMNS.get(what.partition(":")[0])
            is_short = kind is not None and len(kind.expected) <= self.LONGEST_LIST
            expected = f", expected {kind.expected}" if kind is not None and is_short else ""
            remark(f"{place(row)}, column {what} cannot be read{expected}")
        if self._count > len(self._first):
            remark(f"... and {counted(self._count - len(self._first), 'more row')} that cannot be read")


def decided(results: Any) -> tuple[Any, Counter[str], Counter[str]]:
    """Return the columns of decisions with names for numbers, and the counts of decisions and reasons."""
    answers = record_batch(results)
    counts = []
    for name, name_of in (("decision", _decision_name), ("reason", reason_name)):
        at = answers.schema.get_field_index(name)
        names, some = named(answers[name], name_of)
        answers = answers.set_column(at, name, names)
        counts.append(some)
    return answers, counts[0], counts[1]


def _decision_name(number: int) -> str:
    return Decision(number).name.lower()


def moment_of(now: str | None, at: str | None, time_zone: str | None) -> int:
    """Return the time of the decisions: the planned one, else `now`, else the clock's."""
    clock = moment(now)
    return clock if at is None else planned_moment(at, clock, zone_of(time_zone))


def route_batches(
    source: str,
    input_format: FileFormat | None,
    time_zone: str | None,
    keyring: list[Path] | None,
    columns: Mapping[str, Kind] = ROUTE_COLUMNS,
) -> Iterator[Any]:
    """Read a route. Raises for missing columns, and for tokens without a keyring."""
    for batch in read_rows(source, input_format, columns, zone=zone_of(time_zone)):
        hint = "show the columns of a route with: itron-core route template FILE"
        check_columns(source, batch, REQUIRED_OF_ROUTE, hint)
        if not keyring:
            _check_no_tokens(source, batch)
        yield batch


def _check_no_tokens(source: str, batch: Any) -> None:
    for name, kind in ROUTE_COLUMNS.items():
        if kind is TOKEN and name in batch.schema.names and batch[name].null_count < batch.num_rows:
            raise UsageError(
                f'{source}: column "{name}" has tokens, but the keyring is missing', "name the keys: --keyring FILE"
            )


def _rows(batches: Iterator[Any], selected: str) -> Iterator[Any]:
    """Yield each selected row as its own batch: the row of that number, else all rows of that device."""
    number = int(selected) if selected.isascii() and selected.isdecimal() else None
    device = selected if number is None else f"ert:{number}"
    rows, found = 0, []
    for batch in batches:
        if number is not None and rows < number <= rows + batch.num_rows:
            yield batch.slice(number - 1 - rows, 1)
            return
        found += [batch.slice(at, 1) for at, name in enumerate(batch["device"].to_pylist()) if name == device]
        rows += batch.num_rows
    if not found:
        what = f"device {selected}" if number is None else f"row {selected}"
        hint = "give a row, counted from 1 after the header, or a device id"
        raise UsageError(f"{what} does not exist in {rows:,} rows", hint)
    yield from found
