"""The loop thread is never kept by a run: the watch takes the loop from it."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from router.errors import TooLate
from router.serving.expiry import SWEEP_S
from router.serving.lanes import Lane
from router.serving.loop import TICK_S, UNKNOWN, Schedule, overstayed, scheduled
from router.serving.pace import HUNG_S, PROOF_RUNS
from router.serving.stats import Failure
from tests.serving.fakes import FakeSession, World, doubled, table, values, version

STEP_S = 0.0005


def stuck(world: World, seconds: float, without_core: float = 0.0) -> None:
    """The session's runs take so long, in which the timers go on; for so much of it the thread had no core."""

    def during() -> None:
        passed = 0.0
        while passed < seconds:
            world.after(STEP_S)
            passed += STEP_S
            world.clock.waited += STEP_S * without_core / seconds

    world.session.during = during


def test_a_stuck_run_loses_the_loop_within_15_ms() -> None:
    """Its lane goes to the executor; a fresh thread polls; what the run gives after all is sent."""
    world = World()
    reply = world.send(1)
    taken_after = []

    def hand_over() -> None:
        taken_after.append(world.clock.now - began)

    world.loop.hand_over = hand_over
    began = world.clock.now
    stuck(world, 0.1)
    assert not world.router.work()
    assert len(taken_after) == 1
    assert TICK_S < taken_after[0] <= 0.015
    assert not world.lane.inline
    assert values(reply) == [2]
    assert (world.lane.pending, world.lane._tokens) == (0, 0)
    assert world.loop.taken == 1


def test_what_ends_a_stuck_run_ends_no_other() -> None:
    """Its caller has gone, so it is ended; the lane earns its way back, and its runs there go on to their end."""
    world = World()
    reply = world.send(1)
    stops = []

    def run(names: Any, feeds: Any, stop: Any = None) -> list[Any]:  # noqa: ARG001
        stops.append(stop)
        if len(stops) == 1:
            for _ in range(10):
                world.after(TICK_S)
            reply.cancel()
        return doubled(feeds)

    world.session.run = run  # type: ignore[method-assign]
    world.work()
    assert stops[0].terminate
    for number in range(PROOF_RUNS + 5):
        world.send(number)
        world.work()
    assert world.lane.inline
    assert not any(stop.terminate for stop in stops[1:])


def test_a_run_that_waits_for_a_core_keeps_the_loop() -> None:
    """A busy machine is not the model's fault."""
    world = World()
    reply = world.send(1)
    stuck(world, 0.1, without_core=0.095)
    world.router.work()
    assert not world.handed_over
    assert world.lane.inline
    assert values(reply) == [2]


def test_calls_of_a_stuck_run_and_behind_it_end_when_they_are_due() -> None:
    """The deadline holds though the thread is inside the run, before the loop is taken and after it."""
    world = World(version(max_size=1))
    near, far = world.send(1, deadline=0.012), world.send(2, deadline=0.05)
    seen = []
    began = world.clock.now

    def during() -> None:
        world.session.during = lambda: None
        for _ in range(100):
            world.after(2 * STEP_S)
            seen.append((round(world.clock.now - began, 3), near.answers, far.answers))

    world.session.during = during
    world.router.work()
    assert isinstance(near.error, TooLate)
    assert isinstance(far.error, TooLate)
    assert next(at for at, one, _ in seen if one) <= 0.012
    assert next(at for at, _, two in seen if two) <= 0.052
    assert world.lane.stats.total().failures[Failure.OTHER] == 2
    world.work()
    assert (world.lane.pending, world.lane.waiting_bytes, world.lane._tokens) == (0, 0, 0)


def test_other_lanes_go_on_while_one_is_stuck() -> None:
    """What waited for the loop behind the stuck run is run by the next thread, on the loop."""
    world = World()
    other = world.new_lane(version("2"), FakeSession())
    other.inline = True
    world.router.install(table(2, {"1": world.lane, "2": other}))
    world.word[0] = 2
    held, quick = world.send(1), world.send(2, number="2")
    later: list[object] = []

    def hand_over() -> None:
        world.router.work()  # the fresh thread
        later.append(values(quick))

    world.loop.hand_over = hand_over
    stuck(world, 0.1)
    world.router.work()
    assert later == [[4]]
    assert values(held) == [2]
    assert other.inline
    assert not world.loop.busy


def test_a_lane_that_was_stuck_earns_its_way_back() -> None:
    """By short runs in a row, as any other."""
    world = World()
    world.send(1)
    stuck(world, 0.1)
    world.router.work()
    world.session.during = lambda: None
    for value in range(PROOF_RUNS):
        assert not world.lane.inline
        world.send(value)
        world.work()
    world.send(1)
    assert world.lane.inline


def test_a_session_that_hangs_is_replaced_and_its_thread_given_up() -> None:
    """The hung run holds its slot until then; the next calls run on the fresh session."""
    world = World(version(max_size=1), inline=False)
    fresh = FakeSession()
    lane = Lane(
        world.version, [world.session], world.executor, world.timers, world.loop, world.clock, reload=lambda: fresh
    )
    lane.pace.record(1, 0.01, 1000.0, joined=False)
    world.router.install(table(1, {"1": lane}))
    hung, behind = world.send(1), world.send(2)

    def during() -> None:
        lane.look(world.clock.now)
        assert lane.pending == 2
        world.after(HUNG_S + 0.1)
        lane.look(world.clock.now)
        assert (lane.lost, world.executor.missing) == (1, 1)
        for thread in threading.enumerate():
            if thread.name == "replace":
                thread.join(10)
        while world.executor.step():
            pass

    world.session.during = during
    world.executor.step()
    assert fresh.rows == [1]
    assert values(behind) == [4]
    assert values(hung) == [2]
    assert (lane.lost, world.executor.missing, lane.pending, lane._tokens) == (0, 0, 0, 0)


def test_a_run_that_nobody_waits_for_is_stopped() -> None:
    """At its next node; the batch goes on while one of its callers still waits."""
    world = World(inline=False)
    replies = [world.send(1), world.send(2)]
    world.after(SWEEP_S)
    seen = []

    def during() -> None:
        run = world.lane._runs[0]
        for reply in replies:
            reply.cancel()
            seen.append(run.stop.terminate)

    world.session.during = during
    world.work()
    assert seen == [False, True]


def test_the_watch_rests_while_nothing_runs() -> None:
    """An idle server costs nothing; the next run wakes it."""
    world = World()
    world.send(1)
    world.work()
    for _ in range(30):
        world.after(TICK_S)
    assert not world.loop.watched
    assert not world.timers._heap
    world.send(1)
    world.work()
    assert world.loop.watched


def test_a_loop_that_cannot_be_handed_over_runs_nothing() -> None:
    """Where a stuck loop could not be replaced, executor threads do all runs."""
    world = World(inline=False)
    world.loop.hand_over = None
    for value in range(2 * PROOF_RUNS):
        world.send(value)
        world.work()
    assert not world.lane.inline
    world.lane.prove(lambda rows: {"x": np.zeros(rows, np.float32)})
    assert not world.lane.inline


@pytest.mark.parametrize(
    ("ran", "waited", "runnable", "most", "least"),
    [
        (0.0, 0.0, False, 0.1, 0.1),  # blocked all the time
        (0.1, 0.0, True, 0.1, 0.1),  # computed all the time
        (0.0, 0.1, False, 0.0, 0.0),  # waited for a core, then was blocked
        (0.002, 0.0, True, 0.002, 0.002),  # waits still: the system has not added that up yet
        (0.0, 0.04, False, 0.06, 0.06),
    ],
)
def test_what_a_thread_waits_for_a_core_is_left_out(
    ran: float, waited: float, runnable: bool, most: float, least: float
) -> None:
    """Of 0.1 s."""
    now = Schedule(5.0 + ran, 3.0 + waited, runnable)
    assert least - 1e-9 <= overstayed(0.1, Schedule(5.0, 3.0, runnable=True), now) <= most + 1e-9


def test_how_a_thread_is_scheduled_is_known_where_the_system_tells() -> None:
    """Seconds that only grow, of a thread that runs now; nothing of one that does not exist."""
    native = threading.get_native_id()
    first = second = scheduled(native)
    while second.ran == first.ran:  # the system counts in ticks
        second = scheduled(native)
    assert first.runnable
    assert 0 < first.ran < second.ran
    assert first.waited <= second.waited
    assert scheduled(1 << 30) == UNKNOWN


def test_callers_of_a_run_that_was_given_up_still_end_by_their_deadline() -> None:
    """Though no sweep finds them any more."""
    world = World(version(max_size=1), inline=False)
    world.lane.pace.record(1, 0.01, world.clock.now, joined=False)
    reply = world.send(1, deadline=5.0)
    answered: list[float] = []
    began = world.clock.now

    def during() -> None:
        for _ in range(60):
            world.after(0.1)
            world.lane.look(world.clock.now)
            if reply.answers and not answered:
                answered.append(world.clock.now - began)

    world.session.during = during
    world.executor.step()
    assert isinstance(reply.error, TooLate)
    assert answered
    assert answered[0] < 5.05  # time passes in steps of 0.1 s


def test_a_lane_whose_only_session_is_loaded_anew_sends_callers_away() -> None:
    """At once, where the load takes longer than they have: not when their time is over."""
    world = World(version(max_size=1), inline=False)
    world.lane.stats.load_ns = 2_000_000_000
    world.lane.pace.record(1, 0.01, world.clock.now, joined=False)
    world.lane.admission.probed = world.clock.now
    world.lane.replicas[0].loading = True
    assert world.send(1, deadline=0.5).answers == 1
    assert world.send(1, deadline=5.0).answers == 0


def test_a_thread_that_was_stuck_is_not_taken_for_the_loop_thread() -> None:
    """From the moment that the loop is taken from it, also before the next thread has come."""
    world = World()
    mine: list[bool] = []
    world.loop.hand_over = lambda: mine.append(world.loop.mine)
    world.send(1)
    stuck(world, 0.1)
    world.router.work()
    assert mine == [False]
    assert not world.loop.mine
