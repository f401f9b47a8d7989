"""What a bulk call does when the machine is short of something: a signal that waits, memory, threads."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from helpers import ISSUER, KEYRING, NOW, entry, token
from itron_core import verify_signatures, verify_tokens

PROGRAMS = Path(__file__).parent / "programs"


class HeardError(Exception):
    """What the handler of a signal raises."""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_is_heard_during_a_call(threads):
    def handler(number, frame):
        raise HeardError

    rows = 3_000_000
    signature = pa.array([ISSUER.sign(b"message")])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), signature)
    signatures = pa.chunked_array([column] * (rows // 1_000))
    messages = pa.chunked_array([pa.array([b"message"] * 1_000)] * (rows // 1_000))
    key = entry(ISSUER).key
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        started = time.monotonic()
        with pytest.raises(HeardError):
            verify_signatures(key, messages, signatures, threads=threads)
        # The whole call takes seconds on any machine; the signal is heard within 0.2 s of a quiet one.
        assert time.monotonic() - started < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_call_on_another_thread_than_the_main_one_needs_no_signals():
    answers = []
    tokens = pa.array([token()]).take(pa.array([0] * 30_000))
    work = threading.Thread(target=lambda: answers.append(verify_tokens(tokens, KEYRING, now=NOW, threads=2)))
    work.start()
    work.join()
    assert set(answers[0]["code"].to_pylist()) == {0}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux shows them")
def test_calls_with_many_numbers_of_threads_leave_no_pools_behind():
    rows = [token()] * 64 * 24
    for threads in range(1, 25):
        assert len(verify_tokens(rows, KEYRING, now=NOW, threads=threads)) == len(rows)
    deadline = time.monotonic() + 30
    # The threads of smaller pools end by themselves.
    while (count := len(list(Path("/proc/self/task").iterdir()))) > 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count <= 40


@pytest.mark.parametrize("call", ["verify_tokens", "process_route", "verify_signatures", "check_windows"])
def test_memory_that_cannot_be_had_raises(call):
    done = subprocess.run(
        [sys.executable, PROGRAMS / "short_of_memory.py", call],
        env={**os.environ, "PYTHONPATH": str(PROGRAMS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "MemoryError"


def test_threads_that_cannot_be_started_are_done_without():
    done = subprocess.run(
        [sys.executable, PROGRAMS / "short_of_memory.py", "threads"],
        env={**os.environ, "PYTHONPATH": str(PROGRAMS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0] * 64 * 200


def test_a_second_interpreter_of_a_process_is_refused():
    done = subprocess.run(
        [sys.executable, PROGRAMS / "second_interpreter.py"], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this Python has no module for interpreters")
    assert done.returncode == 0, done.stderr
    assert "ImportError itron_core: this process has imported it in another interpreter" in done.stdout
