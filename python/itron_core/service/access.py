"""Access to the service: bearers, media types, and work slots that are released when an answer was read."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from itron_core.errors import RequestRefused
from itron_core.service.bearer import BearerRefused
from itron_core.service.bodies import JSON
from itron_core.service.problems import PRIVATE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from itron_core.service.bearer import Bearer, Bearers
    from itron_core.service.limits import ServiceLimits
    from itron_core.tools_server import ToolsServer

__all__ = [
    "Answered",
    "Doorkeeper",
    "PlacesHeld",
    "check_accepted",
    "check_sent",
    "check_unit",
    "check_user",
    "read_body",
]

HELD = "itron_core.held"
PIECE_BYTES = 256 * 2**10
IDENTITY = "identity"


class Doorkeeper:
    """Admits bearers by role: one call per bearer at a time, and a limited number in all."""

    def __init__(self, server: ToolsServer, bearers: Bearers, clock: Callable[[], int], limits: ServiceLimits) -> None:
        self._server, self._bearers, self._clock = server, bearers, clock
        self._places = asyncio.Semaphore(limits.at_once)
        # Exists while somebody holds or awaits it.
        self._callers: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def let_in(self, request: Request, role: str) -> Bearer:
        """Return the caller. Raises BearerRefused for an invalid bearer, and Problem if the bearer lacks the role."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BearerRefused("the bearer token is missing: send the header Authorization: Bearer TOKEN")
        bearer = self._bearers.read(token.strip(), now=self._clock())
        if await run_in_threadpool(self._server.bearer_revoked, bearer.token_id, bearer.tool, bearer.issued_at):
            raise BearerRefused("the bearer token was revoked: request a new one")
        if role not in bearer.roles:
            raise Problem(
                HTTPStatus.FORBIDDEN, "role_missing", f"the bearer token lacks the role {role}: request one with it"
            )
        if role == "field_tool" and not (bearer.tool and bearer.unit):
            raise Problem(
                HTTPStatus.FORBIDDEN, "tool_missing", "the bearer token names no tool or unit: request one with them"
            )
        return bearer

    async def take_place(self, request: Request, bearer: Bearer) -> None:
        """Wait for a work slot, which is held until the answer was read (PlacesHeld).

        A bearer's calls run one after the other: a slow client takes one slot, not all of them.
        """
        held: AsyncExitStack = request.scope[HELD]
        own = self._callers.setdefault((bearer.subject, bearer.tool), asyncio.Lock())
        await held.enter_async_context(own)
        await held.enter_async_context(self._places)


class PlacesHeld:
    """ASGI middleware: releases what a request holds when its answer was read, or its connection ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        async with AsyncExitStack() as held:
            scope[HELD] = held
            await self._app(scope, receive, send)


class Answered(Response):
    """JSON sent in pieces, as fast as the client reads, within a time limit; after that the connection ends."""

    def __init__(self, body: bytes, seconds: float) -> None:
        super().__init__(body, media_type=JSON, headers=PRIVATE)
        self._seconds = seconds

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it; an answer that is not read in time stays incomplete, which ends the connection."""
        body = memoryview(bytes(self.body))
        try:
            async with asyncio.timeout(self._seconds):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                for start in range(0, len(body), PIECE_BYTES):
                    piece = bytes(body[start : start + PIECE_BYTES])
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return


def check_user(server: ToolsServer, bearer: Bearer) -> None:
    """Raise RequestRefused unless the caller is the user signed in at the tool."""
    signed_in = server.signed_in(bearer.tool)
    if signed_in is None or signed_in[0] != bearer.subject:
        raise RequestRefused(
            "sign_in_required",
            f"{bearer.subject!r} is not signed in at tool {bearer.tool!r}: sign in first",
        )
    check_unit(bearer, signed_in[1])


def check_unit(bearer: Bearer, unit: str) -> None:
    """Raise RequestRefused `unit_mismatch` for a bearer of another unit."""
    if bearer.unit != unit:
        raise RequestRefused(
            "unit_mismatch",
            f"the bearer token belongs to unit {bearer.unit!r}, the user to another: request a new bearer token",
        )


# --- Media types (RFC 9110 sections 8.3 and 12.5.1), and bodies ---


def check_sent(request: Request) -> None:
    """Raise Problem unless the body is JSON without a content encoding."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON or request.headers.get("content-encoding", IDENTITY).lower() != IDENTITY:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media_type_unsupported",
            f"expected a body of type {JSON} without a content encoding",
            {"Accept": JSON},
        )


def check_accepted(request: Request) -> None:
    """Raise Problem unless the client accepts JSON, which is the default."""
    given = dict(_preferences(",".join(request.headers.getlist("accept")) or "*/*"))
    if not next((given[name] for name in (JSON, "application/*", "*/*") if name in given), 0.0):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "media_type_unacceptable", f"answers are {JSON}: accept it")


def _preferences(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.split(","):
        name, *parameters = [text.strip().lower() for text in part.split(";")]
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            found.append((name, float(weight)))
        except ValueError:
            continue
    return found


async def read_body(request: Request, limits: ServiceLimits) -> bytes:
    """Read a body up to its limits of bytes and seconds."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > limits.body:
        raise _too_large(limits.body)
    body = bytearray()
    async with asyncio.timeout(limits.body_seconds):
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body:
                raise _too_large(limits.body)
    return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        f"the body has more than {most} bytes: send fewer rows at once",
    )
