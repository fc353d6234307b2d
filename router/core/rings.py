"""Counts by time, of many subjects at once: the newest so many moments of each, and their sums over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray[Any, Any]


class Rings:
    """A ring of moments for each subject, `[subjects, moments, columns]`, and running sums over the newest moments.

    All subjects move on together, so that a moment costs a few operations on whole arrays, however many subjects there
    are. Memory is taken as it is first written to: a subject that was never used takes none. A count that does not fit
    into `kind` is the largest that does.
    """

    def __init__(self, subjects: int, moments: int, columns: int, kind: DTypeLike, windows: Sequence[int]) -> None:
        self._cells: Array = np.zeros((subjects, moments, columns), kind)
        self._most = np.iinfo(self._cells.dtype).max
        self._sums: dict[int, Array] = {window: np.zeros((subjects, columns), np.int64) for window in windows}
        self._at = 0

    @property
    def subject_bytes(self) -> int:
        """What one subject takes once all of its moments have been written."""
        return int(self._cells[0].nbytes + sum(each[0].nbytes for each in self._sums.values()))

    def put(self, amounts: Array) -> None:
        """Begin a moment with these amounts, `[subjects in use, columns]`; the first subjects are those in use."""
        used, moments = len(amounts), self._cells.shape[1]
        self._at = (self._at + 1) % moments
        kept = np.minimum(amounts, self._most)
        for window, total in self._sums.items():
            total[:used] += kept - self._cells[:used, (self._at - window) % moments]
        self._cells[:used, self._at] = kept

    def clear(self, subject: int) -> None:
        """Forget one: another takes its place."""
        self._cells[subject] = 0
        for total in self._sums.values():
            total[subject] = 0

    def sums(self, window: int) -> Array:
        """Over the newest moments of a window, `[subjects, columns]`: a view that goes on."""
        return self._sums[window]

    def newest(self, subject: int, moments: int) -> Array:
        """The newest moments of one, oldest first, `[moments, columns]`: a copy."""
        length = self._cells.shape[1]
        places = (self._at - np.arange(moments - 1, -1, -1)) % length
        chosen: Array = self._cells[subject, places].astype(np.int64)
        return chosen
