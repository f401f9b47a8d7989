"""The tools server on the command line."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from itron_core.cli import folders as homes
from itron_core.cli.failures import UsageError
from itron_core.cli.inputs import moment, past_moment
from itron_core.cli.key_files import write_secret
from itron_core.cli.options import BEFORE, DRY_RUN, HOME, NOW, ROOTS, group
from itron_core.cli.output import counted, say
from itron_core.service.limits import ConnectionLimits

LIMITS = ConnectionLimits()
server_app = group("The tools server, which stores issued material.")


@server_app.command("init")
def server_init(home: Annotated[Path, HOME], keyring: Annotated[Path, ROOTS]) -> None:
    """Create a tools server."""
    homes.make_server_home(home, keyring)
    say(f"Created a tools server in {home}.")


@server_app.command("bearer")
def server_bearer(
    home: Annotated[Path, HOME],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The new file for the bearer token.")],
    user: Annotated[str, typer.Option(help="The user or service that it names.")],
    role: Annotated[list[str], typer.Option(help="A role: field_tool, manager or reader; repeatable.")],
    *,
    tool: Annotated[str, typer.Option(help="The field tool's name.")] = "",
    unit: Annotated[str, typer.Option(help="The business unit.")] = "",
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="Its lifetime in seconds.")] = 28_800,
    token_id: Annotated[str | None, typer.Option("--id", help="The id for revoking it. Default: random.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Create a bearer token for a field tool or a manager."""
    from itron_core.service.bearer import bearer_token

    signer = homes.bearer_signer(home)
    made = moment(now)
    token = bearer_token(
        signer, subject=user, roles=role, tool=tool, unit=unit, now=made, lifetime=seconds, token_id=token_id
    )
    write_secret(target, token.encode() + b"\n")
    say(f"Created a bearer token of {user} ({', '.join(role)}) in {target}.")


@server_app.command("revoke-bearers")
def server_revoke_bearers(
    home: Annotated[Path, HOME],
    *,
    bearer: Annotated[list[str] | None, typer.Option("--id", help="The id of a bearer token; repeatable.")] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="A field tool whose current bearer tokens are refused; repeatable.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Refuse bearer tokens from now on.

    Names them by id, or all of a lost field tool.
    """
    if not (bearer or tool):
        raise UsageError("the bearer token is missing", "name it: --id ID or --tool TOOL")
    homes.server(home).revoke_bearers(ids=bearer or [], tools=tool or [], now=moment(now))
    say(f"{counted(len(bearer or []) + len(tool or []), 'refusal')} of bearer tokens added.")


@server_app.command("prune")
def server_prune(
    home: Annotated[Path, HOME],
    before: Annotated[str, BEFORE],
    *,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Delete expired tokens.

    The records needed to judge late reports stay.
    """
    at = moment(now)
    count = homes.server(home).prune(before=past_moment(before, at), now=at, dry_run=dry_run)
    say(f"{counted(count, 'piece')} of material {'would be ' if dry_run else ''}deleted.")


def serve(
    home: Annotated[Path, HOME],
    keyring: Annotated[Path | None, ROOTS] = None,
    *,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on; 0 chooses a free one.")] = 8_470,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="The certificates for https (PEM).")] = None,
    private_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificates' private key (PEM).")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, help="The most open connections.")] = LIMITS.connections,
    connections_per_address: Annotated[
        int, typer.Option(min=1, help="The most open connections per address.")
    ] = LIMITS.by_address,
    head_seconds: Annotated[
        float, typer.Option(min=0.1, help="The longest time for sending a request's headers, in seconds.")
    ] = LIMITS.head_seconds,
    answer_seconds: Annotated[
        float, typer.Option(min=0.1, help="The longest time for reading an answer, in seconds.")
    ] = LIMITS.answer_seconds,
) -> None:
    """Serve a tools server over HTTP until interrupted.

    With --keyring, it is created if it does not exist.
    """
    from itron_core.service.app import ServiceLimits, create_app
    from itron_core.service.client import is_loopback
    from itron_core.service.serving import check_certificate, run

    if certificate is None and not is_loopback(host):
        raise UsageError(
            f"--host: got {host} without TLS, which would send bearer tokens over a network unencrypted",
            "use --certificate FILE --private-key FILE, or 127.0.0.1 behind an https proxy",
        )
    if certificate is not None:
        check_certificate(certificate, private_key)
    if keyring is not None and not home.exists():
        homes.make_server_home(home, keyring)
    key = homes.bearer_signer(home).public_key
    limits = ServiceLimits(answer_seconds=answer_seconds)
    service = create_app(homes.server(home), bearer_key=key, clock=lambda: int(time.time()), limits=limits)
    with closing(_listening(host, port)) as listening:
        address, taken = listening.getsockname()[:2]
        named = f"[{address}]" if ":" in address else address
        line = f"Serving {home} at {'http' if certificate is None else 'https'}://{named}:{taken}"
        run(
            service,
            listening,
            ready=lambda: say(line),
            limits=ConnectionLimits(connections, connections_per_address, head_seconds, answer_seconds),
            certificate=certificate,
            private_key=private_key,
        )


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"{host}:{port}: {error}", "choose another --host or --port") from None
