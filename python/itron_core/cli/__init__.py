"""The command line `itron-core`: files in, files out, an exit code. The only reader of the clock."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code; a missing extra is named."""
    try:
        from itron_core.cli.app import run
    except ModuleNotFoundError as error:
        from itron_core.cli.failures import missing

        missing(error.name or "typer")
    run()
