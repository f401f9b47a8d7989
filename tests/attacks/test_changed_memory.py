"""Memory that somebody writes to during a call: what was verified is what is believed, and nothing is read outside.

`ITRON_CORE_ATTACK_ROWS` is how many rows each attack takes; a million is the size to try after a change of the readers.
"""

import json
import mmap
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from helpers import DEVICE, KEYRING, NOW, token
from itron_core import Action, Decision, Permission, process_route, verify_tokens

ROWS = int(os.environ.get("ITRON_CORE_ATTACK_ROWS", "4000"))
BATCH = 2_000
# Seconds for the writer to get its turn on a busy machine.
PATIENCE = 120
PROGRAMS = Path(__file__).parents[1] / "programs"

CONNECT = token("secure_command", actions=(Action.CONNECT_SERVICE,))
DISCONNECT = token("secure_command", actions=(Action.DISCONNECT_SERVICE,))
# Where the two claims differ; the signatures lie behind them.
PLACE = next(at for at, (one, other) in enumerate(zip(CONNECT, DISCONNECT, strict=False)) if one != other)
VALUES = (CONNECT[PLACE], DISCONNECT[PLACE])


@contextmanager
def thread_writing(memory):
    """Write both values in turn at the place of each token, through the memory of an array."""
    ends = threading.Event()

    def write():
        column = memory[:, PLACE]
        while not ends.is_set():
            for value in VALUES:
                column[:] = value

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ends.set()
        writer.join()


@contextmanager
def process_writing(path, places):
    """Write both values in turn at places of a file that is mapped here, too."""
    words = [sys.executable, PROGRAMS / "memory_writer.py", path, *VALUES, *places]
    with subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline()
        try:
            yield
        finally:
            writer.stdin.close()
            writer.wait()


def in_memory(rows):
    """Return the bytes of genuine tokens, which may be written to, and columns over them that may not."""
    memory = np.frombuffer(bytearray(CONNECT * rows), np.uint8).reshape(rows, len(CONNECT))
    view = memory.view()
    view.flags.writeable = False
    data = pa.py_buffer(memory)
    small = pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * len(CONNECT))
    views = np.zeros((rows, 4), np.int32)
    views[:, 0], views[:, 3] = len(CONNECT), np.arange(rows) * len(CONNECT)
    fixed = pa.binary(len(CONNECT))
    columns = {
        "numpy": view,
        "binary": pa.Array.from_buffers(pa.binary(), rows, [None, small, data]),
        "view": pa.Array.from_buffers(pa.binary_view(), rows, [None, pa.py_buffer(views), data]),
        "fixed": pa.Array.from_buffers(fixed, rows, [None, data]),
    }
    return memory, columns


def attacked(attack, column, states):
    """Attack as many rows as are wanted, and go on until rows were seen in both states: the writer did write."""
    seen, batches, deadline = set(), 0, time.monotonic() + PATIENCE
    while batches * BATCH < ROWS or (seen != states and time.monotonic() < deadline):
        seen |= set(attack(column))
        batches += 1
    assert seen == states


def nothing_is_believed_but_what_was_signed(column):
    results = verify_tokens(column, KEYRING, now=NOW, token_type="secure_command", threads=1)
    codes, actions = np.asarray(results["code"]), pa.array(results["actions"])
    assert set(codes) <= {0, 302}
    assert set(actions.drop_null().to_pylist()) <= {1 << Action.CONNECT_SERVICE}
    return codes


def nothing_is_allowed_by_another_command(column):
    rows = len(column)
    route = {
        "device": [DEVICE] * rows,
        "device_class": ["enhanced"] * rows,
        "security_level": ["command"] * rows,
        "mode": ["mobile"] * rows,
        "action": ["disconnect_service"] * rows,
        "session_opened_at": [NOW - 60] * rows,
        "session_seconds": [3_600] * rows,
        "secure_command": column,
    }
    results = process_route(route, KEYRING, now=NOW, permissions=Permission(31), threads=1)
    assert set(np.asarray(results["decision"])) == {Decision.REFUSED}
    return np.array(results["secure_command_code"].to_pylist())


ATTACKED = {
    "verify_tokens": (nothing_is_believed_but_what_was_signed, 0),
    "process_route": (nothing_is_allowed_by_another_command, 701),
}


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["numpy", "binary", "view", "fixed"])
@pytest.mark.parametrize("name", ATTACKED)
def test_a_thread_that_writes_under_a_call_changes_no_answer_into_another_s(name, layout):
    attack, genuine = ATTACKED[name]
    memory, columns = in_memory(BATCH)
    with thread_writing(memory):
        attacked(attack, columns[layout], {genuine, 302})


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKED)
def test_a_process_that_writes_a_mapped_file_changes_no_answer_into_another_s(name, tmp_path):
    attack, genuine = ATTACKED[name]
    path = tmp_path / "tokens.arrow"
    table = pa.table({"token": [CONNECT] * BATCH})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    start = path.read_bytes().index(CONNECT)
    # A few rows, so that each is written often while a chunk is read.
    places = [start + row * len(CONNECT) + PLACE for row in range(0, BATCH, 100)]
    with process_writing(path, places), path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # Not combine_chunks: it copies even one chunk, and the copy would stay as it was.
        column = pa.ipc.open_file(pa.py_buffer(memory)).read_all().column("token").chunk(0)
        attacked(attack, column, {genuine, 302})


def test_the_command_that_is_written_in_would_be_allowed():
    codes = verify_tokens([DISCONNECT], KEYRING, now=NOW, token_type="secure_command")["code"].to_pylist()
    assert codes == [0]
    with pytest.raises(AssertionError):
        nothing_is_allowed_by_another_command([DISCONNECT])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["offsets", "large_offsets", "views", "codes", "validity"])
def test_offsets_that_move_after_their_check_read_nothing_outside(what):
    """In a process of its own: what is read outside ends the process."""
    words = [sys.executable, PROGRAMS / "moved_offsets.py", what]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAMS.parent)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Every eighth row was null, and is.
    assert json.loads(done.stdout) == [1 if what == "validity" and row % 8 == 0 else 0 for row in range(300)]
