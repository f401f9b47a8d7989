"""Results as other libraries have them: arrays, frames, rows, slices, pickles, and what a screen shows."""

import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import itron_core as ic
from helpers import DEVICE, KEYRING, NOW, token
from itron_core import InputError, schemas
from itron_core.testing import make_route, make_tokens

ROUTE = make_route(300, now=NOW)
DECISIONS = ic.process_route(ROUTE.route, ROUTE.keyring, now=NOW, permissions=ROUTE.permissions)
GIVEN = [token(), None, b"x", token(device="ert:2"), token(sequence=2**53 + 1)] * 4
TOKENS = ic.verify_tokens(GIVEN, KEYRING, now=NOW, audience=[DEVICE] * len(GIVEN))
READINGS = ic.open_readings([b"x", None, bytes(40)], None, profile="cose", allow_plain=True)
EVERY = [
    TOKENS,
    DECISIONS,
    READINGS,
    READINGS.devices(),
    DECISIONS.requests(),
    DECISIONS.names(),
    ic.check_sessions([NOW, None], [60, 60], now=NOW),
    ic.policy_table(),
    ic.verify_tokens(GIVEN, KEYRING, now=NOW, claims="all"),
]
SCHEMAS = [
    (schemas.TOKENS, TOKENS),
    (schemas.TOKENS_ALL, EVERY[-1]),
    (schemas.ROUTE, DECISIONS),
    (schemas.READINGS, READINGS),
]
ids = [type(results).__name__ for results in EVERY]


# Arrays.


def test_a_column_is_an_array_of_its_own_type():
    codes = np.asarray(TOKENS["code"])
    assert codes.dtype == np.int16
    assert codes.tolist() == TOKENS["code"].to_pylist()
    assert np.shares_memory(codes, np.asarray(TOKENS["code"]))
    assert not codes.flags.writeable
    assert np.asarray(DECISIONS["unverified"]).dtype == bool


def test_times_are_datetime64_with_nat_for_null():
    times = np.asarray(TOKENS["expires_at"])
    assert times.dtype == "datetime64[us]"
    assert np.isnat(times).tolist() == [moment is None for moment in TOKENS["expires_at"]]
    assert times[0] == np.datetime64(TOKENS["expires_at"][0].replace(tzinfo=None))
    whole = ic.verify_tokens([token()] * 3, KEYRING, now=NOW)["expires_at"]
    assert np.asarray(whole).dtype == "datetime64[us]"
    assert np.shares_memory(np.asarray(whole), np.asarray(whole))


def test_integers_beside_nulls_are_objects_and_exact():
    numbers = np.asarray(TOKENS["sequence"])
    assert numbers.dtype == object
    assert numbers.tolist() == TOKENS["sequence"].to_pylist()
    assert 2**53 + 1 in numbers


def test_an_array_is_copied_when_asked_and_never_in_silence():
    code, kid = TOKENS["code"], TOKENS["kid"]
    assert np.array(code).flags.writeable
    assert np.asarray(code, np.int64).dtype == np.int64
    assert np.asarray(code, copy=False).dtype == np.int16
    for column, dtype in ((kid, None), (code, np.int64), (TOKENS["expires_at"], None)):
        with pytest.raises(ValueError, match="copy"):
            np.asarray(column, dtype, copy=False)


# Frames.


@pytest.mark.parametrize("results", EVERY, ids=ids)
def test_results_are_tables_of_other_libraries(results):
    wanted = results.to_pydict()
    assert results.to_arrow().to_pydict() == wanted
    assert results.to_polars().to_dict(as_series=False) == wanted
    frame = results.to_pandas()
    assert pa.Table.from_pandas(frame, preserve_index=False).to_pydict() == wanted
    for name in results.column_names:
        assert results[name].to_arrow().to_pylist() == wanted[name]
        assert results[name].to_polars().to_list() == wanted[name]
        assert results[name].to_pandas().name == name


def test_pandas_keeps_integers_beyond_2_to_the_53():
    assert 2**53 + 1 in TOKENS.to_pandas()["sequence"].dropna().tolist()


def test_a_frame_takes_the_index_that_was_asked():
    index = [f"row {at}" for at in range(len(TOKENS))]
    assert TOKENS.to_pandas(index=index).index.tolist() == index
    assert TOKENS["code"].to_pandas(index=pd.Index(index)).index.tolist() == index
    for wrong in ([1], range(len(TOKENS) + 1)):
        with pytest.raises(InputError, match="index: got"):
            TOKENS.to_pandas(index=wrong)


def test_a_missing_library_is_named_with_its_command(monkeypatch):
    for library, convert in (("polars", TOKENS.to_polars), ("pandas", TOKENS.to_pandas)):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(ImportError, match=f"needs {library}; run: pip install"):
            convert()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow; run: pip install 'itron-core\[io\]'"):
        TOKENS.to_arrow()


# Rows and slices.


@pytest.mark.parametrize("results", EVERY, ids=ids)
def test_a_row_is_its_cells_by_name(results):
    columns = results.to_pydict()
    for row in range(min(len(results), 5)):
        wanted = {name: cells[row] for name, cells in columns.items()}
        assert results.row(row) == results.row(row - len(results)) == wanted
    for outside in (len(results), -len(results) - 1):
        with pytest.raises(IndexError):
            results.row(outside)


@pytest.mark.parametrize("results", EVERY, ids=ids)
@pytest.mark.parametrize("part", [slice(0), slice(1, None), slice(2, 9), slice(-3, None), slice(5, 2)], ids=str)
def test_a_slice_is_results_of_the_same_kind(results, part):
    some = results[part]
    assert type(some) is type(results)
    wanted = {name: cells[part] for name, cells in results.to_pydict().items()}
    assert some.to_pydict() == pa.table(some).to_pydict() == some[:].to_pydict() == wanted
    assert some.names().to_pydict() == {name: cells[part] for name, cells in results.names().to_pydict().items()}
    for name in results.column_names:
        assert some[name][1:].to_pylist() == results[name][part][1:].to_pylist()
        assert some[name].null_count == wanted[name].count(None)
    for step in (2, -1):
        for sliced in (results, results[results.column_names[0]]):
            with pytest.raises(IndexError, match=rf"instead: \.to_arrow\(\)\[::{step}\]"):
                sliced[::step]
        assert results.to_arrow()[::step].to_pydict() == {name: c[::step] for name, c in results.to_pydict().items()}


def test_a_slice_explains_and_requests_its_own_rows():
    part = DECISIONS[100:150]
    for row in range(50):
        assert part.explain(row) == DECISIONS.explain(100 + row)
    whole = [row for row in DECISIONS.requests().to_arrow().to_pylist() if 100 <= row["row"] < 150]
    assert whole
    assert part.requests().to_arrow().to_pylist() == [row | {"row": row["row"] - 100} for row in whole]
    assert sum(part.summary()["security_level"].values()) == 50
    assert READINGS[1:].explain(0) == READINGS.explain(1)


# Pickles.


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("results", EVERY, ids=ids)
def test_results_are_pickled_whole_and_in_slices(results, protocol):
    for one in (results, results[1:4], results[:0]):
        again = pickle.loads(pickle.dumps(one, protocol))
        assert type(again) is type(one)
        assert pa.table(again).equals(pa.table(one))
        assert again.summary() == one.summary()
        assert [again.explain(row) for row in range(min(len(one), 3))] == [
            one.explain(row) for row in range(min(len(one), 3))
        ]
        for name in one.column_names:
            column = pickle.loads(pickle.dumps(one[name], protocol))
            assert (column.name, column.to_pylist()) == (name, one[name].to_pylist())


def test_pickled_decisions_still_say_what_to_request():
    again = pickle.loads(pickle.dumps(DECISIONS[20:80]))
    assert again.requests().to_pydict() == DECISIONS[20:80].requests().to_pydict()
    assert again.ignored_columns == DECISIONS.ignored_columns


@pytest.mark.slow
def test_results_come_out_of_a_pool_of_processes():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        results = pool.submit(ic.verify_tokens, GIVEN, KEYRING, now=NOW, audience=[DEVICE] * len(GIVEN)).result()
    assert results.to_pydict() == TOKENS.to_pydict()


def test_a_changed_pickle_is_refused_and_never_read_beyond_its_bytes():
    """Ends that fall or lie outside, text that is no UTF-8, other lengths: none makes a column that others trust."""
    restore = ic.Column._restore
    ends = b"".join(at.to_bytes(8, "little") for at in (2, 3))
    assert restore("a", 2, ("string", None, [ends, b"abc"])).to_pylist() == ["ab", "c"]
    for rows, state in [
        (2, ("string", None, [ends, b"ab"])),
        (2, ("string", None, [ends[::-1], b"abc"])),
        (2, ("string", None, [ends[8:] + ends[:8], b"abc"])),
        (2, ("string", None, [ends, b"\xff\xfec"])),
        (2, ("string", None, [ends, b"a\xc3\xa4"])),
        (3, ("string", None, [ends, b"abc"])),
        (1, ("int16", None, [b"abc"])),
        (1, ("int16", b"", [b"ab"])),
        (9, ("bool", None, [b"a"])),
        (1, ("decimal", None, [b"ab"])),
        (1, ("int16", None, [])),
        (1, 5),
    ]:
        with pytest.raises(InputError, match="state"):
            restore("a", rows, state)
    for state in (5, (1, [("a", ("int16", None, [b"abcd"]))]), (2, [("a", ("int8", None, [b"abc"]))])):
        with pytest.raises(InputError, match="state"):
            ic.TokenResults._restore(state)


# What a screen shows.


def test_a_repr_fits_a_screen():
    for results in EVERY:
        assert len(repr(results)) < 600
        for name in results.column_names:
            assert len(repr(results[name])) < 600
    column = ic.issue_tokens(
        {"device": [DEVICE] * 50, "actions": [1] * 50, "sequence": [1] * 50, "epoch": [0] * 50},
        ic.LocalSigner.generate(),
        now=NOW,
    )
    assert len(repr(column)) < 600
    assert "bytes" in repr(column)
    assert "ert:100000001" in repr(TOKENS["device"])
    assert len(repr(make_tokens(50, now=NOW))) < 600


def test_a_column_of_keys_shows_none_and_is_not_pickled():
    keys = ic.derive_keys(ic.MasterKey.from_bytes(bytes(range(32))), [DEVICE], utility="U")
    for column in (keys.to_arrow(), keys.to_arrow()[:1]):
        for form in (str, repr):
            assert keys.key(0).hex()[:8] not in form(column)
            assert repr(keys.key(0))[2:8] not in form(column)
        with pytest.raises(TypeError, match="secrets"):
            pickle.dumps(column)
        assert column.to_pylist() == [keys.key(0)]


def test_html_has_names_counts_and_no_markup_of_devices():
    html = TOKENS._repr_html_()
    assert "code: ok 8" in html
    assert ">too_small<" in html
    assert "decision: allowed" in DECISIONS._repr_html_()
    assert "code:" in READINGS._repr_html_()
    hostile = ROUTE.route | {"device": ["<script>alert(1)</script>"] * 300}
    shown = ic.process_route(hostile, KEYRING, now=NOW, permissions=31)
    assert "<script>" not in shown._repr_html_()
    assert "&lt;script&gt;" in shown._repr_html_()


# Only the columns that are asked.


@pytest.mark.parametrize("chosen", [["code"], ["device", "code"], ["cti"], ["key", "kid", "sequence"], []], ids=str)
def test_only_the_columns_that_are_asked_are_made(chosen):
    every = EVERY[-1]
    some = ic.verify_tokens(GIVEN, KEYRING, now=NOW, columns=chosen)
    assert some.column_names == chosen
    assert some.to_pydict() == {name: every[name].to_pylist() for name in chosen}
    assert len(some) == len(GIVEN)


@pytest.mark.parametrize("name", schemas.ROUTE.names)
def test_each_column_of_a_route_can_be_asked_alone(name):
    call = {"now": NOW, "permissions": ROUTE.permissions, "columns": [name]}
    some = ic.process_route(ROUTE.route, ROUTE.keyring, **call)
    assert some.to_pydict() == {name: DECISIONS[name].to_pylist()}


@pytest.mark.parametrize("name", schemas.READINGS.names)
def test_each_column_of_readings_can_be_asked_alone(name):
    some = ic.open_readings([b"x", None, bytes(40)], None, profile="cose", allow_plain=True, columns=[name])
    assert some.to_pydict() == {name: READINGS[name].to_pylist()}
    with pytest.raises(InputError, match="columns"):
        some.explain(0)


def test_what_needs_a_column_that_was_left_out_raises():
    some = ic.process_route(ROUTE.route, ROUTE.keyring, now=NOW, permissions=ROUTE.permissions, columns=["decision"])
    for call in (some.requests, some.summary, lambda: some.explain(0)):
        with pytest.raises(InputError, match="columns"):
            call()


@pytest.mark.parametrize("wrong", ["code", ["cod"], ["code", "code"], [5], 5], ids=str)
def test_columns_that_there_are_not_raise(wrong):
    with pytest.raises(InputError, match="columns: got"):
        ic.verify_tokens([], KEYRING, now=NOW, columns=wrong)


# Types before a call.


@pytest.mark.parametrize("schema,results", SCHEMAS, ids=lambda one: type(one).__name__)
def test_a_schema_is_that_of_the_results(schema, results):
    assert pa.schema(schema) == pa.table(results).schema
    assert schema.polars() == results.to_polars().schema
    assert schema.names == results.column_names
    assert schema.types == [results[name].type for name in results.column_names]
    assert schema.named().names == schema.names
    assert pa.schema(schema.named()) == pa.table(results.names()).schema
    assert schema.prefixed("x ").names == [f"x {name}" for name in schema.names]
    assert schema.select(schema.names[1:3]).names == schema.names[1:3]
    assert schema == schemas.Schema(results)


def test_sql_declares_the_columns():
    assert schemas.ROUTE.select(["decision", "unreadable"]).ddl("spark") == "decision TINYINT, unreadable STRING"
    assert schemas.TOKENS.prefixed("a b").ddl("spark").startswith("`a bcode` SMALLINT, ")
    import duckdb

    connection = duckdb.connect()
    for schema, results in SCHEMAS:
        declared = schema.prefixed('a"b').ddl("duckdb")
        connection.sql(f"CREATE OR REPLACE TABLE t ({declared})")
        answers = results.to_arrow()
        connection.register("answers", answers)
        connection.sql("INSERT INTO t SELECT * FROM answers")
        stored = connection.sql("SELECT * FROM t").to_arrow_table()
        assert stored.rename_columns(schema.names).to_pylist() == answers.to_pylist()
    with pytest.raises(InputError, match="engine: got 'oracle'"):
        schemas.TOKENS.ddl("oracle")
    with pytest.raises(InputError, match="columns: got"):
        schemas.TOKENS.select(["cod"])


# Progress and Ctrl-C.


def many(rows):
    return [token(device=f"ert:{row}") for row in range(20)] * (rows // 20)


@pytest.mark.slow
def test_progress_is_told_and_its_exception_ends_the_call():
    given, told = many(200_000), []
    ic.verify_tokens(given, KEYRING, now=NOW, columns=["code"], progress=told.append, threads=1)
    assert told == sorted(told)
    assert told[-1] == len(given)
    assert len(told) > 1
    with pytest.raises(ZeroDivisionError):
        ic.verify_tokens(given, KEYRING, now=NOW, progress=lambda rows: 1 // 0)
    decided = []
    ic.process_route(ROUTE.route, ROUTE.keyring, now=NOW, permissions=31, progress=decided.append)
    assert decided == [300]
    with pytest.raises(InputError, match="progress: got int"):
        ic.verify_tokens([], KEYRING, now=NOW, progress=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bulk", "stream", "arrow"])
def test_ctrl_c_is_heard_within_a_fifth_of_a_second(kind):
    batches = [many(2_000_000)] if kind == "bulk" else [pa.array(many(200_000))] * 200
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    stream = ic.verify_stream(batches, KEYRING, now=NOW, threads=1)
    read = pa.RecordBatchReader.from_stream(stream).read_all if kind == "arrow" else partial(list, stream)
    timer.start()
    # pyarrow hands an exception of a producer on as its own.
    with pytest.raises((KeyboardInterrupt, pa.ArrowInvalid)) as raised:
        read()
    assert "KeyboardInterrupt" in repr(raised.value)
    # Measured: under 0.2 s; a loaded machine gets more.
    assert time.perf_counter() - sent[0] < 1
