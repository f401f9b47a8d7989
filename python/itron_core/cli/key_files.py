"""Secrets in files: readable only by their owner, and encrypted if `ITRON_CORE_PASSWORD_FILE` names a password."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itron_core._rust import MasterKey
from itron_core.cli.failures import UnreadableError, UnwritableError, UsageError
from itron_core.cli.written_files import note_read, read_noted
from itron_core.errors import InputError
from itron_core.signing import LocalSigner
from itron_core.stores.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = [
    "new_key",
    "new_master_key",
    "new_signer",
    "password_in",
    "read_master_key",
    "read_sealed_master_key",
    "read_signer",
    "secret_unreadable",
    "signer_in",
    "write_secret",
]

PASSWORD_FILE = "ITRON_CORE_PASSWORD_FILE"
SEALED = b"itron_core sealed 1\n"
# Room for a byte order mark and blank lines before the label of a PEM.
FIRST_BYTES = 256
SALT_BYTES, NONCE_BYTES, MASTER_BYTES = 16, 12, 32


def new_signer(path: Path) -> LocalSigner:
    """Create an Ed25519 key in a file (PEM, PKCS#8), encrypted like the other keys of the folder, and return its signer."""
    password = _password()
    _check_as_the_others(path, sealed=password is not None)
    pem, signer = new_key("Ed25519", password)
    write_secret(path, pem)
    return signer


def signer_in(path: Path) -> LocalSigner:
    """Read a private key of a party; a plain key beside encrypted ones is refused."""
    _check_not_weaker(path)
    return read_signer(path)


def new_master_key(path: Path) -> None:
    """Create a master key in a file: sealed by AES-256-GCM under a scrypt key (RFC 7914), or as hex digits."""
    key, password = os.urandom(MASTER_BYTES), _password()
    _check_as_the_others(path, sealed=password is not None)
    if password is None:
        write_secret(path, key.hex().encode() + b"\n")
        return
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    write_secret(path, SEALED + salt + nonce + _cipher(password, salt).encrypt(nonce, key, SEALED))


def read_sealed_master_key(path: Path) -> MasterKey:
    """Read a master key, sealed or not; a plain key beside encrypted ones is refused."""
    _check_not_weaker(path)
    sealed = _start_of(path).startswith(SEALED)
    if sealed and _password_file() is None:
        raise UsageError(f"{path} is encrypted", f"name the file of its password: {PASSWORD_FILE}=FILE")
    return _unsealed(path) if sealed else read_master_key(path)


def _unsealed(path: Path) -> MasterKey:
    from cryptography.exceptions import InvalidTag

    data, password = path.read_bytes()[len(SEALED) :], _password() or b""
    salt, nonce, rest = data[:SALT_BYTES], data[SALT_BYTES:][:NONCE_BYTES], data[SALT_BYTES + NONCE_BYTES :]
    try:
        return MasterKey.from_bytes(_cipher(password, salt).decrypt(nonce, rest, SEALED))
    except (InvalidTag, ValueError):
        raise UnreadableError(f"{path} cannot be decrypted: the password is wrong, or the file was changed") from None


def _cipher(password: bytes, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(password))


def _check_not_weaker(path: Path) -> None:
    """Raise UsageError for a plain key among encrypted ones: somebody has replaced the encrypted key."""
    if not _is_sealed(path) and any(_is_sealed(one) for one in _keys_beside(path)):
        raise UsageError(
            f"{path} is not encrypted, but other keys in its folder are", "put the original encrypted key back"
        )


def _check_as_the_others(path: Path, *, sealed: bool) -> None:
    """Raise UsageError for a new plain key among encrypted ones, or the other way round."""
    if all(_is_sealed(one) == sealed for one in _keys_beside(path)):
        return
    if sealed:
        raise UsageError(f"the other keys in {path.parent} are not encrypted", f"unset {PASSWORD_FILE}")
    raise UsageError(
        f"the other keys in {path.parent} are encrypted", f"name their password's file: {PASSWORD_FILE}=FILE"
    )


def _keys_beside(path: Path) -> list[Path]:
    return [one for one in (*path.parent.glob("*.pem"), *path.parent.glob("*.key")) if one != path]


def _is_sealed(path: Path) -> bool:
    start = _start_of(path)
    return start.startswith(SEALED) or b"ENCRYPTED" in start


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            note_read(path)
            return file.read(FIRST_BYTES)
    except OSError as error:
        raise secret_unreadable("the key", path, error) from None


def _password_file() -> Path | None:
    named = os.environ.get(PASSWORD_FILE)
    if named is not None and not named.strip():
        raise UsageError(f"{PASSWORD_FILE} is set and empty", "name the file of the password, or unset the variable")
    return Path(named) if named else None


def _password() -> bytes | None:
    file = _password_file()
    return None if file is None else password_in(file, f"the password ({PASSWORD_FILE})")


# --- Plain files ---


def read_signer(path: Path, password_file: Path | None = None) -> LocalSigner:
    """Read a private key in PEM; the password is used only if the key is encrypted."""
    try:
        pem = read_noted(path)
    except OSError as error:
        raise secret_unreadable("the private key", path, error) from None
    encrypted = b"ENCRYPTED" in pem
    password_file = password_file or _password_file()
    if encrypted and password_file is None:
        raise UsageError(f"{path} is encrypted", f"name the file of its password: {PASSWORD_FILE}=FILE")
    try:
        return LocalSigner.from_pem(pem, password_in(password_file) if encrypted and password_file else None)
    except InputError as error:
        raise UnreadableError(f"{path}: {error}") from error


def password_in(file: Path, what: str = "the password") -> bytes:
    """Read a password or PIN: the file's text without its line end."""
    try:
        password = read_noted(file).rstrip(b"\r\n")
    except OSError as error:
        raise secret_unreadable(what, file, error) from None
    if not password.strip():
        raise UnreadableError(f"{what} in {file} is empty")
    return password


def secret_unreadable(what: str, path: Path, error: OSError) -> UnreadableError:
    """Return the error for a file of a secret; a bare name of no file is not shown: it may be the secret itself."""
    is_path = str(path) != path.name and path.parent.is_dir()
    if is_path or os.path.lexists(path):
        return UnreadableError(f"{what} {path} cannot be read: {error.strerror}")
    return UnreadableError(
        f"{what} cannot be read: the file does not exist",
        "give the path of a file; what was given is not shown, because it may be the secret itself",
    )


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read."""
    try:
        write_private(path, data)
    except FileExistsError:
        raise UsageError(f"{path} already exists", "name another file: secrets are never overwritten") from None
    except OSError as error:
        raise UnwritableError(f"{path} cannot be written: {error.strerror}") from error


def read_master_key(path: Path) -> MasterKey:
    """Read a master key: hexadecimal digits in a file."""
    try:
        return MasterKey.from_bytes(bytes.fromhex(read_noted(path).decode().strip()))
    except OSError as error:
        raise secret_unreadable("the master key", path, error) from None
    except ValueError:
        # The file's text is not shown: it may be a key.
        raise UnreadableError(f"{path} is not a master key in hexadecimal digits") from None


def new_key(algorithm: str, password: bytes | None = None) -> tuple[bytes, LocalSigner]:
    """Return a new private key in PEM, encrypted if there is a password, and its signer."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa

    generate: dict[str, Callable[[], Any]] = {
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "ESP256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate,
        "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate,
    }
    key = generate[algorithm]()
    sealing = form.NoEncryption() if password is None else form.BestAvailableEncryption(password)
    pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealing)
    return pem, LocalSigner(key)
