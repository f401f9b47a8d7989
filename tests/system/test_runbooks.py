"""docs/runbooks.md, run word for word: every runbook from the parties of the page, each in a folder of its own."""

import re
import shutil
from pathlib import Path

import pytest

from pages import Page

pytestmark = pytest.mark.slow

PAGE = Page("runbooks.md")
BEGINNING = "The utility of this page"


@pytest.fixture(scope="module")
def utility(tmp_path_factory):
    """The parties that every runbook begins with; afterwards the page is written if that is asked for."""
    folder = tmp_path_factory.mktemp("utility")
    PAGE.follow(BEGINNING, folder)
    yield folder
    PAGE.renew()


def test_the_page_has_a_runbook_for_each_thing_that_happens():
    listed = set(re.findall(r"\(#([a-z-]+)\)", PAGE.text[: PAGE.text.index("## ")]))
    assert {title.lower().replace(" ", "-") for title in PAGE.sections} == listed | {
        BEGINNING.lower().replace(" ", "-")
    }


@pytest.mark.parametrize("title", [title for title in PAGE.sections if title != BEGINNING])
def test_the_runbook_does_what_the_page_shows(title, utility, tmp_path):
    PAGE.follow(title, Path(shutil.copytree(utility, tmp_path / "utility")))
