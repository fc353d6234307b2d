"""The bake: a candidate beside the old champion at the same time, and whether it does worse than it may. Pure.

Both are looked at again and again: over the latest interval, so that a change is seen at once, over the latest few, and
over all that came since the bake began, so that little traffic adds up too. Chance alone says whose request is whose:
what hits both, a stalled machine or callers who ask for what cannot be, falls on each by its share of the requests, and
an exact test of the two shares holds (`core/chance`), however it comes in bursts.

That takes requests that are drawn one by one. Those with one key stay together: a key that has a large part of the
requests, and fails more often than others wherever it lands, sends back a version that is as good more often than
`alpha` says. So do callers who name one of the two versions: the counters of a version do not tell them from others.

A candidate breaks off its bake only by a difference that is both more than chance and more than its settings allow. All
looks, views and measures share one risk `alpha` (Bonferroni): that of sending back a version as good as the champion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router.core.chance import binomial, fisher
from router.core.latency import upper_bound_seconds
from router.core.vitals import Vitals
from router.core.warmup import Figures
from router.version_settings import CanarySettings

BACK: Final = (1, 4, 16)
"""Views: the latest of so many intervals, beside the one that is everything."""
GROUP: Final = 2
"""Requests that wait together are late together: so many of their times count as one."""
FEW: Final = 30
"""Requests of each, or requests compared, below which nothing is said."""
FEW_TIMES: Final = 100
"""The same of their times: one of them is above the p99."""
FAR: Final = 0.005
"""Bounds of times that a smaller share of all answers lies beyond are not looked at."""


class Measure(StrEnum):
    """What is compared."""

    ERRORS = "errors"
    """Requests that failed, or broke the contract."""
    FALLBACKS = "fallbacks"
    P99 = "p99"
    AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True)
class Compared:
    """The same inputs run by both: `requests`, and for each output that can be judged the rows compared and alike."""

    requests: int = 0
    outputs: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def lacks(self, few: int) -> bool:
        """Whether more is to be compared before so few can be said to be enough.

        Not where so many requests were run and no output of theirs can be judged: more of them would show no more.
        """
        rows = max((rows for rows, _ in self.outputs.values()), default=0)
        return self.requests < few or 0 < rows < few

    def since(self, before: Compared) -> Compared | None:
        """What came after `before`; None where it began anew meanwhile."""
        made = {name: _less(pair, before.outputs.get(name, (0, 0))) for name, pair in self.outputs.items()}
        fell = self.requests < before.requests or any(min(pair) < 0 for pair in made.values())
        return None if fell or before.outputs.keys() - made.keys() else Compared(self.requests - before.requests, made)


NONE: Final = Vitals()
NOT_COMPARED: Final = Compared()


def compared(figures: Figures | None) -> Compared:
    """What an observation of the old champion on copies of the candidate's runs says of their answers."""
    if figures is None:
        return NOT_COMPARED
    judged = {each.name: (each.compared, each.agreed) for each in figures.outputs if each.compared}
    return Compared(figures.total - figures.errors - figures.broken, judged)


@dataclass(frozen=True, slots=True)
class Instant:
    """What is known at a time, in monotonic seconds; all of it cumulative."""

    seconds: float
    candidate: Vitals = NONE
    control: Vitals = NONE
    compared: Compared = NOT_COMPARED


@dataclass(frozen=True, slots=True)
class View:
    """What came within the latest `seconds`."""

    seconds: float
    candidate: Vitals
    control: Vitals
    compared: Compared


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure of one view. `candidate` and `control` are shares, for p99 seconds, of so many requests (rows).

    `control` is None where the candidate is held against a `limit` alone. `chance`: how often that much or more comes
    by chance alone. `text` is for a person.
    """

    measure: Measure
    seconds: float
    candidate: float
    candidate_of: int
    control: float | None
    control_of: int
    limit: float
    chance: float
    breach: bool
    text: str

    @property
    def facts(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "measure": str(self.measure),
            "seconds": round(self.seconds, 3),
            "candidate": self.candidate,
            "candidate_of": self.candidate_of,
            "control": self.control,
            "control_of": self.control_of,
            "limit": self.limit,
            "chance": self.chance,
            "breach": self.breach,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Bake:
    """One step's bake: where it began, and its latest instants, oldest first."""

    began: Instant
    past: tuple[Instant, ...]

    @staticmethod
    def at(now: Instant) -> Bake:
        """A bake that begins."""
        return Bake(now, (now,))

    def after(self, now: Instant) -> Bake:
        """With this instant; from it on where counters began anew, as when a version was loaded again."""
        last = self.past[-1]
        if now.candidate.since(last.candidate) is None or now.control.since(last.control) is None:
            return Bake.at(now)
        began, past = self.began, self.past
        if now.compared.since(last.compared) is None:  # the observation alone did: all of it is new
            began, *past_ = [replace(each, compared=NOT_COMPARED) for each in (began, *past)]
            past = tuple(past_)
        return Bake(began, (*past, now)[-BACK[-1] - 1 :])

    @property
    def compared(self) -> Compared:
        """What both have run alike since the bake began."""
        return self.past[-1].compared.since(self.began.compared) or NOT_COMPARED

    @property
    def views(self) -> Iterator[View]:
        """Of the latest instant, the shortest first and all of the bake last; none twice."""
        now, past = self.past[-1], self.past
        latest = [past[-back - 1] for back in BACK if back < len(past) and past[-back - 1].seconds > self.began.seconds]
        for each in (*latest, self.began):
            candidate, control = now.candidate.since(each.candidate), now.control.since(each.control)
            same = now.compared.since(each.compared)
            if candidate is not None and control is not None:
                yield View(now.seconds - each.seconds, candidate, control, same or NOT_COMPARED)


def level(look: int, planned: int, alpha: float) -> float:
    """How rare a breach has to be by chance at the `look`, which counts from 1, of so many that are planned.

    Half of `alpha` is for those that are planned, half for all that may follow: 1/2 + 1/6 + 1/12 + … = 1.
    """
    tests = len(Measure) * (len(BACK) + 1)
    beyond = look - planned
    return alpha / 2 / tests / (max(planned, 1) if beyond <= 0 else beyond * (beyond + 1))


def more(hits: int, of: int, control_hits: int, control_of: int, margin: float) -> float:
    """How often chance brings so many hits to the candidate, if its share of hits is the control's and the margin."""
    if min(of, control_of) < FEW:
        return 1.0
    return fisher(hits, of, min(control_hits + round(margin * control_of), control_of), control_of)


def slower(candidate: Vitals, control: Vitals, ratio: float) -> float:
    """How often chance makes the candidate's times so long, if they are the control's, each taken `ratio` times.

    At each bound between buckets, which the times of both together choose: the share of the candidate's answers above
    it, and the control's above a `ratio`-th of it.
    """
    of, control_of = candidate.timed // GROUP, control.timed // GROUP
    if min(candidate.timed, control.timed) < FEW_TIMES:
        return 1.0
    both = (candidate + control).buckets
    left = whole = sum(both)
    above, least, looked = candidate.timed, 1.0, 0
    for place, count in enumerate(both):
        left -= count
        above -= candidate.buckets[place] if place < len(candidate.buckets) else 0
        if FAR * whole <= left < whole:
            looked += 1
            late = math.ceil(control.above(upper_bound_seconds(place) / ratio) / GROUP)
            least = min(least, fisher(above // GROUP, of, min(late, control_of), control_of))
    return min(least * max(looked, 1), 1.0)


def agrees_less(rows: int, alike: int, requests: int, least: float) -> float:
    """How often chance makes so few of the rows alike, if a share `least` is. The rows of one request are one look."""
    if requests < FEW or rows < FEW:
        return 1.0
    looks = min(rows, requests)
    apart = (rows - alike) * looks // rows
    return binomial(apart, looks, 1.0 - least)


def found(
    bake: Bake, settings: CanarySettings, rare: float, control: str, earlier: Vitals | None = None
) -> tuple[Finding, ...]:
    """What is to be said at the latest instant: of each measure its clearest breach, else all of the bake.

    `rare` is the `level` of this look, `control` names the old champion. `earlier`, where the candidate has the larger
    share by now: what the old champion had when that was its own. More traffic alone makes a version slower, so the
    candidate's p99 has to be worse than this as well. Nothing of the kind excuses failures or fallbacks.
    """
    best: dict[Measure, Finding] = {}
    for view in bake.views:
        for each in _findings(view, settings, rare, control, earlier):
            known = best.get(each.measure)
            if known is None or not known.breach or (each.breach and each.chance < known.chance):
                best[each.measure] = each
    return tuple(best.values())


def _findings(
    view: View, settings: CanarySettings, rare: float, control: str, earlier: Vitals | None
) -> Iterator[Finding]:
    ours, theirs = view.candidate, view.control
    if ours.requests and theirs.requests:
        rates = (
            (Measure.ERRORS, ours.failures, theirs.failures, settings.max_error_rate),
            (Measure.FALLBACKS, ours.fallbacks, theirs.fallbacks, settings.max_fallback_rate),
        )
        for measure, hits, control_hits, margin in rates:
            yield _rate(view, measure, (hits, control_hits), margin, rare, control)
    if ours.timed and theirs.timed:
        yield _p99(view, settings, rare, control, earlier)
    yield from _agreement(view, settings, rare, control)


def _rate(view: View, measure: Measure, hits: tuple[int, int], margin: float, rare: float, control: str) -> Finding:
    of, control_of = view.candidate.requests, view.control.requests
    ours, theirs = hits[0] / of, hits[1] / control_of
    chance = more(hits[0], of, hits[1], control_of, margin)
    breach, unsure = _judged(chance, rare, ours > theirs + margin, True, control)
    what = "failed" if measure is Measure.ERRORS else "were answered by something else"
    text = (
        f"{ours:.2%} of {of} requests {what} within {view.seconds:.0f} s, {theirs:.2%} of {control_of} of version"
        f" {control} at the same time; {margin:.2%} more are allowed{unsure}"
    )
    return Finding(measure, view.seconds, ours, of, theirs, control_of, margin, chance, breach, text)


def _p99(view: View, settings: CanarySettings, rare: float, control: str, earlier: Vitals | None) -> Finding:
    ratio = settings.max_p99_ratio
    ours, theirs = view.candidate.quantile(0.99) or 0.0, view.control.quantile(0.99) or 0.0
    before = (earlier.quantile(0.99) or 0.0) if earlier is not None and earlier.timed >= FEW_TIMES else 0.0
    chance = slower(view.candidate, view.control, ratio) if ours > ratio * theirs else 1.0
    breach, unsure = _judged(chance, rare, ours > ratio * theirs, ours > ratio * before, control)
    times = f"{ours / theirs:.1f} times as long, {ratio:g} times are allowed{unsure}"
    of, control_of = view.candidate.timed, view.control.timed
    text = (
        f"p99 of {of} answers within {view.seconds:.0f} s is {ours * 1e3:.3g} ms, {theirs * 1e3:.3g} ms of {control_of}"
        f" of version {control} at the same time: {times}"
    )
    return Finding(Measure.P99, view.seconds, ours, of, theirs, control_of, ratio, chance, breach, text)


def _judged(chance: float, rare: float, worse: bool, worse_than_earlier: bool, control: str) -> tuple[bool, str]:
    """Whether it is a breach; what is to be added where the figures alone look like one."""
    if not worse:
        return False, ""
    if chance >= rare:
        return False, "; that may be chance"
    if not worse_than_earlier:
        return False, f"; version {control} did no better when it had the larger share"
    return True, ""


def _agreement(view: View, settings: CanarySettings, rare: float, control: str) -> Iterator[Finding]:
    least, outputs = settings.min_agreement, view.compared.outputs
    judged = {name: pair for name, pair in outputs.items() if pair[0]}
    if not judged:
        return
    chances = {name: agrees_less(*pair, view.compared.requests, least) for name, pair in judged.items()}
    name = min(judged, key=lambda each: (chances[each], judged[each][1] / judged[each][0]))
    rows, alike = judged[name]
    chance = min(chances[name] * len(judged), 1.0)
    breach, unsure = _judged(chance, rare, alike < least * rows, True, control)
    text = (
        f"the same in '{name}' as version {control} for {alike / rows:.2%} of {rows} rows of the same requests within"
        f" {view.seconds:.0f} s; {least:.2%} at least are wanted{unsure}"
    )
    yield Finding(Measure.AGREEMENT, view.seconds, alike / rows, rows, None, rows, least, chance, breach, text)


def breaches(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those by which the candidate breaks off its bake, the surest first."""
    return tuple(sorted([each for each in findings if each.breach], key=lambda each: each.chance))


def _less(pair: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return pair[0] - other[0], pair[1] - other[1]
