"""Signed checkpoints: the log's name, size and root (C2SP tlog-checkpoint in a C2SP signed-note)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from itron_core._rust import PublicKey, verify_signatures
from itron_core.errors import AuditError, InputError, KeyRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from itron_core.signing import Signer

__all__ = ["Checkpoint", "read_checkpoint", "read_verifier", "verifier_of", "write_checkpoint"]

# The key type Ed25519 in a signed note.
ED25519 = b"\x01"
KEY_BYTES = 32
KEY_HASH_BYTES = 4
ROOT_BYTES = 32
SIGNATURE_BYTES = 64
# Every reader must accept 16 signatures; this leaves room for 16 of the longest kind (post-quantum, 5 kB each).
LARGEST_NOTE = 262_144
MOST_SIGNATURES = 100
NAME = r"[^\s+\x00-\x1f\ud800-\udfff]+"
ORIGIN = re.compile(NAME)
SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
SIGNATURE_LINE = re.compile(f"\u2014 ({NAME}) ([A-Za-z0-9+/]+={{0,2}})")


class Checkpoint(NamedTuple):
    """The size and the root of a log at one moment; `origin` is the log's name."""

    origin: str
    size: int
    root: bytes


def verifier_of(origin: str, key: PublicKey) -> str:
    """Return the key in the form of other transparency-log tools: name+hash+key, the key with its type, in Base64."""
    return f"{_checked(origin)}+{_key_hash(origin, key).hex()}+{base64.b64encode(ED25519 + _raw(key)).decode()}"


def read_verifier(text: str) -> tuple[str, PublicKey]:
    """Read what `verifier_of` writes. Raises InputError if it does not hold an Ed25519 key."""
    name, _, rest = text.strip().partition("+")
    key_hash, _, data = rest.partition("+")
    raw = _decoded(data)
    try:
        key = PublicKey.from_raw("Ed25519", raw[1:])
    except (InputError, KeyRefused):
        raise InputError(f"verifier: got {text!r}, expected name+hash+key of an Ed25519 key") from None
    if raw[:1] != ED25519 or _key_hash(_checked(name), key).hex() != key_hash:
        raise InputError(f"verifier: got {text!r}, whose hash does not match its name and key")
    return name, key


def write_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the signed note of a checkpoint; the signer's key must be Ed25519."""
    text = f"{_checked(checkpoint.origin)}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n".encode()
    signature = _key_hash(checkpoint.origin, signer.public_key) + signer.sign(text)
    return text + f"\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode()}\n".encode()


def read_checkpoint(note: bytes, key: PublicKey | Sequence[PublicKey], *, origin: str) -> Checkpoint:
    """Read a checkpoint and verify every signature made by `key`, or by any of several keys.

    Signatures of other keys are ignored, as the format requires. Raises AuditError if it is not a signed note, belongs
    to another log, is not signed by one of the keys, or if a signature of one of them is wrong.
    """
    text, signatures = _note_parts(note)
    checkpoint = _checkpoint_of(text)
    if checkpoint.origin != origin:
        raise AuditError(
            f"the checkpoint belongs to the log {checkpoint.origin!r}, expected {origin!r}", path="checkpoint"
        )
    known = {_key_hash(origin, one): one for one in ([key] if isinstance(key, PublicKey) else key)}
    mine = [signature for name, signature in signatures if name == origin and signature[:KEY_HASH_BYTES] in known]
    if not mine:
        raise AuditError("the checkpoint is not signed by the log's key", path="checkpoint")
    for signature in mine:
        rest = signature[KEY_HASH_BYTES:]
        codes = verify_signatures(known[signature[:KEY_HASH_BYTES]], [text], [rest])["code"].to_pylist()
        if codes != [0]:
            raise AuditError("the checkpoint has an invalid signature", path="checkpoint")
    return checkpoint


def _note_parts(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    if len(note) > LARGEST_NOTE:
        raise AuditError(
            f"the checkpoint has {len(note):,} bytes, expected at most {LARGEST_NOTE:,}", path="checkpoint"
        )
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise AuditError("the checkpoint is not UTF-8 text", path="checkpoint") from None
    body, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or any(char < " " and char != "\n" for char in whole):
        raise AuditError("the checkpoint is not a signed note (text, an empty line, signatures)", path="checkpoint")
    signatures = []
    if lines.count("\n") > MOST_SIGNATURES:
        raise AuditError(f"the checkpoint has more than {MOST_SIGNATURES} signatures", path="checkpoint")
    for line in lines[:-1].split("\n"):
        match = SIGNATURE_LINE.fullmatch(line)
        signature = _decoded(match[2]) if match else b""
        if match is None or len(signature) <= KEY_HASH_BYTES:
            raise AuditError("the checkpoint has a malformed signature line", path="checkpoint")
        signatures.append((match[1], signature))
    return f"{body}\n".encode(), signatures


def _checkpoint_of(text: bytes) -> Checkpoint:
    origin, size, root, *extensions = [*text.decode().removesuffix("\n").split("\n"), "", ""]
    digest = _decoded(root)
    if not origin or not all(extensions[:-2]) or SIZE.fullmatch(size) is None or len(digest) != ROOT_BYTES:
        raise AuditError("the checkpoint is incomplete: it must name a log, a size and a root", path="checkpoint")
    return Checkpoint(origin, int(size), digest)


def _decoded(text: str) -> bytes:
    """Decode canonical Base64, and return nothing for any other text (RFC 4648 section 3.5): no bit can change unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""


def _key_hash(name: str, key: PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + _raw(key)).digest()[:KEY_HASH_BYTES]


def _raw(key: PublicKey) -> bytes:
    if key.algorithm != "Ed25519":
        raise InputError(f"key: got {key.algorithm}, expected Ed25519, which every reader of signed notes supports")
    return key.raw


def _checked(origin: str) -> str:
    if ORIGIN.fullmatch(origin) is None:
        raise InputError(f"origin: got {origin!r}, expected text without spaces and plus signs")
    return origin
