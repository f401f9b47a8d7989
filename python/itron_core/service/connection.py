"""One connection of an HTTP client within a time limit, which URLs it may ask, and why a server cannot be reached."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from itron_core.errors import InputError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from http.cookiejar import CookieJar

    import httpx

__all__ = ["Connection", "checked_url", "http_client", "is_loopback", "unreachable"]


def http_client(
    headers: Mapping[str, str],
    *,
    timeout: float,
    tls: ssl.SSLContext | None,
    base_url: str = "",
    cookies: CookieJar | None = None,
) -> httpx.Client:
    """Return an HTTP client with these headers besides its own, which asks only whom its caller names.

    It follows no redirect, and takes no proxies, certificates or .netrc from the environment.
    """
    import httpx

    return httpx.Client(
        base_url=base_url,
        # A compressed answer may become many times larger.
        headers={**headers, "Accept-Encoding": "identity", "User-Agent": "itron-core"},
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        verify=True if tls is None else tls,
        cookies=cookies,
    )


class Connection:
    """A handle of the current connection, by which a timer ends a call that takes too long.

    The timeouts of HTTP clients limit each single wait: a server that sends a header byte now and then would hold the call
    for ever. A separate handle ends the connection in any state, even inside TLS.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self.was_cut = False

    def begin(self) -> None:
        """Begin a call that was not cut."""
        with self._lock:
            self.was_cut = False

    def traced(self, event: str, info: Mapping[str, Any]) -> None:
        """Keep a handle of a new connection (httpcore's trace)."""
        if event == "connection.connect_tcp.complete":
            opened = info["return_value"].get_extra_info("socket")
            self.end()
            with self._lock:
                self._handle = opened.dup()
                if self.was_cut:
                    self._shut()

    def cut(self) -> None:
        """End the call by closing the connection under the reader."""
        with self._lock:
            self.was_cut = True
            self._shut()

    def end(self) -> None:
        """Release the connection, so that its other end sees it closed."""
        with self._lock:
            if self._handle is not None:
                self._shut()
                self._handle.close()
                self._handle = None

    def _shut(self) -> None:
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)


def checked_url(url: str, because: str, *, takes_query: bool = False) -> str:
    """Return the URL of a server. Raises InputError unless it is https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except (ValueError, AttributeError, TypeError):
        raise InputError("url: not readable, expected https://host or https://host:port") from None
    has_more = parts.fragment or (parts.query and not takes_query)
    if parts.username is not None or parts.password is not None or has_more or not host:
        raise InputError("url: got a user, a query or no host, expected https://host or https://host:port")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise InputError(
            f"url: got {parts.scheme}://{host}, expected https: {because}, and http is only for this machine"
        )
    return url


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, the only one that is asked without TLS."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unreachable(error: BaseException) -> str:
    """Return why a server cannot be reached: the first known cause, else the error's name."""
    import ssl

    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "its TLS connection failed"
        if isinstance(cause, socket.gaierror):
            return "its host name is unknown"
        if isinstance(cause, ConnectionRefusedError):
            return "it refused the connection"
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return "no answer came in time"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
