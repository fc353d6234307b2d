"""How fast a version's runs are, and what follows from that: who runs them, how many rows at once, who is in time.

- Short enough for the loop thread: what a caller sends is expected to take at most `INLINE_RUN_S`, shown by
  `PROOF_RUNS` runs in a row.
- Too long for it: `LONG_RUNS` runs in a row took more than twice that; `WAITED_RUNS` where the thread did not compute
  but wait: on a busy machine it lost its core, if that goes on the model stalls. How a thread has spent its time costs
  as much to ask as the rest of a run's bookkeeping: it is asked from the second long run on.
"""

from __future__ import annotations

import math
from typing import Final

from router.core.latency import OCTAVE, RunTimes, Tail

INLINE_RUN_S: Final = 1e-3
INLINE_BATCH_S: Final = 2e-3
ALONE_BATCH_S: Final = 2 * INLINE_BATCH_S
"""While no other lane has work."""
PROOF_RUNS: Final = 20
LONG_RUNS: Final = 3
WAITED_RUNS: Final = 9
COMPUTED: Final = (WAITED_RUNS - 1) // (LONG_RUNS - 1)
"""What a long run that computed counts for, where one that waited, or the first, counts 1."""
RETRY_CAPPED: Final = 32
"""One in so many batches that the time limit cuts short is twice as large, to learn whether it still has to be."""
LIKELY: Final = 0.95
"""A call is run if this share of the runs would be in time for it."""
BUCKET_ERROR: Final = 2 ** (0.5 / OCTAVE)
"""A quantile is the middle of its bucket; who has to be in time goes by the end of it."""
MARGIN: Final = 1.1
"""Waits are sums of runs that vary: who comes just in time on average comes too late every other time."""
REFRESH_RUNS: Final = 8
"""What admission goes by is worked out again after so many runs."""
HUNG_S: Final = 1.0
HUNG_TIMES: Final = 10
"""A run that takes longer than both, as a time and as a multiple of what was expected, hangs."""
UNKNOWN_HUNG_S: Final = 30.0
"""While nothing is known of the runs."""


class Pace:
    """What is known of a lane's runs. Whoever has run something records it; readers see plain numbers."""

    __slots__ = (
        "_capped",
        "_most",
        "_rows",
        "_rows_for",
        "_rows_until",
        "_tail",
        "expected",
        "good_runs",
        "learned",
        "long_runs",
        "row_s",
        "run_s",
        "shown",
        "stolen",
        "times",
    )

    def __init__(self, max_rows: int) -> None:
        self.times = RunTimes()
        self.expected = 0.0
        """Seconds that the next run like the last one should take."""
        self.row_s = 0.0
        """Seconds that a waiting row costs those behind it, in full batches."""
        self.run_s = 0.0
        """Seconds that a run of one row takes at most, with likelihood `LIKELY`."""
        self.shown = -math.inf
        """When a run of one row has last shown how long it takes, in monotonic seconds."""
        self.good_runs = 0
        """Runs in a row that were short enough for the loop thread."""
        self.stolen = False
        """Whether the thread of the run that is recorded next had lost its core."""
        self.long_runs = 0
        """Above 0: the last run was too long for the loop thread, and how far that has gone."""
        self._most = max_rows
        self._rows = 1  # what `rows_within` has found for `_rows_for`, until so many runs are known
        self._rows_for = self._rows_until = 0.0
        self._tail = Tail(self.times, LIKELY)
        self.learned = 0
        """Runs that were recorded."""
        self._capped = 0

    @property
    def proven(self) -> bool:
        """Whether the loop thread may run what comes."""
        return self.good_runs >= PROOF_RUNS

    @property
    def strained(self) -> bool:
        """Whether the runs have become too long for the loop thread."""
        return self.long_runs >= WAITED_RUNS

    def record(self, rows: int, seconds: float, now: float, *, joined: bool) -> None:
        """A run took so long. Rows that were joined could have run by themselves; a caller's own rows cannot."""
        times = self.times
        expected = times.record(rows, seconds, now)
        if rows == 1:
            self.shown = now
        long = 2 * (ALONE_BATCH_S if joined else INLINE_RUN_S)
        if seconds <= long:
            self.long_runs = 0
        else:
            self.long_runs += COMPUTED if self.long_runs and not self.stolen else 1
        self.stolen = False
        if joined:
            expected = min(expected, times.predict(1))
        self.good_runs = self.good_runs + 1 if expected <= INLINE_RUN_S and seconds <= long else 0
        self.expected = expected
        self.learned += 1
        if self.learned < REFRESH_RUNS or not self.learned % REFRESH_RUNS:
            self.run_s = (self._tail.of(1, now) or 0.0) * BUCKET_ERROR if times.of_one_row() else 0.0
            self.row_s = times.predict(self._most) / self._most * MARGIN

    def rows_within(self, batch_s: float, waiting: int) -> int:
        """How many rows the loop thread may run at once. Now and then twice as many: a size that seemed too long once,
        and is therefore not run any more, could never show that it is not."""
        most = self._most
        if self.learned >= self._rows_until or batch_s != self._rows_for:
            self._rows = self.times.rows_within(batch_s, most)
            self._rows_for = batch_s
            self._rows_until = self.learned + min(self.learned + 1, REFRESH_RUNS)
        rows = self._rows
        if rows < most and rows < waiting:
            self._capped += 1
            if self._capped >= RETRY_CAPPED:
                self._capped = 0
                return min(2 * rows, most)
        return rows

    def left(self, rows: int, taken: float) -> float:
        """Seconds until a run that has taken so long returns; one that overstays is taken to last as long again."""
        expected = self.times.predict(rows)
        return expected - taken if taken < expected else taken

    def hangs(self, rows: int, taken: float) -> bool:
        """Whether a run that has taken so long is given up."""
        expected = self.times.predict(rows)
        return taken > (max(HUNG_S, HUNG_TIMES * expected) if expected else UNKNOWN_HUNG_S)
