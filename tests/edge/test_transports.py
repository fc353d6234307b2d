"""What both transports promise: one suite, run against each of them over real connections."""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.edge.aio_transport import AioTransport
from router.edge.core_transport import CoreTransport
from router.edge.transport import Credentials, Limits, Methods, Rpc, StreamHandler, StreamRpc, UnaryHandler
from router.errors import InternalError, InvalidRequest, NotFound, Overloaded, RouterError, SettingsError, TooLate

TRANSPORTS = {"core": CoreTransport, "aio": AioTransport}
WAIT_S = 20.0
"""Nothing that a test waits for takes this long; a busy machine may be slow."""

Code = grpc.StatusCode


def nothing_to_do() -> bool:
    """The work of a router that answers in its handlers."""
    return False


def until(holds: Callable[[], object]) -> None:
    """Wait, within bounds, for something that nobody tells us about."""
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.002)


class Serving:
    """A transport on a thread of its own, and its callers."""

    def __init__(
        self,
        kind: Any,
        unary: dict[str, UnaryHandler],
        stream: dict[str, StreamHandler],
        work: Callable[[], bool] = nothing_to_do,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        credentials: Credentials | None = None,
    ) -> None:
        methods = Methods(
            {f"/t/{name}": handler for name, handler in unary.items()},
            {f"/t/{name}": handler for name, handler in stream.items()},
        )
        self.transport = kind(methods, work, limits)
        self.port = self.transport.bind("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.transport.run, daemon=True)
        self.thread.start()
        self._channels: list[grpc.Channel] = []
        self.channel = self.connect()

    def connect(self) -> grpc.Channel:
        """A connection of its own."""
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        self._channels.append(grpc.insecure_channel(self.address, options))
        return self._channels[-1]

    def method(self, name: str) -> Any:
        """Bytes to bytes."""
        return self.channel.unary_unary(f"/t/{name}")

    def call(self, name: str, message: bytes = b"", timeout: float = WAIT_S) -> bytes:
        """Call and wait."""
        return bytes(self.method(name)(message, timeout=timeout))

    def error(self, name: str, message: bytes = b"", timeout: float = WAIT_S) -> grpc.RpcError:
        """Call, and be refused."""
        with pytest.raises(grpc.RpcError) as raised:
            self.method(name)(message, timeout=timeout)
        return raised.value

    def talk(self, name: str, channel: grpc.Channel | None = None, timeout: float = WAIT_S) -> Talk:
        """Open a stream."""
        return Talk((channel or self.channel).stream_stream(f"/t/{name}"), timeout)

    def drained(self, grace_seconds: float = 0.0) -> None:
        """Drain, and wait until `run` has returned."""
        self.transport.drain(grace_seconds)
        self.ended()

    def ended(self) -> None:
        """Wait until `run` has returned."""
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive(), "run() did not return"

    def close(self) -> None:
        """Part from it."""
        self.drained()
        for channel in self._channels:
            channel.close()


class Talk:
    """The caller's end of a stream."""

    def __init__(self, method: Any, timeout: float) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = method(iter(self._messages.get, None), timeout=timeout)

    def send(self, *messages: bytes) -> None:
        """Send messages."""
        for message in messages:
            self._messages.put(message)

    def half_close(self) -> None:
        """Send no more."""
        self._messages.put(None)

    def receive(self) -> bytes:
        """The next message."""
        return bytes(next(self.call))

    def rest(self) -> list[bytes]:
        """All that is still to come, up to an end in order."""
        return list(self.call)

    def error(self) -> tuple[list[bytes], grpc.RpcError]:
        """All that is still to come, and the error at its end."""
        messages: list[bytes] = []
        with pytest.raises(grpc.RpcError) as raised:
            messages.extend(self.call)
        return messages, raised.value


def echo(rpc: Rpc) -> None:
    """Answers at once."""
    rpc.finish(rpc.message)


class Held:
    """A handler that answers nothing by itself, and counts who goes away."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Rpc] = queue.SimpleQueue()
        self.gone: queue.SimpleQueue[Rpc] = queue.SimpleQueue()

    def __call__(self, rpc: Rpc) -> None:
        """The handler."""
        rpc.on_cancel(lambda: self.gone.put(rpc))
        self.calls.put(rpc)

    def next(self) -> Rpc:
        """The next call that has come."""
        return self.calls.get(timeout=WAIT_S)

    def next_gone(self) -> Rpc:
        """The next caller that went away."""
        return self.gone.get(timeout=WAIT_S)


class Streams:
    """A handler of streams that does nothing by itself, and notes what comes."""

    def __init__(self) -> None:
        self.streams: queue.SimpleQueue[StreamRpc] = queue.SimpleQueue()
        self.gone: queue.SimpleQueue[StreamRpc] = queue.SimpleQueue()

    def __call__(self, stream: StreamRpc) -> None:
        """The handler."""
        stream.on_cancel(lambda: self.gone.put(stream))
        self.streams.put(stream)

    def next(self) -> StreamRpc:
        """The next stream that was opened."""
        return self.streams.get(timeout=WAIT_S)


def read(stream: StreamRpc) -> bytes | None:
    """The next message of a caller."""
    got: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    stream.read(got.put)
    return got.get(timeout=WAIT_S)


class Echo:
    """A stream that answers each message by itself and ends when its caller does."""

    def __init__(self, stream: StreamRpc) -> None:
        self._stream = stream
        stream.read(self._received)

    def _received(self, message: bytes | None) -> None:
        if message is None:
            self._stream.finish()
        else:
            self._stream.write(message)
            self._stream.read(self._received)


def fails(rpc: Rpc) -> None:  # noqa: ARG001  # the shape of a handler
    """A fault of ours."""
    raise ValueError("the password is 1234")


@pytest.fixture(params=TRANSPORTS)
def kind(request: pytest.FixtureRequest) -> Any:
    """The transport under test."""
    return TRANSPORTS[request.param]


Serve = Callable[..., Serving]


@pytest.fixture
def serve(kind: Any) -> Iterator[Serve]:
    """Starts servers: `serve(unary={...}, stream={...}, limits=..., work=...)`."""
    with ExitStack() as stack:

        def start(
            unary: dict[str, UnaryHandler] | None = None, stream: dict[str, StreamHandler] | None = None, **rest: Any
        ) -> Serving:
            serving = Serving(kind, {"Echo": echo, **(unary or {})}, {"Talk": Echo, **(stream or {})}, **rest)
            stack.callback(serving.close)
            return serving

        yield start


# ---- unary calls: answers ----


@pytest.mark.parametrize("message", [b"hello", b"", bytes(1_000_000)], ids=["small", "empty", "large"])
def test_a_call_is_answered_at_once(serve: Serve, message: bytes) -> None:
    """A handler that answers before it returns; a message may be empty."""
    assert serve().call("Echo", message) == message


def test_calls_are_answered_later_by_another_thread_in_any_order(serve: Serve) -> None:
    """Handlers return; whoever holds the calls answers them when it likes."""
    held = Held()
    method = serve({"Held": held}).method("Held")
    calls = [method.future(b"%d" % i, timeout=WAIT_S) for i in range(20)]
    rpcs = [held.next() for _ in calls]
    random.Random(1).shuffle(rpcs)
    for rpc in rpcs:
        rpc.finish(b"answer to " + rpc.message)
    assert [call.result() for call in calls] == [b"answer to %d" % i for i in range(20)]
    assert held.gone.empty()


def test_calls_are_answered_by_the_work_hook(serve: Serve) -> None:
    """`work` runs after messages were taken in, on the loop's thread."""
    waiting: list[Rpc] = []
    threads = set()

    def work() -> bool:
        threads.add(threading.get_ident())
        while waiting:
            waiting.pop().finish(b"worked")
        return False

    serving = serve({"Later": waiting.append}, work=work)
    assert [serving.call("Later") for _ in range(5)] == [b"worked"] * 5
    assert threads == {serving.thread.ident}


def test_the_work_hook_is_called_again_while_it_has_more_to_do(serve: Serve) -> None:
    """True from `work` has the transport come back at once, with no call to wake it."""
    waiting: list[Rpc] = []
    rounds = 0

    def work() -> bool:
        nonlocal rounds
        if waiting:
            rounds += 1
            if rounds == 50:
                waiting.pop().finish(b"%d" % rounds)
        return bool(waiting)

    assert serve({"Later": waiting.append}, work=work).call("Later") == b"50"


def test_calls_are_taken_in_while_the_work_hook_has_more_to_do(serve: Serve) -> None:
    """A router that is never done still gets its messages."""
    done = threading.Event()
    serving = serve(work=lambda: not done.is_set())
    try:
        assert [serving.call("Echo", b"%d" % i) for i in range(10)] == [b"%d" % i for i in range(10)]
    finally:
        done.set()


def test_a_fault_in_the_work_hook_does_not_end_the_server(serve: Serve) -> None:
    """The router's work raises: that is logged, and the next call is served."""
    faults = [True]

    def work() -> bool:
        if faults:
            faults.pop()
            raise ValueError("a fault of ours")
        return False

    serving = serve(work=work)
    assert serving.call("Echo", b"1") == b"1"
    until(lambda: not faults)
    assert serving.call("Echo", b"2") == b"2"


def test_a_second_answer_is_dropped(serve: Serve) -> None:
    """The first answer counts, whatever comes after it."""

    def twice(rpc: Rpc) -> None:
        if rpc.message == b"finish first":
            rpc.finish(b"first")
            rpc.fail(InternalError())
        else:
            rpc.fail(NotFound("first"))
            rpc.finish(b"second")
        rpc.finish(b"third")
        rpc.fail(InternalError())

    serving = serve({"Twice": twice})
    assert serving.call("Twice", b"finish first") == b"first"
    assert serving.error("Twice").details() == "first"
    assert serving.call("Echo", b"well") == b"well"


def test_of_two_threads_that_answer_at_once_one_wins(serve: Serve) -> None:
    """Answers race with each other and with `on_cancel`: every call gets exactly one."""
    held: queue.SimpleQueue[Rpc] = queue.SimpleQueue()
    serving = serve({"Held": held.put})
    calls = [serving.method("Held").future(b"", timeout=WAIT_S) for _ in range(200)]
    rpcs = [held.get(timeout=WAIT_S) for _ in calls]
    gone: list[Rpc] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as pool:
            for rpc in rpcs:
                pool.submit(rpc.on_cancel, lambda: gone.append(rpc))  # noqa: B023  # it is never called
                pool.submit(rpc.finish, b"one")
                pool.submit(rpc.finish, b"two")
        assert {call.result() for call in calls} <= {b"one", b"two"}
    finally:
        sys.setswitchinterval(interval)
    assert not gone


# ---- unary calls: errors ----


def test_an_unknown_method_is_unimplemented(serve: Serve) -> None:
    """The name is told back, cut to a bound; the server lives on."""
    serving = serve()
    error = serving.error("Nonsense")
    assert (error.code(), error.details()) == (Code.UNIMPLEMENTED, "this server has no method /t/Nonsense")
    assert serving.error("x" * 3000).code() is Code.UNIMPLEMENTED
    assert serving.call("Echo", b"well") == b"well"


def test_a_handler_that_raises_leaks_nothing(serve: Serve) -> None:
    """The caller learns that the server failed and no more; the next call is served."""
    serving = serve({"Fails": fails})
    error = serving.error("Fails")
    assert (error.code(), error.details()) == (Code.INTERNAL, str(InternalError()))
    assert serving.call("Echo", b"well") == b"well"


def test_a_handler_that_raises_after_it_answered_changes_nothing(serve: Serve) -> None:
    """The answer has left."""

    def late(rpc: Rpc) -> None:
        rpc.finish(b"answer")
        raise ValueError("too late")

    serving = serve({"Late": late})
    assert serving.call("Late") == b"answer"
    assert serving.call("Late") == b"answer"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("no model 'a'"), Code.NOT_FOUND),
        (InvalidRequest("größer als erlaubt: 日本語 🦊"), Code.INVALID_ARGUMENT),
        (TooLate("two\nlines, 100 %"), Code.DEADLINE_EXCEEDED),
        (InternalError(), Code.INTERNAL),
    ],
    ids=["plain", "unicode", "control characters", "internal"],
)
def test_an_error_of_ours_keeps_its_status_and_text(serve: Serve, error: RouterError, code: grpc.StatusCode) -> None:
    """What a RouterError says is what the caller reads."""
    got = serve({"Err": lambda rpc: rpc.fail(error)}).error("Err")
    assert (got.code(), got.details()) == (code, str(error))


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 50_000, "🦊" * 25_000], ids=["ascii", "two bytes", "four bytes"])
def test_a_long_text_is_cut_to_what_callers_take(serve: Serve, text: str) -> None:
    """A caller with grpc's own bound on trailers sees the right status and the beginning of the text."""
    got = serve({"Err": lambda rpc: rpc.fail(NotFound(text))}).error("Err")
    assert got.code() is Code.NOT_FOUND
    assert got.details().endswith("…")
    assert text.startswith(got.details()[:-1])
    assert len(got.details()) >= 400


def test_a_text_that_is_no_unicode_is_told_all_the_same(serve: Serve) -> None:
    """Lone surrogates, as in names of files, must not cost the answer."""
    got = serve({"Err": lambda rpc: rpc.fail(NotFound("no \udcff here"))}).error("Err")
    assert (got.code(), got.details()) == (Code.NOT_FOUND, "no ? here")


def test_an_overload_tells_when_to_come_back(serve: Serve) -> None:
    """The push-back is a trailer that clients with retries obey; other errors have none."""

    def err(rpc: Rpc) -> None:
        rpc.fail(Overloaded("the queue is full", 125) if rpc.message else NotFound("nothing"))

    serving = serve({"Err": err})
    got = serving.error("Err", b"1")
    assert (got.code(), got.details()) == (Code.RESOURCE_EXHAUSTED, "the queue is full")
    assert dict(got.trailing_metadata())["grpc-retry-pushback-ms"] == "125"
    assert "grpc-retry-pushback-ms" not in dict(serving.error("Err").trailing_metadata())


def test_a_call_that_is_closed_without_a_message_is_invalid(serve: Serve) -> None:
    """Half-closing at once is told at once; nobody hangs, and no handler is asked."""
    serving = serve({"Fails": fails})
    with pytest.raises(grpc.RpcError) as raised:
        serving.channel.stream_unary("/t/Fails")(iter(()), timeout=WAIT_S)
    assert raised.value.code() is Code.INVALID_ARGUMENT
    assert raised.value.details() == "the call was closed without a message: one is needed"


# ---- deadlines and callers that go away ----


def test_the_deadline_is_on_the_monotonic_clock(serve: Serve) -> None:
    """A caller with 30 seconds has about 30 seconds; one that waits for ever has no deadline.

    grpc's clients send three digits, rounded up: 30.1 s.
    """
    left: list[float | None] = []

    def note(rpc: Rpc) -> None:
        left.append(None if rpc.deadline is None else rpc.deadline - time.monotonic())
        rpc.finish(b"")

    serving = serve({"Note": note})
    serving.call("Note", timeout=30.0)
    serving.method("Note")(b"")
    assert left[0] is not None
    assert 20.0 < left[0] < 30.15
    assert left[1] is None


def test_a_deadline_that_passes_ends_the_call(serve: Serve) -> None:
    """Nobody answers: the caller sees DEADLINE_EXCEEDED, the handler is told; its late answer is dropped."""
    held = Held()
    serving = serve({"Held": held})
    assert serving.error("Held", timeout=0.05).code() is Code.DEADLINE_EXCEEDED
    held.next_gone().finish(b"too late")
    assert serving.call("Echo", b"well") == b"well"
    assert held.gone.empty()


def test_a_cancelled_call_is_told_once(serve: Serve) -> None:
    """`on_cancel` calls back once; an answer after it is dropped."""
    held = Held()
    serving = serve({"Held": held})
    call = serving.method("Held").future(b"", timeout=WAIT_S)
    rpc = held.next()
    call.cancel()
    assert held.next_gone() is rpc
    rpc.finish(b"too late")
    rpc.fail(InternalError())
    assert serving.call("Echo", b"well") == b"well"
    assert held.gone.empty()


def test_a_caller_that_had_gone_before_it_was_asked_about_is_told(serve: Serve) -> None:
    """`on_cancel` comes after the cancellation: it calls back all the same."""
    rpcs: queue.SimpleQueue[Rpc] = queue.SimpleQueue()
    serving = serve({"Late": rpcs.put})
    call = serving.method("Late").future(b"", timeout=WAIT_S)
    rpc = rpcs.get(timeout=WAIT_S)
    call.cancel()
    serving.call("Echo")  # on the same connection: the cancellation has arrived too
    gone = threading.Event()
    rpc.on_cancel(gone.set)
    assert gone.wait(WAIT_S)


def test_nobody_is_told_after_the_answer(serve: Serve) -> None:
    """Callers that were answered do not count as gone, not even when `on_cancel` comes after the answer."""
    gone: list[Rpc] = []

    def answered(rpc: Rpc) -> None:
        if rpc.message == b"before":
            rpc.on_cancel(lambda: gone.append(rpc))
        rpc.finish(b"answer")
        rpc.on_cancel(lambda: gone.append(rpc))

    serving = serve({"Answered": answered})
    with serving.connect() as channel:
        for message in (b"before", b"after") * 20:
            assert channel.unary_unary("/t/Answered")(message, timeout=WAIT_S) == b"answer"
    assert serving.call("Echo", b"well") == b"well"
    serving.drained()
    assert not gone


def test_a_callback_that_raises_does_not_end_the_server(serve: Serve) -> None:
    """A fault when a caller has gone is logged."""
    told = threading.Event()

    def gone() -> None:
        told.set()
        raise ValueError("a fault of ours")

    serving = serve({"Held": lambda rpc: rpc.on_cancel(gone)})
    assert serving.error("Held", timeout=0.05).code() is Code.DEADLINE_EXCEEDED
    assert told.wait(WAIT_S)
    assert serving.call("Echo", b"well") == b"well"


def test_a_closed_connection_ends_its_calls(serve: Serve) -> None:
    """All calls of a connection that closes are told."""
    held = Held()
    serving = serve({"Held": held})
    channel = serving.connect()
    calls = [channel.unary_unary("/t/Held").future(b"", timeout=WAIT_S) for _ in range(10)]
    rpcs = {id(held.next()) for _ in calls}
    channel.close()
    assert {id(held.next_gone()) for _ in calls} == rpcs


def test_a_killed_caller_ends_its_calls(serve: Serve) -> None:
    """A process that is killed takes its calls with it, unary and streaming."""
    held, streams = Held(), Streams()
    serving = serve({"Held": held}, {"Silent": streams})
    program = f"""if True:
        import grpc, queue
        channel = grpc.insecure_channel("{serving.address}")
        call = channel.unary_unary("/t/Held").future(b"")
        talk = channel.stream_stream("/t/Silent")(iter(queue.SimpleQueue().get, None))
        call.result()
    """
    caller = subprocess.Popen([sys.executable, "-c", program])
    try:
        rpc, stream = held.next(), streams.next()
    finally:
        caller.send_signal(signal.SIGKILL)
        caller.wait(WAIT_S)
    assert held.next_gone() is rpc
    assert streams.gone.get(timeout=WAIT_S) is stream


# ---- metadata and limits ----


def test_metadata_and_peer_reach_the_handler(serve: Serve) -> None:
    """Text and binary metadata as they were sent, for both sorts of call; the caller's address for the log."""
    seen: list[dict[str, str | bytes]] = []
    peers: list[str] = []

    def note(rpc: Rpc) -> None:
        seen.append(dict(rpc.metadata))
        peers.append(rpc.peer)
        rpc.finish(b"")

    def note_stream(stream: StreamRpc) -> None:
        seen.append(dict(stream.metadata))
        stream.finish()

    serving = serve({"Note": note}, {"NoteStream": note_stream})
    sent = (("x-request-id", "abc"), ("x-raw-bin", bytes(range(256))))
    serving.method("Note")(b"", metadata=sent, timeout=WAIT_S)
    list(serving.channel.stream_stream("/t/NoteStream")(iter(()), metadata=sent, timeout=WAIT_S))
    assert len(seen) == 2
    for metadata in seen:
        assert (metadata["x-request-id"], metadata["x-raw-bin"]) == ("abc", bytes(range(256)))
    assert peers[0].startswith("ipv4:127.0.0.1:")


def test_the_peer_may_be_asked_for_after_the_call(serve: Serve) -> None:
    """A log line that is written late does not crash the process."""
    held = Held()
    serving = serve({"Held": held})
    call = serving.method("Held").future(b"", timeout=WAIT_S)
    rpc = held.next()
    call.cancel()
    held.next_gone()
    serving.call("Echo")
    assert "127.0.0.1" in rpc.peer


def test_a_flood_of_metadata_is_refused(serve: Serve) -> None:
    """More than the bound is refused; up to about 8 KB pass; the server lives on."""
    serving = serve()
    method = serving.method("Echo")
    assert method(b"well", metadata=(("x-much", "a" * 7000),), timeout=WAIT_S) == b"well"
    with pytest.raises(grpc.RpcError) as raised:
        method(b"", metadata=tuple((f"x-{i}", "a" * 1000) for i in range(64)), timeout=WAIT_S)
    assert raised.value.code() is Code.RESOURCE_EXHAUSTED
    assert serving.call("Echo", b"well") == b"well"


def test_a_message_may_be_as_large_as_the_bound_and_no_larger(serve: Serve) -> None:
    """One byte more is RESOURCE_EXHAUSTED; no handler sees it, and the connection goes on."""
    seen: list[int] = []

    def note(rpc: Rpc) -> None:
        seen.append(len(rpc.message))
        rpc.finish(b"")

    serving = serve({"Note": note}, limits=Limits(message_bytes=100_000))
    assert serving.call("Note", bytes(100_000)) == b""
    for _ in range(5):
        assert serving.error("Note", bytes(100_001)).code() is Code.RESOURCE_EXHAUSTED
    assert seen == [100_000]
    talk = serving.talk("Talk")
    talk.send(bytes(100_000))
    assert talk.receive() == bytes(100_000)
    talk.send(bytes(100_001))
    assert talk.error()[1].code() is Code.RESOURCE_EXHAUSTED


def test_the_default_bound_is_64_mib() -> None:
    """Tensors of 64 MiB pass."""
    assert Limits().message_bytes == 64 << 20


def test_an_answer_above_the_bound_is_an_error(serve: Serve) -> None:
    """The bound holds for answers too; the caller is told, and does not hang."""
    serving = serve({"Large": lambda rpc: rpc.finish(bytes(2000))}, limits=Limits(message_bytes=1000))
    assert serving.error("Large").code() is Code.RESOURCE_EXHAUSTED
    assert serving.call("Echo", b"well") == b"well"


# ---- streams ----


def test_a_stream_answers_message_by_message(serve: Serve) -> None:
    """Each message is answered before the next is sent; empty ones are messages too."""
    talk = serve().talk("Talk")
    for message in (b"a", b"", b"c", bytes(100_000)):
        talk.send(message)
        assert talk.receive() == message
    talk.half_close()
    assert talk.rest() == []


def test_a_stream_takes_messages_ahead(serve: Serve) -> None:
    """All are sent at once and answered in order."""
    messages = [b"%d" % i for i in range(500)]
    talk = serve().talk("Talk")
    talk.send(*messages)
    talk.half_close()
    assert talk.rest() == messages


def test_a_caller_may_send_its_all_and_then_read(serve: Serve) -> None:
    """After the half-close the rest of the answers is still sent, then the stream ends in order."""
    streams = Streams()
    talk = serve(stream={"Collect": streams}).talk("Collect")
    talk.send(b"a", b"b")
    talk.half_close()
    stream = streams.next()
    assert [read(stream), read(stream), read(stream)] == [b"a", b"b", None]
    assert [stream.write(b"%d" % i) for i in range(50)] == [True] * 50
    stream.finish()
    assert talk.rest() == [b"%d" % i for i in range(50)]
    assert streams.gone.empty()


def test_a_server_may_end_a_stream_early(serve: Serve) -> None:
    """What was queued arrives, then the end, though the caller has not half-closed; later writes are refused."""
    streams = Streams()
    talk = serve(stream={"Early": streams}).talk("Early")
    talk.send(b"a")
    stream = streams.next()
    assert read(stream) == b"a"
    assert stream.write(b"1")
    assert stream.write(b"2")
    stream.finish()
    assert not stream.write(b"3")
    stream.fail(InternalError())
    stream.finish()
    assert talk.rest() == [b"1", b"2"]
    assert talk.call.code() is Code.OK
    assert read(stream) is None
    assert streams.gone.empty()


def test_a_stream_may_end_without_a_message(serve: Serve) -> None:
    """An end at once is an end in order."""
    talk = serve(stream={"Nothing": lambda stream: stream.finish()}).talk("Nothing")
    assert talk.rest() == []


def test_an_error_ends_a_stream_after_what_was_queued(serve: Serve) -> None:
    """The messages before the error arrive; status, text and push-back are those of unary calls."""
    streams = Streams()
    talk = serve(stream={"Err": streams}).talk("Err")
    stream = streams.next()
    for i in range(20):
        assert stream.write(b"%d" % i)
    stream.fail(Overloaded("größer " + "x" * 10_000, 7))
    messages, error = talk.error()
    assert messages == [b"%d" % i for i in range(20)]
    assert error.code() is Code.RESOURCE_EXHAUSTED
    assert error.details().startswith("größer xxx")
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "7"


def test_a_streaming_handler_that_raises_leaks_nothing(serve: Serve) -> None:
    """In the handler or in the callback of a read: INTERNAL with the fixed text, and the server lives on."""

    def raises(argument: StreamRpc | bytes | None) -> None:
        raise ValueError(f"the password is 1234: {argument!r}")

    def reads(stream: StreamRpc) -> None:
        stream.read(raises)

    serving = serve(stream={"Raises": raises, "Reads": reads})
    for name in ("Raises", "Reads"):
        talk = serving.talk(name)
        talk.send(b"a")
        _, error = talk.error()
        assert (error.code(), error.details()) == (Code.INTERNAL, str(InternalError()))
    assert serving.call("Echo", b"well") == b"well"
    talk = serving.talk("Talk")
    talk.send(b"well")
    assert talk.receive() == b"well"
    talk.half_close()


def test_a_cancelled_stream_is_told_once(serve: Serve) -> None:
    """`on_cancel` calls back once, an open read is answered with None, writes are refused, the end is dropped."""
    streams = Streams()
    serving = serve(stream={"Silent": streams})
    talk = serving.talk("Silent")
    talk.send(b"a")
    stream = streams.next()
    assert read(stream) == b"a"
    assert stream.write(b"b")
    assert talk.receive() == b"b"
    reads: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    stream.read(reads.put)
    talk.call.cancel()
    assert streams.gone.get(timeout=WAIT_S) is stream
    assert reads.get(timeout=WAIT_S) is None
    assert not stream.write(b"c")
    stream.finish()
    stream.fail(InternalError())
    assert read(stream) is None
    assert serving.call("Echo", b"well") == b"well"
    assert streams.gone.empty()


def test_a_stream_that_had_gone_before_it_was_asked_about_is_told(serve: Serve) -> None:
    """`on_cancel` comes after the cancellation: it calls back all the same."""
    streams: queue.SimpleQueue[StreamRpc] = queue.SimpleQueue()
    serving = serve(stream={"Silent": streams.put})
    talk = serving.talk("Silent")
    stream = streams.get(timeout=WAIT_S)
    talk.call.cancel()
    assert read(stream) is None
    gone = threading.Event()
    stream.on_cancel(gone.set)
    assert gone.wait(WAIT_S)


def test_a_stream_that_is_cancelled_while_it_sends_is_told(serve: Serve) -> None:
    """A message is under way to a caller that does not read, and it goes: `on_cancel` calls back, once."""
    streams = Streams()
    serving = serve(stream={"Much": streams})
    talk = serving.talk("Much")
    stream = streams.next()
    for _ in range(20):
        assert stream.write(bytes(1_000_000))
    talk.call.cancel()
    assert streams.gone.get(timeout=WAIT_S) is stream
    assert not stream.write(b"")
    assert serving.call("Echo", b"well") == b"well"
    assert streams.gone.empty()


def test_the_deadline_of_a_stream_ends_it(serve: Serve) -> None:
    """The caller sees DEADLINE_EXCEEDED, the handler is told."""
    streams = Streams()
    talk = serve(stream={"Silent": streams}).talk("Silent", timeout=0.1)
    assert talk.error()[1].code() is Code.DEADLINE_EXCEEDED
    assert streams.gone.get(timeout=WAIT_S) is streams.next()


@pytest.mark.parametrize("bound", ["messages", "bytes"])
def test_a_caller_that_does_not_read_is_cancelled(serve: Serve, bound: str) -> None:
    """The queue of answers is bounded in number and in bytes: then RESOURCE_EXHAUSTED, and the handler is told."""
    limits = (
        Limits(stream_queue=8, stream_queue_bytes=1 << 40)
        if bound == "messages"
        else Limits(stream_queue=1 << 40, stream_queue_bytes=8 << 16)
    )
    streams = Streams()
    serving = serve(stream={"Much": streams}, limits=limits)
    talk = serving.talk("Much")
    stream = streams.next()
    assert stream.write(b"first")
    assert talk.receive() == b"first"
    before = psutil.Process().memory_info().rss
    written = 1
    while stream.write(bytes(1 << 16)):
        written += 1
        assert written < 2000, "the queue has no bound"
    assert not stream.write(b"more")
    assert streams.gone.get(timeout=WAIT_S) is stream
    assert psutil.Process().memory_info().rss - before < 100 << 20
    _, error = talk.error()
    assert error.code() is Code.RESOURCE_EXHAUSTED
    assert error.details() == "answers wait unread: read faster or send less"
    assert serving.call("Echo", b"well") == b"well"
    assert streams.gone.empty()


def test_a_handler_that_asks_for_room_is_told_when_there_is_some(serve: Serve) -> None:
    """It stops at half of the bound, goes on when the caller has read, and all arrives: nobody is cancelled."""
    streams = Streams()
    talk = serve(stream={"Much": streams}, limits=Limits(stream_queue=8)).talk("Much")
    stream = streams.next()
    total, numbers, full = 200, iter(range(200)), queue.SimpleQueue[bool]()
    lock = threading.Lock()

    def write() -> None:
        with lock:
            while stream.room():
                number = next(numbers, None)
                if number is None:
                    stream.finish()
                    return
                assert stream.write(b"%d" % number + bytes(1 << 16))
            full.put(True)

    stream.on_room(write)
    write()
    assert full.get(timeout=WAIT_S)
    assert [int(message.rstrip(b"\0")) for message in talk.rest()] == list(range(total))
    assert streams.gone.empty()


def test_one_message_may_be_larger_than_the_queue(serve: Serve) -> None:
    """The bound in bytes is for what waits beside others: a single large answer passes."""
    streams = Streams()
    talk = serve(stream={"Large": streams}, limits=Limits(stream_queue_bytes=10)).talk("Large")
    stream = streams.next()
    for _ in range(3):
        assert stream.write(bytes(1000))
        assert talk.receive() == bytes(1000)
    stream.finish()
    assert talk.rest() == []


def test_threads_may_write_to_one_stream(serve: Serve) -> None:
    """Four threads write at once: everything arrives, each thread's messages in their order."""
    streams = Streams()
    talk = serve(stream={"Many": streams}, limits=Limits(stream_queue=10_000)).talk("Many")
    stream = streams.next()

    def write(thread: int) -> None:
        for i in range(200):
            assert stream.write(b"%d %d" % (thread, i))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(write, thread) for thread in range(4)]:
            done.result(WAIT_S)
    stream.finish()
    got = [tuple(map(int, message.split())) for message in talk.rest()]
    for thread in range(4):
        assert [i for of, i in got if of == thread] == list(range(200))


@pytest.fixture
def scripted(serve: Serve) -> tuple[Serving, Streams]:
    """One server whose streams a test leads by the hand."""
    streams = Streams()
    return serve(stream={"Led": streams}), streams


STEPS = st.lists(
    st.sampled_from(["caller sends", "caller half-closes", "server reads", "server writes", "caller receives"]),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # shared: meant
@given(steps=STEPS, end=st.sampled_from(["finish", "fail", "cancel"]))
def test_a_stream_keeps_order_whatever_the_order_of_its_steps(
    scripted: tuple[Serving, Streams], steps: list[str], end: str
) -> None:
    """Sent, received, half-closed in any order: each side gets what the other sent, in order, and then the end."""
    serving, streams = scripted
    talk = serving.talk("Led")
    stream = streams.next()
    sent, taken, written, received, open_ = 0, 0, 0, 0, True
    for step in steps:
        if step == "caller sends" and open_:
            talk.send(b"%d" % sent)
            sent += 1
        elif step == "caller half-closes" and open_:
            talk.half_close()
            open_ = False
        elif step == "server reads" and taken < sent:
            assert read(stream) == b"%d" % taken
            taken += 1
        elif step == "server reads" and not open_:
            assert read(stream) is None
        elif step == "server writes":
            assert stream.write(b"%d" % written)
            written += 1
        elif step == "caller receives" and received < written:
            assert talk.receive() == b"%d" % received
            received += 1
    rest = [b"%d" % i for i in range(received, written)]
    if end == "finish":
        stream.finish()
        assert talk.rest() == rest
    elif end == "fail":
        stream.fail(NotFound("over"))
        messages, error = talk.error()
        assert (messages, error.code()) == (rest, Code.NOT_FOUND)
    else:
        talk.call.cancel()
        assert streams.gone.get(timeout=WAIT_S) is stream
    if open_:
        talk.half_close()
    assert not stream.write(b"after the end")
    assert read(stream) in {None, b"%d" % taken}
    assert streams.gone.empty()


# ---- many at once ----


def test_two_hundred_connections(serve: Serve) -> None:
    """Each is served."""
    serving = serve()
    calls = [serving.connect().unary_unary("/t/Echo").future(b"%d" % i, timeout=3 * WAIT_S) for i in range(200)]
    assert [call.result() for call in calls] == [b"%d" % i for i in range(200)]


def test_a_thousand_calls_at_once(serve: Serve) -> None:
    """All are in flight together; half of them are cancelled, the others answered."""
    held = Held()
    serving = serve({"Held": held})
    methods = [serving.connect().unary_unary("/t/Held") for _ in range(5)]
    calls = [methods[i % 5].future(b"%d" % i, timeout=3 * WAIT_S) for i in range(1000)]
    rpcs = [held.next() for _ in calls]
    for call in calls[::2]:
        call.cancel()
    assert {held.next_gone().message for _ in calls[::2]} == {b"%d" % i for i in range(0, 1000, 2)}
    for rpc in rpcs:
        rpc.finish(rpc.message)
    assert [call.result() for call in calls[1::2]] == [b"%d" % i for i in range(1, 1000, 2)]
    assert held.gone.empty()


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "used connection"])
def test_more_calls_on_a_connection_than_its_streams_wait(serve: Serve, warm: bool) -> None:
    """A caller may have more calls than a connection has streams: the rest wait for their turn, none is refused."""
    serving = serve()
    for _ in range(5):
        with serving.connect() as channel:
            method = channel.unary_unary("/t/Echo")
            if warm:
                method(b"", timeout=WAIT_S)
            calls = [method.future(b"%d" % i, timeout=WAIT_S) for i in range(600)]
            assert [call.result() for call in calls] == [b"%d" % i for i in range(600)]


# ---- hostile connections ----

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
JUNK = {
    "random bytes": random.Random(7).randbytes(5000),
    "http/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a preface": PREFACE[:10],
    "preface and random bytes": PREFACE + random.Random(8).randbytes(5000),
    "frame of 16 MB": PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("leave", ["close", "reset", "stay"])
def test_junk_does_not_disturb_others(serve: Serve, junk: bytes, leave: str) -> None:
    """Bytes that are no gRPC, on many connections that close, reset or stay half-open: calls are served, drain ends."""
    serving = serve()
    with ExitStack() as stack:
        for _ in range(10):
            peer = stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=WAIT_S))
            peer.sendall(junk)
            if leave == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if leave != "stay":
                peer.close()
        for i in range(5):
            assert serving.call("Echo", b"%d" % i) == b"%d" % i
        serving.drained()


def test_connections_that_say_nothing_do_not_delay_the_drain(serve: Serve) -> None:
    """Half-open connections are dropped with the server."""
    serving = serve()
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", serving.port), timeout=WAIT_S))
        assert serving.call("Echo", b"well") == b"well"
        serving.drained(0.1)


# ---- drain ----


def test_calls_in_flight_are_answered_while_new_ones_are_refused(serve: Serve) -> None:
    """A drain ends when its last call does, long before the grace; who comes later is UNAVAILABLE."""
    held, streams = Held(), Streams()
    serving = serve({"Held": held}, {"Talk": streams})
    call = serving.method("Held").future(b"", timeout=10 * WAIT_S)
    talk = serving.talk("Talk", timeout=10 * WAIT_S)
    rpc, stream = held.next(), streams.next()
    serving.transport.drain(10 * WAIT_S)
    serving.transport.drain(10 * WAIT_S)

    def refused() -> bool:  # once the loop has heard of the drain; who connects while it hears may be told nothing
        with serving.connect() as late:
            error = late.unary_unary("/t/Echo").future(b"", timeout=1.0).exception()
            return isinstance(error, grpc.RpcError) and error.code() is Code.UNAVAILABLE

    until(refused)
    with serving.connect() as late, pytest.raises(grpc.RpcError) as raised:
        late.unary_unary("/t/Echo")(b"", timeout=WAIT_S)
    assert raised.value.code() is Code.UNAVAILABLE
    assert serving.thread.is_alive()
    rpc.finish(b"answer")
    assert call.result() == b"answer"
    assert serving.thread.is_alive()
    assert stream.write(b"answer")
    stream.finish()
    assert talk.rest() == [b"answer"]
    serving.ended()
    assert held.gone.empty()
    assert streams.gone.empty()


def test_calls_that_outlive_the_grace_are_cancelled(serve: Serve) -> None:
    """Then callers see UNAVAILABLE, handlers are told, and `run` returns though nobody ever answers."""
    held, streams = Held(), Streams()
    forgotten: list[Rpc] = []
    serving = serve({"Held": held, "Forgotten": forgotten.append}, {"Silent": streams})
    calls = [serving.method(name).future(b"", timeout=WAIT_S) for name in ("Held", "Forgotten")]
    talk = serving.talk("Silent")
    rpc, stream = held.next(), streams.next()
    until(lambda: forgotten)
    begun = time.monotonic()
    serving.drained(0.2)
    assert time.monotonic() - begun >= 0.2
    assert [call.exception().code() for call in calls] == [Code.UNAVAILABLE] * 2
    assert talk.error()[1].code() is Code.UNAVAILABLE
    assert held.next_gone() is rpc
    assert streams.gone.get(timeout=WAIT_S) is stream
    rpc.finish(b"too late")
    forgotten[0].finish(b"too late")
    assert not stream.write(b"too late")
    stream.finish()


def test_a_drain_under_load_loses_no_call_that_was_taken(serve: Serve) -> None:
    """Callers that never pause: what a handler has seen is answered; then UNAVAILABLE.

    A call that crosses the news of the drain on the wire ends CANCELLED: so the core has it.
    """
    held: queue.SimpleQueue[Rpc | None] = queue.SimpleQueue()
    taken: list[bytes] = []
    answered: list[bytes] = []

    def take(rpc: Rpc) -> None:
        taken.append(rpc.message)
        held.put(rpc)

    def answer() -> None:
        while (rpc := held.get()) is not None:
            rpc.finish(rpc.message)

    serving = serve({"Held": take})
    threading.Thread(target=answer, daemon=True).start()

    def call_on(channel: grpc.Channel, caller: int) -> grpc.StatusCode:
        method = channel.unary_unary("/t/Held")
        for i in range(1_000_000):
            try:
                answered.append(bytes(method(b"%d %d" % (caller, i), timeout=WAIT_S)))
            except grpc.RpcError as error:
                return error.code()
        return Code.OK

    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(call_on, serving.connect(), caller) for caller in range(8)]
        until(lambda: len(answered) > 100)
        serving.drained(WAIT_S)
        assert {end.result(WAIT_S) for end in ends} <= {Code.UNAVAILABLE, Code.CANCELLED}
    assert sorted(taken) == sorted(answered)
    held.put(None)


def test_a_drain_before_run_lets_run_return(kind: Any) -> None:
    """A server that is stopped while it starts neither serves nor hangs, and leaves its port."""
    transport = kind(Methods({"/t/Echo": echo}, {}), nothing_to_do)
    port = transport.bind("127.0.0.1:0", None)
    transport.drain(10 * WAIT_S)
    thread = threading.Thread(target=transport.run, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    until(lambda: not listening(port))


def listening(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    with socket.socket() as peer:
        return peer.connect_ex(("127.0.0.1", port)) == 0


def test_a_drain_leaves_the_port(serve: Serve) -> None:
    """When `run` has returned nobody listens any more."""
    serving = serve()
    assert listening(serving.port)
    serving.drained()
    until(lambda: not listening(serving.port))


ANSWERS_DURING_AND_AFTER_DRAIN = """
import random, sys, threading, time
import grpc
from router.edge.transport import Methods
from router.edge.{kind}_transport import {name}
from router.errors import InternalError

held, streams, lock = [], [], threading.Lock()

def hold(rpc):
    if random.random() < 0.5:
        rpc.on_cancel(lambda: None)
    with lock:
        held.append(rpc)

def talk(stream):
    stream.read(lambda message: None)
    with lock:
        streams.append(stream)

over = threading.Event()

def answer(every):
    while not over.is_set():
        with lock:
            rpcs, talks = held[:], streams[:]
        for rpc in rpcs:
            if random.random() < every:
                rpc.finish(b"x") if random.random() < 0.5 else rpc.fail(InternalError())
        for stream in talks:
            stream.write(b"x")
            if random.random() < every:
                stream.finish()
        time.sleep(0.001)

threads = [threading.Thread(target=answer, args=(every,)) for every in (0.01, 0.1, 0.0)]
for thread in threads:
    thread.start()
for grace in (0.0, 0.05, 0.2):
    transport = {name}(Methods({{"/t/Held": hold}}, {{"/t/Talk": talk}}), lambda: False)
    port = transport.bind("127.0.0.1:0", None)
    running = threading.Thread(target=transport.run)
    running.start()
    channel = grpc.insecure_channel(f"127.0.0.1:{{port}}")
    calls = [channel.unary_unary("/t/Held").future(b"m", timeout=10) for _ in range(150)]
    calls += [channel.stream_stream("/t/Talk")(iter((b"m",)), timeout=10) for _ in range(20)]
    while not (held and streams):
        time.sleep(0.001)
    transport.drain(grace)
    running.join(20)
    assert not running.is_alive(), "run() did not return"
    with lock:
        late = held[:], streams[:]
    for rpc in late[0]:
        rpc.on_cancel(lambda: None)
        rpc.finish(b"after the end")
    for stream in late[1]:
        stream.write(b"after the end")
        stream.read(lambda message: None)
        stream.finish()
    del transport
    channel.close()
    if grace == 0.05:
        with lock:
            held.clear(), streams.clear()
over.set()
for thread in threads:
    thread.join()
print("alive")
"""


def test_answers_during_and_after_a_drain_never_crash_the_process(kind: Any) -> None:
    """Other threads answer while the server ends and when it has ended: in a process of its own, as a crash is one."""
    names = {"CoreTransport": "core", "AioTransport": "aio"}
    program = ANSWERS_DURING_AND_AFTER_DRAIN.format(kind=names[kind.__name__], name=kind.__name__)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["alive"]), done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


# ---- ports and TLS ----


@pytest.mark.parametrize("address", ["192.0.2.1:0", "nonsense", "127.0.0.1:99999"], ids=["foreign", "no port", "range"])
def test_an_address_that_cannot_be_opened_is_a_settings_error(kind: Any, address: str) -> None:
    """The message names the address."""
    transport = kind(Methods({}, {}), nothing_to_do)
    with pytest.raises(SettingsError, match=address):
        transport.bind(address, None)
    finish_unused(transport)


def test_a_port_that_another_program_holds_is_a_settings_error(kind: Any) -> None:
    """A listener without SO_REUSEPORT keeps the port for itself."""
    transport = kind(Methods({}, {}), nothing_to_do)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsError, match="is the port taken"):
            transport.bind(f"127.0.0.1:{taken.getsockname()[1]}", None)
    finish_unused(transport)


def finish_unused(transport: Any) -> None:
    """Let a transport that served nobody go in order."""
    transport.drain(0)
    transport.run()


def test_two_servers_may_share_a_port(kind: Any, serve: Serve) -> None:
    """SO_REUSEPORT spreads connections over the workers of one port; when one drains the other serves on."""
    names: set[bytes] = set()
    first = serve({"Name": lambda rpc: rpc.finish(b"first")})
    transport = kind(Methods({"/t/Name": lambda rpc: rpc.finish(b"second")}, {}), nothing_to_do)
    assert transport.bind(first.address, None) == first.port
    thread = threading.Thread(target=transport.run, daemon=True)
    thread.start()

    def ask() -> bytes:
        with first.connect() as channel:
            return bytes(channel.unary_unary("/t/Name")(b"", timeout=WAIT_S, wait_for_ready=True))

    def both() -> bool:
        names.add(ask())
        return len(names) == 2

    until(both)
    transport.drain(0)
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert {ask() for _ in range(10)} == {b"first"}


def test_a_server_may_listen_on_two_addresses(kind: Any) -> None:
    """`bind` may be called again before `run`."""
    transport = kind(Methods({"/t/Echo": echo}, {}), nothing_to_do)
    ports = [transport.bind("127.0.0.1:0", None) for _ in range(2)]
    thread = threading.Thread(target=transport.run, daemon=True)
    thread.start()
    for port in ports:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert channel.unary_unary("/t/Echo")(b"well", timeout=WAIT_S) == b"well"
    transport.drain(0)
    thread.join(WAIT_S)
    assert not thread.is_alive()


class Certificates:
    """An authority, and what it signed for a server and for a caller; another authority and its caller."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority, self._authority_key = self._signed("authority")
        self.other, self._other_key = self._signed("other")
        self.server, self.server_key = self._signed("localhost", "authority")
        self.caller, self.caller_key = self._signed("caller", "authority")
        self.stranger, self.stranger_key = self._signed("stranger", "other")

    def _signed(self, name: str, by: str | None = None) -> tuple[bytes, bytes]:
        key, certificate = self._folder / f"{name}.key", self._folder / f"{name}.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN={name} -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        ).split()
        if by is not None:
            command += ["-CA", str(self._folder / f"{by}.pem"), "-CAkey", str(self._folder / f"{by}.key")]
            command += ["-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return certificate.read_bytes(), key.read_bytes()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def secured(address: str, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
    """How a call over TLS ends."""
    with grpc.secure_channel(address, credentials) as channel:
        try:
            assert channel.unary_unary("/t/Echo")(b"well", timeout=WAIT_S) == b"well"
        except grpc.RpcError as error:
            return error.code()
    return Code.OK


def test_tls(serve: Serve, certificates: Certificates) -> None:
    """Callers that trust the authority are served; others, and those without TLS, are not."""
    serving = serve(credentials=Credentials(certificates.server_key, certificates.server))
    trusting = grpc.ssl_channel_credentials(certificates.authority)
    assert secured(serving.address, trusting) is Code.OK
    assert secured(serving.address, grpc.ssl_channel_credentials(certificates.other)) is Code.UNAVAILABLE
    assert serving.error("Echo").code() is Code.UNAVAILABLE
    assert secured(serving.address, trusting) is Code.OK


def test_mutual_tls(serve: Serve, certificates: Certificates) -> None:
    """Only callers whose certificate the authority signed are served."""
    serving = serve(credentials=Credentials(certificates.server_key, certificates.server, certificates.authority))

    def outcome(key: bytes | None, certificate: bytes | None) -> grpc.StatusCode:
        return secured(serving.address, grpc.ssl_channel_credentials(certificates.authority, key, certificate))

    assert outcome(certificates.caller_key, certificates.caller) is Code.OK
    assert outcome(None, None) is Code.UNAVAILABLE
    assert outcome(certificates.stranger_key, certificates.stranger) is Code.UNAVAILABLE
    assert outcome(certificates.caller_key, certificates.caller) is Code.OK


def test_a_certificate_that_is_none_is_a_settings_error(kind: Any) -> None:
    """The server does not start without the TLS that was asked for."""
    transport = kind(Methods({}, {}), nothing_to_do)
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:0"):
        transport.bind("127.0.0.1:0", Credentials(b"no key", b"no certificate"))
    finish_unused(transport)


# ---- idle ----


def test_an_idle_server_sleeps(serve: Serve) -> None:
    """Between calls the loop's thread uses next to no processor time."""
    serving = serve()
    for i in range(50):
        serving.call("Echo", b"%d" % i)
    ident = serving.thread.native_id

    def used() -> float:
        ticks = Path(f"/proc/self/task/{ident}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    idle = threading.Event()
    assert not idle.wait(1.0)
    assert used() - before < 0.05
