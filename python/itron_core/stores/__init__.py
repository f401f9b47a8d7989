"""The stores of the parties: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import os
import re

from itron_core.errors import InputError
from itron_core.stores.protocol import Store, Transaction, rows_of
from itron_core.stores.sqlite import SqliteStore

__all__ = ["Store", "Transaction", "open_store", "rows_of"]

# RFC 3986 section 3.1; a scheme of one letter is part of a file name.
SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):")
KEYWORDS = re.compile(r"\b(?:host|hostaddr|dbname|user|password|service|passfile|port)\s*=")
# A user and a password before a host, as of a URL with a damaged or missing scheme; ./ begins a file of such a name.
MANGLED = re.compile(r"\s*(?!\.{0,2}/(?!/)).*:.*@")
EXPECTED = "expected a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"


def open_store(url: str | os.PathLike[str], *, create: bool = True) -> Store:
    """Open a store: a path or `sqlite:///path`, or `postgresql://...` (extra `postgres`).

    A missing file is created with mode 600; without `create` it raises StoreError. Raises InputError for any other URL or
    connection string; no error shows it, since it may hold a password.
    """
    text = os.fspath(url)
    if not isinstance(text, str):
        raise InputError(f"store: got {type(text).__name__}, {EXPECTED}")
    if not text:
        raise InputError(f"store: got empty text, {EXPECTED}")
    match = SCHEME.match(text)
    if match is None:
        if "://" in text or KEYWORDS.search(text) or MANGLED.match(text):
            raise InputError(f"store: got text that is neither a path nor a known URL, {EXPECTED}")
        return SqliteStore(text, create=create)
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme in {"postgresql", "postgres"} and rest.startswith("//"):
        from itron_core.stores.postgres import PostgresStore

        return PostgresStore(f"postgresql:{rest}")
    if scheme == "sqlite" and rest.startswith("///") and not set(rest) & set("?#"):
        return SqliteStore(rest.removeprefix("///"), create=create)
    raise InputError(f"store: got a URL of the form {scheme}:..., {EXPECTED}; write ./ before a file of this name")
