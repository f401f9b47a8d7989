"""The docs site: its reference is the results', its tutorial runs word for word, its links lead somewhere, it builds without warnings."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import itron_core
import reference_pages as reference
from itron_core import (
    LocalSigner,
    MasterKey,
    ReadingKeys,
    check_sessions,
    derive_keys,
    open_readings,
    policy_table,
    process_route,
    protect_readings,
    verify_signatures,
    verify_tokens,
)
from itron_core.testing import make_route
from shell_sessions import fits, run

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOW = 1_795_000_000
MEANINGS = reference.columns()


@pytest.fixture(scope="module")
def results():
    """Results of every kind, with rows that are refused for many reasons."""
    route = make_route(3_000, now=NOW, seed=5)
    decided = process_route(route.table, route.keyring, now=NOW, permissions=route.permissions)
    unreadable = process_route(
        {"device": ["?"], "device_class": ["basic"], "security_level": ["full"], "action": ["read_endpoint"]},
        route.keyring,
        now=NOW,
        permissions=31,
    )
    signer = LocalSigner.generate("Ed25519")
    derived = derive_keys(MasterKey.generate(), ["ert:1"], utility="UTIL0001")
    readings = protect_readings([b"x"], derived, devices=["ert:1"], counters=[1]).to_pylist()
    tokens = {
        kind: verify_tokens(route.table[kind], route.keyring, now=NOW, token_type=kind, claims="all")
        for kind in ("authorization", "secure_command", "reading_key")
    }
    return {
        "TokenResults": [pa.table(one) for one in tokens.values()],
        "SignatureResults": [pa.table(verify_signatures(signer.public_key, [b"a", None], [signer.sign(b"a"), None]))],
        "RouteResults": [pa.table(decided), pa.table(unreadable)],
        "CommandRequests": [pa.table(decided.requests())],
        "SessionResults": [pa.table(check_sessions([NOW, None, NOW + 9], [60, None, 60], now=NOW))],
        "PolicyTable": [pa.table(policy_table())],
        "ReadingResults": [
            pa.table(open_readings([*readings, b"x", None], ReadingKeys(["ert:1"], derived), profile="cose"))
        ],
    }


@pytest.mark.slow
@pytest.mark.parametrize("result", MEANINGS)
def test_every_column_has_its_type_and_null_rule_in_the_reference(results, result):
    columns = MEANINGS[result]["columns"]
    table = pa.concat_tables(results[result])
    assert table.schema.names == list(columns)
    for name, described in columns.items():
        assert str(table.schema.field(name).type) == described["type"], name
        if "null" not in described:
            assert table[name].null_count == 0, name
        else:
            assert table[name].null_count > 0, f"{name} is said to be null at times, and is not here"
        assert described["meaning"]


def test_the_reference_describes_every_public_name_once():
    listed = [name for names in reference.GROUPS.values() for name in names]
    assert sorted(listed) == sorted(itron_core.__all__)


@pytest.mark.slow
def test_the_reference_shows_the_signatures_of_the_stub():
    page = reference.api_page()
    for name in itron_core.__all__:
        assert f"\n### {name}\n" in page
    assert "verify_tokens(tokens: _Column, keyring: Keyring, *" in page
    assert "Keyring.from_jwks(text: str | bytes) -> Keyring" in page
    assert "process_route(route: object, keyring: Keyring, *, now: int | datetime" in page


@pytest.mark.slow
def test_the_tutorial_runs_word_for_word(tmp_path):
    """Each shell block prints what the block after it shows; the Python block runs in the same folder."""
    page = (DOCS / "tutorial.md").read_text()
    blocks = re.findall(r"```(sh|text|python)\n(.*?)```", page, re.DOTALL)
    commands = [block for block in blocks if block[0] != "text"]
    assert len(commands) == 6
    for at, (kind, code) in enumerate(blocks):
        if kind == "sh":
            printed = [run(line, tmp_path).removesuffix("\n[exit 1]") for line in code.strip().splitlines()]
            assert "Traceback" not in "".join(printed)
            assert not re.search(r"\[exit [2-9]", "".join(printed)), printed
            if at + 1 < len(blocks) and blocks[at + 1][0] == "text":
                assert fits(blocks[at + 1][1].strip(), printed[-1]), printed[-1]
        elif kind == "python":
            printed = io.StringIO()
            with contextlib.chdir(tmp_path), contextlib.redirect_stdout(printed):
                exec(compile(code, "docs/tutorial.md", "exec"), {})
            assert "ert:100000581: " in printed.getvalue()


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as hosts and MyST make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = [
        re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", one) for one in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    ]
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), *sorted(ROOT.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = re.sub(r"```(?!\{).*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#]*)(?:#([^)]*))?\)", text):
        path = (page.parent / target) if target else page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), f"{target}#{anchor}"


def test_the_site_lists_every_page_once():
    index = (DOCS / "index.md").read_text()
    listed = re.findall(
        r"^([\w/-]+)$", "\n".join(re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)), re.MULTILINE
    )
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")]
    assert sorted(listed) == sorted({*pages, "reference/names", "reference/results"} - {"index"})


@pytest.mark.slow
def test_the_notebook_runs_as_a_script(tmp_path):
    pytest.importorskip("marimo", reason="marimo is not installed: make docs")
    script = DOCS / "notebooks" / "first_route.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'allowed': " in done.stdout
    assert "is REFUSED" in done.stdout
