"""Who a token or a record is about: device ids, token ids, and what a token says apart from its signature."""

from __future__ import annotations

import hashlib
import re

from itron_core._rust import unsigned_part
from itron_core.errors import InputError

__all__ = ["EPOCHS", "content_of", "cti_of", "device_id"]

ERT_IDS = 2**48
EPOCHS = 2**32
ERT = re.compile(r"ert:(0|[1-9][0-9]{0,14})")
EUI64 = re.compile(r"eui64:([0-9a-f]{16})")


def device_id(device: str) -> bytes:
    """Return the 8 bytes that stand for an `aud` (docs/format.md, claim 3); raises InputError for anything else."""
    if not isinstance(device, str):
        raise InputError(f"a device of type {type(device).__name__}; wanted its aud, a str")
    if match := ERT.fullmatch(device):
        number = int(match[1])
        if number < ERT_IDS:
            return number.to_bytes(8)
    elif match := EUI64.fullmatch(device):
        identity = bytes.fromhex(match[1])
        if int.from_bytes(identity) >= ERT_IDS:
            return identity
    raise InputError(f"{device!r} is no device; wanted ert: and a decimal below 2^48, or eui64: and 16 hex digits")


def cti_of(device: str, sequence: int) -> bytes:
    """Return the CWT id of a device's token: its id, then the sequence, 8 bytes each."""
    return device_id(device) + sequence.to_bytes(8)


def content_of(token: bytes) -> bytes:
    """Return the SHA-256 of a genuine token without the bytes of its signature; raises InputError for anything else."""
    return hashlib.sha256(unsigned_part(token)).digest()
