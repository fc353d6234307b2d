"""What the past says of times: log-spaced counts, and how long a run of so many rows takes."""

from __future__ import annotations

from typing import Final

BUCKETS: Final = 32
"""Log-spaced buckets: bucket i counts times below 2^i microseconds (of 1024 ns), the last one all above."""


def bucket(nanoseconds: int) -> int:
    """The bucket of a time; plain integers, no search."""
    return min((nanoseconds >> 10).bit_length(), BUCKETS - 1)


def upper_bound_seconds(index: int) -> float:
    """The upper bound of bucket `index`."""
    return (1 << index) * 1024e-9


class RunTimes:
    """How long runs take, by rows: an exponentially weighted mean for each power of two.

    A run of n rows is remembered under the next power of two. `predict` gives the nearest size known, scaled up
    (never down) in proportion, which errs on the long side because rows share a run's fixed cost.
    """

    __slots__ = ("_mean",)

    WEIGHT: Final = 0.2
    OUTLIER: Final = 4.0

    def __init__(self) -> None:
        self._mean: list[float] = [0.0] * 16

    def record(self, rows: int, seconds: float) -> None:
        """Remember a run. One that took very long (its thread lost the core) counts as `OUTLIER` times the mean."""
        index = min((max(rows, 1) - 1).bit_length(), 15)
        mean = self._mean[index]
        if mean == 0.0:
            self._mean[index] = seconds
        else:
            self._mean[index] = mean + self.WEIGHT * (min(seconds, mean * self.OUTLIER) - mean)

    def predict(self, rows: int) -> float:
        """Seconds that a run of so many rows should take; 0 when nothing is known yet."""
        index = min((max(rows, 1) - 1).bit_length(), 15)
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
