"""The protocol's handlers on fake calls and streams: order, errors, back-pressure, the end of the server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from router.core.access import NOBODY, Caller, digest
from router.core.request import Request
from router.edge.inference import _MAX_PIPELINED, SERVICE, Inference
from router.edge.transport import Metadata
from router.errors import InvalidRequest, NotFound, NotReady, RouterError
from router.pb import inference_pb2 as pb


class FakeRouter:
    """Keeps what is asked; tests answer it. A model named `bad` is refused."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, Any, float | None]] = []

    def infer(self, request: Request, reply: Any, deadline: float | None) -> None:
        """Take a request."""
        if request.header.model == "bad":
            raise NotFound("unknown model 'bad'")
        self.asked.append((request, reply, deadline))


class FakeStream:
    """A stream whose messages tests give; `sent` is what went out."""

    metadata = ()

    def __init__(self) -> None:
        self.sent: list[pb.ModelStreamInferResponse] = []
        self.ended: object = None
        self.waiting: deque[Callable[[bytes | None], None]] = deque()
        self.cancel: Callable[[], None] | None = None
        self.space: int | None = None  # messages that it takes before there is no room
        self.resume: Callable[[], None] = lambda: None

    def room(self) -> bool:
        """While there is space."""
        return self.space is None or self.space > len(self.sent)

    def on_room(self, callback: Callable[[], None]) -> None:
        """Remember."""
        self.resume = callback

    def read(self, callback: Callable[[bytes | None], None]) -> None:
        """One at a time."""
        assert not self.waiting, "two reads at once"
        self.waiting.append(callback)

    def give(self, message: bytes | None) -> None:
        """The caller sends, or ends its side."""
        self.waiting.popleft()(message)

    def write(self, message: bytes) -> bool:
        """Remember."""
        self.sent.append(pb.ModelStreamInferResponse.FromString(message))
        return True

    def finish(self) -> None:
        """In order."""
        self.ended = self.ended or "finished"

    def fail(self, error: RouterError) -> None:
        """With an error."""
        self.ended = self.ended or error

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Remember."""
        self.cancel = callback


class FakeRpc:
    """A unary call."""

    deadline = 5.0

    def __init__(self, message: bytes = b"", metadata: Metadata = (), identity: str = "") -> None:
        self.message = message
        self.metadata = metadata
        self.identity = identity
        self.answer: bytes | RouterError | None = None
        self.cancel: Callable[[], None] | None = None

    def finish(self, message: bytes) -> None:
        """The answer."""
        self.answer = message

    def fail(self, error: RouterError) -> None:
        """The error."""
        self.answer = error

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Remember."""
        self.cancel = callback


class Setup:
    """Handlers on fakes."""

    def __init__(self) -> None:
        self.router = FakeRouter()
        self.forwarded: list[tuple[str, bytes, float | None]] = []
        self.callers: list[Caller] = []
        self.taken_back = 0
        self.answered: Callable[[bytes | RouterError], None] | None = None
        self.inference = Inference(self.router, self.forward, lambda: True)  # type: ignore[arg-type]

    def forward(
        self,
        method: str,
        message: bytes,
        deadline: float | None,
        answered: Callable[[bytes | RouterError], None],
        caller: Caller,
    ) -> Callable[[], object]:
        """The way to the controller."""
        self.forwarded.append((method, message, deadline))
        self.callers.append(caller)
        self.answered = answered

        def take_back() -> None:
            self.taken_back += 1

        return take_back

    def stream(self) -> FakeStream:
        """Open a stream."""
        stream = FakeStream()
        (handler,) = self.inference.stream().values()
        handler(stream)
        return stream

    def unary(self, method: str, rpc: FakeRpc) -> None:
        """Call a method."""
        self.inference.unary()[f"/{SERVICE}/{method}"](rpc)  # type: ignore[arg-type]

    def answer(self, index: int, text: str) -> None:
        """Answer a request that the router has taken."""
        self.router.asked[index][1].finish(pb.ModelInferResponse(id=text).SerializeToString())


@pytest.fixture
def setup() -> Setup:
    """Handlers on fakes."""
    return Setup()


def request(model: str = "m", number: object = "") -> bytes:
    """A request."""
    return pb.ModelInferRequest(model_name=model, id=str(number)).SerializeToString()


def ids(stream: FakeStream) -> list[str]:
    """The ids of what was sent; errors with a mark."""
    return [("!" if each.error_message else "") + each.infer_response.id for each in stream.sent]


def test_answers_leave_in_the_order_of_their_requests(setup: Setup) -> None:
    """Whatever order they come in; an error takes its place in the row and names its request."""
    stream = setup.stream()
    for message in (request(number=0), request("bad", 1), request(number=2), b"\x0a\xff", request(number=4)):
        stream.give(message)
    setup.answer(2, "4")
    setup.answer(1, "2")
    assert stream.sent == []
    setup.answer(0, "0")
    assert ids(stream) == ["0", "!1", "2", "!", "4"]
    assert stream.sent[1].error_message == "unknown model 'bad'"
    assert stream.ended is None
    stream.give(None)
    assert stream.ended == "finished"


def test_a_stream_ends_when_all_is_answered(setup: Setup) -> None:
    """The caller has closed its side; what is under way still goes out."""
    stream = setup.stream()
    stream.give(request(number=0))
    stream.give(None)
    assert stream.ended is None
    setup.answer(0, "0")
    assert (ids(stream), stream.ended) == (["0"], "finished")


def test_requests_under_way_are_bounded(setup: Setup) -> None:
    """At the bound nothing more is read until an answer has left."""
    stream = setup.stream()
    for number in range(_MAX_PIPELINED):
        stream.give(request(number=number))
    assert not stream.waiting
    setup.answer(1, "1")
    assert not stream.waiting
    setup.answer(0, "0")
    assert len(stream.waiting) == 1
    assert ids(stream) == ["0", "1"]


def test_a_slow_reader_is_slowed_down(setup: Setup) -> None:
    """Answers without room keep their slots, so that no more is read; with room they leave in order, and it ends."""
    stream = setup.stream()
    stream.space = 1
    for number in range(256):
        stream.give(request(number=number))
    for number in range(256):
        setup.answer(number, str(number))
    assert ids(stream) == ["0"]
    stream.give(request(number=256))
    assert not stream.waiting
    stream.space = None
    stream.resume()
    assert ids(stream) == [str(number) for number in range(256)]
    stream.give(None)
    assert stream.ended is None
    setup.answer(256, "256")
    assert (len(stream.sent), stream.ended) == (257, "finished")


def test_a_caller_that_goes_takes_its_requests_along(setup: Setup) -> None:
    """Each that waits is told; late answers go nowhere; nothing is kept of the stream."""
    stream = setup.stream()
    told: list[int] = []
    for number in range(3):
        stream.give(request(number=number))
        setup.router.asked[number][1].on_cancel(lambda number=number: told.append(number))
    setup.answer(0, "0")
    assert stream.cancel is not None
    stream.cancel()
    assert told == [1, 2]
    setup.answer(1, "1")
    assert ids(stream) == ["0"]
    assert not setup.inference._streams


def test_at_the_end_of_the_server_idle_streams_end_and_busy_ones_are_answered(setup: Setup) -> None:
    """UNAVAILABLE after the last answer; a stream that comes then as well."""
    idle, busy = setup.stream(), setup.stream()
    busy.give(request(number=0))
    setup.inference.end()
    assert isinstance(idle.ended, NotReady)
    assert busy.ended is None
    setup.answer(0, "0")
    assert ids(busy) == ["0"]
    assert isinstance(busy.ended, NotReady)
    assert isinstance(setup.stream().ended, NotReady)
    assert not setup.inference._streams


def test_what_the_controller_knows_is_asked_there(setup: Setup) -> None:
    """With the caller's deadline; its answer or error goes back; a caller that goes takes the question back."""
    for method in ("ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"):
        rpc = FakeRpc(b"abc")
        setup.unary(method, rpc)
        assert setup.forwarded[-1] == (method, b"abc", 5.0)
        assert rpc.answer is None
        assert setup.answered is not None
        setup.answered(b"done")
        assert rpc.answer == b"done"
    rpc = FakeRpc()
    setup.unary("RepositoryIndex", rpc)
    setup.answered(NotReady("not now"))
    assert isinstance(rpc.answer, NotReady)
    rpc = FakeRpc()
    setup.unary("RepositoryIndex", rpc)
    assert rpc.cancel is not None
    rpc.cancel()
    assert setup.taken_back == 1


def test_who_asks_is_told_to_the_controller(setup: Setup) -> None:
    """The digest of a bearer token, which itself goes no further; the name that a certificate proves."""
    setup.unary("RepositoryModelLoad", FakeRpc())
    metadata = (("x-other", b"1"), ("authorization", "Bearer rt_secret"))
    setup.unary("RepositoryModelLoad", FakeRpc(metadata=metadata, identity="ada"))
    assert setup.callers == [NOBODY, Caller(digest("rt_secret"), ("ada",))]


def test_a_request_that_cannot_be_read_is_refused(setup: Setup) -> None:
    """And the router never sees it."""
    rpc = FakeRpc(b"\x0a\xff")
    setup.unary("ModelInfer", rpc)
    assert isinstance(rpc.answer, InvalidRequest)
    assert setup.router.asked == []
