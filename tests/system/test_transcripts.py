"""Sessions of the command line, kept as a user would type them.

A transcript is a text file. Lines of the form `$ command` are run by the shell, one after the other, in an empty folder;
below each stands what it prints (standard error included) and, where it is not 0, its exit code as `[exit 1]`. `...`
stands for any text within a line, and a line of its own for any number of lines. `-- name --` at the end of the file
begins an input file. Lines that begin with `#` say what is shown. ITRON_CORE_TRANSCRIPTS=write renews what was printed.
"""

import re
from pathlib import Path

import pytest

from shell_sessions import WRITE, fits, run

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "transcripts"
DOCS = Path(__file__).parents[2] / "docs"


def parts_of(text: str) -> tuple[str, dict[str, str]]:
    """Split a transcript into the session and its input files."""
    session, *rest = re.split(r"^-- (.+) --\n", text, flags=re.MULTILINE)
    return session, dict(zip(rest[::2], rest[1::2], strict=True))


def commands_of(session: str) -> list[tuple[str, str, str]]:
    """Take a session apart: each command, what it prints, and the remarks that stand before the next."""
    pieces = re.split(r"^\$ (.+)\n", session, flags=re.MULTILINE)[1:]
    return [
        (
            command,
            "\n".join(line for line in below.splitlines() if not line.startswith("# ")).strip("\n"),
            "".join(line + "\n" for line in below.splitlines() if line.startswith("# ")),
        )
        for command, below in zip(pieces[::2], pieces[1::2], strict=True)
    ]


# Commands with tests of their own: test_backup.py, test_readings_cli.py and test_readings_docs.py.
TESTED_ELSEWHERE = {"backup", "restore", "readings"}


def test_every_command_is_shown_by_a_transcript_or_a_page_that_a_test_runs():
    pages = [*FOLDER.glob("*.txt"), DOCS / "tour.md", DOCS / "runbooks.md"]
    shown = "\n".join(path.read_text() for path in pages)
    listed = set(re.findall(r"^  (\w+)  ", (FOLDER / "mistakes.txt").read_text(), re.MULTILINE))
    assert listed > TESTED_ELSEWHERE
    assert {name for name in listed - TESTED_ELSEWHERE if f"itron-core {name}" not in shown} == set()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path, tmp_path):
    session, files = parts_of(path.read_text())
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    commands = commands_of(session)
    assert commands, "a transcript without a command"
    written = session[: session.index("$ ")]
    for command, expected, remarks in commands:
        printed = run(command, tmp_path)
        matches = fits(expected, printed)
        written += f"$ {command}\n" + "".join(f"{text}\n" for text in [expected if matches else printed] if text)
        written += "\n" + remarks
        assert matches or WRITE, f"$ {command}\n{printed}"
    if WRITE:
        path.write_text(written + "".join(f"-- {name} --\n{content}" for name, content in files.items()))
