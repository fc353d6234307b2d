"""The admin service, for operators and their tools."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from router.control.lifecycle import Lifecycle
from router.edge.stories import nothing_found
from router.edge.tables import route_to_message
from router.edge.transport import cannot_open
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.pb.story_pb2 import ExplainRequest, Stories


class Admin(admin_pb2_grpc.AdminServicer):
    """Answers from the lifecycle, from `status`, which describes the processes, and from what workers `explain`."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        status: Callable[[], pb.Status],
        explain: Callable[[ExplainRequest], Awaitable[Stories]],
    ) -> None:
        self._lifecycle = lifecycle
        self._status = status
        self._explain = explain

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

    async def Explain(  # noqa: N802
        self, request: ExplainRequest, context: aio.ServicerContext[Any, Any]
    ) -> Stories:
        """What became of recent requests."""
        found = await self._explain(request)
        if not found.stories:
            await context.abort(grpc.StatusCode.NOT_FOUND, nothing_found(request, found, time.time_ns()))
        return found


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
