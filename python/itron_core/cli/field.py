"""The field tool on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itron_core.cli import folders as homes
from itron_core.cli.failures import Exit, UsageError
from itron_core.cli.inputs import member, moment, past_moment
from itron_core.cli.meters import MeterInFile
from itron_core.cli.options import (
    ACTIONS,
    BEARER,
    BEFORE,
    CA,
    DEVICES,
    DRY_RUN,
    FILE,
    HOME,
    JSON,
    NOW,
    ROOTS,
    ROUTE,
    SERVER,
    TYPE,
    group,
)
from itron_core.cli.output import counted, names_of, say, show
from itron_core.cli.parties import named_roots
from itron_core.cli.request_files import planned_rows, request_groups
from itron_core.device import Outcome
from itron_core.enums import Action, Code, Decision
from itron_core.explain import because, reason_name

if TYPE_CHECKING:
    from itron_core.field_tool import FieldTool

field_app = group("The field tool: request, sync, preflight, work, report.")


@field_app.command("init")
def field_init(
    home: Annotated[Path, HOME],
    tool: Annotated[str, typer.Option(help="The tool's name.")],
    keyring: Annotated[Path, ROOTS],
) -> None:
    """Create a field tool."""
    homes.make_field_home(home, tool, keyring)
    say(f"Created the field tool {tool} in {home}.")


@field_app.command("trust")
def field_trust(home: Annotated[Path, HOME], keyring: Annotated[Path, ROOTS]) -> None:
    """Replace the trusted root keys."""
    say(f"{home} trusts {named_roots(homes.trust(home, 'field', keyring))}.")


@field_app.command("request")
def field_request(
    home: Annotated[Path, HOME],
    devices: Annotated[list[str] | None, DEVICES] = None,
    *,
    token_type: Annotated[str | None, TYPE] = None,
    actions: Annotated[str | None, ACTIONS] = None,
    route: Annotated[str | None, ROUTE] = None,
    file: Annotated[str | None, FILE] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Queue command requests for the next sync."""
    tool, at = homes.field_tool(home), moment(now)
    new = sum(
        tool.request_commands(one.devices, token_type=one.token_type, actions=one.actions, now=at)
        for one in request_groups(devices, route, file, token_type, actions)
    )
    say(f"{counted(new, 'new command request')}.")


@field_app.command("sync")
def field_sync(
    home: Annotated[Path, HOME],
    server: Annotated[str, SERVER],
    user: Annotated[str, typer.Option(help="The user who signs in.")],
    *,
    bearer: Annotated[Path | None, BEARER] = None,
    ca: Annotated[Path | None, CA] = None,
    as_json: Annotated[bool, JSON] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Report outcomes, send command requests, and fetch material."""
    with homes.reached(server, bearer, ca) as tools:
        report = homes.field_tool(home).sync(tools, user, now=moment(now))
    show(
        ["what", "rows"],
        [[name, value] for name, value in report._asdict().items() if isinstance(value, int)],
        as_json=as_json,
    )


@field_app.command("report")
def field_report(
    home: Annotated[Path, HOME],
    server: Annotated[str, SERVER],
    bearer: Annotated[Path | None, BEARER] = None,
    ca: Annotated[Path | None, CA] = None,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Report outcomes, and fetch nothing.

    Exits with 1 if the server found an outcome in conflict.
    """
    with homes.reached(server, bearer, ca) as tools:
        codes = homes.field_tool(home).report(tools, now=moment(now))
    conflicts = sum(code == Code.REPLAY_CONFLICT for code in codes.values())
    say(f"{counted(len(codes), 'outcome')} reported, {conflicts:,} in conflict.")
    if conflicts:
        raise typer.Exit(Exit.REFUSED)


@field_app.command("current")
def field_current(
    home: Annotated[Path, HOME],
    expiring_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only material that expires before TIME.")
    ] = None,
    as_json: Annotated[bool, JSON] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """List material and requests (Current Commands)."""
    before = None if expiring_before is None else moment(expiring_before, "--expiring-before")
    tool, at = homes.field_tool(home), moment(now)
    lines = tool.current_commands(now=at, expiring_before=before)
    rows = [
        [
            line.device,
            line.token_type,
            names_of(line.actions),
            line.state.name.lower(),
            "-" if line.uses_left is None else line.uses_left,
        ]
        for line in lines
    ]
    show(["device", "type", "actions", "state", "uses left"], rows, as_json=as_json)
    found = tool.status(now=at)
    if found.needs_attention and not as_json:
        say(found.explanation)


@field_app.command("prune")
def field_prune(
    home: Annotated[Path, HOME],
    before: Annotated[str, BEFORE],
    *,
    dry_run: Annotated[bool, DRY_RUN] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Delete expired material.

    Unreported material, and material whose use still counts, stays.
    """
    at = moment(now)
    count = homes.field_tool(home).prune(before=past_moment(before, at), now=at, dry_run=dry_run)
    say(f"{counted(count, 'piece')} of material {'would be ' if dry_run else ''}deleted.")


@field_app.command("preflight")
def field_preflight(
    home: Annotated[Path, HOME],
    plan: Annotated[
        list[str] | None,
        typer.Argument(metavar="DEVICE=ACTION...", help="Devices with actions, such as ert:5=read_endpoint."),
    ] = None,
    *,
    file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A planned route with the columns device and action.")
    ] = None,
    request: Annotated[
        bool, typer.Option("--request-missing", help="Queue command requests for all missing material.")
    ] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Decide a planned route by the material held."""
    rows = [_planned(text) for text in plan or []] + ([] if file is None else planned_rows(file))
    if not rows:
        raise UsageError("the route is missing", "name DEVICE=ACTION, or --file FILE")
    tool, at = homes.field_tool(home), moment(now)
    results = tool.preflight(rows, now=at)
    for place, (device, action) in enumerate(rows):
        say(f"{device} {action.name.lower()}: {results.explain(place)}")
    if request:
        say(f"{counted(tool.request_missing(rows, results, now=at), 'new command request')}.")
    if set(results["decision"].to_pylist()) - {Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN}:
        raise typer.Exit(Exit.REFUSED)


@field_app.command("work")
def field_work(
    home: Annotated[Path, HOME],
    action: str,
    meter: Annotated[Path, typer.Option(metavar="FILE", help="The simulated device at hand.")],
    *,
    key_exchange: Annotated[bool, typer.Option("--key-exchange", help="The tool can exchange keys with it.")] = False,
    lose_answer: Annotated[
        bool, typer.Option("--lose-answer", help="Simulate a lost answer: the device receives the message.")
    ] = False,
    update_trust: Annotated[
        bool,
        typer.Option(
            "--update-trust", help="First bring it the newest delegations and revocations, even if it has them."
        ),
    ] = False,
    now: Annotated[str | None, NOW] = None,
) -> None:
    """Perform an action on a device if the policy allows it."""
    at = moment(now)
    link = MeterInFile(meter, at, loses_answers=lose_answer)
    tool = homes.field_tool(home)
    if update_trust:
        _bring_trust(tool, link, at)
    result = tool.work(link.device.device, member(Action, action, "action"), link, now=at, key_exchange=key_exchange)
    for sent, answer in zip(result.sent, result.answers, strict=False):
        said = json.dumps(answer.data, sort_keys=True)
        say(f"{sent.name.lower()}: {answer.outcome.name.lower()} {said}")
    if len(result.answers) < len(result.sent):
        say(f"{result.sent[-1].name.lower()}: sent, but no answer came; it is safe to send again")
        raise typer.Exit(Exit.REFUSED)
    if result.decision not in {Decision.ALLOWED, Decision.ALLOWED_AFTER_OPEN}:
        say(f"{result.decision.name.lower()}: {reason_name(result.reason)}")
        say(result.explanation)
        raise typer.Exit(Exit.REFUSED)
    if result.answers[-1].outcome is Outcome.REFUSED:
        say(result.explanation)
        raise typer.Exit(Exit.REFUSED)


def _bring_trust(tool: FieldTool, link: MeterInFile, at: int) -> None:
    answer = tool.update_trust(link.device.device, link, now=at)
    if answer is None:
        say("Trust: nothing to bring, or no answer came.")
    elif answer.outcome is Outcome.REFUSED:
        say(f"Trust: the meter refused the update: {because(int(answer.reason))} ({reason_name(int(answer.reason))}).")
    else:
        facts = answer.data
        say(
            f"Trust: {counted(facts['delegations'], 'delegation')}, revocations of version {facts['revocations_version']}."
        )


def _planned(text: str) -> tuple[str, Action]:
    device, separator, action = text.partition("=")
    if not separator:
        raise UsageError(f"plan: got {text!r}, expected DEVICE=ACTION", "for example ert:5=read_endpoint")
    return device, member(Action, action, "action")
