"""The admin service from the other side, for the command line."""

from __future__ import annotations

from typing import Any, Final, Self

import grpc

from router.edge.address import address
from router.edge.listener import Listener, listener
from router.errors import NotReady, RouterError, Status
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc

_OTHER_PORT: Final = "name the server's admin port with --admin HOST:PORT"


class AdminError(RouterError):
    """What the server answered instead."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the class names it for all other errors


class AdminClient:
    """One connection to the admin port. Methods raise NotReady when nobody answers, AdminError on refusal.

    Raises SettingsError when `target` is not HOST:PORT.
    """

    def __init__(self, target: str, seconds: float = 5.0) -> None:
        self._target = address(target)
        self._seconds = seconds
        self._channel = grpc.insecure_channel(target)
        self._stub: Any = admin_pb2_grpc.AdminStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def status(self) -> pb.Status:
        """The processes and what they do."""
        answer: pb.Status = self._ask(self._stub.GetStatus, pb.GetStatusRequest())
        return answer

    def models(self, name: str = "") -> pb.ListModelsResponse:
        """The table of routes that serves now."""
        answer: pb.ListModelsResponse = self._ask(self._stub.ListModels, pb.ListModelsRequest(name=name))
        return answer

    def _ask(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            code = error.code()
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise NotReady(_absent(self._target)) from error
            if code is grpc.StatusCode.UNIMPLEMENTED:
                raise AdminError(Status.UNIMPLEMENTED, f"{self._target} is no admin port: {_OTHER_PORT}") from error
            raise AdminError(Status(code.value[0]), error.details() or code.name) from error


def _absent(target: str) -> str:
    """Why nobody answers. The controller, which keeps this port, may be gone while the workers serve on."""
    match listener(target):
        case Listener.NOBODY:
            return (
                f"nothing listens at {target}: start a server with `router serve`, or {_OTHER_PORT}; the controller of"
                " a server that runs is back within seconds"
            )
        case Listener.PLAIN | Listener.SILENT:
            return (
                f"the controller at {target} does not answer, inference goes on without it: ask again, or see its log"
            )
        case _:
            return f"{target} is no admin port: {_OTHER_PORT}"
