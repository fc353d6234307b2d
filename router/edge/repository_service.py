"""The methods of the protocol that only the controller can answer, for the workers that forward them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from google.protobuf.message import DecodeError

from router.control.lifecycle import Lifecycle
from router.control.records import Order
from router.core.access import NOBODY, Caller, Register
from router.core.table import VersionState
from router.edge.access import Doorkeeper
from router.errors import InvalidRequest, NotFound, Refused, Unimplemented
from router.pb import inference_pb2 as pb
from router.pb.link_pb2 import Telemetry

CLIENT: Final = "client"
"""Who loads and unloads where anybody may."""


class RepositoryService:
    """Statistics, index, load and unload. `figures` asks all workers anew, `doorkeeper` knows who may load."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        figures: Callable[[], Awaitable[Telemetry]],
        explicit: bool,
        doorkeeper: Doorkeeper | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._figures = figures
        self._explicit = explicit
        self._doorkeeper = doorkeeper or Doorkeeper(Register())

    async def answer(self, method: str, message: bytes, caller: Caller = NOBODY) -> bytes:
        """The answer to one method. Raises a RouterError."""
        if method == "ModelStatistics":
            return await self._statistics(_parse(pb.ModelStatisticsRequest, message))
        if method == "RepositoryIndex":
            return self._index(_parse(pb.RepositoryIndexRequest, message))
        if method == "RepositoryModelLoad":
            order = await self._order(caller, method)
            return await self._load(_parse(pb.RepositoryModelLoadRequest, message), order)
        if method == "RepositoryModelUnload":
            order = await self._order(caller, method)
            return await self._unload(_parse(pb.RepositoryModelUnloadRequest, message), order)
        raise Unimplemented(f"this server has no method {method}")

    async def _statistics(self, request: pb.ModelStatisticsRequest) -> bytes:
        table = self._lifecycle.table
        if request.name:
            route = table.routes.get(request.name)
            if route is None:
                raise NotFound(f"unknown model '{request.name[:200]}'")
            if request.version and request.version not in route.versions:
                raise NotFound(f"model '{request.name}' has no version '{request.version[:200]}'")
        figures = await self._figures()
        known = {(each.name, each.version): each for each in figures.models}
        response = pb.ModelStatisticsResponse()
        for name, route in table.routes.items():
            for number, version in route.versions.items():
                if request.name not in ("", name) or request.version not in ("", number):
                    continue
                if (name, number) in known:
                    response.model_stats.append(known[name, number])
                elif version.state is VersionState.READY:
                    response.model_stats.add(name=name, version=number)
        return response.SerializeToString()

    def _index(self, request: pb.RepositoryIndexRequest) -> bytes:
        response = pb.RepositoryIndexResponse()
        for name, route in self._lifecycle.table.routes.items():
            for number, version in route.versions.items():
                if not request.ready or version.state is VersionState.READY:
                    response.models.add(name=name, version=number, state=version.state.value, reason=version.reason)
        return response.SerializeToString()

    async def _order(self, caller: Caller, method: str) -> Order:
        """Who wants it, if they may have it. Raises Unauthenticated, Denied.

        The name in a certificate of this port counts for the audit log only: its authority says who may ask for
        answers, not who may change what answers.
        """
        if self._doorkeeper.open:
            return Order(caller.names[0] if caller.names else CLIENT)
        actor = await self._doorkeeper.admit(Caller(caller.token), method)
        return Order(actor.name, role=actor.role)

    async def _load(self, request: pb.RepositoryModelLoadRequest, order: Order) -> bytes:
        model = self._named(request.model_name, request.repository_name)
        for name in request.parameters:
            raise InvalidRequest(
                f"parameter '{name[:200]}' of a load is not served: settings belong in the model's model.toml"
            )
        await self._lifecycle.load(model, order=order)
        return pb.RepositoryModelLoadResponse().SerializeToString()

    async def _unload(self, request: pb.RepositoryModelUnloadRequest, order: Order) -> bytes:
        model = self._named(request.model_name, request.repository_name)
        for name in request.parameters:
            if name != "unload_dependents":  # nothing here depends on another model
                raise InvalidRequest(f"unknown parameter '{name[:200]}' of an unload")
        await self._lifecycle.unload(model, order=order)
        return pb.RepositoryModelUnloadResponse().SerializeToString()

    def _named(self, second: str, first: str) -> str:
        """The model that is meant: KServe's clients send its name in the field that others use for the repository."""
        if not self._explicit:
            raise Refused("models are loaded by themselves here: start the server with --model-control explicit")
        name = second or first
        if not name:
            raise InvalidRequest("the request names no model")
        return name


def _parse(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidRequest(f"the message is not a {kind.DESCRIPTOR.name}") from None
