"""Protected readings made part by part, for whoever opens them."""

import dataclasses

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from reference import cbor
from reference.readings import MAC_BYTES, cmac, crc, ctr, kdf_a

TYPE = "application/x.mtr-read"


ADDRESS = bytes.fromhex("2d2c998734761b16")


def frame(rest, *, address=ADDRESS, control=0x44):
    """Return a frame: L, C, M, A, then `rest`, whose first byte is a CI."""
    body = bytes([control]) + address + rest
    return bytes([len(body)]) + body


def with_checksums(plain):
    """Return the frame with the checksums of frame format A."""
    blocks = [plain[:10], *(plain[at : at + 16] for at in range(10, len(plain), 16))]
    return b"".join(block + crc(block).to_bytes(2, "big") for block in blocks)


def cbc_encrypt(key, iv, data):
    return Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor().update(data)


@dataclasses.dataclass
class Wmbus:
    """A wmbus telegram: its parts, and `mode_5` to `ell` which put them together under a key."""

    address: bytes = ADDRESS
    own: bytes | None = None  # the transport header's address, where it is long
    access: int = 0x2A
    status: int = 0
    blocks: int | None = None
    tail: bytes = b""
    before: bytes = b""  # layers between the link layer's address and the transport header's CI
    counter: int = 0xAB3

    @property
    def meter(self):
        return self.address if self.own is None else self.own

    def header(self, mode, low):
        head = bytes([self.access, self.status, low, mode])
        if self.own is None:
            return b"\x7a" + head
        return b"\x72" + self.own[2:6] + self.own[:2] + self.own[6:] + head

    def whole(self, transport):
        return frame(self.before + transport, address=self.address)

    def low(self, payload):
        return 16 * (len(payload) // 16 if self.blocks is None else self.blocks)

    def plain(self, payload):
        return self.whole(self.header(0, 0) + payload)

    def mode_5(self, key, payload):
        sealed = cbc_encrypt(key, self.meter + bytes([self.access]) * 8, payload)
        return self.whole(self.header(5, self.low(payload)) + sealed + self.tail)

    def mode_7(self, key, payload, *, kind=5, with_length=False, extension=0x10, flags=0):
        counter = self.counter.to_bytes(4, "little")
        sealed = cbc_encrypt(kdf_a(key, 0, counter, self.meter[2:6]), bytes(16), payload)
        transport = self.header(7, self.low(payload)) + bytes([extension]) + sealed + self.tail
        control = bytes([0x20 | kind])
        length = len(transport).to_bytes(2, "little") if with_length else b""
        mac = cmac(kdf_a(key, 1, counter, self.meter[2:6]), control + counter + length + transport)[: MAC_BYTES[kind]]
        fields = 0x2C00 | flags | (0x1000 if with_length else 0)
        layer = fields.to_bytes(2, "little") + control + counter + mac + length
        return self.whole(b"\x90" + bytes([len(layer)]) + layer + transport)

    def mode_10(self, key, payload, *, extension=b"\x10\x01"):
        counter = self.counter.to_bytes(4, "little")
        header = self.header(0x2A, 0xFF)
        aad = header[:1] + header[-4:] + extension
        nonce = self.meter + b"\0" + counter[::-1]
        sealed = AESCCM(kdf_a(key, 0, counter, self.meter[2:6]), tag_length=8).encrypt(nonce, payload, aad)
        return self.whole(header + extension + counter + sealed)

    def ell(self, key, payload, *, ci=0x8D, communication=0x20, session=None):
        number = (self.counter & (1 << 29) - 1 | 1 << 29) if session is None else session
        sn = number.to_bytes(4, "little")
        block = self.address + bytes([communication & 0xED]) + sn + bytes(3)
        plain = crc(payload).to_bytes(2, "little") + payload
        sealed = ctr(key, block, plain) if number >> 29 == 1 else plain
        other = bytes(range(8)) if ci == 0x8F else b""
        return frame(bytes([ci, communication, self.access]) + other + sn + sealed, address=self.address)


def dlms_length(size):
    return bytes([size]) if size < 0x80 else bytes([0x82]) + size.to_bytes(2, "big")


def dlms(key, authentication_key, message, *, title, tag=219, control=0x30, counter=7, own=True):
    """Return a ciphered APDU; `own` says whether a general one carries the title."""
    ic, sc = counter.to_bytes(4, "big"), bytes([control])
    nonce = title + ic
    if control & 0x30 == 0x20:
        body = ctr(key, nonce + bytes([0, 0, 0, 2]), message)
    else:
        covered = sc + authentication_key + (b"" if control & 0x20 else message)
        encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(covered)
        sealed = encryptor.update(message if control & 0x20 else b"") + encryptor.finalize()
        body = (sealed if control & 0x20 else message) + encryptor.tag[:12]
    ciphered = sc + ic + body
    head = bytes([tag])
    if tag in {219, 220}:
        head += bytes([8]) + title if own else b"\0"
    return head + dlms_length(len(ciphered)) + ciphered


def cose(key, payload, *, device, counter, kid, algorithm=None):
    """Return a reading of profile 1."""
    algorithm = (1 if len(key) == 16 else 3) if algorithm is None else algorithm
    nonce = device.to_bytes(8, "big") + counter.to_bytes(4, "big")
    protected = cbor.write({1: algorithm, 4: kid, 5: nonce, 16: TYPE})
    sealed = AESGCM(key).encrypt(nonce, payload, cbor.write(["Encrypt0", protected, b""]))
    return b"\xd0" + cbor.write([protected, {}, sealed])
