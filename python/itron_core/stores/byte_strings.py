"""Many byte strings as one value of a store, so that data written and read together is one row.

A block holds the count of its parts and the length of each, 4 bytes each, big-endian; then the parts one after the other.
"""

from __future__ import annotations

import struct
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from itron_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["packed", "unpacked"]

LENGTH_BYTES = 4


def packed(parts: Sequence[bytes]) -> bytes:
    """Return byte strings as one block."""
    return struct.pack(f">{1 + len(parts)}I", len(parts), *map(len, parts)) + b"".join(parts)


def unpacked(block: bytes) -> list[bytes]:
    """Return the byte strings of a block. Raises StoreError for a damaged one."""
    try:
        (count,) = struct.unpack_from(">I", block)
        lengths = struct.unpack_from(f">{count}I", block, LENGTH_BYTES)
    except struct.error as error:
        raise StoreError(f"the store is damaged in a block of {len(block)} bytes: {error}") from error
    ends = list(accumulate(lengths, initial=LENGTH_BYTES * (1 + count)))
    if ends[-1] != len(block):
        raise StoreError(f"the store is damaged in a block of {len(block)} bytes: its parts end at {ends[-1]}")
    return [block[start:end] for start, end in pairwise(ends)]
