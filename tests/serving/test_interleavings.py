"""Every call is answered exactly once, in whatever order runs, deadlines, timers and callers' whims happen."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.fallback import Reason
from router.errors import ModelFailed, Overloaded, TooLate
from router.serving import lanes
from router.serving.executor import Executor
from router.serving.lanes import Lane
from router.serving.loop import TICK_S, Loop
from router.serving.pace import PROOF_RUNS
from router.serving.router import Router
from router.serving.serving_table import ServingTable
from router.serving.stats import Failure
from router.serving.timers import Timers
from tests.serving.fakes import Array, FakeReply, FakeSession, World, new_word, request, table, values, version

LIMIT_S = 30.0

OPERATIONS = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 5), st.sampled_from([None, 0.0005, 0.005, 0.03, 0.1, 1.0, -1.0])),
    st.tuples(st.just("send"), st.integers(1, 2), st.none()),
    st.tuples(st.just("bad"), st.integers(1, 2), st.none()),
    st.tuples(st.just("work"), st.none(), st.none()),
    st.tuples(st.just("visit"), st.none(), st.none()),
    st.tuples(st.just("after"), st.sampled_from([0.0, 0.0004, 0.003, 0.02, 0.5, 2.0]), st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 40), st.none()),
    st.tuples(st.just("flip"), st.none(), st.none()),
    st.tuples(st.just("short"), st.none(), st.none()),
)
SCRIPTS = st.lists(st.tuples(OPERATIONS, st.lists(OPERATIONS, max_size=3)), min_size=3, max_size=40)


class Story:
    """A world in which a script happens; the operations of a run happen in the middle of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[tuple[FakeReply, list[float], bool]] = []
        self.during: list[Any] = []
        self.depth = 0
        world.session.function = self.model
        world.session.during = self.middle

    def model(self, feeds: Mapping[str, Array]) -> list[Array]:
        """y = 2x; negative numbers fail."""
        if (feeds["x"] < 0).any():
            raise ModelFailed("negative")
        return [feeds["x"] * 2]

    def middle(self) -> None:
        """What happens while a run goes on: on the loop thread only what other threads do."""
        inline = self.depth == 1 and self.on_loop
        happening, self.during = self.during, []
        for operation in happening:
            if not (inline and operation[0] in {"send", "bad", "work", "flip", "short"}):
                self.do(operation)

    on_loop = False

    def do(self, operation: tuple[Any, Any, Any]) -> None:
        """One operation, if it can happen now."""
        what, first, second = operation
        world = self.world
        if what in {"send", "bad"}:
            given_values = [float(len(self.sent) * 10 + index) for index in range(first)]
            if what == "bad":
                given_values[0] = -1.0
            reply = world.send(*given_values, deadline=second)
            self.sent.append((reply, given_values, what == "bad"))
        elif what == "work" and self.depth == 0:
            self.run(world.router.work, on_loop=True)
        elif what == "visit" and self.depth < 2:
            self.run(world.executor.step, on_loop=False)
        elif what == "after":
            world.after(first)
        elif what == "cancel" and self.sent:
            self.sent[first % len(self.sent)][0].cancel()
        elif what == "flip":
            world.word[0] = 3 - world.word[0]
        elif what == "short":  # as if enough short runs had been seen
            world.lane.pace.good_runs = PROOF_RUNS
            world.lane.pace.times._mean[:] = [1e-5] * 16

    def run(self, what: Callable[[], bool], *, on_loop: bool) -> bool:
        """Something that may run a batch, in the middle of which other things happen."""
        was, self.on_loop = self.on_loop, on_loop
        self.depth += 1
        try:
            return what()
        finally:
            self.depth -= 1
            self.on_loop = was

    def end(self) -> None:
        """Let everything finish, then look at every caller."""
        world = self.world
        for _ in range(5):
            self.during = []
            while self.run(world.router.work, on_loop=True) or self.run(world.executor.step, on_loop=False):
                pass
            world.after(0.05)
        for reply, given_values, bad in self.sent:
            if reply.gone:
                assert reply.answers == 0
                continue
            assert reply.answers == 1
            if reply.messages:
                assert not bad
                assert values(reply) == [2 * value for value in given_values]
            else:
                assert isinstance(reply.error, TooLate | Overloaded | (ModelFailed if bad else TooLate))
        lane = world.lane
        assert lane.pending == 0
        assert lane.waiting_bytes == 0
        assert lane._tokens == 0
        assert not lane._runs
        world.after(2.0)
        for _ in range(30):  # the watch goes to rest
            world.after(TICK_S)
        assert not world.timers._heap
        total = lane.stats.total()
        replies = [reply for reply, _, _ in self.sent]
        errors = [reply.error for reply in replies if reply.errors]
        # Every call is counted once; one that the loop thread runs is not asked whether its caller is still there.
        assert total.success + sum(total.failures) == len(replies)
        answered = sum(bool(reply.messages) for reply in replies)
        gone = sum(reply.gone for reply in replies)
        assert answered <= total.success == sum(total.buckets) <= answered + gone
        for reason, kind in ((Failure.REJECTED, Overloaded), (Failure.BACKEND, ModelFailed), (Failure.OTHER, TooLate)):
            told = sum(isinstance(error, kind) for error in errors)
            assert told <= total.failures[reason] <= told + gone
        assert total.failures[Failure.CANCELED] <= gone
        assert all(rows <= 4 or rows == 5 for rows in world.session.rows)


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("max_wait_us", [0, 5000])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), SCRIPTS)
def test_exactly_one_answer_in_every_order(slots: int, max_wait_us: int, inline: bool, script: list[Any]) -> None:
    """Runs, deadlines, timers, cancels, moves between the sides and flips of the generation, also inside of runs."""
    world = World(version(max_size=4, max_wait_us=max_wait_us), inline=inline and not max_wait_us, slots=slots)
    world.router.install(table(2, {"1": world.lane}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "MAX_WAITING", 12)
        patch.setattr(lanes, "MAX_WAITING_BYTES", 400)
        story = Story(world)
        for operation, during in script:
            story.during = during
            story.do(operation)
        story.end()


@pytest.mark.parametrize(("max_size", "max_wait_us", "slots"), [(1, 0, 1), (8, 0, 2), (8, 500, 1)])
def test_threads_answer_every_call_exactly_once(max_size: int, max_wait_us: int, slots: int) -> None:
    """Real threads that change places as often as they can; the lane is pushed from side to side meanwhile."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    timers, executor = Timers(), Executor(threads=4, slots=slots)
    timers.start()
    chance = random.Random(7)
    settings_of = version(max_size=max_size, max_wait_us=max_wait_us)
    loop = Loop(timers, hand_over=lambda: None)
    lane = Lane(settings_of, [FakeSession()], executor, timers, loop)
    word = new_word()
    router = Router(word, loop)
    router.install(table(1, {"1": lane}))
    over, pause = threading.Event(), threading.Event()
    replies: list[FakeReply] = []

    def cancel() -> None:
        other = random.Random(8)
        while not over.wait(0.0005):
            if replies:
                replies[other.randrange(len(replies))].cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    sides = set()
    try:
        until = time.monotonic() + LIMIT_S
        for index in range(4000):
            reply = FakeReply()
            sent = request(*[float(index)] * chance.randint(1, 3))
            late = chance.choice([None, 0.0003, 0.01, 5.0])
            try:
                router.infer(sent, reply, None if late is None else time.monotonic() + late)
            except Overloaded as error:
                reply.fail(error)
            replies.append(reply)
            if chance.random() < 0.2:
                router.work()
            if chance.random() < 0.02 and not max_wait_us:
                if lane.inline:
                    lane._hand_over()
                else:
                    lane.pace.good_runs = PROOF_RUNS
            sides.add(lane.inline)
        while time.monotonic() < until and not all(reply.answers or reply.gone for reply in replies):
            if not router.work():
                pause.wait(0.001)
    finally:
        over.set()
        canceller.join(LIMIT_S)
        executor.stop()
        sys.setswitchinterval(interval)
    for index, reply in enumerate(replies):
        assert reply.answers == (0 if reply.gone and not reply.answers else 1)
        if reply.messages:
            assert set(values(reply)) == {2.0 * index}
    assert sides == ({False} if max_wait_us else {True, False})
    while time.monotonic() < until and (lane.pending or lane._tokens):
        router.work()
        pause.wait(0.001)
    timers.stop()
    assert (lane.pending, lane._tokens, lane.waiting_bytes) == (0, 0, 0)


def test_a_call_is_claimed_once_by_many_threads() -> None:
    """Whoever wins answers."""
    world = World()
    serving: ServingTable = world.router.table
    for _ in range(200):
        reply = FakeReply()
        world.router.infer(request(1), reply, None)
        call = world.lane.waiting[0]
        barrier = threading.Barrier(3)
        won: list[bool] = []

        def claim() -> None:
            barrier.wait(LIMIT_S)  # noqa: B023
            won.append(call.finish(b""))  # noqa: B023

        threads = [threading.Thread(target=claim) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert sorted(won) == [False, False, True]
        assert call.over
        assert not call.claim()
        call.give_up(Reason.DEADLINE, TooLate("late"), Failure.OTHER)
        assert reply.answers == 1
        world.work()
    assert serving.generation == 1
