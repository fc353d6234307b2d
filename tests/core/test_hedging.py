"""When a slow run is given a second chance."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.hedging import (
    BUSY_SHARE,
    HedgeBudget,
    HedgeDelay,
    KillSwitch,
    Target,
    Why,
    decide,
    executing,
)
from router.core.latency import RunTimes

# ---- the delay ----


def test_there_is_no_delay_before_there_is_history() -> None:
    """A hundred runs in the window; then it is the quantile that the budget leaves."""
    times = RunTimes()
    delay = HedgeDelay(times, 0.02, 0.001)
    for run in range(99):
        times.record(1, 0.1 if run >= 97 else 0.01, 0.0)
    assert delay.seconds(0.0) is None
    times.record(1, 0.01, 0.0)
    assert delay.seconds(1.9) is None  # read anew every two seconds
    known = delay.seconds(2.0)
    assert known is not None
    assert abs(known - 1.5 * 0.01) < 0.0015
    later = delay.seconds(70.0)
    assert later is None


def test_the_delay_has_a_floor() -> None:
    """Short runs are not hedged for a hiccup."""
    times = RunTimes()
    for _ in range(100):
        times.record(1, 1e-5, 0.0)
    assert HedgeDelay(times, 0.02, 0.001).seconds(0.0) == 0.001


@given(st.floats(0.001, 0.5), st.lists(st.floats(1e-5, 1.0), min_size=100, max_size=300))
def test_runs_beyond_the_delay_are_about_the_share_of_the_budget(budget: float, runs: list[float]) -> None:
    """Never more than that share takes longer than the delay and a tenth."""
    times = RunTimes()
    for seconds in runs:
        times.record(1, seconds, 0.0)
    delay = HedgeDelay(times, budget, 0.0).seconds(0.0)
    assert delay is not None
    assert sum(seconds > 1.1 * delay for seconds in runs) <= budget * len(runs) + 1e-9


# ---- the budget ----

SHARES = st.sampled_from([Fraction(1, 1000), Fraction(1, 50), Fraction(3, 100), Fraction(1, 3), Fraction(1, 1)])
ATTEMPTS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(0, 5), st.floats(0, 15)),
    max_size=40,
)
"""So many primaries, then so many hedges that are wanted, then a pause in seconds."""


@given(SHARES, ATTEMPTS)
def test_hedges_are_never_more_than_their_share_of_primaries(
    share: Fraction, attempts: list[tuple[int, int, float]]
) -> None:
    """From the beginning, and from any instant on than that share and what ten seconds may have saved."""
    budget = HedgeBudget(float(share))
    now = 50.0
    history: list[tuple[float, int, int]] = []
    for primaries, wanted, pause in attempts:
        for _ in range(primaries):
            budget.deposit(now)
        history.append((now, primaries, sum([budget.withdraw(now) for _ in range(wanted)])))
        now += pause
    assert sum(hedges for _, _, hedges in history) <= share * sum(primaries for _, primaries, _ in history)
    for at, (begins, _, _) in enumerate(history):
        later = history[at:]
        earned = share * sum(primaries for _, primaries, _ in later)
        saved = max(
            Fraction(1), share * sum(primaries for before, primaries, _ in history[:at] if before > begins - 11)
        )
        assert sum(hedges for _, _, hedges in later) <= earned + saved


@pytest.mark.parametrize("share", [0.02, 0.05, 0.03, 1.0])
def test_every_hedge_that_was_earned_is_paid(share: float) -> None:
    """A primary and a wish at a time: the share is used to the full."""
    budget = HedgeBudget(share)
    hedges = 0
    for call in range(10_000):
        budget.deposit(call / 100)
        hedges += budget.withdraw(call / 100)
    assert abs(hedges - share * 10_000) <= 1


def test_what_is_saved_falls_out_but_for_one() -> None:
    """A quiet time does not pay for a storm."""
    budget = HedgeBudget(0.02)
    for _ in range(1000):
        budget.deposit(0.0)
    assert [budget.withdraw(20.0) for _ in range(3)] == [True, False, False]


def test_a_model_that_is_seldom_asked_has_its_share_too() -> None:
    """Two calls a minute earn a hedge after 25 minutes."""
    budget = HedgeBudget(0.02)
    for call in range(50):
        assert not budget.covers(call * 30.0)
        budget.deposit(call * 30.0)
    assert budget.covers(50 * 30.0)
    assert budget.withdraw(50 * 30.0)
    assert not budget.withdraw(50 * 30.0)


def test_the_first_looks_leave_something_for_the_later_ones() -> None:
    """Half of what can be saved at the first look at a run, a quarter at the second, down to the price of one."""
    budget = HedgeBudget(0.1)
    for _ in range(160):  # sixteen hedges
        budget.deposit(0.0)
    spent = []
    for looks in (0, 1, 2, 3, 4):
        while budget.covers(0.0, looks):
            assert budget.withdraw(0.0)
            spent.append(looks)
    assert [spent.count(looks) for looks in (0, 1, 2, 3, 4)] == [9, 4, 2, 1, 0]
    assert not budget.covers(0.0)


def test_no_share_is_no_hedge() -> None:
    """The budget of a model that hedges not at all."""
    budget = HedgeBudget(0.0)
    for _ in range(1000):
        budget.deposit(0.0)
    assert not budget.withdraw(0.0)


# ---- the kill switch ----


def test_hedges_that_rarely_win_are_off_for_ten_seconds() -> None:
    """Fewer than five of the last fifty; then ten more decide again."""
    switch = KillSwitch()
    for hedge in range(50):
        assert not switch.off(0.0)
        switch.ended(0.0, won=hedge in (1, 20, 30, 40))
    assert switch.off(9.9)
    assert not switch.off(10.0)
    for _ in range(10):  # of the four wins three are remembered
        assert not switch.off(10.0)
        switch.ended(10.0, won=False)
    assert switch.off(10.0)
    for hedge in range(10):
        switch.ended(20.0, won=hedge < 3)
    assert not switch.off(20.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=200))
def test_a_switch_is_off_only_where_a_tenth_has_not_won(hedges: list[tuple[bool, float]]) -> None:
    """And never for longer than its pause after the last hedge has ended."""
    switch = KillSwitch()
    now = 0.0
    was_off = False
    for at, (won, pause) in enumerate(hedges):
        now += pause
        switch.ended(now, won=won)
        off = switch.off(now)
        if off and not was_off:
            assert at >= 49
            assert sum(won for won, _ in hedges[at - 49 : at + 1]) < 5
        was_off = off
    assert not switch.off(now + 10.0)


# ---- what executes ----


def test_a_run_that_overstays_its_own_q99_does_not_execute() -> None:
    """It waits for something; a run whose size is not known counts."""
    assert executing([(10.0, 0.5), (10.0, 1.0), (10.0, 2.0), (0.0, None)], 11.0) == 3
    assert executing([], 11.0) == 0


# ---- the decision ----

GOOD: dict[str, Any] = {
    "over": False,
    "delay": 0.01,
    "left": 0.05,
    "target": Target(idle=True, needs=0.02),
    "rarely_wins": False,
    "load": 0.5,
    "covered": True,
}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({}, Why.SLOW),
        ({"over": True}, Why.OVER),
        ({"delay": None}, Why.NO_HISTORY),
        ({"target": None}, Why.NO_TARGET),
        ({"left": 0.02}, Why.TOO_LATE),
        ({"left": math.inf}, Why.SLOW),
        ({"rarely_wins": True}, Why.RARELY_WINS),
        ({"load": BUSY_SHARE}, Why.MACHINE_BUSY),
        ({"load": 2.0, "target": Target(idle=True, needs=0.02, shares_cores=False)}, Why.SLOW),
        ({"rarely_wins": True, "target": Target(idle=True, needs=0.02, insures=True)}, Why.SLOW),
        ({"covered": False}, Why.BUDGET_SPENT),
        ({"target": Target(idle=False, needs=0.02)}, Why.TARGET_BUSY),
        ({"target": Target(idle=False, needs=0.02), "covered": False}, Why.BUDGET_SPENT),
    ],
)
def test_each_refusal_has_its_reason(what: dict[str, Any], why: Why) -> None:
    """A hedge is sent when nothing speaks against it; only a busy target leaves it armed."""
    decision = decide(**{**GOOD, **what})
    assert decision.why is why
    assert decision.hedge == (why is Why.SLOW)
    assert decision.wait == (why is Why.TARGET_BUSY)


@given(
    st.fixed_dictionaries(
        {
            "over": st.booleans(),
            "delay": st.none() | st.floats(0, 1),
            "left": st.floats(-1, 1) | st.just(math.inf),
            "target": st.none() | st.builds(Target, st.booleans(), st.floats(0, 1), st.booleans(), st.booleans()),
            "rarely_wins": st.booleans(),
            "load": st.floats(0, 2),
            "covered": st.booleans(),
        }
    )
)
def test_a_hedge_is_sent_exactly_where_all_speaks_for_it(what: dict[str, Any]) -> None:
    """Whatever comes together; what stays armed lacks an idle target and nothing else."""
    target = what["target"]
    apart = (
        not what["over"]
        and what["delay"] is not None
        and target is not None
        and what["left"] > target.needs
        and not (what["rarely_wins"] and not target.insures)
        and not (target.shares_cores and what["load"] >= BUSY_SHARE)
        and what["covered"]
    )
    decision = decide(**what)
    assert decision.hedge == (apart and target.idle)
    assert decision.wait == (apart and not target.idle)
