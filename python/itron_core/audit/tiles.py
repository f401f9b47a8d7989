"""The log's files (C2SP tlog-tiles): their names, their content, and how they are read.

A file with fewer than 256 entries or hashes is partial and named `.p/W`. Full files never change.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from itron_core.audit import tree
from itron_core.audit.tree import HASH_BYTES, HEIGHT, WIDTH
from itron_core.errors import AuditError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = [
    "CHECKPOINT",
    "ENTRIES",
    "LONGEST_ENTRY",
    "Tiles",
    "bundle_of",
    "entries_of",
    "hashes_of",
    "partial_files",
    "read_file",
    "tile_path",
]

CHECKPOINT = "checkpoint"
ENTRIES = "entries"
LENGTH_BYTES = 2
LONGEST_ENTRY = 65_535
LONGEST_BUNDLE = WIDTH * (LENGTH_BYTES + LONGEST_ENTRY)
GROUP = 1_000
PARTIAL = re.compile(r"tile/(?P<level>entries|\d{1,2})/(?P<index>(?:x\d{3}/){0,4}\d{3})\.p/(?P<width>\d{1,3})")


def tile_path(level: str | int, index: int, width: int = WIDTH) -> str:
    """Return a tile's path: `tile/<level>/x001/x234/067`, followed by `.p/<width>` if it is partial.

    `level` is a number, or `entries` for the bundles.
    """
    groups = [f"{index % GROUP:03d}"]
    while index := index // GROUP:
        groups.insert(0, f"x{index % GROUP:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == WIDTH else f".p/{width}")


def partial_files(folder: Path) -> Iterator[tuple[str | int, int, int, str]]:
    """Yield each partial file: level, index, width and name."""
    # `walk` ignores a folder that was deleted meanwhile, because its full file was written.
    found = (os.path.join(where, name) for where, _, names in os.walk(folder / "tile") for name in names)  # noqa: PTH118
    for path in sorted(found):
        name = os.path.relpath(path, folder)
        if parts := PARTIAL.fullmatch(name):
            level = parts["level"] if parts["level"] == ENTRIES else int(parts["level"])
            index, width = int(re.sub("[x/]", "", parts["index"])), int(parts["width"])
            if tile_path(level, index, width) == name:
                yield level, index, width, name


def bundle_of(entries: Iterable[bytes]) -> bytes:
    """Return the entries, each preceded by its length (two bytes, big-endian)."""
    return b"".join([len(entry).to_bytes(LENGTH_BYTES) + entry for entry in entries])


def entries_of(bundle: bytes, most: int) -> tuple[list[bytes], int]:
    """Return up to `most` complete entries of a bundle, and the number of bytes they take."""
    entries: list[bytes] = []
    at = 0
    while len(entries) < most and at + LENGTH_BYTES <= len(bundle):
        start = at + LENGTH_BYTES
        end = start + int.from_bytes(bundle[at:start])
        if end > len(bundle):
            break
        entries.append(bundle[start:end])
        at = end
    return entries, at


def hashes_of(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile in order."""
    return [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]


def read_file(folder: Path, name: str, most: int) -> bytes | None:
    """Return a file of up to `most` bytes, or None if it does not exist. Raises AuditError if it cannot be read."""
    try:
        # Never wait for the writer of a pipe that replaced a file.
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            data = _content(descriptor, most)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AuditError(f"{name} cannot be read: {error.strerror}", path=name) from error
    if data is None:
        raise AuditError(f"{name} is not a regular file", path=name)
    if len(data) > most:
        raise AuditError(f"{name} has more than {most:,} bytes", path=name)
    return data


def _content(descriptor: int, most: int) -> bytes | None:
    """Return a file's content, up to one byte more than `most`; None for a folder, a pipe or a device."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(most + 1)


class Tiles:
    """Reads the files of a log up to a tree of `size` entries, including those of every smaller tree."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._last: dict[str | int, tuple[int, bytes]] = {}

    def width(self, level: str | int, index: int) -> int:
        """Return the number of hashes or entries that a tile or bundle holds at this size."""
        count = self.size if isinstance(level, str) else self.size >> (HEIGHT * level)
        return max(0, min(WIDTH, count - index * WIDTH))

    def path(self, level: str | int, index: int) -> str:
        """Return the path of a tile or bundle at this size."""
        return tile_path(level, index, self.width(level, index))

    def tile(self, row: int, index: int) -> bytes:
        """Return a tile at this size: the partial one, or the beginning of the full one."""
        held = self._last.get(row)
        if held is None or held[0] != index:
            held = self._last[row] = (index, self._tile(row, index))
        return held[1]

    def bundle(self, index: int) -> tuple[bytes, bool]:
        """Return the bytes of a bundle, and whether the log has grown since, so that it may hold more entries."""
        data, grown = self._read(ENTRIES, index, LONGEST_BUNDLE)
        return data, grown

    def subtree(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree, from the tile that holds it or the hashes below."""
        row, above = divmod(level, HEIGHT)
        start = index << above
        some = hashes_of(self.tile(row, start // WIDTH))[start % WIDTH :][: 1 << above]
        if len(some) != 1 << above:
            raise InputError(
                f"index: got subtree {index} of level {level}, which is incomplete in a tree of {self.size}"
            )
        return tree.fold(some)

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= index < end."""
        found: list[bytes] = []
        for index in range(start // WIDTH, -(-end // WIDTH)):
            width = self.width(ENTRIES, index)
            entries, _ = entries_of(self.bundle(index)[0], width)
            if len(entries) < width:
                path = self.path(ENTRIES, index)
                raise AuditError(
                    f"{path} is cut off in its entry {len(entries)}, expected {width}",
                    index=index * WIDTH + len(entries),
                    path=path,
                )
            found += entries[max(0, start - index * WIDTH) : end - index * WIDTH]
        return found

    def _tile(self, row: int, index: int) -> bytes:
        length = self.width(row, index) * HASH_BYTES
        data, grown = self._read(row, index, WIDTH * HASH_BYTES)
        if len(data) < length or (len(data) != length and not grown):
            path = self.path(row, index)
            raise AuditError(f"{path} has {len(data):,} bytes, expected {length:,}", path=path)
        return data[:length]

    def _read(self, level: str | int, index: int, most: int) -> tuple[bytes, bool]:
        # Once the log has grown, a full file replaces the partial one of this size.
        for candidate in (path := self.path(level, index), tile_path(level, index)):
            data = read_file(self.folder, candidate, most)
            if data is not None:
                return data, candidate != path
        raise AuditError(f"{path} is missing", path=path)
