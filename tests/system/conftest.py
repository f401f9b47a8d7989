"""What the pages of docs/ begin with."""

import shutil
from pathlib import Path

import pytest

from pages import Page


@pytest.fixture(scope="session")
def runbooks():
    """The page of the runbooks; it is written in the end if that is asked for."""
    page = Page("runbooks.md")
    yield page
    page.renew()


@pytest.fixture(scope="session")
def first_utility(runbooks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("utility")
    beginning = next(iter(runbooks.sections))
    runbooks.follow(beginning, folder)
    return folder


@pytest.fixture
def utility(first_utility, tmp_path):
    """The parties that every runbook begins with, made once and copied."""
    return Path(shutil.copytree(first_utility, tmp_path / "utility"))
