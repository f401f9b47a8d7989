"""The arguments and options common to several commands."""

from __future__ import annotations

import inspect
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itron_core.cli.columns import device_ids
from itron_core.policy import PolicyOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FileFormat", "TokenType", "group", "with_options", "with_policy"]


class FileFormat(StrEnum):
    """The file formats."""

    PARQUET = "parquet"
    ARROW = "arrow"
    CSV = "csv"
    JSONL = "jsonl"


class TokenType(StrEnum):
    """The token types of a column."""

    AUTHORIZATION = "authorization"
    SECURE_COMMAND = "secure_command"
    READING_KEY = "reading_key"
    DELEGATION = "delegation"


INPUT_FILE = typer.Argument(metavar="INPUT", help="A Parquet, Arrow IPC, CSV or JSON Lines file; - is standard input.")
INPUT_FORMAT = typer.Option("--format", help="The input's format, if its suffix does not show it.")
OUTPUT_FILE = typer.Option("--output", "-o", metavar="FILE", help="Write the rows here; - is standard output.")
OUTPUT_FORMAT = typer.Option("--output-format", help="The output's format, if its suffix does not show it.")
KEYRING = typer.Option(
    "--keyring", "-k", metavar="FILE", help="A JWK set, or public keys in PEM; repeatable for PEM files."
)
NOW = typer.Option("--now", metavar="TIME", help="Seconds since 1970, or ISO 8601 with an offset. Default: the clock.")
TIME_ZONE = typer.Option(
    "--time-zone", metavar="ZONE", help="The zone of times that name none, such as Europe/Berlin or UTC."
)
BEFORE = typer.Option(metavar="TIME", help="Delete material that expired at least 10 minutes before TIME.")
THREADS = typer.Option(min=1, help="The number of threads. Default: one per core.")
JSON = typer.Option("--json", help="Print JSON instead of a table.")
DRY_RUN = typer.Option("--dry-run", help="Only print what would be done.")
HOME = typer.Argument(metavar="HOME", help="The party's folder.")
ROOTS = typer.Option("--keyring", "-k", metavar="FILE", help="The trusted root keys: a JWK set.")
SERVER = typer.Argument(metavar="SERVER", help="The tools server: its URL, or its folder on this machine.")
BEARER = typer.Option(
    "--bearer", metavar="FILE", help="A file with the bearer token for a URL (see itron-core server bearer)."
)
CA = typer.Option("--ca", metavar="FILE", help="Trusted certificates (PEM) for the server's certificate.")
DEVICES = typer.Argument(metavar="DEVICE...", help="Device ids, such as ert:100000001.", callback=device_ids)
ROUTE = typer.Option(metavar="FILE", help="A file of further devices, in its column device.")
FILE = typer.Option("--file", metavar="FILE", help="Requests, one per row: columns device, token_type and action.")
TYPE = typer.Option("--type", metavar="TYPE", help="secure_command, authorization or reading_key.")
ACTIONS = typer.Option("--action", metavar="NAMES", help="Action names joined by commas; a secure command has one.")
PERMISSIONS = typer.Option(metavar="NAMES", help="The user's permissions, joined by commas, or `all`.")
LEGACY_ALGORITHMS = typer.Option("--legacy-algorithms", help="Also accept the deprecated EdDSA and ES256.")


# The options of a policy, by the names of `PolicyOptions`.
POLICY = {
    "allow_service_on_basic": typer.Option(
        "--allow-service-on-basic", help="Policy: allow service commands on basic devices."
    ),
    "reads_without_session": typer.Option(
        "--reads-without-session", help="Policy: allow interval data without a session."
    ),
    "status_without_key": typer.Option(
        "--status-without-key", help="Policy: allow the service status without a reading key."
    ),
    "service_needs_command_in_network_mode": typer.Option(
        "--service-needs-command-in-network-mode",
        help="Policy: require a secure command for service actions in Network Mode.",
    ),
    "command_limit": typer.Option(min=0, help="The number of secure commands per device between two syncs."),
    "authorization_limit": typer.Option(min=0, help="The number of authorizations per device between two syncs."),
}
AT = typer.Option(
    "--at", metavar="TIME", help="Decide for a planned time, such as 'tomorrow 08:00' (with --time-zone)."
)
PIN_FILE = typer.Option(metavar="FILE", help="A file with the HSM's PIN. Default: ask on the terminal.")


def with_options(
    parameter: str, make: Callable[..., Any], options: Iterable[inspect.Parameter]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator of commands: on the command line, these options stand for the parameter, which `make` makes of them."""
    options = list(options)

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(**given: Any) -> Any:
            return command(**{parameter: make(**{one.name: given.pop(one.name) for one in options})}, **given)

        own = inspect.signature(command, eval_str=True).parameters
        parameters = [each for name, one in own.items() for each in (options if name == parameter else [one])]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorated


def with_policy(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command whose parameter `options` is a `PolicyOptions`: on the command line, an option for each of its own."""
    of_policy = inspect.signature(PolicyOptions, eval_str=True).parameters.values()
    named = [one.replace(annotation=Annotated[one.annotation, POLICY[one.name]]) for one in of_policy]
    return with_options("options", PolicyOptions, named)(command)


def group(text: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
