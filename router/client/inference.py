"""Inference requests and answers as they travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import ArrayLike

from router.client.answers import Parameter, Reply
from router.client.errors import InferenceError, malformed
from router.client.tensors import array_of, tensor_of
from router.pb import inference_pb2 as pb

M = TypeVar("M", bound=Message)

_RAW_INPUT_TAG: Final = bytes([pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | 2])


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One inference of a stream; the fields mean what the arguments of `Client.infer` mean."""

    model: str
    inputs: Mapping[str, ArrayLike]
    version: str = ""
    outputs: Sequence[str] | None = None
    id: str = ""
    parameters: Mapping[str, Parameter] | None = None


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


def encode(request: Request) -> bytes:
    """A request as it travels. Raises TypeError or ValueError for inputs that the protocol cannot carry."""
    message = pb.ModelInferRequest(model_name=request.model, model_version=request.version, id=request.id)
    for name, value in (request.parameters or {}).items():
        message.parameters[name].CopyFrom(_parameter(name, value))
    for output in request.outputs or ():
        message.outputs.add(name=output)
    raws: list[bytes | memoryview] = []
    for name, array in request.inputs.items():
        header, raw = tensor_of(name, array)
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
        raise malformed(f"{len(message.outputs)} outputs with {len(raws)} raw contents")
    parameters: dict[str, Parameter] = {}
    for name, value in message.parameters.items():
        if choice := value.WhichOneof("parameter_choice"):
            parameters[name] = getattr(value, choice)
    return Reply(
        model=message.model_name,
        version=message.model_version or str(parameters.get("model_version", "")),
        id=message.id,
        outputs={tensor.name: array_of(tensor, raw) for tensor, raw in zip(message.outputs, raws, strict=True)},
        parameters=parameters,
    )


def decode(message: bytes) -> Reply:
    """The answer in a message as it came. Raises InferenceError when it is none."""
    return _reply(parse(pb.ModelInferResponse, message))


def streamed(message: bytes) -> Reply | InferenceError:
    """An answer of a stream, or the error of one request of it."""
    answer = parse(pb.ModelStreamInferResponse, message)
    if answer.error_message:
        # A stream's answer carries a text and no code.
        return InferenceError(grpc.StatusCode.UNKNOWN, answer.error_message, request_id=answer.infer_response.id)
    try:
        return _reply(answer.infer_response)
    except InferenceError as error:
        error.request_id = answer.infer_response.id
        return error


def parse(kind: Callable[[], M], message: bytes) -> M:
    """A message of a kind. Raises InferenceError when it is none."""
    answer = kind()
    try:
        answer.ParseFromString(message)
    except DecodeError as error:
        raise malformed("it is not a message of this protocol") from error
    return answer
