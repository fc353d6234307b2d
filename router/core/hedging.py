"""Whether a slow run is given a second chance elsewhere.

Sources: Dean & Barroso, *The Tail at Scale* (CACM 56(2), 2013), "Hedged requests": the second attempt is sent when the
first has been outstanding for longer than a high quantile of what is expected. gRFC A6 (gRPC client retries): the first
success wins, hedges are throttled. Finagle's `BackupRequestFilter` and `RetryBudget`: the delay is the quantile that
belongs to the budget, and tokens are earned by primaries.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from router.core.latency import RunTimes
from router.core.window import Window

BUSY_SHARE: Final = 0.7
"""Runs that execute, divided by cores: from here on a hedge only takes the time that primaries need."""


class HedgeDelay:
    """How long a run may take before it is hedged: the share of runs that take longer is the budget's, and then half as
    long again. Without that all of the budget goes to runs that are a little late, and none is left for those that
    stall.

    Never below `least_s`, which keeps runs that are short anyway from being hedged for a hiccup.
    """

    __slots__ = ("_delay", "_least_s", "_q", "_read", "_times")

    REFRESH_S: Final = 2.0
    MARGIN: Final = 1.5
    HISTORY: Final = 100
    """Runs below which nothing is known of a tail."""

    def __init__(self, times: RunTimes, budget: float, least_s: float) -> None:
        self._times = times
        self._q = 1.0 - budget
        self._least_s = least_s
        self._delay: float | None = None
        self._read = -math.inf

    def seconds(self, now: float) -> float | None:
        """The delay; None while too few runs are known."""
        if now - self._read >= self.REFRESH_S:
            self._read = now
            self._delay = None
            if self._times.count(now) >= self.HISTORY:
                known = self._times.overall(self._q, now)
                self._delay = None if known is None else max(known * self.MARGIN, self._least_s)
        return self._delay


class HedgeBudget:
    """A token bucket: each primary earns a `share` of a hedge, each hedge spends one. May be shared with retries.

    So hedges are never more than that share of the primaries. What is saved is bounded by what the last ten seconds
    have earned, so that a quiet time does not pay for a storm, but by one at least: on a model that is seldom asked
    a hedge would otherwise never be paid for.

    A run that is a little late gains little by a hedge. When what is saved gets low, the rest is kept for runs that
    turn out to be much slower: they are looked at again.
    """

    __slots__ = ("_earned", "_price", "_saved")

    def __init__(self, share: float) -> None:
        # All is counted in primaries, which are whole.
        self._price = 1.0 / share if share else math.inf
        self._saved = 0.0
        self._earned = Window(10)

    def deposit(self, now: float, primaries: int = 1) -> None:
        """So many primaries have been sent, now or not long ago."""
        self._saved += primaries
        self._earned.add(primaries, now)

    def covers(self, now: float, looks: int = 64) -> bool:
        """Whether a hedge could be paid for, for a run that has been looked at so often before.

        At the first look half of what could be saved has to be there, a quarter at the second, and so on.
        """
        most = max(self._price, self._earned.sum(now))
        self._saved = min(self._saved, most)
        return self._saved >= max(self._price, most / (2 << looks))

    def withdraw(self, now: float) -> bool:
        """Pay for a hedge; False when there is too little."""
        if not self.covers(now):
            return False
        self._saved -= self._price
        return True


class KillSwitch:
    """Off while hedges rarely win: then it is not a run that is slow but all of them.

    It is told of bets only, and asked before bets: hedges whose one use is to come first. One by the failover model
    is a step of the fallback chain that has begun early (`Target.insures`): what it is for is the deadline, by which
    nothing that begins then would be ready, and runs that come back in time say nothing of that. Its price is bounded
    by the budget alone.

    After a pause a few are tried again: they take the place of the oldest ones that are remembered.
    """

    __slots__ = ("_off_until", "_won")

    REMEMBERED: Final = 50
    LEAST_WINS: Final = 5
    PAUSE_S: Final = 10.0
    TRIED: Final = 10

    def __init__(self) -> None:
        self._won: deque[bool] = deque()
        self._off_until = -math.inf

    def ended(self, now: float, *, won: bool) -> None:
        """A hedge was first to succeed, or was not."""
        self._won.append(won)
        if len(self._won) < self.REMEMBERED:
            return
        if sum(self._won) < self.LEAST_WINS:
            self._off_until = now + self.PAUSE_S
            for _ in range(self.TRIED):
                self._won.popleft()
        else:
            self._won.popleft()

    def off(self, now: float) -> bool:
        """Whether hedges rarely win."""
        return now < self._off_until


def executing(runs: Iterable[tuple[float, float | None]], now: float) -> int:
    """How many runs use a core: for each the instant at which it began and the q99 of its run times, if known.

    One that overstays its q99 waits for something and uses none: it is no reason to leave it without a hedge.
    """
    return sum([q99 is None or now - began <= q99 for began, q99 in runs])


class Why(StrEnum):
    """The reason of a decision, as a person reads it."""

    SLOW = "the run takes longer than the delay"
    OVER = "the call is over"
    NO_HISTORY = "too few runs are known"
    NO_TARGET = "there is no target"
    TOO_LATE = "too little time is left"
    RARELY_WINS = "hedges rarely win"
    MACHINE_BUSY = "the machine is busy"
    BUDGET_SPENT = "the budget is spent"
    TARGET_BUSY = "the target is busy"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to hedge now, and why or why not."""

    hedge: bool
    why: Why

    @property
    def wait(self) -> bool:
        """Whether to ask again as soon as the target is idle."""
        return self.why is Why.TARGET_BUSY

    @property
    def again(self) -> bool:
        """Whether to ask again when the run has taken twice as long. Any other refusal is final."""
        return self.why is Why.BUDGET_SPENT


_DECISIONS: Final = {why: Decision(why is Why.SLOW, why) for why in Why}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a hedge could run: what it needs there in seconds (0 while unknown), and whether on the same cores.

    A hedge on another machine or device takes nothing from the primaries of this one; one to a much cheaper model
    takes so little that it may be said not to share the cores. One that `insures` answers at the deadline, where the
    primary does not: it is worth its price also where it rarely comes first.
    """

    idle: bool
    needs: float
    shares_cores: bool = True
    insures: bool = False


def decide(
    *,
    over: bool,
    delay: float | None,
    left: float,
    target: Target | None,
    rarely_wins: bool,
    load: float,
    covered: bool,
) -> Decision:
    """Whether a run that has taken `delay` (None: not known how long that is) is hedged.

    `left`: seconds until the answer must have left, `load`: runs that execute divided by cores, `covered`: whether the
    budget pays. That the target is busy is looked at last: only what is in order otherwise stays armed.
    """
    why = Why.SLOW
    if over:
        why = Why.OVER
    elif delay is None:
        why = Why.NO_HISTORY
    elif target is None:
        why = Why.NO_TARGET
    elif left <= target.needs:
        why = Why.TOO_LATE
    elif rarely_wins and not target.insures:
        why = Why.RARELY_WINS
    elif target.shares_cores and load >= BUSY_SHARE:
        why = Why.MACHINE_BUSY
    elif not covered:
        why = Why.BUDGET_SPENT
    elif not target.idle:
        why = Why.TARGET_BUSY
    return _DECISIONS[why]
