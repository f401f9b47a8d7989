"""Limits on connections: how many may be open, and for how long one may send no headers or read no answer.

An ASGI server does not limit silent connections. So they are counted when they are accepted, before TLS begins, and
watched until they are closed. If there are too many, the oldest silent one is closed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from itron_core.service.limits import ConnectionLimits

__all__ = ["Guard", "guarded_protocol", "guarded_socket"]

SWEEP_SECONDS = 0.25
# Connections refused in a row before the event loop continues.
REFUSED_IN_A_ROW = 64
BODY = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,'
    b'"detail":"too many connections are open: try again later","reason":"too_many_connections"}'
)
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


class _Connection(socket.socket):
    """An accepted connection, which the guard forgets when it is closed."""

    guard: Guard
    host: str
    transport: asyncio.Transport | None = None
    # Since when it is waited for: for headers to arrive, or for an answer to be read.
    silent_since: float | None = None
    taking_since: float | None = None

    def close(self) -> None:
        self.guard.forget(self)
        super().close()

    def cut(self) -> None:
        """End it at once, and drop unsent data."""
        if self.transport is not None:
            self.transport.abort()
        else:
            with suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)


class Guard:
    """Counts and watches the connections of one listening socket; with `speaks_tls`, clients cannot read refusals."""

    def __init__(self, limits: ConnectionLimits, *, speaks_tls: bool = False) -> None:
        self._limits, self._speaks_tls = limits, speaks_tls
        self._open: dict[int, _Connection] = {}
        self._by_host: dict[str, int] = {}

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def admit(self, connection: _Connection, host: str) -> bool:
        """Return whether a new connection may stay; otherwise answer 503 and close it."""
        connection.guard, connection.host = self, host
        now = time.monotonic()
        if len(self._open) >= self._limits.connections:
            self._make_place(now, None)
        if self._by_host.get(host, 0) >= self._limits.by_address:
            self._make_place(now, host)
        if len(self._open) >= self._limits.connections or self._by_host.get(host, 0) >= self._limits.by_address:
            self._refuse(connection)
            return False
        self._open[connection.fileno()] = connection
        self._by_host[host] = self._by_host.get(host, 0) + 1
        connection.silent_since = now
        return True

    def of(self, transport: asyncio.BaseTransport) -> _Connection | None:
        """Return the connection of a transport; None for one that this guard has not accepted."""
        found: Any = transport.get_extra_info("socket")
        return None if found is None else self._open.get(found.fileno())

    def forget(self, connection: _Connection) -> None:
        """Remove a connection from the count."""
        number = connection.fileno()
        if self._open.get(number) is connection:
            del self._open[number]
            count = self._by_host[connection.host] - 1
            self._by_host[connection.host] = count
            if not count:
                del self._by_host[connection.host]

    async def watch(self) -> None:
        """End connections that are silent for too long, for as long as it runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(time.monotonic())

    def sweep(self, now: float) -> None:
        """End connections that have been silent for too long at a given time."""
        for connection in list(self._open.values()):
            head, answer = connection.silent_since, connection.taking_since
            late = head is not None and now - head >= self._limits.head_seconds
            if late or (answer is not None and now - answer >= self._limits.answer_seconds):
                self._end(connection)

    def _make_place(self, now: float, host: str | None) -> None:
        """End the connection that has been silent the longest, if that is long enough."""
        silent = [
            (one.silent_since, one)
            for one in self._open.values()
            if one.silent_since is not None and host in {None, one.host}
        ]
        since, oldest = min(silent, key=lambda pair: pair[0], default=(now, None))
        if oldest is not None and now - since >= self._limits.grace_seconds:
            self._end(oldest)

    def _end(self, connection: _Connection) -> None:
        self.forget(connection)
        connection.cut()

    def _refuse(self, connection: _Connection) -> None:
        connection.settimeout(0)
        with suppress(OSError):
            if not self._speaks_tls:
                connection.send(REFUSAL)
            connection.shutdown(socket.SHUT_WR)
        connection.close()


class _Listening(socket.socket):
    """A listening socket that accepts the connections that its guard admits."""

    guard: Guard

    def accept(self) -> tuple[socket.socket, Any]:
        for _ in range(REFUSED_IN_A_ROW):
            number, address = self._accept()  # type: ignore[attr-defined]  # as socket.accept does
            connection = _Connection(self.family, self.type, self.proto, fileno=number)
            if self.guard.admit(connection, str(address[0])):
                return connection, address
        raise BlockingIOError


def guarded_socket(listening: socket.socket, guard: Guard) -> socket.socket:
    """Return the same listening socket under a guard; the argument is detached."""
    # Accepted connections inherit it. asyncio sets it only on sockets that name TCP, which those of `create_server` do not;
    # without it each answer on a kept connection waits for an acknowledgement, 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.settimeout(0)
    found = _Listening(listening.family, listening.type, listening.proto, fileno=listening.detach())
    found.guard = guard
    found.settimeout(0)
    return found


class _GuardedProtocol(H11Protocol):
    """HTTP/1.1 that informs its guard when headers arrive and when an answer is read."""

    guard: ClassVar[Guard]
    _connection: _Connection | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as H11Protocol has it
        super().connection_made(transport)
        self._connection = self.guard.of(transport)
        if self._connection is not None:
            self._connection.transport = transport

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._connection is not None and self._connection.taking_since is None:
            self._connection.taking_since = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._connection is not None and not self._is_answering():
            self._connection.taking_since = None

    def _is_answering(self) -> bool:
        cycle: object = self.cycle  # None before the first request
        return cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        """Wait for headers unless a request is being answered; the time runs from the start of the silence."""
        if self._connection is None:
            return
        if self._is_answering():
            self._connection.silent_since = None
        elif self._connection.silent_since is None:
            self._connection.silent_since = time.monotonic()
            if not self.flow.write_paused:
                self._connection.taking_since = None


def guarded_protocol(guard: Guard) -> type[asyncio.Protocol]:
    """Return the protocol class for a guard's connections, for uvicorn."""
    return type("GuardedProtocol", (_GuardedProtocol,), {"guard": guard})
