"""The size of pages in rows and bytes: one limit for every party that makes or sends rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MOST_NUMBER", "PAGE_BYTES", "ROW_BYTES", "page_length"]

# The most bytes in the rows of a page. JSON makes bytes a third larger; each side accepts twice this size at once.
PAGE_BYTES = 16 * 2**20
# The size of a row without its token or answer: names, numbers and JSON syntax.
ROW_BYTES = 512
# The highest number, serial or cursor; a false claim of it still leaves numbers for those that follow.
MOST_NUMBER = 2**62


def page_length(sizes: Iterable[int], limit: int) -> int:
    """Return the number of rows that fit a page, given the size of each row's token or answer.

    At least one if there is any, since no row is larger than a page.
    """
    count = total = 0
    for size in sizes:
        total += size + ROW_BYTES
        if count == limit or (count and total > PAGE_BYTES):
            break
        count += 1
    return count
