"""Whether a version keeps what its outputs promise, before a caller depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from router.core.contract import Array, Contract
from router.core.gate import Outcome, Verdict

CONTRACT: Final = "contract"


@dataclass(frozen=True, slots=True)
class Kept:
    """How one version kept its promises on the exam's rows: how many it broke, and how the first one was broken."""

    rows: int = 0
    broken: int = 0
    first: str = ""


class Keeping:
    """Counts how a version keeps its promises, run by run. `whole`: a run is one answer, whatever its rows are."""

    def __init__(self, contract: Contract, *, whole: bool = False) -> None:
        self._contract = Contract(contract.promises) if whole else contract
        self._whole = whole
        self._rows = self._broken = 0
        self._first = ""

    def add(self, outputs: Sequence[Array], rows: int) -> None:
        """The outputs of a run, in the model's order, and how many rows it was given."""
        self._rows += rows
        why = self._contract.broken(outputs, rows)
        if not why:
            return
        parts = [why] if self._whole else [part for part in self._contract.broken_parts(outputs, [1] * rows) if part]
        self._broken += len(parts)
        self._first = self._first or (parts[0] if parts else why)

    def kept(self) -> Kept:
        """What was counted."""
        return Kept(self._rows, self._broken, self._first)


@dataclass(frozen=True, slots=True)
class Edge:
    """One input at the edge of what is usual. `broken` and `champion_broken` say how; empty: kept, or refused.

    `named`: the promise is one that model.toml names, not only that floating numbers are finite. `champion_broken`
    None: there is no champion to compare with.
    """

    what: str
    broken: str
    named: bool = False
    champion_broken: str | None = None


def contract_gate(
    candidate: Kept, champion: Kept | None, edges: Sequence[Edge], *, declared: bool, source: str
) -> Outcome:
    """Fails for rows of the exam that break a declared contract, or that are not finite where the champion's are.

    On edge inputs a version fails where the champion keeps the promise, or where the promise is named in model.toml
    and the champion, if there is one, does not break it too. All else is a warning: zeros may be no input that anybody
    sends. `declared`: the model has a model.toml. `source` says whose rows they are.
    """
    figures = {
        "rows": float(candidate.rows),
        "rows_broken": float(candidate.broken),
        "edge_inputs": float(len(edges)),
        "edge_inputs_broken": float(sum(bool(edge.broken) for edge in edges)),
    }
    fails: list[str] = []
    warns: list[str] = []
    if champion is not None:
        figures["champion_rows_broken"] = float(champion.broken)
    if candidate.broken:
        reason = f"{candidate.broken} of {candidate.rows} rows of {source}: {candidate.first}"
        same = champion is not None and candidate.broken <= champion.broken
        if same:
            assert champion is not None
            reason += f"; the champion has {champion.broken} such rows"
        (warns if same and not declared else fails).append(reason)
    for edge in edges:
        if not edge.broken:
            continue
        reason = f"{edge.what}: {edge.broken}"
        if edge.champion_broken is None:
            (fails if edge.named else warns).append(reason)
        elif edge.champion_broken:
            warns.append(f"{reason}; so has the champion")
        else:
            fails.append(f"{reason}; the champion has none such")
    if fails:
        return Outcome(CONTRACT, Verdict.FAIL, "; ".join((fails + warns)[:4]), blocks=True, figures=figures)
    if warns:
        return Outcome(CONTRACT, Verdict.WARN, "; ".join(warns[:4]), blocks=True, figures=figures)
    what = "the contract is kept" if declared else "all numbers are finite"
    rows = f" on {candidate.rows} rows of {source} and" if candidate.rows else ""
    return Outcome(CONTRACT, Verdict.PASS, f"{what}{rows} on {len(edges)} edge inputs", blocks=True, figures=figures)
