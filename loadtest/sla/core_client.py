"""The sending end on the completion queue of grpcio's core: what one Python process can send at all.

`grpc`'s own calls wake a thread for every answer, which costs a sender more than all the rest. Here the thread that
sends looks for answers itself, and never waits for one. The queue is private (`grpc._cython.cygrpc`): of the harness,
this file alone touches it; `PublicConnection` is the twin on public API, used where grpcio is another than is known.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import grpc

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
MESSAGE_LIMIT: Final = 64 << 20
KNOWN: Final = ((1, 85), (1, 86))
"""Versions of grpcio from the first up to, not including, the second."""
CLOSING_NAP_S: Final = 0.001
Answer = tuple[int, int, str, bytes | None]
"""The request's number, the status code, its text, the message."""


class Connection(Protocol):
    """One HTTP/2 connection."""

    def send(self, number: int, message: bytes, seconds: float) -> None:
        """Send a request that may take so long."""

    def receive(self) -> Answer | None:
        """The next answer; None when there is none now. It never waits."""

    def close(self) -> None:
        """End all calls."""


def options(number: int) -> list[tuple[str, int]]:
    """Channel arguments. Channels with equal arguments would share a connection."""
    return [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MESSAGE_LIMIT),
        ("grpc.max_send_message_length", MESSAGE_LIMIT),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("loadtest.connection", number),
    ]


def connect(target: str, number: int) -> Connection:
    """A connection of the fast kind where this grpcio is known, else of the public kind."""
    have = tuple(int(part) for part in grpc.__version__.split(".")[:2])
    if KNOWN[0] <= have < KNOWN[1] and os.environ.get(FORK_SUPPORT) == "1":
        return CoreConnection(target, number)
    return PublicConnection(target, number)


FORK_SUPPORT: Final = "GRPC_ENABLE_FORK_SUPPORT"
"""With it in the environment the queue of a channel is looked at for a bounded time, else for ever."""


class _Past:
    """A clock that stands at 0. From it the core reckons how long to look at a queue: not at all."""

    @staticmethod
    def time() -> float:
        """Seconds."""
        return 0.0


class CoreConnection:
    """On the completion queue. The core makes a queue of its own for each channel."""

    def __init__(self, target: str, number: int) -> None:
        from grpc._cython import cygrpc  # noqa: PLC0415  # only where it is known

        self._core: Any = cygrpc
        cygrpc.time = _Past
        arguments = tuple((name.encode(), value) for name, value in options(number))
        self._channel = cygrpc.Channel(target.encode(), arguments, None)
        self._method = METHOD.encode()
        self._open = 0

    def send(self, number: int, message: bytes, seconds: float) -> None:
        """Send a request."""
        core = self._core
        operations = (
            core.SendInitialMetadataOperation((), 0),
            core.SendMessageOperation(message, 0),
            core.SendCloseFromClientOperation(0),
            core.ReceiveInitialMetadataOperation(0),
            core.ReceiveMessageOperation(0),
            core.ReceiveStatusOnClientOperation(0),
        )
        self._channel.integrated_call(0, self._method, None, time.time() + seconds, (), None, ((operations, number),))
        self._open += 1

    def receive(self) -> Answer | None:
        """The next answer; None when there is none now."""
        event = self._channel.next_call_event()
        if event.tag is None:
            return None
        self._open -= 1
        operations = event.batch_operations
        status = operations[5]
        return event.tag, int(status.code()), status.details() or "", operations[4].message()

    def close(self) -> None:
        """End all calls."""
        # The core waits in `close` until somebody has taken the end of every call off the queue, and only then lets
        # the queue go: it must not be looked at after the last one.
        reason = self._core.StatusCode.cancelled, "the load test has ended"
        closing = threading.Thread(target=self._channel.close, args=reason)
        closing.start()
        while self._open:
            if self.receive() is None:
                time.sleep(CLOSING_NAP_S)
        closing.join()


class PublicConnection:
    """On grpcio's public API: the same behaviour at a third of the rate."""

    def __init__(self, target: str, number: int) -> None:
        self._channel = grpc.insecure_channel(target, options=options(number))
        self._call: Any = self._channel.unary_unary(METHOD)
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()

    def send(self, number: int, message: bytes, seconds: float) -> None:
        """Send a request."""
        future = self._call.future(message, timeout=seconds)
        future.add_done_callback(lambda done: self._answers.put(_answer(number, done)))

    def receive(self) -> Answer | None:
        """The next answer; None when there is none now."""
        try:
            return self._answers.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End all calls."""
        self._channel.close()


def _answer(number: int, done: Any) -> Answer:
    code = done.code()
    message = done.result() if code is grpc.StatusCode.OK else None
    return number, int(code.value[0]), done.details() or "", message


def connections(target: str, numbers: Sequence[int]) -> list[Connection]:
    """So many connections to one server."""
    return [connect(target, number) for number in numbers]
