"""The demonstration: a route with genuine tokens, verified and decided in one call."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from itron_core.cli.answers import Beside
from itron_core.cli.files import rows_to
from itron_core.cli.inputs import moment
from itron_core.cli.options import NOW, THREADS
from itron_core.cli.output import counted, remark, say, show, show_counts
from itron_core.cli.report import write_report
from itron_core.cli.routes import decided
from itron_core.enums import DEVICE_TOKEN_TYPES, Decision
from itron_core.routes import process_route

if TYPE_CHECKING:
    from collections.abc import Callable

    from itron_core._rust import Keyring

Results = TypeVar("Results")


def demo(
    rows: Annotated[int, typer.Option(min=1, help="The number of devices.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The seed: another one makes another route.")] = 1,
    threads: Annotated[int | None, THREADS] = None,
    now: Annotated[str | None, NOW] = None,
    target: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the route to FILE, and its keyring and decisions beside it."
        ),
    ] = Path("build/demo.parquet"),
) -> None:
    """Generate a route with tokens, decide it, and show the result."""
    from itron_core.testing import make_route

    started = time.perf_counter()
    at = moment(now)
    route = make_route(rows, now=at, seed=seed)
    table = route.table
    made = time.perf_counter()
    tokens = sum(rows - table[name].null_count for name in DEVICE_TOKEN_TYPES)
    say(
        f"Generated a route of {counted(rows, 'device')} with {counted(tokens, 'token')} in {made - started:.1f} s (seed {seed})."
    )

    call = partial(process_route, table, route.keyring, now=route.now, permissions=route.permissions, threads=threads)
    _timed("Verified and decided it in one call", call, rows)
    results = _timed("A second call, with the keys' tables built", call, rows)
    answers, _, reasons = decided(results)
    say()
    _show_by_kind(route.kinds, answers["decision"].to_pylist())
    say()
    show_counts({"reason": reasons})
    refused = next((row for row, kind in enumerate(route.kinds) if kind == "expired"), 0)
    say(f"\nRow {refused + 1:,}, whose main token is {route.kinds[refused].value}:")
    say(results.explain(refused))
    _keep(table.combine_chunks(), answers, route.keyring, target)
    names = ",".join(name.lower() for name in str(route.permissions.name).split("|"))
    keys = target.with_suffix(".jwks")
    again = f"{target} --keyring {keys} --permissions {names} --now {at}"
    say(f"\nWrote the route with its tokens to {target}, and its keyring to {keys}. Decide it again:")
    say(f"  itron-core preflight {again}\n")
    try:
        write_report(
            target.with_suffix(".html"),
            table,
            route.keyring,
            title=target.name,
            now=at,
            permissions=route.permissions,
            threads=threads,
        )
    except ModuleNotFoundError as error:  # the demonstration needs no extra for its page
        remark(f"Its report needs {error.name}: pip install 'itron-core[report]'")
    else:
        say("Open it in a browser, or print it. Make it again:")
        say(f"  itron-core report {again}")


def _keep(table: Any, answers: Any, keyring: Keyring, target: Path) -> None:
    """Write the route, its keyring and its decisions, each to a file."""
    with rows_to(str(target), None) as write:
        for batch in table.to_batches():
            write(batch)
    target.with_suffix(".jwks").write_text(keyring.to_jwks() + "\n")
    with rows_to(str(target.with_name(f"{target.stem}-decisions{target.suffix}")), None) as write:
        beside, first = Beside(), 0
        for batch in table.to_batches():
            write(beside(batch, answers.slice(first, batch.num_rows)))
            first += batch.num_rows


def _timed(what: str, call: Callable[[], Results], rows: int) -> Results:
    started = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - started
    say(f"{what}: {seconds * 1e3:.1f} ms, {rows / seconds:,.0f} rows per second.")
    return results


def _show_by_kind(kinds: list[Any], decisions: list[str]) -> None:
    counts = Counter(zip((kind.value for kind in kinds), decisions, strict=True))
    shown = [decision.name.lower() for decision in Decision]
    rows = [[kind, *(counts[kind, decision] for decision in shown)] for kind in sorted({k for k, _ in counts})]
    show(["main token", *shown], rows)
