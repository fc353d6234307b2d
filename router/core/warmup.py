"""Warm-up: what was seen of a version that ran copies of live requests, and the verdict. Pure.

Times are compared like with like: the champion runs beside the version on the same inputs, in the same process, by
turns, and what counts is the median of the pairs' ratios. All of it happens at the lowest priority: whatever waits for
a core is taken out of the times. A version fails by a time or by its agreement only if it is surely beyond the limit:
if the end of the one-sided interval of 99 % is. Of equal versions at most one in a hundred is so refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router.core import comparison
from router.core.comparison import Kind, OutputFigures, added, differences
from router.core.gate import Distribution, Outcome, Report, Verdict
from router.core.histogram import RATIOS, TIMES, Z99, distribution, quantile
from router.model_settings import ModelSettings
from router.version_settings import WarmupSettings

HUNG_S: Final = 30.0
"""A run that has taken so long hangs."""
LOADING_S: Final = 600.0
"""A load that has: at the lowest priority it takes its time."""
FEW_PAIRS: Final = 30
"""Below so many pairs of times nothing is said of their ratio."""
SYNTHETIC: Final = 64
"""Requests of synthetic input: they are all alike, more of them would show no more."""


class Purpose(StrEnum):
    """What for a version is run on copies of the runs of another one."""

    WARM_UP = "warm-up"
    """It is to serve: there will be a verdict."""
    SHADOW = "shadow"
    """It is compared with the champion for as long as it is wanted."""
    CONTROL = "control"
    """It is the old champion, which the candidate of a canary is compared with: the copies are of the candidate's."""


class Source(StrEnum):
    """Where the requests come from."""

    LIVE = "live"
    RECORDED = "recorded"
    SYNTHETIC = "synthetic"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was seen of a version since it was loaded, `seconds` ago.

    `samples` are requests that were run, by source; `errors` are those that failed, `broken` those whose outputs broke
    the contract or had another shape than the champion's (of a control such rows were compared and do not agree, see
    `outputs`); `first_error` says how the first of them went wrong.
    `times` and `champion_times` (of the same runs, while it served) count runs by `TIMES`, `ratios` pairs of runs by
    `RATIOS`. `running_s` is how long the run (or the load) under way has taken. `exhausted`: the source has no more.
    `failed`: why it could not be loaded; of an observation, why it is not run any more. `missed` are requests of which
    copies came while it had too many already, and `rested_s` is for how long it gave way to whoever serves. `replayed`
    and `left_out` say in words which of its recordings it was run on, and which could not be used.
    """

    loaded: bool = False
    failed: str = ""
    seconds: float = 0.0
    samples: Mapping[Source, int] = field(default_factory=dict)
    rows: int = 0
    errors: int = 0
    broken: int = 0
    first_error: str = ""
    times: tuple[int, ...] = ()
    champion_times: tuple[int, ...] = ()
    ratios: tuple[int, ...] = ()
    outputs: tuple[OutputFigures, ...] = ()
    running_s: float = 0.0
    exhausted: bool = False
    missed: int = 0
    rested_s: float = 0.0
    replayed: str = ""
    left_out: str = ""

    @property
    def hangs(self) -> bool:
        """Whether it is taken not to come back."""
        return self.running_s >= (HUNG_S if self.loaded else LOADING_S)

    @property
    def total(self) -> int:
        """Requests that were run."""
        return sum(self.samples.values())

    @property
    def live(self) -> int:
        """Those that had just been answered by the champion."""
        return self.samples.get(Source.LIVE, 0)


FiguresOf = Callable[[str, str, str], Figures | None]
"""What was seen of a version that is observed: model, its number, and that of the version whose runs are copied."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What the serving workers say of the copies they send: requests `offered`, `sent`, and dropped by reason."""

    offered: int = 0
    sent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Mirrored) -> Mirrored:
        names = {**self.dropped, **other.dropped}
        dropped = {why: self.dropped.get(why, 0) + other.dropped.get(why, 0) for why in names}
        return Mirrored(self.offered + other.offered, self.sent + other.sent, dropped)

    def __sub__(self, other: Mirrored) -> Mirrored:
        dropped = {why: count - other.dropped.get(why, 0) for why, count in self.dropped.items()}
        return Mirrored(self.offered - other.offered, self.sent - other.sent, dropped)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Where it has come true what was right, for `joined` rows: how many the one had right and the other wrong."""

    joined: int
    champion_right: int
    version_right: int
    only_champion: int
    only_version: int


def summed(before: Figures, since: Figures) -> Figures:
    """The figures of an observation that was interrupted: both stretches; what goes on now is that of the later one."""
    return replace(
        since,
        seconds=before.seconds + since.seconds,
        samples={source: before.samples.get(source, 0) + since.samples.get(source, 0) for source in Source},
        rows=before.rows + since.rows,
        errors=before.errors + since.errors,
        broken=before.broken + since.broken,
        first_error=before.first_error or since.first_error,
        times=added(before.times, since.times),
        champion_times=added(before.champion_times, since.champion_times),
        ratios=added(before.ratios, since.ratios),
        outputs=comparison.summed(before.outputs, since.outputs),
        missed=before.missed + since.missed,
        rested_s=before.rested_s + since.rested_s,
    )


def next_source(source: Source, figures: Figures, settings: WarmupSettings, *, champion: bool) -> Source | None:
    """Where the next requests come from, if not from the same as until now; None if that stays."""
    if not figures.loaded:
        return None
    if source is Source.LIVE:
        nothing = not champion or (not figures.live and figures.seconds >= settings.min_seconds)
        too_few = figures.total < settings.min_samples and figures.seconds >= settings.max_seconds
        return Source.RECORDED if nothing or too_few else None
    if source is Source.RECORDED and figures.exhausted and figures.total < settings.min_samples:
        return Source.SYNTHETIC
    return None


def decided(source: Source, figures: Figures, settings: WarmupSettings) -> bool:
    """Whether enough was seen for a verdict."""
    if figures.failed or figures.hangs:
        return True
    if not figures.loaded:
        return False
    if source is Source.LIVE:
        return figures.total >= settings.min_samples and figures.seconds >= settings.min_seconds
    return figures.total >= settings.min_samples or (source is Source.SYNTHETIC and figures.exhausted)


def outcomes(
    figures: Figures,
    settings: ModelSettings,
    mirrored: Mirrored | None = None,
    accuracy: Accuracy | None = None,
) -> tuple[Outcome, ...]:
    """The verdict, gate by gate."""
    warmup = settings.warmup
    unstable = stability(figures)
    if unstable is not None:
        return (unstable,) if figures.failed else (unstable, _samples(figures, warmup, mirrored))
    return (
        Outcome("stability", Verdict.PASS, "no crash, no hang", blocks=True),
        _samples(figures, warmup, mirrored),
        _errors(figures, warmup),
        _speed(figures, settings.deadline.sla_ms),
        _latency(figures, warmup),
        _agreement(figures, warmup),
        _accuracy(accuracy, warmup),
    )


def stability(figures: Figures) -> Outcome | None:
    """Why a version cannot be run any more, if that is so: it cannot be loaded, or it hangs."""
    if figures.failed:
        return Outcome("stability", Verdict.FAIL, f"it cannot be loaded: {figures.failed}", blocks=True)
    if figures.hangs:
        what = "a run" if figures.loaded else "its load"
        reason = f"it hangs: {what} has taken {figures.running_s:.0f} s and goes on"
        return Outcome("stability", Verdict.FAIL, reason, blocks=True)
    return None


def crashed(deaths: int, requests: int) -> Outcome:
    """The process that runs the version died in runs of it; the requests in these runs are counted."""
    if requests:
        what = "1 request" if requests == 1 else f"{requests} requests"
        reason = f"it crashed on live input: the warm-up worker died while it ran {what} with it"
    else:
        reason = f"it cannot be warmed: the warm-up worker died {deaths} times meanwhile"
    figures = {"crashes": float(deaths), "requests": float(requests)}
    return Outcome("stability", Verdict.FAIL, reason, blocks=True, figures=figures)


def distributions(figures: Figures) -> tuple[Distribution, ...]:
    """Both versions' times, their ratios, and how far apart their numbers are."""
    made = [
        distribution("run time", "ms", figures.times, TIMES, 1e3),
        distribution("champion's run time while it served", "ms", figures.champion_times, TIMES, 1e3),
        distribution("run time, as a multiple of the champion's", "", figures.ratios, RATIOS),
    ]
    for output in figures.outputs:
        made.append(differences(f"absolute difference of '{output.name}'", output.absolute))
        made.append(differences(f"relative difference of '{output.name}'", output.relative))
    return tuple(each for each in made if each.counts)


def report(
    version: tuple[str, str, str],
    champion: tuple[str, str],
    found: tuple[Outcome, ...],
    figures: Figures,
    began: float,
    took_s: float,
) -> Report:
    """The report of a warm-up. `version` is model, number and digest, `champion` number and digest, empty without."""
    model, number, digest = version
    return Report("warm", model, number, digest, found, began, took_s, *champion, distributions=distributions(figures))


def _samples(figures: Figures, settings: WarmupSettings, mirrored: Mirrored | None) -> Outcome:
    numbers = {f"{source.value}_requests": float(figures.samples.get(source, 0)) for source in Source}
    numbers |= {"rows": float(figures.rows), "seconds": figures.seconds, "rested_seconds": figures.rested_s}
    numbers["missed_requests"] = float(figures.missed)
    if mirrored is not None:
        numbers |= {"offered_requests": float(mirrored.offered), "sent_requests": float(mirrored.sent)}
        numbers |= {f"dropped_{why}_requests": float(count) for why, count in mirrored.dropped.items()}
    if not figures.total:
        return Outcome("samples", Verdict.FAIL, "nothing was run", blocks=True, figures=numbers)
    if figures.live >= settings.min_samples:
        reason = f"{figures.live} live requests within {figures.seconds:.0f} s"
        return Outcome("samples", Verdict.PASS, reason, figures=numbers)
    parts = [f"{count} {source.value}" for source in Source if (count := figures.samples.get(source, 0))]
    reason = f"{' and '.join(parts)} requests, {settings.min_samples} live ones were wanted"
    reason = "; ".join(each for each in (reason, figures.replayed, figures.left_out) if each)
    return Outcome("samples", Verdict.WARN, reason, figures=numbers)


def _errors(figures: Figures, settings: WarmupSettings) -> Outcome:
    wrong, total = figures.errors + figures.broken, max(figures.total, 1)
    numbers = {"errors": float(figures.errors), "broken": float(figures.broken), "rate": wrong / total}
    limit = f"at most {settings.max_error_rate:.4g} of them may"
    if wrong > settings.max_error_rate * figures.total:
        reason = f"{wrong} of {figures.total} requests failed, {limit}: {figures.first_error}"
        return Outcome("errors", Verdict.FAIL, reason, blocks=True, figures=numbers)
    return Outcome("errors", Verdict.PASS, f"{wrong} of {figures.total} requests failed", blocks=True, figures=numbers)


def _speed(figures: Figures, sla_ms: float | None) -> Outcome:
    numbers = {}
    for name, q in (("p50_ms", 0.5), ("p99_ms", 0.99)):
        known = quantile(figures.times, TIMES, q)
        if known is not None:
            numbers[name] = known.value * 1e3
    p99 = quantile(figures.times, TIMES, 0.99)
    if p99 is None:
        return Outcome("speed", Verdict.SKIP, "no run has succeeded", blocks=True)
    text = f"p99 of its runs is {p99.value * 1e3:.3g} ms"
    if sla_ms is None:
        return Outcome("speed", Verdict.SKIP, f"{text}; the model has no deadline.sla_ms", blocks=True, figures=numbers)
    numbers["sla_ms"] = sla_ms
    if p99.low * 1e3 > sla_ms:
        reason = f"{text}, deadline.sla_ms allows {sla_ms:g} ms"
        return Outcome("speed", Verdict.FAIL, reason, blocks=True, figures=numbers)
    return Outcome("speed", Verdict.PASS, f"{text} of {sla_ms:g} ms", blocks=True, figures=numbers)


def _latency(figures: Figures, settings: WarmupSettings) -> Outcome:
    pairs = sum(figures.ratios)
    ratio = quantile(figures.ratios, RATIOS, 0.5)
    if ratio is None or pairs < FEW_PAIRS:
        reason = f"{pairs} runs beside the champion, {FEW_PAIRS} are needed"
        return Outcome("latency", Verdict.SKIP, reason, blocks=True, figures={"pairs": float(pairs)})
    numbers = {"pairs": float(pairs), "ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
    champion = quantile(figures.champion_times, TIMES, 0.5)
    if champion is not None:
        numbers["champion_p50_ms"] = champion.value * 1e3
    text = f"its median run takes {ratio.value:.2f} × the champion's ({ratio.low:.2f} to {ratio.high:.2f})"
    failed = ratio.low > settings.max_latency_ratio
    if failed:
        text += f", {settings.max_latency_ratio:g} × at most"
    return Outcome("latency", Verdict.FAIL if failed else Verdict.PASS, text, blocks=True, figures=numbers)


def _agreement(figures: Figures, settings: WarmupSettings) -> Outcome:
    numbers: dict[str, float] = {}
    for output in figures.outputs:
        if output.compared:
            numbers[f"agreement_{output.name}"] = output.agreed / output.compared
        if output.elements:
            numbers[f"mean_difference_{output.name}"] = output.apart / output.elements
    judged = [output for output in figures.outputs if output.compared]
    if not judged:
        reason = "no output of the champion to judge by" if not figures.outputs else "its numbers are not judged"
        return Outcome("agreement", Verdict.SKIP, reason, blocks=True, figures=numbers)
    worst = min(judged, key=lambda output: output.agreed / output.compared)
    share = worst.agreed / worst.compared
    what = {Kind.LABEL: "label", Kind.SCORES: "largest score", Kind.NUMBERS: "number within `tolerance`"}[worst.kind]
    text = f"same {what} in '{worst.name}' as the champion for {share:.2%} of {worst.compared} rows"
    if share >= settings.min_agreement:
        return Outcome("agreement", Verdict.PASS, text, blocks=True, figures=numbers)
    text += f", {settings.min_agreement:.2%} at least"
    sure = _upper(worst.agreed, worst.compared) < settings.min_agreement
    verdict = Verdict.FAIL if sure else Verdict.WARN
    return Outcome("agreement", verdict, text if sure else f"{text}; that may be chance", blocks=True, figures=numbers)


def _accuracy(known: Accuracy | None, settings: WarmupSettings) -> Outcome:
    if known is None or not known.joined:
        return Outcome("accuracy", Verdict.SKIP, "it has not come true yet what was right", blocks=True)
    # Of the difference of two paired proportions (Agresti, Categorical Data Analysis, 3rd ed., 11.1).
    n, b, c = known.joined, known.only_champion, known.only_version
    drop = (b - c) / n
    low = drop - Z99 * math.sqrt(max(b + c - (b - c) ** 2 / n, 0.0)) / n
    numbers = {
        "rows": float(n),
        "accuracy": known.version_right / n,
        "champion_accuracy": known.champion_right / n,
        "drop": drop,
        "drop_low": low,
    }
    text = f"right for {known.version_right / n:.2%} of {n} rows, the champion for {known.champion_right / n:.2%}"
    failed = low > settings.max_accuracy_drop
    return Outcome("accuracy", Verdict.FAIL if failed else Verdict.PASS, text, blocks=True, figures=numbers)


def _upper(successes: int, total: int) -> float:
    """The upper end of the one-sided interval of 99 % of a share (Wilson 1927)."""
    z2, share = Z99 * Z99, successes / total
    middle = share + z2 / (2 * total)
    spread = Z99 * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return (middle + spread) / (1 + z2 / total)
