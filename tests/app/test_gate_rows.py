"""What versions under trial are given, for models of every kind of input."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.app.gate_rows import (
    MADE_UP_INPUT,
    edges,
    extremes,
    joinable,
    made_up,
    of_exam,
    of_golden,
    row_wise,
)
from router.control.example_file import Golden
from router.core.tensor import ANY, BYTES, DTYPES, Signature, TensorSpec

LABEL = TensorSpec("label", "INT64", (ANY,))
SIZES = st.sampled_from([ANY, ANY, 1, 3])
SPECS = st.builds(
    lambda datatype, shape: (datatype, tuple(shape)), st.sampled_from(list(DTYPES)), st.lists(SIZES, max_size=4)
)


def signature(*specs: tuple[str, tuple[int, ...]]) -> Signature:
    """A model with these inputs, and one that need not be given."""
    inputs = [TensorSpec(f"x{place}", datatype, shape) for place, (datatype, shape) in enumerate(specs)]
    return Signature((*inputs, TensorSpec("w", "FP32", (1000,), optional=True)), (LABEL,))


def fits(model: Signature, feeds: dict[str, np.ndarray]) -> bool:
    """Whether a run of the model would take it."""
    specs = {spec.name: spec for spec in model.inputs if not spec.optional}
    return feeds.keys() == specs.keys() and all(
        spec.accepts(feeds[name].shape) and feeds[name].dtype == DTYPES[spec.datatype] for name, spec in specs.items()
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(SPECS, min_size=1, max_size=3))
def test_whatever_is_made_up_fits_the_model(specs: list[tuple[str, tuple[int, ...]]]) -> None:
    """Single rows, several at once, edges and extremes."""
    model = signature(*specs)
    rows = next(made_up(model))
    assert rows.source == MADE_UP_INPUT
    assert rows.joinable == joinable(model)
    assert rows.whole != row_wise(model)
    given_inputs = [rows.one(0), rows.one(len(rows) + 1), *(feeds for _, feeds in edges(rows))]
    given_inputs += [feeds for _, feeds in extremes(rows)]
    if rows.joinable:
        given_inputs += [rows.several(5), rows.part(0, 2)]
        assert all(len(array) == 5 for array in rows.several(5).values())
    assert all(fits(model, feeds) for feeds in given_inputs)


def test_rows_are_not_changed_by_what_is_made_of_them() -> None:
    """Extremes in company are copies."""
    rows = next(made_up(signature(("FP32", (ANY, 3)))))
    before = rows.inputs["x0"].copy()
    assert len(list(extremes(rows))) > 10
    assert np.array_equal(rows.inputs["x0"], before)


def test_extremes_are_extreme() -> None:
    """Of floats NaN and infinities, of whole numbers the ends of their range, of texts long and odd ones."""
    made = dict(
        extremes(next(made_up(signature(("FP32", (ANY,)), ("INT8", (ANY,)), ("BF16", (ANY,)), (BYTES, (ANY,))))))
    )
    assert np.isnan(made["NaN"]["x0"]).all()
    assert np.isnan(made["NaN"]["x2"].astype(np.float32)).all()
    assert made["the greatest numbers"]["x1"].tolist() == [127]
    assert made["the least numbers"]["x2"][0] == ml_dtypes.finfo(ml_dtypes.bfloat16).min
    assert len(made["long texts"]["x3"][0]) > 60_000
    assert made["no rows"]["x0"].shape == (0,)
    company = made["infinity beside ordinary rows"]["x0"]
    assert np.isinf(company).tolist() == [False, True, False, False]


def test_edges_of_real_rows_are_the_ends_of_each_number() -> None:
    """Number by number; texts stay as they are in the first row."""
    model = signature(("FP32", (ANY, 2)), (BYTES, (ANY,)))
    texts = np.array(["a", "b"], object)
    made = dict(edges(of_exam({"x0": np.array([[1, 8], [2, 4]], np.float32), "x1": texts}, model)))
    assert made["the least of each number in the exam"]["x0"].tolist() == [[1, 4]]
    assert made["the greatest of each number in the exam"]["x0"].tolist() == [[2, 8]]
    assert made["the greatest of each number in the exam"]["x1"].tolist() == ["a"]
    assert made["zeros"]["x1"].tolist() == [""]


def test_golden_inputs_are_rows_where_the_model_has_rows() -> None:
    """Else they are given as a whole; without a file there are none."""
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    rowed = of_golden([Golden("g", {"x0": x}, {})], signature(("FP32", (ANY, 2))))
    assert rowed is not None
    assert rowed.one(5)["x0"].tolist() == [[2, 3]]
    fixed = of_golden([Golden("g", {"x0": x}, {})], signature(("FP32", (4, 2))))
    assert fixed is not None
    assert fixed.one(5)["x0"].shape == (4, 2)
    assert of_golden([], signature()) is None


@pytest.mark.parametrize(("shape", "many"), [((1 << 30,), 0), ((ANY, 1 << 30), 0), ((ANY, 1 << 20), 2), ((ANY, 2), 64)])
def test_nothing_too_large_is_made_up(shape: tuple[int, ...], many: int) -> None:
    """Large rows are few, and what is too large is none."""
    rows = next(made_up(signature(("FP32", shape))), None)
    assert (0 if rows is None else len(rows)) == many
