"""When a child of the supervisor is to be killed, and when it is started again: decisions, no clock."""

from __future__ import annotations

STILL_S = 1.0
"""A child that has beaten and then does not for this long is killed."""
NICED_STILL_S = 30.0
"""For one of the lowest priority: on a busy machine it may go without a core for long."""
SILENT_S = 60.0
"""So is one that has not beaten at all for this long."""
LONGEST_STEP_S = 0.15
"""What one look of the supervisor may add to those times: when it was itself stopped, nobody is to blame."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.25, 10.0
HEALTHY_S = 30.0
"""A child that has beaten for this long is forgiven its earlier deaths."""


class Watch:
    """When one child is to be killed, and how long after its death it is started again. Time comes in, in seconds."""

    __slots__ = ("_beats", "_delay", "_looked", "_most", "_still", "_well_since")

    def __init__(self, still_s: float = STILL_S) -> None:
        self._most = still_s
        self._delay = 0.0
        self.started(0.0)

    def started(self, now: float) -> None:
        """A new process stands in for the child."""
        self._looked = now
        self._beats = 0
        self._still = 0.0
        self._well_since: float | None = None

    def look(self, now: float, beats: int) -> str | None:
        """Why the child must be killed; None while it is well. `beats` is what its slot shows."""
        self._still += min(now - self._looked, LONGEST_STEP_S)
        self._looked = now
        if beats != self._beats:
            self._beats = beats
            self._still = 0.0
            if self._well_since is None:
                self._well_since = now
            elif now - self._well_since >= HEALTHY_S:
                self._delay = 0.0
        if self._well_since is None:
            return f"showed no sign of life for {self._still:.0f} s" if self._still >= SILENT_S else None
        return f"stood still for {self._still:.1f} s" if self._still >= self._most else None

    def died(self) -> float:
        """Seconds until the child is to be started again: 0, then from FIRST_DELAY_S doubling to LONGEST_DELAY_S."""
        delay = self._delay
        self._delay = min(max(FIRST_DELAY_S, 2 * delay), LONGEST_DELAY_S)
        return delay
