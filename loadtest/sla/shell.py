"""A command of the operator, as an action of a scenario."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from loadtest.errors import BenchError

LOOK_S: Final = 0.05
KEPT: Final = 1000
"""Bytes that are kept of the beginning of what a command prints, and of its end."""
_CHUNK: Final = 64 << 10


class _Kept:
    """The beginning and the end of what was printed, however much that is."""

    def __init__(self) -> None:
        self._head = self._tail = b""
        self._cut = 0

    def add(self, data: bytes) -> None:
        """More of it."""
        room = KEPT - len(self._head)
        self._head += data[:room]
        rest = self._tail + data[room:]
        self._tail = rest[-KEPT:]
        self._cut += len(rest) - len(self._tail)

    def __str__(self) -> str:
        if not self._cut:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self._head, self._tail))
        return f"{head} … {self._cut} bytes cut … {tail}"


def run_shell(command: str, environment: Mapping[str, str], within: float, abandoned: threading.Event) -> str:
    """Run it in a session of its own; its last line. Whatever it has started is killed when its time is up.

    Raises BenchError when it fails, takes longer than `within` seconds, or is still running once it is `abandoned`.
    """
    until = time.monotonic() + within
    out, err = _Kept(), _Kept()
    with (
        subprocess.Popen(
            command, shell=True, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=dict(environment),
        ) as process,
        selectors.DefaultSelector() as selector,
    ):  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, out)
        selector.register(process.stderr, selectors.EVENT_READ, err)
        while process.returncode is None:
            late = time.monotonic() > until
            if late or abandoned.is_set():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise BenchError(f"did not end within {within:g} s" if late else "the run ended first")
            if not selector.get_map():  # it prints no more
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_S)
                continue
            for key, _ in selector.select(LOOK_S):
                if data := os.read(key.fd, _CHUNK):
                    key.data.add(data)
                else:
                    selector.unregister(key.fileobj)
    lines = f"{out}{err}".strip().splitlines()
    last = lines[-1] if lines else ""
    if process.returncode:
        raise BenchError(f"exit code {process.returncode}: {last}")
    return last
