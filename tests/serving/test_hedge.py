"""A slow run is given a second chance, within its budget; the first to succeed answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from router.core.breaker import Breaker
from router.core.hedging import KillSwitch, Why
from router.core.table import Route, VersionTable
from router.edge.reply_encoder import ReplyEncoder
from router.errors import ModelFailed
from router.model_settings import ModelSettings
from router.serving.lanes import Lane
from router.serving.pace import PROOF_RUNS
from router.serving.serving_table import ServingTable
from tests.serving.fakes import Array, FakeReply, FakeSession, World, values, version
from tests.serving.test_fallback import FAILOVER, Spared, marks

RUN_S = 0.002


class Twice(World):
    """A world whose lane has two sessions on the executor and a history of runs of 2 ms."""

    def __init__(self, **hedge: Any) -> None:
        super().__init__(version(max_size=1), inline=False)
        self.second = FakeSession()
        self.lane = Lane(self.version, [self.session, self.second], self.executor, self.timers, self.loop, self.clock)
        settings = ModelSettings.model_validate({"sessions": {"replicas": 2}, "hedge": hedge})
        route = Route("m", "1", {"1": self.version}, settings)
        self.router.install(ServingTable(VersionTable(1, {"m": route}), {("m", "1"): self.lane}, ReplyEncoder))
        for _ in range(200):
            self.lane.pace.record(1, RUN_S, 1000.0, joined=False)
        self.runs_take(RUN_S)
        for _ in range(60):  # earns the budget
            self.send(0)
            self.work()
        self.session.runs.clear()
        self.second.runs.clear()

    def stalls(self, seconds: float, meanwhile: Any = lambda: None) -> None:
        """The first session's next run takes so long; executor threads go on meanwhile."""

        def during() -> None:
            self.session.during = lambda: None
            passed = 0.0
            while passed < seconds:
                self.after(0.0005)
                passed += 0.0005
                while self.executor.step():
                    pass
                meanwhile()

        self.session.during = during


def test_a_stalled_run_is_answered_by_the_other_session() -> None:
    """After a little more than a usual run; the reply says who answered and is not degraded."""
    world = Twice()
    answered: list[float] = []
    began = world.clock.now
    reply = world.send(3, deadline=1.0)

    def look() -> None:
        if reply.answers and not answered:
            answered.append(world.clock.now - began)

    world.stalls(0.1, look)
    world.work()
    assert values(reply) == [6]
    assert marks(reply)["served_by"] == "hedge"
    assert marks(reply)["degraded"] is False
    assert answered
    assert answered[0] < 2.5 * RUN_S
    assert (len(world.session.runs), len(world.second.runs)) == (1, 1)
    assert world.lane.hedger is not None
    assert (world.lane.hedger.sent, world.lane.hedger.won) == (1, 1)
    assert (world.lane.pending, world.lane._tokens) == (0, 0)


def test_a_run_that_is_taken_from_the_loop_is_hedged() -> None:
    """A model that is quick as a rule: what its inline runs have earned pays for the one that stalls."""
    world = Twice(budget=0.02)
    for _ in range(60):
        world.send(0)
        world.work()
    world.runs_take(0.0005)
    world.lane.pace.good_runs = PROOF_RUNS
    world.lane.inline = True
    for _ in range(100):
        world.send(0)
        world.work()
    assert world.lane.inline
    hedger = world.lane.hedger
    assert hedger is not None
    while hedger._budget.withdraw(world.clock.now):  # nothing is left of what came before
        pass
    reply = world.send(3, deadline=1.0)
    answers: list[int] = []
    slots: list[int] = []
    world.stalls(0.1, lambda: (answers.append(reply.answers), slots.append(world.lane.slots)))
    world.router.work()
    assert answers[-1] == 1
    assert (slots[0], slots[-1]) == (2, 3)  # it waits for something, and another run may have its session meanwhile
    assert marks(reply)["served_by"] == "hedge"
    assert (hedger.sent, hedger.won) == (1, 1)
    world.work()
    assert (world.lane.pending, world.lane._tokens, world.lane.slots) == (0, 0, 2)


def test_inline_runs_of_long_ago_pay_for_nothing() -> None:
    """A thousand of them, a minute before: the run that stalls then is left to itself."""
    world = Twice(budget=0.02)
    hedger = world.lane.hedger
    assert hedger is not None
    while hedger._budget.withdraw(world.clock.now):
        pass
    world.lane.loop_cell.runs += 1000
    world.clock.now += 25.0
    world.lane.pace.good_runs = PROOF_RUNS
    world.lane.inline = True
    reply = world.send(3, deadline=1.0)
    world.stalls(0.1)
    world.work()
    assert marks(reply)["served_by"] == "champion"
    assert hedger.sent == 0


def test_runs_that_stall_lend_their_slots() -> None:
    """Once: who comes while both sessions stall does not wait for either, but a lane does not drown in stalled runs."""
    world = Twice()
    late: list[FakeReply] = []

    def stall() -> None:
        """Each run stalls, and others go on meanwhile."""
        if len(world.lane._runs) == 2 and not late:
            for _ in range(20):
                world.after(0.0005)
            late.append(world.send(7, deadline=1.0))
        for _ in range(20):
            world.after(0.0005)
            while len(world.lane._runs) < 4 and world.executor.step():
                pass

    world.session.during = world.second.during = stall
    first, second = world.send(3, deadline=1.0), world.send(4, deadline=1.0)
    assert world.lane.slots == 2
    seen: list[tuple[int, int]] = []
    answer = world.session.function
    world.session.function = world.second.function = lambda feeds: (
        seen.append((int(feeds["x"][0]), world.lane.slots)) or answer(feeds)  # type: ignore[func-returns-value]
    )
    world.work()
    assert [values(reply) for reply in (first, second, *late)] == [[6], [8], [14]]
    assert seen.index(next(each for each in seen if each[0] == 7)) < len(seen) - 1  # before those that stalled
    assert max(slots for _, slots in seen) == 4
    assert (world.lane.pending, world.lane._tokens, world.lane.slots) == (0, 0, 2)


def test_the_loser_is_stopped() -> None:
    """Nobody waits for it any more."""
    world = Twice()
    world.send(3, deadline=1.0)
    stopped: list[bool] = []
    world.stalls(0.02, lambda: stopped.append(next(iter(world.lane._runs)).stop.terminate))
    world.work()
    assert not stopped[0]
    assert stopped[-1]


def test_hedges_stay_within_their_budget() -> None:
    """When all runs are slow the second attempts soon end."""
    world = Twice(budget=0.02)
    for _ in range(300):
        reply = world.send(1, deadline=1.0)
        world.stalls(0.02)
        world.work()
        assert values(reply) == [2]
    assert world.lane.hedger is not None
    assert world.lane.hedger.sent <= 0.02 * 360 + 2


def test_what_little_is_saved_is_for_the_run_that_waits_longest() -> None:
    """A run that is a little late is not hedged then; it is looked at again when it has taken twice as long."""
    world = Twice(budget=0.02)
    hedger = world.lane.hedger
    assert hedger is not None
    for _ in range(90):
        world.send(0)
        world.work()
    while hedger._budget.covers(world.clock.now, 0):  # until there is less than half of what could be saved
        hedger._budget.withdraw(world.clock.now)
    assert hedger._budget.covers(world.clock.now, 1)
    late: list[float] = []
    began = world.clock.now
    world.send(3, deadline=1.0)
    world.stalls(0.1, lambda: late.append(world.clock.now - began) if hedger.sent and not late else None)
    world.work()
    assert hedger.sent == 1
    assert 2 * hedger._delay.MARGIN * RUN_S <= late[0] < 0.02


def test_a_hedge_that_fails_first_leaves_it_to_the_slow_run() -> None:
    """The other is awaited."""
    world = Twice()

    def failing(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
        raise ModelFailed("no")

    world.second.function = failing
    reply = world.send(3, deadline=1.0)
    world.stalls(0.02)
    world.work()
    assert values(reply) == [6]
    assert marks(reply)["served_by"] == "champion"


def test_both_fail_and_the_caller_is_told_once() -> None:
    """Of the model's failure."""
    world = Twice()

    def failing(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
        raise ModelFailed("no")

    world.second.function = world.session.function = failing
    reply = world.send(3, deadline=1.0)
    world.stalls(0.02)
    world.work()
    assert "no" in str(reply.error)


def test_hedging_can_be_switched_off() -> None:
    """`[hedge] enabled = false`."""
    world = Twice(enabled=False)
    world.send(3, deadline=1.0)
    world.stalls(0.1)
    world.work()
    assert world.lane.hedger is None
    assert not world.second.runs


def test_a_busy_target_stays_armed_until_it_is_idle() -> None:
    """The hedge is sent as soon as the other session is done."""
    world = Twice()
    hedger = world.lane.hedger
    assert hedger is not None
    replies: list[FakeReply] = []

    def during() -> None:
        """The first call's run: the second session is busy with another one at the time of the look."""
        world.session.during = lambda: None

        def held() -> None:
            world.second.during = lambda: None
            for _ in range(8):
                world.after(0.0005)
            assert hedger._armed

        world.second.during = held
        replies.append(world.send(4, deadline=1.0))
        world.lane.schedule()
        world.executor.slots = 1
        while world.executor.step():
            pass
        for _ in range(20):
            world.after(0.0005)
            while world.executor.step():
                pass

    world.session.during = during
    replies.append(world.send(3, deadline=1.0))
    world.work()
    assert sorted(values(reply)[0] for reply in replies) == [6, 8]
    assert hedger.sent >= 1


def test_no_hedge_without_a_history() -> None:
    """Nothing is known of a tail yet."""
    world = Spared(FAILOVER, version=version(max_size=1), inline=False)
    reply = world.send(1, deadline=1.0)

    def during() -> None:
        for _ in range(50):
            world.after(0.002)
            while world.executor.step():
                pass

    world.session.during = during
    world.work()
    assert values(reply) == [2]


class Insured(Spared):
    """A world whose version has one session only, a history of runs of 2 ms, and a failover model."""

    def __init__(self) -> None:
        super().__init__(FAILOVER, version=version(max_size=1), inline=False)
        for _ in range(200):
            self.lane.pace.record(1, RUN_S, 1000.0, joined=False)

    def stalled(self, seconds: float) -> FakeReply:
        """A call whose run takes so long, on a lane that has earned a hedge; the failover model takes 10 ms."""
        self.runs_take(RUN_S)
        for _ in range(60):
            self.send(0, deadline=1.0)
            self.work()
        reply = self.send(1, deadline=1.0)

        def during() -> None:
            self.session.during = lambda: None
            passed, joined = 0.0, math.inf
            while passed < seconds:
                self.after(0.002)
                passed += 0.002
                joined = min(joined, passed) if self.executor.visits else joined
                while passed >= joined + 0.01 and self.executor.step():
                    pass

        self.session.during = during
        self.work()
        return reply

    @property
    def hedges(self) -> tuple[int, int]:
        """Those that were sent, and those that won."""
        assert self.lane.hedger is not None
        return self.lane.hedger.sent, self.lane.hedger.won


def test_the_failover_model_is_a_target_too() -> None:
    """Where the version has one session only."""
    world = Insured()
    reply = world.stalled(0.1)
    assert values(reply) == [3]
    assert marks(reply)["fallback_reason"] == "slow"
    assert world.hedges == (1, 1)


def test_a_failover_model_that_never_comes_first_still_insures() -> None:
    """It is there for the run that does not come back by the deadline: that others did is no reason to do without."""
    world = Insured()
    for _ in range(2 * KillSwitch.REMEMBERED):
        assert values(world.stalled(0.012)) == [2]
    assert world.hedges == (2 * KillSwitch.REMEMBERED, 0)
    assert values(world.stalled(0.1)) == [3]


def test_a_batch_that_the_failover_model_answers_is_one_hedge() -> None:
    """However many calls are in it."""
    world = Spared(FAILOVER, inline=False)
    hedger = world.lane.hedger
    assert hedger is not None
    replies = [world.send(value, deadline=1.0) for value in (1, 2)]
    assert hedger._join(list(world.lane.waiting))
    world.lane.waiting.clear()
    world.work()
    assert [values(reply) for reply in replies] == [[3], [6]]
    assert hedger.won == 1


def test_what_was_refused_is_counted_by_its_reason() -> None:
    """An operator sees why nothing was hedged."""
    world = Twice(budget=0.0001)
    world.send(3, deadline=1.0)
    world.stalls(0.05)
    world.work()
    assert world.lane.hedger is not None
    assert world.lane.hedger.refused == {Why.BUDGET_SPENT: 1}


def test_settings_that_change_count_from_the_next_table_on() -> None:
    """On a lane that stays: another budget, or no hedges at all."""
    world = Twice()
    before = world.lane.hedger
    for hedge, kept in (({}, True), ({"budget": 0.05}, False), ({"enabled": False}, False)):
        settings = ModelSettings.model_validate({"sessions": {"replicas": 2}, "hedge": hedge})
        route = Route("m", "1", {"1": world.version}, settings)
        ServingTable(VersionTable(2, {"m": route}), {("m", "1"): world.lane}, ReplyEncoder)
        assert (world.lane.hedger is before) is kept
    assert world.lane.hedger is None


def test_a_loser_that_was_stopped_is_no_failure_of_its_session() -> None:
    """We have ended it ourselves: no breaker opens for that."""
    world = Twice()
    breaker = world.lane.replicas[0].breaker
    failures = []
    breaker_failed = Breaker.failed

    def stopped(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
        raise ModelFailed("terminate flag")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Breaker, "failed", lambda self, now: failures.append(self) or breaker_failed(self, now))
        world.session.function = stopped
        reply = world.send(3, deadline=1.0)
        world.stalls(0.02)
        world.work()
    assert values(reply) == [6]
    assert breaker not in failures
    assert not failures
