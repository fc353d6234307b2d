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


MAX_SIZES = 128
"""Sizes of batches that are counted apart."""


class Cell:
    """Figures that one thread adds up. All times are nanoseconds."""

    __slots__ = (
        "batches",
        "buckets",
        "compute_infer",
        "compute_input",
        "compute_output",
        "failed",
        "failures",
        "fallbacks",
        "hit_buckets",
        "hit_ns",
        "hits",
        "keyless",
        "last_ms",
        "queue",
        "request",
        "rows",
        "runs",
        "success",
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
        self.buckets = [0] * BUCKETS
        self.hits = 0  # of `success`, those that needed no run
        self.hit_ns = 0
        self.hit_buckets = [0] * BUCKETS
        self.keyless = 0  # requests without a key: the split of which this is the champion sent them by chance
        self.batches: dict[int, list[int]] = {}  # rows → runs, input, infer, output
        self.last_ms = 0

    def fail(self, reason: Failure, nanoseconds: int) -> None:
        """Count a failed request."""
        self.failures[reason] += 1
        self.failed += nanoseconds

    def fell_back(self, step: Step, reason: Reason, nanoseconds: int) -> None:
        """Count a request that was answered without the model."""
        figures = self.fallbacks.setdefault((step, reason), [0, 0])
        figures[0] += 1
        figures[1] += nanoseconds

    def remembered(self, nanoseconds: int) -> None:
        """Count a request that needed no run: the model had said the same just now."""
        at = bucket(nanoseconds)
        self.success += 1
        self.request += nanoseconds
        self.buckets[at] += 1
        self.hits += 1
        self.hit_ns += nanoseconds
        self.hit_buckets[at] += 1

    def ran(self, received: Iterable[int], rows: int, began: int, fed: int, inferred: int, ended: int) -> None:
        """Count a run and the requests that it answered: when each was `received`, and the run's four instants."""
        count = waited = 0
        buckets = self.buckets
        for instant in received:
            count += 1
            waited += began - instant
            place = (ended - instant >> 10).bit_length()  # `bucket` without the price of a call
            buckets[place if place < BUCKETS else -1] += 1
        self.success += count
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
        self._by_thread: dict[int, Cell] = {}
        self.load_ns = 0
        self._last = (0, 0)

    def cell(self) -> Cell:
        """A cell for a thread that is going to write."""
        cell = Cell()
        self._cells.append(cell)
        return cell

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
            ):
                setattr(total, name, getattr(total, name) + getattr(cell, name))
            total.failures = [a + b for a, b in zip(total.failures, cell.failures, strict=True)]
            total.buckets = [a + b for a, b in zip(total.buckets, cell.buckets, strict=True)]
            total.hit_buckets = [a + b for a, b in zip(total.hit_buckets, cell.hit_buckets, strict=True)]
            for key, figures in list(cell.fallbacks.items()):
                have = total.fallbacks.get(key, [0, 0])
                total.fallbacks[key] = [a + b for a, b in zip(have, figures, strict=True)]
            for rows, figures in list(cell.batches.items()):
                have = total.batches.get(rows, [0, 0, 0, 0])
                total.batches[rows] = [a + b for a, b in zip(have, figures, strict=True)]
        runs, seen_ms = self._last
        if total.runs != runs:  # read often enough, this is the time of the last run, for no price on the path
            seen_ms = time.time_ns() // 1_000_000
            self._last = (total.runs, seen_ms)
        total.last_ms = seen_ms
        return total
