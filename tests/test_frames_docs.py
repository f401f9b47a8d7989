"""docs/frames.md is true: its examples run as printed, and its table names every kind that is taken."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from itron_core import tables

PAGE = (Path(__file__).parents[1] / "docs" / "frames.md").read_text()


@pytest.mark.slow
def test_the_examples_print_what_the_page_shows():
    """In order and in one namespace, as a reader goes through them."""
    blocks = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.DOTALL)
    assert len(blocks) >= 6
    names = {}
    for program, shown in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(program, names)
        assert printed.getvalue() == shown


def test_every_extra_of_the_page_is_one_of_the_project():
    settings = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    for extra in ("frames", "io", "polars", "duckdb", "datafusion", "spark"):
        assert f"`{extra}`" in PAGE
        assert re.search(rf"^{extra} = \[", settings, re.MULTILINE)
    assert set(tables._EXTRAS.values()) <= {"frames", "io", "polars", "duckdb", "datafusion", "spark"}
