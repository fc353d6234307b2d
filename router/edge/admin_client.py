"""The admin service from the other side, for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

import grpc

from router.core.faults import Fault
from router.edge.address import address
from router.edge.faults import from_messages, to_messages
from router.edge.listener import Listener, listener
from router.errors import NotReady, RouterError, Status
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc
from router.pb.story_pb2 import ExplainRequest, Stories

CHANGE_S: Final = 60.0
"""A change waits for the one before it, which may load models."""

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
        answer: pb.Status = self._ask(self._stub.GetStatus, pb.GetStatusRequest(), self._seconds)
        return answer

    def models(self, name: str = "") -> pb.ListModelsResponse:
        """The table of routes that serves now."""
        answer: pb.ListModelsResponse = self._ask(self._stub.ListModels, pb.ListModelsRequest(name=name), self._seconds)
        return answer

    def faults(self, model: str = "") -> dict[str, tuple[Fault, ...]]:
        """What is made to go wrong now, by model."""
        answer: pb.ListFaultsResponse = self._ask(
            self._stub.ListFaults, pb.ListFaultsRequest(model=model), self._seconds
        )
        return {each.model: from_messages(each.faults) for each in answer.models}

    def set_faults(self, model: str, faults: Iterable[Fault]) -> int:
        """Make the runs of a model fail; in how many workers they do now. Without faults it is well."""
        request = pb.SetFaultsRequest(model=model, faults=to_messages(faults))
        answer: pb.SetFaultsResponse = self._ask(self._stub.SetFaults, request, self._seconds)
        return answer.workers

    def set_fallback(self, model: str, on: bool) -> pb.SetFallbackResponse:
        """Switch a model to its fallback, or back."""
        request = pb.SetFallbackRequest(model=model, on=on)
        answer: pb.SetFallbackResponse = self._ask(self._stub.SetFallback, request, CHANGE_S)
        return answer

    def explain(self, request_id: str) -> Stories:
        """What became of the requests of this id, newest first."""
        answer: Stories = self._ask(self._stub.Explain, ExplainRequest(id=request_id), self._seconds)
        return answer

    def last_stories(self, last: int, model: str = "") -> Stories:
        """The newest stories, of one model or of all."""
        answer: Stories = self._ask(self._stub.Explain, ExplainRequest(last=last, model=model), self._seconds)
        return answer

    def quarantine(self) -> pb.ListQuarantineResponse:
        """The requests that were in runs when workers crashed."""
        answer: pb.ListQuarantineResponse = self._ask(
            self._stub.ListQuarantine, pb.ListQuarantineRequest(), self._seconds
        )
        return answer

    def clear_quarantine(self) -> int:
        """Forget them; how many there were."""
        answer: pb.ClearQuarantineResponse = self._ask(
            self._stub.ClearQuarantine, pb.ClearQuarantineRequest(), CHANGE_S
        )
        return answer.cleared

    def _ask(self, method: Any, request: Any, seconds: float) -> Any:
        try:
            return method(request, timeout=seconds)
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
