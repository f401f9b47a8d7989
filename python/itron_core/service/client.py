"""A tools server behind HTTP: the same `Exchange`, and the same calls for a security manager.

Every answer is checked before it is used: status, media type, sizes, fields and their types. The client rejects compressed
answers and never retries on its own; the caller may repeat every call.
"""

from __future__ import annotations

import binascii
import json
import re
import threading
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from itron_core._printable import printable
from itron_core.errors import ExchangeError, InputError, RequestRefused
from itron_core.exchange.material import Page
from itron_core.exchange.pages import page_length
from itron_core.exchange.records import MOST_DELEGATIONS
from itron_core.service import bodies
from itron_core.service.bodies import JSON, LARGEST_BODY, WireError
from itron_core.service.connection import Connection, checked_url, http_client, unreachable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    import httpx

    from itron_core.exchange.protocols import OutcomePage
    from itron_core.exchange.records import CommandRequest, DeviceRecord, OutcomeReport, SignIn
    from itron_core.service.bodies import Model

__all__ = ["RemoteToolsServer"]

OK, NO_CONTENT, FORBIDDEN, CONFLICT, UNPROCESSABLE, TOO_MANY = 200, 204, 403, 409, 422, 429
PROBLEM = "application/problem+json"
# A page fits half of a body; a sign-in may hold a revocation snapshot of a whole body, in base64.
LARGEST_ANSWER = 2 * LARGEST_BODY
LARGEST_PROBLEM = 16_384
ROWS_PER_CALL = 50_000
LONGEST_SENTENCE = 500
BEARER = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")
REASON = re.compile(r"[a-z0-9_]{1,64}")
# Refusals of the caller or the call become RequestRefused with the server's reason. A refused bearer (401) does not: it
# says nothing about the user, and the caller keeps what it has.
REFUSALS = frozenset({FORBIDDEN, CONFLICT, UNPROCESSABLE, TOO_MANY})

R = TypeVar("R")
M = TypeVar("M", bound="Model")


class _Reply(NamedTuple):
    status: int
    media_type: str
    body: bytes


class RemoteToolsServer:
    """A tools server at a URL, for the tool, user and roles that its bearer token names.

    `timeout`, in seconds, limits each wait and the whole answer. Raises InputError for a URL that is neither https nor http
    on this machine. The server uses its own clock: the argument `now` is ignored.
    """

    def __init__(
        self,
        url: str,
        bearer: str,
        *,
        timeout: float = 30,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not BEARER.fullmatch(bearer):
            raise InputError("bearer: not a valid token; create one with bearer_token()")
        self._url, self._timeout = checked_url(url, "a bearer token is sent").rstrip("/"), timeout
        self._claims = _claims_of(bearer)
        self._connection = Connection()
        self._client = http_client(
            {"Authorization": f"Bearer {bearer}"},
            base_url=self._url,
            timeout=timeout,
            tls=tls,
            # No cookies: only the bearer identifies the caller.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    def __repr__(self) -> str:
        """Return a text with the server's URL, never the bearer."""
        return f"RemoteToolsServer({self._url!r})"

    def __reduce__(self) -> Any:
        """Refuse pickling: it would write the bearer."""
        raise TypeError("a RemoteToolsServer cannot be pickled: it holds a bearer token")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._connection.end()

    # --- Exchange ---

    def snapshot(self, tool: str, user: str, *, now: int) -> SignIn:  # noqa: ARG002  # the server has a clock
        """Sign in; the bearer must belong to this tool and this user."""
        self._check_bearer(tool, user)
        return self._ask("GET", "/v1/snapshot", gives=bodies.SignIns, most_rows=MOST_DELEGATIONS).sign_in()

    def request(self, tool: str, requests: Sequence[CommandRequest], *, now: int) -> int:  # noqa: ARG002  # as above
        """Send command requests, in pieces, and return the highest number accepted."""
        self._check_bearer(tool)
        taken = 0
        for some in _pieces(requests, lambda _: 0) or [[]]:
            taken = self._ask("POST", "/v1/wants", bodies.Wants.of(some), gives=bodies.Position).position
        return taken

    def material(self, tool: str, after: int, limit: int, *, now: int) -> Page:  # noqa: ARG002  # as above
        """Return material granted to the tool after a cursor; the server may return fewer rows than `limit`."""
        self._check_bearer(tool)
        query = {"after": after, "limit": limit}
        return self._ask("GET", "/v1/material", gives=bodies.MaterialPage, query=query, most_rows=limit).page()

    def devices(self, tool: str, names: Sequence[str], *, now: int) -> list[DeviceRecord]:  # noqa: ARG002  # as above
        """Return the records of these devices."""
        self._check_bearer(tool)
        found: list[DeviceRecord] = []
        for some in _pieces(names, lambda _: 0):
            listed = bodies.DeviceNames.of(some)
            answer = self._ask("POST", "/v1/devices", listed, gives=bodies.DeviceRecords, most_rows=len(some))
            found += answer.records()
        return found

    def report(self, tool: str, outcomes: Sequence[OutcomeReport], *, now: int) -> list[int]:  # noqa: ARG002  # as above
        """Report outcomes, a page at a time, and return one code per outcome."""
        self._check_bearer(tool)
        codes: list[int] = []
        for some in _pieces(outcomes, lambda outcome: len(outcome.answer)):
            codes += self._codes("/v1/outcomes", bodies.Outcomes.of(some), len(some))
        return codes

    # --- The security manager's side ---

    def received(self, source: str) -> int:
        """Return the cursor up to which a source's material was received."""
        return self._ask("GET", f"/v1/material/{_segment(source)}/cursor", gives=bodies.Position).position

    def receive(self, source: str, page: Page, *, now: int) -> list[int]:  # noqa: ARG002  # as above
        """Deliver a page of material, in pieces if it is too large, and return one `Code` per row."""
        codes: list[int] = []
        for some in _pieces(page.rows, lambda row: len(row[1].token)) or [[]]:
            last = len(codes) + len(some) == len(page.rows)
            part = Page(some, page.next if last else some[-1][0], page.more if last else True)
            codes += self._codes(f"/v1/material/{_segment(source)}", bodies.MaterialPage.of(part), len(some))
        return codes

    def set_users(self, users: Iterable[tuple[str, str, int]], *, now: int) -> None:  # noqa: ARG002  # as above
        """Replace all users: name, business unit, permissions."""
        self._tell("/v1/users", bodies.Users.of(users))

    def set_devices(self, records: Iterable[DeviceRecord], *, now: int) -> None:  # noqa: ARG002  # as above
        """Add or update devices, in pieces."""
        rest = iter(records)
        while some := list(islice(rest, ROWS_PER_CALL)):
            self._tell("/v1/devices", bodies.DeviceRecords.of(some))

    def set_delegations(self, tokens: Sequence[bytes], *, now: int) -> None:  # noqa: ARG002  # as above
        """Replace the delegations."""
        self._tell("/v1/delegations", bodies.Tokens.of(tokens))

    def set_revocations(self, token: bytes, *, now: int) -> None:  # noqa: ARG002  # as above
        """Send a newer revocation snapshot."""
        self._tell("/v1/revocations", bodies.Tokens.of([token]))

    def outcomes(self, after: int, limit: int) -> OutcomePage:
        """Return outcomes reported after a cursor; the server may return fewer rows than `limit`."""
        query = {"after": after, "limit": limit}
        return self._ask("GET", "/v1/outcomes", gives=bodies.OutcomePages, query=query, most_rows=limit).page()

    def held_by(self, tool: str, after: int, limit: int, *, now: int) -> Page:  # noqa: ARG002  # as above
        """Return material that a tool may still hold unused, without tokens; the server may return fewer rows than `limit`."""
        query, path = {"after": after, "limit": limit}, f"/v1/tools/{_segment(tool)}/material"
        return self._ask("GET", path, gives=bodies.MaterialPage, query=query, most_rows=limit).page()

    def verify(self, tokens: Sequence[bytes], *, token_type: str = "authorization") -> list[int]:
        """Verify tokens at the server, and return one `Code` per token. The bearer needs the role reader."""
        codes: list[int] = []
        for some in _pieces(tokens, len):
            codes += self._codes("/v1/verify", bodies.Tokens.of(some), len(some), query={"token_type": token_type})
        return codes

    # --- One call ---

    def _check_bearer(self, tool: str, user: str | None = None) -> None:
        """Raise InputError unless the bearer belongs to this tool and user: the server would confuse them."""
        for name, claim, value in (("tool", "tool", tool), ("user", "sub", user)):
            owner = self._claims.get(claim)
            if owner is not None and value is not None and owner != value:
                raise InputError(f"{name}: got {value!r:.100}, expected {owner!r:.100}, the owner of the bearer token")

    def _codes(self, path: str, body: Model, count: int, query: Mapping[str, Any] | None = None) -> list[int]:
        found = self._ask("POST", path, body, gives=bodies.Codes, query=query, most_rows=count).rows
        if len(found) != count:
            raise ExchangeError(f"{self._url} answered with {len(found)} codes, expected {count}")
        return [row.code for row in found]

    def _tell(self, path: str, body: Model) -> None:
        reply = self._send("PUT", path, bodies.encode(body))
        if reply.status != NO_CONTENT:
            raise self._failure(reply)

    def _ask(
        self,
        method: str,
        path: str,
        body: Model | None = None,
        *,
        gives: type[M],
        query: Mapping[str, Any] | None = None,
        most_rows: int = 0,
    ) -> M:
        reply = self._send(method, path, None if body is None else bodies.encode(body), query)
        if reply.status != OK:
            raise self._failure(reply)
        if reply.media_type != JSON:
            raise ExchangeError(f"{self._url} answered with {reply.media_type[:80]!r}, expected {JSON}")
        try:
            return bodies.decode(gives, reply.body, most_rows=most_rows)
        except WireError as error:
            raise ExchangeError(f"{self._url} answered with an invalid {error}") from None

    def _send(self, method: str, path: str, body: bytes | None, query: Mapping[str, Any] | None = None) -> _Reply:
        import httpx

        headers = {"Accept": f"{JSON}, {PROBLEM}"}
        if body is not None:
            headers["Content-Type"] = JSON
        watch = threading.Timer(self._timeout, self._connection.cut)
        watch.daemon = True
        self._connection.begin()
        watch.start()
        try:
            with self._client.stream(
                *(method, path),
                content=body,
                headers=headers,
                params=query,
                extensions={"trace": self._connection.traced},
            ) as response:
                return self._read(response)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            self._connection.end()
            if self._connection.was_cut:
                raise ExchangeError(f"{self._url} took longer than {self._timeout} seconds to answer") from None
            # Not chained: the error holds the request with the bearer.
            raise ExchangeError(f"{self._url} cannot be reached: {unreachable(error)}") from None
        except BaseException:
            self._connection.end()
            raise
        finally:
            watch.cancel()

    def _read(self, response: httpx.Response) -> _Reply:
        """Read an answer up to its size limit; redirects are not followed."""
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise ExchangeError(f"{self._url} answered with a content encoding that was not requested")
        most = LARGEST_ANSWER if response.status_code == OK else LARGEST_PROBLEM
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > most:
                raise ExchangeError(f"{self._url} answered with more than {most} bytes")
        if self._connection.was_cut:
            raise ExchangeError(f"{self._url} took longer than {self._timeout} seconds to answer")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return _Reply(response.status_code, media_type, bytes(body))

    def _failure(self, reply: _Reply) -> ExchangeError | RequestRefused:
        reason, detail = _problem_of(reply)
        if reply.status in REFUSALS and reason:
            return RequestRefused(reason, detail)
        return ExchangeError(f"{self._url} answered {reply.status}{f' {reason}: {detail}' if reason else ''}")


def _problem_of(reply: _Reply) -> tuple[str, str]:
    """Return the reason and the sentence of a problem (RFC 9457); empty texts if it is not one of the service."""
    if reply.media_type != PROBLEM:
        return "", ""
    try:
        problem = json.loads(reply.body)
    except (ValueError, RecursionError):
        return "", ""
    reason, detail = (problem.get("reason"), problem.get("detail")) if isinstance(problem, dict) else (None, None)
    if not isinstance(reason, str) or not REASON.fullmatch(reason) or not isinstance(detail, str):
        return "", ""
    return reason, printable(detail, LONGEST_SENTENCE)


def _claims_of(bearer: str) -> dict[str, str]:
    """Return the unverified tool and user of a bearer, which the server verifies; empty for an opaque bearer."""
    try:
        middle = bearer.split(".")[1]
        claims = json.loads(binascii.a2b_base64(middle.translate(URL_SAFE) + "=" * (-len(middle) % 4)))
        return {name: claims[name] for name in ("tool", "sub") if isinstance(claims[name], str)}
    except (IndexError, ValueError, KeyError, TypeError, RecursionError):
        return {}


URL_SAFE = str.maketrans("-_", "+/")


def _segment(source: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", source) or set(source) == {"."}:
        raise InputError(f"source: got {source!r:.100}, expected 1 to 128 letters, digits and . _ : -")
    return source


def _pieces(rows: Sequence[R], size: Callable[[R], int]) -> list[list[R]]:
    """Return the rows in pieces that fit a page in bytes and rows."""
    found: list[list[R]] = []
    rest = list(rows)
    while rest:
        count = page_length(map(size, rest), ROWS_PER_CALL)
        found.append(rest[:count])
        rest = rest[count:]
    return found
