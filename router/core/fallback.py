"""Answers that do not need the model in time: why one is due, what gives it, and the fixed one that an owner sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import ml_dtypes
import numpy as np

from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import SettingsError

Array = np.ndarray[Any, Any]

_FLOATS: Final = frozenset({"FP16", "BF16", "FP32", "FP64"})


class Step(StrEnum):
    """What answers in the place of the model, as the reply says it in `served_by`."""

    FAILOVER = "failover"
    CACHED = "cached"
    DEFAULT = "default"


class Reason(StrEnum):
    """Why the model did not answer, as the reply says it in `fallback_reason`."""

    DEADLINE = "deadline"
    """It would have been, or was, too late."""
    SLOW = "slow"
    """It had not answered when the second attempt was due, or would not have answered in time."""
    OVERLOADED = "overloaded"
    FAILED = "failed"
    CONTRACT = "contract"
    """It answered, and broke what it promises."""
    UNHEALTHY = "unhealthy"
    """It has failed too often of late: its breaker is open."""
    QUARANTINED = "quarantined"
    """It was in a run at two crashes of workers."""
    SWITCHED = "switched"
    """An operator has switched it to its fallback."""


def default_row(value: object, spec: TensorSpec, key: str = "fallback.default") -> Array:
    """The values of one row of an output (of all of it where its first dimension is fixed). Raises SettingsError.

    A single value fills the row; a list gives it whole. `key` is the setting that errors name, before the output.
    """
    shape = spec.shape[1:] if spec.shape and spec.shape[0] == ANY else spec.shape
    _check_kind(value, spec, key)
    try:
        if spec.datatype == BYTES:
            array = np.array(_encoded(value), dtype=object)
        else:
            array = np.array(value, DTYPES[spec.datatype])
    except (ValueError, TypeError, OverflowError) as error:
        raise _wrong(value, spec, shape, key) from error
    if not isinstance(value, list):
        if ANY in shape:
            raise _wrong(value, spec, shape, key)
        return np.broadcast_to(array, shape)
    if len(array.shape) != len(shape) or any(b not in (ANY, a) for a, b in zip(array.shape, shape, strict=True)):
        raise _wrong(value, spec, shape, key)
    return array


def default_outputs(rows: Mapping[str, Array], specs: Sequence[TensorSpec], count: int) -> list[Array]:
    """The default for `count` rows: each output's row repeated, or all of it where its first dimension is fixed."""
    made = []
    for spec in specs:
        row = rows[spec.name]
        if spec.shape and spec.shape[0] == ANY:
            row = np.broadcast_to(row, (count, *row.shape))
        made.append(np.ascontiguousarray(row).reshape(row.shape))
    return made


def check_default(default: Mapping[str, object], signature: Signature) -> dict[str, Array]:
    """The default's rows by output. Raises SettingsError, which names key, value and what is allowed."""
    known = {spec.name: spec for spec in signature.outputs}
    for name in default:
        if name not in known:
            have = ", ".join(f"'{each}'" for each in known)
            raise SettingsError(f"`fallback.default` names the unknown output '{name[:100]}'; the model gives {have}")
    for name in known:
        if name not in default:
            raise SettingsError(f"`fallback.default` says nothing for the output '{name}': give all of them")
    return {name: default_row(default[name], spec) for name, spec in known.items()}


def _leaves(value: object) -> list[object]:
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(each)]
    return [value]


def _check_kind(value: object, spec: TensorSpec, key: str) -> None:
    """Each value is of the output's kind and in its range: numbers are never rounded or wrapped."""
    for leaf in _leaves(value):
        if spec.datatype == BYTES:
            fits = isinstance(leaf, str)
        elif spec.datatype == "BOOL":
            fits = isinstance(leaf, bool)
        elif spec.datatype in _FLOATS:
            most = float(ml_dtypes.finfo(DTYPES[spec.datatype]).max)
            fits = isinstance(leaf, int | float) and not isinstance(leaf, bool) and -most <= leaf <= most
        else:
            limits = np.iinfo(DTYPES[spec.datatype])
            fits = isinstance(leaf, int) and not isinstance(leaf, bool) and limits.min <= leaf <= limits.max
        if not fits:
            raise SettingsError(f"`{key}.{spec.name}` holds {str(leaf)[:40]!r}; the output is {spec.datatype}")


def _encoded(value: object) -> object:
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    return str(value).encode()


def _wrong(value: object, spec: TensorSpec, shape: Sequence[int], key: str) -> SettingsError:
    sizes = ", ".join("any" if size == ANY else str(size) for size in shape)
    return SettingsError(
        f"`{key}.{spec.name}` = {str(value)[:60]}: expected "
        + (f"a list of shape [{sizes}]" if shape else "a single value")
        + (", the values of one row" if spec.shape and spec.shape[0] == ANY else "")
        + ("" if ANY in shape or not shape else ", or a single value for all of it")
    )
