"""Whether a version can take the champion's place: whoever calls the model must not notice another signature."""

from __future__ import annotations

from typing import Final

from router.core.gate import Outcome, Verdict, named
from router.core.tensor import ANY, Signature, TensorSpec

SIGNATURE: Final = "signature"


def signature_gate(candidate: Signature, champion: Signature | None) -> Outcome:
    """Fails for what breaks callers, warns of what is new to them. `champion` None: there is nothing to compare with.

    An input may become wider (a free size in the place of a fixed one), an output narrower, never the other way round.
    The model's own names of free sizes are nobody's business, and neither is the order.
    """
    if champion is None:
        return Outcome(SIGNATURE, Verdict.SKIP, "there is no champion to compare with", blocks=True)
    broken: list[str] = []
    new: list[str] = []
    _compare_inputs(candidate, champion, broken, new)
    _compare_outputs(candidate, champion, broken, new)
    figures = {"differences": float(len(broken)), "additions": float(len(new))}
    if broken:
        return Outcome(SIGNATURE, Verdict.FAIL, "; ".join(broken[:4]), blocks=True, figures=figures)
    if new:
        return Outcome(SIGNATURE, Verdict.WARN, "; ".join(new[:4]), blocks=True, figures=figures)
    return Outcome(SIGNATURE, Verdict.PASS, "the same as the champion's", blocks=True, figures=figures)


def _compare_inputs(candidate: Signature, champion: Signature, broken: list[str], new: list[str]) -> None:
    ours = {spec.name: spec for spec in candidate.inputs}
    theirs = {spec.name: spec for spec in champion.inputs}
    for name, before in theirs.items():
        now = ours.get(name)
        what = f"input {named(name)}"
        if now is None:
            broken.append(f"{what} is gone")
        elif now.datatype != before.datatype:
            broken.append(f"{what} is {now.datatype}, the champion's is {before.datatype}")
        elif not _covers(now, before):
            broken.append(f"{what} is {_sizes(now)}, the champion's is {_sizes(before)}")
        elif before.optional and not now.optional:
            broken.append(f"{what} has to be given, to the champion it need not be")
    for name, now in ours.items():
        if name not in theirs:
            where = new if now.optional else broken
            where.append(
                f"input {named(name)} is new{', and need not be given' if now.optional else ' and has to be given'}"
            )


def _compare_outputs(candidate: Signature, champion: Signature, broken: list[str], new: list[str]) -> None:
    ours = {spec.name: spec for spec in candidate.outputs}
    theirs = {spec.name: spec for spec in champion.outputs}
    for name, before in theirs.items():
        now = ours.get(name)
        what = f"output {named(name)}"
        if now is None:
            broken.append(f"{what} is gone")
        elif now.datatype != before.datatype:
            broken.append(f"{what} is {now.datatype}, the champion's is {before.datatype}")
        elif not _covers(before, now):
            # A size that is merely not said any more need not be another one.
            where = new if _covers(now, before) else broken
            where.append(f"{what} is {_sizes(now)}, the champion's is {_sizes(before)}")
    new += [f"output {named(name)} is new" for name in ours if name not in theirs]


def _covers(wide: TensorSpec, narrow: TensorSpec) -> bool:
    """Whether every shape of `narrow` is one of `wide`."""
    return len(wide.shape) == len(narrow.shape) and all(
        left in (ANY, right) for left, right in zip(wide.shape, narrow.shape, strict=True)
    )


def _sizes(spec: TensorSpec) -> str:
    return "[" + ",".join("?" if size == ANY else str(size) for size in spec.shape) + "]"
