"""The command line `itron-core`: files in, files out, an exit code. The only reader of the clock.

Exit codes: 0 all rows allowed (or the work is done), 1 some refused, 2 wrong usage, 3 unreadable input, 4 a fault inside.
What was asked for goes to standard output; remarks, errors and progress go to standard error, progress only on a terminal.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

from itron_core import _files
from itron_core._rust import Keyring, MasterKey, cpu_features, derive_keys
from itron_core.errors import ItronCoreError, TokenRefused
from itron_core.explain import reason_name
from itron_core.issuing import LocalSigner, issue_tokens
from itron_core.levels import Action, Code, Decision, Permission
from itron_core.policy import PolicyOptions
from itron_core.routes import RouteResults, process_batches, process_route
from itron_core.tokens import verify_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREADABLE = 3
    INTERNAL = 4


def _missing(module: str, extra: str) -> NoReturn:
    print(  # noqa: T201  # rich may be what is missing
        f"itron-core: {module} is not installed\n  hint: pip install 'itron-core[{extra}]'", file=sys.stderr
    )
    raise SystemExit(Exit.USAGE)


try:
    import typer
    from rich.console import Console
except ImportError as _error:
    _missing(_error.name or "typer", "cli")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Verify signed authorizations for meters in bulk, and say for every device what may be done.",
)
keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make, show and convert keys.")
app.add_typer(keys_app, name="keys")

LONGEST_UTILITY = 16
NUMBER = re.compile(r"[\d,]+")

output = Console(highlight=False, soft_wrap=True)
remarks = Console(stderr=True, highlight=False, soft_wrap=True)


Results = TypeVar("Results")


class UsageError(Exception):
    """A command that was put wrongly; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the message and the hint."""
        super().__init__(message)
        self.hint = hint


class FileFormat(StrEnum):
    """How rows lie in a file."""

    PARQUET = "parquet"
    ARROW = "arrow"
    CSV = "csv"
    JSONL = "jsonl"


class Algorithm(StrEnum):
    """What a key signs with."""

    ED25519 = "Ed25519"
    ESP256 = "ESP256"


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


class TokenType(StrEnum):
    """The types of token that stand in a column."""

    AUTHORIZATION = "authorization"
    SECURE_COMMAND = "secure_command"
    READING_KEY = "reading_key"
    DELEGATION = "delegation"


INPUT_FILE = typer.Argument(metavar="INPUT", help="Parquet, Arrow IPC, CSV or JSON Lines; - is standard input.")
INPUT_FORMAT = typer.Option("--format", help="The input's format, where its suffix does not tell.")
OUTPUT_FILE = typer.Option("--output", "-o", metavar="FILE", help="Write the rows here; - is standard output.")
OUTPUT_FORMAT = typer.Option("--output-format", help="The output's format, where its suffix does not tell.")
KEYRING = typer.Option(
    "--keyring", "-k", metavar="FILE", help="A JWK set (.jwks, .json) or public keys in PEM; repeatable."
)
NOW = typer.Option("--now", metavar="TIME", help="Seconds since 1970, or ISO 8601 with an offset; default: the clock.")
THREADS = typer.Option(min=1, help="Default: as many as there are cores.")
PERMISSIONS = typer.Option(metavar="NAMES", help="Joined by commas, or `all`: what the user of the tool may do.")
LEGACY_ALGORITHMS = typer.Option("--legacy-algorithms", help="Take the deprecated EdDSA and ES256, too.")


# --- Commands ---


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
    ring = _keyring(keyring)
    counts: Counter[str] = Counter()
    options = {
        "now": _now(now),
        "token_type": token_type.value,
        "action": None if action is None else _member(Action, action, "action"),
        "skew": skew,
        "legacy_algorithms": legacy_algorithms,
        "threads": threads,
    }
    with _rows_to(target, target_format) as write:
        batches = _progress(_batches(source, input_format), "tokens verified")
        for batch, results in _paired(batches, lambda b: verify_stream(_tokens(b, column, source), ring, **options)):
            verified = _record_batch(results)
            names = [Code(code).name.lower() for code in verified["code"].to_pylist()]
            counts.update(names)
            write(_beside(batch, verified.add_column(1, "name", _strings(names))))
    _tell(counts, "code", to_remarks=target == _files.STANDARD_STREAM)
    raise typer.Exit(_exit_code(counts, "ok"))


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
    ring, granted = _keyring(keyring), _permissions(permissions)
    decisions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    with _rows_to(target, target_format) as write:
        batches = _progress(_batches(source, input_format), "rows decided")
        decide = partial(
            process_batches, keyring=ring, now=_now(now), permissions=granted, options=options, threads=threads
        )
        for batch, results in _paired(batches, decide):
            decisions += _counts(results, "decision")
            reasons += _counts(results, "reason")
            write(_decided(batch, results))
    to_remarks = target == _files.STANDARD_STREAM
    _tell(decisions, "decision", to_remarks=to_remarks)
    (remarks if to_remarks else output).print()
    _tell(reasons, "reason", to_remarks=to_remarks)
    raise typer.Exit(_exit_code(decisions, "allowed", "allowed_after_open"))


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
    batch = _row(_batches(source, input_format), row)
    results = process_route(batch, _keyring(keyring), now=_now(now), permissions=_permissions(permissions))
    output.print(results.explain(0), markup=False)
    raise typer.Exit(_exit_code(_counts(results, "decision"), "allowed", "allowed_after_open"))


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

    signer = _signer(key, password_file)
    with _rows_to(target, target_format) as write:
        for batch in _progress(_batches(source, input_format), "tokens issued"):
            tokens = issue_tokens(batch, signer, now=_now(now), token_type=token_type.value, max_lifetime=max_lifetime)
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
    master_key = _master_key(master)
    with _rows_to(target, target_format or FileFormat.CSV) as write:
        for batch in _progress(_batches(source, input_format), "keys derived"):
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


@keys_app.command("generate")
def keys_generate(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; must not exist yet.")],
    algorithm: Annotated[Algorithm, typer.Option(help="What it signs with.")] = Algorithm.ED25519,
) -> None:
    """Make a new private key (PEM, PKCS#8, not encrypted, readable by its owner alone)."""
    pem, signer = _new_key(algorithm.value)
    try:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "a private key is never written over; name another file") from None
    output.print(f"{algorithm.value} key {signer.public_key.kid.hex()} written to {target}", markup=False)


@keys_app.command("public")
def keys_public(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="A private key, PEM.")],
    issuer: Annotated[str | None, typer.Option(help="The name that the keyring gives it.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="The private key's password, in a file.")] = None,
) -> None:
    """Print the public key as a JWK set, which `--keyring` reads."""
    import json

    jwk = _jwk(_signer(key, password_file).public_key) | ({} if issuer is None else {"mtr_issuer": issuer})
    output.print(json.dumps({"keys": [jwk]}, indent=2), markup=False)


@keys_app.command("list")
def keys_list(keyring: Annotated[list[Path], KEYRING]) -> None:
    """List the keys of a keyring."""
    rows = [
        [entry.key.kid.hex(), entry.key.algorithm, entry.issuer or "-", ", ".join(sorted(entry.token_types))]
        for entry in _keyring(keyring).entries
    ]
    _show(["kid", "algorithm", "issuer", "may sign"], rows)


@app.command()
def doctor() -> None:
    """Say what this machine and this installation can do."""
    from itron_core import __version__

    features = cpu_features()
    rows = [
        ["itron_core", __version__],
        ["python", f"{platform.python_version()} ({platform.machine()})"],
        ["cores", str(os.cpu_count())],
        ["processor has", ", ".join(features["detected"]) or "-"],
        *([f"kernel of {operation}", kernel] for operation, kernel in features["kernels"].items()),
        *([module, _installed(module, extra)] for module, extra in (("cryptography", ""), ("pyarrow", "io"))),
    ]
    _show(["what", "is"], rows)


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
    route = make_route(rows, now=_now(now), seed=seed)
    table = route.table
    made = time.perf_counter()
    tokens = sum(rows - table[name].null_count for name in ("authorization", "secure_command", "reading_key"))
    output.print(f"Made a route of {rows:,} devices with {tokens:,} tokens in {made - started:.1f} s (seed {seed}).")

    call = partial(process_route, table, route.keyring, now=route.now, permissions=route.permissions, threads=threads)
    _timed("Verified and decided it in one call", call, rows)
    results = _timed("Again, the keys' tables being built", call, rows)
    output.print()
    batch = _record_batch(results)
    _show_by_kind(route.kinds, [_decision_name(number) for number in batch["decision"].to_pylist()])
    output.print()
    _tell(_counts(results, "reason"), "reason")
    refused = next((row for row, kind in enumerate(route.kinds) if kind == "expired"), 0)
    output.print(f"\nRow {refused}, whose main token is {route.kinds[refused].value}:", markup=False)
    output.print(results.explain(refused), markup=False)
    with _files.writer(str(target), _files.format_of(str(target), None)) as write:
        for piece in table.combine_chunks().to_batches():
            write(_decided(piece, results))
    output.print(f"\nWrote the route and its decisions to {target}.", markup=False)


# --- What the commands share ---


def _now(given: str | None) -> int:
    if given is None:
        return int(time.time())
    if given.isdecimal():
        return int(given)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"--now {given!r}; wanted seconds since 1970 or ISO 8601 with an offset",
            "for example 2027-06-01T12:00:00+00:00",
        )
    return int(moment.timestamp())


def _batches(source: str, named: FileFormat | None) -> Iterator[Any]:
    return _files.read_batches(source, _format(source, named, "--format"))


def _format(path: str, named: FileFormat | None, option: str) -> str:
    if named is None and path == _files.STANDARD_STREAM:
        return FileFormat.JSONL.value
    try:
        return _files.format_of(path, None if named is None else named.value)
    except ValueError as error:
        raise UsageError(str(error), f"say it: {option} {'|'.join(FileFormat)}") from None


@contextmanager
def _rows_to(target: str | None, named: FileFormat | None) -> Iterator[Any]:
    """Yield what writes a batch; with no target the rows are dropped and only the counts are told."""
    if target is None:
        yield lambda _batch: None
    else:
        with _files.writer(target, _format(target, named, "--output-format")) as write:
            yield write


def _keyring(paths: list[Path]) -> Keyring:
    sets = [path for path in paths if path.suffix.lower() in {".jwks", ".json"}]
    if sets and len(paths) > 1:
        raise UsageError(
            "several keyrings, one of them a JWK set", "put all keys into one JWK set, or give PEM files only"
        )
    try:
        return Keyring.from_jwks(sets[0].read_text()) if sets else Keyring.from_pem_files([str(path) for path in paths])
    except (OSError, UnicodeDecodeError) as error:
        raise _files.UnreadableError(f"the keyring cannot be read: {error}") from error


def _permissions(names: str) -> Permission:
    if names == "all":
        return ~Permission(0)
    granted = Permission(0)
    for name in filter(None, names.split(",")):
        granted |= _member(Permission, name, "permission")
    return granted


def _member(enumeration: Any, name: str, what: str) -> Any:
    try:
        return enumeration[name.strip().upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(member.name.lower() for member in enumeration)
        raise UsageError(f"{what} {name!r}", f"known are {known}") from None


def _signer(path: Path, password_file: Path | None) -> LocalSigner:
    try:
        password = None if password_file is None else password_file.read_bytes().rstrip(b"\r\n")
        return LocalSigner.from_pem(path.read_bytes(), password)
    except OSError as error:
        raise _files.UnreadableError(f"the private key cannot be read: {error}") from error


def _master_key(path: Path) -> MasterKey:
    try:
        return MasterKey.from_bytes(bytes.fromhex(path.read_text().strip()))
    except OSError as error:
        raise _files.UnreadableError(f"the master key cannot be read: {error}") from error
    except ValueError:
        # The file's text is not repeated: it may be a key all the same.
        raise _files.UnreadableError(f"{path} does not hold a master key as hex digits") from None


def _new_key(algorithm: str) -> tuple[bytes, LocalSigner]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    ed = algorithm == Algorithm.ED25519.value
    key = ed25519.Ed25519PrivateKey.generate() if ed else ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pem, LocalSigner(key)


def _jwk(key: Any) -> dict[str, str]:
    """RFC 7517, RFC 8037 (OKP), RFC 7518 section 6.2 (EC), RFC 9864 (alg)."""
    import base64

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    if key.algorithm == "Ed25519":
        members = {"kty": "OKP", "crv": "Ed25519", "x": text(key.raw)}
    else:
        members = {"kty": "EC", "crv": "P-256", "x": text(key.raw[1:33]), "y": text(key.raw[33:])}
    return members | {"alg": key.algorithm, "kid": key.kid.hex()}


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


def _record_batch(results: Any) -> Any:
    import pyarrow as pa

    return pa.record_batch(results)


def _decided(batch: Any, results: Any) -> Any:
    """Put the decisions beside the route, with names where the results have numbers."""
    decided = _record_batch(results)
    for name, name_of in (("decision", _decision_name), ("reason", reason_name)):
        at = decided.schema.get_field_index(name)
        decided = decided.set_column(at, name, _strings([name_of(number) for number in decided[name].to_pylist()]))
    return _beside(batch, decided)


def _decision_name(number: int) -> str:
    return Decision(number).name.lower()


def _beside(batch: Any, results: Any) -> Any:
    """Put result columns beside those of the input; the tokens are left out, and results win over the same name."""
    import pyarrow as pa

    columns = {name: batch[name] for name in batch.schema.names if name not in _files.TOKEN_COLUMNS}
    return pa.record_batch(columns | {name: results[name] for name in results.schema.names})


def _strings(values: list[str]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _fixed_rows(buffer: Any) -> Any:
    """Turn an (n, k) buffer into a binary column of n rows."""
    import pyarrow as pa

    view = memoryview(buffer)
    width = view.shape[1] if view.shape and len(view.shape) > 1 else 1
    flat = view.cast("B") if view.nbytes else b""
    return pa.array([bytes(flat[start : start + width]) for start in range(0, len(flat), width)], pa.binary())


def _progress(batches: Iterable[Any], what: str) -> Iterator[Any]:
    """Count rows on standard error while they pass, if that is a terminal."""
    if not sys.stderr.isatty():
        yield from batches
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=remarks, transient=True) as progress:
        task = progress.add_task(what, total=None)
        for batch in batches:
            yield batch
            progress.advance(task, batch.num_rows)


def _timed(what: str, call: Callable[[], Results], rows: int) -> Results:
    started = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - started
    output.print(f"{what}: {seconds * 1e3:.1f} ms, {rows / seconds:,.0f} rows a second.")
    return results


def _tell(counts: Counter[str], title: str, *, to_remarks: bool = False) -> None:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    _show([title, "rows"], [[name, f"{count:,}"] for name, count in ordered], to_remarks=to_remarks)


def _show_by_kind(kinds: list[Any], decisions: list[str]) -> None:
    counts = Counter(zip((kind.value for kind in kinds), decisions, strict=True))
    shown = [decision.name.lower() for decision in Decision]
    rows = [[kind, *(f"{counts[kind, decision]:,}" for decision in shown)] for kind in sorted({k for k, _ in counts})]
    _show(["main token", *shown], rows)


def _show(titles: list[str], rows: list[list[str]], *, to_remarks: bool = False) -> None:
    """Print rows under their titles, aligned, numbers to the right; nothing is cut to the terminal's width."""
    console = remarks if to_remarks else output
    widths = [max(len(row[at]) for row in [titles, *rows]) for at in range(len(titles))]
    numeric = [all(NUMBER.fullmatch(row[at]) for row in rows) for at in range(len(titles))]
    for number, row in enumerate([titles, *rows]):
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)]
        console.print("  ".join(cells).rstrip(), markup=False, style="bold" if number == 0 else None)


def _exit_code(counts: Counter[str], *good: str) -> Exit:
    return Exit.REFUSED if any(count for name, count in counts.items() if name not in good) else Exit.OK


def _installed(module: str, extra: str) -> str:
    from importlib.metadata import version

    if importlib.util.find_spec(module) is not None:
        return version(module)
    return f"not installed (pip install 'itron-core[{extra}]')" if extra else "not installed"


def _fail(error: Exception, code: Exit) -> Exit:
    remarks.print(f"itron-core: {error}", markup=False, style="red")
    if hint := getattr(error, "hint", ""):
        remarks.print(f"  hint: {hint}", markup=False)
    return code


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except ModuleNotFoundError as error:
        _missing(error.name or "a module", "io")
    except UsageError as error:
        code = _fail(error, Exit.USAGE)
    except TokenRefused as error:
        code = _fail(error, Exit.REFUSED)
    except (_files.UnreadableError, ItronCoreError) as error:
        code = _fail(error, Exit.UNREADABLE)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except Exception as error:  # noqa: BLE001  # the last resort of a program: say that it is its own fault
        code = _fail(RuntimeError(f"a fault of its own: {type(error).__name__}: {error}"), Exit.INTERNAL)
    else:
        return
    raise SystemExit(code)
