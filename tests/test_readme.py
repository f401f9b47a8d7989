"""The README's tour runs and prints what the README says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernels

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_tour_prints_the_readme_s_output():
    code, expected = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", README, re.DOTALL).groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    assert printed.getvalue() == expected


def test_every_page_that_the_readme_names_exists():
    pages = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert len(pages) > 10
    assert not [page for page in pages if not (Path(__file__).parent.parent / page).exists()]
