"""How often each of many inputs came lately, in a few bytes for each: a count that may be too high, and forgets. Pure.

A count-min sketch (Cormode and Muthukrishnan, J. Algorithms 55, 2005) with conservative update (Estan and Varghese,
SIGCOMM 2002, "Multistage filters"). Each time a window of so many has been counted, all counts are halved, and small
counters are enough: what came often once, and does not come any more, loses its rank (the freshness mechanism of
TinyLFU: Einziger, Friedman and Manes, ACM Transactions on Storage 13, 2017).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from router.core.question import KEY_BYTES

ROWS: Final = KEY_BYTES // 4
"""A key is a digest: each four bytes of it are as good as a hash of their own."""
HEAD: Final = 64
"""Bytes before the counters: how many were counted in this window."""
MOST: Final = 63
"""Nothing is counted higher: what came a thousand times and stays away is forgotten as soon as what came so often."""
_ROW: Final = np.arange(ROWS)


def memory_bytes(width: int) -> int:
    """What `Frequencies` of so many counters a row take."""
    return HEAD + ROWS * width


class Frequencies:
    """The counts, in memory that others may have mapped as well.

    Two that count the same input at the same instant may lose one; any bytes whatever are counts. So nobody locks it,
    and one that dies in the middle has done no harm.
    """

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        """`memory` is flat, of `memory_bytes` of a power of two."""
        self._counted = memory[:8].view(np.uint64)
        self._rows = memory[HEAD:].reshape(ROWS, -1)
        self.width = self._rows.shape[1]
        """Counters a row."""

    def count(self, keys: Sequence[bytes], window: int) -> None:
        """Inputs with these keys came. All counts are halved when `window` have been counted, and so on."""
        if not keys:
            return
        times = Counter(keys)
        places = self._places(list(times))
        least = self._rows[_ROW, places].min(axis=1).astype(np.int64)
        count = np.minimum(least + np.fromiter(times.values(), np.int64, len(times)), MOST).astype(np.uint8)
        np.maximum.at(self._rows, (_ROW, places), count[:, np.newaxis])
        counted = int(self._counted[0]) + len(keys)
        if counted < window:
            self._counted[0] = counted
        else:
            self._counted[0] = window // 2  # first, so that hardly ever two halve at once
            np.right_shift(self._rows, 1, out=self._rows)

    def of(self, keys: Sequence[bytes]) -> list[int]:
        """How often inputs with these keys came, or a little more often."""
        if not keys:
            return []
        found: list[int] = self._rows[_ROW, self._places(keys)].min(axis=1).tolist()
        return found

    def _places(self, keys: Sequence[bytes]) -> npt.NDArray[np.intp]:
        """Where each key is counted, [keys, rows]."""
        hashes = np.frombuffer(b"".join(keys), "<u4").reshape(-1, ROWS)
        return (hashes & (self.width - 1)).astype(np.intp)
