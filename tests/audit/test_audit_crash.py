"""The audit log killed at every step and at any moment, and what it has synced before it promises anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from itron_core import LocalSigner
from itron_core.audit import AuditLog
from kills import KILLS, PROGRAMS

pytestmark = pytest.mark.slow

ORIGIN = "utility.example/audit"


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAMS / program), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_kill_at_every_step_leaves_the_old_log_or_the_new_one(tmp_path):
    steps = run("audit_steps.py", tmp_path)
    assert len(steps) == 5
    assert min(steps.values()) >= 7
    assert steps["510 1100"] > 40


def test_a_kill_at_any_moment_loses_nothing_that_was_published(tmp_path):
    assert run("audit_moments.py", tmp_path / "log", KILLS, 5) > 0


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
def test_entries_are_synced_before_their_checkpoint_and_the_checkpoint_before_append_returns(
    tmp_path, monkeypatch, batches
):
    disk = Disk(monkeypatch)
    log = AuditLog(tmp_path / "new" / "log", LocalSigner.generate(), origin=ORIGIN)
    for count in batches:
        log.append([b"entry"] * count)
        assert not disk.dirty
    assert disk.checkpoints == 1 + len(batches)
