"""What all versions have done, second by second: workers' counters as rings in memory, and gauges beside them.

All counts of all versions are in a few arrays, so that a second costs the same few operations for one model as for two
hundred. A version has a place in them from its first request on. It falls out when it has been gone for an hour, or
idle for a day; until then its error budget is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from router.core.health import DAY_S, FAILURES, FIVE_S, HOUR_S, MINUTE_S, Count, Seen, Span, Spent
from router.core.latency import BUCKETS
from router.core.rings import Array, Rings

log = structlog.get_logger()

MOST: Final = 512
"""Versions whose counts are kept; of more, the one that has been idle for longest gives way."""
REMEMBERED: Final = 64
"""Workers that have gone and may come back with the same counters."""
LONGEST_GAP_S: Final = 60
"""Seconds that one look makes up for at most, where the process stood still."""
HALF_HOUR_M, SIX_HOURS_M, DAY_M = 30, 360, 1440
WIDTH: Final = len(Count) + BUCKETS
"""Columns of counters: by Count, then the buckets of times."""

Key = tuple[str, str]
"""Model and number."""
_REQUESTS: Final = [Count.ANSWERED, Count.FALLBACKS, *FAILURES]
_BAD: Final = [Count.LATE, *FAILURES]


@dataclass(frozen=True, slots=True)
class Figures:
    """A worker's counters since it started, `[versions, WIDTH]`, and its gauges, `[versions, 3]`: calls that wait or
    run, threads in runs that were given up, sessions that are not asked."""

    keys: tuple[Key, ...]
    counters: Array
    gauges: Array
    resident_bytes: int = 0


@dataclass(slots=True)
class _Worker:
    """What one worker has reported last, and the place of each of its versions, -1 for none."""

    figures: Figures
    alive: bool = True
    places: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    placed: int = -1
    """How often places had changed when these were looked up."""


class Counts:
    """Takes in what workers report. `clock` gives monotonic seconds; on the event loop's thread."""

    def __init__(self, clock: Callable[[], float], most: int = MOST) -> None:
        self._clock = clock
        self.began = clock()
        self._moment = math.floor(self.began)
        self._moved = 0
        windows = (MINUTE_S, FIVE_S, HOUR_S)
        self._most = most
        self._counts = Rings(most, HOUR_S, len(Count), np.uint32, windows)
        self._times = Rings(most, HOUR_S, BUCKETS, np.uint16, windows)
        self._minutes = Rings(most, DAY_M, 2, np.uint32, (HALF_HOUR_M, SIX_HOURS_M, DAY_M))
        self._coming = np.zeros((most, WIDTH), np.int64)
        self._partial = np.zeros((most, 2), np.int64)  # requests and bad ones since the minute began
        self._asked = np.full(most, -math.inf)  # when each had its last request
        self._gauges = np.zeros((most, 3), np.int64)
        self._places: dict[Key, int] = {}
        self._free: list[int] = []
        self._used = 0
        self._changes = 0
        self._told_full = False
        self._workers: dict[str, _Worker] = {}

    @property
    def version_bytes(self) -> int:
        """What a version takes once it has been here for a day."""
        return sum(each.subject_bytes for each in (self._counts, self._times, self._minutes)) + 8 * (WIDTH + 6)

    @property
    def resident_bytes(self) -> int:
        """Of all workers together, as they said last."""
        return sum(each.figures.resident_bytes for each in self._workers.values() if each.alive)

    # ---- what comes from workers ----

    def reported(self, incarnation: str, figures: Figures) -> None:
        """A worker's counters. Of one that was not known before they are where it begins."""
        known = self._workers.pop(incarnation, None)
        worker = self._workers[incarnation] = _Worker(figures)
        if known is None:
            self._forget()
            return
        before = known.figures
        if before.keys == figures.keys:
            came = figures.counters - before.counters
            worker.places, worker.placed = known.places, known.placed
        else:
            rows = {key: row for row, key in enumerate(before.keys)}
            came = figures.counters.copy()
            for row, key in enumerate(figures.keys):
                if key in rows:
                    came[row] -= before.counters[rows[key]]
        came[(came < 0).any(1)] = 0  # they began anew meanwhile, nobody knows when
        self._take(worker, came)

    def left(self, incarnation: str) -> None:
        """A worker has gone, or was cut off and comes back."""
        if (worker := self._workers.get(incarnation)) is not None:
            worker.alive = False

    def _forget(self) -> None:
        gone = [name for name, each in self._workers.items() if not each.alive]
        for name in gone[: max(len(gone) - REMEMBERED, 0)]:
            del self._workers[name]

    def _take(self, worker: _Worker, came: Array) -> None:
        if not came.any():
            return
        asked = came[:, _REQUESTS].any(1)
        self._look_up(worker)
        for row in np.flatnonzero(asked & (worker.places < 0)):
            if not self._give(worker.figures.keys[row]):
                break  # nor is there one for the others: of thousands, none is looked for again
        self._look_up(worker)
        kept = worker.places >= 0
        np.add.at(self._coming, worker.places[kept], came[kept])
        self._asked[worker.places[kept & asked]] = self._clock()

    def _look_up(self, worker: _Worker) -> None:
        if worker.placed != self._changes:
            worker.places = np.array([self._places.get(key, -1) for key in worker.figures.keys], np.int64)
            worker.placed = self._changes

    def _give(self, key: Key) -> bool:
        """A place for a version; False where there is none."""
        now = self._clock()
        if not self._free and self._used == self._most:
            oldest = min(self._places, key=lambda each: float(self._asked[self._places[each]]))
            if self._asked[self._places[oldest]] > now - MINUTE_S:
                if not self._told_full:
                    log.warning("more versions have requests than health is kept of", most=self._most)
                self._told_full = True
                return False
            self._drop(oldest)
        if not self._free:
            self._free.append(self._used)
            self._used += 1
        self._places[key] = place = self._free.pop()
        self._asked[place] = now
        self._changes += 1
        return True

    def _drop(self, key: Key) -> None:
        place = self._places.pop(key)
        for rings in (self._counts, self._times, self._minutes):
            rings.clear(place)
        for figures in (self._coming, self._partial, self._gauges):
            figures[place] = 0
        self._asked[place] = -math.inf
        self._free.append(place)
        self._changes += 1

    # ---- once a second ----

    def advance(self) -> bool:
        """The seconds since the last time are over, and what came is theirs; False while there is none."""
        moment = math.floor(self._clock())
        seconds = min(moment - self._moment, LONGEST_GAP_S)
        for left in range(seconds, 0, -1):  # where it was more than one, all that came is put into the last
            self._move(last=left == 1)
        self._moment = moment
        if seconds:
            self._sum_gauges()
        return seconds > 0

    def _move(self, *, last: bool) -> None:
        came = self._coming[: self._used] if last else np.zeros((self._used, WIDTH), np.int64)
        self._counts.put(came[:, : len(Count)])
        self._times.put(came[:, len(Count) :])
        self._partial[: self._used, 0] += came[:, _REQUESTS].sum(1)
        self._partial[: self._used, 1] += came[:, _BAD].sum(1)
        self._moved += 1
        if self._moved % MINUTE_S == 0:
            self._minutes.put(self._partial[: self._used])
            self._partial[:] = 0
        if last:
            self._coming[: self._used] = 0

    def _sum_gauges(self) -> None:
        self._gauges[:] = 0
        for worker in self._workers.values():
            if worker.alive:
                self._look_up(worker)
                kept = worker.places >= 0
                np.add.at(self._gauges, worker.places[kept], worker.figures.gauges[kept])

    def let_go(self, serves: Callable[[Key], bool]) -> None:
        """What has been gone for an hour, or idle for a day, falls out."""
        now = self._clock()
        for key in [key for key, place in self._places.items() if self._asked[place] < now - HOUR_S]:
            if not serves(key) or self._asked[self._places[key]] < now - DAY_S:
                self._drop(key)

    # ---- what is known ----

    def suspects(self) -> set[Key]:
        """The versions with which anything may be wrong: the others need no closer look."""
        hour, day = self._counts.sums(HOUR_S), self._minutes.sums(DAY_M)
        ill = (hour[:, [*_BAD, Count.FALLBACKS]] > 0).any(1) | (day[:, 1] > 0) | (self._gauges[:, 1:] > 0).any(1)
        if not ill.any():
            return set()
        return {key for key, place in self._places.items() if ill[place]}

    def seen(self, key: Key) -> Seen | None:
        """All that is known of a version; None where it has had no request."""
        place = self._places.get(key)
        if place is None:
            return None
        now = self._clock()
        lived = max(now - self.began, 1.0)
        minute, five, hour = (
            Span(min(window, lived), *(rings.sums(window)[place].tolist() for rings in (self._counts, self._times)))
            for window in (MINUTE_S, FIVE_S, HOUR_S)
        )
        half, six, day = (
            Spent(*(self._minutes.sums(window)[place] + self._partial[place]).tolist())
            for window in (HALF_HOUR_M, SIX_HOURS_M, DAY_M)
        )
        pending, hung, breakers = self._gauges[place].tolist()
        idle = now - float(self._asked[place])
        return Seen(minute, five, hour, half, six, day, pending, hung, breakers, idle)

    def history(self, key: Key) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
        """Of each minute of the last hour, oldest first: requests a second, and the p99 in seconds."""
        place = self._places.get(key)
        if place is None:
            return (), ()
        rates = self._counts.newest(place, HOUR_S)[:, _REQUESTS].sum(1).reshape(-1, MINUTE_S).sum(1) / MINUTE_S
        times = self._times.newest(place, HOUR_S).reshape(-1, MINUTE_S, BUCKETS).sum(1)
        return tuple(rates.tolist()), tuple([Span(MINUTE_S, (), each.tolist()).quantile(0.99) for each in times])
