"""Every producer and every type across the boundary, in and out; and producers that lie."""

import array
import datetime as dt
import decimal
import gc
import random
import re

import arro3.core as arro3
import duckdb
import nanoarrow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hostile_arrow as hostile
import itron_core as ic

pytestmark = pytest.mark.kernels


def shown(value):
    """Name a parameter by its kind and what it holds: never by an address, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(value).__name__} {value!r}")[:60]


NOW = 1_760_000_000
SIGNER = ic.LocalSigner.generate("Ed25519")
KEYRING = ic.Keyring([ic.KeyringEntry(SIGNER.public_key)])

ROWS = [b"a", None, b"", b"0123456789abc" * 3, b"0123456789ab", b"x" * 40]
TEXTS = [None if row is None else row.decode() for row in ROWS]
SIGNATURES = [bytes(64) if row is None else SIGNER.sign(row) for row in ROWS]
CODES = [1 if row is None else 0 for row in ROWS]

BINARY = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.string(), pa.large_string(), pa.string_view()]
STRINGS = BINARY[3:]
INTEGERS = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


def codes(messages, signatures):
    return ic.verify_signatures(SIGNER.public_key, messages, signatures)["code"].to_pylist()


def seconds(column):
    """The integers of a column: what is left of sessions that begin now is their length."""
    rows = len(column) if hasattr(column, "__len__") else 3
    results = ic.check_sessions([NOW] * rows, column, now=NOW).to_pydict()
    return [None if state == 4 else left for state, left in zip(results["state"], results["remaining"], strict=True)]


def moments(column, now=NOW):
    """Whole seconds from `now` to the end of sessions of no length that began at the column's moments."""
    rows = len(column)
    results = ic.check_sessions(column, [100] * rows, now=now).to_pydict()
    return [None if state == 4 else left for state, left in zip(results["state"], results["remaining"], strict=True)]


def typed(values, dtype):
    is_text = "string" in str(dtype)
    return pa.array([value.decode() if is_text and value is not None else value for value in values], type=dtype)


def slices(whole):
    """Slices with offsets, chunks, and nothing at all: an array, and which rows it holds."""
    rows = list(range(len(whole)))
    return [
        (whole, rows),
        (whole.slice(2), rows[2:]),
        (whole.slice(1, 3), rows[1:4]),
        (whole.slice(0, 0), []),
        (pa.chunked_array([whole.slice(1, 2), whole.slice(0, 0), whole.slice(3)]), rows[1:]),
        (pa.chunked_array([], type=whole.type), []),
    ]


# In: bytes


@pytest.mark.parametrize("dtype", BINARY, ids=str)
def test_every_binary_type_and_slice(dtype):
    whole_signatures = pa.array(SIGNATURES, type=pa.binary())
    for messages, rows in slices(typed(ROWS, dtype)):
        signatures = whole_signatures.take(pa.array(rows, type=pa.int64()))
        assert codes(messages, signatures) == [CODES[row] for row in rows]
        assert codes(messages, [SIGNATURES[row] for row in rows]) == [CODES[row] for row in rows]


@pytest.mark.parametrize("dtype", BINARY[:3], ids=str)
def test_every_signature_type(dtype):
    assert codes(ROWS, pa.array(SIGNATURES, type=dtype)) == CODES


@pytest.mark.parametrize("index", INTEGERS, ids=str)
@pytest.mark.parametrize("dtype", BINARY, ids=str)
def test_every_dictionary(dtype, index):
    values = pa.array(["x", None, "zzz"]).cast(dtype)
    whole = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2, 2, 1], type=index), values)
    wanted = [b"x", None, None, b"zzz", b"zzz", None]
    for messages, rows in slices(whole):
        signatures = [SIGNER.sign(wanted[row] or b"") for row in rows]
        assert codes(messages, signatures) == [1 if wanted[row] is None else 0 for row in rows]


def test_fixed_size_binary_and_nulls():
    rows = [b"abcd", None, b"wxyz"]
    signatures = pa.array([SIGNER.sign(row or b"") for row in rows], type=pa.binary(64))
    messages = pa.array(rows, type=pa.binary(4))
    assert codes(messages, signatures) == [0, 1, 0]
    assert codes(messages.slice(1), signatures.slice(1)) == [1, 0]
    assert codes(pa.nulls(3), signatures) == [1, 1, 1]
    assert codes(pa.array([b"", b""], type=pa.binary(0)), [SIGNER.sign(b"")] * 2) == [0, 0]


PRODUCERS = {
    "pyarrow": pa.array,
    "polars": pl.Series,
    "polars chunks": lambda rows: pl.concat([pl.Series(rows[:2]), pl.Series(rows[2:])], rechunk=False),
    "polars categorical": lambda rows: pl.Series(TEXTS, dtype=pl.Categorical),
    "polars enum": lambda rows: pl.Series(TEXTS, dtype=pl.Enum([text for text in TEXTS if text is not None])),
    "pandas objects": pd.Series,
    "pandas strings": lambda rows: pd.Series(TEXTS),
    "pandas categories": lambda rows: pd.Series(TEXTS, dtype="category"),
    "pandas arrow": lambda rows: pd.Series(rows, dtype=pd.ArrowDtype(pa.binary())),
    "arro3": lambda rows: arro3.Array(pa.array(rows)),
    "nanoarrow": lambda rows: nanoarrow.Array(pa.array(rows)),
    "numpy objects": lambda rows: np.array(rows, dtype=object),
    "tuple": tuple,
    "list": list,
    "bytearrays": lambda rows: [row and bytearray(row) for row in rows],
    "memoryviews": lambda rows: [None if row is None else memoryview(row) for row in rows],
}


@pytest.mark.parametrize("name", PRODUCERS)
def test_every_producer(name):
    assert codes(PRODUCERS[name](ROWS), SIGNATURES) == CODES


def test_duckdb_relations():
    route = duckdb.sql(
        "select 'ert:100000001' as device, 'ENHANCED' as device_class, 'FULL' as security_level, "
        "unnest([1, 2, 3]) as action, unnest([true, false, NULL]) as on_menu"
    )
    plain = {
        "device": ["ert:100000001"] * 3,
        "device_class": ["ENHANCED"] * 3,
        "security_level": ["FULL"] * 3,
        "action": [1, 2, 3],
        "on_menu": [True, False, None],
    }
    assert routed(route) == routed(plain)
    with pytest.raises(ic.InputError, match="not_before: got a table of 1 columns"):
        ic.check_windows(duckdb.sql("select 1 as not_before"), [1], now=1_795_000_000)


def test_buffers_of_bytes():
    rows = np.frombuffer(random.Random(1).randbytes(240), dtype=np.uint8).reshape(10, 24)
    signatures = [SIGNER.sign(row.tobytes()) for row in rows]
    packed = np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(10, 64)
    spread = np.zeros((10, 48), dtype=np.uint8)
    spread[:, ::2] = rows
    for messages in (rows, rows.copy(), np.asfortranarray(rows), spread[:, ::2], memoryview(rows)):
        assert codes(messages, packed) == [0] * 10
    assert codes(rows[::-2], packed[::-2]) == [0] * 5
    assert codes(np.zeros((0, 24), dtype=np.uint8), np.zeros((0, 64), dtype=np.uint8)) == []
    assert codes(np.zeros((3, 0), dtype=np.uint8), [SIGNER.sign(b"")] * 3) == [0] * 3


NO_BYTES = [
    b"abc",
    bytearray(b"abc"),
    "abc",
    memoryview(b"abc"),
    5,
    None,
    {"a": 1},
    {1},
    iter([b""]),
    [1],
    [b"a", "b"],
    ["a"],
    [True],
    [memoryview(b"abcd").cast("H")],
    [memoryview(b"abcdef")[::2]],
    np.array([b"abc"]),
    np.zeros(4, dtype=np.uint8),
    np.zeros((2, 2), dtype=np.int32),
    np.zeros((2, 2, 2), dtype=np.uint8),
    np.zeros((2, 2), dtype=np.int8),
    np.array(["2026"], dtype="M8[s]"),
    np.ma.array([1, 2], mask=[0, 1]),
    pa.array([1.5]),
    pa.array([[b"a"]]),
    pa.table({"a": [b"a"]}),
]


@pytest.mark.parametrize("wrong", NO_BYTES, ids=shown)
def test_an_invalid_column_of_bytes_is_refused(wrong):
    with pytest.raises(ic.InputError, match=r"messages: .*expected"):
        codes(wrong, [b""])


def test_a_refusal_names_the_row():
    with pytest.raises(ic.InputError, match="got int in row 2, expected"):
        codes([b"", None, 7], [b""] * 3)
    with pytest.raises(ic.InputError, match="got int in row 1, expected"):
        ic.verify_tokens([None, None], KEYRING, now=NOW, audience=["\ud800", 5])
    with pytest.raises(ic.InputError, match="got bytes in row 1, expected"):
        ic.verify_tokens([None, None], KEYRING, now=NOW, audience=["a", b"b"])


def test_inputs_may_change_after_the_call():
    messages = [bytearray(b"%d" % index) for index in range(300)]
    signatures = [SIGNER.sign(bytes(message)) for message in messages]
    results = ic.verify_signatures(SIGNER.public_key, messages, signatures)
    for message in messages:
        message.extend(b"!")  # a bytearray that is still borrowed cannot be resized
    messages.clear()
    assert results["code"].to_pylist() == [0] * 300


# In: integers, times, booleans


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_every_integer_type(dtype):
    whole = pa.array([1, None, 3, 100, 5], type=dtype)
    for column, rows in slices(whole):
        assert seconds(column) == [whole[row].as_py() for row in rows]
    numbers = np.arange(1, 11, dtype=dtype.to_pandas_dtype())
    assert seconds(numbers) == list(range(1, 11))
    assert seconds(numbers[::-3]) == [10, 7, 4, 1]
    numbers.flags.writeable = False
    assert seconds(numbers) == list(range(1, 11))


def test_integers_of_lists_and_buffers():
    for code in "bBhHiIlLqQ":
        assert seconds(array.array(code, [1, 2, 3])) == [1, 2, 3]
    assert seconds([1, None, np.int16(4)]) == [1, None, 4]
    assert seconds(np.frombuffer(b"\0" + np.arange(1, 6).tobytes(), dtype=np.int64, offset=1)) == [1, 2, 3, 4, 5]
    assert seconds([]) == []
    assert seconds(pa.nulls(2)) == [None, None]
    assert seconds(pl.Series([1, None, 3])) == [1, None, 3]
    assert seconds(pd.Series([1, None, 3], dtype="Int32")) == [1, None, 3]


NO_INTEGERS = [
    [True],
    [1.0],
    ["1"],
    [2**63],
    [-(2**63) - 1],
    np.array([1.5]),
    np.array([True]),
    np.array([2**63], dtype=np.uint64),
    np.array([1], dtype=">i8"),
    np.array([[1]]),
    np.array(["2020"], dtype="M8[s]"),
    pa.array([2**63], type=pa.uint64()),
    pa.array([1.5]),
    pa.array([float("inf")]),
    pa.array([2.0**63]),
    pa.array([1.0], type=pa.float32()),
    pa.array(["x"]),
    pa.array([0], type=pa.timestamp("s")),
    pa.array([1]).dictionary_encode(),
]


@pytest.mark.parametrize("wrong", NO_INTEGERS, ids=shown)
def test_an_invalid_column_of_integers_is_refused(wrong):
    with pytest.raises(ic.InputError, match=r"seconds: .*expected"):
        ic.check_sessions([NOW], wrong, now=NOW)


def test_whole_numbers_as_floats_are_integers_and_nan_is_null():
    """Pandas makes integers so beside nulls."""
    whole = [60.0, float("nan"), -0.0, 2.0**30]
    for column in (
        np.array(whole),
        np.array([*whole, 7.0])[:-1],
        np.repeat(np.array(whole), 2)[::2],
        pd.Series(whole),
        pa.array(whole),
        pa.array([1.5, *whole])[1:],
        pl.Series(whole),
    ):
        assert seconds(column) == [60, None, 0, 2**30]
    assert seconds(pa.array([1.0, None])) == [1, None]
    assert moments(np.array([NOW, float("nan")])) == [100, None]


@pytest.mark.parametrize("wrong", [1.5, float("inf"), 2.0**63, -1e300])
def test_a_float_that_is_not_a_64_bit_whole_number_raises_with_row_and_value(wrong):
    for column in (np.array([1.0, wrong]), pa.array([1.0, wrong])):
        with pytest.raises(ic.InputError, match=r"^seconds: got .* in row 1, expected a whole number") as raised:
            ic.check_sessions([NOW, NOW], column, now=NOW)
        assert float(str(raised.value).split()[2]) == wrong


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "+02:00"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_time_type(unit, zone):
    ticks = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    raw = [NOW * ticks, None, (NOW - 40) * ticks]
    whole = pa.array(raw, type=pa.timestamp(unit, zone))
    for column, rows in slices(whole):
        assert moments(column) == [[100, None, 60][row] for row in rows]
    # A tick after `now` is not yet: nothing was cut on the way in.
    finest = pa.array([NOW * ticks + 1], type=pa.timestamp(unit, zone))
    assert ic.check_windows(finest, [NOW + 9], now=NOW).to_pylist() == [False]


def without_a_zone(unit):
    ticks = np.array([NOW], "M8[s]").astype(f"M8[{unit}]")
    yield ticks
    yield pa.array(ticks)
    yield pd.Series(ticks)
    if unit != "s":
        yield pl.Series([dt.datetime(2026, 11, 18, 11)], dtype=pl.Datetime(unit))  # noqa: DTZ001  the naive one is the case


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_without_a_zone_raise_with_a_hint(unit):
    for column in without_a_zone(unit):
        for call in (
            lambda column=column: ic.check_sessions(column, [60], now=NOW),
            lambda column=column: ic.check_sessions([NOW], [60], now=NOW, closed_at=column),
            lambda column=column: ic.check_windows(column, [NOW], now=NOW),
            lambda column=column: ic.check_windows([NOW], column, now=NOW),
        ):
            with pytest.raises(ic.InputError, match=r"^(opened_at|closed_at|not_before|not_after): got ") as raised:
                call()
            assert "without a time zone" in str(raised.value)
            assert "UTC" in str(raised.value)
    aware = pd.Series(np.array([NOW], "M8[s]")).dt.tz_localize("UTC")
    assert moments(aware) == [100]


NAMES_OF_TYPES = [
    (pa.array([decimal.Decimal(1)], pa.decimal128(38, 0)), "decimal(38, 0)"),
    (pa.array([decimal.Decimal(1)], pa.decimal256(60, 2)), "decimal256(60, 2)"),
    (pa.array([dt.date(2026, 1, 1)]), "date32"),
    (pa.array([1.5], pa.float32()), "float"),
    (pa.array([dt.time(1)]), "time64[us]"),
    (pa.array([dt.timedelta(1)]), "duration[us]"),
    (pa.array([[1]]), "list"),
    (pa.array([True]), "bool"),
    (pa.array(["1"]).dictionary_encode(), "dictionary<int32, string>"),
    (pa.array([NOW], pa.timestamp("ms")), "timestamp[ms]"),
]


@pytest.mark.parametrize("column,name", NAMES_OF_TYPES, ids=[name for _, name in NAMES_OF_TYPES])
def test_a_refused_type_is_called_by_its_name(column, name):
    with pytest.raises(ic.InputError, match=rf"^seconds: got .*{re.escape(name)}.*, expected an integer column"):
        ic.check_sessions([NOW], column, now=NOW)


def test_masked_arrays_are_null_where_they_are_masked():
    masked = np.ma.array([1, 2, 3], mask=[False, True, False])
    assert seconds(masked) == [1, None, 3]


def test_times_of_lists():
    east = dt.timezone(dt.timedelta(hours=2))
    moment = dt.datetime.fromtimestamp(NOW, east)
    assert moments([moment, None, NOW - 40]) == [100, None, 60]
    assert moments([NOW, None]) == [100, None]
    assert moments(pl.Series([moment])) == [100]
    assert moments(pd.Series([pd.Timestamp(moment)])) == [100]
    ends = [dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)]
    assert ic.check_windows(ends[:1], ends[1:], now=NOW).to_pylist() == [True]
    fine = dt.datetime.fromtimestamp(NOW, dt.UTC) + dt.timedelta(microseconds=1)
    assert ic.check_windows([fine], [NOW + 9], now=NOW).to_pylist() == [False]


NO_TIMES = [
    [dt.datetime(2026, 1, 1)],  # noqa: DTZ001  the naive one is the case
    [True],
    [1.5],
    ["x"],
    [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 2**62],
    [dt.date(2026, 1, 1)],
    np.array(["2020"], dtype="M8[D]"),
    np.array(["2020"], dtype=">M8[s]"),
    np.array([1], dtype="M8[25s]"),
    pa.array([NOW], type=pa.timestamp("s")),
    pa.array([dt.date(2026, 1, 1)]),
    pa.array([1.5]),
]


@pytest.mark.parametrize("wrong", NO_TIMES, ids=shown)
def test_an_invalid_column_of_times_is_refused(wrong):
    with pytest.raises(ic.InputError, match=r"opened_at: .*expected"):
        ic.check_sessions(wrong, [1] * len(wrong), now=NOW)


# In: tables, names, lists

COLUMNS = {
    "device": ["ert:100000001", "ert:100000002", "ert:100000003", None],
    "device_class": ["enhanced", "BASIC", "multi-mode", "Enhanced"],
    "security_level": ["FULL", "command", "READY_TO_SECURE", "FULL"],
    "action": [1, 2, 3, 4],
    "mode": ["MOBILE", None, "NETWORK", "MOBILE"],
    "on_menu": [True, False, None, True],
    "level_verified": [None, False, True, True],
    "commands_used": [0, None, 2, 1],
    "session_opened_at": [NOW, None, NOW - 10, NOW],
    "session_seconds": [100, None, 5, 100],
}


def routed(route):
    return ic.process_route(route, KEYRING, now=NOW, permissions=31).to_pydict()


def table():
    return pa.table(COLUMNS)


def encoded():
    """The names as dictionaries, and as those of each type of string."""
    columns = {name: pa.array(values) for name, values in COLUMNS.items()}
    columns["device"] = columns["device"].cast(pa.string_view())
    columns["device_class"] = columns["device_class"].dictionary_encode()
    columns["security_level"] = columns["security_level"].cast(pa.large_string())
    columns["mode"] = columns["mode"].cast(pa.dictionary(pa.uint8(), pa.large_string()))
    columns["action"] = columns["action"].cast(pa.uint16())
    columns["commands_used"] = columns["commands_used"].cast(pa.int8())
    columns["session_opened_at"] = columns["session_opened_at"].cast(pa.timestamp("s")).cast(pa.timestamp("ns", "UTC"))
    return pa.table(columns)


TABLES = {
    "mapping of lists": lambda: COLUMNS,
    "mapping of arrays": lambda: {name: pa.array(values) for name, values in COLUMNS.items()},
    "pyarrow table": table,
    "pyarrow batch": lambda: table().to_batches()[0],
    "pyarrow struct": lambda: table().to_struct_array(),
    "pyarrow chunks": lambda: pa.concat_tables([table().slice(0, 1), table().slice(1, 0), table().slice(1)]),
    "pyarrow reader": lambda: pa.RecordBatchReader.from_batches(table().schema, table().to_batches(max_chunksize=1)),
    "pyarrow slice": lambda: pa.concat_tables([table(), table()]).combine_chunks().slice(2, 4).take([2, 3, 0, 1]),
    "every type": encoded,
    "polars": lambda: pl.from_arrow(table()),
    "pandas": lambda: table().to_pandas(types_mapper=pd.ArrowDtype),
    "duckdb": lambda: duckdb.from_arrow(table()),
    "arro3": lambda: arro3.Table(table()),
    "a column more": lambda: table().append_column("weight", pa.array([1.5, None, 2.5, 3.5])),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table(name):
    assert routed(TABLES[name]()) == routed(COLUMNS)


def test_a_sliced_struct_with_children_of_their_own_offsets():
    longer = {name: [values[0], *values, values[0]] for name, values in COLUMNS.items()}
    children = [pa.array(values).slice(1) for values in longer.values()]
    whole = pa.StructArray.from_arrays(children, names=list(COLUMNS))
    assert routed(whole.slice(0, 4)) == routed(COLUMNS)
    later = {name: values[1:] for name, values in COLUMNS.items()}
    assert routed(whole.slice(1, 3)) == routed(later)


def test_a_null_row_of_a_struct_is_null_in_every_column():
    columns = [pa.array(values) for values in COLUMNS.values()]
    mask = pa.array([False, True, False, False])
    whole = pa.StructArray.from_arrays(columns, names=list(COLUMNS), mask=mask)
    without = {name: [values[0], None, *values[2:]] for name, values in COLUMNS.items()}
    assert routed(whole) == routed(without)
    assert routed(whole.slice(1)) == routed({name: values[1:] for name, values in without.items()})


@pytest.mark.parametrize(
    "wrong, says",
    [
        (pa.array([1]), "expected a table"),
        ({"device": ["a"], "action": [1, 2]}, "action: got 2 rows, expected 1"),
        ({1: [1]}, "named by int"),
        (5, "got int"),
        ([1], "got list"),
        ({"device": "abc"}, "device: got one str"),
        ({"action": [1]}, "'device'|\"device\""),
        (pa.table([["a"], ["b"]], names=["device", "device"]), "two columns named"),
        ({**COLUMNS, "on_menu": [1, 0, 1, 0]}, "on_menu: got int in row 0, expected"),
        ({**COLUMNS, "on_menu": ["a"] * 4}, "on_menu: got str in row 0, expected"),
        ({**COLUMNS, "action": [1.5] * 4}, "action: got float in row 0, expected"),
        ({**COLUMNS, "mode": pa.array([1.5] * 4)}, "mode: got"),
    ],
    ids=shown,
)
def test_an_invalid_route_is_refused(wrong, says):
    with pytest.raises(ic.InputError, match=says):
        routed(wrong)


def issued_actions(actions):
    names = [action.name for action in ic.Action][:2]
    named = [[names[0], names[1]], [names[0]], [names[1]]]
    request = {"device": ["ert:100000001"] * 3, "actions": actions(named), "sequence": [1, 2, 3], "epoch": [1, 1, 1]}
    tokens = ic.issue_tokens(request, SIGNER, now=NOW)
    return ic.verify_tokens(tokens, KEYRING, now=NOW)["actions"].to_pylist()


@pytest.mark.parametrize(
    "make",
    [
        lambda lists: pa.array(lists, type=pa.list_(pa.string())),
        lambda lists: pa.array(lists, type=pa.large_list(pa.large_string())),
        lambda lists: pa.array(lists, type=pa.list_(pa.string_view())),
        lambda lists: pa.array(lists, type=pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        lambda lists: pa.array([["?"], *lists]).slice(1),
        lambda lists: pa.chunked_array([lists[:1], lists[1:]]),
        pl.Series,
        lambda lists: [tuple(names) for names in lists],
    ],
)
def test_lists_of_names(make):
    plain = issued_actions(list)
    assert len(set(plain)) == 3
    assert plain[0] == plain[1] | plain[2]
    assert issued_actions(make) == plain


@pytest.mark.parametrize("dtype", [*STRINGS, pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_every_string_type(dtype):
    devices = [f"ert:10000000{index}" for index in range(6)]
    request = {"device": devices, "actions": [1] * 6, "sequence": [1] * 6, "epoch": [1] * 6}
    tokens = ic.issue_tokens({**request, "device": pa.array(devices).cast(dtype)}, SIGNER, now=NOW)
    for column, rows in slices(pa.array(devices).cast(dtype)):
        some = pa.array(tokens).take(pa.array(rows, type=pa.int64()))
        results = ic.verify_tokens(some, KEYRING, now=NOW, audience=column)["code"].to_pylist()
        assert results == [0] * len(rows)
    backwards = pa.array(devices[::-1]).cast(dtype)
    assert 0 not in ic.verify_tokens(tokens, KEYRING, now=NOW, audience=backwards)["code"].to_pylist()


# In: producers that lie

TAKE = {
    "bytes": lambda column: codes(column, column),
    "ints": lambda column: ic.check_sessions(column, column, now=NOW),
    "text": lambda column: ic.verify_tokens([None, None], KEYRING, now=NOW, audience=column),
    "table": routed,
}


def counted(call):
    """What `call` returns, and how many structures were handed out and released meanwhile."""
    handed, released = dict(hostile.HANDED), dict(hostile.RELEASED)
    try:
        result = call()
    except ic.InputError as error:
        result = error
    return (
        result,
        {kind: count - handed[kind] for kind, count in hostile.HANDED.items()},
        {kind: count - released[kind] for kind, count in hostile.RELEASED.items()},
    )


@pytest.mark.parametrize(
    "kind, make, says", [case[1:] for case in hostile.CASES], ids=[case[0] for case in hostile.CASES]
)
def test_a_producer_that_lies_is_refused(kind, make, says):
    refusal, handed, released = counted(lambda: TAKE[kind](make()))
    with pytest.raises(ic.InputError, match=says):
        raise refusal
    assert all(released[each] <= handed[each] for each in handed)
    if "capsule" not in str(refusal):
        # What was taken over is released, once: also on the way to a refusal.
        assert released == handed


def test_the_cases_are_many():
    assert len(hostile.CASES) >= 60
    assert len({case[0] for case in hostile.CASES}) == len(hostile.CASES)


@pytest.mark.parametrize(
    "kind, make, rows", [case[1:] for case in hostile.HONEST], ids=[case[0] for case in hostile.HONEST]
)
@pytest.mark.parametrize("as_stream", [False, True])
def test_an_honest_one_of_the_same_make_is_taken(as_stream, kind, make, rows):
    def producer():
        return hostile.Streamer(make(), [make(), make()]) if as_stream else hostile.Producer(make())

    wanted = rows * 2 if as_stream else rows

    def call():
        if kind == "bytes":
            return codes(producer(), [SIGNER.sign(row or b"") for row in wanted])
        results = ic.check_sessions([NOW] * len(wanted), producer(), now=NOW).to_pydict()
        return [None if state == 4 else left for state, left in zip(*results.values(), strict=True)]

    result, handed, released = counted(call)
    assert result == ([1 if row is None else 0 for row in wanted] if kind == "bytes" else wanted)
    assert handed == released


def test_an_honest_table_is_taken():
    result, handed, released = counted(lambda: routed(hostile.Producer(hostile.route())))
    assert len(result["decision"]) == 3
    assert handed == released


def test_capsules_are_used_once():
    producer = hostile.Producer(hostile.binary())
    pair = producer.__arrow_c_array__()

    class Again:
        def __arrow_c_array__(self, requested_schema=None):
            return pair

    with pytest.raises(ic.InputError, match=r"signatures: .*used up"):
        codes(Again(), Again())


def test_a_producer_s_exception_is_the_cause():
    def batches():
        yield pa.record_batch({"device": ["ert:100000001"]})
        raise RuntimeError("disk on fire")

    with pytest.raises(ic.InputError, match="disk on fire"):
        routed(pa.RecordBatchReader.from_batches(pa.schema([("device", pa.string())]), batches()))

    class Failing:
        def __init__(self, error):
            self.error = error

        def __arrow_c_stream__(self, requested_schema=None):
            raise self.error

    with pytest.raises(ic.InputError, match="OSError: gone") as refusal:
        codes(Failing(OSError("gone")), [])
    assert isinstance(refusal.value.__cause__, OSError)
    with pytest.raises(KeyboardInterrupt):
        codes(Failing(KeyboardInterrupt()), [])


# Out


def results(rows):
    devices = [f"ert:{100_000_000 + row}" for row in range(rows)]
    request = {"device": devices, "actions": [1] * rows, "sequence": range(rows), "epoch": [1] * rows}
    tokens = ic.issue_tokens(request, SIGNER, now=NOW).to_pylist()
    tokens[1::3] = [None] * len(tokens[1::3])
    return ic.verify_tokens(tokens, KEYRING, now=NOW)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 1, 3, 9, 100])
def test_every_reader_of_tables(rows):
    answer = results(rows)
    cells = answer.to_pydict()
    assert len(answer) == rows
    assert answer.column_names == list(cells)
    for _ in range(2):
        whole = pa.table(answer)
        whole.validate(full=True)
        assert whole.to_pydict() == cells
        assert pa.record_batch(answer).to_pydict() == cells
        assert pl.DataFrame(answer).to_dict(as_series=False) == cells
        assert len(pd.DataFrame.from_arrow(answer)) == rows
        counts = duckdb.sql("select count(*), count(expires_at) from answer").fetchall()
        assert counts == [(rows, rows - cells["expires_at"].count(None))]
        assert arro3.Table(answer).num_rows == rows
        assert len(nanoarrow.Array(answer)) == rows


@pytest.mark.parametrize("rows", [0, 1, 3, 9, 100])
def test_every_reader_of_columns(rows):
    answer = results(rows)
    for name, cells in answer.to_pydict().items():
        column = answer[name]
        assert list(column) == column.to_pylist() == cells
        assert [column[row] for row in range(rows)] == cells
        assert column.null_count == cells.count(None)
        read = pa.array(column)
        read.validate(full=True)
        assert read.to_pylist() == cells
        assert str(read.type).replace("tz=", "") == column.type
        assert pa.chunked_array(column).to_pylist() == cells
        assert pl.Series(column).to_list() == cells
        assert len(pd.Series.from_arrow(column)) == rows
        assert len(nanoarrow.Array(column)) == rows
        assert arro3.Array(column).to_pylist() == cells
        assert len(np.asarray(column)) == rows


def test_slices_of_columns():
    answer = results(20)
    for name, cells in answer.to_pydict().items():
        column = answer[name]
        for part in (slice(1, 3), slice(None), slice(5, 5), slice(-4, None), slice(9, 99)):
            read = pa.array(column[part])
            read.validate(full=True)
            assert read.to_pylist() == column[part].to_pylist() == cells[part]
            assert column[part].null_count == cells[part].count(None)
        assert column[3:][2:][-1] == cells[-1]
        assert column[-20] == cells[0]
        with pytest.raises(IndexError):
            column[20]
        with pytest.raises(IndexError):
            column[-21]
        with pytest.raises(IndexError, match="step"):
            column[::2]
        with pytest.raises(TypeError):
            column["0"]


def test_types_are_those_that_every_engine_takes():
    assert [str(field.type) for field in pa.schema(results(3))] == [
        "int16",
        "int32",
        *["timestamp[us, tz=UTC]"] * 3,
        "int32",
        *["int64"] * 3,
        "binary",
        "string",
    ]
    assert str(pa.array(ic.check_windows([1], [2], now=1_795_000_000)).type) == "bool"


def test_integers_without_nulls_are_buffers():
    answer = ic.check_sessions([NOW] * 3, [5, 6, 7], now=NOW)
    remaining = np.asarray(answer["remaining"])
    assert (remaining.dtype, remaining.tolist()) == (np.int32, [5, 6, 7])
    view = memoryview(answer["remaining"][1:])
    assert (view.readonly, view.format, view.tolist()) == (True, "i", [6, 7])
    with pytest.raises(BufferError):
        memoryview(ic.check_windows([1], [2], now=1_795_000_000))


@pytest.mark.slow
def test_exports_outlive_their_source():
    answer = results(50)
    cells = answer.to_pydict()
    batch = pa.record_batch(answer)
    columns = [batch.column(at) for at in range(batch.num_columns)]
    array = np.asarray(ic.check_sessions([NOW] * 3, [5, 6, 7], now=NOW)["remaining"])
    del answer, batch
    gc.collect()
    assert [column.to_pylist() for column in columns] == list(cells.values())
    assert array.tolist() == [5, 6, 7]


def test_unused_capsules_are_released():
    answer = results(9)
    for _ in range(200):
        answer.__arrow_c_schema__()
        answer.__arrow_c_array__(None)
        answer.__arrow_c_stream__(requested_schema=None)
        answer["kid"].__arrow_c_array__()


def test_the_repr_of_results():
    answer = results(12)
    html = answer._repr_html_()
    assert html.count("<tr>") == 11
    assert "12 rows" in html
    assert "12 rows" in repr(answer)
    assert repr(answer["code"]).startswith("<Column code: int16, 12 rows, 0 null> [0, 1, 0")
    with pytest.raises(KeyError, match="expected one of code, key, issued_at"):
        answer["nothing"]


def test_results_go_back_in():
    tokens = ic.issue_tokens(
        {"device": ["ert:100000001"] * 4, "actions": [1] * 4, "sequence": [1, 2, 3, 4], "epoch": [1] * 4},
        SIGNER,
        now=NOW,
    )
    for column in (tokens, tokens[1:], pa.array(tokens), pl.Series(tokens), tokens.to_pylist()):
        assert set(ic.verify_tokens(column, KEYRING, now=NOW)["code"].to_pylist()) == {0}


def test_flags_and_texts_of_numpy_are_flags_and_texts():
    route = {
        "device": np.array([b"ert:1", b"ert:100000001"]),
        "device_class": np.array([b"basic", b"enhanced"]),
        "security_level": np.array(["command", "full"]),
        "action": ["read_endpoint"] * 2,
        "on_menu": list(np.array([False, True])),
    }
    assert route["device"].dtype == np.dtype("S13")
    results = ic.process_route(route, KEYRING, now=NOW, permissions=31)
    plain = {
        "device": ["ert:1", "ert:100000001"],
        "device_class": ["basic", "enhanced"],
        "security_level": ["command", "full"],
        "action": ["read_endpoint"] * 2,
        "on_menu": [False, True],
    }
    assert results.to_pydict() == ic.process_route(plain, KEYRING, now=NOW, permissions=31).to_pydict()
    assert results["reason"].to_pylist()[0] == ic.Reason.NOT_ON_MENU
    with pytest.raises(ic.InputError, match=r"on_menu: got numpy\.int64 in row 0, expected"):
        ic.process_route(plain | {"on_menu": list(np.array([1, 1]))}, KEYRING, now=NOW, permissions=31)
