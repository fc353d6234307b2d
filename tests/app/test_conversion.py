"""Values in a model's datatypes: what fits goes out as it is, anything else is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from router.app.conversion import fit
from router.app.mistake import Wrong
from router.client import TensorMetadata
from router.core.tensor import DTYPES

WHOLE = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]
FLOATS = ["FP16", "BF16", "FP32", "FP64"]


def converted(kind: str, value: Any) -> Any:
    """`value` for an input `x` of any length."""
    return fit(TensorMetadata("x", kind, (-1,)), value, [])


def refused(kind: str, value: Any) -> str:
    """Why not."""
    with pytest.raises(Wrong) as wrong:
        converted(kind, value)
    assert "\n" not in wrong.value.message
    return wrong.value.message


@pytest.mark.parametrize("kind", [name for name in DTYPES if name != "BYTES"])
@pytest.mark.parametrize(
    ("array", "came"),
    [
        (np.zeros(2, np.complex64), "complex64"),
        (np.zeros(2, "M8[s]"), "datetime64[s]"),
        (np.zeros(2, "m8[s]"), "timedelta64[s]"),
        (np.zeros(2, [("a", "f4")]), "a structured array"),
        (np.zeros(2, "V2"), "a structured array"),
        (np.array(["a", "b"]), "text"),
        (np.array([b"a"]), "text"),
    ],
)
def test_arrays_that_hold_no_numbers_are_refused(kind: str, array: Any, came: str) -> None:
    """Imaginary parts, dates and fields are never dropped."""
    assert refused(kind, array) == f"x: expected {kind}, came {came}; give plain numbers"


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("INT64", [9007199254740993, 1.5], "1.5 does not fit into INT64"),
        ("INT64", [2**63], "9223372036854775808 does not fit"),
        ("INT64", np.array([2.0**63]), "does not fit into INT64"),
        ("UINT64", np.array([2.0**64]), "does not fit into UINT64"),
        ("UINT64", [-1, 2**64 - 1], "-1 does not fit into UINT64"),
        ("UINT8", np.array([256]), "256 does not fit into UINT8"),
        ("UINT16", np.array([np.inf], np.float16), "inf does not fit into UINT16"),
        ("INT32", np.array([1.5], np.float32), "1.5 does not fit into INT32"),
        ("FP64", [10**400], "does not fit into FP64"),
        ("FP32", np.array([1e300]), "does not fit into FP32"),
        ("BOOL", [0.5], "0.5 does not fit into BOOL"),
        ("BYTES", ["\ud800"], "half a character"),
        ("FP32", [{"a": 1}], "came a mixture"),
        ("FP32", [[1], 2], "the lists are not of one length"),
    ],
)
def test_what_does_not_fit_is_named(kind: str, value: Any, why: str) -> None:
    """Nothing is cut off, rounded to a whole number or wrapped round."""
    assert why in refused(kind, value)


def test_lists_may_be_nested_too_deeply() -> None:
    """Deeper than numpy goes."""
    value: Any = 1
    for _ in range(500):
        value = [value]
    assert "x: expected x FP32 [any], came lists nested" in refused("FP32", value)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(WHOLE), st.lists(st.integers(-(2**65), 2**65), min_size=1, max_size=5))
def test_whole_numbers_go_out_exactly_or_not_at_all(kind: str, numbers: list[int]) -> None:
    """Also beside each other, beyond what a float can tell apart."""
    limits = np.iinfo(DTYPES[kind])
    if all(limits.min <= number <= limits.max for number in numbers):
        assert converted(kind, numbers).tolist() == numbers
    else:
        assert f"does not fit into {kind}" in refused(kind, numbers)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(WHOLE),
    hnp.arrays(st.sampled_from(["f2", "f4", "f8", "i1", "u2", "i8", "u8", "?"]), st.integers(1, 5)),
)
def test_arrays_go_out_exactly_or_not_at_all(kind: str, array: Any) -> None:
    """An array of any numbers in an input of whole numbers."""
    limits = np.iinfo(DTYPES[kind])

    def whole(item: float) -> bool:
        return np.isfinite(item) and item == int(item) and limits.min <= item <= limits.max

    if all(whole(item) for item in array.tolist()):
        assert converted(kind, array).tolist() == array.tolist()
    else:
        assert f"does not fit into {kind}" in refused(kind, array)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FLOATS), st.lists(st.floats() | st.integers(-(2**70), 2**70), min_size=1, max_size=5))
def test_floats_lose_precision_only(kind: str, numbers: list[float]) -> None:
    """What is finite stays finite or is refused."""
    try:
        made = converted(kind, numbers).astype(np.float64)
    except Wrong:
        assert f"does not fit into {kind}" in refused(kind, numbers)
    else:
        assert np.isfinite(made).tolist() == [bool(np.isfinite(float(number))) for number in numbers]
