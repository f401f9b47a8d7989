"""`itron-core serve` as a process: https with certificates of one's own, and its end by a signal."""

import ipaddress
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from itron_core.service import ConnectionLimits
from itron_core.service.guard import Guard, guarded_socket

pytestmark = pytest.mark.slow

PROGRAM = Path(sys.executable).parent / "itron-core"


def run(folder, *arguments):
    return subprocess.run([PROGRAM, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def done(folder, *arguments):
    result = run(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def write_certificate(folder, *, days=1):
    """Write a certificate for this machine, and its key; it ends in `days`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tools server of a test")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=abs(days) + 1))
        .not_valid_after(today + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8, bare = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "tls.key").write_bytes(key.private_bytes(pem, pkcs8, bare))


@pytest.fixture(scope="module")
def manager(tmp_path_factory):
    """The folder of a security manager, to be copied for each test."""
    folder = tmp_path_factory.mktemp("manager")
    done(folder, "manager", "init", "ism", "--utility", "UTIL0001")
    done(folder, "manager", "role", "ism", "worker", "--permissions", "all")
    done(folder, "manager", "user", "ism", "fred", "--role", "worker", "--unit", "gas")
    return folder


@pytest.fixture
def folder(manager, tmp_path):
    return Path(shutil.copytree(manager, tmp_path / "here"))


@pytest.fixture
def serve(folder):
    started = []

    def start(*options):
        arguments = [PROGRAM, "serve", "tools", "--keyring", "ism/root.jwks", "--port", "0", *options]
        process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        line = process.stdout.readline()
        found = re.fullmatch(r"Serving tools at (https?://127\.0\.0\.1:\d+)\n", line)
        assert found, line + process.stdout.read()
        return process, found[1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_manager_and_a_tool_over_https(folder, serve):
    write_certificate(folder)
    _, url = serve("--certificate", "tls.crt", "--private-key", "tls.key")
    assert url.startswith("https://")
    done(folder, "server", "bearer", "tools", "ism.bearer", "--user", "ism", "--role", "manager")
    fred = ["--user", "fred", "--role", "field_tool", "--unit", "gas", "--tool", "tablet-7"]
    done(folder, "server", "bearer", "tools", "fred.bearer", *fred)
    done(folder, "field", "init", "tablet", "--tool", "tablet-7", "--keyring", "ism/root.jwks")

    sync = ["field", "sync", "tablet", url, "--user", "fred", "--bearer", "fred.bearer"]
    unknown = run(folder, *sync)
    assert (unknown.returncode, "its certificate is not trusted" in unknown.stderr) == (5, True), unknown.stderr
    deliver = ["manager", "deliver", "ism", url, "--bearer", "ism.bearer", "--ca", "tls.crt"]
    assert done(folder, *deliver) == "0 tokens delivered, 0 outcomes collected.\n"
    assert "outcomes" in done(folder, *sync, "--ca", "tls.crt")
    report = ["field", "report", "tablet", url, "--bearer", "fred.bearer", "--ca", "tls.crt"]
    assert done(folder, *report) == "0 outcomes reported, 0 in conflict.\n"
    # A tool's bearer is no manager's.
    refused = run(folder, *deliver[:4], "--bearer", "fred.bearer", "--ca", "tls.crt")
    assert (refused.returncode, "manager" in refused.stderr) == (1, True), refused.stderr


def test_an_answer_does_not_wait_for_an_acknowledgement():
    """Without TCP_NODELAY each answer on a kept connection waits 40 ms: asyncio sets it only if the socket names TCP."""
    guard = Guard(ConnectionLimits(), speaks_tls=False)
    with (
        guarded_socket(socket.create_server(("127.0.0.1", 0)), guard) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        listening.settimeout(10)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal_and_starts_again(folder, serve, end):
    for _ in range(2):
        process, _ = serve()
        process.send_signal(end)
        said, _ = process.communicate(timeout=30)
        assert (process.returncode, said) == (0 if end is signal.SIGINT else -signal.SIGTERM, "")


def test_a_certificate_and_its_key_are_checked_before_anything_is_served(folder):
    write_certificate(folder)
    (folder / "other.crt").write_text("not a certificate")
    key = ["--private-key", "tls.key"]
    for options in (["other.crt", *key], ["absent.crt", *key], ["tls.crt"], ["tls.crt", "--private-key", "other.crt"]):
        refused = run(folder, "serve", "tools", "--keyring", "ism/root.jwks", "--port", "0", "--certificate", *options)
        assert (refused.returncode, refused.stdout) == (3, ""), options
        assert "not a certificate and its key" in refused.stderr
    assert not (folder / "tools").exists(), "nothing was made"


def test_the_reason_why_a_certificate_cannot_serve_is_named(folder):
    write_certificate(folder)
    kept = (folder / "tls.key").read_bytes()
    (folder / "tls.key").rename(folder / "another.key")
    write_certificate(folder)
    key = serialization.load_pem_private_key(kept, None)
    encrypted = serialization.BestAvailableEncryption(b"word")
    (folder / "closed.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encrypted)
    )
    (folder / "old").mkdir()
    write_certificate(folder / "old", days=-1)
    for certificate, key, reason in [
        ("tls.crt", "another.key", "belongs to another certificate"),
        ("tls.crt", "closed.key", "closed.key is encrypted"),
        ("tls.key", "tls.crt", "tls.key has no readable certificate"),
        ("old/tls.crt", "old/tls.key", "the certificate is valid from"),
    ]:
        options = ["--port", "0", "--certificate", certificate, "--private-key", key]
        refused = run(folder, "serve", "tools", "--keyring", "ism/root.jwks", *options)
        assert (refused.returncode, refused.stdout) == (3, ""), certificate
        assert reason in refused.stderr
        assert "_ssl.c" not in refused.stderr
    refused = run(folder, "serve", "tools", "--keyring", "ism/root.jwks", "--private-key", "tls.key")
    assert (refused.returncode, "--certificate FILE" in refused.stderr) == (2, True)
    assert not (folder / "tools").exists(), "nothing was made"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02"], ids=["silent", "half a hello"])
def test_a_connection_that_never_finishes_its_handshake_ends_after_head_seconds(folder, serve, said):
    write_certificate(folder)
    _, url = serve("--certificate", "tls.crt", "--private-key", "tls.key", "--head-seconds", "2")
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        silent.sendall(said)
        started = time.monotonic()
        with suppress(ConnectionError):
            while silent.recv(4_096):
                pass
        assert 1 < time.monotonic() - started < 20


def test_bearers_of_a_lost_tool_are_refused_by_a_command(folder, serve):
    _, url = serve()
    fred = ["--user", "fred", "--role", "field_tool", "--unit", "gas", "--tool", "tablet-7", "--id", "fred-1"]
    done(folder, "server", "bearer", "tools", "fred.bearer", *fred)
    done(folder, "server", "bearer", "tools", "ism.bearer", "--user", "ism", "--role", "manager")
    done(folder, "manager", "deliver", "ism", url, "--bearer", "ism.bearer")
    done(folder, "field", "init", "tablet", "--tool", "tablet-7", "--keyring", "ism/root.jwks")
    sync = ["field", "sync", "tablet", url, "--user", "fred", "--bearer", "fred.bearer"]
    done(folder, *sync)
    done(folder, "server", "revoke-bearers", "tools", "--tool", "tablet-7")
    refused = run(folder, *sync)
    assert refused.returncode != 0
    assert "the bearer token was revoked" in refused.stderr
    assert run(folder, "server", "revoke-bearers", "tools").returncode == 2


def test_a_used_port_is_reported(folder, serve):
    _, url = serve()
    port = url.rpartition(":")[2]
    refused = run(folder, "serve", "tools", "--port", port)
    assert (refused.returncode, "another --host or --port" in refused.stderr) == (2, True)
