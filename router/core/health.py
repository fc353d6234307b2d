"""Whether a version serves its callers well: green, yellow or red, why, and what to do next. Pure.

Errors, fallbacks and the p99 are judged over the shortest window that has enough requests. The error budget is judged
as in "The Site Reliability Workbook" (Beyer et al. 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts": a burn rate
counts when it is high over a long window and over a short one too, so that what is over is soon not told any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import reduce
from itertools import zip_longest
from typing import Final

from router.core.vitals import Vitals
from router.model_settings import HealthSettings, ModelSettings


class Level(IntEnum):
    """How a version does. The larger one is worse."""

    GREEN = 0
    YELLOW = 1
    RED = 2

    @property
    def word(self) -> str:
        """As events and commands name it."""
        return self.name.lower()


class Count(IntEnum):
    """What is counted of a version. `LATE` are those of `ANSWERED` that came after the target."""

    ANSWERED = 0
    LATE = 1
    FALLBACKS = 2
    REJECTED = 3
    CANCELED = 4
    BACKEND = 5
    OTHER = 6
    FRESH = 7
    HEDGES_SENT = 8
    HEDGES_WON = 9
    QUEUE_US = 10
    RUNS = 11
    ROWS = 12
    BREAKERS_OPENED = 13


FAILURES: Final = (Count.REJECTED, Count.BACKEND, Count.OTHER)
"""Requests that had no answer. Those whose callers went away are none."""
MINUTE_S, FIVE_S, HOUR_S, DAY_S = 60, 300, 3600, 86_400
FAST_BURN, SLOW_BURN = 14.4, 6.0
"""Of table 5-8 there: red over 1 hour and 5 minutes, yellow over 6 hours and 30 minutes."""
FEW_BAD: Final = 10
"""Requests that failed or came late, below which a burn rate may be chance."""
RED_TIMES: Final = 5.0
"""A share that is so many times what is allowed is red, the half of all in any case."""
QUANTILES: Final = (0.5, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Span:
    """What came within `seconds`: `counts` by Count, and the times of answers by the buckets of `core/latency`."""

    seconds: float
    counts: Sequence[int]
    buckets: Sequence[int] = ()

    def __add__(self, other: Span) -> Span:
        return Span(
            max(self.seconds, other.seconds), _added(self.counts, other.counts), _added(self.buckets, other.buckets)
        )

    @property
    def failed(self) -> int:
        """Requests that had no answer."""
        return sum(self.counts[each] for each in FAILURES)

    @property
    def requests(self) -> int:
        """All that ended, but for those whose callers went away."""
        return self.counts[Count.ANSWERED] + self.counts[Count.FALLBACKS] + self.failed

    @property
    def bad(self) -> int:
        """Those that had no answer, or had it too late. A fallback answers in time: that is what it is for."""
        return self.failed + self.counts[Count.LATE]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0

    @property
    def attainment(self) -> float | None:
        """Share of the requests that were answered in time; None without any."""
        return self.share(self.requests - self.bad)

    def share(self, count: int) -> float | None:
        """As a share of the requests; None without any."""
        return count / self.requests if self.requests else None

    def quantile(self, q: float) -> float | None:
        """Seconds that a share `q` of the version's own answers do not exceed; None without any."""
        return Vitals(buckets=tuple(self.buckets)).quantile(q)

    def quantiles(self) -> list[float | None]:
        """Those of QUANTILES."""
        times = Vitals(buckets=tuple(self.buckets))
        return [times.quantile(q) for q in QUANTILES]

    @property
    def mean_queue_s(self) -> float | None:
        """Seconds that an answered request waited for its run, on average."""
        answered = self.counts[Count.ANSWERED]
        return self.counts[Count.QUEUE_US] / 1e6 / answered if answered else None

    @property
    def mean_rows(self) -> float | None:
        """Rows of a run, on average."""
        runs = self.counts[Count.RUNS]
        return self.counts[Count.ROWS] / runs if runs else None


@dataclass(frozen=True, slots=True)
class Spent:
    """Requests and the bad ones among them, of a long window."""

    requests: int = 0
    bad: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.requests + other.requests, self.bad + other.bad)

    def burn(self, availability: float) -> float:
        """How many times as fast as the error budget allows; 1 spends all of it in its time. 0 without requests."""
        allowed = (1.0 - availability) * self.requests
        return self.bad / allowed if allowed > 0 else 0.0

    def left(self, availability: float) -> float:
        """The share of the error budget of this window that is left; below 0: overspent."""
        return 1.0 - self.burn(availability)


def _added(mine: Sequence[int], other: Sequence[int]) -> list[int]:
    return [a + b for a, b in zip_longest(mine, other, fillvalue=0)]


NOTHING: Final = Spent()


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is known of a version now."""

    minute: Span
    five: Span
    hour: Span
    half_hour: Spent = NOTHING
    six_hours: Spent = NOTHING
    day: Spent = NOTHING
    pending: int = 0
    hung: int = 0
    """Threads in runs that have been given up."""
    breakers_open: int = 0
    idle_s: float | None = None
    """Since its last request; None where none was seen."""

    def __add__(self, other: Seen) -> Seen:
        idle = [each for each in (self.idle_s, other.idle_s) if each is not None]
        return Seen(
            self.minute + other.minute,
            self.five + other.five,
            self.hour + other.hour,
            self.half_hour + other.half_hour,
            self.six_hours + other.six_hours,
            self.day + other.day,
            self.pending + other.pending,
            self.hung + other.hung,
            self.breakers_open + other.breakers_open,
            min(idle, default=None),
        )

    def judged_by(self, few: int) -> Span | None:
        """The shortest span that has so many requests."""
        return next((each for each in (self.minute, self.five, self.hour) if each.requests >= few), None)


def together(all_seen: Sequence[Seen]) -> Seen | None:
    """The sum over versions; None over none."""
    return reduce(Seen.__add__, all_seen) if all_seen else None


@dataclass(frozen=True, slots=True)
class Status:
    """How a version does, why, and what to do: each a line for a person, the worst first."""

    level: Level = Level.GREEN
    reasons: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, or worth a word."""

    level: Level
    text: str
    steps: tuple[str, ...] = ()


def target_ms(settings: ModelSettings) -> float | None:
    """By when an answer is in time: `health.target_ms`, else `deadline.sla_ms`. None: whenever it comes."""
    return settings.health.target_ms if settings.health.target_ms is not None else settings.deadline.sla_ms


def judged(seen: Seen, settings: HealthSettings, target: float | None, model: str, standby: str | None) -> Status:
    """How a version of `model` does; `target` in milliseconds, `standby` the version to which a rollback leads."""
    return status([*_findings(seen, settings, target, model, standby)])


def status(findings: Sequence[Finding]) -> Status:
    """All of them as one: the worst says how it stands."""
    ordered = sorted(findings, key=lambda each: -each.level)
    steps = dict.fromkeys(step for each in ordered for step in each.steps)
    level = max((each.level for each in ordered), default=Level.GREEN)
    return Status(level, tuple([each.text for each in ordered]), tuple(steps))


def _findings(
    seen: Seen, settings: HealthSettings, target: float | None, model: str, standby: str | None
) -> Iterator[Finding]:
    explain = f"router explain {model} --last 20"
    back = (f"router rollback {model}",) if standby else ()
    span = seen.judged_by(settings.min_requests)
    if span is not None:
        yield from _errors(span, settings, explain, back)
        yield from _fallbacks(span, settings, explain, back)
        yield from _slow(span, target, model, back)
        yield from _burning(seen, settings, explain, back)
    if seen.hung:
        runs = "a run has" if seen.hung == 1 else f"{seen.hung} runs have"
        yield Finding(Level.YELLOW, f"{runs} been given up and still hold threads", (explain, "router status"))
    if seen.breakers_open:
        one = seen.breakers_open == 1
        told = "a session that fails too often is" if one else f"{seen.breakers_open} sessions that fail too often are"
        yield Finding(Level.YELLOW, f"{told} not asked", (explain, *back))
    if seen.idle_s is None or seen.idle_s >= settings.idle_s:
        since = "since the controller started" if seen.idle_s is None else f"for {duration(seen.idle_s)}"
        yield Finding(Level.GREEN, f"no request {since}", (f"router models {model}",))
    elif span is None:
        text = f"too few requests to judge: {seen.hour.requests} in the last hour, {settings.min_requests} are needed"
        yield Finding(Level.GREEN, text)


def _errors(span: Span, settings: HealthSettings, explain: str, back: tuple[str, ...]) -> Iterator[Finding]:
    level = _level(span.failed, span.requests, settings.max_error_rate)
    if not level:
        return
    worst = max(FAILURES, key=lambda each: span.counts[each])
    step, why = {
        Count.REJECTED: ("router status", "they were turned away: overloaded, or its breaker is open"),
        Count.BACKEND: (explain, "the model failed or broke its contract"),
        Count.OTHER: (explain, "their time was over, or there was nothing to run"),
    }[worst]
    text = (
        f"{span.failed / span.requests:.2%} of {span.requests} requests failed within {duration(span.seconds)},"
        f" {settings.max_error_rate:.2%} are allowed; of most, {why}"
    )
    yield Finding(level, text, (step, explain, *back))


def _fallbacks(span: Span, settings: HealthSettings, explain: str, back: tuple[str, ...]) -> Iterator[Finding]:
    count = span.counts[Count.FALLBACKS]
    level = _level(count, span.requests, settings.max_fallback_rate)
    if level:
        text = (
            f"{count / span.requests:.2%} of {span.requests} requests were answered by a fallback within"
            f" {duration(span.seconds)}, {settings.max_fallback_rate:.2%} are allowed"
        )
        yield Finding(level, text, (explain, *back))


def _slow(span: Span, target: float | None, model: str, back: tuple[str, ...]) -> Iterator[Finding]:
    late, answered = span.counts[Count.LATE], span.counts[Count.ANSWERED]
    if target is None or late <= 0.01 * answered:
        return
    level = Level.RED if late > 0.5 * answered else Level.YELLOW
    text = (
        f"{late / answered:.2%} of {answered} answers came later than {target:g} ms within {duration(span.seconds)}:"
        f" p99 is {(span.quantile(0.99) or 0.0) * 1e3:.3g} ms"
    )
    yield Finding(level, text, (f"router health {model}", "router status", *back))


def _burning(seen: Seen, settings: HealthSettings, explain: str, back: tuple[str, ...]) -> Iterator[Finding]:
    goal = settings.availability
    if goal >= 1.0:
        return
    hour, five = (Spent(each.requests, each.bad).burn(goal) for each in (seen.hour, seen.five))
    six, half = seen.six_hours.burn(goal), seen.half_hour.burn(goal)
    left = seen.day.left(goal)
    budget = f"{left:.0%} of the day's is left" if left > 0 else f"the day's is spent {1.0 - left:.1f} times"
    steps = (explain, *back)
    if min(hour, five) >= FAST_BURN and seen.five.bad >= FEW_BAD:
        text = f"the error budget burns {min(hour, five):.0f} times too fast over 5 minutes and 1 hour; {budget}"
        yield Finding(Level.RED, text, steps)
    elif min(six, half) >= SLOW_BURN and seen.half_hour.bad >= FEW_BAD:
        text = f"the error budget burns {min(six, half):.1f} times too fast over 30 minutes and 6 hours; {budget}"
        yield Finding(Level.YELLOW, text, steps)
    elif left <= 0 and five > 1.0 and seen.day.bad >= FEW_BAD:
        yield Finding(Level.YELLOW, f"the error budget goes on being spent; {budget}", steps)


def _level(count: int, of: int, allowed: float) -> Level:
    if count <= allowed * of:
        return Level.GREEN
    return Level.RED if count > min(RED_TIMES * allowed, 0.5) * of else Level.YELLOW


def duration(seconds: float) -> str:
    """For a person."""
    for unit, factor in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= factor:
            count = round(seconds / factor)
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return "0 seconds"


@dataclass(frozen=True, slots=True)
class Steady:
    """A level that does not flap: worse once it was found so twice in a row, better once it was for `calm_s`.

    Time comes in, in monotonic seconds. `since` is when the level came.
    """

    level: Level = Level.GREEN
    since: float = 0.0
    worse: int = 0
    """Looks in a row that found it worse."""
    worst: Level = Level.GREEN
    """The least bad of those: all of them found at least this."""
    better_since: float | None = None
    best: Level = Level.GREEN
    """The worst that was found since it is better."""

    @property
    def settled(self) -> bool:
        """Green, and nothing has been found that is worse."""
        return not (self.level or self.worse)

    def after(self, found: Level, now: float, calm_s: float, looks: int = 2) -> Steady:
        """With one more look."""
        if found > self.level:
            count, least = self.worse + 1, min(found, self.worst) if self.worse else found
            if count >= looks:
                return Steady(least, now)
            return Steady(self.level, self.since, count, least)
        if found == self.level:
            return Steady(self.level, self.since)
        since = now if self.better_since is None else self.better_since
        best = max(found, self.best)
        if now - since >= calm_s:
            return Steady(best, now)
        return Steady(self.level, self.since, better_since=since, best=best)
