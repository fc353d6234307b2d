"""Counters that only grow, and what lies between two instants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.latency import BUCKETS, bucket, upper_bound_seconds
from router.core.vitals import Vitals

BUCKET_COUNTS = st.lists(st.integers(0, 1000), max_size=BUCKETS).map(tuple)
VITALS = st.builds(Vitals, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), BUCKET_COUNTS)


def timed(*seconds: float) -> Vitals:
    """Answers that took so long."""
    counts = [0] * BUCKETS
    for each in seconds:
        counts[bucket(int(each * 1e9))] += 1
    return Vitals(len(seconds), 0, 0, tuple(counts))


@given(VITALS, VITALS)
def test_what_lies_between_is_what_was_added(before: Vitals, more: Vitals) -> None:
    """As many buckets as either has."""
    between = (before + more).since(before)
    assert between is not None
    assert (between.requests, between.failures, between.fallbacks) == (more.requests, more.failures, more.fallbacks)
    assert between.timed == more.timed


@pytest.mark.parametrize(
    "now", [Vitals(9, 2, 2, (2, 2)), Vitals(10, 1, 2, (2, 2)), Vitals(10, 2, 1, (2, 2)), Vitals(20, 2, 2, (9, 1))]
)
def test_a_counter_that_has_fallen_began_anew(now: Vitals) -> None:
    """What lies between is not known."""
    assert now.since(Vitals(10, 2, 2, (2, 2))) is None


@given(BUCKET_COUNTS, st.floats(1e-7, 1e4), st.floats(1, 10))
def test_fewer_take_longer(counts: tuple[int, ...], seconds: float, times: float) -> None:
    """Never more than all; the longer the time, the fewer take more."""
    vitals = Vitals(0, 0, 0, counts)
    assert 0 <= vitals.above(seconds * times) <= vitals.above(seconds) * (1 + 1e-9) <= vitals.timed * (1 + 1e-6)


@given(BUCKET_COUNTS)
def test_bounds_are_exact(counts: tuple[int, ...]) -> None:
    """At a bound it is known how many took longer."""
    vitals = Vitals(0, 0, 0, counts)
    for place in range(len(counts)):
        assert vitals.above(upper_bound_seconds(place)) == sum(counts[place + 1 :])


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12).map(tuple), st.floats(0.5, 0.999))
def test_a_quantile_is_doubled_where_all_times_are(counts: tuple[int, ...], q: float) -> None:
    """And where there are enough, about a share 1 - q takes longer."""
    once, twice = Vitals(0, 0, 0, (0, *counts)), Vitals(0, 0, 0, (0, 0, *counts))
    first, second = once.quantile(q), twice.quantile(q)
    assert first is not None
    assert second is not None
    assert second == pytest.approx(2 * first)
    if (1 - q) * once.timed >= 1:
        assert once.above(first) == pytest.approx((1 - q) * once.timed, rel=0.01)


def test_a_quantile_lies_among_the_times() -> None:
    """In the bucket of the time that it is; there is none without any."""
    assert Vitals().quantile(0.99) is None
    found = timed(*[0.002] * 990, *[0.05] * 10).quantile(0.985)
    assert found is not None
    assert 0.001 < found <= 0.0021
    late = timed(*[0.002] * 950, *[0.05] * 50).quantile(0.99)
    assert late is not None
    assert 0.033 < late < 0.067
