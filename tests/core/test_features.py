"""Columns of rows: one for each element of what is small, few for what is large, none where there is nothing."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.features import (
    MOST_ELEMENTS,
    MOST_FEATURES,
    MOST_OUTPUTS,
    TEXT,
    Array,
    Column,
    Layout,
    Take,
    columns,
    free_sizes,
    joined,
)
from router.core.tensor import ANY, TensorSpec


def names(tensors: dict[str, Array], *more: object, outputs: bool = False, **given_names: object) -> list[str]:
    """Of the columns."""
    found, _ = columns(tensors, *more, outputs=outputs, **given_names)  # type: ignore[arg-type]
    return [each.name for each in found]


def objects(*rows: object) -> Array:
    """Texts, one a row."""
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def test_small_rows_have_a_column_for_each_element() -> None:
    """Named by place, or by what the settings call them; a single one by its tensor."""
    tensors = {"x": np.zeros((5, 3), np.float32), "a": np.zeros((5, 1)), "b": np.zeros(5), "m": np.zeros((5, 2, 2))}
    assert names(tensors) == ["x[0]", "x[1]", "x[2]", "a", "b", "m[0,0]", "m[0,1]", "m[1,0]", "m[1,1]"]
    assert names({"x": tensors["x"]}, names={"x": ["age", "income", "debt"]}) == ["age", "income", "debt"]
    assert names(tensors, ignore=["m", "x[1]"]) == ["x[0]", "x[2]", "a", "b"]


def test_large_rows_and_rows_of_any_size_are_summarised() -> None:
    """By their mean and their standard deviation."""
    pixels = np.arange(2 * 300, dtype=np.uint8 if MOST_ELEMENTS < 0 else np.int32).reshape(2, 10, 30)
    found, _ = columns({"image": pixels})
    assert [each.name for each in found] == ["mean of image", "deviation of image"]
    cells = Layout(found).cells({"image": pixels}, 2)
    assert cells.numbers[:, 0].tolist() == [149.5, 449.5]
    assert cells.numbers[:, 1] == pytest.approx(pixels.reshape(2, -1).std(axis=1))
    free = free_sizes([TensorSpec("x", "FP32", (ANY, ANY)), TensorSpec("y", "FP32", (ANY, 4))])
    assert names({"x": np.zeros((2, 3))}, free) == ["mean of x", "deviation of x"]


def test_where_a_whole_request_is_one_row_it_is_summarised() -> None:
    """However many rows the first one had: what another has less of is not missing."""
    specs = [TensorSpec("x", "FP32", (ANY, 2)), TensorSpec("one", "FP32", (1, 4)), TensorSpec("t", "INT64", (ANY,))]
    rows = {"x": np.zeros((3, 2)), "one": np.zeros((3, 4)), "t": np.zeros(3)}
    flat = {"x": np.zeros((1, 6)), "one": np.zeros((1, 4)), "t": np.zeros((1, 3))}
    assert free_sizes(specs, [rows]) == frozenset()
    assert free_sizes(specs, [rows, flat]) == {"x", "t"}
    assert names(flat, free_sizes(specs, [flat]))[:2] == ["mean of x", "deviation of x"]


def test_scores_for_classes_are_the_best_class_and_its_score() -> None:
    """Where they add up to one; other outputs are numbers."""
    scores = np.array([[0.2, 0.8], [0.6, 0.4]], ml_dtypes.bfloat16)
    found, _ = columns({"p": scores}, outputs=True)
    assert [each.name for each in found] == ["class of p", "score of p"]
    cells = Layout(found).cells({"p": scores}, 2)
    assert cells.numbers[:, 0].tolist() == [1.0, 0.0]
    assert cells.numbers[:, 1] == pytest.approx([0.8, 0.6], abs=0.01)
    assert names({"p": np.array([[2.0, 0.8]])}, outputs=True) == ["p[0]", "p[1]"]
    assert names({"label": np.array([3, 4])}, outputs=True) == ["label"]


def test_texts_are_categories_and_lengths() -> None:
    """Told apart by their first bytes; an empty one is missing."""
    texts = objects(b"a" * 100, b"", "bc")
    found, _ = columns({"t": texts})
    assert [(each.name, each.text) for each in found] == [("t", True), ("length of t", False)]
    cells = Layout(found).cells({"t": texts}, 3)
    assert cells.texts[0] == [b"a" * TEXT, b"", b"bc"]
    assert cells.numbers[:, 1].tolist()[::2] == [100.0, 2.0]
    assert np.isnan(cells.numbers[1, 1])
    assert joined([cells, cells]).texts[0] == [*cells.texts[0], *cells.texts[0]]


def test_what_does_not_fit_is_missing() -> None:
    """A tensor that is not there, of other rows, of fewer elements, of another kind."""
    found, _ = columns({"x": np.zeros((1, 3)), "t": objects(b"a")})
    layout = Layout(found)
    for tensors in ({}, {"x": np.zeros((3, 3)), "t": np.zeros((2, 1))}, {"x": objects(b"a", b"b"), "t": np.zeros(2)}):
        cells = layout.cells(tensors, 2)
        assert np.isnan(cells.numbers).all()
        assert cells.texts[3] == [b"", b""]
    fewer = layout.cells({"x": np.ones((2, 2))}, 2)
    assert fewer.numbers[0, :2].tolist() == [1.0, 1.0]
    assert np.isnan(fewer.numbers[0, 2])


def test_features_are_bounded() -> None:
    """The first of many; that others are left out is said, and so are names that do not fit."""
    wide = {f"x{place}": np.zeros((1, 200)) for place in range(4)}
    found, notes = columns(wide, names={"x0": ["a"]})
    assert len(found) == MOST_FEATURES - MOST_OUTPUTS
    assert len(columns(wide, outputs=True)[0]) == MOST_OUTPUTS
    assert "`drift.features` names 1 elements of x0, which has 200" in notes[0]
    assert "800 features: the first 448 are looked at" in notes[1]


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.sampled_from(
            [
                np.zeros((2, 0)),
                np.float64(3.0).reshape(()),
                np.array([[np.nan, np.inf], [1e308, -1e308]]),
                np.array([[True], [False]]),
                np.array([2**63 - 1, -(2**63)]),
                np.array([b"a", b"\xff"]),
                objects(None, 3.5),
                np.zeros((2, 2, 2), np.float16),
                np.zeros((3, 2)),
            ]
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_whatever_comes_has_columns(tensors: dict[str, Array], outputs: bool) -> None:
    """No row and no element raises anything, in the layout of others either."""
    found, _ = columns(tensors, outputs=outputs)
    assert Layout(found).cells(tensors, 2).numbers.shape == (2, len(found))
    other = Layout([Column("a", name, take) for name in (*tensors, "?") for take in Take])
    assert len(other.cells(tensors, 2)) == 2
