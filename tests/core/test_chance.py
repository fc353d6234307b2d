"""Exact tails, against what they mean."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.chance import binomial, fisher

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_how_often_hits_fall_on_the_first(hits: int, misses: int, control_hits: int, control_misses: int) -> None:
    """All ways to deal the hits out, counted; 1 where the first has no larger share."""
    tries, control = hits + misses, control_hits + control_misses
    both, whole = hits + control_hits, tries + control
    found = fisher(hits, tries, control_hits, control)
    if not tries or not control or hits * control <= control_hits * tries:
        assert found == 1.0
        return
    ways = sum(comb(both, each) * comb(whole - both, tries - each) for each in range(hits, min(both, tries) + 1))
    assert found == pytest.approx(float(Fraction(ways, comb(whole, tries))), rel=1e-9)


@given(COUNTS, COUNTS, st.fractions(0, 1, max_denominator=1000))
def test_how_often_tries_hit(hits: int, misses: int, rate: Fraction) -> None:
    """All ways to hit so often or more, counted; 1 where that is no more than is to be expected."""
    tries = hits + misses
    found = binomial(hits, tries, float(rate))
    if hits <= float(rate) * tries:
        assert found == 1.0
        return
    ways = sum(comb(tries, each) * rate**each * (1 - rate) ** (tries - each) for each in range(hits, tries + 1))
    assert found == pytest.approx(float(ways), rel=1e-9)


def test_large_counts_are_no_trouble() -> None:
    """Neither for their size nor for the time that they take."""
    assert fisher(600_000, 10_000_000, 590_000, 10_000_000) < 1e-15
    assert fisher(590_001, 10_000_000, 590_000, 10_000_000) == pytest.approx(0.5, abs=0.01)
    assert binomial(1_001_000, 10_000_000, 0.1) == pytest.approx(0.146, abs=0.01)
    assert fisher(1000, 1000, 0, 1_000_000) == 0.0
