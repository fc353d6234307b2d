"""Where a webhook's receiver can be had: at one address always, in this manner or that, or not at all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from loadtest import interrupt
from loadtest.errors import BenchError
from loadtest.receiver import LISTENS, Arrival, Manner, arrivals
from loadtest.servers import free_port

SECRET: Final = "a secret of load tests, of 48 bytes, and no other"
LEAVES_WITHIN: Final = 10.0
"""Seconds from SIGTERM until SIGKILL."""
LOOK_S: Final = 0.02


class Station:
    """A receiver's process, or none; notes and secret are files in `folder`. As a context manager it is ended."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._notes = folder / "arrivals"
        self.secret = folder / "secret"
        self.secret.touch(0o600)
        self.secret.write_text(SECRET + "\n", encoding="utf-8")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with interrupt.held():
            self.be(None)

    @property
    def url(self) -> str:
        """Where it is to be had."""
        return f"http://127.0.0.1:{self._port}/events"

    def be(self, manner: Manner | None) -> None:
        """From now on it answers so, or (None) nobody listens there. Raises BenchError when it cannot listen."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(LEAVES_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
        if manner is None:
            return
        command = [sys.executable, "-m", "loadtest.receiver", str(self._port), str(self.secret)]
        command += [str(self._notes), manner.value]
        with interrupt.held():
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != LISTENS:
            raise BenchError(f"the receiver of events does not listen on port {self._port}")

    def arrivals(self) -> list[Arrival]:
        """All that came until now."""
        return arrivals(self._notes)

    def comes(self, within: float) -> bool:
        """Wait for the next event, so long at most; whether one came."""
        before, until = self._size(), time.monotonic() + within
        while time.monotonic() < until:
            if self._size() > before:
                return True
            time.sleep(LOOK_S)
        return False

    def _size(self) -> int:
        return self._notes.stat().st_size if self._notes.exists() else 0
