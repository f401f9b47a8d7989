"""Processes that are killed at random moments, cheaply: each is forked from one that has imported everything.

`ITRON_CORE_KILLS` says how often each test kills, on each database.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROGRAMS = Path(__file__).parent / "programs"
KILLS = int(os.environ.get("ITRON_CORE_KILLS", "60"))


class Death(NamedTuple):
    """What a child said, and how it ended."""

    said: str
    status: int

    @property
    def lines(self):
        """Only what was said as a whole counts."""
        return [line for line in self.said.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def was_killed(self):
        return self.status == -signal.SIGKILL


class Warm:
    """A process that holds the module `programs.<program>`, which defines `work(*arguments)`, and forks a child for each call of it."""

    def __init__(self, program):
        paths = json.dumps([str(Path(__file__).parent), *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "kill_server.py"), paths, program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, delay=None):
        """Run it in a child; with a `delay` it is killed so many seconds after its first word."""
        print(json.dumps([arguments, delay]), file=self._process.stdin, flush=True)
        return Death(*json.loads(self._process.stdout.readline()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()
