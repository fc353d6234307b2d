"""Log-spaced counts, quantiles with their intervals, and what people are shown of them."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from router.core.histogram import RATIOS, TIMES, Quantile, Scale, distribution, quantile


def counted(values: list[float], scale: Scale) -> list[int]:
    """How many values lie in each bucket."""
    counts = [0] * scale.buckets
    for value in values:
        counts[scale.place(value)] += 1
    return counts


@given(st.floats(2e-6, 900))
def test_a_value_lies_in_its_bucket(value: float) -> None:
    """Between the bucket's start and the next one's."""
    place = TIMES.place(value)
    assert TIMES.start(place) <= value * (1 + 1e-9)
    assert value <= TIMES.start(place + 1) * (1 + 1e-9)
    assert TIMES.start(place) < TIMES.middle(place) < TIMES.start(place + 1)


@given(st.floats(allow_nan=False))
def test_every_value_has_a_bucket(value: float) -> None:
    """The ends take what lies beyond them."""
    assert 0 <= RATIOS.place(min(value, 1e300)) < RATIOS.buckets


def test_nothing_has_no_quantile() -> None:
    """Neither counts of nothing nor no counts."""
    assert quantile((), TIMES, 0.5) is None
    assert quantile([0, 0], TIMES, 0.5) is None


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=200), st.sampled_from([0.1, 0.5, 0.99, 1.0]))
def test_a_quantile_lies_within_its_interval(values: list[float], q: float) -> None:
    """And within a bucket of the true one."""
    found = quantile(counted(values, TIMES), TIMES, q)
    assert found is not None
    assert found.low <= found.value <= found.high
    true = sorted(values)[max(math.ceil(len(values) * q) - 1, 0)]
    assert abs(TIMES.place(found.value) - TIMES.place(true)) <= 1


def test_the_interval_covers_the_true_median() -> None:
    """Of a thousand samples it lies beyond one end for about one in a hundred."""
    source = random.Random(5)
    beyond = 0
    for _ in range(1000):
        found = quantile(counted([source.lognormvariate(0, 1) for _ in range(100)], RATIOS), RATIOS, 0.5)
        assert isinstance(found, Quantile)
        beyond += found.low > 1.0
    assert beyond <= 20


@given(st.lists(st.floats(1e-5, 100), max_size=50))
def test_people_are_shown_all_that_was_counted(values: list[float]) -> None:
    """In fewer buckets, without the empty ends, one bound more than counts, in the unit that is asked for."""
    shown = distribution("time", "ms", counted(values, TIMES), TIMES, 1e3)
    assert sum(shown.counts) == len(values)
    if values:
        assert len(shown.bounds) == len(shown.counts) + 1
        assert shown.counts[0]
        assert shown.counts[-1]
        assert shown.bounds[0] <= min(values) * 1e3 * 1.0001
        assert max(values) * 1e3 <= shown.bounds[-1] * 1.0001
    else:
        assert shown.bounds == shown.counts == ()
