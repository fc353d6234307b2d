"""What the past says of times: log-spaced counts, and how long a run of so many rows takes."""

from __future__ import annotations

import math
from array import array
from itertools import chain
from typing import Any, Final

import numpy as np

BUCKETS: Final = 32
"""Log-spaced buckets: bucket i counts times below 2^i microseconds (of 1024 ns), the last one all above."""


def bucket(nanoseconds: int) -> int:
    """The bucket of a time; plain integers, no search."""
    return min((nanoseconds >> 10).bit_length(), BUCKETS - 1)


def upper_bound_seconds(index: int) -> float:
    """The upper bound of bucket `index`."""
    return (1 << index) * 1024e-9


SIZES: Final = 16
"""Powers of two that numbers of rows are told apart by; the last one takes the rest."""
MOST_ROWS: Final = 1 << (SIZES - 1)

OCTAVE: Final = 8
"""Finer buckets: so many for each doubling of the time."""
LOWEST: Final = -20
"""The first of them begins at two to the power of this, in seconds."""
FINE: Final = 240
"""All of them; the last one takes the rest."""

Counts = np.ndarray[Any, np.dtype[np.uint64]]


class Recent:
    """Times of the last minute: counts in log-spaced buckets, in whole slices of time of which the oldest fall out.

    Eight buckets an octave from about 1 µs to 17 minutes; a time is given back as the middle of its bucket, at most
    4.5 % off. Without `now` time stands still: a record goes where the one before it went.
    """

    __slots__ = ("_at", "_counts", "_ends", "_view")

    SLICE_S: Final = 10.0
    SLICES: Final = 6

    def __init__(self) -> None:
        # An array counts faster than numpy does, numpy adds up faster: both look at the same memory.
        self._counts = array("Q", bytes(8 * self.SLICES * FINE))
        self._view = np.frombuffer(self._counts, np.uint64).reshape(self.SLICES, FINE)
        self._at = 0  # where the counts of the current slice begin
        self._ends = -math.inf

    def record(self, seconds: float, now: float | None = None) -> None:
        """Count a time."""
        if now is not None and now >= self._ends:
            self._turn(now)
        place = int((math.log2(seconds) - LOWEST) * OCTAVE) if seconds > 1e-6 else 0
        self._counts[self._at + (place if place < FINE else FINE - 1)] += 1

    def counts(self, now: float | None = None, slices: int = SLICES) -> Counts:
        """How many times of the window, or of its latest `slices`, lie in each bucket.

        Add up those of several to count all of them.
        """
        if now is not None and now >= self._ends:
            self._turn(now)
        latest = self._at // FINE
        total: Counts = self._view[[latest - back for back in range(slices)]].sum(0)
        return total

    def _turn(self, now: float) -> None:
        """Begin the slice of `now`."""
        begins = now // self.SLICE_S * self.SLICE_S
        if self._ends > 0:
            for _ in range(min(int((begins - self._ends) / self.SLICE_S) + 1, self.SLICES)):
                self._at = (self._at + FINE) % len(self._counts)
                self._view[self._at // FINE] = 0
        self._ends = begins + self.SLICE_S


def quantile(counts: Counts, q: float) -> float | None:
    """The time, in seconds, that a share `q` of all counted by `Recent` do not exceed; None when there are none."""
    upto = counts.cumsum()
    total = int(upto[-1])
    if not total:
        return None
    place = int(upto.searchsorted(max(math.ceil(q * total), 1)))
    return float(2.0 ** (LOWEST + (place + 0.5) / OCTAVE))


def _size(rows: int) -> int:
    """The power of two that so many rows are remembered under."""
    return min((max(rows, 1) - 1).bit_length(), SIZES - 1)


class RunTimes:
    """How long runs take, by rows: for each power of two an exponentially weighted mean and the times of late.

    A run of n rows is remembered under the next power of two. `predict` and `quantile` give the nearest size known,
    scaled up (never down) in proportion, which errs on the long side because rows share a run's fixed cost.

    The mean never forgets. Quantiles are of the last minute (`Recent`), so they need `now`, in monotonic seconds; it
    may be left out where time stands still. Reading one takes some 10 µs: on the path of a request use `Tail`.
    """

    __slots__ = ("_mean", "_recent")

    WEIGHT: Final = 0.2
    OUTLIER: Final = 4.0

    def __init__(self) -> None:
        self._mean: list[float] = [0.0] * SIZES
        self._recent: list[Recent | None] = [None] * SIZES

    def record(self, rows: int, seconds: float, now: float | None = None) -> float:
        """Remember a run; gives the mean of its size.

        One that took very long (its thread lost the core) counts as `OUTLIER` times the mean.
        """
        # Every run comes through here: the call to `_size` is spared where it can be.
        index = (rows - 1).bit_length() if 0 < rows <= MOST_ROWS else _size(rows)
        recent = self._recent[index]
        if recent is None:
            recent = self._recent[index] = Recent()
        recent.record(seconds, now)
        mean = self._mean[index]
        if mean == 0.0:
            self._mean[index] = seconds
            return seconds
        most = mean * self.OUTLIER
        if seconds > most:  # noqa: PLR1730  # `min` takes twice as long
            seconds = most
        mean += self.WEIGHT * (seconds - mean)
        self._mean[index] = mean
        return mean

    def predict(self, rows: int) -> float:
        """Seconds that a run of so many rows should take; 0 when nothing is known yet."""
        index = (rows - 1).bit_length() if 0 < rows <= MOST_ROWS else _size(rows)
        mean = self._mean[index]
        if mean:
            return mean
        for near in range(index, -1, -1):
            if self._mean[near]:
                return self._mean[near] * (1 << (index - near))
        return next((mean for mean in self._mean if mean), 0.0)

    def of_one_row(self) -> float:
        """Mean seconds of the runs of one row; 0 while there were none, whatever larger runs took."""
        return self._mean[0]

    def rows_within(self, seconds: float, most: int) -> int:
        """The largest number of rows, at least 1 and at most `most`, that should run within the time."""
        rows = 1
        while rows < most and self.predict(rows * 2) <= seconds:
            rows *= 2
        return min(rows, most)

    def record_at_least(self, rows: int, seconds: float, now: float | None = None) -> None:
        """Remember a run that was given up after so long. One given up before its time was over says nothing."""
        if seconds > self.predict(rows):
            self.record(rows, seconds, now)

    def quantile(self, rows: int, q: float, now: float | None = None, slices: int = Recent.SLICES) -> float | None:
        """Seconds that a share `q` of the recent runs of so many rows took at most; None when none is known.

        `slices` narrows that to the latest, where these know something.
        """
        index = _size(rows)
        for near in chain(range(index, -1, -1), range(index + 1, SIZES)):
            recent = self._recent[near]
            if recent is None:
                continue
            known = quantile(recent.counts(now, slices), q)
            if known is None and slices < Recent.SLICES:
                known = quantile(recent.counts(now), q)
            if known is not None:
                return known * (1 << max(index - near, 0))
        return None

    def overall(self, q: float, now: float | None = None) -> float | None:
        """Seconds that a share `q` of all recent runs took at most, whatever their rows; None when none is known."""
        counts = self._all(now)
        return None if counts is None else quantile(counts, q)

    def count(self, now: float | None = None, slices: int = Recent.SLICES) -> int:
        """Recent runs; `slices` narrows that to the latest."""
        counts = self._all(now, slices)
        return 0 if counts is None else int(counts.sum())

    def _all(self, now: float | None, slices: int = Recent.SLICES) -> Counts | None:
        known = [recent.counts(now, slices) for recent in self._recent if recent is not None]
        return np.sum(known, axis=0) if known else None


class Tail:
    """One quantile of recent run times by rows, each read anew at most every `REFRESH_S`: what a request can afford.

    Of the latest 10 to 20 seconds, so that a bad time does not outlast itself; of a minute where these know nothing.
    """

    __slots__ = ("_known", "_q", "_times")

    REFRESH_S: Final = 1.0
    SLICES: Final = 2

    def __init__(self, times: RunTimes, q: float) -> None:
        self._times = times
        self._q = q
        self._known: list[tuple[float, float | None]] = [(-math.inf, None)] * SIZES

    def of(self, rows: int, now: float) -> float | None:
        """Seconds that such a run takes at most, but for a share of 1 − q; None when nothing is known."""
        index = _size(rows)
        read, seconds = self._known[index]
        if now - read >= self.REFRESH_S:
            seconds = self._times.quantile(rows, self._q, now, self.SLICES)
            self._known[index] = (now, seconds)
        return seconds
