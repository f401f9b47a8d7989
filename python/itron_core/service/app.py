"""The tools server over HTTP: who calls is checked first, sizes next, and only then is a body read.

The routes carry what `Exchange` and the security manager's side of `ToolsServer` carry, as Arrow IPC or JSON (wire.py), and
add nothing: cursors, numbers and idempotence are the library's. All that blocks runs in worker threads.
This module and no other imports FastAPI; `import itron_core` does not reach it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple
from weakref import WeakValueDictionary

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from itron_core._rust import PublicKey
from itron_core.enums import DEVICE_TOKEN_TYPES
from itron_core.errors import ExchangeError, InputError, KeyRefused, RequestRefused, StoreError, TokenRefused
from itron_core.service import bodies as wire
from itron_core.service.bearer import AUDIENCE, ISSUER, Bearer, BearerRefused, Bearers, bearer_token
from itron_core.service.bodies import Body, Field, Shape, TooLarge
from itron_core.tools_server import ToolsServer

__all__ = ["ServiceLimits", "bearer_token", "create_app"]

PROBLEM = "application/problem+json"
SECONDS_TO_COME_AGAIN = 5
LONGEST_SENTENCE = 300
LOG = logging.getLogger(__name__)
# A request that contradicts what the server knows of the tool; other refusals are of the person.
CONFLICTS = frozenset({"cursor_unknown", "number_reused", "number_skipped", "sign_in_required"})
CLOSE = {"Connection": "close"}
# What is answered before a body was read, or read whole.
UNREAD = frozenset(
    {
        *(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.REQUEST_TIMEOUT),
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    }
)
# FastAPI's own telemetry would hand messages and traces on.
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)

AFTER: Any = Query(ge=0, lt=wire.LARGEST + 1, description="The cursor: rows behind it are answered.")
LIMIT: Any = Query(ge=1, lt=wire.LARGEST + 1, description="The most rows; the server may answer fewer.")
SOURCE: Any = Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="Whose material it is.")
TOKEN_TYPE: Any = Query(pattern=f"^({'|'.join(DEVICE_TOKEN_TYPES)})$", description="What the tokens must be.")


class ServiceLimits(NamedTuple):
    """What one request may cost: bytes of a body, rows, seconds for it to come, how many are worked on at once.

    `bearer_lifetime` bounds, in seconds, for how long a bearer token may be in force.
    """

    body: int = 64 * 2**20
    rows: int = 100_000
    body_seconds: float = 60.0
    at_once: int = 8
    bearer_lifetime: int = 86_400


class _Problem(Exception):  # noqa: N818  # an answer, by its name in RFC 9457
    """An answer that is a problem: status, a stable reason, one sentence."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.reason, self.detail, self.headers = status, reason, detail, headers
        super().__init__(reason)


class _Answer(NamedTuple):
    rows: Sequence[Sequence[Any]] = ()
    facts: Mapping[str, Any] | None = None


Work = Callable[[Bearer, Body], _Answer]
NOTHING = Body({}, [])


def create_app(
    server: ToolsServer,
    *,
    bearer_key: PublicKey,
    clock: Callable[[], int],
    limits: ServiceLimits | None = None,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
) -> FastAPI:
    """Return the service over a tools server, for any ASGI server.

    `bearer_key` is the public key of whoever makes bearer tokens (`bearer_token`), `clock` gives the time in whole
    seconds. Raises InputError for a key that is none.
    """
    limits = limits or ServiceLimits()
    bearers = Bearers(bearer_key, issuer=issuer, audience=audience, longest_lifetime=limits.bearer_lifetime)
    app = FastAPI(
        title="itron_core tools server",
        version="1",
        description="Security material for field tools, synced by cursor. Bodies are Arrow IPC streams or JSON.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _parameter_problem)
    _add_routes(app, _Service(server, bearers, clock, limits))
    return app


class _Service:
    """One method a route."""

    def __init__(self, server: ToolsServer, bearers: Bearers, clock: Callable[[], int], limits: ServiceLimits) -> None:
        self._server, self._bearers, self._clock, self._limits = server, bearers, clock, limits
        self._places = asyncio.Semaphore(limits.at_once)
        # As long as somebody holds or awaits it.
        self._callers: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    # --- The field tool's side: the tool and its user are those of the bearer ---

    async def snapshot(self, request: Request) -> Response:
        def work(bearer: Bearer, _body: Body) -> _Answer:
            found = self._server.snapshot(bearer.tool, bearer.subject, now=self._clock(), unit=bearer.unit)
            return _Answer([(token,) for token in found.delegations], wire.snapshot_facts(found))

        return await self._handle(request, "field_tool", work, gives=wire.SNAPSHOT)

    async def wants(self, request: Request) -> Response:
        def work(bearer: Bearer, body: Body) -> _Answer:
            self._check_user(bearer)
            taken = self._server.request(bearer.tool, wire.wants_of(body), now=self._clock())
            return _Answer(facts={"position": taken})

        return await self._handle(request, "field_tool", work, takes=wire.WANTS, gives=wire.POSITION)

    async def material(
        self, request: Request, after: Annotated[int, AFTER] = 0, limit: Annotated[int, LIMIT] = 10_000
    ) -> Response:
        def work(bearer: Bearer, _body: Body) -> _Answer:
            self._check_user(bearer)
            page = self._server.material(bearer.tool, after, min(limit, self._limits.rows), now=self._clock())
            return _Answer(wire.page_rows(page), {"next": page.next, "more": page.more})

        return await self._handle(request, "field_tool", work, gives=wire.PAGE)

    async def devices(self, request: Request) -> Response:
        def work(bearer: Bearer, body: Body) -> _Answer:
            self._check_user(bearer)
            return _Answer(self._server.devices(bearer.tool, [name for (name,) in body.rows], now=self._clock()))

        return await self._handle(request, "field_tool", work, takes=wire.NAMES, gives=wire.DEVICES)

    async def report(self, request: Request) -> Response:
        def work(bearer: Bearer, body: Body) -> _Answer:
            # A tool reports before its next user signs in: what was done, was done by that tool, whoever brings it.
            if (signed_in := self._server.signed_in(bearer.tool)) is not None:
                _check_unit(bearer, signed_in[1])
            codes = self._server.report(bearer.tool, wire.outcomes_of(body), now=self._clock())
            return _Answer([(code,) for code in codes])

        return await self._handle(request, "field_tool", work, takes=wire.OUTCOMES, gives=wire.CODES)

    # --- The security manager's side ---

    async def set_users(self, request: Request) -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            self._server.set_users(body.rows, now=self._clock())
            return _Answer()

        return await self._handle(request, "manager", work, takes=wire.USERS)

    async def set_devices(self, request: Request) -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            records = wire.devices_of(body)
            self._server.set_devices(records, now=self._clock())
            return _Answer()

        return await self._handle(request, "manager", work, takes=wire.DEVICES)

    async def set_delegations(self, request: Request) -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            self._server.set_delegations([token for (token,) in body.rows], now=self._clock())
            return _Answer()

        return await self._handle(request, "manager", work, takes=wire.TOKENS)

    async def set_revocations(self, request: Request) -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            if len(body.rows) != 1:
                raise InputError(f"{len(body.rows)} revocation snapshots; wanted one")
            self._server.set_revocations(body.rows[0][0], now=self._clock())
            return _Answer()

        return await self._handle(request, "manager", work, takes=wire.TOKENS)

    async def receive(self, request: Request, source: Annotated[str, SOURCE]) -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            codes = self._server.receive(source, wire.page_of(body), now=self._clock())
            return _Answer([(code,) for code in codes])

        return await self._handle(request, "manager", work, takes=wire.PAGE, gives=wire.CODES)

    async def received(self, request: Request, source: Annotated[str, SOURCE]) -> Response:
        def work(_bearer: Bearer, _body: Body) -> _Answer:
            return _Answer(facts={"position": self._server.received(source)})

        return await self._handle(request, "manager", work, gives=wire.POSITION)

    async def outcomes(
        self, request: Request, after: Annotated[int, AFTER] = 0, limit: Annotated[int, LIMIT] = 10_000
    ) -> Response:
        def work(_bearer: Bearer, _body: Body) -> _Answer:
            page = self._server.outcomes(after, min(limit, self._limits.rows))
            return _Answer(wire.outcome_page_rows(page), {"next": page.next, "more": page.more})

        return await self._handle(request, "manager", work, gives=wire.OUTCOME_PAGE)

    # --- For everybody ---

    async def verify(self, request: Request, token_type: Annotated[str, TOKEN_TYPE] = "authorization") -> Response:
        def work(_bearer: Bearer, body: Body) -> _Answer:
            tokens = [token for (token,) in body.rows]
            return _Answer([(code,) for code in self._server.verify(tokens, now=self._clock(), token_type=token_type)])

        return await self._handle(request, "reader", work, takes=wire.TOKENS, gives=wire.CODES)

    async def health(self, request: Request) -> Response:
        try:
            await run_in_threadpool(self._server.received, "health")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
            return _answer_to(_problem_of(error, request))
        return JSONResponse({"status": "ok"})

    # --- What all routes share ---

    async def _handle(
        self, request: Request, role: str, work: Work, *, takes: Shape | None = None, gives: Shape | None = None
    ) -> Response:
        try:
            bearer = self._let_in(request, role)
            to = _accepted(request) if gives else "json"
            of = _sent(request) if takes else "json"
            async with self._alone(bearer), self._places:
                body = await self._body(request) if takes else b""
                return await run_in_threadpool(self._worked, work, bearer, (takes, body, of), (gives, to))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
            return _answer_to(_problem_of(error, request))

    def _alone(self, bearer: Bearer) -> asyncio.Lock:
        """Let a bearer's calls come one after the other: one that sends slowly takes one place of all, not every one."""
        return self._callers.setdefault((bearer.subject, bearer.tool), asyncio.Lock())

    def _worked(
        self,
        work: Work,
        bearer: Bearer,
        taken: tuple[Shape | None, bytes, Literal["arrow", "json"]],
        given: tuple[Shape | None, Literal["arrow", "json"]],
    ) -> Response:
        (takes, body, of), (gives, to) = taken, given
        read = wire.decode(takes, body, of=of, most_rows=self._limits.rows) if takes else NOTHING
        answer = work(bearer, read)
        if gives is None:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=PRIVATE)
        media_type = wire.ARROW if to == "arrow" else wire.JSON
        return Response(
            wire.encode(gives, answer.rows, answer.facts, to=to), media_type=media_type, headers={**PRIVATE, **VARY}
        )

    def _let_in(self, request: Request, role: str) -> Bearer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BearerRefused("no bearer token came; wanted Authorization: Bearer and a token")
        bearer = self._bearers.read(token.strip(), now=self._clock())
        if role not in bearer.roles:
            raise _Problem(
                HTTPStatus.FORBIDDEN, "role_missing", f"this needs the role {role}: have it put in the bearer"
            )
        if role == "field_tool" and not (bearer.tool and bearer.unit):
            raise _Problem(HTTPStatus.FORBIDDEN, "tool_missing", "the bearer names no tool or unit: have them put in")
        return bearer

    async def _body(self, request: Request) -> bytes:
        """Read a body as it comes, and no further than the limit."""
        most = self._limits.body
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > most:
            raise _too_large(most)
        body = bytearray()
        async with asyncio.timeout(self._limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
        return bytes(body)

    def _check_user(self, bearer: Bearer) -> None:
        """Let nobody act as the user who signed in at a tool before."""
        signed_in = self._server.signed_in(bearer.tool)
        if signed_in is None or signed_in[0] != bearer.subject:
            raise RequestRefused(
                "sign_in_required",
                f"{bearer.subject!r} is not signed in at tool {bearer.tool!r}: sync begins with the snapshot",
            )
        _check_unit(bearer, signed_in[1])


PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
VARY = {"Vary": "Accept"}


def _check_unit(bearer: Bearer, unit: str) -> None:
    if bearer.unit != unit:
        raise RequestRefused(
            "unit_mismatch", f"the bearer is of unit {bearer.unit!r}, the user of another: have a new bearer made"
        )


def _too_large(most: int) -> _Problem:
    return _Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        f"a body of more than {most} bytes: send fewer rows at once",
    )


# --- Media types (RFC 9110 sections 8.3 and 12.5.1) ---


def _sent(request: Request) -> Literal["arrow", "json"]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in wire.MEDIA_TYPES or request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media_type_unsupported",
            f"wanted a body of {' or '.join(wire.MEDIA_TYPES)}, not encoded",
            {"Accept": ", ".join(wire.MEDIA_TYPES)},
        )
    return wire.MEDIA_TYPES[media_type]


def _accepted(request: Request) -> Literal["arrow", "json"]:
    """Choose what the client likes best; JSON where it does not say."""
    liked = dict.fromkeys(wire.MEDIA_TYPES, 0.0)
    given = dict(_preferences(",".join(request.headers.getlist("accept")) or "*/*"))
    for media_type in liked:
        ranges = (media_type, "application/*", "*/*")
        liked[media_type] = next((given[name] for name in ranges if name in given), 0.0)
    best = max((wire.JSON, wire.ARROW), key=liked.__getitem__)
    if not liked[best]:
        raise _Problem(
            HTTPStatus.NOT_ACCEPTABLE, "media_type_unacceptable", f"there is {' or '.join(wire.MEDIA_TYPES)}"
        )
    return wire.MEDIA_TYPES[best]


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


# --- Problems (RFC 9457) ---


def _problem_of(error: Exception, request: Request) -> _Problem:
    """Say what went wrong, in the server's words and no one else's; what is no known error says nothing."""
    if (known := _refusal_of(error) or _failure_of(error)) is not None:
        return known
    LOG.error("a fault inside, at %s", request.scope["path"], exc_info=error)
    return _Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "a fault inside the server; it is in its log")


def _refusal_of(error: Exception) -> _Problem | None:
    match error:
        case _Problem():
            return error
        case BearerRefused():
            challenge = {"WWW-Authenticate": 'Bearer realm="itron-core", error="invalid_token"'}
            return _Problem(HTTPStatus.UNAUTHORIZED, "bearer_refused", str(error), challenge)
        case RequestRefused():
            status = HTTPStatus.CONFLICT if error.reason in CONFLICTS else HTTPStatus.FORBIDDEN
            return _Problem(status, error.reason, str(error.args[1]))
        case TokenRefused():
            return _Problem(HTTPStatus.UNPROCESSABLE_ENTITY, error.name, str(error))
        case KeyRefused():
            return _Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "key_refused", str(error))
    return None


def _failure_of(error: Exception) -> _Problem | None:
    match error:
        case TooLarge():
            return _Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_rows", str(error))
        case InputError() | ExchangeError():
            return _Problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error))
        case StoreError():
            LOG.error("store: %s", error)
            again = {"Retry-After": str(SECONDS_TO_COME_AGAIN)}
            return _Problem(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", "the store cannot be used now", again)
        case TimeoutError():
            return _Problem(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "the body did not come in time")
        case ClientDisconnect():
            return _Problem(HTTPStatus.BAD_REQUEST, "body_cut", "the body ended early")
    return None


def _answer_to(problem: _Problem) -> Response:
    told = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail[:LONGEST_SENTENCE],
        "reason": problem.reason,
    }
    # A body that was not read cannot be skipped: the connection ends with the answer.
    closing = CLOSE if problem.status in UNREAD else {}
    headers = {**PRIVATE, **closing, **(problem.headers or {})}
    return JSONResponse(told, status_code=problem.status, media_type=PROBLEM, headers=headers)


async def _http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these alone
    status = HTTPStatus(error.status_code)
    reason = status.name.lower()
    # Of one path, another route has the other method; RFC 9110 section 15.5.6 wants all of them told.
    allowed = {"Allow": ", ".join(_methods(request))} if status == HTTPStatus.METHOD_NOT_ALLOWED else None
    return _answer_to(_Problem(status, reason, "there is no such route or method here", allowed))


def _methods(request: Request) -> list[str]:
    return sorted(
        method
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    )


async def _parameter_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # it is registered for these alone
    names = sorted({str(fault["loc"][-1]) for fault in error.errors()})
    detail = f"parameters out of their bounds: {', '.join(names)}; /openapi.json says what is wanted"
    return _answer_to(_Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "parameter_refused", detail))


# --- Routes, and what OpenAPI tells of them ---


class _Route(NamedTuple):
    method: str
    path: str
    endpoint: Callable[..., Any]
    summary: str
    role: str
    takes: Shape | None = None
    gives: Shape | None = None


def _routes(service: _Service) -> list[_Route]:
    return [
        _Route("GET", "/v1/snapshot", service.snapshot, "Sign in", "field_tool", gives=wire.SNAPSHOT),
        _Route("POST", "/v1/wants", service.wants, "Request Commands", "field_tool", wire.WANTS, wire.POSITION),
        _Route("GET", "/v1/material", service.material, "Sync what was granted", "field_tool", gives=wire.PAGE),
        _Route("POST", "/v1/devices", service.devices, "Look devices up", "field_tool", wire.NAMES, wire.DEVICES),
        _Route("POST", "/v1/outcomes", service.report, "Report outcomes", "field_tool", wire.OUTCOMES, wire.CODES),
        _Route("PUT", "/v1/users", service.set_users, "Replace all users", "manager", wire.USERS),
        _Route("PUT", "/v1/devices", service.set_devices, "Add or renew devices", "manager", wire.DEVICES),
        _Route("PUT", "/v1/delegations", service.set_delegations, "Replace all delegations", "manager", wire.TOKENS),
        _Route("PUT", "/v1/revocations", service.set_revocations, "Renew the revocations", "manager", wire.TOKENS),
        _Route("POST", "/v1/material/{source}", service.receive, "Deliver material", "manager", wire.PAGE, wire.CODES),
        _Route(
            *("GET", "/v1/material/{source}/cursor", service.received, "How far material has come", "manager"),
            gives=wire.POSITION,
        ),
        _Route("GET", "/v1/outcomes", service.outcomes, "What tools reported", "manager", gives=wire.OUTCOME_PAGE),
        _Route("POST", "/v1/verify", service.verify, "Verify tokens in bulk", "reader", wire.TOKENS, wire.CODES),
    ]


def _add_routes(app: FastAPI, service: _Service) -> None:
    scheme = HTTPBearer(auto_error=False, bearerFormat="JWT", description="See docs/service.md for the claims.")
    for route in _routes(service):
        app.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            summary=route.summary,
            description=f"Needs the role `{route.role}`.",
            operation_id=route.endpoint.__name__,
            status_code=HTTPStatus.OK if route.gives else HTTPStatus.NO_CONTENT,
            response_class=Response,
            response_model=None,
            responses=_responses(route),
            openapi_extra={"requestBody": {"required": True, "content": _content(route.takes)}}
            if route.takes
            else None,
            dependencies=[Depends(scheme)],
        )
    app.add_api_route(
        "/v1/health",
        service.health,
        methods=["GET"],
        summary="Whether the store can be read",
        description="Open to all.",
        operation_id="health",
        response_class=JSONResponse,
        response_model=None,
        responses={200: {"description": "It can.", "content": {wire.JSON: {"schema": HEALTH}}}, **_problems(503)},
    )


HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "reason")},
        "status": {"type": "integer"},
    },
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _responses(route: _Route) -> dict[int | str, dict[str, Any]]:
    given: dict[int | str, dict[str, Any]] = (
        {200: {"description": route.gives.name, "content": _content(route.gives)}}
        if route.gives
        else {204: {"description": "Done."}}
    )
    taking = (408, 413, 415) if route.takes else ()
    giving = (406,) if route.gives else ()
    return given | _problems(400, 401, 403, *giving, 409, *taking, 422, 500, 503)


def _content(shape: Shape) -> dict[str, Any]:
    return {
        wire.JSON: {"schema": _schema(shape)},
        wire.ARROW: {"schema": {"type": "string", "format": "binary", "description": f"The columns of {shape.name}."}},
    }


def _schema(shape: Shape) -> dict[str, Any]:
    found = _object_schema(shape.facts)
    if shape.rows:
        found["properties"]["rows"] = {"type": "array", "items": _object_schema(shape.rows)}
        found["required"].append("rows")
    return {"title": shape.name, **found}


def _object_schema(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [field.name for field in fields],
        "properties": {field.name: _field_schema(field) for field in fields},
    }


def _field_schema(field: Field) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "text": {"type": "string", "maxLength": field.most},
        "bytes": {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
        # 2^63 is a number that JSON readers with floating point have exactly; 2^63 - 1 is not.
        "number": {"type": "integer", "minimum": 0, "exclusiveMaximum": wire.LARGEST + 1},
        "flag": {"type": "boolean"},
    }
    found = kinds[field.kind]
    return {**found, "type": [found["type"], "null"]} if field.nullable else found
