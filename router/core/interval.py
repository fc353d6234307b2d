"""Intervals: between what a true figure may lie, given what was measured. Each end errs once in a hundred.

So what is said to be worse is worse, but for one in a hundred; and what lies between both ends cannot be told apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np

ERROR: Final = 0.01
"""How often the true figure lies below the low end; as often it lies above the high one."""
Z: Final = NormalDist().inv_cdf(1.0 - ERROR)
LEVEL: Final = f"{100 * (1 - 2 * ERROR):.0f} % interval"
"""As a reason names it."""

_LN2: Final = math.log(2.0)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """`low` and `high` around what was measured, and the `spread`: the standard deviation of one row's difference."""

    low: float
    high: float
    spread: float = 0.0


def share(hits: int, rows: int) -> Interval:
    """Of a share (Wilson 1927, "Probable inference", JASA 22)."""
    part = hits / rows
    middle = part + Z * Z / (2 * rows)
    half = Z * math.sqrt(part * (1 - part) / rows + Z * Z / (4 * rows * rows))
    whole = 1 + Z * Z / rows
    return Interval((middle - half) / whole, (middle + half) / whole)


def paired_shares(lost: int, won: int, rows: int) -> Interval:
    """Of the share of rows that were lost less that of those that were won, of the same rows.

    Adjusted Wald (Bonett & Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions
    based on paired data", JEBS 37): one more row is counted as lost and one as won. Where nothing differs it has a
    width all the same.
    """
    lost_part, won_part = (lost + 1) / (rows + 2), (won + 1) / (rows + 2)
    middle = lost_part - won_part
    spread = math.sqrt(max(lost_part + won_part - middle * middle, 0.0))
    half = Z * spread / math.sqrt(rows + 2)
    return Interval(middle - half, middle + half, spread)


def lost_more(lost: int, won: int) -> bool:
    """Whether more rows lost than won is more than chance: the exact test of McNemar (1947, Psychometrika 12)."""
    return tail(lost, lost + won, 0.5) <= ERROR


def around(estimate: float, parts: Array) -> Interval:
    """Of a figure whose rows contribute `parts` to it: their mean, or what it is to first order (Student 1908)."""
    rows = len(parts)
    if rows < 2:
        return Interval(-math.inf, math.inf, math.inf)
    spread = float(np.std(parts, ddof=1))
    half = student(rows - 1) * spread / math.sqrt(rows)
    return Interval(estimate - half, estimate + half, spread)


def student(degrees: int) -> float:
    """The quantile of Student's distribution that stands for `Z`.

    Its expansion around the normal one (Abramowitz & Stegun 1964, 26.7.5), from five degrees on within 1 %.
    """
    z = Z
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


def rows_needed(spread: float, distance: float) -> float:
    """How many rows tell a difference of `distance` from none, with one error in a hundred on both sides."""
    return math.ceil((2.0 * Z * spread / distance) ** 2) if distance > 0.0 else math.inf


def tail(hits: int, tries: int, rate: float) -> float:
    """How often there are at least so many hits by chance, each try hitting with `rate`: the binomial upper tail."""
    if hits <= 0:
        return 1.0
    if rate <= 0.0 or hits > tries:
        return 0.0
    if rate >= 1.0:
        return 1.0
    up, down = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(tries + 1)
    logs = (
        whole - math.lgamma(hit + 1) - math.lgamma(tries - hit + 1) + hit * up + (tries - hit) * down
        for hit in range(hits, tries + 1)
    )
    return min(1.0, math.fsum(math.exp(each) for each in logs))


def median_low(values: Array) -> float:
    """Below which the true median lies at most once in a hundred, by order alone (Thompson 1936): whatever the noise.

    With fewer than seven values nothing is certain, and the least of them is all that can be said.
    """
    ordered = np.sort(values)
    count = len(ordered)
    below, rank = 0.0, 0
    while rank < count:  # how often at most `rank` of so many values lie below the median
        below += math.exp(math.lgamma(count + 1) - math.lgamma(rank + 1) - math.lgamma(count - rank + 1) - count * _LN2)
        if below > ERROR:
            break
        rank += 1
    return float(ordered[max(rank - 1, 0)])
