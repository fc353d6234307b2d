"""Tensors as the protocol names them: datatypes, shapes, and what a model takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import ml_dtypes
import numpy as np

from router.errors import InvalidRequest

ANY: Final = -1
"""A dimension of any size, as the protocol writes it."""

BYTES: Final = "BYTES"

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BYTES: np.dtype(object),
}
"""The numpy type that holds each datatype of the protocol."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output. `shape` holds sizes, ANY where the size is free.

    `symbols` has one entry a dimension: the name that the model gives to a free size, or None.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    symbols: tuple[str | None, ...] = ()
    optional: bool = False

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape fits."""
        return len(shape) == len(self.shape) and all(
            have >= 0 and want in (have, ANY) for have, want in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """All inputs and outputs of a model, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def decode_bytes(name: str, raw: memoryview, count: int) -> np.ndarray[Any, Any]:
    """BYTES elements from their raw form (each a 4-byte little-endian length, then the bytes): flat, of `str`.

    Raises InvalidRequest when they are not exactly `count` elements, or not text.
    """
    elements: list[bytes] = []
    whole = bytes(raw)
    at, end = 0, len(whole)
    while at < end:
        if end - at < 4:
            raise InvalidRequest(f"input '{name}': the raw BYTES end inside the length of element {len(elements)}")
        length = int.from_bytes(whole[at : at + 4], "little")
        at += 4
        if length > end - at:
            raise InvalidRequest(
                f"input '{name}': element {len(elements)} claims {length} bytes, {end - at} are left: each element is"
                " a 4-byte little-endian length and then its bytes"
            )
        elements.append(whole[at : at + length])
        at += length
        if len(elements) > count:
            break
    if len(elements) != count:
        more = "more" if len(elements) > count else str(len(elements))
        raise InvalidRequest(f"input '{name}': its shape needs {count} BYTES elements, {more} came")
    return texts(name, elements)


def texts(name: str, elements: Sequence[bytes]) -> np.ndarray[Any, Any]:
    """BYTES elements as a flat array of `str`, which is all that ONNX knows. Raises InvalidRequest for other bytes."""
    decoded: list[str] = []
    try:
        decoded += map(bytes.decode, elements)
    except UnicodeDecodeError:
        raise InvalidRequest(
            f"input '{name}': element {len(decoded)} is not UTF-8; models take text as BYTES"
        ) from None
    array = np.empty(len(elements), dtype=object)
    array[:] = decoded
    return array


def encode_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """The raw form of BYTES elements; text goes out as UTF-8."""
    pieces: list[bytes] = []
    for element in array.ravel():
        value = element.encode() if isinstance(element, str) else bytes(element)
        pieces += (len(value).to_bytes(4, "little"), value)
    return b"".join(pieces)
