"""docs/restore.md, run word for word, from the parties of the runbooks."""

import pytest

from pages import Page

pytestmark = pytest.mark.slow


def test_the_restores_of_the_page_do_what_it_shows(utility):
    page = Page("restore.md")
    page.follow("Restoring", utility)
    page.renew()
