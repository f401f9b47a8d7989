"""Writes the log: appends entries, updates tiles, signs one checkpoint per batch (C2SP tlog-tiles).

The checkpoint is written last. Entries beyond it after a crash were never promised, and are written again.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from itron_core.audit import tree
from itron_core.audit.checkpoint import LARGEST_NOTE, Checkpoint, read_checkpoint, verifier_of, write_checkpoint
from itron_core.audit.durable_files import Disk, make_folder
from itron_core.audit.tiles import (
    CHECKPOINT,
    ENTRIES,
    LONGEST_ENTRY,
    Tiles,
    bundle_of,
    entries_of,
    hashes_of,
    read_file,
    tile_path,
)
from itron_core.audit.tree import HASH_BYTES, HEIGHT, WIDTH
from itron_core.errors import AuditError, InputError
from itron_core.stores.private_files import open_private, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from itron_core.signing import Signer

__all__ = ["VERIFIER", "AuditLog", "Tiles"]

LOCK = "lock"
# The public half of the log's key: verifying needs no secret.
VERIFIER = "verifier"
# Room for a note of one signature under any name of a log; the rest of the file is zeros.
LARGEST_WITNESS = 4_096
LONGEST_PAUSE = 0.05


class AuditLog:
    """A log in a folder, which is created if it does not exist. One process writes at a time.

    `origin` is the log's name; `signer` holds its Ed25519 key; `patience` is the time to wait for another
    writer, in seconds. Raises AuditError if the folder is unusable, in use, or holds a log of another name or key.
    """

    def __init__(
        self, directory: str | os.PathLike[str], signer: Signer, *, origin: str, patience: float = 30.0
    ) -> None:
        verifier = verifier_of(origin, signer.public_key)  # raises if no reader would accept the name or the key
        self._folder, self._signer, self._origin, self._patience = Path(directory), signer, origin, patience
        with self._errors():
            make_folder(self._folder)
        self._disk = Disk(self._folder)
        self._seen: tuple[bytes, Checkpoint] | None = None
        self._tail: _Tail | None = None
        with self._locked() as lock, self._errors():
            self._tail = self._caught_up(lock)
            if not (self._folder / VERIFIER).exists():
                write_private(self._folder / VERIFIER, f"{verifier}\n".encode(), replace=True)

    @property
    def size(self) -> int:
        """The number of entries."""
        return self._present().size

    @property
    def root(self) -> bytes:
        """The root of the tree, 32 bytes."""
        return self._present().root

    def checkpoint(self) -> bytes:
        """Return the signed note that the folder holds."""
        note = read_file(self._folder, CHECKPOINT, LARGEST_NOTE)
        if note is None:
            raise AuditError(f"{CHECKPOINT} is missing", path=CHECKPOINT)
        return note

    def entry(self, index: int) -> bytes:
        """Return one entry. Raises InputError if the log has no such entry."""
        (entry,) = self.entries(index, index + 1)
        return entry

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= index < end. Raises InputError if the range is not within the log."""
        size = self.size
        if not 0 <= start <= end <= size:
            raise InputError(f"entries: got {start} to {end}, expected positions of a log of {size}")
        return Tiles(self._folder, size).entries(start, end)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Prove that the entry at `index` is in the tree of `size` entries (default: the current size)."""
        end, tiles = self._up_to(size)
        return tree.inclusion_proof(index, end, tiles.subtree)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Prove that the tree of size `old` is the beginning of the tree of size `new` (default: the current size)."""
        end, tiles = self._up_to(new)
        return tree.consistency_proof(old, end, tiles.subtree)

    def append(self, entries: Sequence[bytes], *, at: int | None = None) -> range:
        """Append entries of up to 65,535 bytes, publish one checkpoint, and return their indices.

        With `at`, the first of them has this index. Entries that the log already holds must be equal, and only the rest
        is appended, so that an interrupted copy can be resumed. Raises AuditError if the log holds a different entry
        there, or lacks an entry before it; then nothing is published.
        """
        _check_entries(entries)
        if at is not None and at < 0:
            raise InputError(f"at: got {at}, expected an index from 0")
        with self._locked() as lock, self._errors():
            tail = self._tail = self._caught_up(lock)
            start = tail.size if at is None else at
            fresh = self._beyond(entries, start, tail.size)
            if fresh:
                self._tail = self._grown(tail, fresh, lock)
        return range(start, start + len(entries))

    def _present(self) -> Checkpoint:
        note = self.checkpoint()
        seen = self._seen  # read once: another reading thread may set it to an older one meanwhile
        if seen is None or seen[0] != note:
            seen = self._seen = note, read_checkpoint(note, self._signer.public_key, origin=self._origin)
        return seen[1]

    def _up_to(self, size: int | None) -> tuple[int, Tiles]:
        # The tiles of the current tree hold every complete subtree of a smaller one, whose partial tiles may be deleted.
        present = self.size
        if size is not None and not 0 <= size <= present:
            raise InputError(f"size: got {size}, expected 0 to {present}, the size of the log")
        return (present if size is None else size), Tiles(self._folder, present)

    def _caught_up(self, lock: int) -> _Tail:
        """Return the growing part at the current checkpoint, which another process may have moved."""
        tail = self._tail
        if read_file(self._folder, CHECKPOINT, LARGEST_NOTE) is None:
            if tail is not None or (self._folder / "tile").exists():
                raise AuditError(
                    "the checkpoint is missing from this log: put it back, or start a new log in a new folder",
                    path=CHECKPOINT,
                )
            return self._published(_Tail(), lock)
        present = self._present()
        self._check_not_set_back(present, lock)
        if tail is not None:
            if (present.size, present.root) == (tail.size, tail.root):
                return tail
            self._check_grew(tail, present)
        return _Tail.read(Tiles(self._folder, present.size), present)

    def _check_not_set_back(self, present: Checkpoint, lock: int) -> None:
        """Refuse to continue from an older checkpoint that was put back: it would contradict a later signed one.

        The lock file holds the last checkpoint that was signed here.
        """
        note = os.pread(lock, LARGEST_WITNESS, 0).rstrip(b"\0")
        try:
            last = read_checkpoint(note, self._signer.public_key, origin=self._origin)
        except AuditError:
            return  # none yet, or an incomplete one
        if last.size > present.size or (last.size == present.size and last.root != present.root):
            raise AuditError(
                f"the checkpoint of {present.size} entries is outdated: one of {last.size} was signed here; put that one"
                " back, or restore a backup with itron-core restore (docs/restore.md)",
                path=CHECKPOINT,
            )

    def _check_grew(self, tail: _Tail, present: Checkpoint) -> None:
        """Refuse to contradict a checkpoint that this object has signed or read."""
        tiles = Tiles(self._folder, present.size)
        if present.size < tail.size or tree.root_of(0, tail.size, tiles.subtree) != tail.root:
            raise AuditError(
                f"the checkpoint of {present.size} entries does not continue the log of {tail.size}: verify the log",
                path=CHECKPOINT,
            )

    def _beyond(self, entries: Sequence[bytes], start: int, size: int) -> Sequence[bytes]:
        """Compare the entries with those that the log already holds, and return the rest."""
        if start > size:
            raise AuditError(f"entries {size} to {start - 1} are missing: append them first")
        there = min(size, start + len(entries))
        if there > start:
            held = Tiles(self._folder, size).entries(start, there)
            for index, (old, new) in enumerate(zip(held, entries, strict=False), start):
                if old != new:
                    raise AuditError(f"the log already holds a different entry {index}", index=index)
        return entries[there - start :]

    def _grown(self, tail: _Tail, fresh: Sequence[bytes], lock: int) -> _Tail:
        grown = tail.copy()
        # Unpublished files of a crashed writer must go before the log grows past them.
        for name, width in tail.partial():
            self._disk.prune_beyond(name, width)
        with self._disk as disk:
            full = grown.extend(fresh, disk.put)
            disk.sync()
        published = self._published(grown, lock)
        for name in full:
            self._disk.prune(f"{name}.p")
        return published

    def _published(self, tail: _Tail, lock: int) -> _Tail:
        note = write_checkpoint(Checkpoint(self._origin, tail.size, tail.root), self._signer)
        # A wrong signature would leave a log that nobody can open.
        checkpoint = read_checkpoint(note, self._signer.public_key, origin=self._origin)
        if not self._holds(lock):
            raise AuditError("the lock file was removed while the log was written: nothing was published", path=LOCK)
        with self._disk as disk:
            disk.put(CHECKPOINT, note)
            disk.sync()
        # Not synced: after a power cut it may name an older checkpoint, which is harmless.
        if len(note) <= LARGEST_WITNESS:
            os.pwrite(lock, note.ljust(LARGEST_WITNESS, b"\0"), 0)
        self._seen = note, checkpoint
        return tail

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock through a new descriptor, so that threads exclude each other too."""
        lock = self._lock()
        try:
            yield lock
        finally:
            os.close(lock)

    def _lock(self) -> int:
        waited, pause = 0.0, 0.001
        while True:
            with self._errors():
                lock = open_private(self._folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self._holds(lock):
                        return lock
                except BlockingIOError:
                    pass
                except OSError:
                    os.close(lock)
                    raise
                os.close(lock)
            if waited >= self._patience:
                raise AuditError(
                    f"{self._folder} is locked by another process that writes it; waited {waited:.0f} s", path=LOCK
                )
            time.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)

    def _holds(self, lock: int) -> bool:
        """Return whether the held lock file is still the one in the folder."""
        try:
            there = (self._folder / LOCK).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(lock), there)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            name = os.path.relpath(error.filename, self._folder) if error.filename else str(self._folder)
            said = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be used: {error.strerror}"
            raise AuditError(f"{self._folder if name == '.' else name} {said}", path=name) from error


class _Tail:
    """The growing part: the last bundle, the last tile of each row, and the right edge of the tree."""

    def __init__(self) -> None:
        self.edge = tree.RightEdge()
        self.root = tree.EMPTY_ROOT
        self._bundle = bytearray()
        self._rows: list[bytearray] = []

    @property
    def size(self) -> int:
        return self.edge.size

    @classmethod
    def read(cls, tiles: Tiles, checkpoint: Checkpoint) -> _Tail:
        """Read it from the files. Raises AuditError if they contradict the checkpoint."""
        tail = cls()
        count = tiles.size
        while count:
            row, width = len(tail._rows), count % WIDTH
            tail._rows.append(bytearray(tiles.tile(row, count // WIDTH)) if width else bytearray())
            count //= WIDTH
        tail.edge = tree.RightEdge.of(tiles.size, [hashes_of(bytes(row)) for row in tail._rows])
        tail.root = tail.edge.root
        if tail.root != checkpoint.root:
            raise AuditError("the tiles contradict the checkpoint: verify the log", path=CHECKPOINT)
        if tiles.size % WIDTH:
            tail._bundle += tail._read_bundle(tiles)
        return tail

    def _read_bundle(self, tiles: Tiles) -> bytes:
        index = self.size // WIDTH
        data, _ = tiles.bundle(index)
        entries, end = entries_of(data, self.size % WIDTH)
        hashes = hashes_of(bytes(self._rows[0]))
        for offset, leaf in enumerate(hashes):
            if offset >= len(entries) or tree.leaf_hash(entries[offset]) != leaf:
                at, path = index * WIDTH + offset, tiles.path(ENTRIES, index)
                raise AuditError(f"entry {at} was changed: verify the log", index=at, path=path)
        return data[:end]

    def partial(self) -> list[tuple[str, int]]:
        """Return the folders that may hold partial files, with the greatest published width of each."""
        index, width = divmod(self.size, WIDTH)
        rows = [(row, self.size >> (HEIGHT * row)) for row in range(len(self._rows) + 1)]
        return [
            (f"{tile_path(ENTRIES, index)}.p", width),
            *((f"{tile_path(row, count // WIDTH)}.p", count % WIDTH) for row, count in rows),
        ]

    def copy(self) -> _Tail:
        """Return an independent copy."""
        other = _Tail()
        other.edge, other.root = self.edge.copy(), self.root
        other._bundle, other._rows = bytearray(self._bundle), [bytearray(row) for row in self._rows]
        return other

    def extend(self, entries: Sequence[bytes], put: Callable[[str, bytes], None]) -> list[str]:
        """Add entries, put every new or changed file, and return the names of the files that became full."""
        full: list[str] = []
        changed: dict[int, int] = {}

        def add(row: int, index: int, hashes: bytes) -> None:
            while len(self._rows) <= row:
                self._rows.append(bytearray())
            tile = self._rows[row]
            tile += hashes
            changed[row] = index // WIDTH
            if len(tile) == WIDTH * HASH_BYTES:
                finish(tile_path(row, index // WIDTH), tile)
                del changed[row]

        def finish(name: str, data: bytearray) -> None:
            put(name, bytes(data))
            full.append(name)
            data.clear()

        at = 0
        while at < len(entries):
            index, offset = divmod(self.size, WIDTH)
            chunk = entries[at : at + WIDTH - offset]
            leaves = [tree.leaf_hash(entry) for entry in chunk]
            self._bundle += bundle_of(chunk)
            add(0, self.size, b"".join(leaves))
            self.edge.extend(leaves, add)
            at += len(chunk)
            if offset + len(chunk) == WIDTH:
                finish(tile_path(ENTRIES, index), self._bundle)
        if self._bundle:
            put(tile_path(ENTRIES, self.size // WIDTH, self.size % WIDTH), bytes(self._bundle))
        for row, index in changed.items():
            put(tile_path(row, index, len(self._rows[row]) // HASH_BYTES), bytes(self._rows[row]))
        self.root = self.edge.root
        return full


def _check_entries(entries: Sequence[bytes]) -> None:
    for index, entry in enumerate(entries):
        if not isinstance(entry, bytes):
            raise InputError(f"entries: got {type(entry).__name__} at {index}, expected bytes")
        if len(entry) > LONGEST_ENTRY:
            raise InputError(f"entries: got {len(entry):,} bytes at {index}, expected at most {LONGEST_ENTRY:,}")
