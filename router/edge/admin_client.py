"""The admin service from the other side, for the command line."""

from __future__ import annotations

from typing import Any, Self

import grpc

from router.errors import NotReady, RouterError, Status
from router.pb import admin_pb2 as pb
from router.pb import admin_pb2_grpc


class AdminError(RouterError):
    """What the server answered instead."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the class names it for all other errors


class AdminClient:
    """One connection to the admin port. Methods raise NotReady when nobody answers, AdminError on refusal."""

    def __init__(self, target: str, seconds: float = 5.0) -> None:
        self._target = target
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

    def quarantine(self) -> pb.ListQuarantineResponse:
        """The requests that were in runs when workers crashed."""
        answer: pb.ListQuarantineResponse = self._ask(self._stub.ListQuarantine, pb.ListQuarantineRequest())
        return answer

    def clear_quarantine(self) -> int:
        """Forget them; how many there were."""
        answer: pb.ClearQuarantineResponse = self._ask(self._stub.ClearQuarantine, pb.ClearQuarantineRequest())
        return answer.cleared

    def _ask(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=self._seconds)
        except grpc.RpcError as error:
            code = error.code()
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise NotReady(
                    f"no server answers at {self._target}: start one with `router serve`, or name its admin port"
                    " with --admin HOST:PORT"
                ) from error
            raise AdminError(Status(code.value[0]), error.details() or code.name) from error
