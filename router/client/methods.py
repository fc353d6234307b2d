"""The methods of the protocol: what each sends, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from router.client.answers import (
    BatchStatistics,
    Duration,
    ModelMetadata,
    ModelState,
    ModelStatistics,
    Reply,
    ServerMetadata,
    TensorMetadata,
)
from router.client.inference import Request, decode, encode, parse
from router.pb import inference_pb2 as pb

T = TypeVar("T")

SERVICE: Final = "/inference.GRPCInferenceService/"
STREAM: Final = SERVICE + "ModelStreamInfer"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A call: what to send to which method, and how to read the answer."""

    method: str
    message: bytes
    read: Callable[[bytes], T]


def live() -> Call[bool]:
    """Whether the server is alive."""
    return Call("ServerLive", b"", lambda m: parse(pb.ServerLiveResponse, m).live)


def ready() -> Call[bool]:
    """Whether the server takes requests."""
    return Call("ServerReady", b"", lambda m: parse(pb.ServerReadyResponse, m).ready)


def model_ready(name: str, version: str) -> Call[bool]:
    """Whether a model takes requests."""
    message = pb.ModelReadyRequest(name=name, version=version).SerializeToString()
    return Call("ModelReady", message, lambda m: parse(pb.ModelReadyResponse, m).ready)


def metadata() -> Call[ServerMetadata]:
    """Who the server is."""

    def read(message: bytes) -> ServerMetadata:
        answer = parse(pb.ServerMetadataResponse, message)
        return ServerMetadata(answer.name, answer.version, tuple(answer.extensions))

    return Call("ServerMetadata", b"", read)


def model_metadata(name: str, version: str) -> Call[ModelMetadata]:
    """What a model takes and gives."""

    def tensors(metadata: Iterable[pb.ModelMetadataResponse.TensorMetadata]) -> tuple[TensorMetadata, ...]:
        return tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in metadata)

    def read(message: bytes) -> ModelMetadata:
        m = parse(pb.ModelMetadataResponse, message)
        return ModelMetadata(m.name, tuple(m.versions), m.platform, tensors(m.inputs), tensors(m.outputs))

    return Call("ModelMetadata", pb.ModelMetadataRequest(name=name, version=version).SerializeToString(), read)


def statistics(name: str, version: str) -> Call[tuple[ModelStatistics, ...]]:
    """The counters of one model, or of all."""

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
        return tuple(one(m) for m in parse(pb.ModelStatisticsResponse, message).model_stats)

    return Call("ModelStatistics", pb.ModelStatisticsRequest(name=name, version=version).SerializeToString(), read)


def index(ready: bool) -> Call[tuple[ModelState, ...]]:
    """The models that the server knows, or only those that are ready."""

    def read(message: bytes) -> tuple[ModelState, ...]:
        models = parse(pb.RepositoryIndexResponse, message).models
        return tuple(ModelState(m.name, m.version, m.state, m.reason) for m in models)

    return Call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready).SerializeToString(), read)


def load(name: str, config: Mapping[str, Any] | None) -> Call[None]:
    """Load a model."""
    message = pb.RepositoryModelLoadRequest(model_name=name)
    if config is not None:
        message.parameters["config"].string_param = json.dumps(config)
    return Call("RepositoryModelLoad", message.SerializeToString(), lambda _: None)


def unload(name: str, dependents: bool) -> Call[None]:
    """Stop serving a model."""
    message = pb.RepositoryModelUnloadRequest(model_name=name)
    if dependents:
        message.parameters["unload_dependents"].bool_param = True
    return Call("RepositoryModelUnload", message.SerializeToString(), lambda _: None)


def infer(request: Request) -> Call[Reply]:
    """One inference."""
    return Call("ModelInfer", encode(request), decode)
