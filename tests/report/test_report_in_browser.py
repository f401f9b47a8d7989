"""The report in a real browser: it works without a network, filters, sorts, explains, downloads and prints."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("altair")
pytest.importorskip("vl_convert")

import pyarrow as pa
import pyarrow.parquet as pq

import chromium
from itron_core import Permission
from itron_core.cli import app as command_line
from itron_core.report import route_report
from itron_core.testing import make_route

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="needs Chromium (scripts/test_services.sh installs it)"),
]

NOW = 1_795_000_000
ROWS = 100_000
MOST_BYTES = 15_000_000


@pytest.fixture(scope="module")
def browser():
    made = chromium.Chromium()
    yield made
    made.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory, browser):
    """The report of 3,000 rows, opened, with its numbers."""
    route = make_route(3_000, now=NOW, seed=5)
    start = datetime.fromtimestamp(NOW, UTC)
    made = route_report(
        route.table,
        route.keyring,
        now=NOW,
        permissions=route.permissions,
        planned=pa.array([start + timedelta(seconds=9 * row) for row in range(3_000)], pa.timestamp("s", "UTC")),
    )
    path = tmp_path_factory.mktemp("report") / "route.html"
    path.write_text(made.html)
    browser.open(path)
    return path, json.loads(made.json)


def column(browser, at):
    return browser.run(f"[...document.querySelectorAll('#rows tbody tr')].map(line => line.cells[{at}].textContent)")


def choose(browser, name, value):
    event = "input" if name == "text" else "change"
    browser.run(
        f"(() => {{ const one = document.getElementById('{name}'); one.value = {json.dumps(value)};"
        f" one.dispatchEvent(new Event('{event}')); }})()"
    )
    return browser.run("document.getElementById('shown').textContent")


def test_it_opens_without_errors_and_asks_for_nothing(browser, page):
    assert browser.errors == []
    assert browser.requested == [f"file://{page[0]}"]
    assert browser.run("document.querySelectorAll('svg[role=img][aria-label]').length") == 4
    # Every placeholder of a colour has become a colour of the page.
    colours = browser.run("[...document.querySelectorAll('svg rect, svg path')].map(e => getComputedStyle(e).fill)")
    assert not [colour for colour in colours if colour.startswith("rgb(10, 0, ")]


def test_filters_narrow_the_rows_to_the_numbers_of_the_json(browser, page):
    for decision, count in page[1]["decisions"].items():
        shown = choose(browser, "decision", decision)
        assert shown.endswith(f"of {count:,}") or count == 0
        assert all(decision.replace("_", " ") in cell for cell in column(browser, 4))
    choose(browser, "decision", "")
    reason = page[1]["refusals"][0]["reason"]
    count = sum(cell["rows"] for cell in page[1]["refusals"] if cell["reason"] == reason)
    assert choose(browser, "reason", reason).endswith(f"of {count:,}")
    choose(browser, "reason", "")
    assert choose(browser, "text", "ert:100000007") == "Rows 1 to 1 of 1"
    assert column(browser, 2) == ["ert:100000007"]
    assert choose(browser, "text", reason).endswith(f"of {count:,}"), "names are found as they are written elsewhere"
    assert choose(browser, "text", "refused ert:1000001").startswith("Rows 1 to ")
    assert all("refused" in cell for cell in column(browser, 4))
    assert all("ert:1000001" in cell for cell in column(browser, 2))
    assert choose(browser, "text", "no such device") == "No row matches the filter."
    assert choose(browser, "text", "") == "Rows 1 to 100 of 3,000"


def test_headers_sort_up_and_down(browser, page):
    click = "document.querySelector('#rows th[data-column={}] button').click()"
    try:
        for name, at in (("device", 2), ("action", 3), ("reason", 5)):
            browser.run(click.format(name))
            up = column(browser, at)
            assert up == sorted(up)
            browser.run(click.format(name))
            down = column(browser, at)
            assert down == sorted(down, reverse=True)
            assert browser.run(f"document.querySelector('#rows th[data-column={name}]').ariaSort") == "descending"
    finally:
        browser.run(click.format("row"))


def test_pages_turn(browser, page):
    browser.run("document.getElementById('next').click()")
    assert column(browser, 0)[0] == "101"
    browser.run("document.getElementById('previous').click()")
    assert column(browser, 0)[0] == "1"


def test_a_row_is_explained_on_request(browser, page):
    browser.run("document.querySelector('#rows .open').click()")
    (said,) = browser.run("[...document.querySelectorAll('#rows tr.why')].map(line => line.textContent)")
    assert "ert:100000001" in said
    assert browser.run("document.querySelector('#rows .open').getAttribute('aria-expanded')") == "true"
    browser.run("document.querySelector('#rows .open').click()")
    assert browser.run("document.querySelectorAll('#rows tr.why').length") == 0


def test_the_list_of_requests_is_downloaded(browser, page, tmp_path):
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    done = browser.run(
        "new Promise(done => { const make = URL.createObjectURL;"
        " URL.createObjectURL = blob => { blob.text().then(done); return make.call(URL, blob); };"
        " document.getElementById('download').click(); })"
    )
    header, *lines = done.rstrip("\r\n").split("\r\n")
    assert header == "device,token_type,action"
    assert len(lines) == sum(one["rows"] for one in page[1]["requests"])
    (tmp_path / "requests.csv").write_text(done)
    program = [sys.executable, "-m", "itron_core"]
    (tmp_path / "root.jwks").write_text(make_route(1, now=NOW, seed=5).keyring.to_jwks())
    for arguments in (
        ["field", "init", "tablet", "--tool", "t", "--keyring", "root.jwks"],
        ["field", "request", "tablet", "--file", "requests.csv", "--now", str(NOW)],
    ):
        run = subprocess.run([*program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr


def test_dark_mode_and_paper_have_readable_colours(browser, page):
    def contrast():
        return browser.run(
            "(() => { const lum = text => { const [r, g, b] = text.match(/\\d+/g).map(one => { const c = one / 255;"
            " return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };"
            " const paper = lum(getComputedStyle(document.documentElement).backgroundColor);"
            " return ['body', '.soft', '.allowed .sign', '.refused .sign', '.undetermined .sign', 'svg text'].map(which => {"
            " const style = getComputedStyle(document.querySelector(which));"
            " const ink = lum(which.startsWith('svg') ? style.fill : style.color);"
            " return which.startsWith('svg') ? 21 : (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); }); })()"
        )

    papers = []
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
        browser.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        papers.append(browser.run("getComputedStyle(document.documentElement).backgroundColor"))
        assert min(contrast()) >= 4.5, (media, scheme)
    assert papers[0] == papers[2] == "rgb(255, 255, 255)"
    assert papers[1] != papers[0]
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


def test_paper_gets_the_rows_of_the_filter(browser, page):
    choose(browser, "decision", "refused")
    pdf = browser.call("Page.printToPDF", printBackground=True)
    assert len(pdf["data"]) > 10_000
    browser.run("dispatchEvent(new Event('beforeprint'))")
    printed = len(column(browser, 0))
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert printed == min(page[1]["decisions"]["refused"], 1_000)
    assert len(column(browser, 0)) == 100
    choose(browser, "decision", "")


def test_hostile_values_do_not_run(browser, tmp_path):
    hostile = [
        "<script>window.hit = 1</script>",
        "<img src=x onerror='window.hit = 1'>",
        "</script><script>window.hit=1</script>",
    ]
    route = make_route(3, now=NOW, seed=5)
    table = pa.table(
        {
            "device": [*hostile[:2], "ert:5"],
            "device_class": ["basic", "basic", hostile[2]],
            "security_level": ["full"] * 3,
            "action": ["read_endpoint"] * 3,
        }
    )
    made = route_report(table, route.keyring, now=NOW, permissions=Permission(31), title=hostile[0])
    path = tmp_path / "hostile.html"
    path.write_text(made.html)
    browser.open(path)
    browser.run("document.querySelectorAll('#rows .open').forEach(button => button.click())")
    assert browser.run("window.hit") is None
    assert browser.run("document.querySelector('h1').textContent") == hostile[0]
    why = browser.run("[...document.querySelectorAll('#rows tr.why')].map(line => line.textContent)")
    assert [value in said for value, said in zip(hostile, why, strict=True)] == [True] * 3
    assert (browser.errors, browser.requested) == ([], [f"file://{path}"])
    # What was injected in spite of all would not run: the policy allows one script.
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))"
    )
    assert browser.run("window.hit") is None


ODD_IDS = [
    "</script>",
    "<!--",
    "\u202eABC\u2066",
    "שלום",
    "\U0001f4a9" * 90,
    "a" * 10_000,
    "$& $1",
    "\ue000",
    "",
    "\x00\x1b[31m",
]


def odd_routes():
    """Return routes that nobody plans, by name, as columns beside or in place of those of an ordinary one."""
    route, rows = make_route(60, now=NOW, seed=5), 60
    given = {name: route.table[name] for name in route.table.column_names}
    row = {"device": "ert:1", "device_class": "basic", "security_level": "ready_to_secure", "action": "read_endpoint"}
    planned = pa.array([None if at % 3 else NOW + (at - 30) * 86_400 for at in range(rows)], pa.timestamp("s", "UTC"))
    return route, {
        "ids": given | {"device": [ODD_IDS[at % len(ODD_IDS)] for at in range(rows)]},
        "no rows": {name: cells[:0] for name, cells in given.items()},
        "one row": {name: cells[:1] for name, cells in given.items()},
        "all allowed": {name: [cell] * 9 for name, cell in row.items()},
        "all refused": {name: [cell] * 9 for name, cell in (row | {"security_level": "full"}).items()},
        "all unreadable": {name: ["?"] * 9 for name in row},
        "no tokens": {
            name: given[name] for name in given if name not in ("authorization", "secure_command", "reading_key")
        },
        "planned in part, in the past and in the future": given | {"planned_at": planned},
        "no planned hour": given | {"planned_at": pa.nulls(rows, pa.timestamp("s", "UTC"))},
        "sessions without an end": given | {"session_opened_at": [NOW - 5] * rows, "session_seconds": [2**62] * rows},
    }


@pytest.mark.parametrize("name", odd_routes()[1])
def test_an_odd_route_has_a_page_with_the_numbers_of_its_json(browser, tmp_path, monkeypatch, capsys, name):
    """Written by the command (in this process: altair takes two seconds to start), opened, filtered, sorted, explained, printed."""
    route, tables = odd_routes()
    pq.write_table(pa.table(tables[name]), tmp_path / "route.parquet")
    (tmp_path / "root.jwks").write_text(route.keyring.to_jwks())
    arguments = ["report", "route.parquet", "--keyring", "root.jwks", "--permissions", "all", "--now", str(NOW)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["itron-core", *arguments])
    assert command_line.run() == 0, capsys.readouterr().err
    path, numbers = tmp_path / "route.html", json.loads((tmp_path / "route.json").read_text())
    browser.open(path)
    tiles = browser.run(
        "Object.fromEntries([...document.querySelectorAll('.tiles li')].map(one => [one.className, one.querySelector('b').textContent]))"
    )
    assert tiles == {decision: f"{count:,}" for decision, count in numbers["decisions"].items()}
    assert sum(numbers["decisions"].values()) == numbers["rows"] == len(next(iter(tables[name].values())))
    for decision, count in numbers["decisions"].items():
        choose(browser, "decision", decision)
        assert len(column(browser, 0)) == count
    choose(browser, "decision", "")
    for header in ("planned", "device", "action", "reason", "missing", "session", "material", "row"):
        browser.run(f"document.querySelector('#rows th[data-column={header}] button')?.click()")
    browser.run("document.querySelectorAll('#rows .open').forEach(button => button.click())")
    assert browser.run("document.querySelectorAll('#rows tr.why').length") == numbers["rows"]
    assert len(browser.call("Page.printToPDF")["data"]) > 5_000
    assert (browser.errors, browser.requested) == ([], [f"file://{path}"])


def test_100_000_rows_are_small_and_filter_at_once(browser, tmp_path):
    """The time is reported, not asserted: the machine may be busy."""
    part = make_route(2_000, now=NOW, seed=5)
    table = pa.concat_tables([part.table.drop_columns(["authorization", "secure_command", "reading_key"])] * 50)
    devices = pa.array([f"ert:{100_000_000 + row}" for row in range(ROWS)])
    table = table.set_column(table.schema.get_field_index("device"), "device", devices)
    made = route_report(table, part.keyring, now=NOW, permissions=part.permissions)
    assert len(made.html.encode()) <= MOST_BYTES
    path = tmp_path / "large.html"
    path.write_text(made.html)
    browser.open(path)
    timed = "(() => {{ const t = performance.now(); document.getElementById('text').value = {!r}; document.getElementById('text').dispatchEvent(new Event('input')); return performance.now() - t; }})()"
    times = [browser.run(timed.format(text)) for text in ("ert:1000", "read", "refused session", "99", "")]
    assert browser.run("document.getElementById('shown').textContent") == f"Rows 1 to 100 of {ROWS:,}"
    print(f"report: {len(made.html) / 1e6:.1f} MB, slowest filter {max(times):.0f} ms")  # noqa: T201
