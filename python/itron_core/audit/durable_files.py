"""Writing files so that a crash leaves each one whole or absent, and keeps what was synced."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from itron_core.errors import AuditError
from itron_core.stores.private_files import new_folder, open_private

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Disk", "make_folder"]

# Files that stay open until their sync: syncing them together costs the disk little more than one.
WAITING = 64


class _Aside(NamedTuple):
    """A temporary file beside its final place."""

    name: str
    file: BinaryIO


class Disk:
    """Writes files below `folder`: as temporary files that are synced, renamed, and whose folders are synced last.

    Use it in `with` blocks: files that are not synced by the end of the block are dropped. Raises AuditError with the
    file's name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside: list[_Aside] = []
        self._touched: dict[Path, str] = {}
        # Folders that this object has synced into their parents; folders made by another process may not be synced.
        self._lasting = {folder}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, fault: type[BaseException] | None, *_: object) -> None:
        for name, file in self._aside:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                self._beside(name).unlink()
        self._aside.clear()
        self._touched.clear()
        if fault is not None:  # a folder may have gone
            self._lasting = {self._folder}

    def put(self, name: str, data: bytes) -> None:
        """Write a temporary file beside its final place."""
        try:
            self._make((self._folder / name).parent, name)
            file = os.fdopen(open_private(self._beside(name), os.O_WRONLY | os.O_TRUNC), "wb", buffering=0)
            self._aside.append(_Aside(name, file))
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
        except OSError as error:
            raise _refused(name, error) from error
        if len(self._aside) == WAITING:
            self._settle()

    def sync(self) -> None:
        """Move all files into their places; after this returns, a crash loses none of them."""
        self._settle()
        for folder, name in self._touched.items():
            try:
                sync_folder(folder)
            except OSError as error:
                raise _refused(name, error) from error
        self._lasting.update(self._touched)
        self._touched.clear()

    def prune(self, name: str) -> None:
        """Remove a folder of files that are no longer needed, if it can be removed; nothing depends on it."""
        folder = self._folder / name
        with suppress(OSError):
            for file in list(folder.iterdir()):
                file.unlink()
            folder.rmdir()
        self._lasting.discard(folder)

    def prune_beyond(self, name: str, width: int) -> None:
        """Remove partial files wider than what was published, which a crashed writer has left."""
        with suppress(OSError):
            for file in list((self._folder / name).iterdir()):
                if file.name.isdecimal() and int(file.name) > width:
                    file.unlink()

    def _settle(self) -> None:
        for name, file in self._aside:
            try:
                os.fsync(file.fileno())
            except OSError as error:
                raise _refused(name, error) from error
        while self._aside:
            name, file = self._aside[0]
            place = self._folder / name
            try:
                file.close()
                self._beside(name).replace(place)
            except OSError as error:
                raise _refused(name, error) from error
            self._touched[place.parent] = name
            del self._aside[0]

    def _make(self, folder: Path, name: str) -> None:
        if folder in self._lasting:
            return
        self._make(folder.parent, name)
        new_folder(folder)
        # A folder survives a crash only if its parent is synced.
        self._touched[folder.parent] = name

    def _beside(self, name: str) -> Path:
        place = self._folder / name
        return place.with_name(f"{place.name}.new")


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, each of mode 700, and sync them."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    new_folder(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(name: str, error: OSError) -> AuditError:
    return AuditError(f"{name} cannot be written: {error.strerror}", path=name)
