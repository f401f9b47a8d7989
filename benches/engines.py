"""Verify a table in each engine beside plain PyArrow, in turn; print the ratio of each: `python benches/engines.py [ROWS]`.

Asked: at most 1.3 for frames and functions; a DuckDB relation copies its rows out and in. With `--spark`, Spark too (`make engines`
installs it): asked is at most 1.2 s per million rows over one process, most of which Spark takes for a kernel that does nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa

from itron_core import frames, verify_tokens
from itron_core.integrations import duckdb as on_duckdb
from itron_core.integrations.polars import verify_expr
from itron_core.testing import make_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NOW = 1_795_000_000
DISTINCT = 20_000
ROUNDS = 9


def tables(rows: int) -> tuple[Any, pa.Table]:
    made = make_tokens(DISTINCT, now=NOW, refused_share=0.01)
    return made.keyring, pa.concat_tables([made.table] * -(-rows // DISTINCT)).slice(0, rows).combine_chunks()


def engines(keyring: Any, table: pa.Table) -> dict[str, Callable[[], Any]]:
    """Return a call for each engine; the first is plain PyArrow, and each engine's rows are in its memory before."""
    call = {"keyring": keyring, "now": NOW, "audience": "device"}
    polars, lazy = pl.from_arrow(table), pl.from_arrow(table).lazy()
    backed, default = table.to_pandas(types_mapper=pd.ArrowDtype), table.to_pandas()
    connection = duckdb.connect()
    connection.register("given", table)
    connection.sql("CREATE TABLE t AS SELECT * FROM given")
    on_duckdb.register(connection, keyring, now=NOW)
    expression = verify_expr("token", keyring, now=NOW, audience="device")
    functions = {
        "datafusion, sql": lambda: fusion.sql(
            "SELECT unnest(v) FROM (SELECT verify_token(token, device) AS v FROM t)"
        ).to_arrow_table()
    }
    try:
        import datafusion

        from itron_core.integrations import datafusion as on_datafusion

        fusion = datafusion.SessionContext()
        fusion.register_record_batches("t", [table.to_batches(max_chunksize=65_536)])
        on_datafusion.register(fusion, keyring, now=NOW)
    except ImportError:
        functions = {}
    return {
        "plain pyarrow": lambda: pa.table(verify_tokens(table["token"], keyring, now=NOW, audience=table["device"])),
        "pyarrow": lambda: frames.verify(table, **call),
        "polars": lambda: frames.verify(polars, **call),
        "polars lazy": lambda: frames.verify(lazy, **call).collect(),
        "polars streaming": lambda: frames.verify(lazy, **call).collect(engine="streaming"),
        "polars, expression": lambda: polars.select(expression),
        "pandas, arrow-backed": lambda: frames.verify(backed, **call),
        "pandas, default": lambda: frames.verify(default, **call),
        "duckdb, sql": lambda: connection.sql("SELECT unnest(verify_token(token, device)) FROM t").to_arrow_table(),
        "duckdb, relation": lambda: frames.verify(connection.sql("FROM t"), **call).to_arrow_table(),
        **functions,
    }


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(calls: dict[str, Callable[[], Any]], *, warm: int) -> dict[str, list[float]]:
    """Return the seconds of each call in each round, after some rounds that do not count."""
    took = [{name: seconds(call) for name, call in calls.items()} for _ in range(warm + ROUNDS)][warm:]
    return {name: [each[name] for each in took] for name in calls}


def on_spark(keyring: Any, table: pa.Table) -> None:
    """Print the seconds that Spark takes over one process: with a kernel that does nothing, and with ours.

    Spark counts the codes of each. Its first rounds are slow, until the Java machine has compiled what runs often.
    """
    import os

    from pyspark.sql import SparkSession

    from itron_core.integrations import spark

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    given = session.createDataFrame(table).repartition(8).cache()
    verified = spark.verify(given, keyring, now=NOW, audience="device", columns=["code"])
    empty = given.mapInArrow(zeros, verified.schema)
    calls = {
        "one process": lambda: verify_tokens(table["token"], keyring, now=NOW, audience=table["device"]),
        "spark, empty kernel": lambda: empty.groupBy("code").count().collect(),
        "spark": lambda: verified.groupBy("code").count().collect(),
    }
    took = in_turn(calls, warm=4)
    session.stop()
    for name, each in took.items():
        over = statistics.median(mine - other for mine, other in zip(each, took["one process"], strict=True))
        print(f"{name:22} {statistics.median(each):8.3f} s  {over:+5.2f} s over one process")


def zeros(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.append_column("code", pa.nulls(len(batch), pa.int16()).fill_null(0))


def main(arguments: list[str]) -> None:
    numbers = [int(argument) for argument in arguments if argument.isdigit()]
    keyring, table = tables(numbers[0] if numbers else 1_000_000)
    took = in_turn(engines(keyring, table), warm=1)
    plain = took["plain pyarrow"]
    for name, each in took.items():
        ratio = statistics.median(mine / other for mine, other in zip(each, plain, strict=True))
        print(f"{name:22} {statistics.median(each):8.3f} s  {ratio:5.2f}")
    if "--spark" in arguments:
        on_spark(keyring, table)


if __name__ == "__main__":
    main(sys.argv[1:])
