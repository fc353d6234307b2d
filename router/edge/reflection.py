"""Server reflection, for tools such as grpcurl: grpcio's own servicer, on our transport.

Versions v1 and v1alpha have the same messages; both names answer.
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha import reflection_pb2 as pb

from router.edge import health, inference
from router.edge.transport import StreamHandler, StreamRpc
from router.errors import InternalError, InvalidRequest
from router.pb import POOL

SERVICES: Final = tuple(f"grpc.reflection.{version}.ServerReflection" for version in ("v1", "v1alpha"))


def _pool() -> descriptor_pool.DescriptorPool:
    """All files of the services offered, in one pool (the protocol's own pool is kept apart from protobuf's)."""
    together = descriptor_pool.DescriptorPool()
    for file in ("model_config.proto", "inference.proto"):
        together.AddSerializedFile(POOL.FindFileByName(file).serialized_pb)
    for module in (health_pb2, pb):
        together.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return together


class Reflection:
    """The handler. A thread of the pool answers: a list of services is no business of the loop thread."""

    def __init__(self, pool: Executor) -> None:
        names = (inference.SERVICE, health.SERVICE, *SERVICES)
        self._descriptors = _pool()
        self._servicer: Any = reflection.ReflectionServicer(names, pool=self._descriptors)
        self._pool = pool

    def stream(self) -> dict[str, StreamHandler]:
        """Streaming handlers by full method name."""
        return {f"/{service}/ServerReflectionInfo": self._info for service in SERVICES}

    def _info(self, stream: StreamRpc) -> None:
        def received(message: bytes | None) -> None:
            if message is None:
                self._pool.submit(stream.finish)
            else:
                self._pool.submit(self._answer, stream, message, received)

        stream.read(received)

    def _answer(self, stream: StreamRpc, message: bytes, then: Any) -> None:
        try:
            request = pb.ServerReflectionRequest.FromString(message)
        except DecodeError:
            stream.fail(InvalidRequest("the message is not a ServerReflectionRequest"))
            return
        try:
            asked = pb.ServerReflectionRequest()
            asked.CopyFrom(request)
            if request.HasField("file_containing_symbol"):
                asked.file_containing_symbol = self._holder(request.file_containing_symbol)
            for response in self._servicer.ServerReflectionInfo(iter((asked,)), None):
                response.original_request.CopyFrom(request)
                stream.write(response.SerializeToString())
        except Exception:
            stream.fail(InternalError())
            raise
        stream.read(then)

    def _holder(self, symbol: str) -> str:
        """The service of a method, which grpcio's servicer finds; every other symbol as it is."""
        try:
            return str(self._descriptors.FindMethodByName(symbol).containing_service.full_name)
        except KeyError:
            return symbol
