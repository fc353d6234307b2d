"""A contest goes to plain JSON and back, and what is damaged is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from router.core.access import Role
from router.core.contest import Contest, contest_of
from router.core.trial import Answer, Judge, Pair
from router.core.vitals import Vitals
from router.errors import InvalidRequest
from router.version_settings import TrialSettings

SETTINGS = TrialSettings(alpha=0.05, margin=0.01, within=0.5, on_win="ask", strategy="swap", max_latency_ratio=2.0)
PAIRED = Contest("1", "d1", "2", True, Judge.LABEL, SETTINGS, Role.OPERATOR)
SPLIT = Contest("1", "d1", "2", False, Judge.WITHIN, SETTINGS, Role.ADMIN, 4, 2.5, vitals=(Vitals(3, 1), Vitals(4)))


@pytest.mark.parametrize("contest", [PAIRED, SPLIT, replace(SPLIT, anew=2, file=7)])
def test_a_contest_goes_on_from_plain_values(contest: Contest) -> None:
    """As JSON, at any time, with all that a verdict takes."""
    pairs = [Pair(7, "a", 0.0, 1.0)]
    answers = [Answer(7, "a", by_challenger=False, off=0.0), Answer(7, "b", by_challenger=True, off=1.0)]
    for each in (contest, contest.read(7, pairs, answers)):
        again = contest_of(json.loads(json.dumps(each.plain(), allow_nan=False)))
        assert again == each
        assert again.standing() == each.standing()
        assert again.text(again.standing()) == each.text(each.standing())
    assert contest.read(7, pairs, answers).trial.rows == 1


@pytest.mark.parametrize("key", list(SPLIT.plain()))
@pytest.mark.parametrize("bad", [None, "?", -1, [], {"counts": 1}])
def test_what_is_damaged_is_refused_or_known(key: str, bad: Any) -> None:
    """In a line with the mend, never by another error."""
    plain = {**SPLIT.plain(), key: bad}
    try:
        contest_of(plain)
    except InvalidRequest as error:
        assert "anew" in str(error)  # noqa: PT017  # some values will do
    del plain[key]
    with pytest.raises(InvalidRequest, match="anew"):
        contest_of(plain)


def test_a_trial_that_never_lost_its_ledger_is_stored_as_it_always_was() -> None:
    """One that was stored before that was counted is read; a count that is none is refused."""
    assert "anew" not in SPLIT.plain()
    assert contest_of(replace(SPLIT, anew=1).plain()).anew == 1
    with pytest.raises(InvalidRequest, match="start it anew"):
        contest_of({**SPLIT.plain(), "anew": "?"})


def test_the_path_of_a_trial_is_not_endless() -> None:
    """A point whenever it has compared a tenth more, and one at its end."""
    contest = replace(PAIRED, settings=TrialSettings(min_samples=100))
    for turn in range(300):
        contest = contest.read(turn, [Pair(turn, "a", 1.0, 0.0)], [])
        contest = contest.passed(replace(contest.standing(), winner=None))
    seen = [point[0] for point in contest.path]
    assert seen[:12] == [*range(1, 12), 13]
    assert len(seen) < 50
    assert contest.passed(contest.standing()).path[-1][0] == 300
    assert contest_of(json.loads(json.dumps(contest.plain()))) == contest
