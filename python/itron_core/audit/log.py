"""The log for who writes it: entries in, tiles and one signed checkpoint a batch out (C2SP tlog-tiles).

The checkpoint is written last, so that whatever lies beyond it after a crash was never promised, and is written again.
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
# A note of one signature, whatever the log's name is; the rest of the file is zeros.
LARGEST_WITNESS = 4_096
LONGEST_PAUSE = 0.05


class AuditLog:
    """A log in a folder, which is made if it is not there; one process writes at a time.

    `origin` is the log's name; `signer` holds its Ed25519 key; `patience` is how many seconds to wait for another
    writer. Raises AuditError where the folder cannot be used, is in use, or holds a log of another name or key.
    """

    def __init__(
        self, directory: str | os.PathLike[str], signer: Signer, *, origin: str, patience: float = 30.0
    ) -> None:
        verifier = verifier_of(origin, signer.public_key)  # raises for a name or a key that no reader would take
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
        """How many entries there are."""
        return self._present().size

    @property
    def root(self) -> bytes:
        """The root of the tree, 32 bytes."""
        return self._present().root

    def checkpoint(self) -> bytes:
        """Return the signed note as it lies in the folder."""
        note = read_file(self._folder, CHECKPOINT, LARGEST_NOTE)
        if note is None:
            raise AuditError(f"{CHECKPOINT} is missing", path=CHECKPOINT)
        return note

    def entry(self, index: int) -> bytes:
        """Return one entry; raises InputError outside of the log."""
        (entry,) = self.entries(index, index + 1)
        return entry

    def entries(self, start: int, end: int) -> list[bytes]:
        """Return the entries at start <= index < end; raises InputError outside of the log."""
        size = self.size
        if not 0 <= start <= end <= size:
            raise InputError(f"entries {start} to {end} of a log of {size}")
        return Tiles(self._folder, size).entries(start, end)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Prove that the entry at `index` is in the tree of that size, the present one by default."""
        end, tiles = self._up_to(size)
        return tree.inclusion_proof(index, end, tiles.subtree)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Prove that the tree of size `old` is the beginning of that of size `new`, the present one by default."""
        end, tiles = self._up_to(new)
        return tree.consistency_proof(old, end, tiles.subtree)

    def append(self, entries: Sequence[bytes], *, at: int | None = None) -> range:
        """Append entries of up to 65,535 bytes and publish one checkpoint; returns their indices.

        With `at`, the first of them has this index: those that are there already must be equal, and only the rest is
        appended, so that a copy from elsewhere can be taken up again after a crash. Raises AuditError where another
        entry stands there, or something is missing before it; what was not published then is not in the log.
        """
        _check_entries(entries)
        if at is not None and at < 0:
            raise InputError(f"entries from {at} on; wanted an index from 0 up")
        with self._locked() as lock, self._errors():
            tail = self._tail = self._caught_up(lock)
            start = tail.size if at is None else at
            fresh = self._beyond(entries, start, tail.size)
            if fresh:
                self._tail = self._grown(tail, fresh, lock)
        return range(start, start + len(entries))

    def _present(self) -> Checkpoint:
        note = self.checkpoint()
        seen = self._seen  # one look: a thread that only reads may set it to an older one meanwhile
        if seen is None or seen[0] != note:
            seen = self._seen = note, read_checkpoint(note, self._signer.public_key, origin=self._origin)
        return seen[1]

    def _up_to(self, size: int | None) -> tuple[int, Tiles]:
        # The tiles of the present tree hold every complete subtree of a smaller one; its own partial ones may be gone.
        present = self.size
        if size is not None and not 0 <= size <= present:
            raise InputError(f"a tree of size {size} of a log of {present}")
        return (present if size is None else size), Tiles(self._folder, present)

    def _caught_up(self, lock: int) -> _Tail:
        """Return what grows, where the checkpoint is; another process may have moved it."""
        tail = self._tail
        if read_file(self._folder, CHECKPOINT, LARGEST_NOTE) is None:
            if tail is not None or (self._folder / "tile").exists():
                raise AuditError(
                    "the checkpoint is missing where a log is: put it back, or keep a new log in a new folder",
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
        """Refuse to go on from a checkpoint that was put back: what was signed after it would be contradicted.

        The file that writers lock holds the last one that was signed here.
        """
        note = os.pread(lock, LARGEST_WITNESS, 0).rstrip(b"\0")
        try:
            last = read_checkpoint(note, self._signer.public_key, origin=self._origin)
        except AuditError:
            return  # none yet, or half of one
        if last.size > present.size or (last.size == present.size and last.root != present.root):
            raise AuditError(
                f"the checkpoint of {present.size} entries was put back: one of {last.size} was signed here; put that one"
                " back, or restore a backup with itron-core restore (docs/restore.md)",
                path=CHECKPOINT,
            )

    def _check_grew(self, tail: _Tail, present: Checkpoint) -> None:
        """Refuse to sign what contradicts a checkpoint that this object has signed or seen."""
        tiles = Tiles(self._folder, present.size)
        if present.size < tail.size or tree.root_of(0, tail.size, tiles.subtree) != tail.root:
            raise AuditError(
                f"the checkpoint of {present.size} entries is no continuation of the log's {tail.size}: verify the log",
                path=CHECKPOINT,
            )

    def _beyond(self, entries: Sequence[bytes], start: int, size: int) -> Sequence[bytes]:
        """Hold the entries against those that are there already, and return the rest."""
        if start > size:
            raise AuditError(f"entries from {start} on for a log of {size}: those between are missing")
        there = min(size, start + len(entries))
        if there > start:
            held = Tiles(self._folder, size).entries(start, there)
            for index, (old, new) in enumerate(zip(held, entries, strict=False), start):
                if old != new:
                    raise AuditError(f"entry {index} is there already, and another one", index=index)
        return entries[there - start :]

    def _grown(self, tail: _Tail, fresh: Sequence[bytes], lock: int) -> _Tail:
        grown = tail.copy()
        # What was never published must not stand beside what is, once the log has grown past it.
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
        # A signer that answers with a wrong signature would leave a log that nobody can open.
        checkpoint = read_checkpoint(note, self._signer.public_key, origin=self._origin)
        if not self._holds(lock):
            raise AuditError("the lock was taken away while the log was written: nothing was published", path=LOCK)
        with self._disk as disk:
            disk.put(CHECKPOINT, note)
            disk.sync()
        # Not synced: a power cut may take it, and then it tells of less than the checkpoint.
        if len(note) <= LARGEST_WITNESS:
            os.pwrite(lock, note.ljust(LARGEST_WITNESS, b"\0"), 0)
        self._seen = note, checkpoint
        return tail

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock; each time with a descriptor of its own, so that threads exclude each other as well."""
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
                    f"{self._folder} is being written by another process; waited {waited:.0f} s", path=LOCK
                )
            time.sleep(pause)
            waited, pause = waited + pause, min(2 * pause, LONGEST_PAUSE)

    def _holds(self, lock: int) -> bool:
        """Say whether the lock that is held is the one that others would find."""
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
    """What still grows: the last bundle, the last tile of each row, and the right edge of the tree."""

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
        """Read it from the files; raises AuditError where they do not fit the checkpoint."""
        tail = cls()
        count = tiles.size
        while count:
            row, width = len(tail._rows), count % WIDTH
            tail._rows.append(bytearray(tiles.tile(row, count // WIDTH)) if width else bytearray())
            count //= WIDTH
        tail.edge = tree.RightEdge.of(tiles.size, [hashes_of(bytes(row)) for row in tail._rows])
        tail.root = tail.edge.root
        if tail.root != checkpoint.root:
            raise AuditError("the tiles do not have the checkpoint's root: verify the log", path=CHECKPOINT)
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
                raise AuditError(f"entry {at} is not the one that was logged: verify the log", index=at, path=path)
        return data[:end]

    def partial(self) -> list[tuple[str, int]]:
        """Return the folders of partial files that may be there, and how wide the widest that was published is."""
        index, width = divmod(self.size, WIDTH)
        rows = [(row, self.size >> (HEIGHT * row)) for row in range(len(self._rows) + 1)]
        return [
            (f"{tile_path(ENTRIES, index)}.p", width),
            *((f"{tile_path(row, count // WIDTH)}.p", count % WIDTH) for row, count in rows),
        ]

    def copy(self) -> _Tail:
        """Return one that grows by itself."""
        other = _Tail()
        other.edge, other.root = self.edge.copy(), self.root
        other._bundle, other._rows = bytearray(self._bundle), [bytearray(row) for row in self._rows]
        return other

    def extend(self, entries: Sequence[bytes], put: Callable[[str, bytes], None]) -> list[str]:
        """Add entries and put every file that they make or change; returns the names of those that are full now."""
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
            raise InputError(f"entry {index} of those given is {type(entry).__name__}; wanted bytes")
        if len(entry) > LONGEST_ENTRY:
            raise InputError(f"an entry of {len(entry):,} bytes; wanted {LONGEST_ENTRY:,} at most")
