"""The tools server on the command line."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itron_core.cli import folders as homes
from itron_core.cli.failures import UsageError
from itron_core.cli.inputs import moment, past_moment
from itron_core.cli.key_files import write_secret
from itron_core.cli.options import BEFORE, HOME, NOW, ROOTS, group
from itron_core.cli.output import counted, say

if TYPE_CHECKING:
    import uvicorn

READY_EVERY = 0.02
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
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Make a bearer token for a field tool or a manager."""
    from itron_core.service.bearer import bearer_token

    signer = homes.bearer_signer(home)
    token = bearer_token(signer, subject=user, roles=role, tool=tool, unit=unit, now=moment(now), lifetime=seconds)
    write_secret(target, token.encode() + b"\n")
    say(f"A bearer token of {user} ({', '.join(role)}) in {target}.")


@server_app.command("prune")
def server_prune(
    home: Annotated[Path, HOME],
    before: Annotated[str, BEFORE],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Delete expired tokens.

    The records needed to judge late reports stay.
    """
    at = moment(now)
    count = homes.server(home).prune(before=past_moment(before, at), now=at)
    say(f"{counted(count, 'piece')} of material forgotten.")


def serve(
    home: Annotated[Path, HOME],
    keyring: Annotated[Path | None, ROOTS] = None,
    *,
    host: Annotated[str, typer.Option(help="The address that it listens at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8_470,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: certificates, PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(metavar="FILE", help="For https: their key, PEM.")] = None,
) -> None:
    """Serve a tools server over HTTP until interrupted.

    With --keyring it is made if there is none.
    """
    import uvicorn

    from itron_core.service.app import create_app
    from itron_core.service.client import is_loopback

    if certificate is None and not is_loopback(host):
        raise UsageError(
            f"http at {host}: bearer tokens would cross a network",
            "--certificate FILE --private-key FILE, or stay at 127.0.0.1 behind a proxy that speaks https",
        )
    if keyring is not None and not home.exists():
        homes.make_server_home(home, keyring)
    key = homes.bearer_signer(home).public_key
    service = create_app(homes.server(home), bearer_key=key, clock=lambda: int(time.time()))
    settings = uvicorn.Config(
        service, log_level="warning", lifespan="off", ssl_certfile=certificate, ssl_keyfile=private_key
    )
    with closing(_listening(host, port)) as listening:
        address, taken = listening.getsockname()[:2]
        named = f"[{address}]" if ":" in address else address
        line = f"Serving {home} at {'http' if certificate is None else 'https'}://{named}:{taken}"
        with suppress(KeyboardInterrupt):  # the usual end
            asyncio.run(_serve(uvicorn.Server(settings), listening, line))


async def _serve(server: uvicorn.Server, listening: socket.socket, line: str) -> None:
    """Serve, and print a line as soon as whoever reads it may connect, or send a signal."""
    serving = asyncio.create_task(server.serve([listening]))
    while not (server.started or serving.done()):  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(READY_EVERY)
    say(line)
    await serving


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(f"{host}:{port}: {error}", "another --host or --port") from None
