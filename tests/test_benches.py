"""The bench's own arithmetic: a ratio that fell is noticed, and what people read says what was measured."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benches"))
import report
import run


def bench(what: str, ratio: float, peer: str = "pyca") -> dict:
    info = {"what": what, "unit": "tokens", "per_second": 8_000 * ratio}
    return {"extra_info": info | {"peers_per_second": {peer: 8_000.0}, "ratios": {peer: ratio}}}


MEASURED = {"benchmarks": [bench("one", 60.0), bench("two", 9.0), bench("three", 1.9, "one_thread")]}
ALONE = {"what": "alone", "unit": "rows", "per_second": 8_000.0, "peers_per_second": {}, "ratios": {}}


@pytest.mark.parametrize(
    "recorded,complaints",
    [
        ({"one": 60.0, "two": 9.0}, []),
        ({"one": 79.0}, []),
        ({"one": 81.0}, ["one: 60.00x, recorded 81.00x"]),
        ({"four": 1.0}, ["four: was not measured"]),
    ],
)
def test_a_ratio_that_fell_by_more_than_the_share_is_named(recorded, complaints):
    assert report.fallen(report.rows_of(MEASURED), recorded, 0.25) == complaints


def test_only_ratios_to_pyca_are_recorded():
    assert report.ratios_to_pyca(report.rows_of(MEASURED)) == {"one": 60.0, "two": 9.0}


def test_a_ratio_below_what_is_asked_is_named():
    asked = bench("slow", 0.5, "script")
    asked["extra_info"]["at_least"] = 1 / 1.5
    met = bench("fast", 0.7, "script")
    met["extra_info"]["at_least"] = 1 / 1.5
    rows = report.rows_of({"benchmarks": [asked, met, *MEASURED["benchmarks"]]})
    assert report.missed(rows) == ["slow: 0.50x, asked for 0.67x"]


def test_the_table_has_a_line_a_bench():
    lines = report.table_of(report.rows_of(MEASURED)).splitlines()
    assert lines[2] == "| one | 480 k tokens | **60x** pyca (8 k) |"
    assert lines[4] == "| three | 15.2 k tokens | **1.90x** one thread (8 k) |"


def test_a_bench_without_a_peer_is_a_line_of_the_table_and_misses_nothing():
    rows = report.rows_of({"benchmarks": [*MEASURED["benchmarks"], {"extra_info": ALONE}]})
    assert report.table_of(rows).splitlines()[-1] == "| alone | 8 k rows |  |"
    assert report.missed(rows) == report.fallen(rows, {}, 0.25) == []
    assert report.picture_of(rows, "") == report.picture_of(rows[:-1], "")


def test_a_row_measured_twice_shows_both_measurements():
    again = report.rows_of({"benchmarks": [bench("one", 70.0), bench("two", 9.5)]})
    lines = report.table_of(report.rows_of(MEASURED), again, ["one"]).splitlines()
    assert lines[2:5] == [
        "| one | 480 k tokens | **60x** pyca (8 k) |",
        "| one, measured again | 560 k tokens | **70x** pyca (8 k) |",
        "| two | 72 k tokens | **9.00x** pyca (8 k) |",
    ]


@pytest.mark.parametrize(
    "ratio,complaints,says",
    [
        (
            79.0,
            [],
            "No ratio to pyca fell by more than 25% of the recorded one. 1 did once, and not when measured again.",
        ),
        (61.0, ["one: 60.00x, recorded 90.00x; again 61.00x, recorded 90.00x"], "- fell: one: 60.00x"),
    ],
)
def test_the_verdict_combines_both_measurements(ratio, complaints, says):
    recorded = {"one": 90.0}
    first = report.fallen(report.rows_of(MEASURED), recorded, 0.25)
    again = report.rows_of({"benchmarks": [bench("one", ratio)]})
    assert run.fallen_twice(first, again, recorded) == complaints
    assert says in run.verdict_of(complaints, recorded, "avx512", measured_again=len(first))


def test_the_picture_is_a_picture_of_every_bench():
    picture = ET.fromstring(report.picture_of(report.rows_of(MEASURED), "a < b"))
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "60x pyca" in texts
    bars = [float(bar.get("width")) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert bars == sorted(bars, reverse=True)


@pytest.mark.parametrize(
    "number,text",
    [
        (0.5, "0.5"),
        (12.3, "12.3"),
        (480_000, "480 k"),
        (1.23e6, "1.23 M"),
        (2e9, "2 G"),
        (999_600, "1 M"),
        (999_400, "999 k"),
    ],
)
def test_numbers_are_short(number, text):
    assert report.short(number) == text


@pytest.mark.slow
@pytest.mark.parametrize("recorded,code", [(10_000.0, 1), (0.001, 0)])
def test_a_planted_regression_ends_a_pull_request_s_bench_and_its_summary_shows_both_measurements(
    tmp_path, recorded, code
):
    """One bench is measured as `make bench-ci` measures all: against a baseline far above it, and one far below."""
    benches, tests = Path(run.__file__).parent, Path(__file__).parent
    (tmp_path / "benches" / "results").mkdir(parents=True)
    for name in ("run.py", "report.py", "rust.py", "peers.py", "conftest.py", "test_tokens.py"):
        shutil.copy(benches / name, tmp_path / "benches" / name)
    row = "ESP256, verify_token, table warm"
    kernels = {kernels: {row: recorded} for kernels in json.loads(run.BASELINE.read_text())["ratios_to_pyca"]}
    (tmp_path / "benches" / "results" / "baseline.json").write_text(json.dumps({"ratios_to_pyca": kernels}))
    summary = tmp_path / "summary.md"
    environment = {
        "PYTEST_ADDOPTS": "-k 'warm and ESP256'",
        "PYTHONPATH": str(tests),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    done = subprocess.run(
        [sys.executable, "benches/run.py", "ci"],
        cwd=tmp_path,
        # A worker of the tests is no worker of the bench, which measures nothing in one.
        env={name: value for name, value in os.environ.items() if "XDIST" not in name} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    shown = summary.read_text()
    assert f"| {row} |" in shown
    assert (f"| {row}, measured again |" in shown) == bool(code)
    assert (f"- fell: {row}: " in shown) == bool(code)
    assert ("No ratio to pyca fell" in shown) == (not code)
