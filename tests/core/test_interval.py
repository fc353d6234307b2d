"""Intervals, against what is known of them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from router.core.interval import (
    ERROR,
    Z,
    around,
    lost_more,
    median_low,
    paired_shares,
    rows_needed,
    share,
    student,
    tail,
)

SEEDS = 1000


def test_each_end_errs_once_in_a_hundred() -> None:
    """The normal quantile that belongs to it."""
    assert pytest.approx(2.326348, abs=1e-6) == Z
    assert NormalDist().cdf(Z) == pytest.approx(1 - ERROR)


@pytest.mark.parametrize(("degrees", "known"), [(5, 3.36493), (10, 2.76377), (30, 2.45726), (400, 2.33571)])
def test_students_quantile(degrees: int, known: float) -> None:
    """As tables have it, within one in a hundred."""
    assert student(degrees) == pytest.approx(known, rel=0.01)


def test_the_binomial_tail() -> None:
    """Small cases by hand, the sure ones, and one that would overflow if it were multiplied out."""
    assert tail(2, 2, 0.5) == pytest.approx(0.25)
    assert tail(1, 3, 0.1) == pytest.approx(1 - 0.9**3)
    assert tail(0, 5, 0.3) == 1.0
    assert tail(6, 5, 0.3) == 0.0
    assert tail(3, 5, 0.0) == 0.0
    assert tail(5, 5, 1.0) == 1.0
    assert tail(5200, 10_000, 0.5) == pytest.approx(3.2e-5, rel=0.1)


def test_a_share_lies_in_its_interval() -> None:
    """Wilson's, as the bundled models' exam tells it for 95 %: here with the wider ends."""
    found = share(365, 400)
    assert found.low < 0.9125 < found.high
    assert (found.low, found.high) == (pytest.approx(0.8739, abs=1e-4), pytest.approx(0.9401, abs=1e-4))
    assert share(60, 60).high == pytest.approx(1.0)


@pytest.mark.parametrize("rows", [30, 100, 400, 2000])
def test_of_equal_versions_at_most_one_in_a_hundred_seems_to_have_lost_more(rows: int) -> None:
    """Exactly, for each number of rows that the two answer differently: those fall to either side like a coin.

    The interval alone would be wrong somewhat more often where few rows differ; with the exact test it is not.
    """
    for differing in {*range(1, 26), rows // 10, rows // 4}:
        chance = 0.0
        for lost in range(differing + 1):
            if paired_shares(lost, differing - lost, rows).low > 0.0 and lost_more(lost, differing - lost):
                chance += math.comb(differing, lost) / 2**differing
        assert chance <= ERROR, (differing, chance)


def test_the_interval_of_a_mean_holds() -> None:
    """Its low end is above the true mean once in a hundred, also with skewed differences."""
    random = np.random.default_rng(1)
    wrong = sum(around(float(parts.mean()), parts).low > 0 for parts in random.laplace(size=(SEEDS, 200)))
    assert wrong <= 2 * ERROR * SEEDS
    assert around(0.5, np.array([0.5])).low == -math.inf


def test_the_median_is_not_below_its_low_end() -> None:
    """Whatever the distribution; the bound is close to the median when there are many values."""
    random = np.random.default_rng(2)
    wrong = sum(median_low(values) > 1.0 for values in random.pareto(1.0, size=(SEEDS, 101)))  # its median is 1
    assert wrong <= 2 * ERROR * SEEDS
    values = np.arange(1001.0)
    assert 450 < median_low(values) < 500
    assert median_low(np.array([3.0, 1.0, 2.0])) == 1.0


def test_how_many_rows_are_needed() -> None:
    """Accuracies of 90 and 87 % with independent errors take nearly five thousand."""
    spread = math.sqrt(0.9 * 0.13 + 0.1 * 0.87 - 0.03**2)
    assert rows_needed(spread, 0.03) == pytest.approx(4885, abs=10)
    assert rows_needed(spread, 0.0) == math.inf
