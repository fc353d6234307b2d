"""A small server of the protocol for tests of clients: it echoes, errs and answers as it is told."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from router.pb import inference_pb2 as pb
from router.pb import inference_pb2_grpc as rpc

Context = grpc.ServicerContext
Tensor = pb.ModelMetadataResponse.TensorMetadata
Output = pb.ModelInferResponse.InferOutputTensor


class FakeServer(rpc.GRPCInferenceServiceServicer):
    """Answers by model name: `echo`, those in `replies`, `errors` and `models`; everything else is NOT_FOUND.

    `seen` keeps every inference request. `slow` answers only after `release` is set or its call has ended.
    """

    def __init__(self) -> None:
        self.replies: dict[str, pb.ModelInferResponse] = {}
        self.errors: dict[str, tuple[grpc.StatusCode, str, tuple[tuple[str, str], ...]]] = {}
        self.models: dict[str, pb.ModelMetadataResponse] = {}
        self.seen: list[pb.ModelInferRequest] = []
        self.asked: list[Any] = []
        self.release = threading.Event()
        self.ended = threading.Event()

    def answer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """The reply to one request: a stored one, or its inputs as outputs of the same names."""
        if request.model_name in self.replies:
            return self.replies[request.model_name]
        reply = pb.ModelInferResponse(model_name=request.model_name, model_version="3", id=request.id)
        wanted = [output.name for output in request.outputs]
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            if not wanted or tensor.name in wanted:
                reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                reply.raw_output_contents.append(raw)
        for name, value in request.parameters.items():
            reply.parameters[name].CopyFrom(value)
        return reply

    def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: D102, N802
        self.seen.append(request)
        if request.model_name in self.errors:
            code, text, trailers = self.errors[request.model_name]
            context.set_trailing_metadata(trailers)
            context.abort(code, text)
        if request.model_name == "slow":
            context.add_callback(self.release.set)
            self.release.wait(10)
        elif request.model_name not in {"echo", *self.models, *self.replies}:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_name!r}")
        return self.answer(request)

    def ModelStreamInfer(  # noqa: D102, N802
        self, request_iterator: Iterator[pb.ModelInferRequest], context: Context
    ) -> Iterator[pb.ModelStreamInferResponse]:
        context.add_callback(self.ended.set)
        for request in request_iterator:
            self.seen.append(request)
            if request.model_name == "break":
                context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
            if request.model_name in {"echo", *self.replies}:
                yield pb.ModelStreamInferResponse(infer_response=self.answer(request))
            else:
                failed = pb.ModelInferResponse(id=request.id)
                yield pb.ModelStreamInferResponse(
                    error_message=f"no model {request.model_name!r}", infer_response=failed
                )

    def ServerLive(self, request: Any, context: Context) -> pb.ServerLiveResponse:  # noqa: ARG002, D102, N802
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Context) -> pb.ServerReadyResponse:  # noqa: ARG002, D102, N802
        return pb.ServerReadyResponse(ready=True)

    def ModelReady(self, request: Any, context: Context) -> pb.ModelReadyResponse:  # noqa: ARG002, D102, N802
        return pb.ModelReadyResponse(ready=request.name == "echo" and request.version in {"", "3"})

    def ServerMetadata(self, request: Any, context: Context) -> pb.ServerMetadataResponse:  # noqa: ARG002, D102, N802
        return pb.ServerMetadataResponse(name="fake", version="1", extensions=["model_repository"])

    def ModelMetadata(self, request: Any, context: Context) -> pb.ModelMetadataResponse:  # noqa: D102, N802
        if request.name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name!r}")
        return self.models[request.name]

    def ModelStatistics(self, request: Any, context: Context) -> pb.ModelStatisticsResponse:  # noqa: ARG002, D102, N802
        answer = pb.ModelStatisticsResponse()
        stats = answer.model_stats.add(name=request.name, version="3", last_inference=12, inference_count=5)
        stats.execution_count = 2
        stats.inference_stats.success.count, stats.inference_stats.success.ns = 4, 8_000_000
        stats.batch_stats.add(batch_size=2).compute_infer.count = 1
        return answer

    def RepositoryIndex(self, request: Any, context: Context) -> pb.RepositoryIndexResponse:  # noqa: ARG002, D102, N802
        answer = pb.RepositoryIndexResponse()
        answer.models.add(name="echo", version="3", state="READY")
        if not request.ready:
            answer.models.add(name="old", version="1", state="UNAVAILABLE", reason="unloaded")
        return answer

    def RepositoryModelLoad(self, request: Any, context: Context) -> pb.RepositoryModelLoadResponse:  # noqa: ARG002, D102, N802
        self.asked.append(request)
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request: Any, context: Context) -> pb.RepositoryModelUnloadResponse:  # noqa: ARG002, D102, N802
        self.asked.append(request)
        return pb.RepositoryModelUnloadResponse()


@contextmanager
def serving(
    fake: FakeServer,
    credentials: grpc.ServerCredentials | None = None,
    handlers: tuple[grpc.GenericRpcHandler, ...] = (),
) -> Iterator[str]:
    """Serve `fake` on a free port of this machine, or `handlers` in its place; gives its HOST:PORT."""
    limits = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, options=limits)
    if handlers:
        server.add_generic_rpc_handlers(handlers)
    else:
        rpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = (
        server.add_insecure_port("127.0.0.1:0")
        if credentials is None
        else server.add_secure_port("127.0.0.1:0", credentials)
    )
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        fake.release.set()
        server.stop(None).wait(10)
        pool.shutdown()


def authority(folder: Path) -> tuple[grpc.ServerCredentials, Path]:
    """Credentials for a server on this machine, and the file of the authority that vouches for it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True, timeout=60)
    return grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())]), certificate
