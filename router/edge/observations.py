"""Rows that were looked at, as they travel from a worker to the controller."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from router.core.observation import Observation
from router.core.tensor import BYTES, DTYPES, encode_bytes
from router.errors import InvalidRequest
from router.pb import observation_pb2 as pb
from router.pb.link_pb2 import ObservationFigures
from router.pb.mirror_pb2 import Tensor
from router.serving.observer import Turn

Array = np.ndarray[Any, Any]

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def to_message(observations: Sequence[Observation]) -> pb.Observations:
    """The message of several."""
    message = pb.Observations()
    for each in observations:
        message.observed.add(
            model=each.model,
            number=each.number,
            served_by=each.served_by,
            ids=each.ids,
            ends_ns=each.ends_ns,
            took_ns=each.took_ns,
            rows=each.rows,
            inputs=_tensors(each.inputs),
            outputs=_tensors(each.outputs),
            recorded=each.recorded,
            missed=each.missed,
        )
    return message


def _tensors(arrays: Mapping[str, Array]) -> list[Tensor]:
    return [
        Tensor(
            name=name,
            datatype=_NAMES[array.dtype],
            shape=array.shape,
            raw=encode_bytes(array) if array.dtype.hasobject else array.tobytes(),
        )
        for name, array in arrays.items()
    ]


def from_message(message: pb.Observed) -> Observation:
    """One of them, as it was. Raises InvalidRequest for what is none."""
    made = Observation(
        message.model,
        message.number,
        message.served_by,
        tuple(message.ids),
        tuple(message.ends_ns),
        tuple(message.took_ns),
        {each.name: _array(each) for each in message.inputs},
        {each.name: _array(each) for each in message.outputs},
        message.recorded,
        message.missed,
        tuple(message.rows),
    )
    lengths = {len(made), len(made.ends_ns), len(made.took_ns), len(made.rows or made.ids)}
    lengths |= {len(each) if each.ndim else -1 for each in (*made.inputs.values(), *made.outputs.values())}
    if len(lengths) != 1:
        raise InvalidRequest(f"what came by of model '{made.model[:200]}' does not fit together, row by row")
    return made


def _array(tensor: Tensor) -> Array:
    shape = tuple(tensor.shape)
    try:
        if tensor.datatype == BYTES:
            return _texts(tensor.raw, math.prod(shape)).reshape(shape)
        return np.ndarray(shape, DTYPES[tensor.datatype], tensor.raw)
    except (KeyError, TypeError, ValueError):
        raise InvalidRequest(f"tensor '{tensor.name[:200]}' of what came by is not what it says") from None


def _texts(raw: bytes, count: int) -> Array:
    """BYTES elements as they were sent, which need not be text. Raises ValueError where there are not so many."""
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        if end > len(raw):
            raise ValueError("it ends within an element")
        found.append(raw[at + 4 : end])
        at = end
    if len(found) != count:
        raise ValueError("other elements than its shape says")
    array = np.empty(count, dtype=object)
    array[:] = found
    return array


def figures(turn: Turn) -> ObservationFigures:
    """The sums of one model in this worker."""
    return ObservationFigures(model=turn.model, looked=turn.looked, recorded=turn.recorded, missed=turn.missed)
