"""The admin service, for operators and their tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc import aio

from router.control.lifecycle import Lifecycle
from router.core.fingerprint import names
from router.edge.tables import route_to_message
from router.edge.transport import cannot_open
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.serving.quarantine import Quarantine, Suspect

PATIENCE_S: Final = 5.0
"""What the supervisor may need to forget the suspects."""


class Admin(admin_pb2_grpc.AdminServicer):
    """Answers from the lifecycle, from `status`, which describes the processes, and from the quarantine."""

    def __init__(self, lifecycle: Lifecycle, status: Callable[[], pb.Status], quarantine: Quarantine) -> None:
        self._lifecycle = lifecycle
        self._quarantine = quarantine
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
