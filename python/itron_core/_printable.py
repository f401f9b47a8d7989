"""Text of others in a line, a page or a log: nothing in it acts on a terminal, and nothing in it is invisible."""

from __future__ import annotations

from typing import Final
from unicodedata import category

__all__ = ["printable"]

# Controls, marks without a shape of their own (some change the direction of text), surrogates, private use, unassigned, and
# separators of lines: they could make a line look like another.
UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, longest: int | None = None) -> str:
    r"""Return text with `\x1b` and so on for what is not printable, first cut to `longest` characters, if given."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape", "surrogatepass").decode() if category(sign) in UNPRINTABLE else sign
        for sign in text
    )
