"""A copy of a run as another version runs it: its size, its parts, its arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from router.core.mirrored import MirroredCall, MirroredRun
from router.core.request import Checked
from router.core.tensor import BYTES, DTYPES, decode_bytes
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]


def nbytes(run: MirroredRun) -> int:
    """Bytes of its inputs and outputs."""
    return sum([call.nbytes for call in run.calls]) + sum([each.nbytes for each in run.outputs.values()])


def parts(run: MirroredRun, rows: Sequence[int]) -> Iterator[MirroredRun]:
    """Each call of a run with its own rows of the outputs."""
    if len(run.calls) == 1:
        yield run
        return
    for call, outputs in zip(run.calls, apart(run.outputs, rows), strict=True):
        yield MirroredRun(run.model, run.champion, (call,), outputs, 0.0)


def apart(outputs: Mapping[str, Array], rows: Sequence[int]) -> Iterator[Mapping[str, Array]]:
    """Of outputs the rows of each call, which follow each other; an only call's are what they are."""
    if len(rows) == 1:
        yield outputs
        return
    at = 0
    for count in rows:
        yield {name: each[at : at + count] for name, each in outputs.items()}
        at += count


def feeds(calls: Sequence[MirroredCall], checked: Sequence[Checked], rows: int) -> dict[str, Array]:
    """The arrays of one run for all calls. Raises InvalidRequest when elements do not fit their header."""
    made: dict[str, Array] = {}
    for index, feed in enumerate(checked[0].feeds):
        each_one = [
            _array(call, each.feeds[index].position, each.feeds[index].shape)
            for call, each in zip(calls, checked, strict=True)
        ]
        made[feed.name] = each_one[0] if len(each_one) == 1 else np.concatenate(each_one)
    assert len(calls) == 1 or all(len(each) == rows for each in made.values())
    return made


def _array(call: MirroredCall, position: int, shape: tuple[int, ...]) -> Array:
    header, elements = call.inputs[position], call.elements[position]
    if header.datatype == BYTES:
        return decode_bytes(header.name, elements, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    try:
        return np.ndarray(shape, DTYPES[header.datatype], elements)
    except TypeError:
        raise InvalidRequest(f"the copy of input '{header.name[:200]}' is not what it says") from None
