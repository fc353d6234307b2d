"""Raw BYTES and shapes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.tensor import ANY, TensorSpec, decode_bytes, encode_bytes
from router.errors import InvalidRequest


@given(st.lists(st.text(max_size=9), max_size=9))
def test_text_survives_the_way_there_and_back(elements: list[str]) -> None:
    """Also text with zero bytes at its end, and none at all."""
    array = np.empty(len(elements), object)
    array[:] = elements
    raw = encode_bytes(array)
    assert decode_bytes("x", memoryview(raw), len(elements)).tolist() == elements
    assert raw == b"".join(struct.pack("<I", len(each.encode())) + each.encode() for each in elements)


@given(st.binary(max_size=30) | st.lists(st.sampled_from([b"\0\0\0\0", b"\1\0\0\0a", b"\2\0\0\0\xff"])).map(b"".join))
def test_any_bytes_are_elements_or_refused(raw: bytes) -> None:
    """Nothing but InvalidRequest, and never more elements than the shape asks for."""
    for count in (0, 1, 3, 2**62):
        try:
            array = decode_bytes("x", memoryview(raw), count)
        except InvalidRequest:
            continue
        assert array.shape == (count,)
        assert encode_bytes(array) == raw


@pytest.mark.parametrize(
    ("raw", "count", "text"),
    [
        (b"\1\0\0\0a\0\0", 2, "input 'x': the raw BYTES end inside the length of element 1"),
        (b"\5\0\0\0a", 1, "input 'x': element 0 claims 5 bytes, 1 are left"),
        (b"\1\0\0\0a", 2, "input 'x': its shape needs 2 BYTES elements, 1 came"),
        (b"\1\0\0\0a" * 9, 2, "input 'x': its shape needs 2 BYTES elements, more came"),
        (b"\1\0\0\0a\1\0\0\0\xff", 2, "input 'x': element 1 is not UTF-8; models take text as BYTES"),
    ],
)
def test_a_refusal_says_which_element_is_wrong(raw: bytes, count: int, text: str) -> None:
    """The texts that callers read."""
    with pytest.raises(InvalidRequest) as refused:
        decode_bytes("x", memoryview(raw), count)
    assert str(refused.value).startswith(text)


def test_bytes_and_text_go_out_alike() -> None:
    """A model may give either."""
    array = np.array([b"ab", "ü"], object)
    assert encode_bytes(array) == b"\2\0\0\0ab\2\0\0\0\xc3\xbc"


def test_a_shape_fits_where_sizes_are_equal_or_free() -> None:
    """A free size takes any that is not negative."""
    spec = TensorSpec("x", "FP32", (ANY, 3))
    assert spec.accepts((0, 3))
    assert spec.accepts((2**62, 3))
    assert not spec.accepts((-1, 3))
    assert not spec.accepts((1, -1))
    assert not spec.accepts((1,))
    assert not spec.accepts((1, 3, 1))
    assert TensorSpec("x", "FP32", ()).accepts(())
