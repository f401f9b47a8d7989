"""The Merkle tree of RFC 9162 section 2.1 as pure functions: hashes, roots and proofs."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "HEIGHT",
    "WIDTH",
    "RightEdge",
    "consistency_proof",
    "fold",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
    "verify_leaf",
]

EMPTY_ROOT = sha256().digest()
LEAF, NODE = b"\x00", b"\x01"
# A tile is a complete subtree of this height, kept as its leaves.
HEIGHT = 8
WIDTH = 1 << HEIGHT
HASH_BYTES = 32


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry)."""
    return sha256(LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return sha256(NODE + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        left, right = hashes[::2], hashes[1::2]
        hashes = [sha256(NODE + one + other).digest() for one, other in zip(left, right, strict=True)]
    return hashes[0]


class RightEdge:
    """The roots of a tree's complete subtrees, largest first; nothing more is needed to extend the tree."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)

    @classmethod
    def of(cls, size: int, rows: Sequence[Sequence[bytes]]) -> RightEdge:
        """Return the edge from the hashes of each row's unfinished tile, lowest row first; empty if the row has none."""
        roots = []
        for hashes in reversed(rows):
            start = 0
            for level in reversed(range(HEIGHT)):
                if len(hashes) >> level & 1:
                    roots.append(fold(hashes[start : start + (1 << level)]))
                    start += 1 << level
        return cls(size, roots)

    def extend(self, leaves: Sequence[bytes], made: Callable[[int, int, bytes], None] | None = None) -> None:
        """Add leaf hashes, and call `made(row, index, hash)` for each new hash of a tile in row 1 or above."""
        at = 0
        while at < len(leaves):
            if self.size % WIDTH == 0 and len(leaves) - at >= WIDTH:
                self._carry(HEIGHT, fold(leaves[at : at + WIDTH]), made)
                at += WIDTH
            else:
                self._carry(0, leaves[at], made)
                at += 1

    def _carry(self, level: int, value: bytes, made: Callable[[int, int, bytes], None] | None) -> None:
        """Add a complete subtree, as a binary counter adds one."""
        index, roots = self.size >> level, self._roots
        self.size += 1 << level
        while True:
            if made is not None and level and level % HEIGHT == 0:
                made(level // HEIGHT, index, value)
            if not index & 1:
                break
            value = sha256(NODE + roots.pop() + value).digest()
            level, index = level + 1, index >> 1
        roots.append(value)

    def copy(self) -> RightEdge:
        """Return an independent copy."""
        return RightEdge(self.size, self._roots)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self._roots:
            return EMPTY_ROOT
        *left, value = self._roots
        for root in reversed(left):
            value = node_hash(root, value)
        return value


def root_of(start: int, end: int, subtree: Callable[[int, int], bytes]) -> bytes:
    """Return the hash of the tree over the leaves start..end, from complete subtrees.

    `subtree(level, index)` is the hash of the complete subtree over index * 2^level and the next 2^level leaves.
    """
    if start == end:
        return EMPTY_ROOT
    width = end - start
    if width & (width - 1) == 0 and start % width == 0:
        level = width.bit_length() - 1
        return subtree(level, start >> level)
    middle = start + _split(width)
    return node_hash(root_of(start, middle, subtree), root_of(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 9162 section 2.1.3.1. Raises InputError for an index outside the tree."""
    if not 0 <= index < size:
        raise InputError(f"index: got {index}, expected 0 to {size - 1}")
    return _path(index, 0, size, subtree)


def consistency_proof(old: int, new: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    """Return PROOF(old, D[new]) of RFC 9162 section 2.1.4.1. Raises InputError unless 0 <= old <= new."""
    if not 0 <= old <= new:
        raise InputError(f"old: got {old}, expected 0 to {new}, the size of the new tree")
    return [] if old in {0, new} else _subproof(old, 0, new, subtree, whole=True)


def verify_inclusion(entry: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether the entry is at `index` of the tree with this size and root (RFC 9162 section 2.1.3.2)."""
    return verify_leaf(leaf_hash(entry), index, size, root, proof)


def verify_leaf(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return the same for an entry of which only the leaf hash is known."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last, value = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            value = node_hash(step, value)
            while place & 1 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, step)
        place, last = place >> 1, last >> 1
    return last == 0 and value == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether the older tree is the beginning of the newer one (RFC 9162 section 2.1.4.2).

    Every tree begins with the empty one, which the RFC leaves out: its proof is empty.
    """
    if not 0 <= old <= new or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == 0 and old_root != EMPTY_ROOT:
        return False
    if old in {0, new}:
        return not proof and (old < new or old_root == new_root)
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    if not steps:
        return False
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while place & 1 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, step)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _are_hashes(*values: bytes) -> bool:
    # A hash of another length would shift the border between the two hashed halves.
    return all(len(value) == HASH_BYTES for value in values)


def _split(width: int) -> int:
    """Return the largest power of two smaller than the width."""
    return 1 << ((width - 1).bit_length() - 1)


def _path(index: int, start: int, end: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle, subtree), root_of(middle, end, subtree)]
    return [*_path(index, middle, end, subtree), root_of(start, middle, subtree)]


def _subproof(old: int, start: int, end: int, subtree: Callable[[int, int], bytes], *, whole: bool) -> list[bytes]:
    if old == end:
        return [] if whole else [root_of(start, end, subtree)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, subtree, whole=whole), root_of(middle, end, subtree)]
    return [*_subproof(old, middle, end, subtree, whole=False), root_of(start, middle, subtree)]
