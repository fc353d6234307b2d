"""Who wins a trial, when that is said, and in which words."""

from __future__ import annotations

import pytest

from router.core.trial import Judge, Pair, Trial
from router.core.verdict import Winner, span, standing, words
from router.version_settings import TrialSettings

HOUR = 3600.0


def trial(same: int = 0, challenger: int = 0, champion: int = 0) -> Trial:
    """So many rows that both have right, only the challenger, only the champion."""
    rows = [(0.0, 0.0)] * same + [(1.0, 0.0)] * challenger + [(0.0, 1.0)] * champion
    return Trial().paired([Pair(1, str(place), *row) for place, row in enumerate(rows)], Judge.LABEL)


def settings(**given: float) -> TrialSettings:
    """With these beside the defaults."""
    return TrialSettings.model_validate({"min_samples": 100, "max_seconds": HOUR, **given})


def said(seen: Trial, judge: Judge = Judge.LABEL, seconds: float = 0.0, **given: float) -> tuple[Winner | None, str]:
    """The verdict, and the words."""
    made = settings(**given)
    known = standing(seen, made, seconds)
    return known.winner, words(known, made, judge, "2", "3")


def test_the_challenger_wins_when_it_is_surely_better() -> None:
    """With how much, within which bounds, and the risk that this is wrong."""
    assert said(trial(900, 60, 10)) == (
        Winner.CHALLENGER,
        "Version 3 is better: of 100 requests version 3 has 5.2 more right than version 2, in truth between 2.3 and 8.5"
        " more (970 rows compared). A version that is no better would be found better in at most 1 of 100 trials.",
    )


def test_the_champion_keeps_its_place_when_the_challenger_is_surely_worse() -> None:
    """The same, the other way round."""
    assert said(trial(900, 10, 60)) == (
        Winner.CHAMPION,
        "Version 2 keeps its place, version 3 is worse: of 100 requests version 3 has 5.2 fewer right than version 2,"
        " in truth between 2.3 and 8.5 fewer (970 rows compared). A version that is no worse would be found worse in at"
        " most 1 of 100 trials.",
    )


def test_it_keeps_its_place_too_when_the_challenger_is_surely_not_better_by_the_margin() -> None:
    """Also where it is a little better; without a margin that goes on."""
    assert said(trial(9000, 60, 30)) == (None, said(trial(9000, 60, 30))[1])
    winner, text = said(trial(9000, 100, 30), margin=0.05)
    assert winner is Winner.CHAMPION
    assert text.startswith(
        "Version 2 keeps its place, version 3 is not better by the 5.0 of 100 that `trial.margin` asks"
    )


def test_a_challenger_that_is_better_by_less_than_the_margin_does_not_win() -> None:
    """It goes on, and when its time is over that is what is said."""
    seen = trial(900, 60, 10)
    assert said(seen, margin=0.06)[0] is None
    winner, text = said(seen, margin=0.06, seconds=HOUR)
    assert winner is Winner.NONE
    assert text.endswith("That is better, and not by the 6.0 of 100 that `trial.margin` asks for.")


def test_nothing_is_said_before_there_are_enough_rows() -> None:
    """However clear it seems."""
    winner, text = said(trial(0, 99, 0))
    assert winner is None
    assert text.startswith("So far of 100 requests version 3 has 100 more right than version 2, in truth between 8")
    assert text.endswith("(99 rows compared). No verdict before 100 rows.")
    assert said(trial(0, 100, 0))[0] is Winner.CHALLENGER


def test_a_trial_ends_undecided_when_its_time_is_over() -> None:
    """With what is known; a verdict of that moment comes first."""
    assert said(trial(200, 5, 4), seconds=HOUR - 1)[0] is None
    assert said(trial(200, 5, 4), seconds=HOUR) == (
        Winner.NONE,
        "Undecided after 60 minutes: of 100 requests version 3 has 0.5 more right than version 2, in truth between 6.2"
        " fewer and 7.3 more (209 rows compared). Too few requests came true to tell such versions apart.",
    )
    assert said(trial(900, 60, 10), seconds=HOUR)[0] is Winner.CHALLENGER


def test_without_anything_to_compare_that_is_said() -> None:
    """While it goes on, and at its end."""
    nothing = "of no request that both can be compared on has it come true what was right."
    assert said(Trial()) == (None, f"Nothing yet: {nothing}")
    assert said(Trial(), seconds=HOUR) == (Winner.NONE, f"Undecided after 60 minutes: {nothing}")


def test_numbers_are_closer_and_not_right() -> None:
    """Where nobody said how close is right."""
    rows = [Pair(1, str(place), 2.0, 1.0) for place in range(100)]
    winner, text = said(Trial().paired(rows, Judge.CLOSER), Judge.CLOSER)
    assert winner is Winner.CHALLENGER
    assert "of 100 requests version 3 is the closer one in 100 more than version 2 is, in truth between" in text


def test_one_row_is_one_row() -> None:
    """And little is known of it."""
    assert "(1 row compared)" in said(trial(1))[1]


def test_figures_go_to_plain_values() -> None:
    """Those that a page draws."""
    assert standing(trial(900, 60, 10), settings(), 0.0).plain() == {
        "rows": 970,
        "compared": 970,
        "difference": pytest.approx(50 / 970),
        "low": pytest.approx(0.0227, abs=1e-3),
        "high": pytest.approx(0.0854, abs=1e-3),
        "champion_share": pytest.approx(910 / 970),
        "challenger_share": pytest.approx(960 / 970),
        "winner": "challenger",
    }


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second"), (90, "90 seconds"), (3600, "60 minutes"), (10_800, "3 hours"), (1_209_600, "14 days")],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    """In the largest unit of which there are two."""
    assert span(seconds) == said
