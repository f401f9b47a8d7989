"""Rows from files and to files: typed by the names of columns, every other column as it came, in every format."""

import datetime as dt
import decimal
import io
import json
import os
import re
import sys
import threading
from contextlib import suppress
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itron_core.cli import columns
from itron_core.cli.answers import Beside
from itron_core.cli.cells import plain_text, values_of
from itron_core.cli.columns import DEVICE_COLUMNS, REQUEST_COLUMNS, ROUTE_COLUMNS, TOKEN, bytes_of_text
from itron_core.cli.failures import UnreadableError, UnwritableError, UsageError
from itron_core.cli.files import FORMATS, format_of, read_rows, rows_to
from itron_core.cli.inputs import devices_of, zone_of
from itron_core.cli.manager import _device_records
from itron_core.cli.options import FileFormat

TOKENS = [bytes(range(130, 230)), None, b"\xd2\x84" + bytes(120)]
BATCH = pa.record_batch(
    {
        "device": ["ert:1", "ert:2", "ert:3"],
        "token": pa.array(TOKENS, pa.binary()),
        "epoch": pa.array([1, 2, 3], pa.int64()),
    }
)
COLUMNS = {"token": TOKEN, "epoch": ROUTE_COLUMNS["epoch"]}
SUFFIXES = sorted(FORMATS)


def tokens_in(column) -> list[bytes | None]:
    """Return tokens as bytes: in the text formats they are text, which the library reads."""
    return [bytes_of_text(cell) if isinstance(cell, str) else cell for cell in column.to_pylist()]


REQUIRED = "device,device_class,security_level,action"


def read(path, file_format=None, kinds=COLUMNS, **options) -> pa.Table:
    return pa.Table.from_batches([plain_text(batch) for batch in read_rows(str(path), file_format, kinds, **options)])


def written(path, batch, file_format=None):
    with rows_to(str(path), file_format) as write:
        write(batch)
    return path


def csv_of(tmp_path, text, kinds=ROUTE_COLUMNS, **options) -> pa.Table:
    path = tmp_path / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, kinds=kinds, **options)


def refused(tmp_path, text, kinds=ROUTE_COLUMNS, **options) -> str:
    with pytest.raises(UnreadableError) as caught:
        csv_of(tmp_path, text, kinds, **options)
    return f"{caught.value} {caught.value.hint}"


# --- There and back ---


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_written_files_can_be_read(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    with rows_to(str(path), None) as write:
        write(BATCH)
        write(BATCH.slice(1))
    table = read(path)
    assert tokens_in(table["token"]) == TOKENS + TOKENS[1:]
    assert table["device"].to_pylist() == ["ert:1", "ert:2", "ert:3", "ert:2", "ert:3"]
    assert table["epoch"].to_pylist() == [1, 2, 3, 2, 3]


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_standard_streams_carry_every_format(monkeypatch, file_format):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=printed))
    written("-", BATCH, file_format)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(printed.getvalue()))))
    assert tokens_in(read("-", file_format)["token"]) == TOKENS


@pytest.mark.parametrize("file_format", list(FileFormat))
def test_named_pipes_carry_every_format(tmp_path, file_format):
    pipe, data = tmp_path / "pipe", written(tmp_path / "rows", BATCH, file_format).read_bytes()
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=(data,))
    feeder.start()
    try:
        assert tokens_in(read(pipe, file_format)["token"]) == TOKENS
    finally:
        feeder.join()


# --- Types come from names ---


def test_columns_of_others_are_text_as_it_stands(tmp_path):
    text = "unit,note,phone,when,nothing,device\n007,NA,+49 30,2026-01-02,,ert:1\n,null, x ,12,nan,ert:2\n"
    table = csv_of(tmp_path, text, DEVICE_COLUMNS)
    assert table["unit"].to_pylist() == ["007", None]
    assert table["note"].to_pylist() == ["NA", "null"]
    assert table["phone"].to_pylist() == ["+49 30", " x "]
    assert table["when"].to_pylist() == ["2026-01-02", "12"]
    assert table["nothing"].to_pylist() == [None, "nan"]
    assert {field.type for field in table.schema} == {pa.string()}


@pytest.mark.slow
def test_types_do_not_depend_on_where_a_value_first_appears(tmp_path):
    rows = 150_000
    empty = "ert:1,basic,full,read_endpoint," + "x" * 80 + ",,\n"
    last = "ert:1,basic,full,read_endpoint,y,gate code 12,2026-11-18T12:00:00Z\n"
    table = csv_of(tmp_path, f"{REQUIRED},comment,note,session_opened_at\n" + empty * (rows - 1) + last)
    assert table["note"].null_count == rows - 1
    assert table["note"][-1].as_py() == "gate code 12"
    assert table["session_opened_at"].type == pa.timestamp("us", "UTC")
    assert table["session_opened_at"][-1].as_py().year == 2026


@pytest.mark.parametrize(
    "texts,values",
    [
        (["0", "12", "-1", "+3", "4.0", "5,0", ""], [0, 12, -1, 3, 4, 5, None]),
        ([str(2**63 - 1), str(-(2**63))], [2**63 - 1, -(2**63)]),
    ],
)
def test_whole_numbers_are_read_whole(tmp_path, texts, values):
    table = csv_of(tmp_path, "epoch;device\n" + "".join(f"{text};ert:1\n" for text in texts))
    assert table["epoch"].to_pylist() == values


@pytest.mark.parametrize("text", ["1.5", "1.000", "1e3", "x", "0x10", str(2**63), "nan", "٣", " "])
def test_a_value_that_is_not_a_whole_number_is_refused_with_row_and_column(tmp_path, text):
    message = refused(tmp_path, f"epoch;device\n1;ert:1\n{text};ert:2\n")
    assert f'rows.csv: row 2 (after the header), column "epoch": got {text!r}, expected a whole number' in message


def test_flags_are_read_as_people_write_them(tmp_path):
    table = csv_of(tmp_path, "on_menu,x\n1,\n0,\nyes,\nNo,\nTRUE,\nfalse,\ny,\nn,\n,x\n")
    assert table["on_menu"].to_pylist() == [True, False, True, False, True, False, True, False, None]
    assert "column \"on_menu\": got 'perhaps', expected yes or no" in refused(tmp_path, "on_menu\nperhaps\n")


def test_enumerations_are_names_or_numbers_and_unknown_ones_are_left_to_their_rows(tmp_path):
    table = csv_of(tmp_path, f"{REQUIRED},mode\nert:1,0,0,17,1\nert:2,Multi-Mode,Full Security,fly,9\n")
    assert table["device_class"].to_pylist() == ["basic", "Multi-Mode"]
    assert table["security_level"].to_pylist() == ["ready_to_secure", "Full Security"]
    assert table["action"].to_pylist() == ["disconnect_service", "fly"]
    assert table["mode"].to_pylist() == ["network", "9"]


@pytest.mark.parametrize(
    "column,text", [("permissions", "32"), ("permissions", "-1"), ("permissions", "all|1"), ("actions", "32")]
)
def test_bits_without_a_name_are_refused_with_the_names(tmp_path, column, text):
    kinds = ROUTE_COLUMNS if column == "permissions" else REQUEST_COLUMNS
    message = refused(tmp_path, f"device,{column}\nert:1,{text}\n", kinds)
    assert f'row 1 (after the header), column "{column}": got {text!r}' in message
    assert column == "actions" or "read_endpoints, program_endpoints" in message


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_numbers_of_enumerations_and_flags_may_be_floats_as_data_frames_write_them(tmp_path, suffix):
    columns = {"device": ["ert:1", "ert:2"], "mode": [1.0, None], "on_menu": [1.0, 0.0], "epoch": [4.0, None]}
    path = written(tmp_path / f"rows{suffix}", pa.record_batch(columns))
    table = read(path, kinds=ROUTE_COLUMNS)
    assert table["mode"].to_pylist() == ["network", None]
    assert table["on_menu"].to_pylist() == [True, False]
    assert table["epoch"].to_pylist() == [4, None]


def test_a_float_that_is_not_whole_is_refused_with_its_row(tmp_path):
    path = written(tmp_path / "rows.parquet", pa.record_batch({"device": ["ert:1", "ert:2"], "epoch": [4.0, 1.5]}))
    with pytest.raises(UnreadableError, match=r"row 2, column \"epoch\": got '1.5', expected a whole number"):
        read(path, kinds=ROUTE_COLUMNS)


def test_actions_are_names_or_bit_sets_in_any_mixture(tmp_path):
    text = "device,actions\nert:1,read_endpoint|Check-Endpoint\nert:2,open_session\nert:3,3\n"
    assert csv_of(tmp_path, text, REQUEST_COLUMNS)["actions"].to_pylist() == [3, 1 << 24, 3]
    assert "column \"actions\": got 'fly'" in refused(tmp_path, "device,actions\nert:1,fly\n", REQUEST_COLUMNS)


@pytest.mark.parametrize(
    "text",
    ["0001ff", "0x0001FF", "\\x0001ff", "AAH/", "AAH_", "00\n01\nff", " 0001ff ", "AA\nH/"],
)
def test_bytes_are_read_as_programs_write_them(tmp_path, text):
    table = csv_of(tmp_path, f'command,n\n"{text}",1\n', REQUEST_COLUMNS)
    assert table["command"].to_pylist() == [b"\0\1\xff"]


@pytest.mark.parametrize(
    "arrow", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_bytes_as_text_are_read_in_every_encoding_of_a_column(tmp_path, arrow):
    column = pa.array(["0001ff", None, "AAH/"]).cast(arrow)
    path = written(tmp_path / "rows.arrow", pa.record_batch({"check_value": column}))
    assert read(path, kinds=REQUEST_COLUMNS)["check_value"].to_pylist() == [b"\0\1\xff", None, b"\0\1\xff"]


def test_text_that_is_not_bytes_is_refused_with_its_row(tmp_path):
    message = refused(tmp_path, "command,n\n00,1\nthe gate,1\n", REQUEST_COLUMNS)
    assert "row 2 (after the header), column \"command\": got 'the gate', expected hexadecimal" in message


# --- Times ---


BERLIN_NOON = dt.datetime(2026, 11, 18, 11, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    "text,zone",
    [
        ("2026-11-18T12:00:00+01:00", None),
        ("2026-11-18 11:00:00Z", None),
        ("2026-11-18 11:00:00 UTC", None),
        ("2026-11-18 12:00:00 +0100", None),
        ("1794999600", None),
        ("2026-11-18 12:00", "Europe/Berlin"),
        ("2026-11-18T12:00:00.000", "+01:00"),
        ("2026-11-18T11:00:00Z", "Europe/Berlin"),
    ],
)
def test_times_are_read_with_their_zone_else_with_the_one_named(tmp_path, text, zone):
    table = csv_of(tmp_path, f"session_opened_at,n\n{text},\n", zone=zone_of(zone))
    assert table["session_opened_at"].to_pylist() == [BERLIN_NOON]


def test_a_time_without_a_zone_is_refused_with_the_remedy(tmp_path):
    message = refused(tmp_path, "device,session_opened_at\nert:1,2026-11-18 12:00:00\n")
    assert 'row 1 (after the header), column "session_opened_at"' in message
    assert "--time-zone" in message


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_timestamp_without_a_zone_is_refused_and_read_in_the_one_named(tmp_path, unit):
    column = pa.array(["2026-11-18 12:00:00"]).cast(pa.timestamp(unit))
    path = written(tmp_path / "rows.arrow", pa.record_batch({"session_opened_at": column}))
    with pytest.raises(UnreadableError, match=r'row 1, column "session_opened_at": .* without a zone'):
        read(path, kinds=ROUTE_COLUMNS)
    table = read(path, kinds=ROUTE_COLUMNS, zone=zone_of("Europe/Berlin"))
    assert table["session_opened_at"].to_pylist() == [BERLIN_NOON]


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "2026-03-29 02:30"])
def test_a_time_when_the_clocks_change_is_refused(tmp_path, text):
    message = refused(tmp_path, f"expires_at\n{text}\n", REQUEST_COLUMNS, zone=zone_of("Europe/Berlin"))
    assert f"got '{text}'" in message


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-18",
        "18.11.2026 12:00",
        "1794999600000",
        "20261118",
        "noon",
        "1970-01-01T00:00:00Z",
        "2101-01-01T00:00:00Z",
    ],
)
def test_other_times_are_refused(tmp_path, text):
    assert f"got {text!r}, expected a time such as" in refused(
        tmp_path, f"expires_at\n{text}\n", REQUEST_COLUMNS, zone=zone_of("UTC")
    )


# --- Device ids ---


def test_device_ids_are_mended_and_counted(tmp_path, capsys):
    ids = ["100000001", "100000001", "00012345", "ert:007", "77.0", "ERT:5", "EUI64:00135001000000FF", "ert:1", "meter"]
    table = csv_of(tmp_path, "device,n\n" + "".join(f"{one},\n" for one in ids))
    assert table["device"].to_pylist() == [
        *("ert:100000001", "ert:100000001", "ert:12345", "ert:7", "ert:77", "ert:5"),
        *("eui64:00135001000000ff", "ert:1", "meter"),
    ]
    said = capsys.readouterr().err
    assert "Device ids: 4 given as a plain number, read as ert:" in said
    assert "Device ids: 5 with leading zeros" in said


@pytest.mark.parametrize(
    "odd", ["ert:1", "eui64:00112233aabbccdd", "ert:01", "1", "ERT:1", " ert:1", "ert:1\n", "ert:\u0661", "x", "", None]
)
def test_a_column_of_canonical_device_ids_is_passed_as_it_came_and_any_other_is_read_cell_by_cell(odd):
    column = pa.array(["ert:5", odd])
    typed = columns.TypedColumns("route.csv", ROUTE_COLUMNS, None, has_header=True)
    read = typed.read(pa.record_batch({"device": column}))["device"].to_pylist()
    context = columns._Context(None)
    assert read == [columns._device(cell, context) if cell else None for cell in column.to_pylist()]


@pytest.mark.parametrize("column", [pa.array([100000001, None]), pa.array([100000001.0, float("nan")])])
def test_device_ids_that_came_as_numbers_are_ids(tmp_path, column):
    path = written(tmp_path / "rows.parquet", pa.record_batch({"device": column}))
    assert read(path, kinds=ROUTE_COLUMNS)["device"].to_pylist() == ["ert:100000001", None]


@pytest.mark.parametrize("text", ["1,00E+08", "1.00E+08", "1e8", "ert:1E+08"])
def test_an_id_that_a_spreadsheet_shortened_is_refused_with_a_hint(tmp_path, text):
    message = refused(tmp_path, f'device;n\n"{text}";1\n')
    assert f"got {text!r}" in message
    assert "format the column as text" in message


# --- CSV as programs write it ---


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_separator_and_encoding_are_found(tmp_path, separator, encoding, line_end):
    cells = [["device", "epoch", "a,b;c\td"], ["ert:1", "4", "Köln, Dom; \tN"], ["ert:2", "", 'say "no"\nor']]
    quoted = [['"' + cell.replace('"', '""') + '"' for cell in row] for row in cells]
    text = line_end.join(separator.join(row) for row in quoted) + line_end
    table = csv_of(tmp_path, text.encode(encoding))
    assert table.to_pydict() == {
        "device": ["ert:1", "ert:2"],
        "epoch": [4, None],
        "a,b;c\td": ["Köln, Dom; \tN", 'say "no"\nor'],
    }


@pytest.mark.parametrize(
    "separator,shown", [("|", "'|'"), (":", "':'"), ("^", "'^'"), (" ", "' '"), ("\x1f", "'\\x1f'"), ("§", "'§'")]
)
def test_another_separator_is_refused_with_those_that_are_read(tmp_path, separator, shown):
    text = f"{REQUIRED}\nert:1,basic,command,read_endpoint\n".replace(",", separator)
    message = refused(tmp_path, text)
    assert f"separated by {shown}, expected a comma, a semicolon or a tab" in message
    assert f"sep={separator}" in message


def test_a_header_of_one_column_is_not_taken_for_another_separator(tmp_path):
    assert csv_of(tmp_path, "my device\nx\n", {"device": ROUTE_COLUMNS["device"]}).column_names == ["my device"]
    assert csv_of(tmp_path, "sep=|\ndevice|epoch\nert:1|4\n").to_pydict() == {"device": ["ert:1"], "epoch": [4]}


def test_a_spreadsheets_own_first_line_names_the_separator(tmp_path):
    assert csv_of(tmp_path, "sep=;\r\ndevice;a,b\r\nert:1;2,3\r\n").column_names == ["device", "a,b"]


@pytest.mark.parametrize("data,line", [(b"device,unit\nert:1,K\xf6ln\n", 2), (b"devi\xffce\nert:1\n", 1)])
def test_bytes_that_are_not_utf8_are_refused_with_the_line(tmp_path, data, line):
    message = refused(tmp_path, data)
    assert f"rows.csv: line {line} is not UTF-8" in message
    assert "save it as UTF-8" in message


def test_the_line_of_bytes_that_are_not_utf8_is_counted_far_down(tmp_path):
    data = b"device,note\n" + b"ert:1,plain\n" * 700_000 + b"ert:1,K\xf6ln\n"
    assert "line 700,002 is not UTF-8" in refused(tmp_path, data)


def test_columns_of_one_name_and_of_none_pass(tmp_path):
    table = csv_of(tmp_path, "device,note,note,,\nert:1,a,b,c,d\n")
    path = written(tmp_path / "out.csv", table.to_batches()[0])
    assert path.read_text() == '"device","note","note","",""\n"ert:1","a","b","c","d"\n'
    path = written(tmp_path / "out.jsonl", table.to_batches()[0])
    assert json.loads(path.read_text()) == {"device": "ert:1", "note": "a", "note_2": "b", "": "c", "_2": "d"}
    assert 'column "device" occurs twice' in refused(tmp_path, "device,device\nert:1,ert:2\n")


def test_a_row_of_other_cells_is_refused_with_its_number(tmp_path):
    message = refused(tmp_path, "device,note\nert:1,a\nert:2,a,b\n")
    assert "row 2 (after the header) has 3 cells, but the header 2" in message


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_file_is_refused_as_empty(tmp_path, text):
    assert "is empty" in refused(tmp_path, text)


# --- JSON Lines ---


def json_lines(tmp_path, text, kinds=ROUTE_COLUMNS) -> pa.Table:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    return pa.Table.from_batches(list(read_rows(str(path), None, kinds)))


def test_json_of_others_passes_as_it_stands(tmp_path):
    text = (
        '{"device": "ert:1", "n": 12345678901234567890, "x": {"a": [1.5, null]}, "t": "2026-01-02", "b": true}\n'
        '{"device": "ert:2", "n": "gate code 12", "x": "\\u001b[2J"}\n'
    )
    table = json_lines(tmp_path, text)
    path = written(tmp_path / "out.jsonl", table.to_batches()[0])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        json.loads(line) for line in text.splitlines()
    ]
    path = written(tmp_path / "out.parquet", table.to_batches()[0])
    assert pq.read_table(path).drop_columns(["device"]).to_pylist() == [
        {"n": "12345678901234567890", "x": '{"a": [1.5, null]}', "t": "2026-01-02", "b": "true"},
        {"n": "gate code 12", "x": "\x1b[2J", "t": None, "b": None},
    ]


def test_json_of_ours_is_typed_by_name(tmp_path):
    text = '{"device": 100000001, "device_class": 0, "epoch": 4, "on_menu": 1}\n{"epoch": "5", "on_menu": false}\n'
    assert json_lines(tmp_path, text).to_pylist() == [
        {"device": "ert:100000001", "device_class": "basic", "epoch": 4, "on_menu": True},
        {"device": None, "device_class": None, "epoch": 5, "on_menu": False},
    ]


@pytest.mark.parametrize(
    "text,says",
    [
        ('{"a": 1}\nnonsense\n', "row 2 is not JSON"),
        ("[1]\n", "row 1 is not a JSON object"),
        ('{"a": 1, "a": 2}\n', "row 1 has a duplicate column"),
        ('{"epoch": 1.5}\n', "row 1, column \"epoch\": got '1.5'"),
        ('{"a": "\\ud800"}\n', "row 1 has half of a surrogate pair"),
        ("[" * 100_000 + "\n", "row 1 is not JSON"),
    ],
)
def test_json_that_is_not_a_row_is_refused_with_its_row(tmp_path, text, says):
    with pytest.raises(UnreadableError) as caught:
        json_lines(tmp_path, text)
    assert says in str(caught.value)


# --- Every type goes through ---


ODD = {
    "date": (pa.array([dt.date(2019, 5, 1)]), "2019-05-01"),
    "decimal": (pa.array([decimal.Decimal("1.10")]), "1.10"),
    "time": (pa.array([dt.time(1, 2, 3)]), "01:02:03"),
    "duration": (pa.array([5_400], pa.duration("s")), "PT5400S"),
    "list": (pa.array([[b"ab", None]]), ["6162", None]),
    "struct": (pa.array([{"a": b"x", "b": [1]}]), {"a": "78", "b": [1]}),
    "map": (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [["k", 1]]),
    "bytes": (pa.array([b"\xfb\xff"]), "fbff"),
    "fixed bytes": (pa.array([b"\xfb\xff"], pa.binary(2)), "fbff"),
    "view": (pa.array([b"\xfb"], pa.binary_view()), "fb"),
    "nan": (pa.array([float("nan")]), "nan"),
    "half": (pa.array([1.5], pa.float16()), 1.5),
    "nanoseconds": (pa.array([1], pa.timestamp("ns")), "1970-01-01T00:00:00.000000001"),
    "zoned": (pa.array([0], pa.timestamp("s", "Europe/Berlin")), "1970-01-01T01:00:00+01:00"),
    "dictionary": (pa.array(["a"]).dictionary_encode(), "a"),
    "nothing": (pa.nulls(1), None),
    "months": (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), [1, 2, 3]),
    "runs": (pa.RunEndEncodedArray.from_arrays([1], ["a"]), "a"),
    "empty struct": (pa.array([{}], pa.struct([])), {}),
    "a far year": (pa.array([2**30], pa.date32()), 2**30),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".arrow"])
def test_every_type_goes_through_to_every_format(tmp_path, kind, suffix):
    column, shown = ODD[kind]
    path = written(tmp_path / f"out{suffix}", pa.record_batch({"device": ["ert:1"], "x": column}))
    if suffix == ".jsonl":
        assert json.loads(path.read_text()).get("x") == shown
    elif suffix == ".csv":
        cell = csv_of(tmp_path, path.read_text())["x"][0].as_py()
        assert cell is not None if shown is not None else cell is None
    else:
        table = read(path)
        assert (
            values_of(table["x"].combine_chunks())[0] in (*values_of(column), json.dumps(shown), shown) or kind == "nan"
        )


DEVICES = "device,unit,device_class,epoch\nert:1,gas,basic,0\n"


@pytest.mark.parametrize(
    "row,says",
    [
        ("ert:2,gas,basic,-1", "row 2 (after the header), epoch of ert:2: got -1"),
        ("ert:2,ga\0s,basic,0", "row 2 (after the header), unit of ert:2: got 'ga\\x00s'"),
        ("281474976710656,gas,basic,0", 'row 2 (after the header), device: "ert:281474976710656" is not a device id'),
        ("meter 5,gas,basic,0", 'row 2 (after the header), device: "meter 5" is not a device id'),
        (
            "ert:2,gas,basic security plus,0",
            "row 2 (after the header), column \"device_class\": got 'basic security plus'",
        ),
        ("1,water,basic,0", "row 1 (after the header) and row 2 (after the header) have other values for ert:1"),
    ],
)
def test_a_device_that_cannot_be_kept_is_refused_with_its_row(tmp_path, row, says):
    path = tmp_path / "devices.csv"
    path.write_text(f"{DEVICES}{row}\n")
    with pytest.raises(UnreadableError) as caught:
        _device_records(str(path), None)
    assert says in str(caught.value)


def test_a_device_may_be_in_two_rows_that_are_the_same(tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text(f"{DEVICES}0001,gas,basic,0\n")
    assert {record.device for record in _device_records(str(path), None)} == {"ert:1"}


@pytest.mark.parametrize("unit", [b"gas", 7])
def test_a_unit_that_is_not_text_is_refused(tmp_path, unit):
    columns = {"device": ["ert:1"], "unit": [unit], "device_class": ["basic"]}
    path = written(tmp_path / "devices.parquet", pa.record_batch(columns))
    with pytest.raises(UnreadableError, match=rf'row 1, column "unit": got {type(unit).__name__}, expected text'):
        _device_records(str(path), None)


def test_a_number_says_whether_a_level_is_verified(tmp_path):
    columns = {"device": ["ert:1", "ert:2"], "unit": ["gas"] * 2, "device_class": [0, 1], "level_verified": [0, 1]}
    path = written(tmp_path / "devices.parquet", pa.record_batch(columns))
    assert [record.level_verified for record in _device_records(str(path), None)] == [False, True]


def test_a_route_with_an_empty_device_is_refused_with_its_row(tmp_path):
    path = tmp_path / "route.csv"
    path.write_text("device,note\nert:1,a\n,b\n")
    with pytest.raises(UnreadableError, match=r'row 2 \(after the header\), column "device": the cell is empty'):
        devices_of(None, str(path))


def test_bytes_are_written_as_base64url_in_a_token_column_and_as_hex_elsewhere(tmp_path):
    batch = pa.record_batch({"token": pa.array([b"\xfb\xff"]), "kid": pa.array([b"\xfb\xff"])})
    assert written(tmp_path / "rows.csv", batch).read_text() == '"token","kid"\n"-_8","fbff"\n'


def test_a_name_used_by_the_input_stays_and_the_answer_s_new_name_is_reported(capsys):
    batch = pa.record_batch({"code": ["mine"], "answer_code": ["also mine"], "token": ["t"]})
    both = Beside()(batch, pa.record_batch({"code": [0], "kid": ["k"]}))
    assert both.to_pydict() == {"code": ["mine"], "answer_code": ["also mine"], "answer_answer_code": [0], "kid": ["k"]}
    assert 'the answer is in "answer_answer_code"' in capsys.readouterr().err


def test_names_that_differ_in_case_alone_are_one(capsys):
    """A database that reads the file would give the old column for the answer."""
    batch = pa.record_batch({"Code": ["mine"], "token": ["t"]})
    both = Beside()(batch, pa.record_batch({"code": [0]}))
    assert both.to_pydict() == {"Code": ["mine"], "answer_code": [0]}
    assert 'already has a column "Code": the answer is in "answer_code"' in capsys.readouterr().err


def test_large_files_come_in_bounded_batches(tmp_path):
    path = written(tmp_path / "rows.arrow", pa.record_batch({"n": pa.array(range(150_000))}))
    assert [batch.num_rows for batch in read_rows(str(path), None)] == [65_536, 65_536, 150_000 - 2 * 65_536]


def test_rows_are_counted_over_the_whole_input(tmp_path):
    text = "epoch,device\n" + "1,ert:1\n" * 200_000 + "x,ert:2\n"
    assert "row 200,001 (after the header)" in refused(tmp_path, text)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_rubbish_is_unreadable(tmp_path, suffix):
    path = tmp_path / f"rubbish{suffix}"
    path.write_bytes(b"{\x00\xff" * 40)
    with pytest.raises(UnreadableError, match="cannot be read as"):
        read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableError, match="does not exist"):
        read(tmp_path / "none.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_no_rows_still_have_columns(tmp_path, suffix):
    table = read(written(tmp_path / f"rows{suffix}", BATCH.slice(0, 0)))
    assert (table.num_rows, table.column_names) == (0, ["device", "token", "epoch"])


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def half_written():
        with rows_to(str(tmp_path / "rows.csv"), None) as write:
            write(BATCH)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        half_written()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported(tmp_path):
    with pytest.raises(UnwritableError, match="/dev/full cannot be written as csv: No space left"):
        written("/dev/full", BATCH, FileFormat.CSV)


def test_an_unknown_suffix_shows_no_format():
    with pytest.raises(UsageError, match=r"rows\.txt"):
        format_of("rows.txt", None, "--format")
    assert format_of("rows.txt", FileFormat.CSV, "--format") == "csv"


def test_a_column_that_comes_late_is_null_before_it_or_refused(tmp_path):
    first, later = pa.record_batch({"a": ["1"]}), pa.record_batch({"a": ["2"], "b": ["x"]})
    with rows_to(str(tmp_path / "out.jsonl"), None) as write:
        write(first)
        write(later)
    assert (tmp_path / "out.jsonl").read_text() == '{"a": "1"}\n{"a": "2", "b": "x"}\n'
    assert 'column "b" first appears' in _refused_late(tmp_path, first, later)


def _refused_late(tmp_path, first, later) -> str:
    try:
        with rows_to(str(tmp_path / "x.csv"), None) as write:
            write(first)
            write(later)
    except UnreadableError as error:
        return str(error)
    return ""


def test_every_kind_of_column_describes_its_expected_values():
    kinds = [
        *ROUTE_COLUMNS.values(),
        *REQUEST_COLUMNS.values(),
        *DEVICE_COLUMNS.values(),
        *columns.WANTED_COLUMNS.values(),
    ]
    assert all(kind.expected for kind in kinds)


@pytest.mark.parametrize(
    "column,shown",
    [
        (pa.array([None, 1_795_000_000_000]), "1795000000000"),
        (pa.array([float("nan"), 46357.0]), "46357.0"),
        (pa.array([None, 2**63], pa.uint64()), str(2**63)),
        (pa.array([None, 10**6], pa.timestamp("us", "UTC")), "1970-01-01 00:00:01+00:00"),
    ],
)
def test_a_time_outside_2020_to_2100_is_refused_in_a_file_of_types_too(tmp_path, column, shown):
    pq.write_table(pa.table({"device": ["ert:1", "ert:2"], "session_opened_at": column}), tmp_path / "rows.parquet")
    with pytest.raises(UnreadableError, match=re.escape(f"row 2, column \"session_opened_at\": got '{shown}'")):
        read(tmp_path / "rows.parquet", kinds=ROUTE_COLUMNS)


def test_times_of_types_that_lie_in_the_years_or_are_none_are_read(tmp_path):
    for column in (pa.array([1_795_000_000, None]), pa.array([1_795_000_000.0, float("nan")]), pa.nulls(2)):
        pq.write_table(pa.table({"device": ["ert:1", "ert:2"], "session_opened_at": column}), tmp_path / "rows.parquet")
        assert read(tmp_path / "rows.parquet", kinds=ROUTE_COLUMNS)["session_opened_at"].type == column.type


def test_a_number_that_no_double_holds_is_refused(tmp_path):
    with pytest.raises(UnreadableError, match="row 1 is not JSON: 1e999 is too large for a number"):
        json_lines(tmp_path, '{"device": "ert:1", "n": 1e999}\n')


@pytest.mark.slow
def test_a_row_of_csv_beyond_the_block_is_refused_in_plain_words(tmp_path):
    with pytest.raises(UnreadableError, match="a row has more than 4 MiB, the most for CSV"):
        csv_of(tmp_path, "device,note\nert:1," + "x" * (8 << 20) + "\n")


def test_files_of_json_lines_can_be_joined_each_with_its_byte_order_mark(tmp_path):
    joined = json_lines(tmp_path, '\ufeff{"device": "ert:1"}\n\ufeff{"device": "ert:2"}\n')
    assert joined["device"].to_pylist() == ["ert:1", "ert:2"]


@pytest.mark.slow
def test_a_column_that_first_appears_after_65_536_rows_of_a_file_is_written_in_every_format(tmp_path):
    path, count = tmp_path / "rows.jsonl", 65_536 + 10
    lines = ['{"device": "ert:1"}\n'] * count + ['{"device": "ert:2", "note": "gate code 12", "epoch": 7}\n']
    path.write_text("".join(lines))
    batches = list(read_rows(str(path), None, ROUTE_COLUMNS))
    for suffix in SUFFIXES:
        with rows_to(str(tmp_path / f"out{suffix}"), None) as write:
            for batch in batches:
                write(batch)
        last = read(tmp_path / f"out{suffix}", kinds=ROUTE_COLUMNS).slice(count).to_pylist()
        assert last == [{"device": "ert:2", "note": "gate code 12", "epoch": 7}], suffix


@pytest.mark.slow
def test_a_misspelt_column_is_refused_wherever_it_first_appears(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"device": "ert:1"}\n' * 65_600 + '{"device": "ert:2", "epochs": 7}\n')
    with pytest.raises(UnreadableError, match='did you mean "epoch"'):
        read(path, kinds=ROUTE_COLUMNS)
    pipe_in, pipe_out = os.pipe()
    writer = threading.Thread(target=_poured, args=(path.read_bytes(), pipe_out))
    writer.start()
    with pytest.raises(UnreadableError, match='did you mean "epoch"'):
        read(f"/dev/fd/{pipe_in}", FileFormat.JSONL, kinds=ROUTE_COLUMNS)
    os.close(pipe_in)
    writer.join()


def _poured(data, descriptor):
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as target:
        target.write(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text, line",
    [
        ('device,note\nert:1,"x\nert:2,y\n', 2),
        ('device,note\nert:1,x\nert:2,"y\r\nert:3,z\r\n', 3),
        ('device,note\nert:1,"x\nert:2,"y"\nert:3,z\n', 2),
        ('device;note\nert:1;5" pipe\nert:2;"y\nert:3;z', 3),
        ('device\tnote\nert:1\t"a\nb"c\nert:2\tx\n', 2),
        ('note,device\n"x,ert:1\ny,ert:2\n', 2),
        ("device,note\n" + 'ert:1,"x"\n' * 700_000 + 'ert:2,"y\nert:3,z\n', 700_002),
    ],
    ids=range(7),
)
def test_a_quotation_mark_that_is_never_closed_loses_no_row(tmp_path, text, line):
    with pytest.raises(UnreadableError, match=rf"line {line:,} has a cell"):
        csv_of(tmp_path, text)


@pytest.mark.parametrize(
    "text, note",
    [
        ('device,note\nert:1,"x\ny"\n', "x\ny"),
        ('device,note\nert:1,5" pipe\n', '5" pipe'),
        ('device,note\nert:1,"a ""b""\nc"\n\n', 'a "b"\nc'),
        ('device,note\nert:1,"y"', "y"),
        ('device;note\nert:1;"a,""b"";c"\r\n', 'a,"b";c'),
        ('device,note\nert:1,""""\n', '"'),
        ('device,note\nert:1,"' + 'x""\n' * 1_000_000 + '"\n', 'x"\n' * 1_000_000),
    ],
    ids=range(7),
)
def test_cells_of_several_lines_and_quotation_marks_within_cells_are_read(tmp_path, text, note):
    assert csv_of(tmp_path, text)["note"].to_pylist() == [note]


def test_what_data_frames_write_for_nothing_is_nothing_and_infinity_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"device": "ert:1", "epoch": NaN, "note": NaN}\n')
    assert read(path, kinds=ROUTE_COLUMNS).to_pylist() == [{"device": "ert:1", "epoch": None, "note": None}]
    path.write_text('{"device": "ert:1"}\n{"device": "ert:1", "note": -Infinity}\n')
    with pytest.raises(UnreadableError, match="row 2 is not JSON: it has no -Infinity"):
        read(path, kinds=ROUTE_COLUMNS)
