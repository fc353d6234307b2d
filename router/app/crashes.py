"""What the supervisor does about a worker that has crashed, but for starting another. Standard library only."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
from collections import deque
from pathlib import Path

from router.app.child import ANSWERS, QUARANTINE, RUNNING
from router.serving.inflight import REGION, mapped, region, running, wipe
from router.serving.quarantine import Quarantine

FAULTS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
MANY, WITHIN_S = 3, 60.0
"""So many faults of workers within so long may be the fault of the file that they share."""


class Crashes:
    """Counts the requests that were in a run, and removes the memory of answers when crashes go on.

    A worker crashes when a fault ends it, or it leaves with an exit code that is not 0. SIGTERM and SIGKILL are no
    crash: the sender may be ourselves, an operator or the kernel, and what stood still says nothing of what it ran.
    """

    def __init__(self, state: Path, workers: int) -> None:
        self._state = state
        (state / RUNNING).unlink(missing_ok=True)  # the runs of a server that has gone
        self._running = mapped(state / RUNNING, workers * REGION)
        self._quarantine = Quarantine(state / QUARANTINE)
        self._faults: deque[float] = deque(maxlen=MANY)

    def ended(self, index: int, returncode: int, now: float) -> list[str]:
        """Worker `index` has ended unasked; lines for the log."""
        own = region(self._running, index)
        fingerprints = running(own)
        wipe(own)
        lines = []
        if fingerprints and (returncode > 0 or -returncode in FAULTS):
            refused = self._quarantine.crashed(fingerprints, int(time.time()))
            if refused:
                lines.append(f"{refused} requests were in runs at two crashes: refused from now on (router quarantine)")
        if -returncode in FAULTS:
            self._faults.append(now)
            if len(self._faults) == MANY and now - self._faults[0] <= WITHIN_S and self._remove_answers():
                lines.append(f"{MANY} crashes within a minute: the memory of answers is removed, it may be broken")
        return lines

    def look(self) -> None:
        """Forget all suspects if an operator has asked for it."""
        if not self._quarantine.forgotten:
            self._quarantine.forget()

    def _remove_answers(self) -> bool:
        """Out of the way at once, so that the next worker makes a new one. False when there was none."""
        self._faults.clear()
        broken = self._state / f"{ANSWERS}.broken"
        shutil.rmtree(broken, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            (self._state / ANSWERS).rename(broken)
            shutil.rmtree(broken, ignore_errors=True)
            return True
        return False
