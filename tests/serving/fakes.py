"""What the router stands on, under the test's thumb: a clock, replies, sessions, executor threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from router.core.request import Header, InputHeader, Parameters, Request
from router.core.table import Batching, Route, Version, VersionState, VersionTable
from router.core.tensor import ANY, DTYPES, Signature, TensorSpec
from router.edge.reply_encoder import ReplyEncoder
from router.errors import RouterError
from router.pb.inference_pb2 import ModelInferRequest, ModelInferResponse
from router.serving.executor import Visited
from router.serving.inflight import InFlight
from router.serving.lanes import Lane
from router.serving.loop import UNKNOWN, Loop, Schedule
from router.serving.router import Router
from router.serving.run import Run
from router.serving.serving_table import ServingTable
from router.serving.timers import Timers

Array = np.ndarray[Any, Any]


class FakeClock:
    """A monotonic clock that stands still until it is told otherwise."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.waited = 0.0
        """Of `now`, the seconds for which no thread had a core."""

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def monotonic_ns(self) -> int:
        """Nanoseconds."""
        return round(self.now * 1e9)

    def thread_time_ns(self) -> int:
        """Nanoseconds with a core."""
        return round((self.now - self.waited) * 1e9)


class FakeReply:
    """Collects what the caller gets; a caller that went away gets nothing, as on the wire."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.errors: list[RouterError] = []
        self.gone = False
        self.identity = ""
        self.metadata: tuple[tuple[str, str | bytes], ...] = ()
        self._callbacks: list[Callable[[], None]] = []

    def finish(self, message: bytes) -> None:
        """The router sends the reply."""
        if not self.gone:
            self.messages.append(message)

    def fail(self, error: RouterError) -> None:
        """The router sends an error. What led to it is not kept, as on the wire."""
        if not self.gone:
            kept = type(error).__new__(type(error))
            kept.args, kept.retry_after_ms = error.args, error.retry_after_ms
            self.errors.append(kept)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """The router wants to know."""
        self._callbacks = [callback]
        if self.gone:
            callback()

    def cancel(self) -> None:
        """The caller goes away."""
        if not self.gone and not self.answers:
            self.gone = True
            for callback in self._callbacks:
                callback()

    @property
    def answers(self) -> int:
        """How often it was answered."""
        return len(self.messages) + len(self.errors)

    @property
    def response(self) -> ModelInferResponse:
        """The only answer, a reply."""
        assert not self.errors, self.errors
        (message,) = self.messages
        return ModelInferResponse.FromString(message)

    @property
    def error(self) -> RouterError:
        """The only answer, an error."""
        assert not self.messages
        (error,) = self.errors
        return error


def doubled(feeds: Mapping[str, Array]) -> list[Array]:
    """The model of most tests: y = 2x."""
    return [feeds["x"] * 2]


class FakeStop:
    """Remembers whether it was used."""

    terminate = False


class FakeSession:
    """Runs a function of the feeds; `during` is called in the middle of each run."""

    def __init__(self, function: Callable[[Mapping[str, Array]], list[Array]] = doubled) -> None:
        self.function = function
        self.during: Callable[[], None] = lambda: None
        self.runs: list[dict[str, Array]] = []
        self.stops: list[Any] = []
        """What each run could be ended by."""

    def stop(self) -> FakeStop:
        """What ends a run."""
        return FakeStop()

    def run(self, outputs: Sequence[str], feeds: dict[str, Any], stop: Any = None) -> list[Array]:  # noqa: ARG002
        """One run."""
        self.stops.append(stop)
        self.runs.append(feeds)
        self.during()
        return self.function(feeds)

    @property
    def rows(self) -> list[int]:
        """The rows of each run."""
        return [len(feeds["x"]) for feeds in self.runs]


LOOP, TIMER, EXECUTOR = 1, 2, 3
"""Threads, as far as the router asks which one it is on."""


class FakeExecutor:
    """Remembers which lanes asked for a thread; the test is the thread."""

    def __init__(self, slots: int = 1, on_thread: Callable[[int], int] = lambda _: 0) -> None:
        self.slots = slots
        self.on_thread = on_thread
        self.visits: deque[Visited] = deque()
        self.missing = 0
        self.runs: set[Run] = set()

    def put(self, lane: Visited) -> None:
        """A lane asks for a thread."""
        self.visits.append(lane)

    def lost(self) -> None:
        """A thread does not come back from a run."""
        self.missing += 1

    def back(self) -> None:
        """It does after all."""
        self.missing -= 1

    def step(self) -> bool:
        """One visit; False when nobody asked."""
        if not self.visits:
            return False
        lane = self.visits.popleft()
        was = self.on_thread(EXECUTOR)
        if lane.work():
            self.visits.append(lane)
        self.on_thread(was)
        return True


X = TensorSpec("x", "FP32", (ANY,))
Y = TensorSpec("y", "FP32", (ANY,))


def version(
    number: str = "1",
    *,
    max_size: int = 8,
    max_wait_us: int = 0,
    inputs: Sequence[TensorSpec] = (X,),
    outputs: Sequence[TensorSpec] = (Y,),
    state: VersionState = VersionState.READY,
    reason: str = "",
) -> Version:
    """A version of the model `m`."""
    return Version(
        "m",
        number,
        f"digest{number}",
        "nowhere",
        state,
        reason,
        Signature(tuple(inputs), tuple(outputs)),
        Batching(max_size, max_wait_us, "shown"),
    )


def table(
    generation: int, lanes: Mapping[str, Lane], champion: str | None = "1", others: Sequence[Version] = ()
) -> ServingTable:
    """A table with the model `m`."""
    versions = {number: lane.version for number, lane in lanes.items()} | {each.number: each for each in others}
    route = Route("m", champion, versions)
    return ServingTable(
        VersionTable(generation, {"m": route}), {("m", number): lane for number, lane in lanes.items()}, ReplyEncoder
    )


def request(
    *values: float,
    request_id: str = "",
    number: str = "",
    header: Header | None = None,
    parameters: Parameters | None = None,
) -> Request:
    """A request for the model `m` with the input x."""
    raw = np.array(values, np.float32).tobytes()
    header = header or Header("m", number, (InputHeader("x", "FP32", (len(values),)),), ())
    id_field = ModelInferRequest(id=request_id).SerializeToString()
    return Request(header, id_field, parameters or {}, 40 + len(raw), [memoryview(raw)])


def outputs(response: ModelInferResponse) -> dict[str, Array]:
    """The outputs of a reply."""
    return {
        tensor.name: np.frombuffer(raw, DTYPES[tensor.datatype]).reshape(tuple(tensor.shape))
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def new_word(generation: int = 1) -> memoryview:
    """A generation word."""
    return memoryview(bytearray(generation.to_bytes(8, "little"))).cast("Q")


@dataclass
class FakeTicker:
    """Looks by the clock of the test."""

    timers: Timers
    clock: FakeClock
    seconds: float
    look: Callable[[], bool]
    awake: bool = False

    def wake(self) -> None:
        """Begin to look."""
        if not self.awake:
            self.awake = True
            self.timers.at(self.clock.now + self.seconds, self._tick)

    def _tick(self) -> None:
        self.awake = self.look()
        if self.awake:
            self.timers.at(self.clock.now + self.seconds, self._tick)


@dataclass
class World:
    """A router with one lane, a clock and an executor that wait for the test."""

    version: Version = field(default_factory=version)
    inline: bool = True
    slots: int = 1

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.timers = Timers(self.clock.monotonic)
        self.thread = LOOP
        self.executor: Any = FakeExecutor(self.slots, self.on_thread)
        self.handed_over = 0
        self.loop = Loop(self.timers, self.clock, self.schedule, self.hand_over, lambda: self.thread, self.ticker)
        self.inflight = InFlight()
        self.session = FakeSession()
        self.lane = self.new_lane(self.version, self.session)
        self.lane.inline = self.inline
        self.word = new_word()
        self.router = Router(self.word, self.loop, self.clock, self.inflight)
        self.router.install(table(1, {self.version.number: self.lane}))

    def new_lane(self, version: Version, session: FakeSession) -> Lane:
        """Another lane of the same worker."""
        return Lane(version, [session], self.executor, self.timers, self.loop, self.clock, inflight=self.inflight)

    def on_thread(self, thread: int) -> int:
        """From now on the test stands for this thread; gives the one before."""
        was, self.thread = self.thread, thread
        return was

    def router_of(self, word: memoryview) -> Router:
        """Another router, that has no table yet."""
        return Router(word, self.loop, self.clock)

    def schedule(self, native: int) -> Schedule:
        """What the system says of the loop thread: it is blocked, or waited for a core."""
        return Schedule(0.0, self.clock.waited, runnable=False) if native else UNKNOWN

    def ticker(self, seconds: float, look: Callable[[], bool]) -> FakeTicker:
        """What looks at the loop, by the clock of the test."""
        return FakeTicker(self.timers, self.clock, seconds, look)

    def hand_over(self) -> None:
        """The loop is taken from its thread; the test is the next one."""
        self.handed_over += 1
        was = self.on_thread(LOOP)
        self.loop.enter()
        self.on_thread(was)

    def send(self, *values: float, deadline: float | None = None, **about: Any) -> FakeReply:
        """A caller sends a request; `deadline` counts from now."""
        return self.send_request(request(*values, **about), deadline)

    def send_request(self, sent: Request, deadline: float | None = None) -> FakeReply:
        """A caller sends a request, whose error is answered as the edge does."""
        reply = FakeReply()
        try:
            self.router.infer(sent, reply, None if deadline is None else self.clock.now + deadline)
        except RouterError as error:
            reply.fail(error)
        if not self.lane.inline:  # all is taken in that was there: a thread is asked to come
            self.router.work()
        return reply

    def work(self) -> None:
        """The loop thread and the executor work until nothing is left to do."""
        while self.router.work() or self.executor.step():
            pass

    def after(self, seconds: float) -> None:
        """Time passes, and the timers notice."""
        self.clock.now += seconds
        was = self.on_thread(TIMER)
        self.timers.fire()
        self.on_thread(was)

    def runs_take(self, seconds: float, without_core: float = 0.0) -> None:
        """From now on a run takes so long; for so much of it its thread had no core."""

        def during() -> None:
            self.clock.now += seconds
            self.clock.waited += without_core

        self.session.during = during


def values(reply: FakeReply) -> list[float]:
    """The output y of a reply."""
    found: list[float] = outputs(reply.response)["y"].tolist()
    return found
