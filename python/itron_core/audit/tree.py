"""The Merkle tree of RFC 9162 section 2.1, as arithmetic: hashes, roots and proofs; no files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from itron_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "EMPTY_ROOT",
    "RightEdge",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]

EMPTY_ROOT = hashlib.sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class RightEdge:
    """The roots of the complete subtrees that a tree is made of, the largest first: all that growing needs.

    `add` tells each complete subtree as it is made, by its level (0 is a leaf) and its index at that level.
    """

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)

    def add(self, leaf: bytes, made: Callable[[int, int, bytes], None] = lambda _level, _index, _hash: None) -> None:
        """Add the hash of a leaf."""
        level, index, value = 0, self.size, leaf
        made(level, index, value)
        while index & 1:
            value = node_hash(self._roots.pop(), value)
            level, index = level + 1, index >> 1
            made(level, index, value)
        self._roots.append(value)
        self.size += 1

    def copy(self) -> RightEdge:
        """Return one that grows by itself."""
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
    """Return PATH(index, D[size]) of RFC 9162 section 2.1.3.1; raises InputError for an index outside."""
    if not 0 <= index < size:
        raise InputError(f"entry {index} of a tree of {size}; wanted 0 to {size - 1}")
    return _path(index, 0, size, subtree)


def consistency_proof(old: int, new: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    """Return PROOF(old, D[new]) of RFC 9162 section 2.1.4.1; raises InputError unless 0 <= old <= new."""
    if not 0 <= old <= new:
        raise InputError(f"from a tree of {old} to one of {new}; wanted one that grows")
    return [] if old in {0, new} else _subproof(old, 0, new, subtree, whole=True)


def verify_inclusion(entry: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether the entry is at `index` of the tree of that size and root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, value = index, size - 1, leaf_hash(entry)
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
    """Say whether the older tree is the beginning of the newer one (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in {0, new}:
        return not proof and old_root == (EMPTY_ROOT if old == 0 else new_root)
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
