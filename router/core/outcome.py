"""Predictions and what came true for them, as the accuracy of a version is reckoned from them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

import numpy as np

from router.core.prediction import Form, Value

Array = np.ndarray[Any, Any]

SLOT_NS: Final = 10 * 10**9
"""The finest part of time: predictions, and what came true, are counted together that fall into the same."""
MOST_LOSS: Final = 1e100
"""Its square is a number still."""


class Kind(StrEnum):
    """What a version says, and so by what it is measured."""

    LABELS = "labels"
    NUMBERS = "numbers"

    @classmethod
    def of(cls, form: Form) -> Kind:
        """Of what a prediction says."""
        return cls.NUMBERS if form is Form.NUMBER else cls.LABELS


class Outcome(NamedTuple):
    """A prediction that came true or did not: said at `at_ns`, known at `joined_ns`, both since 1970.

    `off` is how far it was off (`core/prediction`), `score` the highest of its scores, where there are scores. Rows
    of a request that came true together have the same `turn`.
    """

    version: str
    request: str
    turn: int
    at_ns: int
    joined_ns: int
    form: Form
    value: Value
    truth: Value
    off: float
    score: float | None = None


class Said(NamedTuple):
    """How many predictions a version made in one slot of time (`SLOT_NS`), whether they came true or not."""

    version: str
    form: Form
    slot: int
    rows: int


class Losses(NamedTuple):
    """How wrong a version was about requests, in the order in which that was known: each a request's mean over its rows
    that came true together, 1 for a wrong label, the distance of a number. `slots` say when it was known."""

    losses: Array
    slots: Array


def losses(outcomes: Iterable[Outcome]) -> Losses:
    """Of one version. Rows of one request hang together, so a request counts once."""
    by_request: dict[tuple[int, str], list[Outcome]] = {}
    for each in outcomes:
        by_request.setdefault((each.turn, each.request), []).append(each)
    means = [min(sum(each.off for each in rows) / len(rows), MOST_LOSS) for rows in by_request.values()]
    slots = [rows[0].joined_ns // SLOT_NS for rows in by_request.values()]
    return Losses(np.array(means, np.float64), np.array(slots, np.int64))
