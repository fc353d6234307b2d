"""Latencies of some stretches against others: around what happens against the rest, a phase against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loadtest.sla.bootstrap import Ratio, ratio
from loadtest.sla.figures import QUANTILES, Figures
from loadtest.sla.flips import spread
from loadtest.sla.happenings import Happening, Span, What, merged, pieces, within, without

NAME: Final = "p99"
LEAST_STEADY: Final = 0.05
"""A phase with less than this share of it undisturbed has nothing to compare with."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answered:
    """The latencies of one kind of request that were answered, by when they were due, in seconds."""

    due: Array
    latency: Array

    @classmethod
    def of(cls, figures: Figures, kind: int) -> Answered:
        """Of a kind by its place in the mix."""
        mine = figures.ok & (figures.records["kind"] == kind)
        return cls(figures.records["due"][mine] / 1e9, figures.latency[mine])

    def of_spans(self, spans: Sequence[Span]) -> list[Array]:
        """Those that were due within each of some stretches, which are cut into pieces of equal length."""
        found = []
        for start, end in pieces(spans):
            first, last = np.searchsorted(self.due, (start, end))
            found.append(self.latency[first:last])
        return found


Kinds = Mapping[str, Answered]


def by_happening(kinds: Kinds, phase: Span, happened: Sequence[Happening]) -> list[dict[str, Any]]:
    """For each thing that happened in a phase the p99 of the requests due meanwhile, against those of the rest of the
    phase, by kind of request."""
    disturbed = merged(span for each in happened for span in each.spans)
    steady = without(phase, disturbed)
    if sum(end - start for start, end in steady) < LEAST_STEADY * (phase[1] - phase[0]):
        steady = []
    rows = []
    for each in happened:
        spans = [span for span in each.spans if within([span], phase)]
        if not spans:
            continue
        # A stretch after one thing may be the beginning of the next: then it belongs to both.
        mine = within(merged(spans), phase)
        models = {name: compared(kind.of_spans(mine), kind.of_spans(steady)) for name, kind in kinds.items()}
        took = spread([each.lasted(span) for span in spans])
        row = {"what": str(each.what), "about": each.about, "times": len(spans), "took": took, "models": models}
        rows.append(row)
    return rows


def by_phase(kinds: Kinds, phase: Span, other: Span) -> dict[str, Any]:
    """A phase against another, by kind of request."""
    return {name: compared(kind.of_spans([phase]), kind.of_spans([other])) for name, kind in kinds.items()}


def compared(stretches: Sequence[Array], base: Sequence[Array]) -> dict[str, Any]:
    """The p99 of some stretches against others, for programs."""
    return asdict(ratio(stretches, base, NAME, QUANTILES[NAME]))


def read(row: Mapping[str, Any]) -> Ratio:
    """What `compared` wrote."""
    return Ratio(**row)


def judged(what: str) -> bool:
    """Whether `sla.after` speaks of such a happening."""
    return what in {What.FLIP, What.RETIREMENT}
