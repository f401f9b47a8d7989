"""What the build brings in from outside is named by its content: packages by hash, actions by commit, crates by checksum."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = ("constraints.txt", "constraints-tools.txt", "constraints-engines.txt")


def test_actions_are_pinned_by_commit():
    used = re.findall(r"uses: (\S+)(.*)", "".join(path.read_text() for path in ROOT.glob(".github/workflows/*.yml")))
    assert used
    for action, version in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", version), f"{action} does not say which version it is"


@pytest.mark.parametrize("file", FILES)
def test_packages_are_pinned_by_hash(file):
    packages = re.split(r"\n(?=[a-z])", (ROOT / file).read_text().replace("\\\n", ""))
    pinned = [package for package in packages if not package.startswith("#")]
    assert len(pinned) > (10 if file == "constraints-engines.txt" else 50)
    for package in pinned:
        assert re.match(r"[a-z0-9._-]+==\S+", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


@pytest.mark.parametrize("file", FILES[1:])
def test_tools_and_engines_are_pinned_to_the_versions_of_the_tests(file):
    """`make docs`, `make dist` and `make engines` install them into the environment in which the tests run."""
    pins, others = (
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / f).read_text(), re.MULTILINE)) for f in (FILES[0], file)
    )
    both = pins.keys() & others.keys()
    assert len(both) > 5
    assert {name: pins[name] for name in both} == {name: others[name] for name in both}


@pytest.mark.slow
def test_every_installed_package_finds_what_it_needs():
    """The pins are installed without their dependencies: one that has no pin shows only here."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "lock",
    [one for path in ROOT.glob("**/Cargo.lock") if (one := path.relative_to(ROOT)).parts[0] not in {"build", "target"}],
    ids=str,
)
def test_crates_are_pinned_by_checksum(lock):
    for crate in tomllib.loads((ROOT / lock).read_text())["package"]:
        # Without a source it is a crate of this project.
        assert ("checksum" in crate) == ("source" in crate), crate["name"]
        assert crate.get("source", "registry+").startswith("registry+"), crate["name"]


def test_the_tests_that_the_pages_name_exist():
    """The threat model names the test that holds each row."""
    tests = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", tests))
    named = {name for page in ROOT.glob("docs/*.md") for name in re.findall(r"`(test_\w+)`", page.read_text())}
    assert len(named) > 50
    assert named <= there
