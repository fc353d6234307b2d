"""Ratios over rounds, and intervals that assume no distribution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ratio import interval, percentile, ratio


def test_compares_with_the_better_peer_of_each_round() -> None:
    """The better baseline may be another one in another round."""
    found = ratio([40.0, 30.0, 60.0], [10.0, 5.0, 20.0], [8.0, 10.0, 30.0])
    assert found.rounds == (4.0, 3.0, 2.0)
    assert found.median == 3.0


def test_a_drifting_machine_leaves_the_ratio_alone() -> None:
    """Both servers at half speed in the second round: the ratio does not move."""
    found = ratio([4000.0, 2000.0], [1000.0, 500.0])
    assert (found.low, found.median, found.high) == (4.0, 4.0, 4.0)


def test_rounds_must_match() -> None:
    """A round that one server missed cannot be compared."""
    with pytest.raises(ValueError, match="argument"):
        ratio([1.0, 2.0], [1.0])


def test_no_rounds_no_ratio() -> None:
    """Nothing measured is an error, not a zero."""
    with pytest.raises(ValueError, match="no rounds"):
        ratio([], [])


@pytest.mark.parametrize(
    ("count", "low", "high", "confidence"),
    [(1, 0, 0, 0.0), (3, 0, 2, 0.75), (5, 0, 4, 0.9375), (6, 0, 5, 0.96875), (9, 1, 7, 0.9609375), (30, 9, 20, 0.957)],
)
def test_interval_of_the_median(count: int, low: int, high: int, confidence: float) -> None:
    """The known order statistics for the median (the sign test's table) and what they are worth."""
    found = interval([float(value) for value in reversed(range(count))])
    assert (found.low, found.high) == (low, high)
    assert found.confidence == pytest.approx(confidence, abs=1e-3)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60))
def test_interval_holds_the_median_of_what_was_seen(values: list[float]) -> None:
    """Whatever the rounds gave, low ≤ median ≤ high, and both are values that were measured."""
    found = interval(values)
    assert found.low <= found.median <= found.high
    assert {found.low, found.high} <= set(values)


def test_meets_its_target() -> None:
    """The median decides; reaching the target exactly is enough."""
    assert interval([1.0, 2.0, 9.0]).meets(2.0)
    assert not interval([1.0, 1.9, 9.0]).meets(2.0)


def test_percentile_is_a_value_that_was_measured() -> None:
    """Of 1…100 the p99 is 99; of few values it is the largest."""
    assert percentile([float(value) for value in range(100, 0, -1)], 0.99) == 99
    assert percentile([3.0, 1.0], 0.99) == 3
    assert percentile([3.0, 1.0], 0.0) == 1
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
