"""Signed checkpoints: what a log says of itself (C2SP tlog-checkpoint in a C2SP signed-note)."""

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

# The byte that stands for Ed25519 in a key of a signed note.
ED25519 = b"\x01"
KEY_BYTES = 32
KEY_HASH_BYTES = 4
ROOT_BYTES = 32
SIGNATURE_BYTES = 64
# Room for 16 signatures of the longest kind (post-quantum, 5 kB each), which every reader must accept.
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
    """Return the key as other tools of transparency logs take it: name+hash+key, the key with its type, in Base64."""
    return f"{_checked(origin)}+{_key_hash(origin, key).hex()}+{base64.b64encode(ED25519 + _raw(key)).decode()}"


def read_verifier(text: str) -> tuple[str, PublicKey]:
    """Read what `verifier_of` writes; raises InputError where it is not that of an Ed25519 key."""
    name, _, rest = text.strip().partition("+")
    key_hash, _, data = rest.partition("+")
    raw = _decoded(data)
    try:
        key = PublicKey.from_raw("Ed25519", raw[1:])
    except (InputError, KeyRefused):
        raise InputError(f"{text!r} is no verifier key; wanted name+hash+key of an Ed25519 key") from None
    if raw[:1] != ED25519 or _key_hash(_checked(name), key).hex() != key_hash:
        raise InputError(f"{text!r}: its hash is not that of its name and key")
    return name, key


def write_checkpoint(checkpoint: Checkpoint, signer: Signer) -> bytes:
    """Return the signed note of a checkpoint; the signer's key must be Ed25519."""
    text = f"{_checked(checkpoint.origin)}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n".encode()
    signature = _key_hash(checkpoint.origin, signer.public_key) + signer.sign(text)
    return text + f"\n\u2014 {checkpoint.origin} {base64.b64encode(signature).decode()}\n".encode()


def read_checkpoint(note: bytes, key: PublicKey | Sequence[PublicKey], *, origin: str) -> Checkpoint:
    """Read a checkpoint and verify its signatures by `key`, or by those of several keys that have signed it.

    Signatures of other keys are passed over, as the format asks. Raises AuditError where it is no signed note, of
    another log, or not signed by one of the keys; and where a signature of one of them is wrong.
    """
    text, signatures = _taken_apart(note)
    checkpoint = _checkpoint_of(text)
    if checkpoint.origin != origin:
        raise AuditError(f"a checkpoint of the log {checkpoint.origin!r}; wanted {origin!r}", path="checkpoint")
    known = {_key_hash(origin, one): one for one in ([key] if isinstance(key, PublicKey) else key)}
    mine = [signature for name, signature in signatures if name == origin and signature[:KEY_HASH_BYTES] in known]
    if not mine:
        raise AuditError("the checkpoint has no signature of the log's key", path="checkpoint")
    for signature in mine:
        rest = signature[KEY_HASH_BYTES:]
        codes = verify_signatures(known[signature[:KEY_HASH_BYTES]], [text], [rest])["code"].to_pylist()
        if codes != [0]:
            raise AuditError("the checkpoint's signature does not fit it", path="checkpoint")
    return checkpoint


def _taken_apart(note: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    if len(note) > LARGEST_NOTE:
        raise AuditError(f"a checkpoint of {len(note):,} bytes; wanted {LARGEST_NOTE:,} at most", path="checkpoint")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise AuditError("the checkpoint is no text in UTF-8", path="checkpoint") from None
    body, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or any(char < " " and char != "\n" for char in whole):
        raise AuditError("the checkpoint is no signed note: text, an empty line, signatures", path="checkpoint")
    signatures = []
    if lines.count("\n") > MOST_SIGNATURES:
        raise AuditError(f"a checkpoint with more than {MOST_SIGNATURES} signatures", path="checkpoint")
    for line in lines[:-1].split("\n"):
        match = SIGNATURE_LINE.fullmatch(line)
        signature = _decoded(match[2]) if match else b""
        if match is None or len(signature) <= KEY_HASH_BYTES:
            raise AuditError("the checkpoint has a line that is no signature", path="checkpoint")
        signatures.append((match[1], signature))
    return f"{body}\n".encode(), signatures


def _checkpoint_of(text: bytes) -> Checkpoint:
    origin, size, root, *extensions = [*text.decode().removesuffix("\n").split("\n"), "", ""]
    digest = _decoded(root)
    if not origin or not all(extensions[:-2]) or SIZE.fullmatch(size) is None or len(digest) != ROOT_BYTES:
        raise AuditError("the checkpoint does not name a log, a size and a root", path="checkpoint")
    return Checkpoint(origin, int(size), digest)


def _decoded(text: str) -> bytes:
    """Decode Base64; nothing for what no encoder writes, so that no bit can be changed unseen (RFC 4648 section 3.5)."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""


def _key_hash(name: str, key: PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + _raw(key)).digest()[:KEY_HASH_BYTES]


def _raw(key: PublicKey) -> bytes:
    if key.algorithm != "Ed25519":
        raise InputError(f"a log's key of {key.algorithm}; wanted Ed25519, which every reader of signed notes knows")
    return key.raw


def _checked(origin: str) -> str:
    if ORIGIN.fullmatch(origin) is None:
        raise InputError(f"{origin!r} is no name of a log; wanted text without spaces and plus signs")
    return origin
