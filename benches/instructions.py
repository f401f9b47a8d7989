"""Count the instructions of the portable path: the guard against getting slower that no busy machine disturbs.

`check`    compares with benches/instructions.json; fails when a piece of work takes more than a share above what is recorded
`record`   renews benches/instructions.json; do that in a commit of its own, with the reason

`rust/core/examples/instructions.rs` does the work, under callgrind, with the portable kernels. One round and two are counted:
the difference is the work without its preparation. What is recorded holds for one compiler, one valgrind, and what that lets
the libraries see of the processor; elsewhere nothing is compared, and the reason is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "benches" / "instructions.json"
# Runs of one source differ by nothing at all, whatever the folder; a change elsewhere may move what the compiler inlines.
ALLOWED_RISE = 0.01


class Program(NamedTuple):
    """The built program, and how to run it."""

    path: Path

    def run(self, *words: str) -> str:
        """Run under callgrind, with nothing in the environment that could move the stack; return all that is printed."""
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(self.path), *words]
        variables = {"ITRON_CORE_KERNELS": "portable", "PATH": os.environ["PATH"]}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr}")
        return done.stdout + done.stderr

    def instructions(self, name: str, rounds: int) -> int:
        found = re.search(r"Collected : (\d+)", self.run(name, str(rounds)))
        if not found:
            sys.exit(f"{name}: callgrind did not say how many instructions it counted")
        return int(found[1])

    def per_item(self, name: str, items: int) -> int:
        """Count what one item of a round takes."""
        return round((self.instructions(name, 2) - self.instructions(name, 1)) / items)

    def works(self) -> list[tuple[str, int]]:
        """List the pieces of work with the items of a round."""
        lines = subprocess.check_output([self.path, "list"], text=True).splitlines()
        return [(name, int(items)) for items, name in (line.split("\t") for line in lines)]

    def environment(self) -> dict[str, str]:
        """Name what the counts hold for."""
        features = re.search(r"^(?!==)(.*)$", self.run("features"), re.MULTILINE)
        return {
            "rustc": subprocess.check_output(["rustc", "--version"], text=True).strip(),
            "valgrind": subprocess.check_output(["valgrind", "--version"], text=True).strip(),
            "processor, as valgrind shows it": features[1] if features else "",
        }


def build() -> Program:
    """Build as the extension is built: a release build, for no particular processor."""
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        "itron-core",
        "--example",
        "instructions",
    ]
    command += ["--message-format=json-render-diagnostics"]
    messages = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = (json.loads(line) for line in messages.splitlines())
    programs = [one["executable"] for one in artifacts if one.get("executable")]
    return Program(Path(programs[-1]))


def count(program: Program) -> dict[str, int]:
    """Count every piece of work; other work on the machine changes nothing, so all cores count."""
    works = program.works()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda work: program.per_item(*work), works)
        return {name: count for (name, _), count in zip(works, counts, strict=True)}


def reason_to_skip(environment: dict[str, str], recorded: dict[str, str]) -> str | None:
    """Say why counts made here cannot be compared with those recorded."""
    differing = [what for what in recorded if environment.get(what) != recorded[what]]
    reasons = [f"{what} is {environment.get(what)!r}, recorded with {recorded[what]!r}" for what in differing]
    return "; ".join(reasons) or None


def check() -> int:
    recorded = json.loads(RECORDED.read_text())
    program = build()
    if reason := reason_to_skip(program.environment(), recorded["environment"]):
        print(f"Instructions were not compared: {reason}.")
        return 0
    counted = count(program)
    before = recorded["instructions"]
    for name, now in counted.items():
        change = f"{now / before[name] - 1:+.2%}" if name in before else "not recorded"
        print(f"{now:>12,}  {change:>12}  {name}")
    complaints = complaints_of(counted, before)
    print(*complaints or [f"No piece of work takes {ALLOWED_RISE:.0%} more instructions than recorded."], sep="\n")
    return 1 if complaints else 0


def complaints_of(counted: dict[str, int], before: dict[str, int]) -> list[str]:
    """Name what takes more than recorded, and where the record and the program do not know the same work."""
    risen = [
        f"more instructions: {name}: {counted[name]:,}, recorded {before[name]:,}"
        for name in counted.keys() & before.keys()
        if counted[name] > before[name] * (1 + ALLOWED_RISE)
    ]
    return sorted(risen) + [f"known on one side only: {name}" for name in sorted(counted.keys() ^ before.keys())]


def record() -> int:
    program = build()
    found = {"environment": program.environment(), "instructions": count(program)}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["check", "record"])
    asked = parser.parse_args().what
    if missing := [tool for tool in ("cargo", "valgrind") if not shutil.which(tool)]:
        print(f"Instructions were not counted: there is no {missing[0]}.")
        sys.exit(asked == "record")
    sys.exit({"check": check, "record": record}[asked]())
