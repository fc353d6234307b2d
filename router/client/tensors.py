"""Numpy arrays as the protocol carries them, and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import ArrayLike

from router.client.answers import Array
from router.client.errors import malformed
from router.core.tensor import BYTES, DTYPES
from router.pb import inference_pb2 as pb

_LENGTH: Final = struct.Struct("<I")
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


def tensor_of(name: str, value: ArrayLike) -> tuple[pb.ModelInferRequest.InferInputTensor, bytes | memoryview]:
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


def array_of(tensor: pb.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> Array:
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
        raise malformed(f"output {tensor.name!r} ({kind} {list(shape)}): {error}") from error
    array.flags.writeable = False
    return array.reshape(shape)
