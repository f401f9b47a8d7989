"""What transcripts cannot show: faults inside, missing extras, the terminal, the clock."""

import inspect
import os
import pty
import re
import subprocess
import sys
import time
from datetime import datetime

import pytest
import typer

from itron_core.cli import app as command_line
from itron_core.cli import inputs
from itron_core.cli.failures import Exit, UsageError
from itron_core.testing import make_tokens

PROGRAM = [sys.executable, "-c", "from itron_core.cli import main; main()"]


def test_an_internal_error_is_reported_and_exits_with_4(monkeypatch, capsys):
    def fault(**_):
        raise RuntimeError("the sky fell")

    monkeypatch.setattr(command_line, "commands", lambda _first: fault)
    assert command_line.run() == Exit.INTERNAL
    assert "an internal error: RuntimeError: the sky fell" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "module,arguments,extra",
    [("typer", ["doctor"], "cli"), ("pyarrow", ["demo", "--rows", "1"], "io")],
)
def test_a_missing_extra_is_a_hint_and_no_traceback(module, arguments, extra):
    code = f"import sys; sys.modules[{module!r}] = None; from itron_core.cli import main; main()"
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == Exit.USAGE
    assert f"pip install 'itron-core[{extra}]'" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_command_line_uses_the_clock_without_now():
    assert abs(inputs.moment(None) - time.time()) < 5
    assert inputs.moment("1795000000") == 1_795_000_000
    assert inputs.moment("2026-11-18T09:06:40+00:00") == 1_794_992_800


WEDNESDAY = 1_795_000_000  # 2026-11-18 12:06:40 in Berlin, a Wednesday


@pytest.mark.parametrize(
    "words,zone,expected",
    [
        ("tomorrow 08:00", "Europe/Berlin", "2026-11-19T08:00:00+01:00"),
        ("today 17:30", "Europe/Berlin", "2026-11-18T17:30:00+01:00"),
        ("17:30", "Europe/Berlin", "2026-11-18T17:30:00+01:00"),
        ("8:00", "Europe/Berlin", "2026-11-19T08:00:00+01:00"),
        ("Friday 7:30", "Europe/Berlin", "2026-11-20T07:30:00+01:00"),
        ("wednesday 7:30", "Europe/Berlin", "2026-11-25T07:30:00+01:00"),
        ("tomorrow 08:00 America/Denver", None, "2026-11-19T08:00:00-07:00"),
        ("tomorrow 08:00 +05:30", "Europe/Berlin", "2026-11-19T08:00:00+05:30"),
        ("tomorrow 08:00", "+01", "2026-11-19T08:00:00+01:00"),
        ("tomorrow 08:00 -7", None, "2026-11-19T08:00:00-07:00"),
        ("2026-12-01 08:00", "Europe/Berlin", "2026-12-01T08:00:00+01:00"),
        ("2026-12-01T08:00:00Z", None, "2026-12-01T08:00:00+00:00"),
        ("2026-07-01 08:00", "Europe/Berlin", "2026-07-01T08:00:00+02:00"),
        ("1795000060", None, "2026-11-18T11:07:40+00:00"),
    ],
)
def test_at_accepts_times_in_everyday_notation(words, zone, expected):
    planned = inputs.planned_moment(words, WEDNESDAY, inputs.zone_of(zone))
    assert planned == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    "words,zone,says",
    [
        ("tomorrow 08:00", None, "the time zone is missing"),
        ("2026-12-01 08:00", None, "the time zone is missing"),
        ("tomorrow", "UTC", "expected a day and a time"),
        ("someday 08:00", "UTC", "expected a day and a time"),
        ("tomorrow 25:00", "UTC", "expected a day and a time"),
        ("2026-10-25 02:30", "Europe/Berlin", "the clocks change then"),
        ("2026-03-29 02:30", "Europe/Berlin", "the clocks change then"),
        ("1795000000000", None, "expected a time from 2020 to 2100"),
        ("2019-01-01T00:00:00Z", None, "expected a time from 2020 to 2100"),
        ("tomorrow 08:00 Mars/Base", None, "unknown zone 'Mars/Base'"),
        ("tomorrow 8", "UTC", "'8' is neither a time such as 08:00 nor a known zone"),
        ("in 2 hours", "UTC", "expected a day and a time; 'hours' is neither"),
    ],
)
def test_a_planned_moment_that_may_be_misread_is_refused(words, zone, says):
    with pytest.raises(UsageError, match=says):
        inputs.planned_moment(words, WEDNESDAY, inputs.zone_of(zone))


@pytest.mark.parametrize("given", ["1795000000000", "0", "-1", "1577836799", "4133980800", "2019-12-31T23:59:59Z"])
def test_a_time_outside_2020_to_2100_is_refused_and_its_option_named(given):
    with pytest.raises(UsageError, match=r"--before .*expected a time from 2020 to 2100"):
        inputs.moment(given, "--before")


@pytest.mark.slow
def test_every_sentence_of_a_help_list_is_whole():
    for arguments in ([], ["manager"], ["server"], ["field"], ["device"], ["keys"], ["audit"], ["route"], ["readings"]):
        run = subprocess.run([*PROGRAM, *arguments, "--help"], capture_output=True, text=True, check=True)
        cut = [line for line in run.stdout.splitlines() if line.rstrip().endswith("...") and "COMMAND" not in line]
        assert not cut, cut


@pytest.fixture
def tokens_file(tmp_path):
    import base64
    import json

    made = make_tokens(50, now=1_795_000_000, refused_share=0)
    key = made.signers[0].public_key
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(key.raw).decode().rstrip("=")}
    (tmp_path / "keyring.jwks").write_text(json.dumps({"keys": [jwk]}))
    (tmp_path / "tokens.csv").write_text("token\n" + "\n".join(token.hex() for token in made.tokens) + "\n")
    return tmp_path


VERIFY = ["verify", "tokens.csv", "--keyring", "keyring.jwks", "--now", "1795000000", "--output", "-"]


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_only(tokens_file):
    silent = subprocess.run([*PROGRAM, *VERIFY], cwd=tokens_file, capture_output=True, check=True)
    assert b"verified" not in silent.stderr
    leader, follower = pty.openpty()
    with subprocess.Popen([*PROGRAM, *VERIFY], cwd=tokens_file, stdout=subprocess.PIPE, stderr=follower) as process:
        printed = process.stdout.read()
    os.close(follower)
    shown = os.read(leader, 65_536)
    os.close(leader)
    assert b"tokens verified" in shown
    assert printed == silent.stdout


@pytest.mark.slow
@pytest.mark.parametrize("no_color", ["", "1"])
def test_only_a_terminal_shows_styles_and_no_color_switches_colors_off(no_color):
    def printed(*arguments, to_terminal):
        leader, follower = pty.openpty()
        output = follower if to_terminal else subprocess.PIPE
        env = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
        with subprocess.Popen([*PROGRAM, *arguments], stdout=output, stderr=output, env=env) as process:
            parts = [] if to_terminal else process.communicate()
        os.close(follower)
        text = os.read(leader, 65_536) if to_terminal else b"".join(parts)
        os.close(leader)
        return text

    bold, red = b"\x1b[1m", b"\x1b[31m"
    for arguments, style in (["doctor"], bold), (["device", "show", "nowhere"], red):
        shown, piped = printed(*arguments, to_terminal=True), printed(*arguments, to_terminal=False)
        assert (style in shown) == (style == bold or not no_color)
        assert b"\x1b" not in piped
        assert re.sub(rb"\x1b\[\d*m|\r", b"", shown) == piped


@pytest.mark.slow
def test_a_closed_pipe_is_not_an_error(tokens_file):
    line = " ".join([f"'{PROGRAM[0]}' -c '{PROGRAM[2]}'", *VERIFY, "| head -n 1"])
    run = subprocess.run(["sh", "-c", line], cwd=tokens_file, capture_output=True, text=True, check=True)
    assert run.stdout.count("\n") == 1
    assert "Traceback" not in run.stderr


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """The folders of a manager and a field tool, which no command below changes."""
    folder = tmp_path_factory.mktemp("homes")
    for arguments in (
        ("manager", "init", "ism", "--utility", "UTIL0001"),
        ("manager", "role", "ism", "officer", "--permissions", "all", "--officer"),
        ("manager", "user", "ism", "otto", "--role", "officer", "--unit", "gas"),
        ("field", "init", "tablet", "--tool", "t1", "--keyring", "ism/root.jwks"),
    ):
        subprocess.run([*PROGRAM, *arguments], cwd=folder, check=True, capture_output=True)
    (folder / "binary").write_bytes(b"\xff\xfe\0")
    (folder / "short.csv").write_text("device,unit\nert:1,gas\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments,code,says",
    [
        (["server", "init", "tools", "--keyring", "none.jwks"], 3, "none.jwks cannot be read: No such file"),
        (["server", "init", "tools", "--keyring", "binary"], 3, "binary is not UTF-8 text"),
        (["field", "init", "tab", "--tool", "t", "--keyring", "none.jwks"], 3, "none.jwks cannot be read"),
        (["device", "init", "m", "--device", "ert:1", "--class", "basic", "-k", "none.jwks"], 3, "cannot be read"),
        (["audit", "verify", "ism", "--trusted", "none"], 3, "the checkpoint none cannot be read"),
        (["audit", "verify", "tablet"], 2, "tablet has no audit log"),
        (["manager", "approve", "ism", str(2**70), "otto"], 3, "beyond 64 bits"),
        (["manager", "init", "other", "--utility", "ÜÜ"], 2, "1 to 16 ASCII"),
        (["manager", "init", "other", "--utility", "U" * 17], 2, "1 to 16 ASCII"),
        (["manager", "devices", "ism", "short.csv"], 3, 'no column "device_class"; its columns: device, unit'),
    ],
)
def test_an_unreadable_input_is_named_and_is_not_an_internal_error(homes, arguments, code, says):
    run = subprocess.run([*PROGRAM, *arguments], cwd=homes, capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr
    assert says in " ".join(run.stderr.split())
    assert "internal error" not in run.stderr
    assert {path.name for path in homes.iterdir()} == {"ism", "tablet", "binary", "short.csv"}


def commands_of(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands_of(typer.main.get_command(command_line.commands())))
# The demonstration prints tables for the eye; its rows are in the files that it writes.
SHOWS_ONLY = {("demo",)}


def test_every_command_that_prints_a_table_prints_json_as_well():
    tables = {
        path
        for path, command in COMMANDS.items()
        if re.search(r"\bshow(?:_\w+)?\(", inspect.getsource(inspect.unwrap(command.callback)))
    }
    assert len(tables) > 15
    without = {path for path in tables if not any("--json" in one.opts for one in COMMANDS[path].params)}
    assert without == SHOWS_ONLY


def test_what_takes_away_can_be_tried_first():
    takes_away = {"revoke", "revoke-tool", "revoke-bearers", "retire", "remove-tool", "prune"}
    found = {path: command for path, command in COMMANDS.items() if path[-1] in takes_away}
    assert len(found) == len(takes_away) + 1, "both the server and the field tool prune"
    assert not [path for path, command in found.items() if not any("--dry-run" in one.opts for one in command.params)]


def test_what_is_added_can_be_listed():
    listed = {
        ("manager", "role"): ("manager", "roles"),
        ("manager", "user"): ("manager", "users"),
        ("manager", "request"): ("manager", "requests"),
        ("manager", "issue"): ("manager", "material"),
        ("manager", "revoke"): ("manager", "revoked"),
        ("manager", "rotate"): ("manager", "keys"),
        ("server", "bearer"): ("server", "bearers"),
        ("server", "remove-tool"): ("server", "tools"),
        ("field", "request"): ("field", "current"),
    }
    for pair in listed.items():
        assert set(pair) <= COMMANDS.keys(), pair
