"""Identities: device ids, token ids, and a token's content without its signature."""

from __future__ import annotations

import hashlib

from itron_core._rust import device_id, token_content

__all__ = ["EPOCHS", "content_of", "cti_of", "device_id"]

EPOCHS = 2**32


def cti_of(device: str, sequence: int) -> bytes:
    """Return the CWT id of a device's token: the device id, then the sequence number, 8 bytes each."""
    return device_id(device) + sequence.to_bytes(8)


def content_of(token: bytes) -> bytes:
    """Return the SHA-256 of a token without its signature, since a second signature may be valid too."""
    return hashlib.sha256(token_content(token)).digest()
