"""Whether a version answers much like the champion. It may be right to differ: that is worth a look, not a refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from router.core.comparison import Kind, OutputFigures
from router.core.gate import Outcome, Verdict, named

CONSISTENCY: Final = "consistency"

_WHAT: Final = {Kind.LABEL: "the same answer", Kind.SCORES: "the same class first", Kind.NUMBERS: "the same number"}


def consistency_gate(
    compared: Sequence[OutputFigures],
    spreads: Mapping[str, float],
    source: str,
    agreement: float,
    difference: float,
) -> Outcome:
    """Warns below a share of `agreement`, and of values that are on the average `difference` spreads away.

    `spreads` are the standard deviations of the champion's numbers by output, `source` says what both were given.
    """
    figures: dict[str, float] = {"agreement_limit_share": agreement, "difference_limit_spreads": difference}
    warned: list[str] = []
    passed: list[str] = []
    judged = any(output.compared for output in compared)
    for output in compared:
        name = named(output.name)[1:-1]
        if output.compared:
            part = output.agreed / output.compared
            figures[f"{name}_agreement_share"] = part
            figures["rows"] = float(output.compared)
            text = f"output '{name}' has {_WHAT[output.kind]} for {part:.1%} of {output.compared} rows"
            (warned if part < agreement else passed).append(text)
        if not output.elements:
            continue
        apart = output.apart / output.elements
        figures[f"{name}_mean_difference"] = apart
        spread = spreads.get(output.name, 0.0)
        if output.kind is Kind.NUMBERS and not judged and spread > 0.0:
            figures[f"{name}_mean_difference_spreads"] = apart / spread
            text = (
                f"output '{name}' is {apart:.3g} away on the average, {apart / spread:.2g} standard deviations of the"
                " champion's"
            )
            (warned if apart > difference * spread else passed).append(text)
    if warned:
        limits = f"below {agreement:.0%}" if judged else f"more than {difference:g}"
        reason = f"{'; '.join(warned)}: {limits} is worth a look ({source})"
        return Outcome(CONSISTENCY, Verdict.WARN, reason, figures=figures)
    if not passed:
        return Outcome(CONSISTENCY, Verdict.PASS, f"no output differs by class ({source})", figures=figures)
    return Outcome(CONSISTENCY, Verdict.PASS, f"{'; '.join(passed)} ({source})", figures=figures)
