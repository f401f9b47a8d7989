"""The settings of a party's folder: a JSON object in `settings.json`, checked member by member."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from itron_core._rust import near_name
from itron_core.cli.failures import UnreadableError
from itron_core.stores.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["SETTINGS", "keep_settings", "read_settings"]

SETTINGS: Final = "settings.json"
# The members of each party's settings; those that are true must be there.
MEMBERS: Final = {
    "manager": {"party": True, "utility": True, "keys": False, "store": False},
    "server": {"party": True, "store": False},
    "field": {"party": True, "tool": True, "store": False},
}
# The keys whose `pkcs11:` URIs may be named.
KEYS: Final = ("root", "issuer", "master", "next-root")


def read_settings(home: Path) -> dict[str, Any] | None:
    """Return a folder's settings; None if it has no such file.

    Raises UnreadableError for a damaged file, a missing or wrong member, and a name that is nearly a known one: what it
    says would be ignored. Any other unknown name is ignored.
    """
    path = home / SETTINGS
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}") from error
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{path} is not JSON: {error}", "restore it from a backup") from None
    party = settings.get("party") if isinstance(settings, dict) else None
    if not isinstance(party, str) or party not in MEMBERS:
        return None
    members = MEMBERS[party]
    _check_names(path, settings, members)
    for name, required in members.items():
        if required and name not in settings:
            raise UnreadableError(f'{path}: the member "{name}" is missing', "restore it from a backup")
    for name in set(members) - {"keys"}:
        _check_text(path, name, settings.get(name, "-"))
    keys = settings.get("keys", {})
    if not isinstance(keys, dict):
        raise UnreadableError(f'{path}: "keys": got {keys!r:.80}, expected an object of pkcs11: URIs')
    _check_names(path, keys, KEYS)
    for name, value in keys.items():
        _check_text(path, f"keys.{name}", value)
    return dict(settings)


def keep_settings(home: Path, settings: dict[str, Any]) -> None:
    """Write a folder's settings."""
    write_private(home / SETTINGS, json.dumps(settings, indent=1).encode() + b"\n", replace=True)


def _check_names(path: Path, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if (meant := near_name(name, list(known))) is not None:
            raise UnreadableError(
                f'{path}: unknown member "{name}"; did you mean "{meant}"?', "rename it, or remove it"
            )


def _check_text(path: Path, name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise UnreadableError(f'{path}: "{name}": got {value!r:.80}, expected text')
