"""Counts by time, of many subjects at once: the newest so many moments of each, and their sums over windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

Array = np.ndarray[Any, Any]

BLOCK: Final = 16
"""Subjects whose moments lie together. A block is small, and what it takes is touched moment by moment: no look has to
wait until the memory of a whole day is there."""


class Rings:
    """A ring of moments for each subject, and running sums over the newest moments, `[subjects, columns]`.

    All subjects move on together, so that a moment costs a few operations on whole arrays, however many subjects there
    are. Memory is taken for those in use. A count that does not fit into `kind` is the largest that does.
    """

    def __init__(self, subjects: int, moments: int, columns: int, kind: DTypeLike, windows: Sequence[int]) -> None:
        self._shape = (moments, BLOCK, columns)
        self._kind = np.dtype(kind)
        self._most = np.iinfo(self._kind).max
        self._blocks: list[Array] = []
        self._sums: dict[int, Array] = {window: np.zeros((subjects, columns), np.int64) for window in windows}
        self._at = 0

    @property
    def subject_bytes(self) -> int:
        """What one subject takes once all of its moments have been written."""
        moments, _, columns = self._shape
        return columns * (moments * self._kind.itemsize + 8 * len(self._sums))

    def put(self, amounts: Array) -> None:
        """Begin a moment with these amounts, `[subjects in use, columns]`; the first subjects are those in use."""
        moments = self._shape[0]
        self._at = (self._at + 1) % moments
        kept = np.minimum(amounts, self._most)
        while len(self._blocks) * BLOCK < len(kept):
            self._blocks.append(np.zeros(self._shape, self._kind))
        for first, block in zip(range(0, len(kept), BLOCK), self._blocks, strict=False):
            part = kept[first : first + BLOCK]
            last = first + len(part)
            for window, total in self._sums.items():
                total[first:last] += part - block[(self._at - window) % moments, : len(part)]
            block[self._at, : len(part)] = part

    def clear(self, subject: int) -> None:
        """Forget one: another takes its place."""
        number, place = divmod(subject, BLOCK)
        if number < len(self._blocks):
            self._blocks[number][:, place] = 0
        for total in self._sums.values():
            total[subject] = 0

    def sums(self, window: int) -> Array:
        """Over the newest moments of a window, `[subjects, columns]`: a view that goes on."""
        return self._sums[window]

    def newest(self, subject: int, moments: int) -> Array:
        """The newest moments of one, oldest first, `[moments, columns]`: a copy."""
        number, place = divmod(subject, BLOCK)
        if number >= len(self._blocks):
            return np.zeros((moments, self._shape[2]), np.int64)
        places = (self._at - np.arange(moments - 1, -1, -1)) % self._shape[0]
        chosen: Array = self._blocks[number][places, place].astype(np.int64)
        return chosen
