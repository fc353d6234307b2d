"""Retrained, or a new model: a fact that never blocks."""

from __future__ import annotations

from dataclasses import replace

from router.core.gate import Verdict
from router.core.lineage import NEW, RETRAINED, Pedigree, lineage_gate

PARENT = Pedigree("", "abc", {"": 18}, {"alpha": "1"}, 3)
CHILD = replace(PARENT, parent="4")
CHAMPION = ("4", "f" * 64)


def test_a_copy_of_its_parent_is_retrained() -> None:
    """The parent is named by its number or by its digest."""
    for name in CHAMPION:
        outcome = lineage_gate(replace(CHILD, parent=name), PARENT, CHAMPION)
        assert (outcome.verdict, outcome.blocks, outcome.facts["path"]) == (Verdict.PASS, False, RETRAINED)


def test_what_declares_no_parent_is_new() -> None:
    """Also where it looks like the champion: nobody says that it was trained the same way."""
    outcome = lineage_gate(PARENT, PARENT, CHAMPION)
    assert (outcome.verdict, outcome.facts["path"]) == (Verdict.PASS, NEW)
    assert "`router.parent`" in outcome.reason


def test_another_parent_than_the_champion_cannot_be_looked_at() -> None:
    """So it is a new model; as where there is no champion at all."""
    outcome = lineage_gate(replace(CHILD, parent="3"), PARENT, CHAMPION)
    assert (outcome.facts["path"], outcome.facts["parent"]) == (NEW, "3")
    assert lineage_gate(CHILD, None).facts["path"] == NEW


def test_a_parent_that_it_is_not_like_is_a_warning() -> None:
    """Each difference is named; it is a new model, and still not blocked."""
    outcome = lineage_gate(replace(CHILD, structure="other", nodes=5), PARENT, CHAMPION)
    assert (outcome.verdict, outcome.facts["path"]) == (Verdict.WARN, NEW)
    assert "its graph is another one (5 nodes, the parent's has 3)" in outcome.reason
    outcome = lineage_gate(replace(CHILD, operators={"": 19, "ai.onnx.ml": 3}), PARENT, CHAMPION)
    assert "its operator sets are ai.onnx 19, ai.onnx.ml 3, not ai.onnx 18" in outcome.reason
    outcome = lineage_gate(replace(CHILD, hyperparameters={"alpha": "2", "beta": "1"}), PARENT, CHAMPION)
    assert "hyperparameter 'alpha' is '2', not '1'" in outcome.reason
    assert "hyperparameter 'beta' is '1', not not there" in outcome.reason
