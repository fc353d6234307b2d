"""Models on other servers of the protocol, as remote targets of hedges: their channels, requests and replies."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from router.core.request import MAX_EMPTY, Checked, Elements
from router.core.tensor import BYTES, DTYPES, TensorSpec, decode_bytes, encode_bytes
from router.edge.codec import typed
from router.edge.reply_encoder import varint
from router.errors import Cancelled, InvalidRequest, ModelFailed, RouterError, TooLate
from router.model_settings import remote_address
from router.pb.inference_pb2 import ModelInferRequest, ModelInferResponse

Array = np.ndarray[Any, Any]
Answered = Callable[[bytes | RouterError], None]

_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_RAW_TAG: Final = bytes([7 << 3 | 2])
"""raw_input_contents of a request."""
_RECONNECT_MS: Final = 4000
"""A server that is back is found after so long at most, as its breaker closes again."""


class Remote:
    """Another server of the protocol. Its channel is opened by the first question."""

    def __init__(self, address: str, message_bytes: int) -> None:
        self._address = address
        self._options = [
            ("grpc.max_send_message_length", message_bytes),
            ("grpc.max_receive_message_length", message_bytes),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.enable_http_proxy", 0),
        ]
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._infer: Any = None

    def ask(self, message: bytes, seconds: float, answered: Answered) -> Callable[[], Any]:
        """Send an encoded request. Gives what takes it back; `answered` is called once, on any thread."""
        with self._lock:
            if self._channel is None:
                self._channel = grpc.insecure_channel(self._address, self._options)
                self._infer = self._channel.unary_unary(_METHOD)
            future = self._infer.future(message, timeout=seconds)
        future.add_done_callback(lambda done: answered(_outcome(done)))
        take_back: Callable[[], Any] = future.cancel
        return take_back

    def close(self) -> None:
        """Close the channel, until somebody asks again."""
        with self._lock:
            if self._channel is not None:
                self._channel.close()
            self._channel = self._infer = None


def _outcome(done: Any) -> bytes | RouterError:
    """What became of a call. What the other server says of its errors stays with it."""
    if done.cancelled():
        return Cancelled("the question was taken back")
    code = done.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TooLate("it had not answered by the deadline")
    if code is not grpc.StatusCode.OK:
        return ModelFailed(f"it answered {code.name}")
    message: bytes = done.result()
    return message


class Remotes:
    """The other servers that a worker knows: one channel for each address."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._known: dict[str, Remote] = {}

    def model(self, url: str) -> RemoteModel:
        """The model behind `grpc://HOST:PORT/MODEL`."""
        address, model = remote_address(url)
        if address not in self._known:
            self._known[address] = Remote(address, self._message_bytes)
        return RemoteModel(self._known[address].ask, model)

    def keep(self, urls: Iterable[str]) -> None:
        """Close the channels that none of these needs: each costs every request of the worker some time."""
        needed = {remote_address(url)[0] for url in urls}
        for address, remote in self._known.items():
            if address not in needed:
                remote.close()


class RemoteModel:
    """A model on another server."""

    def __init__(self, ask: Callable[[bytes, float, Answered], Callable[[], Any]], model: str) -> None:
        self.ask = ask
        self._model = model

    def words(self, checked: Checked, outputs: Sequence[TensorSpec]) -> RemoteWords:
        """How requests of this kind are put and their replies read."""
        return RemoteWords(self._model, checked, outputs)


class RemoteWords:
    """Requests of one kind as the other server is asked them: all but id and elements is made once.

    A caller's version and parameters are ours to heed, and say nothing to another server.
    """

    def __init__(self, model: str, checked: Checked, outputs: Sequence[TensorSpec]) -> None:
        head = ModelInferRequest(model_name=model)
        for feed in checked.feeds:
            head.inputs.add(name=feed.name, datatype=feed.datatype, shape=feed.shape)
        for spec in outputs:
            head.outputs.add(name=spec.name)
        self._head = head.SerializeToString()
        self._inputs = [(feed.position, feed.datatype) for feed in checked.feeds]
        self._outputs = outputs

    def request(self, id_field: bytes, elements: Sequence[Elements]) -> bytes:
        """The request as it travels."""
        pieces: list[Any] = [self._head, id_field]
        for position, datatype in self._inputs:
            given = elements[position]
            if isinstance(given, np.ndarray):
                given = memoryview(encode_bytes(given) if datatype == BYTES else given.tobytes())
            pieces += (_RAW_TAG, varint(given.nbytes), given)
        return b"".join(pieces)

    def outputs(self, id_field: bytes, message: bytes) -> list[Array]:
        """The outputs in a reply. Raises ModelFailed unless it is a whole answer of the other model to this request."""
        try:
            response = ModelInferResponse.FromString(message)
        except DecodeError:
            raise ModelFailed("its reply is no ModelInferResponse") from None
        if id_field and response.id and response.id != ModelInferRequest.FromString(id_field).id:
            raise ModelFailed("its reply belongs to another request")
        if "degraded" in response.parameters and response.parameters["degraded"].bool_param:
            raise ModelFailed("its reply is a fallback of its own")
        raws: list[bytes | None] = list(response.raw_output_contents)
        if not raws:
            raws = [None] * len(response.outputs)
        tensors = {tensor.name: tensor for tensor in response.outputs}
        names = {spec.name for spec in self._outputs}
        if not len(raws) == len(response.outputs) == len(tensors) or tensors.keys() != names:
            raise ModelFailed("its reply has other outputs than were asked for")
        raw_of = dict(zip(tensors, raws, strict=True))
        return [_output(spec, tensors[spec.name], raw_of[spec.name]) for spec in self._outputs]


def _output(spec: TensorSpec, tensor: ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Array:
    """One output as an array. Raises ModelFailed."""
    shape = tuple(tensor.shape)
    if tensor.datatype != spec.datatype:
        raise ModelFailed(f"its output '{spec.name}' is {tensor.datatype[:40]!r}, not {spec.datatype}")
    if not spec.accepts(shape) or (0 in shape and math.prod(size for size in shape if size) > MAX_EMPTY):
        raise ModelFailed(f"its output '{spec.name}' has the shape {list(shape)}, not {list(spec.shape)}")
    try:
        elements = typed(tensor) if raw is None else _raw(spec, math.prod(shape), raw)
    except InvalidRequest:
        raise ModelFailed(f"its output '{spec.name}' holds other elements than its shape and datatype say") from None
    return elements.reshape(shape)


def _raw(spec: TensorSpec, count: int, raw: bytes) -> Array:
    """Flat elements from their raw form. Raises InvalidRequest."""
    if spec.datatype == BYTES:
        return decode_bytes(spec.name, memoryview(raw), count)
    dtype = DTYPES[spec.datatype]
    if len(raw) != count * dtype.itemsize:
        raise InvalidRequest("the size is wrong")
    if spec.datatype == "BOOL":  # any byte but zero is true
        return np.frombuffer(raw, np.uint8).astype(np.bool_)
    return np.frombuffer(raw, dtype)
