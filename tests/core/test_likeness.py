"""Signatures beside the champion's: what breaks callers fails, what is new is told."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from router.core.gate import Verdict
from router.core.likeness import signature_gate
from router.core.tensor import ANY, DTYPES, Signature, TensorSpec

X = TensorSpec("x", "FP32", (ANY, 4), ("N", None))
W = TensorSpec("w", "FP32", (4,), (None,), optional=True)
Y = TensorSpec("y", "FP32", (ANY, 3), ("N", None))
BEFORE = Signature((X, W), (Y,))


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ((W,), (Y,), "input 'x' is gone"),
        ((X, W), (), "output 'y' is gone"),
        ((replace(X, datatype="FP64"), W), (Y,), "input 'x' is FP64, the champion's is FP32"),
        ((replace(X, shape=(ANY, 5)), W), (Y,), "input 'x' is [?,5], the champion's is [?,4]"),
        ((replace(X, shape=(1, 4)), W), (Y,), "input 'x' is [1,4], the champion's is [?,4]"),
        ((replace(X, shape=(ANY, 4, 1)), W), (Y,), "input 'x' is [?,4,1]"),
        ((X, replace(W, optional=False)), (Y,), "input 'w' has to be given, to the champion it need not be"),
        ((X, W, replace(X, name="z")), (Y,), "input 'z' is new and has to be given"),
        ((X, W), (replace(Y, datatype="INT64"),), "output 'y' is INT64, the champion's is FP32"),
        ((X, W), (replace(Y, shape=(ANY, 4)),), "output 'y' is [?,4], the champion's is [?,3]"),
        ((X, W), (replace(Y, shape=(ANY,)),), "output 'y' is [?], the champion's is [?,3]"),
        ((X, W), (replace(Y, name="z"),), "output 'y' is gone"),
    ],
)
def test_what_breaks_callers_fails(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], said: str) -> None:
    """In a line that names the tensor and both sides."""
    outcome = signature_gate(Signature(inputs, outputs), BEFORE)
    assert (outcome.gate, outcome.verdict, outcome.blocks) == ("signature", Verdict.FAIL, True)
    assert said in outcome.reason


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ((X, W, replace(W, name="v")), (Y,), "input 'v' is new, and need not be given"),
        ((X, W), (Y, replace(Y, name="z")), "output 'z' is new"),
        ((X, W), (replace(Y, shape=(ANY, ANY)),), "output 'y' is [?,?], the champion's is [?,3]"),
    ],
)
def test_what_is_new_is_a_warning(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], said: str) -> None:
    """It hurts nobody who calls the model today."""
    outcome = signature_gate(Signature(inputs, outputs), BEFORE)
    assert outcome.verdict is Verdict.WARN
    assert said in outcome.reason


def test_what_callers_cannot_notice_passes() -> None:
    """Another order, other names of free sizes, a wider input, a narrower output; and nobody to compare with."""
    wide = replace(X, shape=(ANY, ANY), symbols=("batch", "width"))
    assert signature_gate(Signature((W, wide), (Y,)), BEFORE).verdict is Verdict.PASS
    free = Signature((X,), (replace(Y, shape=(ANY, ANY)),))
    assert signature_gate(Signature((X,), (Y,)), free).verdict is Verdict.PASS
    assert signature_gate(BEFORE, None).verdict is Verdict.SKIP


def test_a_thousand_signatures() -> None:
    """Each compared with itself under other names of free sizes, and with a copy that breaks callers in one place."""
    for seed in range(1000):
        chance = random.Random(seed)
        before = Signature(_specs(chance, "i"), _specs(chance, "o"))
        renamed = Signature(tuple(replace(spec, symbols=()) for spec in before.inputs), before.outputs)
        assert signature_gate(renamed, before).verdict is Verdict.PASS
        assert signature_gate(_broken(chance, before), before).verdict is Verdict.FAIL


def _specs(chance: random.Random, prefix: str) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            f"{prefix}{place}",
            chance.choice(list(DTYPES)),
            tuple(chance.choice((ANY, 1, 3, 224)) for _ in range(chance.randint(1, 4))),
        )
        for place in range(chance.randint(1, 4))
    )


def _broken(chance: random.Random, before: Signature) -> Signature:
    inputs, outputs = list(before.inputs), list(before.outputs)
    side = chance.choice((inputs, outputs))
    place = chance.randrange(len(side))
    spec = side[place]
    match chance.choice(("gone", "datatype", "rank", "size", "needed")):
        case "gone":
            del side[place]
        case "datatype":
            side[place] = replace(spec, datatype=chance.choice([each for each in DTYPES if each != spec.datatype]))
        case "rank":
            side[place] = replace(spec, shape=(*spec.shape, 1))
        case "size":
            axis = chance.randrange(len(spec.shape))
            known = list(spec.shape)
            # An input that takes another fixed size only, an output that has another one.
            known[axis] = 7
            if side is outputs and spec.shape[axis] == ANY:
                del side[place]
            else:
                side[place] = replace(spec, shape=tuple(known))
        case "needed":
            inputs.append(TensorSpec("fresh", "FP32", (ANY,)))
    return Signature(tuple(inputs), tuple(outputs))
