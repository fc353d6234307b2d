"""How a version has done for its callers: counters that only grow, so that two instants make what lay between them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from router.core.latency import upper_bound_seconds


@dataclass(frozen=True, slots=True)
class Vitals:
    """What callers had of a version.

    `requests` are all that have ended, but for those whose callers went away. `failures` are the requests among them
    that had no answer: a run failed or broke the contract, the time was over, or the version turned them away.
    `fallbacks` are those that something else answered. `buckets` count the times to the version's own answers, by the
    bounds of `core/latency`.
    """

    requests: int = 0
    failures: int = 0
    fallbacks: int = 0
    buckets: tuple[int, ...] = ()

    def __add__(self, other: Vitals) -> Vitals:
        return Vitals(
            self.requests + other.requests,
            self.failures + other.failures,
            self.fallbacks + other.fallbacks,
            _added(self.buckets, other.buckets),
        )

    def since(self, before: Vitals) -> Vitals | None:
        """What came after `before`. None where a counter has fallen: it began anew meanwhile, nobody knows when."""
        buckets = _added(self.buckets, [-count for count in before.buckets])
        requests, failures = self.requests - before.requests, self.failures - before.failures
        fallbacks = self.fallbacks - before.fallbacks
        if min(requests, failures, fallbacks, *buckets, 0) < 0:
            return None
        return Vitals(requests, failures, fallbacks, buckets)

    def plain(self) -> dict[str, Any]:
        """As plain JSON values, from which `vitals_of` makes the same."""
        return {**self.counts(), "buckets": list(self.buckets)}

    def counts(self) -> dict[str, int]:
        """The same without times."""
        return {"requests": self.requests, "failures": self.failures, "fallbacks": self.fallbacks}

    @property
    def timed(self) -> int:
        """Answers whose time is known."""
        return sum(self.buckets)

    def above(self, seconds: float) -> float:
        """How many answers took longer.

        Exact at the bounds of buckets; between two of them the logarithm of the count is taken to be a straight line
        over the logarithm of the time, so that times which are all doubled give all quantiles doubled.
        """
        place, part = _place(seconds)
        over = sum(self.buckets[place + 1 :])
        if not part or not sum(self.buckets):
            return float(over)
        low = over + (self.buckets[place] if place < len(self.buckets) else 0)
        return _between(low, over, part) if low else 0.0

    def quantile(self, q: float) -> float | None:
        """The time in seconds that a share `q` of the answers do not exceed, found as in `above`; None without any."""
        left = self.timed
        if not left:
            return None
        wanted = max((1 - q) * left, _HALF)
        for place, count in enumerate(self.buckets):
            over = left - count
            if over <= wanted:
                span = math.log(left / max(over, _HALF))
                part = min(math.log(left / wanted) / span, 1.0) if span else 1.0
                return float(upper_bound_seconds(place) * 2.0 ** (part - 1))
            left = over
        return upper_bound_seconds(len(self.buckets) - 1)


AllVitals = Mapping[tuple[str, str], Vitals]
"""By model and number."""
VitalsOf = Callable[[], Awaitable[AllVitals]]
"""Asks for those of all versions. Raises RouterError where they cannot be had."""


def vitals_of(plain: Mapping[str, Any]) -> Vitals:
    """Those of which these are the plain values; times may be missing.

    Raises KeyError, TypeError, ValueError, AttributeError, OverflowError: who reads them knows what they are part of.
    """
    requests, failures, fallbacks = [int(plain[name]) for name in ("requests", "failures", "fallbacks")]
    return Vitals(requests, failures, fallbacks, tuple([int(each) for each in plain.get("buckets", ())]))


_HALF = 0.5
"""Stands for none where a logarithm is taken."""


def _added(mine: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple([a + b for a, b in zip_longest(mine, other, fillvalue=0)])


def _place(seconds: float) -> tuple[int, float]:
    """The bucket of a time, and how far it lies in it, in octaves below its upper bound; 0: at the bound itself."""
    if seconds <= 0:
        return 0, 1.0
    octaves = math.log2(seconds / upper_bound_seconds(0))
    place = max(math.ceil(octaves - 1e-9), 0)
    part = max(place - octaves, 0.0)
    return place, min(part, 1.0) if part > 1e-9 else 0.0


def _between(low: float, over: float, part: float) -> float:
    """Between the counts above the lower and the upper bound of a bucket, `part` of an octave below the upper one."""
    return float(math.exp(part * math.log(low) + (1 - part) * math.log(max(over, _HALF))))
