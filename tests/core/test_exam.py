"""The exam's verdict: what is caught, what is let pass, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from router.core.exam import compare, exam_gate
from router.core.gate import Outcome, Verdict
from router.core.marking import Marks, marks, sheet
from router.core.tensor import ANY, Signature, TensorSpec
from router.version_settings import GatesSettings, Metric

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]
SEEDS = 1000
ROWS = 2000
LABELS = Signature((), (TensorSpec("label", "INT64", (ANY,)), TensorSpec("scores", "FP32", (ANY, 3))))
VALUES = Signature((), (TensorSpec("y", "FP32", (ANY, 1)),))


def verdicts(metric: Metric, drawn: Callable[[np.random.Generator], Pair]) -> dict[Verdict, int]:
    """How often each verdict came of a thousand seeds: of the candidate's and the champion's answers."""
    counts = dict.fromkeys(Verdict, 0)
    for seed in range(SEEDS):
        candidate, champion = drawn(np.random.default_rng(seed))
        counts[compare(metric, marks(metric, candidate), marks(metric, champion)).verdict] += 1
    return counts


def correlated(accuracy: float, lost: float, moved: float) -> Callable[[np.random.Generator], Pair]:
    """The champion with a share of rows `moved` from right to wrong or back, as many each way, and `lost` more."""

    def drawn(random: np.random.Generator) -> Pair:
        champion = random.random(ROWS) < accuracy
        candidate = champion.copy()
        wrong, right = np.flatnonzero(~champion), np.flatnonzero(champion)
        candidate[random.choice(wrong, min(random.binomial(ROWS, moved / 2), len(wrong)), replace=False)] = True
        candidate[random.choice(right, random.binomial(ROWS, moved / 2 + lost), replace=False)] = False
        return candidate.astype(float), champion.astype(float)

    return drawn


def independent(candidate: float, champion: float) -> Callable[[np.random.Generator], Pair]:
    """Each errs by itself."""

    def drawn(random: np.random.Generator) -> Pair:
        return (random.random(ROWS) < candidate).astype(float), (random.random(ROWS) < champion).astype(float)

    return drawn


class TestErrorRates:
    """A thousand seeds of 2 000 rows each."""

    @pytest.mark.parametrize("accuracy", [0.7, 0.9, 0.95])
    @pytest.mark.parametrize("moved", [0.0, 0.02, 0.05])
    def test_three_points_less_are_caught(self, accuracy: float, moved: float) -> None:
        """In 99 of 100, where up to one row in twenty has moved besides: retrained models are like that."""
        assert verdicts("accuracy", correlated(accuracy, 0.03, moved))[Verdict.FAIL] >= 990

    @pytest.mark.parametrize(
        ("accuracy", "moved"), [(0.7, 0.0), (0.7, 0.05), (0.7, 0.2), (0.9, 0.02), (0.9, 0.1), (0.95, 0.05)]
    )
    def test_equal_versions_pass(self, accuracy: float, moved: float) -> None:
        """But for one in a hundred, however many rows have moved."""
        assert verdicts("accuracy", correlated(accuracy, 0.0, moved))[Verdict.FAIL] <= 10

    def test_independent_errors_of_good_versions(self) -> None:
        """At 98 and 95 % three points are caught even where the two have no error in common."""
        assert verdicts("accuracy", independent(0.95, 0.98))[Verdict.FAIL] >= 990
        assert verdicts("accuracy", independent(0.98, 0.98))[Verdict.FAIL] <= 10

    def test_what_is_not_possible_is_said(self) -> None:
        """At 90 and 87 % with independent errors 2 000 rows cannot tell: nearly all others are warned of, not passed.

        Two distributions 2.97 standard deviations apart cannot be told apart with one error in a hundred on both
        sides. The few equal ones that fail stay below one in a hundred, and the report asks for some 4 900 rows.
        """
        worse = verdicts("accuracy", independent(0.87, 0.9))
        assert 650 <= worse[Verdict.FAIL] <= 800
        assert worse[Verdict.FAIL] + worse[Verdict.WARN] >= 975
        assert verdicts("accuracy", independent(0.9, 0.9))[Verdict.FAIL] <= 12
        random = np.random.default_rng(0)
        found = compare("accuracy", *map(accuracy_of, independent(0.87, 0.9)(random)))
        assert 4400 < found.needed < 5400

    def test_three_points_on_the_very_rows(self) -> None:
        """A version that answered three points of these rows worse fails, however independent its errors."""
        champion, candidate = np.arange(ROWS) < 1800, np.zeros(ROWS, bool)
        candidate[180 : 180 + 1740] = True  # of 1 740 right answers 1 620 are the champion's too
        found = compare("accuracy", accuracy_of(candidate.astype(float)), accuracy_of(champion.astype(float)))
        assert found.worse == pytest.approx(0.03)
        assert found.verdict is Verdict.FAIL

    @pytest.mark.parametrize("metric", ["log_loss", "mae", "rmse"])
    def test_errors_a_tenth_larger_are_caught(self, metric: Metric) -> None:
        """Where most of a row's error is the row's own; and equal ones pass."""

        def drawn(random: np.random.Generator, factor: float) -> Pair:
            hard = random.gamma(2.0, 0.2, ROWS)
            own, other = random.normal(1.0, 0.2, (2, ROWS)).clip(0.1)
            worse, fair = hard * own * factor, hard * other
            return (np.exp(-worse), np.exp(-fair)) if metric == "log_loss" else (worse, fair)

        assert verdicts(metric, lambda random: drawn(random, 1.1))[Verdict.FAIL] >= 990
        assert verdicts(metric, lambda random: drawn(random, 1.0))[Verdict.FAIL] <= 10

    def test_three_points_of_auc_are_caught(self) -> None:
        """Scores with much in common; equal ones pass. Two hundred seeds: ranking takes its time."""

        def found(seed: int, noise: float) -> Verdict:
            random = np.random.default_rng(seed)
            positive = random.random(ROWS) < 0.3
            signal = random.normal(positive * 2.0, 1.0)
            ours = signal + random.normal(0, 0.3, ROWS) + random.normal(0, noise, ROWS)
            theirs = signal + random.normal(0, 0.3, ROWS)
            return compare("auc", marks("auc", ours, positive), marks("auc", theirs, positive)).verdict

        assert sum(found(seed, 0.8) is Verdict.FAIL for seed in range(200)) >= 198
        assert sum(found(seed, 0.0) is Verdict.FAIL for seed in range(200)) <= 2


def accuracy_of(right: Array) -> Marks:
    """Its marks."""
    return marks("accuracy", right)


def examined(
    candidate: dict[str, Array],
    champion: dict[str, Array] | None,
    labels: Array,
    signature: Signature = LABELS,
    **settings: Any,
) -> Outcome:
    """The gate's verdict."""
    asked = GatesSettings.model_validate(settings)
    return exam_gate(sheet(signature, labels, asked), labels, candidate, champion, asked)


def labelled(*labels: int) -> dict[str, Array]:
    """Outputs with these labels, and scores that say the same."""
    array = np.array(labels)
    return {"label": array, "scores": np.eye(3, dtype=np.float32)[array]}


def test_a_fail_names_the_figures_the_interval_and_the_margin() -> None:
    """In points, and with figures that machines read."""
    labels = np.arange(600) % 3
    worse = labels.copy()
    worse[:60] = (worse[:60] + 1) % 3
    outcome = examined(labelled(*worse), labelled(*labels), labels)
    assert (outcome.verdict, outcome.blocks, outcome.gate) == (Verdict.FAIL, True, "exam")
    assert outcome.reason.startswith("accuracy 0.9, the champion's 1: 10.0 points worse (98 % interval 7.")
    assert outcome.reason.endswith("on 600 rows; at most 1.5 points worse is allowed")
    assert outcome.figures["accuracy_share"] == pytest.approx(0.9)
    assert outcome.figures["accuracy_worse_share"] == pytest.approx(0.1)
    assert outcome.figures["rows"] == 600


def test_too_few_rows_are_a_warning_that_says_how_many_are_needed() -> None:
    """One of twenty rows lost is no proof; nothing lost of twenty is none either."""
    labels = np.arange(20) % 3
    worse = labels.copy()
    worse[0] = 2
    for answers in (worse, labels):
        outcome = examined(labelled(*answers), labelled(*labels), labels)
        assert outcome.verdict is Verdict.WARN
        assert "too few to tell whether it is within 1.5 points, about " in outcome.reason
        assert outcome.figures["accuracy_rows_needed"] > 20


def test_a_better_version_passes_in_words_that_say_so() -> None:
    """However few rows there are."""
    labels = np.arange(300) % 3
    worse = labels.copy()
    worse[:60] = (worse[:60] + 1) % 3
    outcome = examined(labelled(*labels), labelled(*worse), labels)
    assert outcome.verdict is Verdict.PASS
    assert "20.0 points better (98 % interval 14." in outcome.reason


def test_the_operator_may_set_margins_and_floors() -> None:
    """A margin lets pass; what is required holds without a champion too."""
    labels = np.arange(600) % 3
    worse = labels.copy()
    worse[:60] = (worse[:60] + 1) % 3
    assert examined(labelled(*worse), labelled(*labels), labels, margins={"accuracy": 0.2}).verdict is Verdict.PASS
    outcome = examined(labelled(*worse), None, labels, required={"accuracy": 0.95})
    assert outcome.verdict is Verdict.FAIL
    assert outcome.reason.endswith("`gates.required` asks for at least 0.95")
    assert examined(labelled(*worse), None, labels, required={"accuracy": 0.85}).verdict is Verdict.PASS
    values = np.arange(50.0)
    off = {"y": (values + 1.0)[:, None].astype(np.float32)}
    assert "at most 0.5" in examined(off, None, values, VALUES, required={"mae": 0.5}).reason


def test_several_figures_are_judged_together() -> None:
    """The worst verdict counts, and each is told."""
    labels = np.arange(600) % 3
    sure, unsure = np.eye(3)[labels] * 0.97 + 0.01, np.eye(3)[labels] * 0.4 + 0.2
    ours = {"label": labels, "scores": unsure.astype(np.float32)}
    theirs = {"label": labels, "scores": sure.astype(np.float32)}
    outcome = examined(ours, theirs, labels, metrics=("accuracy", "log_loss"))
    assert outcome.verdict is Verdict.FAIL
    assert "accuracy 1" in outcome.reason
    assert "log-loss 0.5108, the champion's 0.02" in outcome.reason
    assert outcome.figures["log_loss_nats"] == pytest.approx(0.5108, abs=1e-4)


def test_rows_without_a_finite_answer_fail() -> None:
    """Unless the champion has none for them either."""
    labels = np.arange(200.0)
    theirs = labels[:, None].copy()
    ours = theirs.copy()
    ours[7] = np.nan
    outcome = examined({"y": ours}, {"y": theirs}, labels, VALUES)
    assert (outcome.verdict, outcome.reason) == (Verdict.FAIL, "1 of 200 rows have no finite answer")
    theirs[7] = np.inf
    assert examined({"y": ours}, {"y": theirs}, labels, VALUES).verdict is Verdict.PASS


def test_a_champion_with_other_outputs_is_no_measure() -> None:
    """The version is graded by itself, and the report says why."""
    labels = np.arange(60) % 3
    outcome = examined(labelled(*labels), {"other": labels}, labels)
    assert outcome.verdict is Verdict.PASS
    assert outcome.reason.endswith("the champion cannot be compared with: its outputs are others")
