"""What versions under trial are given: the exam's rows, golden inputs, or made-up ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router.control.example_file import Golden
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]

EXAM: Final = "the exam"
GOLDEN: Final = "golden inputs"
MADE_UP_INPUT: Final = "made-up input"
"""Where rows come from."""
FREE_SIZES: Final = (4, 1, 2, 3, 8, 16, 32, 64, 224)
"""What free dimensions other than the rows are set to, tried in this order."""
CEILINGS: Final = (10, 2, 1)
"""What made-up whole numbers stay below: they may be places in a short table."""
ELEMENTS_LIMIT: Final = 4 << 20
"""No made-up input of one row is larger."""
MADE_UP: Final = 64
"""Rows that are made up."""
LONG_TEXT: Final = "long " * 13_000
WORDS: Final = ("a", "1", "cat", "The Fox", "0.5")


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs by name, stacked. `whole`: an entry is all of an input, else it is a row of one.

    `joinable`: several rows may be given at once. `source` names them for a person.
    """

    source: str
    inputs: Mapping[str, Array]
    joinable: bool
    whole: bool

    def __len__(self) -> int:
        return min((len(array) for array in self.inputs.values()), default=1)

    def part(self, at: int, until: int) -> Feeds:
        """Rows from `at` to before `until`; one only where they are not joinable."""
        if self.whole:
            return {name: array[at : at + 1].reshape(array.shape[1:]) for name, array in self.inputs.items()}
        return {name: array[at:until] for name, array in self.inputs.items()}

    def one(self, at: int) -> Feeds:
        """One row; of more than there are, the first ones again."""
        place = at % len(self)
        return self.part(place, place + 1)

    def several(self, count: int, start: int = 0) -> Feeds:
        """So many rows at once, the first ones again where there are fewer."""
        picks = np.arange(start, start + count) % len(self)
        return {name: array[picks] for name, array in self.inputs.items()}


def given(signature: Signature) -> tuple[TensorSpec, ...]:
    """The inputs that have to be given."""
    return tuple(spec for spec in signature.inputs if not spec.optional)


def joinable(signature: Signature) -> bool:
    """Whether everything has a free first dimension."""
    specs = (*given(signature), *signature.outputs)
    return bool(given(signature)) and all(spec.shape[:1] == (ANY,) for spec in specs)


def row_wise(signature: Signature) -> bool:
    """Whether every input has a first dimension that may be 1."""
    return all(spec.shape and spec.shape[0] in (ANY, 1) for spec in given(signature))


def of_exam(inputs: Mapping[str, Array], signature: Signature) -> Rows:
    """The exam's rows."""
    return Rows(EXAM, inputs, joinable(signature), whole=False)


def of_golden(files: Sequence[Golden], signature: Signature) -> Rows | None:
    """The rows of the first golden file; None without one."""
    if not files:
        return None
    inputs = files[0].inputs
    sizes = {len(array) for array in inputs.values() if array.ndim}
    if inputs and row_wise(signature) and len(sizes) == 1 and sizes != {0}:
        return Rows(GOLDEN, inputs, joinable(signature), whole=False)
    return Rows(GOLDEN, {name: array[None] for name, array in inputs.items()}, joinable=False, whole=True)


def made_up(signature: Signature, seed: int = 0) -> Iterator[Rows]:
    """Made-up rows, one set after another, until one runs: numbers around 0, small whole ones, words."""
    specs = given(signature)
    whole = not row_wise(signature)
    for free in FREE_SIZES if any(ANY in spec.shape[1:] for spec in specs) or whole else FREE_SIZES[:1]:
        for ceiling in CEILINGS:
            random = np.random.default_rng(seed)
            inputs: Feeds = {}
            for spec in specs:
                shape = tuple(free if size == ANY else size for size in spec.shape)
                if not whole:
                    shape = shape[1:]
                elif spec.shape[:1] == (ANY,):
                    shape = (1, *shape[1:])
                elements = float(np.prod([float(size) for size in shape]))
                if elements > ELEMENTS_LIMIT:
                    break
                count = MADE_UP if elements * MADE_UP <= ELEMENTS_LIMIT else 2
                inputs[spec.name] = _drawn(spec, (count, *shape), ceiling, random)
            else:
                yield Rows(MADE_UP_INPUT, inputs, joinable(signature), whole)


def _drawn(spec: TensorSpec, shape: tuple[int, ...], ceiling: int, random: np.random.Generator) -> Array:
    if spec.datatype == BYTES:
        return random.choice(np.array(WORDS[: 2 if ceiling < 10 else None], object), shape)
    dtype = DTYPES[spec.datatype]
    if dtype.kind in "biu":
        return random.integers(0, min(ceiling, 2) if dtype.kind == "b" else ceiling, shape).astype(dtype)
    return random.standard_normal(shape).astype(dtype)


def edges(rows: Rows) -> Iterator[tuple[str, Feeds]]:
    """Single inputs that are at the edge of what is usual, with what is special about them."""
    base = rows.one(0)
    yield "zeros", {name: _filled(array, 0, "") for name, array in base.items()}
    if rows.source == MADE_UP_INPUT:
        yield "ordinary made-up input", base
        return
    for what, pick in (("the least of each number", np.min), ("the greatest of each number", np.max)):
        inputs = {
            name: array if array.dtype.kind == "O" else _end(array, rows.inputs[name], pick)
            for name, array in base.items()
        }
        yield f"{what} in {rows.source}", inputs


def _end(one: Array, every: Array, pick: Any) -> Array:
    """Of each number of a row the least or the greatest of all rows, in the row's own shape."""
    ends: Array = pick(np.asarray(every, np.float64) if every.dtype.kind == "V" else every, axis=0)
    return np.asarray(ends).astype(one.dtype).reshape(one.shape)


def extremes(rows: Rows) -> Iterator[tuple[str, Feeds]]:
    """Inputs that nobody should send: each kind alone, and in company where rows are joinable."""
    kinds = {array.dtype.kind for array in rows.inputs.values()}
    floating, whole, texts = bool(kinds & set("fV")), bool(kinds & set("iu")), "O" in kinds
    fills: list[tuple[str, Any, str]] = []
    if floating:
        fills += [("NaN", np.nan, "NaN"), ("infinity", np.inf, "inf"), ("minus infinity", -np.inf, "-inf")]
    fills.append(("zeros and empty texts" if texts else "zeros", 0, ""))
    if floating or whole:
        fills += [("the greatest numbers", "max", "9" * 400), ("the least numbers", "min", "-" + "9" * 400)]
    if texts:
        fills += [("long texts", 0, LONG_TEXT), ("control characters", 0, "\x01\n\x7f\u202e\U0010ffff")]
    for what, number, text in fills:
        yield what, {name: _filled(array, number, text) for name, array in rows.one(0).items()}
        if rows.joinable:
            company = rows.several(4)
            for array in company.values():
                array[1] = _filled(array[1:2], number, text)[0]
            yield f"{what} beside ordinary rows", company
    if rows.joinable:
        yield "no rows", {name: array[:0] for name, array in rows.inputs.items()}


def _filled(array: Array, number: Any, text: str) -> Array:
    """The same shape, all elements the same: the text, or the number as far as the datatype has it."""
    if array.dtype.kind == "O":
        return np.full(array.shape, text, object)
    kind = array.dtype.kind
    if number in ("max", "min"):
        if kind == "b":
            return np.full(array.shape, number == "max")
        limits = np.iinfo(array.dtype) if kind in "iu" else _floats(array.dtype)
        return np.full(array.shape, limits.max if number == "max" else limits.min, array.dtype)
    if kind in "biu" and not np.isfinite(number):
        return array.copy()
    return np.full(array.shape, number, array.dtype)


def _floats(dtype: np.dtype[Any]) -> Any:
    import ml_dtypes  # noqa: PLC0415  # numpy's own does not know bfloat16

    return ml_dtypes.finfo(dtype)
