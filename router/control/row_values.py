"""What is known of a tensor when nobody knows how many rows there are: sizes as products, and where the rows lie.

A tensor is one of three. `Plain` holds nothing of the batch: it is the same whatever rows, and however many of them,
are in the run. `Rows` holds the batch along one axis. `Count` holds numbers of which at least one is the count of
rows times something; it may become a shape and nothing else.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

Array = np.ndarray[Any, Any]


class RowsMix(Exception):
    """The rules cannot show that rows stay apart; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Size:
    """A size as a product: `factor` times symbols. Two equal sizes are the same number in every run."""

    factor: int
    symbols: tuple[str, ...] = ()

    def __mul__(self, other: Size) -> Size:
        return Size(self.factor * other.factor, tuple(sorted(self.symbols + other.symbols)))

    def over(self, other: Size) -> Size | None:
        """This size divided by `other`, or None when that is not again a product."""
        left = Counter(self.symbols)
        left.subtract(other.symbols)
        if other.factor == 0 or self.factor % other.factor or any(count < 0 for count in left.values()):
            return None
        return Size(self.factor // other.factor, tuple(sorted(left.elements())))

    @property
    def number(self) -> int | None:
        """The size itself, when it is a plain number."""
        return None if self.symbols else self.factor

    @property
    def counts_rows(self) -> bool:
        """Whether the count of rows is a factor."""
        return BATCH_SYMBOL in self.symbols


BATCH_SYMBOL: Final = "*"
BATCH: Final = Size(1, (BATCH_SYMBOL,))
ONE: Final = Size(1)

Element = Size | None
"""One number of a tensor; None is unknown, yet the same whatever the batch."""

Shape = tuple[Size, ...]


def product(sizes: Iterable[Size]) -> Size:
    """All sizes multiplied; ONE for none."""
    return math.prod(sizes, start=ONE)


@dataclass(frozen=True, slots=True)
class Plain:
    """The same for every batch. `shape` is None when even the rank is unknown.

    `elements` are the numbers of a short whole-numbered scalar or vector; `array` is the value of a constant.
    """

    shape: Shape | None
    elements: tuple[Element, ...] | None = None
    array: Array | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """The batch along `axis`, whose size is before × rows × after: entry (b, i, a) belongs to row i.

    `before` and `after` are ONE until a Reshape merges the batch with a neighbouring axis.
    """

    shape: Shape
    axis: int
    before: Size = ONE
    after: Size = ONE

    @staticmethod
    def at(axis: int, shape: Iterable[Size], before: Size = ONE, after: Size = ONE) -> Rows:
        """The batch at `axis` of `shape`, whose own entry there is replaced."""
        sizes = list(shape)
        sizes[axis] = before * BATCH * after
        return Rows(tuple(sizes), axis, before, after)

    def like(self, axis: int, shape: Iterable[Size]) -> Rows:
        """The same part of the batch at `axis` of another shape."""
        return Rows.at(axis, shape, self.before, self.after)

    @property
    def extent(self) -> Size:
        """The size of the batch's axis."""
        return self.shape[self.axis]

    @property
    def whole(self) -> bool:
        """Whether the axis is the batch alone."""
        return self.extent == BATCH


@dataclass(frozen=True, slots=True)
class Count:
    """Whole numbers, some of them a count of rows: a scalar (`shape` is empty) or a vector."""

    shape: Shape
    elements: tuple[Element, ...]


Value = Plain | Rows | Count


def numbers(shape: Shape, elements: Sequence[Element]) -> Plain | Count:
    """A scalar or vector of known numbers."""
    if any(element is not None and element.counts_rows for element in elements):
        return Count(shape, tuple(elements))
    return Plain(shape, tuple(elements))


def constant(array: Array) -> Plain:
    """A constant of the graph, of which only a small one is kept."""
    shape = tuple(Size(size) for size in array.shape)
    if array.size > SMALL:
        return Plain(shape)
    whole = array.ndim <= 1 and array.dtype.name in {"int64", "int32", "bool"}
    return Plain(shape, tuple(Size(int(item)) for item in array.flat) if whole else None, array)


SMALL: Final = 64
"""Constants of more elements are never a shape, an axis or a scale that a rule has to read."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator with what is known of its inputs. `fresh` gives sizes that are unknown but fixed per row."""

    operator: str
    domain: str
    version: int
    name: str
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    used: tuple[bool, ...]
    fresh: Iterator[Size]

    def refusal(self, why: str) -> RowsMix:
        """That rows may mix here, to be raised. `why` is completed by the node's place."""
        return RowsMix(f"{why} at {self.name}")

    def given(self, index: int) -> bool:
        """Whether the input is there at all."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """The input, which must be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise self.refusal(f"input {index} of {self.operator} is missing")
        return value

    def plain(self, index: int) -> Plain:
        """The input, which must be the same whatever the batch."""
        value = self.value(index)
        match value:
            case Plain():
                return value
            case Count():
                raise self.refusal(f"the size of the batch is used as data by {self.operator}")
            case Rows():
                raise self.refusal(f"input {index} of {self.operator} is made from the rows")

    def rows(self, index: int) -> Rows:
        """The input, which must hold the batch."""
        value = self.value(index)
        match value:
            case Rows():
                return value
            case Count():
                raise self.refusal(f"the size of the batch is used as data by {self.operator}")
            case Plain():
                raise self.refusal(
                    f"input {index} of {self.operator} is the same for all rows and cannot follow the batch"
                )

    def samples(self, index: int) -> Rows:
        """The input, which must hold the batch along axis 0, where the operator keeps samples apart."""
        value = self.rows(index)
        if value.axis != 0:
            raise self.refusal(
                f"{self.operator} keeps entries apart along axis 0 only, and the batch is axis {value.axis}"
            )
        return value

    def all_plain(self, start: int) -> None:
        """Demand that every given input from `start` on is the same whatever the batch."""
        for index in range(start, len(self.inputs)):
            if self.given(index):
                self.plain(index)

    def constants(self, index: int) -> tuple[Element, ...] | None:
        """The numbers of an input that must not come from the rows; None when unknown or the input is not there."""
        return self.plain(index).elements if self.given(index) else None

    def axis(self, rank: int, default: int, name: str = "axis") -> int:
        """An axis attribute, counted from the front."""
        axis = int(self.attributes.get(name, default))
        return axis + rank if axis < 0 else axis

    def axes(self, index: int, rank: int) -> tuple[int, ...] | None:
        """Axes from the attribute or from input `index`, counted from the front; None when none are given."""
        if "axes" in self.attributes:
            found = tuple(int(axis) for axis in self.attributes["axes"])
        elif not self.given(index):
            return None
        else:
            found = self.whole_numbers(index)
        return tuple(axis + rank if axis < 0 else axis for axis in found)

    def whole_numbers(self, index: int) -> tuple[int, ...]:
        """The numbers of a constant input; refused when they are not known."""
        found: list[int] = []
        for element in self.constants(index) or (None,):
            if element is None or element.number is None:
                if self.plain(index).shape == (Size(0),):
                    return ()
                raise self.refusal(f"input {index} of {self.operator} is not a constant")
            found.append(element.number)
        return tuple(found)

    def keep_off(self, value: Rows, axes: Iterable[int]) -> None:
        """Refuse when the operator works along the axis that holds the batch."""
        if value.axis in axes:
            raise self.refusal(f"{self.operator} works over the batch axis")

    def unknown(self, count: int) -> Shape:
        """So many sizes of which nothing is known."""
        return tuple(next(self.fresh) for _ in range(count))


def broadcast_sizes(node: Node, shapes: Iterable[Shape]) -> list[Size]:
    """The sizes of a broadcast, aligned from the right."""
    shapes = list(shapes)
    out: list[Size] = []
    for right in range(1, max((len(shape) for shape in shapes), default=0) + 1):
        size = ONE
        for shape in shapes:
            if len(shape) < right or shape[-right] in {ONE, size}:
                continue
            other = shape[-right]
            if size == ONE or (other.number or 1) > 1:
                size = other
            elif (size.number or 1) == 1:
                size = next(node.fresh)
        out.append(size)
    return out[::-1]


def broadcast(node: Node, values: Iterable[Value]) -> Rows:
    """The rows of an elementwise operator (ONNX "multidirectional broadcasting"); at least one input holds rows."""
    places: dict[tuple[int, Size, Size], Rows] = {}
    shapes: list[Shape] = []
    for value in values:
        if isinstance(value, Count):
            raise node.refusal(f"the size of the batch is used as data by {node.operator}")
        if value.shape is None:
            raise node.refusal(f"{node.operator} meets a tensor of unknown rank")
        shapes.append(value.shape)
        if isinstance(value, Rows):
            places[len(value.shape) - value.axis, value.before, value.after] = value
    if len(places) != 1:
        raise node.refusal(f"{node.operator} lines the batch axis of one input up with another axis of the other")
    ((right, before, after),) = places
    for shape in shapes:
        if len(shape) >= right and shape[-right] != ONE and shape[-right] != before * BATCH * after:
            raise node.refusal(f"{node.operator} lines a fixed axis up with the batch axis")
    sizes = broadcast_sizes(node, shapes)
    return Rows.at(len(sizes) - right, sizes, before, after)


Rule = Callable[[Node], tuple[Rows, ...]]
"""What an operator makes of the rows: one value for each output, or RowsMix."""
