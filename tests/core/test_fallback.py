"""The fixed answer that an owner sets: values of each kind, in their range, and what is said of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.core.fallback import default_row
from router.core.tensor import ANY, BYTES, DTYPES, TensorSpec
from router.errors import SettingsError


def spec(datatype: str, *shape: int) -> TensorSpec:
    """An output with a free first dimension."""
    return TensorSpec("y", datatype, (ANY, *shape))


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("BOOL", [True, False]),
        ("INT64", [1, 2**63 - 1]),
        ("UINT64", [1, 2**63 + 1]),
        ("FP16", [1, 65504.0]),
        ("BF16", [1, -2.0]),
        ("FP32", [0, 3e38]),
        ("FP64", [0.1, 1e308]),
    ],
)
def test_values_are_taken_as_they_are(datatype: str, value: list[Any]) -> None:
    """Those of one row; nothing is rounded where the datatype holds it."""
    row = default_row(value, spec(datatype, 2))
    assert (row.dtype, row.shape) == (DTYPES[datatype], (2,))
    assert row.tolist() == np.array(value, DTYPES[datatype]).tolist()
    if datatype != "FP32":
        assert row.tolist() == value
    assert default_row(value[0], spec(datatype, 2)).tolist() == [value[0]] * 2


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("FP16", 1e6),
        ("FP32", 1e300),
        ("FP32", 10**400),
        ("FP64", -(10**400)),
        ("BF16", [0.0, 1e39]),
        ("FP32", float("nan")),
        ("FP32", float("inf")),
        ("FP32", True),
        ("INT8", 128),
        ("UINT8", -1),
        ("INT64", 1.0),
        ("BOOL", 1),
        (BYTES, 1),
        ("FP32", {"a": 1}),
    ],
)
def test_values_that_the_output_cannot_hold_are_refused(datatype: str, value: Any) -> None:
    """Out of range, not finite, or of another kind: key, value and datatype, in one line."""
    with pytest.raises(SettingsError, match=rf"^`fallback\.default\.y` holds .{{3,42}}; the output is {datatype}$"):
        default_row(value, spec(datatype, 2))


@pytest.mark.parametrize("value", [[], [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], [1.0, [2.0]]])
def test_a_row_has_the_shape_of_the_output(value: Any) -> None:
    """Or it is a single value, for all of it."""
    with pytest.raises(
        SettingsError, match=r"expected a list of shape \[2\], the values of one row, or a single value"
    ):
        default_row(value, spec("FP32", 2))
