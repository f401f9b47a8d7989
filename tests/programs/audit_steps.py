"""Kill a child just before its k-th change of the disk, for every k until it gets through.

It forks from a process of one thread, so that a child costs no start of Python.
"""

import json
import os
import shutil
import signal
import sys

from itron_core.audit import verify
from programs.audit_common import FOLDER, ORIGIN, SIGNER, VKEY, leaves, opened
from reference.merkle import audit


def killing_before(step):
    def count(event):
        nonlocal step
        step -= 1
        if step < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
            count(event)

    fsync = os.fsync

    def counted(descriptor):
        count("fsync")
        fsync(descriptor)
        count("fsynced")

    os.fsync = counted
    sys.addaudithook(hook)


def work(folder, start, size):
    log = opened(folder)
    if start is not None:
        log.append(leaves(start, size), at=start)


def killed_at(step, start, size):
    folder = FOLDER / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    if start is not None:
        shutil.copytree(FOLDER / str(start), folder)
    child = os.fork()
    if child == 0:
        killing_before(step)
        work(folder, start, size)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if start is not None:
        # Before anything is repaired: the log is the old one or the new one.
        found = verify(folder, SIGNER.public_key, origin=ORIGIN).size
        assert found in {start, size}, found
    log = opened(folder)
    held = log.size
    # What was not published may be another batch the next time, and of another length.
    word = b"entry" if step % 2 and start is not None else b"other"
    end = size if step % 2 else size + 300
    log.append([*leaves(0, held)[start or 0 :], *leaves(held, end, word)], at=start or 0)
    _, entries = audit(folder, VKEY)
    assert entries == [*leaves(0, held), *leaves(held, end, word)]
    assert verify(folder, SIGNER.public_key, origin=ORIGIN).size == end
    return os.WIFSIGNALED(status)


done = {}
for start, size in ((None, 0), (0, 3), (250, 260), (255, 256), (510, 1_100)):
    if start is not None:
        opened(FOLDER / str(start)).append(leaves(0, start))
    steps = 0
    while killed_at(steps, start, size):
        steps += 1
    done[f"{start} {size}"] = steps
print(json.dumps(done))
