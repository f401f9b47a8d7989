"""Engines on one machine: functions of SQL and expressions give the answers of one call, row for row."""

import subprocess
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import itron_core as ic
from helpers import NOW
from itron_core import InputError, frames
from itron_core.integrations import datafusion as on_datafusion
from itron_core.integrations import duckdb as on_duckdb
from itron_core.integrations import polars as on_polars
from itron_core.testing import make_route, make_tokens

pytestmark = pytest.mark.slow

MADE = make_tokens(5_000, now=NOW, refused_share=0.05)
DEVICES = ["ert:1" if row % 13 == 5 else device for row, device in enumerate(MADE.devices)]
TABLE = pa.table(
    {
        "row": list(range(len(MADE))),
        "token": pa.array([None if row % 7 == 2 else one for row, one in enumerate(MADE.tokens)], pa.binary()),
        "device": [None if row % 11 == 4 else device for row, device in enumerate(DEVICES)],
    }
)
ANSWERS = ic.verify_tokens(TABLE["token"], MADE.keyring, now=NOW, audience=TABLE["device"])
WANTED = ANSWERS.to_pydict()


@pytest.fixture
def duck():
    connection = duckdb.connect()
    connection.register("t", TABLE)
    return connection


@pytest.fixture
def fusion():
    import datafusion

    context = datafusion.SessionContext()
    context.register_record_batches("t", [TABLE.to_batches()])
    return context


def test_all_engines_return_equal_tables(duck, fusion):
    """One line an engine; the tables are equal, their types among them."""
    on_duckdb.register(duck, MADE.keyring, now=NOW)
    on_fusion = on_datafusion.register(fusion, MADE.keyring, now=NOW)
    assert on_fusion is not None
    polars = pl.from_arrow(TABLE)
    call = {"keyring": MADE.keyring, "now": NOW, "audience": "device"}
    beside = {
        "pyarrow": frames.verify(TABLE, **call),
        "polars": frames.verify(polars, **call).to_arrow(),
        "polars lazy": frames.verify(polars.lazy(), **call).collect(engine="streaming").to_arrow(),
        "pandas": pa.Table.from_pandas(frames.verify(TABLE.to_pandas(), **call)),
        "duckdb": frames.verify(duck.sql("FROM t"), **call).to_arrow_table(),
    }
    asked = on_polars.verify_expr("token", MADE.keyring, now=NOW, audience="device")
    alone = {
        "sql of duckdb": duck.sql("SELECT unnest(verify_token(token, device)) FROM t").to_arrow_table(),
        "sql of datafusion": fusion.sql(
            "SELECT unnest(v) FROM (SELECT row, verify_token(token, device) AS v FROM t ORDER BY row)"
        ).to_arrow_table(),
        "expression of polars": polars.lazy().select(asked).unnest("verified").collect().to_arrow(),
    }
    wanted = TABLE.to_pydict() | {"token_device" if name == "device" else name: cells for name, cells in WANTED.items()}
    for engine, table in beside.items():
        assert table.to_pydict() == wanted, engine
    types = [str(of) for of in ANSWERS.to_arrow().schema.types]
    for engine, table in alone.items():
        assert dict(zip(WANTED, table.to_pydict().values(), strict=True)) == WANTED, engine
        assert [str(of).replace("Etc/", "").replace("large_", "") for of in table.schema.types] == types, engine


def test_duckdb_calls_with_2048_rows_and_loses_none(duck, monkeypatch):
    sizes = []
    asked = on_duckdb.TokenFunction.__call__

    def counted(self, tokens, devices):
        sizes.append(len(tokens))
        return asked(self, tokens, devices)

    monkeypatch.setattr(on_duckdb.TokenFunction, "__call__", counted)
    on_duckdb.register(duck, MADE.keyring, now=NOW, columns=["code"], names=True)
    got = duck.sql("SELECT row, verify_token(token, device).code AS code FROM t ORDER BY row").fetchall()
    assert got == list(enumerate(ANSWERS.names()["code"]))
    assert sum(sizes) == len(TABLE)
    assert max(sizes) <= 2_048


def test_a_null_device_is_not_asked(duck):
    on_duckdb.register(duck, MADE.keyring, now=NOW, name="checked")
    codes = ic.verify_tokens(TABLE["token"], MADE.keyring, now=NOW)["code"].to_pylist()
    assert [row[0] for row in duck.sql("SELECT checked(token, NULL).code FROM t ORDER BY row").fetchall()] == codes


def test_an_expression_decides_a_route():
    route = make_route(500, now=NOW)
    decisions = ic.process_route(route.route, route.keyring, now=NOW, permissions=route.permissions)
    asked = on_polars.process_expr(route.keyring, now=NOW, permissions=route.permissions, names=True)
    frame = pl.from_arrow(route.table)
    assert frame.select(asked).unnest("decided").to_dict(as_series=False) == decisions.names().to_pydict()
    few = on_polars.process_expr(
        route.keyring, now=NOW, permissions=route.permissions, route=pl.struct(pl.all()), columns=["reason"], name="r"
    )
    assert frame.lazy().select(few).collect()["r"].struct.field("reason").to_list() == decisions["reason"].to_pylist()
    named = on_polars.process_expr(route.keyring, now=NOW, permissions=route.permissions, route="stops")
    stops = frame.select(pl.struct(pl.all()).alias("stops")).select(named).unnest("decided")
    assert stops.to_dict(as_series=False) == decisions.to_pydict()


def test_the_device_of_a_function_is_its_argument(duck, fusion):
    for register in (
        lambda **call: on_duckdb.register(duck, **call),
        lambda **call: on_datafusion.register(fusion, **call),
    ):
        with pytest.raises(InputError, match="audience: got an option, expected the second argument of the function"):
            register(keyring=MADE.keyring, now=NOW, audience="ert:1")


def test_a_route_in_duckdb_is_a_frame(duck):
    route = make_route(3_000, now=NOW)
    duck.register("route", route.table)
    decided = frames.process(duck.sql("FROM route"), route.keyring, now=NOW, permissions=route.permissions, names=True)
    wanted = ic.process_route(route.route, route.keyring, now=NOW, permissions=route.permissions).summary()["reason"]
    assert dict(decided.aggregate("reason, count(*)").fetchall()) == wanted


def test_a_relation_is_answered_whatever_tables_there_are(duck):
    for name in ("answers", "asked", "given", "frame", "table_"):
        duck.sql(f"CREATE TABLE {name} AS SELECT 7 AS code")
    out = frames.verify(duck.sql("FROM t WHERE row < 9"), MADE.keyring, now=NOW, audience="device").order("row")
    assert [row[0] for row in out.project("code").fetchall()] == WANTED["code"][:9]


@pytest.mark.parametrize(
    "wrong", [{"now": None}, {"columns": ["cod"]}, {"names": 1}, {"skew": -1}, {"epoch": [4]}, {"epoch": "e"}], ids=str
)
def test_a_wrong_argument_raises_where_the_function_is_made(duck, wrong):
    call = {"now": NOW} | wrong
    with pytest.raises(InputError):
        on_duckdb.register(duck, MADE.keyring, **call)
    with pytest.raises(InputError):
        on_polars.verify_expr("token", MADE.keyring, **call)


# Of Dask's own use of pandas.
of_dask = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
CALL = {"keyring": MADE.keyring, "now": NOW, "audience": "device"}
BESIDE = TABLE.to_pydict() | {"token_device" if name == "device" else name: of for name, of in WANTED.items()}


def read_by_dask(table, path, **options):
    from dask import dataframe

    pq.write_table(table, path, row_group_size=700)
    frame = dataframe.read_parquet(path, split_row_groups=True, **options)
    assert frame.npartitions > 1
    return frame


@of_dask
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask_reads_parquet_and_finds_the_types_by_itself(tmp_path, scheduler):
    """The recipe of docs/frames.md."""
    given = read_by_dask(TABLE, tmp_path / "tokens.parquet", dtype_backend="pyarrow")
    verified = given.map_partitions(frames.verify, **CALL)
    got = verified.compute(scheduler=scheduler)
    assert pa.Table.from_pandas(got, preserve_index=False).to_pydict() == BESIDE
    assert got.dtypes.to_dict() == verified.dtypes.to_dict()


@of_dask
def test_dask_decides_a_route_of_parquet(tmp_path):
    route = make_route(3_000, now=NOW)
    given = read_by_dask(route.table, tmp_path / "route.parquet", dtype_backend="pyarrow")
    call = {"keyring": route.keyring, "now": NOW, "permissions": route.permissions, "names": True, "prefix": "is_"}
    decided = given.map_partitions(frames.process, **call)
    got = pa.Table.from_pandas(decided.compute(scheduler="threads"), preserve_index=False)
    assert got.to_pydict() == frames.process(route.table, **call).to_pydict()


@of_dask
def test_dask_takes_the_types_of_no_rows_where_bytes_are_objects(tmp_path):
    given = read_by_dask(TABLE, tmp_path / "tokens.parquet")
    assert str(given.dtypes["token"]) == "object"
    with pytest.raises(ValueError, match="Metadata inference failed"):
        given.map_partitions(frames.verify, **CALL)
    types = frames.verify(pd.DataFrame(given.head(0)), **CALL)
    got = given.map_partitions(frames.verify, **CALL, meta=types).compute(scheduler="threads")
    assert pa.Table.from_pandas(got, preserve_index=False).to_pydict() == BESIDE


def test_daft_gives_and_takes_arrow_tables():
    daft = pytest.importorskip("daft", reason="daft is not installed: make engines")
    given = daft.from_arrow(TABLE).where(daft.col("row") % 3 != 1).to_arrow()
    got = daft.from_arrow(frames.verify(given, **CALL)).sort("row").to_pydict()
    assert got == {name: [cell for row, cell in enumerate(cells) if row % 3 != 1] for name, cells in BESIDE.items()}


def test_each_adapter_names_the_extra_that_is_missing():
    for engine, call in {
        "spark": "register(None, KEYRING, now=1795000000)",
        "duckdb": "register(None, KEYRING, now=1795000000)",
        "datafusion": "register(None, KEYRING, now=1795000000)",
        "polars": "verify_expr('token', KEYRING, now=1795000000)",
    }.items():
        hidden = [{"spark": "pyspark"}.get(engine, engine)] if engine != "duckdb" else ["pyarrow"]
        program = (
            f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"
            "from itron_core import Keyring; KEYRING = Keyring([])\n"
            f"from itron_core.integrations import {engine}\n"
            f"loaded = {{'pyspark', 'duckdb', 'datafusion', 'polars', 'pyarrow'}} & {{name for name in sys.modules if sys.modules[name]}}\n"
            "assert not loaded, loaded\n"
            f"try: {engine}.{call}\n"
            "except ImportError as error: print(error)\n"
        )
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        assert f"run: pip install 'itron-core[{engine}]'" in said
