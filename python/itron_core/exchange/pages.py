"""Pages end at bytes as well as rows: one bound, which every party that makes or sends rows goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_NUMBER", "PAGE_BYTES", "ROW_BYTES", "rows_of_a_page"]

# What the rows of a page may hold. Written as JSON, bytes are a third larger: half of what either side takes at once.
PAGE_BYTES = 16 * 2**20
# What a row is counted for beside its token or its answer: names, numbers, and what JSON writes around them.
ROW_BYTES = 512
# Numbers, serials and cursors end here, so that there are always some left after the highest that was claimed.
MOST_NUMBER = 2**62


def rows_of_a_page(sizes: Iterable[int], limit: int) -> int:
    """Return how many rows a page takes, given the bytes of each one's token or answer.

    At least one, if there is any: none is larger than a page.
    """
    count = total = 0
    for size in sizes:
        total += size + ROW_BYTES
        if count == limit or (count and total > PAGE_BYTES):
            break
        count += 1
    return count
