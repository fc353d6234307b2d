"""How far two answers may lie apart and still be the same: kernels round differently by size of batch and processor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from router.core.tensor import TensorSpec

Array = np.ndarray[Any, Any]

RELATIVE: Final[Mapping[str, float]] = {"FP64": 1e-4, "FP32": 1e-4, "FP16": 1e-2, "BF16": 5e-2}
ABSOLUTE: Final[Mapping[str, float]] = {"FP64": 1e-5, "FP32": 1e-5, "FP16": 5e-3, "BF16": 3e-2}
"""Tolerances per datatype (FP64 as FP32, in which many models compute); the absolute one counts in units of the
largest number that is compared."""


def distance(spec: TensorSpec, one: Array, other: Array) -> Array:
    """How far apart two answers are: 0 where both are the same NaN or infinity; for labels whether they differ."""
    if spec.datatype not in RELATIVE:
        return np.asarray(np.not_equal(one, other), np.bool_)
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(left - right)
    return np.where(same, 0.0, np.where(np.isnan(apart), math.inf, apart))


def largest(spec: TensorSpec, array: Array) -> float:
    """The size of the largest finite number; 0 for labels."""
    if spec.datatype not in RELATIVE or not array.size:
        return 0.0
    numbers = np.abs(array.astype(np.float64))
    return float(np.max(numbers, where=np.isfinite(numbers), initial=0.0))


def different(spec: TensorSpec, got: Array, wanted: Array, rtol: float | None = None, atol: float | None = None) -> str:
    """What differs most beyond the tolerance, in one line; empty when both are the same answer."""
    if got.shape != wanted.shape:
        return f"has the shape {list(got.shape)}, expected {list(wanted.shape)}"
    if not got.size:
        return ""
    apart = distance(spec, got, wanted)
    if spec.datatype not in RELATIVE:
        if not apart.any():
            return ""
        place = np.unravel_index(int(np.argmax(apart)), apart.shape)
        count = int(apart.sum())
        return f"is {_shown(got[place])}, expected {_shown(wanted[place])} ({count} of {got.size} differ)"
    size = np.abs(np.nan_to_num(np.asarray(wanted, np.float64), posinf=0.0, neginf=0.0))
    relative = RELATIVE[spec.datatype] if rtol is None else rtol
    absolute = ABSOLUTE[spec.datatype] * largest(spec, wanted) if atol is None else atol
    over = apart - (relative * size + absolute)
    if not (over > 0).any():
        return ""
    place = np.unravel_index(int(np.argmax(over)), over.shape)
    here, there = float(np.asarray(got)[place]), float(np.asarray(wanted)[place])
    return f"is {here:.6g}, expected {there:.6g} ({int((over > 0).sum())} of {got.size} numbers differ)"


def _shown(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else str(value)
