"""Nothing waits for the collector: calls and retired sessions go when the last one lets go of them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from router.core.request import Header, InputHeader, Request
from router.edge.codec import Decoder
from router.errors import ModelFailed, RouterError
from router.pb.inference_pb2 import ModelInferRequest
from router.serving import lanes
from router.serving.call import Call
from router.serving.executor import Executor
from router.serving.lanes import Lane
from router.serving.loop import Loop
from router.serving.plan import Plan
from router.serving.router import Router
from router.serving.timers import Timers
from tests.serving.fakes import FakeReply, FakeSession, World, new_word, request, table, version

LIMIT_S = 20.0


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive(*kinds: type) -> Counter[str]:
    """How many objects of these kinds there are."""
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds))


def message(name: str = "m", size: int = 1) -> bytes:
    """A request as it travels."""
    sent = ModelInferRequest(model_name=name, id="1", raw_input_contents=[bytes(4 * size)])
    sent.inputs.add(name="x", datatype="FP32", shape=[size])
    return sent.SerializeToString()


PER_CALL = (Call, Request, RouterError, FakeReply)


def tell(act: Callable[[], None]) -> None:
    """What one call does, and what it leaves behind."""
    act()
    before = alive(*PER_CALL)
    plans = alive(Plan, Header)
    for _ in range(20):
        act()
    assert alive(*PER_CALL) == before
    assert alive(Plan, Header) == plans


@pytest.mark.parametrize("inline", [True, False])
def test_answered_calls_leave_nothing(inline: bool) -> None:
    """Joined or not, with a deadline or without, on either side."""
    world = World(inline=inline)
    world.runs_take(0.002)

    def act() -> None:
        world.send(1, deadline=0.01)
        world.send(1, deadline=10.0)
        world.send(1)
        world.work()
        world.after(0.1)
        world.after(0.1)

    tell(act)


@pytest.mark.parametrize("inline", [True, False])
def test_failed_calls_leave_nothing(inline: bool) -> None:
    """Failures of the model, refusals of the check, deadlines, callers that went away."""
    world = World(inline=inline)

    def broken(feeds: object) -> list[object]:  # noqa: ARG001
        raise ModelFailed("no") from ZeroDivisionError()

    world.session.function = broken  # type: ignore[assignment]
    misfit = Header("m", "", (InputHeader("x", "INT8", (1,)),), ())

    def act() -> None:
        world.send(1)
        world.send(2)
        world.work()
        world.send(1, deadline=0.001)
        world.after(0.1)
        world.work()
        world.send(1, deadline=5.0).cancel()
        world.work()
        world.send(1, header=misfit)
        world.send(1, number="9")
        world.send(1, parameters={"timeout": 0})
        world.after(0.1)

    tell(act)


def test_refused_calls_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overload is the worst time to lose memory."""
    monkeypatch.setattr(lanes, "MAX_WAITING", 1)
    world = World()

    def act() -> None:
        world.send(1)
        world.send(1)
        world.work()

    tell(act)


def test_a_caller_that_is_never_told_of_a_cancel_keeps_no_call() -> None:
    """The reply holds the callback; the callback must not hold the call, which holds the reply."""
    world = World(inline=False)
    reply = world.send(1)
    call = weakref.ref(world.lane.waiting[0])
    world.work()
    assert call() is None
    assert reply.messages


def test_a_plan_of_a_header_that_does_not_come_again_dies_with_its_call() -> None:
    """Only kept headers keep plans."""
    world = World()
    world.send(1)
    plan = weakref.ref(world.lane.waiting[0].plan)
    world.work()
    assert plan() is None


def retire(router: Router, word: memoryview, lane: Lane) -> None:
    """The swap to another lane, and the end of the old table."""
    router.install(table(2, {"1": lane}))
    word[0] = 2
    assert len(router.forget(2)) == 1


@pytest.mark.parametrize("inline", [True, False])
def test_a_retired_session_goes_though_its_callers_stay(inline: bool) -> None:
    """Headers and templates that a decoder remembers know nothing of the session that answered."""
    world = World(inline=inline)
    decoder = Decoder()
    for _ in range(3):
        world.send_request(decoder.decode(message()), deadline=0.03)
        world.work()
    new = world.new_lane(version(), FakeSession())
    session = weakref.ref(world.session)
    lane = weakref.ref(world.lane)
    retire(world.router, world.word, new)
    del world.session, world.lane
    world.router.work()
    world.after(0.02)
    world.after(0.1)
    assert lane() is None
    assert session() is None
    assert decoder._templates


def test_a_retired_session_outlives_its_last_call_only() -> None:
    """A call that waits when its table goes is still answered by it."""
    world = World(inline=False)
    reply = world.send(1)
    session = weakref.ref(world.session)
    retire(world.router, world.word, world.new_lane(version(), FakeSession()))
    del world.session, world.lane
    world.executor.step()
    assert reply.messages
    del reply
    assert session() is None


@pytest.mark.parametrize("max_wait_us", [0, 1000])
def test_threads_and_timers_at_rest_keep_no_session(max_wait_us: int) -> None:
    """A real executor and real timers, with deadlines near and far, sweeps and waits for company behind them."""
    timers, executor = Timers(), Executor(threads=3)
    timers.start()
    word = new_word()
    loop = Loop(timers, hand_over=lambda: None)
    router = Router(word, loop)
    session = FakeSession()
    lane = Lane(version(max_wait_us=max_wait_us), [session], executor, timers, loop)
    router.install(table(1, {"1": lane}))
    answered = threading.Semaphore(0)

    class Told(FakeReply):
        def finish(self, message: bytes) -> None:
            super().finish(message)
            answered.release()

    try:
        for late in (None, 0.5, 5.0, 60.0):
            router.infer(request(1), Told(), None if late is None else lane.clock.monotonic() + late)
            router.work()
        for _ in range(4):
            assert answered.acquire(timeout=LIMIT_S)
        gone = threading.Event()
        weakref.finalize(session, gone.set)
        retire(router, word, Lane(version(), [FakeSession()], executor, timers, loop))
        del session, lane
        assert gone.wait(LIMIT_S)
    finally:
        timers.stop()
        executor.stop()
