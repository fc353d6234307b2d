"""What is peculiar to the transport on the core's completion queue."""

from __future__ import annotations

import gc
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import pytest

from router.edge import core_transport
from router.edge.core_transport import CoreTransport, supported
from router.edge.transport import Limits, Methods, Rpc, StreamRpc
from router.errors import NotFound, SettingsError

WAIT_S = 20.0


def until(holds: Callable[[], object]) -> None:
    """Wait, within bounds, for something that nobody tells us about."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


def echo(rpc: Rpc) -> None:
    """Answers at once."""
    rpc.finish(rpc.message)


@contextmanager
def serving(
    unary: dict[str, Any],
    stream: dict[str, Any] | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Iterator[tuple[grpc.Channel, threading.Thread]]:
    """A server on a thread of its own, and a connection to it."""
    transport = CoreTransport(Methods(unary, stream or {}), lambda: False, limits)
    port = transport.bind("127.0.0.1:0", None)
    thread = threading.Thread(target=transport.run, daemon=True)
    thread.start()
    options = (("grpc.use_local_subchannel_pool", 1),)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            yield channel, thread
    finally:
        transport.drain(0)
        thread.join(WAIT_S)
        assert not thread.is_alive()


# ---- versions ----


@pytest.mark.parametrize("version", ["1.84.9", "1.86.0", "2.0.0", "1.9.0"])
def test_a_version_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """The server does not start on private parts that it does not know; it says what to install or to choose."""
    monkeypatch.setattr(grpc, "__version__", version)
    with pytest.raises(SettingsError) as raised:
        CoreTransport(Methods({}, {}), lambda: False)
    assert str(raised.value) == (
        f"grpcio {version} is not one that the core transport knows; "
        "install grpcio>=1.85,<1.86, or run with --transport aio (at a fifth of the capacity)"
    )


@pytest.mark.parametrize("version", ["1.85.0", "1.85.1", "1.85.0rc1"])
def test_a_known_version_is_taken(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Patch releases and candidates of the range pass."""
    monkeypatch.setattr(grpc, "__version__", version)
    assert supported() == ""


def test_a_build_without_the_private_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known version that lacks a part is named with what it lacks."""
    monkeypatch.setattr(core_transport.cygrpc, "ReceiveCloseOnServerOperation", None)
    monkeypatch.delattr(core_transport.cygrpc, "ReceiveCloseOnServerOperation")
    assert supported().startswith("this build of grpcio lacks ReceiveCloseOnServerOperation; install grpcio>=1.85")


# ---- spinning ----


@pytest.mark.parametrize("spin_seconds", [0.0, 50e-6, 0.005], ids=["off", "default", "long"])
def test_calls_are_served_however_long_it_spins(spin_seconds: float) -> None:
    """Small and large messages, one after another and many at once."""
    with serving({"/t/Echo": echo}, limits=Limits(spin_seconds=spin_seconds)) as (channel, _):
        method = channel.unary_unary("/t/Echo")
        for size in (0, 10, 20_000, 300_000):
            for _ in range(10):
                assert len(method(bytes(size), timeout=WAIT_S)) == size
        calls = [method.future(b"%d" % i, timeout=WAIT_S) for i in range(300)]
        assert [call.result() for call in calls] == [b"%d" % i for i in range(300)]


# ---- the clock ----


def test_a_step_of_the_wall_clock_moves_no_later_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines come as wall time; what was read of the wall clock for one call is not used for the next."""
    step = [0.0]
    wall = time.time

    class Clock:
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            return wall() + step[0]

    left: list[float] = []

    def note(rpc: Rpc) -> None:
        assert rpc.deadline is not None
        left.append(rpc.deadline - time.monotonic())
        rpc.finish(b"")

    monkeypatch.setattr(core_transport, "time", Clock)
    with serving({"/t/Note": note}) as (channel, _):
        for step[0] in (3600.0, 0.0, -3600.0, 0.0):
            for _ in range(150):  # more than are taken in together, which share a reading of the clock
                channel.unary_unary("/t/Note")(b"", timeout=9.0)
                if abs(left[-1] + step[0]) < 10.0:
                    break
            assert abs(left[-1] + step[0]) < 10.0


# ---- nothing is left behind ----

OURS = (core_transport._CoreRpc, core_transport._CoreStream)


def alive() -> int:
    """How many calls exist, those in reference cycles included."""
    return sum(type(thing) in OURS for thing in gc.get_objects())


@pytest.fixture
def no_collector() -> Iterator[None]:
    """As in a worker: garbage in cycles would stay for good. What was there before is not looked through again."""
    gc.collect()
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


class Entry:
    """What a router keeps of a call: the two refer to each other until the call has ended."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc
        self.gone = False
        rpc.on_cancel(self.cancelled)

    def cancelled(self) -> None:
        """The caller went away."""
        self.gone = True


def fails(rpc: Rpc) -> None:  # noqa: ARG001  # the shape of a handler
    """A fault of ours."""
    raise ValueError("a fault of ours")


@pytest.mark.usefixtures("no_collector")
def test_calls_die_without_the_garbage_collector() -> None:
    """However a call ends, nothing of it stays: 5 000 calls, many of them cancelled or late."""
    held: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
    dice = random.Random(3)

    def answer() -> None:
        dice = random.Random(4)
        while (entry := held.get()) is not None:
            if dice.random() < 0.05:
                time.sleep(0.001)
            if dice.random() < 0.5:
                entry.rpc.finish(b"answer")
            else:
                entry.rpc.fail(NotFound("nothing"))

    handlers = {
        "/t/Echo": echo,
        "/t/Fails": fails,
        "/t/Refused": lambda rpc: rpc.fail(NotFound("nothing")),
        "/t/Later": lambda rpc: held.put(Entry(rpc)),
        "/t/Never": Entry,
    }
    with serving(handlers) as (channel, _):
        threads = [threading.Thread(target=answer, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        names = ["Echo", "Refused", "Later", "Later", "Never", "Unknown"]
        methods = {name: channel.unary_unary(f"/t/{name}") for name in names}
        empty = channel.stream_unary("/t/Echo")
        for _ in range(50):
            calls = []
            for name in dice.choices(names, k=98):
                timeout = 0.01 if name == "Never" else dice.choice((0.001, 0.01, WAIT_S))
                calls.append(methods[name].future(b"message", timeout=timeout))
            calls += [empty.future(iter(()), timeout=WAIT_S), channel.unary_unary("/t/Fails").future(b"", timeout=1)]
            for call in dice.sample(calls, 30):
                call.cancel()
            for call in calls:
                with suppress(grpc.RpcError, grpc.FutureCancelledError):
                    call.result(WAIT_S)
        for _ in threads:
            held.put(None)
        for thread in threads:
            thread.join(WAIT_S)
        until(lambda: alive() == 0)


class Conversation:
    """What a router keeps of a stream."""

    def __init__(self, stream: StreamRpc) -> None:
        self.stream = stream
        stream.on_cancel(self.cancelled)
        stream.read(self.received)

    def received(self, message: bytes | None) -> None:
        """Answers twice; ends in several ways."""
        if message is None:
            self.stream.finish()
        elif message == b"fail":
            self.stream.fail(NotFound("nothing"))
        elif message == b"raise":
            raise ValueError("a fault of ours")
        else:
            self.stream.write(message)
            self.stream.write(message)
            self.stream.read(self.received)

    def cancelled(self) -> None:
        """The caller went away."""
        self.stream.finish()


@pytest.mark.usefixtures("no_collector")
def test_streams_die_without_the_garbage_collector() -> None:
    """Ended by either side, failed, cancelled, late or too slow to read: nothing of a stream stays."""

    def flood(stream: StreamRpc) -> None:
        conversation = Conversation(stream)
        while conversation.stream.write(bytes(10_000)):
            pass

    dice = random.Random(5)
    limits = Limits(stream_queue=20)
    with serving({}, {"/t/Talk": Conversation, "/t/Flood": flood}, limits) as (channel, _):
        methods = [channel.stream_stream(f"/t/{name}") for name in ("Talk", "Talk", "Talk", "Flood")]
        for _ in range(20):
            calls = []
            for _ in range(20):
                messages = [b"a"] * dice.randrange(5) + dice.choice(([], [b"fail"], [b"raise"], [b"a"]))
                calls.append(dice.choice(methods)(iter(messages), timeout=dice.choice((0.005, WAIT_S))))
            for call in dice.sample(calls, 5):
                call.cancel()
            for call in calls:
                with suppress(grpc.RpcError, grpc.FutureCancelledError):
                    for _ in call:
                        pass
        until(lambda: alive() == 0)


@pytest.mark.usefixtures("no_collector")
def test_calls_that_a_drain_cancelled_die_too() -> None:
    """Those with a caller to be told about and those without."""
    kept: list[Rpc] = []
    with serving({"/t/Never": Entry, "/t/Kept": kept.append}, {"/t/Talk": Conversation}) as (channel, _):
        calls = [channel.unary_unary(f"/t/{name}").future(b"") for name in ("Never", "Kept") * 10]
        stay = threading.Event()
        talks = [channel.stream_stream("/t/Talk")(iter(stay.wait, True)) for _ in range(5)]
        until(lambda: alive() == 25)
    stay.set()
    assert {call.code() for call in (*calls, *talks)} <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    kept.clear()
    until(lambda: alive() == 0)


def test_a_call_that_nobody_answers_ends_when_it_is_forgotten() -> None:
    """A handler that drops its call does not leave the caller hanging."""

    def drop(rpc: Rpc) -> None:
        del rpc

    with serving({"/t/Drop": drop}) as (channel, _):
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/t/Drop")(b"", timeout=WAIT_S)
        assert raised.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED


# ---- the clock of the processor ----


def test_spinning_ends_when_nobody_calls() -> None:
    """After a call the loop looks for the next for a moment, then it sleeps."""
    used: list[float] = []

    def note(rpc: Rpc) -> None:
        used.append(time.thread_time())
        rpc.finish(b"")

    with serving({"/t/Note": note}, limits=Limits(spin_seconds=0.005)) as (channel, _):
        method = channel.unary_unary("/t/Note")
        for _ in range(3):
            method(b"", timeout=WAIT_S)
            assert not threading.Event().wait(0.7)
    assert used[2] - used[1] < 0.05
