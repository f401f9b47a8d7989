"""The tools server on the command line."""

from __future__ import annotations

import os
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
from itron_core.cli.options import BEFORE, DRY_RUN, HOME, JSON, NOW, ROOTS, group
from itron_core.cli.output import counted, iso, permission_names, remark, say, show, show_devices, show_material
from itron_core.cli.parties import all_rows, named_roots, rows_held_by
from itron_core.service.limits import ConnectionLimits, ServiceLimits
from itron_core.tools_server import BearerRecord, Quotas

CONNECTIONS, REQUESTS, QUOTAS = ConnectionLimits(), ServiceLimits(), Quotas()
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
    from itron_core.service.bearer import TOKEN_ID_BYTES, bearer_token

    if "field_tool" in role and not tool:
        raise UsageError("the bearer token of a field tool names the tool", "name it: --tool TOOL")
    signer = homes.bearer_signer(home)
    made, name = moment(now), os.urandom(TOKEN_ID_BYTES).hex() if token_id is None else token_id
    token = bearer_token(
        signer, subject=user, roles=role, tool=tool, unit=unit, now=made, lifetime=seconds, token_id=name
    )
    record = BearerRecord(name, user, ",".join(sorted(set(role))), tool, unit, made, made + seconds)
    tools = homes.server(home)
    write_secret(target, token.encode() + b"\n")
    try:
        tools.keep_bearer(record, now=made)
    except BaseException:
        target.unlink()  # an unlisted bearer token could not be revoked
        raise
    say(f"Created a bearer token of {user} ({', '.join(role)}) in {target}.")


@server_app.command("bearers")
def server_bearers(
    home: Annotated[Path, HOME],
    tool: Annotated[str | None, typer.Option(help="Only the bearer tokens of one field tool.")] = None,
    as_json: Annotated[bool, JSON] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """List the bearer tokens created here.

    revoke-bearers accepts their ids. The tokens themselves are not stored.
    """
    at = moment(now)
    rows = [
        [
            *(one.token_id, one.user, one.roles, one.tool or "-", one.unit or "-", iso(one.expires_at)),
            "revoked" if one.revoked else "in force" if at < one.expires_at else "expired",
        ]
        for one in homes.server(home).bearers()
        if tool in {None, one.tool}
    ]
    show(["id", "user", "roles", "tool", "unit", "expires at", "state"], rows, as_json=as_json)


@server_app.command("revoke-bearers")
def server_revoke_bearers(
    home: Annotated[Path, HOME],
    *,
    bearer: Annotated[list[str] | None, typer.Option("--id", help="The id of a bearer token; repeatable.")] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="A field tool whose current bearer tokens are refused; repeatable.")
    ] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Refuse bearer tokens from now on.

    Names them by id, or all of a lost field tool.
    """
    if not (bearer or tool):
        raise UsageError("the bearer token is missing", "name it: --id ID or --tool TOOL")
    at, tools = moment(now), homes.server(home)
    listed = [
        one
        for one in tools.bearers()
        if not one.revoked and at < one.expires_at and (one.token_id in (bearer or []) or one.tool in (tool or []))
    ]
    if not dry_run:
        tools.revoke_bearers(ids=bearer or [], tools=tool or [], now=at)
    say(
        f"{'Would be revoked' if dry_run else 'Revoked'}: {counted(len(listed), 'bearer token')} among those listed here."
    )
    known = {one.token_id for one in tools.bearers()}
    for name in bearer or []:
        if name not in known:
            remark(
                f"{name} is not listed here; a bearer token with this id {'would be' if dry_run else 'is'} refused too."
            )


@server_app.command("tools")
def server_tools(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List the field tools that have signed in or were removed."""
    rows = [
        [
            *(one.tool, one.unit or "-", one.user or "-", one.command_requests, one.granted, one.reported),
            "removed" if one.removed else "in use",
        ]
        for one in homes.server(home).tools()
    ]
    show(["tool", "unit", "user", "command requests", "granted", "reported", "state"], rows, as_json=as_json)


@server_app.command("remove-tool")
def server_remove_tool(
    home: Annotated[Path, HOME],
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The lost, stolen or retired field tool.")],
    *,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Remove a field tool for good.

    Its bearer tokens are refused, its grants end, and its name cannot be used again. `manager revoke-tool` revokes its
    material.
    """
    at, tools = moment(now), homes.server(home)
    if dry_run:
        known = {one.tool for one in tools.tools() if not one.removed} | {one.tool for one in tools.bearers()}
        say(f"Would be removed: {counted(int(tool in known), 'tool')}.")
        return
    tools.remove_tool(tool, now=at)
    say(f"Removed the tool {tool}.")


@server_app.command("users")
def server_users(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List the users who may sign in, as of the last delivery."""
    rows = [[name, unit, permission_names(permissions)] for name, unit, permissions in homes.server(home).users()]
    show(["user", "unit", "permissions"], rows, as_json=as_json)


@server_app.command("devices")
def server_devices(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List the devices, as of the last delivery."""
    show_devices(homes.server(home).all_devices(), as_json=as_json)


@server_app.command("material")
def server_material(
    home: Annotated[Path, HOME],
    device: Annotated[str | None, typer.Option(help="Only the material of one device.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only the material that a field tool may still use.")] = None,
    as_json: Annotated[bool, JSON] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """List the tokens stored for field tools."""
    tools, at = homes.server(home), moment(now)
    held = all_rows(tools) if tool is None else rows_held_by(tools, tool, at)
    show_material((one for one in held if device in {None, one.device}), as_json=as_json)


@server_app.command("trust")
def server_trust(home: Annotated[Path, HOME], keyring: Annotated[Path, ROOTS]) -> None:
    """Replace the trusted root keys.

    A running service uses them after a restart.
    """
    say(f"{home} trusts {named_roots(homes.trust(home, 'server', keyring))}.")


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
    connections: Annotated[int, typer.Option(min=1, help="The most open connections.")] = CONNECTIONS.connections,
    connections_per_address: Annotated[
        int, typer.Option(min=1, help="The most open connections per address.")
    ] = CONNECTIONS.by_address,
    head_seconds: Annotated[
        float, typer.Option(min=0.1, help="The longest time for sending a request's headers, in seconds.")
    ] = CONNECTIONS.head_seconds,
    answer_seconds: Annotated[
        float, typer.Option(min=0.1, help="The longest time for reading an answer, in seconds.")
    ] = CONNECTIONS.answer_seconds,
    requests_at_once: Annotated[
        int, typer.Option(min=1, help="The most requests served at a time.")
    ] = REQUESTS.at_once,
    command_requests_per_tool: Annotated[
        int, typer.Option(min=1, help="The most different command requests per field tool.")
    ] = QUOTAS.command_requests,
    outcome_bytes_per_day: Annotated[
        int, typer.Option(min=1, help="The most bytes of outcomes that a field tool may report per day (UTC).")
    ] = QUOTAS.outcome_bytes_per_day,
) -> None:
    """Serve a tools server over HTTP until interrupted.

    With --keyring, it is created if it does not exist; the roots of one that exists stay.
    """
    from itron_core.service.app import create_app
    from itron_core.service.connection import is_loopback
    from itron_core.service.serving import check_certificate, run

    if certificate is None and not is_loopback(host):
        raise UsageError(
            f"--host: got {host} without TLS, which would send bearer tokens over a network unencrypted",
            "use --certificate FILE --private-key FILE, or 127.0.0.1 behind an https proxy",
        )
    if certificate is not None:
        check_certificate(certificate, private_key, now=moment(None))
    elif private_key is not None:
        raise UsageError("--private-key: got a key without its certificate", "name it: --certificate FILE")
    if keyring is not None and not homes.make_server_home_once(home, keyring):
        remark(
            f"{home} trusts other roots than {keyring}; to change them: itron-core server trust {home} --keyring FILE"
        )
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
        raise UsageError(f"{host}:{port}: {error}", "choose another --host or --port") from None
