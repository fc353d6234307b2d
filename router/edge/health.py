"""`grpc.health.v1.Health`: Check and Watch, for the server (the empty name) and for each model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2 as pb

from router.edge.transport import Rpc, StreamHandler, StreamRpc, UnaryHandler
from router.errors import InvalidRequest, NotFound, NotReady

SERVICE: Final = "grpc.health.v1.Health"
SERVING: Final[int] = pb.HealthCheckResponse.SERVING
NOT_SERVING: Final[int] = pb.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final[int] = pb.HealthCheckResponse.SERVICE_UNKNOWN

Look = Callable[[str], "bool | None"]
"""Whether a name serves; None when it is unknown."""


class Health:
    """The handlers. `look` is asked anew each time; `changed` tells the watchers, on any thread but the loop's."""

    def __init__(self, look: Look, pool: Executor) -> None:
        self._look = look
        self._pool = pool
        self._lock = threading.Lock()
        self._watchers: dict[StreamRpc, tuple[str, int]] = {}
        self._ended = False

    def unary(self) -> dict[str, UnaryHandler]:
        """Handlers by full method name."""
        return {f"/{SERVICE}/Check": self._check}

    def stream(self) -> dict[str, StreamHandler]:
        """Streaming handlers by full method name."""
        return {f"/{SERVICE}/Watch": self._watch}

    def changed(self) -> None:
        """Something may serve now that did not, or the other way round: tell whoever watches it."""
        with self._lock:
            for stream, (name, told) in list(self._watchers.items()):
                status = self._status(name)
                if status != told:
                    if stream.write(_response(status)):
                        self._watchers[stream] = (name, status)
                    else:
                        del self._watchers[stream]

    def end(self) -> None:
        """The server stops: a watch would keep it until the grace is over."""
        with self._lock:
            self._ended = True
            watchers, self._watchers = list(self._watchers), {}
        for stream in watchers:
            stream.fail(NotReady("the server stops"))

    def _status(self, name: str) -> int:
        known = self._look(name)
        if known is None:
            return SERVICE_UNKNOWN
        return SERVING if known else NOT_SERVING

    def _check(self, rpc: Rpc) -> None:
        try:
            name = pb.HealthCheckRequest.FromString(rpc.message).service
        except DecodeError:
            rpc.fail(InvalidRequest("the message is not a HealthCheckRequest"))
            return
        status = self._status(name)
        if status == SERVICE_UNKNOWN:
            rpc.fail(NotFound(f"unknown service '{name[:200]}': ask for '' (the server) or the name of a model"))
        else:
            rpc.finish(_response(status))

    def _watch(self, stream: StreamRpc) -> None:
        def received(message: bytes | None) -> None:
            if message is None:
                stream.fail(InvalidRequest("Watch needs a message that names a service"))
                return
            try:
                name = pb.HealthCheckRequest.FromString(message).service
            except DecodeError:
                stream.fail(InvalidRequest("the message is not a HealthCheckRequest"))
                return
            self._pool.submit(self._add, stream, name)

        stream.read(received)

    def _add(self, stream: StreamRpc, name: str) -> None:
        with self._lock:
            ended = self._ended
            status = self._status(name)
            stream.write(_response(status))
            if not ended:
                self._watchers[stream] = (name, status)
        # Now, and with nothing held: if the caller has gone already this calls back at once.
        stream.on_cancel(lambda: self._forget(stream))
        if ended:
            stream.fail(NotReady("the server stops"))

    def _forget(self, stream: StreamRpc) -> None:
        with self._lock:
            self._watchers.pop(stream, None)


def _response(status: int) -> bytes:
    encoded: bytes = pb.HealthCheckResponse(status=status).SerializeToString()
    return encoded
