"""What keeps a challenger from winning that is right more often."""

from __future__ import annotations

from operator import add

import numpy as np
import pytest

from router.core.guardrail import hindrances
from router.core.histogram import RATIOS
from router.core.vitals import Vitals
from router.core.warmup import Figures, Source
from router.version_settings import TrialSettings

SETTINGS = TrialSettings(max_error_rate=0.01, max_latency_ratio=1.5)


def ratios(ratio: float, count: int) -> tuple[int, ...]:
    """So many pairs of runs with a ratio."""
    return tuple([count if place == RATIOS.place(ratio) else 0 for place in range(RATIOS.buckets)])


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (Figures(samples={Source.LIVE: 1000}, errors=6, broken=4), []),
        (Figures(samples={Source.LIVE: 1000}, errors=9, broken=8), []),
        (
            Figures(samples={Source.LIVE: 1000}, errors=14, broken=11),
            [
                "it failed on 25 of 1000 requests that the champion has answered (1 % may fail, by"
                " `trial.max_error_rate`)"
            ],
        ),
        (Figures(ratios=ratios(1.4, 100)), []),
        (Figures(ratios=ratios(3.0, 29)), []),
        (Figures(ratios=tuple(map(add, ratios(1.4, 45), ratios(3.0, 55)))), []),
        (
            Figures(ratios=ratios(3.0, 30)),
            ["it takes 3.02 × the champion's time in the median (1.5 × at most, by `trial.max_latency_ratio`)"],
        ),
        (None, []),
    ],
)
def test_a_shadow_is_held_by_its_errors_and_its_time(figures: Figures | None, said: list[str]) -> None:
    """On the runs of the champion; what may be chance says nothing, nor do a few pairs of times."""
    assert hindrances(SETTINGS, figures, None) == said


@pytest.mark.parametrize(
    ("champion", "challenger", "said"),
    [
        (Vitals(100, 5), Vitals(100, 6), []),
        (Vitals(), Vitals(), []),
        (
            Vitals(100, 5),
            Vitals(100, 25),
            ["25 % of its requests failed, of the champion's 5 % (1 % more may, by `trial.max_error_rate`)"],
        ),
        (
            Vitals(100),
            Vitals(100, 0, 12),
            ["12 % of its requests were answered by its fallback, of the champion's 0 % (1 % more may, by"
             " `trial.max_error_rate`)"],
        ),
        (Vitals(100, 5), Vitals(100, 12), []),
        (Vitals(100, 99), Vitals(100, 100), []),
        (Vitals(), Vitals(100, 100), []),
        (Vitals(100, buckets=(0, 55, 0, 45)), Vitals(100, buckets=(0, 45, 0, 55)), []),
        (Vitals(29, buckets=(0, 29)), Vitals(29, buckets=(0, 0, 0, 29)), []),
        (
            Vitals(30, buckets=(0, 30)),
            Vitals(30, buckets=(0, 0, 0, 30)),
            ["it takes 4.00 × the champion's time in the median (1.5 × at most, by `trial.max_latency_ratio`)"],
        ),
    ],
)  # fmt: skip
def test_one_with_callers_is_held_by_what_they_had(champion: Vitals, challenger: Vitals, said: list[str]) -> None:
    """Beyond what the champion's had in the same time, and beyond what chance brings."""
    assert hindrances(SETTINGS, None, (champion, challenger)) == said


def test_all_that_speaks_against_it_is_told() -> None:
    """Not the first of it alone."""
    figures = Figures(samples={Source.LIVE: 10}, errors=10, ratios=ratios(3.0, 30))
    assert len(hindrances(SETTINGS, figures, (Vitals(10), Vitals(10, 10, 10)))) == 4


# ---- by simulation ----


@pytest.mark.parametrize(("rate", "requests"), [(0.002, 500), (0.02, 300), (0.1, 2000)])
def test_of_2000_challengers_that_fail_as_often_at_most_20_are_held(rate: float, requests: int) -> None:
    """As shadows as often as they may, for their callers as often as the champion; failures and fallbacks."""
    settings = TrialSettings(max_error_rate=rate)
    strict = TrialSettings(max_error_rate=0.0)
    drawn = np.random.default_rng(5).binomial(requests, rate, (2000, 5)).tolist()
    shadows = [
        hindrances(settings, Figures(samples={Source.LIVE: requests}, errors=wrong), None) for wrong, *_ in drawn
    ]
    others = [hindrances(strict, None, (Vitals(requests, a, b), Vitals(requests, c, d))) for _, a, b, c, d in drawn]
    assert sum(map(bool, shadows)) <= 20
    assert sum(map(bool, others)) <= 20


def test_of_2000_challengers_that_take_as_long_as_they_may_at_most_20_are_held() -> None:
    """Beside the champion and for their callers: none of their medians is surely beyond the limit."""
    settings = TrialSettings(max_latency_ratio=1.0)
    rng = np.random.default_rng(6)
    times = np.array([rng.multinomial(300, (0.1, 0.35, 0.3, 0.15, 0.1), 2000) for _ in range(2)]).tolist()
    low, high = RATIOS.place(0.9), RATIOS.place(1.1)
    held = 0
    for ours, theirs, longer in zip(*times, rng.binomial(300, 0.5, 2000).tolist(), strict=True):
        counts = [0] * RATIOS.buckets
        counts[low], counts[high] = 300 - longer, longer
        both = Vitals(300, buckets=tuple(theirs)), Vitals(300, buckets=tuple(ours))
        held += bool(hindrances(settings, Figures(ratios=tuple(counts)), both))
    assert held <= 40  # 20 of either


@pytest.mark.parametrize(("champion", "challenger"), [(0.0, 0.04), (0.02, 0.08)])
def test_of_challengers_that_fail_much_more_often_nine_of_ten_are_held(champion: float, challenger: float) -> None:
    """By what 500 callers of either had."""
    rng = np.random.default_rng(8)
    theirs, ours = (rng.binomial(500, rate, 500).tolist() for rate in (champion, challenger))
    held = [
        bool(hindrances(TrialSettings(), None, (Vitals(500, few), Vitals(500, many))))
        for few, many in zip(theirs, ours, strict=True)
    ]
    assert sum(held) >= 450
