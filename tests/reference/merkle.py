"""A tree log read a second time: RFC 9162's recursions word for word, and an auditor that knows only the C2SP pages."""

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Leaves:
    """The functions of RFC 9162 sections 2.1.1, 2.1.3.1 and 2.1.4.1 over D[0:n], given as a range of these leaves."""

    def __init__(self, entries):
        self.entries = entries
        self.mth = cache(self.mth)

    def mth(self, start, end):
        if start == end:
            return hashlib.sha256().digest()
        if end - start == 1:
            return hashlib.sha256(b"\0" + self.entries[start]).digest()
        k = start + split(end - start)
        return hashlib.sha256(b"\1" + self.mth(start, k) + self.mth(k, end)).digest()

    def path(self, m, start, end):
        if end - start == 1:
            return []
        k = split(end - start)
        if m < k:
            return [*self.path(m, start, start + k), self.mth(start + k, end)]
        return [*self.path(m - k, start + k, end), self.mth(start, start + k)]

    def proof(self, m, n):
        return self.subproof(m, 0, n, whole=True)

    def subproof(self, m, start, end, *, whole):
        if m == end - start:
            return [] if whole else [self.mth(start, end)]
        k = split(end - start)
        if m <= k:
            return [*self.subproof(m, start, start + k, whole=whole), self.mth(start + k, end)]
        return [*self.subproof(m - k, start + k, end, whole=False), self.mth(start, start + k)]


def split(n):
    """Return the largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def open_note(note, vkey):
    """Return the text of a signed note that the key of `vkey` has signed; raises otherwise."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 1
    assert hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_id
    text, _, signatures = note.rpartition(b"\n\n")
    for line in signatures.decode().splitlines():
        dash, signed_by, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if (dash, signed_by, signature[:4].hex()) == ("\u2014", name, key_id):
            Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text + b"\n")
            return text.decode() + "\n"
    raise AssertionError("not signed by the key")


def tile_name(level, index, width):
    """Return the path of c2sp.org/tlog-tiles."""
    digits = f"{index:03d}" if index < 1000 else f"{index:0{-(-len(str(index)) // 3) * 3}d}"
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    encoded = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{encoded}" + (f".p/{width}" if width < 256 else "")


def tiles_of(size):
    """Return every tile and bundle of a tree of this size: level, index, width."""
    found = []
    for level in range(8):
        count = size >> (8 * level)
        found += [(level, index, min(256, count - 256 * index)) for index in range(-(-count // 256))]
    return found + [("entries", *rest) for level, *rest in found if level == 0]


def audit(folder, vkey):
    """Read a whole log and hold each of its hashes against its entries; return its origin and entries."""
    origin, size, root = open_note((folder / "checkpoint").read_bytes(), vkey).splitlines()
    entries = []
    for level, index, width in tiles_of(int(size)):
        if level == "entries":
            data = (folder / tile_name(level, index, width)).read_bytes()
            while data:
                length = int.from_bytes(data[:2], "big")
                entries.append(data[2 : 2 + length])
                data = data[2 + length :]
    assert len(entries) == int(size)
    leaves = Leaves(entries)
    for level, index, width in tiles_of(int(size)):
        if level != "entries":
            hashes = [
                leaves.mth((index * 256 + at) * 256**level, (index * 256 + at + 1) * 256**level) for at in range(width)
            ]
            assert (folder / tile_name(level, index, width)).read_bytes() == b"".join(hashes)
    assert base64.b64encode(leaves.mth(0, int(size))).decode() == root
    return origin, entries
