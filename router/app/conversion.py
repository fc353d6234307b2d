"""Values in the datatype and shape that an input of a model wants."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.app.mistake import Wrong
from router.client import TensorMetadata
from router.core.request import MAX_RANK
from router.core.tensor import ANY, BYTES, DTYPES

Array = NDArray[Any]


def described(tensors: Iterable[TensorMetadata]) -> str:
    """Names, datatypes and shapes, for a person."""

    def one(tensor: TensorMetadata) -> str:
        sizes = ", ".join("any" if size == ANY else str(size) for size in tensor.shape)
        return f"{tensor.name} {tensor.datatype} [{sizes}]"

    return "; ".join(one(tensor) for tensor in tensors)


def fit(tensor: TensorMetadata, value: Any, notes: list[str]) -> Array:
    """`value`, an array or nested lists, as `tensor` wants it; what was changed of its shape goes into `notes`.

    Precision may be lost; anything else is refused: raises Wrong.
    """
    if tensor.datatype not in DTYPES:
        raise Wrong(f"{tensor.name}: this client does not know the datatype {tensor.datatype}")
    array = value if isinstance(value, np.ndarray) else _listed(tensor, value)
    shape = _shape(tensor, array.shape)
    if shape is None:
        raise Wrong(f"{tensor.name}: expected {described([tensor])}, came {list(array.shape)}")
    made = _text(tensor, array) if tensor.datatype == BYTES else _numbers(tensor, array)
    if shape != array.shape:
        what = "added the batch dimension" if shape == (1, *array.shape) else "reshaped"
        notes.append(f"{tensor.name}: {what}, {list(array.shape)} → {list(shape)}")
    return made.reshape(shape)


def _listed(tensor: TensorMetadata, value: Any) -> Array:
    """Nested lists, their elements as they are: numpy would take a large integer beside a fraction for a float."""
    array = np.asarray(value, dtype=object)
    if array.ndim > MAX_RANK:
        raise Wrong(f"{tensor.name}: expected {described([tensor])}, came lists nested {array.ndim} deep or deeper")
    if any(isinstance(item, list) for item in array.flat):
        raise Wrong(f"{tensor.name}: the lists are not of one length")
    return array


def _shape(tensor: TensorMetadata, came: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape in which `came` goes out: as it is, with a batch of one before it, or each item reshaped.

    Items are reshaped only where no values change places in meaning: flattened, unflattened, or with sizes of one
    more or fewer. Height, width and colours in another order are not guessed at.
    """

    def fits(shape: tuple[int, ...]) -> bool:
        return len(shape) == len(tensor.shape) and all(
            want in {ANY, have} for want, have in zip(tensor.shape, shape, strict=True)
        )

    def alike(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
        plain = min(len(have), len(want)) <= 1
        return math.prod(have) == math.prod(want) and (
            plain or [n for n in have if n != 1] == [n for n in want if n != 1]
        )

    options = [came, (1, *came)]
    item = tensor.shape[1:]
    if tensor.shape and ANY not in item:
        if came and alike(came[1:], item):
            options.append((came[0], *item))
        if alike(came, item):
            options.append((1, *item))
        if len(came) == 1 and alike(came, tensor.shape):
            options.append(tensor.shape)
    return next((shape for shape in options if fits(shape)), None)


def _text(tensor: TensorMetadata, array: Array) -> Array:
    """Elements of a BYTES input."""
    items = array.ravel().tolist()
    if array.dtype.kind not in "OSUT" or not all(isinstance(item, str | bytes) for item in items):
        raise Wrong(f"{tensor.name}: expected BYTES, so text; came {_kind(array)}")
    for item in items:
        try:
            item.encode() if isinstance(item, str) else None
        except UnicodeEncodeError as error:
            raise Wrong(f"{tensor.name}: {item[:40]!r} holds half a character, which UTF-8 cannot carry") from error
    return array


def _numbers(tensor: TensorMetadata, array: Array) -> Array:
    want = DTYPES[tensor.datatype]
    if array.dtype == want:
        return array
    exact = array.dtype.kind == "O"
    if not (exact and {type(item) for item in array.flat} <= {bool, int, float}) and array.dtype.kind not in "biuf":
        raise Wrong(f"{tensor.name}: expected {tensor.datatype}, came {_kind(array)}; give plain numbers")
    fits = _fits_exactly(array, want) if exact else _fits(array, want)
    if not fits.all():
        raise Wrong(f"{tensor.name}: {str(array[~fits].ravel()[0])[:40]} does not fit into {tensor.datatype}")
    if exact and want.kind not in "biu":
        array = array.astype(np.float64)  # BF16 is not made of Python's large integers
    with np.errstate(all="ignore"):
        made: Array = array.astype(want)
    return made


def _fits(array: Array, want: np.dtype[Any]) -> Array:
    """Which numbers `want` can hold."""
    if array.dtype.kind == "b":
        return np.ones_like(array)
    if want.kind == "b":
        return np.isin(array, (0, 1))
    if want.kind not in "iu":
        with np.errstate(all="ignore"):
            return ~(np.isinf(array.astype(want).astype(np.float64)) & np.isfinite(array))
    limits = np.iinfo(want)
    if array.dtype.kind != "f":
        within: Array = (array >= limits.min) & (array <= limits.max)
        return within
    wide = array.astype(np.result_type(array.dtype, np.float64))  # where the limits can be told apart
    whole: Array = (wide >= float(limits.min)) & (wide < float(limits.max) + 1) & (wide == np.trunc(wide))
    return whole


def _fits_exactly(array: Array, want: np.dtype[Any]) -> Array:
    """The same for Python's numbers, which know no limits."""

    def fits(item: bool | int | float) -> bool:
        if want.kind == "b":
            return item in {0, 1}
        if want.kind in "iu":
            limits = np.iinfo(want)
            return (isinstance(item, int) or item.is_integer()) and limits.min <= item <= limits.max
        try:
            return bool(_fits(np.asarray(float(item)), want))
        except OverflowError:
            return False

    return np.array([fits(item) for item in array.flat], np.bool_).reshape(array.shape)


def _kind(array: Array) -> str:
    if array.dtype.kind != "O":
        return {"S": "text", "U": "text", "T": "text", "V": "a structured array"}.get(
            array.dtype.kind, str(array.dtype)
        )
    kinds = {type(item) for item in array.flat}
    if kinds <= {str, bytes}:
        return "text"
    return str(np.asarray(array.flat[0]).dtype) if len(kinds) == 1 and kinds <= {bool, int, float} else "a mixture"
