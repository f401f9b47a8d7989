"""Folders of parties: who may read them, and what is refused where keys are weaker than those that were there."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from itron_core.cli import app as command_line
from itron_core.cli.key_files import PASSWORD_FILE

NOW = "1795000000"


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    output: str


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSWORD_FILE, raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["itron-core", *map(str, arguments)])
        return Ended(command_line.run(), "".join(capfd.readouterr()))

    return call


def init(run, home="ism"):
    return run("manager", "init", home, "--utility", "UTIL0001", "--now", NOW)


def role(run):
    return run("manager", "role", "ism", "worker", "--permissions", "all", "--now", NOW)


@pytest.fixture
def sealed(run, monkeypatch):
    """Give a manager whose keys are encrypted; the password is named from then on."""
    Path("password").write_text("word\n")
    monkeypatch.setenv(PASSWORD_FILE, "password")
    assert init(run).exit_code == 0
    return run


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_party_s_folder_is_its_owner_s_alone_under_any_umask(run, umask):
    before = os.umask(umask)
    try:
        assert init(run).exit_code == 0
        assert run("server", "init", "tools", "--keyring", "ism/root.jwks").exit_code == 0
        assert run("field", "init", "tab", "--tool", "t1", "--keyring", "ism/root.jwks").exit_code == 0
        assert role(run).exit_code == 0
    finally:
        os.umask(before)
    for home in ["ism", "tools", "tab"]:
        for path in [Path(home), *Path(home).rglob("*")]:
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.slow
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_password_variable_writes_no_plain_key(run, monkeypatch, value):
    monkeypatch.setenv(PASSWORD_FILE, value)
    answer = init(run)
    assert answer.exit_code == 2
    assert not Path("ism").exists()


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n", b"  \n"])
def test_an_empty_password_file_writes_no_plain_key(run, monkeypatch, content):
    Path("password").write_bytes(content)
    monkeypatch.setenv(PASSWORD_FILE, "password")
    assert init(run).exit_code == 3
    assert not Path("ism").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["master.key", "root.pem", "issuer.pem", "log.pem"])
@pytest.mark.parametrize("has_password", [True, False])
def test_a_plain_key_in_place_of_an_encrypted_one_is_refused(sealed, monkeypatch, name, has_password):
    monkeypatch.delenv(PASSWORD_FILE)
    assert init(sealed, "plain").exit_code == 0
    if has_password:
        monkeypatch.setenv(PASSWORD_FILE, "password")
    shutil.copy(Path("plain") / name, Path("ism") / name)
    answer = role(sealed)
    assert answer.exit_code == 2
    assert ("is not encrypted" if has_password else "encrypted") in answer.output


@pytest.mark.slow
def test_no_plain_key_is_made_beside_encrypted_ones(sealed, monkeypatch):
    before = Path("ism/issuer.pem").read_bytes()
    assert sealed("manager", "rotate", "ism", "--now", NOW).exit_code == 0
    now = Path("ism/issuer.pem").read_bytes()
    assert now != before
    assert b"ENCRYPTED" in now
    monkeypatch.delenv(PASSWORD_FILE)
    assert sealed("manager", "rotate", "ism", "--now", NOW).exit_code == 2
    assert Path("ism/issuer.pem").read_bytes() == now


@pytest.mark.slow
def test_a_plain_folder_works_where_a_password_is_named(run, monkeypatch):
    assert init(run).exit_code == 0
    Path("password").write_text("word\n")
    monkeypatch.setenv(PASSWORD_FILE, "password")
    assert role(run).exit_code == 0
    assert run("manager", "rotate", "ism", "--now", NOW).exit_code == 2, "a new key would be encrypted among plain ones"


@pytest.mark.slow
def test_a_log_is_verified_from_a_copy_of_its_folder_without_its_private_key(sealed, monkeypatch):
    assert role(sealed).exit_code == 0
    monkeypatch.delenv(PASSWORD_FILE)
    shutil.copytree("ism/log", "copy/log")
    verifier = Path("ism/log/verifier").read_text().strip()
    for arguments in [["copy"], ["copy/log"], ["ism"], ["copy", "--key", verifier]]:
        answer = sealed("audit", "verify", *arguments)
        assert answer.exit_code == 0, answer.output
        assert "2 entries" in answer.output
    Path("copy/log/verifier").unlink()
    assert sealed("audit", "verify", "copy").exit_code == 2
    assert sealed("audit", "verify", "copy", "--key", verifier).exit_code == 0


@pytest.mark.slow
def test_another_verifier_key_verifies_nothing(run):
    assert init(run).exit_code == 0
    assert init(run, "other").exit_code == 0
    other = Path("other/log/verifier").read_text().strip()
    assert run("audit", "verify", "ism", "--key", other).exit_code == 3


@pytest.mark.slow
def test_an_empty_log_is_right(run):
    assert init(run).exit_code == 0
    assert run("server", "init", "tools", "--keyring", "ism/root.jwks").exit_code == 0
    answer = run("audit", "verify", "tools")
    assert answer.exit_code == 0
    assert "0 entries" in answer.output


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\xff\xfe"])
def test_a_damaged_comparison_is_named_and_not_the_log(run, damage):
    assert init(run).exit_code == 0
    Path("kept").write_bytes(damage)
    answer = run("audit", "verify", "ism", "--trusted", "kept")
    assert answer.exit_code == 3
    assert "kept" in answer.output
    assert "not what was written" not in answer.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes,says",
    [
        ({"Utility": "X"}, 'unknown member "Utility"; did you mean "utility"?'),
        ({"utilty": "X"}, 'did you mean "utility"?'),
        ({"stor": "elsewhere.db"}, 'did you mean "store"?'),
        ({"keys": {"isuer": "pkcs11:token=x"}}, 'did you mean "issuer"?'),
        ({"keys": ["pkcs11:token=x"]}, "expected an object of pkcs11: URIs"),
        ({"keys": {"issuer": 5}}, '"keys.issuer": got 5, expected text'),
        ({"store": 5}, '"store": got 5, expected text'),
        ({"utility": None}, '"utility": got None, expected text'),
    ],
)
def test_a_setting_that_would_be_ignored_or_misread_is_refused(run, changes, says):
    init(run)
    path = Path("ism/settings.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    answer = run("manager", "users", "ism")
    assert (answer.exit_code, says in answer.output, "settings.json" in answer.output) == (3, True, True), answer.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "text,code",
    [("", 3), ("{", 3), ("\udcff", 3), ("[]", 2), ("7", 2), ('{"party": "field"}', 3), ('{"party": []}', 2)],
)
def test_damaged_settings_are_named_and_are_no_internal_error(run, text, code):
    run("manager", "init", "ism", "--utility", "UTIL0001", "--now", NOW)
    run("field", "init", "tab", "--tool", "t1", "--keyring", "ism/root.jwks")
    Path("tab/settings.json").write_bytes(text.encode(errors="surrogateescape"))
    for command in (["field", "current", "tab"], ["backup", "tab", "tab.tar"]):
        answer = run(*command)
        assert (answer.exit_code, "tab" in answer.output) == (code, True), answer.output


@pytest.mark.slow
def test_a_setting_far_from_ours_is_ignored(run):
    init(run)
    path = Path("ism/settings.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"remark": "kept by olga"}))
    assert run("manager", "users", "ism").exit_code == 0
