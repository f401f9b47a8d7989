"""docs/frames.md is true: its examples run as printed, and its table names every kind that is taken."""

import contextlib
import io
import re
import shutil
import sys
from pathlib import Path

import pytest

from itron_core import tables

PAGE = (Path(__file__).parents[1] / "docs" / "frames.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
# Each with the warnings that it gives of its own use of pandas.
ENGINES = {
    "dask": ["ignore:The inplace keyword in DataFrame.reset_index"],
    "daft": [],
    "pyspark": ["ignore:PySpark does not yet fully support pandas"],
}


def engine_of(program):
    return next((engine for engine in ENGINES if re.search(rf"^(import|from) {engine}\b", program, re.MULTILINE)), "")


def printed_by(program, names):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, names)
    return printed.getvalue()


@pytest.fixture(scope="module")
def after_the_page():
    """Run the blocks that need no engine, in order and in one namespace, as a reader goes through them."""
    names, said = {}, []
    for program, shown in BLOCKS:
        if not engine_of(program):
            said.append((printed_by(program, names), shown))
    return names, said


@pytest.mark.slow
def test_the_examples_print_what_the_page_shows(after_the_page):
    _names, said = after_the_page
    assert len(said) >= 5
    for printed, shown in said:
        assert printed == shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [pytest.param(engine, marks=pytest.mark.filterwarnings(*ignored)) for engine, ignored in ENGINES.items()],
)
def test_the_recipe_of_an_engine_prints_what_the_page_shows(engine, after_the_page, tmp_path, monkeypatch):
    if engine != "dask":  # which `make` installs
        pytest.importorskip(engine, reason=f"{engine} is not installed: make engines")
    if engine == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, which is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    ((program, shown),) = [block for block in BLOCKS if engine_of(block[0]) == engine]
    assert shown
    assert printed_by(program, dict(after_the_page[0])) == shown


def test_every_extra_of_the_page_is_one_of_the_project():
    settings = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for extra in ("frames", "io", "polars", "duckdb", "datafusion", "spark"):
        assert f"`{extra}`" in PAGE
        assert re.search(rf"^{extra} = \[", settings, re.MULTILINE)
    assert set(tables._EXTRAS.values()) <= {"frames", "io", "polars", "duckdb", "datafusion", "spark"}
