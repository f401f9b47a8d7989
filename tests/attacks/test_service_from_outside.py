"""What a stranger, a tool that was stolen, or a server that lies can make the other side hold, wait for, or read.

`ITRON_CORE_ATTACK_CONNECTIONS` and `ITRON_CORE_ATTACK_REPORTS` are the sizes; 1,100 and 2,100 are those of the attack that
was found, and the first is tried each time.
"""

import contextlib
import http.client
import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from itron_core import Action, ExchangeError, Keyring, KeyringEntry, LocalSigner, Permission
from itron_core.exchange.material import MaterialState
from itron_core.exchange.pages import PAGE_BYTES
from itron_core.exchange.records import OutcomeReport
from itron_core.service import bodies
from itron_core.service.app import create_app
from itron_core.service.bearer import bearer_token
from itron_core.service.client import RemoteToolsServer
from itron_core.service.limits import ConnectionLimits, ServiceLimits
from itron_core.stores import open_store
from itron_core.tools_server import Quotas, ToolsServer
from serving import Running

CONNECTIONS = int(os.environ.get("ITRON_CORE_ATTACK_CONNECTIONS", "1100"))
REPORTS = int(os.environ.get("ITRON_CORE_ATTACK_REPORTS", "300"))
PROGRAM = Path(sys.executable).parent / "itron-core"
NOW = 1_800_000_000
ROOT, PEOPLE = LocalSigner.generate(), LocalSigner.generate()
ALL = int(sum(Permission))
MILLION = 1_000_000


def bearer(*, subject="ann", tool="t1", unit="gas", role="field_tool"):
    return bearer_token(PEOPLE, subject=subject, tool=tool, unit=unit, roles=[role], now=NOW, lifetime=600)


@contextlib.contextmanager
def running(folder, *, connections=None, limits=None, quotas=None):
    store = open_store(folder / "server.db")
    server = ToolsServer(store, Keyring([KeyringEntry(ROOT.public_key, issuer="root")]), quotas=quotas)
    server.set_users([("ann", "gas", ALL)], now=NOW)
    app = create_app(server, bearer_key=PEOPLE.public_key, clock=lambda: NOW, limits=limits)
    service = Running(app, connections)
    try:
        yield server, service
    finally:
        service.stop()
        store.close()


def remote(service, **who):
    return RemoteToolsServer(service.url, bearer(**who), timeout=60)


def health(port, seconds=20):
    """Ask until the service answers 200; return the seconds that it took."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/v1/health")
            status = connection.getresponse().status
            connection.close()
            if status == 200:
                return time.monotonic() - started
            assert status == 503
    raise AssertionError(f"no answer in {seconds} seconds")


def report(number, answer=b"{}"):
    return OutcomeReport(number, "ert:100", Action.READ_ENDPOINT, b"", b"", b"", MaterialState.USED, 0, answer, NOW)


@pytest.fixture
def files():
    """Let this process open as many connections as the attack has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def served(tmp_path):
    """`itron-core serve` as a process with few files, as a careful administrator starts it."""
    made = [PROGRAM, "manager", "init", "ism", "--utility", "UTIL0001"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    arguments = [
        "sh",
        "-c",
        'ulimit -n 256; exec "$@"',
        "sh",
        PROGRAM,
        "serve",
        "tools",
        "--keyring",
        "ism/root.jwks",
        "--port",
        "0",
        "--head-seconds",
        "5",
    ]
    process = subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = re.fullmatch(r"Serving tools at http://127\.0\.0\.1:(\d+)\n", process.stdout.readline())
    yield int(found[1])
    process.kill()
    process.communicate()


# --- Connections (row 8) ---


@pytest.mark.slow
@pytest.mark.parametrize("said", [b"", b"GET /v1/health HTTP/1.1\r\nHo"], ids=["silent", "half a header"])
def test_a_thousand_silent_connections_end_no_service(served, files, said):
    health(served)
    silent = []
    for _ in range(CONNECTIONS):
        with contextlib.suppress(OSError):
            silent.append(socket.create_connection(("127.0.0.1", served), timeout=5))
            silent[-1].sendall(said)
    assert len(silent) > CONNECTIONS // 2
    # While they are held, the oldest makes place for who speaks; the five seconds of a header need not pass.
    assert health(served) < 15
    # None is held for ever.
    time.sleep(6)
    assert sum(closed(connection) for connection in silent) == len(silent)
    for connection in silent:
        connection.close()


def closed(connection):
    """Whether the other end has closed a connection."""
    connection.settimeout(1)
    with contextlib.suppress(ConnectionError):
        while some := connection.recv(4_096):
            assert b" 503 " in some or b" 4" in some
    return True


@pytest.mark.slow
def test_connections_are_limited_in_all_and_per_address_with_503(tmp_path):
    for limits in (ConnectionLimits(connections=4), ConnectionLimits(by_address=4)):
        folder = tmp_path / str(limits.connections)
        folder.mkdir()
        with running(folder, connections=limits._replace(grace_seconds=60)) as (_, service):
            held = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(4)]
            deadline = time.monotonic() + 10
            while service.guard.count < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            with socket.create_connection(("127.0.0.1", service.port), timeout=10) as beyond:
                assert beyond.recv(4_096).startswith(b"HTTP/1.1 503 ")
            held.pop().close()
            assert health(service.port) < 10
            for connection in held:
                connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kept", [False, True], ids=["first request", "later request"])
def test_headers_that_drip_are_not_waited_for(tmp_path, kept):
    """Each byte comes in good time; the headers as a whole do not."""
    with running(tmp_path, connections=ConnectionLimits(head_seconds=1.0)) as (_, service):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
            if kept:
                connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 200 " in connection.recv(4_096)
            started = time.monotonic()
            with contextlib.suppress(ConnectionError, TimeoutError):
                connection.settimeout(0.1)
                for byte in b"GET /v1/health HTTP/1.1\r\nX: " + b"x" * 200:
                    connection.sendall(bytes([byte]))
                    with contextlib.suppress(TimeoutError):
                        if not connection.recv(1):
                            break
            assert 0.5 < time.monotonic() - started < 8
        assert health(service.port) < 10


# --- Answers that nobody reads (row 9a) ---


@pytest.mark.slow
def test_answers_that_are_not_read_end_and_hold_no_place_after(tmp_path):
    connections = ConnectionLimits(answer_seconds=2.0)
    limits = ServiceLimits(at_once=2, answer_seconds=2.0)
    with running(tmp_path, connections=connections, limits=limits) as (server, service):
        server.snapshot("t1", "ann", now=NOW)
        server.report("t1", [report(number, bytes(60_000)) for number in range(1, 200)], now=NOW)
        greedy = []
        for number in range(4):
            token = bearer(subject=f"ism-{number}", tool="", unit="", role="manager")
            connection = socket.create_connection(("127.0.0.1", service.port))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.sendall(
                f"GET /v1/outcomes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            )
            greedy.append(connection)
        # Two of them have all the places; each loses its own when it does not read.
        with remote(service) as honest:
            assert honest.snapshot("t1", "ann", now=NOW).user == "ann"
        deadline = time.monotonic() + 20
        while service.guard.count > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.guard.count <= 1, "connections whose answers are not taken are ended"
        for connection in greedy:
            connection.close()


@pytest.mark.slow
def test_a_small_request_reads_no_more_than_it_names(tmp_path):
    """Two numbers, far apart, are not a range of all that lies between."""
    with running(tmp_path, quotas=Quotas(outcome_bytes_per_day=2**40)) as (server, _):
        server.snapshot("t1", "ann", now=NOW)
        reports = [report(number, bytes(60_000)) for number in range(1, REPORTS + 1)]
        server.report("t1", reports, now=NOW)
        tracemalloc.start()
        assert server.report("t1", [reports[0], reports[-1]], now=NOW) == [0, 0]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MILLION


# --- Bombs (row 6) and pages (row 7) ---

BOMBS = {
    "many small rows": b'{"rows":[' + b'{"device":""},' * 200_000 + b'{"device":""}]}',
    "nested objects": b'{"rows":' * 300_000,
    "nested arrays": b'{"rows":' + b"[" * 2_000_000,
    "one name a hundred thousand times": b"{" + b'"rows":[],' * 100_000 + b'"rows":[]}',
    "names that are unknown": b'{"a":' + b"[0]," * 500_000 + b'0,"rows":[]}',
    "an array of numbers": b'{"rows":[' + b"0," * 1_000_000 + b"0]}",
    "a long text": b'{"rows":[{"device":"' + b"\\u0041" * 300_000 + b'"}]}',
    "a long number": b'{"rows":' + b"9" * 2_000_000 + b"}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_body_becomes_no_more_than_a_few_times_its_bytes(bomb):
    body = BOMBS[bomb]
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(bodies.WireError):
        bodies.decode(bodies.DeviceNames, body, most_rows=100_000)
    seconds = time.monotonic() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(body) + MILLION
    assert seconds < 5


@pytest.mark.slow
def test_genuine_reports_of_64_kib_are_reported_and_collected(tmp_path):
    with running(tmp_path, quotas=Quotas(outcome_bytes_per_day=2**40)) as (_, service):
        reports = [report(number, os.urandom(65_536)) for number in range(1, REPORTS + 1)]
        with remote(service) as tool, remote(service, subject="ism", tool="", unit="", role="manager") as manager:
            tool.snapshot("t1", "ann", now=NOW)
            assert tool.report("t1", reports, now=NOW) == [0] * REPORTS
            found, after, more, pages = [], 0, True, 0
            while more:
                page = manager.outcomes(after, 10_000)
                assert sum(len(row.answer) for _, _, row, _ in page.rows) <= PAGE_BYTES
                found += [row for _, _, row, _ in page.rows]
                after, more, pages = page.next, page.more, pages + 1
    assert found == reports
    assert pages == -(-REPORTS // (PAGE_BYTES // (65_536 + 512)))


# --- Servers that lie to the client ---


class Dripping:
    """A server that sends the headers of its answer byte by byte, each in good time."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            connection, _ = self.listening.accept()
            with connection:
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2_000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)

    def stop(self):
        self.listening.close()
        self.thread.join(10)


@pytest.mark.slow
def test_headers_that_drip_do_not_defeat_the_timeout_of_the_client():
    server = Dripping()
    started = time.monotonic()
    with (
        RemoteToolsServer(server.url, bearer(), timeout=0.7) as client,
        pytest.raises(ExchangeError, match="took longer than"),
    ):
        client.snapshot("t1", "ann", now=NOW)
    assert time.monotonic() - started < 5
    server.stop()


def test_the_client_keeps_no_cookies(tmp_path):
    asked = []
    page = json.dumps({"position": 0}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nSet-Cookie: a=" + b"x" * 3_000 + b"\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(page)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                for _ in range(3):
                    asked.append(connection.recv(65_536))
                    connection.sendall(head + page)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with RemoteToolsServer(f"http://127.0.0.1:{listening.getsockname()[1]}", bearer(), timeout=20) as client:
            for _ in range(3):
                assert client.received("ism") == 0
        thread.join(10)
    assert len(asked) == 3
    assert not any(b"cookie" in one.lower() for one in asked)
