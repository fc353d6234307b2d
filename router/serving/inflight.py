"""What a worker runs at this moment, in a mapped file that outlives it: who was in a run when it died.

Standard library only: the supervisor reads it. Each worker has a region of `PLACES` places, one for each run that can
be under way at once; a place is `PLACE` words of eight bytes, each written by one instruction (see `app/board`):
the fingerprints of the calls of one run (of a larger batch its first ones), 0 where there is none.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

PLACES: Final = 32
PLACE: Final = 64
REGION: Final = PLACES * PLACE
NOWHERE: Final = -1
"""The place of a run that found none: so many are under way."""
LEFT: Final = 1
"""In a region instead of fingerprints (no version has 0 in the upper half, but by one chance in four thousand million):
its process went by itself."""

_NOTHING: Final = memoryview(bytes(PLACE * 8)).cast("Q")


def mapped(path: Path, words: int) -> memoryview:
    """A file of so many words, made where it is missing. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, words * 8)  # a full disk is an error here and not a SIGBUS at the first write
        return memoryview(mmap.mmap(file, words * 8)).cast("Q")
    finally:
        os.close(file)


class InFlight:
    """One worker's region, and what it is not to run. Without `words` nobody else sees it."""

    __slots__ = ("_free", "_words", "refused")

    def __init__(self, words: memoryview | None = None) -> None:
        self._words = memoryview(bytearray(REGION * 8)).cast("Q") if words is None else words
        self._free = list(range(0, REGION, PLACE))
        self.refused: frozenset[int] = frozenset()
        """Fingerprints of requests that are not run any more."""

    def began(self, fingerprints: Sequence[int]) -> int:
        """A run of these calls begins; the place to give back. From any thread."""
        try:
            place = self._free.pop()
        except IndexError:
            return NOWHERE
        if len(fingerprints) == 1:
            self._words[place] = fingerprints[0]
        else:
            words: Any = array("Q", fingerprints[:PLACE])
            self._words[place : place + len(words)] = words
        return place

    def ended(self, place: int, calls: int) -> None:
        """The run of so many calls has returned."""
        if place == NOWHERE:
            return
        if calls == 1:
            self._words[place] = 0
        else:
            self._words[place : place + PLACE] = _NOTHING
        self._free.append(place)


def region(words: memoryview, index: int) -> memoryview:
    """The part of worker `index`."""
    return words[index * REGION : (index + 1) * REGION]


def running(words: memoryview) -> list[int]:
    """The fingerprints in a region."""
    return [word for word in words.tolist() if word]


def wipe(words: memoryview) -> None:
    """Forget the runs of a worker that has gone."""
    words[:] = memoryview(bytes(words.nbytes)).cast("Q")


def leave(words: memoryview) -> None:
    """Of a process that goes by itself: nothing that it runs is to blame, and whoever reads this knows."""
    wipe(words)
    words[0] = LEFT
