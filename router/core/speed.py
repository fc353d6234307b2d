"""Whether a version is fast enough: for the promise to callers, and beside the champion, with which it took turns.

Machines are busy, and a run that was held up says nothing of the model. So nothing is decided by means: by medians and
lower quartiles, and by counts of runs that were too long, where they are more than chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router.core.gate import Outcome, Verdict
from router.core.interval import ERROR, median_low, tail

SPEED: Final = "speed"
TAIL: Final = 0.01
"""This share of the runs may be above the SLA: it is the 99th percentile that has to be below."""
FEW: Final = 7
"""Of fewer pairs of runs the least ones decide."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of runs of so many `rows` [runs]; run i of the champion came right before or after run i."""

    rows: int
    candidate: Array
    champion: Array | None = None

    @property
    def name(self) -> str:
        """In figures and reasons."""
        return "single" if self.rows == 1 else "batch"


def slower(times: Times) -> float:
    """How many times the champion's time a run takes at least, whatever the noise; 0 where that is not known.

    The lower of two: of the ratios of neighbours what their median is not below but once in a hundred, and the ratio
    of the lower quartiles. Runs that were held up move neither, unless they are most.
    """
    ours, theirs = times.candidate, times.champion
    if theirs is None or not len(ours) or not len(theirs):
        return 0.0
    ours, theirs = np.maximum(ours, 1e-9), np.maximum(theirs, 1e-9)
    pairs = min(len(ours), len(theirs))
    if pairs < FEW:
        return float(min(np.median(ours) / np.median(theirs), ours.min() / theirs.min()))
    ratios = ours[:pairs] / theirs[:pairs]
    return float(min(median_low(ratios), np.quantile(ours, 0.25) / np.quantile(theirs, 0.25)))


def late(seconds: Array, sla_s: float) -> bool:
    """Whether the 99th percentile is above the SLA, beyond chance; where the median is, that needs no proof."""
    return float(np.median(seconds)) > sla_s or tail(int(np.sum(seconds > sla_s)), len(seconds), TAIL) <= ERROR


def speed_gate(measured: Sequence[Times], sla_s: float | None, slowdown: float) -> Outcome:
    """Fails for single runs above the SLA where the champion's are not, and for runs `slowdown` times the champion's.

    Batches above the SLA are only warned of: the router never makes one that it expects to take too long.
    """
    fails: list[str] = []
    warns: list[str] = []
    figures: dict[str, float] = {"slowdown_limit": slowdown}
    if sla_s is not None:
        figures["sla_ms"] = sla_s * 1e3
    for times in measured:
        _figures(times, figures)
        what = "a single run" if times.rows == 1 else f"a batch of {times.rows} rows"
        factor = slower(times)
        if factor > slowdown:
            assert times.champion is not None
            ours, theirs = _ms(np.median(times.candidate)), _ms(np.median(times.champion))
            factor_said = f"at least {factor:.1f} times the champion's, at most {slowdown:g} times is allowed"
            fails.append(f"{what} takes {ours}, the champion's {theirs}: {factor_said}")
        if sla_s is None or not len(times.candidate):
            continue
        p99 = _ms(np.quantile(times.candidate, 0.99))
        if late(times.candidate, sla_s):
            same = times.champion is not None and len(times.champion) and late(times.champion, sla_s)
            (warns if same or times.rows > 1 else fails).append(
                f"{what}: the 99th percentile is {p99}, above the SLA of {_ms(sla_s)}"
                f"{'; so is the champion' if same else ''}"
            )
    verdict = Verdict.FAIL if fails else Verdict.WARN if warns else Verdict.PASS
    reason = "; ".join(fails + warns) or _passed(measured, sla_s)
    return Outcome(SPEED, verdict, reason, blocks=True, figures=figures)


def _figures(times: Times, figures: dict[str, float]) -> None:
    for whose, seconds in (("", times.candidate), ("champion_", times.champion)):
        if seconds is not None and len(seconds):
            for percent in (50, 99):
                value = float(np.quantile(seconds, percent / 100)) * 1e3
                figures[f"{whose}{times.name}_p{percent}_ms"] = value
            figures[f"{whose}{times.name}_runs"] = float(len(seconds))
    if times.rows > 1:
        figures["batch_rows"] = float(times.rows)
    if times.champion is not None and len(times.champion) and len(times.candidate):
        middle = np.median(times.candidate) / max(float(np.median(times.champion)), 1e-9)
        figures[f"{times.name}_ratio"] = float(middle)
        figures[f"{times.name}_ratio_low"] = slower(times)


def _passed(measured: Sequence[Times], sla_s: float | None) -> str:
    parts = []
    for times in measured:
        if not len(times.candidate):
            continue
        what = "single" if times.rows == 1 else f"batches of {times.rows} rows"
        text = f"{what} {_ms(np.median(times.candidate))}, 99 % within {_ms(np.quantile(times.candidate, 0.99))}"
        if times.champion is not None and len(times.champion):
            text += f" (the champion {_ms(np.median(times.champion))})"
        parts.append(text)
    promise = "no SLA is set" if sla_s is None else f"the SLA is {_ms(sla_s)}"
    return "; ".join([*parts, promise])


def _ms(seconds: float | np.floating[Any]) -> str:
    return f"{float(seconds) * 1e3:.3g} ms"
