"""The handlers of the routes: each makes one call of `ToolsServer`, and adds no rule of its own."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from itron_core.enums import DEVICE_TOKEN_TYPES
from itron_core.errors import InputError
from itron_core.service import bodies
from itron_core.service.access import (
    Answered,
    Doorkeeper,
    check_accepted,
    check_sent,
    check_unit,
    check_user,
    read_body,
)
from itron_core.service.bearer import Bearer
from itron_core.service.bodies import Model
from itron_core.service.limits import ServiceLimits
from itron_core.service.problems import PRIVATE, answer_to, problem_of
from itron_core.tools_server import ToolsServer

__all__ = ["Handlers"]

AFTER: Any = Query(ge=0, lt=bodies.LARGEST + 1, description="The cursor; rows after it are returned.")
LIMIT: Any = Query(ge=1, lt=bodies.LARGEST + 1, description="The most rows to return; the server may return fewer.")
SOURCE: Any = Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$", description="The source of the material.")
TOKEN_TYPE: Any = Query(
    pattern=f"^({'|'.join(DEVICE_TOKEN_TYPES)})$", description="The type that the tokens must have."
)
M = TypeVar("M", bound=Model)


class Handlers:
    """One method per route. Decoding, the store and the verifier run in worker threads."""

    def __init__(self, server: ToolsServer, door: Doorkeeper, clock: Callable[[], int], limits: ServiceLimits) -> None:
        self._server, self._door, self._clock, self._limits = server, door, clock, limits

    # --- The field tool's side: the bearer names the tool and its user ---

    async def snapshot(self, request: Request) -> Response:
        """Sign in."""

        def work(bearer: Bearer) -> Model:
            found = self._server.snapshot(bearer.tool, bearer.subject, now=self._clock(), unit=bearer.unit)
            return bodies.SignIns.of(found)

        return await self._answer(request, "field_tool", work)

    async def command_requests(self, request: Request) -> Response:
        """Receive command requests."""

        def work(bearer: Bearer, body: bodies.Wants) -> Model:
            check_user(self._server, bearer)
            return bodies.Position(self._server.request(bearer.tool, body.requests(), now=self._clock()))

        return await self._take(request, "field_tool", bodies.Wants, work)

    async def material(
        self, request: Request, after: Annotated[int, AFTER] = 0, limit: Annotated[int, LIMIT] = 10_000
    ) -> Response:
        """Return granted material."""

        def work(bearer: Bearer) -> Model:
            check_user(self._server, bearer)
            page = self._server.material(bearer.tool, after, min(limit, self._limits.rows), now=self._clock())
            return bodies.MaterialPage.of(page)

        return await self._answer(request, "field_tool", work)

    async def devices(self, request: Request) -> Response:
        """Return device records."""

        def work(bearer: Bearer, body: bodies.DeviceNames) -> Model:
            check_user(self._server, bearer)
            names = [row.device for row in body.rows]
            return bodies.DeviceRecords.of(self._server.devices(bearer.tool, names, now=self._clock()))

        return await self._take(request, "field_tool", bodies.DeviceNames, work)

    async def report(self, request: Request) -> Response:
        """Receive outcomes."""

        def work(bearer: Bearer, body: bodies.Outcomes) -> Model:
            # A tool reports before its next user signs in: outcomes belong to the tool, whoever sends them.
            if (signed_in := self._server.signed_in(bearer.tool)) is not None:
                check_unit(bearer, signed_in[1])
            return bodies.Codes.of(self._server.report(bearer.tool, body.reports(), now=self._clock()))

        return await self._take(request, "field_tool", bodies.Outcomes, work)

    # --- The security manager's side ---

    async def set_users(self, request: Request) -> Response:
        """Replace all users."""

        def work(_bearer: Bearer, body: bodies.Users) -> None:
            self._server.set_users([(row.name, row.unit, row.permissions) for row in body.rows], now=self._clock())

        return await self._take(request, "manager", bodies.Users, work, answers=False)

    async def set_devices(self, request: Request) -> Response:
        """Add or update devices."""

        def work(_bearer: Bearer, body: bodies.DeviceRecords) -> None:
            self._server.set_devices(body.records(), now=self._clock())

        return await self._take(request, "manager", bodies.DeviceRecords, work, answers=False)

    async def set_delegations(self, request: Request) -> Response:
        """Replace all delegations."""

        def work(_bearer: Bearer, body: bodies.Tokens) -> None:
            self._server.set_delegations(body.tokens(), now=self._clock())

        return await self._take(request, "manager", bodies.Tokens, work, answers=False)

    async def set_revocations(self, request: Request) -> Response:
        """Receive a newer revocation snapshot."""

        def work(_bearer: Bearer, body: bodies.Tokens) -> None:
            if len(body.rows) != 1:
                raise InputError(f"rows: got {len(body.rows)} revocation snapshots, expected 1")
            self._server.set_revocations(body.rows[0].token, now=self._clock())

        return await self._take(request, "manager", bodies.Tokens, work, answers=False)

    async def receive(self, request: Request, source: Annotated[str, SOURCE]) -> Response:
        """Receive material."""

        def work(_bearer: Bearer, body: bodies.MaterialPage) -> Model:
            return bodies.Codes.of(self._server.receive(source, body.page(), now=self._clock()))

        return await self._take(request, "manager", bodies.MaterialPage, work)

    async def received(self, request: Request, source: Annotated[str, SOURCE]) -> Response:
        """Return the cursor up to which material was received."""

        def work(_bearer: Bearer) -> Model:
            return bodies.Position(self._server.received(source))

        return await self._answer(request, "manager", work)

    async def outcomes(
        self, request: Request, after: Annotated[int, AFTER] = 0, limit: Annotated[int, LIMIT] = 10_000
    ) -> Response:
        """Return reported outcomes."""

        def work(_bearer: Bearer) -> Model:
            return bodies.OutcomePages.of(self._server.outcomes(after, min(limit, self._limits.rows)))

        return await self._answer(request, "manager", work)

    async def held_by(
        self,
        request: Request,
        tool: Annotated[str, SOURCE],
        after: Annotated[int, AFTER] = 0,
        limit: Annotated[int, LIMIT] = 10_000,
    ) -> Response:
        """Return material that a tool may still hold unused."""

        def work(_bearer: Bearer) -> Model:
            page = self._server.held_by(tool, after, min(limit, self._limits.rows), now=self._clock())
            return bodies.MaterialPage.of(page)

        return await self._answer(request, "manager", work)

    # --- For everybody ---

    async def verify(self, request: Request, token_type: Annotated[str, TOKEN_TYPE] = "authorization") -> Response:
        """Verify tokens by the delegations and revocations in force here."""

        def work(_bearer: Bearer, body: bodies.Tokens) -> Model:
            return bodies.Codes.of(self._server.verify(body.tokens(), now=self._clock(), token_type=token_type))

        return await self._take(request, "reader", bodies.Tokens, work)

    async def health(self, request: Request) -> Response:
        """Return whether the store is readable."""
        try:
            await run_in_threadpool(self._server.received, "health")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
            return answer_to(problem_of(error, request))
        return JSONResponse({"status": "ok"})

    # --- Common to all routes ---

    async def _answer(self, request: Request, role: str, work: Callable[[Bearer], Model]) -> Response:
        """Answer a call without a body."""
        try:
            bearer = await self._door.let_in(request, role)
            check_accepted(request)
            await self._door.take_place(request, bearer)
            return await run_in_threadpool(lambda: self._written(work(bearer)))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
            return answer_to(problem_of(error, request))

    async def _take(
        self,
        request: Request,
        role: str,
        model: type[M],
        work: Callable[[Bearer, M], Model | None],
        *,
        answers: bool = True,
    ) -> Response:
        """Answer a call with a body: check the caller first, then sizes, and only then read it."""
        try:
            bearer = await self._door.let_in(request, role)
            if answers:
                check_accepted(request)
            check_sent(request)
            await self._door.take_place(request, bearer)
            body = await read_body(request, self._limits)
            return await run_in_threadpool(self._worked, work, bearer, model, body)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered
            return answer_to(problem_of(error, request))

    def _worked(
        self, work: Callable[[Bearer, M], Model | None], bearer: Bearer, model: type[M], body: bytes
    ) -> Response:
        answer = work(bearer, bodies.decode(model, body, most_rows=self._limits.rows))
        return Response(status_code=204, headers=PRIVATE) if answer is None else self._written(answer)

    def _written(self, answer: Model) -> Response:
        return Answered(bodies.encode(answer), self._limits.answer_seconds)
