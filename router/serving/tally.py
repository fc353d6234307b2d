"""What is counted of a version while it runs copies. Its thread writes, others read."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from router.core.comparison import Comparison, Measure
from router.core.histogram import RATIOS, TIMES
from router.core.mirrored import Foretold, MirroredRun, Truth
from router.core.tensor import TensorSpec
from router.core.warmup import Accuracy, Figures, Purpose, Source
from router.serving.copied_run import apart, parts

Array = np.ndarray[Any, Any]

MEASURES: Final = {
    Purpose.WARM_UP: Measure.NOBODY,
    Purpose.SHADOW: Measure.THEIRS,
    Purpose.CONTROL: Measure.OURS,
}
"""Whose numbers say how far apart two may be and agree: the champion's, or those of the one before, as in a canary."""
_ID: Final = 0x1A
"""The tag of a request's id as it travels: field 3, a text."""


class Tally:
    """`outputs` are the version's; a number agrees with the champion's within `tolerance`, if there is one.

    Without one `purpose` says by whose numbers (`MEASURES`). Of a canary's control rows that cannot be compared are
    rows on which the two do not agree: there is nothing else by which the candidate is judged there. What may come true
    is kept for a warm-up only, whose verdict it is for.
    """

    def __init__(
        self, outputs: Sequence[TensorSpec], tolerance: float | None, purpose: Purpose = Purpose.WARM_UP
    ) -> None:
        self._lock = threading.Lock()
        self._purpose = purpose
        self._comparison = Comparison(outputs, tolerance, MEASURES[purpose])
        self._judged = self._comparison.judged
        self._foretold = Foretold()
        self._samples = dict.fromkeys(Source, 0)
        self._rows = self._errors = self._broken = self._missed = 0
        self._first_error = ""
        self._times = np.zeros(TIMES.buckets, np.int64)
        self._champion_times = np.zeros(TIMES.buckets, np.int64)
        self._ratios = np.zeros(RATIOS.buckets, np.int64)

    def ran(self, source: Source, calls: int, rows: int, seconds: float, champion_s: float, beside_s: float) -> None:
        """A run for so many calls took so long; the champion's, when it served and beside it: 0 where not known."""
        with self._lock:
            self._samples[source] += calls
            self._rows += rows
            self._times[TIMES.place(seconds)] += 1
            if champion_s > 0:
                self._champion_times[TIMES.place(champion_s)] += 1
            if beside_s > 0:
                self._ratios[RATIOS.place(seconds / beside_s)] += 1

    def failed(self, source: Source, calls: int, why: str) -> None:
        """So many calls could not be run."""
        with self._lock:
            self._samples[source] += calls
            self._errors += calls
            self._first_error = self._first_error or why

    def broke(self, calls: int, why: str) -> None:
        """The outputs of so many calls, which were run, are no answers."""
        with self._lock:
            self._broken += calls
            self._first_error = self._first_error or why

    def missed(self, calls: int) -> None:
        """So many calls came while it had too many already."""
        with self._lock:
            self._missed += calls

    @property
    def total(self) -> int:
        """Calls that were run."""
        return sum(self._samples.values())

    def compare(
        self, run: MirroredRun, rows: Sequence[int], champion: Mapping[str, Array], version: Mapping[str, Array]
    ) -> str:
        """Both versions' outputs, by name. What is wrong if they are no answers to be compared, or empty."""
        with self._lock:
            wrong = self._comparison.add(champion, version)
            if wrong and self._purpose is Purpose.CONTROL:
                self._unlike(champion, sum(rows), wrong)
                return ""
            if not wrong and self._purpose is Purpose.WARM_UP and self._judged in champion:
                self._foretell(run, rows, champion[self._judged], version[self._judged])
            return wrong

    def compare_parts(
        self,
        run: MirroredRun,
        rows: Sequence[int],
        champion: Mapping[str, Array],
        version: Mapping[str, Array],
        wrong: Sequence[str],
    ) -> None:
        """The same of a run of which the version's outputs are no answers to some calls: `wrong` says why, by call.

        These count as broken, and nothing of the run is compared. Of a control their rows do not agree, others do.
        """
        if self._purpose is not Purpose.CONTROL:
            why = [each for each in wrong if each]
            self.broke(len(why), why[0])
            return
        pieces = zip(parts(run, rows), apart(champion, rows), apart(version, rows), rows, wrong, strict=True)
        for alone, theirs, ours, count, why_not in pieces:
            if why_not:
                with self._lock:
                    self._unlike(theirs, count, why_not)
            else:
                self.compare(alone, [count], theirs, ours)

    def _unlike(self, champion: Mapping[str, Array], rows: int, why: str) -> None:
        self._comparison.unlike(champion, rows)
        self._first_error = self._first_error or why

    def _foretell(self, run: MirroredRun, rows: Sequence[int], champions: Array, versions: Array) -> None:
        """Keep what both say of requests that have an id: it may come true."""
        if versions.ndim == 0 or len(versions) != sum(rows) or not any(call.id_field for call in run.calls):
            return
        theirs, ours = (self._comparison.classes(self._judged, each) for each in (champions, versions))
        at = 0
        for call, count in zip(run.calls, rows, strict=True):
            if call.id_field:
                self._foretold.said(_id(call.id_field), theirs[at : at + count], ours[at : at + count])
            at += count

    def came_true(self, request_id: str, row: int, truth: Truth) -> bool:
        """What was right for a row of a request. False when it is not known here."""
        with self._lock:
            return self._foretold.came_true(request_id, row, truth)

    def accuracy(self) -> Accuracy:
        """How often both versions were right."""
        with self._lock:
            return self._foretold.accuracy()

    def figures(
        self, seconds: float | None, failed: str, running_s: float, exhausted: bool, rested_s: float = 0.0
    ) -> Figures:
        """All of it, with what the version's thread is at; `seconds` since it was loaded, None while it is not."""
        with self._lock:
            return Figures(
                loaded=seconds is not None,
                failed=failed,
                seconds=seconds or 0.0,
                samples=dict(self._samples),
                rows=self._rows,
                errors=self._errors,
                broken=self._broken,
                first_error=self._first_error,
                times=tuple(self._times.tolist()),
                champion_times=tuple(self._champion_times.tolist()),
                ratios=tuple(self._ratios.tolist()),
                outputs=self._comparison.figures() if any(self._samples.values()) else (),
                running_s=running_s,
                exhausted=exhausted,
                missed=self._missed,
                rested_s=rested_s,
            )


def _id(id_field: bytes) -> str:
    """The id in a field as it travels: its tag, its length, its text."""
    if not id_field or id_field[0] != _ID:
        return ""
    at = 1
    while at < len(id_field) and id_field[at] & 0x80:
        at += 1
    return id_field[at + 1 :].decode("utf-8", "replace")
