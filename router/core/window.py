"""What happened lately, added up."""

from __future__ import annotations

import math


class Window:
    """The sum over the last `slices` seconds, in slices of one second of which the oldest falls out as a whole."""

    __slots__ = ("_at", "_ends", "_sums")

    def __init__(self, slices: int = 10) -> None:
        self._sums = [0] * slices
        self._at = 0
        self._ends = -math.inf

    def add(self, amount: int, now: float) -> None:
        """Count it in the slice of `now`, in monotonic seconds, or in the newest: time does not go back."""
        if now >= self._ends:
            self._turn(now)
        self._sums[self._at] += amount

    def sum(self, now: float) -> int:
        """All that has not fallen out."""
        if now >= self._ends:
            self._turn(now)
        return sum(self._sums)

    def clear(self) -> None:
        """Forget all."""
        self._sums = [0] * len(self._sums)

    def _turn(self, now: float) -> None:
        """Begin the slice of `now`."""
        begins = math.floor(now)
        for _ in range(int(min(begins - self._ends + 1, len(self._sums)))):
            self._at = (self._at + 1) % len(self._sums)
            self._sums[self._at] = 0
        self._ends = begins + 1.0
