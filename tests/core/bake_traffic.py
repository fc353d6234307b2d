"""Traffic of a whole canary, drawn at once: what candidate and control had in every interval, in many canaries.

Requests come in bursts. Times are log-normal around a level that wanders; now and then the machine stalls, which hits
both, and failures come in bursts that hit both too. Requests that wait together share their fate, by twos.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from router.core.latency import BUCKETS, upper_bound_seconds

Array = np.ndarray[Any, Any]
Random = np.random.Generator

USED = slice(7, 23)
"""Buckets of times from 0.1 ms to 4 s; the last takes the rest."""
BOUNDS = np.array([upper_bound_seconds(place) for place in range(BUCKETS)])[USED]


@dataclass(frozen=True)
class Arm:
    """Sums by canary, from the first interval to the end of each; `buckets` by bucket as well."""

    requests: Array
    failures: Array
    fallbacks: Array
    buckets: Array


@dataclass(frozen=True)
class Bad:
    """What is wrong with a candidate. `slower`: all its times, taken so many times. `apart`: rows that do not agree."""

    errors: float = 0.0
    fallbacks: float = 0.0
    slower: float = 1.0
    apart: float = 0.0


GOOD = Bad()


@dataclass(frozen=True)
class Weather:
    """What hits both, by canary and interval: how many requests come, and how it goes with them.

    `median` is in seconds; a share `stalled` waits for a stall as well; shares fail, and are answered otherwise.
    """

    requests: Array
    median: Array
    stalled: Array
    failing: Array
    falling: Array


def weather(random: Random, intervals: int, per_interval: Array, *, calm: bool = False) -> Weather:
    """That of so many canaries as `per_interval` has requests for. `calm`: nothing hits both, and all is even."""
    shape = (len(per_interval), intervals)
    noise = random.normal(0.0, 0.2, shape)
    level = np.zeros(shape)
    for at in range(1, intervals):  # it wanders
        level[:, at] = 0.8 * level[:, at - 1] + noise[:, at]
    median = 0.004 * np.exp(level)
    if calm:
        few = np.full(shape, 0.0005)
        return Weather(random.poisson(per_interval[:, None], shape), median, few, few, few)
    bursts = random.gamma(4.0, 0.25, shape)
    stalled = np.where(random.random(shape) < 0.1, random.random(shape) * 0.3, 0.002)
    failing = np.where(random.random(shape) < 0.05, random.random(shape) * 0.2, 0.0005)
    falling = np.where(random.random(shape) < 0.05, random.random(shape) * 0.2, 0.0005)
    return Weather(random.poisson(per_interval[:, None] * bursts), median, stalled, failing, falling)


def divided(
    random: Random, sky: Weather, share: float, bad: Bad = GOOD, turned: Array | None = None
) -> tuple[Arm, Arm]:
    """Candidate and control, when the candidate has a share of the requests and is bad in intervals that `turned`."""
    ours = random.binomial(sky.requests, share)
    when = np.zeros(sky.requests.shape[1], bool) if turned is None else turned
    return _arm(random, sky, ours, bad, when), _arm(random, sky, sky.requests - ours, GOOD, when)


def _arm(random: Random, sky: Weather, requests: Array, bad: Bad, when: Array) -> Arm:
    failures = 2 * random.binomial(requests // 2, sky.failing)
    failures += random.binomial(requests - failures, when * bad.errors)
    fallbacks = 2 * random.binomial((requests - failures) // 2, sky.falling)
    fallbacks += random.binomial(requests - failures - fallbacks, when * bad.fallbacks)
    answered = (requests - failures - fallbacks) // 2
    chances = _chances(sky, np.where(when, bad.slower, 1.0))
    buckets = np.zeros((*requests.shape, BUCKETS), np.int32)
    buckets[..., USED] = (2 * random.multinomial(answered, chances)).cumsum(1)
    return Arm(requests.cumsum(1), failures.cumsum(1), fallbacks.cumsum(1), buckets)


def _chances(sky: Weather, slower: Array) -> Array:
    """How likely a time lies in each bucket."""
    whole = _below(sky.median * slower, 0.4)
    stalled = _below((sky.median + 0.2) * slower, 0.8)
    below = (1 - sky.stalled[..., None]) * whole + sky.stalled[..., None] * stalled
    below[..., -1] = 1.0
    chances = np.diff(below, axis=-1, prepend=0.0)
    return np.clip(chances, 0.0, 1.0) / chances.sum(-1, keepdims=True)


def _below(median: Array, spread: float) -> Array:
    """The log-normal distribution at the bounds, the normal one approximated (Bowling et al. 2009, JIEM 2)."""
    z = np.clip((np.log(BOUNDS) - np.log(median[..., None])) / spread, -9.0, 9.0)
    return 1.0 / (1.0 + np.exp(-z * (0.07056 * z * z + 1.5976)))
