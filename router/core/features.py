"""What of a model's rows is looked at: a column for each feature, whatever the tensors are.

An input or output of few elements is a feature for each of them. One of many is summarised row by row, and scores for
classes are the best class and its score: what drifts there is seen in these, at a cost that does not grow.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from router.core.tensor import ANY, TensorSpec

Array = np.ndarray[Any, Any]

MOST_ELEMENTS: Final = 256
"""Of a row of a tensor: with more of them the row is summarised."""
MOST_FEATURES: Final = 512
"""Of one model."""
MOST_OUTPUTS: Final = 64
"""Of these, kept for its outputs."""
TEXT: Final = 64
"""Bytes by which texts are told apart."""
NAME: Final = 200
"""Characters of a feature's name."""
ROUNDED: Final = 0.01
"""Scores of all classes add up to one but for so much: some models answer in half precision."""


class Take(StrEnum):
    """What a column takes of a row of its tensor."""

    ELEMENT = "element"
    MEAN = "mean"
    DEVIATION = "deviation"
    """The standard deviation of the row's elements."""
    LENGTH = "length"
    """Of a text, in bytes."""
    BEST = "best"
    """The place of the highest score."""
    SCORE = "score"
    """The highest score."""


@dataclass(frozen=True, slots=True)
class Column:
    """One feature. `place` is the element's, in the order of the row; `text`: its values are texts.

    `whole`: they are whole numbers, or stand for classes.
    """

    name: str
    tensor: str
    take: Take
    place: int = 0
    text: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Cells:
    """Rows as columns. `numbers` is [rows, features], NaN where a value is missing and where the feature is a text;
    `texts` has the values of those by the feature's place, cut to `TEXT` bytes, empty where missing."""

    numbers: Array
    texts: Mapping[int, Sequence[bytes]]

    def __len__(self) -> int:
        return len(self.numbers)


def joined(cells: Sequence[Cells]) -> Cells:
    """All rows of several, which have the same columns."""
    texts = {place: [each for one in cells for each in one.texts[place]] for place in cells[0].texts}
    return Cells(np.concatenate([each.numbers for each in cells]), texts)


def free_sizes(specs: Sequence[TensorSpec], seen: Iterable[Mapping[str, Array]] = ()) -> frozenset[str]:
    """The tensors whose rows are not all of one size: they are summarised. With those of which a request is one row,
    however many it has, as it was `seen`."""
    free = {spec.name for spec in specs if ANY in spec.shape[1:]}
    sizes = {spec.name: math.prod(spec.shape[1:]) for spec in specs if spec.shape[:1] == (ANY,)}
    for tensors in seen:
        free |= {name for name, each in tensors.items() if name in sizes and math.prod(each.shape[1:]) != sizes[name]}
    return frozenset(free)


class Layout:
    """Which columns the tensors of one side have. Raises nothing: what does not fit a column is missing there."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.texts = tuple(place for place, each in enumerate(columns) if each.text)
        parts: dict[tuple[str, Take, bool], list[int]] = {}
        for place, each in enumerate(self.columns):
            parts.setdefault((each.tensor, each.take, each.text), []).append(place)
        self._parts = [
            (*key, np.array(targets), np.array([self.columns[each].place for each in targets]))
            for key, targets in parts.items()
        ]

    def cells(self, tensors: Mapping[str, Array], rows: int) -> Cells:
        """The columns of so many rows; the rows are the first axis of each tensor."""
        numbers = np.full((rows, len(self.columns)), np.nan)
        texts: dict[int, Sequence[bytes]] = {}
        flat: dict[str, Array] = {}
        for tensor, take, text, targets, places in self._parts:
            if tensor not in flat and tensor in tensors:
                flat[tensor] = _rows(tensors[tensor], rows)
            values = flat.get(tensor)
            if text:
                for target, place in zip(targets.tolist(), places.tolist(), strict=True):
                    texts[target] = _texts(values, place, rows)
            elif values is not None:
                _put(numbers, values, take, targets, places)
        return Cells(numbers, texts)


def _rows(array: Array, rows: int) -> Array:
    """As [rows, elements]; what has another number of rows has none."""
    if array.ndim == 0 or len(array) != rows:
        return np.empty((rows, 0))
    return array.reshape(rows, -1)


def _texts(values: Array | None, place: int, rows: int) -> Sequence[bytes]:
    if values is None or place >= values.shape[1] or not _is_text(values):
        return [b""] * rows
    return [_bytes(each)[:TEXT] for each in values[:, place].tolist()]


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else b""


def _is_text(values: Array) -> bool:
    return values.dtype.kind in "OSUT"


def _numbers(values: Array) -> Array:
    made: Array = values.astype(np.float64)
    return made


def _put(numbers: Array, values: Array, take: Take, targets: Array, places: Array) -> None:
    """Fill in the columns of one tensor that take the same of it."""
    if take is Take.LENGTH:
        if _is_text(values):
            there = places < values.shape[1]
            for target, place in zip(targets[there].tolist(), places[there].tolist(), strict=True):
                lengths = [len(_bytes(each)) for each in values[:, place].tolist()]
                numbers[:, target] = [each or np.nan for each in lengths]
        return
    if _is_text(values):
        if take in {Take.MEAN, Take.DEVIATION} and values.shape[1]:
            sizes = np.array([[len(_bytes(each)) for each in row] for row in values.tolist()], np.float64)
            numbers[:, targets[0]] = sizes.mean(axis=1) if take is Take.MEAN else sizes.std(axis=1)
        return
    if not values.shape[1]:
        return
    with np.errstate(all="ignore"):
        if take is Take.ELEMENT:
            there = places < values.shape[1]
            numbers[:, targets[there]] = _numbers(values[:, places[there]])
            return
        whole = _numbers(values)
        match take:
            case Take.MEAN:
                made = whole.mean(axis=1)
            case Take.DEVIATION:
                made = whole.std(axis=1)
            case Take.BEST:
                made = np.where(np.isnan(whole).any(axis=1), np.nan, whole.argmax(axis=1))
            case _:
                made = whole.max(axis=1)
    numbers[:, targets[0]] = made


# ---- which columns there are ----


def columns(
    tensors: Mapping[str, Array],
    free: Collection[str] = (),
    names: Mapping[str, Sequence[str]] | None = None,
    ignore: Collection[str] = (),
    *,
    outputs: bool = False,
) -> tuple[list[Column], list[str]]:
    """The columns for tensors such as these, and what should be known of them, each a line.

    `names` are those of elements, by tensor; `ignore` names features and tensors that are left out. Rows of a tensor in
    `free` are not all of one size.
    """
    made: list[Column] = []
    notes: list[str] = []
    for name, array in tensors.items():
        if name in ignore or array.ndim == 0:
            continue
        given = (names or {}).get(name, ())
        made += _columns(name, array, name in free, given, notes, outputs=outputs)
    made = [each for each in made if each.name not in ignore]
    most = MOST_OUTPUTS if outputs else MOST_FEATURES - MOST_OUTPUTS
    if len(made) > most:
        notes.append(f"{len(made)} features: the first {most} are looked at; `drift.ignore` leaves out others")
    return made[:most], notes


def _columns(
    name: str, array: Array, free: bool, given: Sequence[str], notes: list[str], *, outputs: bool
) -> list[Column]:
    values = array.reshape(len(array), -1) if len(array) else array.reshape(0, int(np.prod(array.shape[1:])))
    elements, text = values.shape[1], _is_text(array)
    if given and (free or elements > MOST_ELEMENTS or len(given) != elements):
        size = "any number of" if free else elements
        notes.append(f"`drift.features` names {len(given)} elements of {name[:NAME]}, which has {size}: not used")
        given = ()
    if outputs and not text and not free and array.ndim == 2 and _are_scores(values):
        return [
            Column(f"class of {name}"[:NAME], name, Take.BEST, whole=True),
            Column(f"score of {name}"[:NAME], name, Take.SCORE),
        ]
    if free or elements > MOST_ELEMENTS:
        return [
            Column(f"mean of {name}"[:NAME], name, Take.MEAN),
            Column(f"deviation of {name}"[:NAME], name, Take.DEVIATION),
        ]
    labels = list(given) or [_label(name, array.shape[1:], place) for place in range(elements)]
    whole = array.dtype.kind in "iub"
    made = [Column(label[:NAME], name, Take.ELEMENT, place, text, whole) for place, label in enumerate(labels)]
    if text:
        made += [Column(f"length of {label}"[:NAME], name, Take.LENGTH, place) for place, label in enumerate(labels)]
    return made


def _label(name: str, shape: tuple[int, ...], place: int) -> str:
    """`x[3]`, `x[1,2]`, or `x` where a row has one element."""
    if int(np.prod(shape)) == 1:
        return name
    return f"{name}[{','.join(str(int(each)) for each in np.unravel_index(place, shape))}]"


def _are_scores(values: Array) -> bool:
    """Whether each row has a share for each class."""
    if values.shape[1] < 2 or not len(values) or values.dtype.kind in "iub":
        return False
    with np.errstate(all="ignore"):
        whole = _numbers(values)
        good = whole[np.isfinite(whole).all(axis=1)]
        return bool(len(good) and (good >= -ROUNDED).all() and (np.abs(good.sum(axis=1) - 1.0) <= ROUNDED).all())
