"""What came true of one version over time: sums by parts of time, fine ones of late and coarse ones of long ago.

A prediction counts when it was made, not when it came true. The parts are kept in rings of fixed sizes, so a version
takes the same memory however long it serves and however much it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from router.core.accuracy import Sum, nothing, terms
from router.core.confusion import Cells, Classes, Confusion, confusion
from router.core.outcome import SLOT_NS, Array, Kind, Outcome, Said

SLOT_S: Final = SLOT_NS // 10**9
DAY_S: Final = 86_400


class Span(NamedTuple):
    """How time is parted: `parts` of `width_s` seconds each, up to now."""

    width_s: int
    parts: int

    @property
    def seconds(self) -> int:
        """So far back it goes at least, whatever part of the newest part is over."""
        return self.width_s * (self.parts - 1)


SPANS: Final = (Span(SLOT_S, 91), Span(60, 121), Span(900, 105), Span(21_600, 61))
"""Ten seconds for a quarter of an hour, minutes for two hours, quarters of an hour for 26 hours, quarters of a day for
15 days: 378 parts in all."""
FARTHEST_S: Final = SPANS[-1].seconds
MOST_POINTS: Final = 60
"""Of a chart; neighbours are joined until they fit."""


@dataclass(frozen=True, slots=True)
class Point:
    """The sums of a part of time that begins at `begin_s` (seconds since 1970) and is `width_s` long."""

    begin_s: int
    width_s: int
    sums: Array


class _Ring:
    """The newest parts of one width. A place holds one part; what it held before is gone when another comes."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._sums = np.zeros((span.parts, len(Sum)))
        self._parts = np.full(span.parts, -1, np.int64)

    def add(self, seconds: Array, added: Array, now_s: float) -> None:
        """What was said at so many seconds [rows], and what it adds [rows, sums]. What is too old is left out; what is
        of the future, as a clock that was set back has it, counts now."""
        newest = int(now_s) // self.span.width_s
        parts = np.minimum(seconds // self.span.width_s, newest)
        kept = parts > newest - self.span.parts
        parts = parts[kept]
        places = parts % self.span.parts
        stale = places[self._parts[places] != parts]
        self._sums[stale] = 0.0
        self._parts[places] = parts
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number any more is left out of the figures
            np.add.at(self._sums, places, added[kept])

    def since(self, since_s: float, now_s: float) -> list[Point]:
        """All parts that end after an instant and have begun by now, those without anything too."""
        width, newest = self.span.width_s, int(now_s) // self.span.width_s
        first = max(math.floor(since_s) // width, newest - self.span.parts + 1)
        made = []
        for part in range(first, newest + 1):
            place = part % self.span.parts
            there = self._parts[place] == part
            made.append(Point(part * width, width, self._sums[place].copy() if there else nothing()))
        return made

    def total(self, since_s: float, now_s: float) -> Array:
        """The sums of the same parts."""
        newest = int(now_s) // self.span.width_s
        first = max(math.floor(since_s) // self.span.width_s, newest - self.span.parts + 1)
        with np.errstate(over="ignore", invalid="ignore"):
            total: Array = self._sums[(self._parts >= first) & (self._parts <= newest)].sum(axis=0)
        return total


class History:
    """One version's, of one kind. Not for several threads."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.newest_s = 0.0
        """When its newest prediction was made, since 1970."""
        self.came = False
        """Whether anything ever came true."""
        self._rings = [_Ring(span) for span in SPANS]
        self._shift: float | None = None
        self._classes = Classes()
        self._cells: dict[int, Cells] = {}

    def add(self, outcomes: Sequence[Outcome], now_s: float) -> None:
        """More came true; all of this kind."""
        if not outcomes:
            return
        self.came = True
        if self._shift is None and self.kind is Kind.NUMBERS:
            self._shift = float(outcomes[0].truth)
        seconds = np.array([each.at_ns // 10**9 for each in outcomes], np.int64)
        added = terms(outcomes, self._shift or 0.0)
        for ring in self._rings:
            ring.add(seconds, added, now_s)
        self.newest_s = max(self.newest_s, min(float(seconds.max()), now_s))
        if self.kind is Kind.LABELS:
            self._confuse(outcomes, now_s)

    def _confuse(self, outcomes: Iterable[Outcome], now_s: float) -> None:
        width_ns = SPANS[-1].width_s * 10**9
        newest = int(now_s) // SPANS[-1].width_s
        oldest = newest - SPANS[-1].parts
        for each in outcomes:
            part = min(each.at_ns // width_ns, newest)
            if part > oldest:
                cells = self._cells.setdefault(part, {})
                cell = self._classes.cell(each.truth, each.value)
                cells[cell] = cells.get(cell, 0) + 1
        for part in [part for part in self._cells if not oldest < part <= newest]:
            del self._cells[part]

    def said(self, counts: Iterable[Said], now_s: float) -> None:
        """So many predictions more, whether they came true or not."""
        given = list(counts)
        if not given:
            return
        added = np.zeros((len(given), len(Sum)))
        added[:, Sum.SAID] = [each.rows for each in given]
        seconds = np.array([each.slot for each in given], np.int64) * SLOT_S
        self.newest_s = max(self.newest_s, min(float(seconds.max()), now_s))
        for ring in self._rings:
            ring.add(seconds, added, now_s)

    def since(self, seconds: float, now_s: float, most: int = MOST_POINTS) -> list[Point]:
        """The parts of the last so many seconds, in the finest width that goes back so far; `most` at most."""
        return joined(self._ring(seconds).since(now_s - seconds, now_s), most)

    def total(self, seconds: float, now_s: float) -> Array:
        """The sums of the last so many seconds."""
        return self._ring(seconds).total(now_s - seconds, now_s)

    def _ring(self, seconds: float) -> _Ring:
        return next((ring for ring in self._rings if ring.span.seconds >= seconds), self._rings[-1])

    def confusion(self, seconds: float, now_s: float) -> tuple[Confusion, int]:
        """Which classes were taken for which, of about the last so many seconds: from which second on, since 1970.

        It is kept in coarse parts only, so it goes back farther than what was asked for, by a quarter of a day at most.
        """
        width = SPANS[-1].width_s
        first = math.floor(now_s - seconds) // width
        return confusion(self._classes, [each for part, each in self._cells.items() if part >= first]), first * width


def together(points: Iterable[Point]) -> Array:
    """The sums of all parts."""
    total = nothing()
    with np.errstate(over="ignore", invalid="ignore"):
        for each in points:
            total += each.sums
    return total


def joined(points: Sequence[Point], most: int) -> list[Point]:
    """Neighbours joined until there are `most` at most."""
    step = max(1, math.ceil(len(points) / most))
    groups = [points[at : at + step] for at in range(0, len(points), step)]
    return [Point(group[0].begin_s, sum(each.width_s for each in group), together(group)) for group in groups]
