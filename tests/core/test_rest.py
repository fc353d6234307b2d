"""How long a version on copies rests: not at all while there is room, nearly always where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.rest import CALM, CROWDED, MOST, RUNS, Rest, least_per_s
from router.version_settings import WarmupSettings


def rested(share: float, runs: int = 1, rest: Rest | None = None, least: float = 0.0) -> float:
    """The rest after the last of so many runs of 10 ms, of which this share went into waiting."""
    rest = rest or Rest()
    for _ in range(runs):
        seconds = rest.after(0.010 * (1 - share), 0.010 * share, 1, least)
    return seconds


@pytest.mark.parametrize(
    ("share", "times"),
    [(0.0, 0.0), (0.19, 0.0), (CALM, 0.0), (0.275, MOST / 4), (CROWDED, MOST), (0.9, MOST)],
)
def test_it_rests_the_longer_the_scarcer_cores_are(share: float, times: float) -> None:
    """As a multiple of the time that a run took: nothing, a part, nineteen times and no more."""
    assert rested(share) == pytest.approx(0.010 * times, abs=1e-9)


def test_one_run_that_waits_makes_no_difference() -> None:
    """Among others that do not."""
    rest = Rest()
    rested(0.0, RUNS, rest)
    assert rested(1.0, 1, rest) == 0.0


def test_it_gives_way_and_comes_back_within_some_runs() -> None:
    """Not at once: it rests on while only its last runs had room."""
    rest = Rest()
    rested(0.5, 4 * RUNS, rest)
    assert rested(0.0, 1, rest) == pytest.approx(0.19)
    assert 0.0 < rested(0.0, RUNS // 2, rest) < 0.19
    assert rested(0.0, RUNS, rest) == 0.0


def test_a_long_run_weighs_more_than_a_short_one() -> None:
    """The share is that of the time, not the mean of the runs' shares."""
    rest = Rest()
    rest.after(0.0, 0.001, 1, 0.0)
    rest.after(0.999, 0.0, 1, 0.0)
    assert rest.share == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize(("requests", "seconds"), [(1, 0.1), (2, 0.19), (0, 0.0)])
def test_it_still_runs_what_it_has_to(requests: int, seconds: float) -> None:
    """At least nine requests a second and a bit, whatever that costs."""
    assert Rest().after(0.005, 0.005, requests, 1 / 0.11) == pytest.approx(seconds)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100), st.integers(0, 64), st.floats(0, 1e9))))
def test_a_rest_is_a_time(runs: list[tuple[float, float, int, float]]) -> None:
    """Whatever the thread went through: from none to nineteen times what the run took."""
    rest = Rest()
    for ran, waited, requests, least in runs:
        assert 0.0 <= rest.after(ran, waited, requests, least) <= (ran + waited) * MOST * (1 + 1e-9)
        assert 0.0 <= rest.share <= 1 + 1e-9


def test_a_warm_up_comes_to_its_verdict_in_time() -> None:
    """What is missing in the time that is left; what is recorded has no time of its own."""
    settings = WarmupSettings(min_samples=500, min_seconds=30, max_seconds=600)
    assert least_per_s(0, 0.0, settings) == pytest.approx(500 / 600)
    assert least_per_s(250, 590.0, settings) == 25
    assert least_per_s(600, 100.0, settings) == 0
    assert least_per_s(10, 600.0, settings) == pytest.approx(500 / 600)
