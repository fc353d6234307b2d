"""A client of the Open Inference Protocol: numpy in, numpy out, blocking (`Client`) and awaited (`AsyncClient`).

    with Client("127.0.0.1:8001") as client:
        reply = client.infer("digits", {"pixels": array}, deadline=0.05)
        reply["label"]

It speaks to this router and to any other server of the protocol, and it may live in one process beside another
client library of the same protocol.

The client sends what it is given: it never asks the server for a model's signature first. A Python list of floats is
FP64 to numpy and goes out as FP64; for an input that wants FP32 give `np.asarray(values, np.float32)`.
"""

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
from router.client.awaited import AsyncClient
from router.client.blocking import Client
from router.client.connection import MAX_MESSAGE_BYTES, tls
from router.client.errors import DeadlineExceeded, InferenceError, Unavailable
from router.client.inference import Request, decode, encode
from router.client.tensors import datatype

__all__ = [
    "MAX_MESSAGE_BYTES",
    "AsyncClient",
    "BatchStatistics",
    "Client",
    "DeadlineExceeded",
    "Duration",
    "InferenceError",
    "ModelMetadata",
    "ModelState",
    "ModelStatistics",
    "Reply",
    "Request",
    "ServerMetadata",
    "TensorMetadata",
    "Unavailable",
    "datatype",
    "decode",
    "encode",
    "tls",
]
