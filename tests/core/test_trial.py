"""The sequential test of a trial: its risk and its power by simulation, and what may not matter to it."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.trial import STAKES, STEPS, Answer, Differences, Judge, Pair, Trial, capital, trial_of
from router.errors import InvalidRequest

Array = np.ndarray[Any, Any]

ALPHA = 0.01
TRIALS = 2000
LOOK = 50
NEVER = 1 << 40


def paired(seed: int, only_challenger: float, only_champion: float, most: int, look: int = LOOK) -> Array:
    """After how many requests 2,000 trials are won, with a look after each `look` of them; NEVER: within `most` not.

    `only_challenger` and `only_champion` are the shares of the requests that only one of both has right.
    """
    draws = np.random.default_rng(seed).random((TRIALS, most), np.float32)
    won, lost = (
        np.add.reduceat(hits, np.arange(0, most, look), axis=1, dtype=np.int32).cumsum(axis=1)
        for hits in (draws < only_challenger, draws > 1 - only_champion)
    )
    seen = np.arange(1, won.shape[1] + 1) * look
    counts = np.stack([lost, seen - lost - won, won], axis=-1)
    return first(capital(np.array([0.0, 0.5, 1.0]), counts, 0.5) >= -math.log(ALPHA), np.broadcast_to(seen, won.shape))


def unpaired(seed: int, share: float, champion: float, challenger: float, most: int) -> Array:
    """The same where a share of the requests is the challenger's, and so often each is right.

    A comparison is a run of requests that one of both had, and the request that the other had after them.
    """
    rng = np.random.default_rng(seed)
    blocks = round(most * share * (1 - share) / (1 - share * (1 - share)) / LOOK * 1.05) * LOOK
    many = rng.random((TRIALS, blocks)) < share  # the challenger's
    runs = rng.geometric(np.where(many, 1 - share, share))
    right = rng.binomial(runs, np.where(many, challenger, champion)) / runs
    other = rng.random((TRIALS, blocks)) < np.where(many, champion, challenger)
    places = np.floor((1 + np.where(many, right - other, other - right)) / 2 * STEPS + 1e-6).astype(np.int16)
    logs = np.empty((len(STAKES), TRIALS, blocks // LOOK))
    for place, stake in enumerate(STAKES):
        gains = np.log1p(stake * (2 * np.arange(STEPS + 1) / STEPS - 1))
        logs[place] = gains[places].reshape(TRIALS, -1, LOOK).sum(axis=-1).cumsum(axis=-1)
    hits = np.log(np.exp(logs - logs.max(axis=0)).mean(axis=0)) + logs.max(axis=0) >= -math.log(ALPHA)
    requests = (runs + 1).reshape(TRIALS, -1, LOOK).sum(axis=-1).cumsum(axis=-1)
    return first(hits & (requests <= most), requests)


def first(hits: Array, requests: Array) -> Array:
    """The requests at the first hit of each row."""
    at = hits.argmax(axis=1)
    rows = np.arange(len(hits))
    return np.where(hits[rows, at], requests[rows, at], NEVER)


# ---- by simulation ----


@pytest.mark.parametrize(
    ("name", "differ", "most", "look"),
    [
        ("both 90 % right, errors independent", 0.09, 10_000, LOOK),
        ("both 90 % right, errors mostly the same", 0.02, 10_000, LOOK),
        ("both 99.5 % right, as where the class is rare", 0.001, 10_000, LOOK),
        ("coins, with a look after each request", 0.25, 800, 1),
    ],
)
def test_of_2000_trials_without_a_difference_at_most_20_are_won(name: str, differ: float, most: int, look: int) -> None:
    """Same inputs, a look after each request or after every 50: the risk is that of the whole trial."""
    wins = int((paired(7, differ, differ, most, look) < NEVER).sum())
    assert wins <= TRIALS * ALPHA, name


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_where_requests_are_split_too_at_most_20_are_won(share: float) -> None:
    """Each request went to one of both, 90 % right."""
    assert (unpaired(11, share, 0.9, 0.9, 6_000) < NEVER).sum() <= TRIALS * ALPHA


@pytest.mark.parametrize(
    ("only_challenger", "only_champion", "most"), [(0.04, 0.01, 1_200), (0.093, 0.063, 4_500), (0.02, 0.01, 7_500)]
)
def test_a_challenger_that_is_better_wins_nine_times_of_ten(
    only_challenger: float, only_champion: float, most: int
) -> None:
    """Same inputs: 90 against 93 % with errors mostly the same, with independent ones, and 90 against 91 %."""
    assert (paired(13, only_challenger, only_champion, most) <= most).mean() >= 0.9


def test_one_that_is_better_wins_where_requests_are_split() -> None:
    """90 against 93 %, each with half of the requests."""
    assert (unpaired(17, 0.5, 0.9, 0.93, 11_000) < NEVER).mean() >= 0.9


# ---- the interval ----


def test_the_interval_holds_the_truth_and_closes() -> None:
    """Its ends are those claims at which what one has comes to 1/alpha; they meet at the true difference."""
    few = Differences().added([1.0] * 4 + [-1.0] * 1 + [0.0] * 95)
    many = Differences().added([1.0] * 400 + [-1.0] * 100 + [0.0] * 9500)
    assert few.low(ALPHA) < 0 < few.high(ALPHA)
    assert 0.02 < many.low(ALPHA) < 0.03 < many.high(ALPHA) < 0.04
    assert many.mean == 0.03
    places, counts = np.array([0.0, 0.5, 1.0]), np.array([100, 9500, 400])
    assert capital(places, counts, (1 + many.low(ALPHA)) / 2) == pytest.approx(-math.log(ALPHA), abs=1e-3)


def test_nothing_seen_says_nothing() -> None:
    """The interval is all that there can be."""
    assert (Differences().low(ALPHA), Differences().mean, Differences().high(ALPHA)) == (-1.0, 0.0, 1.0)


def test_champion_and_challenger_are_treated_alike() -> None:
    """Whoever is which: the interval is mirrored."""
    one = Differences().added([1.0, 0.5, 0.0, -1.0, 1 / 3, -0.123])
    other = Differences().added([-1.0, -0.5, 0.0, 1.0, -1 / 3, 0.123])
    assert one.low(ALPHA) == pytest.approx(-other.high(ALPHA))
    assert one.mean == -other.mean


@given(st.lists(st.floats(-1, 1), max_size=60), st.randoms(use_true_random=False), st.integers(0, 60))
def test_neither_order_nor_looks_matter(differences: list[float], chance: Any, at: int) -> None:
    """The same differences in any order, in one piece or in several, with a stop in between: the same state."""
    shuffled = list(differences)
    chance.shuffle(shuffled)
    once = Differences().added(differences)
    twice = Differences().added(shuffled[:at])
    twice.low(ALPHA)
    assert twice.added(shuffled[at:]) == once
    assert once.low(ALPHA) <= once.mean + 1e-6
    assert once.mean - 1e-6 <= once.high(ALPHA)


# ---- rows ----


def test_pairs_are_compared_by_request() -> None:
    """Ten rows of a request that came true together are one comparison, by their means."""
    pairs = [Pair(1, "a", 1.0, 0.0), *[Pair(1, "b", float(n % 2), 1.0) for n in range(10)], Pair(2, "a", 0.0, 0.0)]
    trial = Trial().paired(pairs, Judge.LABEL)
    assert (trial.differences.seen, trial.rows) == (3, 12)
    assert (trial.champion.right, trial.challenger.right) == (1.5, 2.0)
    assert trial.differences.mean == pytest.approx(0.5 / 3)


def test_the_closer_number_is_right() -> None:
    """Without `within`; where both are as far off, none is."""
    trial = Trial().paired([Pair(1, "a", 2.0, 1.0), Pair(1, "b", 2.0, 2.0), Pair(1, "c", 0.0, math.inf)], Judge.CLOSER)
    assert (trial.champion.share, trial.challenger.share, trial.differences.mean) == (1 / 3, 1 / 3, 0.0)


def test_numbers_within_a_distance_are_right() -> None:
    """The distance itself included."""
    trial = Trial().paired([Pair(1, "a", 2.0, 1.0), Pair(1, "b", 0.5, 0.0)], Judge.WITHIN, within=1.0)
    assert (trial.champion.share, trial.challenger.share) == (0.5, 1.0)


def test_answers_are_compared_with_those_meanwhile() -> None:
    """Each of the one that has fewer with all that the other had since the last comparison."""
    right = [(False, 0), (False, 1), (True, 0), (True, 0), (True, 1), (True, 0), (False, 0), (False, 1)]
    answers = [Answer(1, str(place), by, float(off)) for place, (by, off) in enumerate(right)]
    trial = Trial().separate(answers, Judge.LABEL)
    assert trial.differences == Differences().added([1.0 - 0.5, 2 / 3 - 1.0])
    assert (trial.champion.rows, trial.challenger.rows, trial.waiting[0].rows) == (3, 4, 1)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 1.0])), max_size=40), st.integers(0, 40))
def test_a_trial_goes_on_from_plain_values(rows: list[tuple[bool, float]], at: int) -> None:
    """Stored as JSON at any time and read again, it comes to the same end."""
    answers = [Answer(place // 2, str(place // 2), *row) for place, row in enumerate(rows)]
    at -= at % 2
    before = Trial().separate(answers[:at], Judge.LABEL)
    again = trial_of(json.loads(json.dumps(before.plain())))
    assert again == before
    assert again.separate(answers[at:], Judge.LABEL) == Trial().separate(answers, Judge.LABEL)


# ---- bad input ----


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.01, -1.01])
def test_a_difference_that_there_cannot_be_is_refused(bad: float) -> None:
    """In a line that says what there can be."""
    with pytest.raises(InvalidRequest, match="lies from -1 to 1"):
        Differences().added([0.0, bad])


@pytest.mark.parametrize("judge", list(Judge))
@pytest.mark.parametrize("bad", [math.nan, -0.5])
def test_a_prediction_cannot_be_off_by_less_than_nothing(judge: Judge, bad: float) -> None:
    """Nor by what is no number."""
    with pytest.raises(InvalidRequest, match="a distance of at least 0"):
        Trial().paired([Pair(1, "a", 0.0, bad)], judge, within=1.0)


def test_what_cannot_be_judged_is_refused() -> None:
    """Closeness of different requests, and closeness without a distance."""
    with pytest.raises(InvalidRequest, match="only where both ran the same requests"):
        Trial().separate([Answer(1, "a", by_challenger=True, off=0.0)], Judge.CLOSER)
    with pytest.raises(InvalidRequest, match="how close a number has to be is not said"):
        Trial().separate([Answer(1, "a", by_challenger=True, off=0.0)], Judge.WITHIN)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8))
def test_a_state_that_is_not_as_stored_is_refused(bad: Any) -> None:
    """Whatever it is; the mend is named."""
    good = Trial().paired([Pair(1, "a", 0.0, 1.0)], Judge.LABEL).plain()
    for key in good:
        if bad == good[key] or (key == "total" and type(bad) is int and abs(bad) <= 10**9):
            continue
        with pytest.raises(InvalidRequest, match="stop the trial and start it anew"):
            trial_of({**good, key: bad})
        with pytest.raises(InvalidRequest, match="stop the trial and start it anew"):
            trial_of({name: value for name, value in good.items() if name != key})
