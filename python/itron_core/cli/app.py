"""The command `itron-core`: registers all commands, and turns errors into exit codes.

Exit codes: 0 all rows allowed (or the work is done), 1 some refused, 2 wrong usage, 3 unreadable input, 4 an internal
error, 5 a store, a disk or a network that fails. Results go to standard output; remarks, errors and progress go to
standard error, progress only on a terminal.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib import import_module
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from itron_core.cli.failures import Exit, ReaderGoneError, UnreadableError, UnwritableError, UsageError, missing
from itron_core.cli.output import lost, remark, say, to_nowhere
from itron_core.cli.store_option import with_store
from itron_core.cli.written_files import begin
from itron_core.errors import (
    ExchangeError,
    ItronCoreError,
    RequestRefused,
    SignerError,
    StoreError,
    TokenRefused,
)

__all__ = ["commands", "run"]

INTERRUPTED = 130

# The commands and groups in the order of the help, each with its module: only what is asked for is imported.
_COMMANDS: Final = {
    "verify": "tokens",
    "preflight": "routes",
    "explain": "routes",
    "report": "report",
    "issue": "tokens",
    "derive": "derive",
    "demo": "demo",
    "doctor": "machine",
    "serve": "server",
    "backup": "backup",
    "restore": "backup",
}
_GROUPS: Final = {
    "route": "routes",
    "keys": "keys",
    "readings": "readings",
    "manager": "manager",
    "server": "server",
    "field": "field",
    "device": "device",
    "audit": "audit",
}
# The parties with a store: `--store` names another one than their own.
_WITH_STORE: Final = frozenset({"serve", "manager", "server", "field"})


def commands(first: str | None = None) -> typer.Typer:
    """Return the command line: that of the command or group `first`, if it is one, else all of it."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Verify signed authorizations for meters in bulk, and decide which actions are allowed on each device of a route.",
    )
    app.callback()(_root)
    one = {first} if first in _COMMANDS or first in _GROUPS else None
    for name, module in _COMMANDS.items():
        if one is None or name in one:
            command = getattr(import_module(f"itron_core.cli.{module}"), name)
            app.command()(with_store(command) if name in _WITH_STORE else command)
    for name in _GROUPS:
        if one is None or name in one:
            app.add_typer(_group(name), name=name)
    return app


@cache
def _group(name: str) -> typer.Typer:
    group: typer.Typer = getattr(import_module(f"itron_core.cli.{_GROUPS[name]}"), f"{name}_app")
    for listed in group.registered_commands if name in _WITH_STORE else ():
        if listed.callback is not None:
            listed.callback = with_store(listed.callback)
    return group


def _show_version(value: bool) -> None:
    if value:
        from itron_core import __version__

        say(f"itron-core {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[  # its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line and return its exit code."""
    begin()
    closed = _open_closed_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper
    try:
        code = _exit_code_of_the_command()
        if sys.stdout is not None and 1 not in closed:
            sys.stdout.flush()
    except (ReaderGoneError, BrokenPipeError):
        code = int(Exit.OK)
        to_nowhere(sys.stdout, 1)
    except OSError as error:
        to_nowhere(sys.stdout, 1)
        code = _failed(lost(error), Exit.UNAVAILABLE)
    return code


# The exit code of each error; the first matching class counts.
_CODES: dict[type[Exception], Exit] = {
    UsageError: Exit.USAGE,
    TokenRefused: Exit.REFUSED,
    RequestRefused: Exit.REFUSED,
    StoreError: Exit.UNAVAILABLE,
    ExchangeError: Exit.UNAVAILABLE,
    SignerError: Exit.UNAVAILABLE,
    UnwritableError: Exit.UNAVAILABLE,
    UnreadableError: Exit.UNREADABLE,
    ItronCoreError: Exit.UNREADABLE,
}


# Advice of the library's messages, as commands.
_IN_COMMANDS = {
    "create one with bearer_token()": "create one with: itron-core server bearer HOME FILE",
    "add it first with set_role": "add it first: itron-core manager role HOME NAME",
}


def _exit_code_of_the_command() -> int:
    try:
        # Not standalone: this module chooses the exit code if the reader has gone or nothing can be printed.
        return int(commands(next(iter(sys.argv[1:]), None))(standalone_mode=False) or 0)
    except typer.Abort:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        missing(error.name or "a module")
    except ReaderGoneError:
        raise
    except OSError as error:
        what = f"{error.filename}: " if error.filename else "reading or writing failed: "
        return _failed(UnwritableError(f"{what}{error.strerror or error}"), Exit.UNAVAILABLE)
    except Exception as error:  # noqa: BLE001  # the last resort of a program: say that it is its own error
        if isinstance(error, TyperException):
            try:
                error.show()  # type: ignore[attr-defined]  # each that Typer raises for wrong usage has it
            except OSError:  # as for every message on standard error
                to_nowhere(sys.stderr, 2)
            return Exit.USAGE
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
        if code is not None:
            return _failed(error, code)
        return _failed(RuntimeError(f"an internal error: {type(error).__name__}: {error}"), Exit.INTERNAL)


def _failed(error: Exception, code: Exit) -> int:
    message = str(error)
    for python, command in _IN_COMMANDS.items():
        message = message.replace(python, command)
    remark(f"itron-core: {message}", style="red")
    if hint := getattr(error, "hint", ""):
        remark(f"  hint: {hint}")
    return int(code)


def _open_closed_descriptors() -> set[int]:
    """Open closed descriptors among 0, 1 and 2 to nowhere, so that no store or key file takes their place."""
    closed = set()
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(os.open(os.devnull, os.O_RDWR))
    return closed
