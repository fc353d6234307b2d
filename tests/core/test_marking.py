"""Exams marked: figures by hand, the outputs that answers are looked for in, and labels that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from router.core.interval import around
from router.core.marking import answers, marks, positives, sheet
from router.core.tensor import ANY, BYTES, Signature, TensorSpec
from router.errors import SettingsError
from router.version_settings import GatesSettings

Array = np.ndarray[Any, Any]
LABEL = TensorSpec("label", "INT64", (ANY,))
WORD = TensorSpec("word", BYTES, (ANY, 1))
SCORES = TensorSpec("scores", "FP32", (ANY, 3))
SHARE = TensorSpec("share", "FP32", (ANY,))
VALUE = TensorSpec("value", "FP64", (ANY, 1))
PAIR = TensorSpec("pair", "FP32", (ANY, 2))


def signature(*outputs: TensorSpec) -> Signature:
    """A model with these outputs."""
    return Signature((), outputs)


def objects(*texts: str) -> Array:
    """Labels that are texts."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def asked(metrics: str, outputs: tuple[TensorSpec, ...], labels: Array, **settings: Any) -> Any:
    """The sheet for one figure."""
    return sheet(signature(*outputs), labels, GatesSettings.model_validate({"metrics": [metrics], **settings}))


def test_the_labels_say_what_is_asked_unless_the_operator_does() -> None:
    """Accuracy for whole numbers and texts, the mean absolute error for others."""
    settings = GatesSettings()
    assert sheet(signature(LABEL), np.array([1]), settings).metrics == ("accuracy",)
    assert sheet(signature(WORD), objects("a"), settings).metrics == ("accuracy",)
    assert sheet(signature(VALUE), np.array([1.5]), settings).metrics == ("mae",)


def test_outputs_are_found_by_what_they_can_hold_or_by_name() -> None:
    """The first that fits; a name that is given goes before."""
    found = sheet(signature(SHARE, SCORES, VALUE, LABEL), np.array([0]), GatesSettings())
    assert (found.label, found.scores, found.value) == (LABEL, SCORES, SHARE)
    found = sheet(signature(SHARE, VALUE), np.array([0.5]), GatesSettings(output="value"))
    assert found.value == VALUE


@pytest.mark.parametrize(
    ("metric", "outputs", "labels", "settings", "said"),
    [
        ("accuracy", (VALUE,), np.array([0.5]), {}, "labels are float64: accuracy needs whole numbers or texts"),
        ("accuracy", (LABEL,), objects("a"), {}, "labels are texts, and output 'label' is INT64"),
        ("accuracy", (WORD,), np.array([1]), {}, "labels are whole numbers, and output 'word' is BYTES"),
        ("accuracy", (TensorSpec("t", BYTES, (ANY, 4)),), np.array([1]), {}, "no output holds a share for each class"),
        ("accuracy", (SCORES,), objects("a"), {}, "name them in the order of the columns, `gates.classes`"),
        ("accuracy", (LABEL,), np.zeros((2, 2), np.int64), {}, "the shape [2, 2]: accuracy needs one for each row"),
        ("mae", (VALUE,), objects("a"), {}, "labels are texts: mean absolute error needs numbers"),
        ("rmse", (SCORES,), np.array([1.0]), {}, "no output holds a number for each label"),
        ("log_loss", (LABEL,), np.array([1]), {}, "no output holds a share for each class, which log-loss needs"),
        ("accuracy", (LABEL,), np.array([1]), {"output": "x"}, "has no such output; it has 'label'"),
        ("accuracy", (LABEL,), np.array([1]), {"scores": "x"}, "`gates.scores` = 'x': the model has no such output"),
    ],
)
def test_a_model_that_cannot_answer_is_refused(
    metric: str, outputs: tuple[TensorSpec, ...], labels: Array, settings: dict[str, Any], said: str
) -> None:
    """One line that names both sides."""
    with pytest.raises(SettingsError) as caught:
        asked(metric, outputs, labels, **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_accuracy_by_label_by_text_and_by_scores() -> None:
    """All say which rows are right; a row whose scores are not finite has no answer."""
    labels = np.array([0, 1, 2])
    right = answers("accuracy", asked("accuracy", (LABEL,), labels), {"label": np.array([0, 2, 2])}, labels)
    assert right.tolist() == [1, 0, 1]
    words = objects("b", "a")
    given_words = np.array([["b"], ["b"]], object)
    assert answers("accuracy", asked("accuracy", (WORD,), words), {"word": given_words}, words).tolist() == [1, 0]
    scores = np.array([[0.9, 0.1, 0], [0.1, np.nan, 0.2], [0, 1, 0]], np.float32)
    by_scores = answers("accuracy", asked("accuracy", (SCORES,), labels), {"scores": scores}, labels)
    assert by_scores.tolist()[0] == 1
    assert np.isnan(by_scores[1])
    named = asked("accuracy", (SCORES,), words, classes=("a", "b", "c"))
    assert answers("accuracy", named, {"scores": np.eye(3)[:2]}, words).tolist() == [0, 0]


def test_log_loss_by_hand() -> None:
    """The mean of the negative logarithms; a right class without any share counts a lot, not without end."""
    labels = np.array([0, 2])
    given = answers(
        "log_loss", asked("log_loss", (SCORES,), labels), {"scores": np.array([[0.5, 0.5, 0], [1, 0, 0]])}, labels
    )
    found = marks("log_loss", given)
    assert found.value == pytest.approx((np.log(2) + np.log(1e7)) / 2)
    with pytest.raises(SettingsError, match="does not hold shares: those of a row add up to 6"):
        answers(
            "log_loss", asked("log_loss", (SCORES,), labels), {"scores": np.array([[1, 2, 3.0], [1, 0, 0]])}, labels
        )


def test_one_column_is_the_share_of_the_second_class() -> None:
    """As models of two classes give it."""
    labels = np.array([0, 1])
    given = answers("log_loss", asked("log_loss", (SHARE,), labels), {"share": np.array([0.25, 0.25])}, labels)
    assert given.tolist() == [0.75, 0.25]


def test_errors_by_hand() -> None:
    """Mean absolute and root mean square, of one value a row and of several."""
    labels = np.array([1.0, 2.0])
    outputs = {"value": np.array([[2.0], [5.0]])}
    assert marks("mae", answers("mae", asked("mae", (VALUE,), labels), outputs, labels)).value == 2.0
    found = marks("rmse", answers("rmse", asked("rmse", (VALUE,), labels), outputs, labels))
    assert found.value == pytest.approx(np.sqrt(5))
    pairs = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert marks("mae", answers("mae", asked("mae", (PAIR,), pairs), {"pair": pairs + 1}, pairs)).value == 1.0


@pytest.mark.parametrize(
    ("labels", "outputs", "settings", "said"),
    [
        (np.array([0, 1, 12]), {"scores": np.eye(3)}, {}, "label 12 of row 2: the model has 3 classes, 0 to 2"),
        (np.array([0, -1, 1]), {"scores": np.eye(3)}, {}, "label -1 of row 1: the model has 3 classes"),
        (np.array([5, 6, 8]), {"scores": np.eye(3)}, {"classes": (5, 6, 7)}, "label 8 of row 2 is none of"),
        (
            np.array([5, 6, 6]),
            {"scores": np.eye(3)},
            {"classes": (5, 6)},
            "names 2 classes, the model gives shares for 3",
        ),
    ],
)
def test_labels_that_are_no_classes(
    labels: Array, outputs: dict[str, Array], settings: dict[str, Any], said: str
) -> None:
    """The first of them is named with its row."""
    with pytest.raises(SettingsError) as caught:
        answers("accuracy", asked("accuracy", (SCORES,), labels, **settings), outputs, labels)
    assert said in str(caught.value)


def test_more_labels_than_classes_are_seen_beside_a_label_output_too() -> None:
    """The model's labels may have any names, but not more than it has columns."""
    labels = np.array([3, 4, 5, 12])
    outputs = {"label": np.array([3, 4, 5, 5]), "scores": np.eye(3)[[0, 1, 2, 2]]}
    with pytest.raises(SettingsError, match=r"label 12 of row 3 is none of the 3 classes of output 'scores'"):
        answers("accuracy", asked("accuracy", (LABEL, SCORES), labels), outputs, labels)
    labels = np.array([3, 4, 5, 5])
    assert answers("accuracy", asked("accuracy", (LABEL, SCORES), labels), outputs, labels).all()


def test_auc_needs_two_classes_and_rows_of_both() -> None:
    """Else there is nothing to rank."""
    labels = np.array([1, 1, 1])
    with pytest.raises(SettingsError, match="AUC is of two classes, output 'scores' has 3"):
        answers("auc", asked("auc", (SCORES,), labels), {"scores": np.eye(3)}, labels)
    with pytest.raises(SettingsError, match="needs rows of both classes"):
        answers("auc", asked("auc", (SHARE,), labels), {"share": np.array([0.1, 0.2, 0.3])}, labels)


@given(
    arrays.arrays(np.float64, st.integers(4, 40), elements=st.integers(0, 5).map(float)),
    st.integers(0, 2**32 - 1),
)
def test_auc_is_the_share_of_pairs_in_the_right_order(scores: Array, seed: int) -> None:
    """Ties count half; and the parts of all rows add up to nothing."""
    positive = np.random.default_rng(seed).random(len(scores)) < 0.5
    positive[:2] = True, False
    found = marks("auc", scores, positive)
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    assert found.value == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert found.loss == pytest.approx(1 - found.value)
    assert found.parts.mean() == pytest.approx(0, abs=1e-9)


def test_the_spread_of_auc_is_delongs() -> None:
    """What the parts say of the standard error is what repeated draws show."""
    random = np.random.default_rng(5)
    values, widths = [], []
    for _ in range(300):
        positive = random.random(400) < 0.3
        found = marks("auc", random.normal(positive * 1.0, 1.0), positive)
        interval = around(found.value, found.parts)
        values.append(found.value)
        widths.append((interval.high - interval.low) / 2)
    assert float(np.mean(widths)) == pytest.approx(2.33 * float(np.std(values)), rel=0.15)


def test_positives_follow_the_named_classes() -> None:
    """The second name is the one that scores stand for."""
    labels = objects("yes", "no")
    assert positives(asked("auc", (SHARE,), labels, classes=("no", "yes")), labels).tolist() == [True, False]
