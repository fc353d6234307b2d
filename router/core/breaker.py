"""Memory of failure that refuses early."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from router.core.window import Window


class State(StrEnum):
    """Whether calls go to a target: all, none, or a few that find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


_CLOSED: Final = State.CLOSED
_OPEN: Final = State.OPEN
_HALF_OPEN: Final = State.HALF_OPEN


class Breaker:
    """Whether a session or a target may be asked. All times are monotonic seconds.

    It opens when, of at least `CALLS` calls within 10 s, at least half failed. After a long healthy time that would
    take 5 s of nothing but failures, and on a slow model longer; therefore it also opens when `ROW` calls in a row
    failed and none has succeeded for `SILENT_S`: a target that answers nobody is found within one second at 10 calls
    a second and more, while a burst of bad input among good answers opens nothing.

    Open it refuses for `shortest_s`, then for twice as long after each probe that fails, at most `longest_s`. The
    common bound is 30 s. Here it is 4 s, because that bounds how long a target that has healed stays refused (it is to
    be back within 5 s), and a probe costs little: its caller has a fallback. Give 30 where that is not so.

    Then `PROBES` calls are let through: one alone, since it may hang and hold a slot, then the others. All must
    succeed; the first that fails opens it again. A probe that has not come back after `probe_s` counts as failed. The
    next one has twice as long, at most `MOST_PATIENCE` times as long: its runs may just be slow.

    Each allowed call is reported once: `succeeded`, `failed`, or `released` when nothing can be said of the target
    (its caller went away). A call that was given up has failed then, whenever its run may come back.

    One thread at a time: whoever shares it holds a lock. `allow` of a closed one only reads and needs none.
    """

    __slots__ = (
        "_bad",
        "_calls",
        "_good",
        "_last_good",
        "_longest_s",
        "_out",
        "_overdue",
        "_patience",
        "_period",
        "_probe_s",
        "_row",
        "_shortest_s",
        "_state",
        "opened",
        "reason",
        "until",
    )

    CALLS: Final = 20
    ROW: Final = 5
    SILENT_S: Final = 0.5
    PROBES: Final = 3
    MOST_PATIENCE: Final = 8

    def __init__(self, *, shortest_s: float = 1.0, longest_s: float = 4.0, probe_s: float = 1.0) -> None:
        self.reason = ""
        """Why it is not closed; empty when it is."""
        self.opened = 0
        """How often it has opened; a probe that fails counts no more."""
        self.until = -math.inf
        """The instant at which it tries again, or did."""
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._probe_s = probe_s
        self._calls = Window()
        self._bad = Window()
        self._last_good = -math.inf
        self._state: State = _CLOSED
        self._row = self._good = self._out = 0
        self._period = shortest_s
        self._patience = probe_s
        self._overdue = math.inf

    def allow(self, now: float) -> bool:
        """Whether the target may be asked. A True that is not of a closed one makes the call a probe."""
        if self._state is _CLOSED:
            return True
        self._settle(now)
        if self._state is _OPEN or self._out > self._good or self._out + self._good >= self.PROBES:
            return False
        self._out += 1
        self._overdue = now + self._patience
        return True

    def succeeded(self, now: float) -> None:
        """A call was answered."""
        if self._state is _CLOSED:
            self._row = 0
            self._last_good = now
            self._calls.add(1, now)
        elif self._probe_back(now):
            self._good += 1
            if self._good == self.PROBES:
                self._last_good = now
                self._close()

    def failed(self, now: float) -> None:
        """A call failed, broke its contract or was given up."""
        if self._state is _CLOSED:
            self._row += 1
            self._calls.add(1, now)
            self._bad.add(1, now)
            calls, bad = self._calls.sum(now), self._bad.sum(now)
            if self._row >= self.ROW and now - self._last_good >= self.SILENT_S:
                self.opened += 1
                self._open(now, f"{self._row} calls in a row failed")
            elif calls >= self.CALLS and 2 * bad >= calls:
                self.opened += 1
                self._open(now, f"{bad} of {calls} calls within 10 s failed")
        elif self._probe_back(now):
            self._reopen(now, "a probe failed")

    def released(self, now: float) -> None:
        """An allowed call ended and says nothing of the target: another may probe in its place."""
        if self._state is not _CLOSED:
            self._probe_back(now)

    def state(self, now: float) -> State:
        """What it would do now."""
        self._settle(now)
        return self._state

    def _probe_back(self, now: float) -> bool:
        """Whether what is reported can be a probe's end: a call of before that comes late says nothing of today."""
        self._settle(now)
        if self._state is not _HALF_OPEN or not self._out:
            return False
        self._out -= 1
        return True

    def _settle(self, now: float) -> None:
        """Do what time alone does."""
        if self._state is _HALF_OPEN and self._out and now >= self._overdue:
            self._reopen(self._overdue, f"a probe did not come back within {self._patience:g} s")
            self._patience = min(2 * self._patience, self.MOST_PATIENCE * self._probe_s)
        if self._state is _OPEN and now >= self.until:
            self._state = _HALF_OPEN
            self._good = self._out = 0

    def _open(self, now: float, reason: str) -> None:
        self._state = _OPEN
        self.until = now + self._period
        self.reason = reason

    def _reopen(self, now: float, reason: str) -> None:
        self._period = min(2 * self._period, self._longest_s)
        self._open(now, reason)

    def _close(self) -> None:
        self._state = _CLOSED
        self.reason = ""
        self._period = self._shortest_s
        self._patience = self._probe_s
        self._overdue = math.inf
        self._row = self._good = self._out = 0
        self._calls.clear()
        self._bad.clear()


def choose(breakers: Sequence[Breaker], now: float, *, must_run: bool) -> int | None:
    """The place of the first target that may be asked; None when none may.

    With `must_run` (nothing else could answer) the one that tries again first is asked all the same: better a probable
    failure than a certain one, and the last healthy target is never refused.
    """
    for place, breaker in enumerate(breakers):
        if breaker.allow(now):
            return place
    if not must_run or not breakers:
        return None
    return min(range(len(breakers)), key=lambda place: breakers[place].until)
