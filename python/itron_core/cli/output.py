"""Output of the command line: sentences, tables and progress, without control characters from files."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from itron_core._printable import printable
from itron_core.cli.failures import Exit, ReaderGoneError, UnwritableError
from itron_core.enums import Action, DeviceClass, Mode, Permission, SecurityLevel

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from itron_core.exchange.material import Material
    from itron_core.exchange.records import DeviceRecord

__all__ = [
    "counted",
    "exit_code",
    "iso",
    "lost",
    "names_of",
    "permission_names",
    "remark",
    "say",
    "show",
    "show_counts",
    "show_devices",
    "show_json",
    "show_material",
    "to_nowhere",
    "with_progress",
]


def say(text: str = "") -> None:
    """Print one or more lines to standard output."""
    _print(text)


def remark(text: str = "", style: str = "") -> None:
    """Print one or more lines to standard error."""
    _print(text, style, stderr=True)


def _print(text: str, style: str = "", *, stderr: bool = False) -> None:
    text = "\n".join(printable(line) for line in text.split("\n"))
    stream = sys.stderr if stderr else sys.stdout
    if stream is None:
        return
    try:
        if style and stream.isatty():
            from itron_core.cli.terminal import draw

            draw(text, style, stderr=stderr)
        else:
            stream.write(text + "\n")
            stream.flush()
    except OSError as error:
        if stderr:  # nobody can be told; the exit code says how it ended
            to_nowhere(sys.stderr, 2)
        elif isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        else:
            raise lost(error) from error


def to_nowhere(stream: object, descriptor: int) -> None:
    """Discard what is still in a stream's buffer: Python would fail on it at exit."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def lost(error: OSError) -> UnwritableError:
    """Return the error for output that cannot be printed; the work itself was done before."""
    return UnwritableError(
        f"standard output cannot be written: {error.strerror or error}",
        "the command has done its work; only its output is lost",
    )


def counted(number: int, thing: str, things: str = "") -> str:
    """Return a number with its noun: `1 row`, `2,000 rows`."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def names_of(actions: int) -> str:
    """Return the names of a bit set of actions, joined by commas."""
    return ",".join(action.name.lower() for action in Action if actions >> action & 1)


def permission_names(permissions: int) -> str:
    """Return the names of a bit set of permissions, joined by commas."""
    return ",".join(one.name.lower() for one in Permission if permissions & one and one.name) or "-"


def iso(seconds: int) -> str:
    """Return a time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show(
    titles: list[str], rows: Sequence[Sequence[str | int]], *, as_json: bool = False, to_remarks: bool = False
) -> None:
    """Print an aligned table, with numbers to the right; nothing is cut to the terminal's width.

    With `as_json`, print an array of objects; a cell of `-` is null.
    """
    if as_json:
        names = [title.replace(" ", "_") for title in titles]
        show_json(
            [{name: None if cell == "-" else cell for name, cell in zip(names, row, strict=True)} for row in rows]
        )
        return
    numeric = [all(isinstance(row[at], int) or row[at] == "-" for row in rows) for at in range(len(titles))]
    texts = [[f"{cell:,}" if isinstance(cell, int) else printable(cell) for cell in row] for row in rows]
    widths = [max(_width(row[at]) for row in [titles, *texts]) for at in range(len(titles))]
    head, *lines = (
        "  ".join(_padded(cell, w, right=right) for cell, w, right in zip(row, widths, numeric, strict=True)).rstrip()
        for row in [titles, *texts]
    )
    _print(head, "bold", stderr=to_remarks)
    if lines:
        _print("\n".join(lines), stderr=to_remarks)


def show_material(rows: Iterable[Material], *, as_json: bool) -> None:
    """Print a table of issued tokens, with the ids for `manager revoke --token`."""
    cells = [
        [f"{one.kid.hex()}:{one.cti.hex()}", one.device, one.token_type, names_of(one.actions), iso(one.expires_at)]
        for one in rows
    ]
    show(["id", "device", "type", "actions", "expires at"], cells, as_json=as_json)


def show_devices(records: Iterable[DeviceRecord], retired: Collection[str] | None = None, *, as_json: bool) -> None:
    """Print a table of devices, and which of them are retired if that is known."""
    titles = ["device", "unit", "device_class", "mode", "security_level", "level_verified", "epoch"]
    rows = [
        [
            *(one.device, one.unit, DeviceClass(one.device_class).name.lower(), Mode(one.mode).name.lower()),
            *(SecurityLevel(one.security_level).name.lower(), "yes" if one.level_verified else "no", one.epoch),
            *([] if retired is None else ["yes" if one.device in retired else "no"]),
        ]
        for one in records
    ]
    show([*titles, *([] if retired is None else ["retired"])], rows, as_json=as_json)


def show_json(value: object) -> None:
    """Print a value as ASCII JSON, which every terminal can show."""
    say(json.dumps(value, indent=1))


def show_counts(counts: Mapping[str, Counter[str]], *, as_json: bool = False, to_remarks: bool = False) -> None:
    """Print how often each name occurs, by title, most frequent first."""
    if as_json:
        show_json({title: dict(names) for title, names in counts.items()})
        return
    for number, (title, names) in enumerate(counts.items()):
        if number:
            remark() if to_remarks else say()
        ordered = sorted(names.items(), key=lambda item: (-item[1], item[0]))
        show([title, "rows"], [[name, count] for name, count in ordered], to_remarks=to_remarks)


def with_progress(batches: Iterable[Any], what: str) -> Iterator[Any]:
    """Show the number of processed rows on standard error, if it is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield from batches
        return
    from itron_core.cli import terminal

    yield from terminal.with_progress(batches, what)


def exit_code(counts: Counter[str], *good: str) -> Exit:
    """Return REFUSED if any other name than the good ones was counted, else OK."""
    return Exit.REFUSED if any(count for name, count in counts.items() if name not in good) else Exit.OK


def _width(text: str) -> int:
    """Return a text's width on a terminal: East Asian wide characters take two columns, combining marks none."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space
