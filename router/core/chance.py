"""How often chance alone would bring what was seen, or more: exact tails, from plain counts."""

from __future__ import annotations

import math
from typing import Final

_ENOUGH: Final = 1e-15
"""Terms that are smaller than this part of the sum do not matter any more."""


def fisher(hits: int, tries: int, control_hits: int, control_tries: int) -> float:
    """That of all hits of both so many or more fall on the first by chance, if both have the same share of hits.

    Fisher's exact test, one-sided (Fisher 1934, Statistical Methods for Research Workers, 5th ed., 21.02): it holds
    whatever the share is, and however it changes meanwhile, as long as chance alone says who gets which try. Where the
    first has no larger share than the control, the answer is 1: nothing speaks for a difference.
    """
    if not tries or not control_tries or hits * control_tries <= control_hits * tries:
        return 1.0
    both, all_tries = hits + control_hits, tries + control_tries
    log = _choose(both, hits) + _choose(all_tries - both, tries - hits) - _choose(all_tries, tries)
    term = total = math.exp(min(log, 0.0))
    for each in range(hits, min(tries, both)):
        term *= (both - each) * (tries - each) / ((each + 1) * (all_tries - both - tries + each + 1))
        total += term
        if term < total * _ENOUGH:
            break
    return min(total, 1.0)


def binomial(hits: int, tries: int, rate: float) -> float:
    """That so many or more of the tries hit by chance, each with `rate`; 1 where their share is no more than that."""
    if hits <= rate * tries:
        return 1.0
    if rate <= 0.0:
        return 0.0
    log = _choose(tries, hits) + hits * math.log(rate) + (tries - hits) * math.log1p(-rate)
    term = total = math.exp(min(log, 0.0))
    for each in range(hits, tries):
        term *= (tries - each) / (each + 1) * rate / (1 - rate)
        total += term
        if term < total * _ENOUGH:
            break
    return min(total, 1.0)


def _choose(n: int, k: int) -> float:
    """The logarithm of the number of ways to take `k` of `n`."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
