"""Run the benches and write what they found.

`peers`    the kernels beside Rust's libraries; writes benches/results/rust-peers.json
`readings` the readings alone: their section of benches/results/README.md and of the README's table, and their recorded ratios
`full`     every size, on this machine's kernels and forced portable, and the stream, and `peers`; writes benches/results/ and the
           README's table; fails when a ratio is below what is asked of it
`ci`       under two minutes; writes build/bench/ and fails when a ratio to pyca is below the recorded one by more than a share
`record`   runs what `ci` runs, on both sets of kernels, and records the ratios for `ci` to compare with
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import report
import rust

BENCHES = Path(__file__).parent
ROOT = BENCHES.parent
RESULTS = BENCHES / "results"
SCRATCH = ROOT / "build" / "bench"
BASELINE = RESULTS / "baseline.json"
# Shared machines of a CI service move by a good tenth even in ratios; a real regression is larger.
ALLOWED_FALL = 0.25


def measure(name: str, scale: str, kernels: str, *arguments: str) -> dict[str, Any]:
    """Run the suites in a process of their own and return pytest-benchmark's JSON."""
    target = SCRATCH / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", str(BENCHES), "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--benchmark-only", "--benchmark-quiet", f"--benchmark-json={target}", f"--scale={scale}", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "ITRON_CORE_KERNELS": kernels})
    return json.loads(target.read_text())


def full() -> int:
    auto = measure("full", "full", "auto")
    portable = measure("full-portable", "full", "portable", "-k", "one_core or own_key or one_token or derive")
    stream = json.loads(subprocess.check_output([sys.executable, BENCHES / "stream.py"], text=True))
    return published(auto, portable, stream, beside_rust())


def published(auto: dict[str, Any], portable: dict[str, Any], stream: dict[str, Any], peers: str) -> int:
    """Write what was measured into the pages, print it, and return 1 if a ratio is below what is asked of it."""
    rows, portable_rows = report.rows_of(auto), report.rows_of(portable)
    pages = (
        f"# Results\n\nWritten by `make bench`. {report.machine_of(auto)}.\n\n"
        f"![ratios](speed.svg)\n\n{report.table_of(rows)}\n"
        f"## Forced portable\n\n{report.table_of(portable_rows)}\n"
        f"## Beside Rust's libraries\n\n{peers}\n"
        f"## A stream\n\n{stream['tokens']:,} tokens in batches of 65,536: {report.short(stream['per_second'])} a second, "
        f"peak of resident memory {stream['peak_mib_after_5_batches']:.0f} MiB after five batches, "
        f"{stream['peak_mib_at_the_end']:.0f} MiB at the end.\n"
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "README.md").write_text(pages)
    (RESULTS / "speed.svg").write_text(report.picture_of(rows, "Times as fast as the peer in the same run"))
    for name, measured in (("full", auto), ("full-portable", portable)):
        (RESULTS / f"{name}.json").write_text(json.dumps(slim(measured), indent=1) + "\n")
    (RESULTS / "stream.json").write_text(json.dumps(stream, indent=1) + "\n")
    into_readme(f"{report.machine_of(auto)}.\n\n{report.table_of(headlines(rows))}")
    complaints = [f"- missed: {complaint}" for complaint in report.missed(rows)]
    print(pages, *complaints, sep="\n")
    return 1 if complaints else 0


READINGS = ("-k", "test_readings")
# Measured alone, perhaps on another machine than the rest: a section of its own, until the next `full` measures all at once.
SECTION = "## Readings\n"


def readings() -> int:
    measured = measure("readings", "full", "auto", *READINGS)
    rows = report.rows_of(measured)
    section = (
        f"{SECTION}\nWritten by `benches/run.py readings`. {report.machine_of(measured)}.\n\n{report.table_of(rows)}"
    )
    page = RESULTS / "README.md"
    page.write_text(f"{page.read_text().partition(SECTION)[0].rstrip()}\n\n{section}")
    (RESULTS / "readings.json").write_text(json.dumps(slim(measured), indent=1) + "\n")
    figures = figures_in_readme().partition(READINGS_IN_README)[0].strip()
    into_readme(
        f"{figures}\n\n{READINGS_IN_README}{report.machine_of(measured)}.\n\n{report.table_of(headlines(rows))}"
    )
    recorded = json.loads(BASELINE.read_text())
    for kernels in ("auto", "portable"):
        used, ratios, machine = ratios_of(f"record-readings-{kernels}", kernels, *READINGS)
        recorded["ratios_to_pyca"].setdefault(used, {}).update(ratios)
        recorded["machines"][f"{used}, readings"] = machine
    BASELINE.write_text(json.dumps(recorded, indent=1) + "\n")
    print(section)
    return 0


def beside_rust() -> str:
    """Measure, write the results, and return them as Markdown; where nothing can be measured, the reason."""
    try:
        measured = rust.measure()
    except rust.MissingError as reason:
        return f"Not measured: {reason}.\n"
    (RESULTS / "rust-peers.json").write_text(json.dumps(measured, indent=1) + "\n")
    return rust.section_of(measured)


def peers() -> int:
    print("\n" + beside_rust())
    return 0


def headlines(rows: list[report.Row]) -> list[report.Row]:
    """Pick what the README shows."""
    wanted = re.compile(
        r"10,000 tokens, one core|10,000 tokens, two threads|warm|own key|threads=1|10,000,000 rows|route"
    )
    return [row for row in rows if wanted.search(row.what)]


START, END = "<!-- figures: written by `make bench` from benches/results/ -->\n", "<!-- end of figures -->"
READINGS_IN_README = "Readings, measured alone: "


def figures_in_readme() -> str:
    return (ROOT / "README.md").read_text().partition(START)[2].partition(END)[0]


def into_readme(text: str) -> None:
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    readme.write_text(before + START + "\n" + text + "\n" + END + rest.partition(END)[2])


def slim(measured: dict[str, Any]) -> dict[str, Any]:
    """Keep what a reader needs: machine, date, and for each bench its figures."""
    benches = [
        {"name": bench["name"], "seconds_a_call": {k: bench["stats"][k] for k in ("median", "min", "max", "rounds")}}
        | bench["extra_info"]
        for bench in measured["benchmarks"]
    ]
    return {"machine": report.machine_of(measured), "version": measured["version"], "benchmarks": benches}


def ci() -> int:
    kernels = os.environ.get("ITRON_CORE_KERNELS", "auto")
    measured = measure("ci", "ci", kernels)
    rows, used = report.rows_of(measured), report.kernels_of(measured)
    recorded = json.loads(BASELINE.read_text())["ratios_to_pyca"].get(used, {})
    complaints, again = report.fallen(rows, recorded, ALLOWED_FALL), []
    if complaints:
        print("Measured again, since a fall must show twice:", *complaints, sep="\n- ")
        again = report.rows_of(measure("ci-again", "ci", kernels))
    first, complaints = complaints, fallen_twice(complaints, again, recorded)
    doubted = [what_of(one) for one in first]
    text = (
        f"{report.machine_of(measured)}\n\n{report.table_of(rows, again, doubted)}\n{report.HOW_TO_READ}\n"
        f"{verdict_of(complaints, recorded, used, measured_again=len(first))}"
    )
    (SCRATCH / "ci.md").write_text(text)
    print(text)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a") as page:
            page.write(text)
    return 1 if complaints else 0


def what_of(complaint: str) -> str:
    """Return the row that a complaint is about: its text has a colon of its own only after the name."""
    return complaint.rpartition(":")[0]


def fallen_twice(complaints: list[str], again: list[report.Row], recorded: dict[str, float]) -> list[str]:
    """Return the complaints whose row fell in the second measurement, too; both ratios are named."""
    second = {what_of(one): one.rpartition(": ")[2] for one in report.fallen(again, recorded, ALLOWED_FALL)}
    return [f"{one}; again {second[what_of(one)]}" for one in complaints if what_of(one) in second]


def verdict_of(complaints: list[str], recorded: dict[str, float], kernels: str, *, measured_again: int = 0) -> str:
    """Say in a line or a list what the comparison found."""
    if not recorded:
        return f"No ratios are recorded for the kernels {kernels!r}: nothing was compared.\n"
    if complaints:
        return "".join(f"- fell: {complaint}\n" for complaint in complaints)
    twice = f" {measured_again} did once, and not when measured again." if measured_again else ""
    return f"No ratio to pyca fell by more than {ALLOWED_FALL:.0%} of the recorded one.{twice}\n"


def ratios_of(name: str, kernels: str, *arguments: str) -> tuple[str, dict[str, float], str]:
    """Measure as `ci` does, and return the name of the kernels, the ratios to pyca, and the machine."""
    measured = measure(name, "ci", kernels, *arguments)
    ratios = report.ratios_to_pyca(report.rows_of(measured))
    rounded = {what: round(ratio, 2) for what, ratio in ratios.items()}
    return report.kernels_of(measured), rounded, report.machine_of(measured)


def record() -> int:
    ratios, machines = {}, {}
    for kernels in ("auto", "portable"):
        used, ratios_of_it, machine = ratios_of(f"record-{kernels}", kernels)
        ratios[used], machines[used] = ratios_of_it, machine
    BASELINE.write_text(json.dumps({"machines": machines, "ratios_to_pyca": ratios}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["full", "readings", "peers", "ci", "record"])
    sys.exit(
        {"full": full, "readings": readings, "peers": peers, "ci": ci, "record": record}[parser.parse_args().what]()
    )
