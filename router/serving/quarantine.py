"""The requests that were in a run when a worker crashed; those that were in two are not run any more.

A mapped file in the state directory, which is how they stay known after a restart and how all processes see them.
Standard library only. The supervisor writes it, but for the one word with which somebody asks it to forget all:

    word 0       the revision: changes after each change
    word 1       how often it was asked to forget all
    word 2       how often it has
    word 8 …     `MOST` entries of four words: fingerprint (0: none), crashes, second of the last one, nothing
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from router.serving.inflight import mapped

MOST: Final = 1024
CRASHES: Final = 2
"""So many make a request one that is refused."""
_HEAD, _ENTRY = 8, 4
_REVISION, _ASKED, _DONE = range(3)


class Suspect(NamedTuple):
    """A request that was in a run when a worker crashed."""

    fingerprint: int
    crashes: int
    second: int
    """Of the last crash, since 1970."""

    @property
    def refused(self) -> bool:
        """Whether it is not run any more."""
        return self.crashes >= CRASHES


class Quarantine:
    """The mapped file. Raises OSError when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._words = mapped(path, _HEAD + MOST * _ENTRY)

    @property
    def revision(self) -> int:
        """Another number after each change."""
        return self._words[_REVISION]

    def suspects(self) -> list[Suspect]:
        """All that are kept, the latest first."""
        found = [Suspect(*self._words[at : at + 3]) for at in self._places() if self._words[at]]
        return sorted(found, key=lambda each: -each.second)

    def refused(self) -> list[Suspect]:
        """Those that are not run any more, the latest first."""
        return [each for each in self.suspects() if each.refused]

    def ask_to_forget(self) -> None:
        """Have the supervisor forget all; it does within a moment."""
        self._words[_ASKED] += 1

    @property
    def forgotten(self) -> bool:
        """Whether it has done what it was asked to."""
        return self._words[_ASKED] == self._words[_DONE]

    # ---- the supervisor ----

    def crashed(self, fingerprints: Iterable[int], second: int) -> int:
        """A worker has crashed while it ran these; how many of them are refused from now on.

        When all entries are taken the oldest goes, of those that may still be run first.
        """
        words = self._words
        known = {words[at]: at for at in self._places() if words[at]}
        refused = 0
        for fingerprint in set(fingerprints) - {0}:
            at = known.get(fingerprint)
            if at is None:
                at = min(self._places(), key=self._worth)
                known.pop(words[at], None)
                known[fingerprint] = at
                words[at + 1] = 0
                words[at] = fingerprint
            words[at + 2] = second
            words[at + 1] += 1
            refused += words[at + 1] == CRASHES
        words[_REVISION] += 1
        return refused

    def forget(self) -> None:
        """Do what was asked."""
        asked = self._words[_ASKED]
        for at in self._places():
            self._words[at] = 0
        self._words[_REVISION] += 1
        self._words[_DONE] = asked

    def _worth(self, at: int) -> tuple[bool, bool, int]:
        words = self._words
        return words[at] != 0, words[at + 1] >= CRASHES, words[at + 2]

    @staticmethod
    def _places() -> range:
        return range(_HEAD, _HEAD + MOST * _ENTRY, _ENTRY)
