"""The verdict of a warm-up, from plain numbers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.comparison import Kind, OutputFigures
from router.core.gate import Outcome, Verdict
from router.core.histogram import RATIOS, TIMES, Scale
from router.core.warmup import (
    FEW_PAIRS,
    HUNG_S,
    LOADING_S,
    Accuracy,
    Figures,
    Mirrored,
    Source,
    crashed,
    decided,
    distributions,
    next_source,
    outcomes,
    report,
    stability,
    summed,
)
from router.model_settings import DeadlineSettings, ModelSettings
from router.version_settings import WarmupSettings

SETTINGS = WarmupSettings(min_samples=500, min_seconds=30, max_seconds=600)
MODEL = ModelSettings(warmup=SETTINGS, deadline=DeadlineSettings(sla_ms=50))


def counts(scale: Scale, *values: float) -> tuple[int, ...]:
    """Values by bucket."""
    made = [0] * scale.buckets
    for value in values:
        made[scale.place(value)] += 1
    return tuple(made)


def seen(live: int = 500, ratio: float = 1.0, agreed: int = 500, **others: object) -> Figures:
    """A version that does as the champion does, but for what is said."""
    figures = Figures(
        loaded=True,
        seconds=31,
        samples={Source.LIVE: live},
        rows=live,
        times=counts(TIMES, *[0.004 * ratio] * live),
        champion_times=counts(TIMES, *[0.004] * live),
        ratios=counts(RATIOS, *[ratio] * live),
        outputs=(OutputFigures("label", Kind.LABEL, 500, agreed),),
    )
    return replace(figures, **others)  # type: ignore[arg-type]


def gate(name: str, figures: Figures, settings: ModelSettings = MODEL, **more: object) -> Outcome:
    """One gate's outcome."""
    (found,) = [each for each in outcomes(figures, settings, **more) if each.gate == name]  # type: ignore[arg-type]
    return found


def failed(figures: Figures, settings: ModelSettings = MODEL) -> list[str]:
    """The gates that keep it from serving."""
    made = report(("m", "2", "d2"), ("1", "d1"), outcomes(figures, settings), figures, 0, 1)
    return [each.gate for each in made.blocking]


# ---- where requests come from, and when there are enough ----


def test_live_requests_are_waited_for() -> None:
    """Until there are enough, for long enough, and not at all before it is loaded."""
    assert next_source(Source.LIVE, Figures(), SETTINGS, champion=False) is None
    assert not decided(Source.LIVE, Figures(), SETTINGS)
    assert not decided(Source.LIVE, seen(499, seconds=599), SETTINGS)
    assert next_source(Source.LIVE, seen(499, seconds=599), SETTINGS, champion=True) is None
    assert not decided(Source.LIVE, seen(500, seconds=29), SETTINGS)
    assert decided(Source.LIVE, seen(500, seconds=30), SETTINGS)


def test_where_there_are_none_recorded_ones_make_up_and_then_synthetic_input() -> None:
    """At once without a champion, after `min_seconds` without one request, after `max_seconds` with too few."""
    assert next_source(Source.LIVE, seen(0, seconds=0), SETTINGS, champion=False) is Source.RECORDED
    assert next_source(Source.LIVE, seen(0, seconds=29), SETTINGS, champion=True) is None
    assert next_source(Source.LIVE, seen(0, seconds=30), SETTINGS, champion=True) is Source.RECORDED
    assert next_source(Source.LIVE, seen(499, seconds=600), SETTINGS, champion=True) is Source.RECORDED
    recorded = seen(499, exhausted=True)
    assert next_source(Source.RECORDED, recorded, SETTINGS, champion=True) is Source.SYNTHETIC
    assert not decided(Source.RECORDED, recorded, SETTINGS)
    assert decided(Source.RECORDED, seen(499, samples={Source.LIVE: 499, Source.RECORDED: 1}), SETTINGS)
    assert next_source(Source.SYNTHETIC, recorded, SETTINGS, champion=True) is None
    assert decided(Source.SYNTHETIC, recorded, SETTINGS)


@given(
    st.sampled_from(Source),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.floats(0, 1000),
    st.booleans(),
    st.booleans(),
)
def test_there_is_always_a_way_on(
    source: Source, live: int, other: int, seconds: float, exhausted: bool, champion: bool
) -> None:
    """A loaded version whose source has run dry is decided or gets another source: nobody waits for ever."""
    samples = {Source.LIVE: live, Source.SYNTHETIC: other}
    figures = Figures(loaded=True, seconds=seconds, samples=samples, exhausted=exhausted)
    dry = seconds >= SETTINGS.max_seconds if source is Source.LIVE else exhausted
    if dry:
        more = next_source(source, figures, SETTINGS, champion=champion)
        assert decided(source, figures, SETTINGS) or more is not None


def test_what_cannot_go_on_is_decided_at_once() -> None:
    """A version that cannot be loaded, or hangs."""
    assert decided(Source.LIVE, Figures(failed="no"), SETTINGS)
    assert decided(Source.LIVE, seen(3, running_s=HUNG_S), SETTINGS)
    assert failed(Figures(failed="no such operator")) == ["stability"]
    hangs = seen(3, running_s=HUNG_S)
    assert failed(hangs) == ["stability"]
    assert gate("stability", hangs).reason == "it hangs: a run has taken 30 s and goes on"
    assert not decided(Source.LIVE, Figures(running_s=HUNG_S), SETTINGS)
    assert "its load has taken 600 s" in gate("stability", Figures(running_s=LOADING_S)).reason


# ---- the verdict ----


def test_a_version_like_the_champion_passes() -> None:
    """Every gate says so in one line, with its figures."""
    found = outcomes(seen(), MODEL, Mirrored(600, 550, {"full": 50}), Accuracy(100, 90, 90, 3, 3))
    assert {each.verdict for each in found} == {Verdict.PASS}
    by_name = {each.gate: each for each in found}
    assert by_name["samples"].figures["dropped_full_requests"] == 50
    assert by_name["samples"].reason == "500 live requests within 31 s"
    assert by_name["latency"].figures["ratio"] == pytest.approx(1.0, abs=0.05)
    assert by_name["speed"].reason == "p99 of its runs is 4.08 ms of 50 ms"
    assert not any("\n" in each.reason for each in found)


def test_too_few_live_requests_are_told_of() -> None:
    """They do not keep it from serving; that nothing was run does."""
    few = seen(0, samples={Source.RECORDED: 40, Source.SYNTHETIC: 64})
    assert gate("samples", few).verdict is Verdict.WARN
    assert gate("samples", few).reason == "40 recorded and 64 synthetic requests, 500 live ones were wanted"
    told = replace(few, replayed="30 of the recorded ones are from 1 file", left_out="1 file cannot be read")
    assert gate("samples", told).reason.endswith(
        "were wanted; 30 of the recorded ones are from 1 file; 1 file cannot be read"
    )
    assert gate("samples", seen(left_out="1 file cannot be read")).reason == "500 live requests within 31 s"
    assert "samples" not in failed(few)
    assert failed(seen(0, samples={}, outputs=(), times=(), ratios=())) == ["samples"]


@pytest.mark.parametrize(("errors", "broken"), [(1, 0), (0, 1), (300, 200)])
def test_a_version_that_fails_where_the_champion_answers_is_refused(errors: int, broken: int) -> None:
    """The first failure is named."""
    found = gate("errors", seen(errors=errors, broken=broken, first_error="output 'y' has nan"))
    assert found.verdict is Verdict.FAIL
    assert found.reason.startswith(f"{errors + broken} of 500 requests failed, at most 0.001 of them may: output 'y'")
    assert gate("errors", seen(live=1000, errors=1)).verdict is Verdict.PASS


def test_a_slow_version_is_refused() -> None:
    """By its p99 where the model has a deadline, and by its median beside the champion's."""
    assert failed(seen(ratio=5)) == ["latency"]
    assert failed(seen(ratio=20)) == ["speed", "latency"]
    assert gate("speed", seen(), ModelSettings()).verdict is Verdict.SKIP
    text = gate("latency", seen(ratio=5)).reason
    assert text.startswith("its median run takes 5.0")
    assert text.endswith("3 × at most")


def test_few_pairs_say_nothing_of_the_ratio() -> None:
    """As where there is no champion."""
    figures = seen(ratios=counts(RATIOS, *[9.0] * (FEW_PAIRS - 1)))
    assert gate("latency", figures).verdict is Verdict.SKIP
    assert gate("latency", replace(figures, ratios=counts(RATIOS, *[9.0] * FEW_PAIRS))).verdict is Verdict.FAIL


def test_a_version_that_says_something_else_is_refused() -> None:
    """If it surely does; by the output that agrees least."""
    assert failed(seen(agreed=400)) == ["agreement"]
    assert gate("agreement", seen(agreed=400)).reason == (
        "same label in 'label' as the champion for 80.00% of 500 rows, 95.00% at least"
    )
    doubtful = gate("agreement", seen(agreed=470))
    assert (doubtful.verdict, doubtful.reason[-20:]) == (Verdict.WARN, "; that may be chance")
    worst = (OutputFigures("a", Kind.LABEL, 500, 500), OutputFigures("b", Kind.LABEL, 500, 1))
    assert "'b'" in gate("agreement", seen(outputs=worst)).reason


def test_numbers_without_a_tolerance_are_not_judged() -> None:
    """Their differences are told."""
    numbers = OutputFigures("y", Kind.NUMBERS, 0, 0, (3, 1), (4,), 2.0, 4)
    found = gate("agreement", seen(outputs=(numbers,)))
    assert (found.verdict, found.figures) == (Verdict.SKIP, {"mean_difference_y": 0.5})
    names = [each.name for each in distributions(seen(outputs=(numbers,)))]
    assert names[-2:] == ["absolute difference of 'y'", "relative difference of 'y'"]


def test_what_came_true_counts() -> None:
    """Surely less often right than the champion, beyond the margin: refused. Without actuals nothing is said."""
    assert gate("accuracy", seen()).verdict is Verdict.SKIP
    worse = Accuracy(1000, 900, 840, 70, 10)
    assert gate("accuracy", seen(), accuracy=worse).verdict is Verdict.FAIL
    assert gate("accuracy", seen(), accuracy=Accuracy(50, 45, 43, 4, 2)).verdict is Verdict.PASS


def test_a_crash_is_told_with_what_was_run() -> None:
    """One that cannot be blamed on its runs ends the warm-up too: it is not tried for ever."""
    live = crashed(1, 2)
    assert (live.verdict, live.blocks) == (Verdict.FAIL, True)
    assert live.reason == "it crashed on live input: the warm-up worker died while it ran 2 requests with it"
    assert crashed(3, 0).reason == "it cannot be warmed: the warm-up worker died 3 times meanwhile"


def simulated(source: random.Random, slowness: float, disagreement: float, errors: float) -> Figures:
    """A warm-up of 500 requests, with times that vary as they do on a busy machine."""
    ratios = [0] * RATIOS.buckets
    times = [0] * TIMES.buckets
    agreed = wrong = 0
    for _ in range(500):
        theirs, ours = (0.002 * source.lognormvariate(0, 0.4) for _ in range(2))
        ratios[RATIOS.place(ours * slowness / theirs)] += 1
        times[TIMES.place(ours * slowness)] += 1
        agreed += source.random() >= disagreement
        wrong += source.random() < errors
    outputs = (OutputFigures("label", Kind.LABEL, 500, agreed),)
    return seen(ratios=tuple(ratios), times=tuple(times), errors=wrong, outputs=outputs)


def refused(slowness: float, disagreement: float, errors: float, seeds: int = 200) -> float:
    """The share of such versions that are refused."""
    found = [failed(simulated(random.Random(seed), slowness, disagreement, errors)) for seed in range(seeds)]
    return sum(bool(each) for each in found) / seeds


def test_bad_versions_are_caught_and_equal_ones_are_not() -> None:
    """Five times slower, a twentieth more of other answers than allowed, failures: at least 99 %. Equal: none."""
    assert refused(5, 0, 0) >= 0.99
    assert refused(1, 0.10, 0) >= 0.97
    assert refused(1, 0, 0.02) >= 0.99
    assert refused(1.6, 0.05, 0) <= 0.015


def test_an_observation_that_was_interrupted_is_one() -> None:
    """Sums of both stretches; what goes on is that of the second."""
    first = seen(live=40, errors=2, first_error="early", missed=3, rested_s=1.5, running_s=9.0)
    second = seen(live=2, broken=1, first_error="late", seconds=4.0, running_s=0.5, samples={Source.RECORDED: 2})
    both = summed(first, second)
    assert (both.live, both.total, both.rows, both.seconds) == (40, 42, 42, 35.0)
    assert (both.errors, both.broken, both.first_error) == (2, 1, "early")
    assert (both.missed, both.rested_s, both.running_s, both.loaded) == (3, 1.5, 0.5, True)
    assert sum(both.times) == sum(both.champion_times) == sum(both.ratios) == 42
    assert (both.outputs[0].compared, both.outputs[0].agreed) == (1000, 1000)
    nothing = summed(Figures(), Figures())
    assert (nothing.total, nothing.times, nothing.outputs, nothing.loaded) == (0, (), (), False)


def test_a_version_that_runs_is_stable() -> None:
    """One that cannot be loaded or hangs is not."""
    assert stability(seen()) is None
    for figures in (Figures(failed="no such operator"), seen(running_s=HUNG_S)):
        found = stability(figures)
        assert found is not None
        assert (found.gate, found.verdict, found.blocks) == ("stability", Verdict.FAIL, True)


def test_mirrors_are_added_up_and_told_apart() -> None:
    """By reason."""
    one, other = Mirrored(5, 3, {"full": 2}), Mirrored(1, 0, {"rate": 1})
    assert one + other == Mirrored(6, 3, {"full": 2, "rate": 1})
    assert (one + other) - one == Mirrored(1, 0, {"full": 0, "rate": 1})
