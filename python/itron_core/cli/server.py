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
from itron_core.service.limits import ConnectionLimits, ServiceLimits
from itron_core.tools_server import Quotas

CONNECTIONS, REQUESTS, QUOTAS = ConnectionLimits(), ServiceLimits(), Quotas()
server_app = group("The tools server, which holds what was issued.")


@server_app.command("init")
def server_init(home: Annotated[Path, HOME], keyring: Annotated[Path, ROOTS]) -> None:
    """Make a tools server."""
    homes.make_server_home(home, keyring)
    say(f"A tools server in {home}.")


@server_app.command("bearer")
def server_bearer(
    home: Annotated[Path, HOME],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where the bearer token goes; must not exist yet.")],
    user: Annotated[str, typer.Option(help="Whose it is.")],
    role: Annotated[list[str], typer.Option(help="field_tool, manager or reader; repeatable.")],
    *,
    tool: Annotated[str, typer.Option(help="The field tool's name.")] = "",
    unit: Annotated[str, typer.Option(help="The business unit.")] = "",
    seconds: Annotated[int, typer.Option(min=1, max=86_400, help="For how long it is in force.")] = 28_800,
    token_id: Annotated[
        str | None, typer.Option("--id", help="The name by which it may be revoked; random if not given.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Make a bearer token for a field tool or a manager."""
    from itron_core.service.bearer import bearer_token

    signer = homes.bearer_signer(home)
    made = moment(now)
    token = bearer_token(
        signer, subject=user, roles=role, tool=tool, unit=unit, now=made, lifetime=seconds, token_id=token_id
    )
    write_secret(target, token.encode() + b"\n")
    say(f"A bearer token of {user} ({', '.join(role)}) in {target}.")


@server_app.command("revoke-bearers")
def server_revoke_bearers(
    home: Annotated[Path, HOME],
    *,
    bearer: Annotated[list[str] | None, typer.Option("--id", help="The id of a bearer token; repeatable.")] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="A field tool, whose bearers so far are refused; repeatable.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Refuse bearer tokens from now on.

    By their ids, or all that a lost field tool has.
    """
    if not (bearer or tool):
        raise UsageError("no bearer token named", "--id ID or --tool TOOL")
    homes.server(home).revoke_bearers(ids=bearer or [], tools=tool or [], now=moment(now))
    say(f"{counted(len(bearer or []) + len(tool or []), 'refusal')} of bearer tokens.")


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
    say(f"{counted(count, 'piece')} of material {'would be ' if dry_run else ''}forgotten.")


def serve(
    home: Annotated[Path, HOME],
    keyring: Annotated[Path | None, ROOTS] = None,
    *,
    host: Annotated[str, typer.Option(help="The address that it listens at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8_470,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: certificates, PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: their key, PEM.")] = None,
    connections: Annotated[int, typer.Option(min=1, help="Connections open at a time.")] = CONNECTIONS.connections,
    connections_per_address: Annotated[
        int, typer.Option(min=1, help="Connections open at a time from one address.")
    ] = CONNECTIONS.by_address,
    head_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds for the headers of a request to come.")
    ] = CONNECTIONS.head_seconds,
    answer_seconds: Annotated[
        float, typer.Option(min=0.1, help="Seconds for an answer to be taken.")
    ] = CONNECTIONS.answer_seconds,
    requests_at_once: Annotated[int, typer.Option(min=1, help="Requests worked on at a time.")] = REQUESTS.at_once,
    command_requests_per_tool: Annotated[
        int, typer.Option(min=1, help="Different command requests that one field tool may have.")
    ] = QUOTAS.command_requests,
    outcome_bytes_per_day: Annotated[
        int, typer.Option(min=1, help="Bytes of outcomes that one field tool may report per day (UTC).")
    ] = QUOTAS.outcome_bytes_a_day,
) -> None:
    """Serve a tools server over HTTP until interrupted.

    With --keyring it is made if there is none.
    """
    from itron_core.service.app import create_app
    from itron_core.service.client import is_loopback
    from itron_core.service.serving import check_certificate, run

    if certificate is None and not is_loopback(host):
        raise UsageError(
            f"http at {host}: bearer tokens would cross a network",
            "--certificate FILE --private-key FILE, or stay at 127.0.0.1 behind a proxy that speaks https",
        )
    if certificate is not None:
        check_certificate(certificate, private_key)
    if keyring is not None and not home.exists():
        homes.make_server_home(home, keyring)
    key = homes.bearer_signer(home).public_key
    limits = ServiceLimits(answer_seconds=answer_seconds, at_once=requests_at_once)
    server = homes.server(home, quotas=Quotas(command_requests_per_tool, outcome_bytes_per_day))
    service = create_app(server, bearer_key=key, clock=lambda: int(time.time()), limits=limits)
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
        raise UsageError(f"{host}:{port}: {error}", "another --host or --port") from None
