"""Copies of runs as they travel to the warm-up worker, and as they are kept; which are wanted, on the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from router.core.mirrored import MirroredCall, MirroredRun
from router.core.request import Elements, InputHeader
from router.core.tensor import BYTES, DTYPES, decode_bytes, encode_bytes
from router.errors import InvalidRequest
from router.pb import link_pb2
from router.pb import mirror_pb2 as pb
from router.serving.mirror import Copied, MirrorOrder, Part

Array = np.ndarray[Any, Any]


def encode(copied: Copied) -> bytes:
    """The message of a run that a worker has copied."""
    datatypes = {spec.name: spec.datatype for spec in copied.version.signature.outputs}
    run = pb.Run(model=copied.version.model, champion=copied.version.number, seconds=copied.seconds)
    for plan, id_field, elements in copied.calls:
        call = run.calls.add(id_field=id_field)
        for name, datatype, shape, each in plan.given(elements):
            call.inputs.add(name=name, datatype=datatype, shape=shape, raw=_raw(each))
    for name, output in zip(copied.calls[0][0].outputs, copied.outputs, strict=True):
        run.outputs.add(name=name, datatype=datatypes[name], shape=output.shape, raw=_raw(output))
    return run.SerializeToString()


def _raw(elements: Elements) -> bytes:
    if isinstance(elements, memoryview):
        return bytes(elements)
    return encode_bytes(elements) if elements.dtype.hasobject else elements.tobytes()


def decode(message: bytes) -> MirroredRun:
    """The run in a message. Raises InvalidRequest for what is none."""
    try:
        run = pb.Run.FromString(message)
    except DecodeError:
        raise InvalidRequest("the message is no copy of a run") from None
    calls = tuple([_call(call) for call in run.calls])
    outputs = {each.name: _array(each) for each in run.outputs}
    return MirroredRun(run.model, run.champion, calls, outputs, run.seconds)


def _call(call: pb.Call) -> MirroredCall:
    inputs = tuple([InputHeader(each.name, each.datatype, tuple(each.shape)) for each in call.inputs])
    return MirroredCall(call.id_field, inputs, tuple([memoryview(each.raw) for each in call.inputs]))


def _array(tensor: pb.Tensor) -> Array:
    shape = tuple(tensor.shape)
    if tensor.datatype == BYTES:
        return decode_bytes(tensor.name, memoryview(tensor.raw), int(np.prod(shape, dtype=np.int64))).reshape(shape)
    try:
        return np.ndarray(shape, DTYPES[tensor.datatype], tensor.raw)
    except (KeyError, TypeError, ValueError):
        raise InvalidRequest(f"the copy of output '{tensor.name[:200]}' is not what it says") from None


def mirrors_to(orders: Sequence[MirrorOrder]) -> link_pb2.Mirrors:
    """What a serving worker is told to copy."""
    made = link_pb2.Mirrors()
    for order in orders:
        mirror = made.mirrors.add(model=order.model)
        for number, (fraction, max_per_s) in order.versions.items():
            mirror.versions.add(number=number, fraction=fraction, max_per_s=max_per_s)
    return made


def mirrors_from(message: link_pb2.Mirrors) -> list[MirrorOrder]:
    """That, as it was."""
    return [
        MirrorOrder(each.model, {part.number: Part(part.fraction, part.max_per_s) for part in each.versions})
        for each in message.mirrors
    ]
