"""Whether rows answer the same in company as alone, by running a model on made-up rows.

The counterpart of `rows`, which reads the graph: this looks at what the kernels really do. Kernels differ by batch
size, so numbers are compared with a tolerance: relative and absolute per datatype, widened where a change of the
input by a few roundings already changes the answer of the same row alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.core.tolerance import ABSOLUTE, RELATIVE, distance, largest

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]
Run = Callable[[Feeds], list[Array]]

BATCHES: Final = (2, 3, 5, 8, 32)
"""Rows in the trial batches, beside 1."""

FREE_SIZES: Final = (4, 1, 2, 3, 8, 16, 32, 64, 224)
"""What free dimensions other than the batch are set to, tried in this order."""

GIVEN: Final = "given"
"""The kind of rows that nobody made up."""

KINDS: Final = {"normal": 100, "unit": 2, "whole": 10, "large": 1000, "zero": 1}
"""How the numbers of a row are drawn, and what its whole numbers stay below. Neighbours are of different kinds."""

TEXTS: Final = {
    "normal": ["cat", "dog", "tree", "The Fox"],
    "unit": ["0", "1"],
    "whole": [str(number) for number in range(10)],
    "large": ["a long text of many words, far longer than its neighbours", "x" * 100],
    "zero": ["a"],
}
"""What BYTES rows of each kind are drawn from."""

ROWS_PER_KIND: Final = 8
"""40 rows in all, so that the largest batch holds every kind."""

CEILINGS: Final = (1000, 100, 10, 2, 1)
"""A row that does not run is drawn again with smaller whole numbers: they may be places in a short table."""

ENOUGH_ROWS: Final = 8
"""Fewer rows that run prove nothing."""

ROUNDING: Final = {"FP64": 1e-6, "FP32": 1e-6, "FP16": 2e-3, "BF16": 1.6e-2}
"""A change of a float input that is a few roundings of its type (FP64 as FP32, in which many models compute)."""

WIDENED: Final = 8.0
WIDENED_MOST: Final = 0.05
"""So many times the change that roundings of the input make is allowed, up to this share of the scale."""

LABELS_ALLOWED: Final = 0.01
"""This share of rows may change a label, for ties, when the model's float outputs agree."""


def agree(run: Run, signature: Signature, seed: int = 0, given: Sequence[Feeds] = ()) -> str:
    """ "" when each row's outputs are the same alone, in batches, elsewhere in a batch and beside other rows.

    `given` are rows to be tried, each with a first dimension of 1, in the place of made-up ones.

    `run` takes one array for each input that must be given, by name, with the rows along axis 0, and returns the
    outputs in the signature's order; whatever exception it raises counts as a run that failed. Otherwise one line
    that says what differed, or "trial runs failed: …". About 300 rows are run. Raises nothing.
    """
    return _Trial(run, signature, np.random.default_rng(seed), given).verdict()


class _Failed(Exception):
    """A run raised, or gave something that is no answer for its rows. The text says what, for a person."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: what goes in, what comes out alone, and how much roundings of the input change that."""

    kind: str
    feeds: Feeds
    alone: list[Array]
    slack: list[Array]


class _Trial:
    """The trial of one model."""

    def __init__(
        self, run: Run, signature: Signature, random: np.random.Generator, given: Sequence[Feeds] = ()
    ) -> None:
        self._run = run
        self._given = given
        self._inputs = [spec for spec in signature.inputs if not spec.optional]
        self._outputs = signature.outputs
        self._random = random
        types = {spec.datatype for spec in (*self._inputs, *self._outputs)} & RELATIVE.keys()
        self._coarsest = max(types, key=RELATIVE.__getitem__, default="FP32")
        self._compared = 0
        self._labels_changed = dict.fromkeys((spec.name for spec in self._outputs), 0)

    def verdict(self) -> str:
        """Find rows that run alone, then run them together."""
        if not self._inputs or any(not spec.shape for spec in (*self._inputs, *self._outputs)):
            return "trial runs failed: the model has no input, or an input or output without a first dimension"
        try:
            rows = self._rows()
        except _Failed as failed:
            return f"trial runs failed: {failed}"
        scales = self._scales(rows)
        for picks in (*([place] for place in range(min(2, len(rows)))), *self._batches(rows)):
            if why := self._differs(rows, picks, scales):
                return why
        floats_agree = any(spec.datatype in RELATIVE for spec in self._outputs)
        allowed = LABELS_ALLOWED * self._compared if floats_agree else 0.0
        for name, changed in self._labels_changed.items():
            if changed > allowed:
                return f"output `{name}` of {changed} of {self._compared} rows changes with the rows beside it"
        return ""

    def _rows(self) -> list[_Row]:
        """The rows that were given, or rows of all kinds that run alone. Raises _Failed when there are too few."""
        if self._given:
            return [self._measured(GIVEN, feeds) for feeds in self._given]
        failure: _Failed | None = None
        for free in FREE_SIZES:
            rows: list[_Row] = []
            try:
                self._answers(self._made_up("zero", free, 1), 1)
            except _Failed as failed:
                failure = failure or failed
                continue
            ceilings = {kind: tuple(size for size in CEILINGS if size <= top) for kind, top in KINDS.items()}
            for kind in list(KINDS) * ROWS_PER_KIND:
                for place, ceiling in enumerate(ceilings[kind]):
                    try:
                        rows.append(self._tried(kind, free, ceiling))
                    except _Failed as failed:
                        failure = failure or failed
                    else:
                        ceilings[kind] = ceilings[kind][place:]
                        break
                else:
                    ceilings[kind] = ceilings[kind][-1:]
            if len(rows) >= ENOUGH_ROWS:
                return rows
        raise failure or _Failed("no row runs")

    def _made_up(self, kind: str, free: int, ceiling: int) -> Feeds:
        """One row of the kind for every input."""
        return {
            spec.name: self._drawn(
                spec, kind, ceiling, (1, *(free if size == ANY else size for size in spec.shape[1:]))
            )
            for spec in self._inputs
        }

    def _drawn(self, spec: TensorSpec, kind: str, ceiling: int, shape: tuple[int, ...]) -> Array:
        random = self._random
        if spec.datatype == BYTES:
            return random.choice(np.array(TEXTS[kind], dtype=object), shape)
        dtype = DTYPES[spec.datatype]
        if dtype.kind == "b":
            return random.integers(0, 1 if kind == "zero" else 2, shape).astype(dtype)
        if dtype.kind in "iu":
            return random.integers(0, min(ceiling, int(np.iinfo(dtype).max) + 1), shape).astype(dtype)
        match kind:
            case "normal":
                return random.standard_normal(shape).astype(dtype)
            case "unit":
                return random.random(shape).astype(dtype)
            case "whole":
                return random.integers(0, 10, shape).astype(dtype)
            case "large":
                return (random.standard_normal(shape) * 1000.0).astype(dtype)
        return np.zeros(shape, dtype)

    def _tried(self, kind: str, free: int, ceiling: int) -> _Row:
        """A row that has run alone. Raises _Failed when it does not."""
        return self._measured(kind, self._made_up(kind, free, ceiling))

    def _measured(self, kind: str, feeds: Feeds) -> _Row:
        """The same for a row that is there."""
        alone = self._answers(feeds, 1)
        slack = [np.zeros(answer.shape, _slack_type(spec)) for spec, answer in zip(self._outputs, alone, strict=True)]
        if any(spec.datatype in ROUNDING for spec in self._inputs):
            for _ in range(2):
                nearby = self._answers(self._rounded(feeds), 1)
                for spec, known, near, room in zip(self._outputs, alone, nearby, slack, strict=True):
                    if near.shape != known.shape:
                        continue
                    np.maximum(room, distance(spec, near, known), out=room)
        return _Row(kind, feeds, alone, slack)

    def _rounded(self, feeds: Feeds) -> Feeds:
        """The same row, its float numbers a few roundings away."""
        moved = dict(feeds)
        for spec in self._inputs:
            if spec.datatype in ROUNDING:
                array = feeds[spec.name]
                signs = self._random.choice((-1.0, 1.0), array.shape)
                moved[spec.name] = (array.astype(np.float64) * (1.0 + ROUNDING[spec.datatype] * signs)).astype(
                    array.dtype
                )
        return moved

    def _answers(self, feeds: Feeds, count: int) -> list[Array]:
        """The outputs of one run. Raises _Failed when it fails or does not answer each of `count` rows."""
        try:
            outputs = self._run(feeds)
        except Exception as error:  # a foreign runtime: whatever it raises is a run that failed
            raise _Failed(_said(error)) from error
        if len(outputs) != len(self._outputs):
            raise _Failed(f"the model gave {len(outputs)} outputs instead of {len(self._outputs)}")
        for spec, output in zip(self._outputs, outputs, strict=True):
            if not isinstance(output, np.ndarray) or not output.ndim:
                raise _Failed(f"output `{spec.name}` has no first dimension")
            if len(output) != count:
                raise _Failed(f"output `{spec.name}` has {len(output)} entries for {count} rows")
        return outputs

    def _scales(self, rows: Sequence[_Row]) -> list[list[float]]:
        """For each row and output the size of its numbers: its own largest, or what its kind commonly has."""
        own = [[largest(spec, array) for spec, array in zip(self._outputs, row.alone, strict=True)] for row in rows]
        common = {
            kind: np.median([sizes for row, sizes in zip(rows, own, strict=True) if row.kind == kind], axis=0)
            for kind in {row.kind for row in rows}
        }
        return [np.maximum(sizes, common[row.kind]).tolist() for row, sizes in zip(rows, own, strict=True)]

    def _batches(self, rows: Sequence[_Row]) -> Iterator[list[int]]:
        """Which rows run together: all sizes of mixed kinds, each kind by itself, and one batch in three orders."""
        for size in BATCHES:
            for _ in range(2):
                yield self._random.permutation(len(rows))[:size].tolist()
        for kind in KINDS:
            alike = [index for index, row in enumerate(rows) if row.kind == kind]
            if len(alike) > 1:
                yield alike
        order = list(range(min(len(rows), max(BATCHES))))
        yield order
        yield order[::-1]
        yield order[1:] + order[:1]

    def _differs(self, rows: Sequence[_Row], picks: Sequence[int], scales: Sequence[Sequence[float]]) -> str:
        """Run the picked rows together; the reason when one answers otherwise than alone."""
        feeds = {spec.name: np.concatenate([rows[pick].feeds[spec.name] for pick in picks]) for spec in self._inputs}
        try:
            outputs = self._answers(feeds, len(picks))
        except _Failed as failed:
            return f"a batch of {len(picks)} rows that run alone fails: {failed}"
        self._compared += len(picks)
        for index, spec in enumerate(self._outputs):
            for place, pick in enumerate(picks):
                got, alone = outputs[index][place], rows[pick].alone[index][0]
                slack = rows[pick].slack[index][0]
                if got.shape != alone.shape if isinstance(got, np.ndarray) else np.shape(alone) != ():
                    return f"output `{spec.name}` of a row has another shape in a batch of {len(picks)}"
                if spec.datatype not in RELATIVE:
                    self._labels_changed[spec.name] += bool(np.any(distance(spec, got, alone) > slack))
                    continue
                over = distance(spec, got, alone) - self._allowed(alone, slack, scales[pick][index])
                if np.any(over > 0):
                    worst = np.unravel_index(int(np.argmax(over)), np.shape(over))
                    here, there = float(np.asarray(got)[worst]), float(np.asarray(alone)[worst])
                    together = f"in a run of {len(picks)}"
                    return f"output `{spec.name}` of a row is {here:.6g} {together} and was {there:.6g} alone"
        return ""

    def _allowed(self, alone: Array, slack: Array, scale: float) -> Array:
        """How far each number of a row may be off."""
        size = np.abs(np.nan_to_num(np.asarray(alone, np.float64), posinf=0.0, neginf=0.0))
        base = RELATIVE[self._coarsest] * size + ABSOLUTE[self._coarsest] * scale
        return np.maximum(base, np.minimum(WIDENED * slack, WIDENED_MOST * scale))


def _said(error: Exception) -> str:
    """What went wrong, in one line, without the places in the runtime's source."""
    text = re.sub(r"\S*/\S+\.(?:cc|h|cpp)\S*", "", str(error))
    return " ".join(text.split())[:200] or type(error).__name__


def _slack_type(spec: TensorSpec) -> np.dtype[Any]:
    return np.dtype(np.float64 if spec.datatype in RELATIVE else np.bool_)
