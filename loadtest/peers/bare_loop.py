"""The floor of `make bench`: as little Python as can answer from the same completion queue as the router's.

    python -m loadtest.peers.bare_loop PORT REPOSITORY

One loop: take in what is there, join it, run it, answer. No deadlines, no checks, no routes, no statistics, no errors:
not a server to use, but it shows what this machine allows, which no fixed figure can. The router should not be slower.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from grpc._cython import cygrpc

from router.pb import inference_pb2 as pb

MESSAGE_LIMIT: Final = 64 << 20
OUTSTANDING: Final = 128
EVENTS: Final = 64
MAX_ROWS: Final = 32
JOIN_BYTES: Final = 64 << 10
SPIN_S: Final = 50e-6

Waiting = tuple[Any, pb.ModelInferRequest]


def _finish(call: Any, message: bytes) -> None:
    call.start_server_batch(
        (
            cygrpc.SendInitialMetadataOperation(None, 0),
            cygrpc.SendMessageOperation(message, 0),
            cygrpc.SendStatusFromServerOperation(None, 0, b"", 0),
            cygrpc.ReceiveCloseOnServerOperation(0),
        ),
        lambda event: None,  # noqa: ARG005
    )


class Model:
    """One ONNX model: a float32 input, a float32 output, requests of one row."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def answer(self, batch: Sequence[Waiting]) -> None:
        """Run the requests together and answer each."""
        shape = tuple(batch[0][1].inputs[0].shape)
        raw = b"".join([request.raw_input_contents[0] for _, request in batch])
        rows = np.frombuffer(raw, "<f4").reshape(len(batch), *shape[1:])
        outputs = self._session.run([self._output], {self._input: rows})[0]
        for index, (call, request) in enumerate(batch):
            row = outputs[index : index + 1]
            response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
            response.outputs.add(name=self._output, datatype="FP32", shape=row.shape)
            response.raw_output_contents.append(row.tobytes())
            _finish(call, response.SerializeToString())


class Loop:
    """The server. Every call that is not ModelInfer is answered with `ready`."""

    def __init__(self, port: int, repository: Path) -> None:
        self._models = {path.parts[-3]: Model(path) for path in repository.glob("*/1/model.onnx")}
        self._waiting: list[Waiting] = []
        self._queue = cygrpc.CompletionQueue()
        options = ((b"grpc.so_reuseport", 1), (b"grpc.max_receive_message_length", MESSAGE_LIMIT))
        self._server = cygrpc.Server((*options, (b"grpc.max_send_message_length", MESSAGE_LIMIT)), False)
        self._server.register_completion_queue(self._queue)
        self._server.add_http2_port(f"127.0.0.1:{port}".encode())

    def _new_call(self, event: Any) -> None:
        self._server.request_call(self._queue, self._queue, self._new_call)
        call = event.call
        infer = event.call_details.method.endswith(b"/ModelInfer")

        def received(event: Any) -> None:
            message = event.batch_operations[0].message()
            if message is None:  # the caller has gone
                return
            if infer:
                self._waiting.append((call, pb.ModelInferRequest.FromString(message)))
            else:
                _finish(call, pb.ModelReadyResponse(ready=True).SerializeToString())

        call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), received)

    def run(self) -> None:
        """Serve until the process ends."""
        self._server.start()
        for _ in range(OUTSTANDING):
            self._server.request_call(self._queue, self._queue, self._new_call)
        poll, waiting = self._queue.poll, self._waiting
        alone = False
        while True:
            until = time.monotonic() + SPIN_S if alone else 0.0
            event = poll(0.0)
            while event.tag is None and time.monotonic() < until:
                event = poll(0.0)
            if event.tag is None:
                event = poll(None)
            for _ in range(EVENTS):
                event.tag(event)
                event = poll(0.0)
                if event.tag is None:
                    break
            else:
                event.tag(event)
            event = None
            alone = len(waiting) <= 1
            for name, group in groupby(waiting, key=lambda each: each[1].model_name):
                together = list(group)
                size = MAX_ROWS if together[0][1].ByteSize() < JOIN_BYTES else 1
                for start in range(0, len(together), size):
                    self._models[name].answer(together[start : start + size])
            waiting.clear()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A bare loop on the completion queue of grpcio's core.")
    parser.add_argument("port", type=int)
    parser.add_argument("repository", type=Path)
    arguments = parser.parse_args()
    Loop(arguments.port, arguments.repository).run()
