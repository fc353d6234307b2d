"""A second attempt where the first is slow: on another server, on another session, or by the failover model.

Per batch, on the executor: a timer looks at a run that has taken longer than most do (`core/hedging`). The first to
succeed answers; a loser that nobody waits for is stopped. A hedge that finds its target busy stays armed until it is
idle.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from router.core.fallback import Reason
from router.core.hedging import Decision, HedgeBudget, HedgeDelay, KillSwitch, Target, Why, decide, executing
from router.model_settings import HedgeSettings
from router.serving.remote import RemoteHedge
from router.serving.run import Held, Run
from router.serving.stories import Hedging

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.lanes import Lane
    from router.serving.run import Replica

Q_USUAL: Final = 0.99
"""A run beyond this quantile waits for something: it uses no core."""


class Hedger:
    """The hedges of one lane."""

    def __init__(self, lane: Lane, settings: HedgeSettings) -> None:
        self.settings = settings
        self._lane = weakref.ref(lane)
        self._clock = lane.clock
        self._timers = lane.timers
        self._executor = lane.executor
        self._times = lane.pace.times
        self._delay = HedgeDelay(self._times, settings.budget, settings.min_delay_ms / 1e3)
        self._budget = HedgeBudget(settings.budget)
        self._share = 1.0 - settings.budget
        self._switch = KillSwitch()
        self._lock = threading.Lock()  # of the next line
        self._watching = False
        self._armed: list[weakref.ref[Run]] = []
        self._inline_runs = 0
        self._elsewhere: set[RemoteHedge] = set()
        self.sent = 0
        self.won = 0
        self.refused: dict[Why, int] = {}

    def began(self, run: Run) -> None:
        """A primary run has begun."""
        self._budget.deposit(run.began)
        self.watch(run)

    def moved(self, run: Run, inline_runs: int) -> None:
        """A primary run has been taken from the loop thread, where this lane has had so many runs so far.

        Those are not counted one by one. What they have earned is added up now, but for what is long ago.
        """
        now = self._clock.monotonic()
        lately = self._times.count(now, slices=2)
        self._budget.deposit(now, min(inline_runs - self._inline_runs, lately) + 1)
        self._inline_runs = inline_runs
        self.watch(run)

    def watch(self, run: Run) -> None:
        """See when a run has taken longer than most do: one timer for all, most are over before it comes."""
        delay = self._delay.seconds(run.began)
        if delay is None:
            return
        with self._lock:
            watching, self._watching = self._watching, True
        if not watching:
            self._timers.at(run.began + delay, self._look_at_all)

    def _look_at_all(self) -> None:
        """Look at the runs that have taken longer than most do, and see to it that the next ones are looked at."""
        lane, now = self._lane(), self._clock.monotonic()
        delay = self._delay.seconds(now)
        if lane is not None and delay is not None:
            for run in list(lane.underway):
                if (run.look_at or run.began + delay) <= now:
                    run.look_at = math.inf
                    self._look(weakref.ref(run))
                    run.looks += 1
        with self._lock:
            runs = [] if lane is None or delay is None else lane.underway
            waiting = [run.look_at or run.began + (delay or 0.0) for run in runs]
            later = min([at for at in waiting if at < math.inf], default=None)
            self._watching = later is not None
        if later is not None and delay is not None:
            # Each would be a timer of its own: a few at once are looked at up to half of the delay later.
            self._timers.at(max(later, now + delay / 2), self._look_at_all)

    def idle(self) -> None:
        """A target has nothing to do: those who wait for one may have it."""
        armed, self._armed = self._armed, []
        for held in armed:
            self._look(held)

    def ended(self, *, won: bool) -> None:
        """A hedge that was a bet has returned."""
        self.won += won
        self._switch.ended(self._clock.monotonic(), won=won)

    def calls_elsewhere(self) -> list[Call]:
        """Those that another server has been asked for."""
        return [call for hedge in list(self._elsewhere) for call in hedge.calls]

    def stop_unwanted(self) -> None:
        """Take back what another server has been asked and nobody waits for any more."""
        for hedge in list(self._elsewhere):
            hedge.stop_unwanted()

    def _back(self, hedge: RemoteHedge, won: bool) -> None:
        self._elsewhere.discard(hedge)
        self.ended(won=won)
        self.idle()

    def _look(self, held: weakref.ref[Run]) -> None:
        run, lane = held(), self._lane()
        if run is None or lane is None or (run.over and run.held is not Held.MOVED):
            return
        lane.overstays(run)
        if run.hedge:
            return  # there is no third attempt
        calls = [call for call in run.calls if not call.over]
        now = self._clock.monotonic()
        target, send, name = self._second(lane, run, calls, now)
        decision = self._decide(lane, calls, target, now, run.looks)
        if decision.why is not Why.OVER:
            run.hedging = Hedging(decision.why, self._delay.seconds(now) or 0.0, self._share, name)
            run.tell_ns = -1
        if decision.hedge:
            if send():
                self.sent += 1
                self._budget.withdraw(now)
            return
        if decision.wait:
            self._armed.append(held)
            return
        if decision.again:
            run.look_at = now + (now - run.began)
        if not (decision.again and run.looks):  # counted once
            self.refused[decision.why] = self.refused.get(decision.why, 0) + 1

    def _second(
        self, lane: Lane, run: Run, calls: list[Call], now: float
    ) -> tuple[Target | None, Callable[[], bool], str]:
        """Where the calls could be tried once more, what starts that (False: not after all), and its name."""
        remote = next((call.plan.remote for call in calls if call.plan.remote is not None), None)
        target = None if remote is None else remote.peer.seen(now)
        if target is not None:
            return target, partial(self._ask, calls), "another server"
        if len(lane.replicas) > 1:
            replica = lane.spare(run)
            target = Target(replica is not None, lane.pace.times.quantile(1, 0.5, now) or 0.0)
            name = "" if replica is None else f"session {lane.replicas.index(replica) + 1}"
            return target, partial(self._visit, lane, calls, replica), name
        if any(call.plan.fallback.can_join(call) for call in calls):
            target = Target(idle=True, needs=0.0, shares_cores=False, insures=True)
        return target, partial(self._join, calls), "the failover model"

    def _decide(self, lane: Lane, calls: list[Call], target: Target | None, now: float, looks: int) -> Decision:
        # Those of this lane show in whether the target is idle.
        others = [
            (each.began, each.lane.pace.times.overall(Q_USUAL, now))
            for each in list(self._executor.runs)
            if each.lane is not lane
        ]
        return decide(
            over=not calls,
            delay=self._delay.seconds(now),
            left=min([call.due - now for call in calls if call.due is not None], default=float("inf")),
            target=target,
            rarely_wins=self._switch.off(now),
            load=executing(others, now) / self._executor.slots,
            # One that insures gains nothing by waiting.
            covered=self._budget.covers(now) if target and target.insures else self._budget.covers(now, looks),
        )

    def _ask(self, calls: list[Call]) -> bool:
        hedge = RemoteHedge(calls, self._clock, self._back)
        if hedge:
            self._elsewhere.add(hedge)
            self._executor.put(hedge)  # the timer thread has no time for it
        return bool(hedge)

    def _visit(self, lane: Lane, calls: list[Call], replica: Replica | None) -> bool:
        if replica is None:
            return False
        for call in calls:
            call.attempt()
        self._executor.put(Visit(lane, calls, replica, self))
        return True

    def _join(self, calls: list[Call]) -> bool:
        unsaid = [None]

        def won() -> None:
            """It has answered a call: one hedge has won, however many it answers. The switch is not told."""
            with suppress(IndexError):
                unsaid.pop()
                self.won += 1

        return sum([call.plan.fallback.join(call, Reason.SLOW, won) for call in calls]) > 0


class Visit:
    """An executor thread's errand: the calls of a slow run, once more, on another session."""

    def __init__(self, lane: Lane, calls: list[Call], replica: Replica, hedger: Hedger) -> None:
        self._lane = lane
        self._calls = calls
        self._replica = replica
        self._hedger = hedger

    def work(self) -> bool:
        """Run it; nobody is to come back for more."""
        self._hedger.ended(won=self._lane.work_hedge(self._calls, self._replica))
        return False
