"""The wire form of replies of `ModelInfer`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from router.core.request import Parameters
from router.core.tensor import BYTES, DTYPES, TensorSpec
from router.pb.inference_pb2 import ModelInferResponse

_RAW_TAG: Final = bytes([6 << 3 | 2])
"""raw_output_contents of a reply."""
_MAX_SHAPES: Final = 256
"""Shapes that an encoder remembers, and marks."""


def varint(value: int) -> bytes:
    """`value` ≥ 0 as protobuf's variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _put(parameters: Parameters, response: ModelInferResponse) -> bytes:
    """The reply with these parameters, as it travels."""
    for name, value in parameters.items():
        if isinstance(value, bool):
            response.parameters[name].bool_param = value
        elif isinstance(value, int):
            response.parameters[name].int64_param = value
        else:
            response.parameters[name].string_param = str(value)
    return response.SerializeToString(deterministic=True)


class ReplyEncoder:
    """Encodes the replies of one plan: everything but id and elements is made once per shape."""

    __slots__ = ("_cached", "_marks", "_outputs", "_prefix", "_variable")

    def __init__(self, model: str, version: str, parameters: Parameters, outputs: Sequence[TensorSpec]) -> None:
        self._prefix = _put(parameters, ModelInferResponse(model_name=model, model_version=version))
        self._marks: dict[tuple[object, ...], bytes] = {}
        self._outputs = tuple((output.name, output.datatype) for output in outputs)
        self._variable = any(output.datatype == BYTES for output in outputs)
        self._cached: dict[tuple[tuple[int, ...], ...], tuple[bytes, ...]] = {}

    def body(self, id_field: bytes, message: bytes) -> bytes:
        """What of a reply is the same for all callers and marks: its outputs."""
        return message[len(id_field) + len(self._prefix) :]

    def remembered(self, id_field: bytes, age_ms: int, body: bytes) -> bytes:
        """A reply with the outputs of another one, of so long ago."""
        response = ModelInferResponse()
        response.parameters["age_ms"].int64_param = age_ms
        return b"".join((id_field, self._prefix, response.SerializeToString(), body))

    def marked(self, id_field: bytes, message: bytes, marks: Parameters) -> bytes:
        """The same reply with these marks behind its own: `body` has them too. Of the same marks one form is kept."""
        key = tuple(marks.items())
        more = self._marks.get(key)
        if more is None:
            if len(self._marks) >= _MAX_SHAPES:
                self._marks.clear()
            more = self._marks[key] = _put(marks, ModelInferResponse())
        at = len(id_field) + len(self._prefix)
        return b"".join((message[:at], more, message[at:]))

    def _parts(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[bytes, ...]:
        """What stands before the elements of each output; the length of BYTES elements is not in it."""
        parts = self._cached.get(shapes)
        if parts is None:
            response = ModelInferResponse()
            for (name, datatype), shape in zip(self._outputs, shapes, strict=True):
                response.outputs.add(name=name, datatype=datatype, shape=shape)
            head = self._prefix + response.SerializeToString()
            made = []
            for (_, datatype), shape in zip(self._outputs, shapes, strict=True):
                length = b""
                if datatype != BYTES:
                    length = varint(math.prod(shape) * DTYPES[datatype].itemsize)
                made.append(head + _RAW_TAG + length)
                head = b""
            parts = tuple(made)
            if len(self._cached) >= _MAX_SHAPES:
                self._cached.clear()
            self._cached[shapes] = parts
        return parts

    def replies(
        self, id_fields: Sequence[bytes], shapes: tuple[tuple[int, ...], ...], elements: Sequence[Sequence[Any]]
    ) -> list[bytes]:
        """One reply for each id, all with outputs of the same shapes.

        `elements` holds, for each output, the elements for each id: bytes or a contiguous array.
        """
        parts = self._parts(shapes)
        if len(parts) == 1 and not self._variable:
            part = parts[0]
            return [b"".join((id_field, part, raw)) for id_field, raw in zip(id_fields, elements[0], strict=True)]
        made = []
        for id_field, *raws in zip(id_fields, *elements, strict=True):
            pieces = [id_field]
            for (_, datatype), part, raw in zip(self._outputs, parts, raws, strict=True):
                pieces += (part, varint(len(raw)), raw) if datatype == BYTES else (part, raw)
            made.append(b"".join(pieces))
        return made
