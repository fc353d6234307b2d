"""What keeps a challenger from winning that is right more often."""

from __future__ import annotations

import pytest

from router.core.guardrail import hindrances
from router.core.histogram import RATIOS
from router.core.vitals import Vitals
from router.core.warmup import Figures, Source
from router.model_settings import TrialSettings

SETTINGS = TrialSettings(max_error_rate=0.01, max_latency_ratio=1.5)


def ratios(ratio: float, count: int) -> tuple[int, ...]:
    """So many pairs of runs with a ratio."""
    return tuple([count if place == RATIOS.place(ratio) else 0 for place in range(RATIOS.buckets)])


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        (Figures(samples={Source.LIVE: 1000}, errors=6, broken=4), []),
        (
            Figures(samples={Source.LIVE: 1000}, errors=7, broken=4),
            [
                "it failed on 11 of 1000 requests that the champion has answered (1 % may fail, by"
                " `trial.max_error_rate`)"
            ],
        ),
        (Figures(ratios=ratios(1.4, 100)), []),
        (Figures(ratios=ratios(3.0, 29)), []),
        (
            Figures(ratios=ratios(3.0, 30)),
            ["it takes 3.02 × the champion's time in the median (1.5 × at most, by `trial.max_latency_ratio`)"],
        ),
        (None, []),
    ],
)
def test_a_shadow_is_held_by_its_errors_and_its_time(figures: Figures | None, said: list[str]) -> None:
    """On the runs of the champion; a few pairs of times say nothing."""
    assert hindrances(SETTINGS, figures, None) == said


@pytest.mark.parametrize(
    ("champion", "challenger", "said"),
    [
        (Vitals(100, 5), Vitals(100, 6), []),
        (Vitals(), Vitals(), []),
        (
            Vitals(100, 5),
            Vitals(100, 7),
            ["7 % of its requests failed, of the champion's 5 % (1 % more may, by `trial.max_error_rate`)"],
        ),
        (
            Vitals(100),
            Vitals(100, 0, 2),
            ["2 % of its requests were answered by its fallback, of the champion's 0 % (1 % more may, by"
             " `trial.max_error_rate`)"],
        ),
        (Vitals(29, buckets=(0, 29)), Vitals(29, buckets=(0, 0, 0, 29)), []),
        (
            Vitals(30, buckets=(0, 30)),
            Vitals(30, buckets=(0, 0, 0, 30)),
            ["it takes 4.00 × the champion's time in the median (1.5 × at most, by `trial.max_latency_ratio`)"],
        ),
    ],
)  # fmt: skip
def test_one_with_callers_is_held_by_what_they_had(champion: Vitals, challenger: Vitals, said: list[str]) -> None:
    """Beyond what the champion's had in the same time."""
    assert hindrances(SETTINGS, None, (champion, challenger)) == said


def test_all_that_speaks_against_it_is_told() -> None:
    """Not the first of it alone."""
    figures = Figures(samples={Source.LIVE: 10}, errors=10, ratios=ratios(3.0, 30))
    assert len(hindrances(SETTINGS, figures, (Vitals(10), Vitals(10, 10, 10)))) == 4
