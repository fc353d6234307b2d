"""Rows in company: what is decided, and that trial runs see rows that are coupled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from router.control.trial_rows import Feeds, agree
from router.core.gate import Verdict
from router.core.invariance import Company, batch_gate
from router.core.table import Batching
from router.core.tensor import ANY, Signature, TensorSpec

Array = np.ndarray[Any, Any]
JOINED, ALONE = Batching(32, 0, "shown"), Batching(1, 0, "operator Softmax over the rows")
WELL, COUPLED = Company(), Company(coupled="output `y` of a row is 2 in a run of 3 and was 1 alone")
WAVERING = Company(again="output 'y' is 1, expected 2 (1 of 4 numbers differ)")
ONE_TO_ONE = Signature((TensorSpec("x", "FP32", (ANY, 4)),), (TensorSpec("y", "FP32", (ANY, 4)),))


def test_rows_that_keep_apart_are_batched() -> None:
    """And are said to be."""
    outcome = batch_gate(WELL, JOINED, None, None)
    assert (outcome.gate, outcome.verdict, outcome.facts["batched"]) == ("batch invariance", Verdict.PASS, "yes")


@pytest.mark.parametrize("company", [COUPLED, WAVERING])
@pytest.mark.parametrize("champion", [None, WELL, COUPLED])
def test_coupled_rows_that_would_be_joined_block(company: Company, champion: Company | None) -> None:
    """Callers would get answers to other people's rows, whatever the champion does or the owner says."""
    outcome = batch_gate(company, Batching(32, 0, "owner"), champion, True)
    assert (outcome.verdict, outcome.blocks, outcome.facts["batched"]) == (Verdict.FAIL, True, "no")


def test_rows_coupled_anew_block() -> None:
    """A caller with several rows would get other answers than the champion gives, row for row."""
    outcome = batch_gate(COUPLED, ALONE, WELL, None)
    assert (outcome.verdict, outcome.blocks) == (Verdict.FAIL, True)
    assert outcome.reason.endswith("; the champion answers each row by itself")


@pytest.mark.parametrize("champion", [None, COUPLED, Company(untried="it did not run")])
def test_rows_that_are_not_joined_may_be_coupled(champion: Company | None) -> None:
    """With a warning; and without one where the owner has said so."""
    assert batch_gate(COUPLED, ALONE, champion, None).verdict is Verdict.WARN
    assert batch_gate(COUPLED, ALONE, champion, False).verdict is Verdict.PASS


def test_answers_that_waver_are_told_even_where_rows_may_depend_on_each_other() -> None:
    """The owner has not said that."""
    assert batch_gate(WAVERING, ALONE, None, False).verdict is Verdict.WARN
    assert batch_gate(WAVERING, ALONE, WELL, False).verdict is Verdict.FAIL


def test_what_could_not_be_tried_is_skipped() -> None:
    """With the reason."""
    outcome = batch_gate(Company(untried="trial runs failed: x"), JOINED, None, None)
    assert (outcome.verdict, outcome.reason) == (Verdict.SKIP, "trial runs failed: x")


def coupling(random: np.random.Generator) -> Any:
    """One of the ways in which rows reach each other, with a strength from a thousandth up."""
    strength = float(10.0 ** random.uniform(-3, 0))
    kind = random.integers(6)

    def run(feeds: Feeds) -> list[Array]:
        x = feeds["x"]
        match kind:
            case 0:
                other = x.mean(0)
            case 1:
                other = x.max(0)
            case 2:
                other = x[:1]
            case 3:
                other = np.cumsum(x, 0)
            case 4:
                other = np.roll(x, 1, 0)
            case _:
                other = np.full_like(x, len(x))
        return [(x + strength * other).astype(np.float32)]

    return run


def rounding(random: np.random.Generator) -> Any:
    """Rows that keep apart, but for what a kernel rounds otherwise by size of batch."""
    weights = random.standard_normal((4, 4)).astype(np.float32)

    def run(feeds: Feeds) -> list[Array]:
        made = feeds["x"] @ weights
        return [(made * (1 + 3e-7 * (len(made) % 3))).astype(np.float32)]

    return run


def test_a_thousand_models_whose_rows_are_coupled() -> None:
    """At least 99 of 100 are seen on three rows that were given, and at most one of 100 that are not coupled."""
    caught = wrongly = 0
    for seed in range(1000):
        random = np.random.default_rng(seed)
        rows = [{"x": row[None]} for row in random.standard_normal((3, 4)).astype(np.float32)]
        caught += bool(agree(coupling(random), ONE_TO_ONE, seed, rows))
        wrongly += bool(agree(rounding(random), ONE_TO_ONE, seed, rows))
    assert caught >= 990
    assert wrongly <= 10
