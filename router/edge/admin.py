"""The admin service, for operators and their tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc import aio

from router.control.lifecycle import Lifecycle
from router.edge.tables import route_to_message
from router.edge.transport import cannot_open
from router.errors import RouterError
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Admin(admin_pb2_grpc.AdminServicer):
    """Answers from the lifecycle and from `status`, which describes the processes."""

    def __init__(self, lifecycle: Lifecycle, status: Callable[[], pb.Status]) -> None:
        self._lifecycle = lifecycle
        self._status = status

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
        """The table of routes that serves now."""
        table = self._lifecycle.table
        if request.name and request.name not in table.routes:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model '{request.name[:200]}'")
        routes = [route for name, route in table.routes.items() if request.name in ("", name)]
        return pb.ListModelsResponse(generation=table.generation, routes=[route_to_message(route) for route in routes])

    async def SetFallback(  # noqa: N802
        self, request: pb.SetFallbackRequest, context: aio.ServicerContext[Any, Any]
    ) -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back; every worker does when this returns."""
        try:
            await self._lifecycle.set_fallback(request.model, request.on)
        except RouterError as error:
            await context.abort(_CODES[error.status], str(error))
        return pb.SetFallbackResponse(generation=self._lifecycle.table.generation)


async def serve_admin(address: str, admin: Admin) -> aio.Server:
    """Open the admin port. Raises SettingsError when it cannot."""
    server = aio.server()
    admin_pb2_grpc.add_AdminServicer_to_server(admin, server)  # type: ignore[no-untyped-call]
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise cannot_open(address) from error
    await server.start()
    return server
