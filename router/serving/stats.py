"""What a version has done since this worker started: plain integers, one cell for each thread that writes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from enum import IntEnum
from operator import sub

from router.core.fallback import Reason, Step
from router.core.latency import BUCKETS, bucket


class Failure(IntEnum):
    """Why a request failed, in the words of the metrics that dashboards know."""

    REJECTED = 0
    CANCELED = 1
    BACKEND = 2
    OTHER = 3


NEVER_NS = 1 << 62
"""A target that no answer is too late for."""
MAX_SIZES = 128
"""Sizes of batches that are counted apart."""
MAX_RULES = 256
"""Humility rules that are counted apart, over all changes of a model's settings."""


class Cell:
    """Figures that one thread adds up. All times are nanoseconds."""

    __slots__ = (
        "batches",
        "buckets",
        "compute_infer",
        "compute_input",
        "compute_output",
        "doubts",
        "failed",
        "failures",
        "fallbacks",
        "hit_buckets",
        "hit_ns",
        "hits",
        "keyless",
        "last_ms",
        "late",
        "queue",
        "request",
        "rows",
        "runs",
        "success",
        "target_ns",
    )

    def __init__(self) -> None:
        self.success = 0
        self.rows = 0
        self.runs = 0
        self.request = 0
        self.queue = 0
        self.compute_input = 0
        self.compute_infer = 0
        self.compute_output = 0
        self.failed = 0  # time spent on requests that failed
        self.failures = [0] * len(Failure)
        self.fallbacks: dict[tuple[Step, Reason], list[int]] = {}  # → calls, time
        self.doubts: dict[tuple[str, str], int] = {}  # humility rule, what it does → rows
        self.buckets = [0] * BUCKETS
        self.hits = 0  # of `success`, those that needed no run
        self.hit_ns = 0
        self.hit_buckets = [0] * BUCKETS
        self.keyless = 0  # requests without a key: the split of which this is the champion sent them by chance
        self.batches: dict[int, list[int]] = {}  # rows → runs, input, infer, output
        self.last_ms = 0
        self.target_ns = NEVER_NS
        self.late = 0  # of `success`, those that took longer than the target of their time

    def fail(self, reason: Failure, nanoseconds: int) -> None:
        """Count a failed request."""
        self.failures[reason] += 1
        self.failed += nanoseconds

    def fell_back(self, step: Step, reason: Reason, nanoseconds: int) -> None:
        """Count a request that was answered without the model."""
        figures = self.fallbacks.setdefault((step, reason), [0, 0])
        figures[0] += 1
        figures[1] += nanoseconds

    def doubted(self, rule: str, then: str, rows: int) -> None:
        """Count rows in which a humility rule fired. Owners rename rules: beyond a bound all new ones are one."""
        key = (rule, then)
        if key not in self.doubts and len(self.doubts) >= MAX_RULES:
            key = ("others", then)
        self.doubts[key] = self.doubts.get(key, 0) + rows

    def remembered(self, nanoseconds: int) -> None:
        """Count a request that needed no run: the model had said the same just now."""
        at = bucket(nanoseconds)
        self.success += 1
        self.request += nanoseconds
        self.buckets[at] += 1
        self.late += nanoseconds > self.target_ns
        self.hits += 1
        self.hit_ns += nanoseconds
        self.hit_buckets[at] += 1

    def ran(self, received: Iterable[int], rows: int, began: int, fed: int, inferred: int, ended: int) -> None:
        """Count a run and the requests that it answered: when each was `received`, and the run's four instants."""
        count = waited = 0
        buckets, on_time = self.buckets, ended - self.target_ns
        late = 0
        for instant in received:
            count += 1
            waited += began - instant
            if instant < on_time:
                late += 1
            place = (ended - instant >> 10).bit_length()  # `bucket` without the price of a call
            buckets[place if place < BUCKETS else -1] += 1
        self.success += count
        self.late += late
        self.rows += rows
        self.runs += 1
        self.queue += waited
        self.request += waited + (ended - began) * count
        self.compute_input += (fed - began) * count
        self.compute_infer += (inferred - fed) * count
        self.compute_output += (ended - inferred) * count
        batch = self.batches.get(rows) or self._batch(rows)
        batch[0] += 1
        batch[1] += fed - began
        batch[2] += inferred - fed
        batch[3] += ended - inferred

    def _batch(self, rows: int) -> list[int]:
        """The figures of a size not seen before. Callers choose their sizes: beyond a bound, powers of two."""
        if len(self.batches) >= MAX_SIZES:
            rows = 1 << (rows - 1).bit_length()
        return self.batches.setdefault(rows, [0, 0, 0, 0])


class Stats:
    """All cells of a version."""

    def __init__(self) -> None:
        self._cells: list[Cell] = []
        self._target_ns = NEVER_NS
        self._by_thread: dict[int, Cell] = {}
        self.load_ns = 0
        self._last = (0, 0)

    def cell(self) -> Cell:
        """A cell for a thread that is going to write."""
        cell = Cell()
        cell.target_ns = self._target_ns
        self._cells.append(cell)
        return cell

    def aim(self, seconds: float | None) -> None:
        """From now on an answer is late that takes longer; None: none is."""
        self._target_ns = NEVER_NS if seconds is None else int(seconds * 1e9)
        for cell in list(self._cells):
            cell.target_ns = self._target_ns

    def own_cell(self) -> Cell:
        """The cell of the thread that asks."""
        ident = threading.get_ident()
        cell = self._by_thread.get(ident)
        if cell is None:
            cell = self._by_thread[ident] = self.cell()
        return cell

    def buckets(self) -> list[int]:
        """Requests that a run has answered, by the bucket of their time."""
        ran = [map(sub, cell.buckets, cell.hit_buckets) for cell in list(self._cells)]
        return [sum(counts) for counts in zip(*ran, strict=True)]

    def total(self) -> Cell:
        """The sum over all threads."""
        total = Cell()
        for cell in list(self._cells):
            for name in (
                "success",
                "rows",
                "runs",
                "request",
                "queue",
                "compute_infer",
                "compute_input",
                "compute_output",
                "failed",
                "hits",
                "hit_ns",
                "keyless",
                "late",
            ):
                setattr(total, name, getattr(total, name) + getattr(cell, name))
            total.failures = [a + b for a, b in zip(total.failures, cell.failures, strict=True)]
            total.buckets = [a + b for a, b in zip(total.buckets, cell.buckets, strict=True)]
            total.hit_buckets = [a + b for a, b in zip(total.hit_buckets, cell.hit_buckets, strict=True)]
            for key, figures in list(cell.fallbacks.items()):
                have = total.fallbacks.get(key, [0, 0])
                total.fallbacks[key] = [a + b for a, b in zip(have, figures, strict=True)]
            for rule, doubted in list(cell.doubts.items()):
                total.doubts[rule] = total.doubts.get(rule, 0) + doubted
            for rows, figures in list(cell.batches.items()):
                have = total.batches.get(rows, [0, 0, 0, 0])
                total.batches[rows] = [a + b for a, b in zip(have, figures, strict=True)]
        runs, seen_ms = self._last
        if total.runs != runs:  # read often enough, this is the time of the last run, for no price on the path
            seen_ms = time.time_ns() // 1_000_000
            self._last = (total.runs, seen_ms)
        total.last_ms = seen_ms
        return total
