"""The drift of models for a person at a terminal: the worst features as a table, what they were and are as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from router.app.roomy import Roomy
from router.app.terminal import NOTHING, figure, moment, text
from router.pb.drift_pb2 import FeatureDrift, ModelDrift, ReferenceInfo

COLOURS: Final = {"green": "green", "yellow": "yellow", "red": "bold red"}
WORST: Final = 10
"""Features that are shown, where not all are asked for,"""
CHARTS: Final = 2
"""and that are drawn."""
BARS: Final = 10
"""Of a chart, at most: neighbours are joined until they fit."""
WIDTH: Final = 24
"""Characters of a bar, at most."""
BESIDE: Final = 140
"""Columns of a terminal in which the reasons fit beside the figures."""


def shown(drift: ModelDrift, *, everything: bool = False) -> Iterator[RenderableType]:
    """How a model stands: in words, in figures, in bars."""
    line = text(drift.status, COLOURS.get(drift.status, "dim")) + Text(": ")
    yield line + text(f"drift of {drift.model}: {drift.reason}")
    if drift.next_step:
        yield text(f"next: {drift.next_step}")
    for info in drift.references:
        yield text(origin(info), "dim")
    missed = f", {drift.missed} more found no room" if drift.missed else ""
    yield text(f"{drift.observed} rows looked at{missed}; {drift.windows} windows compared", "dim")
    for note in drift.notes:
        yield text(f"note: {note}", "yellow")
    measured = [each for each in drift.features if each.HasField("psi")]
    if not measured:
        return
    few = measured if everything else measured[:WORST]
    bad = [each for each in few if each.status != "green"]
    yield Roomy(BESIDE, table(few), Group(table(few, beside=False), *map(reason, bad)))
    if len(few) < len(measured):
        yield text(f"{len(measured) - len(few)} more features, none of them worse: --all shows them", "dim")
    for each in bad if everything else bad[:CHARTS]:
        yield chart(each)


def origin(info: ReferenceInfo) -> str:
    """Where a reference is from."""
    of = f"{info.side} of version {info.version}" if info.version else info.side
    if not info.made_seconds:
        return f"reference of the {of}: being made of what comes, {info.rows} of {info.wanted} rows"
    source = "what came" if info.source == "live" else info.source
    by = f", set by {info.actor}" if info.source != "live" else ""
    return f"reference of the {of}: {info.rows} rows of {source}, {moment(info.made_seconds)}{by}"


def reason(feature: FeatureDrift) -> Text:
    """Why a feature has its status, where there is no room in its line."""
    name = text(feature.name, COLOURS.get(feature.status, "dim"))
    return name + Text(": ") + text(feature.reason)


def table(features: Sequence[FeatureDrift], *, beside: bool = True) -> Table:
    """A line a feature; with the reason `beside` the figures."""
    made = Table()
    made.add_column("feature", overflow="fold")
    for heading in ("side", "status"):
        made.add_column(heading)
    for heading in ("index", "chance", "JS", "W1", "missing"):
        made.add_column(heading, justify="right", no_wrap=True)
    if beside:
        made.add_column("why", overflow="fold")
    for each in features:
        made.add_row(
            text(each.name),
            text(each.side),
            text(each.status, COLOURS.get(each.status, "")),
            f"{each.psi:.3f}",
            f"{each.floor:.3f}",
            f"{each.jensen_shannon:.3f}",
            f"{each.wasserstein:.2f}" if each.HasField("wasserstein") else NOTHING,
            f"{100 * each.missing:.3g} %",
            *((text(each.reason, "dim" if each.status == "green" else ""),) if beside else ()),
        )
    return made


def chart(feature: FeatureDrift) -> Table:
    """What a feature was and what it is: the share of the rows in each bin."""
    made = Table(title=text(f"{feature.name}: reference and now"), title_justify="left", box=None, pad_edge=False)
    made.add_column("", overflow="fold")
    for heading in ("reference", "now"):  # the bars give way where there is little room
        made.add_column(heading, max_width=WIDTH)
        made.add_column("", justify="right", no_wrap=True)
    bars = joined(feature)
    most = max((max(before, now) for _, before, now in bars), default=0.0) or 1.0
    for label, before, now in bars:
        made.add_row(
            text(label),
            Bar(most, 0, before, color="blue"),
            f"{100 * before:.1f} %",
            Bar(most, 0, now, color="cyan"),
            f"{100 * now:.1f} %",
        )
    return made


def joined(feature: FeatureDrift, most: int = BARS) -> list[tuple[str, float, float]]:
    """Label, share before and now of each bar. Of categories the most frequent; of numbers neighbours are joined."""
    cells = [*zip(feature.labels, feature.before, feature.now, strict=True)]
    missing, rest = cells[:1], cells[1:]
    missing = [each for each in missing if each[1] or each[2]]
    if feature.category:
        rest = [each for each in rest if each[1] or each[2]]
        rest.sort(key=lambda each: -max(each[1], each[2]))
        few = rest[:most]
        if len(rest) > most:
            few[-1] = (
                "all others",
                sum(each[1] for each in rest[most - 1 :]),
                sum(each[2] for each in rest[most - 1 :]),
            )
        return missing + few
    step = max(1, -(-len(rest) // most))
    groups = [rest[at : at + step] for at in range(0, len(rest), step)]
    bars = [
        (_span(group[0][0], group[-1][0]), sum(each[1] for each in group), sum(each[2] for each in group))
        for group in groups
    ]
    return missing + bars


def _span(first: str, last: str) -> str:
    """The label of neighbours together."""
    if first == last:
        return first
    high = last.rpartition(" – ")[2]
    if first.startswith("below "):
        return last if last.startswith("from ") else f"below {high}"
    low = first.partition(" – ")[0]
    return f"from {low}" if last.startswith("from ") else f"{low} – {high}"


def summary(models: Sequence[ModelDrift]) -> Table:
    """A line a model."""
    made = Table()
    made.add_column("model", overflow="fold")
    made.add_column("status")
    made.add_column("windows", justify="right")
    made.add_column("why", overflow="fold")
    for each in models:
        style = COLOURS.get(each.status, "dim")
        made.add_row(text(each.model), text(each.status, style), figure(each.windows), text(each.reason))
    return made
