"""The timer thread: calls something at an instant of the monotonic clock."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from router.core.admission import Lag

log = structlog.get_logger()

Action = Callable[[], None]


class Clock(Protocol):
    """The monotonic clock, as the module `time` has it."""

    def monotonic(self) -> float:
        """Seconds."""

    def monotonic_ns(self) -> int:
        """Nanoseconds."""

    def thread_time_ns(self) -> int:
        """Nanoseconds for which the thread that asks had a core."""


class Timers:
    """A heap of instants and one thread. Actions are short: they answer a call, raise a flag, beat a heart."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Action]] = []
        self._count = 0
        self._changed = threading.Condition()
        self._stopped = False
        self.lag = Lag()
        """How late actions are: so late an answer that has to leave at an instant may leave."""
        self._thread = threading.Thread(target=self._run, name="timer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what has not come due is forgotten."""
        with self._changed:
            self._stopped = True
            self._heap.clear()
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def at(self, instant: float, action: Action) -> None:
        """Have `action` called at `instant` (seconds)."""
        with self._changed:
            if self._stopped:
                return
            self._count += 1
            heapq.heappush(self._heap, (instant, self._count, action))
            if self._heap[0][1] == self._count:  # sooner than all others: the thread sleeps for too long
                self._changed.notify()

    def every(self, seconds: float, action: Action) -> None:
        """Have `action` called now and then every so many seconds."""

        def again() -> None:
            self.at(self._clock() + seconds, again)
            action()

        self.at(self._clock(), again)

    def due(self, now: float) -> list[Action]:
        """Take out what has come due. Called with nothing held."""
        with self._changed:
            taken = []
            while self._heap and self._heap[0][0] <= now:
                instant, _, action = heapq.heappop(self._heap)
                self.lag.record(now - instant, now)
                taken.append(action)
            return taken

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopped:
                    return
                wait = self._heap[0][0] - self._clock() if self._heap else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
            self.fire()

    def fire(self) -> None:
        """Do what has come due. The thread calls it; what has been done is not held any longer."""
        for action in self.due(self._clock()):
            try:
                action()
            except Exception:  # one fault must not stop all clocks
                log.exception("a timer's action failed")
