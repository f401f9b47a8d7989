"""Commands on a file of a million rows, beside the same in a few lines of PyArrow and the library, each a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Work
from test_readings import wmbus

ROWS = 1_000_000
OPEN = """
import pyarrow as pa, pyarrow.parquet as pq
from itron_core import open_readings
file, writer = pq.ParquetFile("telegrams.parquet"), None
for batch in file.iter_batches(65_536):
    opened = pa.record_batch(open_readings(batch["telegram"], batch["key"], profile="wmbus").names())
    rows = pa.RecordBatch.from_arrays([batch["site"], *opened.columns], names=["site", *opened.schema.names])
    writer = writer or pq.ParquetWriter("script.parquet", rows.schema)
    writer.write_batch(rows)
writer.close()
"""


@pytest.mark.full
def test_readings_open_from_parquet_to_parquet(beside, tmp_path):
    telegrams, keys = wmbus("mode 5")
    times = ROWS // len(telegrams)
    sites = pa.array([f"site {row % 1_000}" for row in range(ROWS)])
    columns = {"site": sites, "telegram": pa.array(telegrams * times), "key": pa.array(keys * times)}
    pq.write_table(pa.table(columns), tmp_path / "telegrams.parquet")
    command = [
        "-m",
        "itron_core",
        "readings",
        "open",
        "telegrams.parquet",
        "--profile",
        "wmbus",
        "-o",
        "opened.parquet",
    ]

    def ours():
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)

    def script():
        subprocess.run([sys.executable, "-c", OPEN], cwd=tmp_path, check=True)

    ours()
    script()
    assert pq.read_table(tmp_path / "opened.parquet").equals(pq.read_table(tmp_path / "script.parquet"))
    what = f"readings open, Parquet to Parquet, {ROWS:,} rows"
    beside(what, "rows", Work(ours, ROWS), at_most=5, script_with_pyarrow=Work(script, ROWS))
