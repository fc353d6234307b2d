"""Whether a version has become worse: false alarms over a day, what is found and when, what is back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.decline import Baseline, Decline, Finding, Origin, Rule, Status, of_exam, of_first
from router.core.outcome import SLOT_NS, Array, Kind, Losses, Outcome, losses
from router.core.prediction import Form

RULE = Rule(0.02, 0.2, 1000)
DAY = 8640
"""Slots of ten seconds."""


def labels(seed: int, *shares: tuple[float, int], each: int = 5) -> Losses:
    """Wrong with a share, for so many slots, then with the next; `each` requests a slot."""
    rng = np.random.default_rng(seed)
    wrong = np.concatenate([rng.random(slots * each) < share for share, slots in shares])
    return Losses(wrong.astype(float), np.arange(len(wrong)) // each)


def found(decline: Decline, known: Losses) -> list[Finding]:
    """What changed."""
    return list(decline.add(known))


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_day_of_a_version_that_stays_as_it_is_has_no_alarm(share: float) -> None:
    """Over a hundred seeds, each with a baseline of its own that is as lucky as it is."""
    alarms = 0
    for seed in range(100):
        changes = found(Decline(Kind.LABELS, RULE), labels(seed, (share, DAY), each=1))
        alarms += any(each.status is Status.RED for each in changes)
    assert alarms == 0


def test_what_becomes_worse_is_found_and_what_is_back_too() -> None:
    """With since when, over how many, and how wrong it was."""
    first, red, back = found(Decline(Kind.LABELS, RULE), labels(1, (0.05, 1000), (0.15, 500), (0.05, 2000)))
    assert (first.status, red.status, back.status) == (Status.GREEN, Status.RED, Status.GREEN)
    assert red.seen is not None
    assert 9_000 < red.seen.since_s < 10_600
    assert red.seen.loss == pytest.approx(0.15, abs=0.04)
    assert red.seen.requests < 1500


def test_it_does_not_matter_how_it_is_read() -> None:
    """In one piece or in many: the same is found."""
    whole = labels(2, (0.05, 1000), (0.12, 1000))
    once = found(Decline(Kind.LABELS, RULE), whole)
    pieces = Decline(Kind.LABELS, RULE)
    parts = [
        each
        for at in range(0, len(whole.losses), 777)
        for each in found(pieces, Losses(whole.losses[at : at + 777], whole.slots[at : at + 777]))
    ]
    assert [each.status for each in parts] == [each.status for each in once] == ["green", "red"]
    assert parts[1].seen is not None
    assert once[1].seen is not None
    assert parts[1].seen.since_s == once[1].seen.since_s


def test_numbers_are_watched_by_their_mean_error() -> None:
    """One absurd truth is no decline, a mean error that has grown by half is."""
    rng = np.random.default_rng(3)
    errors: Array = np.abs(rng.normal(size=20_000))
    errors[5000] = 1e90
    errors[10_000:] *= 1.5
    changes = found(Decline(Kind.NUMBERS, RULE), Losses(errors, np.arange(20_000) // 5))
    assert [each.status for each in changes] == ["green", "red"]
    assert changes[1].seen is not None
    assert changes[1].seen.since_s > 15_000


def test_an_absurd_truth_among_the_first_hides_no_decline() -> None:
    """It counts as one of those that come later does; a mean of errors that are large quite often is what it is."""
    rng = np.random.default_rng(3)
    errors: Array = np.abs(rng.normal(size=20_000))
    errors[500] = 1e90
    errors[10_000:] *= 1.5
    changes = found(Decline(Kind.NUMBERS, RULE), Losses(errors, np.arange(20_000) // 5))
    assert [each.status for each in changes] == ["green", "red"]
    assert changes[0].baseline is not None
    assert changes[0].baseline.loss == pytest.approx(0.8, abs=0.1)
    often = np.where(np.arange(1000) % 10, 1.0, 1e6)
    assert of_first(Kind.NUMBERS, often).loss == pytest.approx(often.mean())
    assert of_first(Kind.NUMBERS, np.zeros(50)).loss == 0.0


def test_the_exam_may_be_the_baseline() -> None:
    """Then a version that begins worse is found too."""
    exam = of_exam(Kind.LABELS, 2000, 0.03)
    (red,) = found(Decline(Kind.LABELS, RULE, exam), labels(4, (0.15, 300)))
    assert (red.status, red.baseline) == (Status.RED, exam)
    assert of_exam(Kind.NUMBERS, 10, 2.0) == Baseline(Origin.EXAM, 10, 2.0, 2.0)


def test_another_rule_begins_anew() -> None:
    """With the baseline that there is."""
    decline = Decline(Kind.LABELS, RULE)
    found(decline, labels(5, (0.05, 400), (0.2, 300)))
    assert decline.finding().status is Status.RED
    decline.follow(Rule(0.5, 0.2, 1000))
    assert decline.finding().status is Status.GREEN
    assert found(decline, labels(6, (0.2, 300))) == []


@given(
    st.lists(st.floats(0, 1e308), min_size=1, max_size=60),
    st.lists(st.integers(0, 2**40), min_size=60, max_size=60),
    st.sampled_from(Kind),
)
def test_nothing_breaks_it(values: list[float], slots: list[int], kind: Kind) -> None:
    """Whatever losses there are and however clocks jump: a status, and figures that are numbers."""
    top = 1.0 if kind is Kind.LABELS else 1e100
    decline = Decline(kind, Rule(0.02, 0.2, 30))
    known = Losses(np.minimum(np.array(values), top), np.array(slots[: len(values)], np.int64))
    for finding in decline.add(known):
        assert finding.limit > 0
    assert decline.finding().status in set(Status)


def test_a_request_counts_once() -> None:
    """By the mean of its rows that came true together."""
    rows = [Outcome("1", request, 1, 0, SLOT_NS, Form.INTEGER, 1, 1, off) for request, off in (("a", 0.0), ("a", 1.0))]
    known = losses([*rows, Outcome("1", "b", 1, 0, SLOT_NS, Form.INTEGER, 1, 1, 1.0)])
    assert (known.losses.tolist(), known.slots.tolist()) == ([0.5, 1.0], [1, 1])
    assert of_first(Kind.LABELS, known.losses).loss == 0.75
