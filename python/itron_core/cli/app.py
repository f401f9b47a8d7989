"""The command `itron-core`: registers all commands, and turns errors into exit codes.

Exit codes: 0 all rows allowed (or the work is done), 1 some refused, 2 wrong usage, 3 unreadable input, 4 an internal
error, 5 a store, a disk or a network that fails. Results go to standard output; remarks, errors and progress go to
standard error, progress only on a terminal.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from itron_core.cli import demo, derive, machine, routes, tokens
from itron_core.cli.audit import audit_app
from itron_core.cli.backup import backup, restore
from itron_core.cli.device import device_app
from itron_core.cli.failures import Exit, ReaderGoneError, UnreadableError, UnwritableError, UsageError, missing
from itron_core.cli.field import field_app
from itron_core.cli.keys import keys_app
from itron_core.cli.manager import manager_app
from itron_core.cli.output import lost, remark, say, to_nowhere
from itron_core.cli.readings import readings_app
from itron_core.cli.report import report
from itron_core.cli.server import serve, server_app
from itron_core.cli.store_option import with_store
from itron_core.errors import (
    ExchangeError,
    ItronCoreError,
    RequestRefused,
    SignerError,
    StoreError,
    TokenRefused,
)

__all__ = ["app", "run"]

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Verify signed authorizations for meters in bulk, and decide which actions are allowed on each device of a route.",
)
for _command in (
    tokens.verify,
    routes.preflight,
    routes.explain,
    report,
    tokens.issue,
    derive.derive,
    demo.demo,
    machine.doctor,
    serve,
    backup,
    restore,
):
    app.command()(with_store(_command) if _command is serve else _command)
for _party in (manager_app, server_app, field_app):
    for _listed in _party.registered_commands:
        if _listed.callback is not None:
            _listed.callback = with_store(_listed.callback)
for _name, _group in (
    ("route", routes.route_app),
    ("keys", keys_app),
    ("readings", readings_app),
    ("manager", manager_app),
    ("server", server_app),
    ("field", field_app),
    ("device", device_app),
    ("audit", audit_app),
):
    app.add_typer(_group, name=_name)


def _show_version(value: bool) -> None:
    if value:
        from itron_core import __version__

        say(f"itron-core {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command line and return its exit code."""
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
}


def _exit_code_of_the_command() -> int:
    try:
        # Not standalone: this module chooses the exit code if the reader has gone or nothing can be printed.
        return int(app(standalone_mode=False) or 0)
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
