"""Secrets in files: readable by their owner alone, and encrypted where `ITRON_CORE_PASSWORD_FILE` names a password."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from itron_core._rust import MasterKey
from itron_core.cli import files as _files
from itron_core.cli.keys import new_key
from itron_core.cli.shared import UsageError, read_master_key, read_signer, write_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from itron_core.signing import LocalSigner

__all__ = ["new_master_key", "new_signer", "read_sealed_master_key", "signer_in"]

PASSWORD_FILE = "ITRON_CORE_PASSWORD_FILE"
SEALED = b"itron_core sealed 1\n"
ENCRYPTED = b"-----BEGIN ENCRYPTED"
SALT_BYTES, NONCE_BYTES, MASTER_BYTES = 16, 12, 32


def new_signer(path: Path) -> LocalSigner:
    """Make an Ed25519 key in a file (PEM, PKCS#8) and return its signer."""
    pem, signer = new_key("Ed25519", _password())
    write_secret(path, pem)
    return signer


def signer_in(path: Path) -> LocalSigner:
    """Read a private key."""
    _want_password(path, encrypted=_start_of(path).startswith(ENCRYPTED))
    return read_signer(path, _password_file())


def new_master_key(path: Path) -> None:
    """Make a master key in a file: sealed by AES-256-GCM under a key of scrypt (RFC 7914), or hex digits."""
    key, password = os.urandom(MASTER_BYTES), _password()
    if password is None:
        write_secret(path, key.hex().encode() + b"\n")
        return
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    write_secret(path, SEALED + salt + nonce + _cipher(password, salt).encrypt(nonce, key, SEALED))


def read_sealed_master_key(path: Path) -> MasterKey:
    """Read a master key, sealed or not."""
    sealed = _start_of(path).startswith(SEALED)
    _want_password(path, encrypted=sealed)
    return _unsealed(path) if sealed else read_master_key(path)


def _unsealed(path: Path) -> MasterKey:
    from cryptography.exceptions import InvalidTag

    data, password = path.read_bytes()[len(SEALED) :], _password() or b""
    salt, nonce, rest = data[:SALT_BYTES], data[SALT_BYTES:][:NONCE_BYTES], data[SALT_BYTES + NONCE_BYTES :]
    try:
        return MasterKey.from_bytes(_cipher(password, salt).decrypt(nonce, rest, SEALED))
    except (InvalidTag, ValueError):
        raise _files.UnreadableError(f"{path} does not open: another password, or a changed file") from None


def _cipher(password: bytes, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(password))


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(max(len(SEALED), len(ENCRYPTED)))
    except OSError as error:
        raise _files.UnreadableError(f"{path.name} cannot be read: {error}") from error


def _want_password(path: Path, *, encrypted: bool) -> None:
    if encrypted and _password_file() is None:
        raise UsageError(f"{path} is encrypted", f"name the file of its password: {PASSWORD_FILE}=FILE")


def _password_file() -> Path | None:
    named = os.environ.get(PASSWORD_FILE)
    return Path(named) if named else None


def _password() -> bytes | None:
    file = _password_file()
    if file is None:
        return None
    try:
        password = file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise _files.UnreadableError(f"the password cannot be read: {error}") from error
    if not password:
        raise _files.UnreadableError(f"the password in {file} is empty")
    return password
