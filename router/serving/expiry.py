"""Calls end by the instant that they are due, whatever their model does; and when their caller has gone away.

To hear of the latter costs a batch of the gRPC core. Most calls are answered before it would be worth that: only those
that a sweep finds listen.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from router.serving.timers import Clock, Timers

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.run import Run

SWEEP_S: Final = 0.02


class Queue(Protocol):
    """Where calls wait."""

    def calls(self) -> Iterable[Call]:
        """Those that wait or run."""

    def expired(self, call: Call) -> None:
        """A call is due."""

    def linger(self, calls: Sequence[Call]) -> None:
        """These have waited or run for a while."""


class Expiry:
    """Watches the calls of one queue. Neither this nor the timers keep a call or the queue alive."""

    def __init__(self, timers: Timers, clock: Clock, queue: Queue) -> None:
        self._timers = timers
        self._clock = clock
        self._queue = weakref.ref(queue)
        self._lock = threading.Lock()
        self._sweeping = False

    def sweeps(self, call: Call, now: float) -> bool:
        """Whether the next sweep will do for a call that is among those of the queue by now."""
        return self._sweeping and (call.due is None or call.due >= now + 2 * SWEEP_S)

    def watch(self, calls: Iterable[Call], now: float) -> None:
        """See to it that calls end when they are due. Far ones are left to the sweep: most never come due."""
        some = False
        for call in calls:
            some = True
            if call.due is not None and call.due < now + 2 * SWEEP_S:
                self._timers.at(call.due, self._expiry(weakref.ref(call)))
        if some:
            with self._lock:
                armed, self._sweeping = self._sweeping, True
            if not armed:
                self._timers.at(now + SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Look after all calls that wait or run."""
        with self._lock:
            self._sweeping = False
        queue = self._queue()
        if queue is not None:
            calls = [call for call in queue.calls() if not call.over]
            queue.linger(calls)
            self.watch(calls, self._clock.monotonic())

    def _expiry(self, held: weakref.ref[Call]) -> Callable[[], None]:
        def expire() -> None:
            call, queue = held(), self._queue()
            if call is not None and queue is not None and not call.over:
                queue.expired(call)

        return expire

    def watch_each(self, calls: Iterable[Call]) -> None:
        """The same for calls that no sweep will find any more: near or far, each has a timer."""
        for call in calls:
            if call.due is not None and not call.over:
                self._timers.at(call.due, self._expiry(weakref.ref(call)))

    def watch_run(self, run: Run) -> None:
        """See to it that the calls of a run end when they are due: one timer for all, at the next of them."""
        soonest = min([call.due for call in run.calls if call.due is not None and not call.over], default=None)
        if soonest is not None:
            self._timers.at(soonest, self._run_expiry(weakref.ref(run)))

    def _run_expiry(self, held: weakref.ref[Run]) -> Callable[[], None]:
        def expire() -> None:
            run, queue = held(), self._queue()
            if run is None or queue is None or run.over:
                return
            now = self._clock.monotonic()
            for call in run.calls:
                if call.due is not None and call.due <= now and not call.over:
                    queue.expired(call)
            self.watch_run(run)

        return expire
