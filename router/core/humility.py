"""Humility: rules of a model's owner on which of its predictions are not to be trusted, over all rows of a run at once.

A rule looks at one input or one output and says of each row whether it fires there:

- `uncertain`: the model itself is in doubt. The top score of the row is within bounds or below one, or it leads the
  second one by less than a margin (the margin of Scheffer, Decomain and Wrobel, "Active Hidden Markov Models for
  Information Extraction", 2001).
- `outlying`: an input lies beyond bounds, where nobody knows what the model says. NaN lies there too.
- `low_observation`: an input holds a category that is not among the known ones.

All rules judge what came and what the model said, never what another rule has put in its place. They are made once for
a version, by `core/humility_terms`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

import numpy as np

from router.core.contract import FEW

Array = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Then = Literal["override", "error", "note"]

HALVES: Final = frozenset(("FP16", "BF16"))
"""Compared as FP32, which holds each of their numbers: numpy does not do all it does to others to these."""
NAMED: Final = 64
"""Rows that a mark names; of more it says how many there are."""
_LISTED: Final = 8
"""The same, of the words to a person."""


class Condition(Protocol):
    """What a rule asks of each row."""

    @property
    def said(self) -> str:
        """What is said of a tensor in whose rows it fires: the words before `in row 3`."""

    def fired(self, values: Array) -> Mask:
        """For each row, the first size of the tensor, whether it fires; a scalar is one row."""


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Fires where the top score is below `low`, or with `high` from `low` to `high`, both included; and where it leads
    the second one by less than `margin`. NaN is uncertain. A row without scores is not, nor is one of a single score by
    its margin.
    """

    low: float | None = None
    high: float | None = None
    margin: float | None = None
    halves: bool = False

    @property
    def said(self) -> str:
        """See `Condition`."""
        return "is uncertain"

    def fired(self, values: Array) -> Mask:
        """See `Condition`."""
        scores = _by_row(values)
        if self.halves:
            scores = scores.astype(np.float32)
        rows, width = scores.shape
        found = np.zeros(rows, np.bool_)
        if not width:
            return found
        if self.margin is not None and width > 1:
            best = np.partition(scores, width - 2, axis=1)
            found |= ~(best[:, -1] - best[:, -2] >= self.margin)
        if self.low is not None:
            top = scores.max(axis=1) if width > 1 else scores[:, 0]
            if self.high is None:
                found |= ~(top >= self.low)
            else:
                found |= ~((top < self.low) | (top > self.high))
        return found


@dataclass(frozen=True, slots=True)
class Outlying:
    """Fires where an element is below `low` or above `high`, or is NaN. Bounds are single or one for each element of a
    row, in the datatype of the input (`halves`: in FP32); None: there is none. `feature`: only this element is looked
    at.
    """

    low: Array | None
    high: Array | None
    feature: int | None = None
    halves: bool = False

    @property
    def said(self) -> str:
        """See `Condition`."""
        return "is beyond its bounds"

    def fired(self, values: Array) -> Mask:
        """See `Condition`."""
        elements = _elements(values, self.feature)
        if self.halves:
            elements = elements.astype(np.float32)
        if self.low is None:
            return _some_not(elements <= self.high)
        within = elements >= self.low
        if self.high is not None:
            within &= elements <= self.high
        return _some_not(within)


@dataclass(frozen=True, slots=True)
class LowObservation:
    """Fires where an element is not one of the `known`; NaN is none. `numbers` are these in the datatype of the input
    (halves: in FP32), None for text."""

    known: frozenset[int | str]
    numbers: Array | None
    feature: int | None = None

    @property
    def said(self) -> str:
        """See `Condition`."""
        return "holds an unknown category"

    def fired(self, values: Array) -> Mask:
        """See `Condition`."""
        elements = _elements(values, self.feature)
        numbers = self.numbers
        if numbers is not None and elements.dtype != numbers.dtype:
            elements = elements.astype(numbers.dtype)
        if numbers is None or elements.size <= FEW:
            known = self.known
            return np.array([not known.issuperset(row) for row in elements.tolist()], np.bool_)
        return _some_not(np.isin(elements, numbers))


def _some_not(holds: Array) -> Mask:
    """The rows in which something does not hold."""
    found: Mask = np.logical_not(holds.all(axis=1))
    return found


def _by_row(values: Array) -> Array:
    """As [rows, elements of a row]."""
    if values.ndim == 2:
        return values
    if not values.ndim:
        return values.reshape(1, 1)
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _elements(values: Array, feature: int | None) -> Array:
    """As [rows, elements that are looked at]: none where a row is too short for the feature."""
    elements = _by_row(values)
    return elements if feature is None else elements[:, feature : feature + 1]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule on the input or output `tensor`. `override` has for each output the value of one row, or a single one
    for all elements of it."""

    name: str
    then: Then
    of_input: bool
    tensor: str
    test: Condition
    override: Mapping[str, Array]

    def told(self, rows: Sequence[int]) -> str:
        """What is the matter in these rows, for a person; in one line."""
        listed = ", ".join(map(str, rows[:_LISTED]))
        more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
        side = "input" if self.of_input else "output"
        return f"{side} '{self.tensor[:80]}' {self.test.said} in row{'s' if len(rows) > 1 else ''} {listed}{more}"


class Fired(NamedTuple):
    """A rule, and for each row of a run whether it fired there."""

    rule: Rule
    rows: Mask


@dataclass(frozen=True, slots=True)
class Humility:
    """The rules of a version, in the order of its settings."""

    rules: tuple[Rule, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that rules look at, each once."""
        return tuple(dict.fromkeys(rule.tensor for rule in self.rules if not rule.of_input))

    def judge(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], rows: int) -> list[Fired]:
        """The rules that fire in a run of so many rows. What was not given to the model is not judged.

        Where a tensor has another number of rows nobody knows which is whose: what fires in one fires in all.
        """
        found: list[Fired] = []
        if not rows:
            return found
        with np.errstate(invalid="ignore", over="ignore"):
            for rule in self.rules:
                values = (inputs if rule.of_input else outputs).get(rule.tensor)
                if values is None:
                    continue
                fired = rule.test.fired(values)
                if fired.any():
                    found.append(Fired(rule, fired if len(fired) == rows else np.ones(rows, np.bool_)))
        return found


def overridden(fired: Sequence[Fired], names: Sequence[str], outputs: Sequence[Array]) -> list[Array]:
    """The outputs of these names with the values that rules put into the rows in which they fired.

    Of two values for one place the one of the rule that stands first is taken. Outputs that stay as they are come back
    themselves; the others are copies. An output with another number of rows than the run gets the value everywhere.
    """
    made = list(outputs)
    own: set[int] = set()
    for rule, rows in reversed(fired):
        for name, value in rule.override.items():
            if name not in names:
                continue
            at = names.index(name)
            if at not in own:
                own.add(at)
                made[at] = made[at].astype(object) if value.dtype == object else made[at].copy()
            if len(made[at]) == len(rows):
                made[at][rows] = value
            elif rows.any():
                made[at][...] = value
    return made


def rows_told(rows: Sequence[int]) -> str:
    """Rows by their numbers from 0, bounded: `0,3,4`, or `0,1,…,63,+136` of two hundred."""
    listed = ",".join(map(str, rows[:NAMED]))
    return f"{listed},+{len(rows) - NAMED}" if len(rows) > NAMED else listed
