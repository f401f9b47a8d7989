"""Reads text files as UTF-8: from UTF-8 with or without byte order mark, or UTF-16. Anything else is refused."""

from __future__ import annotations

import codecs
import io
import os
import stat
from typing import IO, TYPE_CHECKING, Final

from itron_core.cli.failures import UnreadableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer


__all__ = ["BLOCK_BYTES", "Utf8Source", "is_file"]

BLOCK_BYTES: Final = 1 << 22
UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF32_MARKS: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
ENCODING_HINT: Final = "save it as UTF-8 (a spreadsheet's CSV UTF-8), or convert it: iconv -f WINDOWS-1252 -t UTF-8"


def is_file(source: IO[bytes]) -> bool:
    """Return whether a source is a file proper; a pipe by name opens, and cannot be read twice."""
    try:
        return stat.S_ISREG(os.fstat(source.fileno()).st_mode)
    except (OSError, ValueError):
        return False


class Utf8Source(io.RawIOBase):
    """Reads a source as UTF-8 without its mark; converts UTF-16. Raises for anything else, with the line."""

    def __init__(self, path: str, source: IO[bytes]) -> None:
        super().__init__()
        self._path, self._source, self._line, self._waiting = path, source, 1, b""
        start = source.read(4)
        if start in UTF32_MARKS:
            raise UnreadableError(
                f"{path} is UTF-32, expected UTF-8 or UTF-16", ENCODING_HINT.replace("WINDOWS-1252", "UTF-32")
            )
        utf16 = start[:2] in UTF16_MARKS or (len(start) >= 2 and start[:2].count(0) == 1)  # noqa: PLR2004
        if start[:2] in UTF16_MARKS:
            self._decoder = codecs.getincrementaldecoder("utf-16")("strict")
        elif utf16:
            self._decoder = codecs.getincrementaldecoder("utf-16-le" if start[1] == 0 else "utf-16-be")("strict")
        else:
            self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._passes = not utf16
        self._waiting = self._decoded(start, final=not start)

    def readable(self) -> bool:
        """Return true."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes of UTF-8; all if it is negative, none at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(BLOCK_BYTES), b""))
        if not self._waiting:
            self._fill(size)
        given, self._waiting = self._waiting[:size], self._waiting[size:]
        return given

    def readinto(self, buffer: Buffer) -> int:
        """Read into a buffer, and return the number of bytes."""
        view = memoryview(buffer)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def at_end(self) -> bool:
        """Return whether nothing is left."""
        if not self._waiting:
            self._fill(BLOCK_BYTES)
        return not self._waiting

    def push_back(self, data: bytes) -> None:
        """Push bytes back, to be read next."""
        self._waiting = data + self._waiting

    def _fill(self, size: int) -> None:
        while not self._waiting and (block := self._source.read(max(size, 4096))):
            self._waiting = self._decoded(block, final=False)
        if not self._waiting:
            self._waiting = self._decoded(b"", final=True)

    def _decoded(self, block: bytes, *, final: bool) -> bytes:
        try:
            text = self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            line = self._line + error.object[: error.start].count(b"\n")
            name = "UTF-8" if self._passes else "UTF-16"
            raise UnreadableError(f"{self._path}: line {line:,} is not {name}", ENCODING_HINT) from None
        data = text.encode()
        self._line += data.count(b"\n")
        return data
