"""A retraining command: a process group of its own, with an end to its time and to what is kept of its output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import psutil

from router.control.artefact import shown

TAIL_BYTES: Final = 64 << 10
"""The last of the output, which is kept."""
FLOOD_BYTES: Final = 16 << 20
"""More output than this is told of, and is taken slowly from there on."""
SLOWLY_S: Final = 0.02
"""After each 64 KiB of a flood: 3 MiB a second, by which nobody else is disturbed."""
GRACE_S: Final = 2.0
"""From SIGTERM to SIGKILL, for a command whose time is over."""
POLL_S: Final = 0.05
NICE: Final = 10
"""The requests that are served go first,"""
OOM_SCORE: Final = "700"
"""and where memory is short, the training ends before what serves."""
GROUP_TRIES: Final = 5
GROUP_PAUSE_S: Final = 0.11
"""Who has no rights may set the nice value of one group in a tenth of a second, in the whole system."""
MARK: Final = "ROUTER_OUTPUT_DIR"
"""In the environment of all that a command has started, whatever group it is in."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run. `environment` comes on top of the server's own."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended. `error`: why it could not be started, empty otherwise. `code` as of subprocess: below 0 a signal.

    `tail` is the last of its output, `output_bytes` is how much there was.
    """

    code: int = 0
    error: str = ""
    timed_out: bool = False
    tail: bytes = b""
    output_bytes: int = 0

    def how(self) -> str:
        """In words."""
        if self.code >= 0:
            return f"exit code {self.code}"
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-self.code).name}"
        return f"signal {-self.code}"

    def last_line(self) -> str:
        """Of the output, fit for one line; empty without one."""
        lines = [line for line in self.tail.split(b"\n") if line.strip()]
        return shown(lines[-1].strip(), 300) if lines else ""


Flooded = Callable[[int], None]
"""Told once, when the output has come to so many bytes."""


class Runner(Protocol):
    """Runs commands, and ends what an earlier process of ours has left."""

    async def run(self, job: Job, flooded: Flooded) -> Ended:
        """To its end; cancelling it ends the command and all that it has started."""

    def end_left(self, name: str, value: str) -> int:
        """End what runs with this in its environment; how many processes. It blocks."""


class Commands:
    """Each command has a thread of its own, which does nothing but wait: the event loop goes on."""

    def __init__(self, grace_s: float = GRACE_S, flood_bytes: int = FLOOD_BYTES) -> None:
        self._grace_s = grace_s
        self._flood_bytes = flood_bytes

    async def run(self, job: Job, flooded: Flooded) -> Ended:
        """To its end. The group is ended whatever happens: at the end of its time, when this is cancelled, and when
        the command has ended and left others behind."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Ended] = loop.create_future()
        stop = threading.Event()

        def told(made: Ended) -> None:
            if not done.done():
                done.set_result(made)

        def work() -> None:
            def flood(count: int) -> None:
                loop.call_soon_threadsafe(flooded, count)

            try:
                ended = self._run(job, flood, stop)
            except Exception as error:  # noqa: BLE001  # whoever waits must learn of it
                ended = Ended(error=f"it could not be looked after: {type(error).__name__}")
            with contextlib.suppress(RuntimeError):  # the loop has gone
                loop.call_soon_threadsafe(told, ended)

        threading.Thread(target=work, name="retraining", daemon=True).start()
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([done], timeout=self._grace_s)  # it is killed at once
            raise

    def _run(self, job: Job, flooded: Flooded, stop: threading.Event) -> Ended:
        environment = {**os.environ, **job.environment}
        try:
            process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            return Ended(error=reason or "it could not be started")
        _behind_others(process.pid)
        assert process.stdout is not None
        try:
            with process.stdout as stdout:
                os.set_blocking(stdout.fileno(), False)
                output = _Output(stdout.fileno(), self._flood_bytes, flooded)
                timed_out = self._looked_after(process.pid, output, job.timeout_s, stop)
                _kill(process.pid, signal.SIGKILL)  # what it has left behind; its number is still its own
                _gone(process.pid, self._grace_s)
                output.rest()
        except BaseException:  # a fault of ours is no reason to leave it alone
            _kill(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if mark := job.environment.get(MARK):
            self.end_left(MARK, mark)  # and what it has left in groups of their own
        return Ended(process.wait(), "", timed_out, bytes(output.tail), output.count)

    def _looked_after(self, pid: int, output: _Output, timeout_s: float, stop: threading.Event) -> bool:
        """Until the command has ended; whether its time was over."""
        until, killed, timed_out = time.monotonic() + timeout_s, False, False
        while not _over(pid):
            output.take(POLL_S)
            now = time.monotonic()
            if stop.is_set():
                _kill(pid, signal.SIGKILL)
            elif now > until and not timed_out:
                timed_out = True
                _kill(pid, signal.SIGTERM)
            elif timed_out and now > until + self._grace_s and not killed:
                killed = True
                _kill(pid, signal.SIGKILL)
        return timed_out

    def end_left(self, name: str, value: str) -> int:
        """End what an earlier controller has left: all processes with this in their environment, by their ids."""
        ended = 0
        for _ in range(5):  # one may start another meanwhile
            left = [each for each in psutil.process_iter() if _has(each, name, value)]
            if not left:
                break
            for each in left:
                with contextlib.suppress(psutil.Error):
                    each.kill()
                    ended += 1
            psutil.wait_procs(left, self._grace_s)
        return ended


class _Output:
    """What comes out of a pipe: the last of it, and how much."""

    def __init__(self, pipe: int, flood_bytes: int, flooded: Flooded) -> None:
        self._pipe = pipe
        self._ready = select.poll()  # not `select`, which knows no more than 1024 files
        self._ready.register(pipe, select.POLLIN)
        self._flood_bytes = flood_bytes
        self._flooded = flooded
        self._open = True
        self.tail = bytearray()
        self.count = 0

    def take(self, seconds: float) -> bool:
        """What has come, at most 64 KiB; waits for something for so many seconds. Whether there was anything."""
        if not self._open:
            time.sleep(seconds)
            return False
        if not self._ready.poll(round(seconds * 1000)):
            return False
        try:
            chunk = os.read(self._pipe, TAIL_BYTES)
        except BlockingIOError:
            return False
        self._open = bool(chunk)
        before, self.count = self.count, self.count + len(chunk)
        self.tail += chunk
        del self.tail[:-TAIL_BYTES]
        if before <= self._flood_bytes < self.count:
            self._flooded(self.count)
        if self.count > self._flood_bytes:
            time.sleep(SLOWLY_S)
        return bool(chunk)

    def rest(self) -> None:
        """What was written before the end; no more than a pipe holds."""
        for _ in range(32):
            if not self.take(0):
                return


def _behind_others(pid: int) -> None:
    """What serves goes first; where that cannot be had, the training runs all the same.

    Where the system groups processes by session (sched(7), autogroup), a nice value counts within the group only: the
    group of the training has one of its own.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    for _ in range(GROUP_TRIES):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(NICE), encoding="ascii")
        except BlockingIOError:
            time.sleep(GROUP_PAUSE_S)
        except OSError:
            break
        else:
            break
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
        file.write(OOM_SCORE)


def _over(pid: int) -> bool:
    """Whether a child has ended; it is not taken leave of yet, so that its number is nobody else's."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _gone(group: int, seconds: float) -> None:
    """Wait until nothing of a group runs: who is killed runs on until the system comes to it."""
    until = time.monotonic() + seconds
    while any(_runs_in(each, group) for each in psutil.process_iter()) and time.monotonic() < until:
        time.sleep(POLL_S / 10)


def _runs_in(process: psutil.Process, group: int) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


def _has(process: psutil.Process, name: str, value: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.pid != os.getpid() and process.environ().get(name) == value
    return False
