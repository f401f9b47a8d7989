"""Pages of docs/ whose blocks of commands are run word for word; what each command prints is what the page shows.

A block begins with ```console, and lines of the form `$ command` are typed one after the other in one folder. A file that
is shown by `cat` before it exists is made with what is shown. ITRON_CORE_TRANSCRIPTS=write renews what was printed.
"""

import re
import subprocess
from pathlib import Path

from shell_sessions import ENVIRONMENT, WRITE, run

DOCS = Path(__file__).parents[1] / "docs"
PORT = "127.0.0.1:8470"
# What differs from one run to the next (an id of a key or a bearer token, a time, a number from the clock), and what a page has instead.
ID = re.compile(r"\b(?!0{8})(?:[0-9a-f]{32}|[0-9a-f]{16})\b")
IDS = ["6c5e1f0a77e2b94d", "b81d3c92e4f60a57", "2f94c7d01b5ae836", "e07a49b3d6c218f5", "91c2e85f7d3b04a6"]
NUMBER = re.compile(r"(?<=start after )[\d,]+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Page:
    """A page, the blocks of commands of each of its sections, and what was printed in their place."""

    def __init__(self, name):
        self.path = DOCS / name
        self.text, self.sections, self.written = self.path.read_text(), {}, {}
        for section in re.finditer(r"^## (.+)\n([\s\S]*?)(?=^## |\Z)", self.text, re.MULTILINE):
            blocks = re.finditer(r"^( *)```console\n([\s\S]*?)^ *```$", section[2], re.MULTILINE)
            spans = [(section.start(2) + one.start(2), section.start(2) + one.end(2), one[1]) for one in blocks]
            if spans:
                self.sections[section[1]] = spans

    def follow(self, title, folder, environment=None, instead=()):
        """Run the commands of a section in a folder; what each prints is what the page shows.

        `instead` has pairs of texts: one of this run, and the one that the page has in its place.
        """
        session = Session(folder, environment or {}, instead)
        try:
            for begin, end, indent in self.sections[title]:
                block = "".join(line.removeprefix(indent) for line in self.text[begin:end].splitlines(keepends=True))
                written = ""
                for command, expected in commands_of(block):
                    session.make(command, expected)
                    printed = session.shown(session.run(command))
                    assert printed == expected or WRITE, f"$ {command}\n{printed}\n--- the page has\n{expected}"
                    written += f"$ {command}\n" + (f"{printed}\n" if printed else "")
                self.written[begin, end] = "".join(
                    f"{indent}{line}" if line.strip() else line for line in written.splitlines(keepends=True)
                )
        finally:
            session.end()

    def renew(self):
        """Write the page with what was printed, if that is asked for."""
        if WRITE:
            text, at = "", 0
            for (begin, end), written in sorted(self.written.items()):
                text, at = text + self.text[at:begin] + written, end
            self.path.write_text(text + self.text[at:])


def commands_of(block):
    """Return each command of a block with what stands below it."""
    pieces = re.split(r"^\$ (.+)\n", block, flags=re.MULTILINE)[1:]
    return [(command, below.strip("\n")) for command, below in zip(pieces[::2], pieces[1::2], strict=True)]


class Session:
    """The commands of one section; one that ends with & goes on beside them, at a free port in place of the page's."""

    def __init__(self, folder, environment, instead):
        self.folder, self.environment, self.instead = folder, environment, instead
        self.beside, self.address, self.ids = [], PORT, {}

    def make(self, command, shown):
        """Make the file that `cat` shows, unless it exists."""
        found = re.fullmatch(r"cat (\S+)", command)
        if found and not (self.folder / found[1]).exists():
            (self.folder / found[1]).write_text(f"{shown}\n")

    def run(self, command):
        """Return what a command prints, or the first line of one that goes on."""
        if not command.endswith(" &"):
            return run(command.replace(PORT, self.address), self.folder, self.environment)
        served = command[:-2].replace("--port 8470", "--port 0")
        process = subprocess.Popen(
            ["sh", "-c", f"exec {served}"],
            cwd=self.folder,
            env=ENVIRONMENT | self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.beside.append(process)
        line = process.stdout.readline().strip()
        self.address = line.rpartition("//")[2]
        return line

    def shown(self, printed):
        """Return what was printed with the page's ids, address and times in place of those of this run."""
        for here, shown in [(self.address, PORT), *self.instead]:
            printed = printed.replace(here, shown)
        text = NUMBER.sub("1,887,436,800,000,000", TIME.sub("2027-03-01T08:00:00Z", printed))
        return ID.sub(lambda found: self.ids.setdefault(found[0], self.page_id(len(found[0]))), text)

    def page_id(self, length):
        return (IDS[len(self.ids)] * 2)[:length]

    def end(self):
        for process in self.beside:
            process.terminate()
            process.wait(timeout=60)
            process.stdout.close()
