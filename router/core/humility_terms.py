"""Humility rules out of a `model.toml`: whether they can be meant for a model, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from router.core.contract import FLOATING
from router.core.fallback import default_row
from router.core.humility import HALVES, Array, Condition, Humility, LowObservation, Outlying, Rule, Uncertain
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import SettingsError
from router.humility_settings import Bounds, HumilityRuleSettings, HumilitySettings


def humility_of(settings: HumilitySettings, signature: Signature) -> Humility | None:
    """The rules that a `model.toml` sets, for a model with this signature; None where there are none.

    Raises SettingsError: key, value, what is allowed. A rule that could never fire, or would in every row, is refused.
    """
    if not settings.rules:
        return None
    return Humility(tuple(_rule(f"humility.rules.{at}", each, signature) for at, each in enumerate(settings.rules)))


def _rule(key: str, settings: HumilityRuleSettings, signature: Signature) -> Rule:
    of_input = settings.input is not None
    side, specs = ("input", signature.inputs) if of_input else ("output", signature.outputs)
    name = settings.input if settings.input is not None else settings.output
    assert name is not None, "the settings have been validated"
    spec = _named(f"{key}.{side}", name, side, specs)
    test: Condition
    if settings.kind == "uncertain":
        test = _uncertain(key, settings, spec)
    elif settings.kind == "outlying":
        test = _outlying(key, settings, spec)
    else:
        test = _low_observation(key, settings, spec)
    override = {
        output: _value(f"{key}.override", value, _named(f"{key}.override", output, "output", signature.outputs))
        for output, value in settings.override.items()
    }
    return Rule(settings.name, settings.then, of_input, name, test, override)


def _named(key: str, name: str, side: str, specs: Sequence[TensorSpec]) -> TensorSpec:
    spec = next((each for each in specs if each.name == name), None)
    if spec is None:
        have = ", ".join(f"'{each.name}'" for each in specs)
        raise _wrong(key, name[:100], f"the model has no such {side}; it has {have or 'none'}")
    return spec


def _value(key: str, value: object, spec: TensorSpec) -> Array:
    """What is put into a row of an output. Raises SettingsError."""
    if not spec.shape:
        raise _wrong(f"{key}.{spec.name}", value, "the output is a single value for all rows, which belongs to none")
    tail = spec.shape[1:]
    if isinstance(value, list) and ANY in tail:
        raise _wrong(f"{key}.{spec.name}", value, "the size of a row is free: give a single value for all of it")
    one = replace(spec, shape=(ANY, *tail) if isinstance(value, list) else (ANY,), symbols=())
    try:
        return default_row(value, one, key)
    except SettingsError as error:
        raise SettingsError(f"model.toml: {error}") from None


def _uncertain(key: str, settings: HumilityRuleSettings, spec: TensorSpec) -> Uncertain:
    if spec.datatype not in FLOATING:
        raise _wrong(f"{key}.output", spec.name, f"the output is {spec.datatype}; scores are floating numbers")
    if len(spec.shape) not in (1, 2):
        why = f"the output has {len(spec.shape)} dimensions; scores are [rows] or [rows, classes]"
        raise _wrong(f"{key}.output", spec.name, why)
    if settings.margin is not None and _width(spec) == 1:
        raise _wrong(f"{key}.margin", settings.margin, "the output has one score a row: it takes `low`, or both bounds")
    low, high, margin = (
        None if bound is None else float(_rounded(bound, spec.datatype))
        for bound in (_single(settings.low), _single(settings.high), settings.margin)
    )
    if margin == 0 or (low == -math.inf and high is None):
        which, bound = ("margin", settings.margin) if margin == 0 else ("low", settings.low)
        raise _wrong(f"{key}.{which}", bound, f"in {spec.datatype} no score is below it: it could never fire")
    return Uncertain(low, high, margin, spec.datatype in HALVES)


def _outlying(key: str, settings: HumilityRuleSettings, spec: TensorSpec) -> Outlying:
    if spec.datatype in (BYTES, "BOOL"):
        raise _wrong(f"{key}.input", spec.name, f"the input is {spec.datatype}; only numbers have bounds")
    width = _width(spec)
    _check_feature(key, settings.feature, width)
    for which, given in (("low", settings.low), ("high", settings.high)):
        if isinstance(given, tuple) and width is None:
            raise _wrong(f"{key}.{which}", list(given), "the size of a row is free: give one number for all of it")
        if isinstance(given, tuple) and len(given) != width:
            raise _wrong(f"{key}.{which}", list(given), f"a row of the input has {width} elements")
    if spec.datatype in FLOATING:
        low, high = (
            None if bound is None else _rounded(bound, spec.datatype) for bound in (settings.low, settings.high)
        )
        if _all(low, -math.inf) and _all(high, math.inf):
            raise _wrong(key, settings.name, f"in {spec.datatype} only NaN is beyond its bounds: it could never fire")
    else:
        low, high = _whole(key, settings, DTYPES[spec.datatype], spec.datatype)
    return Outlying(low, high, settings.feature, spec.datatype in HALVES)


def _all(bounds: Array | None, end: float) -> bool:
    """Whether there are none but such as bound nothing."""
    return bounds is None or bool((bounds == end).all())


def _whole(
    key: str, settings: HumilityRuleSettings, dtype: np.dtype[Any], datatype: str
) -> tuple[Array | None, Array | None]:
    """The bounds of whole numbers, exactly. Raises SettingsError where none is beyond them, or none within."""
    info = np.iinfo(dtype)
    lows, highs = _each(settings.low, -math.inf), _each(settings.high, math.inf)
    many = max(len(lows), len(highs))
    ends = [
        (_least(low, info), _greatest(high, info))
        for low, high in zip(lows * (many // len(lows)), highs * (many // len(highs)), strict=True)
    ]
    if any(low > high or low > info.max or high < info.min for low, high in ends):
        raise _wrong(key, settings.name, f"between its bounds there is no {datatype}: it would fire in every row")
    if all((low, high) == (info.min, info.max) for low, high in ends):
        raise _wrong(key, settings.name, f"no {datatype} is beyond its bounds: it could never fire")
    single = len(ends) == 1
    low, high = (np.array(side[0] if single else side, dtype) for side in zip(*ends, strict=True))
    return (None if settings.low is None else low, None if settings.high is None else high)


def _least(low: float, info: Any) -> int:
    """The least whole number at or above a bound; one beyond the datatype where it holds none."""
    if low <= info.min:
        return int(info.min)
    return math.ceil(low) if low <= info.max else int(info.max) + 1


def _greatest(high: float, info: Any) -> int:
    """The greatest one at or below a bound."""
    if high >= info.max:
        return int(info.max)
    return math.floor(high) if high >= info.min else int(info.min) - 1


def _low_observation(key: str, settings: HumilityRuleSettings, spec: TensorSpec) -> LowObservation:
    known = frozenset(settings.known or ())
    _check_feature(key, settings.feature, _width(spec))
    key += ".known"
    if spec.datatype == BYTES:
        _check_known(key, (each for each in known if not isinstance(each, str)), "the input is text")
        return LowObservation(known, None, settings.feature)
    if spec.datatype == "BOOL":
        raise _wrong(key, sorted(known, key=str), "the input is BOOL, of which both values are known")
    dtype = DTYPES[spec.datatype]
    if spec.datatype in FLOATING:
        fits = f"the input is {spec.datatype}, which holds other whole numbers"
        strange = [each for each in known if not isinstance(each, int) or _held(each, dtype) != each]
        dtype = np.dtype(np.float32) if spec.datatype in HALVES else dtype
    else:
        info = np.iinfo(dtype)
        fits = f"the input is {spec.datatype}: whole numbers from {info.min} to {info.max}"
        strange = [each for each in known if not isinstance(each, int) or not info.min <= each <= info.max]
        if not strange and len(known) == info.max - info.min + 1:
            raise _wrong(key, sorted(known), f"there is no other {spec.datatype}: it could never fire")
    _check_known(key, strange, fits)
    return LowObservation(known, np.array(list(known), dtype), settings.feature)


def _check_known(key: str, strange: Iterable[int | str], fits: str) -> None:
    wrong = next(iter(strange), None)
    if wrong is not None:
        raise _wrong(key, wrong, fits)


def _check_feature(key: str, feature: int | None, width: int | None) -> None:
    if feature is not None and width is not None and feature >= width:
        raise _wrong(f"{key}.feature", feature, f"a row of the input has {width} elements, the first is 0")


def _held(value: int, dtype: np.dtype[Any]) -> float:
    """A whole number as the datatype holds it."""
    with np.errstate(over="ignore"):
        try:
            return float(np.array(float(value)).astype(dtype))
        except OverflowError:
            return math.inf


def _width(spec: TensorSpec) -> int | None:
    """Elements of a row; None where that is free."""
    return None if ANY in spec.shape[1:] else math.prod(spec.shape[1:])


def _single(bound: Bounds | None) -> float | None:
    assert not isinstance(bound, tuple), "the settings have been validated"
    return bound


def _each(bound: Bounds | None, none: float) -> list[float]:
    if bound is None:
        return [none]
    return list(bound) if isinstance(bound, tuple) else [bound]


def _rounded(bound: Bounds, datatype: str) -> Array:
    """Bounds in the datatype, in which a model is given and gives what lies on them; halves in FP32 after that."""
    with np.errstate(over="ignore"):
        made = np.array(bound, np.float64).astype(DTYPES[datatype])
        return made.astype(np.float32) if datatype in HALVES else made


def _wrong(key: str, value: object, why: str) -> SettingsError:
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    return SettingsError(f"model.toml: `{key[:200]}` = {shown[:80]}: {why}")
