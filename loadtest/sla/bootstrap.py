"""How sure a ratio of percentiles is.

Latencies of neighbouring requests depend on each other, so single requests must not be resampled: stretches of time
are (the block bootstrap; Künsch, The Jackknife and the Bootstrap for General Stationary Observations, 1989).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loadtest.sla.figures import Latencies

Counts = npt.NDArray[np.int64]
"""One row a stretch of time: how often each value came."""
Values = npt.NDArray[np.float64]

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
FEWEST: Final = 5
"""Fewer stretches than that are not resampled."""
DIGITS: Final = 3
"""To which values are rounded before they are counted."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A percentile in seconds, that of what it is compared with, and one divided by the other, with its interval.

    `count` and `base_count` values were compared. None where there are no values, or too few stretches to resample.
    """

    count: int
    base_count: int
    seconds: float | None = None
    base: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.ratio is None:
            return "–"
        return f"×{self.ratio:.2f}" + ("" if self.low is None else f" [{self.low:.2f}–{self.high:.2f}]")


def interval(counts: Counts, base: Counts, values: Values, share: float, seed: int = 1) -> tuple[float, float] | None:
    """The interval of the ratio of two percentiles, `counts` against `base`; None for too few stretches."""
    if min(len(counts), len(base)) < FEWEST:
        return None
    random = np.random.default_rng(seed)
    draws = []
    for rows in (counts, base):
        picked = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES)
        # As floating numbers the product takes a hundredth of the time, and such counts are exact in them.
        draws.append(_quantiles(picked.astype(np.float64) @ rows.astype(np.float64), values, share))
    ratios = draws[0] / draws[1]
    tail = (1 - CONFIDENCE) / 2
    return float(np.quantile(ratios, tail)), float(np.quantile(ratios, 1 - tail))


def _quantiles(counts: Values, values: Values, share: float) -> Values:
    """For each row of counts the value that a share of them does not exceed."""
    ends = np.cumsum(counts, axis=-1)
    places = (ends < np.ceil(ends[:, -1:] * share)).sum(axis=-1)
    found: Values = values[np.minimum(places, len(values) - 1)]
    return found


def ratio(stretches: Sequence[Values], base: Sequence[Values], name: str, share: float, seed: int = 1) -> Ratio:
    """The percentile `name` (a field of Latencies), which is that of `share`, over stretches of latencies in seconds
    against that over others."""
    mine, theirs = [each for each in stretches if len(each)], [each for each in base if len(each)]
    pooled, pooled_base = (np.concatenate([*each, np.zeros(0)]) for each in (mine, theirs))
    count, base_count = len(pooled), len(pooled_base)
    seconds = getattr(Latencies.of(pooled), name) if count else None
    against = getattr(Latencies.of(pooled_base), name) if base_count else None
    if seconds is None or not against:
        return Ratio(count, base_count, seconds, against)
    rounded = _rounded(np.concatenate([pooled, pooled_base]))
    values, places = np.unique(rounded, return_inverse=True)
    counts = _counted(places[:count], mine, len(values))
    found = interval(counts, _counted(places[count:], theirs, len(values)), values, share, seed)
    low, high = found or (None, None)
    return Ratio(count, base_count, seconds, against, seconds / against, low, high)


def _rounded(seconds: Values) -> Values:
    """To so many digits: what nobody can tell apart need not be counted apart."""
    safe = np.maximum(seconds, 1e-6)
    unit = 10.0 ** (np.floor(np.log10(safe)) - DIGITS + 1)
    rounded: Values = np.round(safe / unit) * unit
    return rounded


def _counted(places: npt.NDArray[Any], stretches: Sequence[Values], width: int) -> Counts:
    rows = np.repeat(np.arange(len(stretches)), [len(each) for each in stretches])
    flat = np.bincount(rows * width + places, minlength=len(stretches) * width)
    return flat.reshape(len(stretches), width).astype(np.int64)
