"""The folders of the parties on the command line: one per party, with its store, keys and audit log."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from itron_core._rust import Keyring, KeyringEntry
from itron_core.audit import VERIFIER, AuditLog, read_verifier
from itron_core.cli.failures import UnreadableError, UsageError
from itron_core.cli.inputs import jwk_set_in, text_of
from itron_core.cli.key_files import (
    new_master_key,
    new_signer,
    read_sealed_master_key,
    secret_unreadable,
    signer_in,
)
from itron_core.cli.pkcs11 import master_key_at, signer_at
from itron_core.cli.settings import SETTINGS, keep_settings, read_settings
from itron_core.cli.store_option import named_store
from itron_core.enums import TOKEN_TYPES
from itron_core.field_tool import FieldTool
from itron_core.manager.security_manager import SecurityManager
from itron_core.stores import open_store
from itron_core.stores.backup import STORE
from itron_core.stores.private_files import make_folder, write_private
from itron_core.tools_server import Quotas, ToolsServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from itron_core._rust import PublicKey
    from itron_core.service.client import RemoteToolsServer
    from itron_core.signing import Signer
    from itron_core.stores import Store

__all__ = [
    "ManagerKeys",
    "audit_origin",
    "bearer_signer",
    "field_tool",
    "keep_store_here",
    "log",
    "make_field_home",
    "make_manager_home",
    "make_server_home",
    "make_server_home_once",
    "manager",
    "new_root",
    "party_of",
    "reached",
    "rotate_key",
    "server",
    "store_of",
    "trust",
    "use_root",
]

NEXT_ROOT = "next-root"
LONGEST_UTILITY = 16


class ManagerKeys(NamedTuple):
    """The places of a security manager's keys: `pkcs11:` URIs, or None for files in its folder."""

    root: str | None = None
    issuer: str | None = None
    master: str | None = None


def make_manager_home(home: Path, utility: str, now: int, keys: ManagerKeys = ManagerKeys()) -> None:  # noqa: B008  # immutable
    """Create the folder of a security manager: root and issuing key, master key, log key, and an empty store."""
    if not utility.isascii() or not 0 < len(utility) <= LONGEST_UTILITY:
        raise UsageError(f"--utility: got {utility!r}, expected 1 to {LONGEST_UTILITY} ASCII characters")
    named = {name: uri for name, uri in keys._asdict().items() if uri is not None}
    with _made(home, {"party": "manager", "utility": utility, **({"keys": named} if named else {})}) as new:
        for name in ("root", "issuer", "log"):
            if name not in named:
                new_signer(new / f"{name}.pem")
        if keys.master is None:
            new_master_key(new / "master.key")
        manager(new).rotate(_signer(new, "issuer"), now=now)
        _keep_roots(new, _signer(new, "root"))


def manager(home: Path) -> SecurityManager:
    """Open a security manager."""
    settings = _settings(home, "manager")
    master = settings.get("keys", {}).get("master")
    return SecurityManager(
        _store(home),
        _signer(home, "issuer"),
        root=_signer(home, "root"),
        master=read_sealed_master_key(home / "master.key") if master is None else master_key_at(master),
        utility=settings["utility"],
        log=log(home),
    )


def rotate_key(home: Path, now: int, overlap: int, uri: str | None = None) -> Signer:
    """Issue with a new key from now on, created here or given by URI; the old one stays in force for `overlap` seconds."""
    settings = _settings(home, "manager")
    if uri is not None:
        held = signer_at(uri)
        manager(home).rotate(held, now=now, overlap=overlap)
        keep_settings(home, settings | {"keys": settings.get("keys", {}) | {"issuer": uri}})
        return held
    waiting = home / "issuer.pem.new"
    waiting.unlink(missing_ok=True)
    signer = new_signer(waiting)
    manager(home).rotate(signer, now=now, overlap=overlap)
    waiting.replace(home / "issuer.pem")
    if "issuer" in settings.get("keys", {}):
        keys = {name: at for name, at in settings["keys"].items() if name != "issuer"}
        keep_settings(home, settings | {"keys": keys})
    return signer


def new_root(home: Path, uri: str | None = None) -> Signer:
    """Create the next root key, or take the one at a URI; `root.jwks` then holds both roots."""
    settings = _settings(home, "manager")
    if _has_key(home, NEXT_ROOT):
        raise UsageError(f"{home} already has a next root key", "continue with: itron-core manager use-root HOME")
    root = _signer(home, "root")  # first: nothing is kept for a root that cannot be read
    new = new_signer(home / f"{NEXT_ROOT}.pem") if uri is None else signer_at(uri)
    if new.public_key.kid == root.public_key.kid:
        raise UsageError("this key is the root already", "name another key")
    if uri is not None:
        keep_settings(home, settings | {"keys": settings.get("keys", {}) | {NEXT_ROOT: uri}})
    _keep_roots(home, root, new)
    return new


def use_root(home: Path, now: int) -> Signer:
    """Make the next root key the root; repeating the call after a crash finishes it."""
    settings = _settings(home, "manager")
    if not _has_key(home, NEXT_ROOT):
        raise UsageError(f"{home} has no next root key", f"create one: itron-core manager new-root {home}")
    new = _signer(home, NEXT_ROOT)
    manager(home).change_root(new, now=now)
    keys = dict(settings.get("keys", {}))
    if NEXT_ROOT in keys:
        keep_settings(home, settings | {"keys": keys | {"root": keys[NEXT_ROOT]}})
        keys["root"] = keys.pop(NEXT_ROOT)
    else:
        (home / f"{NEXT_ROOT}.pem").replace(home / "root.pem")
        keys.pop("root", None)
    keep_settings(
        home, {name: one for name, one in settings.items() if name != "keys"} | ({"keys": keys} if keys else {})
    )
    _keep_roots(home, new)
    return new


def _has_key(home: Path, name: str) -> bool:
    return name in _settings(home, "manager").get("keys", {}) or (home / f"{name}.pem").exists()


def _keep_roots(home: Path, *roots: Signer) -> None:
    entries = [KeyringEntry(root.public_key, issuer="ism", token_types=TOKEN_TYPES) for root in roots]
    write_private(home / "root.jwks", Keyring(entries).to_jwks().encode() + b"\n", replace=True)


def trust(home: Path, party: str, keyring: Path) -> Keyring:
    """Replace the roots that a tools server or a field tool trusts by those of a JWK set."""
    _settings(home, party)
    roots, found = jwk_set_in(keyring)
    write_private(home / "keyring.jwks", roots.encode(), replace=True)
    return found


def make_server_home(home: Path, keyring: Path) -> None:
    """Create the folder of a tools server that trusts the roots of a JWK set."""
    roots, _ = jwk_set_in(keyring)
    with _made(home, {"party": "server"}) as new:
        for name in ("log", "bearers"):
            new_signer(new / f"{name}.pem")
        log(new)
        write_private(new / "keyring.jwks", roots.encode())


def make_server_home_once(home: Path, keyring: Path) -> bool:
    """Create the folder of a tools server if it does not exist; return whether it trusts the roots of the JWK set."""
    if not home.exists():
        make_server_home(home, keyring)
        return True
    _settings(home, "server")
    _, named = jwk_set_in(keyring)
    return {one.key.kid for one in named.entries} == {one.key.kid for one in _keyring(home).entries}


def server(home: Path, *, own: bool = True, quotas: Quotas | None = None) -> ToolsServer:
    """Open a tools server; `--store` names its store unless the command is another party's."""
    _settings(home, "server")
    return ToolsServer(_store(home, own=own), _keyring(home), log=log(home), quotas=quotas)


def bearer_signer(home: Path) -> Signer:
    """Return the tools server's key for making bearer tokens."""
    _settings(home, "server")
    return _signer(home, "bearers")


@contextmanager
def reached(server_at: str, bearer: Path | None, ca: Path | None) -> Iterator[ToolsServer | RemoteToolsServer]:
    """Yield a tools server: at a URL, or in a folder on this machine."""
    if "://" not in server_at:
        yield server(Path(server_at), own=False)
        return
    import ssl

    from itron_core.service.client import RemoteToolsServer

    if bearer is None:
        raise UsageError(
            "the bearer token for the URL is missing",
            "name it: --bearer FILE; create one with: itron-core server bearer HOME FILE",
        )
    try:
        token = bearer.read_text().strip()
    except OSError as error:
        raise secret_unreadable("the bearer token", bearer, error) from None
    except UnicodeDecodeError:
        raise UnreadableError(f"{bearer} is not a bearer token") from None
    try:
        tls = None if ca is None else ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"the certificates cannot be read: {error}") from error
    with RemoteToolsServer(server_at, token, tls=tls) as remote:
        yield remote


def make_field_home(home: Path, tool: str, keyring: Path) -> None:
    """Create the folder of a field tool that trusts the roots of a JWK set."""
    roots, _ = jwk_set_in(keyring)
    with _made(home, {"party": "field", "tool": tool}) as new:
        write_private(new / "keyring.jwks", roots.encode())


def field_tool(home: Path) -> FieldTool:
    """Open a field tool."""
    settings = _settings(home, "field")
    return FieldTool(_store(home), _keyring(home), settings["tool"])


def audit_origin(home: Path, verifier: str | None = None) -> tuple[Path, PublicKey, str]:
    """Return the folder of a party's log, its public key and its name, without reading any secret.

    `home` is the party's folder, a copy of it, or the folder of the log. `verifier` is the log's key as name+hash+key; by
    default the one in its folder.
    """
    folder = next(
        (one for one in (home, home / "log") if (one / "checkpoint").exists() or (one / VERIFIER).exists()), None
    )
    if folder is None:
        raise UsageError(f"{home} has no audit log", "name the folder of a manager, of a server, or of a log")
    if verifier is None and not (folder / VERIFIER).exists():
        raise UsageError(f"{folder} has no file {VERIFIER!r}", "name the log's key: --key NAME+HASH+KEY")
    origin, key = read_verifier(text_of(folder / VERIFIER, "the verifier key") if verifier is None else verifier)
    return folder, key, origin


@contextmanager
def _made(home: Path, settings: dict[str, Any]) -> Iterator[Path]:
    """Yield a new folder that becomes `home` when it is complete; a failure leaves nothing and can be tried again."""
    if (home / SETTINGS).exists():
        raise UsageError(f"{home} is already in use", "name another folder")
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise UsageError(f"{home} already exists and is not an empty folder", "name another folder")
    make_folder(home.parent)
    new = Path(tempfile.mkdtemp(prefix=f".{home.name}-", dir=home.parent))
    try:
        new.chmod(0o700)  # whatever the umask
        if (store := named_store()) is not None:
            settings = settings | {"store": store if "://" in store else str(Path(store).absolute())}
        keep_settings(new, settings)
        _store(new, create=True).close()
        yield new
        new.replace(home)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _store(home: Path, *, own: bool = True, create: bool = False) -> Store:
    """Open a party's store. Only init creates one: later, a missing store is an error."""
    return open_store(store_of(home, own=own), create=create)


def store_of(home: Path, *, own: bool = True) -> str:
    """Return the place of a party's store: as given on the command line, else as given to init, else in the folder."""
    named = named_store() if own else None
    return str(named or (read_settings(home) or {}).get("store") or home / STORE)


def keep_store_here(home: Path) -> None:
    """Make the store in its folder a party's store from now on."""
    settings = read_settings(home) or {}
    keep_settings(home, {name: value for name, value in settings.items() if name != "store"})


def party_of(home: Path) -> str:
    """Return the party of a folder: manager, server or field."""
    settings = read_settings(home)
    if settings is None:
        raise UsageError(
            f"{home} is not the folder of a party", "name the folder of a manager, a server or a field tool"
        )
    return str(settings["party"])


def _settings(home: Path, party: str) -> dict[str, Any]:
    settings = read_settings(home)
    if settings is None or settings["party"] != party:
        raise UsageError(f"{home} is not the folder of a {party}", f"create one: itron-core {party} init {home}")
    return settings


def _signer(home: Path, name: str) -> Signer:
    uri = (read_settings(home) or {}).get("keys", {}).get(name)
    return signer_in(home / f"{name}.pem") if uri is None else signer_at(uri)


def _keyring(home: Path) -> Keyring:
    return Keyring.from_jwks((home / "keyring.jwks").read_text())


def _origin(home: Path) -> str:
    return f"itron-core.example/{party_of(home)}"


def log(home: Path) -> AuditLog:
    """Open the audit log of a manager or a server."""
    return AuditLog(home / "log", _signer(home, "log"), origin=_origin(home))
