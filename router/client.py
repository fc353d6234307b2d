"""A client of the Open Inference Protocol: numpy in, numpy out, blocking (`Client`) and awaited (`AsyncClient`).

    with Client("127.0.0.1:8001") as client:
        reply = client.infer("digits", {"pixels": array}, deadline=0.05)
        reply["label"]

It speaks to this router and to any other server of the protocol, and it may live in one process beside another
client library of the same protocol.

The client sends what it is given: it never asks the server for a model's signature first. A Python list of floats is
FP64 to numpy and goes out as FP64; for an input that wants FP32 give `np.asarray(values, np.float32)`.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast

import grpc
import grpc.aio
import ml_dtypes
import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import ArrayLike, NDArray

from router.core.tensor import BYTES, DTYPES
from router.pb import inference_pb2 as pb

T = TypeVar("T")
M = TypeVar("M", bound=Message)
Array = NDArray[Any]
Parameter = bool | int | float | str

MAX_MESSAGE_BYTES: Final = 64 << 20
_SERVICE: Final = "/inference.GRPCInferenceService/"
_STREAM: Final = _SERVICE + "ModelStreamInfer"
_LENGTH: Final = struct.Struct("<I")
_RAW_INPUT_TAG: Final = bytes([pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2])
_BY_SHAPE: Final = {(d.kind, d.itemsize): name for name, d in DTYPES.items() if d.kind in "biuf"}
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


# Errors


class InferenceError(Exception):
    """The server refused, or no usable answer came.

    `code` is the gRPC status. `retry_after_ms` is set when the server says when to come back (it was too busy).
    `request_id` is the id of the request within a stream, if the server sent it along.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, retry_after_ms: int | None = None, request_id: str = ""
    ) -> None:
        super().__init__(code, message, retry_after_ms, request_id)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


class Unavailable(InferenceError):
    """The server cannot be reached, or the model is known and cannot answer now."""


class DeadlineExceeded(InferenceError):
    """No answer in time.

    `by_client` is True when this side gave up waiting, and False when the server itself said that it was too late.
    The wire has one code for both: they are told apart by the text, which is the gRPC core's own when it was the
    call's deadline that ended it ("Deadline Exceeded"; on a stream, "Stream removed (Deadline Exceeded)").
    """

    CLIENT_TEXTS: ClassVar = frozenset({"Deadline Exceeded", "Stream removed (Deadline Exceeded)"})

    @property
    def by_client(self) -> bool:
        """Whether it was this side that stopped waiting."""
        return self.message in self.CLIENT_TEXTS


def _error(error: grpc.RpcError) -> InferenceError:
    call = cast("grpc.Call", error)
    code = call.code()
    kind = {grpc.StatusCode.UNAVAILABLE: Unavailable, grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded}
    retry_after_ms = None
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-retry-pushback-ms" and isinstance(value, str) and value.isdecimal():
            retry_after_ms = int(value)
    return kind.get(code, InferenceError)(code, call.details() or "the server gave no reason", retry_after_ms)


def _malformed(why: str) -> InferenceError:
    return InferenceError(grpc.StatusCode.INTERNAL, f"malformed answer: {why}")


# What is asked and what is answered


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One inference of a stream; the fields mean what the arguments of `Client.infer` mean."""

    model: str
    inputs: Mapping[str, ArrayLike]
    version: str = ""
    outputs: Sequence[str] | None = None
    id: str = ""
    parameters: Mapping[str, Parameter] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """An answer. The arrays of `outputs` are read-only views of the received bytes: copy before writing into one.

    A BYTES output is an array of Python `bytes`. `parameters` holds what the server says about the answer.
    """

    model: str
    version: str
    id: str
    outputs: dict[str, Array]
    parameters: dict[str, Parameter]

    def __getitem__(self, output: str) -> Array:
        try:
            return self.outputs[output]
        except KeyError:
            raise KeyError(f"the answer has no output {output!r}; it has {list(self.outputs)}") from None

    @property
    def served_by(self) -> str | None:
        """Who answered (champion, challenger, hedge, failover, cached, default); None from servers that do not say."""
        value = self.parameters.get("served_by")
        return None if value is None else str(value)

    @property
    def generation(self) -> int | None:
        """The number of the table of routes that this answer belongs to; None from servers that do not say."""
        value = self.parameters.get("generation")
        return None if value is None else int(value)

    @property
    def degraded(self) -> bool:
        """Whether this answer stands in for one that the model could not give in time."""
        return self.parameters.get("degraded") in {True, "true"}


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Name and version of a server, and the extensions of the protocol that it offers."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output of a model. `shape` holds sizes, -1 where any size is taken; the batch comes first."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened, and how long it took in all (`ns`, nanoseconds)."""

    count: int
    ns: int

    @property
    def mean_seconds(self) -> float:
        """Seconds for each; 0 when it never happened."""
        return self.ns / self.count / 1e9 if self.count else 0.0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The runs of one batch size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """The counters of one version since the server started. `last_inference_ms` is in ms since the epoch."""

    name: str
    version: str
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration
    batches: tuple[BatchStatistics, ...]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A line of the repository index. `state` is READY, UNAVAILABLE, LOADING, UNLOADING or UNKNOWN."""

    name: str
    version: str
    state: str
    reason: str


# Tensors


def datatype(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a numpy type, whatever its byte order. Raises TypeError when there is none."""
    if name := _BY_SHAPE.get((dtype.kind, dtype.itemsize)):
        return name
    if dtype == ml_dtypes.bfloat16:
        return "BF16"
    if dtype.kind in "OSUT":
        return BYTES
    raise TypeError(f"the protocol has no datatype for numpy's {dtype}")


def _array(value: ArrayLike) -> Array:
    try:
        array = np.asarray(value)
        if isinstance(value, np.ndarray) or array.dtype.kind not in "SU":
            return array
    except UnicodeDecodeError:  # text beside bytes that are no text
        pass
    # numpy's text of a fixed width would lose the NUL bytes at the end of an element.
    return np.asarray(value, dtype=object)


def _encode(name: str, value: ArrayLike) -> tuple[pb.ModelInferRequest.InferInputTensor, bytes | memoryview]:
    """An input's header and its raw contents: little-endian, row-major."""
    try:
        array = _array(value)
        kind = datatype(array.dtype)
        header = pb.ModelInferRequest.InferInputTensor(name=name, datatype=kind, shape=array.shape)
        if kind == BYTES:
            return header, _pack(array.ravel().tolist())
        flat = np.ascontiguousarray(array, DTYPES[kind]).reshape(-1)
        return header, flat.view(np.uint8).data
    except (TypeError, ValueError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
        raise kind_of_error(f"input {name!r}: {error}") from error


def _pack(items: list[Any]) -> bytes:
    parts: list[bytes] = []
    for place, item in enumerate(items):
        if isinstance(item, str):
            element = item.encode()
        elif isinstance(item, bytes | bytearray | memoryview):
            element = bytes(item)
        else:
            raise TypeError(f"element {place} is of type {type(item).__name__}; give numbers of one kind, str or bytes")
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def _unpack(raw: bytes) -> list[bytes]:
    items: list[bytes] = []
    place = 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise ValueError("it ends within the length of an element")
        start = place + 4
        place = start + _LENGTH.unpack_from(raw, place)[0]
        if place > len(raw):
            raise ValueError("an element reaches beyond its end")
        items.append(raw[start:place])
    return items


def _objects(items: Sequence[bytes]) -> Array:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _decode(tensor: pb.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Array:
    """An output as numpy: a read-only view of `raw`, or of the typed contents when `raw` is None."""
    kind, shape = tensor.datatype, tuple(tensor.shape)
    try:
        if kind not in DTYPES:
            raise ValueError(f"the datatype {kind!r} is not one of the protocol")
        if any(size < 0 for size in shape):
            raise ValueError("a size is negative")
        if raw is None:
            if kind not in _CONTENTS:
                raise ValueError(f"{kind} must come as raw contents")
            values = list(getattr(tensor.contents, _CONTENTS[kind]))
            array = _objects(values) if kind == BYTES else np.asarray(values, DTYPES[kind])
        else:
            array = _objects(_unpack(raw)) if kind == BYTES else np.frombuffer(raw, DTYPES[kind])
        if array.size != math.prod(shape):
            raise ValueError(f"{array.size} elements came, the shape needs {math.prod(shape)}")
    except (ValueError, OverflowError) as error:
        raise _malformed(f"output {tensor.name!r} ({kind} {list(shape)}): {error}") from error
    array.flags.writeable = False
    return array.reshape(shape)


def _parameter(name: str, value: object) -> pb.InferParameter:
    if isinstance(value, bool | np.bool_):
        return pb.InferParameter(bool_param=bool(value))
    if isinstance(value, int | np.integer):
        number = int(value)
        if number >= 1 << 64 or number < -(1 << 63):
            raise ValueError(f"parameter {name!r}: {number} does not fit into 64 bits")
        # The protocol's own parameter `priority` is unsigned.
        if number >= 1 << 63 or (name == "priority" and number >= 0):
            return pb.InferParameter(uint64_param=number)
        return pb.InferParameter(int64_param=number)
    if isinstance(value, float | np.floating):
        return pb.InferParameter(double_param=float(value))
    if isinstance(value, str):
        return pb.InferParameter(string_param=value)
    raise TypeError(f"parameter {name!r} is of type {type(value).__name__}; give a bool, int, float or str")


# Messages


def encode(request: Request) -> bytes:
    """A request as it travels. Raises TypeError or ValueError for inputs that the protocol cannot carry."""
    message = pb.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
    for name, value in (request.parameters or {}).items():
        message.parameters[name].CopyFrom(_parameter(name, value))
    for output in request.outputs or ():
        message.outputs.add(name=output)
    raws: list[bytes | memoryview] = []
    for name, array in request.inputs.items():
        header, raw = _encode(name, array)
        message.inputs.append(header)
        raws += (_RAW_INPUT_TAG, _varint(len(raw)), raw)
    # The raw contents are put behind the header by hand: one copy of a large tensor instead of three.
    return b"".join((message.SerializeToString(), *raws))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _reply(message: pb.ModelInferResponse) -> Reply:
    raws: list[bytes] | list[None] = list(message.raw_output_contents) or [None] * len(message.outputs)
    if len(raws) != len(message.outputs):
        raise _malformed(f"{len(message.outputs)} outputs with {len(raws)} raw contents")
    parameters: dict[str, Parameter] = {}
    for name, value in message.parameters.items():
        if choice := value.WhichOneof("parameter_choice"):
            parameters[name] = getattr(value, choice)
    return Reply(
        model=message.model_name,
        version=message.model_version or str(parameters.get("model_version", "")),
        id=message.id,
        outputs={tensor.name: _decode(tensor, raw) for tensor, raw in zip(message.outputs, raws, strict=True)},
        parameters=parameters,
    )


def decode(message: bytes) -> Reply:
    """The answer in a message as it came. Raises InferenceError when it is none."""
    return _reply(_parse(pb.ModelInferResponse, message))


def _streamed(message: bytes) -> Reply | InferenceError:
    answer = _parse(pb.ModelStreamInferResponse, message)
    if answer.error_message:
        # A stream's answer carries a text and no code.
        return InferenceError(grpc.StatusCode.UNKNOWN, answer.error_message, request_id=answer.infer_response.id)
    try:
        return _reply(answer.infer_response)
    except InferenceError as error:
        error.request_id = answer.infer_response.id
        return error


def _parse(kind: Callable[[], M], message: bytes) -> M:
    answer = kind()
    try:
        answer.ParseFromString(message)
    except DecodeError as error:
        raise _malformed("it is not a message of this protocol") from error
    return answer


@dataclass(frozen=True, slots=True)
class _Ask(Generic[T]):
    """A call: what to send to which method, and how to read the answer."""

    method: str
    message: bytes
    read: Callable[[bytes], T]


def _live() -> _Ask[bool]:
    return _Ask("ServerLive", b"", lambda m: _parse(pb.ServerLiveResponse, m).live)


def _ready() -> _Ask[bool]:
    return _Ask("ServerReady", b"", lambda m: _parse(pb.ServerReadyResponse, m).ready)


def _model_ready(name: str, version: str) -> _Ask[bool]:
    message = pb.ModelReadyRequest(name=name, version=version).SerializeToString()
    return _Ask("ModelReady", message, lambda m: _parse(pb.ModelReadyResponse, m).ready)


def _metadata() -> _Ask[ServerMetadata]:
    def read(message: bytes) -> ServerMetadata:
        answer = _parse(pb.ServerMetadataResponse, message)
        return ServerMetadata(answer.name, answer.version, tuple(answer.extensions))

    return _Ask("ServerMetadata", b"", read)


def _model_metadata(name: str, version: str) -> _Ask[ModelMetadata]:
    def tensors(metadata: Iterable[pb.ModelMetadataResponse.TensorMetadata]) -> tuple[TensorMetadata, ...]:
        return tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in metadata)

    def read(message: bytes) -> ModelMetadata:
        m = _parse(pb.ModelMetadataResponse, message)
        return ModelMetadata(m.name, tuple(m.versions), m.platform, tensors(m.inputs), tensors(m.outputs))

    return _Ask("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version).SerializeToString(), read)


def _statistics(name: str, version: str) -> _Ask[tuple[ModelStatistics, ...]]:
    def duration(d: pb.StatisticDuration) -> Duration:
        return Duration(d.count, d.ns)

    def one(m: pb.ModelStatistics) -> ModelStatistics:
        s = m.inference_stats
        return ModelStatistics(
            name=m.name,
            version=m.version,
            last_inference_ms=m.last_inference,
            inference_count=m.inference_count,
            execution_count=m.execution_count,
            success=duration(s.success),
            fail=duration(s.fail),
            queue=duration(s.queue),
            compute_input=duration(s.compute_input),
            compute_infer=duration(s.compute_infer),
            compute_output=duration(s.compute_output),
            cache_hit=duration(s.cache_hit),
            cache_miss=duration(s.cache_miss),
            batches=tuple(
                BatchStatistics(
                    b.batch_size, duration(b.compute_input), duration(b.compute_infer), duration(b.compute_output)
                )
                for b in m.batch_stats
            ),
        )

    def read(message: bytes) -> tuple[ModelStatistics, ...]:
        return tuple(one(m) for m in _parse(pb.ModelStatisticsResponse, message).model_stats)

    return _Ask("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version).SerializeToString(), read)


def _index(ready: bool) -> _Ask[tuple[ModelState, ...]]:
    def read(message: bytes) -> tuple[ModelState, ...]:
        models = _parse(pb.RepositoryIndexResponse, message).models
        return tuple(ModelState(m.name, m.version, m.state, m.reason) for m in models)

    return _Ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready).SerializeToString(), read)


def _load(name: str, config: Mapping[str, Any] | None) -> _Ask[None]:
    message = pb.RepositoryModelLoadRequest(model_name=name)
    if config is not None:
        message.parameters["config"].string_param = json.dumps(config)
    return _Ask("RepositoryModelLoad", message.SerializeToString(), lambda _: None)


def _unload(name: str, dependents: bool) -> _Ask[None]:
    message = pb.RepositoryModelUnloadRequest(model_name=name)
    if dependents:
        message.parameters["unload_dependents"].bool_param = True
    return _Ask("RepositoryModelUnload", message.SerializeToString(), lambda _: None)


def _infer(request: Request) -> _Ask[Reply]:
    return _Ask("ModelInfer", encode(request), decode)


# The two clients


def tls(ca: bytes | None = None, key: bytes | None = None, certificate: bytes | None = None) -> grpc.ChannelCredentials:
    """Credentials for `Client(…, credentials=…)`, from PEM texts.

    `ca` says whose servers are trusted (default: the authorities that gRPC ships); `key` and `certificate` are this
    client's own, for servers that ask for them.
    """
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _options(
    max_message_bytes: int, options: Sequence[tuple[str, int | str]] | Mapping[str, int | str]
) -> list[tuple[str, Any]]:
    limits = {
        "grpc.max_send_message_length": max_message_bytes,
        "grpc.max_receive_message_length": max_message_bytes,
    }
    return list((limits | dict(options)).items())


class Client:
    """A blocking client; threads may share one.

    `target` is HOST:PORT (or any other gRPC target). `credentials` switches TLS on: see `tls`. Messages above
    `max_message_bytes` are refused both ways. `options` are gRPC's channel arguments.

    Every method takes `deadline`: seconds within which the answer must be here, None for as long as it takes. They
    raise `InferenceError` (`Unavailable`, `DeadlineExceeded`) when there is no answer.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:8001",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, int | str]] | Mapping[str, int | str] = (),
    ) -> None:
        arguments = _options(max_message_bytes, options)
        self._channel = (
            grpc.insecure_channel(target, arguments)
            if credentials is None
            else grpc.secure_channel(target, credentials, arguments)
        )
        self._methods: dict[str, Any] = {}

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        id: str = "",  # noqa: A002 - the protocol's word
        parameters: Mapping[str, Parameter] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """One inference.

        `inputs` are arrays by name, or anything that `np.asarray` takes; each goes out in the datatype that its
        numpy type has (str and bytes as BYTES, str in UTF-8). `version` "" leaves the choice to the server.
        `outputs` names those wanted, None for all. `id` comes back in the reply. `parameters` go with the request,
        for example `{"timeout": 1000}` (microseconds) or `{"priority": 1}`.

        Raises `TypeError` or `ValueError`, before anything is sent, for what the protocol cannot carry.
        """
        return self._call(_infer(Request(model, inputs, version, outputs, id, parameters)), deadline)

    def stream(self, requests: Iterable[Request], *, deadline: float | None = None) -> Iterator[Reply | InferenceError]:
        """Many inferences on one stream: for each request, as answers come, a `Reply` or an `InferenceError`.

        A request that fails gives its error as a value, and the stream lives on. What ends the stream itself is
        raised. `requests` is read from another thread, ahead of the answers; what it raises is raised here, after
        the answers to all that it gave before. Leaving the loop early cancels what is still open.
        """
        failure: list[Exception] = []  # what `requests` raised: gRPC would only log it

        def send() -> Iterator[bytes]:
            try:
                for request in requests:
                    yield encode(request)
            except Exception as error:  # noqa: BLE001 - the caller's own, given back to the caller below
                failure.append(error)

        method: Any = self._channel.stream_stream(_STREAM)
        call = method(send(), timeout=deadline)
        try:
            for message in call:
                yield _streamed(message)
        except grpc.RpcError as error:
            raise failure[0] if failure else _error(error) from error
        finally:
            call.cancel()
        if failure:
            raise failure[0]

    def live(self, *, deadline: float | None = None) -> bool:
        """Whether the server says that it is alive; raises `Unavailable` when nobody is there to say so."""
        return self._call(_live(), deadline)

    def ready(self, *, deadline: float | None = None) -> bool:
        """Whether the server takes requests."""
        return self._call(_ready(), deadline)

    def model_ready(self, name: str, version: str = "", *, deadline: float | None = None) -> bool:
        """Whether this model takes requests."""
        return self._call(_model_ready(name, version), deadline)

    def metadata(self, *, deadline: float | None = None) -> ServerMetadata:
        """Who the server is."""
        return self._call(_metadata(), deadline)

    def model_metadata(self, name: str, version: str = "", *, deadline: float | None = None) -> ModelMetadata:
        """What a model takes and gives."""
        return self._call(_model_metadata(name, version), deadline)

    def statistics(
        self, name: str = "", version: str = "", *, deadline: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """The counters of one model, or of all."""
        return self._call(_statistics(name, version), deadline)

    def index(self, *, ready: bool = False, deadline: float | None = None) -> tuple[ModelState, ...]:
        """The models that the server knows, or only those that are `ready`."""
        return self._call(_index(ready), deadline)

    def load(self, name: str, *, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model, or look at its files again; returns when it is done. `config` is sent along as JSON."""
        self._call(_load(name, config), deadline)

    def unload(self, name: str, *, dependents: bool = False, deadline: float | None = None) -> None:
        """Stop serving a model, and with `dependents` those made of it."""
        self._call(_unload(name, dependents), deadline)

    def close(self) -> None:
        """Cancel what is open and let the connection go."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, ask: _Ask[T], deadline: float | None) -> T:
        method = self._methods.get(ask.method)
        if method is None:
            method = self._methods[ask.method] = self._channel.unary_unary(_SERVICE + ask.method)
        try:
            message = method(ask.message, timeout=deadline)
        except grpc.RpcError as error:
            raise _error(error) from error
        return ask.read(message)


class AsyncClient:
    """`Client`, awaited. Make it where an event loop is running, and use it on that loop."""

    def __init__(
        self,
        target: str = "127.0.0.1:8001",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, int | str]] | Mapping[str, int | str] = (),
    ) -> None:
        asyncio.get_running_loop()  # raises here, where the mistake is
        arguments = _options(max_message_bytes, options)
        self._channel = (
            grpc.aio.insecure_channel(target, arguments)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, arguments)
        )
        self._methods: dict[str, Any] = {}

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        id: str = "",  # noqa: A002 - the protocol's word
        parameters: Mapping[str, Parameter] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """One inference: see `Client.infer`."""
        return await self._call(_infer(Request(model, inputs, version, outputs, id, parameters)), deadline)

    async def stream(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, deadline: float | None = None
    ) -> AsyncIterator[Reply | InferenceError]:
        """Many inferences on one stream: see `Client.stream`."""
        failure: list[Exception] = []  # what `requests` raised: gRPC would only log it

        async def send() -> AsyncIterator[bytes]:
            try:
                if isinstance(requests, AsyncIterable):
                    async for request in requests:
                        yield encode(request)
                else:
                    for request in requests:
                        yield encode(request)
            except Exception as error:  # noqa: BLE001 - the caller's own, given back to the caller below
                failure.append(error)

        method: Any = self._channel.stream_stream(_STREAM)
        call = method(send(), timeout=deadline)
        try:
            async for message in call:
                yield _streamed(message)
        except grpc.RpcError as error:
            raise failure[0] if failure else _error(error) from error
        finally:
            call.cancel()
        if failure:
            raise failure[0]

    async def live(self, *, deadline: float | None = None) -> bool:
        """Whether the server says that it is alive; raises `Unavailable` when nobody is there to say so."""
        return await self._call(_live(), deadline)

    async def ready(self, *, deadline: float | None = None) -> bool:
        """Whether the server takes requests."""
        return await self._call(_ready(), deadline)

    async def model_ready(self, name: str, version: str = "", *, deadline: float | None = None) -> bool:
        """Whether this model takes requests."""
        return await self._call(_model_ready(name, version), deadline)

    async def metadata(self, *, deadline: float | None = None) -> ServerMetadata:
        """Who the server is."""
        return await self._call(_metadata(), deadline)

    async def model_metadata(self, name: str, version: str = "", *, deadline: float | None = None) -> ModelMetadata:
        """What a model takes and gives."""
        return await self._call(_model_metadata(name, version), deadline)

    async def statistics(
        self, name: str = "", version: str = "", *, deadline: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """The counters of one model, or of all."""
        return await self._call(_statistics(name, version), deadline)

    async def index(self, *, ready: bool = False, deadline: float | None = None) -> tuple[ModelState, ...]:
        """The models that the server knows, or only those that are `ready`."""
        return await self._call(_index(ready), deadline)

    async def load(self, name: str, *, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model: see `Client.load`."""
        await self._call(_load(name, config), deadline)

    async def unload(self, name: str, *, dependents: bool = False, deadline: float | None = None) -> None:
        """Stop serving a model: see `Client.unload`."""
        await self._call(_unload(name, dependents), deadline)

    async def close(self) -> None:
        """Cancel what is open and let the connection go."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, ask: _Ask[T], deadline: float | None) -> T:
        method = self._methods.get(ask.method)
        if method is None:
            method = self._methods[ask.method] = self._channel.unary_unary(_SERVICE + ask.method)
        try:
            message = await method(ask.message, timeout=deadline)
        except grpc.RpcError as error:
            raise _error(error) from error
        return ask.read(message)
