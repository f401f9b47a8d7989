"""Files and folders that only their owner may open: mode 600 and 700 from their creation, under any umask."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["make_folder", "new_folder", "open_private", "write_private"]

OWNER_READS_AND_WRITES = 0o600
OWNER_ENTERS = 0o700


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file and return its descriptor; a new file has mode 600. `flags` are those of os.open."""
    with suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_READS_AND_WRITES)
        os.fchmod(descriptor, OWNER_READS_AND_WRITES)  # a umask may have removed too much
        return descriptor
    if flags & os.O_EXCL:
        raise FileExistsError(None, "File exists", os.fspath(path))
    # It may be deleted meanwhile.
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, OWNER_READS_AND_WRITES)


def write_private(path: str | os.PathLike[str], data: bytes, *, replace: bool = False) -> None:
    """Write a new file of mode 600 and sync it. Raises FileExistsError if it exists, unless `replace` is set."""
    place = Path(path)
    if not replace:
        descriptor = open_private(place, os.O_WRONLY | os.O_EXCL)
        try:
            _write(descriptor, data)
        except OSError:  # such as a full disk; an incomplete file would block the next attempt
            place.unlink(missing_ok=True)
            raise
        return
    beside = place.with_name(f"{place.name}.new")
    beside.unlink(missing_ok=True)
    _write(open_private(beside, os.O_WRONLY | os.O_EXCL), data)
    beside.replace(place)


def new_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder of mode 700 if it does not exist; its parent must exist."""
    with suppress(FileExistsError):
        Path(path).mkdir(mode=OWNER_ENTERS)
        Path(path).chmod(OWNER_ENTERS)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and its missing parents, each of mode 700."""
    folder = Path(path)
    if not folder.is_dir():
        make_folder(folder.parent)
        new_folder(folder)


def _write(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
