"""docs/runbooks.md, run word for word: every runbook from the parties of the page, each in a folder of its own."""

import re

import pytest

from pages import Page

pytestmark = pytest.mark.slow

PAGE = Page("runbooks.md")
BEGINNING, *TITLES = PAGE.sections


def test_the_page_has_a_runbook_for_each_thing_that_happens():
    listed = set(re.findall(r"\(#([a-z-]+)\)", PAGE.text[: PAGE.text.index("## ")]))
    assert {title.lower().replace(" ", "-") for title in PAGE.sections} == listed | {
        BEGINNING.lower().replace(" ", "-")
    }


@pytest.mark.parametrize("title", TITLES)
def test_the_runbook_does_what_the_page_shows(title, runbooks, utility):
    runbooks.follow(title, utility)
