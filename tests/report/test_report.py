"""The report of a route: its numbers are those of the decisions, and nothing of a file becomes markup."""

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

import pyarrow as pa

from itron_core import InputError, Keyring, Permission, process_route
from itron_core.report import route_report
from itron_core.testing import make_route

pytestmark = pytest.mark.slow

NOW = 1_795_000_000
HOSTILE = [
    "<script>window.hit = 1</script>",
    "</script><script>window.hit = 1</script>",
    "<!--<script>",
    '"><img src=x onerror="window.hit = 1">',
    "{{7*7}}${7*7}",
    "\u2028\u202eert:1\x1b[2J\0",
    "ert:1&lt;b&gt;",
    "=cmd|' /C calc'!A0",
    "x" * 100_000,
    "\U0001f4a9\ue000",
]


class Page(HTMLParser):
    """The elements of a page with their attributes, the texts of its scripts and styles, and the cells of its tables."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.inside, self.scripts, self.styles, self.cells, self.words = [], [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        kept = {"script": self.scripts, "style": self.styles}.get(self.inside[-1] if self.inside else "", self.words)
        kept.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])


def report_of(table, keyring, **options):
    made = route_report(table, keyring, **({"now": NOW, "permissions": Permission(31)} | options))
    return Page(made.html), json.loads(made.json), made.html


@pytest.fixture(scope="module")
def route():
    return make_route(3_000, now=NOW, seed=5)


@pytest.fixture(scope="module")
def made(route):
    return report_of(route.table, route.keyring, permissions=route.permissions)


def test_the_numbers_are_those_of_the_decisions(route, made):
    page, numbers, _ = made
    results = process_route(route.table, route.keyring, now=NOW, permissions=route.permissions)
    summary, names = results.summary(), pa.table(results.names())
    assert numbers["rows"] == summary["rows"]
    assert {name: count for name, count in numbers["decisions"].items() if count} == summary["decision"]
    refusals = Counter()
    for cell in numbers["refusals"]:
        refusals[cell["reason"]] += cell["rows"]
    assert refusals == {name: count for name, count in summary["reason"].items() if name != "ok"}
    requests = pa.table(results.requests())
    assert sum(one["rows"] for one in numbers["requests"]) == requests.num_rows
    data = page.data
    listed = [[one, data["types"][kind], data["actions"][action]] for one, kind, action in data["requests"]]
    assert listed == [list(row.values()) for row in requests.drop_columns(["row"]).to_pylist()]
    column = data["columns"].index("decision")
    shown = [data["kinds"][kind][column] for kind in data["kind"]]
    assert shown == names["decision"].to_pylist()


def test_the_page_shows_the_numbers_of_the_json(made):
    page, numbers, html = made
    for name, count in numbers["decisions"].items():
        assert re.search(rf'<li class="{name}">.*?<b>{count:,}</b>', html), name
    words = " ".join(page.words)
    for cell in numbers["refusals"] + numbers["requests"]:
        assert f"{cell['rows']:,}" in words
    for spans in (numbers["session_left"], numbers["material_left"]):
        assert all(f"{count:,}" in page.words for count in spans.values())


def test_each_row_is_explained_as_the_library_explains_it(route, made):
    data = made[0].data
    results = process_route(route.table, route.keyring, now=NOW, permissions=route.permissions)
    column = data["columns"].index("explanation")
    for row in range(0, 3_000, 7):
        said = data["kinds"][data["kind"][row]][column].replace(data["placeholder"], data["device"][row])
        expected = [line for line in results.explain(row).split("\n") if not line.startswith("Its session is open")]
        assert said.split("\n") == expected


def test_the_page_loads_nothing_and_runs_only_its_own_script(made):
    page, _, html = made
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "style", "action", "background", "data"} & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in {"iframe", "object", "embed", "link", "base", "a", "form", "use", "image"}
    (policy,) = [a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-\S{44}'; style-src 'sha256-\S{44}'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert (len(page.scripts), len(page.styles)) == (2, 1)
    assert not re.search(r"https?://(?!www\.w3\.org/)", html)


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_hostile_values_stay_text(hostile):
    names = ("device", "device_class", "security_level", "action", "mode")
    good = ("ert:5", "enhanced", "command", "read_interval_data", "mobile")
    rows = [[hostile if at == bad else value for at, value in enumerate(good)] for bad in range(len(names))]
    table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)} | {hostile[:99]: [hostile] * 5})
    page, numbers, html = report_of(table, Keyring([]), title=hostile)
    plain, _, _ = report_of(pa.table({name: [value] for name, value in zip(names, good, strict=True)}), Keyring([]))
    assert numbers["decisions"]["refused"] == 5
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert len(page.scripts) == 2
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html)
    assert len(html) < 100_000
    # Only rows with a readable device are asked for: no cell of the list is a formula.
    assert all(re.fullmatch(r"ert:\d+|(eui64|dlms):[0-9a-f]{16}", device) for device, *_ in page.data["requests"])


def test_time_left_is_counted_to_the_planned_stop(route):
    start = datetime.fromtimestamp(NOW, UTC)
    at_once, _, _ = report_of(route.table, route.keyring, permissions=route.permissions)
    stops = pa.array([start + timedelta(minutes=30)] * 2_999 + [None], pa.timestamp("ms", "UTC"))
    later, numbers, _ = report_of(route.table, route.keyring, permissions=route.permissions, planned=stops)
    for name in ("session", "material"):
        now, then = at_once.data[name], later.data[name]
        assert [None if left is None else left - 30 for left in now[:-1]] == then[:-1]
        assert now[-1] == then[-1], "a stop without a planned time is now"
        spans = numbers[f"{name}_left"]
        assert sum(spans.values()) == len(then) - then.count(None)
        assert spans["ended before the stop"] == sum(left is not None and left < 0 for left in then)
    assert (numbers["planned_from"], numbers["planned_to"]) == ("2026-11-18T11:06:40Z", "2026-11-18T11:36:40Z")


@pytest.mark.parametrize(
    "planned",
    [
        pa.array([NOW] * 3_000),
        pa.array([None] * 5, pa.timestamp("s", "UTC")),
        ["08:00"] * 3_000,
        *(pa.array([None, moment] + [NOW] * 2_998, pa.timestamp("s", "UTC")) for moment in (-1, NOW * 1_000, -(2**62))),
    ],
    ids=["numbers", "too few", "text", "1969", "milliseconds", "before the years"],
)
def test_planned_times_of_another_type_length_or_century_raise(route, planned):
    with pytest.raises(InputError, match=r"planned: got .*expected"):
        report_of(route.table, route.keyring, planned=planned)


def test_a_route_without_a_planned_time_has_none():
    """An empty column planned_at is what a template leaves."""
    route = make_route(20, now=NOW)
    nulls = pa.nulls(20, pa.timestamp("s", "UTC"))
    without, empty = (report_of(route.table, route.keyring, planned=planned) for planned in (None, nulls))
    assert empty[1] == without[1]
    assert empty[0].data == without[0].data
    assert "planned" not in " ".join(empty[0].words)


@pytest.mark.parametrize("rows,said", [(0, "0 stops"), (1, "1 stop,"), (2, "2 stops")])
def test_numbers_agree_with_their_nouns(rows, said):
    route = make_route(2, now=NOW)
    page, _, html = report_of(route.table[:rows], route.keyring)
    assert said in html
    assert ("The route has no rows." in page.words) == (rows == 0)


def test_times_are_shown_in_the_zone(route):
    assert "12:06 (CET)" in report_of(route.table, route.keyring, zone=ZoneInfo("Europe/Berlin"))[2]
    assert "11:06 (UTC)" in report_of(route.table, route.keyring)[2]


def test_an_empty_route_and_one_without_refusals_are_reported():
    names = ("device", "device_class", "security_level", "action")
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    assert report_of(empty, Keyring([]))[1]["rows"] == 0
    fine = pa.table({"device": ["ert:1"], "device_class": ["basic"], "security_level": ["ready_to_secure"]})
    fine = fine.append_column("action", pa.array(["read_endpoint"]))
    _, numbers, html = report_of(fine, Keyring([]))
    assert numbers["decisions"] == {"allowed": 1, "allowed_after_open": 0, "refused": 0, "undetermined": 0}
    assert "Every row is allowed." in html


def test_readings_are_counted_by_code_and_assurance(route):
    readings = {"code": [0, 0, 0, 1_109, None, 9_999], "assurance": [16, 128, 128, None, None, 16]}
    page, numbers, _ = report_of(route.table, route.keyring, readings=pa.table(readings))
    counts = {(cell["code"], cell["assurance"]): cell["rows"] for cell in numbers["readings"]}
    assert counts == {
        ("ok", 16): 1,
        ("ok", 128): 2,
        ("too_weak", None): 1,
        ("unknown", None): 1,
        ("unknown", 16): 1,
    }
    assert "128 bits" in page.words
    named = pa.table({"code": ["ok", "<b>"], "assurance": pa.array([16, 16])})
    assert {cell["code"] for cell in report_of(route.table, route.keyring, readings=named)[1]["readings"]} == {
        "ok",
        "unknown",
    }


def test_the_command_writes_the_page_and_its_numbers(tmp_path):
    program = [sys.executable, "-m", "itron_core"]
    done = subprocess.run(
        [*program, "demo", "--rows", "300", "--now", str(NOW)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    again = re.search(r"itron-core (report .*)", done.stdout)[1].split()
    written = (tmp_path / "build/demo.html").read_text(), (tmp_path / "build/demo.json").read_text()
    told = subprocess.run([*program, *again], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout == "Wrote the report of 300 rows to build/demo.html, and its numbers to build/demo.json.\n"
    assert ((tmp_path / "build/demo.html").read_text(), (tmp_path / "build/demo.json").read_text()) == written
    csv = "device,device_class,security_level,action,planned_at\nert:1,basic,ready_to_secure,read_endpoint,2026-11-18 13:00\n"
    (tmp_path / "route.csv").write_text(csv)
    (tmp_path / "readings.csv").write_text("code,assurance\nok,16\n1109,\n")
    options = ["--permissions", "all", "--now", str(NOW), "--time-zone", "Europe/Berlin", "--readings", "readings.csv"]
    subprocess.run([*program, "report", "route.csv", *options], cwd=tmp_path, check=True, capture_output=True)
    numbers = json.loads((tmp_path / "route.json").read_text())
    assert numbers["planned_from"] == "2026-11-18T12:00:00Z"
    assert {cell["code"] for cell in numbers["readings"]} == {"ok", "too_weak"}


@pytest.mark.parametrize("output", [[], ["-o", "route.html"], ["-o", "./route.json"]])
def test_a_route_is_not_overwritten_by_its_report(tmp_path, output):
    row = '{"device": "ert:1", "device_class": "basic", "security_level": "full", "action": "read_endpoint"}\n'
    (tmp_path / "route.json").write_text(row)
    arguments = ["report", "route.json", "--format", "jsonl", "--permissions", "all", *output]
    run = subprocess.run(
        [sys.executable, "-m", "itron_core", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, "would be overwritten" in run.stderr) == (2, True), run.stderr
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("route.json", row)]


def test_the_example_of_the_page_runs(tmp_path, monkeypatch, route):
    page = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    stops = pa.array([None] * 3_000, pa.timestamp("s", "UTC"))
    names = {
        "table": route.table.append_column("planned_at", stops),
        "keyring": route.keyring,
        "now": NOW,
        "Path": Path,
    }
    exec(compile(code, "docs/report.md", "exec"), names | {"permissions": route.permissions})
    assert Path("route.html").read_text().startswith("<!doctype html>")


def test_a_missing_extra_is_named(tmp_path):
    (tmp_path / "route.csv").write_text("device,device_class,security_level,action\nert:1,basic,full,read_endpoint\n")
    code = "import sys; sys.modules['altair'] = None; from itron_core.cli import main; main()"
    arguments = ["report", "route.csv", "--permissions", "all"]
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.returncode, "pip install 'itron-core[report]'" in run.stderr) == (2, True), run.stderr
    assert not (tmp_path / "route.html").exists()
