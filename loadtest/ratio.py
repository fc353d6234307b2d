"""Ratios of throughput, measured in pairs: what was true in one round, and how sure the rounds make us.

A machine shared with others drifts by tens of percent in minutes. Servers measured one after the other in the same
round meet the same machine: their ratio is worth more than either figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median over rounds, an interval for it, and how often such an interval holds the true median (0–1)."""

    median: float
    low: float
    high: float
    confidence: float
    rounds: tuple[float, ...]

    def meets(self, target: float) -> bool:
        """Whether the median reaches the target."""
        return self.median >= target

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}–{self.high:.2f}]"


def ratio(ours: Sequence[float], *peers: Sequence[float]) -> Ratio:
    """Ours to the best of the peers, round by round (requests/s, more is better).

    Raises ValueError when there are no rounds, when lengths differ, or when a peer has done nothing.
    """
    rounds = [mine / max(theirs) for mine, *theirs in zip(ours, *peers, strict=True)]
    return interval(rounds)


def interval(values: Sequence[float], confidence: float = 0.95) -> Ratio:
    """The median with the narrowest pair of order statistics that holds the true one with `confidence`.

    No distribution is assumed (David and Nagaraja, Order Statistics, section 7.1): n values lie on either side of the
    median like n tosses of a coin. Fewer than six values cannot reach 95 %: then it is their whole range, and
    `confidence` of the result says what that is worth (five values: 94 %).
    """
    if not values:
        raise ValueError("no rounds were measured")
    ordered = sorted(values)
    count = len(ordered)
    inner = 0
    while 2 * (inner + 1) < count and _coverage(count, inner + 1) >= confidence:
        inner += 1
    return Ratio(
        median=median(ordered),
        low=ordered[inner],
        high=ordered[count - 1 - inner],
        confidence=_coverage(count, inner),
        rounds=tuple(values),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0–1) of the values do not exceed."""
    if not values:
        raise ValueError("no values to rank")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _coverage(count: int, inner: int) -> float:
    """How often the true median lies between the order statistics `inner` and `count - 1 - inner` (from 0)."""
    tail: int = sum(math.comb(count, k) for k in range(inner + 1))
    return max(0.0, 1.0 - 2.0 * tail / 2.0**count)
