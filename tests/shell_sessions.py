"""Commands of a page or a transcript, run as a user would type them, and what they print held against what is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
WRITE = os.environ.get("ITRON_CORE_TRANSCRIPTS") == "write"
ENVIRONMENT = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}


def run(command: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    """Return what a command prints in a folder, standard error included, and its exit code if it is not 0."""
    process = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line.rstrip() for line in process.stdout.splitlines()]
    shown = "\n".join(lines).strip("\n")
    return "\n".join(filter(None, [shown, f"[exit {process.returncode}]" if process.returncode else ""]))


def pattern_of(expected: str) -> str:
    """Turn what is written into a regular expression: `...` is any text of a line, alone any number of lines."""
    lines = expected.split("\n")
    patterns = [re.escape(line).replace(re.escape("..."), "[^\n]*") for line in lines]
    return "\n".join(r"[\s\S]*" if line == "..." else pattern for line, pattern in zip(lines, patterns, strict=True))


def fits(expected: str, printed: str) -> bool:
    """Return whether a command printed what is written."""
    return re.fullmatch(pattern_of(expected), printed) is not None
