"""Runs the service on a listening socket with uvicorn under a guard, for `itron-core serve`."""

from __future__ import annotations

import asyncio
import resource
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import uvicorn

from itron_core.errors import InputError
from itron_core.service.guard import Guard, guarded_protocol, guarded_socket
from itron_core.service.limits import ConnectionLimits

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from fastapi import FastAPI

__all__ = ["check_certificate", "run"]

READY_EVERY = 0.02
# Descriptors for the store, the audit log and libraries, besides connections.
FILES_BESIDE = 64
FEWEST_CONNECTIONS = 8
LARGEST_HEAD = 32_768
SECONDS_TO_STOP = 10


def check_certificate(certificate: Path, private_key: Path | None, *, now: int) -> None:
    """Raise InputError, with the reason, unless the certificates and their key can be used for TLS at `now`."""
    try:
        reason = _unusable(certificate, private_key or certificate, datetime.fromtimestamp(now, UTC))
        if reason is None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key, password=lambda: "")
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except (ValueError, TypeError) as error:
        reason = str(error)
    if reason is not None:
        named = f"{certificate}" if private_key is None else f"{certificate}, {private_key}"
        raise InputError(f"{named}: not a certificate and its key, in PEM: {reason}")


def _unusable(certificate: Path, private_key: Path, now: datetime) -> str | None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except ValueError:
        return f"{certificate} has no readable certificate"
    pem = private_key.read_bytes()
    if b"ENCRYPTED" in pem:
        return f"{private_key} is encrypted; expected a key without a password"
    try:
        key = load_pem_private_key(pem, None)
    except ValueError:
        return f"{private_key} has no readable private key"
    if key.public_key() != first.public_key():
        return f"the key in {private_key} belongs to another certificate"
    if not first.not_valid_before_utc <= now < first.not_valid_after_utc:
        begin, end = (f"{one:%Y-%m-%d %H:%M} UTC" for one in (first.not_valid_before_utc, first.not_valid_after_utc))
        return f"the certificate is valid from {begin} to {end} only"
    return None


def run(
    app: FastAPI,
    listening: socket.socket,
    *,
    ready: Callable[[], None],
    limits: ConnectionLimits | None = None,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve until a signal ends it; call `ready` when it accepts connections.

    It ends after the current requests, at most ten seconds later.
    """
    settings = limits or ConnectionLimits()
    guard = Guard(settings._replace(connections=_affordable(settings.connections)), speaks_tls=certificate is not None)
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=guarded_protocol(guard),
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    with suppress(KeyboardInterrupt):  # the usual end
        asyncio.run(_serve(uvicorn.Server(config), guarded_socket(listening, guard), guard, ready))


async def _serve(server: uvicorn.Server, listening: socket.socket, guard: Guard, ready: Callable[[], None]) -> None:
    watching = asyncio.create_task(guard.watch())
    serving = asyncio.create_task(server.serve([listening]))
    while not (server.started or serving.done()):  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(READY_EVERY)
    if not serving.done():
        ready()
    try:
        await serving
    finally:
        watching.cancel()


def _affordable(connections: int) -> int:
    """Return the number of connections for which the process has descriptors, after raising its limit if allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + FILES_BESIDE
    if soft < needed and hard != soft:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(FEWEST_CONNECTIONS, min(connections, soft - FILES_BESIDE))
