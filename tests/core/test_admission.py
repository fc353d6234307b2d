"""When a caller may come back, what its priority means, and when a reply has to leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.admission import (
    DEFAULT_PRIORITY,
    MAX_RETRY_MS,
    Lag,
    priority_level,
    retry_after_ms,
)
from router.errors import InvalidRequest

# ---- time ----


@given(st.floats(0, 1e9))
def test_a_caller_is_sent_away_for_as_long_as_others_wait(wait_s: float) -> None:
    """In whole milliseconds, never too few, never none, never more than ten seconds."""
    after = retry_after_ms(wait_s)
    assert 1 <= after <= MAX_RETRY_MS
    assert after >= min(wait_s * 1e3, MAX_RETRY_MS)
    assert after <= max(wait_s * 1e3 + 1, 1)


# ---- order ----


def test_one_is_the_highest_and_zero_is_between() -> None:
    """The convention of Triton's clients."""
    levels = [priority_level(value) for value in (1, 2, 0, 4, 5, 2**64 - 1)]
    assert levels == sorted(levels)
    assert len(set(levels)) == len(levels)
    assert priority_level(0) == DEFAULT_PRIORITY


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, "1", True, None])
def test_a_priority_that_is_none_is_refused(value: object) -> None:
    """The caller is told what it takes."""
    with pytest.raises(InvalidRequest, match=r"parameter 'priority' is .*: it takes a whole number, 1 the highest"):
        priority_level(value)


def test_the_lag_is_that_of_the_latest_replies() -> None:
    """The slowest but one in a hundred; nothing when it is over."""
    lag = Lag()
    assert lag.seconds(0.0) == 0.0
    for _ in range(100):
        lag.record(0.001, 0.5)
    assert abs(lag.seconds(1.0) - 0.001) < 0.0001
    for _ in range(2):
        lag.record(0.010, 1.0)
    assert abs(lag.seconds(1.9) - 0.001) < 0.0001  # read anew once a second
    assert abs(lag.seconds(2.0) - 0.010) < 0.001
    assert lag.seconds(70.0) == 0.0


@given(st.lists(st.floats(0, 10), max_size=30), st.floats(0, 10))
def test_the_lag_is_bounded(lags: list[float], now: float) -> None:
    """Whatever was measured."""
    lag = Lag()
    for each in lags:
        lag.record(each, now)
    assert 0.0 <= lag.seconds(now) <= Lag.MOST_S
