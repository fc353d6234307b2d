"""The Open Inference Protocol on the transport: each method translated, nothing decided.

What a worker can answer from its table it answers at once on the loop thread. What only the controller knows
(statistics of all workers, the repository's index, load and unload) is forwarded, and no thread waits for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError, Message

from router import __version__
from router.core.access import Caller, bearer
from router.core.table import VersionState
from router.core.tensor import TensorSpec
from router.edge.codec import Decoder
from router.edge.description import configuration, metadata
from router.edge.reply_encoder import ReplyEncoder, varint
from router.edge.transport import Metadata, Rpc, StreamHandler, StreamRpc, UnaryHandler
from router.errors import InvalidRequest, NotReady, RouterError, Unimplemented
from router.pb import inference_pb2 as pb
from router.serving.router import Router

SERVICE: Final = "inference.GRPCInferenceService"
EXTENSIONS: Final = (
    "model_repository",
    "model_configuration",
    "statistics",
    "binary_tensor_data",
    "parameters",
    "isolation",
    "fallback_cached",
)
FAULT_INJECTION: Final = "fault_injection"
"""The extension of a server that can be made to fail."""
FORWARDED: Final = ("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload")
_NOT_OFFERED: Final = {
    "shared memory: send the tensors in the request": tuple(
        f"{kind}SharedMemory{verb}" for kind in ("System", "Cuda") for verb in ("Status", "Register", "Unregister")
    ),
    "trace settings": ("TraceSetting",),
    "log settings": ("LogSettings",),
}
_MAX_PIPELINED: Final = 256
"""Requests of one stream that may be under way; more are read when answers have left."""


class Forward(Protocol):
    """The way to the controller."""

    def __call__(
        self,
        method: str,
        message: bytes,
        deadline: float | None,
        answered: Callable[[bytes | RouterError], None],
        caller: Caller,
    ) -> Callable[[], object]:
        """Ask the controller for a caller; `answered` takes what it says, on another thread.

        Gives what takes the question back.
        """


def reply_encoder(model: str, version: str, marks: Any, outputs: Sequence[TensorSpec]) -> ReplyEncoder:
    """The encoder that the router asks for."""
    return ReplyEncoder(model, version, marks, outputs)


class Inference:
    """The handlers. `ready` says whether this worker takes requests; `extensions` are what the server says it has."""

    def __init__(
        self,
        router: Router,
        forward: Forward,
        ready: Callable[[], bool],
        extensions: Sequence[str] = EXTENSIONS,
    ) -> None:
        self._extensions = extensions
        self._router = router
        self._forward = forward
        self._ready = ready
        self._decoder = Decoder()
        self._streams: set[_InferStream] = set()
        self._ended = False

    def unary(self) -> dict[str, UnaryHandler]:
        """Handlers by full method name."""
        handlers: dict[str, UnaryHandler] = {
            "ModelInfer": self._infer,
            "ServerLive": _answers(pb.ServerLiveRequest, self._live),
            "ServerReady": _answers(pb.ServerReadyRequest, self._server_ready),
            "ModelReady": _answers(pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": _answers(pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": _answers(pb.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": _answers(pb.ModelConfigRequest, self._model_config),
        }
        handlers |= {method: self._forwarding(method) for method in FORWARDED}
        handlers |= {method: _refusing(what) for what, methods in _NOT_OFFERED.items() for method in methods}
        return {f"/{SERVICE}/{method}": handler for method, handler in handlers.items()}

    def stream(self) -> dict[str, StreamHandler]:
        """Streaming handlers by full method name."""
        return {f"/{SERVICE}/ModelStreamInfer": self._stream_infer}

    # ---- inference ----

    def _infer(self, rpc: Rpc) -> None:
        try:
            self._router.infer(self._decoder.decode(rpc.message), rpc, rpc.deadline)
        except RouterError as error:
            rpc.fail(error)

    def _stream_infer(self, stream: StreamRpc) -> None:
        made = _InferStream(self._router, self._decoder, stream, self._streams.discard)
        self._streams.add(made)
        made.start()
        if self._ended:
            made.end()

    def end(self) -> None:
        """The server stops: each stream ends when what it has asked is answered. From any thread."""
        self._ended = True
        for stream in list(self._streams):
            stream.end()

    # ---- what the table knows ----

    def _live(self, request: pb.ServerLiveRequest) -> Message:  # noqa: ARG002
        return pb.ServerLiveResponse(live=True)

    def _server_ready(self, request: pb.ServerReadyRequest) -> Message:  # noqa: ARG002
        return pb.ServerReadyResponse(ready=self._ready())

    def _model_ready(self, request: pb.ModelReadyRequest) -> Message:
        table = self._router.table
        try:
            table.lane(request.name, request.version)
        except NotReady:
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=self._ready())

    def _server_metadata(self, request: pb.ServerMetadataRequest) -> Message:  # noqa: ARG002
        return pb.ServerMetadataResponse(name="inference-router", version=__version__, extensions=self._extensions)

    def _model_metadata(self, request: pb.ModelMetadataRequest) -> Message:
        table = self._router.table
        version = table.lane(request.name, request.version).version
        route = table.route(request.name)
        ready = [number for number, each in route.versions.items() if each.state is VersionState.READY]
        return metadata(route, version, [request.version] if request.version else ready)

    def _model_config(self, request: pb.ModelConfigRequest) -> Message:
        version = self._router.table.lane(request.name, request.version).version
        return pb.ModelConfigResponse(config=configuration(version))

    # ---- what the controller knows ----

    def _forwarding(self, method: str) -> UnaryHandler:
        def handle(rpc: Rpc) -> None:
            def answered(answer: bytes | RouterError) -> None:
                if isinstance(answer, RouterError):
                    rpc.fail(answer)
                else:
                    rpc.finish(answer)

            caller = Caller(bearer(rpc.metadata), (rpc.identity,) if rpc.identity else ())
            take_back = self._forward(method, rpc.message, rpc.deadline, answered, caller)
            rpc.on_cancel(lambda: _ignore(take_back()))

        return handle


def _ignore(result: object) -> None:
    """Whether there was still something to take back does not matter."""


def _answers(kind: Any, answer: Callable[[Any], Message]) -> UnaryHandler:
    def handle(rpc: Rpc) -> None:
        try:
            try:
                request = kind.FromString(rpc.message)
            except DecodeError:
                raise InvalidRequest(f"the message is not a {kind.DESCRIPTOR.name}") from None
            rpc.finish(answer(request).SerializeToString())
        except RouterError as error:
            rpc.fail(error)

    return handle


def _refusing(what: str) -> UnaryHandler:
    def handle(rpc: Rpc) -> None:
        rpc.fail(Unimplemented(f"this server does not offer {what}"))

    return handle


class _InferStream:
    """One `ModelStreamInfer`: answers leave in the order of their requests; an error concerns its request only."""

    def __init__(
        self, router: Router, decoder: Decoder, stream: StreamRpc, closed: Callable[[_InferStream], None]
    ) -> None:
        self._router = router
        self._decoder = decoder
        self._stream = stream
        self._closed = closed
        self._lock = threading.Lock()
        self._slots: deque[_StreamReply] = deque()
        self._over = False  # the caller sends no more, or has gone
        self._stopping = False
        self._reading = False

    @property
    def identity(self) -> str:
        """Who the caller has shown to be."""
        return self._stream.identity

    @property
    def metadata(self) -> Metadata:
        """What the caller sent at the start of the stream."""
        return self._stream.metadata

    def start(self) -> None:
        """Read the first request."""
        self._stream.on_cancel(self._cancelled)
        self._stream.on_room(self.flush)
        self._read()

    def end(self) -> None:
        """Take no more requests; those that are here are answered."""
        with self._lock:
            self._stopping = True
        self.flush()

    def _read(self) -> None:
        with self._lock:
            if self._reading or self._over or self._stopping or len(self._slots) >= _MAX_PIPELINED:
                return
            self._reading = True
        self._stream.read(self._received)

    def _received(self, message: bytes | None) -> None:
        reply = _StreamReply(self)
        with self._lock:
            self._reading = False
            if message is None:
                self._over = True
            else:
                self._slots.append(reply)
        if message is None:
            self.flush()
            return
        try:
            request = self._decoder.decode(message)
            reply.id_field = request.id_field
            self._router.infer(request, reply, None)
        except RouterError as error:
            reply.fail(error)
        self._read()

    def flush(self) -> None:
        """Send the answers that are next in order; those that a slow reader leaves no room for keep their slots."""
        with self._lock:
            slots = self._slots
            while slots and (answer := slots[0].message) is not None and self._stream.room():
                slots.popleft()
                self._stream.write(answer)
            waits, over, stopping = bool(slots), self._over, self._stopping
        if waits or not (over or stopping):
            self._read()
            return
        if over:
            self._stream.finish()
        else:
            self._stream.fail(NotReady("the server stops"))
        self._closed(self)

    def _cancelled(self) -> None:
        with self._lock:
            self._over = True
            slots, self._slots = self._slots, deque()
        for slot in slots:
            slot.abandon()
        self._closed(self)


class _StreamReply:
    """The answer to one request of a stream."""

    __slots__ = ("_cancel", "_owner", "id_field", "message")

    def __init__(self, owner: _InferStream) -> None:
        self._owner = owner
        self._cancel: Callable[[], None] | None = None
        self.id_field = b""
        self.message: bytes | None = None

    def finish(self, message: bytes) -> None:
        """The reply, as a `ModelStreamInferResponse`."""
        self.message = b"".join((b"\x12", varint(len(message)), message))
        self._owner.flush()

    def fail(self, error: RouterError) -> None:
        """The error in `error_message`; the id is told, so that the caller knows which request failed."""
        response = pb.ModelStreamInferResponse(error_message=str(error))
        if self.id_field:
            response.infer_response.id = pb.ModelInferRequest.FromString(self.id_field).id
        self.message = response.SerializeToString()
        self._owner.flush()

    @property
    def identity(self) -> str:
        return self._owner.identity

    @property
    def metadata(self) -> Metadata:
        return self._owner.metadata

    def on_cancel(self, callback: Callable[[], None]) -> None:
        self._cancel = callback

    def abandon(self) -> None:
        """The caller went away."""
        if self._cancel is not None:
            self._cancel()
