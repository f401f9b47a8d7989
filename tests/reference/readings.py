"""One protected reading, read from docs/format.md's rules for readings in plain Python on `cryptography`.

Slow, and meant to be read beside the page. `open_reading` is `itron_core.open_readings` for one telegram.
"""

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from reference import cbor

PLAIN, MODE_5, MODE_7, MODE_10, ELL_CTR, ENCRYPTED, AUTHENTICATED, BOTH, COSE, UNSUPPORTED = (
    *(0, 5, 7, 10, 32, 64, 65, 66, 96, 127),
)
DEFAULT_ASSURANCE = {"cose": 64, "wmbus": 16, "dlms": 64}


class Answer(NamedTuple):
    """The row of the results."""

    code: int
    assurance: int
    protection: int | None
    device: str | None
    counter: int | None
    payload: bytes | None


class RefusedError(Exception):
    """The first check that failed."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def need(truth, code):
    if not truth:
        raise RefusedError(code)


class Keys(NamedTuple):
    """What a caller holds for one row."""

    key: bytes | None = None
    authentication_key: bytes | None = None
    check_value: bytes | None = None
    system_title: bytes | None = None


def open_reading(telegram, keys, *, profile, floor=None, minimum_assurance=None, allow_plain=False):
    """Return the row's `Answer`."""
    shown = {"protection": None, "device": None, "counter": None}
    least = DEFAULT_ASSURANCE[profile] if minimum_assurance is None else minimum_assurance
    try:
        need(telegram is not None, 1100)
        read = {"cose": read_cose, "wmbus": read_wmbus, "dlms": read_dlms}[profile]
        sealed = read(telegram, keys, shown)
        if isinstance(sealed, bytes):
            need(allow_plain and keys.key is None, 1104)
            return Answer(0, 0, payload=sealed, **shown)
        payload, bits = decide(sealed, keys, least)
        if floor is not None and shown["counter"] is not None:
            need(shown["counter"] > floor, 1113)
        return Answer(0, bits, payload=payload, **shown)
    except RefusedError as refused:
        return Answer(refused.code, 0, payload=None, **shown)


class Sealed(NamedTuple):
    """What a protected telegram asks for, and the last step."""

    key_length: int
    bits: int
    finish: object
    two_keys: bool = False
    has_title: bool = True


def decide(sealed, keys, least):
    need(sealed.has_title, 1107)
    need(keys.key is not None, 1105)
    need(len(keys.key) == sealed.key_length, 1106)
    bits = sealed.bits
    if sealed.two_keys and keys.authentication_key is None:
        need(least == 0, 1108)
        bits = 0
    elif sealed.two_keys:
        need(len(keys.authentication_key) == sealed.key_length, 1106)
    need(bits >= least, 1109)
    return sealed.finish(keys), bits


# The primitives


def cbc(key, iv, data):
    return Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor().update(data)


def ctr(key, block, data):
    return Cipher(algorithms.AES(key), modes.CTR(block)).decryptor().update(data)


def cmac(key, message):
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def gcm(key, nonce, tag, aad, data):
    decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, tag, min_tag_length=len(tag))).decryptor()
    decryptor.authenticate_additional_data(aad)
    try:
        return decryptor.update(data) + decryptor.finalize()
    except InvalidTag:
        raise RefusedError(1112) from None


def crc(data):
    """CRC-16, polynomial 3D65, start 0, inverted, bit by bit."""
    register = 0
    for byte in data:
        for bit in range(7, -1, -1):
            carry = (register >> 15) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFF) ^ (0x3D65 if carry else 0)
    return register ^ 0xFFFF


# Wireless M-Bus


def link_frame(telegram):
    """Return the frame without checksums and without what a receiver added."""
    need(telegram, 1101)
    size = telegram[0] + 1
    need(size > 10, 1101)
    if 0 <= len(telegram) - size <= 3:
        return telegram[:size]
    blocks = [10] + [16] * ((size - 10) // 16) + ([(size - 10) % 16] if (size - 10) % 16 else [])
    added = len(telegram) - size - 2 * len(blocks)
    need(0 <= added <= 3, 1101)
    frame, at = b"", 0
    for block in blocks:
        data, check = telegram[at : at + block], telegram[at + block : at + block + 2]
        need(crc(data) == int.from_bytes(check, "big"), 1102)
        frame, at = frame + data, at + block + 2
    return frame


def wmbus_name(address):
    maker = int.from_bytes(address[:2], "little")
    letters = "".join(chr(64 + (maker >> shift & 31)) for shift in (10, 5, 0))
    return f"wmbus:{letters}-{address[5:1:-1].hex()}-{address[6]:02x}-{address[7]:02x}"


def split(data, count):
    need(len(data) >= count, 1101)
    return data[:count], data[count:]


def unsupported(shown):
    shown["protection"] = UNSUPPORTED
    raise RefusedError(1103)


def read_wmbus(telegram, _keys, shown):
    frame = link_frame(telegram)
    link, rest = frame[2:10], frame[10:]
    shown["device"] = wmbus_name(link)
    ci = rest[:1].hex()
    if ci in {"8c", "8d", "8e", "8f"}:
        head, rest = split(rest[1:], 2 if ci in {"8c", "8d"} else 10)
        if ci in {"8d", "8f"}:
            session, rest = split(rest, 4)
            need(len(rest) >= 2, 1101)
            number = int.from_bytes(session, "little")
            if number >> 29:
                shown["counter"] = number & (1 << 29) - 1
            if number >> 29 == 1:
                shown["protection"] = ELL_CTR
                block = link + bytes([head[0] & 0xED]) + session + bytes(3)
                return Sealed(16, 16, lambda keys: finish_ell(keys.key, block, rest))
            if number >> 29:
                unsupported(shown)
            check, rest = split(rest, 2)
            need(crc(rest) == int.from_bytes(check, "little"), 1102)
    mac_layer = None
    if rest[:1].hex() == "90":
        mac_layer, rest = read_afl(rest[1:], shown)
    return read_transport(rest, link, mac_layer, shown)


def finish_ell(key, block, data):
    plain = ctr(key, block, data)
    need(crc(plain[2:]) == int.from_bytes(plain[:2], "little"), 1110)
    return plain[2:]


MAC_BYTES = {3: 2, 4: 4, 5: 8, 6: 12, 7: 16, 8: 12}


def read_afl(rest, shown):
    length, rest = split(rest, 1)
    layer, rest = split(rest, length[0])
    flags, layer = split(layer, 2)
    flags = int.from_bytes(flags, "little")
    fields = {}
    for name, bit, size in (
        ("mcl", 0x2000, 1),
        ("ki", 0x0200, 2),
        ("mcr", 0x0800, 4),
        ("mac", 0x0400, None),
        ("ml", 0x1000, 2),
    ):
        fields[name] = b""
        if flags & bit:
            if name == "mac":
                need(fields["mcl"], 1101)
                size = MAC_BYTES.get(fields["mcl"][0] & 15)  # noqa: PLW2901  # the size stands in a field before
                if size is None:
                    unsupported(shown)
            fields[name], layer = split(layer, size)
    need(not layer, 1101)
    if flags & 0x4000:
        unsupported(shown)
    return fields, rest


def read_transport(rest, link, afl, shown):
    need(rest, 1101)
    ci = rest[:1].hex()
    if ci in {"72", "73"}:
        own, after = split(rest[1:], 8)
        address = own[4:6] + own[:4] + own[6:]
    elif ci in {"7a", "7b"}:
        address, after = link, rest[1:]
    else:
        unsupported(shown)
    shown["device"] = wmbus_name(address)
    header, data = split(after, 4)
    access, _status = header[:2]
    configuration = int.from_bytes(header[2:], "little")
    mode, blocks = configuration >> 8 & 31, configuration >> 4 & 15
    if mode == 0:
        shown["protection"] = PLAIN
        return data
    if mode == 5:
        shown["protection"] = MODE_5
        need(blocks and 16 * blocks <= len(data), 1101)
        return Sealed(16, 16, lambda keys: finish_mode_5(keys.key, address + bytes([access]) * 8, data, 16 * blocks))
    if mode == 7:
        shown["protection"] = MODE_7
        if afl and afl["mcr"]:
            shown["counter"] = int.from_bytes(afl["mcr"], "little")
        extension, data = split(data, 1)
        need(blocks and 16 * blocks <= len(data), 1101)
        need(afl and afl["mac"] and afl["mcr"], 1101)
        if extension[0] >> 4 & 3 != 1 or afl["mcl"][0] & 15 == 8:
            unsupported(shown)
        return Sealed(
            16,
            8 * len(afl["mac"]),
            lambda keys: finish_mode_7(keys.key, address[2:6], afl, rest, split(data, 16 * blocks)),
        )
    if mode == 10:
        shown["protection"] = MODE_10
        extension, data = split(data, 2)
        counter, data = split(data, 4)
        shown["counter"] = int.from_bytes(counter, "little")
        need(blocks and len(data) >= 8, 1101)
        if extension[0] >> 4 & 3 != 1:
            unsupported(shown)
        aad = rest[:1] + header + extension
        return Sealed(16, 64, lambda keys: finish_mode_10(keys.key, address, counter, aad, data))
    return unsupported(shown)


def kdf_a(key, constant, counter, ident):
    return cmac(key, bytes([constant]) + counter + ident + bytes([7] * 7))


def finish_mode_5(key, iv, data, encrypted):
    plain = cbc(key, iv, data[:encrypted])
    need(plain[:2] == b"\x2f\x2f", 1110)
    return plain + data[encrypted:]


def finish_mode_7(key, ident, afl, transport, encrypted):
    mac = cmac(kdf_a(key, 1, afl["mcr"], ident), afl["mcl"] + afl["mcr"] + afl["ml"] + transport)
    need(mac[: len(afl["mac"])] == afl["mac"], 1112)
    blocks, tail = encrypted
    return cbc(kdf_a(key, 0, afl["mcr"], ident), bytes(16), blocks) + tail


def finish_mode_10(key, address, counter, aad, data):
    nonce = address + b"\0" + counter[::-1]
    try:
        return AESCCM(kdf_a(key, 0, counter, address[2:6]), tag_length=8).decrypt(nonce, data, aad)
    except InvalidTag:
        raise RefusedError(1112) from None


# DLMS/COSEM

PLAIN_TAGS = {1, 5, 6, 8, 12, 13, 14, 15, 16, 22, 24, *range(96, 100), *range(192, 200), 216}


def read_dlms(apdu, keys, shown):
    title = keys.system_title if keys.system_title is not None and len(keys.system_title) == 8 else None
    shown["device"] = None if title is None else f"dlms:{title.hex()}"
    need(apdu, 1101)
    tag, rest = apdu[0], apdu[1:]
    if tag in PLAIN_TAGS:
        shown["protection"] = PLAIN
        return apdu
    if tag in {219, 220}:
        size, rest = split(rest, 1)
        need(size[0] in {0, 8}, 1101)
        own, rest = split(rest, size[0])
        title = own or title
    elif tag not in {33, 40, *range(200, 216)}:
        unsupported(shown)
    shown["device"] = None if title is None else f"dlms:{title.hex()}"
    size, rest = split(rest, 1)
    if size[0] < 0x80:
        length = size[0]
    else:
        need(0x81 <= size[0] <= 0x84, 1101)
        octets, rest = split(rest, size[0] - 0x80)
        length = int.from_bytes(octets, "big")
    need(length == len(rest), 1101)
    head, body = split(rest, 5)
    control, counter = head[:1], head[1:]
    shown["counter"] = int.from_bytes(counter, "big")
    kind = {0x20: ENCRYPTED, 0x10: AUTHENTICATED, 0x30: BOTH}.get(control[0] & 0xF0)
    suite = control[0] & 15
    if kind is None or suite > 2:
        unsupported(shown)
    shown["protection"] = kind
    tagged = kind != ENCRYPTED
    need(not tagged or len(body) >= 12, 1101)
    return Sealed(
        key_length=32 if suite == 2 else 16,
        bits=96 if tagged else 0,
        finish=lambda keys: finish_dlms(kind, control, (title or b"") + counter, body, keys),
        two_keys=tagged,
        has_title=title is not None,
    )


def finish_dlms(kind, control, nonce, body, keys):
    stream = nonce + bytes([0, 0, 0, 2])
    if kind == ENCRYPTED:
        return ctr(keys.key, stream, body)
    body, tag = body[:-12], body[-12:]
    if keys.authentication_key is None:
        return body if kind == AUTHENTICATED else ctr(keys.key, stream, body)
    aad = control + keys.authentication_key
    if kind == AUTHENTICATED:
        gcm(keys.key, nonce, tag, aad + body, b"")
        return body
    return gcm(keys.key, nonce, tag, aad, body)


# Reading profile 1


def read_cose(reading, _keys, shown):
    need(len(reading) <= 1152, 1101)
    need(reading[:2] == b"\xd0\x83", 1101)
    protected, rest = byte_string(reading[2:])
    need(protected[:2] == b"\xa4\x01", 1101)
    algorithm, header = cbor_item(protected[2:])
    need(isinstance(algorithm, (int, str)) and not isinstance(algorithm, bool), 1101)
    need(len(header) == 44 and header[:2] == b"\x04\x44", 1101)
    need(header[6:8] == b"\x05\x4c", 1101)
    kid, nonce = header[2:6], header[8:20]
    show(nonce, shown)
    need(header[20:] == b"\x10\x76application/x.mtr-read", 1101)
    need(rest[:1] == b"\xa0", 1101)
    sealed, rest = byte_string(rest[1:])
    need(not rest, 1101)
    if algorithm not in {1, 3}:
        unsupported(shown)
    shown["protection"] = COSE
    need(16 <= len(sealed) <= 1040, 1101)
    aad = cbor.write(["Encrypt0", protected, b""])
    return Sealed(16 if algorithm == 1 else 32, 128, lambda keys: finish_cose(keys, kid, nonce, aad, sealed))


def finish_cose(keys, kid, nonce, aad, sealed):
    need(keys.check_value in {None, kid}, 1111)
    try:
        return AESGCM(keys.key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise RefusedError(1112) from None


def show(nonce, shown):
    device = int.from_bytes(nonce[:8], "big")
    shown["device"] = f"ert:{device}" if device < 1 << 48 else f"eui64:{device:016x}"
    shown["counter"] = int.from_bytes(nonce[8:], "big")


def byte_string(data):
    head, rest = split(data, 1)
    need(head[0] >> 5 == 2, 1101)
    size, rest = head_argument(head[0], rest)
    return split(rest, size)


def head_argument(head, rest):
    short = head & 31
    if short < 24:
        return short, rest
    need(short <= 27, 1101)
    octets, rest = split(rest, 1 << short - 24)
    value = int.from_bytes(octets, "big")
    need(value >= (24 if short == 24 else 1 << 8 * (len(octets) // 2)), 1101)
    return value, rest


def cbor_item(data):
    head, rest = split(data, 1)
    major = head[0] >> 5
    need(major in {0, 1, 3}, 1101)
    value, rest = head_argument(head[0], rest)
    if major == 3:
        text, rest = split(rest, value)
        try:
            return text.decode(), rest
        except UnicodeDecodeError:
            raise RefusedError(1101) from None
    return (value if major == 0 else -1 - value), rest
