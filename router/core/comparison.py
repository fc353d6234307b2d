"""Two versions on the same input: do they say the same, and how far apart are their numbers?

What can agree is a *label* (an output of integers, texts or truth values) or, where a model has no labels, the largest
of a row's *scores* (a floating output of two dimensions). Other floating outputs are *numbers*: they are judged only
with a tolerance, or by how much the champion's numbers vary (`Measure`). How far apart floating elements are is counted
for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from router.core.contract import FLOATING
from router.core.gate import Distribution
from router.core.tensor import TensorSpec

Array = np.ndarray[Any, Any]

BOUNDS: Final[tuple[float, ...]] = (0.0, *(10.0 ** (power / 2) for power in range(-18, 13)))
"""Of differences: half powers of ten from 1e-9 to 1e6; the last bucket takes the rest."""
_INNER: Final = np.array(BOUNDS[1:-1])
PENDING: Final = 64
"""Runs that are compared at once: a look at an array costs much the same, whatever its size."""


SPREADS: Final = 0.25
"""Without a tolerance a number agrees that is within so many standard deviations of the champion's numbers,"""
NOISE: Final = 1e-4
"""or within this share of the champion's: where its numbers hardly vary, rounding is no difference."""
ADDED_UP: Final = 0.01
"""So far from 1 the sum of scores may be that are shares."""
_LARGEST: Final = 1e140
"""Beyond it a number counts as this one: squares are still numbers then."""


class Measure(StrEnum):
    """Where there is no tolerance: whose numbers say how far apart two may be and still agree.

    Those of the champion, whose outputs are theirs. Of a canary's control, which is the old champion, they are ours:
    then it is theirs that are held against ours, in all that is judged.
    """

    NOBODY = ""
    THEIRS = "theirs"
    OURS = "ours"


class Kind(StrEnum):
    """What an output says."""

    LABEL = "label"
    SCORES = "scores"
    NUMBERS = "numbers"


@dataclass(frozen=True, slots=True)
class OutputFigures:
    """How one output of a version compares with the champion's.

    Of `compared` rows, which could be judged, `agreed` say the same. `absolute` and `relative` count elements by how
    far apart they are, as `BOUNDS` says; `apart` is the sum of the finite absolute differences of `elements` elements.
    `within` is how far apart numbers may be and agree, where that comes from how much they vary (a quarter of the
    standard deviation so far: each row was judged by that of its time); 0 where it does not.
    """

    name: str
    kind: Kind
    compared: int = 0
    agreed: int = 0
    absolute: tuple[int, ...] = ()
    relative: tuple[int, ...] = ()
    apart: float = 0.0
    elements: int = 0
    within: float = 0.0


class _Spread:
    """The standard deviation of numbers that come by and by, over all places of an output.

    Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances (1979).
    """

    __slots__ = ("_count", "_mean", "_squares")

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = 0.0

    def add(self, values: Array) -> None:
        """What is not finite says nothing."""
        finite = np.clip(values[np.isfinite(values)], -_LARGEST, _LARGEST)
        if not finite.size:
            return
        mean = float(finite.mean())
        apart, count = mean - self._mean, self._count + finite.size
        self._squares += float(((finite - mean) ** 2).sum()) + apart * apart * self._count * finite.size / count
        self._mean += apart * finite.size / count
        self._count = count

    @property
    def value(self) -> float:
        """0 while there are not two."""
        return math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else 0.0


class _Output:
    """What is counted of one output."""

    __slots__ = ("absolute", "agreed", "apart", "compared", "elements", "kind", "relative", "spec", "spread")

    def __init__(self, spec: TensorSpec, kind: Kind) -> None:
        self.spec = spec
        self.kind = kind
        self.compared = self.agreed = self.elements = 0
        self.apart = 0.0
        self.spread = _Spread()
        self.absolute = np.zeros(len(BOUNDS) - 1, np.int64)
        self.relative = np.zeros(len(BOUNDS) - 1, np.int64)


class Comparison:
    """Counts how a version's outputs, which `specs` describe, differ from the champion's.

    A number agrees that differs from the champion's by at most the share `tolerance` of it. Without one, and where
    neither a label nor scores are judged, `measure` says whose numbers tell how far apart they may be. It also says
    who is the champion: with `OURS` the version is, and the others are held against it.
    """

    def __init__(
        self, specs: Sequence[TensorSpec], tolerance: float | None = None, measure: Measure = Measure.NOBODY
    ) -> None:
        labels = any(spec.datatype not in FLOATING for spec in specs)
        self._outputs = {spec.name: _Output(spec, _kind(spec, labels)) for spec in specs}
        self._tolerance = tolerance
        self._ours = measure is Measure.OURS
        self._varying = measure is not Measure.NOBODY and tolerance is None and not self.judged
        self._pending: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = []

    @property
    def judged(self) -> str:
        """The output that says the class of a row: the first label, else the first scores; empty without either."""
        kinds = {output.kind: name for name, output in reversed(self._outputs.items())}
        return kinds.get(Kind.LABEL) or kinds.get(Kind.SCORES) or ""

    def classes(self, name: str, output: Array) -> list[Any]:
        """What an output says of each row."""
        one_each = output.ndim == 1 or self._outputs[name].kind is not Kind.SCORES
        said: list[Any] = (output if one_each else output.argmax(1)).tolist()
        return said

    def add(self, theirs: Mapping[str, Array], ours: Mapping[str, Array]) -> str:
        """The champion's outputs of one run, and the version's. What is wrong if they cannot be compared, or empty.

        Where the version is the champion, an output that only the others have is an addition: it says nothing.
        """
        for name, their in theirs.items():
            if self._ours and name not in self._outputs:
                continue
            our = ours.get(name)
            if our is None or name not in self._outputs:
                return f"output '{name}' is missing"
            if their.shape != our.shape:
                shape, champions = (their.shape, our.shape) if self._ours else (our.shape, their.shape)
                return f"output '{name}' has shape {list(shape)}, the champion's {list(champions)}"
            if (their.dtype.kind == "O") != (our.dtype.kind == "O"):
                return f"output '{name}' is text in one version and not in the other"
        self._pending.append((theirs, ours))
        if len(self._pending) >= PENDING:
            self._count()
        return ""

    def unlike(self, names: Iterable[str], rows: int) -> None:
        """So many rows of these outputs cannot be compared, and that is a difference: where outputs can be judged."""
        for name in names:
            output = self._outputs.get(name)
            if output is not None and (output.kind is not Kind.NUMBERS or self._tolerance is not None or self._varying):
                output.compared += rows

    def figures(self) -> tuple[OutputFigures, ...]:
        """What has been counted so far."""
        self._count()
        return tuple(
            OutputFigures(
                each.spec.name,
                each.kind,
                each.compared,
                each.agreed,
                tuple(each.absolute.tolist()),
                tuple(each.relative.tolist()),
                each.apart,
                each.elements,
                SPREADS * each.spread.value,
            )
            for each in self._outputs.values()
        )

    def _count(self) -> None:
        pending, self._pending = self._pending, []
        for name, output in self._outputs.items():
            alike: dict[tuple[int, ...] | None, list[tuple[Array, Array]]] = {}
            for theirs, ours in pending:
                if name in theirs:
                    their, our = theirs[name], ours[name]
                    alike.setdefault(their.shape[1:] if their.shape else None, []).append((their, our))
            for pairs in alike.values():
                joined = np.atleast_1d if not pairs[0][0].shape else np.asarray
                self._compare(
                    output,
                    np.concatenate([joined(their) for their, _ in pairs]),
                    np.concatenate([joined(our) for _, our in pairs]),
                )

    def _compare(self, output: _Output, theirs: Array, ours: Array) -> None:
        """Rows of one output, all of one shape."""
        rows = len(theirs)
        if not theirs.size:
            return
        if output.kind is Kind.LABEL:
            output.compared += rows
            output.agreed += int((theirs == ours).reshape(rows, -1).all(1).sum())
            return
        theirs, ours = theirs.astype(np.float64), ours.astype(np.float64)
        champion, other = (ours, theirs) if self._ours else (theirs, ours)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            apart = np.abs(ours - theirs)
            apart[(theirs == ours) | (np.isnan(theirs) & np.isnan(ours))] = 0.0  # two infinities too
            apart[np.isnan(apart)] = np.inf
            relative = apart / np.abs(champion)
            relative[apart == 0.0] = 0.0
            relative[np.isnan(relative)] = np.inf
            output.apart += float(apart[np.isfinite(apart)].sum())
        output.absolute += _counted(apart)
        output.relative += _counted(relative)
        output.elements += apart.size
        if output.kind is Kind.SCORES and theirs.shape[1] > 1:
            output.compared += rows
            best = theirs.argmax(1) == ours.argmax(1)
            output.agreed += int((best & (~_shares(champion) | _shares(other))).sum())
        elif self._tolerance is not None:
            output.compared += rows
            output.agreed += int((relative <= self._tolerance).reshape(rows, -1).all(1).sum())
        elif self._varying:
            output.spread.add(champion)
            alike = (apart <= SPREADS * output.spread.value) | (relative <= NOISE)
            output.compared += rows
            output.agreed += int(alike.reshape(rows, -1).all(1).sum())


def _kind(spec: TensorSpec, labels: bool) -> Kind:
    if spec.datatype not in FLOATING:
        return Kind.LABEL
    return Kind.SCORES if not labels and len(spec.shape) == 2 and spec.shape[1] != 1 else Kind.NUMBERS


def _shares(scores: Array) -> Array:
    """Which rows of scores are shares, that add up to 1: a version whose scores are none any more has another best
    class only by chance."""
    with np.errstate(invalid="ignore", over="ignore"):
        together = np.abs(scores.sum(1) - 1.0) <= ADDED_UP
        return np.asarray(together & (scores >= -ADDED_UP).all(1))


def _counted(values: Array) -> Array:
    return np.bincount(np.searchsorted(_INNER, values.ravel(), side="right"), minlength=len(BOUNDS) - 1)


def differences(name: str, counts: Sequence[int]) -> Distribution:
    """For people: counts by `BOUNDS`, the empty upper end cut off. What is equal stands in the first bucket."""
    used = [place for place, count in enumerate(counts) if count]
    last = used[-1] if used else -1
    return Distribution(name, "", BOUNDS[: last + 2] if used else (), tuple(counts[: last + 1]))


def summed(before: Sequence[OutputFigures], since: Sequence[OutputFigures]) -> tuple[OutputFigures, ...]:
    """The figures of two stretches of one comparison, by output; `within` is that of the later one."""
    made = {each.name: each for each in before}
    for each in since:
        was = made.get(each.name)
        if was is not None:
            made[each.name] = OutputFigures(
                each.name,
                each.kind,
                was.compared + each.compared,
                was.agreed + each.agreed,
                added(was.absolute, each.absolute),
                added(was.relative, each.relative),
                was.apart + each.apart,
                was.elements + each.elements,
                each.within or was.within,
            )
        else:
            made[each.name] = each
    return tuple(made.values())


def added(some: Sequence[int], others: Sequence[int]) -> tuple[int, ...]:
    """Counts by the same bounds, bucket by bucket; one of them may have none yet."""
    return tuple([one + other for one, other in zip_longest(some, others, fillvalue=0)])
