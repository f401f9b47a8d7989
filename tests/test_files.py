"""Columns from files and to files: what is written is what was read, in every format."""

import io
import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest

from itron_core.cli import files as _files

TOKENS = [bytes(range(130, 230)), None, b"\xd2\x84" + bytes(120)]
BATCH = pa.record_batch(
    {
        "device": ["ert:1", "ert:2", "ert:3"],
        "token": pa.array(TOKENS, pa.binary()),
        "epoch": pa.array([1, 2, 3], pa.int64()),
    }
)
SUFFIXES = sorted(_files.FORMATS)


def read(path, file_format=None) -> pa.Table:
    return pa.Table.from_batches(list(_files.read_batches(str(path), file_format or _files.format_of(str(path), None))))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    with _files.writer(str(path), _files.format_of(str(path), None)) as write:
        write(BATCH)
        write(BATCH.slice(1))
    table = read(path)
    assert table["token"].to_pylist() == TOKENS + TOKENS[1:]
    assert table["device"].to_pylist() == ["ert:1", "ert:2", "ert:3", "ert:2", "ert:3"]
    assert table["epoch"].to_pylist() == [1, 2, 3, 2, 3]


@pytest.mark.parametrize("file_format", sorted(set(_files.FORMATS.values())))
def test_standard_streams_carry_every_format(monkeypatch, file_format):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=printed))
    with _files.writer("-", file_format) as write:
        write(BATCH)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(printed.getvalue())))
    assert read("-", file_format)["token"].to_pylist() == TOKENS


@pytest.mark.parametrize(
    "text,expected",
    [
        ("00ff", b"\x00\xff"),
        ("00FF", b"\x00\xff"),
        ("0oQ", b"\xd2\x84"),
        ("0oQ=", b"\xd2\x84"),
        ("-_-_", b"\xfb\xff\xbf"),
        (" 0oQ\n", b"\xd2\x84"),
        ("not a token!", b"not a token!"),
        ("", b""),
        ("é", "é".encode()),
    ],
)
def test_text_is_hex_or_base64url_or_itself(text, expected):
    assert _files.bytes_from_text(text) == expected


def test_bytes_are_written_as_base64url_in_a_token_column_and_as_hex_elsewhere(tmp_path):
    path = tmp_path / "rows.csv"
    with _files.writer(str(path), "csv") as write:
        write(pa.record_batch({"token": pa.array([b"\xfb\xff"]), "kid": pa.array([b"\xfb\xff"])}))
    assert path.read_text() == '"token","kid"\n"-_8","fbff"\n'


def test_large_files_come_in_bounded_batches(tmp_path):
    path = tmp_path / "rows.arrow"
    with _files.writer(str(path), "arrow") as write:
        write(pa.record_batch({"n": pa.array(range(150_000))}))
    sizes = [batch.num_rows for batch in _files.read_batches(str(path), "arrow")]
    assert sizes == [65_536, 65_536, 150_000 - 2 * 65_536]


def test_actions_are_a_number_or_names_between_bars(tmp_path):
    path = tmp_path / "request.csv"
    path.write_text("device,actions\nert:1,read_endpoint|check_endpoint\nert:2,open_session\n")
    assert read(path)["actions"].to_pylist() == [["read_endpoint", "check_endpoint"], ["open_session"]]
    path.write_text("device,actions\nert:1,3\nert:2,8\n")
    assert read(path)["actions"].to_pylist() == [3, 8]
    path.write_text("device,actions\nert:1,3\nert:2,geomode\n")
    assert read(path)["actions"].to_pylist() == [["3"], ["geomode"]]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".jsonl"])
def test_rubbish_is_unreadable(tmp_path, suffix):
    path = tmp_path / f"rubbish{suffix}"
    path.write_bytes(b"{\x00\xff" * 40)
    with pytest.raises(_files.UnreadableError, match="cannot be read as"):
        read(path)


def test_a_missing_file_is_unreadable_and_said_so(tmp_path):
    with pytest.raises(_files.UnreadableError, match="there is no file"):
        read(tmp_path / "none.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_no_rows_still_have_columns(tmp_path, suffix):
    path = tmp_path / f"rows{suffix}"
    with _files.writer(str(path), _files.format_of(str(path), None)) as write:
        write(BATCH.slice(0, 0))
    table = read(path)
    assert (table.num_rows, table.column_names) == (0, ["device", "token", "epoch"])


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    def half_written():
        with _files.writer(str(tmp_path / "rows.csv"), "csv") as write:
            write(BATCH)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        half_written()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_suffix_tells_no_format():
    with pytest.raises(ValueError, match=r"rows\.txt"):
        _files.format_of("rows.txt", None)
    assert _files.format_of("rows.txt", "csv") == "csv"
