"""Calls that wait for others, to be run with them: until a batch is full, or the first of them must leave."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from router.serving.pace import Pace
from router.serving.timers import Clock, Timers

if TYPE_CHECKING:
    from router.serving.call import Call


class Company:
    """Of one lane. A call waits for others for `wait_s` seconds at most; 0: nobody does."""

    __slots__ = ("_alarm", "_clock", "_lock", "_pace", "_start_by", "_timers", "wait_s")

    def __init__(self, wait_s: float, pace: Pace, clock: Clock, timers: Timers) -> None:
        self.wait_s = wait_s
        self._pace = pace
        self._clock = clock
        self._timers = timers
        self._lock = threading.Lock()
        self._start_by = math.inf  # when the next batch leaves at the latest
        self._alarm = math.inf  # the instant of it that a timer was set for

    def join(self, call: Call) -> None:
        """Have a batch leave in time for this call, if it is not full before."""
        if self._start_by <= call.received * 1e-9:
            return
        by = self._latest(call)
        with self._lock:
            self._start_by = min(by, self._start_by)

    def hurry(self) -> None:
        """The next batch waits for nobody."""
        with self._lock:
            self._start_by = -math.inf

    def left(self) -> None:
        """A batch has left; those who stay behind have to join anew."""
        with self._lock:
            self._start_by = math.inf

    @property
    def time_is_up(self) -> bool:
        """Whether the next batch may leave as it is."""
        return not self.wait_s or self._clock.monotonic() >= self._start_by

    def wake(self, schedule: Callable[[], None]) -> None:
        """Have `schedule` called when the next batch has to leave, unless it may leave by now."""
        by = self._start_by
        if by != self._alarm:
            self._alarm = by
            if self._clock.monotonic() < by < math.inf:
                self._timers.at(by, schedule)

    def _latest(self, call: Call) -> float:
        """When a call has to be run at the latest."""
        if call.alone or call.plan.batch_key is None:
            return call.received / 1e9
        by = call.received / 1e9 + self.wait_s
        return by if call.due is None else min(by, call.due - 2 * self._pace.times.predict(call.plan.rows))
