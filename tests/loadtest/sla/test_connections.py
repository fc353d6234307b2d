"""One contract for both kinds of connection: what a sender may rely on, whichever grpcio it has."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from loadtest.sla.core_client import METHOD, Answer
from router.client import DeadlineExceeded
from tests.fake_inference import FakeServer, serving
from tests.loadtest.sla.connection_process import KINDS, Remote, connected
from tests.server import eventually, free_port


class Scripted(grpc.GenericRpcHandler):
    """Does what a request says: `empty`, `refuse`, `hold` (until released), or gives it back."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.peers: set[str] = set()
        self.held: list[bytes] = []

    def service(self, details: Any) -> Any:
        """A stream of at most one message: on the wire no different from one message, and it may be none."""
        assert details.method == METHOD
        return grpc.unary_stream_rpc_method_handler(self._answer)

    def _answer(self, message: bytes, context: Any) -> Iterator[bytes]:
        self.peers.add(context.peer())
        if message == b"refuse":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too många")
        if message.startswith(b"hold"):
            self.held.append(message)
            self.release.wait()
        if message != b"empty":
            yield message


@pytest.fixture
def server() -> Iterator[tuple[Scripted, str]]:
    """A server on public API, and where it listens."""
    scripted = Scripted()
    with serving(FakeServer(), handlers=(scripted,)) as target:
        try:
            yield scripted, target
        finally:
            scripted.release.set()


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    """Both."""
    name: str = request.param
    return name


def answers(connection: Remote, count: int) -> dict[int, Answer]:
    """So many answers by their numbers."""
    found: dict[int, Answer] = {}

    def enough() -> bool:
        answer = connection.receive()
        if answer is not None:
            assert answer[0] not in found
            found[answer[0]] = answer
        return len(found) == count

    eventually(enough)
    return found


def test_each_request_has_one_answer_with_its_number(server: tuple[Scripted, str], kind: str) -> None:
    """Messages as they are, also long ones; then there is none."""
    with connected(kind, server[1]) as connection:
        assert connection.receive() is None
        messages = [b"", b"\x00\xff", *(b"%d" % number for number in range(40)), b"x" * (5 << 20)]
        for number, message in enumerate(messages):
            connection.send(number, message, 30.0)
        found = answers(connection, len(messages))
        assert found == {number: (number, 0, "", message) for number, message in enumerate(messages)}
        assert connection.receive() is None


def test_answers_come_in_the_order_of_their_making(server: tuple[Scripted, str], kind: str) -> None:
    """One that is held keeps nobody; to look for it does not wait."""
    scripted, target = server
    with connected(kind, target) as connection:
        connection.send(1, b"hold", 30.0)
        connection.send(2, b"quick", 30.0)
        assert answers(connection, 1) == {2: (2, 0, "", b"quick")}
        assert connection.receive() is None
        scripted.release.set()
        assert answers(connection, 1) == {1: (1, 0, "", b"hold")}


def test_what_the_server_refuses_comes_with_code_and_text(server: tuple[Scripted, str], kind: str) -> None:
    """And without a message."""
    with connected(kind, server[1]) as connection:
        connection.send(7, b"refuse", 30.0)
        assert answers(connection, 1) == {7: (7, 8, "too många", None)}


def test_ok_without_a_message_is_no_empty_message(server: tuple[Scripted, str], kind: str) -> None:
    """The sender tells them apart."""
    with connected(kind, server[1]) as connection:
        connection.send(1, b"empty", 30.0)
        connection.send(2, b"", 30.0)
        assert answers(connection, 2) == {1: (1, 0, "", None), 2: (2, 0, "", b"")}


def test_the_own_deadline_ends_a_call(server: tuple[Scripted, str], kind: str) -> None:
    """With the text by which it is told apart from the server's."""
    with connected(kind, server[1]) as connection:
        connection.send(3, b"hold", 0.2)
        number, code, text, message = answers(connection, 1)[3]
        assert (number, code, message) == (3, 4, None)
        assert text in DeadlineExceeded.CLIENT_TEXTS


def test_where_nobody_listens_calls_are_unavailable(kind: str) -> None:
    """At once, not when their deadline has passed."""
    with connected(kind, f"127.0.0.1:{free_port()}") as connection:
        connection.send(1, b"x", 600.0)
        number, code, text, message = answers(connection, 1)[1]
        assert (number, code, message) == (1, 14, None)
        assert text


def test_each_number_is_a_connection_of_its_own(server: tuple[Scripted, str], kind: str) -> None:
    """Two in one process would share one otherwise; a connection stays the same from call to call."""
    scripted, target = server
    with connected(kind, target, 0) as one, connected(kind, target, 1) as other:
        for number in range(3):
            one.send(number, b"x", 30.0)
            answers(one, 1)
        assert len(scripted.peers) == 1
        other.send(0, b"x", 30.0)
        answers(other, 1)
        assert len(scripted.peers) == 2


def test_closing_ends_what_is_open(server: tuple[Scripted, str], kind: str) -> None:
    """It does not wait for answers."""
    scripted, target = server
    with connected(kind, target) as connection:
        for number in range(3):
            connection.send(number, b"hold", 600.0)
        eventually(lambda: len(scripted.held) == 3)
        connection.close()
