"""Protected readings in files: open them, count what became of them, explain one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itron_core.cli.answers import Beside, record_batch
from itron_core.cli.failures import UsageError
from itron_core.cli.files import STANDARD_STREAM, rows_to
from itron_core.cli.opening import SECRETS, Opening, with_opening
from itron_core.cli.options import JSON, OUTPUT_FILE, OUTPUT_FORMAT, THREADS, FileFormat, group
from itron_core.cli.output import exit_code, say, show, show_counts, show_json, with_progress
from itron_core.enums import ReadingCode

if TYPE_CHECKING:
    from itron_core.readings import ReadingResults

__all__ = ["readings_app"]

readings_app = group("Protected meter readings: open, count, explain.")


@readings_app.command("open")
@with_opening
def open_(
    asked: Opening,
    *,
    threads: Annotated[int | None, THREADS] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Open telegrams.

    Adds one code per row, and the payload of each that opens. Keys come from --keys, from --master, or from the file's own columns key and authentication_key.
    """
    opened = asked.opener(threads)
    counts: Counter[str] = Counter()
    beside = Beside()
    with rows_to(target, target_format) as write:
        for batch in with_progress(asked.batches(), "telegrams opened"):
            results = opened(batch)
            counts += _codes(record_batch(results))
            if target is not None:
                rest = batch.drop_columns([asked.column, *SECRETS.intersection(batch.schema.names)])
                write(beside(rest, record_batch(results.names())))
    show_counts({"code": counts}, as_json=as_json, to_remarks=target == STANDARD_STREAM)
    raise typer.Exit(exit_code(counts, "ok"))


@readings_app.command("summary")
@with_opening
def summary(
    asked: Opening, *, threads: Annotated[int | None, THREADS] = None, as_json: Annotated[bool, JSON] = False
) -> None:
    """Count codes, protections and assurances.

    Lists the devices whose telegrams did not all open.
    wrong_key: all telegrams of a device fail a check of 16 bits. corrupt: some do. plain: never encrypted, or decrypted before.
    """
    import pyarrow as pa

    opened = asked.opener(threads)
    whole = pa.Table.from_batches(list(with_progress(asked.batches(), "telegrams read")))
    (batch,) = whole.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=whole.schema)]
    results = opened(batch)
    devices = [row for row in record_batch(results.devices()).to_pylist() if row["verdict"] != "ok"]
    counts = _counts(results)
    if as_json:
        show_json(results.summary() | {"devices": devices})
    else:
        show_counts(counts)
        if devices:
            say()
            show(list(devices[0]), [[str(cell) for cell in row.values()] for row in devices])
    raise typer.Exit(exit_code(counts["code"], "ok"))


@readings_app.command()
@with_opening
def explain(
    asked: Opening,
    row: Annotated[int, typer.Argument(metavar="ROW", min=1, help="The row, counted from 1 after any header.")],
) -> None:
    """Explain one telegram in sentences.

    Prints its payload if it opens.
    """
    opened = asked.opener(threads=1)
    rows = 0
    for batch in asked.batches():
        if rows < row <= rows + batch.num_rows:
            results = opened(batch.slice(row - 1 - rows, 1))
            say(results.explain(0))
            if results["code"][0] == ReadingCode.OK:
                say(results["payload"][0].hex())
            raise typer.Exit(exit_code(_codes(record_batch(results)), "ok"))
        rows += batch.num_rows
    raise UsageError(f"row {row:,} does not exist in {rows:,} rows", "rows are counted from 1 after any header")


def _codes(rows: Any) -> Counter[str]:
    """Count the codes by name, without a look at the devices as for a summary."""
    import pyarrow.compute as pc

    counted = pc.value_counts(rows["code"]).to_pylist()
    return Counter({ReadingCode(entry["values"]).name.lower(): entry["counts"] for entry in counted})


def _counts(results: ReadingResults) -> dict[str, Counter[str]]:
    counted = {name: counts for name, counts in results.summary().items() if isinstance(counts, dict)}
    return {name: Counter(counts) for name, counts in counted.items() if name != "device"}
