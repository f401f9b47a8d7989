"""Deterministic CBOR (RFC 8949 section 4.2.1), read front to back up to the first fault, and written."""

from typing import NamedTuple

MALFORMED, NOT_DETERMINISTIC, DUPLICATE_KEY, TRAILING, DEPTH = 102, 103, 104, 105, 106
MAX_DEPTH = 4

UINT, NINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)  # the major types
FLOAT = 8  # shares major type 7 with the simple values


class FaultError(Exception):
    """A document that is refused, with its code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Item(NamedTuple):
    """A data item: a map's value is a list of pairs, a tag's (number, item), a simple value's or float's its argument."""

    kind: int
    value: object

    @property
    def is_integer(self):
        return self.kind in {UINT, NINT}


class Head(NamedTuple):
    """The head of a data item; `end` is where its content begins."""

    kind: int
    argument: int
    end: int


def read(document):
    """Return the one item that the document is; raises `FaultError`."""
    item, end = read_item(document, 0, 0)
    if end != len(document):
        raise FaultError(TRAILING)
    return item


def read_head(data, at):
    """Read a head and judge it by itself."""
    if at >= len(data):
        raise FaultError(MALFORMED)
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return Head(major, info, at + 1)
    if info > 27:
        # 28..30 are reserved; 31 is a break, or of indefinite length: only strings, arrays and maps can be.
        raise FaultError(NOT_DETERMINISTIC if info == 31 and BYTES <= major <= MAP else MALFORMED)
    size = 1 << (info - 24)
    if at + 1 + size > len(data):
        raise FaultError(MALFORMED)
    argument = int.from_bytes(data[at + 1 : at + 1 + size], "big")
    return Head(*_long(major, size, argument), at + 1 + size)


def _long(major, size, argument):
    """Judge an argument of 1, 2, 4 or 8 bytes."""
    if major == SIMPLE:
        if size > 1:
            return FLOAT, argument
        if argument < 32:  # RFC 8949 section 3.3: not well-formed
            raise FaultError(MALFORMED)
    elif argument < (24 if size == 1 else 1 << (size * 4)):
        raise FaultError(NOT_DETERMINISTIC)
    return major, argument


def read_string(data, head):
    """Return the content of a byte or text string as bytes, and where it ends."""
    end = head.end + head.argument
    if end > len(data):
        raise FaultError(MALFORMED)
    return data[head.end : end], end


def read_item(data, at, depth):
    """Return the item that begins at `at` below `depth` open arrays, maps and tags, and where it ends."""
    head = read_head(data, at)
    if head.kind in {BYTES, TEXT}:
        return _string(data, head)
    if head.kind not in {ARRAY, MAP, TAG}:
        value = -1 - head.argument if head.kind == NINT else head.argument
        return Item(head.kind, value), head.end
    if depth == MAX_DEPTH:
        raise FaultError(DEPTH)
    if head.kind == ARRAY:
        return _array(data, head, depth + 1)
    if head.kind == MAP:
        return _map(data, head, depth + 1)
    content, end = read_item(data, head.end, depth + 1)
    return Item(TAG, (head.argument, content)), end


def _string(data, head):
    content, end = read_string(data, head)
    if head.kind == BYTES:
        return Item(BYTES, content), end
    try:
        return Item(TEXT, content.decode()), end
    except UnicodeDecodeError:
        raise FaultError(MALFORMED) from None


def _array(data, head, depth):
    items, at = [], head.end
    for _ in range(head.argument):
        item, at = read_item(data, at, depth)
        items.append(item)
    return Item(ARRAY, items), at


def _map(data, head, depth):
    pairs, at, before = [], head.end, b""
    for _ in range(head.argument):
        key, end = read_item(data, at, depth)
        encoded = data[at:end]
        if encoded <= before:  # no key is empty, so the first passes
            raise FaultError(DUPLICATE_KEY if encoded == before else NOT_DETERMINISTIC)
        value, at = read_item(data, end, depth)
        pairs.append((key, value))
        before = encoded
    return Item(MAP, pairs), at


class Raw(bytes):
    """An item that is encoded already."""

    __slots__ = ()


class Tagged(NamedTuple):
    """An item below a tag."""

    number: int
    content: object


def head(kind, argument):
    """Write the shortest head."""
    if argument < 24:
        return bytes([kind << 5 | argument])
    info, size = next((info, size) for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)) if argument < 1 << (size * 8))
    return bytes([kind << 5 | info]) + argument.to_bytes(size, "big")


def write(value):
    """Encode integers, bytes, str, lists, dicts, booleans, None and what is `Raw` or `Tagged` already."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool) or value is None:
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, Tagged):
        return head(TAG, value.number) + write(value.content)
    if isinstance(value, int):
        return head(UINT, value) if value >= 0 else head(NINT, -1 - value)
    if isinstance(value, bytes):
        return head(BYTES, len(value)) + value
    if isinstance(value, str):
        return head(TEXT, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        return write_map((write(key), write(item)) for key, item in value.items())
    return head(ARRAY, len(value)) + b"".join(map(write, value))


def write_map(pairs):
    """Encode a map of encoded keys and values, sorted."""
    pairs = sorted(pairs)
    return head(MAP, len(pairs)) + b"".join(key + value for key, value in pairs)
