"""Figures of what came true, over time and by class, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.accuracy import Sum, figures, headline
from router.core.accuracy_history import SPANS, History
from router.core.confusion import CLASSES, Classes, confusion
from router.core.outcome import SLOT_NS, Kind, Outcome, Said
from router.core.prediction import Form, deviation

NOW = 1_700_000_000.0


def said(value: int | float | str, truth: int | float | str, ago: float = 0.0, score: float | None = None) -> Outcome:
    """Said so many seconds ago, known a second later."""
    form = Form.TEXT if isinstance(value, str) else Form.NUMBER if isinstance(value, float) else Form.INTEGER
    at = round((NOW - ago) * 1e9)
    return Outcome("1", "r", 1, at, at + 10**9, form, value, truth, deviation(form, value, truth), score)


def test_figures_of_numbers() -> None:
    """As numpy reckons them."""
    rng = np.random.default_rng(1)
    truth = rng.normal(50, 9, 400)
    guess = truth + rng.normal(1, 2, 400)
    history = History(Kind.NUMBERS)
    history.add([said(float(g), float(t)) for g, t in zip(guess, truth, strict=True)], NOW)
    made = {each.name: each for each in figures(Kind.NUMBERS, history.total(600, NOW))}
    error = guess - truth
    assert made["mae"].value == pytest.approx(np.abs(error).mean())
    assert made["rmse"].value == pytest.approx(np.sqrt((error**2).mean()))
    assert made["bias"].value == pytest.approx(error.mean())
    assert made["r2"].value == pytest.approx(1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum())
    assert made["bias"].low is not None
    assert made["bias"].high is not None
    assert made["bias"].low < 1 < made["bias"].high


@pytest.mark.parametrize("truth", [0.1, 0.3, 0.7, 1e-9, 12345.678])
@pytest.mark.parametrize("first", [0.0, 5.0, -1e9])
def test_where_what_is_true_does_not_spread_there_is_no_r2(truth: float, first: float) -> None:
    """Nor where it is rounding that does: R² divides by it. What came true before was something else."""
    history = History(Kind.NUMBERS)
    history.add([said(0.5, first, ago=3600)], NOW)
    history.add([said(0.5, truth)] * 999, NOW)
    assert [each.name for each in figures(Kind.NUMBERS, history.total(600, NOW))] == ["mae", "rmse", "bias"]


def test_figures_of_labels_and_their_scores() -> None:
    """The accuracy lies in its interval; Brier and log-loss are of the scores that are shares."""
    history = History(Kind.LABELS)
    history.add([said(1, 1, score=0.9)] * 9 + [said(1, 2, score=0.6), said(1, 1, score=7.0)], NOW)
    made = {each.name: each for each in figures(Kind.LABELS, history.total(600, NOW))}
    assert made["accuracy"].value == pytest.approx(10 / 11)
    assert made["brier"].value == pytest.approx((9 * 0.01 + 0.36) / 10)
    assert made["log_loss"].value == pytest.approx(-(9 * np.log(0.9) + np.log(0.4)) / 10)
    assert headline(Kind.LABELS, History(Kind.LABELS).total(600, NOW)) is None


def test_classes() -> None:
    """Precision, recall and F1 by hand; those that are too many are counted together."""
    classes = Classes()
    pairs = [(0, 0)] * 8 + [(0, 1)] * 2 + [(1, 1)] * 5 + [(1, 0)] * 5
    cells: dict[int, int] = {}
    for truth, value in pairs:
        cell = classes.cell(truth, value)
        cells[cell] = cells.get(cell, 0) + 1
    made = confusion(classes, [cells])
    zero, one = made.classes()
    assert (zero.label, zero.precision, zero.recall, zero.f1) == ("0", 8 / 13, 0.8, 16 / 23)
    assert (one.true, one.said, made.cells()[0]) == (10, 7, ("0", "0", 8))
    balanced = made.balanced()
    assert balanced is not None
    assert balanced.value == pytest.approx(0.65)
    many = Classes()
    crowd = confusion(many, [{many.cell(n, n): 1 for n in range(CLASSES + 5)}])
    assert (len(crowd.classes()), crowd.others) == (CLASSES, True)


def test_over_time() -> None:
    """Fine parts of late, coarse ones of long ago; what is older than all of them is left out."""
    history = History(Kind.LABELS)
    history.add([said(1, 1), said(1, 2, ago=3600), said(1, 1, ago=20 * 86_400)], NOW)
    history.said([Said("1", Form.INTEGER, int(NOW * 1e9) // SLOT_NS, 7)], NOW)
    assert [history.total(since, NOW)[Sum.ROWS] for since in (600, 7200, 86_400, 15 * 86_400)] == [1, 2, 2, 2]
    points = history.since(600, NOW)
    assert (points[-1].sums[Sum.SAID], len(points) <= 61) == (7, True)
    later = NOW + SPANS[0].seconds + 20
    assert history.total(600, later)[Sum.ROWS] == 0
    assert history.confusion(86_400, NOW)[0].cells() == [("1", "1", 1), ("2", "1", 1)]


@given(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e308, 1e308)), max_size=20),
    st.floats(0, 4e9),
)
def test_no_number_breaks_the_figures(pairs: list[tuple[float, float]], now: float) -> None:
    """However large: what cannot be said is left out. So whatever the clock says."""
    history = History(Kind.NUMBERS)
    history.add([said(value, truth) for value, truth in pairs], now)
    for each in figures(Kind.NUMBERS, history.total(86_400, now)):
        assert np.isfinite(each.value)
    assert len(history.since(86_400, now)) <= 60
