"""What a command writes: never over what it reads, never twice, and secrets for their owner alone."""

import stat

import pytest

pytest.importorskip("typer")
pytest.importorskip("pyarrow")
import pyarrow.parquet as pq

from itron_core.cli.failures import Exit
from itron_core.stores import private_files
from itron_core.testing import make_route

pytestmark = pytest.mark.slow

NOW = "1795000000"
SECRET = "00112233445566778899aabbccddeeff"


@pytest.fixture
def run(command, tmp_path):
    """Run a command in a folder with a route, its keyring, keys and lists."""
    route = make_route(20, now=int(NOW), seed=5)
    pq.write_table(route.table, tmp_path / "route.parquet")
    (tmp_path / "root.jwks").write_text(route.keyring.to_jwks())
    (tmp_path / "devices.csv").write_text("device\nert:1\n")
    (tmp_path / "wishes.csv").write_text("device,actions,sequence,epoch\nert:1,read_endpoint,1,1\n")
    (tmp_path / "telegrams.txt").write_text("2C44\n")
    assert command("route template route.csv")[0] == Exit.OK
    assert command("keys generate signer.pem")[0] == Exit.OK
    assert command("keys master master.hex")[0] == Exit.OK
    return command


DECIDE = f"--permissions all --now {NOW} --time-zone UTC"


@pytest.mark.parametrize(
    "line,spared",
    [
        (f"preflight route.parquet {DECIDE} -k root.jwks -o route.parquet", "route.parquet"),
        (f"preflight route.csv {DECIDE} -k root.jwks -o root.jwks --output-format csv", "root.jwks"),
        (f"preflight route.csv {DECIDE} -k root.jwks --requests route.csv", "route.csv"),
        (f"preflight route.csv {DECIDE} -k root.jwks -o ../{{folder}}/route.csv", "route.csv"),
        (f"report route.csv {DECIDE} -k root.jwks -o root.jwks", "root.jwks"),
        (f"verify route.parquet --column reading_key -k root.jwks --now {NOW} -o route.parquet", "route.parquet"),
        ("derive devices.csv --master master.hex --utility U -o master.hex --output-format csv", "master.hex"),
        ("derive devices.csv --master master.hex --utility U -o devices.csv", "devices.csv"),
        (f"issue wishes.csv --key signer.pem --now {NOW} -o signer.pem --output-format csv", "signer.pem"),
        ("route template route.csv", "route.csv"),
    ],
)
def test_no_output_destroys_an_input(run, tmp_path, line, spared):
    before = (tmp_path / spared).read_bytes()
    code, printed = run(line.replace("{folder}", tmp_path.name))
    assert code == Exit.USAGE
    assert "would be overwritten" in printed or "already exists" in printed
    assert (tmp_path / spared).read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    "line",
    [
        f"preflight route.csv {DECIDE} -k root.jwks -o out.csv --requests out.csv",
        f"report route.csv {DECIDE} -k root.jwks -o out.json",
    ],
)
def test_two_outputs_are_two_files(run, tmp_path, line):
    code, printed = run(line)
    assert (code, "would be written twice" in printed) == (Exit.USAGE, True)
    assert not list(tmp_path.glob("out*"))


def test_a_report_is_no_stream(run, tmp_path):
    code, printed = run(f"report route.csv {DECIDE} -k root.jwks -o -")
    assert (code, "expected a file" in printed) == (Exit.USAGE, True)
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize(
    "line,private",
    [
        ("derive devices.csv --master master.hex --utility U --show-keys -o out.csv", True),
        ("derive devices.csv --master master.hex --utility U -o out.csv", False),
        (f"issue wishes.csv --key signer.pem --now {NOW} -o out.csv", True),
    ],
)
def test_keys_and_unused_tokens_are_for_their_owner_alone(run, tmp_path, line, private):
    (tmp_path / "out.csv").write_text("of an earlier run, which all could read")
    assert run(line)[0] == Exit.OK
    assert (stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600) is private


@pytest.mark.parametrize(
    "line",
    [
        f"derive devices.csv --master {SECRET} --utility U",
        f"readings open telegrams.txt --profile cose --master {SECRET} --utility U",
        f"issue wishes.csv --key {SECRET} --now {NOW} -o out.csv",
        f"field sync tablet http://127.0.0.1:1 --bearer {SECRET} --user fred",
    ],
)
def test_a_secret_in_place_of_its_file_is_not_shown(run, line):
    assert run("field init tablet --tool t --keyring root.jwks")[0] == Exit.OK
    code, printed = run(line)
    assert code == Exit.UNREADABLE
    assert "the file does not exist" in printed
    assert SECRET not in printed


def test_a_password_in_place_of_its_file_is_not_shown(run, monkeypatch):
    monkeypatch.setenv("ITRON_CORE_PASSWORD_FILE", "hunter2")
    code, printed = run("manager init ism --utility UTIL0001")
    assert (code, "hunter2" in printed) == (Exit.UNREADABLE, False)


@pytest.mark.parametrize(
    "text", [f"device,key\n{SECRET},ert:1\n", f"ert:1,{SECRET}\n", f"device,key\nert:1,{SECRET},x\n"]
)
def test_a_file_of_keys_that_cannot_be_read_shows_none(run, tmp_path, text):
    (tmp_path / "keys.csv").write_text(text)
    code, printed = run("readings open telegrams.txt --profile wmbus --keys keys.csv")
    assert code == Exit.UNREADABLE
    assert "keys.csv: " in printed
    assert SECRET not in printed


def test_a_key_that_cannot_be_written_leaves_no_file_in_the_way(run, tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(private_files.os, "fsync", full)
        code, printed = run("keys master second.hex")
    assert (code, "No space left" in printed) == (Exit.UNAVAILABLE, True)
    assert not (tmp_path / "second.hex").exists()
    assert run("keys master second.hex")[0] == Exit.OK


def test_a_misspelled_revocation_is_remarked(run):
    for line in (
        "manager init ism --utility UTIL0001",
        "manager revoke ism --key ffffffffffffffff --device ert:999 --dry-run",
    ):
        code, printed = run(f"{line} --now {NOW}")
        assert code == Exit.OK
    for one in ("ffffffffffffffff", "ert:999"):
        assert f"{one} is neither an issuing key nor a device of this manager" in printed


def test_an_audit_log_whose_lock_cannot_be_opened_is_not_called_damaged(run, tmp_path):
    assert run(f"manager init ism --utility UTIL0001 --now {NOW}")[0] == Exit.OK
    (lock,) = (tmp_path / "ism").rglob("lock")
    lock.unlink()
    lock.mkdir()
    code, printed = run("audit list ism")
    assert (code, "damaged" in printed) == (Exit.UNAVAILABLE, False)
