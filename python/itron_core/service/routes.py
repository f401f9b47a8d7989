"""The routes of the service and their OpenAPI description; schemas of bodies come from their models."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from fastapi import Depends, FastAPI, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from itron_core.service import bodies
from itron_core.service.bodies import JSON, Model
from itron_core.service.handlers import Handlers
from itron_core.service.problems import PROBLEM

__all__ = ["add_routes"]

TEMPLATE = "#/components/schemas/{name}"
HEALTH = {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "reason")},
        "status": {"type": "integer"},
    },
}


class Route(NamedTuple):
    """One route: its request body, its response body, and the role that it needs."""

    method: str
    path: str
    endpoint: Callable[..., Any]
    summary: str
    role: str
    takes: type[Model] | None = None
    gives: type[Model] | None = None


def routes_of(handlers: Handlers) -> list[Route]:
    """Return all routes that need a bearer."""
    tool, manager, b = "field_tool", "manager", bodies
    return [
        Route("GET", "/v1/snapshot", handlers.snapshot, "Sign in", tool, gives=b.SignIns),
        Route("POST", "/v1/wants", handlers.command_requests, "Request Commands", tool, b.Wants, b.Position),
        Route("GET", "/v1/material", handlers.material, "Sync granted material", tool, gives=b.MaterialPage),
        Route("POST", "/v1/devices", handlers.devices, "Return device records", tool, b.DeviceNames, b.DeviceRecords),
        Route("POST", "/v1/outcomes", handlers.report, "Report outcomes", tool, b.Outcomes, b.Codes),
        Route("PUT", "/v1/users", handlers.set_users, "Replace all users", manager, b.Users),
        Route("PUT", "/v1/devices", handlers.set_devices, "Add or update devices", manager, b.DeviceRecords),
        Route("PUT", "/v1/delegations", handlers.set_delegations, "Replace all delegations", manager, b.Tokens),
        Route("PUT", "/v1/revocations", handlers.set_revocations, "Replace the revocations", manager, b.Tokens),
        Route("POST", "/v1/material/{source}", handlers.receive, "Deliver material", manager, b.MaterialPage, b.Codes),
        Route(
            *(
                "GET",
                "/v1/material/{source}/cursor",
                handlers.received,
                "Return the cursor of received material",
                manager,
            ),
            gives=b.Position,
        ),
        Route("GET", "/v1/outcomes", handlers.outcomes, "Return reported outcomes", manager, gives=b.OutcomePages),
        Route(
            "GET",
            "/v1/tools/{tool}/material",
            handlers.held_by,
            "Return material held by a tool",
            manager,
            gives=b.MaterialPage,
        ),
        Route("POST", "/v1/verify", handlers.verify, "Verify tokens in bulk", "reader", b.Tokens, b.Codes),
    ]


def add_routes(app: FastAPI, handlers: Handlers) -> None:
    """Add all routes, and their schemas, to an app."""
    scheme = HTTPBearer(auto_error=False, bearerFormat="JWT", description="See docs/service.md for the claims.")
    schemas, components = msgspec.json.schema_components(bodies.MODELS, ref_template=TEMPLATE)
    schema_of = dict(zip(bodies.MODELS, schemas, strict=True))
    for route in routes_of(handlers):
        content = {JSON: {"schema": schema_of[route.takes]}} if route.takes else None
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
            responses=_responses(route, schema_of),
            openapi_extra={"requestBody": {"required": True, "content": content}} if content else None,
            dependencies=[Depends(scheme)],
        )
    _add_health(app, handlers)
    _add_components(app, components)


def _add_health(app: FastAPI, handlers: Handlers) -> None:
    app.add_api_route(
        "/v1/health",
        handlers.health,
        methods=["GET"],
        summary="Return whether the store is readable",
        description="Needs no bearer.",
        operation_id="health",
        response_class=JSONResponse,
        response_model=None,
        responses={
            200: {"description": "The store is readable.", "content": {JSON: {"schema": HEALTH}}},
            **_problems(503),
        },
    )
    # The same without a body (RFC 9110 section 9.3.2), for monitors.
    app.add_api_route("/v1/health", handlers.health, methods=["HEAD"], include_in_schema=False, response_model=None)


def _add_components(app: FastAPI, components: dict[str, Any]) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        document.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation extends OpenAPI


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _responses(route: Route, schema_of: dict[type[Model], Any]) -> dict[int | str, dict[str, Any]]:
    given: dict[int | str, dict[str, Any]] = (
        {200: {"description": route.gives.__name__, "content": {JSON: {"schema": schema_of[route.gives]}}}}
        if route.gives
        else {204: {"description": "Done."}}
    )
    taking = (408, 413, 415) if route.takes else ()
    giving = (406,) if route.gives else ()
    return given | _problems(400, 401, 403, *giving, 409, *taking, 422, 429, 500, 503)
