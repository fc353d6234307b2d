"""Ratios of percentiles, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.sla.bootstrap import Ratio, ratio


def stretches(count: int, scale: float, seed: int, length: int = 200) -> list[np.ndarray]:  # type: ignore[type-arg]
    """So many stretches of latencies around `scale` seconds."""
    random = np.random.default_rng(seed)
    return [scale * random.lognormal(0, 0.5, length) for _ in range(count)]


def test_equal_stretches_have_a_ratio_around_one() -> None:
    """The interval holds it."""
    found = ratio(stretches(60, 0.004, 1), stretches(90, 0.004, 2), "p99", 0.99)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert (found.count, found.base_count) == (12_000, 18_000)


def test_a_slower_stretch_shows() -> None:
    """Half as slow again, and the interval says that it is not one."""
    found = ratio(stretches(60, 0.006, 1), stretches(60, 0.004, 2), "p99", 0.99)
    assert found.ratio == pytest.approx(1.5, rel=0.1)
    assert found.low is not None
    assert found.low > 1.2
    assert found.seconds == pytest.approx(found.base * found.ratio if found.base and found.ratio else 0)


def test_one_bad_stretch_makes_it_unsure() -> None:
    """All the slow requests stand together: the interval is far wider than if each counted by itself."""
    rows = stretches(20, 0.004, 1)
    rows[3] = rows[3] * 10
    unsure = ratio(rows, stretches(20, 0.004, 2), "p99", 0.99)
    assert unsure.low is not None
    assert unsure.high is not None
    assert unsure.high / unsure.low > 3


@pytest.mark.parametrize("few", [0, 1, 4])
def test_few_stretches_have_no_interval(few: int) -> None:
    """And none at all have no ratio; nothing is divided by nothing."""
    found = ratio(stretches(few, 0.004, 1), stretches(10, 0.004, 2), "p99", 0.99)
    assert (found.ratio is None) is (few == 0)
    assert found.low is None
    empty = ratio(stretches(10, 0.004, 1), [np.zeros(0)], "p99", 0.99)
    assert (empty.ratio, empty.base, empty.base_count) == (None, None, 0)
    assert ratio([], [], "p99", 0.99) == Ratio(0, 0)


def test_a_ratio_is_spoken() -> None:
    """With its interval, if there is one."""
    assert str(Ratio(10, 10, 0.2, 0.1, 2.0, 1.55, 2.449)) == "×2.00 [1.55–2.45]"
    assert str(Ratio(10, 10, 0.2, 0.1, 2.0)) == "×2.00"
    assert str(Ratio(0, 10)) == "–"
