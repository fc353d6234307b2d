"""What the server's processes hold in memory while a test runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import psutil

EVERY_S: Final = 1.0
FEWEST: Final = 150
"""Samples of its last third without which nothing is said of a process."""
STRETCHES: Final = 10
"""Of the last third. What is loaded and let go again and again has its ups and downs: compared is what is held when
nothing is on its way,"""
FLOOR: Final = 0.1
"""which is this quantile of a stretch. A mean would tell for how long things were on their way: a load that takes
longer because somebody else has the cores is no growth."""
LEAVE_S: Final = 5.0


def resident_bytes(pid: int) -> int | None:
    """What a process holds; None when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


class Resident:
    """Looks at the processes each second, from `begin` to `end`. `processes` gives their ids by name."""

    def __init__(
        self,
        processes: Callable[[], Mapping[str, int]],
        clock: Callable[[], float] = time.monotonic,
        held: Callable[[int], int | None] = resident_bytes,
    ) -> None:
        self._processes = processes
        self._clock = clock
        self._held = held
        self._start = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resident", daemon=True)
        self._at: list[float] = []
        self._bytes: list[dict[str, int]] = []

    def begin(self, start: float) -> None:
        """Look from now on. `start` is the run's, an instant of the clock in seconds."""
        self._start = start
        self._thread.start()

    def end(self) -> dict[str, Any]:
        """Look no more; what was seen: seconds since the start, and for each process as many bytes (or None), and by
        how much of itself each differs within the last third."""
        self._over.set()
        if self._thread.ident:
            self._thread.join(LEAVE_S)
        names = sorted({name for row in self._bytes for name in row})
        columns = {name: [row.get(name) for row in self._bytes] for name in names}
        last_third = {name: plateau(column) for name, column in columns.items()}
        return {"seconds": self._at, "bytes": columns, "last_third": last_third}

    def look(self) -> None:
        """One look."""
        now = self._clock() - self._start
        if now >= 0:
            held = {name: self._held(pid) for name, pid in self._processes().items()}
            self._at.append(round(now, 2))
            self._bytes.append({name: size for name, size in held.items() if size is not None})

    def _run(self) -> None:
        while not self._over.is_set():
            self.look()
            self._over.wait(EVERY_S)


def plateau(column: Sequence[int | None]) -> float | None:
    """By which share of itself the memory of a process differs within the last third of its samples; None for too few
    of them, or when it was not there all the time.

    Compared are the floors of ten stretches: the highest less the lowest, by the mean of all.
    """
    last = [each for each in column[len(column) - len(column) // 3 :] if each is not None]
    if len(last) < FEWEST or len(last) < len(column) // 3:
        return None
    floors = [float(np.quantile(part, FLOOR)) for part in np.array_split(np.array(last, float), STRETCHES)]
    return (max(floors) - min(floors)) / float(np.mean(floors))
