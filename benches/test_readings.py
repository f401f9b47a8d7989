"""Protected readings a second: 64 bytes a payload, a key a row in a column, beside loops over pyca and the field's libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pytest

import reading_peers as peers
from conftest import Work
from itron_core import KeySource, MasterKey, derive_keys, open_readings, protect_readings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference.build_readings import Wmbus
from reference.build_readings import dlms as made_by_dlms

# Each distinct telegram has its own device, key and counter; columns repeat them up to their length.
DISTINCT = 10_000
MASTER = bytes(range(32))
UTILITY = b"UTIL0001"
# Two check bytes of mode 5, and a payload as meters send them; without values in it, any parser takes it.
PAYLOAD = b"\x2f\x2f" + bytes.fromhex("0c1411223344") + b"\x2f" * 56


@pytest.fixture(scope="module")
def rows(request):
    return 1_000_000 if request.config.getoption("--scale") == "full" else 100_000


def addresses() -> list[bytes]:
    # Ids are decimal digits, which the parsers ask for.
    return [b"\x2d\x2c" + bytes.fromhex(f"{number:08}")[::-1] + b"\x1b\x07" for number in range(DISTINCT)]


def keys_of(devices: list[bytes], label: str = "read-enc") -> list[bytes]:
    made = derive_keys(MasterKey.from_bytes(MASTER), devices, utility=UTILITY, label=label)
    return [made.key(row) for row in range(len(devices))]


def column(values: list[bytes], rows: int, *, width: int | None = None) -> pa.Array:
    """Repeat values up to so many rows."""
    return pa.array(values * (rows // len(values)), pa.binary(-1 if width is None else width))


def measured(beside, what, ours, loop, *, rows, threads, **others):
    """Compare the answers, then the speed."""
    results = ours(threads)
    assert results.summary()["code"] == {"ok": rows}
    assert results["payload"][:DISTINCT].to_pylist() == loop()
    works = {"pyca" if threads == 1 else "pyca_one_thread": Work(loop, DISTINCT)}
    if threads > 1:
        works["one_thread"] = Work(lambda: ours(1), rows)
    others = {name: Work(call, count) for name, (call, count) in others.items()}
    own = Work(lambda: ours(threads), rows)
    beside(f"open_readings, {what}, {rows:,} rows, threads={threads}", "readings", own, **works, **others)


def wmbus(kind: str) -> tuple[list[bytes], list[bytes]]:
    devices = addresses()
    keys = keys_of(devices)
    make = {"mode 5": Wmbus.mode_5, "mode 7": Wmbus.mode_7}[kind]
    return [make(Wmbus(address=device), key, PAYLOAD) for device, key in zip(devices, keys, strict=True)], keys


@pytest.mark.parametrize("threads", [1, 2])
def test_wmbus_mode_5(beside, rows, threads):
    telegrams, keys = wmbus("mode 5")
    given, held = column(telegrams, rows), column(keys, rows, width=16)

    def ours(threads):
        return open_readings(given, held, profile="wmbus", threads=threads)

    def parser():
        return peers.pymbusparser(telegrams[:1_000], keys[:1_000])

    others = {}
    if threads == 1 and has("pymbusparser"):
        assert "11223344" in str(parser()[0]) or "44332211" in str(parser()[0])
        others["pymbusparser"] = (parser, 1_000)
    measured(beside, "wmbus mode 5", ours, lambda: peers.mode_5(telegrams, keys), rows=rows, threads=threads, **others)


@pytest.mark.parametrize("threads", [1, 2])
def test_wmbus_mode_7(beside, rows, threads):
    telegrams, keys = wmbus("mode 7")
    given, held = column(telegrams, rows), column(keys, rows, width=16)

    def ours(threads):
        return open_readings(given, held, profile="wmbus", threads=threads)

    measured(beside, "wmbus mode 7", ours, lambda: peers.mode_7(telegrams, keys), rows=rows, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_wmbus_mode_5_with_keys_derived_in_the_call(beside, rows, threads):
    telegrams, _ = wmbus("mode 5")
    given, source = column(telegrams, rows), KeySource(MasterKey.from_bytes(MASTER), utility=UTILITY)

    def ours(threads):
        return open_readings(given, source, profile="wmbus", threads=threads)

    def loop():
        return peers.mode_5_derived(telegrams, MASTER, UTILITY)

    measured(beside, "wmbus mode 5, keys derived", ours, loop, rows=rows, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_dlms(beside, rows, threads):
    titles = [b"KFM\x10" + number.to_bytes(4, "big") for number in range(DISTINCT)]
    keys, authentication_keys = keys_of(titles), keys_of(titles, "read-auth")
    held = zip(titles, keys, authentication_keys, strict=True)
    messages = [made_by_dlms(key, second, PAYLOAD, title=title) for title, key, second in held]
    given, first, second = (column(one, rows) for one in (messages, keys, authentication_keys))

    def ours(threads):
        return open_readings(given, first, profile="dlms", authentication_keys=second, threads=threads)

    def loop():
        return peers.dlms(messages, keys, authentication_keys)

    def library():
        return peers.dlms_cosem(messages[:1_000], keys[:1_000], authentication_keys[:1_000])

    others = {}
    if threads == 1 and has("dlms_cosem"):
        assert library() == loop()[:1_000]
        others["dlms_cosem"] = (library, 1_000)
    measured(beside, "dlms, GCM with a tag of 12 bytes", ours, loop, rows=rows, threads=threads, **others)


@pytest.mark.parametrize("threads", [1, 2])
def test_cose(beside, rows, threads):
    devices = [number.to_bytes(8, "big") for number in range(DISTINCT)]
    made = derive_keys(MasterKey.from_bytes(MASTER), devices, utility=UTILITY)
    readings = protect_readings([PAYLOAD] * DISTINCT, made, devices=devices, counters=range(DISTINCT)).to_pylist()
    keys = [made.key(row) for row in range(DISTINCT)]
    given, held = column(readings, rows), column(keys, rows, width=16)

    def ours(threads):
        return open_readings(given, held, profile="cose", threads=threads)

    measured(beside, "cose A128GCM", ours, lambda: peers.cose(readings, keys), rows=rows, threads=threads)


def has(module: str) -> bool:
    """Whether a peer is installed; without it its ratio is missing, and nothing else."""
    import importlib.util

    return importlib.util.find_spec(module) is not None
