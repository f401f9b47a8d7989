"""What the commands share: exit codes, the options they have in common, files, keys, tables on the terminal."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from itron_core._rust import Keyring, MasterKey
from itron_core.cli import files as _files
from itron_core.enums import Action, Permission
from itron_core.signing import LocalSigner

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREADABLE = 3
    INTERNAL = 4


def missing(module: str, extra: str) -> NoReturn:
    """Say which extra is missing and leave."""
    print(  # noqa: T201  # rich may be what is missing
        f"itron-core: {module} is not installed\n  hint: pip install 'itron-core[{extra}]'", file=sys.stderr
    )
    raise SystemExit(Exit.USAGE)


try:
    import typer
    from rich.console import Console
except ImportError as _error:
    missing(_error.name or "typer", "cli")

output = Console(highlight=False, soft_wrap=True)
remarks = Console(stderr=True, highlight=False, soft_wrap=True)
NUMBER = re.compile(r"[\d,]+")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Verify signed authorizations for meters in bulk, and say for every device what may be done.",
)

INPUT_FILE = typer.Argument(metavar="INPUT", help="Parquet, Arrow IPC, CSV or JSON Lines; - is standard input.")
INPUT_FORMAT = typer.Option("--format", help="The input's format, where its suffix does not tell.")
OUTPUT_FILE = typer.Option("--output", "-o", metavar="FILE", help="Write the rows here; - is standard output.")
OUTPUT_FORMAT = typer.Option("--output-format", help="The output's format, where its suffix does not tell.")
KEYRING = typer.Option(
    "--keyring", "-k", metavar="FILE", help="A JWK set (.jwks, .json) or public keys in PEM; repeatable."
)
NOW = typer.Option("--now", metavar="TIME", help="Seconds since 1970, or ISO 8601 with an offset; default: the clock.")
BEFORE = typer.Option(metavar="TIME", help="What ended ten minutes before this moment, or earlier.")
THREADS = typer.Option(min=1, help="Default: as many as there are cores.")
HOME = typer.Argument(metavar="HOME", help="The party's folder.")
ROOTS = typer.Option("--keyring", "-k", metavar="FILE", help="The roots that it trusts: a JWK set.")
SERVER = typer.Argument(metavar="SERVER", help="The tools server: its URL, or its folder on this machine.")
BEARER = typer.Option("--bearer", metavar="FILE", help="The bearer token for a URL (itron-core server bearer).")
CA = typer.Option("--ca", metavar="FILE", help="Certificates (PEM) that vouch for the URL, in place of the usual ones.")
DEVICES = typer.Argument(metavar="DEVICE...", help="Such as ert:100000001.")
ROUTE = typer.Option(metavar="FILE", help="The devices of a route as well: its column device.")
TYPE = typer.Option("--type", metavar="TYPE", help="secure_command, authorization or reading_key.")
ACTIONS = typer.Option("--action", metavar="NAMES", help="Joined by commas; a secure command has one.")
PERMISSIONS = typer.Option(metavar="NAMES", help="Joined by commas, or `all`: what the user of the tool may do.")
LEGACY_ALGORITHMS = typer.Option("--legacy-algorithms", help="Take the deprecated EdDSA and ES256, too.")


def group(text: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)


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


class TokenType(StrEnum):
    """The types of token that stand in a column."""

    AUTHORIZATION = "authorization"
    SECURE_COMMAND = "secure_command"
    READING_KEY = "reading_key"
    DELEGATION = "delegation"


def moment(given: str | None) -> int:
    """Return the moment that was given, in whole seconds since 1970; else that of the clock."""
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


def read_batches(source: str, named: FileFormat | None) -> Iterator[Any]:
    """Yield the record batches of a file or of standard input."""
    return _files.read_batches(source, format_of(source, named, "--format"))


def devices_of(named: list[str] | None, route: str | None) -> list[str]:
    """Return the devices that were named, then those of a route."""
    found = list(named or [])
    for batch in () if route is None else read_batches(route, None):
        if "device" not in batch.schema.names:
            raise UsageError(f"{route} has no column device", f"its columns: {', '.join(batch.schema.names)}")
        found += [str(device) for device in batch.column("device").to_pylist()]
    if not found:
        raise UsageError("no devices", "name them, or --route FILE")
    return found


def format_of(path: str, named: FileFormat | None, option: str) -> str:
    """Return the name of a format: the one given, else that of the suffix."""
    if named is None and path == _files.STANDARD_STREAM:
        return FileFormat.JSONL.value
    try:
        return _files.format_of(path, None if named is None else named.value)
    except ValueError as error:
        raise UsageError(str(error), f"say it: {option} {'|'.join(FileFormat)}") from None


@contextmanager
def rows_to(target: str | None, named: FileFormat | None) -> Iterator[Any]:
    """Yield what writes a batch; with no target the rows are dropped and only the counts are told."""
    if target is None:
        yield lambda _batch: None
    else:
        with _files.writer(target, format_of(target, named, "--output-format")) as write:
            yield write


def counted(number: int, thing: str, things: str = "") -> str:
    """Return how many there are of what, in words."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def names_of(actions: int) -> str:
    """Return the names of a bit set of actions, joined by commas."""
    return ",".join(action.name.lower() for action in Action if actions >> action & 1)


def text_of(path: Path, what: str) -> str:
    """Read a text; raises UnreadableError, which names the file."""
    try:
        return path.read_text()
    except OSError as error:
        raise _files.UnreadableError(f"{what} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _files.UnreadableError(f"{what} {path} is no text in UTF-8") from error


def read_keyring(paths: list[Path]) -> Keyring:
    """Read a JWK set, or PEM files."""
    sets = [path for path in paths if path.suffix.lower() in {".jwks", ".json"}]
    if sets and len(paths) > 1:
        raise UsageError(
            "several keyrings, one of them a JWK set", "put all keys into one JWK set, or give PEM files only"
        )
    try:
        return Keyring.from_jwks(sets[0].read_text()) if sets else Keyring.from_pem_files([str(path) for path in paths])
    except (OSError, UnicodeDecodeError) as error:
        raise _files.UnreadableError(f"the keyring cannot be read: {error}") from error


def permissions_of(names: str) -> Permission:
    """Return the permissions named, joined by commas, or all."""
    if names == "all":
        return ~Permission(0)
    granted = Permission(0)
    for name in filter(None, names.split(",")):
        granted |= member(Permission, name, "permission")
    return granted


def actions_of(names: str) -> list[Action]:
    """Return the actions named, joined by commas."""
    return [member(Action, name, "action") for name in names.split(",")]


def member(enumeration: Any, name: str, what: str) -> Any:
    """Return the member of an enumeration by name."""
    try:
        return enumeration[name.strip().upper().replace("-", "_")]
    except KeyError:
        known = ", ".join(member.name.lower() for member in enumeration)
        raise UsageError(f"{what} {name!r}", f"known are {known}") from None


def read_signer(path: Path, password_file: Path | None) -> LocalSigner:
    """Read a private key in PEM."""
    try:
        password = None if password_file is None else password_file.read_bytes().rstrip(b"\r\n")
        return LocalSigner.from_pem(path.read_bytes(), password)
    except OSError as error:
        raise _files.UnreadableError(f"the private key cannot be read: {error}") from error


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read; it must not exist yet."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise UsageError(f"{path} exists already", "a secret is never written over; name another file") from None


def read_master_key(path: Path) -> MasterKey:
    """Read a master key: hex digits in a file."""
    try:
        return MasterKey.from_bytes(bytes.fromhex(path.read_text().strip()))
    except OSError as error:
        raise _files.UnreadableError(f"the master key cannot be read: {error}") from error
    except ValueError:
        # The file's text is not repeated: it may be a key all the same.
        raise _files.UnreadableError(f"{path} does not hold a master key as hex digits") from None


def record_batch(results: Any) -> Any:
    """Return results as a record batch of pyarrow."""
    import pyarrow as pa

    return pa.record_batch(results)


def strings(values: list[str]) -> Any:
    """Return a text column."""
    import pyarrow as pa

    return pa.array(values, pa.string())


def with_progress(batches: Iterable[Any], what: str) -> Iterator[Any]:
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


def tell(counts: Counter[str], title: str, *, to_remarks: bool = False) -> None:
    """Print how often each name came, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    show([title, "rows"], [[name, f"{count:,}"] for name, count in ordered], to_remarks=to_remarks)


def show(titles: list[str], rows: list[list[str]], *, to_remarks: bool = False) -> None:
    """Print rows under their titles, aligned, numbers to the right; nothing is cut to the terminal's width."""
    console = remarks if to_remarks else output
    widths = [max(len(row[at]) for row in [titles, *rows]) for at in range(len(titles))]
    numeric = [all(NUMBER.fullmatch(row[at]) for row in rows) for at in range(len(titles))]
    for number, row in enumerate([titles, *rows]):
        cells = [cell.rjust(w) if right else cell.ljust(w) for cell, w, right in zip(row, widths, numeric, strict=True)]
        console.print("  ".join(cells).rstrip(), markup=False, style="bold" if number == 0 else None)


def exit_code(counts: Counter[str], *good: str) -> Exit:
    """Return REFUSED where anything but the good names was counted."""
    return Exit.REFUSED if any(count for name, count in counts.items() if name not in good) else Exit.OK
