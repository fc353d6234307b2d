"""How right a version is: sums of what came true, which are added up, and the figures that are read from them.

Labels have accuracy, numbers the mean absolute error, the root of the mean squared error, the bias (said less true)
and R². Where the highest of a version's scores is kept with its label, Brier score and log-loss are those of the *top
label*: how well the score tells whether the label is right (C. Gupta, A. Ramdas, "Top-label calibration and
multiclass-to-binary reductions", ICLR 2022). For two classes that is the usual log-loss; for more classes the usual one
would need all of the scores.

Between its `low` and `high` lies the true figure, each end errs once in a hundred (`core/interval`): Wilson's for the
accuracy, Student's for means, and for the root of a mean the roots of the ends of its interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from router.core.interval import share, student
from router.core.outcome import Array, Kind, Outcome

LEAST_SCORE: Final = 1e-7
"""A score that is surer than this counts as this: one error of a version that is altogether sure is not endless."""
ROUNDED: Final = 1e-9
"""Of the squares of what was true: a spread that is less of them may be what rounding left, and there is no R²."""


class Sum(IntEnum):
    """What is summed up, by its place in an array of sums."""

    SAID = 0
    """Predictions, whether they came true or not."""
    ROWS = 1
    """Those that came true."""
    RIGHT = 2
    OFF = 3
    OFF2 = 4
    OFF4 = 5
    """The second and the fourth power of how far each was off."""
    ERROR = 6
    """Said less true, of numbers."""
    TRUTH = 7
    TRUTH2 = 8
    """What was true less the `shift`, and its square."""
    SCORED = 9
    BRIER = 10
    BRIER2 = 11
    LOG = 12
    LOG2 = 13
    DELAY = 14
    """Seconds from what was said to when it was known."""


def nothing() -> Array:
    """The sums of nothing."""
    return np.zeros(len(Sum))


def terms(outcomes: Sequence[Outcome], shift: float) -> Array:
    """What each outcome adds to the sums [outcomes, sums]. `shift`: a number about as large as what is true."""
    made = np.zeros((len(outcomes), len(Sum)))
    if not outcomes:
        return made
    off = np.array([each.off for each in outcomes])
    with np.errstate(over="ignore"):
        made[:, Sum.OFF], made[:, Sum.OFF2] = off, off * off
        made[:, Sum.OFF4] = made[:, Sum.OFF2] ** 2
    made[:, Sum.ROWS], made[:, Sum.RIGHT] = 1.0, off == 0.0
    made[:, Sum.DELAY] = [max(each.joined_ns - each.at_ns, 0) / 1e9 for each in outcomes]
    if Kind.of(outcomes[0].form) is Kind.NUMBERS:
        with np.errstate(over="ignore", invalid="ignore"):
            truth = np.array([float(each.truth) for each in outcomes])
            made[:, Sum.ERROR] = np.array([float(each.value) for each in outcomes]) - truth
            made[:, Sum.TRUTH] = truth - shift
            made[:, Sum.TRUTH2] = made[:, Sum.TRUTH] ** 2
    else:
        _add_scores(made, outcomes)
    return made


def _add_scores(made: Array, outcomes: Sequence[Outcome]) -> None:
    """Only of scores that are shares: others say nothing of how sure a version is."""
    scores = np.array([math.nan if each.score is None else each.score for each in outcomes])
    fit = (scores >= 0.0) & (scores <= 1.0)
    sure = np.clip(scores[fit], LEAST_SCORE, 1.0 - LEAST_SCORE)
    right = made[fit, Sum.RIGHT]
    brier = (scores[fit] - right) ** 2
    lost = -(right * np.log(sure) + (1.0 - right) * np.log1p(-sure))
    made[fit, Sum.SCORED] = 1.0
    made[fit, Sum.BRIER], made[fit, Sum.BRIER2] = brier, brier * brier
    made[fit, Sum.LOG], made[fit, Sum.LOG2] = lost, lost * lost


@dataclass(frozen=True, slots=True)
class Figure:
    """A measure by its name, and between what the true one lies; None where nobody can say."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def headline(kind: Kind, sums: Array) -> Figure | None:
    """The one figure that matters most: the accuracy of labels, the mean absolute error of numbers; None of nothing."""
    rows = int(sums[Sum.ROWS])
    if not rows:
        return None
    if kind is Kind.LABELS:
        return _share("accuracy", int(sums[Sum.RIGHT]), rows)
    return _mean("mae", rows, float(sums[Sum.OFF]), float(sums[Sum.OFF2]), least=0.0)


def figures(kind: Kind, sums: Array) -> list[Figure]:
    """All of them that the sums hold, the most important first."""
    first = headline(kind, sums)
    if first is None:
        return []
    made = [first, *(_numbers(sums) if kind is Kind.NUMBERS else ())]
    scored = int(sums[Sum.SCORED])
    if scored:
        made.append(_mean("brier", scored, float(sums[Sum.BRIER]), float(sums[Sum.BRIER2]), least=0.0))
        made.append(_mean("log_loss", scored, float(sums[Sum.LOG]), float(sums[Sum.LOG2]), least=0.0))
    return [each for each in made if math.isfinite(each.value)]


def _numbers(sums: Array) -> list[Figure]:
    rows, squares = int(sums[Sum.ROWS]), float(sums[Sum.OFF2])
    square = _mean("mse", rows, squares, float(sums[Sum.OFF4]), least=0.0)
    made = [
        Figure("rmse", math.sqrt(square.value), _root(square.low), _root(square.high)),
        _mean("bias", rows, float(sums[Sum.ERROR]), squares),
    ]
    total = float(sums[Sum.TRUTH])
    spread = float(sums[Sum.TRUTH2]) - total / rows * total
    if rows > 1 and math.isfinite(spread) and spread > ROUNDED * sums[Sum.TRUTH2]:
        made.append(Figure("r2", 1.0 - squares / spread))
    return made


def _root(value: float | None) -> float | None:
    return None if value is None else math.sqrt(value)


def _share(name: str, hits: int, rows: int) -> Figure:
    part, within = hits / rows, share(hits, rows)
    return Figure(name, part, min(max(within.low, 0.0), part), max(min(within.high, 1.0), part))


def _mean(name: str, rows: int, total: float, squares: float, least: float = -math.inf) -> Figure:
    """Of so many values: their sum and that of their squares."""
    mean = total / rows
    if rows < 2 or not math.isfinite(squares) or not math.isfinite(mean):
        return Figure(name, mean)
    variance = max(squares - total / rows * total, 0.0) / (rows - 1)
    half = student(rows - 1) * math.sqrt(variance / rows)
    return Figure(name, mean, max(mean - half, least), mean + half)
