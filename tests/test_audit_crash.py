"""The audit log killed at every step and at any moment, and what it has synced before it promises anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itron_core import LocalSigner
from itron_core.audit import AuditLog
from kills import KILLS

ORIGIN = "utility.example/audit"

# Both programs fork from a process of one thread, so that a child costs no start of Python.
COMMON = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from itron_core import LocalSigner
from itron_core.audit import AuditLog, verifier_of, verify
from reference.merkle import audit

ORIGIN = "utility.example/audit"
SIGNER = LocalSigner.generate()
VKEY = verifier_of(ORIGIN, SIGNER.public_key)
FOLDER = Path(sys.argv[1])


def leaves(start, end, word=b"entry"):
    return [b"%s %d" % (word, number) for number in range(start, end)]


def opened(folder):
    return AuditLog(folder, SIGNER, origin=ORIGIN, patience=0)
"""

# A child is killed just before its k-th change of the disk, for every k until it gets through.
STEPS = """
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
    log.append([*leaves(0, held)[start or 0:], *leaves(held, end, word)], at=start or 0)
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
"""

# A child appends as fast as it can and says what it has been promised, until it is killed.
MOMENTS = """
def appending(folder, say, rng):
    log = opened(folder)
    while True:
        start = log.size
        log.append(leaves(start, start + rng.choice([1, 3, 97, 300])), at=start)
        os.write(say, b"%d\\n" % log.size)


rng = random.Random(int(sys.argv[3]))
promised = 0
for kill in range(int(sys.argv[2])):
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        appending(FOLDER, say, random.Random(rng.random()))
    os.close(say)
    time.sleep(rng.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(hear) as said:
        promised = max([promised, *(int(line) for line in said if line.endswith("\\n"))])
    if not (FOLDER / "checkpoint").exists():
        assert promised == 0
        continue
    found = verify(FOLDER, SIGNER.public_key, origin=ORIGIN).size
    assert found >= promised, (found, promised)
    log = opened(FOLDER)
    assert log.entries(max(0, found - 1_000), found) == leaves(max(0, found - 1_000), found)
    promised = found
_, entries = audit(FOLDER, VKEY)
assert entries == leaves(0, promised)
print(json.dumps(promised))
"""


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMMON + program, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_kill_at_every_step_leaves_the_old_log_or_the_new_one(tmp_path):
    steps = run(STEPS, tmp_path)
    assert len(steps) == 5
    assert min(steps.values()) >= 7
    assert steps["510 1100"] > 40


def test_a_kill_at_any_moment_loses_nothing_that_was_published(tmp_path):
    assert run(MOMENTS, tmp_path / "log", KILLS, 5) > 0


class Disk:
    """What would not outlive a power cut: folders that were changed and not synced since. Real calls, watched."""

    def __init__(self, monkeypatch):
        self.synced, self.dirty, self.checkpoints = set(), set(), 0
        fsync, replace, mkdir = os.fsync, os.replace, os.mkdir

        def fsyncing(descriptor):
            fsync(descriptor)
            number = os.fstat(descriptor).st_ino
            self.synced.add(number)
            self.dirty.discard(number)

        def replacing(source, target):
            assert Path(source).stat().st_ino in self.synced, target
            if Path(target).name == "checkpoint":
                assert not self.dirty, "a checkpoint before what it covers is on the disk"
                self.checkpoints += 1
            replace(source, target)
            self.dirty.add(Path(target).parent.stat().st_ino)

        def making(path, *arguments):
            mkdir(path, *arguments)
            self.dirty.add(Path(path).parent.stat().st_ino)

        monkeypatch.setattr(os, "fsync", fsyncing)
        monkeypatch.setattr(os, "replace", replacing)
        monkeypatch.setattr(os, "mkdir", making)


@pytest.mark.parametrize("batches", [[1, 1, 254, 1, 5], [600, 1, 700], [70_000]])
def test_what_a_checkpoint_covers_is_synced_before_it_and_the_checkpoint_before_append_returns(
    tmp_path, monkeypatch, batches
):
    disk = Disk(monkeypatch)
    log = AuditLog(tmp_path / "new" / "log", LocalSigner.generate(), origin=ORIGIN)
    for count in batches:
        log.append([b"entry"] * count)
        assert not disk.dirty
    assert disk.checkpoints == 1 + len(batches)
