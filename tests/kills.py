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

KILLS = int(os.environ.get("ITRON_CORE_KILLS", "200"))

# Of one thread, so that it may fork; what a child says goes to a pipe of its own.
SERVER = """
import json, os, select, signal, sys, time
sys.path[:0] = json.loads(sys.argv[1])
{program}

def forked(arguments):
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(hear)
            os.dup2(say, 1)
            work(*arguments)
            sys.stdout.flush()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    os.close(say)
    return child, hear


def drained(hear):
    with os.fdopen(hear, "rb") as said:
        return said.read().decode()


for line in sys.stdin:
    arguments, delay = json.loads(line)
    child, hear = forked(arguments)
    first = b""
    if delay is not None:
        first = os.read(hear, 1)  # from its first word on
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    said = first.decode() + drained(hear)
    print(json.dumps([said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]), flush=True)
"""


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
    """A process that holds `program`, which defines `work(*arguments)`, and forks a child for each call of it."""

    def __init__(self, program):
        paths = json.dumps([str(Path(__file__).parent), *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER.replace("{program}", program), paths],
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
