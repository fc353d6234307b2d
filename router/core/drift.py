"""How far a window of rows is from its reference, for all features of a model at once; and what chance alone does.

- The population stability index (Siddiqi 2006, "Credit Risk Scorecards", 10) is Σ (q − p) ln(q / p) over the groups of
  bins, p the reference's shares and q the window's, half a row added to each group so that none is empty.
- The Jensen–Shannon distance (Endres & Schindelin 2003, "A new metric for probability distributions", IEEE TIT 49) is
  the square root of the divergence in base 2, from 0 to 1, of the plain shares of the groups.
- The Wasserstein distance of order 1 is ∫ |F − G|. From bins: each one's rows lie at the mean that the reference has
  there, which is exact for numbers of few values. Beyond the reference's outermost bins nothing is known of them; but
  the distance is never less than that of the means, nor than that of the mean distances from the reference's mean
  (Kantorovich & Rubinstein 1958: both are of functions with a slope of one), so it is the largest of the three, in
  standard deviations of the reference.

Where nothing has changed, the index is about chi-square with one degree fewer than there are groups, times
1/n + 1/m for n and m rows (Yurdakul 2018, "Statistical properties of population stability index"). Rows that come
together are often alike: their counts vary more than those of independent ones. By how much is measured from the pieces
that a window came in, and the chi-square is stretched by it (the design effect of Rao & Scott 1981, JASA 76). What
stays alike for longer than such a piece, which is some seconds, is not told from a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from router.core.features import Array
from router.core.reference import Counts, Reference

ERROR: Final = 0.0001
"""How often any of a model's features passes the floor in one window, by chance. Two in a row make a warning, and with
an unlucky reference one is followed by another: at 0.001 four of 500 days had an alarm (`make drifts`)."""
GREEN, YELLOW, RED = 0, 1, 2
WORDS: Final = ("green", "yellow", "red")
_HALF: Final = 0.5
_CALM: Final = 5.0
"""Degrees of freedom with which a design effect of one is believed before anything is measured."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Of each feature, in the reference's order. `floor` is the index that chance reaches; `shift` how far the mean has
    moved, in standard deviations; `wasserstein` and `shift` are NaN for categories and `unseen` for numbers."""

    rows: int
    psi: Array
    floor: Array
    effects: Array
    """How many times their counts vary as much as those of independent rows."""
    jensen_shannon: Array
    wasserstein: Array
    shift: Array
    deviation: Array
    """Of the window's values, as a multiple of the reference's; NaN for categories."""
    missing: Array
    unseen: Array

    def levels(self, yellow: float, red: float) -> Array:
        """GREEN, YELLOW or RED for each feature: at or above a threshold, and above what chance does."""
        level = (self.psi >= yellow).astype(np.int8) + (self.psi >= red)
        made: Array = np.where(self.psi > self.floor, level, GREEN).astype(np.int8)
        return made


def psi(p: Array, q: Array, starts: Array) -> Array:
    """The index of shares p and q, none of them 0; `starts` are where each feature's begin."""
    return np.add.reduceat((q - p) * np.log(q / p), starts)


def jensen_shannon(p: Array, q: Array, starts: Array) -> Array:
    """The distance of shares p and q, each of which may be 0."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    made: Array = np.sqrt(np.clip(np.add.reduceat(parts, starts) / 2, 0.0, 1.0))
    return made


def wasserstein(p: Array, q: Array, gaps: Array, starts: Array) -> Array:
    """The distance between shares p and q of neighbouring bins, `gaps` from each bin to its next; each feature's shares
    add up to the same, so that one running sum does for all."""
    return np.add.reduceat(np.abs(np.cumsum(q - p)) * gaps, starts)


def chi_square(degrees: Array, error: float) -> Array:
    """What chi-square exceeds with the probability `error` (Wilson & Hilferty 1931, PNAS 17); above the true quantile
    by up to a seventh where the degrees are few."""
    z = NormalDist().inv_cdf(1.0 - error)
    part = 2.0 / (9.0 * degrees)
    made: Array = degrees * (1.0 - part + z * np.sqrt(part)) ** 3
    return made


def effects(reference: Reference, window: Counts) -> Array:
    """How many times the variance of independent rows the counts of a window have, by feature; at least 1.

    It is Pearson's statistic of the window's pieces against all of it, by its degrees of freedom.
    """
    starts = reference.group_starts
    shares = reference.grouped(window.bins) / max(window.rows, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(shares > 0, window.spread / shares, 0.0)
    found = np.add.reduceat(parts, starts) - window.rows
    degrees = (window.pieces - 1) * np.maximum(np.add.reduceat(shares > 0, starts, dtype=np.float64) - 1, 0)
    made: Array = np.maximum((found + _CALM) / (degrees + _CALM), 1.0)
    return made


def measures(reference: Reference, window: Counts) -> Measures:
    """How far a window, which is not empty, is from the reference.

    Its counts vary no less than those of the windows that it was put together from (`Counts.varied`): of a few windows
    alone, which is what an hour of little traffic is, hardly any of that would be seen.
    """
    starts, groups = reference.group_starts, np.diff(np.append(reference.group_starts, reference.groups))
    rows, before = window.rows, reference.rows
    came, were = reference.grouped(window.bins), reference.group_counts
    p = (were + _HALF) / np.repeat(before + _HALF * groups, groups)
    q = (came + _HALF) / np.repeat(rows + _HALF * groups, groups)
    present = np.add.reduceat((came + were) > 0, starts, dtype=np.float64)
    varied = np.maximum(effects(reference, window), window.varied / rows)
    noise = varied / rows + reference.effects / before
    degrees = np.maximum(present - 1 + reference.chosen, 1)
    floor = chi_square(degrees, ERROR / max(len(starts), 1)) * noise

    missing = window.bins[reference.missing] / rows
    shift, spread, distance = _numbers(reference, window)
    return Measures(
        rows,
        psi(p, q, starts),
        floor,
        varied,
        jensen_shannon(were / before, came / rows, starts),
        distance,
        shift,
        spread,
        missing,
        np.where(reference.categories, window.bins[reference.others] / rows, np.nan),
    )


def _numbers(reference: Reference, window: Counts) -> tuple[Array, Array, Array]:
    """By how much the mean has moved, the deviation now, and Wasserstein's distance; NaN for categories, and where all
    values are missing."""
    sizes = np.diff(np.append(reference.starts, reference.size))
    missing, were = window.bins[reference.missing], reference.counts[reference.missing]
    there, was = window.rows - missing, reference.rows - were
    both = ~reference.categories & (there > 0) & (was > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(both, window.sums / there, np.nan)
        spread = np.sqrt(np.maximum(window.squares / there - shift**2, 0.0))
        p = reference.counts / np.repeat(was, sizes)
        q = window.bins / np.repeat(there, sizes)
    counted = np.repeat(both, sizes)
    counted[reference.missing] = False
    zero = np.zeros(reference.size)
    distance = wasserstein(np.where(counted, p, zero), np.where(counted, q, zero), reference.gaps, reference.starts)
    with np.errstate(divide="ignore", invalid="ignore"):
        afar = np.abs(window.afar / there - reference.afar)
    return shift, spread, np.where(both, np.maximum(np.maximum(distance, np.abs(shift)), afar), np.nan)


def confirmed(status: Array, before: Array, now: Array) -> Array:
    """The status after two windows in a row: it rises to what both have at least, and falls to what both have at
    most."""
    return np.clip(status, np.minimum(before, now), np.maximum(before, now))
