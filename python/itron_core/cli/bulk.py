"""Whole files on the command line: verify, preflight, explain, issue, derive, and the demonstration."""

from __future__ import annotations

import time
from collections import Counter
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from itron_core._rust import derive_keys
from itron_core.cli import files as _files
from itron_core.cli.shared import (
    INPUT_FILE,
    INPUT_FORMAT,
    KEYRING,
    LEGACY_ALGORITHMS,
    NOW,
    OUTPUT_FILE,
    OUTPUT_FORMAT,
    PERMISSIONS,
    THREADS,
    FileFormat,
    TokenType,
    UsageError,
    app,
    exit_code,
    member,
    moment,
    output,
    permissions_of,
    read_batches,
    read_keyring,
    read_master_key,
    read_signer,
    record_batch,
    remarks,
    rows_to,
    show,
    strings,
    tell,
    with_progress,
)
from itron_core.enums import Action, Code, Decision
from itron_core.explain import reason_name
from itron_core.issuing import issue_tokens
from itron_core.policy import PolicyOptions
from itron_core.routes import RouteResults, process_batches, process_route
from itron_core.streams import verify_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LONGEST_UTILITY = 16

Results = TypeVar("Results")


class Kdf(StrEnum):
    """The derivation functions."""

    KBKDF_HMAC_SHA256 = "kbkdf-hmac-sha256"
    KBKDF_CMAC_AES256 = "kbkdf-cmac-aes256"
    HKDF_SHA256 = "hkdf-sha256"
    KBKDF_CMAC_AES128 = "kbkdf-cmac-aes128"


class Label(StrEnum):
    """What a derived key is for."""

    DEVICE = "device"
    READ_ENC = "read-enc"
    READ_AUTH = "read-auth"
    SESSION = "session"
    KCV = "kcv"


class Length(StrEnum):
    """How many bytes a derived key has."""

    SHORT = "16"
    LONG = "32"


@app.command()
def verify(
    source: Annotated[str, INPUT_FILE],
    keyring: Annotated[list[Path], KEYRING],
    *,
    column: Annotated[str, typer.Option(help="The column of the tokens.")] = "token",
    token_type: Annotated[TokenType, typer.Option(help="Which type they must be.")] = TokenType.AUTHORIZATION,
    action: Annotated[str | None, typer.Option(help="An action that each must grant.")] = None,
    skew: Annotated[int, typer.Option(min=0, max=600, help="Seconds of tolerance between clocks.")] = 120,
    legacy_algorithms: Annotated[bool, LEGACY_ALGORITHMS] = False,
    threads: Annotated[int | None, THREADS] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Verify a column of tokens: a code a row, and the claims of those that are genuine."""
    ring = read_keyring(keyring)
    counts: Counter[str] = Counter()
    options = {
        "now": moment(now),
        "token_type": token_type.value,
        "action": None if action is None else member(Action, action, "action"),
        "skew": skew,
        "legacy_algorithms": legacy_algorithms,
        "threads": threads,
    }
    with rows_to(target, target_format) as write:
        batches = with_progress(read_batches(source, input_format), "tokens verified")
        for batch, results in _paired(batches, lambda b: verify_stream(_tokens(b, column, source), ring, **options)):
            verified = record_batch(results)
            names = [Code(code).name.lower() for code in verified["code"].to_pylist()]
            counts.update(names)
            write(_beside(batch, verified.add_column(1, "name", strings(names))))
    tell(counts, "code", to_remarks=target == _files.STANDARD_STREAM)
    raise typer.Exit(exit_code(counts, "ok"))


@app.command()
def preflight(
    source: Annotated[str, INPUT_FILE],
    keyring: Annotated[list[Path], KEYRING],
    permissions: Annotated[str, PERMISSIONS],
    *,
    allow_service_on_basic: Annotated[bool, typer.Option("--allow-service-on-basic")] = False,
    reads_without_session: Annotated[bool, typer.Option("--reads-without-session")] = False,
    status_without_key: Annotated[bool, typer.Option("--status-without-key")] = False,
    service_needs_command_in_network_mode: Annotated[
        bool, typer.Option("--service-needs-command-in-network-mode")
    ] = False,
    command_limit: Annotated[int, typer.Option(min=0, help="Secure commands a device between two syncs.")] = 2,
    authorization_limit: Annotated[int, typer.Option(min=0, help="Authorizations a device between two syncs.")] = 2,
    threads: Annotated[int | None, THREADS] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[str | None, OUTPUT_FILE] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Decide every row of a route: what may be done, and what is missing."""
    options = PolicyOptions(
        allow_service_on_basic=allow_service_on_basic,
        reads_without_session=reads_without_session,
        status_without_key=status_without_key,
        service_needs_command_in_network_mode=service_needs_command_in_network_mode,
        command_limit=command_limit,
        authorization_limit=authorization_limit,
    )
    ring, granted = read_keyring(keyring), permissions_of(permissions)
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with rows_to(target, target_format) as write:
        batches = with_progress(read_batches(source, input_format), "rows decided")
        decide = partial(
            process_batches, keyring=ring, now=moment(now), permissions=granted, options=options, threads=threads
        )
        for batch, results in _paired(batches, decide):
            decisions += _counts(results, "decision")
            reasons += _counts(results, "reason")
            write(_decided(batch, results))
    to_remarks = target == _files.STANDARD_STREAM
    tell(decisions, "decision", to_remarks=to_remarks)
    (remarks if to_remarks else output).print()
    tell(reasons, "reason", to_remarks=to_remarks)
    raise typer.Exit(exit_code(decisions, "allowed", "allowed_after_open"))


@app.command()
def explain(
    source: Annotated[str, INPUT_FILE],
    row: Annotated[int, typer.Argument(min=0, help="The row's number; the first is 0.")],
    keyring: Annotated[list[Path], KEYRING],
    permissions: Annotated[str, PERMISSIONS],
    *,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
) -> None:
    """Say one row of a route in sentences."""
    batch = _row(read_batches(source, input_format), row)
    results = process_route(batch, read_keyring(keyring), now=moment(now), permissions=permissions_of(permissions))
    output.print(results.explain(0), markup=False)
    raise typer.Exit(exit_code(_counts(results, "decision"), "allowed", "allowed_after_open"))


@app.command()
def issue(
    source: Annotated[str, INPUT_FILE],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key, PEM.")],
    target: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where the tokens go; - is standard output.")
    ],
    *,
    password_file: Annotated[Path | None, typer.Option(help="The private key's password, in a file.")] = None,
    token_type: Annotated[TokenType, typer.Option(help="What to issue.")] = TokenType.AUTHORIZATION,
    max_lifetime: Annotated[int | None, typer.Option(min=1, help="Seconds; default: the type's own.")] = None,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Issue a token for every row of a request: `device` and `token`, same rows."""
    import pyarrow as pa

    signer = read_signer(key, password_file)
    with rows_to(target, target_format) as write:
        for batch in with_progress(read_batches(source, input_format), "tokens issued"):
            tokens = issue_tokens(
                batch, signer, now=moment(now), token_type=token_type.value, max_lifetime=max_lifetime
            )
            write(pa.record_batch({"device": batch["device"], "token": pa.array(tokens)}))


@app.command()
def derive(
    source: Annotated[str, INPUT_FILE],
    master: Annotated[Path, typer.Option("--master", metavar="FILE", help="The master key: hex digits in a file.")],
    utility: Annotated[str, typer.Option(help="The utility's id, 1 to 16 ASCII characters.")],
    *,
    label: Annotated[Label, typer.Option(help="What the keys are for.")] = Label.READ_ENC,
    key_version: Annotated[int, typer.Option(min=0)] = 1,
    length: Annotated[Length, typer.Option(help="Bytes of a key.")] = Length.SHORT,
    kdf: Annotated[Kdf, typer.Option(help="The derivation function.")] = Kdf.KBKDF_HMAC_SHA256,
    show_keys: Annotated[
        bool, typer.Option("--show-keys", help="Write the keys themselves, not only check values.")
    ] = False,
    threads: Annotated[int | None, THREADS] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    target: Annotated[str, typer.Option("--output", "-o", metavar="FILE")] = _files.STANDARD_STREAM,
    target_format: Annotated[FileFormat | None, OUTPUT_FORMAT] = None,
) -> None:
    """Derive a key for every device; shows the check values, and the keys only when asked."""
    import pyarrow as pa

    if not (utility.isascii() and 1 <= len(utility) <= LONGEST_UTILITY):
        raise UsageError(f"--utility {utility!r}; wanted 1 to {LONGEST_UTILITY} ASCII characters")
    master_key = read_master_key(master)
    with rows_to(target, target_format or FileFormat.CSV) as write:
        for batch in with_progress(read_batches(source, input_format), "keys derived"):
            keys = derive_keys(
                master_key,
                batch["device"],
                utility=utility,
                label=label.value,
                key_version=key_version,
                length=int(length.value),
                kdf=kdf.value,
                threads=threads,
            )
            columns = {"device": batch["device"], "check_value": _fixed_rows(keys.check_values())}
            if show_keys:
                columns["key"] = _fixed_rows(keys.to_buffer())
            write(pa.record_batch(columns))


@app.command()
def demo(
    rows: Annotated[int, typer.Option(min=1, help="How many devices.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Another seed, another route.")] = 1,
    threads: Annotated[int | None, THREADS] = None,
    now: Annotated[str | None, NOW] = None,
    target: Annotated[Path, typer.Option("--output", "-o", metavar="FILE")] = Path("build/demo.parquet"),
) -> None:
    """Make a route with genuine tokens, verify and decide it in one call, and show the result."""
    from itron_core.testing import make_route

    started = time.perf_counter()
    route = make_route(rows, now=moment(now), seed=seed)
    table = route.table
    made = time.perf_counter()
    tokens = sum(rows - table[name].null_count for name in ("authorization", "secure_command", "reading_key"))
    output.print(f"Made a route of {rows:,} devices with {tokens:,} tokens in {made - started:.1f} s (seed {seed}).")

    call = partial(process_route, table, route.keyring, now=route.now, permissions=route.permissions, threads=threads)
    _timed("Verified and decided it in one call", call, rows)
    results = _timed("Again, the keys' tables being built", call, rows)
    output.print()
    batch = record_batch(results)
    _show_by_kind(route.kinds, [_decision_name(number) for number in batch["decision"].to_pylist()])
    output.print()
    tell(_counts(results, "reason"), "reason")
    refused = next((row for row, kind in enumerate(route.kinds) if kind == "expired"), 0)
    output.print(f"\nRow {refused}, whose main token is {route.kinds[refused].value}:", markup=False)
    output.print(results.explain(refused), markup=False)
    with _files.writer(str(target), _files.format_of(str(target), None)) as write:
        for piece in table.combine_chunks().to_batches():
            write(_decided(piece, results))
    output.print(f"\nWrote the route and its decisions to {target}.", markup=False)


def _tokens(batches: Iterable[Any], column: str, source: str) -> Iterator[Any]:
    for batch in batches:
        if column not in batch.schema.names:
            there = ", ".join(batch.schema.names) or "none"
            raise _files.UnreadableError(f"{source} has no column {column!r}; it has {there}", "name it with --column")
        yield batch[column]


def _paired(
    batches: Iterable[Any], process: Callable[[Iterable[Any]], Iterable[Results]]
) -> Iterator[tuple[Any, Results]]:
    """Pair each batch with what `process` makes of it, one batch at a time."""
    waiting: list[Any] = []

    def remembered() -> Iterator[Any]:
        for batch in batches:
            waiting.append(batch)
            yield batch

    for results in process(remembered()):
        yield waiting.pop(0), results


def _counts(results: RouteResults, what: str) -> Counter[str]:
    counts = results.summary()[what]
    return Counter(counts if isinstance(counts, dict) else {})


def _row(batches: Iterable[Any], row: int) -> Any:
    rows = 0
    for batch in batches:
        if row < rows + batch.num_rows:
            return batch.slice(row - rows, 1)
        rows += batch.num_rows
    raise UsageError(f"row {row} of an input of {rows} rows", "the first row is 0")


def _decided(batch: Any, results: Any) -> Any:
    """Put the decisions beside the route, with names where the results have numbers."""
    decided = record_batch(results)
    for name, name_of in (("decision", _decision_name), ("reason", reason_name)):
        at = decided.schema.get_field_index(name)
        decided = decided.set_column(at, name, strings([name_of(number) for number in decided[name].to_pylist()]))
    return _beside(batch, decided)


def _decision_name(number: int) -> str:
    return Decision(number).name.lower()


def _beside(batch: Any, results: Any) -> Any:
    """Put result columns beside those of the input; the tokens are left out, and results win over the same name."""
    import pyarrow as pa

    columns = {name: batch[name] for name in batch.schema.names if name not in _files.TOKEN_COLUMNS}
    return pa.record_batch(columns | {name: results[name] for name in results.schema.names})


def _fixed_rows(buffer: Any) -> Any:
    """Turn an (n, k) buffer into a binary column of n rows."""
    import pyarrow as pa

    view = memoryview(buffer)
    width = view.shape[1] if view.shape and len(view.shape) > 1 else 1
    flat = view.cast("B") if view.nbytes else b""
    return pa.array([bytes(flat[start : start + width]) for start in range(0, len(flat), width)], pa.binary())


def _timed(what: str, call: Callable[[], Results], rows: int) -> Results:
    started = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - started
    output.print(f"{what}: {seconds * 1e3:.1f} ms, {rows / seconds:,.0f} rows a second.")
    return results


def _show_by_kind(kinds: list[Any], decisions: list[str]) -> None:
    counts = Counter(zip((kind.value for kind in kinds), decisions, strict=True))
    shown = [decision.name.lower() for decision in Decision]
    rows = [[kind, *(f"{counts[kind, decision]:,}" for decision in shown)] for kind in sorted({k for k, _ in counts})]
    show(["main token", *shown], rows)
