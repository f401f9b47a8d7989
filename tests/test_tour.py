"""`make tour`, run as a user would, and what its steps must say."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "tour.sh"

# In this order, each somewhere behind the one before.
STEPS = [
    "A security manager in ism",
    'exchange_keys: done {"epoch": 1, "key_version": 2, "level": "ready_to_secure", "mode": "mobile"}',
    'set_security_level: done {"epoch": 1, "key_version": 2, "level": "full", "mode": "mobile"}',
    "refused: reading_key_missing",
    "read_endpoint: done",
    "refused: session_required",
    "open_session: done",
    "program_endpoint: done",
    "close_session: done",
    "disconnect_service: sent, and no answer came",
    "disconnect_service: replayed",
    "connect_service: done",
    "Request 7: waiting, 10 tokens.",
    "second_person",
    "Request 7: approved by otto.",
    'switch_to_network_mode: done {"epoch": 2, "key_version": 3, "level": "full", "mode": "network"}',
    "entries of itron-core.example/manager",
    "entries of itron-core.example/server",
]


def test_the_tour_goes_through():
    run = subprocess.run(
        ["sh", SCRIPT, Path(sys.executable).parent], capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    rest = run.stdout
    for step in STEPS:
        found = re.search(re.escape(step), rest)
        assert found, f"{step!r} is not in what follows:\n{rest[:3000]}"
        rest = rest[found.end() :]
