"""The security manager on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from itron_core.cli import files as _files
from itron_core.cli import folders as homes
from itron_core.cli.keys import jwk_of
from itron_core.cli.shared import (
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
    Exit,
    FileFormat,
    UsageError,
    actions_of,
    counted,
    devices_of,
    group,
    member,
    moment,
    names_of,
    output,
    permissions_of,
    read_batches,
    show,
)
from itron_core.enums import DeviceClass, Mode, SecurityLevel
from itron_core.exchange.records import DeviceRecord

manager_app = group("The security manager: people, devices, requests, issuing.")
ISO_FLAGS = {"true": True, "false": False, "1": True, "0": False}


@manager_app.command("init")
def manager_init(
    home: Annotated[Path, HOME],
    utility: Annotated[str, typer.Option(help="The utility's id, 1 to 16 ASCII characters.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Make a security manager: its keys (readable by their owner alone), its store, its log."""
    homes.make_manager_home(home, utility, moment(now))
    output.print(f"A security manager in {home}; its public root key is in {home / 'root.jwks'}.", markup=False)


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
    output.print(f"Role {name}: {granted.name or int(granted)}{', officer' if officer else ''}.", markup=False)


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
    output.print(f"{name}: {role} in {unit}.", markup=False)


@manager_app.command("devices")
def manager_devices(
    home: Annotated[Path, HOME],
    source: Annotated[str, typer.Argument(metavar="FILE", help="Columns device, unit, device_class and others.")],
    pending_level: Annotated[str, typer.Option(help="The level that they are about to have.")] = "unknown",
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
) -> None:
    """Take devices from a file: device, unit, device_class, mode, security_level, level_verified, epoch."""
    records = [_record(row) for batch in read_batches(source, input_format) for row in batch.to_pylist()]
    level = member(SecurityLevel, pending_level, "level")
    homes.manager(home).set_devices(records, pending_level=level, now=moment(now))
    output.print(f"{counted(len(records), 'device')}.", markup=False)


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
    output.print(f"Request {asked.id}: {asked.state}, {counted(asked.rows, 'token')}.", markup=False)
    for device, reason in asked.refused:
        output.print(f"  {device}: {reason}", markup=False)
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
    output.print(f"Request {request}: approved by {officer}.", markup=False)


@manager_app.command("reject")
def manager_reject(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Turn down a request that waits, or withdraw one that is not issued yet."""
    homes.manager(home).reject(request, officer, now=moment(now))
    output.print(f"Request {request}: rejected by {officer}.", markup=False)


@manager_app.command("issue")
def manager_issue(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Issue everything that is approved."""
    report = homes.manager(home).issue(now=moment(now))
    output.print(f"{counted(report.issued, 'token')} issued.", markup=False)


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
    output.print(f"{counted(taken, 'token')} delivered, {counted(told, 'outcome')} collected.", markup=False)


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
        issuers=[_bytes_of(one) for one in key or []],
        devices=dict.fromkeys(device or [], (0, at, 0)),
        tokens=[(_bytes_of(kid), _bytes_of(cti)) for kid, cti in pairs],
        now=at,
    )
    what = [counted(len(key or []), "key"), counted(len(device or []), "device"), counted(len(pairs), "token")]
    output.print(f"Revoked: {', '.join(what)}.", markup=False)


@manager_app.command("rotate")
def manager_rotate(
    home: Annotated[Path, HOME],
    overlap: Annotated[int, typer.Option(min=0, help="Seconds that the old key stays in force.")] = 604_800,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Issue with a new key from now on."""
    signer = homes.rotate_key(home, moment(now), overlap)
    output.print(f"Issuing with key {signer.public_key.kid.hex()}.", markup=False)


@manager_app.command("keyring")
def manager_keyring(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Print the root key and the issuing keys in force as a JWK set: what a device trusts."""
    keys = [
        jwk_of(entry.key) | {"mtr_issuer": entry.issuer, "mtr_token_types": sorted(entry.token_types)}
        for entry in homes.manager(home).keyring(now=moment(now)).entries
    ]
    output.print(json.dumps({"keys": keys}, indent=1), markup=False)


def _bytes_of(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{text!r} is no id", "wanted hexadecimal digits") from None


def _record(row: dict[str, Any]) -> DeviceRecord:
    try:
        return DeviceRecord(
            str(row["device"]),
            str(row["unit"]),
            member(DeviceClass, str(row["device_class"]), "class"),
            member(Mode, str(row.get("mode") or "unknown"), "mode"),
            member(SecurityLevel, str(row.get("security_level") or "unknown"), "level"),
            ISO_FLAGS[str(row.get("level_verified", "true")).lower()],
            int(row.get("epoch") or 0),
        )
    except KeyError as error:
        raise _files.UnreadableError(
            f"a row of devices cannot be read: {error}; wanted device, unit, device_class, and level_verified true or false"
        ) from error
    except ValueError as error:
        raise _files.UnreadableError(f"a row of devices cannot be read: {error}") from error
