"""Whether a call can be answered in time, in what order calls run, and when a reply has to leave."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.admission import (
    BACKGROUND,
    DEFAULT_PRIORITY,
    MAX_RETRY_MS,
    Reserve,
    hopeless,
    order,
    predict_wait,
    priority_level,
    retry_after_ms,
)
from router.errors import InvalidRequest

# ---- time ----


def wait(rows_ahead: int, *, rows: int = 1, max_size: int = 32, rest_s: float = 0.0, slots: int = 1) -> float:
    """The predicted wait where a run takes ten seconds."""
    return predict_wait(rows=rows, rows_ahead=rows_ahead, max_size=max_size, run_s=10.0, rest_s=rest_s, slots=slots)


def test_a_call_joins_the_last_batch_if_it_fits() -> None:
    """Otherwise it leaves with the one after it; one that is larger than any batch runs alone."""
    assert wait(0) == 0
    assert wait(0, rest_s=4.0) == 4.0
    assert wait(31) == 0
    assert wait(32) == 10
    assert wait(30, rows=2) == 0
    assert wait(30, rows=3) == 10
    assert wait(0, rows=99) == 0
    assert wait(1, rows=99) == 10
    assert wait(64, rest_s=4.0, slots=2) == 14


@given(
    st.integers(0, 200),
    st.integers(1, 8),
    st.integers(1, 4),
    st.floats(0.001, 1),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_the_wait_is_that_of_a_simulated_queue(
    rows_ahead: int, max_size: int, slots: int, run_s: float, shares: list[float]
) -> None:
    """Exact with one slot; with several never more than one run off."""
    free = sorted(share * run_s for share in shares[:slots])
    predicted = predict_wait(rows=1, rows_ahead=rows_ahead, max_size=max_size, run_s=run_s, rest_s=free[0], slots=slots)
    for _ in range(rows_ahead // max_size):
        free = sorted([free[0] + run_s, *free[1:]])
    assert abs(predicted - free[0]) <= (run_s if slots > 1 else 0) + 1e-6


@given(st.integers(1, 64), st.integers(0, 500), st.integers(1, 64), st.floats(0, 1), st.floats(0, 1), st.integers(1, 8))
def test_more_work_is_never_a_shorter_wait(
    rows: int, ahead: int, max_size: int, run_s: float, rest_s: float, slots: int
) -> None:
    """Nor are more slots or larger batches a longer one."""
    known: dict[str, Any] = {
        "rows": rows, "rows_ahead": ahead, "max_size": max_size, "run_s": run_s, "rest_s": rest_s, "slots": slots,
    }  # fmt: skip
    predicted = predict_wait(**known)
    assert predicted >= rest_s
    assert predict_wait(**{**known, "rows_ahead": ahead + 1}) >= predicted
    assert predict_wait(**{**known, "run_s": run_s + 1}) >= predicted
    assert predict_wait(**{**known, "rest_s": rest_s + 1}) >= predicted
    assert predict_wait(**{**known, "slots": slots + 1}) <= predicted


def test_a_call_is_hopeless_when_wait_and_run_reach_beyond_what_is_due() -> None:
    """To the instant it is not; without a deadline never; while run times are not known the wait decides."""
    assert not hopeless(10.0, 13.0, 1.0, 2.0)
    assert hopeless(10.0, 12.9, 1.0, 2.0)
    assert not hopeless(10.0, None, 1e9, 1e9)
    assert not hopeless(10.0, 12.0, 2.0, None)
    assert hopeless(10.0, 12.0, 2.1, None)
    assert hopeless(10.0, 9.0, 0.0, None)


@given(st.floats(0, 1e9))
def test_a_caller_is_sent_away_for_as_long_as_others_wait(wait_s: float) -> None:
    """In whole milliseconds, never too few, never none, never more than ten seconds."""
    after = retry_after_ms(wait_s)
    assert 1 <= after <= MAX_RETRY_MS
    assert after >= min(wait_s * 1e3, MAX_RETRY_MS)
    assert after <= max(wait_s * 1e3 + 1, 1)


# ---- order ----


def test_one_is_the_highest_and_zero_is_between() -> None:
    """The convention of Triton's clients; mirrors and hedges come after all of them."""
    levels = [priority_level(value) for value in (1, 2, 0, 4, 5, 2**64 - 1)]
    assert levels == sorted(levels)
    assert len(set(levels)) == len(levels)
    assert priority_level(0) == DEFAULT_PRIORITY
    assert levels[-1] < BACKGROUND


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, "1", True, None])
def test_a_priority_that_is_none_is_refused(value: object) -> None:
    """The caller is told what it takes."""
    with pytest.raises(InvalidRequest, match=r"parameter 'priority' is .*: it takes a whole number, 1 the highest"):
        priority_level(value)


@given(st.lists(st.tuples(st.integers(0, 9) | st.just(BACKGROUND), st.none() | st.floats(0, 9)), max_size=20))
def test_calls_run_by_priority_then_by_deadline_then_by_arrival(calls: list[tuple[int, float | None]]) -> None:
    """Sorting by the key never lets a lower level or a later deadline go first."""
    ranked = sorted(calls, key=lambda call: order(call[0], call[1]))
    for (level, due), (next_level, next_due) in pairwise(ranked):
        assert level <= next_level
        if level == next_level and next_due is not None:
            assert due is not None
            assert due <= next_due


# ---- reserve ----


def test_the_reserve_follows_the_lag_of_replies() -> None:
    """Never below what is configured; back to it when the lag is over."""
    reserve = Reserve(0.003)
    assert reserve.seconds(0.0) == 0.003
    for _ in range(100):
        reserve.record(0.001, 0.5)
    assert reserve.seconds(1.0) == 0.003
    for _ in range(2):
        reserve.record(0.010, 1.0)
    assert reserve.seconds(1.9) == 0.003  # read anew once a second
    assert abs(reserve.seconds(2.0) - 0.010) < 0.001
    assert reserve.seconds(70.0) == 0.003


@given(st.floats(0, 0.1), st.lists(st.floats(0, 10), max_size=30), st.floats(0, 10), st.none() | st.floats(0, 10))
def test_the_reserve_is_bounded(configured: float, lags: list[float], received: float, deadline: float | None) -> None:
    """By its settings, whatever was measured; and by half of the time that a caller gives."""
    reserve = Reserve(configured)
    for lag in lags:
        reserve.record(lag, received)
    assert configured <= reserve.seconds(received) <= max(configured, Reserve.MOST_S)
    due = reserve.due(received, deadline)
    if deadline is None:
        assert due is None
    elif deadline <= received:
        assert due == deadline
    else:
        assert due is not None
        assert (received + deadline) / 2 - 1e-9 <= due <= deadline
        assert (
            math.isclose(due, deadline - reserve.seconds(received))
            or due - received <= reserve.seconds(received) + 1e-9
        )
