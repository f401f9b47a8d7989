"""The command line `itron-core`: files in, files out, an exit code. The only reader of the clock."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit with its code; a missing extra is named."""
    try:
        from itron_core.cli.app import run
    except ModuleNotFoundError as error:
        from itron_core.cli.failures import missing

        missing(error.name or "typer")
    code = run()
    # A thread of pyarrow may still read a file of which only a part was needed, and would abort the process when the
    # interpreter ends normally.
    if "pyarrow" in sys.modules:
        if sys.stderr is not None:
            with suppress(OSError):
                sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
