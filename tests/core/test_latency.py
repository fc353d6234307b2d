"""What the past says of times."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.core.latency import BUCKETS, Recent, RunTimes, Tail, bucket, quantile, upper_bound_seconds


@given(st.integers(0, 2**50))
def test_a_time_lies_in_the_bucket_that_its_bounds_say(nanoseconds: int) -> None:
    """Below the upper bound of its own bucket, not below that of the one before; the last takes the rest."""
    index = bucket(nanoseconds)
    assert 0 <= index < BUCKETS
    if index < BUCKETS - 1:
        assert nanoseconds / 1e9 < upper_bound_seconds(index)
    if index:
        assert nanoseconds / 1e9 >= upper_bound_seconds(index - 1)


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_longer_times_are_never_in_an_earlier_bucket(one: int, other: int) -> None:
    """Counts of buckets can be added up to percentiles."""
    assert bucket(min(one, other)) <= bucket(max(one, other))


RUNS = st.lists(st.tuples(st.integers(0, 5000), st.floats(1e-6, 10)), min_size=1)


@given(RUNS, st.integers(0, 5000))
def test_a_prediction_is_made_of_what_was_seen(runs: list[tuple[int, float]], rows: int) -> None:
    """Never below the shortest run; scaled up at most in proportion to the rows of the smallest run known."""
    times = RunTimes()
    assert times.predict(rows) == 0
    for size, seconds in runs:
        times.record(size, seconds)
    least, most = min(seconds for _, seconds in runs), max(seconds for _, seconds in runs)
    assert least * 0.999 <= times.predict(rows) <= most * 1.001 * (1 << 15)


def test_the_nearest_smaller_size_is_scaled_up_never_down() -> None:
    """Rows share a run's fixed cost, so proportion errs on the long side."""
    times = RunTimes()
    times.record(8, 0.008)
    assert times.predict(8) == 0.008
    assert times.predict(16) == 0.016
    assert times.predict(9) == 0.016  # remembered under 16
    assert times.predict(1) == 0.008
    assert times.of_one_row() == 0  # nothing says how fast one row could be
    times.record(1, 0.002)
    assert times.predict(2) == 0.004
    assert times.of_one_row() == 0.002


def test_the_mean_follows_a_change_and_forgives_an_outlier() -> None:
    """A fifth of each new run counts, at most four times what was expected: a lost core is no change."""
    times = RunTimes()
    times.record(1, 0.001)
    times.record(1, 0.002)
    assert abs(times.predict(1) - 0.0012) < 1e-9
    times.record(1, 1.0)
    assert abs(times.predict(1) - 0.00192) < 1e-9
    for _ in range(60):
        times.record(1, 0.011)
    assert abs(times.predict(1) - 0.011) < 1e-4


@given(RUNS, st.floats(0, 10), st.integers(1, 5000))
def test_rows_within_a_time_are_expected_to_fit(runs: list[tuple[int, float]], seconds: float, most: int) -> None:
    """At least 1 and at most `most`; more than one row only if so many are expected to run in time."""
    times = RunTimes()
    for size, took in runs:
        times.record(size, took)
    rows = times.rows_within(seconds, most)
    assert 1 <= rows <= most
    if rows > 1:
        assert times.predict(1 << (rows - 1).bit_length()) <= seconds


Q = st.floats(0, 1)
TIMES = st.floats(2e-6, 900)
LATE_RUNS = st.lists(st.tuples(st.integers(0, 5000), TIMES, st.floats(0, 200)), min_size=1, max_size=60)
"""Rows, seconds, and the instant at which each run ended."""


def within(found: float | None, true: float) -> bool:
    """Whether a quantile is known and at most a tenth off."""
    return found is not None and abs(found - true) <= 0.1 * true


def recent(runs: list[tuple[int, float, float]]) -> list[tuple[int, float]]:
    """Those runs that ended in the slice of the last one or in the five before it."""
    newest = max(ended for _, _, ended in runs) // Recent.SLICE_S
    return [(rows, s) for rows, s, ended in runs if ended // Recent.SLICE_S > newest - Recent.SLICES]


def recorded(runs: list[tuple[int, float, float]]) -> RunTimes:
    """Run times that have seen these runs, in the order in which they ended."""
    times = RunTimes()
    for rows, seconds, ended in sorted(runs, key=lambda run: run[2]):
        times.record(rows, seconds, ended)
    return times


@given(LATE_RUNS, Q)
def test_quantiles_of_the_window_are_at_most_a_tenth_off(runs: list[tuple[int, float, float]], q: float) -> None:
    """Over all sizes and for each size that was seen, as numpy gives them for the runs of the last six slices."""
    times = recorded(runs)
    now = max(ended for _, _, ended in runs)
    window = recent(runs)
    assert times.count(now) == len(window)
    assert within(times.overall(q, now), float(np.quantile([s for _, s in window], q, method="inverted_cdf")))
    sizes: dict[int, list[float]] = {}
    for rows, seconds in window:
        sizes.setdefault(1 << (max(rows, 1) - 1).bit_length(), []).append(seconds)
    for size, known in sizes.items():
        assert within(times.quantile(size, q, now), float(np.quantile(known, q, method="inverted_cdf")))


@given(LATE_RUNS, Q, st.integers(0, 5000))
def test_old_slices_fall_out(runs: list[tuple[int, float, float]], q: float, rows: int) -> None:
    """After a minute without a run nothing is known; the mean is kept."""
    times = recorded(runs)
    later = max(ended for _, _, ended in runs) + Recent.SLICES * Recent.SLICE_S
    assert times.count(later) == 0
    assert times.overall(q, later) is None
    assert times.quantile(rows, q, later) is None
    assert times.predict(rows) > 0


def test_a_slice_leaves_as_a_whole() -> None:
    """What ended at 0 s and at 9 s leaves at 60 s, what ended at 10 s leaves at 70 s."""
    times = RunTimes()
    for ended in (0.0, 9.0, 10.0):
        times.record(1, 0.001, ended)
    assert [times.count(now) for now in (59.9, 60.0, 69.9, 70.0)] == [3, 1, 1, 0]


def test_time_does_not_go_back() -> None:
    """A run that is recorded late counts in the slice that has begun."""
    times = RunTimes()
    times.record(1, 0.001, 100.0)
    times.record(1, 0.001, 12.0)
    assert times.count(12.0) == 2
    assert times.count(159.9) == 2
    assert times.count(160.0) == 0


def test_without_an_instant_time_stands_still() -> None:
    """Runs before the first instant count from then on; a run without one counts with the run before."""
    times = RunTimes()
    times.record(1, 0.001)
    assert times.count() == 1
    times.record(1, 0.001, 1000.0)
    times.record(1, 0.001)
    assert times.count() == 3
    assert times.count(1060.0) == 0


def test_a_size_never_seen_is_judged_by_the_nearest_smaller_one() -> None:
    """Scaled up in proportion, as predictions are; by the next larger one as it is, where no smaller is known."""
    times = RunTimes()
    assert times.quantile(8, 0.9) is None
    assert times.overall(0.9) is None
    times.record(4, 0.004)
    times.record(64, 0.010)
    assert within(times.quantile(16, 0.9), 0.016)
    assert within(times.quantile(1, 0.9), 0.004)
    assert within(times.quantile(128, 0.9), 0.020)


def test_a_run_that_was_given_up_counts_as_at_least_so_long() -> None:
    """In the tail and in the mean; nothing is learned of one that was given up before it had to be over."""
    times = RunTimes()
    for _ in range(99):
        times.record(1, 0.002, 5.0)
    times.record_at_least(1, 0.001, 5.0)
    assert times.count(5.0) == 99
    times.record_at_least(1, 0.1, 5.0)
    times.record_at_least(1, 0.1, 5.0)
    assert times.count(5.0) == 101
    assert within(times.quantile(1, 0.99, 5.0), 0.1)
    assert times.predict(1) > 0.002


def test_times_beyond_the_buckets_lie_in_the_outer_ones() -> None:
    """No time, however strange, is an error."""
    times = Recent()
    times.record(0.0)
    assert within(quantile(times.counts(), 1), 1e-6)
    times.record(1e9)
    assert within(quantile(times.counts(), 1), 2.0**10)


def test_the_latest_times_count_where_there_are_some() -> None:
    """Those of a minute where the latest seconds know nothing."""
    times = RunTimes()
    times.record(1, 1.0, 5.0)
    times.record(1, 0.001, 35.0)
    assert within(times.quantile(1, 1.0, 35.0), 1.0)
    assert within(times.quantile(1, 1.0, 35.0, 2), 0.001)
    assert within(times.quantile(1, 1.0, 55.0, 2), 1.0)


def test_a_tail_is_read_anew_once_a_second() -> None:
    """Each size for itself: what a request reads costs a look into a list."""
    times = RunTimes()
    tail = Tail(times, 0.95)
    assert tail.of(1, 0.0) is None
    times.record(1, 0.001, 0.5)
    assert tail.of(1, 0.5) is None
    assert within(tail.of(2, 0.5), 0.002)
    assert within(tail.of(1, 1.0), 0.001)
    assert within(tail.of(1, 1.9), 0.001)
    assert tail.of(1, 60.0) is None
