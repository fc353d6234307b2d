"""Calls that wait for company leave when a batch is full, or when the first of them must."""

from __future__ import annotations

import math

from router.model_settings import DeadlineSettings
from router.serving.pace import PROOF_RUNS
from tests.serving.fakes import FakeReply, World, values, version

RESERVE_S = DeadlineSettings().reserve_ms / 1e3
SLOW = version(max_wait_us=20_000)


def test_calls_wait_for_company_as_long_as_the_model_asks() -> None:
    """20 ms from the first; then they share a run."""
    world = World(SLOW, inline=False)
    replies = [world.send(1)]
    world.after(0.015)
    replies.append(world.send(2))
    world.work()
    assert not world.session.runs
    world.after(0.004)
    world.work()
    assert not world.session.runs
    world.after(0.0011)
    world.work()
    assert world.session.rows == [2]
    assert [values(reply) for reply in replies] == [[2], [4]]


def test_a_full_batch_does_not_wait() -> None:
    """Rows count, not calls; the rest waits for its own time."""
    world = World(SLOW, inline=False)
    world.send(1, 2, 3)
    world.send(4, 5, 6)
    world.work()
    assert not world.session.runs
    world.send(7, 8)
    world.work()
    assert world.session.rows == [8]
    world.after(0.01)
    rest = world.send(9)
    world.work()
    world.after(0.015)
    world.work()
    assert world.session.rows == [8]
    world.after(0.006)
    world.work()
    assert values(rest) == [18]


def test_calls_left_behind_a_full_batch_keep_their_own_time() -> None:
    """Their wait began when they came, not when the batch left."""
    world = World(SLOW, inline=False)
    replies = [world.send(*range(5)), world.send(*range(5))]
    world.work()
    assert world.session.rows == [5]
    world.after(0.0201)
    world.work()
    assert world.session.rows == [5, 5]
    assert all(reply.messages for reply in replies)


def test_a_call_that_came_during_a_run_waits_for_company_too() -> None:
    """A thread that is done does not take it before its time."""
    world = World(SLOW, inline=False)
    world.send(*range(8))
    late: list[FakeReply] = []
    world.session.during = lambda: late.append(world.send(1)) if not late else None
    world.work()
    assert world.session.rows == [8]
    world.after(0.0201)
    world.work()
    assert values(late[0]) == [2]


def test_waiting_for_company_costs_no_deadline() -> None:
    """A batch leaves in time for the call that has least."""
    world = World(SLOW, inline=False)
    world.lane.pace.times.record(1, 0.002)
    replies = [world.send(1, deadline=1.0), world.send(2, deadline=0.01 + RESERVE_S)]
    world.after(0.0055)
    world.work()
    assert not world.session.runs
    world.after(0.0006)
    world.work()
    assert [values(reply) for reply in replies] == [[2], [4]]


def test_a_call_that_joins_nobody_does_not_wait() -> None:
    """There is nothing to wait for."""
    world = World(SLOW, inline=False)
    reply = world.send(*range(9))
    world.work()
    assert len(values(reply)) == 9


def test_a_wish_to_wait_keeps_a_lane_off_the_loop() -> None:
    """However short its runs."""
    world = World(version(max_wait_us=1000, max_size=1), inline=False)
    world.runs_take(1e-6)
    for _ in range(2 * PROOF_RUNS):
        world.send(1)
        world.after(0.002)
        world.work()
    assert len(world.session.runs) == 2 * PROOF_RUNS
    assert not world.lane.inline


def test_few_timers_for_many_calls_that_wait_for_company() -> None:
    """One for the first of a batch and one sweep, none for those that join it."""
    world = World(version(max_wait_us=20_000, max_size=4096), inline=False)
    for _ in range(100):
        world.send(1)
    assert len(world.timers._heap) == 2
    world.after(math.nextafter(0.0201, 1))
    world.work()
    assert world.session.rows == [100]
