"""docs/runbooks.md, run word for word: every runbook from the parties of the page, each in a folder of its own.

ITRON_CORE_TRANSCRIPTS=write renews what was printed.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shell_sessions import ENVIRONMENT, WRITE, run

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "runbooks.md"
BEGINNING = "The utility of this page"
PORT = "127.0.0.1:8470"
# What differs from one run to the next (an id of a key or a bearer token, a time), and what the page has instead.
ID = re.compile(r"\b(?!0{8})(?:[0-9a-f]{32}|[0-9a-f]{16})\b")
IDS = ["6c5e1f0a77e2b94d", "b81d3c92e4f60a57", "2f94c7d01b5ae836", "e07a49b3d6c218f5", "91c2e85f7d3b04a6"]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
DEVICES = "device,unit,device_class,mode,security_level\n"
FILES = {
    "devices.csv": DEVICES + "ert:100000001,gas,enhanced,mobile,command\nert:100000002,gas,enhanced,mobile,command\n",
    "replacement.csv": DEVICES + "ert:100000003,gas,enhanced,mobile,ready_to_secure\n",
    "same-id.csv": "device,unit,device_class,mode,security_level,epoch\nert:100000002,gas,enhanced,mobile,ready_to_secure,0\n",
    "water.csv": DEVICES + "ert:300000001,water,enhanced,mobile,command\n",
}


def sections():
    """Return the page's sections that have commands: their titles, and where each block of commands begins and ends."""
    text = PAGE.read_text()
    found = {}
    for section in re.finditer(r"^## (.+)\n([\s\S]*?)(?=^## |\Z)", text, re.MULTILINE):
        blocks = re.finditer(r"^( *)```console\n([\s\S]*?)^ *```$", section[2], re.MULTILINE)
        spans = [(section.start(2) + one.start(2), section.start(2) + one.end(2), one[1]) for one in blocks]
        if spans:
            found[section[1]] = spans
    return text, found


TEXT, SECTIONS = sections()
WRITTEN = {}


def commands_of(block):
    pieces = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)[1:]
    return [(command, below.strip("\n")) for command, below in zip(pieces[::2], pieces[1::2], strict=True)]


class Session:
    """The commands of one section; one that ends with & goes on beside them, at a free port in place of the page's."""

    def __init__(self, folder):
        self.folder, self.beside, self.address, self.ids = folder, [], PORT, {}

    def run(self, command):
        if not command.endswith(" &"):
            return run(command.replace(PORT, self.address), self.folder)
        served = command[:-2].replace("--port 8470", "--port 0")
        process = subprocess.Popen(
            ["sh", "-c", f"exec {served}"], cwd=self.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
        )
        self.beside.append(process)
        line = process.stdout.readline().strip()
        self.address = line.rpartition("//")[2]
        return line

    def shown(self, printed):
        """Return what was printed with the page's ids, address and times in place of those of this run."""
        text = TIME.sub("2027-03-01T08:00:00Z", printed.replace(self.address, PORT))
        return ID.sub(lambda found: self.ids.setdefault(found[0], self.page_id(len(found[0]))), text)

    def page_id(self, length):
        return (IDS[len(self.ids)] * 2)[:length]

    def end(self):
        for process in self.beside:
            process.terminate()
            process.wait(timeout=60)
            process.stdout.close()


def follow(title, folder):
    """Run the commands of a section in a folder; what each prints is what the page shows."""
    for name, content in FILES.items():
        (folder / name).write_text(content)
    session = Session(folder)
    try:
        for begin, end, indent in SECTIONS[title]:
            block = "".join(line.removeprefix(indent) for line in TEXT[begin:end].splitlines(keepends=True))
            written = ""
            for command, expected in commands_of(block):
                printed = session.shown(session.run(command))
                assert printed == expected or WRITE, f"$ {command}\n{printed}\n--- the page has\n{expected}"
                written += f"$ {command}\n" + (f"{printed}\n" if printed else "")
            WRITTEN[begin, end] = "".join(
                f"{indent}{line}" if line.strip() else line for line in written.splitlines(keepends=True)
            )
    finally:
        session.end()


@pytest.fixture(scope="module")
def utility(tmp_path_factory):
    """The parties that every runbook begins with; afterwards the page is written if that is asked for."""
    folder = tmp_path_factory.mktemp("utility")
    follow(BEGINNING, folder)
    yield folder
    if WRITE:
        text, at = "", 0
        for (begin, end), written in sorted(WRITTEN.items()):
            text, at = text + TEXT[at:begin] + written, end
        PAGE.write_text(text + TEXT[at:])


def test_the_page_has_a_runbook_for_each_thing_that_happens():
    listed = set(re.findall(r"\(#([a-z-]+)\)", TEXT[: TEXT.index("## ")]))
    assert {title.lower().replace(" ", "-") for title in SECTIONS} == listed | {BEGINNING.lower().replace(" ", "-")}


@pytest.mark.parametrize("title", [title for title in SECTIONS if title != BEGINNING])
def test_the_runbook_does_what_the_page_shows(title, utility, tmp_path):
    follow(title, Path(shutil.copytree(utility, tmp_path / "utility")))
