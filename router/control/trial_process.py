"""One child process that answers in lines, and may die of the question."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Final

from router.control.artefact import shown

_REPLY_LIMIT_BYTES: Final = 16 << 20
_LOG_LINES: Final = 40


class Ended(Exception):
    """The child is gone; the text says how."""


class Silent(Exception):
    """The child said nothing in time."""


class TrialProcess:
    """Lines in, lines out; the last lines of its stderr are kept in memory. Raises OSError if it cannot be started.

    A thread of its own starts it and stays until it has ended, because Linux sends the parent-death signal when the
    *thread* that started a process ends.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._pending = b""
        started: SimpleQueue[subprocess.Popen[bytes] | OSError] = SimpleQueue()
        self._keeper = threading.Thread(target=self._keep, args=(command, started), name="trial-process", daemon=True)
        self._keeper.start()
        process = started.get()
        if isinstance(process, OSError):
            raise process
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout

    def _keep(self, command: Sequence[str], started: SimpleQueue[subprocess.Popen[bytes] | OSError]) -> None:
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            started.put(error if isinstance(error, OSError) else OSError(str(error)))
            return
        started.put(process)
        assert process.stderr is not None
        with process.stderr as stderr:
            cut = b""
            while chunk := stderr.read(65536):
                *whole, cut = (cut + chunk).split(b"\n")
                self._lines.extend(_readable(line) for line in whole)
                cut = cut[-4096:]
            if cut:
                self._lines.append(_readable(cut))
        process.wait()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def send(self, line: bytes) -> None:
        """Writes one line. Raises Ended."""
        try:
            self._stdin.write(line + b"\n")
        except OSError as error:
            raise Ended(self._how()) from error

    def receive(self, limit_s: float) -> bytes:
        """The next line. Raises Ended, or Silent after `limit_s` seconds without a whole one."""
        until = time.monotonic() + limit_s
        poll = select.poll()
        poll.register(self._stdout, select.POLLIN)
        while b"\n" not in self._pending:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                raise Silent
            chunk = os.read(self._stdout.fileno(), 1 << 16)
            if not chunk:
                raise Ended(self._how())
            self._pending += chunk
            if len(self._pending) > _REPLY_LIMIT_BYTES:
                raise ValueError("endless")
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def take_log(self) -> tuple[str, ...]:
        """What it wrote since the last call."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._lines.popleft())
        return tuple(taken)

    def kill(self) -> None:
        """From any thread: whoever waits for a line learns that it has ended."""
        self._process.kill()

    def end(self) -> tuple[str, ...]:
        """Kills it: there is nothing that it must bring to an end. Returns its last lines."""
        self.kill()
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._keeper.join(5.0)
        return self.take_log()

    def _how(self) -> str:
        """How it ended, for a person."""
        try:
            code = self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            return "the trial process closed its output"
        if code >= 0:
            return f"the trial process ended by itself (exit code {code})"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            hint = "; perhaps there was not enough memory" if -code == signal.SIGKILL else ""
            return f"the model crashed the trial process (signal {name}{hint})"
        return f"the model crashed the trial process (signal {-code})"


def _readable(line: bytes) -> str:
    return shown(line.decode("utf-8", "replace").rstrip(), 400)
