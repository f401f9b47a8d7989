"""Commands on a file of a million rows, beside the same in a few lines of PyArrow and the library, each a process of its own.

A command and its script write the same file: the two are compared before they are timed.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from conftest import NOW, Work
from itron_core.testing import make_route, make_tokens
from test_readings import wmbus

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 1_000_000
DISTINCT = 20_000

# What a user would write: the file in batches, for each batch the columns that are kept and those that are new.
SCRIPT = """
import pyarrow as pa, pyarrow.parquet as pq
import itron_core as ic
def text(file): return open(file).read()
{setup}
def answers(batch):
    {answers}
file, writer = pq.ParquetFile("given.parquet"), None
for batch in file.iter_batches(65_536):
    rows = answers(batch)
    writer = writer or pq.ParquetWriter("script.parquet", rows.schema)
    writer.write_batch(rows)
writer.close()
"""
BESIDE = "pa.RecordBatch.from_arrays([*batch.columns, *made.columns], names=[*batch.schema.names, *made.schema.names])"


def repeated(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table] * -(-ROWS // len(table))).slice(0, ROWS).combine_chunks()


def devices() -> pa.Table:
    return pa.table({"device": [f"ert:{100_000_000 + row}" for row in range(ROWS)]})


def verify(folder: Path) -> tuple[pa.Table, str, str, str]:
    made = make_tokens(DISTINCT, now=NOW, refused_share=0.01)
    (folder / "keyring.json").write_text(made.keyring.to_jwks())
    given = repeated(made.table.select(["token"])).append_column("stop", pa.array(range(ROWS)))
    setup = 'ring = ic.Keyring.from_jwks(text("keyring.json"))'
    answers = f"""results = ic.verify_tokens(batch["token"], ring, now={NOW})
    made = pa.record_batch(results).add_column(1, "name", results.names()["code"])
    batch = batch.drop_columns(["token"])
    return {BESIDE}"""
    return given, f"verify given.parquet --keyring keyring.json --now {NOW}", setup, answers


def preflight(folder: Path) -> tuple[pa.Table, str, str, str]:
    made = make_route(DISTINCT, now=NOW)
    (folder / "keyring.json").write_text(made.keyring.to_jwks())
    setup = 'ring = ic.Keyring.from_jwks(text("keyring.json"))'
    answers = f"""results = ic.process_route(batch, ring, now={NOW}, permissions=31)
    named = pa.record_batch(results.names())
    made = pa.record_batch(results).drop_columns(["decision", "reason"])
    made = made.add_column(0, "decision", named["decision"]).add_column(1, "reason", named["reason"])
    batch = batch.drop_columns(["authorization", "secure_command", "reading_key"])
    return {BESIDE}"""
    command = f"preflight given.parquet --keyring keyring.json --permissions all --now {NOW}"
    return repeated(made.table), command, setup, answers


def derive(folder: Path) -> tuple[pa.Table, str, str, str]:
    (folder / "master.hex").write_text(bytes(range(32)).hex())
    (folder / "master.hex").chmod(0o600)
    setup = 'master = ic.MasterKey.from_bytes(bytes.fromhex(text("master.hex")))'
    answers = """keys = ic.derive_keys(master, batch["device"], utility=b"UTIL", key_version=1)
    values = pa.Array.from_buffers(pa.binary(4), len(keys), [None, pa.py_buffer(memoryview(keys.check_values()).cast("B"))])
    return pa.record_batch({"device": batch["device"], "check_value": values.cast(pa.binary())})"""
    return devices(), "derive given.parquet --master master.hex --utility UTIL", setup, answers


def issue(folder: Path) -> tuple[pa.Table, str, str, str]:
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)
    given = devices()
    for name, column in {"actions": [1] * ROWS, "sequence": range(ROWS), "epoch": [0] * ROWS}.items():
        given = given.append_column(name, pa.array(column))
    given = given.append_column("session_seconds", pa.array([600] * ROWS))
    setup = 'signer = ic.LocalSigner.from_pem(text("key.pem").encode())'
    answers = f"""tokens = ic.issue_tokens(batch, signer, now={NOW}, token_type="authorization")
    return pa.record_batch({{"device": batch["device"], "token": pa.array(tokens)}})"""
    return given, f"issue given.parquet --key key.pem --now {NOW}", setup, answers


def readings_open(_folder: Path) -> tuple[pa.Table, str, str, str]:
    telegrams, keys = wmbus("mode 5")
    times = ROWS // len(telegrams)
    sites = pa.array([f"site {row % 1_000}" for row in range(ROWS)])
    given = pa.table({"site": sites, "telegram": pa.array(telegrams * times), "key": pa.array(keys * times)})
    answers = f"""made = pa.record_batch(ic.open_readings(batch["telegram"], batch["key"], profile="wmbus").names())
    batch = batch.select(["site"])
    return {BESIDE}"""
    return given, "readings open given.parquet --profile wmbus", "", answers


@pytest.mark.full
@pytest.mark.parametrize("made,rounds", [(verify, 5), (preflight, 5), (derive, 5), (issue, 2), (readings_open, 5)])
def test_from_parquet_to_parquet(beside, tmp_path, made, rounds):
    given, command, setup, answers = made(tmp_path)
    pq.write_table(given, tmp_path / "given.parquet")
    arguments = ["-m", "itron_core", *command.split(), "--output", "command.parquet"]
    lines = SCRIPT.format(setup=setup, answers=answers)

    def ours():
        # 1 says that rows were refused: that is an answer.
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=False, stdout=subprocess.DEVNULL)
        assert done.returncode in {0, 1}

    def script():
        subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, check=True)

    ours()
    script()
    assert pq.read_table(tmp_path / "command.parquet").equals(pq.read_table(tmp_path / "script.parquet"))
    what = f"{made.__name__.replace('_', ' ')}, Parquet to Parquet, {ROWS:,} rows"
    beside(what, "rows", Work(ours, ROWS), rounds=rounds, at_least=1 / 1.5, script_with_pyarrow=Work(script, ROWS))
