"""Whether a version has become worse than it was: found out while it is looked at every few seconds, for ever.

What is bet on is the *loss* of each request: 1 for a wrong label, the distance of a number. Against the claim that
the mean loss is at most a limit c one stakes a part s of what one has on each request: it becomes
`1 + s * (loss / c - 1)` times as much. Where the claim is true this is at best a fair game, whatever losses there are
above 0, so from 1 one comes to A at any time with a chance of 1/A at most (Ville; I. Waudby-Smith, A. Ramdas,
"Estimating means of bounded random variables by betting", JRSS-B 86, 2024). When a version becomes worse nobody knows
beforehand, so the bet is begun anew whenever it has come to nothing: the CUSUM form of an e-detector (J. Shin,
A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", NEJSDS 2, 2024). It may
begin anew once in each slot of ten seconds only, however many requests come and however often anybody looks. So by the
union bound a version whose true loss is *at* the limit is found worse in a day with a chance of 8 640 / A at most: that
is 0.09 % for `ALARM`; one that is as good as its baseline has the whole tolerance between itself and the limit, and is
found worse far less often still. Nobody knows the best stake, so a twelfth is bet by each of `STAKES`, and the mean of
what they came to counts.

What is back is found in the same way, with the same limit: a bet that the mean loss is below it.

The limit. Of labels it is the baseline's loss and the drop that is tolerated, of numbers so many times the baseline's
mean absolute error; in both cases no less than what the baseline's own loss may be in truth, given how few requests it
was taken from (one error in a thousand): a lucky baseline is no decline later. A loss counts at most `CAP` limits (a
label's at most 1): one absurd truth is no decline either.

What it takes for granted: whether and when it becomes known what was right does not depend on what was predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist
from typing import Final

import numpy as np

from router.core.outcome import SLOT_NS, Array, Kind, Losses

STAKES: Final = np.geomspace(0.01, 0.95, 12)
"""Parts of what one has that are bet."""
ALARM: Final = math.log(1e7)
"""So much, as a logarithm, one has to come to before a version is said to be worse,"""
BACK: Final = math.log(1e4)
"""and to be back."""
CAP: Final = 20.0
SURE: Final = NormalDist().inv_cdf(0.999)
"""Of the baseline: its true loss is above its upper end once in a thousand."""
LEAST: Final = 1e-12
"""A limit: where the baseline was never wrong."""
SLOT_S: Final = SLOT_NS / 1e9


class Origin(StrEnum):
    """Where a baseline comes from."""

    EXAM = "exam"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is tolerated: `drop` of the share of right labels, `rise` of the mean absolute error as a part of it.

    The baseline is the mean of the first `rows` requests that came true, where no exam says it.
    """

    drop: float
    rise: float
    rows: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a version is compared with: its mean loss over so many requests, and `high`, above which the true one is
    not. `since_s`: they are those from an instant on (seconds since 1970), and not its first ones of all."""

    origin: Origin
    requests: int
    loss: float
    high: float
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the evidence rests on: so many requests since an instant (seconds since 1970), and their mean loss."""

    since_s: float
    requests: int
    loss: float


class Status(StrEnum):
    """As events tell it. Without a baseline nothing is known yet."""

    UNKNOWN = "unknown"
    GREEN = "green"
    RED = "red"


def of_exam(kind: Kind, rows: int, loss: float) -> Baseline:
    """The baseline that an exam gives: the share of wrong labels, or the mean absolute error, over so many rows."""
    return Baseline(Origin.EXAM, rows, loss, _wilson(loss, rows) if kind is Kind.LABELS else loss)


def of_first(kind: Kind, losses: Array, since_s: float = 0.0) -> Baseline:
    """The baseline that the first losses give, or with `since_s` the first from an instant on."""
    rows = len(losses)
    if kind is Kind.LABELS:
        loss = float(losses.mean())
        return Baseline(Origin.FIRST, rows, loss, _wilson(loss, rows), since_s)
    losses = _held(losses)
    loss = float(losses.mean())
    spread = float(losses.std(ddof=1)) if rows > 1 else math.inf
    return Baseline(Origin.FIRST, rows, loss, loss + SURE * spread / math.sqrt(rows), since_s)


def _held(losses: Array) -> Array:
    """None above CAP times the mean of all that are held so, as it is with those that come later: one absurd truth
    among the first would hide every decline. Where too many are so large they are no exception, and stay."""
    ordered, rows = np.sort(losses), len(losses)
    sums = np.cumsum(ordered)
    for above in range(math.ceil(rows / CAP)):
        mean = sums[-1 - above] / (rows - CAP * above)
        if ordered[-1 - above] <= CAP * mean:
            held: Array = np.minimum(losses, CAP * mean)
            return held
    return losses


def limit_of(kind: Kind, rule: Rule, baseline: Baseline) -> float:
    """The mean loss above which a version is worse."""
    tolerated = baseline.loss + rule.drop if kind is Kind.LABELS else baseline.loss * (1.0 + rule.rise)
    return max(tolerated, baseline.high, LEAST)


def _wilson(part: float, rows: int) -> float:
    """The upper end of a share (Wilson 1927); parts of requests vary less than whole ones, so it holds for these."""
    whole = 1 + SURE * SURE / rows
    half = SURE * math.sqrt(part * (1 - part) / rows + SURE * SURE / (4 * rows * rows))
    return (part + SURE * SURE / (2 * rows) + half) / whole


class _Bet:
    """On gains: values of at least 0 whose mean is 1 at most, if the claim is true. One for each of STAKES."""

    def __init__(self) -> None:
        self._logs = np.zeros(len(STAKES))
        self._requests = np.zeros(len(STAKES), np.int64)
        self._losses = np.zeros(len(STAKES))
        self._since = np.zeros(len(STAKES), np.int64)
        self._slot = -1

    def take(self, gains: Array, losses: Array, slots: Array, wanted: float) -> tuple[int, Seen | None]:
        """Bet on all of these, or until one has come to `wanted`: how many requests were taken, and what it rests on
        then; None where it did not come so far."""
        starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
        values, places = np.unique(gains, return_inverse=True)
        logs = np.log1p(STAKES * (values[:, None] - 1.0))[places]  # [requests, stakes]
        by_slot = np.add.reduceat(logs, starts, axis=0)
        ends = np.append(starts[1:], len(slots))
        anew = slots[0] != self._slot
        gone = self._logs <= 0.0 if anew else np.zeros(len(STAKES), bool)
        self._logs[gone], self._requests[gone], self._losses[gone], self._since[gone] = 0.0, 0, 0.0, slots[0]
        paths = self._logs + np.cumsum(by_slot, axis=0)
        # What each slot finds: before the first nothing is begun anew but what is `gone`.
        lowest = np.minimum.accumulate(np.vstack((np.zeros(len(STAKES)), paths[:-1])), axis=0)
        stand = paths - np.minimum(lowest, 0.0)
        most = stand.max(axis=1)
        come = most + np.log(np.exp(stand - most[:, None]).mean(axis=1))
        reached = np.flatnonzero(come >= wanted)
        last = int(reached[0]) if len(reached) else len(starts) - 1
        self._keep(paths[: last + 1], stand[last], losses, slots, starts, int(ends[last]))
        taken = int(ends[last])
        return taken, self.seen() if len(reached) else None

    def _keep(self, paths: Array, stand: Array, losses: Array, slots: Array, starts: Array, end: int) -> None:
        """How each stake stands after the last slot, and since when."""
        sums = np.concatenate(([0.0], np.cumsum(losses[:end])))
        for stake in range(len(STAKES)):
            before = paths[:-1, stake]
            lowest = int(len(before) - 1 - np.argmin(before[::-1])) if len(before) else -1
            if lowest >= 0 and before[lowest] <= 0.0:
                first = int(starts[lowest + 1])
                self._since[stake] = slots[first]
                self._requests[stake], self._losses[stake] = end - first, sums[end] - sums[first]
            else:
                self._requests[stake] += end
                self._losses[stake] += sums[end]
        self._logs = stand
        self._slot = int(slots[end - 1])

    def seen(self) -> Seen:
        """What the stake that came farthest rests on."""
        best = int(np.argmax(self._logs))
        requests = int(self._requests[best])
        loss = float(self._losses[best]) / requests if requests else 0.0
        return Seen(float(self._since[best]) * SLOT_S, requests, loss)


@dataclass(frozen=True, slots=True)
class Finding:
    """How a version stands: `seen` is what its decline rests on, and what followed; None while all is well."""

    status: Status
    baseline: Baseline | None = None
    limit: float = 0.0
    seen: Seen | None = None
    gathered: int = 0
    """Requests of the baseline, while it is not known."""


class Decline:
    """Watches one version, of one kind. Not for several threads.

    Without a `baseline` it is made of what comes; `since_s` is when that began, where it is not the first of all.
    """

    def __init__(self, kind: Kind, rule: Rule, baseline: Baseline | None = None, since_s: float = 0.0) -> None:
        self._kind = kind
        self._rule = rule
        self._since_s = since_s
        self._first: list[float] = []
        self._baseline = baseline
        self._limit = 0.0 if baseline is None else limit_of(kind, rule, baseline)
        self._bet = _Bet()
        self._worse: Seen | None = None

    @property
    def rule(self) -> Rule:
        """What it is watched by."""
        return self._rule

    def follow(self, rule: Rule) -> None:
        """Another rule from now on. The baseline stays, what was found by the old rule does not."""
        self._rule = rule
        if self._baseline is not None:
            self._limit = limit_of(self._kind, rule, self._baseline)
        self._bet, self._worse = _Bet(), None

    def add(self, known: Losses) -> Iterator[Finding]:
        """More became known, in its order. Gives each change of the status."""
        losses, slots = known
        if self._baseline is None:
            missing = max(self._rule.rows - len(self._first), 1)
            self._first += losses[:missing].tolist()
            losses, slots = losses[missing:], slots[missing:]
            if len(self._first) < self._rule.rows:
                return
            self._baseline = of_first(self._kind, np.array(self._first), self._since_s)
            self._limit = limit_of(self._kind, self._rule, self._baseline)
            self._first = []
            yield self.finding()
        while len(losses):
            taken, reached = self._one(losses, slots)
            if reached is not None:
                self._worse = reached if self._worse is None else None
                self._bet = _Bet()
                yield self.finding()
            losses, slots = losses[taken:], slots[taken:]

    def _one(self, losses: Array, slots: Array) -> tuple[int, Seen | None]:
        cap = 1.0 if self._kind is Kind.LABELS else CAP * self._limit
        if self._limit >= cap:  # a label cannot be wrong more often than always
            return len(losses), None
        counted = np.minimum(losses, cap)
        if self._worse is None:
            return self._bet.take(counted / self._limit, losses, slots, ALARM)
        taken, reached = self._bet.take((cap - counted) / (cap - self._limit), losses, slots, BACK)
        before = self._worse
        requests = before.requests + taken
        total = before.loss * before.requests + float(losses[:taken].sum())
        self._worse = replace(before, requests=requests, loss=total / requests)
        return taken, reached

    def finding(self) -> Finding:
        """How it stands now."""
        if self._baseline is None:
            return Finding(Status.UNKNOWN, gathered=len(self._first))
        status = Status.GREEN if self._worse is None else Status.RED
        return Finding(status, self._baseline, self._limit, self._worse)
