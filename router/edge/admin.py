"""The admin service, for operators and their tools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
from grpc import aio

from router.control.faults import FaultBoard
from router.control.lifecycle import Lifecycle
from router.core.fingerprint import names
from router.edge.access import Access
from router.edge.faults import checked, to_messages
from router.edge.stories import nothing_found
from router.edge.tables import route_to_message
from router.edge.transport import Credentials, cannot_open, server_credentials
from router.errors import NotFound, Refused, RouterError
from router.model_settings import ModelSettings
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.pb.faults_pb2 import ModelFaults
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.quarantine import Quarantine, Suspect

PATIENCE_S: Final = 5.0
"""What the supervisor may need to forget the suspects."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Admin(admin_pb2_grpc.AdminServicer):
    """Answers from the lifecycle, from `status`, which describes the processes, from the quarantine, and from what
    workers `explain`.

    Without `faults` none may be set.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        status: Callable[[], pb.Status],
        explain: Callable[[ExplainRequest], Awaitable[Stories]],
        quarantine: Quarantine,
        faults: FaultBoard | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._quarantine = quarantine
        self._status = status
        self._explain = explain
        self._faults = faults

    async def GetStatus(  # noqa: N802  # the protocol's name
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002
        context: aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.Status:
        """The processes and what they do."""
        return self._status()

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        """The table of routes that serves now; of a server that starts it is not known yet."""
        if not self._lifecycle.started:
            return pb.ListModelsResponse(loading=True)
        table = self._lifecycle.table
        if request.name and request.name not in table.routes:
            await _abort(context, NotFound(f"unknown model '{request.name[:200]}'"))
        routes = [route for name, route in table.routes.items() if request.name in ("", name)]
        return pb.ListModelsResponse(generation=table.generation, routes=[route_to_message(route) for route in routes])

    async def SetFallback(  # noqa: N802
        self, request: pb.SetFallbackRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back; every worker does when this returns."""
        try:
            await self._lifecycle.set_fallback(request.model, request.on)
        except RouterError as error:
            await _abort(context, error)
        return pb.SetFallbackResponse(generation=self._lifecycle.table.generation)

    async def ListFaults(  # noqa: N802
        self, request: pb.ListFaultsRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.ListFaultsResponse:
        """What is made to go wrong now."""
        try:
            faults = self._fault_board().now()
            if request.model:
                self._settings(request.model)
        except RouterError as error:
            await _abort(context, error)
        return pb.ListFaultsResponse(
            models=[
                ModelFaults(model=model, faults=to_messages(each))
                for model, each in faults.items()
                if each and request.model in ("", model)
            ]
        )

    async def SetFaults(  # noqa: N802
        self, request: pb.SetFaultsRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.SetFaultsResponse:
        """Make the runs of a model fail, or let it be well."""
        try:
            board = self._fault_board()
            faults = checked(request.model, request.faults, self._settings(request.model))
            workers = await board.set(request.model, faults)
        except RouterError as error:
            await _abort(context, error)
        return pb.SetFaultsResponse(workers=workers)

    async def Explain(  # noqa: N802
        self, request: ExplainRequest, context: aio.ServicerContext[Any, Any]
    ) -> Stories:
        """What became of recent requests."""
        found = await self._explain(request)
        if not found.stories:
            await context.abort(grpc.StatusCode.NOT_FOUND, nothing_found(request, found, time.time_ns()))
        return found

    async def ListQuarantine(  # noqa: N802
        self,
        request: pb.ListQuarantineRequest,  # noqa: ARG002
        context: aio.ServicerContext[Any, Any],  # noqa: ARG002
    ) -> pb.ListQuarantineResponse:
        """The requests that were in runs when workers crashed."""
        suspects = [self._suspect(each) for each in self._quarantine.suspects()]
        return pb.ListQuarantineResponse(suspects=suspects)

    def _suspect(self, suspect: Suspect) -> pb.Suspect:
        message = pb.Suspect(
            fingerprint=f"{suspect.fingerprint:016x}",
            crashes=suspect.crashes,
            last_seconds=suspect.second,
            refused=suspect.refused,
        )
        for route in self._lifecycle.table.routes.values():
            for version in route.versions.values():
                if names(suspect.fingerprint, version):
                    message.model, message.version = version.model, version.number
        return message

    async def ClearQuarantine(  # noqa: N802
        self,
        request: pb.ClearQuarantineRequest,  # noqa: ARG002
        context: aio.ServicerContext[Any, Any],
    ) -> pb.ClearQuarantineResponse:
        """Forget them: what was refused is run again."""
        cleared = len(self._quarantine.suspects())
        self._quarantine.ask_to_forget()
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not self._quarantine.forgotten:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the supervisor does not answer: try again")
        return pb.ClearQuarantineResponse(cleared=cleared)

    def _fault_board(self) -> FaultBoard:
        if self._faults is None:
            raise Refused("faults are not allowed here: start the server with --allow-faults, for tests only")
        return self._faults

    def _settings(self, model: str) -> ModelSettings:
        route = self._lifecycle.table.routes.get(model)
        if route is None:
            raise NotFound(f"unknown model '{model[:200]}'")
        return route.settings


async def _abort(context: aio.ServicerContext[Any, Any], error: RouterError) -> NoReturn:
    await context.abort(_CODES[error.status], str(error))


async def serve_admin(
    address: str, admin: Admin, access: Access | None = None, credentials: Credentials | None = None
) -> aio.Server:
    """Open the admin port, with TLS where there are `credentials`. Raises SettingsError when it cannot.

    Without `access` whoever reaches the port may do everything.
    """
    server = aio.server(interceptors=[access] if access is not None else None)
    admin_pb2_grpc.add_AdminServicer_to_server(admin, server)  # type: ignore[no-untyped-call]
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, server_credentials(credentials))
    except RuntimeError as error:
        raise cannot_open(address) from error
    await server.start()
    return server
