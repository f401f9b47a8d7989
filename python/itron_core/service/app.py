"""The tools server over HTTP: checks the caller first, then sizes, and only then reads a body.

The routes are the calls of `Exchange` and of the security manager's side of `ToolsServer`, as JSON (bodies.py), and add no
rules: cursors, numbers and idempotence are the library's. Blocking work runs in worker threads.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from itron_core._rust import PublicKey
from itron_core.service.access import Doorkeeper, PlacesHeld
from itron_core.service.bearer import AUDIENCE, ISSUER, Bearers, bearer_token
from itron_core.service.handlers import Handlers
from itron_core.service.limits import ConnectionLimits, ServiceLimits
from itron_core.service.problems import http_problem, parameter_problem
from itron_core.service.routes import add_routes
from itron_core.tools_server import ToolsServer

__all__ = ["ConnectionLimits", "ServiceLimits", "bearer_token", "create_app"]

# FastAPI's telemetry would pass messages and traces on.
NO_TELEMETRY: Any = dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)


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

    `bearer_key` is the public key that verifies bearer tokens (made by `bearer_token`); `clock` returns the time in whole
    seconds since 1970. Raises InputError for a key of another type.
    """
    limits = limits or ServiceLimits()
    bearers = Bearers(bearer_key, issuer=issuer, audience=audience, longest_lifetime=limits.bearer_lifetime)
    app = FastAPI(
        title="itron_core tools server",
        version="1",
        description="Security material for field tools, synced by cursor. Bodies are JSON.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    app.add_middleware(PlacesHeld)
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(RequestValidationError, parameter_problem)
    add_routes(app, Handlers(server, Doorkeeper(server, bearers, clock, limits), clock, limits))
    return app
