"""Backup of a party's folder in one file: its store at one point in time, its settings and keys. Restores all or nothing.

The file is a tar archive of mode 600: `manifest.json` first, with the SHA-256 of every other member. It includes private
keys, encrypted if they are encrypted in the folder. It excludes the audit log, since the store's journal has all entries.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from itron_core._arguments import moment, text
from itron_core.errors import InputError, StoreError
from itron_core.stores.private_files import open_private, write_private
from itron_core.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STORE", "Manifest", "read_backup", "write_backup"]

MANIFEST = "manifest.json"
STORE = "store.db"
FORMAT = 1
# Settings and keys of a party; other files in its folder are not the party's.
SETTINGS_AND_KEYS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\.(?:json|jwks|key|pem)")
LARGEST_FILE = 16 * 2**20
CHUNK = 2**20


class Manifest(NamedTuple):
    """The description in a backup: the party, the time, and the SHA-256 of each file by name."""

    party: str
    made_at: int
    files: dict[str, str]


def write_backup(folder: Path, target: Path, *, party: str, store: Path | None, now: int) -> Manifest:
    """Write the backup of a party's folder to a new file, while other processes may use its store.

    `store` is the file of its store, or None if it is in PostgreSQL; then it is left out. Raises InputError if `target`
    exists, and StoreError if the folder or the store cannot be read, or the file cannot be written; then no file is
    left.
    """
    text("party", party)
    try:
        descriptor = open_private(target, os.O_WRONLY | os.O_EXCL)
    except FileExistsError:
        raise InputError(f"target: {target} exists; name a new file") from None
    except OSError as error:
        raise StoreError(f"the backup {target} cannot be written: {error.strerror}") from error
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as aside,
            os.fdopen(descriptor, "wb") as file,
        ):
            members = {
                path.name: path
                for path in sorted(folder.iterdir())
                if SETTINGS_AND_KEYS.fullmatch(path.name) and path.name != MANIFEST
            }
            if store is not None:
                members[STORE] = Path(aside) / STORE
                _copy(store, members[STORE])
            manifest = Manifest(party, moment("now", now), {name: _hash_of(path) for name, path in members.items()})
            _write(file, manifest, members)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StoreError(f"the backup of {folder} cannot be made: {error.strerror or error}") from error
        raise
    return manifest


def read_backup(source: Path, folder: Path) -> Manifest:
    """Write the files of a backup into a new, empty folder, each of mode 600. Raises InputError for a damaged backup."""
    try:
        with tarfile.open(source, "r:") as archive:
            manifest = _manifest_of(archive, source)
            missing = set(manifest.files)
            while (member := archive.next()) is not None:
                if member.name not in missing or not member.isreg():
                    raise InputError(f"{source} is a damaged backup: it has an unknown member {member.name!r:.100}")
                missing.remove(member.name)
                _put(archive, member, folder / member.name)
                if _hash_of(folder / member.name) != manifest.files[member.name]:
                    raise InputError(f"{source} is a damaged backup: {member.name} was changed")
            if missing:
                raise InputError(f"{source} is a damaged backup: {', '.join(sorted(missing))} is missing")
    except tarfile.TarError as error:
        raise InputError(f"{source} is not a backup, or a damaged one: {error}") from error
    except OSError as error:
        raise StoreError(f"the backup {source} cannot be read: {error.strerror or error}") from error
    return manifest


def _copy(store: Path, place: Path) -> None:
    opened = SqliteStore(str(store), create=False)
    try:
        opened.copy_to(str(place))
    finally:
        opened.close()


def _write(file: io.BufferedWriter, manifest: Manifest, members: Mapping[str, Path]) -> None:
    said = json.dumps({"format": FORMAT, **manifest._asdict()}, sort_keys=True, indent=1).encode() + b"\n"
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(_member(MANIFEST, len(said), manifest.made_at), io.BytesIO(said))
        for name, path in members.items():
            with path.open("rb") as data:
                archive.addfile(_member(name, path.stat().st_size, manifest.made_at), data)
    file.flush()
    os.fsync(file.fileno())


def _member(name: str, size: int, now: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, now, 0o600
    return member


def _manifest_of(archive: tarfile.TarFile, source: Path) -> Manifest:
    first = archive.next()
    data = archive.extractfile(first) if first is not None and first.isreg() and first.name == MANIFEST else None
    if first is None or data is None or first.size > LARGEST_FILE:
        raise InputError(f"{source} is not a backup of itron-core: it does not begin with {MANIFEST}")
    try:
        said = json.loads(data.read())
        number, manifest = said["format"], Manifest(said["party"], said["made_at"], dict(said["files"]))
        moment("made_at", manifest.made_at)
        names = all(SETTINGS_AND_KEYS.fullmatch(name) or name == STORE for name in manifest.files)
        names = names and MANIFEST not in manifest.files
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source} is a damaged backup: its {MANIFEST} cannot be read") from error
    if number != FORMAT:
        raise InputError(
            f"{source} is a backup of format {number!r:.20}, expected {FORMAT}: use the newer itron-core that made it"
        )
    if not names or not isinstance(manifest.party, str):
        raise InputError(f"{source} is a damaged backup: its {MANIFEST} names unknown files")
    return manifest


def _put(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    data = archive.extractfile(member)
    assert data is not None  # noqa: S101  # a regular file
    if member.name != STORE:
        if member.size > LARGEST_FILE:
            raise InputError(f"{member.name}: got {member.size:,} bytes, expected at most {LARGEST_FILE:,}")
        write_private(place, data.read())
        return
    with os.fdopen(open_private(place, os.O_WRONLY | os.O_EXCL), "wb") as file:
        while chunk := data.read(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
