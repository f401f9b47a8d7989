"""Rotation of the issuing key reaches a meter in a file by the field tool, on the command line."""

import json
import os
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", "from itron_core.cli import main; main()"]
N = 1_795_000_000
DAY = 86_400

pytest.importorskip("typer", reason="no typer: pip install 'itron-core[cli]'")


@pytest.mark.slow
def test_a_rotated_key_and_revocations_reach_a_meter_that_trusts_the_root_alone(tmp_path):
    def run(line, *, now, code=0):
        done = subprocess.run(
            [*PROGRAM, *line.split(), "--now", str(now)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "100"},
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "devices.csv").write_text(
        "device,unit,device_class,mode,security_level,level_verified\nert:5,gas,enhanced,mobile,command,true\n"
    )
    run("manager init ism --utility UTIL0001", now=N)
    run("manager role ism officer --permissions all --officer", now=N)
    run("manager user ism olga --role officer --unit gas", now=N)
    run("manager devices ism devices.csv", now=N)
    run("device init meter.json --device ert:5 --class enhanced --level command --keyring ism/root.jwks", now=N)
    for line in ["server init tools --keyring ism/root.jwks", "field init tab --tool t1 --keyring ism/root.jwks"]:
        subprocess.run([*PROGRAM, *line.split()], check=True, capture_output=True, cwd=tmp_path)
    later = N + DAY
    run("manager rotate ism", now=later)
    run("manager request ism olga ert:5 --type secure_command --action disconnect_service", now=later)
    run("manager issue ism", now=later)
    run("manager deliver ism tools", now=later)
    run("field request tab ert:5 --type secure_command --action disconnect_service", now=later)
    run("field sync tab tools --user olga", now=later)
    said = run("field work tab disconnect_service --meter meter.json --update-trust", now=later)
    assert said.startswith("Trust: 2 delegations, revocations of version 0.\ndisconnect_service: done")


@pytest.mark.slow
def test_a_meter_in_a_file_names_its_master_key_and_holds_no_secret(tmp_path):
    def run(line, code=0):
        done = subprocess.run(
            [*PROGRAM, *line.split()], capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(f"manager init ism --utility UTIL0001 --now {N}")
    made = "device init meter.json --device ert:5 --class enhanced --level full --keyring ism/root.jwks"
    assert "expected both or neither" in run(f"{made} --master ism/master.key", code=2)
    run(f"{made} --master absent.key --utility UTIL0001", code=3)
    assert not (tmp_path / "meter.json").exists()
    run(f"{made} --master ism/master.key --utility UTIL0001")
    kept = (tmp_path / "meter.json").read_text()
    secret = (tmp_path / "ism" / "master.key").read_bytes()
    assert secret.strip().decode(errors="replace") not in kept
    assert json.loads(kept)["reading_key"] == {"master": str(tmp_path / "ism" / "master.key"), "utility": "UTIL0001"}
    # Without its master key the meter cannot answer, and says so.
    (tmp_path / "ism" / "master.key").rename(tmp_path / "moved.key")
    assert "master.key" in run("device show meter.json", code=3)
