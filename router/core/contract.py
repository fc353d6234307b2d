"""What a model's outputs promise. A broken promise is a failure of the run, not an answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from router.core.tensor import BYTES, DTYPES, Signature, TensorSpec
from router.errors import SettingsError
from router.model_settings import ContractSettings

Array = np.ndarray[Any, Any]
Label = int | str

FEW: Final = 32
"""Elements of an array that Python has looked at before numpy has begun."""
NAMED: Final = 10
"""Labels that a reason names; of more it says how many there are."""
FLOATING: Final = frozenset(("FP16", "BF16", "FP32", "FP64"))


@dataclass(frozen=True, slots=True)
class Promise:
    """What one output promises of each of its elements; an empty output keeps all of it.

    `finite`: no NaN, nothing infinite; integers and text always keep it. `low`, `high`: bounds, both included; NaN is
    never within. `labels`: all that may come, integers or text (compared as UTF-8); None for anything.
    """

    finite: bool = True
    low: float = -math.inf
    high: float = math.inf
    labels: frozenset[Label] | None = None

    @property
    def bounded(self) -> bool:
        """Whether there is a range."""
        return self.low != -math.inf or self.high != math.inf

    def breach(self, output: Array) -> str:
        """What came and what was promised instead; empty when the promise is kept."""
        values: list[Any] | None = output.ravel().tolist() if output.size <= FEW else None
        # numpy's kind of bfloat16 is V: it came later.
        if self.finite and output.dtype.kind in "fV":
            kept = all(map(math.isfinite, values)) if values is not None else np.isfinite(output).all()
            if not kept:
                return f"{output[~np.isfinite(output)].ravel()[0]}, which is not finite"
        if self.bounded:
            low, high = self.low, self.high
            ends = _ends(output) if values is None else values
            wrong = next((value for value in ends if not low <= value <= high), None)
            if wrong is not None:
                return f"{wrong}, which is not {_range(low, high)}"
        if self.labels is not None:
            stranger = _stranger(output, values, self.labels)
            if stranger is not None:
                return f"{stranger}, which is not one of {_listed(self.labels)}"
        return ""


def _ends(output: Array) -> list[Any]:
    """The least and the greatest element; both are NaN where one is."""
    with np.errstate(invalid="ignore"):  # a warning of bfloat16 alone
        return [output.min().item(), output.max().item()]


def _stranger(output: Array, values: list[Any] | None, labels: frozenset[Label]) -> str | None:
    """An element that is none of the labels, as a reason shows it; None when all are."""
    if values is None and output.dtype.kind in "iu":
        known = np.isin(output, np.array(list(labels), output.dtype))
        return None if known.all() else str(output[~known].ravel()[0])
    values = output.ravel().tolist() if values is None else values
    if labels.issuperset(values):
        return None
    for value in values:
        text = value.decode(errors="surrogateescape") if isinstance(value, bytes) else value
        if text not in labels:
            return repr(text[:40]) if isinstance(text, str) else str(text)
    return None


def _listed(labels: Iterable[Label]) -> str:
    known = sorted(labels, key=lambda label: (isinstance(label, str), label))
    named = ", ".join(repr(label[:40]) if isinstance(label, str) else str(label) for label in known[:NAMED])
    return named if len(known) <= NAMED else f"{named}, … ({len(known)} in all)"


def _range(low: float, high: float) -> str:
    if high == math.inf:
        return f"at least {low}"
    return f"at most {high}" if low == -math.inf else f"between {low} and {high}"


@dataclass(frozen=True, slots=True)
class Contract:
    """What the outputs of a run promise, by name in the order in which they come; None where one promises nothing.

    `rows`: the first size of each output is the number of rows that were asked for. The contract of a model that
    declares nothing is empty: `of` makes one for the outputs that a plan asks for.
    """

    promises: Mapping[str, Promise | None]
    rows: bool = False

    def of(self, outputs: Iterable[str]) -> Contract:
        """The same contract for these outputs in this order."""
        return Contract({name: self.promises.get(name) for name in outputs}, self.rows)

    def broken(self, outputs: Sequence[Array], rows: int) -> str:
        """Empty when all is kept, else one line: which output, what came, what was promised."""
        if len(outputs) != len(self.promises):
            return f"{len(outputs)} outputs came, not {len(self.promises)}"
        if self.rows:
            reason = self._rows_missed(outputs, rows)
            if reason:
                return reason
        for (name, promise), output in zip(self.promises.items(), outputs, strict=True):
            if promise is not None:
                breach = promise.breach(output)
                if breach:
                    return f"output '{name}' has {breach}"
        return ""

    def broken_parts(self, outputs: Sequence[Array], sizes: Sequence[int]) -> list[str]:
        """What `broken` says for each caller of a batch, in which the callers' rows, `sizes`, follow each other.

        Where the rows of an output are not those of all callers together nobody can be given their own: it is broken
        for all of them, promised or not.
        """
        if len(sizes) == 1:
            return [self.broken(outputs, sizes[0])]
        total = sum(sizes)
        reason = self._rows_missed(outputs, total) or self.broken(outputs, total)
        if not reason:
            return [""] * len(sizes)
        if len(outputs) != len(self.promises) or self._rows_missed(outputs, total):
            return [reason] * len(sizes)
        reasons = []
        at = 0
        for size in sizes:
            reasons.append(self.broken([output[at : at + size] for output in outputs], size))
            at += size
        return reasons

    def _rows_missed(self, outputs: Sequence[Array], rows: int) -> str:
        for name, output in zip(self.promises, outputs, strict=False):
            if not output.shape:
                return f"output '{name}' has no rows, {rows} were asked for"
            if output.shape[0] != rows:
                return f"output '{name}' has {output.shape[0]} rows, {rows} were asked for"
        return ""


def contract_of(settings: ContractSettings | None, signature: Signature) -> Contract | None:
    """The contract that a `model.toml` sets; None where nothing is promised. Raises SettingsError."""
    if settings is None:
        return None
    promises = {
        name: Promise(
            each.finite,
            -math.inf if each.low is None else each.low,
            math.inf if each.high is None else each.high,
            None if each.labels is None else frozenset(each.labels),
        )
        for name, each in settings.outputs.items()
    }
    return declared_contract(signature, promises, rows=settings.rows)


def declared_contract(signature: Signature, promises: Mapping[str, Promise], *, rows: bool = False) -> Contract:
    """The contract of a model that has a `model.toml`: what it says; other floating outputs promise to be finite.

    Bounds are rounded to the output's datatype, in which the model gives what lies on them. Raises SettingsError, as
    `check_contract` does.
    """
    check_contract(Contract(promises, rows), signature)
    kept: dict[str, Promise | None] = {}
    for spec in signature.outputs:
        promise = promises.get(spec.name, Promise())
        if spec.datatype in FLOATING:
            kept[spec.name] = _rounded(promise, DTYPES[spec.datatype])
        else:
            kept[spec.name] = promises.get(spec.name)
    return Contract(kept, rows)


def _rounded(promise: Promise, dtype: np.dtype[Any]) -> Promise:
    with np.errstate(over="ignore"):
        low, high = np.array([promise.low, promise.high]).astype(dtype).astype(float).tolist()
    return replace(promise, low=low, high=high)


def check_contract(contract: Contract, signature: Signature) -> None:
    """Whether a model with this signature can keep it. Raises SettingsError: key, value, what is allowed."""
    specs = {spec.name: spec for spec in signature.outputs}
    for name, promise in contract.promises.items():
        key = f"model.toml: `contract.outputs.{name[:200]}"
        if name not in specs:
            have = ", ".join(f"'{output}'" for output in specs)
            raise SettingsError(f"{key}`: the model has no such output; it has {have or 'none'}")
        if promise is not None:
            _check_range(key, promise, specs[name])
            if promise.labels is not None:
                _check_labels(key, promise.labels, specs[name])


def _check_range(key: str, promise: Promise, spec: TensorSpec) -> None:
    for which, bound in (("low", promise.low), ("high", promise.high)):
        if math.isnan(bound):
            raise SettingsError(f"{key}.{which}` = nan: a bound is a number")
        if math.isfinite(bound) and spec.datatype in (BYTES, "BOOL"):
            raise SettingsError(
                f"{key}.{which}` = {bound}: the output is of datatype {spec.datatype}, only numbers have a range"
            )
    if promise.low > promise.high:
        raise SettingsError(f"{key}.low` = {promise.low}: it may be at most `high`, which is {promise.high}")


def _check_labels(key: str, labels: frozenset[Label], spec: TensorSpec) -> None:
    key += ".labels`"
    wrong: Label | None
    if not labels:
        raise SettingsError(f"{key} = []: name at least one label")
    if spec.datatype == BYTES:
        wrong = next((label for label in labels if not isinstance(label, str)), None)
        allowed = "text"
    elif DTYPES[spec.datatype].kind in "iu":
        info = np.iinfo(DTYPES[spec.datatype])
        fits = range(info.min, info.max + 1)
        wrong = next((label for label in labels if type(label) is not int or label not in fits), None)
        allowed = f"integers from {info.min} to {info.max}"
    else:
        raise SettingsError(
            f"{key} = {_listed(labels)}: the output is of datatype {spec.datatype}, only integers and text have labels"
        )
    if wrong is not None:
        raise SettingsError(f"{key}: {wrong!r} is none: labels of datatype {spec.datatype} are {allowed}")
