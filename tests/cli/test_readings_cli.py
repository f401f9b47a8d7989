"""`itron-core readings`: files of telegrams in, payloads and counts out; the keys are nowhere in what is written."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itron_core import MasterKey, derive_keys, protect_readings
from reference.build_readings import Wmbus, dlms

PROGRAM = [sys.executable, "-c", "from itron_core.cli import main; main()"]
KEY = b"~Zq7#Vx!kP0)wJ4@"
SECOND = b"bN9&mT2^hL5*cR8_"
PAYLOAD = b"\x2f\x2f" + b"a payload".ljust(14)
DEVICE = "wmbus:KAM-76348799-1b-16"
TELEGRAM = Wmbus().mode_5(KEY, PAYLOAD).hex()
OTHER = Wmbus(address=bytes(range(8))).mode_5(KEY, PAYLOAD).hex()
WMBUS = ("--profile", "wmbus")
KEYS = ("--keys", "keys.csv")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "keys.csv").write_text(f"device,key\n{DEVICE},{KEY.hex()}\n")
    return tmp_path


def run(folder, *arguments, stdin=None, code=0):
    ran = subprocess.run(
        [*PROGRAM, "readings", *arguments], cwd=folder, input=stdin, capture_output=True, text=True, check=False
    )
    assert ran.returncode == code, ran.stderr + ran.stdout
    for shown in (ran.stdout, ran.stderr, *(file.read_bytes().decode("latin-1") for file in folder.glob("opened.*"))):
        for key in (KEY, SECOND):
            assert key.hex() not in shown.lower()
            assert key.decode() not in shown
    return ran


LINES = f"""# a comment, and an empty line

{TELEGRAM}
  0x{TELEGRAM.upper()}
T1;1;1;2026-11-29 14:00:00.000;23;24;76348799;0x{TELEGRAM}
C1;1;1;2026-11-29 14:00:00.000;-71;{TELEGRAM}
telegram=|{TELEGRAM[:24]}_{TELEGRAM[24:]}|+39
telegram=||{TELEGRAM.upper()}|
"""


@pytest.mark.slow
def test_lines_are_read_as_receivers_write_them(folder):
    (folder / "telegrams.txt").write_text(LINES)
    run(folder, "open", "telegrams.txt", *WMBUS, *KEYS, "--output", "opened.jsonl")
    rows = [json.loads(line) for line in (folder / "opened.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert {(row["code"], row["protection"], row["device"], row["payload"]) for row in rows} == {
        ("ok", "mode_5", DEVICE, PAYLOAD.hex())
    }
    # The same lines by a pipe, and in UTF-16 as some terminals save them.
    assert "ok" in run(folder, "open", "-", *WMBUS, *KEYS, stdin=LINES).stdout
    (folder / "wide.log").write_text(LINES, encoding="utf-16")
    run(folder, "open", "wide.log", *WMBUS, *KEYS)


@pytest.mark.slow
def test_a_line_without_a_telegram_is_a_malformed_row(folder):
    lines = f"{TELEGRAM}\nno telegram\na;b;c\n{TELEGRAM}0"
    shown = run(folder, "open", "-", *WMBUS, *KEYS, "--json", stdin=lines, code=1).stdout
    assert json.loads(shown) == {"code": {"ok": 1, "telegram_malformed": 3}}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_tables_carry_their_own_keys_or_none(folder, suffix):
    rows = [
        {"site": "a", "telegram": TELEGRAM, "key": KEY.hex()},
        {"site": "b", "telegram": TELEGRAM, "key": None},
        {"site": "c", "telegram": OTHER, "key": KEY.hex()},
    ]
    path = folder / f"telegrams.{suffix}"
    if suffix == "csv":
        path.write_text(
            "site,telegram,key\n" + "".join(f"{r['site']},{r['telegram']},{r['key'] or ''}\n" for r in rows)
        )
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        as_bytes = [row | {"telegram": bytes.fromhex(row["telegram"]), "key": row["key"] and KEY} for row in rows]
        pq.write_table(pa.Table.from_pylist(as_bytes), path)
    run(folder, "open", path.name, *WMBUS, "--output", f"opened.{suffix}", "--output-format", "jsonl", code=1)
    opened = [json.loads(line) for line in (folder / f"opened.{suffix}").read_text().splitlines()]
    assert [(row["site"], row["code"]) for row in opened] == [("a", "ok"), ("b", "no_key"), ("c", "ok")]
    assert "key" not in opened[0]
    # Keys by device win over the file's own.
    shown = run(folder, "open", path.name, *WMBUS, *KEYS, "--json", code=1).stdout
    assert json.loads(shown) == {"code": {"ok": 2, "no_key": 1}}


@pytest.mark.slow
def test_dlms_takes_authentication_keys_titles_and_floors(folder):
    title = b"MMM\0\0\xbc\x61\x4e"
    message = dlms(KEY, SECOND, b"message", title=title, tag=200).hex()
    rows = [
        ("", title.hex(), ""),
        (SECOND.hex(), title.hex(), "6"),
        (SECOND.hex(), title.hex(), "7"),
        (SECOND.hex(), "", ""),
    ]
    lines = "".join(f"{message},{KEY.hex()},{second},{title},{floor}\n" for second, title, floor in rows)
    (folder / "apdus.csv").write_text("apdu,key,authentication_key,system_title,counter_floor\n" + lines)
    shown = run(folder, "open", "apdus.csv", "--profile", "dlms", "--column", "apdu", "--json", code=1).stdout
    wanted = {"authentication_key_missing": 1, "ok": 1, "counter_not_above": 1, "title_missing": 1}
    assert json.loads(shown)["code"] == wanted
    (folder / "both.csv").write_text(f"device,key,authentication_key\ndlms:{title.hex()},{KEY.hex()},{SECOND.hex()}\n")
    general = dlms(KEY, SECOND, b"message", title=title).hex()
    run(folder, "open", "-", "--profile", "dlms", "--keys", "both.csv", stdin=general)


@pytest.mark.slow
def test_a_master_key_opens_readings_made_under_its_derived_keys(folder):
    master = MasterKey.from_bytes(KEY + SECOND)
    (folder / "master.hex").write_text((KEY + SECOND).hex())
    devices = ["ert:100000001", "eui64:00078100aabbccdd"]
    keys = derive_keys(master, devices, utility="UTIL0001", key_version=4)
    made = protect_readings([b"one", b"two"], keys, devices=devices, counters=[1, 2])
    (folder / "readings.hex").write_text("".join(f"{reading.hex()}\n" for reading in made))
    call = ("readings.hex", "--profile", "cose", "--master", "master.hex", "--utility", "UTIL0001")
    run(folder, "open", *call, "--key-version", "4", "--output", "opened.csv")
    assert b"one".hex() in (folder / "opened.csv").read_text()
    assert "key_mismatch" in run(folder, "open", *call, code=1).stdout


@pytest.mark.slow
def test_the_summary_lists_the_devices_that_did_not_open(folder):
    wrong = Wmbus(address=bytes(range(8))).mode_5(SECOND, PAYLOAD).hex()
    (folder / "telegrams.txt").write_text(f"{TELEGRAM}\n{wrong}\n{wrong}\n")
    (folder / "keys.csv").write_text(f"device,key\n{DEVICE},{KEY.hex()}\nwmbus:@H@-05040302-06-07,{KEY.hex()}\n")
    shown = json.loads(run(folder, "summary", "telegrams.txt", *WMBUS, *KEYS, "--json", code=1).stdout)
    assert shown["rows"] == 3
    assert shown["code"] == {"ok": 1, "check_failed": 2}
    assert [(row["device"], row["verdict"]) for row in shown["devices"]] == [("wmbus:@H@-05040302-06-07", "wrong_key")]
    assert "wrong_key" in run(folder, "summary", "telegrams.txt", *WMBUS, *KEYS, code=1).stdout
    assert json.loads(run(folder, "summary", "-", *WMBUS, "--json", stdin="").stdout)["rows"] == 0


@pytest.mark.slow
def test_one_row_is_explained_with_its_payload(folder):
    (folder / "telegrams.txt").write_text(f"{OTHER}\n{TELEGRAM}\n")
    shown = run(folder, "explain", "telegrams.txt", "2", *WMBUS, *KEYS).stdout
    assert DEVICE in shown
    assert "the check of 16 bits" in shown
    assert shown.rstrip().endswith(PAYLOAD.hex())
    refused = run(folder, "explain", "telegrams.txt", "1", *WMBUS, *KEYS, code=1).stdout
    assert "no_key (1105)" in refused
    assert PAYLOAD.hex() not in refused
    assert "row 3 does not exist" in run(folder, "explain", "telegrams.txt", "3", *WMBUS, code=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["open", "absent.txt", *WMBUS], 3, "does not exist"),
        (["open", "-", *WMBUS, *KEYS, "--master", "m"], 2, "got both"),
        (["open", "-", *WMBUS, "--utility", "U"], 2, "--utility: expected only with --master"),
        (["open", "-", *WMBUS, *KEYS, "--pin-file", "keys.csv"], 2, "--pin-file: expected only with --master"),
        (["open", "-", *WMBUS, "--master", "m"], 2, "--utility is missing"),
        (["open", "-", *WMBUS, "--keys", "twice.csv"], 3, "a second time"),
        (["open", "-", *WMBUS, "--keys", "columns.csv"], 3, 'no column "device"'),
        (["open", "columns.csv", *WMBUS], 3, 'no column "telegram"'),
        (["open", "-"], 2, "--profile"),
        (["open", "-", "--profile", "mbus"], 2, "mbus"),
    ],
)
def test_a_wrong_call_gives_a_hint_and_shows_no_key(folder, arguments, code, message):
    (folder / "twice.csv").write_text(f"device,key\n{DEVICE},{KEY.hex()}\n{DEVICE},{SECOND.hex()}\n")
    (folder / "columns.csv").write_text(f"meter,key\n{DEVICE},{KEY.hex()}\n")
    assert message in run(folder, *arguments, stdin=TELEGRAM, code=code).stderr
