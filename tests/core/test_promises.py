"""Contracts before a caller depends on them."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.contract import declared_contract
from router.core.gate import Verdict
from router.core.promises import Edge, Kept, contract_gate
from router.core.tensor import ANY, Signature, TensorSpec

FIRST = "output 'y' has nan, which is not finite"
SIGNATURE = Signature((), (TensorSpec("y", "FP32", (ANY, 2)),))


def test_a_contract_that_is_kept() -> None:
    """On all rows and edge inputs."""
    outcome = contract_gate(Kept(400), None, [Edge("zeros", "")], declared=True, source="the exam")
    assert (outcome.gate, outcome.verdict) == ("contract", Verdict.PASS)
    assert outcome.reason == "the contract is kept on 400 rows of the exam and on 1 edge inputs"


@pytest.mark.parametrize("champion", [None, Kept(2000), Kept(2000, 19, FIRST)])
@pytest.mark.parametrize("declared", [True, False])
def test_rows_that_are_not_finite_block(champion: Kept | None, declared: bool) -> None:
    """Declared or not, unless the champion has as many of them."""
    outcome = contract_gate(Kept(2000, 20, FIRST), champion, [], declared=declared, source="the exam")
    assert (outcome.verdict, outcome.blocks) == (Verdict.FAIL, True)
    assert outcome.reason.startswith(f"20 of 2000 rows of the exam: {FIRST}")
    assert outcome.figures["rows_broken"] == 20


def test_a_champion_that_does_the_same_excuses_what_nobody_has_promised() -> None:
    """A declared contract holds all the same."""
    same = Kept(2000, 20, FIRST)
    assert contract_gate(same, same, [], declared=False, source="the exam").verdict is Verdict.WARN
    assert contract_gate(same, same, [], declared=True, source="the exam").verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("edge", "verdict"),
    [
        (Edge("zeros", FIRST), Verdict.WARN),
        (Edge("zeros", FIRST, named=True), Verdict.FAIL),
        (Edge("zeros", FIRST, champion_broken=""), Verdict.FAIL),
        (Edge("zeros", FIRST, named=True, champion_broken=FIRST), Verdict.WARN),
        (Edge("zeros", "", champion_broken=FIRST), Verdict.PASS),
    ],
)
def test_edge_inputs(edge: Edge, verdict: Verdict) -> None:
    """They fail what the champion does better or model.toml names; the rest is a warning."""
    outcome = contract_gate(Kept(10), Kept(10), [edge], declared=True, source="the exam")
    assert outcome.verdict is verdict


def test_nan_on_one_row_in_a_hundred_over_a_thousand_seeds() -> None:
    """All of 2 000 rows are looked at, so none is missed; of versions without NaN none is rejected."""
    contract = declared_contract(SIGNATURE, {})
    caught = rejected = 0
    for seed in range(1000):
        random = np.random.default_rng(seed)
        sound = random.standard_normal((2000, 2)).astype(np.float32)
        broken = sound.copy()
        broken[random.random(2000) < 0.01, random.integers(2)] = np.nan
        for outputs, counted in ((sound, False), (broken, True)):
            why = contract.broken([outputs], 2000)
            kept = Kept(2000, int(np.isnan(outputs).any(1).sum()), why)
            failed = contract_gate(kept, None, [], declared=False, source="the exam").verdict is Verdict.FAIL
            caught, rejected = caught + (failed and counted), rejected + (failed and not counted)
    assert (caught, rejected) == (1000, 0)
