"""The service of docs/your-service.md runs as it stands there, on a real server."""

import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx")
pytest.importorskip("opentelemetry.sdk")

import httpx
import pyarrow as pa
from fastapi import FastAPI, Response
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from itron_core import Code, Permission, process_route
from itron_core.service.metrics import CallMetrics
from itron_core.testing import make_route, make_tokens
from serving import Running

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "programs" / "verifier.py"
ROWS = 100_000


def points_of(reader):
    """Return the recorded points: instrument, attributes, value."""
    data = reader.get_metrics_data()
    return [
        (metric.name, dict(point.attributes), getattr(point, "value", None))
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]


@pytest.fixture(scope="module")
def verifier():
    """The page's service in a process of its own, with the keys of a real server."""
    made, issuer = make_tokens(2_000, now=1_795_000_000, seed=7, refused_share=0.01), FastAPI()

    @issuer.get("/jwks.json")
    def jwks():
        return Response(made.keyring.to_jwks(), media_type="application/jwk-set+json")

    issuing = Running(issuer)
    arguments = [sys.executable, PROGRAM, f"{issuing.url}/jwks.json", str(made.now)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip(), made
        process.terminate()
    issuing.stop()


def stream_of(tokens):
    sink, batch = pa.BufferOutputStream(), pa.record_batch({"token": tokens})
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def test_the_service_verifies_batches_and_single_tokens(verifier):
    url, made = verifier
    assert httpx.get(f"{url}/ready").json() == {"status": "ready"}
    tokens = pa.array(made.tokens)
    answer = httpx.post(f"{url}/verify", content=stream_of(tokens[:1_000]), timeout=60)
    codes = pa.ipc.open_stream(answer.content).read_all()["code"].to_pylist()
    assert {row for row, code in enumerate(codes) if code} == {row for row in made.refused if row < len(codes)}
    genuine, forged = codes.index(0), next(row for row, code in enumerate(codes) if code)
    assert httpx.post(f"{url}/verify-one", content=tokens[genuine].as_py()).json()["device"].startswith("ert:")
    refused = httpx.post(f"{url}/verify-one", content=tokens[forged].as_py())
    assert (refused.status_code, refused.json()["detail"]) == (422, Code(codes[forged]).name.lower())
    for body in (b"", b"not Arrow", stream_of(tokens[:1])[:-30], stream_of(pa.array([1.5]))):
        assert httpx.post(f"{url}/verify", content=body).status_code == 400


def test_health_answers_beside_large_calls(verifier):
    """The worst wait is reported, not asserted: the machine may be busy."""
    url, made = verifier
    body, done = stream_of(pa.array(made.tokens * (ROWS // len(made)))), threading.Event()

    def verify():
        for _ in range(2):
            with urlopen(Request(f"{url}/verify", body), timeout=60) as answer:
                assert pa.ipc.open_stream(answer.read()).read_all().num_rows == ROWS
        done.set()

    caller, waits = threading.Thread(target=verify), []
    caller.start()
    with httpx.Client() as client:
        while not done.wait(0.005) and caller.is_alive():
            started = time.perf_counter()
            assert client.get(f"{url}/health").status_code == 200
            waits.append((time.perf_counter() - started) * 1e3)
    caller.join()
    assert done.is_set()
    print(f"/health: median {statistics.median(waits):.1f} ms, worst {max(waits):.1f} ms of {len(waits)}")  # noqa: T201


def test_metrics_count_tokens_by_code_and_name_no_device():
    reader = InMemoryMetricReader()
    metrics = CallMetrics(MeterProvider([reader]).get_meter("of the test"))
    route = make_route(500, now=1_795_000_000, seed=3)
    results = metrics.measure(
        "preflight", lambda: process_route(route.table, route.keyring, now=route.now, permissions=Permission(31))
    )
    with pytest.raises(ZeroDivisionError):
        metrics.measure("broken", lambda: 1 / 0)
    points = points_of(reader)
    decisions = {said["decision"]: value for name, said, value in points if name == "itron_core.decisions"}
    assert decisions == results.summary()["decision"]
    reasons = {said["reason"]: value for name, said, value in points if name == "itron_core.reasons"}
    assert reasons == results.summary()["reason"]
    tokens = sum(value for name, _, value in points if name == "itron_core.tokens")
    assert tokens == sum(len(results[f"{kind}_code"]) - results[f"{kind}_code"].null_count for kind in KINDS)
    assert {said.get("error.type") for name, said, _ in points if name == "itron_core.call.duration"} == {
        None,
        "ZeroDivisionError",
    }
    assert {name for _, said, _ in points for name in said} <= ATTRIBUTES
    assert not [value for _, said, _ in points for value in said.values() if re.search(r"ert:|eui64:", value)]


KINDS = ("authorization", "secure_command", "reading_key")
ATTRIBUTES = {"call", "code", "token_type", "decision", "reason", "error.type"}
