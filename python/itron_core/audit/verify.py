"""Verifies a log offline from its files alone: every entry, tile and checkpoint, and an older trusted checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from itron_core.audit import tree
from itron_core.audit.checkpoint import LARGEST_NOTE, Checkpoint, read_checkpoint
from itron_core.audit.tiles import (
    CHECKPOINT,
    ENTRIES,
    Tiles,
    bundle_of,
    entries_of,
    hashes_of,
    partial_files,
    read_file,
)
from itron_core.audit.tree import HASH_BYTES, HEIGHT, WIDTH
from itron_core.errors import AuditError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from itron_core._rust import PublicKey

__all__ = ["Verified", "verify"]


class Verified(NamedTuple):
    """A verified log: its name, its size and its root of 32 bytes."""

    origin: str
    size: int
    root: bytes


def verify(
    directory: str | os.PathLike[str],
    key: PublicKey | Sequence[PublicKey],
    *,
    origin: str,
    trusted: bytes | None = None,
) -> Verified:
    """Verify the whole log in a folder; `trusted` is an older checkpoint of it that was kept elsewhere.

    `key` is the log's key, or a sequence of all its keys so far. Raises AuditError with the first wrong entry in `index`
    and its file in `path`. The entries are compared with the signed checkpoint, and the tiles of hashes with the
    entries. If the entries are wrong, tiles that match the checkpoint show which entry is the first. With `trusted`, a
    log that was rolled back or rewritten is detected too.
    """
    folder = Path(directory)
    note = read_file(folder, CHECKPOINT, LARGEST_NOTE)
    if note is None:
        raise AuditError(f"{folder / CHECKPOINT} is missing", path=CHECKPOINT)
    checkpoint = read_checkpoint(note, key, origin=origin)
    before = None if trusted is None else read_checkpoint(trusted, key, origin=origin)
    if before is not None and before.size > checkpoint.size:
        raise AuditError(
            f"the log was rolled back: it has {checkpoint.size} entries, the trusted checkpoint {before.size}",
            index=checkpoint.size,
        )
    scan = _Scan(Tiles(folder, checkpoint.size), None if before is None else before.size)
    if scan.unreadable is not None or scan.edge.root != checkpoint.root:
        raise _first_wrong(scan, checkpoint)
    if before is not None and before.root != scan.old_root:
        raise AuditError(
            f"the log was rewritten: its first {before.size} entries differ from those of the trusted checkpoint",
            path=CHECKPOINT,
        )
    if scan.wrong_tile is not None:
        raise scan.wrong_tile
    _check_above(scan)
    _check_passed(scan.tiles)
    return Verified(origin, checkpoint.size, checkpoint.root)


class _Scan:
    """All entries, read and hashed once in order, up to the first unreadable bundle.

    `edge` is the tree of the entries; `rows[n]` has their hashes for the tiles of row n + 1. `disagreement` is the first
    entry that its tile contradicts, `wrong_tile` the first tile or bundle that is wrong if the entries are right.
    """

    def __init__(self, tiles: Tiles, old_size: int | None) -> None:
        self.tiles, self.edge = tiles, tree.RightEdge()
        self.rows: list[list[bytes]] = []
        self.old_root = tree.EMPTY_ROOT
        self.unreadable: AuditError | None = None
        self.disagreement: int | None = None
        self.wrong_tile: AuditError | None = None
        for index in range(-(-tiles.size // WIDTH)):
            if not self._take(index, old_size or 0):
                break

    def hashes(self, row: int, start: int, count: int) -> list[bytes]:
        """Return the entries' hashes for a row's tiles: up to `count` from `start`, as far as they can be read."""
        if row:
            return self.rows[row - 1][start : start + count] if row <= len(self.rows) else []
        return self._leaves(start // WIDTH)[0]

    def _take(self, index: int, old_size: int) -> bool:
        leaves, self.unreadable = self._leaves(index)
        self._compare_with_tile(index, leaves)
        if self.unreadable is not None:
            return False
        before = old_size - self.edge.size
        if 0 < before <= len(leaves):
            old = self.edge.copy()
            old.extend(leaves[:before])
            self.old_root = old.root
        self.edge.extend(leaves, self._made)
        return True

    def _leaves(self, index: int) -> tuple[list[bytes], AuditError | None]:
        """Return the hashes of a bundle's entries, and the reason if they are incomplete."""
        width, path = self.tiles.width(ENTRIES, index), self.tiles.path(ENTRIES, index)
        try:
            data, grown = self.tiles.bundle(index)
        except AuditError as error:
            return [], _unreadable(index * WIDTH, str(error), path)
        entries, end = entries_of(data, width)
        leaves = [tree.leaf_hash(entry) for entry in entries]
        if len(entries) < width:
            return leaves, _unreadable(index * WIDTH + len(entries), f"{path} is cut off", path)
        if end != len(data) and not grown:
            self.wrong_tile = self.wrong_tile or AuditError(
                f"{path} has extra bytes after its {width} entries", path=path
            )
        return leaves, None

    def _compare_with_tile(self, index: int, leaves: Sequence[bytes]) -> None:
        try:
            stored = hashes_of(self.tiles.tile(0, index))
        except AuditError as error:
            self.wrong_tile = self.wrong_tile or error
            return
        offset = _first_difference(stored, leaves)
        if offset is not None:
            if self.disagreement is None and offset < len(leaves):
                self.disagreement = index * WIDTH + offset
            self.wrong_tile = self.wrong_tile or _wrong_hash(self.tiles.path(0, index), 0, index, offset)

    def _made(self, row: int, _index: int, value: bytes) -> None:
        while len(self.rows) < row:
            self.rows.append([])
        self.rows[row - 1].append(value)


def _first_wrong(scan: _Scan, checkpoint: Checkpoint) -> AuditError:
    """Return the error that names the first wrong entry of a log whose entries contradict its root."""
    rows = _growing(scan.tiles)
    if tree.RightEdge.of(scan.tiles.size, rows).root == checkpoint.root:
        # These tiles match the signed root, so each of their hashes that the entries contradict points to wrong entries.
        for row in reversed(range(len(rows))):
            start = (scan.tiles.size >> (HEIGHT * row)) - len(rows[row])
            offset = _first_difference(rows[row], scan.hashes(row, start, len(rows[row])))
            if offset is not None:
                return _below(scan, row, start + offset, rows[row][offset])
    if scan.disagreement is not None:
        return _wrong_entry(scan, scan.disagreement)
    return scan.unreadable or AuditError(
        "the entries match their tiles but contradict the checkpoint: both were replaced together",
        path=CHECKPOINT,
    )


def _below(scan: _Scan, row: int, index: int, value: bytes) -> AuditError:
    """Descend from a signed hash while the tile below it matches."""
    while row:
        first, last = index << (HEIGHT * row), ((index + 1) << (HEIGHT * row)) - 1
        row -= 1
        path = scan.tiles.path(row, index)
        try:
            hashes = hashes_of(scan.tiles.tile(row, index))
        except AuditError:
            hashes = []
        if not hashes or tree.fold(hashes) != value:
            return AuditError(
                f"entries between {first} and {last} were changed, and {path} is wrong too",
                index=first,
                path=path,
            )
        offset = _first_difference(hashes, scan.hashes(row, index * WIDTH, WIDTH)) or 0
        index, value = index * WIDTH + offset, hashes[offset]
    if scan.unreadable is not None and scan.unreadable.index == index:
        return scan.unreadable
    return _wrong_entry(scan, index)


def _growing(tiles: Tiles) -> list[list[bytes]]:
    """Return the last tile of each row if it is partial, or an empty list if one of them cannot be read."""
    rows: list[list[bytes]] = []
    count = tiles.size
    while count:
        try:
            rows.append(hashes_of(tiles.tile(len(rows), count // WIDTH)) if count % WIDTH else [])
        except AuditError:
            return []
        count //= WIDTH
    return rows


def _check_above(scan: _Scan) -> None:
    for row, made in enumerate(scan.rows, 1):
        for index in range(-(-len(made) // WIDTH)):
            offset = _first_difference(hashes_of(scan.tiles.tile(row, index)), made[index * WIDTH :][:WIDTH])
            if offset is not None:
                raise _wrong_hash(scan.tiles.path(row, index), row, index, offset)


def _check_passed(tiles: Tiles) -> None:
    """Check that the partial files of earlier sizes are the beginning of the current tile."""
    for level, index, width, name in partial_files(tiles.folder):
        if width >= tiles.width(level, index):
            continue  # the current one, or one that a crash left of an entry that was never logged
        if isinstance(level, str):
            now = bundle_of(tiles.entries(index * WIDTH, index * WIDTH + width))
        else:
            now = tiles.tile(level, index)[: width * HASH_BYTES]
        held = read_file(tiles.folder, name, len(now))
        # A partial file is deleted when the full one is written.
        if held is not None and held != now:
            raise AuditError(f"{name} contradicts {tiles.path(level, index)}, whose beginning it must be", path=name)


def _first_difference(stored: Sequence[bytes], made: Sequence[bytes]) -> int | None:
    if stored == made:
        return None
    pairs = zip(stored, made, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(stored), len(made)))


def _wrong_hash(path: str, row: int, index: int, offset: int) -> AuditError:
    return AuditError(
        f"{path} is wrong: hash {offset} of tile {index} at level {row} does not match the hashes below it", path=path
    )


def _wrong_entry(scan: _Scan, index: int) -> AuditError:
    path = scan.tiles.path(ENTRIES, index // WIDTH)
    return AuditError(f"entry {index} was changed", index=index, path=path)


def _unreadable(index: int, why: str, path: str) -> AuditError:
    return AuditError(f"entry {index} is unreadable: {why}", index=index, path=path)
