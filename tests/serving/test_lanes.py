"""Who runs what, when and with whom; which calls are not run any more."""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import pytest
from structlog.testing import capture_logs

from router.core.latency import RunTimes
from router.core.request import Header, InputHeader
from router.core.tensor import TensorSpec
from router.errors import ModelFailed, NotReady, Overloaded, RouterError, TooLate
from router.model_settings import DeadlineSettings
from router.serving import lanes
from router.serving.admission import PROBE_S
from router.serving.expiry import SWEEP_S
from router.serving.pace import INLINE_BATCH_S, INLINE_RUN_S, LONG_RUNS, PROOF_RUNS, WAITED_RUNS, Pace
from router.serving.router import ALONE_S, WORK_S
from router.serving.stats import Failure
from tests.serving.fakes import Array, FakeReply, FakeSession, World, request, table, values, version

RESERVE_S = DeadlineSettings().reserve_ms / 1e3
SLOW = version(max_wait_us=20_000)


def failing(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
    """A model that fails."""
    raise ModelFailed("no")


# ---- batches ----


@pytest.mark.parametrize("inline", [True, False])
def test_what_waits_shares_a_run_and_every_caller_gets_its_own_rows(inline: bool) -> None:
    """Rows of different callers, uneven ones too, in one run; the replies are split again."""
    world = World(inline=inline)
    replies = [world.send(1, request_id="a"), world.send(2, 3), world.send(4, 5, 6, request_id="ü")]
    world.work()
    assert world.session.rows == [6]
    assert [values(reply) for reply in replies] == [[2], [4, 6], [8, 10, 12]]
    assert [reply.response.id for reply in replies] == ["a", "", "ü"]


@pytest.mark.parametrize("inline", [True, False])
def test_joined_rows_never_exceed_the_limit(inline: bool) -> None:
    """A batch ends before the call that would not fit; a call larger than the limit runs alone."""
    world = World(inline=inline)
    sizes = [3, 3, 3, 8, 1, 9, 2, 20, 8, 7, 2]
    replies = [world.send(*range(size)) for size in sizes]
    world.work()
    assert world.session.rows == [6, 3, 8, 1, 9, 2, 20, 8, 7, 2]
    assert [values(reply) for reply in replies] == [[2 * value for value in range(size)] for size in sizes]


def test_calls_without_rows_run_alone() -> None:
    """An empty first dimension has nothing to split."""
    world = World()
    replies = [world.send(1), world.send(), world.send(), world.send(2)]
    world.work()
    assert world.session.rows == [1, 0, 0, 1]
    assert [values(reply) for reply in replies] == [[2], [], [], [4]]


def test_versions_whose_rows_may_not_be_joined_never_are() -> None:
    """A maximum of one row: every call for itself, whatever its rows."""
    world = World(version(max_size=1))
    replies = [world.send(1), world.send(2), world.send(3, 4), world.send(5)]
    world.work()
    assert world.session.rows == [1, 1, 2, 1]
    assert [values(reply) for reply in replies] == [[2], [4], [6, 8], [10]]


def test_inline_batches_are_bounded_by_expected_time() -> None:
    """The loop must not be away for long: 0.5 ms a row allow 4 rows in 2 ms."""
    world = World()
    world.lane.pace.times.record(1, INLINE_BATCH_S / 4)
    replies = [world.send(value) for value in range(8)]
    while world.router.work():
        pass
    assert world.session.rows == [4, 4]
    assert [values(reply) for reply in replies] == [[2 * value] for value in range(8)]


def test_a_lane_that_is_alone_may_run_longer_batches() -> None:
    """While one model has all the work nobody else waits for its batches; the first call of another ends that."""
    world = World()
    other = world.new_lane(version("2"), FakeSession())
    other.inline = True
    world.router.install(table(2, {"1": world.lane, "2": other}))
    world.word[0] = 2

    def largest() -> int:
        world.lane.pace.times = RunTimes()
        world.lane.pace.times.record(1, INLINE_BATCH_S / 4)
        before = len(world.session.rows)
        for value in range(8):
            world.send(value)
        world.work()
        return max(world.session.rows[before:])

    assert largest() == 4
    world.after(ALONE_S)
    assert largest() == 8
    world.send(1, number="2")
    world.work()
    assert largest() == 4


def test_a_size_that_once_seemed_too_long_is_tried_again() -> None:
    """One slow run of two rows must not make batches small for ever: that size would not be run again to show it."""
    world = World()
    world.runs_take(1e-4)
    world.lane.pace.times.record(1, 1e-4)
    world.lane.pace.times.record(2, 3 * INLINE_BATCH_S)
    replies = [world.send(value) for value in range(1000)]
    while world.router.work():
        pass
    assert world.session.rows[0] == 1
    assert world.session.rows[-2] == world.version.batching.max_size
    assert all(reply.answers == 1 for reply in replies)


def test_large_messages_are_not_joined() -> None:
    """Joining copies; above the limit of bytes that costs more than it saves."""
    world = World()
    sent = [request(*([1.0] * 4)) for _ in range(3)]
    sent[1].nbytes = lanes.MAX_BATCH_BYTES
    replies = [world.send_request(each) for each in sent]
    world.work()
    assert world.session.rows == [4, 4, 4]
    assert all(values(reply) == [2] * 4 for reply in replies)


def test_one_bad_request_of_a_batch_fails_alone() -> None:
    """The others are run again, each for itself, and answered."""

    def picky(feeds: Mapping[str, Array]) -> list[Array]:
        if (feeds["x"] < 0).any():
            raise ModelFailed("negative")
        return [feeds["x"] * 2]

    world = World()
    world.session.function = picky
    replies = [world.send(1), world.send(-2), world.send(3)]
    world.work()
    assert values(replies[0]) == [2]
    assert str(replies[1].error) == "negative"
    assert values(replies[2]) == [6]
    assert world.session.rows == [3, 1, 1, 1]
    total = world.lane.stats.total()
    assert (total.success, total.failures[Failure.BACKEND]) == (2, 1)


def test_what_is_over_by_the_time_is_not_run_again() -> None:
    """After a batch that failed, a caller that went away meanwhile costs no run."""
    world = World(inline=False)
    world.session.function = failing
    replies = [world.send(1), world.send(2), world.send(3)]
    world.after(SWEEP_S)
    world.session.during = replies[1].cancel
    world.work()
    assert world.session.rows == [3, 1, 1]
    assert [reply.answers for reply in replies] == [1, 0, 1]


def test_a_fault_of_ours_tells_the_caller_little_and_the_log_all() -> None:
    """No traceback, no text of the exception."""

    def broken(feeds: Mapping[str, Array]) -> list[Array]:  # noqa: ARG001
        raise ZeroDivisionError("secret of /home/me")

    world = World()
    world.session.function = broken
    reply = world.send(1)
    with capture_logs() as logged:
        world.work()
    assert str(reply.error) == "model 'm' failed on this input"
    assert logged[0]["event"] == "a run failed"


def test_what_goes_wrong_with_a_request_is_logged_under_its_id() -> None:
    """A model that fails and a fault of ours name the requests; of what goes well there is no line."""
    world = World()
    world.send(1, request_id="well")
    with capture_logs() as logged:
        world.work()
    assert logged == []
    world.session.function = failing
    world.send(1, request_id="bad\x1b[2J")
    with capture_logs() as logged:
        world.work()
    assert [(line["event"], line["request_id"], line["reason"], line["model"]) for line in logged] == [
        ("a model failed on a request", "bad\x1b[2J", "no", "m")
    ]
    world.session.function = lambda feeds: feeds["none such"]
    world.send(1, request_id="a")
    world.send(1, request_id="b")
    with capture_logs() as logged:
        world.work()
    assert logged[0]["event"] == "a run failed"
    assert logged[0]["request_ids"] == ["a", "b"]


def test_a_model_that_gives_other_rows_than_it_got_is_not_split_at_random() -> None:
    """Joined calls are run again alone, where what the model gives is what its caller gets."""
    world = World()
    world.session.function = lambda feeds: [np.append(feeds["x"], np.float32(7))]
    replies = [world.send(1), world.send(2)]
    world.work()
    assert [values(reply) for reply in replies] == [[1, 7], [2, 7]]


def test_an_answer_that_cannot_be_sent_harms_nobody_else() -> None:
    """The wire's fault is logged; the others of the batch are answered, and the next batch too."""

    class Broken(FakeReply):
        def finish(self, message: bytes) -> None:  # noqa: ARG002
            raise ValueError("the wire is gone")

        fail = finish  # type: ignore[assignment]

    world = World()
    replies: list[FakeReply] = [Broken(), FakeReply(), FakeReply()]
    for value, reply in enumerate(replies[:2]):
        world.router.infer(request(value), reply, None)
    with capture_logs() as logged:
        world.work()
    assert logged[0]["event"] == "an answer could not be sent"
    world.router.infer(request(2), replies[2], None)
    world.work()
    assert [values(reply) for reply in replies[1:]] == [[2], [4]]
    world.session.function = failing
    world.router.infer(request(2), replies[0], None)
    with capture_logs() as logged:
        world.work()
    assert logged[0]["event"] == "an error could not be sent"


# ---- deadlines and callers that go away ----


@pytest.mark.parametrize("inline", [True, False])
def test_expired_calls_are_not_run(inline: bool) -> None:
    """Whoever waits behind them is."""
    world = World(inline=inline)
    fine, late, never = world.send(3, deadline=1.0), world.send(1, deadline=0.1), world.send(2, deadline=-1.0)
    world.clock.now += 0.2
    world.work()
    assert world.session.rows == [1]
    assert isinstance(late.error, TooLate)
    assert isinstance(never.error, TooLate)
    assert values(fine) == [6]
    assert world.lane.stats.total().failures[Failure.OTHER] == 2


@pytest.mark.parametrize("inline", [True, False])
def test_hopeless_calls_are_refused_but_one_a_second_finds_out(inline: bool) -> None:
    """A model expected to take 1 s does not run calls with 0.1 s left, except to learn whether that is still so."""
    world = World(inline=inline)
    world.lane.pace.record(1, 1.0, world.clock.now - PROBE_S - 0.1, joined=False)
    world.runs_take(0.01)

    def sent() -> list[FakeReply]:
        replies = []
        for value in range(4):
            replies.append(world.send(value, deadline=0.1))
            world.work()
        return replies

    replies = sent()
    assert [bool(reply.messages) for reply in replies] == [True, False, False, False]
    assert "leaves no time for a run of model 'm'" in str(replies[1].error)
    world.after(PROBE_S + 0.1)
    assert [bool(reply.messages) for reply in sent()] == [True, False, False, False]


@pytest.mark.parametrize("inline", [True, False])
def test_a_lane_that_runs_others_tries_nothing_hopeless(inline: bool) -> None:
    """They show how slow the model is: an overloaded one has no time for runs that help nobody."""
    world = World(version(max_size=1), inline=inline)
    world.runs_take(0.01)
    hopeless = []
    for _ in range(2 * PROOF_RUNS):
        world.send(1, deadline=0.5)
        world.work()
    for _ in range(round(3 * PROBE_S / 0.02)):
        fine = world.send(1, deadline=0.5)
        hopeless.append(world.send(2, deadline=0.012))
        world.work()
        world.after(0.01)
        assert fine.messages
    assert not any(reply.messages for reply in hopeless)
    world.after(PROBE_S)
    world.runs_take(0.001)
    tried = world.send(2, deadline=0.012)
    world.work()
    assert tried.messages


def test_a_lane_with_nothing_else_to_do_tries_more_often() -> None:
    """A tenth of its time, so that it soon knows that the model is well again."""
    world = World(inline=False)
    world.lane.pace.record(1, 0.02, world.clock.now - 0.26, joined=False)
    world.runs_take(0.001)
    replies = []
    for value in range(4):
        replies.append(world.send(value, deadline=0.015))
        world.work()
        world.after(0.13)
    assert [bool(reply.messages) for reply in replies] == [True, False, True, False]


@pytest.mark.parametrize("inline", [True, False])
def test_a_call_that_would_wait_too_long_is_refused_at_once(inline: bool) -> None:
    """Two runs of 10 ms each fit into what is left of 30 ms; who comes third may come back later."""
    world = World(version(max_size=1), inline=inline)
    world.lane.pace.record(1, 0.01, 1000.0, joined=False)
    world.lane.admission.probed = world.clock.now
    replies = [world.send(value, deadline=0.03) for value in range(4)]
    assert [isinstance(reply.errors[0], Overloaded) if reply.errors else None for reply in replies] == [
        None, None, True, True,
    ]  # fmt: skip
    world.runs_take(0.01)
    world.work()
    assert [bool(reply.messages) for reply in replies] == [True, True, False, False]


@pytest.mark.parametrize("inline", [True, False])
def test_who_is_due_first_runs_first(inline: bool) -> None:
    """Priority goes before, order of arrival decides where nothing else does."""
    world = World(version(max_size=1), inline=inline)
    order: list[float] = []
    world.session.function = lambda feeds: [feeds["x"] * 2] if order.append(float(feeds["x"][0])) is None else []
    world.send(1)
    world.send(2, deadline=0.5)
    world.send(3, deadline=0.3)
    world.send(4, deadline=0.3)
    world.send(5, deadline=0.9, parameters={"priority": 4})
    world.send(6, deadline=0.1, parameters={"priority": 5})
    world.send(7, parameters={"priority": 1})
    world.work()
    assert order == [7, 3, 4, 2, 1, 5, 6]


def test_what_large_runs_took_makes_no_small_call_hopeless() -> None:
    """Only runs of one row say how fast one row is."""
    world = World()
    world.lane.pace.times.record(64, 10.0)
    world.lane.admission.probed = world.clock.now
    reply = world.send(1, deadline=0.1)
    world.work()
    assert values(reply) == [2]


@pytest.mark.parametrize("left", [0.01, 0.5, 100.0])
def test_a_call_that_waits_for_the_executor_ends_by_its_deadline(left: float) -> None:
    """Though no thread comes for it; and it leaves the queue."""
    world = World(inline=False)
    reply = world.send(1, deadline=left)
    passed = 0.0
    left -= RESERVE_S
    while passed + SWEEP_S < left:
        world.after(SWEEP_S)
        passed += SWEEP_S
        assert not reply.answers
    world.after(left - passed + 1e-6)  # the reserve before the deadline
    assert isinstance(reply.error, TooLate)
    assert (world.lane.pending, world.lane.waiting_bytes) == (0, 0)


def test_a_call_whose_run_overstays_is_answered_by_its_deadline() -> None:
    """While the executor still runs it; what the run gives is dropped."""
    world = World(inline=False)
    reply = world.send(1, deadline=0.1)
    seen = []

    def during() -> None:
        for _ in range(6):
            world.after(SWEEP_S)
        seen.append(reply.answers)

    world.session.during = during
    world.work()
    assert seen == [1]
    assert isinstance(reply.error, TooLate)
    total = world.lane.stats.total()
    assert (total.success, total.failures[Failure.OTHER], total.runs) == (0, 1, 1)


def test_far_deadlines_do_not_pile_up_in_the_timers() -> None:
    """A thousand calls with a deadline in a minute cost one entry; those about to end a few each."""
    world = World(version(max_size=1), inline=False)
    world.runs_take(3 * INLINE_RUN_S)
    for _ in range(1000):
        world.send(1, deadline=60.0)
    assert len(world.timers._heap) == 1
    for _ in range(100):
        world.after(SWEEP_S)
        assert len(world.timers._heap) <= 1
    world.work()
    world.after(SWEEP_S)
    assert not world.timers._heap
    world.lane.pace = world.lane.admission._pace = Pace(1)  # nothing is known: nobody is sent away
    replies = [world.send(1, deadline=0.07) for _ in range(100)]
    most = 0
    for _ in range(4):
        world.after(SWEEP_S)
        most = max(most, len(world.timers._heap))
    assert most <= 201
    assert all(isinstance(reply.error, TooLate) for reply in replies)
    world.after(SWEEP_S)
    assert not world.timers._heap


def test_a_call_that_comes_while_the_sweep_looks_is_watched() -> None:
    """A sweep that found nothing far goes to sleep; the next call wakes it."""
    world = World(inline=False)
    world.send(1, deadline=0.3)
    world.work()
    world.after(SWEEP_S)
    assert not world.timers._heap
    reply = world.send(1, deadline=0.3)
    for _ in range(16):
        world.after(SWEEP_S)
    assert isinstance(reply.error, TooLate)


def test_cancelled_calls_leave_the_queue() -> None:
    """Once a sweep has found them. They are not run, their bytes are free, the failure is counted as the caller's."""
    world = World(inline=False)
    replies = [world.send(value) for value in range(4)]
    replies[0].cancel()
    assert world.lane.pending == 4
    world.after(SWEEP_S)
    assert world.lane.pending == 3
    replies[2].cancel()
    assert world.lane.pending == 2
    world.work()
    assert [feeds["x"].tolist() for feeds in world.session.runs] == [[1, 3]]
    assert world.lane.waiting_bytes == 0
    assert world.lane.stats.total().failures[Failure.CANCELED] == 2


def test_a_caller_that_goes_away_during_its_run_is_not_answered() -> None:
    """The others of the batch are."""
    world = World(inline=False)
    replies = [world.send(1), world.send(2)]
    world.session.during = replies[0].cancel
    world.work()
    assert replies[0].answers == 0
    assert values(replies[1]) == [4]


def test_an_executor_answers_outside_of_the_lanes_lock() -> None:
    """What an answer calls back (the next request of a stream) may enter the same lane."""
    world = World(inline=False)

    class Chained(FakeReply):
        then: FakeReply | None = None

        def fail(self, error: RouterError) -> None:
            super().fail(error)
            self.then = world.send(5)

    reply = Chained()
    world.router.infer(request(1), reply, world.clock.now + 0.1)
    world.clock.now += 0.2
    world.work()
    assert isinstance(reply.error, TooLate)
    assert reply.then is not None
    assert values(reply.then) == [10]


# ---- too much ----


@pytest.mark.parametrize("inline", [True, False])
def test_a_full_lane_refuses_and_says_when_to_come_back(inline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as what waits is expected to take; those that wait are answered."""
    monkeypatch.setattr(lanes, "MAX_WAITING", 16)
    world = World(inline=inline)
    world.lane.pace.times.record(8, 0.25)
    replies = [world.send(value) for value in range(18)]
    for reply in replies[16:]:
        error = reply.error
        assert isinstance(error, Overloaded)
        assert str(error) == "model 'm' has 16 requests waiting: come back later"
        assert error.retry_after_ms == 500
    world.work()
    assert all(reply.messages for reply in replies[:16])
    assert values_of(world.send(1), world) == [2]
    assert world.lane.stats.total().failures[Failure.REJECTED] == 2


def values_of(reply: FakeReply, world: World) -> list[float]:
    """The answer after all work is done."""
    world.work()
    return values(reply)


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.0, 1, 1), (3600.0, 10_000, 10_000)])
def test_the_time_to_come_back_is_bounded(
    seconds: float, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least a millisecond, at most ten seconds."""
    monkeypatch.setattr(lanes, "MAX_WAITING", 1)
    world = World(inline=False)
    world.lane.pace.times.record(8, seconds)
    world.send(1)
    error = world.send(1).error
    assert error.retry_after_ms is not None
    assert least <= error.retry_after_ms <= most


@pytest.mark.parametrize("inline", [True, False])
def test_waiting_bytes_are_counted_exactly(inline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large and small messages together; room comes back as calls are run, cancelled or too late."""
    monkeypatch.setattr(lanes, "MAX_WAITING_BYTES", 1000)
    world = World(version(max_size=1), inline=inline)

    def send(nbytes: int, deadline: float | None = None) -> FakeReply:
        sent = request(1)
        sent.nbytes = nbytes
        return world.send_request(sent, deadline)

    big = send(5000)  # alone it may be larger than the bound: nothing waits before it
    assert isinstance(send(1).error, Overloaded)
    world.work()
    assert big.messages
    first, second, third = send(600), send(300, deadline=0.01), send(100)
    assert world.lane.waiting_bytes == 1000
    assert isinstance(send(1).error, Overloaded)
    if not inline:
        world.after(0.01)
        assert world.lane.waiting_bytes == 700
        first.cancel()
        world.after(0.01)
        assert world.lane.waiting_bytes == 100
        assert second.errors
    world.clock.now += 0.02
    world.work()
    assert world.lane.waiting_bytes == 0
    assert third.messages


# ---- which side ----


def test_a_lane_moves_to_the_executor_when_its_runs_get_long_with_all_that_waits() -> None:
    """After `LONG_RUNS` of them; nobody is lost, and nobody's deadline or caller is forgotten."""
    world = World(version(max_size=1))
    world.lane.pace.times.record(1, 1e-5)
    world.runs_take(5 * INLINE_RUN_S)
    replies = [world.send(value) for value in range(LONG_RUNS + 1)]
    tight, gone = world.send(4, deadline=0.07, parameters={"priority": 4}), world.send(5)
    for _ in range(LONG_RUNS):
        assert world.lane.inline
        world.router.work()
    assert not world.lane.inline
    assert not world.router.work()
    assert [reply.answers for reply in replies] == [1] * LONG_RUNS + [0]
    assert len(world.executor.visits) == 1
    gone.cancel()
    world.after(SWEEP_S)
    assert world.lane.pending == 2
    for _ in range(3):
        world.after(SWEEP_S)
    assert isinstance(tight.error, TooLate)
    replies.append(world.send(6))
    world.work()
    assert [values(reply) for reply in replies] == [[0], [2], [4], [6], [12]]
    assert not gone.answers


def test_one_stolen_core_moves_no_lane() -> None:
    """A single long run among short ones may have waited for a core."""
    world = World()
    for took in (1e-4, 0.05, 1e-4, 1e-4):
        world.runs_take(took)
        world.send(1)
        world.work()
    assert world.lane.inline


def test_a_callers_own_rows_count_as_one() -> None:
    """A call of many rows cannot be split: if such runs are long, the loop is no place for them."""
    world = World(version(max_size=64))
    world.lane.pace.times.record(1, 1e-5)
    world.runs_take(0.05)
    for _ in range(LONG_RUNS):
        world.send(*range(64))
        world.work()
    assert not world.lane.inline


def test_batches_that_stay_long_move_the_lane_too() -> None:
    """Though the runs of one row that were seen long ago were short."""
    world = World()
    world.lane.pace.times.record(1, 1e-5)
    world.runs_take(0.05)
    rounds = 0
    while world.lane.inline:
        for value in range(8):
            world.send(value)
        world.router.work()
        rounds += 1
        assert rounds < 5
    world.work()


def test_slow_failures_move_a_lane_as_slow_answers_do() -> None:
    """A model that fails after a second holds the loop as long as one that answers."""

    world = World()
    world.session.function = failing
    world.runs_take(0.05)
    for _ in range(LONG_RUNS):
        world.send(1)
        world.work()
    assert not world.lane.inline


def test_fast_failures_say_nothing_of_the_runs_that_succeed() -> None:
    """They neither bring a lane back to the loop nor shorten what is expected."""

    world = World(inline=False)
    world.lane.pace.record(1, 0.5, 1000.0, joined=False)
    world.session.function = failing
    world.runs_take(1e-5)
    for _ in range(2 * PROOF_RUNS):
        world.send(1)
        world.work()
    assert not world.lane.inline
    assert world.lane.pace.times.predict(1) == 0.5


def test_runs_that_lost_the_core_move_a_lane_late() -> None:
    """A busy machine is not the model's fault; one that stalls in every run is."""
    world = World(inline=True)
    world.runs_take(0.05, without_core=0.05)
    for _ in range(WAITED_RUNS - 1):
        world.send(1)
        world.work()
        assert world.lane.inline
    world.runs_take(1e-5)
    world.send(1)
    world.work()
    world.runs_take(0.05, without_core=0.05)
    for _ in range(WAITED_RUNS):
        assert world.lane.inline
        world.send(1)
        world.work()
    assert not world.lane.inline


def test_one_look_runs_all_that_waits_if_it_is_short() -> None:
    """Between two looks at the wire more comes in than one batch holds; it must not pile up."""
    world = World(inline=True)
    replies = [world.send(value) for value in range(100)]
    assert not world.router.work()
    assert all(reply.answers for reply in replies)
    world.runs_take(WORK_S)
    replies = [world.send(value) for value in range(100)]
    assert world.router.work()  # long ones leave time to look
    assert 0 < sum(reply.answers for reply in replies) < 100


def test_a_lane_comes_back_after_enough_short_runs() -> None:
    """Not before `PROOF_RUNS` of them in a row."""
    world = World(inline=False)
    world.runs_take(1e-5)
    for _ in range(PROOF_RUNS // 2):
        world.send(1)
        world.work()
    world.runs_take(2.5 * INLINE_RUN_S)
    world.send(1)
    world.work()
    world.runs_take(1e-5)
    for _ in range(PROOF_RUNS):
        assert not world.lane.inline
        world.send(1)
        world.work()
    reply = world.send(1)
    assert world.lane.inline
    assert world.router.work() is False
    assert values(reply) == [2]


def test_a_lane_comes_back_with_all_that_waits_and_while_the_executor_is_at_it() -> None:
    """Calls that waited for a thread are run by the loop, in order; the thread that was sent finds nothing."""
    world = World(version(max_size=1), inline=False)
    world.runs_take(1e-5)
    for _ in range(PROOF_RUNS):
        world.send(1)
        world.work()
    world.lane.pace.good_runs = 0
    waiting = [world.send(value) for value in range(3)]
    world.after(SWEEP_S)
    world.lane.pace.good_runs = PROOF_RUNS
    waiting.append(world.send(3))
    assert world.lane.inline
    waiting.append(world.send(4))
    waiting[1].cancel()
    assert world.lane.pending == 5  # the queue is the loop thread's: it drops what is over
    assert len(world.executor.visits) == 1
    runs = len(world.session.runs)
    assert world.executor.step()
    assert len(world.session.runs) == runs
    while world.router.work():
        pass
    assert [reply.answers for reply in waiting] == [1, 0, 1, 1, 1]
    assert [float(feeds["x"][0]) for feeds in world.session.runs[-4:]] == [0, 2, 3, 4]
    world.work()
    assert (world.lane.pending, world.lane.waiting_bytes, world.lane._tokens) == (0, 0, 0)
    waiting = [world.send(1)]
    world.work()
    assert waiting[0].messages


def test_a_thread_comes_once_all_is_taken_in_that_was_there() -> None:
    """Called for the first of several calls it would run that one alone."""
    world = World(inline=False)
    replies = [FakeReply() for _ in range(5)]
    for reply in replies:
        world.router.infer(request(1), reply, None)
        assert not world.executor.visits
    assert not world.router.work()
    assert len(world.executor.visits) == 1
    world.work()
    assert world.session.rows == [5]
    assert all(reply.messages for reply in replies)


def test_a_lane_that_changes_sides_while_the_loop_takes_in_is_not_forgotten() -> None:
    """The loop thread comes for it on either side, then and later."""
    world = World(inline=False)
    replies = [FakeReply(), FakeReply()]
    world.router.infer(request(1), replies[0], None)
    world.lane.pace.good_runs = PROOF_RUNS
    world.router.infer(request(1), replies[1], None)
    assert world.lane.inline
    world.work()
    assert all(reply.messages for reply in replies)
    world.lane.inline, world.lane.pace.good_runs = False, 0
    reply = world.send(1)
    assert len(world.executor.visits) == 1
    world.work()
    assert reply.messages


def test_two_threads_may_serve_one_lane_where_slots_allow() -> None:
    """The second is sent while the first runs."""
    world = World(version(max_size=1), inline=False, slots=2)
    depth = []

    def during() -> None:
        if len(depth) < 1:
            depth.append(len(world.lane._runs))
            world.executor.step()
            depth.append(len(world.lane._runs))

    world.session.during = during
    replies = [world.send(1), world.send(2), world.send(3)]
    assert len(world.executor.visits) == 2
    world.work()
    assert [values(reply) for reply in replies] == [[2], [4], [6]]
    assert depth == [1, 1]
    assert world.lane._tokens == 0


def test_proof_decides_the_side_before_the_first_caller() -> None:
    """Short runs of one row: inline, though larger ones take longer. A wish to wait, or long runs: not."""
    for settings, took, inline in ((version(), 1e-5, True), (SLOW, 1e-5, False), (version(), 5e-3, False)):
        world = World(settings, inline=False)
        world.runs_take(took)
        world.lane.prove(lambda rows: {"x": np.zeros(rows, np.float32)})
        assert world.lane.inline is inline
        assert world.session.rows[:PROOF_RUNS] == [1] * PROOF_RUNS


def test_proof_ends_after_a_second() -> None:
    """A slow model is not run a hundred times before it may serve."""
    world = World(version(max_size=4096), inline=False)
    world.runs_take(0.6)
    world.lane.prove(lambda rows: {"x": np.zeros(rows, np.float32)})
    assert world.session.rows == [1, 1]
    assert world.lane.pace.times.predict(1) == pytest.approx(0.6)


def test_a_model_that_fails_its_proof_learns_from_callers() -> None:
    """Made-up input may be at fault."""

    world = World(inline=False)
    world.session.function = failing
    world.lane.prove(lambda rows: {"x": np.zeros(rows, np.float32)})
    assert not world.lane.inline
    assert world.lane.pace.times.predict(1) == 0


# ---- who joins whom ----


def test_optional_inputs_that_a_caller_gives_are_not_joined() -> None:
    """They may be weights of the model, for this caller alone."""
    w = TensorSpec("w", "FP32", (-1,), optional=True)
    world = World(version(inputs=[TensorSpec("x", "FP32", (-1,)), w]))
    both = Header("m", "", (InputHeader("x", "FP32", (1,)), InputHeader("w", "FP32", (1,))), ())
    for header in (None, None, both, both, None, None):
        sent = request(1, header=header)
        if header:
            sent.elements.append(sent.elements[0])
        world.send_request(sent)
    world.work()
    assert world.session.rows == [2, 1, 1, 2]


def test_different_tails_are_different_batches() -> None:
    """Only calls whose rows have one shape share a run; the order of arrival is kept."""
    spec = TensorSpec("x", "FP32", (-1, -1))
    world = World(version(inputs=[spec], outputs=[TensorSpec("y", "FP32", (-1, -1))]))
    for width in (2, 2, 3, 2):
        header = Header("m", "", (InputHeader("x", "FP32", (1, width)),), ())
        world.send(*range(width), header=header)
    world.work()
    assert [feeds["x"].shape for feeds in world.session.runs] == [(2, 2), (1, 3), (1, 2)]


def test_notready_is_not_counted_by_a_lane() -> None:
    """There is no lane to count it."""
    world = World()
    world.word[0] = 9
    assert isinstance(world.send(1).error, NotReady)
    assert sum(world.lane.stats.total().failures) == 0


@pytest.mark.parametrize("rate", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_an_overloaded_lane_answers_as_many_as_it_can_and_tells_the_others_in_time(rate: float, jitter: float) -> None:
    """Runs of 10 ms and deadlines of 50 ms: what is run is in time, and the model is never idle for want of calls."""
    run_s = 0.01
    world = World(version(max_size=1), inline=False)
    chance = random.Random(7)
    for _ in range(50):
        world.lane.pace.record(1, run_s * (1 + jitter * chance.random()), world.clock.now, joined=False)
    sent: list[tuple[FakeReply, float, list[float]]] = []
    every = run_s / rate
    upcoming = world.clock.now

    def arrive(until: float) -> None:
        nonlocal upcoming
        while upcoming <= until:
            world.after(max(0.0, upcoming - world.clock.now))
            told: list[float] = []

            class Told(FakeReply):
                """Notes when it was answered."""

                def finish(self, message: bytes, told: list[float] = told) -> None:
                    super().finish(message)
                    told.append(world.clock.now)

                def fail(self, error: RouterError, told: list[float] = told) -> None:
                    super().fail(error)
                    told.append(world.clock.now)

            reply = Told()
            world.router.infer(request(1.0), reply, upcoming + 0.05)
            world.router.work()
            sent.append((reply, upcoming + 0.05, told))
            upcoming += every

    def during() -> None:
        until = world.clock.now + run_s * (1 + jitter * chance.random())
        arrive(until)
        world.after(max(0.0, until - world.clock.now))

    world.session.during = during
    began = world.clock.now
    while world.clock.now < began + 2.0:
        if not world.executor.step():
            arrive(upcoming)
    possible = (world.clock.now - began) / (run_s * (1 + jitter / 2))
    answered = sum(bool(reply.messages) for reply, _, _ in sent)
    assert answered >= 0.9 * possible
    for reply, deadline, told in sent:
        if reply.answers:
            assert told[0] <= deadline
    assert len(world.session.runs) <= 1.05 * answered + 2
