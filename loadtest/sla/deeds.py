"""The actions of a run as a result shows them: each by itself, or where one was repeated often, all as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from loadtest.sla.figures import AROUND_S, Figures, parts
from loadtest.sla.flips import spread
from loadtest.sla.schedule import Span
from loadtest.sla.timeline import Deed

OFTEN: Final = 8
"""What was done more often than that is shown as one."""
TOLD: Final = 5
"""Failures that are told one by one."""


def often(deeds: Sequence[Deed]) -> set[str]:
    """The labels of what was repeated often."""
    return {label for label, count in Counter(deed.label for deed in deeds).items() if count > OFTEN}


def single(deeds: Sequence[Deed], figures: Figures, end: float) -> list[dict[str, Any]]:
    """A row for each deed that is shown by itself: what was answered before and after it. `end` is the run's."""
    repeated = often(deeds)
    rows = []
    for deed, next_began in zip(deeds, [*[deed.began for deed in deeds[1:]], end], strict=False):
        if deed.label not in repeated:
            rows.append(
                {
                    **asdict(deed),
                    "before": parts(figures.cut(deed.began - AROUND_S, deed.began)),
                    "after": parts(figures.cut(deed.began, deed.began + AROUND_S)),
                    **figures.aftermath(deed.began, next_began),
                }
            )
    return rows


def repeated(deeds: Sequence[Deed], figures: Figures, spans: Sequence[Span]) -> list[dict[str, Any]]:
    """A row for all deeds of a label within a phase, where it was repeated often: how many were done, how long they
    took, the worst p99 of the two seconds after one, and the errors in these seconds, counted once."""
    rows = []
    for label in sorted(often(deeds)):
        for span in spans:
            mine = [deed for deed in deeds if deed.label == label and span.start <= deed.due < span.end]
            if mine:
                rows.append(_row(label, span.name, mine, figures))
    return rows


def _row(label: str, phase: str, deeds: Sequence[Deed], figures: Figures) -> dict[str, Any]:
    failed = [deed for deed in deeds if not deed.ok]
    worst, worst_at, errors, counted = 0.0, deeds[0].began, 0, 0.0
    for deed in deeds:
        after = figures.cut(deed.began, deed.began + AROUND_S)
        p99 = after.latencies(after.used).p99
        if p99 > worst:
            worst, worst_at = p99, deed.began
        fresh = figures.cut(max(deed.began, counted), deed.began + AROUND_S)
        errors += int((fresh.used & ~fresh.ok).sum())
        counted = deed.began + AROUND_S
    return {
        "label": label,
        "phase": phase,
        "count": len(deeds),
        "ok": len(deeds) - len(failed),
        "at": [round(deed.began, 2) for deed in deeds],
        "late": spread([deed.began - deed.due for deed in deeds]),
        "took": spread([deed.ended - deed.began for deed in deeds]),
        "worst_p99": worst,
        "worst_at": round(worst_at, 2),
        "errors": errors,
        "failures": [{"at": round(deed.began, 2), "detail": deed.detail} for deed in failed[:TOLD]],
    }


def invalid(deeds: Sequence[Deed]) -> list[str]:
    """Why a run says nothing of what it was to show: actions that could not be done, each kind once."""
    said = []
    failed = [deed for deed in deeds if not deed.ok]
    for label in dict.fromkeys(deed.label for deed in failed):
        mine = [deed for deed in failed if deed.label == label]
        many = f" {len(mine)} times, first at {mine[0].began:.1f} s" if len(mine) > 1 else ""
        said.append(f"the action {label!r} could not be done{many}: {mine[0].detail}")
    return said
