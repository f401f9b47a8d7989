"""The security manager on the command line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itron_core.cli import folders as homes
from itron_core.cli.columns import DEVICE_COLUMNS, check_columns, place_of
from itron_core.cli.failures import Exit, UnreadableError, UsageError
from itron_core.cli.files import format_of, read_rows
from itron_core.cli.inputs import bytes_of, member, member_or_none, moment, permissions_of
from itron_core.cli.options import (
    ACTIONS,
    BEARER,
    CA,
    DEVICES,
    DRY_RUN,
    FILE,
    HOME,
    INPUT_FORMAT,
    JSON,
    NOW,
    PERMISSIONS,
    ROUTE,
    SERVER,
    TYPE,
    FileFormat,
    group,
)
from itron_core.cli.output import (
    counted,
    iso,
    names_of,
    permission_names,
    remark,
    say,
    show,
    show_devices,
    show_material,
)
from itron_core.cli.parties import all_rows
from itron_core.cli.pkcs11 import SCHEME, is_uri, kept_uri
from itron_core.cli.request_files import request_groups
from itron_core.enums import Code, DeviceClass, Mode, SecurityLevel
from itron_core.errors import InputError
from itron_core.exchange.records import DeviceRecord, record_row

if TYPE_CHECKING:
    from itron_core.manager.requests import Request

manager_app = group("The security manager: people, devices, requests, issuing.")


@manager_app.command("init")
def manager_init(
    home: Annotated[Path, HOME],
    utility: Annotated[str, typer.Option(help="The utility's id, 1 to 16 ASCII characters.")],
    *,
    root_key: Annotated[
        str | None, typer.Option(metavar="URI", help="A root key in an HSM: a pkcs11: URI. Default: a new file.")
    ] = None,
    issuing_key: Annotated[
        str | None, typer.Option(metavar="URI", help="An issuing key in an HSM: a pkcs11: URI. Default: a new file.")
    ] = None,
    master_key: Annotated[
        str | None, typer.Option(metavar="URI", help="A master key in an HSM: a pkcs11: URI. Default: a new file.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Create a security manager.

    Its keys are readable only by their owner, and encrypted if ITRON_CORE_PASSWORD_FILE names a file with a password.
    """
    keys = homes.ManagerKeys(*(_uri(one) for one in (root_key, issuing_key, master_key)))
    homes.make_manager_home(home, utility, moment(now), keys)
    say(f"Created a security manager in {home}; its public root key is in {home / 'root.jwks'}.")


@manager_app.command("role")
def manager_role(
    home: Annotated[Path, HOME],
    name: str,
    permissions: Annotated[str, PERMISSIONS],
    officer: Annotated[bool, typer.Option("--officer", help="Users of this role may request material.")] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Add or change a role."""
    granted = permissions_of(permissions)
    homes.manager(home).set_role(name, granted, officer=officer, now=moment(now))
    say(f"Role {name}: {permission_names(granted)}{', officer' if officer else ''}.")


@manager_app.command("roles")
def manager_roles(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List the roles and their permissions."""
    rows = [
        [name, permission_names(permissions), "yes" if officer else "no"]
        for name, permissions, officer in homes.manager(home).roles()
    ]
    show(["role", "permissions", "officer"], rows, as_json=as_json)


@manager_app.command("remove-role")
def manager_remove_role(home: Annotated[Path, HOME], name: str, now: Annotated[str | None, NOW] = None) -> None:
    """Remove an unused role."""
    homes.manager(home).remove_role(name, now=moment(now))
    say(f"Removed the role {name}.")


@manager_app.command("remove-user")
def manager_remove_user(home: Annotated[Path, HOME], name: str, now: Annotated[str | None, NOW] = None) -> None:
    """Remove a user.

    The next delivery removes the user's rights.
    """
    homes.manager(home).remove_user(name, now=moment(now))
    say(f"Removed the user {name}.")


@manager_app.command("user")
def manager_user(
    home: Annotated[Path, HOME],
    name: str,
    role: Annotated[str, typer.Option(help="An existing role.")],
    unit: Annotated[str, typer.Option(help="The business unit.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Add or change a user."""
    homes.manager(home).set_user(name, role, unit, now=moment(now))
    say(f"{name}: {role} in {unit}.")


@manager_app.command("users")
def manager_users(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List the users and their permissions."""
    rows = [[name, unit, permission_names(permissions)] for name, unit, permissions in homes.manager(home).users()]
    show(["user", "unit", "permissions"], rows, as_json=as_json)


@manager_app.command("devices")
def manager_devices(
    home: Annotated[Path, HOME],
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A file of devices. Default: list the devices.")
    ] = None,
    pending_level: Annotated[str, typer.Option(help="The level that the devices are about to have.")] = "unknown",
    *,
    now: Annotated[str | None, NOW] = None,
    input_format: Annotated[FileFormat | None, INPUT_FORMAT] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Add or change the devices of a file, or list all devices.

    Columns: device, unit, device_class, and if known mode, security_level, level_verified and epoch.
    """
    if source is None:
        ism = homes.manager(home)
        show_devices(ism.devices(), ism.retired(), as_json=as_json)
        return
    records = _device_records(source, input_format)
    level = member(SecurityLevel, pending_level, "level")
    homes.manager(home).set_devices(records, pending_level=level, now=moment(now))
    say(f"{counted(len(records), 'device')}.")


@manager_app.command("retire")
def manager_retire(
    home: Annotated[Path, HOME],
    devices: Annotated[list[str], DEVICES],
    *,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Retire devices.

    Nothing more is issued for them, and their material is revoked; the next delivery carries the revocations.
    """
    ism, at = homes.manager(home), moment(now)
    if dry_run:
        known = {one.device for one in ism.devices()} - ism.retired()
        say(f"Would be retired: {counted(len(known & set(devices)), 'device')}.")
        return
    ism.retire(devices, now=at)
    say(f"Retired: {counted(len(set(devices)), 'device')}.")


@manager_app.command("request")
def manager_request(
    home: Annotated[Path, HOME],
    officer: str,
    devices: Annotated[list[str] | None, DEVICES] = None,
    *,
    token_type: Annotated[str | None, TYPE] = None,
    actions: Annotated[str | None, ACTIONS] = None,
    route: Annotated[str | None, ROUTE] = None,
    file: Annotated[str | None, FILE] = None,
    argument: Annotated[str, typer.Option(help="The argument of the action: the level, for set_security_level.")] = "",
    session_seconds: Annotated[
        int | None, typer.Option(help="The length of the session, 60 to 28,800 seconds. Default: 3,600.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key: repeating the call with it creates no second request."),
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Request one token per device, as an officer."""
    ism, at, refused = homes.manager(home), moment(now), 0
    groups = request_groups(devices, route, file, token_type, actions)
    for one in groups:
        group_key = key if key is None or len(groups) == 1 else f"{key} {one.token_type} {one.actions[0].name.lower()}"
        asked = ism.request(
            officer,
            one.devices,
            token_type=one.token_type,
            actions=sum(1 << action for action in one.actions),
            argument=argument,
            session_seconds=session_seconds,
            key=group_key,
            now=at,
        )
        refused += len(asked.refused)
        _say_asked(asked)
    if refused:
        raise typer.Exit(Exit.REFUSED)


def _say_asked(asked: Request) -> None:
    if asked.rows:
        say(f"Request {asked.id}: {asked.state}, {counted(asked.rows, 'token')}.")
    else:
        say(f"Request {asked.id}: nothing to issue; {counted(len(asked.refused), 'device')} refused:")
    for device, reason in asked.refused:
        say(f"  {device}: {reason}")
    for warning in asked.warnings:
        remark(f"warning: {warning}")


@manager_app.command("requests")
def manager_requests(
    home: Annotated[Path, HOME],
    state: Annotated[
        str | None, typer.Option(help="Only requests of one state: waiting, approved, allotted or rejected.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the requests, oldest first."""
    rows: list[list[str | int]] = [
        [
            asked.id,
            asked.state,
            asked.officer,
            asked.approver or "-",
            asked.token_type,
            names_of(asked.actions),
            asked.size,
        ]
        for asked in homes.manager(home).requests(state=state)
    ]
    show(["request", "state", "officer", "approver", "type", "actions", "rows"], rows, as_json=as_json)


@manager_app.command("approve")
def manager_approve(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Approve a request as its second officer."""
    homes.manager(home).approve(request, officer, now=moment(now))
    say(f"Request {request}: approved by {officer}.")


@manager_app.command("reject")
def manager_reject(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Reject a request, or withdraw it before it is issued."""
    homes.manager(home).reject(request, officer, now=moment(now))
    say(f"Request {request}: rejected by {officer}.")


@manager_app.command("issue")
def manager_issue(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Issue all approved requests."""
    report = homes.manager(home).issue(now=moment(now))
    say(f"{counted(report.issued, 'token')} issued.")


@manager_app.command("material")
def manager_material(
    home: Annotated[Path, HOME],
    device: Annotated[str | None, typer.Option(help="Only the material of one device.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List the issued tokens.

    `manager revoke --token` accepts their ids.
    """
    show_material((one for one in all_rows(homes.manager(home)) if device in {None, one.device}), as_json=as_json)


@manager_app.command("deliver")
def manager_deliver(
    home: Annotated[Path, HOME],
    server: Annotated[str, SERVER],
    bearer: Annotated[Path | None, BEARER] = None,
    ca: Annotated[Path | None, CA] = None,
    *,
    source: Annotated[str, typer.Option(help="The name under which the server keeps this manager's material.")] = "ism",
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Deliver to a tools server, and collect reports.

    Sends users, devices, delegations, revocations and material, and collects the outcomes that field tools reported.
    """
    at = moment(now)
    manager = homes.manager(home)
    refused: Counter[str] = Counter()
    with homes.reached(server, bearer, ca) as tools:
        taken = manager.deliver(
            tools, now=at, source=source, refused=lambda _, code: refused.update([Code(code).name.lower()])
        )
        collected = manager.collect(tools, now=at)
    say(f"{counted(taken, 'token')} delivered, {counted(collected, 'outcome')} collected.")
    # What expired before it was delivered is of no use to anybody.
    if sum(refused.values()) > refused["expired"]:
        names = ", ".join(f"{count:,} {name}" for name, count in sorted(refused.items()) if count)
        remark(
            f"The server did not accept {counted(sum(refused.values()), 'token')}: {names}. They are in the audit log."
        )
        if refused["iat_in_future"]:
            remark("Tokens from the future can be used later; check the clocks of this machine and of the server.")
        raise typer.Exit(Exit.REFUSED)


@manager_app.command("revoke")
def manager_revoke(
    home: Annotated[Path, HOME],
    *,
    key: Annotated[list[str] | None, typer.Option(metavar="KID", help="An issuing key, in hexadecimal digits.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="A device: revokes all its material issued before now.")
    ] = None,
    token: Annotated[
        list[str] | None, typer.Option(metavar="KID:CTI", help="One token, in hexadecimal digits.")
    ] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Revoke keys, tokens, or a device's material.

    The next delivery carries the revocations. They cannot be undone.
    """
    if not (key or device or token):
        raise UsageError("nothing to revoke", "name --key KID, --device DEVICE or --token KID:CTI")
    at = moment(now)
    pairs = [one.partition(":")[::2] for one in token or []]
    issuers = [bytes_of(one, "--key") for one in key or []]
    tokens = [(bytes_of(kid, "--token"), bytes_of(cti, "--token")) for kid, cti in pairs]
    ism = homes.manager(home)
    # A revocation may name what was issued elsewhere, or long ago; a misspelled one revokes nothing.
    known = {one.kid for one in ism.issuing_keys()}
    strange = [one.hex() for one in issuers if one not in known]
    strange += sorted(set(device) - {one.device for one in ism.devices()}) if device else []
    if not dry_run:
        ism.revoke(issuers=issuers, devices=dict.fromkeys(device or [], (0, at, 0)), tokens=tokens, now=at)
    for one in strange:
        remark(f"{one} is neither an issuing key nor a device of this manager: check the spelling")
    what = [counted(len(issuers), "key"), counted(len(device or []), "device"), counted(len(pairs), "token")]
    say(f"{'Would be revoked' if dry_run else 'Revoked'}: {', '.join(what)}.")


@manager_app.command("revoke-tool")
def manager_revoke_tool(
    home: Annotated[Path, HOME],
    server: Annotated[str, SERVER],
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The lost or stolen field tool.")],
    bearer: Annotated[Path | None, BEARER] = None,
    ca: Annotated[Path | None, CA] = None,
    *,
    dry_run: Annotated[bool, DRY_RUN] = False,
    as_json: Annotated[bool, JSON] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Revoke all material of a lost field tool.

    Lists and revokes the material, and delivers the revocations.

    A meter accepts a revoked token until it receives the revocations, or the token expires.
    """
    at, ism = moment(now), homes.manager(home)
    with homes.reached(server, bearer, ca) as tools:
        held = (ism.held_by if dry_run else ism.revoke_held)(tools, tool, now=at)
        if not dry_run:
            ism.deliver(tools, now=at)
    show_material(held, as_json=as_json)
    remark(f"{'Would be revoked' if dry_run else 'Revoked'}: {counted(len(held), 'token')} of {tool}.")


@manager_app.command("revoked")
def manager_revoked(home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False) -> None:
    """List all revocations."""
    issuers, devices, tokens = homes.manager(home).revoked()
    rows = [["key", kid.hex(), "-"] for kid in issuers]
    rows += [["token", f"{kid.hex()}:{cti.hex()}", "-"] for kid, cti in tokens]
    rows += [["device", device, _marks(*marks)] for device, marks in devices.items()]
    show(["what", "id", "all before"], rows, as_json=as_json)


def _marks(sequence: int, issued_at: int, epoch: int) -> str:
    said = [
        f"sequence {sequence}" if sequence else "",
        iso(issued_at) if issued_at else "",
        f"epoch {epoch}" if epoch else "",
    ]
    return ", ".join(filter(None, said)) or "-"


@manager_app.command("rotate")
def manager_rotate(
    home: Annotated[Path, HOME],
    overlap: Annotated[
        int, typer.Option(min=0, help="The time that the old key stays in force, in seconds.")
    ] = 604_800,
    issuing_key: Annotated[
        str | None, typer.Option(metavar="URI", help="The new key in an HSM: a pkcs11: URI. Default: a new file.")
    ] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Replace the issuing key by a new one."""
    signer = homes.rotate_key(home, moment(now), overlap, _uri(issuing_key))
    say(f"Issuing with key {signer.public_key.kid.hex()}.")


@manager_app.command("keys")
def manager_keys(
    home: Annotated[Path, HOME], as_json: Annotated[bool, JSON] = False, now: Annotated[str | None, NOW] = None
) -> None:
    """List the issuing keys with their delegations."""
    ism, at = homes.manager(home), moment(now)
    revoked = set(ism.revoked()[0])
    rows = [
        [
            *(one.kid.hex(), iso(one.valid_from), iso(one.valid_until)),
            "revoked"
            if one.kid in revoked
            else "ended"
            if one.valid_until <= at
            else "in force"
            if one.valid_from <= at
            else "not begun",
        ]
        for one in ism.issuing_keys()
    ]
    show(["kid", "from", "until", "state"], rows, as_json=as_json)


@manager_app.command("new-root")
def manager_new_root(
    home: Annotated[Path, HOME],
    root_key: Annotated[
        str | None, typer.Option(metavar="URI", help="The new key in an HSM: a pkcs11: URI. Default: a new file.")
    ] = None,
) -> None:
    """Create the next root key.

    root.jwks in HOME then holds both roots: give it to servers, field tools and meters. Afterwards: manager use-root.
    """
    kid = homes.new_root(home, _uri(root_key)).public_key.kid.hex()
    say(f"The next root key is {kid}; {home / 'root.jwks'} holds both.")


@manager_app.command("use-root")
def manager_use_root(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Make the next root key the root.

    From then on, only those who trust the new root accept new material. root.jwks in HOME then holds only the new root.
    """
    kid = homes.use_root(home, moment(now)).public_key.kid.hex()
    say(f"The root key is {kid}; {home / 'root.jwks'} holds only this key.")


@manager_app.command("keyring")
def manager_keyring(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Print the keys that a device trusts, as a JWK set."""
    say(homes.manager(home).keyring(now=moment(now)).to_jwks())


def _uri(text: str | None) -> str | None:
    if text is None:
        return None
    if not is_uri(text):
        raise UsageError(
            f"got {text!r}, expected a {SCHEME} URI", "without the option, a key file is created in the folder"
        )
    return kept_uri(text)


def _device_records(source: str, input_format: FileFormat | None) -> list[DeviceRecord]:
    """Read devices. Raises for the first unreadable row, with its column, and for two rows of one device that differ."""
    place = place_of(has_header=format_of(source, input_format, "--format") is FileFormat.CSV)
    records: list[DeviceRecord] = []
    first: dict[str, int] = {}
    for batch in read_rows(source, input_format, DEVICE_COLUMNS):
        check_columns(source, batch, ("device", "unit", "device_class"))
        for row in batch.to_pylist():
            try:
                record = _record(row)
            except (UsageError, InputError) as error:
                hint = getattr(error, "hint", "")
                raise UnreadableError(f"{source}: {place(len(records))}, {error}", hint) from None
            before = first.setdefault(record.device, len(records))
            if before < len(records) and records[before] != record:
                raise UnreadableError(
                    f"{source}: {place(before)} and {place(len(records))} have other values for {record.device}",
                    "keep one of the rows",
                )
            records.append(record)
    return records


def _record(row: dict[str, Any]) -> DeviceRecord:
    for name in ("device", "unit"):
        if not row[name]:
            raise UsageError(f'column "{name}": the cell is empty')
        if not isinstance(row[name], str):
            raise UsageError(f'column "{name}": got {type(row[name]).__name__}, expected text')
    record = DeviceRecord(
        device=row["device"],
        unit=row["unit"],
        device_class=_of(DeviceClass, row, "device_class"),
        mode=_of(Mode, row, "mode", Mode.UNKNOWN),
        security_level=_of(SecurityLevel, row, "security_level", SecurityLevel.UNKNOWN),
        level_verified=row.get("level_verified") is not False,
        epoch=row.get("epoch") or 0,
    )
    record_row(record)
    return record


def _of(enumeration: Any, row: dict[str, Any], name: str, absent: Any = None) -> Any:
    text = row.get(name)
    if text is None and absent is not None:
        return absent
    found = None if text is None else member_or_none(enumeration, str(text))
    if found is None:
        known = ", ".join(one.name.lower() for one in enumeration)
        raise UsageError(
            f'column "{name}": got {text!r}' if text else f'column "{name}": the cell is empty', f"known: {known}"
        )
    return found
