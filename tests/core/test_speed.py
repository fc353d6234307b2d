"""Speed: what is slower is caught, what is merely disturbed is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.core.gate import Verdict
from router.core.speed import Times, late, slower, speed_gate

Array = np.ndarray[Any, Any]
SEEDS = 1000
SLOWDOWN = 2.5


def runs(random: np.random.Generator, seconds: float, count: int, disturbed: float) -> Array:
    """Times of a busy machine: a tenth up or down, and a share that are held up, some a hundred times as long."""
    times = seconds * random.lognormal(0.0, 0.1, count)
    held = random.random(count) < disturbed
    return np.where(held, times * (1.0 + random.pareto(1.0, count) * 3.0), times)


def failed(factor: float, count: int, disturbed: float, seed: int) -> bool:
    """Whether a version that takes so many times the champion's time fails: that is what the gate asks."""
    random = np.random.default_rng(seed)
    ours, theirs = runs(random, 1e-3 * factor, count, disturbed), runs(random, 1e-3, count, disturbed)
    return slower(Times(1, ours, theirs)) > SLOWDOWN


@pytest.mark.parametrize(("count", "disturbed"), [(30, 0.0), (30, 0.1), (100, 0.05), (100, 0.2)])
def test_five_times_slower_is_caught_and_equal_is_not(count: int, disturbed: float) -> None:
    """At least 99 of 100, and at most one: over a thousand seeds, also where many runs are held up."""
    assert sum(failed(5.0, count, disturbed, seed) for seed in range(SEEDS)) >= 990
    assert sum(failed(1.0, count, disturbed, seed) for seed in range(SEEDS)) <= 10


@pytest.mark.parametrize("disturbed", [0.0, 0.05])
def test_a_few_runs_of_a_slow_model_are_enough(disturbed: float) -> None:
    """Three pairs, of which the least and the median decide."""
    assert sum(failed(5.0, 3, disturbed, seed) for seed in range(SEEDS)) >= 980
    assert sum(failed(1.0, 3, disturbed, seed) for seed in range(SEEDS)) <= 10


def test_a_noisy_stretch_hits_both() -> None:
    """Versions take turns: a machine that is slow for a while makes both slow, and neither the slower one."""
    weather = np.repeat([1.0, 8.0, 1.0, 3.0], 25)
    assert slower(Times(1, 1e-3 * weather, 1e-3 * weather)) == pytest.approx(1.0)


def test_without_a_champion_nothing_is_slower() -> None:
    """Nor with one that has not run."""
    assert slower(Times(1, np.ones(9))) == 0.0
    assert slower(Times(1, np.ones(9), np.array([]))) == 0.0


def test_the_sla_is_held_by_99_of_100_runs() -> None:
    """A few above it are chance; many are not. A single run that is known is judged."""
    times = np.full(300, 1e-3)
    times[:6] = 1.0
    assert not late(times, 0.01)
    times[:20] = 1.0
    assert late(times, 0.01)
    assert late(np.array([1.0]), 0.01)
    assert not late(np.array([1.0, 1e-3, 1e-3]), 0.01)


def test_single_runs_above_the_sla_fail_batches_are_warned_of() -> None:
    """The router makes no batch that it expects to take too long."""
    slow, fast = np.full(100, 0.02), np.full(100, 0.001)
    outcome = speed_gate([Times(1, slow)], 0.01, SLOWDOWN)
    assert (outcome.verdict, outcome.blocks) == (Verdict.FAIL, True)
    assert outcome.reason == "a single run: the 99th percentile is 20 ms, above the SLA of 10 ms"
    outcome = speed_gate([Times(1, fast), Times(32, slow)], 0.01, SLOWDOWN)
    assert outcome.verdict is Verdict.WARN
    assert outcome.reason.startswith("a batch of 32 rows: the 99th percentile is 20 ms")


def test_a_champion_that_is_above_the_sla_too_excuses() -> None:
    """The version makes nothing worse; people are told."""
    slow = np.full(100, 0.02)
    outcome = speed_gate([Times(1, slow, slow)], 0.01, SLOWDOWN)
    assert outcome.verdict is Verdict.WARN
    assert outcome.reason.endswith("; so is the champion")


def test_figures_have_their_units() -> None:
    """Of both versions, of single runs and of batches, and the factor."""
    outcome = speed_gate([Times(1, np.full(9, 2e-3), np.full(9, 1e-3)), Times(8, np.full(9, 4e-3))], 0.05, SLOWDOWN)
    assert outcome.verdict is Verdict.PASS
    assert outcome.reason == (
        "single 2 ms, 99 % within 2 ms (the champion 1 ms); batches of 8 rows 4 ms, 99 % within 4 ms; the SLA is 50 ms"
    )
    expected = {
        "single_p50_ms": 2.0, "single_p99_ms": 2.0, "champion_single_p50_ms": 1.0, "single_ratio": 2.0,
        "single_ratio_low": 2.0, "batch_p50_ms": 4.0, "batch_rows": 8.0, "sla_ms": 50.0, "slowdown_limit": 2.5,
        "single_runs": 9.0,
    }  # fmt: skip
    assert {name: outcome.figures[name] for name in expected} == pytest.approx(expected)


def test_a_fail_says_both_times_and_the_limit() -> None:
    """So that people see how far off it is."""
    outcome = speed_gate([Times(1, np.full(50, 5e-3), np.full(50, 1e-3))], None, SLOWDOWN)
    assert outcome.reason == (
        "a single run takes 5 ms, the champion's 1 ms: at least 5.0 times the champion's, at most 2.5 times is allowed"
    )
