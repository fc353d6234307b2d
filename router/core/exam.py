"""The exam: whether a version answers the operator's labelled rows as well as the champion does.

Both answer the same rows, so what is compared is the difference of each row. A version fails when it was worse than
the margin *and* is worse at all beyond chance; it is warned of when the rows are too few to rule out a loss of twice
the margin.

What that can tell. Of equal versions one in a hundred at most fails, whatever the rows. That a version which is 3
points less accurate is caught is another matter: it depends on how many rows the two answer differently, since only
those tell them apart. Where the worse one errs on the champion's errors and 3 points more (a retrained model mostly
does), 2 000 rows catch more than 99 of 100. So they do when its errors are altogether its own and accuracies lie at 98
and 95 %. At 90 and 87 % with independent errors the difference of 2 000 rows is 3 points give or take 1.01 (one
standard deviation): no rule can then catch 99 % and reject but 1 % of equal ones, that takes 2.33 + 2.33 deviations
and 4 900 rows. This one rejects 1 % and catches three in four, and the report says how many rows would be enough. A
version that *was* 3 points worse on those very rows is caught there too: that is 2.97 deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from router.core.gate import Outcome, Verdict
from router.core.interval import LEVEL, Interval, around, lost_more, paired_shares, rows_needed, share
from router.core.marking import GROWS, TITLES, Array, Marks, Sheet, answers, marks, positives
from router.errors import SettingsError
from router.version_settings import GatesSettings, Metric

EXAM: Final = "exam"
MARGINS: Final[Mapping[Metric, float]] = {
    "accuracy": 0.015,
    "auc": 0.015,
    "log_loss": 0.05,
    "mae": 0.05,
    "rmse": 0.05,
}
"""Half of what is to be caught: in shares, for errors relative to the champion's."""
CAUGHT: Final = 2.0
"""A loss of so many margins is to be caught."""

_UNITS: Final[Mapping[Metric, str]] = {"accuracy": "_share", "auc": "_share", "log_loss": "_nats"}
"""Mean errors have the unit of the labels."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much worse than the champion's a figure is, negative where it is better, in the figure's own unit.

    `needed` rows would be enough to tell a loss of twice the `margin`.
    """

    worse: float
    interval: Interval
    margin: float
    needed: float

    @property
    def verdict(self) -> Verdict:
        """By the margin and the interval both."""
        if self.worse > self.margin and self.interval.low > 0.0:
            return Verdict.FAIL
        return Verdict.WARN if self.interval.high > CAUGHT * self.margin else Verdict.PASS


def compare(metric: Metric, candidate: Marks, champion: Marks, margin: float | None = None) -> Comparison:
    """Two versions on the same rows. `margin` as in the settings; None is the usual one."""
    margin = MARGINS[metric] if margin is None else margin
    if metric not in GROWS:
        margin *= champion.loss
    worse = candidate.loss - champion.loss
    differences = candidate.parts - champion.parts
    if metric == "accuracy":
        lost, won = int(np.sum(differences > 0)), int(np.sum(differences < 0))
        interval = paired_shares(lost, won, len(differences))
        if interval.low > 0.0 and not lost_more(lost, won):
            interval = Interval(0.0, interval.high, interval.spread)
    else:
        interval = around(worse, differences)
    return Comparison(worse, interval, margin, rows_needed(interval.spread, CAUGHT * margin))


def exam_gate(
    asked: Sheet,
    labels: Array,
    candidate: Mapping[str, Array],
    champion: Mapping[str, Array] | None,
    settings: GatesSettings,
) -> Outcome:
    """The verdict on all figures that are asked for. Outputs are by name, their rows those of `labels` [rows].

    `champion` None: there is none, or it cannot answer. Raises SettingsError where labels and answers do not go
    together.
    """
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    figures: dict[str, float] = {"rows": float(len(labels))}
    for metric in asked.metrics:
        verdict, reason = _graded(metric, asked, labels, candidate, champion, settings, figures)
        verdicts.append(verdict)
        reasons.append(reason)
    worst = next(each for each in (Verdict.FAIL, Verdict.WARN, Verdict.PASS) if each in verdicts)
    return Outcome(EXAM, worst, "; ".join(reasons), blocks=True, figures=figures)


def _graded(
    metric: Metric,
    asked: Sheet,
    labels: Array,
    candidate: Mapping[str, Array],
    champion: Mapping[str, Array] | None,
    settings: GatesSettings,
    figures: dict[str, float],
) -> tuple[Verdict, str]:
    """One figure's verdict and reason; what it measured is added to `figures`."""
    ours = answers(metric, asked, candidate, labels)
    theirs, why = _of_champion(metric, asked, champion, labels)
    both = np.isfinite(ours) if theirs is None else np.isfinite(ours) & np.isfinite(theirs)
    missing = int(np.sum(~np.isfinite(ours) & (np.isfinite(theirs) if theirs is not None else True)))
    if missing:
        figures[f"{metric}_rows_without_answer"] = float(missing)
        return Verdict.FAIL, f"{missing} of {len(labels)} rows have no finite answer"
    positive = positives(asked, labels)[both] if metric == "auc" else None
    if not both.any() or (positive is not None and len(np.unique(positive)) < 2):
        return Verdict.WARN, f"{TITLES[metric]}: the champion has no finite answer that could be compared with"
    own = marks(metric, ours[both], positive)
    unit = _UNITS.get(metric, "")
    figures[f"{metric}{unit}"] = own.value
    verdict, reason = Verdict.PASS, f"{TITLES[metric]} {_number(own.value)}"
    if theirs is None:
        if metric == "accuracy":
            interval = share(round(own.value * len(ours)), len(ours))
            reason += f" ({LEVEL} {_number(interval.low)} to {_number(interval.high)})"
        reason += f" on {len(ours)} rows; {why}"
    else:
        other = marks(metric, theirs[both], positive)
        found = compare(metric, own, other, settings.margins.get(metric))
        verdict = found.verdict
        reason += _compared(metric, found, other, int(both.sum()))
        figures |= {
            f"champion_{metric}{unit}": other.value,
            f"{metric}_worse{unit}": found.worse,
            f"{metric}_worse_low{unit}": found.interval.low,
            f"{metric}_worse_high{unit}": found.interval.high,
            f"{metric}_margin{unit}": found.margin,
        }
        if np.isfinite(found.needed):
            figures[f"{metric}_rows_needed"] = float(found.needed)
    required = settings.required.get(metric)
    if required is not None:
        figures[f"{metric}_required{unit}"] = required
        if own.value < required if metric in GROWS else own.value > required:
            bound = "least" if metric in GROWS else "most"
            return Verdict.FAIL, f"{reason}; `gates.required` asks for at {bound} {_number(required)}"
    return verdict, reason


def _of_champion(
    metric: Metric, asked: Sheet, champion: Mapping[str, Array] | None, labels: Array
) -> tuple[Array | None, str]:
    """The champion's answers, or None and the reason why there are none."""
    if champion is None:
        return None, "there is no champion to compare with"
    try:
        return answers(metric, asked, champion, labels), ""
    except SettingsError as error:
        return None, f"the champion cannot be compared with: {error}"
    except (KeyError, ValueError):  # its outputs are others
        return None, "the champion cannot be compared with: its outputs are others"


def _compared(metric: Metric, found: Comparison, champion: Marks, rows: int) -> str:
    """In a person's words."""
    low, high = found.interval.low, found.interval.high
    ends = sorted((low, high) if found.worse >= 0 else (-low, -high))
    if metric in GROWS:
        better = "worse" if found.worse >= 0 else "better"
        amount = f"{abs(found.worse) * 100:.1f} points {better} ({LEVEL} {ends[0] * 100:.1f} to {ends[1] * 100:.1f})"
        allowed = f"{found.margin * 100:.3g} points"
    else:
        better = "more" if found.worse >= 0 else "less"
        amount = f"{_number(abs(found.worse))} {better} ({LEVEL} {_number(ends[0])} to {_number(ends[1])})"
        allowed = f"{_number(found.margin)} more"
    text = f", the champion's {_number(champion.value)}: {amount} on {rows} rows"
    if found.verdict is Verdict.FAIL:
        return f"{text}; at most {allowed} {'worse ' if metric in GROWS else ''}is allowed"
    if found.verdict is Verdict.WARN:
        enough = f"about {found.needed:.0f} would be" if np.isfinite(found.needed) else "more are needed"
        return f"{text}; too few to tell whether it is within {allowed}, {enough}"
    return text


def _number(value: float) -> str:
    return f"{value:.4g}"
