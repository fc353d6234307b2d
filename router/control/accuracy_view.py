"""How right models are, as people and programs learn it: figures, and words with the next step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.core.accuracy import Figure, Sum, figures
from router.core.accuracy_history import Point, together
from router.core.confusion import Confusion
from router.core.decline import Baseline, Finding, Origin, Status
from router.core.outcome import Array, Kind
from router.core.table import Route
from router.model_settings import AccuracySettings


class Measured(NamedTuple):
    """For metrics: accuracy or mean absolute error of a version that serves; None: nothing came true of late."""

    model: str
    version: str
    kind: Kind
    value: float | None
    declined: bool


@dataclass(frozen=True, slots=True)
class VersionAccuracy:
    """Of one version. `role` is empty where it has none, `confusion` None for numbers; it goes back to `classes_s`."""

    version: str
    role: str
    kind: Kind
    finding: Finding
    text: str
    points: tuple[Point, ...]
    confusion: Confusion | None
    classes_s: int

    @property
    def sums(self) -> Array:
        """Of all points."""
        return together(self.points)

    @property
    def delay_s(self) -> float | None:
        """How long it took in the mean until it was known what was right; None where nothing is."""
        sums = self.sums
        return float(sums[Sum.DELAY] / sums[Sum.ROWS]) if sums[Sum.ROWS] else None

    def figures(self) -> list[Figure]:
        """The most important first."""
        made = figures(self.kind, self.sums)
        if self.confusion is not None:
            made[1:1] = [each for each in (self.confusion.balanced(), self.confusion.macro_f1()) if each is not None]
        return made


@dataclass(frozen=True, slots=True)
class ModelAccuracy:
    """Of a model in the last `since_s` seconds before `now_s`: the champion's finding in words, and the next `step`.

    `heard` counts what became of actuals since the controller began; `reading`: what was before is still being read.
    """

    model: str
    champion: str
    finding: Finding
    text: str
    step: str
    now_s: float
    since_s: float
    versions: tuple[VersionAccuracy, ...]
    heard: Mapping[str, int]
    reading: bool = False


def told(number: str, kind: Kind | None, finding: Finding, settings: AccuracySettings) -> str:
    """A finding in one line."""
    baseline = finding.baseline
    if kind is None or baseline is None:
        if not number:
            return "no version is champion"
        wanted = settings.baseline_requests
        return f"version {number} has no baseline yet: {finding.gathered} of {wanted} requests came true or did not"
    of = _origin(baseline)
    if finding.status is Status.GREEN or finding.seen is None:
        return f"version {number} is as right as it was: {_of(kind, baseline.loss)} {of}, no decline since"
    seen = finding.seen
    less = "is right less often than it was" if kind is Kind.LABELS else "is farther off than it was"
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seen.since_s))
    return (
        f"version {number} {less}: {_of(kind, seen.loss)} of {seen.requests} requests since {since}, before that"
        f" {_of(kind, baseline.loss)} {of}; {_tolerated(kind, finding, settings)}"
    )


def _origin(baseline: Baseline) -> str:
    if baseline.origin is Origin.EXAM:
        return f"of the {baseline.requests} rows of its exam"
    if baseline.since_s:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(baseline.since_s))
        return f"of the first {baseline.requests} requests after {since}"
    return f"of its first {baseline.requests} requests"


def _of(kind: Kind, loss: float) -> str:
    return f"{100.0 * (1.0 - loss):.1f} % right" if kind is Kind.LABELS else f"{loss:.4g} off in the mean"


def _tolerated(kind: Kind, finding: Finding, settings: AccuracySettings) -> str:
    if kind is Kind.LABELS:
        key = f"`accuracy.max_drop` = {settings.max_drop:g}"
        return f"it is surely below {100.0 * (1.0 - finding.limit):.1f} %, the least by {key}"
    return f"it is surely above {finding.limit:.4g}, the most by `accuracy.max_rise` = {settings.max_rise:g}"


def following(model: str, route: Route, finding: Finding, settings: AccuracySettings, *, came: bool) -> str:
    """What a person may do now; empty where nothing is to be done. `came`: something came true of the champion."""
    if not came:
        return f"say what came true, by the ids of requests: `router actuals {model} FILE`"
    if finding.status is Status.UNKNOWN:
        missing = settings.baseline_requests - finding.gathered
        return f"nothing: {missing} more requests have to come true before a decline can be seen"
    if finding.status is Status.GREEN:
        return ""
    back = f", `router rollback {model}` goes back to version {route.standby}" if route.standby else ""
    return (
        f"`router drift {model}` shows whether what comes has changed; `router retrain {model} --reason WHY` has"
        f" a new version trained{back}"
    )


def facts_of(kind: Kind, finding: Finding) -> dict[str, str]:
    """The figures of a finding, as an event carries them."""
    facts: dict[str, str] = {"status": finding.status.value, "measured": kind.value}
    name = "accuracy" if kind is Kind.LABELS else "mae"
    baseline, seen = finding.baseline, finding.seen
    if baseline is not None:
        facts |= {f"baseline_{name}": _shown(kind, baseline.loss), f"limit_{name}": _shown(kind, finding.limit)}
        facts |= {"baseline_origin": baseline.origin.value, "baseline_requests": str(baseline.requests)}
    if seen is not None:
        facts |= {name: _shown(kind, seen.loss), "requests": str(seen.requests), "since": f"{seen.since_s:.0f}"}
    return facts


def _shown(kind: Kind, loss: float) -> str:
    return f"{1.0 - loss if kind is Kind.LABELS else loss:.6g}"
