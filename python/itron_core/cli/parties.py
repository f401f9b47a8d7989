"""The parties on the command line: security manager, tools server, field tool, simulated device, audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from itron_core import _files
from itron_core._rust import Keyring
from itron_core.audit import verify
from itron_core.cli import homes
from itron_core.cli.keys import jwk_of
from itron_core.cli.shared import (
    INPUT_FORMAT,
    NOW,
    PERMISSIONS,
    Exit,
    FileFormat,
    UsageError,
    member,
    moment,
    output,
    permissions_of,
    read_batches,
    show,
)
from itron_core.device import Outcome as Done
from itron_core.errors import AuditError
from itron_core.explain import reason_name
from itron_core.levels import Action, Decision, DeviceClass, Mode, SecurityLevel
from itron_core.material import DeviceRecord

__all__ = ["audit_app", "device_app", "field_app", "manager_app", "server_app"]


def _group(text: str) -> typer.Typer:
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=text)


manager_app = _group("The security manager: people, devices, requests, issuing.")
server_app = _group("The tools server, which holds what was issued.")
field_app = _group("The field tool: request, sync, preflight, work.")
device_app = _group("A simulated meter in a file.")
audit_app = _group("The tamper-evident audit log of a manager or a server.")

HOME = typer.Argument(metavar="HOME", help="The party's folder.")
SERVER = typer.Argument(metavar="SERVER", help="The tools server's folder.")
DEVICES = typer.Argument(metavar="DEVICE...", help="Such as ert:100000001.")
TYPE = typer.Option("--type", metavar="TYPE", help="secure_command, authorization or reading_key.")
ACTIONS = typer.Option("--action", metavar="NAMES", help="Joined by commas; a secure command has one.")
ISO_FLAGS = {"true": True, "false": False, "1": True, "0": False}


# --- Security manager ---


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
    output.print(f"{len(records):,} devices.", markup=False)


@manager_app.command("request")
def manager_request(
    home: Annotated[Path, HOME],
    officer: str,
    devices: Annotated[list[str], DEVICES],
    token_type: Annotated[str, TYPE],
    actions: Annotated[str, ACTIONS],
    *,
    argument: Annotated[str, typer.Option(help="What the command says beside its action.")] = "",
    session_seconds: Annotated[int | None, typer.Option(help="60 to 28,800; default 3,600.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Ask, as an officer, for one token a device."""
    asked = homes.manager(home).request(
        officer,
        devices,
        token_type=token_type,
        actions=sum(1 << action for action in _actions(actions)),
        argument=argument,
        session_seconds=session_seconds,
        now=moment(now),
    )
    output.print(f"Request {asked.id}: {asked.state}, {asked.rows} tokens.", markup=False)
    for device, reason in asked.refused:
        output.print(f"  {device} gets none: {reason}", markup=False)
    if asked.refused:
        raise typer.Exit(Exit.REFUSED)


@manager_app.command("approve")
def manager_approve(
    home: Annotated[Path, HOME], request: int, officer: str, now: Annotated[str | None, NOW] = None
) -> None:
    """Be the second person of a request."""
    homes.manager(home).approve(request, officer, now=moment(now))
    output.print(f"Request {request}: approved by {officer}.", markup=False)


@manager_app.command("issue")
def manager_issue(home: Annotated[Path, HOME], now: Annotated[str | None, NOW] = None) -> None:
    """Issue everything that is approved."""
    report = homes.manager(home).issue(now=moment(now))
    output.print(f"{report.issued:,} tokens issued.", markup=False)


@manager_app.command("deliver")
def manager_deliver(
    home: Annotated[Path, HOME], server: Annotated[Path, SERVER], now: Annotated[str | None, NOW] = None
) -> None:
    """Bring a tools server up to date, and take what field tools have reported."""
    manager, tools = homes.manager(home), homes.server(server)
    at = moment(now)
    taken = manager.deliver(tools, now=at)
    told = manager.collect(tools, now=at)
    output.print(f"{taken:,} tokens delivered, {told:,} outcomes collected.", markup=False)


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
        jwk_of(entry.key)
        | {"mtr_issuer": entry.issuer}
        | ({"mtr_token_types": sorted(entry.token_types)} if number else {})
        for number, entry in enumerate(homes.manager(home).keyring(now=moment(now)).entries)
    ]
    output.print(json.dumps({"keys": keys}, indent=1), markup=False)


# --- Tools server ---


@server_app.command("init")
def server_init(
    home: Annotated[Path, HOME], keyring: Annotated[Path, typer.Option("--keyring", "-k", help="The roots: a JWK set.")]
) -> None:
    """Make a tools server."""
    homes.make_server_home(home, keyring)
    output.print(f"A tools server in {home}.", markup=False)


# --- Field tool ---


@field_app.command("init")
def field_init(
    home: Annotated[Path, HOME],
    tool: Annotated[str, typer.Option(help="The tool's name.")],
    keyring: Annotated[Path, typer.Option("--keyring", "-k", help="The roots: a JWK set.")],
) -> None:
    """Make a field tool."""
    homes.make_field_home(home, tool, keyring)
    output.print(f"Field tool {tool} in {home}.", markup=False)


@field_app.command("request")
def field_request(
    home: Annotated[Path, HOME],
    devices: Annotated[list[str], DEVICES],
    token_type: Annotated[str, TYPE],
    actions: Annotated[str, ACTIONS],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Request Commands: wish for material; the next sync fetches it."""
    new = homes.field_tool(home).request_commands(
        devices, token_type=token_type, actions=_actions(actions), now=moment(now)
    )
    output.print(f"{new} new wishes.", markup=False)


@field_app.command("sync")
def field_sync(
    home: Annotated[Path, HOME],
    server: Annotated[Path, SERVER],
    user: Annotated[str, typer.Option(help="Who signs in.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Report what was done, request, and fetch."""
    report = homes.field_tool(home).sync(homes.server(server), user, now=moment(now))
    show(["what", "rows"], [[name, f"{value:,}"] for name, value in report._asdict().items() if isinstance(value, int)])


@field_app.command("current")
def field_current(
    home: Annotated[Path, HOME],
    expiring_before: Annotated[str | None, typer.Option(metavar="TIME", help="Only what expires before.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Current Commands: what is held and wished for."""
    before = None if expiring_before is None else moment(expiring_before)
    lines = homes.field_tool(home).current_commands(now=moment(now), expiring_before=before)
    rows = [
        [
            line.device,
            line.token_type,
            ",".join(action.name.lower() for action in Action if line.actions >> action & 1),
            line.state.name.lower(),
            "-" if line.uses_left is None else str(line.uses_left),
        ]
        for line in lines
    ]
    show(["device", "type", "actions", "state", "uses left"], rows)


@field_app.command("preflight")
def field_preflight(
    home: Annotated[Path, HOME],
    plan: Annotated[list[str], typer.Argument(metavar="DEVICE=ACTION...", help="Such as ert:5=read_endpoint.")],
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Decide a planned route from what is held."""
    rows = [_planned(text) for text in plan]
    results = homes.field_tool(home).preflight(rows, now=moment(now))
    for place, (device, action) in enumerate(rows):
        output.print(f"{device} {action.name.lower()}: {results.explain(place)}", markup=False)
    if set(results["decision"].to_pylist()) - {Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN}:
        raise typer.Exit(Exit.REFUSED)


@field_app.command("work")
def field_work(
    home: Annotated[Path, HOME],
    action: str,
    meter: Annotated[Path, typer.Option(metavar="FILE", help="The simulated device that is before you.")],
    *,
    key_exchange: Annotated[bool, typer.Option("--key-exchange", help="The tool can exchange keys with it.")] = False,
    lose_answer: Annotated[
        bool, typer.Option("--lose-answer", help="Let the device hear it, and no answer come.")
    ] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Do an action at a device, if the policy allows it."""
    at = moment(now)
    link = homes.MeterInFile(meter, at, loses_answers=lose_answer)
    result = homes.field_tool(home).work(
        link.device.device, member(Action, action, "action"), link, now=at, key_exchange=key_exchange
    )
    for sent, answer in zip(result.sent, result.answers, strict=False):
        said = json.dumps(answer.data, sort_keys=True)
        output.print(f"{sent.name.lower()}: {answer.outcome.name.lower()} {said}", markup=False)
    if len(result.answers) < len(result.sent):
        output.print(f"{result.sent[-1].name.lower()}: sent, and no answer came; it may be sent again")
        raise typer.Exit(Exit.REFUSED)
    if (
        result.decision not in {Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN}
        or result.answers[-1].outcome is Done.REFUSED
    ):
        output.print(f"{result.decision.name.lower()}: {reason_name(result.reason)}", markup=False)
        output.print(result.explanation, markup=False)
        raise typer.Exit(Exit.REFUSED)


# --- Device ---


@device_app.command("init")
def device_init(
    path: Annotated[Path, typer.Argument(metavar="FILE")],
    device: Annotated[str, typer.Option(help="Such as ert:100000001.")],
    device_class: Annotated[str, typer.Option("--class", help="basic, enhanced or multi_mode.")],
    keyring: Annotated[Path, typer.Option("--keyring", "-k", help="Whom it trusts: a JWK set.")],
    *,
    mode: str = "mobile",
    level: str = "ready_to_secure",
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Make a simulated device."""
    text = keyring.read_text()
    homes.make_device(
        path,
        device,
        member(DeviceClass, device_class, "class"),
        keys=Keyring.from_jwks(text),
        keys_text=text,
        mode=member(Mode, mode, "mode"),
        level=member(SecurityLevel, level, "level"),
        now=moment(now),
    )
    output.print(f"{device} in {path}.", markup=False)


@device_app.command("show")
def device_show(path: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Show what a simulated device is now."""
    state = homes.MeterInFile(path, 0).device.state
    rows = [["device", state.device]]
    rows += [[name, getattr(state, name).name.lower()] for name in ("device_class", "mode", "level")]
    rows += [[name, str(getattr(state, name))] for name in ("epoch", "key_version", "service", "interval_count")]
    show(["what", "is"], rows)


# --- Audit log ---


@audit_app.command("verify")
def audit_verify(
    home: Annotated[Path, HOME],
    trusted: Annotated[Path | None, typer.Option(metavar="CHECKPOINT", help="One that was kept elsewhere.")] = None,
) -> None:
    """Verify the log of a manager or a server from its files alone."""
    folder, key, origin = homes.audit_origin(home)
    try:
        found = verify(folder, key, origin=origin, trusted=None if trusted is None else trusted.read_bytes())
    except AuditError as error:
        where = f" in {error.path}" if error.path else ""
        raise _files.UnreadableError(f"the audit log is not what was written: {error}{where}") from error
    output.print(f"{found.size:,} entries of {origin}, root {found.root.hex()[:16]}...: all right.", markup=False)


@audit_app.command("list")
def audit_list(home: Annotated[Path, HOME], last: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """Print the last entries of a log."""
    log = homes.log(home)
    size = log.size
    for entry in log.entries(max(0, size - last), size):
        output.print(entry.decode(), markup=False)


# --- Words into numbers ---


def _actions(names: str) -> list[Action]:
    return [member(Action, name, "action") for name in names.split(",")]


def _planned(text: str) -> tuple[str, Action]:
    device, separator, action = text.partition("=")
    if not separator:
        raise UsageError(f"{text!r} in a plan", "wanted DEVICE=ACTION, such as ert:5=read_endpoint")
    return device, member(Action, action, "action")


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
    except (KeyError, ValueError) as error:
        raise _files.UnreadableError(f"a row of devices cannot be read: {error}") from error
