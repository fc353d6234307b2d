"""A look at something every few milliseconds, for next to no price."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger()


class Ticker:
    """Looks every so many seconds from `wake` on, until a look says that there is nothing to see.

    On a thread of its own that sleeps: hundreds of entries a second in the heap of the timers would cost the loop
    thread two hundredths of its time.
    """

    def __init__(self, seconds: float, look: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._look = look
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Begin to look, unless it does already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
            self._thread.start()
        self._woken.set()

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            more = True
            while more:
                time.sleep(self._seconds)
                try:
                    more = self._look()
                except Exception:  # one fault must not end the watch
                    log.exception("a look failed")
