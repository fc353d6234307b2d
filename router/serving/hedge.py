"""A second attempt where the first is slow: on another session of the version, or by the failover model.

Per batch, on the executor: a timer looks at a run that has taken longer than most do (`core/hedging`). The first to
succeed answers; a loser that nobody waits for is stopped. A hedge that finds its target busy stays armed until it is
idle.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from router.core.fallback import Reason
from router.core.hedging import Decision, HedgeBudget, HedgeDelay, KillSwitch, Target, Why, decide, executing
from router.model_settings import HedgeSettings
from router.serving.run import Run
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
        self._lane = weakref.ref(lane)
        self._clock = lane.clock
        self._timers = lane.timers
        self._executor = lane.executor
        self._delay = HedgeDelay(lane.pace.times, settings.budget, settings.min_delay_ms / 1e3)
        self._budget = HedgeBudget(settings.budget)
        self._share = 1.0 - settings.budget
        self._switch = KillSwitch()
        self._armed: list[weakref.ref[Run]] = []
        self.sent = 0
        self.won = 0
        self.refused: dict[Why, int] = {}

    def began(self, run: Run) -> None:
        """A primary run has begun."""
        self._budget.deposit(run.began)
        delay = self._delay.seconds(run.began)
        if delay is not None:
            self._timers.at(run.began + delay, self._look_at(weakref.ref(run)))

    def idle(self) -> None:
        """A session has nothing to do: those who wait for one may have it."""
        armed, self._armed = self._armed, []
        for held in armed:
            self._look(held)

    def ended(self, *, won: bool) -> None:
        """A hedge has returned."""
        self.won += won
        self._switch.ended(self._clock.monotonic(), won=won)

    def _look_at(self, held: weakref.ref[Run]) -> Callable[[], None]:
        return lambda: self._look(held)

    def _look(self, held: weakref.ref[Run]) -> None:
        run, lane = held(), self._lane()
        if run is None or lane is None or run.over:
            return
        calls = [call for call in run.calls if not call.over]
        replica = lane.spare(run)
        decision = self._decide(lane, calls, replica)
        if decision.why is not Why.OVER:
            self._note(lane, run, decision, replica)
        if decision.hedge:
            if self._send(lane, calls, replica):
                self.sent += 1
                self._budget.withdraw(self._clock.monotonic())
        elif decision.wait:
            self._armed.append(held)
        else:
            self.refused[decision.why] = self.refused.get(decision.why, 0) + 1

    def _note(self, lane: Lane, run: Run, decision: Decision, replica: Replica | None) -> None:
        """For the stories of the run's calls."""
        target = ""
        if replica is not None:
            target = f"session {lane.replicas.index(replica) + 1}"
        elif len(lane.replicas) == 1:
            target = "the failover model"
        delay = self._delay.seconds(self._clock.monotonic())
        run.hedging = Hedging(decision.why, delay or 0.0, self._share, target)
        run.tell_ns = -1

    def _decide(self, lane: Lane, calls: list[Call], replica: Replica | None) -> Decision:
        now = self._clock.monotonic()
        # Those of this lane show in whether the target is idle.
        others = [
            (each.began, each.lane.pace.times.overall(Q_USUAL, now))
            for each in list(self._executor.runs)
            if each.lane is not lane
        ]
        target = None
        if len(lane.replicas) > 1:
            target = Target(replica is not None, lane.pace.times.quantile(1, 0.5, now) or 0.0)
        elif any(call.plan.fallback.can_join(call) for call in calls):
            target = Target(idle=True, needs=0.0, shares_cores=False)
        return decide(
            over=not calls,
            delay=self._delay.seconds(now),
            left=min([call.due - now for call in calls if call.due is not None], default=float("inf")),
            target=target,
            rarely_wins=self._switch.off(now),
            load=executing(others, now) / self._executor.slots,
            covered=self._budget.covers(now),
        )

    def _send(self, lane: Lane, calls: list[Call], replica: Replica | None) -> bool:
        """Start the second attempt; False when there is none after all."""
        if replica is None:
            return sum([call.plan.fallback.join(call, Reason.SLOW) for call in calls]) > 0
        for call in calls:
            call.attempt()
        self._executor.put(Visit(lane, calls, replica, self))
        return True


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
