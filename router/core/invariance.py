"""Whether a row is answered the same in company as alone, and the same twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from router.core.gate import Outcome, Verdict
from router.core.table import Batching

BATCH: Final = "batch invariance"


@dataclass(frozen=True, slots=True)
class Company:
    """What trial runs showed of one version: how a row's answer changed with others beside it; empty if it did not.

    `again` is the same for the very same input given twice. `untried` says why nothing could be compared.
    """

    coupled: str = ""
    again: str = ""
    untried: str = ""

    @property
    def reason(self) -> str:
        """What is wrong, if anything."""
        if self.again:
            return f"the same input twice is answered otherwise: {self.again}"
        return self.coupled


def batch_gate(candidate: Company, batching: Batching, champion: Company | None, owner: bool | None) -> Outcome:
    """Decides whether rows of different callers share a run: the fact `batched`.

    Blocks where a wrong answer would come of it: rows that are coupled and would be joined (the graph was read wrongly,
    or the owner's word is), or that the champion keeps apart, whose callers then get other answers for the same rows.
    `owner` is the word of model.toml; where that says that rows depend on each other they may.
    """
    joined = batching.max_size > 1
    figures = {"batch_limit_rows": float(batching.max_size)}
    facts = {"batched": "yes" if joined else "no"}
    if not joined and batching.decided_by:
        facts["decided by"] = batching.decided_by[:300]
    if candidate.untried:
        return Outcome(BATCH, Verdict.SKIP, candidate.untried, blocks=True, figures=figures, facts=facts)
    wrong = candidate.reason
    if not wrong:
        reason = "rows are answered the same alone, in company and twice"
        if not joined:
            reason += f"; they are not joined: {batching.decided_by or 'batches have one row'}"
        return Outcome(BATCH, Verdict.PASS, reason, blocks=True, figures=figures, facts=facts)
    if joined:
        facts["batched"] = "no"
        return Outcome(BATCH, Verdict.FAIL, f"rows would be joined, and {wrong}", True, figures, facts)
    if owner is False and not candidate.again:
        reason = f"not joined, as the owner says; {wrong}"
        return Outcome(BATCH, Verdict.PASS, reason, blocks=True, figures=figures, facts=facts)
    if champion is not None and not champion.reason and not champion.untried:
        reason = f"{wrong}; the champion answers each row by itself"
        return Outcome(BATCH, Verdict.FAIL, reason, blocks=True, figures=figures, facts=facts)
    return Outcome(BATCH, Verdict.WARN, f"it is run for one request at a time: {wrong}", True, figures, facts)
