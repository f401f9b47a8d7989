"""Exit codes, and the errors that a person at a terminal can do something about."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NoReturn

__all__ = ["Exit", "ReaderGoneError", "UnreadableError", "UnwritableError", "UsageError", "missing"]

# The modules that one extra brings, and no other.
EXTRAS = {
    "cli": {"typer", "rich", "click", "shellingham"},
    "service": {"fastapi", "httpx", "joserfc", "starlette", "uvicorn"},
    "postgres": {"psycopg"},
    "hsm": {"pkcs11"},
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
    """Invalid usage of the command line; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ReaderGoneError(Exception):
    """A pipe whose reader has seen enough. No OSError: Typer would exit with 1, which means refused rows."""


class UnreadableError(Exception):
    """A file that cannot be read; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnwritableError(Exception):
    """A file or a stream that cannot be written: a full disk, a closed descriptor; `hint` says what to try."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def missing(module: str) -> NoReturn:
    """Print which extra brings a missing module, and exit."""
    top = module.partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if top in modules), "io")
    print(  # noqa: T201  # rich may be the missing one
        f"itron-core: {module} is not installed\n  hint: pip install 'itron-core[{extra}]'", file=sys.stderr
    )
    raise SystemExit(Exit.USAGE)
