"""What became of requests is kept for those who ask: of all that went badly, and of a sample of the rest."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.fallback import Reason
from router.core.hedging import Why
from router.core.latency import BUCKETS, bucket
from router.errors import ModelFailed, Status
from router.serving.expiry import SWEEP_S
from router.serving.lanes import Lane
from router.serving.stories import FEWEST, SAMPLED, SLOW, Stories, Story, usual_ns
from tests.serving.fakes import World, request, version
from tests.serving.test_fallback import BOTH, DEFAULT, FAILOVER, Spared
from tests.serving.test_hedge import RUN_S, Twice


def told(lane: Lane) -> list[Story]:
    """All stories of a lane's worker, newest first."""
    return lane.teller.stories.find(lambda _: True, 10_000)


def run_s(inline: bool) -> float:
    """What keeps a lane on its side."""
    return 0.0002 if inline else 0.003


def usual(world: World) -> None:
    """Ordinary requests, until the lane knows what they take; their stories are forgotten."""
    world.runs_take(run_s(world.inline))
    for _ in range(2 * SAMPLED + 10):
        world.send(0)
        world.work()
    world.lane.teller.stories._kept.clear()


def quick(**about: Any) -> World:
    """A world that knows what its requests take."""
    world = World(**about)
    usual(world)
    return world


@pytest.mark.parametrize("inline", [True, False])
def test_nothing_is_kept_of_what_goes_as_usual_but_a_sample(inline: bool) -> None:
    """One in so many runs."""
    world = quick(inline=inline)
    for _ in range(10 * SAMPLED):
        world.send(0)
        world.work()
    stories = told(world.lane)
    assert 9 <= len(stories) <= 11
    assert {story.why for story in stories} == {"sample"}


def test_of_a_lane_that_has_just_begun_all_is_kept() -> None:
    """Nobody knows yet what is slow there."""
    world = World()
    world.send(1, request_id="first")
    world.work()
    (story,) = told(world.lane)
    assert (story.model, story.version, story.generation, story.why) == ("m", "1", 1, "sample")
    assert (story.served_by, story.reason, story.cause, story.status) == ("champion", None, "", Status.OK)
    assert story.id_field == request(1, request_id="first").id_field
    assert story.run is not None
    assert (story.run.calls, story.run.rows, story.run.session, story.run.inline) == (1, 1, 1, True)


@pytest.mark.parametrize("inline", [True, False])
def test_a_slow_request_is_kept(inline: bool) -> None:
    """With what it waited and ran; the others of its run that were as slow too."""
    world = quick(inline=inline)
    world.runs_take(0.02)
    world.send(1, request_id="a")
    world.send(2, 3, request_id="b")
    world.clock.now += 0.01
    world.work()
    second, first = told(world.lane)
    assert [story.why for story in (first, second)] == ["slow", "slow"]
    assert first.run is not None
    assert (first.run.calls, first.run.rows, first.rows, second.rows) == (2, 3, 1, 2)
    assert first.run.began - first.received == pytest.approx(10e6)
    assert first.run.seconds == pytest.approx(0.02)
    assert first.run.inline is inline


@pytest.mark.parametrize("inline", [True, False])
def test_a_request_that_needs_most_of_its_time_is_slow(inline: bool) -> None:
    """However quick it was."""
    world = quick(inline=inline)
    left = 1.25 * run_s(inline)
    world.send(1, deadline=2 * left if inline else left + 0.003)
    world.send(1, deadline=5.0)
    world.work()
    (story,) = told(world.lane)
    assert story.why == "slow"
    assert story.left == pytest.approx(left)


def test_one_that_others_overtook_is_kept_too() -> None:
    """It is not the first of its run."""
    world = quick()
    world.send(1, request_id="patient")
    world.clock.now += 0.003
    world.send(2, deadline=5.0)
    world.work()
    (story,) = told(world.lane)
    assert story.left is None
    world.send(3)
    world.work()
    assert len(told(world.lane)) == 1


def test_under_load_few_runs_are_looked_at() -> None:
    """The one that is sampled, though others always wait."""
    world = quick(version=version(max_size=1))
    thresholds: list[int] = []

    def during() -> None:
        world.clock.now += run_s(inline=True)
        thresholds.append(world.lane.teller.tell_ns)
        if len(thresholds) < 3 * SAMPLED:
            world.send(0)

    world.session.during = during
    world.send(0)
    world.send(0)
    world.work()
    assert thresholds.count(-1) <= 4


@pytest.mark.parametrize("inline", [True, False])
def test_an_answer_of_the_chain_is_kept(inline: bool) -> None:
    """With the reason, what went wrong and the run that failed."""
    world = Spared(DEFAULT, inline=inline)
    usual(world)
    world.fails()
    world.send(1, request_id="a")
    world.work()
    (story,) = told(world.lane)
    assert (story.why, story.served_by, story.reason) == ("degraded", "default", Reason.FAILED)
    assert (story.cause, story.status) == ("no", Status.OK)
    assert story.run is not None
    assert story.run.over


@pytest.mark.parametrize("inline", [True, False])
def test_an_answer_of_the_failover_model_names_it(inline: bool) -> None:
    """Once, for the model that was asked for."""
    world = Spared(FAILOVER, inline=inline)
    usual(world)
    world.fails()
    world.send(1)
    world.work()
    (story,) = told(world.lane)
    assert (story.model, story.served_by, story.served_model) == ("m", "failover", "spare")
    assert not [story for story in told(world.spare_lane) if story.model == "m"]


@pytest.mark.parametrize("inline", [True, False])
def test_a_broken_contract_is_kept_with_its_reason(inline: bool) -> None:
    """Also where the caller was answered otherwise."""
    world = Spared({**DEFAULT, "contract": {"outputs": {"y": {"high": 10}}}}, inline=inline)
    usual(world)
    world.send(100)
    world.work()
    (story,) = told(world.lane)
    assert (story.served_by, story.reason) == ("default", Reason.CONTRACT)
    assert "broke its contract" in story.cause
    assert story.run is not None


@pytest.mark.parametrize("inline", [True, False])
def test_an_error_is_kept_as_the_caller_saw_it(inline: bool) -> None:
    """Text and status."""
    world = quick(inline=inline)

    def fails(_: Any) -> Any:
        raise ModelFailed("no")

    world.session.function = fails
    reply = world.send(1)
    world.work()
    (story,) = told(world.lane)
    assert (story.why, story.served_by, story.reason) == ("failed", "", Reason.FAILED)
    assert (story.cause, story.status) == (str(reply.error), Status.INTERNAL)


@pytest.mark.parametrize("inline", [True, False])
def test_what_was_turned_away_says_what_was_expected(inline: bool) -> None:
    """Seconds to wait and behind how many; it never ran."""
    world = quick(inline=inline)
    world.runs_take(0.02)
    for _ in range(16):
        world.send(1)
        world.work()
    world.lane.inline = inline
    world.lane.admission.probed = world.clock.now
    world.lane.teller.stories._kept.clear()
    for _ in range(3):
        world.send(1)
    world.send(1, deadline=0.008)
    story = told(world.lane)[0]
    assert (story.why, story.reason, story.status) == ("failed", Reason.OVERLOADED, Status.RESOURCE_EXHAUSTED)
    assert story.run is None
    assert story.expected is not None
    assert story.expected.behind == 3
    world.work()


def test_one_that_expires_in_a_run_says_so() -> None:
    """The run is not over, and told once: not again when it returns."""
    world = Spared(BOTH, inline=False)
    usual(world)
    world.send(1, deadline=0.05)

    def hangs() -> None:
        for _ in range(20):
            world.after(0.005)

    world.session.during = hangs
    world.work()
    (story,) = told(world.lane)
    assert (story.served_by, story.reason) == ("default", Reason.DEADLINE)
    assert story.expected is not None
    assert story.run is not None
    assert not story.run.over
    assert story.left == pytest.approx(0.047)


def test_a_caller_that_goes_away_is_kept() -> None:
    """As cancelled, without an answer."""
    world = quick(inline=False)
    reply = world.send(1)
    reply.cancel()
    world.after(SWEEP_S)
    (story,) = told(world.lane)
    assert (story.why, story.served_by, story.status) == ("failed", "", Status.CANCELLED)
    world.work()


def test_a_run_that_the_loop_was_taken_from_says_so() -> None:
    """When it is answered at last."""
    world = quick()

    def stuck() -> None:
        for _ in range(20):
            world.after(0.002)

    world.session.during = stuck
    world.send(1)
    world.work()
    (story,) = told(world.lane)
    assert story.run is not None
    assert (story.run.inline, story.run.taken) == (True, True)


def test_a_hedge_that_answered() -> None:
    """Both runs, and what was decided."""
    world = Twice()
    world.lane.teller.stories._kept.clear()
    world.send(3, deadline=5.0)
    world.stalls(0.1)
    world.work()
    (story,) = told(world.lane)
    assert (story.why, story.served_by, story.reason) == ("hedged", "hedge", None)
    assert story.run is not None
    assert story.hedge is not None
    assert (story.run.session, story.hedge.session) == (1, 2)
    assert story.run.hedging is not None
    assert (story.run.hedging.why, story.run.hedging.target) == (Why.SLOW, "session 2")
    assert story.run.hedging.delay >= RUN_S * 0.9
    assert story.run.hedging.share == pytest.approx(0.98)


def test_a_hedge_that_was_refused() -> None:
    """Why."""
    world = Twice(budget=0.0001)
    world.lane.teller.stories._kept.clear()
    world.send(3, deadline=5.0)
    world.stalls(0.05)
    world.work()
    (story,) = told(world.lane)
    assert story.served_by == "champion"
    assert story.hedge is None
    assert story.run is not None
    assert story.run.hedging is not None
    assert story.run.hedging.why is Why.BUDGET_SPENT


def test_an_answer_without_a_run_is_no_trouble() -> None:
    """What was switched to its fallback is degraded, and kept."""
    world = Spared(DEFAULT, switched=True)
    world.send(1)
    (story,) = told(world.lane)
    assert (story.reason, story.run) == (Reason.SWITCHED, None)


def test_the_newest_are_kept() -> None:
    """So many, newest first."""
    stories = Stories(kept=3)
    assert stories.oldest is None
    world = World(version())
    world.lane.teller.stories = stories
    for value in range(1, 6):
        world.clock.now += 1
        world.send(*[1] * value)
        world.work()
    assert [story.rows for story in stories.find(lambda _: True, 10)] == [5, 4, 3]
    assert [story.rows for story in stories.find(lambda _: True, 2)] == [5, 4]
    assert [story.rows for story in stories.find(lambda story: story.rows < 5, 1)] == [4]
    assert stories.oldest == 1003 * 10**9


@given(st.lists(st.integers(0, 10**12), min_size=FEWEST, max_size=300))
def test_what_requests_take_at_most(times: list[int]) -> None:
    """It lies in the bucket of the time that a share of `SLOW` does not exceed."""
    counts = [0] * BUCKETS
    for time in times:
        counts[bucket(time)] += 1
    known = usual_ns(counts)
    assert known is not None
    index = bucket(sorted(times)[math.ceil(SLOW * len(times)) - 1])
    assert (512 << index if index else 0) <= known <= 1024 << index


def test_of_few_requests_nothing_is_known() -> None:
    """Neither of none."""
    assert usual_ns([0] * BUCKETS) is None
    assert usual_ns([0, FEWEST - 1] + [0] * (BUCKETS - 2)) is None
