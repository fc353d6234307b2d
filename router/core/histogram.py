"""Histograms with log-spaced buckets: counts that can be added up, and the quantiles in them with their intervals.

An interval of a quantile comes from ranks alone and holds for any distribution: the number of values below the true
quantile is binomial (David and Nagaraja, Order Statistics, 3rd ed., 7.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from router.core.gate import Distribution

Z99: Final = 2.326
"""One-sided 99 % of the normal distribution."""
SHOWN_PER_OCTAVE: Final = 4
"""Buckets of a doubling that people are shown."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where buckets lie: `octave` for each doubling, from 2 to the power of `lowest` on; the ends take the rest."""

    lowest: int
    octave: int
    buckets: int

    def place(self, value: float) -> int:
        """The bucket of a value above 0."""
        if value <= 0:
            return 0
        return min(max(int((math.log2(value) - self.lowest) * self.octave), 0), self.buckets - 1)

    def start(self, place: int) -> float:
        """Where a bucket begins; one beyond the last one, where that ends."""
        return float(2.0 ** (self.lowest + place / self.octave))

    def middle(self, place: int) -> float:
        """What a value of the bucket is taken to be."""
        return float(2.0 ** (self.lowest + (place + 0.5) / self.octave))


TIMES: Final = Scale(-20, 8, 240)
"""Seconds, from about 1 µs to 17 minutes; the middle of a bucket is at most 4.5 % off."""
RATIOS: Final = Scale(-7, 16, 224)
"""From 1/128 to 128; at most 2.2 % off."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of what was counted, with the ends of its two one-sided intervals of 99 %."""

    value: float
    low: float
    high: float


def quantile(counts: Sequence[int], scale: Scale, q: float) -> Quantile | None:
    """The value that a share `q` of all does not exceed; None without any."""
    upto = list(accumulate(counts))
    total = upto[-1] if upto else 0
    if not total:
        return None
    spread = Z99 * math.sqrt(total * q * (1 - q))

    def ranked(rank: float) -> int:
        wanted = min(max(math.ceil(rank), 1), total)
        return next(place for place, have in enumerate(upto) if have >= wanted)

    middle, low, high = ranked(q * total), ranked(q * total - spread), ranked(q * total + spread)
    return Quantile(scale.middle(middle), scale.start(low), scale.start(high + 1))


def distribution(name: str, unit: str, counts: Sequence[int], scale: Scale, times: float = 1.0) -> Distribution:
    """For people: fewer buckets, the empty ends cut off. Bounds are multiplied by `times`, as from seconds to ms."""
    wide = max(scale.octave // SHOWN_PER_OCTAVE, 1)
    merged = [sum(counts[at : at + wide]) for at in range(0, len(counts), wide)]
    used = [place for place, count in enumerate(merged) if count]
    if not used:
        return Distribution(name, unit, (), ())
    first, last = used[0], used[-1]
    bounds = tuple(scale.start(place * wide) * times for place in range(first, last + 2))
    return Distribution(name, unit, bounds, tuple(merged[first : last + 1]))
