"""Whether a version survives input that nobody should send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from router.core.gate import Outcome, Verdict

ROBUSTNESS: Final = "robustness"


class End(StrEnum):
    """How a run ended. One that ends the process has no name here: whoever watches the process sees it."""

    ANSWERED = "answered"
    REFUSED = "refused"
    HUNG = "hung"


@dataclass(frozen=True, slots=True)
class Case:
    """One input: what was special about it, how the run ended, and what was said in the end."""

    what: str
    end: End
    said: str = ""


def robustness_gate(cases: Sequence[Case], untried: str = "") -> Outcome:
    """Fails for a run that did not end. An error is a good answer to bad input. `untried`: why cases are missing."""
    hung = [case for case in cases if case.end is End.HUNG]
    refused = [case for case in cases if case.end is End.REFUSED]
    figures = {
        "inputs": float(len(cases)),
        "inputs_refused": float(len(refused)),
        "inputs_hung": float(len(hung)),
    }
    facts = {case.what: case.said[:200] for case in refused[:8]}
    if hung:
        reason = "; ".join(f"{case.what}: {case.said}" for case in hung[:4])
        return Outcome(ROBUSTNESS, Verdict.FAIL, reason, True, figures, facts)
    if not cases:
        return Outcome(ROBUSTNESS, Verdict.SKIP, untried or "no input could be made up", True, figures, facts)
    reason = f"no crash and no hang on {len(cases)} extreme inputs"
    if refused:
        reason += f", {len(refused)} of which it refused"
    if untried:
        return Outcome(ROBUSTNESS, Verdict.WARN, f"{reason}; {untried}", True, figures, facts)
    return Outcome(ROBUSTNESS, Verdict.PASS, reason, True, figures, facts)
