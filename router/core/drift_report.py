"""What is said of a model's drift: each feature with its figures and a reason in words, and the model as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from router.core.drift import GREEN, RED, WORDS
from router.core.drift_windows import DAY, HOUR, DriftWindows, Judged
from router.core.features import Array
from router.core.reference import Reference

INPUTS, OUTPUTS = "inputs", "outputs"
SIDES: Final = (INPUTS, OUTPUTS)
UNKNOWN: Final = "unknown"
"""In the place of a status while there is no reference, or no window yet."""
NAMED: Final = 3
"""Features that a reason names."""
_MOST_OF_IT: Final = 0.5
"""Of the index: then it is the reason."""


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature. `psi`, `floor` and the rest are of the window that `horizon` names, which has `rows` rows in
    `seconds`; they are None where there is none. `before` and `now` are the shares of the bins, as `labels` names them.
    """

    name: str
    side: str
    category: bool
    status: str
    reason: str
    horizon: str
    rows: int = 0
    seconds: float = 0.0
    psi: float | None = None
    floor: float | None = None
    jensen_shannon: float | None = None
    wasserstein: float | None = None
    missing: float = 0.0
    missing_before: float = 0.0
    unseen: float | None = None
    unseen_before: float | None = None
    mean: float | None = None
    mean_before: float | None = None
    deviation: float | None = None
    deviation_before: float | None = None
    labels: tuple[str, ...] = ()
    before: tuple[float, ...] = ()
    now: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceInfo:
    """Where a reference is from: `source` is a file's name, or `live`. `rows` of `wanted` are there while it is being
    made; `made` is in seconds since 1970, 0 until then. `number` is the version whose outputs they are."""

    side: str
    source: str
    rows: int
    wanted: int = 0
    made: float = 0.0
    actor: str = ""
    number: str = ""


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """A model. `observed` rows were looked at and `missed` found no room since the server started, `windows` were
    compared. `features` come worst first."""

    model: str
    status: str
    reason: str
    next_step: str
    references: tuple[ReferenceInfo, ...] = ()
    features: tuple[FeatureDrift, ...] = ()
    observed: int = 0
    missed: int = 0
    windows: int = 0
    notes: tuple[str, ...] = ()


def features_of(windows: DriftWindows, side: str, ignored: Array) -> list[FeatureDrift]:
    """All features of a side, but those that are ignored."""
    status = windows.status
    return [
        _feature(windows.reference, side, place, int(status[place]), horizon, judged)
        for place, (horizon, judged) in enumerate(windows.shown())
        if not ignored[place]
    ]


def worst_first(features: Sequence[FeatureDrift]) -> list[FeatureDrift]:
    """In the order in which people should look at them."""
    return sorted(features, key=lambda each: (-WORDS.index(each.status), -(each.psi or 0.0)))


def _feature(
    reference: Reference, side: str, place: int, level: int, horizon: str, judged: Judged | None
) -> FeatureDrift:
    bins = reference.features[place]
    status = WORDS[level]
    common = (bins.column.name, side, bins.category, status)
    if judged is None:
        return FeatureDrift(*common, "no window is full yet", horizon)
    found, window = judged.measures, judged.window
    first = int(reference.starts[place])
    last = first + len(bins.counts)
    before = np.asarray(bins.counts) / reference.rows
    now = window.bins[first:last] / window.rows
    missing, missing_before = float(now[0]), float(before[0])
    numbers: dict[str, Any] = {}
    shift = float(found.shift[place])
    if not bins.category:
        numbers["mean_before"], numbers["deviation_before"] = bins.mean, 0.0 if bins.constant else bins.deviation
        if np.isfinite(shift):
            mean = bins.mean + shift * bins.deviation
            numbers["mean"] = mean if abs(mean) > 1e-9 * bins.deviation else 0.0  # what is left of it is of rounding
            numbers["deviation"] = float(found.deviation[place]) * bins.deviation
            numbers["wasserstein"] = None if bins.constant else float(found.wasserstein[place])
    else:
        numbers["unseen"], numbers["unseen_before"] = float(now[-1]), float(before[-1])
    psi, floor = float(found.psi[place]), float(found.floor[place])
    made = FeatureDrift(
        *common,
        "",
        horizon,
        window.rows,
        judged.seconds,
        psi,
        floor,
        float(found.jensen_shannon[place]),
        missing=missing,
        missing_before=missing_before,
        labels=labels(reference, place),
        before=tuple(before.tolist()),
        now=tuple(now.tolist()),
        **numbers,
    )
    return replace(made, reason=_reason(made, level, shift))


def _reason(feature: FeatureDrift, level: int, shift: float) -> str:
    """Why it has its status, in words."""
    psi, floor = feature.psi or 0.0, feature.floor or 0.0
    over = f"over {_span(feature)} ({feature.rows} rows)"
    if level == GREEN:
        if psi <= floor:
            return f"as the reference, but for what chance does, {over}"
        return f"a little off the reference, {over}"
    what = _what(feature, shift)
    return f"{what}; index {psi:.2f} {over}, where chance reaches {floor:.2f}"


def _what(feature: FeatureDrift, shift: float) -> str:
    """What has changed most."""
    parts = [_part(p, q) for p, q in zip(feature.before, feature.now, strict=True)]
    whole = sum(parts) or 1.0
    if parts[0] > _MOST_OF_IT * whole:
        return f"{_percent(feature.missing)} of the values are missing, {_percent(feature.missing_before)} before"
    if feature.category and parts[-1] > _MOST_OF_IT * whole:
        unseen, before = feature.unseen or 0.0, feature.unseen_before or 0.0
        return f"{_percent(unseen)} are categories that the reference does not name, {_percent(before)} before"
    if feature.category:
        at = int(np.argmax(parts))
        label = feature.labels[at]
        return f"{label} are {_percent(feature.now[at])}, {_percent(feature.before[at])} before"
    was, spread = feature.mean_before, feature.deviation_before
    mean, deviation = feature.mean, feature.deviation
    if was is None or spread is None or mean is None or deviation is None:
        return "its values are others"
    if not spread:
        return f"it was always {_figure(was, 1.0)}, now its mean is {_figure(mean, 1.0)}"
    if abs(shift) >= 0.1:
        means = f"{_figure(was, spread)} to {_figure(mean, spread)}"
        return f"its mean went from {means} ({shift:+.2f} standard deviations)"
    return f"its values spread otherwise (standard deviation {spread:.4g}, now {deviation:.4g})"


def _figure(value: float, scale: float) -> str:
    """With so many digits that what is a part of `scale` away looks different."""
    more = math.log10(min(max(abs(value) / scale, 1.0), 1e13)) if scale > 0 else 0.0
    return f"{value:.{4 + int(more)}g}"


def _part(p: float, q: float) -> float:
    p, q = max(p, 1e-4), max(q, 1e-4)
    return float((q - p) * np.log(q / p))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _span(feature: FeatureDrift) -> str:
    return {HOUR: "an hour", DAY: "a day"}.get(feature.horizon, f"{feature.seconds:.0f} s")


def labels(reference: Reference, place: int) -> tuple[str, ...]:
    """What each bin of a feature is called."""
    bins = reference.features[place]
    if bins.known is not None:
        known = [each.decode("utf-8", "replace") if isinstance(each, bytes) else f"{each:.17g}" for each in bins.known]
        return ("missing", *known, "others")
    ends = [_figure(each, bins.deviation) for each in bins.edges]
    if not ends:
        return ("missing", "all")
    for at in range(1, len(ends)):
        if bins.edges[at] == np.nextafter(bins.edges[at - 1], np.inf):  # between both lies one value
            ends[at] = ends[at - 1]
    between = [low if low == high else f"{low} – {high}" for low, high in pairwise(ends)]
    return ("missing", f"below {ends[0]}", *between, f"from {ends[-1]}")


def model_reason(model: str, status: str, features: Sequence[FeatureDrift]) -> tuple[str, str]:
    """Why a model has its status, and what to do: of its features, worst first."""
    bad = [each for each in features if each.status != WORDS[GREEN]]
    if not bad:
        return "what comes is like the reference", ""
    named = ", ".join(f"{each.name} ({each.reason.partition(';')[0]})" for each in bad[:NAMED])
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    does = ("has drifted" if len(bad) == 1 else "have drifted") if status == WORDS[RED] else "drifts, not far"
    if status != WORDS[RED] and len(bad) > 1:
        does = "drift, not far"
    if {each.side for each in bad} == {OUTPUTS}:
        step = "the answers have changed and the inputs have not: see whether the version is the one that is meant"
    else:
        step = (
            "see whether what sends these values has changed; where that is to stay, `router retrain"
            f" {model} --reason WHY` has a version trained on it, `router reference {model} --data FILE` takes it for"
            " the reference"
        )
    return f"{len(bad)} of {len(features)} features {does}: {named}{more}", step
