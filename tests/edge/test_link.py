"""The link between controller and worker: both real ends on a Unix socket, fakes behind them."""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from router.control.swap import Refusal
from router.core.access import NOBODY, Caller
from router.core.faults import Fault
from router.core.observation import Observation
from router.core.prediction import Form
from router.core.table import Route, Version, VersionState, VersionTable
from router.edge.link import LinkServer, WorkerHandle
from router.edge.link_client import MOST_UNSENT, LinkClient
from router.edge.observations import from_message
from router.errors import Cancelled, InternalError, NotFound, NotReady, RouterError, Status, TooLate
from router.pb import link_pb2 as pb
from router.pb.inference_pb2 import ModelInferRequest
from router.pb.observation_pb2 import Observations
from router.pb.story_pb2 import ExplainRequest, Stories, Story
from router.serving.call import Call
from router.serving.mirror import MirrorOrder, Part
from router.serving.predictions import Notes, Predictions
from router.serving.timers import Timers
from tests.server import eventually
from tests.serving.fakes import FakeReply

WAIT_S = 10.0


class FakeController:
    """The controller's end on a loop of its own thread."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.joined_workers: list[WorkerHandle] = []
        self.left_workers: list[WorkerHandle] = []
        self.figures: list[int] = []
        self.join_error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.predictions: list[pb.Predictions] = []
        self.observations: list[Observation] = []
        self.confirms = True
        self.forward_ended = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = LinkServer(self)
        self.run(self.server.start(address))

    def run(self, work: Any) -> Any:
        """Run on the controller's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    async def joined(self, worker: WorkerHandle) -> None:
        """A worker joins."""
        if self.join_error is not None:
            error, self.join_error = self.join_error, None
            raise error
        self.joined_workers.append(worker)

    def left(self, worker: WorkerHandle) -> None:
        """A worker leaves."""
        self.left_workers.append(worker)

    def reported(self, worker: WorkerHandle, telemetry: pb.Telemetry) -> None:
        """Figures."""
        assert worker.incarnation
        if telemetry.resident_bytes == 666:
            raise ValueError("a fault of ours")
        self.figures.append(telemetry.resident_bytes)

    def predicted(self, worker: WorkerHandle, predictions: pb.Predictions) -> None:
        """Predictions, confirmed if the test wants it."""
        self.predictions.append(predictions)
        if self.confirms:
            worker.kept(predictions.number)

    def observed(self, worker: WorkerHandle, observations: Observations) -> None:
        """Rows that came by."""
        assert worker.incarnation
        self.observations += [from_message(each) for each in observations.observed]

    async def forwarded(self, method: str, message: bytes, caller: Caller) -> bytes:
        """Echo, or fail as told."""
        if method == "who":
            return repr(caller).encode()
        if method == "missing":
            raise NotFound("no such thing")
        if method == "fault":
            raise ValueError("secret /etc/passwd")
        if method == "hold":
            self.hold = asyncio.Event()
            try:
                await self.hold.wait()
            finally:
                self.forward_ended.set()
        return message + b"!"

    def worker(self, number: int = 0) -> WorkerHandle:
        """The worker that joined so many joins ago."""
        return eventually(lambda: self.joined_workers[number] if len(self.joined_workers) > number else None)

    def stop(self) -> None:
        """Be gone."""

        async def end() -> None:
            await self.server.stop()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=1)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WAIT_S)
        self.loop.close()


class FakeWorker:
    """The worker's end."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuses: list[Refusal] = []
        self.gate: threading.Event | None = None
        self.fails: Exception | None = None
        self.resident = 1
        self.predictions = Predictions(lambda handed: None)  # noqa: ARG005

    def stories(self, wanted: ExplainRequest) -> Stories:
        """One story of whatever is asked for."""
        return Stories(stories=[Story(id=wanted.id, model=wanted.model)], kept=wanted.last)

    def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """Wait at the gate, refuse what is told."""
        if self.gate is not None:
            self.gate.wait(WAIT_S)
        if self.fails is not None:
            error, self.fails = self.fails, None
            raise error
        self.calls.append(f"prepare {table.generation}")
        return self.refuses

    def preload(self, route: Route, done: Callable[[Sequence[Refusal]], None]) -> None:
        """Refuse what is told."""
        self.calls.append(f"preload {route.model} {','.join(route.versions)}")
        done(self.refuses)

    def retire(self, before: int, done: Callable[[], None]) -> None:
        """Remember."""
        self.calls.append(f"retire {before}")
        done()

    def bind(self) -> None:
        """Remember."""
        self.calls.append("bind")

    def set_faults(self, model: str, faults: tuple[Fault, ...]) -> None:
        """Remember."""
        self.calls.append(f"faults {model} {[fault.model_dump(exclude_none=True) for fault in faults]}")

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Remember."""
        self.calls.append(f"mirrors {list(orders)}")

    def attached(self) -> None:
        """Say again what is not confirmed."""
        self.predictions.again()

    def kept(self, number: int) -> None:
        """The next sheet may go."""
        self.predictions.kept(number)

    def hand_over(self, done: Callable[[], None]) -> None:
        """All that there is."""
        self.predictions.ask(done)
        self.predictions.work()

    def telemetry(self) -> pb.Telemetry:
        """A number that can be told apart."""
        return pb.Telemetry(resident_bytes=self.resident)


class Pair:
    """Both ends."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.controller = FakeController(address)
        self.worker = FakeWorker()
        self.timers = Timers()
        self.timers.start()
        self.link = LinkClient(address, pb.Joined(worker=3, pid=77, incarnation="one"), self.worker, self.timers)
        self.worker.predictions = Predictions(self.link.send_predictions)
        self.link.start()

    def say(self, request_id: str) -> None:
        """The worker has a prediction to hand over."""
        notes = Notes(self.worker.predictions, 0, Form.INTEGER, "m", "1", 7, "champion", 1.0)
        reply = FakeReply()
        call = Call(
            SimpleNamespace(rows=1), reply, ModelInferRequest(id=request_id).SerializeToString(), [], 0, None, 0
        )  # type: ignore[arg-type]
        notes.take([call], [call], [np.array([3])], 0, hedge=False)
        self.worker.predictions.work()

    def ask(self, method: str, message: bytes = b"x", seconds: float | None = None) -> bytes | RouterError:
        """Forward and wait."""
        answers: list[bytes | RouterError] = []
        self.link.forward(method, message, None if seconds is None else time.monotonic() + seconds, answers.append)
        return eventually(lambda: answers[0] if answers else None)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both ends, joined."""
    made = Pair(tmp_path / "s")
    made.controller.worker()
    yield made
    made.link.stop()
    made.timers.stop()
    made.controller.stop()


def test_a_worker_joins_and_does_what_it_is_told(pair: Pair) -> None:
    """Prepare, bind, retire, in order; who it is, is known."""
    worker = pair.controller.worker()
    assert (worker.index, worker.pid, worker.incarnation) == (3, 77, "one")
    pair.worker.refuses = [Refusal("m", "1", "no memory")]
    assert pair.controller.run(worker.prepare(VersionTable(5, {}))) == pair.worker.refuses
    pair.worker.refuses = []
    assert pair.controller.run(worker.prepare(VersionTable(6, {}))) == []
    pair.controller.run(worker.bind())
    pair.controller.run(worker.retire(6))
    eventually(lambda: pair.worker.calls == ["prepare 5", "prepare 6", "bind", "retire 6"])


def test_what_is_to_come_is_loaded_ahead(pair: Pair) -> None:
    """For one route; what could not be loaded comes back."""
    route = Route("m", None, {"2": Version("m", "2", "d", "p", VersionState.READY)})
    preload = pair.controller.worker().preload
    assert pair.controller.run(preload(route)) == []
    pair.worker.refuses = [Refusal("m", "2", "no memory")]
    assert pair.controller.run(preload(route)) == pair.worker.refuses
    assert pair.worker.calls.count("preload m 2") == 2


def test_figures_are_asked_and_sent_unasked(pair: Pair) -> None:
    """Both reach the controller; one who does not answer costs the time that was given."""
    worker = pair.controller.worker()
    assert pair.controller.run(worker.telemetry(WAIT_S)).resident_bytes == 1
    pair.worker.resident = 2
    pair.link.send_telemetry()
    eventually(lambda: pair.controller.figures == [1, 2])
    pair.worker.gate = threading.Event()
    preparing = asyncio.run_coroutine_threadsafe(worker.prepare(VersionTable(1, {})), pair.controller.loop)
    with pytest.raises(TimeoutError):
        pair.controller.run(worker.telemetry(0.05))
    pair.worker.gate.set()
    assert preparing.result(WAIT_S) == []


def test_predictions_are_handed_over(pair: Pair) -> None:
    """One message at a time; whoever asks for all of them learns when they are confirmed."""
    worker = pair.controller.worker()
    pair.controller.run(worker.hand_over(WAIT_S))
    for name in "abc":
        pair.say(name)
    pair.controller.run(worker.hand_over(WAIT_S))
    assert [list(each.ids) for each in pair.controller.predictions] == [["a"], ["b"], ["c"]]
    assert pair.worker.predictions.figures()["m"].kept == 3


def test_predictions_outlive_the_controller(pair: Pair) -> None:
    """What it has not confirmed goes to the next one, and what was said while there was none."""
    pair.controller.confirms = False
    pair.say("a")
    eventually(lambda: pair.controller.predictions)
    with pytest.raises(TimeoutError):
        pair.controller.run(pair.controller.worker().hand_over(0.05))
    pair.controller.stop()
    pair.say("b")
    pair.controller = FakeController(pair.address)
    pair.controller.run(pair.controller.worker().hand_over(WAIT_S))
    assert [list(each.ids) for each in pair.controller.predictions][-1] == ["b"]
    assert {each.number for each in pair.controller.predictions} == {1, 2}
    pair.controller.worker().gone()
    pair.controller.worker().kept(9)  # nobody is there to hear it


def test_stories_are_asked(pair: Pair) -> None:
    """What is wanted reaches the worker, what it tells comes back."""
    told = pair.controller.run(pair.controller.worker().stories(ExplainRequest(id="a", model="m", last=7), WAIT_S))
    assert [(story.id, story.model) for story in told.stories] == [("a", "m")]
    assert told.kept == 7


def test_a_question_is_forwarded(pair: Pair) -> None:
    """The answer or the controller's error, with its status; a fault of ours tells nothing."""
    assert pair.ask("echo", b"abc") == b"abc!"
    missing, fault = pair.ask("missing"), pair.ask("fault")
    assert isinstance(missing, RouterError)
    assert (missing.status, str(missing)) == (Status.NOT_FOUND, "no such thing")
    assert isinstance(fault, RouterError)
    assert (fault.status, str(fault)) == (Status.INTERNAL, str(InternalError()))


def test_who_asks_travels_with_the_question(pair: Pair) -> None:
    """Token and certificate, or nobody."""
    answers: list[bytes | RouterError] = []
    for caller in (Caller("d" * 64, ("ada",)), NOBODY):
        pair.link.forward("who", b"", None, answers.append, caller)
        eventually(lambda: answers)
        assert answers.pop() == repr(caller).encode()


def test_a_question_ends_by_its_deadline(pair: Pair) -> None:
    """The controller is told that nobody waits any more."""
    assert isinstance(pair.ask("hold", seconds=0.1), TooLate)
    assert pair.controller.forward_ended.wait(WAIT_S)
    assert isinstance(pair.ask("echo", seconds=-1), TooLate)


def test_a_question_can_be_taken_back(pair: Pair) -> None:
    """When its caller goes away."""
    answers: list[bytes | RouterError] = []
    take_back = pair.link.forward("hold", b"", None, answers.append)
    eventually(lambda: pair.controller.hold)
    take_back()
    eventually(lambda: answers)
    assert isinstance(answers[0], Cancelled)
    assert pair.controller.forward_ended.wait(WAIT_S)


def test_without_a_controller_questions_are_unavailable_and_the_worker_keeps_knocking(pair: Pair) -> None:
    """It joins the next controller by itself, as the same incarnation."""
    pair.controller.stop()
    assert isinstance(pair.ask("echo"), NotReady)
    pair.controller = FakeController(pair.address)
    assert pair.controller.worker().incarnation == "one"
    assert eventually(lambda: pair.ask("echo", b"abc") == b"abc!")


def test_a_fault_while_preparing_joins_anew(pair: Pair) -> None:
    """The controller learns that this worker is gone, and gets it back."""
    pair.worker.fails = ValueError("a fault of ours")
    with pytest.raises(ConnectionError):
        pair.controller.run(pair.controller.worker().prepare(VersionTable(1, {})))
    again = pair.controller.worker(1)
    assert pair.controller.run(again.prepare(VersionTable(1, {}))) == []
    assert pair.controller.left_workers == pair.controller.joined_workers[:1]


@pytest.mark.parametrize("error", [NotReady, ValueError])
def test_a_join_that_fails_is_tried_again(tmp_path: Path, error: type[Exception]) -> None:
    """Whatever went wrong: the worker knocks again."""
    address = tmp_path / "s"
    controller = FakeController(address)
    controller.join_error = error("a fault of ours")
    worker = FakeWorker()
    link = LinkClient(address, pb.Joined(incarnation="one"), worker, Timers())
    link.start()
    assert controller.run(controller.worker().prepare(VersionTable(1, {}))) == []
    link.stop()
    controller.stop()


def test_a_fault_over_figures_joins_anew(pair: Pair) -> None:
    """It is logged, and the link goes on."""
    pair.worker.resident = 666
    pair.link.send_telemetry()
    pair.worker.resident = 1
    again = pair.controller.worker(1)
    assert pair.controller.run(again.telemetry(WAIT_S)).resident_bytes == 1


def test_who_waits_for_a_worker_learns_that_it_is_gone(pair: Pair) -> None:
    """Prepare and telemetry raise ConnectionError, then and afterwards."""
    worker = pair.controller.worker()
    pair.worker.gate = threading.Event()
    waiting = asyncio.run_coroutine_threadsafe(worker.prepare(VersionTable(1, {})), pair.controller.loop)
    asked: Callable[[], bool] = lambda: bool(worker._prepared)  # noqa: E731
    eventually(asked)
    pair.controller.loop.call_soon_threadsafe(worker.gone)
    with pytest.raises(ConnectionError):
        waiting.result(WAIT_S)
    with pytest.raises(ConnectionError):
        pair.controller.run(worker.bind())
    pair.worker.gate.set()


STRANGERS = {
    "nothing": b"",
    "cut off": b"\0\0",
    "junk": b"\0\0\0\x03abc",
    "no name": b"\0\0\0\x02" + pb.FromWorker(prepared=pb.Prepared()).SerializeToString(),
}


@pytest.mark.parametrize("first", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_without_a_name_is_let_go(pair: Pair, first: bytes) -> None:
    """A connection that ends before it says who it is, or says something else, is no worker."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
        stranger.settimeout(WAIT_S)
        stranger.connect(str(pair.address))
        stranger.sendall(first)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(100) == b""
    assert len(pair.controller.joined_workers) == 1
    assert pair.controller.left_workers == []


def test_faults_travel_as_they_are(pair: Pair) -> None:
    """They are in effect when the controller goes on; what was not said has its default."""
    worker = pair.controller.worker()
    faults = (Fault(kind="hang", share=0.5, replica=0), Fault(kind="slow", factor=3, after_s=1.5))
    pair.controller.run(worker.set_faults("m", faults))
    hang = {"kind": "hang", "share": 0.5, "after_s": 0.0, "replica": 0}
    slow = {"kind": "slow", "share": 1.0, "factor": 3.0, "after_s": 1.5}
    assert pair.worker.calls == [f"faults m {[hang, slow]}"]
    pair.controller.run(worker.set_faults("m", ()))
    assert pair.worker.calls[-1] == "faults m []"


def test_mirrors_are_told_as_a_whole(pair: Pair) -> None:
    """Which there are; none, too."""
    worker = pair.controller.worker()

    async def tell(orders: Sequence[MirrorOrder]) -> None:
        worker.set_mirrors(orders)

    told = [MirrorOrder("m", {"2": Part(0.25, 100.0), "1": Part(1.0, 0.5)}), MirrorOrder("n", {})]
    pair.controller.run(tell(told))
    pair.controller.run(tell([]))
    eventually(lambda: pair.worker.calls == [f"mirrors {told}", "mirrors []"])


def test_what_was_looked_at_comes_once_or_not_at_all(pair: Pair) -> None:
    """Nothing waits for a controller that is away, nor for one that takes nothing."""
    seen = Observation("m", "1", "champion", ("a",), (1,), (2,), {}, {"y": np.ones(1, np.float32)}, rows=(0,))
    pair.controller.worker()
    assert pair.link.send_observations([seen])
    assert eventually(lambda: pair.controller.observations)[0].ids == ("a",)
    outgoing, pair.link._outgoing = pair.link._outgoing, queue.SimpleQueue()
    for _ in range(MOST_UNSENT):
        pair.link._outgoing.put(None)
    assert not pair.link.send_observations([seen])
    pair.link._outgoing = outgoing
    pair.controller.run(pair.controller.server.stop())
    eventually(lambda: not pair.link.send_observations([seen]))
