"""`make tour`, run as a user would, prints what docs/tour.md shows. ITRON_CORE_TRANSCRIPTS=write renews the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tour.md"
INTRODUCTION = """# The tour

One meter from ready to secure to Network Mode, by commands alone. `make tour` runs it; you can also type it, line by line, in an
empty folder, where `itron-core` is on the path (after `make demo`: `export PATH="$PWD/.venv/bin:$PATH"`). Every party is a
folder and a command; the tools server is asked over HTTP. [exchange.md](exchange.md) says what each of them promises.
"""
# What differs from one run to the next, and what the page says instead.
VARIABLE = [
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8470"),
    (r"--port 0 ", "--port 8470 "),
    (r"root [0-9a-f]{16}\.\.\.", "root ..."),
    (r'"at":\d+', '"at":...'),
    # A reading is protected under a key that is new in each run.
    (r"\bd083582f[0-9a-f]+", "d083582f..."),
]


def page_of(printed):
    """Make a page of what the tour prints: a heading for each remark, and what follows it as it stands."""
    for pattern, shown in VARIABLE:
        printed = re.sub(pattern, shown, printed)
    sections = re.split(r"^# (.+)\n", printed, flags=re.MULTILINE)[1:]
    return INTRODUCTION + "".join(
        f"\n## {title}\n\n```console\n{text.strip()}\n```\n"
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    )


def test_the_tour_prints_the_page_s_output():
    run = subprocess.run(
        ["sh", ROOT / "scripts" / "tour.sh", Path(sys.executable).parent],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "COLUMNS": "100", "LC_ALL": "C.UTF-8"},
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    page = page_of(run.stdout)
    if os.environ.get("ITRON_CORE_TRANSCRIPTS") == "write":
        PAGE.write_text(page)
    assert page == PAGE.read_text()
