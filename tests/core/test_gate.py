"""Small gates: what was measured goes in, one outcome comes out."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.comparison import Kind, OutputFigures
from router.core.consistency import consistency_gate
from router.core.gate import Outcome, Report, Verdict, named
from router.core.growth import memory_gate
from router.core.robustness import Case, End, robustness_gate
from router.core.tensor import ANY, BYTES, TensorSpec
from router.core.tolerance import different

MIB = 1 << 20


def test_a_report_passes_unless_a_gate_that_blocks_has_failed() -> None:
    """Warnings, skips and fails that do not block leave it passed."""

    def report(*outcomes: Outcome) -> Report:
        return Report("test", "m", "1", "", outcomes, 0.0, 0.0)

    fine = [Outcome("a", verdict, "", blocks=True) for verdict in (Verdict.PASS, Verdict.WARN, Verdict.SKIP)]
    assert report(*fine, Outcome("b", Verdict.FAIL, "")).passed
    failed = Outcome("c", Verdict.FAIL, "", blocks=True)
    assert report(*fine, failed).blocking == (failed,)


def test_names_from_files_fit_into_a_line() -> None:
    """Control characters are spelled, and there is an end."""
    assert named("x") == "'x'"
    assert named("a\nb") == "'a\\nb'"
    assert len(named("x" * 500)) <= 82


class TestConsistency:
    """Agreement with the champion warns, it never blocks."""

    def test_labels_that_agree_pass_and_others_are_a_warning(self) -> None:
        """By the share that is asked for."""
        figures = OutputFigures("label", Kind.LABEL, 400, 368)
        outcome = consistency_gate([figures], {}, "the exam", 0.9, 0.25)
        assert (outcome.verdict, outcome.blocks) == (Verdict.PASS, False)
        assert outcome.reason == "output 'label' has the same answer for 92.0% of 400 rows (the exam)"
        outcome = consistency_gate([figures], {}, "the exam", 0.95, 0.25)
        assert outcome.verdict is Verdict.WARN
        assert outcome.figures["label_agreement_share"] == pytest.approx(0.92)

    def test_values_are_judged_by_the_champions_spread(self) -> None:
        """Where there are no classes; half a standard deviation is a lot."""
        figures = OutputFigures("y", Kind.NUMBERS, apart=50.0, elements=100)
        assert consistency_gate([figures], {"y": 4.0}, "the exam", 0.9, 0.25).verdict is Verdict.PASS
        outcome = consistency_gate([figures], {"y": 1.0}, "the exam", 0.9, 0.25)
        assert outcome.verdict is Verdict.WARN
        assert "0.5 away on the average, 0.5 standard deviations" in outcome.reason
        assert outcome.figures["y_mean_difference"] == 0.5

    def test_probabilities_beside_labels_are_only_told(self) -> None:
        """The class has been judged already."""
        figures = [OutputFigures("label", Kind.LABEL, 10, 10), OutputFigures("p", Kind.NUMBERS, apart=9.0, elements=10)]
        outcome = consistency_gate(figures, {"p": 0.1}, "the exam", 0.9, 0.25)
        assert outcome.verdict is Verdict.PASS
        assert outcome.figures["p_mean_difference"] == 0.9


class TestMemory:
    """What is taken, and what is taken more and more of."""

    def test_growth_within_the_limit_passes(self) -> None:
        """The session's own size is told for whoever has to find room."""
        outcome = memory_gate(300 * MIB, MIB, 1000, 32 * MIB)
        assert (outcome.gate, outcome.verdict, outcome.blocks) == ("memory", Verdict.PASS, True)
        assert outcome.figures["session_bytes"] == 300 * MIB

    def test_growth_beyond_the_limit_fails(self) -> None:
        """With the figures."""
        outcome = memory_gate(MIB, 64 * MIB, 1000, 32 * MIB)
        assert outcome.verdict is Verdict.FAIL
        assert outcome.reason == (
            "a session takes 1.0 MiB and 64.0 MiB more after 1000 runs; at most 32 MiB more are allowed"
        )


class TestRobustness:
    """Bad input may be refused, it may not hang."""

    def test_a_refusal_is_a_good_answer(self) -> None:
        """What was said is kept as a fact."""
        outcome = robustness_gate([Case("NaN", End.ANSWERED), Case("no rows", End.REFUSED, "it is empty")])
        assert outcome.verdict is Verdict.PASS
        assert outcome.facts == {"no rows": "it is empty"}

    def test_a_hang_fails(self) -> None:
        """By the input that did it."""
        outcome = robustness_gate([Case("NaN", End.HUNG, "a run did not end within 1 s")])
        assert (outcome.verdict, outcome.blocks) == (Verdict.FAIL, True)
        assert outcome.reason == "NaN: a run did not end within 1 s"

    def test_what_was_not_tried_is_said(self) -> None:
        """A warning with some cases, skipped with none."""
        assert robustness_gate([Case("NaN", End.ANSWERED)], "no time was left").verdict is Verdict.WARN
        assert robustness_gate([], "no time was left").verdict is Verdict.SKIP


class TestTolerance:
    """Golden outputs, by datatype."""

    FP32 = TensorSpec("y", "FP32", (ANY,))

    def test_roundings_are_the_same_answer(self) -> None:
        """So are two NaN, and two infinities."""
        wanted = np.array([1.0, 1000.0, np.nan, np.inf], np.float32)
        assert different(self.FP32, wanted * np.float32(1 + 1e-6), wanted) == ""
        assert different(self.FP32, wanted[:0], wanted[:0]) == ""

    def test_what_differs_most_is_named(self) -> None:
        """With both numbers and how many there are."""
        got = np.array([1.0, 2.5, 3.1], np.float32)
        text = different(self.FP32, got, np.array([1.0, 2.0, 3.0], np.float32))
        assert text == "is 2.5, expected 2 (2 of 3 numbers differ)"
        assert different(self.FP32, got, got[:2]) == "has the shape [3], expected [2]"

    def test_the_operator_may_allow_more_or_less(self) -> None:
        """Both tolerances count."""
        got, wanted = np.array([1.01], np.float32), np.array([1.0], np.float32)
        assert different(self.FP32, got, wanted, rtol=0.02) == ""
        assert different(self.FP32, got, wanted, atol=0.02) == ""
        assert different(self.FP32, wanted * np.float32(1 + 1e-6), wanted, rtol=0.0, atol=0.0)

    def test_labels_are_met_exactly(self) -> None:
        """Whole numbers and texts have no tolerance."""
        label = TensorSpec("label", "INT64", (ANY,))
        assert different(label, np.array([1, 2]), np.array([1, 3])) == "is 2, expected 3 (1 of 2 differ)"
        text = TensorSpec("word", BYTES, (ANY,))
        assert (
            different(text, np.array(["a"], object), np.array(["b"], object)) == "is 'a', expected 'b' (1 of 1 differ)"
        )
