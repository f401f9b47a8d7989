"""docs/hsm.md, run word for word with a real SoftHSM 2: an administrator's way from an empty token."""

import subprocess

import pytest

from pages import Page
from test_hsm import PIN, PLACES, SO_PIN, library  # noqa: F401  # a fixture, by name

pytestmark = pytest.mark.slow


def test_the_administrators_page_does_what_it_shows(library, tmp_path):  # noqa: F811
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    (tmp_path / "pin.txt").write_text(f"{PIN}\n")
    environment = {
        "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf"),
        "ITRON_CORE_PKCS11_MODULE": library,
        "ITRON_CORE_PIN_FILE": "pin.txt",
    }
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "ism", "--pin", PIN, "--so-pin", SO_PIN],
        env=environment,
        check=True,
        capture_output=True,
    )
    page = Page("hsm.md")
    assert list(page.sections) == ["On the command line", "From files to an HSM", "When the command line refuses"]
    for title in page.sections:
        page.follow(title, tmp_path, environment, [(library, PLACES[0])])
    page.renew()
