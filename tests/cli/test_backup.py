"""Backups of each party and the way back: nothing is given twice, nothing is lost in silence, nothing is left half-made."""

import io
import json
import os
import shutil
import sqlite3
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from itron_core import InputError, StoreError
from itron_core.cli import app as command_line
from itron_core.cli import folders
from itron_core.enums import Action
from itron_core.stores import open_store
from itron_core.stores.backup import read_backup, write_backup
from itron_core.stores.incarnation import restored

NOW = 1_795_000_000


class Ended(NamedTuple):
    """How a command ended."""

    exit_code: int
    output: str


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ITRON_CORE_PASSWORD_FILE", raising=False)

    def call(*arguments, now=NOW, code=0):
        monkeypatch.setattr(sys, "argv", ["itron-core", *map(str, arguments), "--now", str(now)])
        capfd.readouterr()
        ended = Ended(command_line.run(), "".join(capfd.readouterr()))
        assert ended.exit_code == code, ended.output
        return ended.output

    return call


@pytest.fixture
def homes(run):
    """Give a manager, a server and a field tool, with people and devices."""
    run("manager", "init", "ism", "--utility", "UTIL0001")
    run("manager", "role", "ism", "officer", "--permissions", "all", "--officer")
    run("manager", "user", "ism", "olga", "--role", "officer", "--unit", "gas")
    Path("devices.csv").write_text(
        "device,unit,device_class,security_level\n" + "".join(f"ert:{n},gas,enhanced,command\n" for n in range(1, 9))
    )
    run("manager", "devices", "ism", "devices.csv")
    for command in [("server", "init", "tools"), ("field", "init", "tab", "--tool", "t1")]:
        sys_argv = [*command, "--keyring", "ism/root.jwks"]
        folders_made(sys_argv)
    return run


def folders_made(command):
    """Make a folder by a command that asks for no time."""
    sys.argv = ["itron-core", *command]
    assert command_line.run() == 0


def give(device, now=NOW, actions=Action.PROGRAM_ENDPOINT):
    manager = folders.manager(Path("ism"))
    manager.request("olga", [device], token_type="secure_command", actions=actions, now=now)
    report = manager.issue(now=now)
    manager._store.close()
    return report


def material():
    manager = folders.manager(Path("ism"))
    rows = [row for _, row in manager.materials(0, 1_000).rows]
    manager._store.close()
    return rows


def kinds(home="ism"):
    log = folders.log(Path(home))
    return [json.loads(entry)["kind"] for entry in log.entries(0, log.size)]


def lose(home="ism", *, keep_log=True):
    """Lose a folder, all of it or all but its log."""
    shutil.move(home, f"{home}.lost")
    if keep_log:
        Path(home).mkdir()
        shutil.copytree(Path(f"{home}.lost") / "log", Path(home) / "log")


@pytest.mark.slow
def test_a_backup_is_one_file_for_its_owner_alone_and_needs_no_pause(homes):
    give("ert:1")
    end, faults = threading.Event(), []

    def write():
        try:
            store = open_store("ism/store.db")
            while not end.is_set():
                with store.write() as t:
                    t.run("UPDATE manager_user SET unit = 'gas'")
            store.close()
        except Exception as error:  # noqa: BLE001  # a thread's fault must reach the test
            faults.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    before = os.umask(0)
    try:
        homes("backup", "ism", "one.tar")
    finally:
        os.umask(before)
        end.set()
        thread.join()
    assert not faults
    assert Path("one.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open("one.tar") as archive:
        names = archive.getnames()
    assert names[0] == "manifest.json"
    assert set(names[1:]) == {
        *("settings.json", "store.db", "root.pem", "issuer.pem", "log.pem", "master.key", "root.jwks")
    }
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("home", ["ism", "tools", "tab"])
def test_a_party_that_lost_everything_comes_back(homes, home):
    {"ism": folders.manager, "tools": folders.server, "tab": folders.field_tool}[home](Path(home))
    homes("backup", home, "one.tar")
    before = {path.name: path.read_bytes() for path in Path(home).iterdir() if path.suffix in {".pem", ".key", ".jwks"}}
    with sqlite3.connect(f"{home}/store.db") as store:
        journal = store.execute("SELECT sum(size) FROM journal_block").fetchone()
        old = store.execute("SELECT id FROM store_incarnation").fetchone()
    lose(home, keep_log=False)
    homes("restore", home, "one.tar")
    assert {path.name: path.read_bytes() for path in Path(home).iterdir() if path.name in before} == before
    with sqlite3.connect(f"{home}/store.db") as store:
        assert store.execute("SELECT sum(size) FROM journal_block").fetchone()[0] == (journal[0] or 0) + 1
        assert store.execute("SELECT id FROM store_incarnation").fetchone() != old
    for path in [Path(home), *Path(home).rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.slow
@pytest.mark.parametrize("keep_log", [True, False])
@pytest.mark.parametrize("issued_since", [0, 1, 3])
def test_a_restored_manager_gives_no_sequence_number_twice(homes, keep_log, issued_since):
    give("ert:1")
    homes("backup", "ism", "one.tar")
    for _ in range(issued_since):
        give("ert:1", NOW + 10)
    before = {(row.kid, row.cti): row.token for row in material()}
    lose(keep_log=keep_log)
    homes("restore", "ism", "one.tar", now=NOW + 100)
    for n in range(issued_since + 1):
        assert give("ert:1", NOW + 200 + n).issued == 1
    for row in material():
        assert before.setdefault((row.kid, row.cti), row.token) == row.token
    assert len(before) == 1 + issued_since + issued_since + 1
    # And once more from the same backup: what was given after the first restore is not given again.
    lose_again = "ism.again"
    shutil.move("ism", lose_again)
    homes("restore", "ism", "one.tar", now=NOW + 300)
    assert give("ert:1", NOW + 400).issued == 1
    for row in material():
        assert before.setdefault((row.kid, row.cti), row.token) == row.token


@pytest.mark.slow
def test_material_issued_after_a_restore_reaches_the_server(homes):
    give("ert:1")
    homes("manager", "deliver", "ism", "tools")
    homes("backup", "ism", "one.tar")
    give("ert:2")
    homes("manager", "deliver", "ism", "tools")
    lose(keep_log=False)
    homes("restore", "ism", "one.tar", now=NOW + 100)
    give("ert:3", NOW + 200)
    homes("manager", "deliver", "ism", "tools", now=NOW + 200)
    with sqlite3.connect("tools/store.db") as store:
        held = {device for (device,) in store.execute("SELECT device FROM server_material")}
    assert held == {"ert:1", "ert:2", "ert:3"}


@pytest.mark.slow
def test_a_restored_manager_learns_later_changes_from_the_log(homes):
    homes("manager", "user", "ism", "otto", "--role", "officer", "--unit", "gas")
    homes("backup", "ism", "one.tar")
    give("ert:1")
    homes("manager", "revoke", "ism", "--device", "ert:2")
    manager = folders.manager(Path("ism"))
    manager.remove_user("otto", now=NOW)
    manager._store.close()
    before = kinds()
    lose()
    said = homes("restore", "ism", "one.tar", now=NOW + 100)
    assert "Tokens issued since the backup: 1." in said
    restored = folders.manager(Path("ism"))
    assert [name for name, _, _ in restored.users()] == ["olga"]
    assert restored._keys.has_revoked()
    restored._store.close()
    assert kinds() == [*before, "restored"]


@pytest.mark.slow
def test_a_restored_server_lets_in_nobody_who_was_shut_out_since(homes):
    homes("manager", "deliver", "ism", "tools")
    homes("backup", "tools", "tools.tar")
    homes("server", "bearer", "tools", "t1.bearer", "--user", "olga", "--role", "field_tool", "--tool", "t1")
    homes("server", "revoke-bearers", "tools", "--id", "lost", "--tool", "t2", now=NOW + 60)
    homes("server", "remove-tool", "tools", "t1", now=NOW + 60)
    lose("tools")
    homes("restore", "tools", "tools.tar", now=NOW + 120)
    homes("manager", "deliver", "ism", "tools", now=NOW + 120)
    assert "tool_removed" in homes("field", "sync", "tab", "tools", "--user", "olga", now=NOW + 180, code=1)
    server = folders.server(Path("tools"))
    assert server.bearer_revoked("lost", "t9", NOW + 120)
    assert server.bearer_revoked("other", "t2", NOW + 60)
    assert not server.bearer_revoked("other", "t2", NOW + 61)


@pytest.mark.slow
def test_server_and_field_tool_go_on_as_restored_until_what_was_lost_is_known(homes):
    homes("manager", "deliver", "ism", "tools")
    for home in ("ism", "tools", "tab"):
        homes("backup", home, f"{home}.tar")
        lose(home, keep_log=home != "tab")
        homes("restore", home, f"{home}.tar")

    def is_restored(home):
        store = open_store(Path(home, "store.db"), create=False)
        with store.read() as t:
            found = restored(t)
        store.close()
        return found

    assert [is_restored(home) for home in ("ism", "tools", "tab")] == [False, True, True]
    homes("manager", "deliver", "ism", "tools")
    homes("field", "sync", "tab", "tools", "--user", "olga")
    assert not is_restored("tab"), "a whole sync tells a field tool what was used"


@pytest.mark.slow
def test_open_requests_are_withdrawn_and_reported(homes):
    manager = folders.manager(Path("ism"))
    asked = manager.request("olga", ["ert:1"], token_type="secure_command", actions=Action.CONNECT_SERVICE, now=NOW)
    assert asked.state == "approved"
    manager._store.close()
    homes("backup", "ism", "one.tar")
    manager = folders.manager(Path("ism"))
    assert manager.issue(now=NOW).issued == 1
    manager._store.close()
    lose(keep_log=False)
    assert "requests 1. Request again" in homes("restore", "ism", "one.tar", now=NOW + 100)
    manager = folders.manager(Path("ism"))
    assert manager.issue(now=NOW + 200).issued == 0, "it was issued before: not a second time"
    again = manager.request(
        "olga", ["ert:1"], token_type="secure_command", actions=Action.CONNECT_SERVICE, now=NOW + 200
    )
    assert again.state == "waiting", "what was issued shortly before the restore is not known: nobody asks alone"
    manager._store.close()


@pytest.mark.slow
def test_a_store_put_back_by_hand_stops_until_restore_is_run(homes):
    give("ert:1")
    for name in ["store.db", "store.db-wal"]:
        if Path("ism", name).exists():
            shutil.copy(Path("ism", name), f"kept-{name}")
    give("ert:2")
    for name in ["store.db", "store.db-wal", "store.db-shm"]:
        Path("ism", name).unlink(missing_ok=True)
    for name in ["store.db", "store.db-wal"]:
        if Path(f"kept-{name}").exists():
            shutil.copy(f"kept-{name}", Path("ism", name))
    said = homes("manager", "user", "ism", "otto", "--role", "officer", "--unit", "gas", code=5)
    assert "put back to an older state" in said
    homes("restore", "ism", now=NOW + 100)
    assert give("ert:3", NOW + 200).issued == 1
    assert len({(row.kid, row.cti) for row in material()}) == 2


@pytest.mark.slow
def test_a_missing_store_is_not_created_anew(homes):
    for name in ["store.db", "store.db-wal", "store.db-shm"]:
        Path("tab", name).unlink(missing_ok=True)
    with pytest.raises(StoreError, match=r"does not exist.*restore a backup"):
        folders.field_tool(Path("tab"))
    assert not Path("tab/store.db").exists()


@pytest.mark.slow
def test_nothing_is_written_over(homes):
    homes("backup", "ism", "one.tar")
    data = Path("one.tar").read_bytes()
    homes("backup", "ism", "one.tar", code=3)
    assert Path("one.tar").read_bytes() == data
    said = homes("restore", "ism", "one.tar", code=2)
    assert "is not empty" in said
    assert folders.manager(Path("ism")).users()


def damaged(data):
    """Yield a name and bytes for each way in which a backup can be wrong."""
    yield "empty", b""
    yield "no archive", b"this is no backup" * 100
    for at in range(0, len(data) - 10_240, 4_001):
        yield f"cut at {at}", data[:at]
    for at in range(700, len(data) - 10_240, 1_003):
        yield f"changed at {at}", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.slow
def test_a_damaged_backup_restores_nothing(homes, tmp_path):
    homes("backup", "tab", "one.tar")
    found = 0
    for number, (name, data) in enumerate(damaged(Path("one.tar").read_bytes())):
        Path("bad.tar").write_bytes(data)
        place = tmp_path / f"place-{number}"
        place.mkdir()
        try:
            read_backup(Path("bad.tar"), place)
        except (InputError, StoreError):
            found += 1
        else:  # what stands between the members counts for nothing
            for path in place.iterdir():
                assert path.name == "store.db" or path.read_bytes() == Path("tab", path.name).read_bytes(), name
    assert found > 8
    Path("bad.tar").write_bytes(Path("one.tar").read_bytes()[:4_000])
    shutil.move("tab", "tab.lost")
    for _ in range(2):
        homes("restore", "tab", "bad.tar", code=3)
    assert not Path("tab").exists()
    assert not [path for path in Path().iterdir() if path.name.startswith(".tab")]
    homes("restore", "tab", "one.tar")


@pytest.mark.parametrize(
    "name", ["../out.json", "/tmp/out.json", "a/b.json", "store.db/x.json", "manifest.json", "x.sh"]
)
def test_a_backup_puts_no_file_outside_or_beside(tmp_path, name):
    (tmp_path / "in").mkdir()
    said = json.dumps({"format": 1, "party": "field", "made_at": NOW, "files": {name: "00" * 32}}).encode()
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for member, data in [("manifest.json", said), (name, b"{}")]:
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(InputError):
        read_backup(tmp_path / "bad.tar", tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


def test_a_link_in_a_backup_is_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    said = json.dumps({"format": 1, "party": "field", "made_at": NOW, "files": {"settings.json": "00" * 32}}).encode()
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(said)
        archive.addfile(info, io.BytesIO(said))
        link = tarfile.TarInfo("settings.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match="has an unknown member"):
        read_backup(tmp_path / "bad.tar", tmp_path / "in")


@pytest.mark.slow
def test_a_backup_that_cannot_be_written_leaves_nothing(homes):
    with pytest.raises(StoreError, match="cannot be written"):
        write_backup(Path("ism"), Path("nowhere/one.tar"), party="manager", store=Path("ism/store.db"), now=NOW)
    with pytest.raises(InputError, match="now"):
        write_backup(Path("ism"), Path("one.tar"), party="manager", store=Path("ism/store.db"), now=NOW * 1_000)
    assert not Path("one.tar").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", [1, 9, 20])
def test_a_damaged_store_is_not_backed_up(homes, page):
    """A page of it has other bytes: what a disk does."""
    store = Path("ism/store.db")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(store.read_bytes())
    data[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    store.write_bytes(data)
    said = homes("backup", "ism", "ism.tar", code=5)
    assert "damaged" in said or "malformed" in said
    assert not Path("ism.tar").exists()
