"""What two versions say on the same input: labels, scores, numbers, and how far apart they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from router.core.comparison import (
    BOUNDS,
    NOISE,
    PENDING,
    Comparison,
    Kind,
    Measure,
    OutputFigures,
    added,
    differences,
    summed,
)
from router.core.tensor import ANY, TensorSpec

Array = np.ndarray[Any, Any]

LABEL = TensorSpec("label", "INT64", (ANY,))
TEXT = TensorSpec("text", "BYTES", (ANY,))
SCORES = TensorSpec("scores", "FP32", (ANY, 3))
NUMBER = TensorSpec("y", "FP32", (ANY,))


def compared(
    spec: TensorSpec, theirs: Array, ours: Array, tolerance: float | None = None, measure: Measure = Measure.NOBODY
) -> OutputFigures:
    """One output of one run."""
    comparison = Comparison([spec], tolerance, measure)
    assert comparison.add({spec.name: theirs}, {spec.name: ours}) == ""
    (figures,) = comparison.figures()
    return figures


def floats(*values: object) -> Array:
    """An array of FP32."""
    return np.array(values, np.float32)


def test_labels_agree_row_by_row() -> None:
    """Integers and texts; nothing is said of how far apart they are."""
    figures = compared(LABEL, np.array([1, 2, 3]), np.array([1, 5, 3]))
    assert (figures.kind, figures.compared, figures.agreed, figures.elements) == (Kind.LABEL, 3, 2, 0)
    texts = compared(TEXT, np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert (texts.compared, texts.agreed) == (2, 1)


def test_the_largest_score_agrees() -> None:
    """Whatever the scores are; how far apart they are is counted by element."""
    figures = compared(SCORES, floats([0.1, 0.8, 0.1], [0.5, 0.2, 0.3]), floats([0.2, 0.6, 0.2], [0.2, 0.5, 0.3]))
    assert (figures.kind, figures.compared, figures.agreed, figures.elements) == (Kind.SCORES, 2, 1, 6)
    assert sum(figures.absolute) == sum(figures.relative) == 6
    assert np.isclose(figures.apart, 1.0)


def test_beside_a_label_scores_are_not_judged() -> None:
    """The label is what counts."""
    comparison = Comparison([LABEL, SCORES])
    theirs = {"label": np.array([1]), "scores": floats([1, 0, 0])}
    comparison.add(theirs, {"label": np.array([1]), "scores": floats([0, 1, 0])})
    label, scores = comparison.figures()
    assert (label.agreed, label.compared) == (1, 1)
    assert (scores.kind, scores.compared, scores.elements) == (Kind.NUMBERS, 0, 3)


def test_numbers_are_judged_within_a_tolerance_only() -> None:
    """A share of the champion's value; all numbers of a row."""
    theirs, ours = floats(100, 100, 0, 0), floats(109, 111, 0, 1)
    assert compared(NUMBER, theirs, ours).compared == 0
    assert compared(NUMBER, theirs, ours, tolerance=0.1).agreed == 2


def test_what_is_not_finite_is_alike_only_where_both_say_it() -> None:
    """NaN beside NaN, an infinity beside the same one: no difference. Else the largest that there is."""
    nan, inf = float("nan"), float("inf")
    figures = compared(NUMBER, floats(nan, inf, inf, nan, 1), floats(nan, inf, -inf, 1, nan), tolerance=0.5)
    assert figures.absolute[0] == figures.agreed == 2
    assert figures.absolute[-1] == figures.relative[-1] == 3
    assert figures.apart == 0.0


def test_other_shapes_cannot_be_compared() -> None:
    """The reason names the output and both shapes; nothing is counted."""
    comparison = Comparison([SCORES])
    why = comparison.add({"scores": floats([1, 2, 3])}, {"scores": floats([1, 2])})
    assert why == "output 'scores' has shape [1, 2], the champion's [1, 3]"
    assert comparison.add({"scores": floats([1])}, {}) == "output 'scores' is missing"
    assert comparison.figures()[0].compared == 0


def test_an_output_that_was_not_asked_for_is_left_out() -> None:
    """Callers choose."""
    comparison = Comparison([LABEL, SCORES])
    assert comparison.judged == "label"
    assert comparison.add({"scores": floats([1, 2, 3])}, {"scores": floats([1, 2, 3])}) == ""
    assert [each.elements for each in comparison.figures()] == [0, 3]


def test_a_row_s_class_is_its_label_or_largest_score() -> None:
    """Of the output that is judged."""
    assert Comparison([NUMBER, LABEL, TEXT]).classes("label", np.array([3, 1])) == [3, 1]
    scores = Comparison([NUMBER, SCORES])
    assert scores.judged == "scores"
    assert scores.classes("scores", floats([0, 2, 1], [5, 2, 1])) == [1, 0]
    assert Comparison([NUMBER]).judged == ""


def test_runs_of_other_sizes_and_scalars_are_told_apart() -> None:
    """They are compared together only with their like."""
    comparison = Comparison([TensorSpec("y", "FP32", (ANY, ANY)), TensorSpec("n", "FP32", ())])
    for width in (2, 3, 2):
        row = np.ones((1, width), np.float32)
        one = {"y": row, "n": np.ones(())}
        assert comparison.add(one, one) == ""
    scores, scalar = comparison.figures()
    assert (scores.compared, scores.elements, scalar.elements) == (3, 7, 3)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=3 * PENDING))
def test_it_counts_the_same_whether_runs_come_one_by_one_or_together(pairs: list[tuple[int, int]]) -> None:
    """Many runs of a row, or one run of many rows."""
    one_by_one = Comparison([LABEL])
    for their, our in pairs:
        one_by_one.add({"label": np.array([their])}, {"label": np.array([our])})
    together = compared(LABEL, np.array([their for their, _ in pairs]), np.array([our for _, our in pairs]))
    assert one_by_one.figures() == (together,)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_every_difference_is_counted_once(theirs: list[float], ours: list[float]) -> None:
    """Whatever numbers come."""
    size = min(len(theirs), len(ours))
    figures = compared(NUMBER, np.array(theirs[:size], np.float32), np.array(ours[:size], np.float32), 0.1)
    assert sum(figures.absolute) == sum(figures.relative) == figures.compared == size
    assert np.isfinite(figures.apart)
    shown = differences("d", figures.absolute)
    assert sum(shown.counts) == size
    assert shown.bounds == BOUNDS[: len(shown.counts) + 1]


def test_an_empty_output_says_nothing() -> None:
    """No rows, nothing to show."""
    figures = compared(NUMBER, floats(), floats())
    assert figures.compared == 0
    assert differences("d", figures.absolute).counts == ()


def test_without_a_tolerance_numbers_are_judged_by_how_much_they_vary() -> None:
    """Within a quarter of the standard deviation of whoever is the measure; of all of its numbers so far."""
    theirs = floats(0, 2, 4, 6, 8)  # they vary by 3.16
    ours = theirs + floats(0.7, -0.7, 0.9, 0, 5)
    figures = compared(NUMBER, theirs, ours, measure=Measure.THEIRS)
    assert (figures.compared, figures.agreed) == (5, 3)
    assert np.isclose(figures.within, np.std(theirs, ddof=1) / 4)
    figures = compared(NUMBER, theirs, ours, measure=Measure.OURS)
    assert (figures.compared, figures.agreed) == (5, 4)
    assert np.isclose(figures.within, np.std(ours, ddof=1) / 4)
    assert compared(NUMBER, theirs, ours, 0.5, Measure.THEIRS).within == 0.0  # a tolerance says it all


def test_where_numbers_hardly_vary_rounding_is_no_difference() -> None:
    """What is more is one."""
    same = floats(5, 5, 5)
    assert compared(NUMBER, same, same * (1 + NOISE / 2), measure=Measure.THEIRS).agreed == 3
    assert compared(NUMBER, same, same * (1 + NOISE * 2), measure=Measure.THEIRS).agreed == 0


def test_scores_that_are_shares_no_more_do_not_agree() -> None:
    """Whatever their best class is: a version that adds one to each is not the same. Other scores may lie anywhere."""
    shares, others = floats([0.7, 0.2, 0.1], [0.1, 0.1, 0.8]), floats([7, 2, 1], [1, 1, 8])
    for theirs, ours, agreed in ((shares, shares + 1, 0), (shares, shares, 2), (others, others + 1, 2)):
        comparison = Comparison([SCORES], None)
        comparison.add({"scores": theirs}, {"scores": ours})
        (figures,) = comparison.figures()
        assert (figures.compared, figures.agreed) == (2, agreed)


def test_of_a_control_the_others_are_held_against_it() -> None:
    """It is the old champion: the candidate's scores are to be shares where its are, and its numbers are the measure of
    a tolerance."""
    shares, others = floats([0.7, 0.2, 0.1], [0.1, 0.1, 0.8]), floats([7, 2, 1], [1, 1, 8])
    for candidate, control, agreed in ((shares + 1, shares, 0), (shares, shares, 2), (others + 1, others, 2)):
        figures = compared(SCORES, candidate, control, measure=Measure.OURS)
        assert (figures.compared, figures.agreed) == (2, agreed)
    assert compared(SCORES, shares, others / 10 + 1, measure=Measure.OURS).agreed == 2
    candidate, control = floats(150, 100), floats(100, 150)
    assert compared(NUMBER, candidate, control, 0.4, Measure.OURS).agreed == 1
    assert compared(NUMBER, floats(149), floats(100), 0.4, Measure.OURS).agreed == 0
    assert compared(NUMBER, floats(149), floats(100), 0.4).agreed == 1


def test_what_cannot_be_compared_may_be_counted_as_a_difference() -> None:
    """Of outputs that can be judged: labels, scores, numbers with a measure. Of others it says nothing."""
    both = Comparison([LABEL, NUMBER])
    both.unlike(["label", "y", "stranger"], 3)
    assert [(each.compared, each.agreed) for each in both.figures()] == [(3, 0), (0, 0)]
    for measured in (Comparison([NUMBER], 0.1), Comparison([NUMBER], None, Measure.OURS)):
        measured.unlike(["y"], 2)
        assert (measured.figures()[0].compared, measured.figures()[0].agreed) == (2, 0)
    unmeasured = Comparison([NUMBER])
    unmeasured.unlike(["y"], 2)
    assert unmeasured.figures()[0].compared == 0


def test_of_a_control_an_output_that_only_the_candidate_has_says_nothing() -> None:
    """It was added. Another shape is told as that of the candidate."""
    control = Comparison([LABEL], None, Measure.OURS)
    candidate = {"label": np.array([1]), "new": floats(1)}
    assert control.add(candidate, {"label": np.array([1])}) == ""
    assert (control.figures()[0].compared, control.figures()[0].agreed) == (1, 1)
    why = control.add({"label": np.array([[1]])}, {"label": np.array([1])})
    assert why == "output 'label' has shape [1, 1], the champion's [1]"


def test_a_model_with_labels_or_scores_is_judged_by_them() -> None:
    """How much its numbers vary is nothing to it."""
    for spec in (LABEL, SCORES):
        comparison = Comparison([spec, NUMBER], None, Measure.THEIRS)
        theirs = {"label": np.array([1, 2]), "scores": floats([1, 0, 0], [0, 1, 0]), "y": floats(1, 2)}
        comparison.add({name: theirs[name] for name in (spec.name, "y")}, {**theirs, "y": floats(7, 8)})
        judged, numbers = comparison.figures()
        assert (judged.compared, judged.agreed, numbers.compared, numbers.within) == (2, 2, 0, 0.0)


@given(st.lists(st.lists(st.floats(allow_nan=True), min_size=1, max_size=8), min_size=1, max_size=2 * PENDING))
def test_how_much_numbers_vary_does_not_depend_on_how_they_come(runs: list[list[float]]) -> None:
    """In many runs or in one, whatever they are; what is not finite counts for nothing."""
    comparison = Comparison([TensorSpec("y", "FP64", (ANY,))], None, Measure.THEIRS)
    for index, run in enumerate(runs):
        comparison.add({"y": np.array(run)}, {"y": np.zeros(len(run))})
        if index % 5 == 4:
            comparison.figures()
    (figures,) = comparison.figures()
    finite = np.clip([number for run in runs for number in run if np.isfinite(number)], -1e140, 1e140)
    expected = np.std(finite, ddof=1) / 4 if len(finite) > 1 else 0.0
    largest = max(abs(finite), default=0.0)
    assert np.isclose(figures.within, expected, rtol=1e-6, atol=1e-6 * largest)
    assert figures.agreed <= figures.compared == sum(map(len, runs))


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=2, max_size=50), st.integers(0, 50))
def test_two_stretches_together_are_as_one(pairs: list[tuple[float, float]], cut: int) -> None:
    """Whichever of them had nothing."""

    def figures(part: list[tuple[float, float]]) -> tuple[OutputFigures, ...]:
        if not part:
            return ()
        theirs, ours = (np.array(side, np.float32) for side in zip(*part, strict=True))
        return (compared(NUMBER, theirs, ours, 0.1),)

    (whole,) = figures(pairs)
    (both,) = summed(figures(pairs[:cut]), figures(pairs[cut:]))
    assert np.isclose(both.apart, whole.apart)
    assert (both.compared, both.agreed, both.elements) == (whole.compared, whole.agreed, whole.elements)
    assert (both.absolute, both.relative) == (whole.absolute, whole.relative)


def test_counts_are_added_bucket_by_bucket() -> None:
    """Where the one has none yet the other's stand."""
    assert added((1, 2), (3, 4)) == (4, 6)
    assert added((), (3, 4)) == added((3, 4), ()) == (3, 4)
    former, later = OutputFigures("a", Kind.LABEL, 2, 1, within=3.0), OutputFigures("b", Kind.LABEL, 5, 5)
    assert summed([former], [later]) == (former, later)
    assert summed([former], [former]) == (OutputFigures("a", Kind.LABEL, 4, 2, within=3.0),)
