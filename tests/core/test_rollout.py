"""The rollout as a value: what follows from what is seen, in every state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.bake import FEW, Compared, Instant
from router.core.latency import BUCKETS
from router.core.rollout import Advance, Decision, Finish, Hold, Rollout, Seen, Undo, advanced, begin, decide, planned
from router.core.vitals import Vitals
from router.version_settings import CanarySettings

SETTINGS = CanarySettings(steps=(10, 50, 100), bake_seconds=20, min_requests=100, max_seconds=100)
WAITS: Decision = Hold("")


def had(requests: int, failures: int = 0, fallbacks: int = 0, place: int = 12) -> Vitals:
    """Counters; all answers took as long."""
    counts = [0] * BUCKETS
    counts[place] = requests - failures - fallbacks
    return Vitals(requests, failures, fallbacks, tuple(counts))


def alike(requests: float) -> Compared:
    """So many requests that both have run, with the same answers."""
    return Compared(round(requests), {"label": (round(requests), round(requests))})


def gone_on(
    rollout: Rollout,
    upto: float,
    *,
    per_second: float = 20,
    failing: float = 0.0,
    control: float = 100,
    compared: float = 4,
    **more: object,
) -> Decision:
    """What is decided when it is looked at every five seconds until then, unless it is something before."""
    now, decision = rollout.began, WAITS
    while now < upto and isinstance(decision, Hold):
        ours = had(round(per_second * now), round(per_second * now * failing))
        instant = Instant(now, ours, had(round(control * now)), alike(compared * now))
        rollout, decision = decide(rollout, Seen(now, 90.0, instant, **more), "1")  # type: ignore[arg-type]
        now += 5
    return decision


def test_a_step_is_over_when_it_has_baked_and_was_asked_enough() -> None:
    """Not before either."""
    rollout = begin(SETTINGS, 0.0, 100.0, 0.0)
    assert (rollout.step, rollout.share, rollout.last) == ("step 1 of 3, 10 %", 10.0, False)
    assert gone_on(rollout, 20) == Hold("it is still baking")
    assert gone_on(rollout, 21) == Advance(50.0)
    assert gone_on(rollout, 45, per_second=2) == Hold("too little traffic, 80 of 100 requests")
    assert gone_on(rollout, 60, per_second=2) == Advance(50.0)


def test_the_last_step_leaves_some_to_the_old_champion_and_is_the_end() -> None:
    """Some of what both have together; other challengers keep theirs."""
    second = advanced(begin(SETTINGS, 0.0, 100.0, 0.0), 50.0, 30.0)
    assert (second.at, second.share, second.began, second.spent) == (1, 50.0, 30.0, 30.0)
    assert (second.bake, second.here) == (None, 0)
    _, decision = decide(baked(second), Seen(60.0, 30.0, Instant(60.0, had(1000), had(1000), alike(100))), "1")
    assert decision == Advance(75.0)
    third = advanced(second, 95.0, 60.0)
    assert third.last
    assert gone_on(third, 100) == Finish()


def baked(rollout: Rollout) -> Rollout:
    """As it is after 15 seconds with enough requests."""
    now = rollout.began
    for seconds in (0.0, 15.0):
        seen = Seen(now + seconds, 30.0, Instant(now + seconds, had(int(20 * seconds)), had(500), alike(seconds)))
        rollout, _ = decide(rollout, seen, "1")
    return rollout


@pytest.mark.parametrize(
    ("share", "whole", "at", "begins"),
    [
        (0.0, 100.0, 0, 10.0),
        (10.0, 100.0, 0, 10.0),
        (30.0, 100.0, 0, 30.0),
        (60.0, 80.0, 1, 60.0),
        (93.0, 98.0, 1, 93.0),
        (98.0, 98.0, 1, 93.0),
        (100.0, 100.0, 2, 95.0),
    ],
)
def test_a_challenger_goes_on_from_the_share_that_it_has(share: float, whole: float, at: int, begins: float) -> None:
    """It is lowered only where there would be nothing to compare with: the control is the champion's again."""
    rollout = begin(SETTINGS, share, whole, 0.0)
    assert (rollout.at, rollout.share) == (at, begins)


def test_what_is_worse_is_undone_with_the_figures() -> None:
    """At once, by its own fault."""
    decision = gone_on(begin(SETTINGS, 0.0, 100.0, 0.0), 100, failing=0.3)
    assert isinstance(decision, Undo)
    assert decision.broken
    assert decision.reason.startswith("30.00% of ")


def test_it_does_not_go_on_for_ever() -> None:
    """It says what was missing, and that is not the version's fault."""
    rollout = begin(SETTINGS, 0.0, 100.0, 0.0)
    said = "not over after canary.max_seconds = 100, in step 1 of 3, 10 %: "
    little = gone_on(rollout, 200, per_second=0.5)
    assert little == Undo(f"{said}too little traffic, 52 of 100 requests")
    assert gone_on(rollout, 200, frozen=True) == Undo(f"{said}its model is frozen")
    long = CanarySettings(steps=(10, 100), bake_seconds=200, max_seconds=100)
    baking = gone_on(begin(long, 0.0, 100.0, 0.0), 200)
    assert baking == Undo("not over after canary.max_seconds = 100, in step 1 of 2, 10 %: it is still baking")
    _, silent = decide(rollout, Seen(101.0, 90.0), "1")
    assert silent == Undo(f"{said}the workers do not say how it does")


def test_nobody_takes_a_step_who_was_not_compared() -> None:
    """Neither where the old champion had hardly a request, nor where it ran hardly one of the candidate's."""
    rollout = begin(SETTINGS, 0.0, 100.0, 0.0)
    alone = "too little to compare with, version 1 had 0 of 30 requests"
    assert gone_on(rollout, 60, control=0) == Hold(alone)
    assert gone_on(rollout, 200, control=0) == Undo(
        f"not over after canary.max_seconds = 100, in step 1 of 3, 10 %: {alone}"
    )
    few = "too few of its answers could be compared with those of version 1 to the same requests"
    few += " (canary.min_agreement = 0 does without)"
    assert gone_on(rollout, 60, compared=0.2) == Hold(f"{few}: 11 requests with 11 rows, of 30 each")
    assert gone_on(rollout, 200, compared=0.5) == Advance(50.0)
    away = "version 1 cannot be run on copies of its requests: no memory"
    assert gone_on(rollout, 60, uncompared=away) == Hold(
        f"its answers cannot be compared (canary.min_agreement = 0 does without): {away}"
    )
    undone = gone_on(rollout, 200, uncompared=away)
    assert isinstance(undone, Undo)
    assert (undone.reason.endswith(away), undone.broken) == (True, False)


def test_what_nobody_wants_to_compare_is_not_waited_for() -> None:
    """Fewer requests of others than of the candidate itself; no agreement where none is wanted, or none can be had."""
    bold = SETTINGS.model_copy(update={"min_agreement": 0.0})
    assert gone_on(begin(bold, 0.0, 100.0, 0.0), 30, compared=0, uncompared="no") == Advance(50.0)
    quick = SETTINGS.model_copy(update={"min_requests": 10})
    assert gone_on(begin(quick, 0.0, 100.0, 0.0), 30, control=0.5, compared=0.5) == Advance(50.0)
    rollout, decision = begin(SETTINGS, 0.0, 100.0, 0.0), WAITS
    for now in (0.0, 10.0, 20.0):
        ours, nothing = had(round(20 * now)), Compared(round(2 * now))
        rollout, decision = decide(
            rollout, Seen(now, 90.0, Instant(now, ours, had(500 + round(9 * now)), nothing)), "1"
        )
    assert decision == Advance(50.0)


def test_a_canary_without_a_bake_is_looked_at_once_in_each_step() -> None:
    """Nobody takes a step without a comparison."""
    settings = CanarySettings(steps=(50, 100), bake_seconds=0, min_requests=0)
    rollout = begin(settings, 0.0, 100.0, 0.0)
    rollout, first = decide(rollout, Seen(0.0, 50.0, Instant(0.0)), "1")
    assert first == Hold("it is still baking")
    _, second = decide(rollout, Seen(5.0, 50.0, Instant(5.0)), "1")
    assert second == Advance(95.0)
    assert planned(settings) == 2
    assert planned(CanarySettings()) == 240


def test_those_whom_the_candidate_has_had_are_counted() -> None:
    """Over steps; those before the canary are not, nor those of counters that nobody knows."""
    rollout = begin(SETTINGS, 0.0, 100.0, 0.0, had(500))
    for now, requests in ((0.0, 510), (5.0, 600)):
        rollout, _ = decide(rollout, Seen(now, 90.0, Instant(now, had(requests, 1), had(1000))), "1")
    rollout = advanced(rollout, 50.0, 6.0)
    rollout, _ = decide(rollout, Seen(7.0, 50.0, Instant(7.0, had(650, 2), had(1000))), "1")
    assert (rollout.served.requests, rollout.served.failures) == (150, 2)
    rollout, _ = decide(rollout, Seen(12.0, 50.0, Instant(12.0, had(10), had(1000))), "1")
    rollout, _ = decide(rollout, Seen(17.0, 50.0, Instant(17.0, had(30), had(1000))), "1")
    assert rollout.served.requests == 170


def test_the_old_champion_is_remembered_from_when_it_had_more() -> None:
    """What the candidate does with a larger share is held against that too."""
    rollout = begin(SETTINGS, 0.0, 100.0, 0.0)
    for now in (0.0, 5.0, 10.0):
        rollout, _ = decide(rollout, Seen(now, 90.0, Instant(now, had(int(20 * now)), had(int(200 * now)))), "1")
    assert rollout.champion == had(2000)
    rollout = advanced(rollout, 95.0, 15.0)
    slow = [had(3000), had(6000, place=16)]
    late = Vitals(6000, 0, 0, tuple(a + b for a, b in zip(had(3000).buckets, had(3000, place=14).buckets, strict=True)))
    for now, ours in ((15.0, slow[0]), (20.0, late)):
        rollout, decision = decide(rollout, Seen(now, 5.0, Instant(now, ours, had(2000 + int(30 * now)))), "1")
    assert isinstance(decision, Undo)
    assert rollout.champion == had(2000)


# ---- every state, every input ----

COUNTS = st.builds(
    lambda answered, failures, fallbacks, place: had(answered + failures + fallbacks, failures, fallbacks, place),
    st.integers(0, 5000),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, BUCKETS - 1),
)
SECONDS = st.floats(-100, 1000)
ALIKE = st.builds(
    lambda requests, rows, apart: Compared(requests, {"label": (rows + apart, rows)} if rows or apart else {}),
    st.integers(0, 200),
    st.integers(0, 2000),
    st.integers(0, 20),
)
INSTANTS = st.none() | st.builds(Instant, SECONDS, COUNTS, COUNTS, ALIKE)
SEEN = st.builds(
    Seen,
    SECONDS,
    st.floats(0, 100),
    INSTANTS,
    st.sampled_from(["", "gone"]),
    st.sampled_from(["", "broken"]),
    st.booleans(),
    st.sampled_from(["", "it is away"]),
)
CANARY = st.builds(
    CanarySettings,
    steps=st.sampled_from([(100,), (5, 100), (10, 50, 100), (99, 100)]),
    bake_seconds=st.sampled_from([0, 20]),
    min_requests=st.sampled_from([0, 100]),
    max_seconds=st.sampled_from([1, 100, 10_000]),
)


@given(CANARY, st.floats(0, 100), st.lists(SEEN, max_size=12))
def test_every_state_has_an_answer_to_every_input(settings: CanarySettings, share: float, seen: list[Seen]) -> None:
    """A share never falls nor takes what the champion is to keep; nothing grows that is frozen, unknown, too new or not
    compared; what is gone or broken is undone, and what takes too long does not go on."""
    rollout = begin(settings, share, 100.0, 0.0)
    assert rollout.share <= 100.0 - settings.control
    for each in seen:
        before = rollout
        rollout, decision = decide(rollout, each, "1")
        assert rollout.looks >= before.looks
        assert rollout.served.requests >= before.served.requests
        assert (rollout.at, rollout.share) == (before.at, before.share)
        if each.gone or each.broken:
            assert decision == Undo(each.gone or each.broken, broken=not each.gone)
        if isinstance(decision, Hold):
            assert decision.waits
            assert rollout.seconds(each.now) <= settings.max_seconds
        if isinstance(decision, Undo) and decision.broken and not each.broken:
            assert any(finding.breach for finding in rollout.findings)
        if isinstance(decision, Advance | Finish):
            assert not each.frozen
            assert each.instant is not None
            assert rollout.bake is not None
            assert each.now - rollout.bake.began.seconds >= settings.bake_seconds
            assert rollout.here >= settings.min_requests
            assert rollout.there >= min(FEW, settings.min_requests)
            assert not (each.uncompared and settings.min_requests)
            assert isinstance(decision, Finish) == rollout.last
        if isinstance(decision, Advance):
            assert decision.share >= rollout.share
            assert decision.share <= max(rollout.share, each.left + rollout.share - settings.control)
            rollout = advanced(rollout, decision.share, each.now)
            assert rollout.spent >= before.spent
