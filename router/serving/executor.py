"""Threads for the lanes that are too slow for the loop thread."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

import structlog

from router.serving.run import Run

log = structlog.get_logger()


class Visited(Protocol):
    """A lane as the executor sees it."""

    def work(self) -> bool:
        """Run one batch; True when somebody is to come back for more."""


class Executor:
    """At most so many threads, started when they are needed. `slots` runs of one session may go on at once."""

    def __init__(self, threads: int = 8, slots: int = 1) -> None:
        self.slots = slots
        self.runs: set[Run] = set()
        """Those under way, of all lanes."""
        self.missing = 0
        """Threads that hang in runs which have been given up; others may stand in for them."""
        self._most = threads
        self._ready: queue.SimpleQueue[Visited | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._wanted = 0  # visits to lanes that are asked for or under way
        self._stopping = False

    def put(self, lane: Visited) -> None:
        """Have a thread come for the lane's next batch."""
        with self._lock:
            self._wanted += 1
            if self._wanted > self._threads and self._threads < self._most + self.missing:
                self._threads += 1
                threading.Thread(target=self._run, name=f"executor-{self._threads}", daemon=True).start()
        self._ready.put(lane)

    def lost(self) -> None:
        """A thread hangs in a run: another one may be started in its place."""
        with self._lock:
            self.missing += 1

    def back(self) -> None:
        """It has come back after all."""
        with self._lock:
            self.missing -= 1

    def stop(self) -> None:
        """Let the threads end once nothing is left to do."""
        with self._lock:
            self._stopping = True
            if not self._wanted:
                self._dismiss()

    def _dismiss(self) -> None:
        for _ in range(self._threads):
            self._ready.put(None)

    def _run(self) -> None:
        while self._visit():
            pass

    def _visit(self) -> bool:
        """One batch of one lane, or the end. A thread at rest holds no lane: its session may have to go."""
        lane = self._ready.get()
        if lane is None:
            with self._lock:
                if self._wanted:  # something came after all
                    return True
                self._threads -= 1
            return False
        again = True
        while again:
            again = False
            try:
                again = lane.work()
            except Exception:  # a fault of ours must not end the thread
                log.exception("a visit to a lane failed")
            if not self._ready.empty():
                break  # to hand it on where nobody else waits would only wake another thread
        if again:
            self._ready.put(lane)  # behind the others
        else:
            with self._lock:
                self._wanted -= 1
                if self._stopping and not self._wanted:
                    self._dismiss()
        return True
