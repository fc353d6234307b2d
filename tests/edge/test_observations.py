"""Rows that were looked at, on their way to the controller: what arrives is what was sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.observation import Observation
from router.core.tensor import DTYPES
from router.edge.observations import from_message, to_message
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]


def array(datatype: str, shape: tuple[int, ...], seed: int) -> Array:
    """Any bits at all."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if datatype == "BYTES":
        made = np.empty(count, object)
        made[:] = [rng.bytes(int(size)) for size in rng.integers(0, 4, count)]
        return made.reshape(shape)
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return rng.integers(0, 2, shape).astype(np.bool_)
    return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype).reshape(shape)


@given(
    st.sampled_from(sorted(DTYPES)),
    st.integers(1, 4),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 1000),
    st.booleans(),
)
def test_what_arrives_is_what_was_sent(datatype: str, rows: int, tail: list[int], seed: int, recorded: bool) -> None:
    """Of every datatype and shape, bit for bit; rows may be empty."""
    x = array(datatype, (rows, *tail), seed)
    sent = Observation(
        "m", "3", "champion", ("ü",) * rows, (7,) * rows, (8,) * rows, {"x": x}, {"y": x[:, None]}, recorded, 5,
        tuple(range(rows)),
    )  # fmt: skip
    (message,) = to_message([sent]).observed
    seen = from_message(type(message).FromString(message.SerializeToString()))
    assert seen.inputs["x"].dtype == x.dtype
    assert seen.inputs["x"].shape == x.shape
    assert seen.outputs["y"].shape == (rows, 1, *tail)
    if datatype == "BYTES":
        assert seen.inputs["x"].tolist() == x.tolist()
    else:
        assert seen.inputs["x"].tobytes() == x.tobytes()
    assert (seen.ids, seen.ends_ns, seen.took_ns, seen.rows) == (sent.ids, sent.ends_ns, sent.took_ns, sent.rows)
    assert (seen.model, seen.number, seen.recorded, seen.missed) == ("m", "3", recorded, 5)


def test_text_arrives_as_bytes() -> None:
    """Models give `str`; parts are told one thing always."""
    texts = np.array(["ü", ""], object)
    (message,) = to_message([Observation("m", "1", "champion", ("", ""), (1, 1), (1, 1), {}, {"t": texts})]).observed
    assert from_message(message).outputs["t"].tolist() == ["ü".encode(), b""]


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP32", [2], b"\0" * 7),
        ("FP33", [1], b"\0" * 4),
        ("BYTES", [1], b"\5\0\0\0a"),
        ("BYTES", [2], b"\0\0\0\0"),
        ("FP32", [-1], b""),
        ("FP32", [], b"\0" * 4),
        ("FP32", [2], b"\0" * 8),
    ],
)
def test_what_is_none_is_refused(datatype: str, shape: list[int], raw: bytes) -> None:
    """In one line, whatever the bytes say."""
    (message,) = to_message([Observation("m", "1", "champion", ("a",), (1,), (1,), {}, {})]).observed
    message.inputs.add(name="x", datatype=datatype, shape=shape, raw=raw)
    with pytest.raises(InvalidRequest):
        from_message(message)
