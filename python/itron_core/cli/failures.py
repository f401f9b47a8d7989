"""Exit codes, and errors that a user at a terminal can correct."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NoReturn

__all__ = ["Exit", "ReaderGoneError", "UnreadableError", "UnwritableError", "UsageError", "missing"]

# The modules that only one extra installs.
EXTRAS = {
    "cli": {"typer", "rich", "click", "shellingham"},
    "service": {"fastapi", "httpx", "joserfc", "starlette", "uvicorn"},
    "postgres": {"psycopg"},
    "hsm": {"pkcs11"},
    "report": {"altair", "vl_convert"},
}


class Exit(IntEnum):
    """The exit codes of the process."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNREADABLE = 3
    INTERNAL = 4
    UNAVAILABLE = 5


class UsageError(Exception):
    """Invalid use of the command line; `hint` is what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ReaderGoneError(Exception):
    """A pipe without a reader. Not an OSError: Typer would exit with 1, which means refused rows."""


class UnreadableError(Exception):
    """An unreadable file; `hint` is what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnwritableError(Exception):
    """A file or stream that cannot be written (full disk, closed descriptor); `hint` is what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def missing(module: str) -> NoReturn:
    """Print which extra installs a missing module, and exit."""
    top = module.partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if top in modules), "io")
    print(  # noqa: T201  # rich may be the missing one
        f"itron-core: {module} is not installed\n  hint: pip install 'itron-core[{extra}]'", file=sys.stderr
    )
    raise SystemExit(Exit.USAGE)
