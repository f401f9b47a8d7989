"""The log as files: tiles of 256 hashes, bundles of 256 entries, one signed checkpoint (C2SP tlog-tiles).

A file that holds less than 256 is a partial one, `.p/W`; full files never change. The checkpoint is written last, so
that whatever lies beyond it after a crash was never promised, and is written again.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from itron_core.audit import tree
from itron_core.audit.notes import Checkpoint, read_checkpoint, verifier_of, write_checkpoint
from itron_core.errors import AuditError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from itron_core.issuing import Signer

__all__ = ["HEIGHT", "WIDTH", "AuditLog", "Tiles", "entries_of", "tile_path"]

HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32
LONGEST_ENTRY = 65_535
GROUP = 1_000


def tile_path(level: str, index: int, width: int = WIDTH) -> str:
    """Return where a tile lies: `tile/<level>/x001/x234/067`, and `.p/<width>` behind a partial one.

    `level` is a number, or `entries` for the bundles.
    """
    groups = [f"{index % GROUP:03d}"]
    while index := index // GROUP:
        groups.insert(0, f"x{index % GROUP:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == WIDTH else f".p/{width}")


def entries_of(bundle: bytes) -> list[bytes]:
    """Take a bundle apart: each entry behind its length, two bytes, big-endian; raises AuditError for anything else."""
    entries, at = [], 0
    while at < len(bundle):
        start = at + 2
        end = start + int.from_bytes(bundle[at:start])
        if end > len(bundle) or start > len(bundle):
            raise AuditError("a bundle of entries that ends within one")
        entries.append(bundle[start:end])
        at = end
    return entries


class Tiles:
    """The files of a log for reading, as far as a tree of `size` reaches."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._last: dict[str, tuple[str, bytes]] = {}

    def read(self, level: str, index: int) -> bytes:
        """Return a tile or bundle: the one that this size needs, or any longer one cut to it."""
        count = self.size if level == "entries" else self.size >> (HEIGHT * int(level))
        width = min(WIDTH, count - index * WIDTH)
        if width < 1:
            raise AuditError(f"tile {index} of level {level} in a log of {self.size} entries")
        wanted = tile_path(level, index, width)
        known = self._last.get(level)
        if known is None or known[0] != wanted:
            known = self._last[level] = (wanted, self._longest(level, index, width))
        return known[1]

    def subtree(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree, from the tile that holds it or what is below."""
        row, above = divmod(level, HEIGHT)
        start = index << above
        tile = self.read(str(row), start // WIDTH)
        hashes = [tile[at : at + HASH_BYTES] for at in range(0, len(tile), HASH_BYTES)]
        some = hashes[start % WIDTH : start % WIDTH + (1 << above)]
        if len(some) != 1 << above or len(some[-1]) != HASH_BYTES:
            raise AuditError("a tile that ends within a hash", path=tile_path(str(row), start // WIDTH))
        while len(some) > 1:
            some = [tree.node_hash(left, right) for left, right in zip(some[::2], some[1::2], strict=True)]
        return some[0]

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= index < end."""
        found: list[bytes] = []
        for bundle in range(start // WIDTH, -(-end // WIDTH)):
            data = self.read("entries", bundle)
            width = min(WIDTH, self.size - bundle * WIDTH)
            entries = entries_of(data)[:width]
            if len(entries) < width:
                raise AuditError(
                    f"a bundle of {len(entries)} entries; wanted {width}",
                    index=bundle * WIDTH + len(entries),
                    path=tile_path("entries", bundle, width),
                )
            found += entries[max(0, start - bundle * WIDTH) : end - bundle * WIDTH]
        return found

    def _longest(self, level: str, index: int, width: int) -> bytes:
        # A full tile may stand where this size asks for a partial one, since the log may have grown meanwhile.
        wanted = tile_path(level, index, width)
        for candidate in (wanted, tile_path(level, index)):
            try:
                data = (self.folder / candidate).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise AuditError(f"{candidate} cannot be read: {error.strerror}", path=candidate) from error
            if candidate != wanted:
                return data if level == "entries" else data[: width * HASH_BYTES]
            _check_length(data, level, width, wanted)
            return data
        raise AuditError(f"{wanted} is missing", path=wanted)


def _check_length(data: bytes, level: str, width: int, path: str) -> None:
    if level != "entries":
        if len(data) != width * HASH_BYTES:
            raise AuditError(f"{path} has {len(data)} bytes; wanted {width} hashes", path=path)
    elif len(entries_of(data)) > width:
        raise AuditError(f"{path} has more than {width} entries", path=path)


class AuditLog:
    """A log in a folder, which is made if it is not there; one process writes at a time.

    `origin` is the log's name; `signer` holds its Ed25519 key. Raises AuditError where the folder cannot be used, is
    in use, or holds a log of another name or key.
    """

    def __init__(self, directory: str | os.PathLike[str], signer: Signer, *, origin: str) -> None:
        verifier_of(origin, signer.public_key)  # raises for a name or a key that no reader would take
        self._folder, self._signer, self._origin = Path(directory), signer, origin
        with self._errors():
            self._folder.mkdir(parents=True, exist_ok=True)
        self._size, self._edge = -1, tree.RightEdge()
        with self._locked():
            self._catch_up()

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self._read().size

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return self._read().root

    def checkpoint(self) -> bytes:
        """Return the signed note as it lies in the folder."""
        with self._errors():
            return (self._folder / "checkpoint").read_bytes()

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= index < end; raises InputError outside of the log."""
        size = self.size
        if not 0 <= start <= end <= size:
            raise InputError(f"entries {start} to {end} of a log of {size}")
        return Tiles(self._folder, size).entries(start, end)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Prove that the entry at `index` is in the tree of that size, the present one by default."""
        end = self._within(size)
        return tree.inclusion_proof(index, end, Tiles(self._folder, end).subtree)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Prove that the tree of size `old` is the beginning of that of size `new`, the present one by default."""
        end = self._within(new)
        return tree.consistency_proof(old, end, Tiles(self._folder, end).subtree)

    def append(self, entries: Sequence[bytes], *, at: int | None = None) -> range:
        """Append entries of up to 65,535 bytes and publish one checkpoint; returns their indices.

        With `at`, the first of them has this index: those that are there already must be equal, and only the rest is
        appended, so that a copy from elsewhere can be taken up again after a crash. Raises AuditError where another
        entry stands there, or something is missing before it; what was not published then is not in the log.
        """
        for entry in entries:
            if len(entry) > LONGEST_ENTRY:
                raise InputError(f"an entry of {len(entry):,} bytes; wanted {LONGEST_ENTRY:,} at most")
        with self._locked(), self._errors():
            self._catch_up()
            start = self._size if at is None else at
            fresh = self._beyond(entries, start)
            if fresh:
                self._write(fresh)
        return range(start, start + len(entries))

    def _within(self, size: int | None) -> int:
        present = self.size
        if size is not None and not 0 <= size <= present:
            raise InputError(f"a tree of size {size} of a log of {present}")
        return present if size is None else size

    def _read(self) -> Checkpoint:
        return read_checkpoint(self.checkpoint(), self._signer.public_key, origin=self._origin)

    def _catch_up(self) -> None:
        """Come to where the checkpoint is, which another process may have moved."""
        path = self._folder / "checkpoint"
        if not path.exists():
            if (self._folder / "tile").exists() and any((self._folder / "tile").iterdir()) and self._size > 0:
                raise AuditError("the checkpoint is gone", path="checkpoint")
            self._publish(0, tree.EMPTY_ROOT)
        present = self._read()
        if present.size == self._size:
            return
        tiles = Tiles(self._folder, present.size)
        edge = tree.RightEdge(present.size, _edge_of(present.size, tiles))
        if edge.root != present.root:
            raise AuditError("the tiles do not have the checkpoint's root: verify the log", path="checkpoint")
        self._size, self._edge = present.size, edge

    def _beyond(self, entries: Sequence[bytes], start: int) -> list[bytes]:
        if start > self._size:
            raise AuditError(f"entries from {start} on for a log of {self._size}: those between are missing")
        there = min(self._size, start + len(entries))
        if there > start:
            held = Tiles(self._folder, self._size).entries(start, there)
            for index, (old, new) in enumerate(zip(held, entries, strict=False), start):
                if old != new:
                    raise AuditError(f"entry {index} is there already, and another one", index=index)
        return list(entries[there - start :])

    def _write(self, fresh: list[bytes]) -> None:
        size = self._size
        tiles = Tiles(self._folder, size)
        edge = self._edge.copy()
        # What grows: the last partial bundle, and the last partial tile of each level.
        first = size // WIDTH
        bundle = bytearray(tiles.read("entries", first) if size % WIDTH else b"")
        rows: dict[int, tuple[int, bytearray]] = {}

        def made(level: int, index: int, value: bytes) -> None:
            if level % HEIGHT:
                return
            row = level // HEIGHT
            tile = rows.get(row)
            if tile is None:
                held = index % WIDTH
                old = tiles.read(str(row), index // WIDTH) if held else b""
                tile = rows[row] = (index // WIDTH, bytearray(old))
            tile[1].extend(value)
            if len(tile[1]) == WIDTH * HASH_BYTES:
                self._put(tile_path(str(row), tile[0]), bytes(tile[1]))
                rows[row] = (tile[0] + 1, bytearray())

        for entry in fresh:
            bundle += len(entry).to_bytes(2) + entry
            edge.add(tree.leaf_hash(entry), made)
            if edge.size % WIDTH == 0:
                self._put(tile_path("entries", first), bytes(bundle))
                first, bundle = first + 1, bytearray()
        if bundle:
            self._put(tile_path("entries", first, edge.size % WIDTH), bytes(bundle))
        for row, (index, tile_bytes) in rows.items():
            if tile_bytes:
                self._put(tile_path(str(row), index, len(tile_bytes) // HASH_BYTES), bytes(tile_bytes))
        self._publish(edge.size, edge.root)
        self._size, self._edge = edge.size, edge

    def _publish(self, size: int, root: bytes) -> None:
        self._put("checkpoint", write_checkpoint(Checkpoint(self._origin, size, root), self._signer))

    def _put(self, name: str, data: bytes) -> None:
        """Put a file in its place: whole or not at all, and on the disk."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        try:
            with fresh.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise AuditError(f"{name} cannot be written: {error.strerror}", path=name) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._errors():
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = Path(error.filename).name if error.filename else str(self._folder)
            said = "is missing" if error.errno == errno.ENOENT else f"cannot be used: {error.strerror}"
            raise AuditError(f"{name} {said}", path=name) from error


def _edge_of(size: int, tiles: Tiles) -> list[bytes]:
    """Return the roots of the complete subtrees of a tree, the largest first."""
    roots, start = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            roots.append(tiles.subtree(level, start >> level))
            start += 1 << level
    return roots
