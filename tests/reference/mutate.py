"""Faults that are put into a CBOR document, and odd items that are put in the place of good ones."""

from reference import cbor
from reference.cbor import ARRAY, BYTES, MAP, TAG, TEXT, Raw

# Items of every kind, some of them refused as CBOR.
ODD_ITEMS_IN_HEX = """
00 01 17 1818 1903e8 1a6b06c140 1b00000001000000ff 1bffffffffffffffff 20 3903e7 3bffffffffffffffff
40 4100 4801020304050607ff 60 6161 62c3a9 6461626364 80 8100 820102 83010203 818118 a0 a10100 a1616100
c000 c24101 d81800 d9d9f700 e0 f3 f4 f5 f6 f7 f8ff f820 f818 f814 f800 f90000 f93c00 f97e00 fa3f800000
fb3ff0000000000000 1c 1d 1e 1f 3c 3f 5c 5f 5fff 7f 7fff 9f 9fff bf bfff dc df fc fd fe ff 1800 1817 190017
1900ff 1a0000ffff 1b00000000ffffffff 5800 580100 7800 9800 b800 d81200 61ff 62c080 63eda080 64f4908080 61c3
8181818181 8181818180 c1c1c1c1c100 a100a100a100a100a0 a2010001 a2010002 a201000100 a202000100 a2206100 1b 5b
9b00000000ffffffff 9bffffffffffffffff bbffffffffffffffff 5bffffffffffffffff 7bffffffffffffffff 5a00010000
"""
ODD_ITEMS = [Raw(bytes.fromhex(item)) for item in ODD_ITEMS_IN_HEX.split()]


def heads(document):
    """Return (start, head, depth) of every item of a good document, front to back."""
    found = []

    def walk(at, depth):
        head = cbor.read_head(document, at)
        found.append((at, head, depth))
        if head.kind in {BYTES, TEXT}:
            return head.end + head.argument
        inner = {ARRAY: head.argument, MAP: 2 * head.argument, TAG: 1}.get(head.kind, 0)
        at = head.end
        for _ in range(inner):
            at = walk(at, depth + 1)
        return at

    walk(0, 0)
    return found


def end_of(document, at):
    return cbor.read_item(document, at, -100)[1]


def longer_head(document, rng):
    """Write one head longer than it need be."""
    found = [found for found in heads(document) if found[1].kind <= TAG]
    if not found:
        return trailing(document, rng)
    at, head, _ = rng.choice(found)
    size = rng.choice([size for size in (1, 2, 4, 8) if head.argument < 1 << (size * 8)])
    info = {1: 24, 2: 25, 4: 26, 8: 27}[size]
    written = bytes([head.kind << 5 | info]) + head.argument.to_bytes(size, "big")
    return document[:at] + written + document[head.end :]


def indefinite(document, rng):
    """Make one item's length indefinite, with its break or without."""
    at, head, _ = rng.choice(heads(document))
    end = end_of(document, at)
    content = document[head.end : end]
    if head.kind in {BYTES, TEXT}:
        content = document[at:end]
    stop = rng.choice([b"\xff", b"\xff", b""])
    return document[:at] + bytes([document[at] | 31]) + content + stop + document[end:]


def reserved_head(document, rng):
    at, _, _ = rng.choice(heads(document))
    return document[:at] + bytes([document[at] & 0xE0 | rng.randrange(28, 32)]) + document[at + 1 :]


def truncated(document, rng):
    return document[: rng.randrange(len(document))]


def shorter(document, rng):
    return document[: -rng.choice([1, 1, 2, 3])]


def trailing(document, rng):
    return document + rng.choice([b"\x00", b"\xff", b"\xa0", rng.randbytes(rng.randrange(1, 5))])


def other_item(document, rng):
    """Put an odd item in the place of any."""
    at, _, _ = rng.choice(heads(document))
    return document[:at] + rng.choice(ODD_ITEMS) + document[end_of(document, at) :]


def other_count(document, rng):
    """Let one head of a string, an array or a map say a little more or less than follows."""
    sized = [found for found in heads(document) if BYTES <= found[1].kind <= MAP]
    if not sized:
        return trailing(document, rng)
    at, head, _ = rng.choice(sized)
    argument = max(0, head.argument + rng.choice([-1, 1, 2, 1000, 2**32, 2**63]))
    return document[:at] + cbor.head(head.kind, argument) + document[head.end :]


def pairs_of(document):
    """Return where the pairs of the document's map begin and end, [] when it is none."""
    head = cbor.read_head(document, 0)
    pairs, at = [], head.end
    for _ in range(head.argument if head.kind == MAP else 0):
        end = end_of(document, end_of(document, at))
        pairs.append(document[at:end])
        at = end
    return pairs


def _with_pairs(document, pairs):
    if not pairs:
        return document + b"\x00"
    return cbor.head(MAP, len(pairs)) + b"".join(pairs)


def unsorted(document, rng):
    pairs = pairs_of(document)
    if len(pairs) > 1:
        at = rng.randrange(len(pairs) - 1)
        pairs[at], pairs[at + 1] = pairs[at + 1], pairs[at]
    return _with_pairs(document, pairs)


def duplicate(document, rng):
    """Name one key twice, side by side or apart."""
    pairs = pairs_of(document)
    if pairs:
        at = rng.randrange(len(pairs))
        pairs.insert(rng.choice([at, len(pairs)]), pairs[at])
    return _with_pairs(document, pairs)


def other_key(document, rng):
    """Give one pair another key, in its place or where it belongs."""
    pairs = pairs_of(document)
    if pairs:
        at = rng.randrange(len(pairs))
        value = pairs[at][end_of(pairs[at], 0) :]
        key = rng.choice(
            [rng.choice(ODD_ITEMS), cbor.write(rng.choice([-2, 0, 2, 3, 10, 39, 41, -65536, -65545, 2**63]))]
        )
        pairs[at] = key + value
    return _with_pairs(document, sorted(pairs) if rng.random() < 0.6 else pairs)


def bad_text(document, rng):
    """Break the UTF-8 of one text."""
    texts = [found for found in heads(document) if found[1].kind == TEXT and found[1].argument]
    if not texts:
        return truncated(document, rng)
    _, head, _ = rng.choice(texts)
    bad = rng.choice([b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc3"])
    at = head.end + rng.randrange(head.argument)
    return (document[:at] + bad + document[at + len(bad) :])[: len(document)]


def flipped(document, rng):
    at = rng.randrange(len(document) * 8)
    return document[: at // 8] + bytes([document[at // 8] ^ 1 << at % 8]) + document[at // 8 + 1 :]


def deeper(document, rng):
    """Put one item below arrays, maps or tags."""
    at, _, depth = rng.choice(heads(document))
    levels = max(1, 4 - depth + rng.choice([-2, -1, 0, 1]))
    shell = rng.choice([b"\x81", b"\xa1\x00", b"\xc1"])
    return document[:at] + shell * levels + document[at:]


def emptied(_document, _rng):
    return b""


FAULTS = [
    longer_head,
    indefinite,
    reserved_head,
    truncated,
    shorter,
    trailing,
    other_item,
    other_count,
    unsorted,
    duplicate,
    other_key,
    bad_text,
    flipped,
    deeper,
    emptied,
]


def broken(document, rng):
    """Put one fault into a document, now and then a second one into what is still good CBOR."""
    document = rng.choice(FAULTS)(document, rng)
    if rng.random() < 0.2:
        try:
            cbor.read(document)
        except cbor.FaultError:
            return document
        return rng.choice(FAULTS)(document, rng)
    return document
