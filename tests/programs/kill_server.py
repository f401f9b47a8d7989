"""Fork a child of one program for each line on standard input, and kill it when the line says so.

Of one thread, so that it may fork; what a child prints goes to a pipe of its own.
"""

import importlib
import json
import os
import signal
import sys
import time
from contextlib import suppress

sys.path[:0] = json.loads(sys.argv[1])
with suppress(ImportError):
    import psycopg  # noqa: F401  # else each child would, for longer than it works
work = importlib.import_module(f"programs.{sys.argv[2]}").work


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
        except BaseException:  # noqa: BLE001  # whatever ends the child is printed
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
