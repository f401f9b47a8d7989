"""Spark for real: a small cluster of two executors, one of them killed in the middle of a job; SQL; the ledger after the job.

Needs Java 17 and pyspark (extra `spark`): `make engines` installs it and runs this file.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

import itron_core as ic
from helpers import NOW
from itron_core._rust import token_content
from itron_core.stores import open_store
from itron_core.testing import make_route, make_tokens
from itron_core.tools_server.ledger import Ledger, Use

if shutil.which("java") is None:
    pytest.skip("Spark needs Java 17, which is not installed", allow_module_level=True)
pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed: make engines")

from itron_core.integrations import spark as on_spark  # noqa: E402  # after the reasons to skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]

ROWS = 20_000
MADE = make_tokens(2_000, now=NOW, refused_share=0.05)
TABLE = pa.table(
    {
        "row": list(range(ROWS)),
        "token": pa.array([None if row % 7 == 2 else MADE.tokens[row % 2_000] for row in range(ROWS)], pa.binary()),
        "device": [MADE.devices[row % 2_000] for row in range(ROWS)],
    }
)
ANSWERS = ic.verify_tokens(TABLE["token"], MADE.keyring, now=NOW, audience=TABLE["device"])
WANTED = TABLE.to_pydict() | {
    "token_device" if name == "device" else name: cells for name, cells in ANSWERS.to_pydict().items()
}
CALL = {"keyring": MADE.keyring, "now": NOW, "audience": "device"}


@pytest.fixture(scope="module")
def session():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    made = (
        pyspark_sql.SparkSession.builder.master("local-cluster[2,1,1024]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.executor.memory", "1g")
        .getOrCreate()
    )
    made.sparkContext.setLogLevel("OFF")
    yield made
    made.stop()


def sorted_by_row(frame) -> dict:
    return pa.table(frame.toArrow()).sort_by("row").to_pydict()


def executors_of(parent: int) -> list[int]:
    """Return the processes of executors below ours: only these may be killed."""
    children: dict[int, list[int]] = {}
    lines = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            status = (path / "stat").read_text().rpartition(")")[2].split()
            lines[int(path.name)] = (path / "cmdline").read_bytes()
        except OSError:
            continue
        children.setdefault(int(status[1]), []).append(int(path.name))
    below, found = [parent], []
    while below:
        process = below.pop()
        below += children.get(process, [])
        if b"CoarseGrainedExecutorBackend" in lines.get(process, b""):
            found.append(process)
    return found


def test_a_killed_executor_changes_no_row(session, tmp_path):
    """Row for row the answers of one process, though an executor dies by SIGKILL in the middle of its tasks."""
    started, killed = tmp_path / "started", []
    wait = str(started)

    def slowly(batches):
        for batch in batches:
            with open(wait, "a") as marks:  # noqa: PTH123  # runs in the executor, on the same machine
                marks.write("x")
            time.sleep(0.2)
            yield batch

    def kill():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (started.exists() and started.stat().st_size >= 3):
            time.sleep(0.05)
        killed.append(executors_of(os.getpid())[0])
        os.kill(killed[0], signal.SIGKILL)

    given = session.createDataFrame(TABLE).repartition(12)
    killer = threading.Thread(target=kill)
    killer.start()
    got = sorted_by_row(on_spark.verify(given.mapInArrow(slowly, given.schema), **CALL))
    killer.join()
    assert killed
    assert not Path(f"/proc/{killed[0]}").exists() or killed[0] not in executors_of(os.getpid())
    assert got == WANTED


def test_a_route_and_sql_in_the_cluster(session):
    route = make_route(1_000, now=NOW)
    table = route.table.append_column("row", [list(range(1_000))])
    wanted = ic.process_route(route.route, route.keyring, now=NOW, permissions=route.permissions)
    frame = on_spark.process(
        session.createDataFrame(table).repartition(4),
        route.keyring,
        now=NOW,
        permissions=route.permissions,
        names=True,
    )
    got = sorted_by_row(frame)
    assert {name: got[name] for name in wanted.column_names} == wanted.names().to_pydict()
    on_spark.register(session, MADE.keyring, now=NOW)
    session.createDataFrame(TABLE).createOrReplaceTempView("t")
    asked = session.sql("SELECT row, v.* FROM (SELECT row, verify_token(token, device) AS v FROM t)")
    assert sorted_by_row(asked) == {"row": WANTED["row"]} | ANSWERS.to_pydict()


def test_a_retried_task_uses_nothing_up(session, tmp_path):
    """Tokens are consumed after the job: a task that fails once and runs again leaves each to be used, once."""
    failed = str(tmp_path / "failed")

    def fails_once(batches):
        import os as of_worker

        yield from batches
        try:
            of_worker.close(of_worker.open(failed, of_worker.O_CREAT | of_worker.O_EXCL))
        except FileExistsError:
            return
        raise RuntimeError("the first of all tasks fails when its rows are done")

    few = session.createDataFrame(TABLE.slice(0, 2_000)).repartition(4)
    verified = on_spark.verify(few, **CALL, claims="all", columns=["code", "kid", "cti"])
    rows = pa.table(verified.mapInArrow(fails_once, verified.schema).toArrow()).to_pylist()
    assert Path(failed).exists()
    good = [row for row in rows if row["code"] == 0]
    assert len(good) == ANSWERS[:2_000]["code"].to_pylist().count(0)
    ledger = Ledger(open_store(f"sqlite:///{tmp_path / 'ledger.db'}"))
    contents = {bytes(row["kid"]) + bytes(row["cti"]): sha256(token_content(row["token"])).digest() for row in good}
    uses = [Use(key[:8], key[8:], content, b"", NOW) for key, content in contents.items()]
    assert len(uses) == len(good)
    assert {verdict.code for verdict in ledger.decide(uses)} == {ic.Code.OK}
    assert len(ledger) == len(good)
    assert {verdict.code for verdict in ledger.decide(uses)} == {ic.Code.REPLAY_IDENTICAL}


def test_arguments_are_checked_on_the_driver(session):
    frame = session.createDataFrame(TABLE.slice(0, 1))
    with pytest.raises(ic.InputError, match="frame: got Table, expected a frame of Spark"):
        on_spark.verify(TABLE, **CALL)
    with pytest.raises(ic.InputError, match="'Code' already"):
        on_spark.verify(frame.withColumnRenamed("row", "Code"), **CALL)
    for wrong in ({"now": None}, {"token": "tokens"}, {"columns": ["cod"]}, {"audience": "devices"}):
        with pytest.raises(ic.InputError):
            on_spark.verify(frame, **CALL | wrong)


def test_the_same_lines_run_on_spark_connect():
    """In a process of its own: a classic session and a remote one do not share one."""
    program = Path(__file__).parents[1] / "programs" / "spark_connect.py"
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYSPARK_PYTHON": sys.executable},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.splitlines()[-1] == "equal equal"
