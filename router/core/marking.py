"""Exams marked: from outputs and the labels of the same rows to one figure, and what each row adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from router.core.contract import FLOATING
from router.core.gate import named
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import SettingsError
from router.version_settings import GatesSettings, Metric

Array = np.ndarray[Any, Any]

GROWS: Final[frozenset[Metric]] = frozenset(("accuracy", "auc"))
"""The more of it the better; of the others the less."""
TITLES: Final[Mapping[Metric, str]] = {
    "accuracy": "accuracy",
    "log_loss": "log-loss",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "auc": "AUC",
}
LEAST_SHARE: Final = 1e-7
"""A right class that was given no share at all counts as this: its loss is not without end."""
WHOLE: Final = 1e-3
"""So far from 1 the shares of a row may add up to."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Which figures are asked for, and the outputs that answers stand in: None where the model has none such."""

    metrics: tuple[Metric, ...]
    label: TensorSpec | None
    scores: TensorSpec | None
    value: TensorSpec | None
    classes: tuple[int | str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marks:
    """An exam in one figure. `parts` [rows] are losses: two versions differ by the mean of the difference of theirs.

    For the mean error that is so exactly; for the root of a mean and for AUC to first order, which is all that an
    interval needs. `loss` is what `parts` stand for: the value itself, or what is missing from 1.
    """

    value: float
    loss: float
    parts: Array


def sheet(signature: Signature, labels: Array, settings: GatesSettings) -> Sheet:
    """What an exam with these labels asks of this model. Raises SettingsError where it cannot answer."""
    kind = labels.dtype.kind
    metrics = settings.metrics or (("mae",) if kind == "f" else ("accuracy",))
    label = _output(signature, settings.output, "output", lambda spec: spec.datatype not in FLOATING and _flat(spec))
    width = labels.shape[1] if labels.ndim > 1 else 1
    value = _output(signature, settings.output, "output", lambda spec: spec.datatype != BYTES and _holds(spec, width))
    scores = _output(signature, settings.scores, "scores", lambda spec: spec.datatype in FLOATING and _wide(spec))
    if scores is None and value is not None and value.datatype in FLOATING:
        scores = value  # one column: the share of the second of two classes
    asked = Sheet(metrics, label, scores, value, settings.classes)
    for metric in metrics:
        _check(metric, asked, labels)
    return asked


def _output(signature: Signature, name: str | None, key: str, fits: Callable[[TensorSpec], bool]) -> TensorSpec | None:
    """The output that is named, if it is of this kind; else the first that is."""
    if name is not None and all(spec.name != name for spec in signature.outputs):
        have = ", ".join(named(spec.name) for spec in signature.outputs[:8])
        raise SettingsError(f"model.toml: `gates.{key}` = {named(name)}: the model has no such output; it has {have}")
    return next((spec for spec in signature.outputs if name in (None, spec.name) and fits(spec)), None)


def _flat(spec: TensorSpec) -> bool:
    return _holds(spec, 1)


def _holds(spec: TensorSpec, width: int) -> bool:
    """Whether each row has so many numbers."""
    return (width == 1 and len(spec.shape) == 1) or (len(spec.shape) == 2 and spec.shape[1] in (width, ANY))


def _wide(spec: TensorSpec) -> bool:
    return len(spec.shape) == 2 and spec.shape[1] != 1


def _check(metric: Metric, asked: Sheet, labels: Array) -> None:
    """Whether labels of this kind can be marked by this figure. Raises SettingsError."""
    kind = labels.dtype.kind
    if metric in ("mae", "rmse"):
        if kind == "O":
            raise SettingsError(f"the exam's labels are texts: {TITLES[metric]} needs numbers")
        if asked.value is None:
            raise SettingsError(f"no output holds a number for each label, which {TITLES[metric]} needs")
        return
    if kind == "f":
        raise SettingsError(f"the exam's labels are {labels.dtype}: {TITLES[metric]} needs whole numbers or texts")
    if labels.ndim != 1:
        raise SettingsError(
            f"the exam's labels have the shape {list(labels.shape)}: {TITLES[metric]} needs one for each row"
        )
    if metric == "accuracy" and asked.label is not None and _alike(asked.label, labels):
        return
    if asked.scores is not None and (kind != "O" or asked.classes):
        return
    if metric == "accuracy" and asked.label is not None:
        what = "texts" if kind == "O" else "whole numbers"
        answer = f"output {named(asked.label.name)} is {asked.label.datatype}"
        raise SettingsError(f"the exam's labels are {what}, and {answer}: both have to be of one kind")
    if asked.scores is not None:
        raise SettingsError(
            "the exam's labels are texts: name them in the order of the columns, `gates.classes` in model.toml"
        )
    raise SettingsError(
        f"no output holds a share for each class, which {TITLES[metric]} needs: name it, `gates.scores`"
    )


def answers(metric: Metric, asked: Sheet, outputs: Mapping[str, Array], labels: Array) -> Array:
    """What one figure needs of each row [rows]: whether it is right, the right class's share, the error, the score.

    Not finite where the model gave no number. Raises SettingsError where labels and answers do not go together.
    """
    if metric in ("mae", "rmse"):
        assert asked.value is not None
        given: Array = np.asarray(outputs[asked.value.name]).astype(np.float64).reshape(len(labels), -1)
        truth: Array = labels.astype(np.float64).reshape(len(labels), -1)
        if given.shape != truth.shape:
            raise SettingsError(f"a row has {truth.shape[1]} labels, the model gives {given.shape[1]} numbers")
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(given - truth)
            errors: Array = apart.mean(1) if metric == "mae" else np.sqrt((apart * apart).mean(1))
        return errors
    if metric == "accuracy" and asked.label is not None and _alike(asked.label, labels):
        said = _plain(outputs[asked.label.name]).reshape(len(labels))
        _check_known(said, asked, outputs, labels)
        right: Array = np.asarray(said == labels, np.float64)
        return right
    shares = _shares(asked, outputs, len(labels))
    numbers = class_numbers(labels, shares.shape[1], asked.classes)
    if metric == "accuracy":
        finite = np.isfinite(shares).all(1)
        highest = np.argmax(np.where(finite.reshape(-1, 1), shares, 0.0), 1)
        return np.where(finite, highest == numbers, np.nan)
    if metric == "auc":
        if shares.shape[1] != 2:
            raise SettingsError(f"AUC is of two classes, output {_scores_name(asked)} has {shares.shape[1]}")
        if len(np.unique(numbers)) != 2:
            raise SettingsError("AUC needs rows of both classes; the exam's labels are all the same")
        second: Array = shares[:, 1]
        return second
    _check_whole(shares, _scores_name(asked))
    picked: Array = shares[np.arange(len(labels)), numbers]
    return picked


def positives(asked: Sheet, labels: Array) -> Array:
    """Which rows [rows] are of the second of two classes."""
    second: Array = class_numbers(labels, 2, asked.classes) == 1
    return second


def _alike(label: TensorSpec, labels: Array) -> bool:
    """Whether both are texts, or both are numbers."""
    return (label.datatype == BYTES) is (labels.dtype.kind == "O")


def _plain(output: Array) -> Array:
    """Texts as `str`, BOOL as numbers."""
    if output.dtype.kind == "O":
        made = np.empty(output.shape, object)
        made.ravel()[:] = [
            each.decode(errors="replace") if isinstance(each, bytes) else each for each in output.ravel()
        ]
        return made
    return output.astype(np.int64) if output.dtype.kind == "b" else output


def _check_known(given: Array, asked: Sheet, outputs: Mapping[str, Array], labels: Array) -> None:
    """More labels than classes: one of them is none. Raises SettingsError."""
    if asked.classes:
        class_numbers(labels, len(asked.classes), asked.classes)
        return
    if asked.scores is None or not _wide(asked.scores):
        return
    columns = np.shape(outputs[asked.scores.name])[1]
    answered = set(given.tolist())
    if len(answered | set(labels.tolist())) > columns:
        strange = next(
            (row for row, label in enumerate(labels.tolist()) if label not in answered and _outside(label, columns)),
            None,
        )
        if strange is None:
            strange = next(row for row, label in enumerate(labels.tolist()) if label not in answered)
        raise SettingsError(
            f"label {_shown(labels[strange])} of row {strange} is none of the {columns} classes of output"
            f" {named(asked.scores.name)}"
        )


def _outside(label: object, columns: int) -> bool:
    return not isinstance(label, int) or not 0 <= label < columns


def _scores_name(asked: Sheet) -> str:
    assert asked.scores is not None
    return named(asked.scores.name)


def _shares(asked: Sheet, outputs: Mapping[str, Array], rows: int) -> Array:
    """The scores [rows, classes]. One column is the share of the second of two classes."""
    assert asked.scores is not None
    shares: Array = np.asarray(outputs[asked.scores.name]).astype(np.float64).reshape(rows, -1)
    return np.hstack([1.0 - shares, shares]) if shares.shape[1] == 1 else shares


def class_numbers(labels: Array, columns: int, classes: Sequence[int | str]) -> Array:
    """The column of each label. Raises SettingsError for one that has none."""
    if classes:
        if len(classes) != columns:
            raise SettingsError(
                f"model.toml: `gates.classes` names {len(classes)} classes, the model gives shares for {columns}"
            )
        places = {name: place for place, name in enumerate(classes)}
        numbers = [places.get(label, -1) for label in labels.tolist()]
        for row, number in enumerate(numbers):
            if number < 0:
                raise SettingsError(f"label {_shown(labels[row])} of row {row} is none of `gates.classes`")
        return np.array(numbers, np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= columns)) if labels.dtype.kind != "O" else np.arange(1)
    if len(wrong):
        row = int(wrong[0])
        raise SettingsError(
            f"label {_shown(labels[row])} of row {row}: the model has {columns} classes, 0 to {columns - 1}; where they"
            " have other names set `gates.classes` in model.toml"
        )
    return labels.astype(np.int64)


def _shown(label: Any) -> str:
    return named(label) if isinstance(label, str) else str(label)


def _check_whole(shares: Array, name: str) -> None:
    """Whether they are shares, not raw scores. Raises SettingsError."""
    finite = shares[np.isfinite(shares).all(1)]
    off = np.flatnonzero((np.abs(finite.sum(1) - 1.0) > WHOLE) | (finite < -WHOLE).any(1))
    if len(off):
        row = finite[off[0]]
        raise SettingsError(
            f"output {name} does not hold shares: those of a row add up to {row.sum():.4g}, the least is"
            f" {row.min():.4g}; log-loss needs them to be from 0 to 1 and to add up to 1"
        )


def marks(metric: Metric, given: Array, positive: Array | None = None) -> Marks:
    """The figure of what `answers` gave, all of it finite. AUC needs to know which rows are `positive` [rows]."""
    match metric:
        case "accuracy":
            value = float(given.mean())
            return Marks(value, 1.0 - value, 1.0 - given)
        case "log_loss":
            losses = -np.log(np.maximum(given, LEAST_SHARE))
            return Marks(float(losses.mean()), float(losses.mean()), losses)
        case "mae":
            return Marks(float(given.mean()), float(given.mean()), given)
        case "rmse":
            value = float(np.sqrt(np.mean(given * given)))
            parts = given * given / (2.0 * value) if value > 0.0 else given
            return Marks(value, value, parts)
    assert positive is not None
    return _auc(given, positive)


def _auc(scores: Array, positive: Array) -> Marks:
    """The area under the ROC curve, and what each row adds (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44).

    A row's part is how often rows of the other class rank on the wrong side of it, ties half; scaled so that the mean
    of the squares of their differences gives that paper's variance.
    """
    high, low = np.sort(scores[positive]), np.sort(scores[~positive])
    parts = np.empty(len(scores))
    below = (np.searchsorted(low, scores[positive], "left") + np.searchsorted(low, scores[positive], "right")) / 2
    above = (np.searchsorted(high, scores[~positive], "left") + np.searchsorted(high, scores[~positive], "right")) / 2
    value = float(below.mean() / len(low))
    rows = len(scores)
    parts[positive] = (value - below / len(low)) * rows / len(high)
    parts[~positive] = (above / len(high) - (1.0 - value)) * rows / len(low)
    return Marks(value, 1.0 - value, parts)
