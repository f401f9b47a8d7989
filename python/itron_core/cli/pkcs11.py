"""Keys in an HSM, named by PKCS#11 URIs (RFC 7512), with the PIN from a file or from the terminal."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

from itron_core.cli.failures import UsageError
from itron_core.cli.key_files import password_in

if TYPE_CHECKING:
    from itron_core.hsm import Pkcs11MasterKey, Pkcs11Signer

__all__ = ["SCHEME", "is_uri", "kept_uri", "master_key_at", "new_master_key_at", "new_signer_at", "signer_at"]

SCHEME = "pkcs11:"
MODULE, PIN_FILE = "ITRON_CORE_PKCS11_MODULE", "ITRON_CORE_PIN_FILE"
EXAMPLE = (
    "for example 'pkcs11:token=issuing;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=pin.txt'"
)
PATH_ATTRIBUTES = frozenset({"token", "object", "id", "type"})
QUERY_ATTRIBUTES = frozenset({"module-path", "pin-source"})


class Place(NamedTuple):
    """The parts of a URI: the module's file, the token, the key's label and id, and the file of the PIN."""

    library: str
    token: str
    label: str | None
    key_id: bytes | None
    pin_file: str | None


def is_uri(text: str) -> bool:
    """Return whether the text is a PKCS#11 URI; any other text is a file's path."""
    return text.lower().startswith(SCHEME)


def signer_at(uri: str, pin_file: Path | None = None) -> Pkcs11Signer:
    """Open a private key in an HSM."""
    from itron_core.hsm import Pkcs11Signer

    at = _place_of(uri)
    return Pkcs11Signer(at.library, token=at.token, pin=lambda: _pin(at, pin_file), label=at.label, key_id=at.key_id)


def new_signer_at(uri: str, algorithm: str, pin_file: Path | None = None) -> Pkcs11Signer:
    """Create a private key in an HSM, with the label of the URI and its id if it has one, and open it."""
    from itron_core.hsm import Pkcs11Signer

    at = _place_of(uri)
    return Pkcs11Signer.generate(
        at.library,
        token=at.token,
        pin=lambda: _pin(at, pin_file),
        label=_label_of(at),
        key_id=at.key_id,
        algorithm=algorithm,
    )


def new_master_key_at(uri: str, pin_file: Path | None = None) -> Pkcs11MasterKey:
    """Create a master key of 32 bytes in an HSM, with the label of the URI, and open it."""
    from itron_core.hsm import Pkcs11MasterKey

    at = _place_of(uri)
    return Pkcs11MasterKey.generate(at.library, token=at.token, pin=lambda: _pin(at, pin_file), label=_label_of(at))


def _label_of(at: Place) -> str:
    if at.label is None:
        raise UsageError(f"{SCHEME} URI: a new key needs a label: object=LABEL", EXAMPLE)
    return at.label


def kept_uri(uri: str) -> str:
    """Return a URI for the settings of a folder, which are read from anywhere: the path of its PIN file is absolute."""
    _place_of(uri)
    path, mark, query = uri.partition("?")
    pieces = [_with_absolute_path(piece) for piece in query.split("&")]
    return path + mark + "&".join(pieces)


def _with_absolute_path(piece: str) -> str:
    name, _, value = piece.partition("=")
    if name != "pin-source":
        return piece
    return f"{name}={quote(str(_pin_path(value).absolute()))}"


def _pin_path(source: str) -> Path:
    return Path(unquote(source).removeprefix("file:"))


def master_key_at(uri: str, pin_file: Path | None = None) -> Pkcs11MasterKey:
    """Open a master key in an HSM."""
    from itron_core.hsm import Pkcs11MasterKey

    at = _place_of(uri)
    return Pkcs11MasterKey(at.library, token=at.token, pin=lambda: _pin(at, pin_file), label=at.label, key_id=at.key_id)


def _place_of(uri: str) -> Place:
    path, _, query = uri[len(SCHEME) :].partition("?")
    named = _attributes(path, ";", PATH_ATTRIBUTES)
    asked = _attributes(query, "&", QUERY_ATTRIBUTES)
    library = asked.get("module-path") or os.environ.get(MODULE)
    if not library:
        raise UsageError(
            f"{SCHEME} URI: the PKCS#11 module is missing", f"name it: ?module-path=FILE, or {MODULE}=FILE"
        )
    if "token" not in named or not ({"object", "id"} & set(named)):
        raise UsageError(f"{SCHEME} URI: expected a token, and an object or an id", EXAMPLE)
    key_id = unquote_to_bytes(named["id"]) if "id" in named else None
    label = unquote(named["object"]) if "object" in named else None
    return Place(unquote(library), unquote(named["token"]), label, key_id, asked.get("pin-source"))


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in filter(None, text.split(separator)):
        name, equals, value = piece.partition("=")
        if name == "pin-value":
            raise UsageError(
                f"{SCHEME} URI: a PIN on the command line is visible to others", "use pin-source=FILE or --pin-file"
            )
        if not equals or name not in known or name in found:
            # The value is not shown: it may be a PIN.
            raise UsageError(
                f"{SCHEME} URI: unknown or repeated attribute {name!r}", f"known: {', '.join(sorted(known))}"
            )
        found[name] = value
    return found


def _pin(at: Place, named: Path | None) -> str:
    source = named or (_pin_path(at.pin_file) if at.pin_file else None)
    if source is None and (environment := os.environ.get(PIN_FILE)):
        source = Path(environment)
    if source is not None:
        return password_in(source, "the PIN").decode()
    return _typed_pin(at.token)


@cache
def _typed_pin(token: str) -> str:
    """Ask for the PIN on the terminal, once per token and process."""
    from getpass import getpass

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(
            f"the PIN of the token {token!r} is missing", f"use --pin-file FILE, pin-source=FILE or {PIN_FILE}=FILE"
        )
    return getpass(f"PIN of the token {token}: ")
