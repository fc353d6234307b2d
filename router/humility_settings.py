"""Validated settings of humility: the rules in `model.toml` by which a prediction is not to be trusted."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from router.settings import Number, Settings, Value

Bounds = float | Annotated[tuple[float, ...], Field(min_length=1, max_length=4096)]
Category = Annotated[int, Field(strict=True)] | Annotated[str, Field(strict=True)]
_RULES: Final = {
    "uncertain": (("output",), ("low", "high", "margin")),
    "outlying": (("input",), ("low", "high", "feature")),
    "low_observation": (("input", "known"), ("feature",)),
}
"""Kinds of humility rules: the keys that each needs, and those that it takes beside them."""


class HumilityRuleSettings(Settings):
    """`[[humility.rules]]`: which predictions are not to be trusted, and what is done about them."""

    name: str = Field(pattern="^[a-z0-9_-]{1,40}$")
    """As replies and metrics say it."""
    kind: Literal["uncertain", "outlying", "low_observation"]
    """`uncertain`: the top score in a row of `output` is below `low`, or with `high` from `low` to `high`, or leads the
    second one by less than `margin`. `outlying`: an element of `input` is below `low` or above `high`, or is NaN.
    `low_observation`: one is not among the `known`."""
    output: str | None = None
    input: str | None = None
    low: Bounds | None = None
    high: Bounds | None = None
    """Of `outlying` also a list, with a bound for each element of a row; -inf and inf bound nothing."""
    margin: Number | None = Field(None, gt=0)
    known: tuple[Category, ...] | None = Field(None, min_length=1, max_length=4096)
    """Whole numbers or texts: all that has been seen often enough."""
    feature: int | None = Field(None, ge=0)
    """Of `outlying` and `low_observation`: only this element of each row is looked at, counted from 0."""
    then: Literal["override", "error", "note"] = "note"
    """`override`: the caller gets the values of `override` instead. `error`: an error. `note`: it is only marked."""
    override: dict[str, Value | list[Any]] = Field({})
    """For each output that is overridden a value that is repeated, or the values of one row."""

    @field_validator("low", "high")
    @classmethod
    def _are_numbers(cls, value: Bounds | None) -> Bounds | None:
        if value is not None and any(math.isnan(each) for each in (value if isinstance(value, tuple) else (value,))):
            raise ValueError("nan: a bound is a number")
        return value

    @field_serializer("low", "high", when_used="json")
    def _as_json(self, value: Bounds | None) -> Any:
        """JSON knows no infinity; its name is read back."""
        if isinstance(value, tuple):
            return [str(each) if math.isinf(each) else each for each in value]
        return str(value) if value is not None and math.isinf(value) else value

    @model_validator(mode="after")
    def _is_whole(self) -> HumilityRuleSettings:
        needs, takes = _RULES[self.kind]
        for key in ("output", "input", "low", "high", "margin", "known", "feature"):
            given = getattr(self, key) is not None
            if key in needs and not given:
                raise ValueError(f"the kind `{self.kind}` needs `{key}`")
            if given and key not in (*needs, *takes):
                raise ValueError(f"the kind `{self.kind}` takes no `{key}`: remove it")
        if (self.then == "override") != bool(self.override):
            raise ValueError('then = "override" and values in `override` go together: give both, or neither')
        if self.kind == "uncertain":
            self._check_scores()
        elif self.kind == "outlying":
            self._check_bounds()
        return self

    def _check_scores(self) -> None:
        if self.low is None and self.high is not None:
            raise ValueError("`high` alone says nothing of doubt: give `low` too")
        if self.low is None and self.margin is None:
            raise ValueError("the kind `uncertain` needs `low`, `low` and `high`, or `margin`: else it can never fire")
        for key, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, tuple) or (bound is not None and math.isinf(bound)):
                raise ValueError(f"`{key}` of the kind `uncertain` is one number")
        if self.low is not None and self.high is not None and self.low > self.high:  # type: ignore[operator]
            raise ValueError(f"`low` = {self.low}: at most `high`, which is {self.high}")

    def _check_bounds(self) -> None:
        if self.low is None and self.high is None:
            raise ValueError("the kind `outlying` needs `low`, `high` or both: else it can never fire")
        lows = self.low if isinstance(self.low, tuple) else (-math.inf if self.low is None else self.low,)
        highs = self.high if isinstance(self.high, tuple) else (math.inf if self.high is None else self.high,)
        if self.feature is not None and max(len(lows), len(highs)) > 1:
            raise ValueError("with `feature` there is one element: its bounds are single numbers")
        if len(lows) > 1 and len(highs) > 1 and len(lows) != len(highs):
            raise ValueError(f"`low` has {len(lows)} bounds and `high` has {len(highs)}: one for each element of a row")
        if all(math.isinf(each) for each in (*lows, *highs)):
            raise ValueError("-inf and inf bound nothing: it can never fire")
        many = max(len(lows), len(highs))
        for low, high in zip(lows * (many // len(lows)), highs * (many // len(highs)), strict=True):
            if low > high or low == math.inf or high == -math.inf:
                raise ValueError(f"`low` = {low}: at most `high`, which is {high}")


class HumilitySettings(Settings):
    """`[humility]`: predictions that are not to be trusted."""

    rules: tuple[HumilityRuleSettings, ...] = Field((), max_length=32)

    @field_validator("rules")
    @classmethod
    def _names_differ(cls, value: tuple[HumilityRuleSettings, ...]) -> tuple[HumilityRuleSettings, ...]:
        names = [rule.name for rule in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules are named '{twice}': replies and metrics could not tell them apart")
        return value
