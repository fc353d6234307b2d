"""A real client that compares answers, before and while the load generator runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

import grpc

from loadtest.bench_models import Question
from loadtest.errors import BenchError, said

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT: Final = 5.0
OPTIONS: Final = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.use_local_subchannel_pool", 1),
]


class Witness:
    """Asks different questions at a low rate and counts the answers that are wrong.

    The questions differ from each other and from the load's: an answer that was given to somebody else's question is
    seen. As a context manager it holds a connection; `watching` asks on a thread of its own.
    """

    def __init__(self, port: int, questions: list[Question], per_second: float) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS)
        # Bytes in, bytes out: the size of the reply on the wire is wanted too.
        self._infer: Callable[..., bytes] = self._channel.unary_unary(METHOD)
        self._questions = questions
        self._period = 1.0 / per_second
        self._stop = threading.Event()
        self._sizes: set[int] = set()
        self.asked = 0
        self.wrong = 0
        self.first_wrong = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask one question a period until the block ends."""
        thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def ask_all(self) -> None:
        """Ask every question once. Raises BenchError at a wrong answer."""
        for question in self._questions:
            self._ask(question)
        self.verdict()

    def verdict(self) -> None:
        """Raise BenchError when an answer was wrong or missing (refused answers are missing)."""
        if self.wrong:
            raise BenchError(
                f"{self.wrong} of {self.asked} compared answers were wrong or missing; the first: {self.first_wrong}"
            )

    def reply_sizes(self) -> range:
        """The sizes in bytes that right replies had."""
        return range(min(self._sizes), max(self._sizes) + 1)

    def _ask(self, question: Question) -> None:
        try:
            reply = self._infer(question.request, timeout=TIMEOUT)
            wrong = question.wrong(reply)
        except grpc.RpcError as error:
            wrong = said(error)
        else:
            if wrong is None:
                self._sizes.add(len(reply))
        self.asked += 1
        if wrong is not None:
            self.wrong += 1
            self.first_wrong = self.first_wrong or wrong

    def _watch(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._ask(self._questions[self.asked % len(self._questions)])
            due = max(due + self._period, time.monotonic())
