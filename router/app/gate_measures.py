"""What is measured of versions under trial: how long runs take, in turns with the champion's, and memory held."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from router.app.gate_rows import Rows
from router.app.gate_subject import Array, Feeds, Stopwatch, Subject, resident_bytes
from router.core.gate import Distribution
from router.core.histogram import TIMES, distribution
from router.core.speed import Times
from router.errors import ModelFailed
from router.serving.session import give_back_memory

SINGLE_RUNS: Final = 300
BATCH_RUNS: Final = 100
FEWEST_RUNS: Final = 3
ENOUGH: Final = ((0.12, 30), (1.0, 10))
"""After so many seconds so many runs of each version are enough; fewer only where there is no more time."""
VARIETY: Final = 32
"""Different inputs that are run in turn."""
GROWTH_RUNS: Final = 1000
GROWTH_ENOUGH: Final = ((0.3, 120), (1.5, 30))
"""The same of these."""
SETTLING_RUNS: Final = 20
"""Runs after which memory that is kept for the next run has been taken."""


def times_of(
    candidate: Subject, champion: Subject | None, rows: Rows, sizes: Sequence[int], limit_s: float
) -> tuple[list[Times], tuple[Distribution, ...]]:
    """Runs of each number of rows in `sizes`, the champion's in turn; all within the limit. Raises ModelFailed."""
    measured, distributions = [], []
    for size in sizes:
        inputs = [_inputs(rows, size, place) for place in range(min(VARIETY, max(len(rows), 1)))]
        wanted = SINGLE_RUNS if size == 1 else BATCH_RUNS
        times = _in_turns(candidate, champion, inputs, size, wanted, limit_s / len(sizes))
        measured.append(times)
        for whose, seconds in (("", times.candidate), ("champion's ", times.champion)):
            if seconds is not None and len(seconds):
                what = "a single run" if size == 1 else f"a batch of {size} rows"
                distributions.append(_distribution(f"{whose}time of {what}", seconds))
    return measured, tuple(distributions)


def _inputs(rows: Rows, size: int, place: int) -> Feeds:
    return rows.one(place) if size == 1 else rows.several(size, place)


def _in_turns(
    candidate: Subject, champion: Subject | None, inputs: Sequence[Feeds], size: int, wanted: int, limit_s: float
) -> Times:
    ours: list[float] = []
    theirs: list[float] = []
    watch = Stopwatch()
    began = time.monotonic()
    collecting = gc.isenabled()
    gc.disable()
    try:
        with candidate.limited(limit_s) as run, (champion or candidate).limited(limit_s) as other:
            pair = [(run, ours)] + ([(other, theirs)] if champion is not None else [])
            if limit_s > 1.0:
                for each, _ in pair:  # the first run of a size takes memory
                    each(inputs[0])
            while len(ours) < wanted:
                feeds = inputs[len(ours) % len(inputs)]
                for each, seconds in pair:
                    seconds.append(watch.seconds(each, feeds))
                pair.reverse()
                taken_s = time.monotonic() - began
                if taken_s > limit_s * 0.6 or _enough(ENOUGH, taken_s, len(ours)):
                    break
    except ModelFailed:
        if len(ours) < FEWEST_RUNS:
            raise
    finally:
        watch.close()
        if collecting:
            gc.enable()
    pairs = min(len(ours), len(theirs)) if champion is not None else len(ours)
    return Times(size, np.array(ours[:pairs]), np.array(theirs[:pairs]) if champion is not None else None)


def _enough(rule: Sequence[tuple[float, int]], taken_s: float, runs: int) -> bool:
    return any(taken_s > seconds and runs >= least for seconds, least in rule)


def _distribution(name: str, seconds: Array) -> Distribution:
    counts = Counter(TIMES.place(each) for each in seconds.tolist())
    return distribution(name, "ms", [counts[place] for place in range(TIMES.buckets)], TIMES, 1e3)


def growth(subject: Subject, rows: Rows, joined: int, limit_s: float) -> tuple[int, int]:
    """How many bytes more are held after up to a thousand runs, and after how many. Raises ModelFailed."""
    inputs = [_inputs(rows, 1, place) for place in range(min(VARIETY, max(len(rows), 1)))]
    company = rows.several(joined) if joined > 1 else None
    runs = 0
    before: int | None = None
    began = time.monotonic()
    with subject.limited(limit_s) as run:
        while runs < GROWTH_RUNS + SETTLING_RUNS:
            run(company if company is not None and runs % 10 == 9 else inputs[runs % len(inputs)])
            runs += 1
            taken_s = time.monotonic() - began
            if before is None and (runs == SETTLING_RUNS or taken_s > limit_s * 0.2):
                before, settled = _held(), runs
            if taken_s > limit_s * 0.6 or _enough(GROWTH_ENOUGH, taken_s, runs):
                break
    if before is None:
        return 0, runs
    return _held() - before, runs - settled


def _held() -> int:
    gc.collect()
    give_back_memory()
    return resident_bytes()
