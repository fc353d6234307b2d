"""A report for a person at a terminal: its gates as a table, its distributions as bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from router.app.terminal import NOTHING, figure, moment, text
from router.pb.admin_pb2 import Distribution, Outcome, Report

COLOURS: Final = {"pass": "green", "fail": "red", "warn": "yellow", "skip": "dim"}
ROWS: Final = 10
"""Of a chart, at most: neighbours are joined until they fit."""
WIDTH: Final = 40
"""Characters of the longest bar."""


def shown(report: Report) -> Iterator[RenderableType]:
    """The verdict, the gates, the charts."""
    yield headline(report)
    yield gates(report.outcomes)
    for each in report.distributions:
        if sum(each.counts):
            yield chart(each)


def headline(report: Report) -> Text:
    """What was put through what, against what, and how it ended."""
    line = Text("passed" if report.passed else "failed", "bold green" if report.passed else "bold red")
    beside = f" against champion {report.champion}{_short(report.champion_digest)}" if report.champion else ""
    about = f": {KINDS.get(report.kind, report.kind)} of {report.model} {report.version}{_short(report.digest)}{beside}"
    exam = f", exam {report.exam_digest[:12]}" if report.exam_digest else ""
    return line + text(f"{about}{exam}, {moment(report.seconds)}, took {figure(report.took_seconds)} s")


KINDS: Final = {"test": "test", "warm": "warm-up"}


def _short(digest: str) -> str:
    return f" ({digest[:12]})" if digest else ""


def gates(outcomes: Sequence[Outcome]) -> Table:
    """A line a gate: the verdict, why, and its figures and facts."""
    made = Table()
    for heading in ("gate", "verdict", "why", "figures"):
        made.add_column(heading, overflow="fold")
    for each in outcomes:
        verdict = text(each.verdict, COLOURS.get(each.verdict, ""))
        if each.verdict == "fail" and not each.blocks:
            verdict.append(" (does not block)", "dim")
        made.add_row(text(each.gate), verdict, text(each.reason), text(measured(each), "dim"))
    return made


def measured(outcome: Outcome) -> str:
    """The figures and facts of a gate in one line."""
    figures = [f"{name} {figure(value)}" for name, value in sorted(outcome.figures.items())]
    return ", ".join([*figures, *(f"{name}: {value}" for name, value in sorted(outcome.facts.items()))])


def chart(distribution: Distribution) -> Table:
    """A histogram as bars: from, to, how many."""
    every = sum(distribution.counts)
    unit = f", {distribution.unit}" if distribution.unit else ""
    made = Table(
        title=text(f"{distribution.name}{unit}: {every} values"), title_justify="left", box=None, pad_edge=False
    )
    made.add_column("from", justify="right")
    made.add_column("to", justify="right")
    made.add_column("", width=WIDTH)
    made.add_column("", justify="right")
    bars = joined(distribution.bounds, distribution.counts)
    most = max((count for _, _, count in bars), default=1)
    for low, high, count in bars:
        share = f"{count} ({count / every * 100:.1f} %)"
        made.add_row(_bound(low), _bound(high), Bar(most, 0, count, width=WIDTH, color="cyan"), share)
    return made


def _bound(value: float) -> str:
    return figure(value) if math.isfinite(value) else NOTHING


def joined(bounds: Sequence[float], counts: Sequence[int], most: int = ROWS) -> list[tuple[float, float, int]]:
    """Low, high and count of each bar: what is empty at both ends left out, neighbours joined to `most` bars."""
    cells = [(low, high, count) for low, high, count in zip(bounds[:-1], bounds[1:], counts, strict=False)]
    while cells and not cells[0][2]:
        del cells[0]
    while cells and not cells[-1][2]:
        del cells[-1]
    step = max(1, math.ceil(len(cells) / most))
    groups = [cells[at : at + step] for at in range(0, len(cells), step)]
    return [(group[0][0], group[-1][1], sum(count for _, _, count in group)) for group in groups]
