"""What the past says of times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.latency import BUCKETS, RunTimes, bucket, upper_bound_seconds


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
