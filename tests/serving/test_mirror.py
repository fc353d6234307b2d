"""Copies of runs: which are made, what is dropped, and that nobody waits for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from router.core.mirrored import MirroredRun
from router.core.request import Header, InputHeader
from router.core.tensor import ANY, TensorSpec
from router.edge.mirrors import decode, encode
from router.serving.mirror import (
    ABSENT,
    FAULT,
    FULL,
    LENGTH,
    MAX_BYTES,
    MAX_RUNS,
    RATE,
    Mirror,
    MirrorOrder,
    Part,
    pause_s,
)
from tests.server import eventually
from tests.serving.fakes import FakeReply, World, request, values, version
from tests.serving.test_lanes import failing


class Listener:
    """The warm-up worker's end of a socket."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(10)
        self.knocks = 0

    def connect(self) -> socket.socket:
        """A mirror reaches it."""
        self.knocks += 1
        return self.ours

    def read(self) -> MirroredRun:
        """The next run."""
        with self.theirs.makefile("rb", buffering=0) as stream:
            (length,) = LENGTH.unpack(stream.read(LENGTH.size))
            message = b""
            while len(message) < length:
                message += stream.read(length - len(message)) or b""
        return decode(message)


def nobody() -> socket.socket:
    """There is no warm-up worker."""
    raise ConnectionRefusedError


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A warm-up worker."""
    made = Listener()
    yield made
    made.ours.close()
    made.theirs.close()


def mirroring(
    world: World,
    connect: Callable[[], socket.socket] = nobody,
    fraction: float = 1.0,
    max_per_s: float = 1e6,
    choose: Callable[[], float] = lambda: 0.5,
    versions: str = "1",
) -> Mirror:
    """A mirror of the world's lane; its thread has not been started."""
    order = MirrorOrder("m", dict.fromkeys(versions, Part(fraction, max_per_s)))
    world.lane.mirror = mirror = Mirror(order, connect, encode, choose)
    return mirror


def ask(world: World, *numbers: float) -> list[FakeReply]:
    """A caller for each number, all served."""
    replies = [world.send(number, request_id=str(number)) for number in numbers]
    world.work()
    assert [values(reply) for reply in replies] == [[2 * number] for number in numbers]
    return replies


@pytest.mark.parametrize("inline", [True, False])
def test_a_run_is_copied_with_what_came_and_what_went_out(inline: bool, listener: Listener) -> None:
    """Inputs and ids of each call, outputs of all, the version and the time of its run; on either side."""
    world = World(inline=inline)
    mirror = mirroring(world, listener.connect)
    world.runs_take(0.004)
    ask(world, 1, 2)
    mirror.start()
    run = listener.read()
    assert (run.model, run.champion, run.seconds) == ("m", "1", 0.004)
    assert [np.frombuffer(call.elements[0], np.float32).tolist() for call in run.calls] == [[1], [2]]
    assert [call.inputs for call in run.calls] == [(InputHeader("x", "FP32", (1,)),)] * 2
    assert [call.id_field for call in run.calls] == [request(0, request_id=n).id_field for n in "12"]
    assert run.outputs["y"].tolist() == [2, 4]
    mirror.stop()
    eventually(lambda: not mirror._thread.is_alive())
    assert (mirror.offered, mirror.sent) == (2, 2)
    assert listener.ours.fileno() == -1


def test_texts_and_truth_values_travel(listener: Listener) -> None:
    """As their raw form."""
    inputs = (TensorSpec("t", "BYTES", (ANY,)), TensorSpec("b", "BOOL", (ANY,)))
    world = World(version(inputs=inputs, outputs=(TensorSpec("t", "BYTES", (ANY,)),)))
    world.session.function = lambda feeds: [feeds["t"]]
    mirror = mirroring(world, listener.connect)
    asked = request(0, header=Header("m", "", (InputHeader("b", "BOOL", (1,)), InputHeader("t", "BYTES", (1,))), ()))
    asked.elements = [memoryview(b"\5"), memoryview(b"\2\0\0\0\xc3\xbc")]
    assert not world.send_request(asked).errors
    world.work()
    mirror.start()
    run = listener.read()
    mirror.stop()
    (call,) = run.calls
    assert dict(zip([each.name for each in call.inputs], map(bytes, call.elements), strict=True)) == {
        "t": b"\2\0\0\0\xc3\xbc",
        "b": b"\1",
    }
    assert run.outputs["t"].tolist() == ["ü"]


def test_replies_go_out_first() -> None:
    """A mirror that fails could cost no caller its answer."""
    world = World()
    mirror = mirroring(world)
    seen: list[int] = []
    reply = world.send(1)
    mirror.offer = lambda *_: seen.append(reply.answers)  # type: ignore[method-assign]
    world.work()
    assert seen == [1]


def test_what_the_champion_did_not_say_is_not_copied() -> None:
    """A run that failed, one that broke the contract, one that was asked for by its number."""
    world = World()
    mirror = mirroring(world)
    world.session.function = failing
    world.send(1)
    world.work()
    world = World(version("2"))
    other = mirroring(world, versions="12")
    world.send(1, number="2")
    world.work()
    assert mirror.offered == other.offered == 0
    assert not mirror._queue


def test_runs_of_the_versions_that_are_wanted_are_copied() -> None:
    """A challenger's, where it is the candidate of a canary; the champion's only if somebody wants them."""
    world = World()
    mirror = mirroring(world, versions="2")
    ask(world, 1)
    assert mirror.offered == 0
    offered: list[Any] = []
    mirror.offer = lambda *arguments: offered.append(arguments)  # type: ignore[method-assign]
    ask(world, 1)
    ((_, (call,), outputs, run_ns, now_ns),) = offered
    del mirror.offer
    for served_by, copied in (("challenger", 1), ("champion", 2), ("version", 2), ("failover", 2)):
        call.plan.served_by = served_by
        mirror.offer(version("2"), [call], outputs, run_ns, now_ns)
        assert mirror.offered == copied, served_by


def test_each_version_has_a_part_of_its_own() -> None:
    """A challenger's few runs find a place beside the champion's many, of which little is copied."""
    world = World()
    mirror = mirroring(world, versions="")
    mirror.follow(MirrorOrder("m", {"1": Part(0.25, 10), "2": Part(0.75, 20)}))
    offered = run_of(world, mirror)
    for number in "112222":
        mirror.offer(version(number), *offered)
    assert (mirror.offered, mirror.dropped[RATE]) == (4, 2)
    assert [copied.version.number for copied in mirror._queue] == ["2", "2"]


def test_a_mirror_follows_another_order() -> None:
    """At once: its figures, what waits and what may be copied now go on."""
    world = World()
    mirror = mirroring(world, max_per_s=10, versions="12")
    offered = run_of(world, mirror)
    for number in "112":
        mirror.offer(version(number), *offered)
    mirror.follow(MirrorOrder("m", {"1": Part(1.0, 10), "3": Part(1.0, 10)}))
    for number in "123":
        mirror.offer(version(number), *offered)
    assert mirror.order.versions.keys() == {"1", "3"}
    assert (mirror.offered, mirror.dropped[RATE]) == (5, 2)
    assert [copied.version.number for copied in mirror._queue] == ["1", "2", "3"]
    mirror.follow(MirrorOrder("m", {"1": Part(1.0, 1e6)}))
    mirror.offer(version("1"), *offered[:-1], offered[-1] + 1_000_000)
    assert (mirror.offered, len(mirror._queue)) == (6, 4)


def test_what_waits_when_it_is_wanted_no_more_is_counted() -> None:
    """As dropped: nothing that was offered is lost without a word."""
    world = World()
    mirror = mirroring(world)
    ask(world, 1, 2)
    mirror.stop()
    mirror.start()
    eventually(lambda: not mirror._thread.is_alive())
    assert (mirror.offered, mirror.sent, mirror.dropped[ABSENT]) == (2, 0, 2)


def run_of(world: World, mirror: Mirror) -> tuple[Any, ...]:
    """What of a run is offered, without its version."""
    offered: list[Any] = []
    mirror.offer = lambda *arguments: offered.append(arguments)  # type: ignore[method-assign]
    ask(world, 1)
    del mirror.offer
    ((_, *run),) = offered
    return tuple(run)


def test_each_version_has_a_rate_of_its_own() -> None:
    """A challenger's few runs find a place beside the champion's many."""
    world = World()
    mirror = mirroring(world, max_per_s=10, versions="12")
    offered: list[Any] = []
    mirror.offer = lambda *arguments: offered.append(arguments)  # type: ignore[method-assign]
    ask(world, 1)
    ((_, calls, outputs, run_ns, now_ns),) = offered
    del mirror.offer
    for number in "1112":
        mirror.offer(version(number), calls, outputs, run_ns, now_ns)
    assert (mirror.offered, mirror.dropped[RATE]) == (4, 2)
    assert [copied.version.number for copied in mirror._queue] == ["1", "2"]


def test_a_fraction_is_copied() -> None:
    """By chance, run by run."""
    world = World()
    chances = iter([0.1, 0.9, 0.24, 0.25])
    mirror = mirroring(world, fraction=0.25, choose=lambda: next(chances))
    for number in range(4):
        ask(world, number)
    assert mirror.offered == len(mirror._queue) == 2


def test_a_rate_is_kept() -> None:
    """Whatever comes at once: what is beyond is dropped, and after a while there is room again."""
    world = World()
    mirror = mirroring(world, max_per_s=20)
    for number in range(10):
        ask(world, number)
    assert mirror.offered == 10
    assert mirror.dropped[RATE] == 8
    for _ in range(100):
        world.after(0.1)
        ask(world, 1)
    assert len(mirror._queue) == 102
    ask(world, *range(8))  # a batch may go into debt
    world.after(0.2)
    ask(world, 1)
    assert (len(mirror._queue), mirror.dropped[RATE]) == (103, 9)


def test_what_waits_is_bounded_in_runs() -> None:
    """Beyond that a copy is dropped; callers have their answers all the same."""
    world = World()
    mirror = mirroring(world)
    for number in range(MAX_RUNS + 5):
        ask(world, number)
    assert len(mirror._queue) == MAX_RUNS
    assert mirror.dropped == {RATE: 0, FULL: 5, ABSENT: 0, FAULT: 0}


def test_what_waits_is_bounded_in_bytes() -> None:
    """Of large runs there wait as many as have room; one that alone is too large is never copied."""
    world = World(version(max_size=1))
    mirror = mirroring(world)
    large = [0.0] * (MAX_BYTES // 4 // 2 // 3)
    for _ in range(5):
        assert world.send(*large).errors == []
        world.work()
    assert (len(mirror._queue), mirror.dropped[FULL]) == (2, 3)
    mirror._queue.clear()
    world.send(*large * 3)
    world.work()
    assert not mirror._queue


def test_where_there_is_nobody_copies_are_dropped() -> None:
    """The socket is tried again now and then."""
    world = World()
    mirror = mirroring(world)
    ask(world, 1)
    mirror.start()
    eventually(lambda: mirror.dropped[ABSENT] == 1)
    mirror.stop()
    eventually(lambda: not mirror._thread.is_alive())


def test_a_socket_that_stalls_holds_up_no_caller(listener: Listener) -> None:
    """The thread waits, the queue fills, the rest is dropped; when the socket is read again all comes, whole."""
    world = World()
    mirror = mirroring(world, listener.connect)
    listener.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    mirror.start()
    answered = 0
    while not mirror.dropped[FULL]:
        ask(world, answered)
        answered += 1
    expected = [float(number) for number in range(answered - 1)]
    assert [listener.read().outputs["y"].tolist() for _ in expected] == [[2 * number] for number in expected]
    mirror.stop()
    eventually(lambda: not mirror._thread.is_alive())
    assert mirror.sent == len(expected)


def test_a_socket_that_stalls_does_not_keep_the_thread(listener: Listener) -> None:
    """It ends when it is told to."""
    world = World()
    mirror = mirroring(world, listener.connect)
    listener.ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    mirror.start()
    while not mirror.dropped[FULL]:
        ask(world, 1)
    mirror.stop()
    eventually(lambda: not mirror._thread.is_alive())
    assert not mirror._queue


def test_who_leaves_is_noticed(listener: Listener) -> None:
    """The copy under way is lost, the next one knocks again."""
    world = World()
    mirror = mirroring(world, listener.connect)
    ask(world, 1)
    mirror.start()
    listener.read()
    listener.theirs.close()
    ask(world, 2)
    eventually(lambda: mirror.dropped[ABSENT])
    assert listener.knocks >= 1
    mirror.stop()


def test_a_fault_costs_one_copy(listener: Listener) -> None:
    """It is logged, and the thread goes on."""
    world = World()
    mirror = mirroring(world, listener.connect)
    failures = [ValueError("a fault of ours")]

    def faulty(copied: object) -> bytes:
        if failures:
            raise failures.pop()
        return encode(copied)  # type: ignore[arg-type]

    mirror._encode = faulty
    ask(world, 1)
    ask(world, 2)
    mirror.start()
    assert listener.read().outputs["y"].tolist() == [4]
    assert mirror.dropped[FAULT] == 1
    mirror.stop()


def test_the_thread_is_of_a_low_priority(listener: Listener) -> None:
    """Before it does anything."""
    called = threading.Event()
    mirror = Mirror(MirrorOrder("m", {"1": Part(1.0, 1.0)}), listener.connect, encode, calm=called.set)
    mirror.start()
    assert called.wait(10)
    mirror.stop()


@pytest.mark.parametrize(
    ("rates", "seconds"), [([100_000.0], 0.02), ([100.0], 0.02), ([10.0, 10.0], 0.1), ([5.0], 0.4), ([0.1], 0.5)]
)
def test_where_few_copies_come_they_are_looked_for_less_often(rates: list[float], seconds: float) -> None:
    """Twenty models on trial have twenty such threads."""
    order = MirrorOrder("m", {str(place): Part(1.0, rate) for place, rate in enumerate(rates, 1)})
    assert pause_s(order) == pytest.approx(seconds)
