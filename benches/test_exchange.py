"""A field tool syncing 100,000 devices over HTTP on loopback.

The server runs in a process of its own, on SQLite with every commit on the disk. `python benches/test_exchange.py` times
the whole sync of a fresh field tool once, with what it verifies and stores.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import NOW, Work
from itron_core import (
    Action,
    FieldTool,
    Keyring,
    KeyringEntry,
    LocalSigner,
    Permission,
    PublicKey,
    ToolsServer,
    issue_tokens,
)
from itron_core.exchange.material import Material, Page
from itron_core.exchange.records import CommandRequest, DeviceRecord
from itron_core.service.bearer import bearer_token
from itron_core.service.client import RemoteToolsServer
from itron_core.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

DEVICES = 100_000
PAGE = 10_000
HOUR = 3_600
USER = "ann"


def names() -> list[str]:
    return [f"ert:{number}" for number in range(1, DEVICES + 1)]


def issued(signer: LocalSigner) -> list[Material]:
    devices, bit = names(), 1 << Action.READ_ENDPOINT
    columns = {
        "device": devices,
        "actions": [bit] * DEVICES,
        "sequence": [1] * DEVICES,
        "epoch": [0] * DEVICES,
        "expires_at": [NOW + HOUR] * DEVICES,
        "command": [b"\x01"] * DEVICES,
    }
    tokens = issue_tokens(columns, signer, now=NOW, token_type="secure_command").to_pylist()
    said = ("secure_command", bit, signer.public_key.kid, 1, 0, NOW, None, NOW + HOUR, None)
    return [Material("gas", device, *said, token) for device, token in zip(devices, tokens, strict=True)]


def filled(path: Path, signer: LocalSigner, tools: list[str]) -> Keyring:
    """Make a server's store that holds material for every device, granted to each of the tools."""
    keyring = Keyring([KeyringEntry(signer.public_key, issuer="ism")])
    store = open_store(path)
    server = ToolsServer(store, keyring)
    server.set_users([(USER, "gas", int(sum(Permission)))], now=NOW)
    server.set_devices([DeviceRecord(device, "gas", 1, 0, 1, level_verified=True) for device in names()], now=NOW)
    server.receive("ism", Page(list(enumerate(issued(signer), 1)), DEVICES, more=False), now=NOW)
    wants = [
        CommandRequest(number, device, "secure_command", Action.READ_ENDPOINT)
        for number, device in enumerate(names(), 1)
    ]
    for tool in tools:
        server.snapshot(tool, USER, now=NOW)
        server.request(tool, wants, now=NOW)
    store.close()
    return keyring


def serve(path: Path, issuing: bytes, people: bytes, listening: socket.socket) -> None:
    import uvicorn

    from itron_core.service.app import create_app

    keyring = Keyring([KeyringEntry(PublicKey.from_raw("Ed25519", issuing), issuer="ism")])
    server = ToolsServer(open_store(path), keyring)
    app = create_app(server, bearer_key=PublicKey.from_raw("Ed25519", people), clock=lambda: NOW)
    uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off")).run([listening])


@contextmanager
def running(path: Path, issuing: LocalSigner, people: LocalSigner) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = (path, issuing.public_key.raw, people.public_key.raw, listening)
        process = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.terminate()
            process.join()


def remote_of(url: str, people: LocalSigner, tool: str) -> RemoteToolsServer:
    bearer = bearer_token(people, subject=USER, tool=tool, unit="gas", roles=["field_tool"], now=NOW, lifetime=HOUR)
    return RemoteToolsServer(url, bearer, timeout=120)


def fetched(remote: RemoteToolsServer, tool: str) -> int:
    cursor, count, more = 0, 0, True
    while more:
        page = remote.material(tool, cursor, PAGE, now=NOW)
        cursor, more, count = page.next, page.more, count + len(page.rows)
    return count


@pytest.mark.full
def test_material_over_http(beside, tmp_path):
    issuing, people = LocalSigner.generate(), LocalSigner.generate()
    filled(tmp_path / "server.db", issuing, ["t1"])
    with running(tmp_path / "server.db", issuing, people) as url, remote_of(url, people, "t1") as remote:
        remote.snapshot("t1", USER, now=NOW)

        def fetch():
            assert fetched(remote, "t1") == DEVICES

        beside(f"material of {DEVICES:,} devices over HTTP on loopback", "devices", Work(fetch, DEVICES))


def time_sync() -> float:
    """Return the seconds of a whole sync of a fresh field tool: request, material, devices, verified."""
    issuing, people = LocalSigner.generate(), LocalSigner.generate()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keyring = filled(folder / "server.db", issuing, [])
        with running(folder / "server.db", issuing, people) as url:
            store = open_store(folder / "tool.db")
            tool = FieldTool(store, keyring, "t1")
            tool.request_commands(names(), token_type="secure_command", actions=[Action.READ_ENDPOINT], now=NOW)
            with remote_of(url, people, "t1") as remote:
                started = time.perf_counter()
                report = tool.sync(remote, USER, now=NOW, page=PAGE)
                seconds = time.perf_counter() - started
            assert (report.wants, report.material, report.devices) == (DEVICES,) * 3
            store.close()
    return seconds


if __name__ == "__main__":
    taken = time_sync()
    print(f"whole sync of {DEVICES:,} devices: {taken:.2f} s, {DEVICES / taken:,.0f} devices a second")
    sys.exit()
