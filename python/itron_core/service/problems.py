"""Refusals as `application/problem+json` (RFC 9457): a status, a stable reason, one sentence."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from itron_core.errors import ExchangeError, InputError, KeyRefused, RequestRefused, StoreError, TokenRefused
from itron_core.service.bearer import BearerRefused
from itron_core.service.bodies import TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request, Response

__all__ = ["PRIVATE", "PROBLEM", "Problem", "answer_to", "http_problem", "parameter_problem", "problem_of"]

PROBLEM = "application/problem+json"
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
SECONDS_TO_COME_AGAIN = 5
SECONDS_A_DAY = 86_400
LONGEST_SENTENCE = 300
LOG = logging.getLogger(__name__)
# Refusals because a request contradicts the server's state of the tool; others concern the user.
CONFLICTS = frozenset({"cursor_unknown", "number_reused", "number_skipped", "sign_in_required"})
QUOTA = "quota_exceeded"
CLOSE = {"Connection": "close"}
# Answers before a body was read completely.
UNREAD = frozenset(
    {
        *(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.REQUEST_TIMEOUT),
        *(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    }
)


class Problem(Exception):  # noqa: N818  # an answer, by its name in RFC 9457
    """A problem answer: status, a stable reason, one sentence."""

    def __init__(self, status: HTTPStatus, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.reason, self.detail, self.headers = status, reason, detail, headers
        super().__init__(reason)


def problem_of(error: Exception, request: Request) -> Problem:
    """Return the problem for an error, in the server's own words; an unknown error reveals nothing."""
    if (known := _refusal_of(error) or _failure_of(error)) is not None:
        return known
    LOG.error("an internal error, at %s", request.scope["path"], exc_info=error)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "an internal error; see the server's log")


def _refusal_of(error: Exception) -> Problem | None:
    match error:
        case Problem():
            return error
        case BearerRefused():
            challenge = {"WWW-Authenticate": 'Bearer realm="itron-core", error="invalid_token"'}
            return Problem(HTTPStatus.UNAUTHORIZED, "bearer_refused", str(error), challenge)
        case RequestRefused() if error.reason == QUOTA:
            again = {"Retry-After": str(SECONDS_A_DAY)}
            return Problem(HTTPStatus.TOO_MANY_REQUESTS, error.reason, str(error.args[1]), again)
        case RequestRefused():
            status = HTTPStatus.CONFLICT if error.reason in CONFLICTS else HTTPStatus.FORBIDDEN
            return Problem(status, error.reason, str(error.args[1]))
        case TokenRefused():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, error.name, str(error))
        case KeyRefused():
            return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "key_refused", str(error))
    return None


def _failure_of(error: Exception) -> Problem | None:
    match error:
        case TooLarge():
            return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_rows", str(error))
        case InputError() | ExchangeError():
            return Problem(HTTPStatus.BAD_REQUEST, "bad_request", str(error))
        case StoreError():
            LOG.error("store: %s", error)
            again = {"Retry-After": str(SECONDS_TO_COME_AGAIN)}
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", "the store is unavailable: try again later", again
            )
        case TimeoutError():
            return Problem(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", "the body was not sent in time")
        case ClientDisconnect():
            return Problem(HTTPStatus.BAD_REQUEST, "body_cut", "the body was cut off")
    return None


def answer_to(problem: Problem) -> Response:
    """Return the answer of a problem."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": int(problem.status),
        "detail": problem.detail[:LONGEST_SENTENCE],
        "reason": problem.reason,
    }
    # An unread body cannot be skipped, so the connection ends with the answer.
    closing = CLOSE if problem.status in UNREAD else {}
    headers = {**PRIVATE, **closing, **(problem.headers or {})}
    return JSONResponse(body, status_code=problem.status, media_type=PROBLEM, headers=headers)


async def http_problem(request: Request, error: Exception) -> Response:
    """Answer a path or method that is not served."""
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these alone
    status = HTTPStatus(error.status_code)
    # Several routes share a path; RFC 9110 section 15.5.6 requires all their methods.
    allowed = {"Allow": ", ".join(_methods(request))} if status == HTTPStatus.METHOD_NOT_ALLOWED else None
    return answer_to(Problem(status, status.name.lower(), "unknown route or method", allowed))


def _methods(request: Request) -> list[str]:
    return sorted(
        {
            method
            for route in request.app.routes
            if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
            for method in route.methods or ()
        }
    )


async def parameter_problem(_request: Request, error: Exception) -> Response:
    """Answer a request with invalid parameters."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # it is registered for these alone
    names = sorted({str(fault["loc"][-1]) for fault in error.errors()})
    detail = f"invalid parameters: {', '.join(names)}; see /openapi.json"
    return answer_to(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "parameter_refused", detail))
