"""Where a version comes from: its parent trained anew, or another model.

A version that declares a parent and is built like it may take its place on its exam alone. What is built otherwise is
a new model, whatever it declares, and has to be challenged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from router.core.gate import Outcome, Verdict, named

LINEAGE: Final = "lineage"
PARENT_KEY: Final = "router.parent"
"""Of the file's `metadata_props`: the number or the digest of the version that this one is a retrained copy of."""
HYPERPARAMETER_PREFIX: Final = "router.hyperparameter."
"""And these, one for each, are to be the same as the parent's."""

RETRAINED: Final = "retrained"
NEW: Final = "new model"
DECLARED: Final = 20
"""So many hyperparameters stand in the report."""


@dataclass(frozen=True, slots=True)
class Pedigree:
    """What a model file says of itself. `structure` is a digest of the graph without what training changes."""

    parent: str = ""
    structure: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    """Operator sets: version by domain."""
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 0


def lineage_gate(candidate: Pedigree, champion: Pedigree | None, champion_names: tuple[str, str] = ("", "")) -> Outcome:
    """`retrained` or `new model`, as the fact `path`. Never blocks; warns of a parent that it is not like.

    `champion_names` are the champion's number and digest. The facts have the hyperparameters that it declares too.
    """
    facts = {"path": NEW, **_declared(candidate)}
    figures = {"nodes": float(candidate.nodes)}
    if not candidate.parent:
        reason = f"it declares no parent (`{PARENT_KEY}` in the file's metadata): a new model"
        return Outcome(LINEAGE, Verdict.PASS, reason, figures=figures, facts=facts)
    facts["parent"] = candidate.parent[:80]
    said = f"it declares {named(candidate.parent)} as its parent"
    if champion is None:
        return Outcome(
            LINEAGE, Verdict.PASS, f"{said}, which is not at hand: a new model", figures=figures, facts=facts
        )
    if candidate.parent not in champion_names:
        reason = f"{said}, and the champion is version {champion_names[0]}: a new model"
        return Outcome(LINEAGE, Verdict.PASS, reason, figures=figures, facts=facts)
    different = _different(candidate, champion)
    if different:
        reason = f"{said}, but {'; '.join(different)}: a new model"
        return Outcome(LINEAGE, Verdict.WARN, reason, figures=figures, facts=facts)
    facts["path"] = RETRAINED
    reason = f"{said}: the same graph, operator sets and hyperparameters"
    return Outcome(LINEAGE, Verdict.PASS, reason, figures=figures, facts=facts)


def _declared(candidate: Pedigree) -> dict[str, str]:
    """What it says that it was made with, as much of it as anybody reads."""
    told = sorted(candidate.hyperparameters.items())[:DECLARED]
    return {(HYPERPARAMETER_PREFIX + key)[:120]: value[:80] for key, value in told}


def _different(candidate: Pedigree, champion: Pedigree) -> list[str]:
    """What is not the parent's, for a person."""
    different = []
    if candidate.structure != champion.structure:
        sizes = ""
        if candidate.nodes != champion.nodes:
            sizes = f" ({candidate.nodes} nodes, the parent's has {champion.nodes})"
        different.append(f"its graph is another one{sizes}")
    if candidate.operators != champion.operators:
        different.append(f"its operator sets are {_listed(candidate.operators)}, not {_listed(champion.operators)}")
    keys = sorted({*candidate.hyperparameters, *champion.hyperparameters})
    for key in keys:
        ours, theirs = candidate.hyperparameters.get(key), champion.hyperparameters.get(key)
        if ours != theirs:
            different.append(f"hyperparameter {named(key)} is {_told(ours)}, not {_told(theirs)}")
    return different[:4]


def _told(value: str | None) -> str:
    return "not there" if value is None else named(value)


def _listed(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(operators.items())) or "none"
