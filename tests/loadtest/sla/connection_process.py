"""A connection in a process of its own, as a sender has it: its commands on standard input, its answers on output.

    python -m tests.loadtest.sla.connection_process KIND TARGET NUMBER

The fast kind bends a clock inside grpcio, which is nothing for the process of a test.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from loadtest.sla.core_client import FORK_SUPPORT, Answer, CoreConnection, PublicConnection
from tests.server import ROOT

KINDS = {"core": CoreConnection, "public": PublicConnection}


class Remote:
    """The connection at the other end of a pipe."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _ask(self, *words: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(words, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def send(self, number: int, message: bytes, seconds: float) -> None:
        """Send a request."""
        self._ask("send", number, message, seconds)

    def receive(self) -> Answer | None:
        """The next answer; None when there is none now."""
        answer: Answer | None = self._ask("receive")
        return answer

    def close(self) -> None:
        """End all calls."""
        self._ask("close")


@contextmanager
def connected(kind: str, target: str, number: int = 0) -> Iterator[Remote]:
    """A connection of a kind, in a process that ends with the block."""
    words = [sys.executable, "-m", "tests.loadtest.sla.connection_process", kind, target, str(number)]
    environment = {**os.environ, FORK_SUPPORT: "1", "GRPC_VERBOSITY": "ERROR"}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
    ) as process:  # fmt: skip
        try:
            yield Remote(process)
        finally:
            process.kill()


def main(kind: str, target: str, number: int) -> None:
    """Do what is told until the pipe ends."""
    connection = KINDS[kind](target, number)
    with suppress(EOFError):
        while True:
            word, *arguments = pickle.load(sys.stdin.buffer)
            pickle.dump(getattr(connection, word)(*arguments), sys.stdout.buffer)
            sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
