"""A tools server behind HTTP: the same `Exchange`, and the same calls for a security manager.

What the server answers is checked before any of it is believed: status, media type, sizes, columns and their types. Nothing
is asked twice by itself: whoever calls knows that every call may be repeated.
"""

from __future__ import annotations

import binascii
import json
import re
import socket
import time
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from itron_core.errors import ExchangeError, InputError, RequestRefused
from itron_core.service import bodies as wire
from itron_core.service.bodies import WireError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import httpx

    from itron_core.exchange.material import Page
    from itron_core.exchange.protocols import OutcomePage
    from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn
    from itron_core.service.bodies import Body, Shape

__all__ = ["RemoteToolsServer", "is_loopback"]

OK, NO_CONTENT, FORBIDDEN, CONFLICT, UNPROCESSABLE = 200, 204, 403, 409, 422
PROBLEM = "application/problem+json"
LARGEST_ANSWER = 128 * 2**20
LARGEST_PROBLEM = 16_384
DEVICES_A_CALL = 50_000
MOST_DELEGATIONS = 4_096
LONGEST_SENTENCE = 500
BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")
REASON = re.compile(r"[a-z0-9_]{1,64}")
# Refusals of who asks, or of what is asked: the server's reason is the caller's. A bearer that is refused (401) is none of
# them: it says nothing of the user, and the caller keeps what it has.
REFUSALS = frozenset({FORBIDDEN, CONFLICT, UNPROCESSABLE})


class _Reply(NamedTuple):
    status: int
    media_type: str
    body: bytes


class RemoteToolsServer:
    """A tools server at a URL, for the tool, user and roles that its bearer token names.

    `timeout` bounds, in seconds, each wait for the server and a whole answer as well. Raises InputError for a URL that is
    neither https nor http on this machine. The server asks its own clock: `now` is taken, and not sent.
    """

    def __init__(
        self,
        url: str,
        bearer: str,
        *,
        timeout: float = 30,
        format: Literal["arrow", "json"] = "arrow",  # noqa: A002  # the name that readers look for
        tls: ssl.SSLContext | None = None,
    ) -> None:
        import httpx

        if not BEARER.fullmatch(bearer):
            raise InputError("a bearer that is no token; wanted what bearer_token makes")
        if format not in wire.MEDIA_TYPES.values():
            raise InputError(f"format {format!r}; wanted arrow or json")
        self._url, self._format, self._timeout = _checked_url(url), format, timeout
        self._said = _claims_of(bearer)
        self._media_type = wire.ARROW if format == "arrow" else wire.JSON
        self._client = httpx.Client(
            base_url=self._url,
            headers={
                "Authorization": f"Bearer {bearer}",
                # An encoded answer may be many times as large as it looks.
                "Accept-Encoding": "identity",
                "User-Agent": "itron-core",
            },
            timeout=timeout,
            follow_redirects=False,
            # Neither proxies nor .netrc of the environment: the bearer goes to this server alone.
            trust_env=False,
            verify=True if tls is None else tls,
        )

    def __repr__(self) -> str:
        """Name the server, never the bearer."""
        return f"RemoteToolsServer({self._url!r}, format={self._format!r})"

    def __reduce__(self) -> Any:
        """Refuse to be pickled: the bearer would be in it."""
        raise TypeError("a RemoteToolsServer is not pickled: it holds a bearer token")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    # --- Exchange ---

    def snapshot(self, tool: str, user: str, *, now: int) -> SignIn:  # noqa: ARG002  # the server has a clock
        """Sign in; the bearer must be of this tool and this user."""
        self._check_bearer(tool, user)
        return wire.snapshot_of(self._ask("GET", "/v1/snapshot", gives=wire.SNAPSHOT, most_rows=MOST_DELEGATIONS))

    def request(self, tool: str, wants: Sequence[CommandRequest], *, now: int) -> int:  # noqa: ARG002  # as above
        """Request Commands; returns the highest number taken."""
        self._check_bearer(tool)
        return self._position("POST", "/v1/wants", takes=wire.WANTS, rows=wants)

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:  # noqa: ARG002  # as above
        """Return what was granted to the tool behind `after`; the server may answer fewer rows than `limit`."""
        self._check_bearer(tool)
        query = {"after": after, "limit": limit}
        return wire.page_of(self._ask("GET", "/v1/material", gives=wire.PAGE, query=query, most_rows=limit))

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:  # noqa: ARG002  # as above
        """Return what is known of these devices."""
        self._check_bearer(tool)
        rows = [(name,) for name in names]
        found = self._ask("POST", "/v1/devices", wire.NAMES, rows, gives=wire.DEVICES, most_rows=len(rows))
        return wire.devices_of(found)

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:  # noqa: ARG002  # as above
        """Report outcomes; returns a code each."""
        self._check_bearer(tool)
        return self._codes("/v1/outcomes", wire.OUTCOMES, outcomes)

    # --- The security manager's side ---

    def received(self, source: str) -> int:
        """Return the cursor up to which the material of a source is there."""
        return self._position("GET", f"/v1/material/{_segment(source)}/cursor")

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:  # noqa: ARG002  # as above
        """Deliver a page of material; returns a `Code` a row."""
        facts = {"next": page.next, "more": page.more}
        return self._codes(f"/v1/material/{_segment(source)}", wire.PAGE, wire.page_rows(page), facts)

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:  # noqa: ARG002  # as above
        """Replace all users: name, business unit, permissions."""
        self._tell("/v1/users", wire.USERS, [(name, unit, int(permissions)) for name, unit, permissions in users])

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:  # noqa: ARG002  # as above
        """Add or renew devices, some at a time."""
        for some in _some_at_a_time(records):
            self._tell(
                "/v1/devices", wire.DEVICES, [(*row[:2], *map(int, row[2:5]), bool(row[5]), *row[6:]) for row in some]
            )

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:  # noqa: ARG002  # as above
        """Replace the delegations."""
        self._tell("/v1/delegations", wire.TOKENS, [(token,) for token in tokens])

    def set_revocations(self, token: bytes, *, now: int) -> None:  # noqa: ARG002  # as above
        """Give a newer revocation snapshot."""
        self._tell("/v1/revocations", wire.TOKENS, [(token,)])

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return what tools have reported behind `after`."""
        query = {"after": after, "limit": limit}
        found = self._ask("GET", "/v1/outcomes", gives=wire.OUTCOME_PAGE, query=query, most_rows=limit)
        return wire.outcome_page_of(found)

    def verify(self, tokens: Sequence[bytes], *, token_type: str = "authorization") -> list[int]:
        """Have tokens verified there; returns a `Code` each. The bearer needs the role reader."""
        return self._codes("/v1/verify", wire.TOKENS, [(token,) for token in tokens], query={"token_type": token_type})

    # --- One call ---

    def _check_bearer(self, tool: str, user: str | None = None) -> None:
        """Refuse to speak for another than the bearer's: the server would take one tool's words for another's."""
        for claim, wanted in (("tool", tool), ("sub", user)):
            said = self._said.get(claim)
            if said is not None and wanted is not None and said != wanted:
                raise InputError(f"the bearer is of {said!r}, and {wanted!r} asks; wanted a bearer made for it")

    def _position(self, method: str, path: str, takes: Shape | None = None, rows: Sequence[Any] = ()) -> int:
        return int(self._ask(method, path, takes, rows, gives=wire.POSITION).facts["position"])

    def _codes(
        self,
        path: str,
        takes: Shape,
        rows: Sequence[Any],
        facts: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> list[int]:
        found = self._ask(
            "POST", path, takes, rows, facts=facts, query=query, gives=wire.CODES, most_rows=len(rows)
        ).rows
        if len(found) != len(rows):
            raise ExchangeError(f"{self._url} answered {len(found)} codes; wanted {len(rows)}")
        return [code for (code,) in found]

    def _tell(self, path: str, takes: Shape, rows: Sequence[Any]) -> None:
        reply = self._send("PUT", path, wire.encode(takes, rows, to=self._format))
        if reply.status != NO_CONTENT:
            raise self._failure(reply)

    def _ask(
        self,
        method: str,
        path: str,
        takes: Shape | None = None,
        rows: Sequence[Any] = (),
        *,
        gives: Shape,
        facts: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        most_rows: int = 0,
    ) -> Body:
        body = None if takes is None else wire.encode(takes, rows, facts, to=self._format)
        reply = self._send(method, path, body, query)
        if reply.status != OK:
            raise self._failure(reply)
        if reply.media_type != self._media_type:
            raise ExchangeError(f"{self._url} answered {reply.media_type[:80]!r}; wanted {self._media_type}")
        try:
            return wire.decode(gives, reply.body, of=self._format, most_rows=most_rows)
        except WireError as error:
            raise ExchangeError(f"{self._url} answered {error}") from None

    def _send(self, method: str, path: str, body: bytes | None, query: Mapping[str, Any] | None = None) -> _Reply:
        import httpx

        headers = {"Accept": f"{self._media_type}, {PROBLEM}"}
        if body is not None:
            headers["Content-Type"] = self._media_type
        deadline = time.monotonic() + self._timeout
        try:
            with self._client.stream(method, path, content=body, headers=headers, params=query) as response:
                return self._read(response, deadline)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            # Not chained: the error holds the request, and the request holds the bearer.
            raise ExchangeError(f"{self._url} cannot be reached: {_reason(error)}") from None

    def _read(self, response: httpx.Response, deadline: float) -> _Reply:
        """Read an answer up to its limits of size and of time; a redirect is an answer like another."""
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ExchangeError(f"{self._url} answered with an encoding that was not asked for")
        most = LARGEST_ANSWER if response.status_code == OK else LARGEST_PROBLEM
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > most:
                raise ExchangeError(f"{self._url} answered more than {most} bytes")
            if time.monotonic() > deadline:
                raise ExchangeError(f"{self._url} took longer than {self._timeout} seconds to answer")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return _Reply(response.status_code, media_type, bytes(body))

    def _failure(self, reply: _Reply) -> ExchangeError | RequestRefused:
        reason, detail = _problem_of(reply)
        if reply.status in REFUSALS and reason:
            return RequestRefused(reason, detail)
        return ExchangeError(f"{self._url} answered {reply.status}{f' {reason}: {detail}' if reason else ''}")


def _problem_of(reply: _Reply) -> tuple[str, str]:
    """Return reason and sentence of a problem (RFC 9457); nothing where it is not one of the service's."""
    if reply.media_type != PROBLEM:
        return "", ""
    try:
        told = json.loads(reply.body)
    except (ValueError, RecursionError):
        return "", ""
    reason, detail = (told.get("reason"), told.get("detail")) if isinstance(told, dict) else (None, None)
    if not isinstance(reason, str) or not REASON.fullmatch(reason) or not isinstance(detail, str):
        return "", ""
    return reason, "".join(sign if sign.isprintable() else " " for sign in detail[:LONGEST_SENTENCE])


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except (ValueError, AttributeError, TypeError):
        raise InputError("a URL that cannot be read; wanted https://host or https://host:port") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or not host:
        raise InputError("a URL with a user, a query or no host; wanted https://host or https://host:port")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise InputError(
            f"{parts.scheme}://{host}; wanted https: a bearer token is sent, and http is for this machine only"
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine: to it alone a bearer token goes without TLS."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _claims_of(bearer: str) -> dict[str, str]:
    """Return tool and user as the bearer says them, unverified: the server verifies; none of an opaque bearer."""
    try:
        middle = bearer.split(".")[1]
        told = json.loads(binascii.a2b_base64(middle.translate(URL_SAFE) + "=" * (-len(middle) % 4)))
        return {name: told[name] for name in ("tool", "sub") if isinstance(told[name], str)}
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return {}


URL_SAFE = str.maketrans("-_", "+/")


def _segment(source: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", source) or set(source) == {"."}:
        raise InputError(f"a source {source!r}; wanted letters, digits and . _ : -")
    return source


def _some_at_a_time(records: Iterable[DeviceRecord]) -> Iterator[list[DeviceRecord]]:
    rest = iter(records)
    while some := list(islice(rest, DEVICES_A_CALL)):
        yield some


def _reason(error: BaseException) -> str:
    """Return why a server cannot be reached: the first cause that is known, else the error's own name."""
    import ssl

    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS as expected"
        if isinstance(cause, socket.gaierror):
            return "there is no such name"
        if isinstance(cause, ConnectionRefusedError):
            return "it refuses the connection"
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return "no answer came in time"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
