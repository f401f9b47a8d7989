"""The files that a command writes: each appears complete or not at all, none over one that the command reads, and none twice."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from itron_core.cli.failures import UsageError
from itron_core.stores.private_files import open_private

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["begin", "note_read", "read_noted", "written"]

# Of the command that runs: the files that it has read (device and inode), and those that it is writing or has written.
_READ: set[tuple[int, int]] = set()
_WRITTEN: set[Path] = set()


def begin() -> None:
    """Forget the files of the last command."""
    _READ.clear()
    _WRITTEN.clear()


def note_read(path: str | os.PathLike[str]) -> None:
    """Note that the command reads a file."""
    with suppress(OSError):
        found = Path(path).stat()
        _READ.add((found.st_dev, found.st_ino))


def read_noted(path: Path) -> bytes:
    """Return the content of a file, and note that the command reads it."""
    note_read(path)
    return path.read_bytes()


@contextmanager
def written(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """Open a file that appears complete or not at all; a private one can be read by its owner alone.

    Raises UsageError if the command reads the file, or writes it already.
    """
    _check_not_read(path)
    place = path.absolute()
    if place in _WRITTEN:
        raise UsageError(f"{path} would be written twice", "name a file for each output")
    _WRITTEN.add(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        if private:
            part.unlink(missing_ok=True)
        with os.fdopen(open_private(part, os.O_WRONLY | os.O_EXCL), "wb") if private else part.open("wb") as file:
            yield file
        _check_not_read(path)  # an input may be opened after the output
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_not_read(path: Path) -> None:
    with suppress(OSError):
        found = path.stat()
        if (found.st_dev, found.st_ino) in _READ:
            raise UsageError(
                f"{path} would be overwritten, and the command reads it", "name another file for the output"
            )
