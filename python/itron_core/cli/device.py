"""A simulated device on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itron_core.cli.failures import UsageError
from itron_core.cli.inputs import jwk_set_in, member, moment, text_of
from itron_core.cli.meters import KeySource, MeterInFile, make_meter
from itron_core.cli.options import JSON, NOW, group
from itron_core.cli.output import say, show
from itron_core.cli.parties import named_roots
from itron_core.device.learning import revocations_of
from itron_core.enums import DeviceClass, Mode, SecurityLevel

device_app = group("A simulated meter in a file.")


@device_app.command("init")
def device_init(
    path: Annotated[Path, typer.Argument(metavar="FILE")],
    device: Annotated[str, typer.Option(help="The device id, such as ert:100000001.")],
    device_class: Annotated[str, typer.Option("--class", help="The class: basic, enhanced or multi_mode.")],
    keyring: Annotated[Path, typer.Option("--keyring", "-k", help="The root keys that it trusts: a JWK set.")],
    *,
    mode: str = "mobile",
    level: str = "ready_to_secure",
    master: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The manager's master key, from which the meter derives its reading key."),
    ] = None,
    utility: Annotated[str | None, typer.Option(help="The utility's name, as the manager has it.")] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Create a simulated device.

    With --master and --utility, its readings are protected at full security; `itron-core readings open` opens them.
    """
    if (master is None) != (utility is None):
        raise UsageError("--master and --utility: got one of them, expected both or neither", "name both")
    make_meter(
        path,
        device,
        member(DeviceClass, device_class, "class"),
        keys_text=text_of(keyring, "the keyring"),
        mode=member(Mode, mode, "mode"),
        level=member(SecurityLevel, level, "level"),
        source=None if master is None or utility is None else KeySource(str(master.absolute()), utility),
        now=moment(now),
    )
    say(f"Created the device {device} in {path}.")


@device_app.command("trust")
def device_trust(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The simulated device.")],
    keyring: Annotated[Path, typer.Option("--keyring", "-k", metavar="FILE", help="The new root keys: a JWK set.")],
) -> None:
    """Replace the root keys that a device trusts.

    Simulates the visit of a technician who brings a new root key. The rest of the device's state stays.
    """
    text, roots = jwk_set_in(keyring)
    meter = MeterInFile(path, 0)
    meter.trust(roots, text)
    say(f"{meter.device.device} trusts {named_roots(roots)}.")


@device_app.command("show")
def device_show(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The simulated device.")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show the current state of a simulated device."""
    state = MeterInFile(path, 0).device.state
    learned = revocations_of(state, None)
    rows = [["device", state.device]]
    rows += [[name, getattr(state, name).name.lower()] for name in ("device_class", "mode", "level")]
    rows += [[name, str(getattr(state, name))] for name in ("epoch", "key_version", "service", "interval_count")]
    rows.append(["delegations", str(len(state.delegations))])
    rows.append(["revocations", "-" if learned is None else f"version {learned.version}"])
    show(["what", "is"], rows, as_json=as_json)
