"""The bake, from plain numbers: what is said of a candidate, and what is held against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.bake import (
    BACK,
    FEW,
    Bake,
    Compared,
    Finding,
    Instant,
    Measure,
    breaches,
    compared,
    found,
    level,
    more,
    slower,
)
from router.core.comparison import Kind, OutputFigures
from router.core.latency import BUCKETS, bucket
from router.core.vitals import Vitals
from router.core.warmup import Figures, Source
from router.version_settings import CanarySettings

SETTINGS = CanarySettings()
RARE = level(1, 240, 0.01)


def had(requests: int, failures: int = 0, fallbacks: int = 0, seconds: float = 0.004) -> Vitals:
    """What callers had: most answers took so long, one in twenty twice as long."""
    counts = [0] * BUCKETS
    answered = requests - failures - fallbacks
    counts[bucket(int(seconds * 2e9))] = answered // 20
    counts[bucket(int(seconds * 1e9))] = answered - answered // 20
    return Vitals(requests, failures, fallbacks, tuple(counts))


def at(seconds: float, ours: Vitals, theirs: Vitals, alike: Compared | None = None) -> Instant:
    """An instant."""
    return Instant(seconds, ours, theirs, alike or Compared())


def said(
    ours: Vitals, theirs: Vitals, alike: Compared | None = None, earlier: Vitals | None = None
) -> dict[Measure, Finding]:
    """What is found of one interval of 5 s."""
    bake = Bake.at(at(0, Vitals(), Vitals())).after(at(5, ours, theirs, alike))
    return {each.measure: each for each in found(bake, SETTINGS, RARE, "1", earlier)}


def test_equal_versions_have_nothing_against_them() -> None:
    """All that was compared is told, in words and as plain values."""
    findings = said(had(1000, 1, 1), had(3000, 3, 3), Compared(50, {"label": (50, 50)}))
    assert set(findings) == set(Measure)
    assert not breaches(findings.values())
    errors = findings[Measure.ERRORS]
    assert errors.text == (
        "0.10% of 1000 requests failed within 5 s, 0.10% of 3000 of version 1 at the same time; 0.20% more are allowed"
    )
    assert errors.facts == {
        "measure": "errors",
        "seconds": 5.0,
        "candidate": 0.001,
        "candidate_of": 1000,
        "control": 0.001,
        "control_of": 3000,
        "limit": 0.002,
        "chance": 1.0,
        "breach": False,
        "text": errors.text,
    }
    assert "p99 of 998 answers within 5 s is 5.33 ms, 5.1 ms of 2994 of version 1 at" in findings[Measure.P99].text
    assert "1.0 times as long, 1.3 times are allowed" in findings[Measure.P99].text
    assert findings[Measure.AGREEMENT].text == (
        "the same in 'label' as version 1 for 100.00% of 50 rows of the same requests within 5 s; 90.00% at least are"
        " wanted"
    )


@pytest.mark.parametrize(
    ("ours", "alike", "measure"),
    [
        (had(1000, failures=50), None, Measure.ERRORS),
        (had(1000, fallbacks=50), None, Measure.FALLBACKS),
        (had(1000, seconds=0.008), None, Measure.P99),
        (had(1000), Compared(50, {"label": (50, 20)}), Measure.AGREEMENT),
    ],
)
def test_what_is_worse_is_found(ours: Vitals, alike: Compared | None, measure: Measure) -> None:
    """By its own measure and by no other."""
    findings = said(ours, had(3000), alike)
    assert [each.measure for each in breaches(findings.values())] == [measure]


def test_nothing_is_said_from_a_handful() -> None:
    """However bad it looks: below 30 requests of either."""
    assert more(FEW - 1, FEW - 1, 0, 10**6, 0.0) == 1.0
    assert more(10**6, 10**6, 0, FEW - 1, 0.0) == 1.0
    assert not breaches(said(had(29, 29), had(3000)).values())
    assert not breaches(said(had(3000, 3000), had(29), Compared(29, {"label": (29, 0)})).values())
    assert slower(had(99, seconds=1.0), had(3000), 1.3) == 1.0


def test_a_difference_within_the_margin_is_allowed() -> None:
    """However sure it is."""
    assert not breaches(said(had(10**6, 2000), had(10**6, 100)).values())
    assert breaches(said(had(10**6, 2600), had(10**6, 100)).values())


def test_a_median_that_is_longer_is_not_a_p99_that_is() -> None:
    """What is promised is the p99."""
    slow = Vitals(1000, 0, 0, tuple([0] * 12 + [950, 50] + [0] * 18))
    fast = Vitals(3000, 0, 0, tuple([0] * 10 + [2850, 0, 0, 150] + [0] * 18))
    assert slower(slow, fast, 1.3) < RARE
    assert not breaches(said(slow, fast).values())


def test_outputs_are_judged_one_by_one() -> None:
    """The worst is told. The rows of one request are one look: more of them make nothing surer."""
    many = said(had(1000), had(3000), Compared(60, {"label": (6000, 5900), "score": (6000, 600)}))
    assert "the same in 'score' as version 1 for 10.00% of 6000 rows" in many[Measure.AGREEMENT].text
    assert many[Measure.AGREEMENT].breach
    few = said(had(1000), had(3000), Compared(31, {"label": (31_000, 26_000)}))
    assert not few[Measure.AGREEMENT].breach


def test_more_traffic_alone_is_not_held_against_a_candidate() -> None:
    """Where it has the larger share, its times have to be longer than the old champion's were with that."""
    slow, few = had(3000, seconds=0.008), had(200)
    assert {each.measure for each in breaches(said(slow, few).values())} == {Measure.P99}
    like_this = said(slow, few, earlier=slow)
    assert not breaches(like_this.values())
    assert like_this[Measure.P99].text.endswith("; version 1 did no better when it had the larger share")
    assert breaches(said(slow, few, earlier=had(3000)).values())
    assert breaches(said(slow, few, earlier=Vitals()).values())


@pytest.mark.parametrize(
    ("bad", "measure"), [(had(3000, 300), Measure.ERRORS), (had(3000, 0, 300), Measure.FALLBACKS)], ids=str
)
def test_what_was_once_bad_excuses_no_errors(bad: Vitals, measure: Measure) -> None:
    """A fault that hit the old champion for a while is over: the candidate fails now, and the old champion does not."""
    assert [each.measure for each in breaches(said(bad, had(200), earlier=bad).values())] == [measure]


def test_what_may_be_chance_is_said_to_be() -> None:
    """So that nobody takes a figure beyond its limit for a breach."""
    findings = said(had(100, 2), had(300), Compared(40, {"label": (40, 35)}))
    assert not breaches(findings.values())
    assert findings[Measure.ERRORS].text.endswith("0.20% more are allowed; that may be chance")
    assert findings[Measure.AGREEMENT].text.endswith("90.00% at least are wanted; that may be chance")
    assert not findings[Measure.FALLBACKS].text.endswith("chance")


# ---- views ----


def test_views_are_the_latest_intervals_and_all_of_them() -> None:
    """None twice, however long it has gone on, and however few instants are kept."""
    bake = Bake.at(at(0, had(0), had(0)))
    for look in range(1, 60):
        bake = bake.after(at(5 * look, had(100 * look), had(100 * look)))
        spans = [view.seconds / 5 for view in bake.views]
        assert spans == [*[back for back in BACK if back < look], look]
        assert [view.candidate.requests for view in bake.views] == [100 * span for span in spans]
    assert len(bake.past) == BACK[-1] + 1


def test_little_traffic_adds_up() -> None:
    """What no interval shows all of them together do; then it is that view which is told."""
    bake = Bake.at(at(0, had(0), had(0)))
    for look in range(1, 30):
        bake = bake.after(at(5 * look, had(50 * look, 2 * look), had(150 * look)))
        wrong = breaches(found(bake, SETTINGS, RARE, "1"))
        if wrong:
            break
    assert 3 <= look <= 15
    assert wrong[0].seconds > 5
    assert wrong[0].candidate_of > 50


@pytest.mark.parametrize("arm", ["candidate", "control"])
def test_counters_that_begin_anew_begin_the_bake_anew(arm: str) -> None:
    """A worker has loaded a version again: nobody knows what lay between."""
    before, after = at(0, had(1000), had(1000)), at(5, had(1200), had(1200))
    bake = Bake.at(before).after(replace(after, **{arm: had(50)}))
    assert bake.began.seconds == 5
    assert not list(found(bake, SETTINGS, RARE, "1"))


def test_an_observation_that_begins_anew_is_all_new() -> None:
    """The rest of the bake goes on."""
    bake = Bake.at(at(0, had(0), had(0), Compared(500, {"label": (500, 500)})))
    bake = bake.after(at(5, had(1000), had(1000), Compared(40, {"label": (40, 1)})))
    (agreement,) = [each for each in found(bake, SETTINGS, RARE, "1") if each.measure is Measure.AGREEMENT]
    assert (agreement.candidate_of, agreement.breach) == (40, True)
    assert bake.began.seconds == 0
    assert not any(each.measure is Measure.AGREEMENT for each in said(had(1000), had(1000)).values())


def test_what_was_observed_is_what_is_compared() -> None:
    """Requests that failed are none; outputs that cannot be judged neither."""
    outputs = (OutputFigures("label", Kind.LABEL, 90, 80), OutputFigures("score", Kind.NUMBERS))
    figures = Figures(samples={Source.LIVE: 100}, errors=4, broken=6, outputs=outputs)
    assert compared(figures) == Compared(90, {"label": (90, 80)})
    assert compared(None) == Compared()


@pytest.mark.parametrize(
    ("alike", "lacks"),
    [
        (Compared(), True),
        (Compared(29, {"label": (290, 290)}), True),
        (Compared(30, {"label": (29, 29)}), True),
        (Compared(30, {"label": (30, 0)}), False),
        (Compared(30, {"label": (30, 30), "score": (2, 2)}), False),
        (Compared(30), False),
    ],
)
def test_enough_is_compared_or_nothing_can_be(alike: Compared, lacks: bool) -> None:
    """Requests and rows; where none of so many requests could be judged, more would show no more."""
    assert alike.lacks(FEW) is lacks


def test_what_was_compared_before_a_bake_is_none_of_its_own() -> None:
    """It is counted from its beginning on, or from where the observation began anew."""
    before = Compared(500, {"label": (500, 500)})
    bake = Bake.at(at(0, had(0), had(0), before))
    assert bake.compared == Compared(0, {"label": (0, 0)})
    assert bake.after(at(5, had(10), had(10), Compared(510, {"label": (520, 515)}))).compared == Compared(
        10, {"label": (20, 15)}
    )
    assert bake.after(at(5, had(10), had(10), Compared(7, {"label": (8, 8)}))).compared == Compared(
        7, {"label": (8, 8)}
    )


# ---- risk ----


@given(st.integers(1, 1000), st.integers(1, 1000), st.floats(0.0001, 0.2))
def test_all_looks_together_have_the_risk_that_was_allowed(looks: int, planned: int, alpha: float) -> None:
    """However many there are in the end."""
    tests = len(Measure) * (len(BACK) + 1)
    assert sum(level(look, planned, alpha) for look in range(1, looks + 1)) * tests <= alpha * (1 + 1e-9)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.floats(0, 1))
def test_any_counts_have_an_answer(hits: int, misses: int, control: int, control_misses: int, margin: float) -> None:
    """A probability; a wider margin makes it no smaller."""
    found_ = more(hits, hits + misses, control, control + control_misses, 0.0)
    assert 0 <= found_ <= more(hits, hits + misses, control, control + control_misses, margin) + 1e-12 <= 1 + 1e-9


COUNTS = st.tuples(st.integers(0, BUCKETS - 6), st.lists(st.integers(0, 300), max_size=6)).map(
    lambda drawn: (*[0] * drawn[0], *drawn[1])
)


@given(COUNTS, COUNTS, st.floats(1, 10))
def test_any_times_have_an_answer(ours: tuple[int, ...], theirs: tuple[int, ...], ratio: float) -> None:
    """A probability; equal times are never slower."""
    mine, others = Vitals(sum(ours), 0, 0, ours), Vitals(sum(theirs), 0, 0, theirs)
    assert 0 <= slower(mine, others, ratio) <= 1
    assert slower(mine, mine, ratio) == 1.0
