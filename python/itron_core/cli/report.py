"""The report of a route: one page for a browser or for paper, and its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from itron_core.cli.columns import INTEGERS, ROUTE_COLUMNS, TIME, check_columns
from itron_core.cli.failures import UsageError
from itron_core.cli.files import STANDARD_STREAM, read_rows
from itron_core.cli.inputs import permissions_of, read_keyring, zone_of
from itron_core.cli.options import (
    AT,
    INPUT_FILE,
    INPUT_FORMAT,
    KEYRING,
    NOW,
    PERMISSIONS,
    THREADS,
    TIME_ZONE,
    FileFormat,
    with_policy,
)
from itron_core.cli.output import counted, say, with_progress
from itron_core.cli.routes import moment_of, route_batches
from itron_core.cli.written_files import written
from itron_core.policy import PolicyOptions  # noqa: TC001  # Typer reads the signature

__all__ = ["report", "write_report"]

PLANNED = "planned_at"


@with_policy
def report(
    source: Annotated[str, INPUT_FILE],
    permissions: Annotated[str, PERMISSIONS],
    keyring: Annotated[list[Path] | None, KEYRING] = None,
    *,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the page here. Default: beside the route."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The heading. Default: the file's name.")] = None,
    readings: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Also count readings: what `readings open` wrote (columns code, assurance)."),
    ] = None,
    options: PolicyOptions,
    threads: Annotated[int | None, THREADS] = None,
    at: Annotated[str | None, AT] = None,
    time_zone: Annotated[str | None, TIME_ZONE] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
) -> None:
    """Write the report of a route as one page.

    The page is HTML, works offline and prints well; its numbers are in a JSON file beside it. The report decides as
    preflight does. With a column planned_at, the time left is counted from each stop's own hour.
    """
    import pyarrow as pa

    if target is None and source == STANDARD_STREAM:
        raise UsageError("the page of standard input has no name", "name it: --output FILE")
    page = target or Path(source).with_suffix(".html")
    if str(page) == STANDARD_STREAM:
        raise UsageError("--output: got -, expected a file: a report is two, a page and its numbers")
    moment = moment_of(now, at, time_zone)
    columns = ROUTE_COLUMNS | {PLANNED: TIME}
    batches = list(with_progress(route_batches(source, input_format, time_zone, keyring, columns), "rows read"))
    write_report(
        page,
        pa.Table.from_batches(batches) if batches else pa.table(_no_rows()),
        read_keyring(keyring),
        title=title or ("Route" if source == STANDARD_STREAM else Path(source).name),
        now=moment,
        permissions=permissions_of(permissions),
        options=options,
        threads=threads,
        readings=None if readings is None else _readings(readings),
        zone=zone_of(time_zone),
    )


def write_report(page: Path, table: Any, keyring: Any, **options: Any) -> None:
    """Write the report of a route and its numbers, and print where they are; the options are those of `route_report`."""
    from itron_core.report import route_report

    planned = table[PLANNED] if table.schema.names.count(PLANNED) == 1 else None
    made = route_report(table, keyring, planned=planned, **options)
    numbers = page.with_suffix(".json")
    with written(page) as html, written(numbers) as figures:
        html.write(made.html.encode())
        figures.write(made.json.encode() + b"\n")
    say(f"Wrote the report of {counted(table.num_rows, 'row')} to {page}, and its numbers to {numbers}.")


def _readings(source: str) -> Any:
    """Return the columns code and assurance of a file that `readings open` wrote."""
    import pyarrow as pa

    batches = list(read_rows(source, None, {"assurance": INTEGERS}))
    table = pa.Table.from_batches(batches) if batches else pa.table({"code": [], "assurance": []})
    check_columns(source, table, ("code", "assurance"), "write it with: itron-core readings open FILE -o READINGS")
    return table.select(["code", "assurance"])


def _no_rows() -> dict[str, Any]:
    import pyarrow as pa

    return {name: pa.array([], pa.string()) for name in ("device", "device_class", "security_level", "action")}
