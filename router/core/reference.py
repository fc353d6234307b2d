"""What a model's rows were like when all was well: the bins of each feature, and how many rows lay in each.

The bins are fixed with the reference, so what comes later are plain counts: those of several workers, windows or hours
are added up, and nothing is lost by it. A feature's bins are, in this order: the missing values; for a number the
intervals between its edges, for a category one for each that the reference has, and one for all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from router.core.features import Array, Cells, Column, Layout

QUANTILES: Final = 32
"""Bins of a number, each with as many rows of the reference."""
CATEGORIES: Final = 64
"""That are told apart, the most frequent ones."""
GROUP: Final = 0.09
"""Share of the rows that neighbouring bins together have at least, where the reference and a window are compared: some
ten groups, as is the custom with a population stability index."""
RARE: Final = 0.01
"""Categories below this share are one group."""
FEW: Final = 5
"""So are those with fewer rows of the reference (Cochran 1954, "Some methods for strengthening the common χ² tests",
Biometrics 10)."""
FARTHEST: Final = 1e6
"""Standard deviations: a value farther off counts as so far."""
_AT_ONCE: Final = 64
"""Rows whose bins are found together: what that needs fits into a core's cache."""


@dataclass(frozen=True, slots=True)
class Bins:
    """One feature of a reference. `counts` has the rows in each bin, the missing ones first.

    A number has `edges`, rising, and the mean of the rows in each interval in `centers`; a category has `known` in
    their place, numbers or texts. `mean` and `deviation` are of the finite values, 0 and 1 where there are none; where
    all are the same the deviation is 1 too, for want of one.
    `effect`: how many times the variance of these counts was that of independent rows (see `core.drift`).
    """

    column: Column
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    centers: tuple[float, ...] = ()
    known: tuple[float, ...] | tuple[bytes, ...] | None = None
    mean: float = 0.0
    deviation: float = 1.0
    effect: float = 1.0

    @property
    def category(self) -> bool:
        """Whether its values are categories."""
        return self.known is not None

    @property
    def constant(self) -> bool:
        """Whether it is a number of which all values were the same."""
        return len(self.edges) == 2 and self.counts[1:].count(0) == 2


class Counts:
    """Rows of one window, by bins: all that is kept of them. Those of several windows are added up.

    `bins` is flat over all features; `spread` is the sum over the pieces that it came in of the square of each group's
    count by the rows of the piece; `sums`, `squares` and `afar` are of the values, their squares and how far they are,
    in standard deviations from the reference's mean. `varied` is the sum over the rows of how many times their counts
    vary as much as those of independent rows, as far as it has been measured.
    """

    __slots__ = ("afar", "bins", "pieces", "rows", "spread", "squares", "sums", "varied")

    def __init__(self, reference: Reference) -> None:
        self.rows = 0
        self.pieces = 0
        self.bins = np.zeros(reference.size, np.int64)
        self.spread = np.zeros(reference.groups)
        self.sums = np.zeros(len(reference.features))
        self.squares = np.zeros(len(reference.features))
        self.afar = np.zeros(len(reference.features))
        self.varied = np.zeros(len(reference.features))

    def add(self, reference: Reference, other: Counts) -> None:
        """Another window's, as one piece."""
        if not other.rows:
            return
        self.rows += other.rows
        self.pieces += 1
        self.bins += other.bins
        self.spread += reference.grouped(other.bins) ** 2 / other.rows
        self.sums += other.sums
        self.squares += other.squares
        self.afar += other.afar
        self.varied += other.varied


class Reference:
    """The features of one side of a model, and their bins in one flat array.

    `starts` are where each feature's bins begin, `group_of` is the group of each bin, `group_starts` where each
    feature's groups begin.
    """

    def __init__(self, features: Sequence[Bins], rows: int) -> None:
        self.features = tuple(features)
        self.rows = rows
        self.layout = Layout([each.column for each in features])
        sizes = [len(each.counts) for each in features]
        self.starts = np.concatenate(([0], np.cumsum(sizes)))[:-1].astype(np.intp)
        self.size = int(sum(sizes))
        self.counts = np.array([count for each in features for count in each.counts], np.int64)
        groups = [_groups(each) for each in features]
        offsets = np.concatenate(([0], np.cumsum([max(each) + 1 for each in groups]))).astype(np.intp)
        self.group_starts, self.groups = offsets[:-1], int(offsets[-1])
        self.group_of = np.array(
            [offset + group for offset, each in zip(offsets[:-1], groups, strict=True) for group in each], np.intp
        )
        self.group_counts = self.grouped(self.counts)
        self.means = np.array([each.mean for each in features])
        self.deviations = np.array([each.deviation for each in features])
        self.effects = np.array([each.effect for each in features])
        self.chosen = np.array([_by_chance(each) for each in features], np.float64)
        """Degrees of freedom beside those of its groups, by feature."""
        self.categories = np.array([each.category for each in features], np.bool_)
        self.missing = self.starts
        """The bin of the missing values of each feature."""
        self.others = np.array([start + size - 1 for start, size in zip(self.starts, sizes, strict=True)], np.intp)
        """The last bin of each feature: of a category all those that the reference does not know."""
        self.gaps = np.concatenate([_gaps(each) for each in features]) if features else np.empty(0)
        """From the middle of a number's bin to the next one's, in standard deviations; 0 where there is no next one."""
        self.afar = np.array([_afar(each) for each in features])
        """How far the values of a number are from their mean, in standard deviations."""
        self._texts = {
            place: {value: int(self.starts[place]) + 1 + at for at, value in enumerate(each.known or ())}
            for place, each in enumerate(features)
            if each.column.text
        }
        self._finders = _finders(self.features, self.starts)

    def grouped(self, bins: Array) -> Array:
        """Counts by group, of counts by bin."""
        return np.bincount(self.group_of, weights=bins, minlength=self.groups)

    def with_effects(self, effects: Iterable[float]) -> Reference:
        """The same, with how much its counts vary."""
        return Reference(
            [replace(each, effect=effect) for each, effect in zip(self.features, effects, strict=True)], self.rows
        )

    def counted(self, cells: Cells) -> Counts:
        """The counts of rows with the columns of `layout`."""
        made = Counts(self)
        rows = len(cells)
        if not rows:
            return made
        places = np.empty(cells.numbers.shape, np.intp)
        for finder in self._finders:
            finder.find(cells.numbers, places)
        for place, values in cells.texts.items():
            missing, other = int(self.missing[place]), int(self.others[place])
            known = self._texts[place]
            places[:, place] = [known.get(each, other) if each else missing for each in values]
        made.rows, made.pieces = rows, 1
        made.bins = np.bincount(places.ravel(), minlength=self.size).astype(np.int64)
        made.spread = self.grouped(made.bins) ** 2 / rows
        with np.errstate(all="ignore"):
            apart = np.clip((cells.numbers - self.means) / self.deviations, -FARTHEST, FARTHEST)
        apart[~np.isfinite(cells.numbers)] = 0.0
        made.sums = apart.sum(axis=0)
        made.squares = np.einsum("rf,rf->f", apart, apart)
        made.afar = np.abs(apart).sum(axis=0)
        return made


class _Finder:
    """Finds the bins of the features of some columns, all at once: how many edges lie at or below each value."""

    def __init__(self, columns: Sequence[int], edges: Sequence[Sequence[float]], bins: Sequence[Sequence[int]]) -> None:
        most = max(map(len, edges))
        self._columns = np.array(columns, np.intp)
        self._edges = np.array([[*each, *[np.inf] * (most - len(each))] for each in edges]).reshape(len(edges), most)
        # A value that is infinite lies above the edges that only fill up: it belongs into the last bin all the same.
        self._bins = np.array([[*each[1:], *[each[-1]] * (most + 2 - len(each))] for each in bins], np.intp)
        self._missing = np.array([each[0] for each in bins], np.intp)
        self._rows = np.arange(len(columns))

    def find(self, numbers: Array, places: Array) -> None:
        """Fill in the bins of these columns."""
        for at in range(0, len(numbers), _AT_ONCE):
            values = numbers[at : at + _AT_ONCE, self._columns]
            below = np.count_nonzero(values[:, :, None] >= self._edges, axis=2)
            found = self._bins[self._rows, below]
            places[at : at + _AT_ONCE, self._columns] = np.where(np.isnan(values), self._missing, found)


def _finders(features: Sequence[Bins], starts: Array) -> list[_Finder]:
    """One for numbers and one for categories that are numbers, of which there may be more."""
    made = []
    for category in (False, True):
        columns = [place for place, each in enumerate(features) if each.category == category and not each.column.text]
        if not columns:
            continue
        edges: list[Sequence[float]] = []
        bins: list[Sequence[int]] = []
        for place in columns:
            each, start = features[place], int(starts[place])
            if each.known is None:
                edges.append(each.edges)
                bins.append([*range(start, start + len(each.counts))])
            else:  # between two that are known lies what is not
                values = [float(value) for value in each.known]
                order = np.argsort(values)
                other = start + len(each.counts) - 1
                with np.errstate(over="ignore"):
                    after = np.nextafter(values, np.inf)
                edges.append([edge for at in order for edge in (values[at], float(after[at]))])
                bins.append([start, other, *(one for at in order for one in (start + 1 + int(at), other))])
        made.append(_Finder(columns, edges, bins))
    return made


def _groups(feature: Bins) -> list[int]:
    """The group of each bin, from 0: neighbours of a number together, rare categories together.

    Missing values are a group of their own, and so is what lies beyond all that the reference has.
    """
    if feature.category:
        return _groups_of_categories(feature)
    rest = feature.counts[1:]
    present = max(sum(rest), 1)
    made, now, share = [0], 1, 0.0
    for place, count in enumerate(rest):
        beyond = not count and place in {0, len(rest) - 1}
        if share and (beyond or count >= GROUP * present):  # what is rare beside what is common would not be seen
            now, share = now + 1, 0.0
        made.append(now)
        share += count / present
        if beyond or share >= GROUP:
            now, share = now + 1, 0.0
    return made


def _groups_of_categories(feature: Bins) -> list[int]:
    """Of those that are not known hardly any come where few of the known ones came once (Good 1953, "The population
    frequencies of species", Biometrika 40). Where more came once, as of names and numbers of things, one that is known
    may never come again, and that is no change: the rare ones and those that are not known are one group."""
    every, (*known, others) = sum(feature.counts), feature.counts[1:]
    numbers = iter(range(1, len(known) + 1))
    own = [next(numbers) if count >= max(RARE * every, FEW) else 0 for count in known]
    rare = max(own, default=0) + 1
    apart = not all(own) and others + known.count(1) <= RARE * every
    return [0, *(each or rare for each in own), rare + apart]


def _by_chance(feature: Bins) -> int:
    """Categories that might have been told apart as well, had a few rows more come, or the other way round: those that
    were are not chosen without regard to what came, and differ from it by more."""
    if not feature.category:
        return 0
    known, cut = feature.counts[1:-1], max(RARE * sum(feature.counts), FEW)
    return min(sum(cut / 2 <= count < cut for count in known), 3 * sum(count >= cut for count in known))


def _afar(feature: Bins) -> float:
    there = sum(feature.counts[1:])
    if feature.category or not there:
        return 0.0
    far = (abs(center - feature.mean) / feature.deviation for center in feature.centers)
    return sum(count * min(each, FARTHEST) for count, each in zip(feature.counts[1:], far, strict=True)) / there


def _gaps(feature: Bins) -> Array:
    gaps = np.zeros(len(feature.counts))
    if not feature.category:
        with np.errstate(all="ignore"):
            gaps[1:-1] = np.clip(np.diff(feature.centers) / feature.deviation, 0.0, FARTHEST)
    return gaps


# ---- made of rows ----


def made(columns: Sequence[Column], cells: Cells) -> Reference:
    """The reference that so many rows are. There is at least one."""
    features = []
    for place, column in enumerate(columns):
        if column.text:
            features.append(_category(column, cells.texts[place], len(cells)))
        else:
            features.append(_number(column, cells.numbers[:, place]))
    return Reference(features, len(cells))


def _category(column: Column, values: Iterable[Any], rows: int) -> Bins:
    counted: dict[Any, int] = {}
    for value in values:
        counted[value] = counted.get(value, 0) + 1
    missing = counted.pop(b"", 0)
    known = sorted(counted, key=lambda value: (-counted[value], value))[:CATEGORIES]
    counts = [counted[value] for value in known]
    return Bins(column, (missing, *counts, rows - missing - sum(counts)), known=tuple(known))


def _number(column: Column, values: Array) -> Bins:
    there = np.sort(values[~np.isnan(values)])
    missing = len(values) - len(there)
    finite = there[np.isfinite(there)]
    distinct = np.unique(finite)
    if column.whole and 0 < len(distinct) <= CATEGORIES and len(finite) == len(there):
        made = _category(column, there.tolist(), len(there))
        return Bins(column, (missing, *made.counts[1:]), known=made.known)
    if not len(finite):
        return Bins(column, (missing, len(there)), centers=(0.0,))
    with np.errstate(all="ignore"):
        edges = np.unique(_edges(finite, distinct))
    below = np.concatenate(([0], np.searchsorted(there, edges, side="left"), [len(there)]))
    counts = np.diff(below)
    with np.errstate(all="ignore"):
        mean, deviation = float(finite.mean()), float(finite.std())
    if len(distinct) == 1:  # rounded, its mean would be another number
        mean, deviation = float(distinct[0]), 0.0
    mean = mean if np.isfinite(mean) else float(np.median(finite))
    deviation = deviation if np.isfinite(deviation) and deviation > 0 else 1.0
    centers = _centers(there, edges, below)
    return Bins(column, (missing, *counts.tolist()), tuple(edges.tolist()), centers, mean=mean, deviation=deviation)


def _edges(finite: Array, distinct: Array) -> Array:
    """Between which the intervals lie. Few values have one each; others as many rows each."""
    low, high = float(distinct[0]), float(distinct[-1])
    if len(distinct) <= QUANTILES:
        middles = distinct[:-1] / 2 + distinct[1:] / 2
        step = float(np.diff(distinct).min()) / 2 if len(distinct) > 1 else max(abs(low), 1.0) * 1e-6
        return _finite(np.concatenate(([low - step], middles, [high + step])))
    places = np.arange(1, QUANTILES) * len(finite) // QUANTILES
    edges = finite[places]
    # Where many rows have the same value, or the highest, what is just above it is something else.
    often = np.append(edges[:-1][edges[1:] == edges[:-1]], edges[edges == high])
    with np.errstate(over="ignore"):
        return _finite(np.concatenate((edges, np.nextafter(often, np.inf))))


def _finite(edges: Array) -> Array:
    limits = np.finfo(np.float64)
    held: Array = np.clip(edges, limits.min, limits.max)
    return held


def _centers(there: Array, edges: Array, below: Array) -> tuple[float, ...]:
    """The mean of the rows in each interval; where there are none, the edge beside it."""
    made = []
    for place, (low, high) in enumerate(pairwise(below)):
        inside = there[low:high]
        inside = inside[np.isfinite(inside)]
        with np.errstate(all="ignore"):
            center = float(inside.mean()) if len(inside) else np.nan
        nearest = float(edges[min(place, len(edges) - 1)])
        made.append(center if np.isfinite(center) else nearest)
    return tuple(made)
