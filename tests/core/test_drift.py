"""Drift: distances as scipy has them, chance told from change, and two windows in a row before anything is said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, entropy, wasserstein_distance

from router.core import drift
from router.core.drift import GREEN, RED, YELLOW, chi_square, confirmed, measures
from router.core.features import Array, Cells, Column, Take
from router.core.reference import Counts, Reference, made

NUMBER = Column("x", "x", Take.ELEMENT)
TEXT = Column("t", "t", Take.ELEMENT, text=True)
START = np.array([0])


def numbers(*columns: Array) -> Cells:
    """Rows of numbers."""
    return Cells(np.stack(columns, axis=1).astype(np.float64), {})


def texts(*values: str) -> Cells:
    """Rows of one text."""
    return Cells(np.full((len(values), 1), np.nan), {0: [value.encode() for value in values]})


def window(reference: Reference, *pieces: Cells) -> Counts:
    """What came, in pieces."""
    found = Counts(reference)
    for piece in pieces:
        found.add(reference, reference.counted(piece))
    return found


@pytest.fixture
def rng() -> np.random.Generator:
    """The same at every run."""
    return np.random.default_rng(7)


def test_distances_of_shares_are_those_of_scipy(rng: np.random.Generator) -> None:
    """The index is the entropy of each relative to the other; of several features each has its own."""
    p, q = rng.dirichlet(np.ones(12), 2), rng.dirichlet(np.ones(12), 2)
    starts = np.array([0, 12])
    index, distance = drift.psi(p.ravel(), q.ravel(), starts), drift.jensen_shannon(p.ravel(), q.ravel(), starts)
    moved = drift.wasserstein(p.ravel(), q.ravel(), np.tile([*np.full(11, 0.5), 0.0], 2), starts)
    for one in (0, 1):
        assert index[one] == pytest.approx(entropy(p[one], q[one]) + entropy(q[one], p[one]))
        assert distance[one] == pytest.approx(jensenshannon(p[one], q[one], base=2))
        places = np.arange(12) * 0.5
        assert moved[one] == pytest.approx(wasserstein_distance(places, places, p[one], q[one]))


def test_shares_of_nothing_count_for_the_jensen_shannon_distance() -> None:
    """What one side alone has is as far as can be."""
    assert drift.jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]), START)[0] == pytest.approx(1.0)
    assert drift.jensen_shannon(np.array([1.0, 0.0]), np.array([1.0, 0.0]), START)[0] == 0.0


@pytest.mark.parametrize("degrees", [1, 2, 5, 9, 12, 40])
@pytest.mark.parametrize("error", [1e-2, 1e-4, 2e-5, 1e-6])
def test_quantiles_of_chi_square_are_those_of_scipy(degrees: int, error: float) -> None:
    """Within a seventh, and hardly ever below."""
    told = chi_square(np.array([float(degrees)]), error)[0]
    assert 0.99 <= told / chi2.isf(error, degrees) <= 1.16


@pytest.mark.parametrize(("shift", "factor"), [(0.1, 1.0), (0.5, 1.0), (1.0, 1.0), (4.0, 1.0), (0.0, 2.0), (0.5, 0.5)])
def test_wasserstein_from_bins_is_close_to_that_of_all_rows(
    rng: np.random.Generator, shift: float, factor: float
) -> None:
    """In standard deviations of the reference; also far beyond all that it has."""
    before = rng.normal(3.0, 2.0, 20_000)
    now = 3.0 + 2.0 * (shift + factor * rng.normal(size=20_000))
    reference = made([NUMBER], numbers(before))
    found = measures(reference, window(reference, numbers(now)))
    assert found.wasserstein[0] == pytest.approx(wasserstein_distance(before, now) / before.std(), rel=0.15, abs=0.02)
    assert found.shift[0] == pytest.approx((now.mean() - before.mean()) / before.std(), abs=1e-9)
    assert found.deviation[0] == pytest.approx(now.std() / before.std(), rel=1e-6)


def test_numbers_of_few_values_have_the_exact_distance(rng: np.random.Generator) -> None:
    """Each value has a bin of its own."""
    before, now = rng.integers(0, 9, 5000), rng.binomial(8, 0.7, 3000)
    reference = made([NUMBER], numbers(before))
    found = measures(reference, window(reference, numbers(now)))
    assert found.wasserstein[0] == pytest.approx(wasserstein_distance(before, now) / before.std())


def test_a_shift_by_one_standard_deviation_has_the_index_that_is_known(rng: np.random.Generator) -> None:
    """About one; chance reaches far less, and a window of the same rows far less than that."""
    reference = made([NUMBER], numbers(rng.normal(size=1000)))
    same = measures(reference, window(reference, numbers(rng.normal(size=400))))
    moved = measures(reference, window(reference, numbers(rng.normal(1.0, 1.0, 400))))
    assert 0.7 < moved.psi[0] < 1.3
    assert same.psi[0] < same.floor[0] < 0.2
    assert same.levels(0.1, 0.2).tolist() == [GREEN]
    assert moved.levels(0.1, 0.2).tolist() == [RED]
    assert moved.levels(0.1, 5.0).tolist() == [YELLOW]


def test_what_is_missing_and_what_is_new_are_seen(rng: np.random.Generator) -> None:
    """Of numbers and of categories."""
    values = rng.normal(size=1000)
    now = values.copy()
    now[:300] = np.nan
    reference = made([NUMBER], numbers(values))
    found = measures(reference, window(reference, numbers(now)))
    assert found.missing[0] == pytest.approx(0.3)
    assert np.isnan(found.unseen[0])
    assert found.levels(0.1, 0.2).tolist() == [RED]
    named = made([TEXT], texts(*["a", "b"] * 500))
    found = measures(named, window(named, texts(*["a", "b", "b", "new", ""] * 100)))
    assert (found.missing[0], found.unseen[0]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert np.isnan(found.wasserstein[0])
    assert found.levels(0.1, 0.2).tolist() == [RED]


def tail(rng: np.random.Generator, rows: int, share: float) -> Array:
    """Numbers of which so many are not 0."""
    return np.where(rng.random(rows) < share, rng.exponential(size=rows), 0.0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_what_is_rare_beside_what_is_common_is_seen(rng: np.random.Generator, side: float) -> None:
    """A flag that is a floating number, a number that is hardly ever not 0; on either side of it."""
    flags, later = [(rng.random(rows) < share) * side for rows, share in ((1000, 0.02), (400, 0.5))]
    for before, now in ((flags, later), (side * tail(rng, 1000, 0.01), side * tail(rng, 400, 0.5))):
        reference = made([NUMBER], numbers(before))
        assert measures(reference, window(reference, numbers(now))).levels(0.1, 0.2).tolist() == [RED]
        assert measures(reference, window(reference, numbers(before))).levels(0.1, 0.2).tolist() == [GREEN]


@pytest.mark.parametrize("draw", ["all others", "hundreds", "a long tail"])
def test_categories_of_which_many_come_once_are_no_change_by_that(rng: np.random.Generator, draw: str) -> None:
    """Names, numbers of things, words: those that the reference knows need not come again. What it knows by heart and
    what goes missing are seen all the same."""
    kinds = {
        "all others": lambda rows: rng.integers(0, 1 << 40, rows),
        "hundreds": lambda rows: rng.integers(0, 300, rows),
        "a long tail": lambda rows: rng.zipf(1.4, rows),
    }

    def some(rows: int) -> Cells:
        return texts(*map(str, kinds[draw](rows).tolist()))

    for _ in range(12):
        reference = made([TEXT], some(1000))
        found = measures(reference, window(reference, some(600)))
        assert found.levels(0.1, 0.2).tolist() == [GREEN]
        assert found.unseen[0] > 0.0
    gone = some(600)
    gone.texts[0][::2] = [b""] * 300  # type: ignore[index]
    assert measures(reference, window(reference, gone)).levels(0.1, 0.2).tolist() == [RED]


def test_categories_that_only_just_are_told_apart_are_no_change_by_that(rng: np.random.Generator) -> None:
    """Of many that are as frequent, a small reference knows those that came oftener by chance."""
    passed = 0
    for _ in range(40):
        reference = made([TEXT], texts(*map(str, rng.integers(0, 70, 100).tolist())))
        for _ in range(3):
            found = measures(reference, window(reference, texts(*map(str, rng.integers(0, 70, 500).tolist()))))
            passed += bool((found.psi > found.floor).any())
    assert passed <= 1


def test_a_feature_without_a_value_is_no_number(rng: np.random.Generator) -> None:
    """All missing before, now, or both: figures are finite, or NaN where there can be none."""
    empty, full = np.full(500, np.nan), rng.normal(size=500)
    for before, now, level in ((empty, empty, GREEN), (empty, full, RED), (full, empty, RED)):
        reference = made([NUMBER], numbers(before))
        found = measures(reference, window(reference, numbers(now)))
        assert np.isfinite(found.psi[0])
        assert np.isnan(found.wasserstein[0])
        assert found.levels(0.1, 0.2).tolist() == [level]


def test_rows_that_come_in_bursts_of_the_same_are_not_taken_for_many(rng: np.random.Generator) -> None:
    """The floor rises by how much more their counts vary than those of independent rows."""
    reference = made([NUMBER], numbers(rng.normal(size=5000)))
    bursts = [numbers(np.repeat(rng.normal(size=2), 10)) for _ in range(20)]
    apart = [numbers(rng.normal(size=20)) for _ in range(20)]
    burst, even = (measures(reference, window(reference, *each)) for each in (bursts, apart))
    assert even.floor[0] < 0.2
    assert burst.floor[0] > 3 * even.floor[0]
    assert burst.levels(0.1, 0.2).tolist() == [GREEN]


def test_chance_passes_the_floor_as_often_as_is_said() -> None:
    """Of 50 features any one in one of ten thousand windows, with a reference of its own each time."""
    rng = np.random.default_rng(11)
    passed = 0
    for _ in range(8):
        reference = made([NUMBER] * 50, numbers(*rng.normal(size=(50, 1000))))
        for _ in range(25):
            found = measures(reference, reference_window(reference, rng))
            passed += bool((found.psi > found.floor).any())
    assert passed == 0


def reference_window(reference: Reference, rng: np.random.Generator) -> Counts:
    """300 rows of the same."""
    return window(reference, numbers(*rng.normal(size=(50, 300))))


def test_two_windows_in_a_row_make_a_status() -> None:
    """It rises to what both have at least, and falls to what both have at most."""
    status = np.array([GREEN])
    told = []
    levels = [GREEN, RED, GREEN, YELLOW, RED, RED, GREEN, RED, YELLOW, GREEN, GREEN]
    for before, now in zip([GREEN, *levels], levels, strict=False):
        status = confirmed(status, np.array([before]), np.array([now]))
        told.append(int(status[0]))
    assert told == [GREEN, GREEN, GREEN, GREEN, YELLOW, RED, RED, RED, RED, YELLOW, GREEN]
