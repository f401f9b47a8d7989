"""Frames in, frames out: every kind gives the same answers, beside the rows that were asked."""

import io
import random
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import itron_core as ic
from helpers import DEVICE, KEYRING, NOW, T, token
from itron_core import InputError, frames, schemas
from itron_core.testing import make_route, make_tokens
from reference.build_readings import dlms

MADE = make_tokens(400, now=NOW, refused_share=0.1)
TOKENS = [None if row % 11 == 3 else one for row, one in enumerate(MADE.tokens)]
TABLE = pa.table({"token": pa.array(TOKENS, pa.binary()), "device": MADE.devices, "note": list(range(400))})
CALL = {"now": NOW, "audience": "device"}
ANSWERS = ic.verify_tokens(TOKENS, MADE.keyring, now=NOW, audience=MADE.devices)
# The answers as they stand beside a frame that has a column device.
BESIDE = {"token_device" if name == "device" else name: cells for name, cells in ANSWERS.to_pydict().items()}
ROUTE = make_route(200, now=NOW)
ROUTE_CALL = {"now": NOW, "permissions": ROUTE.permissions}
DECISIONS = ic.process_route(ROUTE.route, ROUTE.keyring, **ROUTE_CALL)


def relation(table):
    connection = duckdb.connect()
    connection.register("given", table)
    return connection.sql("SELECT * FROM given")


def dataset(table):
    return ds.InMemoryDataset(table.to_batches(max_chunksize=64), schema=table.schema)


# What makes a kind of an Arrow table, and what makes an Arrow table of the kind.
KINDS = {
    "pyarrow table": (lambda table: table, lambda given: given),
    "pyarrow batch": (lambda table: table.combine_chunks().to_batches()[0], pa.table),
    "pyarrow dataset": (dataset, lambda given: given.read_all()),
    "pyarrow reader": (lambda table: table.to_reader(max_chunksize=64), lambda given: given.read_all()),
    "polars": (pl.from_arrow, lambda given: given.to_arrow()),
    "polars lazy": (lambda table: pl.from_arrow(table).lazy(), lambda given: given.collect().to_arrow()),
    "polars streaming": (
        lambda table: pl.from_arrow(table).lazy(),
        lambda given: given.collect(engine="streaming").to_arrow(),
    ),
    "pandas": (lambda table: table.to_pandas(), lambda given: pa.Table.from_pandas(given, preserve_index=False)),
    "pandas arrow": (
        lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
        lambda given: pa.Table.from_pandas(given, preserve_index=False),
    ),
    "duckdb": (relation, lambda given: given.to_arrow_table()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_every_kind_has_the_same_answers_beside_its_rows(kind):
    make, back = KINDS[kind]
    given = make(TABLE)
    out = frames.verify(given, MADE.keyring, **CALL)
    if kind != "pyarrow dataset":
        assert type(out) is type(given)
    table = back(out)
    assert table.to_pydict() == TABLE.to_pydict() | BESIDE
    types = [str(of).replace("large_", "").replace("Etc/UTC", "UTC") for of in table.schema.types[3:]]
    assert types == [str(of) for of in pa.schema(schemas.TOKENS).types]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_every_kind_of_route_is_decided_alike(kind):
    make, back = KINDS[kind]
    table = back(frames.process(make(ROUTE.table), ROUTE.keyring, **ROUTE_CALL, names=True, prefix="is_"))
    names = DECISIONS.names().to_pydict()
    assert {name: table[f"is_{name}"].to_pylist() for name in names} == names
    assert table.num_rows == len(ROUTE)
    assert table["device"].to_pylist() == ROUTE.route["device"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_an_empty_frame_has_the_columns(kind):
    make, back = KINDS[kind]
    given = pa.RecordBatch.from_pylist([], TABLE.schema) if kind == "pyarrow batch" else make(TABLE.slice(0, 0))
    assert back(frames.verify(given, MADE.keyring, **CALL)).column_names == [*TABLE.column_names, *BESIDE]


def test_readings_are_opened_beside_their_rows():
    table = pa.table({"telegram": pa.array([b"x", None, bytes(40)], pa.binary()), "payload": [1, 2, 3]})
    wanted = ic.open_readings(table["telegram"], None, profile="cose")
    out = frames.readings(table, None, profile="cose")
    assert out.column_names[2:] == ["code", "assurance", "protection", "device", "counter", "telegram_payload"]
    assert out["code"].to_pylist() == wanted["code"].to_pylist()
    lazy = frames.readings(pl.from_arrow(table).lazy(), None, profile="cose", names=True).collect()
    assert lazy["code"].to_list() == wanted.names()["code"].to_pylist()


def test_counters_that_were_seen_are_asked_of_a_frame():
    """A mapping of devices, as `last_counters` returns it, or a column."""
    keys = ic.derive_keys(ic.MasterKey.generate(), ["ert:1", "ert:2"], utility="UTIL0001")
    telegrams = ic.protect_readings([b"a", b"b"], keys, devices=["ert:1", "ert:2"], counters=[5, 5])
    table = pa.table({"telegram": telegrams.to_pylist(), "floor": [5, None]})
    given = ic.ReadingKeys(["ert:1", "ert:2"], keys)
    wanted = ic.open_readings(table["telegram"], given, profile="cose", counter_floors={"ert:1": 5})["code"].to_pylist()
    assert wanted[0] != wanted[1] == 0
    for asked in ({"counter_floors": {"ert:1": 5}}, {"counter_floor": "floor"}):
        for frame in (table, table.to_pandas(), pl.from_arrow(table)):
            assert pa.table(frames.readings(frame, given, profile="cose", **asked))["code"].to_pylist() == wanted


def test_what_a_reading_needs_row_by_row_is_named():
    rows = [(bytes([at]) * 16, bytes([at + 8]) * 16, bytes([at + 16]) * 8) for at in range(3)]
    table = pa.table(
        {
            "telegram": [dlms(key, authentication, b"message", title=title) for key, authentication, title in rows],
            "key": [key for key, _, _ in rows],
            "authentication": [one for _, one, _ in rows],
            "title": [title for _, _, title in rows],
        }
    )
    call = {"profile": "dlms", "authentication_keys": "authentication", "system_titles": "title"}
    for frame in (table, table.to_reader(max_chunksize=2)):
        out = pa.table(frames.readings(frame, "key", **call))
        assert out["payload"].to_pylist() == [b"message"] * 3
    for wrong in (
        {"counter_floors": [5]},
        {"counter_floors": {}, "counter_floor": "floor"},
        {"counter_floor": ["floor"]},
        {"system_titles": [b"x"] * 3},
        {"authentication_keys": "authentications"},
    ):
        with pytest.raises(InputError, match=f"{min(wrong, key=len)}|{max(wrong, key=len)}"):
            frames.readings(table, "key", **call | wrong)


# The right rows, under any index.


def asked_one_by_one(frame):
    return [
        ic.verify_tokens([row.token], MADE.keyring, now=NOW, audience=[row.device])["code"][0]
        for row in frame.itertuples()
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[frame.note.to_numpy() % 3 == 0],
        lambda frame: frame.sort_values("note", ascending=False),
        lambda frame: frame.sample(frac=1, random_state=5),
        lambda frame: frame.set_index(pd.Index([7] * len(frame))),
        lambda frame: frame.set_index("device", drop=False),
        lambda frame: frame.set_index(pd.MultiIndex.from_arrays([frame.note.to_numpy() % 2, frame.note])),
        lambda frame: pd.concat([frame[:100], frame[:50], frame[200:]]),
        lambda frame: frame.iloc[::-2],
    ],
    ids=["filtered", "sorted", "shuffled", "one label", "devices", "two levels", "repeated", "stepped"],
)
@pytest.mark.parametrize("backed", [False, True], ids=["default", "arrow"])
@pytest.mark.slow
def test_a_pandas_frame_keeps_its_index_and_each_row_its_own_answer(change, backed):
    frame = change(TABLE.to_pandas(types_mapper=pd.ArrowDtype) if backed else TABLE.to_pandas())
    before = frame.copy()
    out = frames.verify(frame, MADE.keyring, **CALL)
    pd.testing.assert_frame_equal(out[["token", "device", "note"]], before)
    pd.testing.assert_frame_equal(frame, before)
    assert out.code.tolist() == asked_one_by_one(frame)


def test_pandas_keeps_integers_beyond_2_to_the_53():
    frame = pd.DataFrame({"token": [token(sequence=2**53 + 1), None]})
    out = frames.verify(frame, KEYRING, now=NOW)
    assert out.sequence[0] == 2**53 + 1
    assert out.sequence.isna().tolist() == [False, True]


def test_the_default_pandas_frame_of_a_route_is_decided():
    """Numbers beside nulls are floats there, flags and tokens are objects; a column of no route may hold anything."""
    frame = pd.DataFrame(ROUTE.route)
    assert frame.session_opened_at.dtype == np.float64
    frame["remark"] = [1, "x", None, b"y"] * 50
    frame[5] = 0
    frame = frame.sample(frac=1, random_state=1)
    out = frames.process(frame, ROUTE.keyring, **ROUTE_CALL)
    assert out.reason.sort_index().tolist() == DECISIONS["reason"].to_pylist()
    assert [*ic.process_route(frame, ROUTE.keyring, **ROUTE_CALL)["reason"]] == out.reason.tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_a_filter_after_a_lazy_step_sees_the_answers(seed):
    rng = random.Random(seed)
    code = rng.choice([0, 1, 302])
    lazy = frames.verify(pl.from_arrow(TABLE).lazy().filter(pl.col("note") > 100), MADE.keyring, **CALL)
    some = lazy.filter(pl.col("code") == code).select("note", "code").collect()
    codes = ANSWERS["code"].to_pylist()
    assert some["note"].to_list() == [row for row in range(101, 400) if codes[row] == code]


# Names.


def test_names_and_prefixes_are_given_on_request():
    out = frames.verify(TABLE, MADE.keyring, **CALL, names=True, prefix="a_", columns=["code", "device"])
    assert out.column_names == ["token", "device", "note", "a_code", "a_device"]
    assert out["a_code"].to_pylist() == ANSWERS.names()["code"].to_pylist()
    assert out.schema.field("a_code").type == pa.string()


@pytest.mark.slow
def test_an_answer_never_takes_the_name_of_a_column():
    once = frames.verify(TABLE, MADE.keyring, **CALL)
    for kind, (make, _) in KINDS.items():
        if kind != "pyarrow dataset":
            with pytest.raises(InputError, match="'code' already; pass another prefix="):
                frames.verify(make(once), MADE.keyring, **CALL)
    with pytest.raises(InputError, match="'reason' already"):
        frames.process(ROUTE.table.append_column("reason", [[0] * 200]), ROUTE.keyring, **ROUTE_CALL)
    # SQL does not tell names apart by their case: DuckDB would give the old column.
    for kind, (make, _) in KINDS.items():
        with pytest.raises(InputError, match="'Code' already"):
            frames.verify(make(TABLE.append_column("Code", [["old"] * 400])), MADE.keyring, **CALL)
        renamed = frames.verify(make(TABLE.rename_columns(["token", "Device", "note"])), MADE.keyring, now=NOW)
        assert "token_device" in KINDS[kind][1](renamed).column_names
    assert "again_code" in frames.verify(once, MADE.keyring, **CALL, prefix="again_").column_names


# Arguments.


def test_one_device_for_all_rows_and_columns_by_name():
    codes = frames.verify(TABLE, MADE.keyring, now=NOW, audience=MADE.devices[1], columns=["code"])["code"].to_pylist()
    assert codes == ic.verify_tokens(TOKENS, MADE.keyring, now=NOW, audience=MADE.devices[1])["code"].to_pylist()
    table = pa.table({"t": [token(epoch=4), token(epoch=5)], "e": [4, 5]})
    for epoch in ("e", 4):
        wanted = ic.verify_tokens(table["t"], KEYRING, now=NOW, epoch=table["e"] if epoch == "e" else 4)
        out = frames.verify(table, KEYRING, now=NOW, token="t", epoch=epoch)
        assert out["code"].to_pylist() == wanted["code"].to_pylist()


@pytest.mark.parametrize(
    "wrong,says",
    [
        ({"token": "tokens"}, "token: got no column 'tokens', expected one of token, device, note"),
        ({"audience": "devices"}, "audience: got no column 'devices'"),
        ({"audience": MADE.devices}, "audience: got list, expected the name of a column, or one device"),
        ({"audience": 5}, "audience: got int, expected the name of a column, or one device"),
        ({"epoch": "epochs"}, "epoch: got no column"),
        ({"epoch": [4]}, "epoch: got list, expected the name of a column, or one number"),
        ({"token": 5}, "token: got int"),
        ({"prefix": None}, "prefix: got"),
        ({"names": 1}, "names: got"),
        ({"now": None}, "now: got"),
        ({"columns": ["cod"]}, 'columns: got "cod"'),
        ({"threads": 0}, "threads"),
        ({"progress": 5}, "progress: got int, expected None or a callable"),
    ],
    ids=str,
)
def test_a_wrong_argument_raises_at_the_call(wrong, says):
    for frame in (TABLE, TABLE.to_pandas(), pl.from_arrow(TABLE)):
        with pytest.raises(InputError, match=says):
            frames.verify(frame, MADE.keyring, **CALL | wrong)


@pytest.mark.parametrize(
    "frame", [None, 5, "frame", {"token": [b""]}, [b""], pd.Series([b""])], ids=lambda one: type(one).__name__
)
def test_what_is_no_frame_raises(frame):
    with pytest.raises(InputError, match="frame: got"):
        frames.verify(frame, KEYRING, now=NOW)


def test_a_frame_of_an_engine_is_told_what_to_do():
    from dask import dataframe
    from datafusion import SessionContext

    for frame, hint in (
        (dataframe.from_pandas(pd.DataFrame({"token": ["x"]}), npartitions=1), "pass this function to frame.map_part"),
        (SessionContext().from_arrow(TABLE), r"pass frame.to_arrow_table\(\)"),
        ({"token": [b""]}, "got dict, expected a table of pandas, Polars, PyArrow, DuckDB or narwhals$"),
    ):
        with pytest.raises(InputError, match=hint):
            frames.verify(frame, KEYRING, now=NOW)


def test_a_frame_without_named_columns_says_so():
    with pytest.raises(InputError, match="got no column 'token', expected a frame whose columns are named by text"):
        frames.verify(pd.DataFrame([[token()]]), KEYRING, now=NOW)


def test_columns_of_one_name_raise():
    frame = pd.DataFrame([[token(), token()]], columns=["token", "token"])
    with pytest.raises(InputError, match="several columns 'token'"):
        frames.verify(frame, KEYRING, now=NOW)
    route = pd.concat([pd.DataFrame(ROUTE.route), pd.DataFrame(ROUTE.route)[["epoch"]]], axis=1)
    for call in (frames.process, ic.process_route):
        with pytest.raises(InputError, match="epoch"):
            call(route, ROUTE.keyring, **ROUTE_CALL)


def test_progress_counts_the_rows():
    told = []
    frames.verify(dataset(TABLE), MADE.keyring, **CALL, progress=told.append).read_all()
    assert told == [64, 128, 192, 256, 320, 384, 400]


# narwhals.


@pytest.mark.slow
def test_a_frame_of_narwhals_comes_back_as_one():
    nw = pytest.importorskip("narwhals")
    for native in (pl.from_arrow(TABLE), TABLE, TABLE.to_pandas(), pl.from_arrow(TABLE).lazy()):
        given = nw.from_native(native)
        out = frames.verify(given, MADE.keyring, **CALL)
        assert type(out) is type(given)
        eager = out.collect() if isinstance(out, nw.LazyFrame) else out
        assert eager["code"].to_list() == BESIDE["code"]


# Streams.


def test_a_stream_keeps_the_columns_and_exports_arrow(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet", row_group_size=100)
    batches = pq.ParquetFile(tmp_path / "t.parquet").iter_batches(100)
    stream = ic.verify_stream(batches, MADE.keyring, token="token", **CALL)
    first = next(stream)
    assert first.to_pydict() == TABLE.slice(0, 100).to_pydict() | {name: cells[:100] for name, cells in BESIDE.items()}
    rest = pa.table(stream)
    assert rest.to_pydict() == TABLE.slice(100).to_pydict() | {name: cells[100:] for name, cells in BESIDE.items()}
    assert list(stream) == []


def test_a_stream_of_bare_results_exports_arrow():
    stream = ic.verify_stream([TOKENS[:3], TOKENS[3:5]], MADE.keyring, now=NOW)
    assert pa.table(stream)["code"].to_pylist() == ANSWERS["code"].to_pylist()[:5]
    assert pa.table(ic.verify_stream([], MADE.keyring, now=NOW)).schema == pa.schema(schemas.TOKENS)
    assert pl.DataFrame(ic.verify_stream([TOKENS], MADE.keyring, now=NOW)).height == 400


def test_batches_of_a_route_are_kept():
    batches = ROUTE.table.to_batches(max_chunksize=64)
    told = []
    stream = ic.process_batches(batches, ROUTE.keyring, **ROUTE_CALL, keep=True, names=True, progress=told.append)
    table = pa.table(stream)
    assert table["reason"].to_pylist() == DECISIONS.names()["reason"].to_pylist()
    assert table.column_names == [*ROUTE.table.column_names, *schemas.ROUTE.names]
    assert told == [64, 128, 192, 200]
    plain = ic.process_batches(batches, ROUTE.keyring, **ROUTE_CALL)
    assert [one.summary()["rows"] for one in plain] == [64, 64, 64, 8]
    assert pa.table(ic.process_batches([], ROUTE.keyring, **ROUTE_CALL)).schema == pa.schema(schemas.ROUTE)


# Ordinary input.


def same(route):
    return ic.process_route(route, ROUTE.keyring, **ROUTE_CALL).to_pydict() == DECISIONS.to_pydict()


@pytest.mark.slow
def test_a_route_as_people_have_it_is_ordinary_input():
    rows = ROUTE.table.to_pylist()
    sparse = [{name: cell for name, cell in row.items() if cell is not None} for row in rows]
    lists = ROUTE.route
    masked = {
        name: np.ma.masked_array([cell or 0 for cell in cells], [cell is None for cell in cells])
        for name, cells in lists.items()
        if name in {"permissions", "session_opened_at", "session_seconds"}
    }
    for route in (
        rows,
        sparse,
        pd.DataFrame(rows),
        pd.DataFrame(rows).to_dict("records"),
        ROUTE.table.to_pandas(),
        {name: pd.DataFrame(lists)[name].to_numpy() for name in lists},
        lists | masked,
        lists | {"device": np.array(lists["device"], "S32")},
        lists | {"device": np.array(lists["device"])},
    ):
        assert same(route)


CSV = "device,device_class,security_level,action,mode,authorization,on_menu,session_opened_at,commands_used,epoch\n"
CSV += "ert:100000001,enhanced,command,read_endpoint,,,,,,\nert:100000002,basic,full,connect_service,,,,,,\n"
# What reads it, and the kind of the frame.
READERS = {
    "pandas": ("pandas", lambda text: pd.read_csv(io.StringIO(text))),
    "pandas nullable": ("pandas", lambda text: pd.read_csv(io.StringIO(text), dtype_backend="numpy_nullable")),
    "pandas arrow": ("pandas", lambda text: pd.read_csv(io.StringIO(text), dtype_backend="pyarrow")),
    "polars": ("polars", lambda text: pl.read_csv(text.encode())),
    "pyarrow": ("pyarrow table", lambda text: pa.csv.read_csv(io.BytesIO(text.encode()))),
    "duckdb": ("duckdb", lambda text: duckdb.connect().read_csv(io.StringIO(text))),
}


@pytest.mark.parametrize("kind,read", READERS.values(), ids=READERS)
@pytest.mark.slow
def test_an_empty_column_of_a_text_file_is_a_column_of_nulls(kind, read):
    """Each reader gives it a type of its own: float64, Int64, null, String."""
    names, *rows = (line.split(",") for line in CSV.splitlines())
    wanted = [{name: cell for name, cell in zip(names, row, strict=True) if cell} for row in rows]
    decided = ic.process_route(wanted, ROUTE.keyring, **ROUTE_CALL)
    out = KINDS[kind][1](frames.process(read(CSV), ROUTE.keyring, **ROUTE_CALL))
    assert out.select(decided.column_names).to_pydict() == decided.to_pydict()


def decided_with(**columns):
    rows = len(next(iter(columns.values())))
    row = {"device": DEVICE, "device_class": "enhanced", "security_level": "command", "action": "connect_service"}
    return ic.process_route(
        {name: [cell] * rows for name, cell in row.items()} | columns, KEYRING, now=T, permissions=31
    )


# A call about a column, and a value whose type is not taken there.
CALLS = {
    "tokens": (lambda given: ic.verify_tokens(given, KEYRING, now=NOW)["code"], 1.5),
    "text": (lambda given: ic.verify_tokens([token()] * len(given), KEYRING, now=NOW, audience=given)["code"], b"x"),
    "integers": (lambda given: ic.verify_tokens([token()] * len(given), KEYRING, now=NOW, epoch=given)["code"], "4"),
    "times": (lambda given: ic.check_sessions(given, [60] * len(given), now=T)["state"], "now"),
    "flags": (lambda given: decided_with(on_menu=given)["reason"], 1),
    "names": (lambda given: decided_with(mode=given)["reason"], True),
}
TYPES = [pa.bool_(), pa.int8(), pa.float64(), pa.string(), pa.large_binary(), pa.binary_view(), pa.timestamp("s")]


@pytest.mark.parametrize("call,foreign", CALLS.values(), ids=CALLS)
def test_a_column_without_a_value_is_one_of_nulls_whatever_its_type(call, foreign):
    wanted = call([None, None]).to_pylist()
    for of in [*TYPES, pa.dictionary(pa.int8(), pa.string())]:
        nulls = pa.array([None, None], of)
        assert call(nulls).to_pylist() == wanted, of
        assert call(pa.chunked_array([nulls[:1], nulls[1:]])).to_pylist() == wanted, of
        assert len(call(nulls[:0])) == 0
    for floats in (np.array([np.nan, np.nan]), pa.array([np.nan, None])):
        assert call(floats).to_pylist() == wanted
    with pytest.raises(InputError, match="got "):
        call(pa.array([None, foreign]))


@pytest.mark.parametrize("rows", [[5], [{"device": DEVICE}, None], [{5: 6}], [{}]], ids=str)
def test_rows_that_are_no_mappings_raise(rows):
    with pytest.raises(InputError, match=r"route|device"):
        ic.process_route(rows, KEYRING, now=NOW, permissions=31)


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.float64("nan")], ids=repr)
def test_what_stands_for_no_value_in_a_list_is_null(missing):
    assert ic.verify_tokens([token(), missing], KEYRING, now=NOW)["code"].to_pylist() == [0, 1]
    assert ic.verify_tokens(pd.Series([token(), missing], dtype=object), KEYRING, now=NOW)["code"].to_pylist() == [0, 1]
    assert ic.verify_tokens([token()] * 2, KEYRING, now=NOW, audience=[DEVICE, missing])["code"].to_pylist() == [0, 0]
    assert ic.verify_tokens([token()] * 2, KEYRING, now=NOW, epoch=[4, missing])["code"].to_pylist() == [0, 0]
    assert ic.check_sessions([T, missing], [60, 60], now=T)["state"].to_pylist() == [0, 4]
    row = {"device": DEVICE, "device_class": "enhanced", "security_level": "command", "action": "connect_service"}
    flags = ic.process_route([row | {"on_menu": False}, row | {"on_menu": missing}], KEYRING, now=T, permissions=31)
    assert flags.names()["reason"].to_pylist() == ["not_on_menu", "secure_command_missing"]


def test_a_series_of_bytes_and_text_is_read_row_by_row():
    mixed = pd.Series([one if row % 2 else one.hex() for row, one in enumerate(MADE.tokens)])
    wanted = ic.verify_tokens(MADE.tokens, MADE.keyring, now=NOW)["code"].to_pylist()
    assert ic.verify_tokens(mixed, MADE.keyring, now=NOW)["code"].to_pylist() == wanted


def test_an_index_of_pandas_is_a_column():
    times = pd.to_datetime([T, None], unit="s", utc=True)
    assert ic.check_sessions(times, [60, 60], now=T)["state"].to_pylist() == [0, 4]
    with pytest.raises(InputError, match="time zone"):
        ic.check_sessions(times.tz_localize(None), [60, 60], now=T)


def test_a_lazy_frame_is_told_to_collect():
    lazy = pl.from_arrow(TABLE).lazy()
    for call in (lambda: ic.verify_tokens(lazy, KEYRING, now=NOW), lambda: same(lazy)):
        with pytest.raises(InputError, match=r"call \.collect\(\) first"):
            call()


@pytest.mark.slow
def test_the_module_loads_no_other_library():
    import subprocess

    loaded = "import sys, itron_core; itron_core.frames.verify, itron_core.schemas.TOKENS; print([m for m in sys.modules if m in "
    loaded += "('pandas', 'polars', 'pyarrow', 'numpy', 'duckdb', 'narwhals')])"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "[]\n"
