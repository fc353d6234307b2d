"""The peer that `make bench` compares with: a good hand-written `grpc.aio` server for ONNX models.

    python -m loadtest.peers.aio_baseline PORT REPOSITORY

Everything a careful engineer does without leaving `grpc.aio`: uvloop, one session per model with one thread, inputs
viewed in place, raw outputs, no compression, no per-request logging, SO_REUSEPORT (start it twice on one port for two
processes). A run stays on the event loop: handing it to a thread costs `tiny` more than the run itself, and for `mid`
a second process gives more than threads do.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import numpy as np
import onnxruntime as ort
import uvloop

from router.pb import inference_pb2 as pb

SERVICE: Final = "inference.GRPCInferenceService"
MESSAGE_LIMIT: Final = 64 << 20

Context = grpc.aio.ServicerContext[Any, Any]


class Model:
    """One ONNX model: a float32 input, a float32 output, rows in the first dimension."""

    def __init__(self, name: str, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.name = name
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def metadata(self) -> pb.ModelMetadataResponse:
        """Its one input and output; a free dimension is -1."""
        response = pb.ModelMetadataResponse(name=self.name, versions=["1"], platform="onnx")
        for tensors, known in (
            (response.inputs, self._session.get_inputs()),
            (response.outputs, self._session.get_outputs()),
        ):
            for each in known:
                shape = [size if isinstance(size, int) else -1 for size in each.shape]
                tensors.add(name=each.name, datatype="FP32", shape=shape)
        return response

    def answer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """Run one request. Raises ValueError when it is not one raw FP32 tensor of the declared size."""
        if len(request.inputs) != 1 or len(request.raw_input_contents) != 1:
            raise ValueError(f"{self.name}: expected one raw input")
        tensor = request.inputs[0]
        if tensor.name != self._input or tensor.datatype != "FP32":
            raise ValueError(f"{self.name}: expected input {self._input} of FP32")
        rows = np.frombuffer(request.raw_input_contents[0], "<f4").reshape(tuple(tensor.shape))
        output = self._session.run([self._output], {self._input: rows})[0]
        response = pb.ModelInferResponse(model_name=self.name, model_version="1", id=request.id)
        response.outputs.add(name=self._output, datatype="FP32", shape=output.shape)
        response.raw_output_contents.append(output.tobytes())
        return response


class Inference:
    """The calls of the protocol that a load test needs."""

    def __init__(self, repository: Path) -> None:
        self._models = {path.parts[-3]: Model(path.parts[-3], path) for path in repository.glob("*/1/model.onnx")}

    async def server_ready(self, _request: pb.ServerReadyRequest, _context: Context) -> pb.ServerReadyResponse:
        """ServerReady."""
        return pb.ServerReadyResponse(ready=True)

    async def server_live(self, _request: pb.ServerLiveRequest, _context: Context) -> pb.ServerLiveResponse:
        """ServerLive."""
        return pb.ServerLiveResponse(live=True)

    async def model_ready(self, request: pb.ModelReadyRequest, _context: Context) -> pb.ModelReadyResponse:
        """ModelReady."""
        return pb.ModelReadyResponse(ready=request.name in self._models)

    async def model_metadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """ModelMetadata."""
        if request.name not in self._models:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.name}")
        return self._models[request.name].metadata()

    async def model_infer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """ModelInfer."""
        model = self._models.get(request.model_name)
        if model is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no model {request.model_name}")
        try:
            return model.answer(request)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def handlers(self) -> grpc.GenericRpcHandler:
        """The calls as grpc wants them."""
        calls = {
            "ServerReady": (self.server_ready, pb.ServerReadyRequest),
            "ServerLive": (self.server_live, pb.ServerLiveRequest),
            "ModelReady": (self.model_ready, pb.ModelReadyRequest),
            "ModelMetadata": (self.model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": (self.model_infer, pb.ModelInferRequest),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    behaviour,  # type: ignore[arg-type]  # the stubs know synchronous handlers only
                    request_deserializer=request.FromString,
                    response_serializer=lambda response: response.SerializeToString(),
                )
                for name, (behaviour, request) in calls.items()
            },
        )


async def serve(port: int, repository: Path) -> None:
    """Serve the repository on 127.0.0.1:`port` until SIGTERM or SIGINT."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", MESSAGE_LIMIT),
            ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ]
    )
    server.add_generic_rpc_handlers((Inference(repository).handlers(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(0.2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A hand-written grpc.aio server for ONNX models.")
    parser.add_argument("port", type=int)
    parser.add_argument("repository", type=Path)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.repository))
