"""The arguments and options common to several commands."""

from __future__ import annotations

from enum import StrEnum

import typer

__all__ = ["FileFormat", "TokenType", "group"]


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
DEVICES = typer.Argument(metavar="DEVICE...", help="Device ids, such as ert:100000001.")
ROUTE = typer.Option(metavar="FILE", help="A file of further devices, in its column device.")
FILE = typer.Option("--file", metavar="FILE", help="Requests, one per row: columns device, token_type and action.")
TYPE = typer.Option("--type", metavar="TYPE", help="secure_command, authorization or reading_key.")
ACTIONS = typer.Option("--action", metavar="NAMES", help="Action names joined by commas; a secure command has one.")
PERMISSIONS = typer.Option(metavar="NAMES", help="The user's permissions, joined by commas, or `all`.")
LEGACY_ALGORITHMS = typer.Option("--legacy-algorithms", help="Also accept the deprecated EdDSA and ES256.")


SERVICE_ON_BASIC = typer.Option("--allow-service-on-basic", help="Policy: allow service commands on basic devices.")
READS_WITHOUT_SESSION = typer.Option("--reads-without-session", help="Policy: allow interval data without a session.")
STATUS_WITHOUT_KEY = typer.Option(
    "--status-without-key", help="Policy: allow the service status without a reading key."
)
SERVICE_NEEDS_COMMAND = typer.Option(
    "--service-needs-command-in-network-mode",
    help="Policy: require a secure command for service actions in Network Mode.",
)
COMMAND_LIMIT = typer.Option(min=0, help="The number of secure commands per device between two syncs.")
AUTHORIZATION_LIMIT = typer.Option(min=0, help="The number of authorizations per device between two syncs.")
AT = typer.Option(
    "--at", metavar="TIME", help="Decide for a planned time, such as 'tomorrow 08:00' (with --time-zone)."
)
PIN_FILE = typer.Option(metavar="FILE", help="A file with the HSM's PIN. Default: ask on the terminal.")


def group(text: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)
