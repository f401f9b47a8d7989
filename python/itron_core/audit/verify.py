"""A log verified offline, from its files alone: every entry, every tile, the checkpoint, and what was trusted before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from itron_core.audit import tree
from itron_core.audit.log import HASH_BYTES, HEIGHT, WIDTH, Tiles, tile_path
from itron_core.audit.notes import Checkpoint, read_checkpoint
from itron_core.errors import AuditError

if TYPE_CHECKING:
    import os

    from itron_core._rust import PublicKey

__all__ = ["Verified", "verify"]


class Verified(NamedTuple):
    """What was found to be right."""

    origin: str
    size: int
    root: bytes


def verify(directory: str | os.PathLike[str], key: PublicKey, *, origin: str, trusted: bytes | None = None) -> Verified:
    """Verify the whole log in a folder; `trusted` is a checkpoint of it that was kept elsewhere.

    Raises AuditError: `index` is the first entry that is wrong, `path` the file. Entries are held against the tiles of
    hashes, tiles against those above them, and their root against the signed checkpoint. With `trusted`, a log that was
    rolled back or rewritten is found as well.
    """
    folder = Path(directory)
    try:
        note = (folder / "checkpoint").read_bytes()
    except OSError as error:
        raise AuditError(f"the checkpoint cannot be read: {error.strerror}", path="checkpoint") from error
    checkpoint = read_checkpoint(note, key, origin=origin)
    before = None if trusted is None else read_checkpoint(trusted, key, origin=origin)
    if before is not None and before.size > checkpoint.size:
        raise AuditError(
            f"the log was rolled back: it has {checkpoint.size} entries, and had {before.size}", index=checkpoint.size
        )
    edge, old_root = tree.RightEdge(), tree.EMPTY_ROOT
    tiles = Tiles(folder, checkpoint.size)
    above: dict[int, list[bytes]] = {}

    def made(level: int, _index: int, value: bytes) -> None:
        if level and level % HEIGHT == 0:
            above.setdefault(level // HEIGHT, []).append(value)

    for bundle in range(-(-checkpoint.size // WIDTH)):
        start = bundle * WIDTH
        entries = _bundle(tiles, bundle)
        hashes = tiles.read("0", bundle)
        for index, entry in enumerate(entries, start):
            leaf = tree.leaf_hash(entry)
            at = (index - start) * HASH_BYTES
            if hashes[at : at + HASH_BYTES] != leaf:
                raise AuditError(
                    f"entry {index} is not the one that was logged",
                    index=index,
                    path=tile_path("entries", bundle, len(entries)),
                )
            edge.add(leaf, made)
            if before is not None and edge.size == before.size:
                old_root = edge.root
    _check_above(tiles, above)
    _check_roots(checkpoint, edge.root, before, old_root)
    return Verified(origin, checkpoint.size, checkpoint.root)


def _bundle(tiles: Tiles, bundle: int) -> list[bytes]:
    start = bundle * WIDTH
    end = min(start + WIDTH, tiles.size)
    try:
        return tiles.entries(start, end)
    except AuditError as error:
        path = error.path or tile_path("entries", bundle, end - start)
        raise AuditError(
            f"entries {start} to {end - 1}: {error}", index=start if error.index is None else error.index, path=path
        ) from error


def _check_above(tiles: Tiles, above: dict[int, list[bytes]]) -> None:
    for row, values in above.items():
        for start in range(0, len(values), WIDTH):
            if tiles.read(str(row), start // WIDTH) != b"".join(values[start : start + WIDTH]):
                path = tile_path(str(row), start // WIDTH, min(WIDTH, len(values) - start))
                raise AuditError(f"{path} does not have the hashes of what is below it", path=path)


def _check_roots(checkpoint: Checkpoint, root: bytes, before: Checkpoint | None, old_root: bytes) -> None:
    if root != checkpoint.root:
        raise AuditError(
            "the entries and their tiles fit each other and not the checkpoint: they were replaced together",
            path="checkpoint",
        )
    if before is not None and before.root != old_root:
        raise AuditError(
            f"the log was rewritten: its first {before.size} entries are not those of the trusted checkpoint",
            path="checkpoint",
        )
