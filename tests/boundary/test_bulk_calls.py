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
from itron_core import MasterKey, check_sessions, derive_keys, verify_signatures, verify_tokens

PROGRAMS = Path(__file__).parents[1] / "programs"


class HeardError(Exception):
    """What the handler of a signal raises."""


def signatures_verified(threads):
    rows = 3_000_000
    signature = pa.array([ISSUER.sign(b"message")])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000, pa.int32()), signature)
    signatures = pa.chunked_array([column] * (rows // 1_000))
    messages = pa.chunked_array([pa.array([b"message"] * 1_000)] * (rows // 1_000))
    return lambda: verify_signatures(entry(ISSUER).key, messages, signatures, threads=threads)


def check_values_derived():
    devices = pa.array([b"device-1"] * 4_000_000)
    keys = derive_keys(MasterKey.from_bytes(bytes(32)), devices, utility="U", label="read-enc", key_version=1)
    return keys.check_values


def sessions_checked():
    times = pa.chunked_array([pa.array([NOW] * 1_000_000, pa.int64())] * 60)
    return lambda: check_sessions(times, times, now=NOW)


# Calls that would take seconds on any machine.
BULK_CALLS = {
    "signatures, one thread": lambda: signatures_verified(1),
    "signatures, two threads": lambda: signatures_verified(2),
    "check values": check_values_derived,
    "sessions": sessions_checked,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BULK_CALLS)
def test_a_signal_is_heard_during_a_call(name):
    def handler(number, frame):
        raise HeardError

    call = BULK_CALLS[name]()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        started = time.monotonic()
        with pytest.raises(HeardError):
            call()
        # A signal is heard within 0.2 s on a quiet machine.
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


def running_threads():
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted as Linux shows them")
def test_calls_with_many_numbers_of_threads_leave_no_pools_behind():
    rows, before = [token()] * 64 * 24, running_threads()
    for threads in range(1, 25):
        assert len(verify_tokens(rows, KEYRING, now=NOW, threads=threads)) == len(rows)
    deadline = time.monotonic() + 30
    # The threads of smaller pools end by themselves.
    while running_threads() > before + 24 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running_threads() <= before + 24


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_second_interpreter_of_a_process_is_refused():
    done = subprocess.run(
        [sys.executable, PROGRAMS / "second_interpreter.py"], capture_output=True, text=True, check=False
    )
    if done.returncode == 77:
        pytest.skip("this Python has no module for interpreters")
    assert done.returncode == 0, done.stderr
    assert "ImportError itron_core: this process has imported it in another interpreter" in done.stdout
