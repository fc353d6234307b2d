"""Whether a call can be run in time, and what those are told that cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from router.core.admission import retry_after_ms
from router.core.fallback import Reason
from router.core.table import Version
from router.errors import Overloaded, Refused, TooLate
from router.serving.pace import Pace
from router.serving.stats import Failure, Stats
from router.serving.stories import Expected

if TYPE_CHECKING:
    from router.serving.call import Call
    from router.serving.run import Run

PROBE_S: Final = 1.0
"""After so long without a run, one that looks hopeless is run all the same, to learn whether the model is still that
slow."""
PROBE_SHARE: Final = 0.1
"""A lane that has nothing else to do may spend as much of its time on that."""


class Admission:
    """Of one lane, by the pace of its runs. It does not know the lane, which would keep both alive."""

    __slots__ = ("_pace", "_stats", "_version", "probed")

    def __init__(self, version: Version, pace: Pace, stats: Stats) -> None:
        self._version = version
        self._pace = pace
        self._stats = stats
        self.probed = -math.inf
        """When a call was last run that looked hopeless."""

    # ---- what is expected ----

    def wait(self, now: float, waiting: int, runs: Sequence[Run], slots: int) -> float:
        """Seconds until a call that comes now is run: what is left of the runs under way, then those who wait.

        A run that has taken longer than expected is taken to last as long again.
        """
        pace = self._pace
        if not slots:  # its only session is being loaded anew
            return self._stats.load_ns / 1e9
        wait = waiting * pace.row_s / slots
        if len(runs) < slots:
            return wait
        left = [pace.left(len(run.calls), now - run.began) for run in list(runs)]
        return wait + min(left, default=0.0)

    def probes(self, now: float, *, idle: bool = False) -> bool:
        """Whether to try what looks hopeless, now and then: else nobody would learn that it is not any more.

        More often where there is nothing else to do. Not while others of one row are run: they show how slow the model
        is, and one that is overloaded has no time to lose.
        """
        pause = min(PROBE_S, self._pace.run_s / PROBE_SHARE) if idle else PROBE_S
        if now - max(self.probed, self._pace.shown) <= pause:
            return False
        self.probed = now
        return True

    # ---- what is told ----

    def turn_away(self, call: Call, waiting: int, pending: int, wait: float | None = None) -> None:
        """Answer a new call that could not be run in time, because of others, or not even without them; or that finds
        too many. `pending` counts those who wait or run."""
        call.ran = None
        if wait is not None:
            call.expected = Expected(wait, waiting)
        left = math.inf if call.due is None else call.due - call.received * 1e-9
        if left <= 0:
            call.give_up(Reason.DEADLINE, self.too_late(), Failure.OTHER)
        elif left < self._pace.run_s:
            call.give_up(Reason.SLOW, self.too_late(), Failure.OTHER)
        else:
            call.give_up(Reason.OVERLOADED, self.overloaded(pending), Failure.REJECTED)

    def refuse(self, dead: Sequence[Call], now: float) -> None:
        """Answer calls that waited and cannot be answered in time any more. Answers may call back."""
        for call in dead:
            if not call.over:
                reason = Reason.DEADLINE if call.due is not None and call.due <= now else Reason.SLOW
                call.give_up(reason, self.too_late(), Failure.OTHER)

    def too_late(self) -> TooLate:
        """There is no time for a run."""
        return TooLate(f"the deadline leaves no time for a run of model '{self._version.model}'")

    def overloaded(self, pending: int) -> Overloaded:
        """Too many are waiting; with when to come back."""
        rows = self._version.batching.max_size
        expected = self._pace.times.predict(rows) * max(pending / rows, 1)
        return Overloaded(
            f"model '{self._version.model}' has {pending} requests waiting: come back later",
            retry_after_ms=retry_after_ms(expected),
        )

    def quarantined(self) -> Refused:
        """Workers crashed on this request."""
        return Refused(
            f"this request was being run at two crashes of a worker (model '{self._version.model}' version"
            f" {self._version.number}): it is not run any more; ask the operator to clear it with"
            " `router quarantine --clear`"
        )
