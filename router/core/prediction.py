"""A prediction: what one row of a model's output says, small enough to be kept and fit to be compared with what came
true.

A row is what lies at one index of the output's first dimension; an output without dimensions is one row. What it says
is a label (an integer or a text), the place of the highest of its scores, which is a label too, or a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from router.core.interval import share, student
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec
from router.errors import InvalidRequest, SettingsError
from router.model_settings import LedgerSettings

Array = np.ndarray[Any, Any]
Value = int | float | str

MIRROR: Final = "mirror"
"""In the place of who served: nobody was served, a version ran a copy."""
MOST_TEXT: Final = 256
"""Characters of a label or of a request's id; what is longer is not kept."""
_DIGITS: Final = 20
"""Of the largest integer that a label can be."""


class Form(StrEnum):
    """What a row says, and so what may come true."""

    INTEGER = "integer"
    TEXT = "text"
    NUMBER = "number"


class Prediction(NamedTuple):
    """What a version said to one row of a request. `at_ns` is when, since 1970; `score` the highest, of scores.

    `served_by` is what the reply said, or MIRROR where it reached nobody.
    """

    request_id: str
    row: int
    at_ns: int
    version: str
    generation: int
    served_by: str
    form: Form
    value: Value
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """Predictions of one model that have the rest in common, a column for each thing in which they differ.

    `scores` is empty where there are none.
    """

    model: str
    version: str
    generation: int
    served_by: str
    form: Form
    ids: Sequence[str]
    rows: Sequence[int]
    at_ns: Sequence[int]
    values: Sequence[Value]
    scores: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Prediction]:
        common = (self.version, self.generation, self.served_by, self.form)
        scores: Sequence[float | None] = self.scores or [None] * len(self.ids)
        for request_id, row, at_ns, value, score in zip(
            self.ids, self.rows, self.at_ns, self.values, scores, strict=True
        ):
            yield Prediction(request_id, row, at_ns, *common, value, score)


def form_of(spec: TensorSpec) -> Form | None:
    """What rows of an output say; None where that is no single label or number."""
    widths = spec.shape[1:]
    single = all(width in (1, ANY) for width in widths)
    if spec.datatype == BYTES:
        return Form.TEXT if single else None
    if DTYPES[spec.datatype].kind in "iub":
        return Form.INTEGER if single else None
    if all(width == 1 for width in widths):
        return Form.NUMBER
    return Form.INTEGER if len(widths) == 1 and widths[0] != 0 else None


def predicted(settings: LedgerSettings, outputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The output that holds the prediction; None where it is not among these."""
    if settings.output is None:
        return outputs[0] if outputs else None
    return next((spec for spec in outputs if spec.name == settings.output), None)


def check_ledger(settings: LedgerSettings, signature: Signature) -> None:
    """Whether a ledger can be kept of a model of this signature. Raises SettingsError: key, value, what is allowed."""
    if not settings.enabled:
        return
    key = "model.toml: `ledger.output`"
    have = ", ".join(f"'{spec.name[:80]}'" for spec in signature.outputs) or "none"
    spec = predicted(settings, signature.outputs)
    if spec is None:
        raise SettingsError(f"{key} = {str(settings.output)[:80]!r}: the model has no such output; it has {have}")
    if form_of(spec) is None:
        sizes = ",".join("?" if size == ANY else str(size) for size in spec.shape)
        raise SettingsError(
            f"{key} = '{spec.name[:80]}': a row of {spec.datatype}[{sizes}] is no label, no number and no score for"
            f" each class; the outputs are {have}"
        )


def sampled(request_id: str, part: float) -> bool:
    """Whether the predictions for a request are kept, where a part of all is: the same everywhere for one id."""
    return part >= 1 or crc32(request_id.encode()) < part * 2**32


def said(output: Array, form: Form) -> tuple[list[Value | None], list[float]]:
    """What each row of an output says, None where that is nothing (not finite, too long, not of this form).

    With it the highest scores, where the output holds scores.
    """
    if not output.ndim:
        output = output.reshape(1)
    rows = len(output)
    if output.size == rows:
        return _single(output.reshape(rows), form), []
    if form is not Form.INTEGER or output.ndim != 2 or not output.size or output.dtype.kind not in "fV":
        return [None] * rows, []
    scores = output.astype(np.float64)
    values: list[Value | None] = scores.argmax(axis=1).tolist()
    highest: list[float] = scores.max(axis=1).tolist()
    if not np.isfinite(scores).all():
        whole: list[bool] = np.isfinite(scores).all(axis=1).tolist()  # type: ignore[assignment]  # numpy forgets a size
        values = [value if finite else None for value, finite in zip(values, whole, strict=True)]
    return values, highest


def _single(column: Array, form: Form) -> list[Value | None]:
    """Of an output with one element a row. numpy's kind of bfloat16 is V."""
    kind = column.dtype.kind
    if form is Form.TEXT and kind == "O":
        return [_text(value) for value in column.tolist()]
    if form is Form.INTEGER and kind in "iub":
        return [int(value) for value in column.tolist()]
    if form is Form.NUMBER and kind in "fV":
        return [value if math.isfinite(value) else None for value in column.astype(np.float64).tolist()]
    return [None] * len(column)


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    return value if isinstance(value, str) and len(value) <= MOST_TEXT else None


def predictions(
    request_id: str, output: Array, form: Form, at_ns: int, version: str, generation: int, served_by: str
) -> list[Prediction]:
    """What an output says to the rows of one request; rows to which it says nothing are left out."""
    values, scores = said(output, form)
    return [
        Prediction(request_id, row, at_ns, version, generation, served_by, form, value, scores[row] if scores else None)
        for row, value in enumerate(values)
        if value is not None
    ]


# ---- what came true ----


def truth_of(form: Form, given: Value) -> Value:
    """What came true, in the words of the prediction: text that means a number will do. Raises InvalidRequest."""
    made: Value | None
    match form:
        case Form.INTEGER:
            made = _integer(given)
            wanted = "an integer, as this model predicts the number of a class"
        case Form.TEXT:
            made = str(given) if isinstance(given, int) else given if isinstance(given, str) else None
            wanted = "a text, as this model predicts a named class"
            if isinstance(made, str) and len(made) > MOST_TEXT:
                made, wanted = None, f"a text of at most {MOST_TEXT} characters"
        case Form.NUMBER:
            made = _number(given)
            wanted = "a finite number"
    if made is None:
        raise InvalidRequest(
            f"the truth is {given if isinstance(given, float) else repr(given)[:80]}: expected {wanted}"
        )
    return made


def _integer(given: Value) -> int | None:
    if isinstance(given, str):
        if len(given) > 2 * _DIGITS:
            return None
        try:
            return _integer(int(given))
        except ValueError:
            pass  # "3.0" is one too, as tables write it
        number = _number(given)
        return None if number is None else _integer(number)
    if isinstance(given, float):
        return int(given) if given.is_integer() and abs(given) < 2**53 else None
    return int(given) if abs(given) < 10**_DIGITS else None


def _number(given: Value) -> float | None:
    try:
        number = float(given)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def deviation(form: Form, value: Value, truth: Value) -> float:
    """How far a prediction is from what came true: the distance of numbers; of labels 0 when right, 1 when wrong."""
    if form is Form.NUMBER:
        return abs(float(value) - float(truth))
    return float(value != truth)


@dataclass(frozen=True, slots=True)
class Score:
    """How right the predictions of a version were, of those that were `joined` to what came true.

    `mean` is the share of right labels, or the mean absolute error of numbers (`form`); the true one lies between
    `low` and `high`, each end errs once in a hundred (`core/interval`). `right` counts the labels, or the numbers that
    were met exactly. All are None where nothing was joined, `right` is 0.
    """

    number: str
    joined: int = 0
    right: int = 0
    form: Form | None = None
    mean: float | None = None
    low: float | None = None
    high: float | None = None


def score(number: str, form: Form, joined: int, right: int, total: float, squares: float) -> Score:
    """The score of so many deviations: how many are 0, their sum and the sum of their squares."""
    if not joined:
        return Score(number)
    if form is not Form.NUMBER:
        within = share(right, joined)
        mean = right / joined
        return Score(
            number, joined, right, form, mean, min(max(within.low, 0.0), mean), max(min(within.high, 1.0), mean)
        )
    mean = total / joined
    if joined < 2 or not math.isfinite(squares):
        return Score(number, joined, right, form, mean, 0.0, math.inf)
    variance = max(squares - joined * mean * mean, 0.0) / (joined - 1)
    half = student(joined - 1) * math.sqrt(variance / joined)
    return Score(number, joined, right, form, mean, max(mean - half, 0.0), mean + half)
