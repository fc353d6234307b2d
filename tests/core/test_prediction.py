"""What a row of an output says, and whether it came true."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.interval import around, share
from router.core.prediction import (
    MOST_TEXT,
    Form,
    Prediction,
    Sheet,
    check_ledger,
    deviation,
    form_of,
    predicted,
    predictions,
    said,
    sampled,
    score,
    truth_of,
)
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import InvalidRequest, SettingsError
from router.model_settings import LedgerSettings

LABEL = TensorSpec("label", "INT64", (ANY,))
SCORES = TensorSpec("scores", "FP32", (ANY, 3))
IMAGE = TensorSpec("image", "FP32", (ANY, 8, 8))
SIGNATURE = Signature((), (LABEL, SCORES, IMAGE))


def texts(*values: object) -> np.ndarray[Any, Any]:
    """Text as a session gives it."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize(
    ("datatype", "shape", "form"),
    [
        ("INT64", (ANY,), Form.INTEGER),
        ("UINT8", (ANY, 1), Form.INTEGER),
        ("BOOL", (), Form.INTEGER),
        ("INT64", (ANY, 3), None),
        (BYTES, (ANY,), Form.TEXT),
        (BYTES, (ANY, 2), None),
        ("FP32", (ANY,), Form.NUMBER),
        ("FP64", (ANY, 1, 1), Form.NUMBER),
        ("FP16", (), Form.NUMBER),
        ("FP32", (ANY, 3), Form.INTEGER),
        ("BF16", (ANY, ANY), Form.INTEGER),
        ("FP32", (ANY, 0), None),
        ("FP32", (ANY, 8, 8), None),
    ],
)
def test_the_form_of_an_output(datatype: str, shape: tuple[int, ...], form: Form | None) -> None:
    """By its datatype and its sizes: a label, a score for each class, a number, or nothing that could come true."""
    assert form_of(TensorSpec("y", datatype, shape)) is form


@pytest.mark.parametrize(
    ("output", "form", "values", "highest"),
    [
        (np.array([3, 1]), Form.INTEGER, [3, 1], []),
        (np.array([[3], [1]], np.uint8), Form.INTEGER, [3, 1], []),
        (np.array([2**64 - 1], np.uint64), Form.INTEGER, [2**64 - 1], []),
        (np.array([True, False]), Form.INTEGER, [1, 0], []),
        (np.array(7), Form.INTEGER, [7], []),
        (texts("cat", b"dog"), Form.TEXT, ["cat", "dog"], []),
        (texts("x" * MOST_TEXT, "x" * (MOST_TEXT + 1), b"\xff"), Form.TEXT, ["x" * MOST_TEXT, None, None], []),
        (np.array([0.5, math.nan, math.inf], np.float32), Form.NUMBER, [0.5, None, None], []),
        (np.array([[1.5]], ml_dtypes.bfloat16), Form.NUMBER, [1.5], []),
        (np.array([[0.25, 0.5, 0.125], [1, 0, 1]], np.float32), Form.INTEGER, [1, 0], [0.5, 1.0]),
        (np.array([[0.25, 0.5]], ml_dtypes.bfloat16), Form.INTEGER, [1], [0.5]),
        (np.zeros((0, 3), np.float32), Form.INTEGER, [], []),
        (np.zeros((2, 8, 8), np.float32), Form.INTEGER, [None, None], []),
        (np.zeros((2, 3), np.int64), Form.INTEGER, [None, None], []),
        (np.array([0.5], np.float32), Form.INTEGER, [None], []),
        (np.array([1]), Form.TEXT, [None], []),
    ],
)
def test_what_the_rows_of_an_output_say(
    output: np.ndarray[Any, Any], form: Form, values: list[Any], highest: list[float]
) -> None:
    """A label, the place of the highest score, a number; nothing where that cannot be kept."""
    assert said(output, form) == (values, highest)


def test_scores_that_are_not_finite_say_nothing() -> None:
    """The place of a NaN is no prediction; the other rows keep theirs."""
    values, _ = said(np.array([[1, 2], [math.nan, 0], [math.inf, 0], [2, 1]]), Form.INTEGER)
    assert values == [1, None, None, 0]


@given(st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), max_size=6), st.sampled_from(list(Form)))
def test_whatever_an_output_holds_each_row_has_its_place(rows: list[list[float]], form: Form) -> None:
    """As many values as rows, and none of another kind than the form's."""
    output = np.array(rows, np.float32).reshape(len(rows), 2)
    for array in (output, output[:, :1], output[:, 0], output[:, 0] > 0):
        values, highest = said(array, form)
        assert len(values) == len(rows)
        assert len(highest) in (0, len(rows))
        kinds = {Form.INTEGER: int, Form.TEXT: str, Form.NUMBER: float}
        assert all(value is None or type(value) is kinds[form] for value in values)


def test_the_predictions_of_a_request() -> None:
    """One for each row that says something, with its number and its score."""
    made = predictions("a", np.array([[0, 1], [math.nan, 0], [3, 2]], np.float32), Form.INTEGER, 5, "2", 9, "mirror")
    assert made == [
        Prediction("a", 0, 5, "2", 9, "mirror", Form.INTEGER, 1, 1.0),
        Prediction("a", 2, 5, "2", 9, "mirror", Form.INTEGER, 0, 3.0),
    ]


def test_a_sheet_holds_predictions() -> None:
    """Its columns, row by row; without scores they have none."""
    sheet = Sheet("m", "1", 3, "champion", Form.TEXT, ["a", "b"], [0, 1], [5, 6], ["x", "y"])
    assert len(sheet) == 2
    assert list(sheet) == [
        Prediction("a", 0, 5, "1", 3, "champion", Form.TEXT, "x"),
        Prediction("b", 1, 6, "1", 3, "champion", Form.TEXT, "y"),
    ]


# ---- settings ----


def test_the_first_output_is_the_prediction_unless_one_is_named() -> None:
    """None where a caller did not ask for it."""
    assert predicted(LedgerSettings(), SIGNATURE.outputs) is LABEL
    assert predicted(LedgerSettings(output="scores"), SIGNATURE.outputs) is SCORES
    assert predicted(LedgerSettings(output="scores"), (LABEL,)) is None
    assert predicted(LedgerSettings(), ()) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": "lable"}, "`ledger.output` = 'lable': the model has no such output; it has 'label', 'scores'"),
        ({"output": "image"}, "`ledger.output` = 'image': a row of FP32[?,8,8] is no label, no number and no score"),
    ],
)
def test_an_output_that_cannot_come_true_is_refused(settings: dict[str, Any], said: str) -> None:
    """With what there is; a ledger that is off says nothing."""
    with pytest.raises(SettingsError, match=r"model\.toml") as refused:
        check_ledger(LedgerSettings(enabled=True, **settings), SIGNATURE)
    assert said in str(refused.value)
    check_ledger(LedgerSettings(**settings), SIGNATURE)
    check_ledger(LedgerSettings(enabled=True), SIGNATURE)


@given(st.text(max_size=20), st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_sample_is_the_same_everywhere_and_grows(request_id: str, one: float, other: float) -> None:
    """What a smaller share holds a larger one holds too; all is all."""
    small, large = sorted((one, other))
    assert sampled(request_id, large) >= sampled(request_id, small)
    assert sampled(request_id, 1)


def test_a_sample_is_about_as_large_as_it_says() -> None:
    """A quarter of many ids."""
    assert 2300 < sum(sampled(f"request-{number}", 0.25) for number in range(10_000)) < 2700


# ---- what came true ----


@pytest.mark.parametrize(
    ("form", "given", "truth"),
    [
        (Form.INTEGER, 3, 3),
        (Form.INTEGER, True, 1),
        (Form.INTEGER, 3.0, 3),
        (Form.INTEGER, "3", 3),
        (Form.INTEGER, "3.0", 3),
        (Form.INTEGER, " -7 ", -7),
        (Form.TEXT, "cat", "cat"),
        (Form.TEXT, "", ""),
        (Form.TEXT, 7, "7"),
        (Form.NUMBER, 3, 3.0),
        (Form.NUMBER, "2.5", 2.5),
        (Form.NUMBER, 1e-300, 1e-300),
    ],
)
def test_the_truth_in_the_words_of_the_prediction(form: Form, given: Any, truth: Any) -> None:
    """Tables hold text, and integers that look like numbers."""
    made = truth_of(form, given)
    assert (made, type(made)) == (truth, type(truth))


@pytest.mark.parametrize(
    ("form", "given", "expected"),
    [
        (Form.INTEGER, "cat", "'cat': expected an integer"),
        (Form.INTEGER, 3.5, "3.5: expected an integer"),
        (Form.INTEGER, "3.5", "'3.5': expected an integer"),
        (Form.INTEGER, "", "'': expected an integer"),
        (Form.INTEGER, math.nan, "nan: expected an integer"),
        (Form.INTEGER, 10**30, "expected an integer"),
        (Form.INTEGER, "9" * 5000, "expected an integer"),
        (Form.TEXT, 3.5, "3.5: expected a text"),
        (Form.TEXT, "x" * (MOST_TEXT + 1), f"expected a text of at most {MOST_TEXT} characters"),
        (Form.NUMBER, "cat", "'cat': expected a finite number"),
        (Form.NUMBER, math.inf, "inf: expected a finite number"),
        (Form.NUMBER, "nan", "'nan': expected a finite number"),
        (Form.NUMBER, 10**400, "expected a finite number"),
    ],
)
def test_a_truth_of_the_wrong_kind_is_refused(form: Form, given: Any, expected: str) -> None:
    """In one line of bounded length: what came, what was expected."""
    with pytest.raises(InvalidRequest) as refused:
        truth_of(form, given)
    assert expected in str(refused.value)
    assert len(str(refused.value)) < 250


@given(st.sampled_from(list(Form)), st.integers() | st.floats() | st.text() | st.booleans())
def test_any_truth_is_read_or_refused(form: Form, given: Any) -> None:
    """Nothing else comes out, and what is read is right by itself."""
    try:
        truth = truth_of(form, given)
    except InvalidRequest:
        return
    assert deviation(form, truth, truth) == 0
    assert truth_of(form, truth) == truth


@given(st.integers(), st.integers())
def test_labels_are_right_or_wrong(one: int, other: int) -> None:
    """Whether they are the same, of integers and of text."""
    assert deviation(Form.INTEGER, one, other) == float(one != other)
    assert deviation(Form.TEXT, str(one), str(other)) == float(one != other)


def test_numbers_are_so_far_apart() -> None:
    """Their distance."""
    assert deviation(Form.NUMBER, 2.5, 4) == 1.5


# ---- scores ----


def test_the_share_of_right_labels_has_its_interval() -> None:
    """That of a share."""
    made = score("2", Form.INTEGER, 10, 8, 2.0, 2.0)
    assert (made.number, made.joined, made.right, made.mean) == ("2", 10, 8, 0.8)
    assert (made.low, made.high) == (share(8, 10).low, share(8, 10).high)


def test_the_mean_error_of_numbers_has_its_interval() -> None:
    """Of 1, 2 and 3 that of their mean."""
    made = score("2", Form.NUMBER, 3, 0, 6.0, 14.0)
    wanted = around(2, np.array([1.0, 2.0, 3.0]))
    assert made.mean == 2
    assert made.low == pytest.approx(max(wanted.low, 0))
    assert made.high == pytest.approx(wanted.high)


def test_of_nothing_nothing_is_said() -> None:
    """No mean, no interval."""
    made = score("2", Form.NUMBER, 0, 0, 0.0, 0.0)
    assert (made.joined, made.mean, made.low, made.high) == (0, None, None, None)


@given(st.lists(st.floats(0, 1e200), min_size=1, max_size=30))
def test_the_interval_holds_the_mean(errors: list[float]) -> None:
    """Whatever the errors are."""
    made = score("1", Form.NUMBER, len(errors), 0, sum(errors), sum(each * each for each in errors))
    assert made.mean is not None
    assert made.low is not None
    assert made.high is not None
    assert 0 <= made.low <= made.mean <= made.high


@given(st.integers(1, 10_000), st.data())
def test_wilsons_interval_holds_the_share(joined: int, data: st.DataObject) -> None:
    """And lies within 0 and 1."""
    right = data.draw(st.integers(0, joined))
    made = score("1", Form.TEXT, joined, right, float(joined - right), float(joined - right))
    assert made.mean is not None
    assert made.low is not None
    assert made.high is not None
    assert 0 <= made.low <= made.mean + 1e-12
    assert made.mean - 1e-12 <= made.high <= 1
