"""The security manager on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from itron_core.cli import folders as homes
from itron_core.cli.columns import DEVICE_COLUMNS
from itron_core.cli.failures import Exit, UnreadableError, UsageError
from itron_core.cli.files import read_rows
from itron_core.cli.inputs import actions_of, bytes_of, devices_of, member, moment, permissions_of
from itron_core.cli.options import (
    ACTIONS,
    BEARER,
    CA,
    DEVICES,
    HOME,
    INPUT_FORMAT,
    NOW,
    PERMISSIONS,
    ROUTE,
    SERVER,
    TYPE,
    FileFormat,
    group,
)
from itron_core.cli.output import counted, names_of, say, show
from itron_core.enums import DeviceClass, Mode, SecurityLevel
from itron_core.exchange.records import DeviceRecord

manager_app = group("The security manager: people, devices, requests, issuing.")


@manager_app.command("init")
def manager_init(
    home: Annotated[Path, HOME],
    utility: Annotated[str, typer.Option(help="The utility's id, 1 to 16 ASCII characters.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Make a security manager: its keys (readable by their owner alone), its store, its log."""
    homes.make_manager_home(home, utility, moment(now))
    say(f"A security manager in {home}; its public root key is in {home / 'root.jwks'}.")


@manager_app.command("role")
def manager_role(
    home: Annotated[Path, HOME],
    name: str,
    permissions: Annotated[str, PERMISSIONS],
    officer: Annotated[bool, typer.Option("--officer", help="People of this role may request material.")] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Add or change a role."""
    granted = permissions_of(permissions)
    homes.manager(home).set_role(name, granted, officer=officer, now=moment(now))
    say(f"Role {name}: {granted.name or int(granted)}{', officer' if officer else ''}.")


@manager_app.command("user")
def manager_user(
    home: Annotated[Path, HOME],
    name: str,
    role: Annotated[str, typer.Option(help="A role that exists.")],
    unit: Annotated[str, typer.Option(help="The business unit.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Add or change a person."""
    homes.manager(home).set_user(name, role, unit, now=moment(now))
    say(f"{name}: {role} in {unit}.")


@manager_app.command("devices")
def manager_devices(
    home: Annotated[Path, HOME],
    source: Annotated[str, typer.Argument(metavar="FILE", help="Columns device, unit, device_class and others.")],
    pending_level: Annotated[str, typer.Option(help="The level that they are about to have.")] = "unknown",
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
) -> None:
    """Take devices from a file: device, unit, device_class, mode, security_level, level_verified, epoch."""
    records = [_record(row) for batch in read_rows(source, input_format, DEVICE_COLUMNS) for row in batch.to_pylist()]
    level = member(SecurityLevel, pending_level, "level")
    homes.manager(home).set_devices(records, pending_level=level, now=moment(now))
    say(f"{counted(len(records), 'device')}.")


@manager_app.command("request")
def manager_request(
    home: Annotated[Path, HOME],
    officer: str,
    devices: Annotated[list[str] | None, DEVICES] = None,
    *,
    token_type: Annotated[str, TYPE],
    actions: Annotated[str, ACTIONS],
    route: Annotated[str | None, ROUTE] = None,
    argument: Annotated[str, typer.Option(help="What the command says beside its action.")] = "",
    session_seconds: Annotated[int | None, typer.Option(help="60 to 28,800; default 3,600.")] = None,
    key: Annotated[str | None, typer.Option(help="A text of your own: again with it, nothing is asked twice.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Ask, as an officer, for one token a device."""
    asked = homes.manager(home).request(
        officer,
        devices_of(devices, route),
        token_type=token_type,
        actions=sum(1 << action for action in actions_of(actions)),
        argument=argument,
        session_seconds=session_seconds,
        key=key,
        now=moment(now),
    )
    say(f"Request {asked.id}: {asked.state}, {counted(asked.rows, 'token')}.")
    for device, reason in asked.refused:
        say(f"  {device}: {reason}")
    if asked.refused:
        raise typer.Exit(Exit.REFUSED)


@manager_app.command("requests")
def manager_requests(
    home: Annotated[Path, HOME],
    state: Annotated[str | None, typer.Option(help="Only those: waiting, approved, allotted or rejected.")] = None,
) -> None:
    """List what was asked for, the oldest first."""
    rows = [
        [
            *(str(asked.id), asked.state, asked.officer, asked.approver or "-"),
            *(asked.token_type, names_of(asked.actions), f"{asked.size:,}"),
        ]
        for asked in homes.manager(home).requests(state=state)
    ]
    show(["request", "state", "officer", "approver", "type", "actions", "rows"], rows)


@manager_app.command("approve")
def manager_approve(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Be the second person of a request."""
    homes.manager(home).approve(request, officer, now=moment(now))
    say(f"Request {request}: approved by {officer}.")


@manager_app.command("reject")
def manager_reject(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Turn down a request that waits, or withdraw one that is not issued yet."""
    homes.manager(home).reject(request, officer, now=moment(now))
    say(f"Request {request}: rejected by {officer}.")


@manager_app.command("issue")
def manager_issue(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Issue everything that is approved."""
    report = homes.manager(home).issue(now=moment(now))
    say(f"{counted(report.issued, 'token')} issued.")


@manager_app.command("deliver")
def manager_deliver(
    home: Annotated[Path, HOME],
    server: Annotated[str, SERVER],
    bearer: Annotated[Path | None, BEARER] = None,
    ca: Annotated[Path | None, CA] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Bring a tools server up to date, and take what field tools have reported."""
    at = moment(now)
    manager = homes.manager(home)
    with homes.reached(server, bearer, ca) as tools:
        taken = manager.deliver(tools, now=at)
        told = manager.collect(tools, now=at)
    say(f"{counted(taken, 'token')} delivered, {counted(told, 'outcome')} collected.")


@manager_app.command("revoke")
def manager_revoke(
    home: Annotated[Path, HOME],
    *,
    key: Annotated[list[str] | None, typer.Option(metavar="KID", help="An issuing key, in hexadecimal digits.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="All that it was issued before now.")] = None,
    token: Annotated[
        list[str] | None, typer.Option(metavar="KID:CTI", help="One token, in hexadecimal digits.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Withdraw what was issued; the next delivery takes the list along. What is revoked stays so."""
    if not (key or device or token):
        raise UsageError("nothing to revoke", "--key KID, --device DEVICE or --token KID:CTI")
    at = moment(now)
    pairs = [one.partition(":")[::2] for one in token or []]
    homes.manager(home).revoke(
        issuers=[bytes_of(one, "--key") for one in key or []],
        devices=dict.fromkeys(device or [], (0, at, 0)),
        tokens=[(bytes_of(kid, "--token"), bytes_of(cti, "--token")) for kid, cti in pairs],
        now=at,
    )
    what = [counted(len(key or []), "key"), counted(len(device or []), "device"), counted(len(pairs), "token")]
    say(f"Revoked: {', '.join(what)}.")


@manager_app.command("rotate")
def manager_rotate(
    home: Annotated[Path, HOME],
    overlap: Annotated[int, typer.Option(min=0, help="Seconds that the old key stays in force.")] = 604_800,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Issue with a new key from now on."""
    signer = homes.rotate_key(home, moment(now), overlap)
    say(f"Issuing with key {signer.public_key.kid.hex()}.")


@manager_app.command("keyring")
def manager_keyring(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Print the root key and the issuing keys in force as a JWK set: what a device trusts."""
    say(homes.manager(home).keyring(now=moment(now)).to_jwks())


def _record(row: dict[str, Any]) -> DeviceRecord:
    try:
        return DeviceRecord(
            str(row["device"]),
            str(row["unit"]),
            member(DeviceClass, str(row["device_class"]), "class"),
            member(Mode, str(row.get("mode") or "unknown"), "mode"),
            member(SecurityLevel, str(row.get("security_level") or "unknown"), "level"),
            row.get("level_verified") is not False,
            int(row.get("epoch") or 0),
        )
    except KeyError as error:
        raise UnreadableError(
            f"a row of devices cannot be read: {error}; wanted device, unit, device_class, and level_verified true or false"
        ) from error
    except ValueError as error:
        raise UnreadableError(f"a row of devices cannot be read: {error}") from error
