"""The keys of issuers from a URL: a JWK set (RFC 7517), fetched over HTTPS within bounds and kept as one keyring.

The set is fetched on first use, again when it is old, and again when a token names an unknown key: at most once per
`retry_seconds`, whatever tokens arrive. If a fetch fails, or brings a set without a usable key, the last good keyring stays.
As long as the set does not change, it is the same `Keyring` object, so that its tables of known keys live on.

No token is judged by a clock here: `clock` measures only how old the set is, so it may be any clock that never goes back.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from itron_core._arguments import instance, whole
from itron_core._printable import printable
from itron_core._rust import Keyring
from itron_core.enums import DEVICE_TOKEN_TYPES, Code
from itron_core.errors import ExchangeError, ItronCoreError, TokenRefused
from itron_core.service.connection import Connection, checked_url, http_client, unreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import httpx

__all__ = ["KeysOverHttp"]

LOG = logging.getLogger(__name__)
LOG.addHandler(logging.NullHandler())

OK = 200
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 3
# A sentence of a failed fetch is logged: it may hold text of the server.
LONGEST_SENTENCE = 500

R = TypeVar("R")


class KeysOverHttp:
    """The keyring that a URL serves. Any number of threads may share one.

    `max_age` is the age in seconds from which the set is fetched again, `retry_seconds` the least time between two fetches.
    A fetch, redirects included, takes at most `timeout` seconds and `most_bytes` bytes. `tls` is for your own root
    certificates. Raises InputError for a URL that is neither https nor http on this machine.

    Whoever serves the URL decides which keys are trusted, and with which limits (`mtr_` members, docs/format.md).
    """

    def __init__(
        self,
        url: str,
        *,
        max_age: int = 300,
        retry_seconds: int = 30,
        timeout: int = 5,
        most_bytes: int = 1_048_576,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = checked_url(instance("url", url, str), "keys that are changed on the way would be trusted")
        self._max_age = whole("max_age", max_age, 1)
        self._retry_seconds = whole("retry_seconds", retry_seconds, 1)
        self._timeout = whole("timeout", timeout, 1, 600)
        self._most_bytes = whole("most_bytes", most_bytes, 1)
        self._tls, self._clock = tls, clock
        self._fetching = threading.Lock()
        self._keyring: Keyring | None = None
        self._skipped: list[str] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._error: str | None = None

    def __repr__(self) -> str:
        """Return a text with the URL and the number of keys."""
        return f"KeysOverHttp({self._url!r}, {0 if self._keyring is None else len(self._keyring)} keys)"

    def __reduce__(self) -> Any:
        """Refuse pickling: each process fetches for itself; a `Keyring` can be pickled."""
        raise TypeError("a KeysOverHttp cannot be pickled; send its keyring()")

    @property
    def age(self) -> float | None:
        """The seconds since the last good fetch; None before it. For readiness: a set that is too old for you is a fault."""
        return None if self._fetched_at is None else self._clock() - self._fetched_at

    @property
    def error(self) -> str | None:
        """Why the last fetch failed, in a sentence; None if it did not."""
        return self._error

    @property
    def skipped(self) -> list[str]:
        """The keys of the set that were skipped: of other types, curves, algorithms or uses (RFC 7517 section 5)."""
        return list(self._skipped)

    def keyring(self) -> Keyring:
        """Return the keyring, fetched if there is none or if it is old. Raises ExchangeError if no fetch succeeded yet.

        An old keyring is returned if it cannot be fetched again: see `age`.
        """
        if self._keyring is None:
            with self._fetching:
                if self._fetched_at is None and self._may_fetch():
                    self._fetch()
        elif self._is_old() and self._may_fetch() and self._fetching.acquire(blocking=False):
            # Other threads go on with the old one meanwhile.
            try:
                if self._is_old() and self._may_fetch():
                    self._fetch()
            finally:
                self._fetching.release()
        if self._keyring is None:
            raise ExchangeError(f"{self._url}: no keys yet: {self._error}")
        return self._keyring

    def renewed(self, keyring: Keyring) -> bool:
        """Return whether there is another keyring than this one, in which a token's key was unknown; fetch it if allowed."""
        with self._fetching:
            if self._keyring is keyring and self._may_fetch():
                self._fetch()
            return self._keyring is not keyring

    def run(self, call: Callable[[Keyring], R]) -> R:
        """Return `call(keyring)`; if a token's key is unknown to it, call again with a newer keyring if there is one.

        `call` is any function of a keyring that returns results or one token, such as
        `lambda keyring: verify_tokens(tokens, keyring, now=now)`. Raises what it raises, and ExchangeError as `keyring`.
        """
        keyring = self.keyring()
        try:
            found = call(keyring)
        except TokenRefused as refused:
            if refused.code != Code.KEY_UNKNOWN or not self.renewed(keyring):
                raise
        else:
            if not _has_unknown_key(found) or not self.renewed(keyring):
                return found
        return call(self.keyring())

    def _is_old(self) -> bool:
        return self._fetched_at is not None and self._clock() - self._fetched_at >= self._max_age

    def _may_fetch(self) -> bool:
        return self._tried_at is None or self._clock() - self._tried_at >= self._retry_seconds

    def _fetch(self) -> None:
        """Fetch the set, and keep it if it is good; called with the lock held."""
        self._tried_at = self._clock()
        try:
            found = Keyring.from_jwks(_get(self._url, self._timeout, self._most_bytes, self._tls))
        except ItronCoreError as error:
            self._error = printable(str(error), LONGEST_SENTENCE)
            LOG.warning("keys: %s: %s", "none yet" if self._keyring is None else "kept the last set", self._error)
            return
        self._error, self._fetched_at = None, self._clock()
        if found != self._keyring:  # equal keys stay the same object, whose tables are built
            self._keyring = found
            LOG.info("keys: %d usable from %s", len(found), self._url)
        for skipped in found.skipped if found.skipped != self._skipped else ():
            LOG.info("keys: skipped %s", printable(skipped, LONGEST_SENTENCE))
        self._skipped = found.skipped


def _has_unknown_key(found: Any) -> bool:
    """Return whether a token of these results names an unknown key."""
    names = getattr(found, "column_names", [])
    if "code" in names:
        return Code.KEY_UNKNOWN.name.lower() in found.summary()["code"]
    codes = (f"{token_type}_code" for token_type in DEVICE_TOKEN_TYPES)
    return any(Code.KEY_UNKNOWN in found[name] for name in codes if name in names)


def _get(url: str, timeout: int, most_bytes: int, tls: ssl.SSLContext | None) -> bytes:
    """Return the body at a URL, within a time and a size. Raises ExchangeError."""
    import httpx

    connection = Connection()
    watch = threading.Timer(timeout, connection.cut)
    watch.daemon = True
    watch.start()
    try:
        accepted = {"Accept": "application/jwk-set+json, application/json"}
        with http_client(accepted, timeout=timeout, tls=tls) as client:
            return _followed(client, connection, url, most_bytes)
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
        if connection.was_cut:
            raise ExchangeError(f"{url} took longer than {timeout} seconds to answer") from None
        raise ExchangeError(f"{url} cannot be reached: {unreachable(error)}") from None
    finally:
        watch.cancel()
        connection.end()


def _followed(client: httpx.Client, connection: Connection, url: str, most_bytes: int) -> bytes:
    """Return the body, after redirects of the same scheme."""
    asked = url
    for _ in range(MOST_REDIRECTS + 1):
        with client.stream("GET", asked, extensions={"trace": connection.traced}) as response:
            if connection.was_cut:
                raise OSError
            if response.status_code not in REDIRECTS:
                return _body(response, connection, url, most_bytes)
            place = response.headers.get("location", "")
        asked = _redirected(asked, place, url)
    raise ExchangeError(f"{url} redirects more than {MOST_REDIRECTS} times")


def _redirected(asked: str, place: str, url: str) -> str:
    """Return where a redirect leads. Raises ExchangeError unless it is of the same scheme, and a URL that may be asked."""
    try:
        target = urljoin(asked, place)
        if place and urlsplit(target).scheme == urlsplit(url).scheme:
            return checked_url(target, "keys are trusted", takes_query=True)
    except ValueError:  # InputError is one
        pass
    # Not shown: it may hold a password, or be made to look like something else.
    raise ExchangeError(f"{url} redirects to another scheme, or to a URL that may not be asked")


def _body(response: httpx.Response, connection: Connection, url: str, most_bytes: int) -> bytes:
    if response.status_code != OK:
        raise ExchangeError(f"{url} answered {response.status_code}, expected {OK}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise ExchangeError(f"{url} answered with a content encoding that was not requested")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > most_bytes:
            raise ExchangeError(f"{url} answered with more than {most_bytes} bytes")
    if connection.was_cut:
        raise OSError
    return bytes(body)
