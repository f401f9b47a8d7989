"""The command line `itron-core`: files in, files out, an exit code. The only reader of the clock.

Exit codes: 0 all rows allowed (or the work is done), 1 some refused, 2 wrong usage, 3 unreadable input, 4 a fault inside.
What was asked for goes to standard output; remarks, errors and progress go to standard error, progress only on a terminal.
"""

from __future__ import annotations

import os
import sys

from itron_core.cli import files as _files
from itron_core.cli.shared import Exit, UsageError, app, missing, remarks

# isort: split
# Behind `shared`, which says what is missing.
from itron_core.cli import bulk, machine  # noqa: F401  # imported for the commands they register
from itron_core.cli.audit import audit_app
from itron_core.cli.device import device_app
from itron_core.cli.field import field_app
from itron_core.cli.keys import keys_app
from itron_core.cli.manager import manager_app
from itron_core.cli.server import server_app
from itron_core.errors import ItronCoreError, RequestRefused, TokenRefused

# What the extra `service` brings, and no other.
SERVICE = frozenset({"fastapi", "httpx", "joserfc", "starlette", "uvicorn"})

app.add_typer(keys_app, name="keys")
for _name, _group in (
    ("manager", manager_app),
    ("server", server_app),
    ("field", field_app),
    ("device", device_app),
    ("audit", audit_app),
):
    app.add_typer(_group, name=_name)


def _fail(error: Exception, code: Exit) -> Exit:
    remarks.print(f"itron-core: {error}", markup=False, style="red")
    if hint := getattr(error, "hint", ""):
        remarks.print(f"  hint: {hint}", markup=False)
    return code


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        app()
    except ModuleNotFoundError as error:
        missing(error.name or "a module", "service" if error.name in SERVICE else "io")
    except UsageError as error:
        code = _fail(error, Exit.USAGE)
    except (TokenRefused, RequestRefused) as error:
        code = _fail(error, Exit.REFUSED)
    except (_files.UnreadableError, ItronCoreError) as error:
        code = _fail(error, Exit.UNREADABLE)
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.OK
    except Exception as error:  # noqa: BLE001  # the last resort of a program: say that it is its own fault
        code = _fail(RuntimeError(f"a fault of its own: {type(error).__name__}: {error}"), Exit.INTERNAL)
    else:
        return
    raise SystemExit(code)
