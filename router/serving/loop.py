"""The loop thread under watch: no run can keep it from everybody else.

The loop thread runs short runs itself. When one of them overstays, the timer thread takes the loop from it: the lane
of that run goes to the executor with all that waits there, and a fresh thread polls the queue of the gRPC core. The
stuck thread learns that it has been superseded when its run returns, and retires.

Time for which the loop thread waited for a core does not count: on a busy machine that is not the model's fault.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from router.serving.ticker import Ticker
from router.serving.timers import Clock, Timers

if TYPE_CHECKING:
    from router.serving.lanes import Lane
    from router.serving.run import Run

log = structlog.get_logger()

TICK_S: Final = 0.006
SUSPECT_S: Final = 0.005
SURE_S: Final = 0.0025
"""Every `TICK_S` the watch looks at the run under way. One older than `SUSPECT_S`, more than any batch is to take, is
suspect; it is stuck if it has used `SURE_S` more, waits for a core left out. So the loop is taken within the sum."""
ARM_S: Final = SUSPECT_S + TICK_S + SURE_S
"""Deadlines nearer than this cannot wait for the watch to suspect the run."""
NOBODY: Final = 0
"""No thread has this identity."""
_RESTS: Final = 25
"""After so many looks at an idle loop the watch rests, until the next run wakes it."""


class Schedule(NamedTuple):
    """What the system says of a thread: seconds with a core, seconds of waiting for one, whether it wants one now."""

    ran: float
    waited: float
    runnable: bool


UNKNOWN: Final = Schedule(0.0, 0.0, runnable=False)


def scheduled(native: int) -> Schedule:
    """How a thread of this process has been scheduled; UNKNOWN where the system does not tell."""
    try:
        task = Path(f"/proc/self/task/{native}")
        ran, waited, _ = (task / "schedstat").read_text().split()
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return UNKNOWN
    return Schedule(int(ran) / 1e9, int(waited) / 1e9, runnable=state == "R")


def overstayed(elapsed: float, before: Schedule, now: Schedule) -> float:
    """Seconds of `elapsed` for which a thread computed or was blocked: what it waited for a core is left out.

    The system adds a wait up when it ends. Of a thread that wants a core now, all that it did not compute is waiting.
    """
    ran = now.ran - before.ran
    return min(ran, elapsed) if now.runnable else elapsed - (now.waited - before.waited)


class Ticks(Protocol):
    """Looks now and then."""

    def wake(self) -> None:
        """Begin to look."""


class Superseded(Exception):
    """The loop has been given to another thread; this one has nothing more to do with it."""


class Loop:
    """What the loop thread is at. `hand_over` starts a fresh thread; without it nothing may run on the loop."""

    def __init__(
        self,
        timers: Timers,
        clock: Clock = time,
        schedule: Callable[[int], Schedule] = scheduled,
        hand_over: Callable[[], None] | None = None,
        ident: Callable[[], int] = threading.get_ident,
        ticker: Callable[[float, Callable[[], bool]], Ticks] = Ticker,
    ) -> None:
        self.busy: list[Lane] = []
        """Lanes with calls for the loop thread."""
        self.run: Run | None = None
        self.watched = False
        self.taken = 0
        """How often the loop was taken from a thread."""
        self.hand_over = hand_over
        self._timers = timers
        self._clock = clock
        self._schedule = schedule
        self._ident = ident
        self._thread = ident()
        self._native = threading.get_native_id()
        self._ticker = ticker(TICK_S, self._look)
        self._suspect: Run | None = None
        self._since, self._before = 0.0, UNKNOWN
        self._rests = 0

    @property
    def runs(self) -> bool:
        """Whether lanes may be served by the loop thread: only where a stuck one can be replaced."""
        return self.hand_over is not None

    def enter(self) -> None:
        """The thread that calls is the loop thread from now on."""
        self._thread = self._ident()
        self._native = threading.get_native_id()

    @property
    def mine(self) -> bool:
        """Whether the thread that asks is the loop thread."""
        return self._ident() == self._thread

    def blocked(self, native: int) -> bool:
        """Whether a thread waits for something else than a core."""
        seen = self._schedule(native)
        return seen is not UNKNOWN and not seen.runnable

    def watch(self) -> None:
        """Wake the watch. The loop thread calls it when it begins a run and `watched` is False."""
        self.watched = True
        self._rests = 0
        self._ticker.wake()

    def _look(self) -> bool:
        """One look; whether to go on looking."""
        run = self.run
        if run is None or run.over:
            self._suspect = None
            self._rests += 1
            if self._rests >= _RESTS:
                self.watched = False
                run = self.run  # one that began just now found the watch awake
                if run is None or run.over:
                    return False
                self.watched = True
            return True
        self._rests = 0
        if run is not self._suspect and self._clock.monotonic() - run.began >= SUSPECT_S:
            self._suspect = run
            run.lane.expiry.watch_run(run)
            self._measure()
        return True

    def _measure(self) -> None:
        """Look again soon at how the suspect's thread has used its time."""
        self._since, self._before = self._clock.monotonic(), self._schedule(self._native)
        self._timers.at(self._since + SURE_S, self._judge)

    def _judge(self) -> None:
        run = self._suspect
        if run is None or run.over:
            return
        elapsed = self._clock.monotonic() - self._since
        if overstayed(elapsed, self._before, self._schedule(self._native)) < elapsed / 2:
            self._measure()
        else:
            self._take(run)

    def _take(self, run: Run) -> None:
        """Give the loop to another thread, unless the run returns in this very moment."""
        thread, self._thread = self._thread, NOBODY  # the stuck one may return at any moment, and is it no more
        run.native = self._native  # by which it is seen whether it computes; if not, its slot is lent
        if self.hand_over is None or not run.lane.take_from_loop(run):
            self._thread = thread
            return
        self.taken += 1
        self.run = self._suspect = None
        log.warning(
            "a run is stuck: another thread takes the loop",
            model=run.lane.version.model,
            version=run.lane.version.number,
            after_ms=round((self._clock.monotonic() - run.began) * 1e3, 1),
        )
        self.hand_over()
