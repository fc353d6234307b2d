"""What was said instead of what was true: counts by class, from which the figures of each class are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from router.core.accuracy import Figure
from router.core.interval import Z
from router.core.prediction import Value

CLASSES: Final = 32
"""That are told apart; those that come first. All others together are one more, which has no figures."""
OTHERS: Final = "(others)"

Cells = dict[int, int]
"""How often each pair of true and said class came: `true * (CLASSES + 1) + said`, by places of classes."""
WIDTH: Final = CLASSES + 1


class Classes:
    """The labels of one version, in the order in which they came. Bounded."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def cell(self, truth: Value, said: Value) -> int:
        """Where a pair is counted."""
        return self._place(str(truth)) * WIDTH + self._place(str(said))

    def _place(self, label: str) -> int:
        place = self._places.get(label)
        if place is None:
            if len(self._places) == CLASSES:
                return CLASSES
            place = self._places[label] = len(self._places)
        return place

    def label(self, place: int) -> str:
        """What stands there."""
        return OTHERS if place == CLASSES else [*self._places][place]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one class: how many were of it, how many were said to be, and how these go together.

    `precision`: of those that were said to be, so many were. `recall`: of those that were, so many were said to be.
    None where there are none of which it could be said; `f1` is the harmonic mean of both.
    """

    label: str
    true: int
    said: int
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each pair of (true, said) came, by places of classes; `names` has those that came, in their order.

    What stands at the place CLASSES is all classes that are not told apart.
    """

    counts: Mapping[tuple[int, int], int]
    names: Mapping[int, str]

    @property
    def others(self) -> bool:
        """Whether there were more classes than are told apart."""
        return any(CLASSES in pair for pair in self.counts)

    def cells(self) -> list[tuple[str, str, int]]:
        """True, said, how often: the most frequent first."""
        named = {**self.names, CLASSES: OTHERS}
        ordered = sorted(self.counts.items(), key=lambda each: (-each[1], each[0]))
        return [(named[true], named[said], count) for (true, said), count in ordered]

    def classes(self) -> list[ClassFigures]:
        """The figures of each class that is told apart."""
        true, said = self._sums(0), self._sums(1)
        made = []
        for place, label in self.names.items():
            hits, were, named = self.counts.get((place, place), 0), true.get(place, 0), said.get(place, 0)
            precision = hits / named if named else None
            recall = hits / were if were else None
            made.append(ClassFigures(label, were, named, precision, recall, 2 * hits / (were + named)))
        return made

    def balanced(self) -> Figure | None:
        """The mean recall of the classes: what the accuracy would be if all were as frequent. None without any.

        Its interval is that of a mean of independent shares, each of which has one more hit and one more miss (as
        Agresti & Coull 1998, "Approximate is better than exact", The American Statistician 52, do for one share).
        """
        there = [(each.recall, each.true) for each in self.classes() if each.recall is not None]
        if not there:
            return None
        value = math.fsum(recall for recall, _ in there) / len(there)
        variances = []
        for recall, rows in there:
            part = (recall * rows + 1) / (rows + 2)
            variances.append(part * (1 - part) / (rows + 2))
        half = Z * math.sqrt(math.fsum(variances)) / len(there)
        return Figure("balanced_accuracy", value, max(value - half, 0.0), min(value + half, 1.0))

    def macro_f1(self) -> Figure | None:
        """The mean F1 of the classes that were true or said; None without any."""
        there = [each.f1 for each in self.classes()]
        return Figure("macro_f1", math.fsum(there) / len(there)) if there else None

    def _sums(self, axis: int) -> dict[int, int]:
        made: dict[int, int] = {}
        for pair, count in self.counts.items():
            made[pair[axis]] = made.get(pair[axis], 0) + count
        return made


def confusion(classes: Classes, parts: Iterable[Mapping[int, int]]) -> Confusion:
    """All parts together."""
    counts: dict[tuple[int, int], int] = {}
    for part in parts:
        for cell, count in part.items():
            pair = divmod(cell, WIDTH)
            counts[pair] = counts.get(pair, 0) + count
    places = {place for pair in counts for place in pair if place != CLASSES}
    names = sorted(((classes.label(place), place) for place in places), key=lambda each: _order(each[0]))
    return Confusion(counts, {place: label for label, place in names})


def _order(label: str) -> tuple[bool, int, str]:
    """Whole numbers by their size, then texts by the alphabet."""
    whole = label.isascii() and label.removeprefix("-").isdecimal()
    return (not whole, int(label) if whole else 0, label)
