"""How right a model is, for a person at a terminal: versions as a table, each over time as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.bar import Bar
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from router.app.mistake import one_line
from router.app.terminal import NOTHING, figure, moment, text
from router.pb.accuracy_pb2 import ClassFigures, Figure, ModelAccuracy, Point, VersionAccuracy

COLOURS: Final = {"green": "bold green", "red": "bold red", "unknown": "bold yellow"}
MOST_POINTS: Final = 16
"""Lines of a chart: the newest."""
MOST_CLASSES: Final = 12
"""Lines of the table of classes; --json has all."""
WIDTH: Final = 40
"""Characters of a chart."""
SHARES: Final = {"accuracy", "balanced_accuracy", "macro_f1"}
ORDER: Final = ("joined", "unknown", "repeated", "contradicting", "late", "refused")


def shown(seen: ModelAccuracy) -> Iterator[RenderableType]:
    """The verdict and the next step, the versions, charts, classes, what became of actuals."""
    line = text(seen.status, COLOURS.get(seen.status, ""))
    line.append(f", {one_line(seen.model)}: {one_line(seen.text)}", "not bold default")
    yield line
    if seen.next_step:
        yield text(f"next: {seen.next_step}")
    if seen.reading:
        yield text("The ledger is still being read: the figures are not complete yet.", "yellow")
    if seen.versions:
        yield versions(seen)
    for each in seen.versions:
        if any(point.rows for point in each.points):
            yield chart(each)
        if each.classes and each.version == seen.champion:
            yield classes(each)
    yield text(heard(seen))


def heard(seen: ModelAccuracy) -> str:
    """What became of actuals, in a line."""
    parts = [f"{seen.actuals[name]} {name}" for name in ORDER if seen.actuals.get(name)]
    return f"actuals since the controller began: {', '.join(parts) or 'none'}"


def versions(seen: ModelAccuracy) -> Table:
    """A line a version."""
    made = Table()
    for heading in ("version", "status", "said", "came true", "missing", "delay", "figures (98 % interval)"):
        made.add_column(heading, overflow="fold")
    for each in seen.versions:
        name = each.version + (f" ({each.role})" if each.role else "")
        known = f"{each.rows} ({100 * each.rows / each.said:.0f} %)" if each.said else str(each.rows)
        delay = f"{figure(each.delay_seconds)} s" if each.HasField("delay_seconds") else NOTHING
        figures = Text("\n").join(text(told(one)) for one in each.figures) if each.figures else Text(NOTHING)
        made.add_row(
            text(name), text(each.status, COLOURS.get(each.status, "")), str(each.said), known,
            str(max(each.said - each.rows, 0)), delay, figures,
        )  # fmt: skip
    return made


def told(one: Figure) -> str:
    """A figure and its interval."""
    scale, unit = (100.0, " %") if one.name in SHARES else (1.0, "")
    within = ""
    if one.HasField("low") and one.HasField("high"):
        within = f" ({figure(scale * one.low)} to {figure(scale * one.high)})"
    return f"{one.name.replace('_', ' ')} {figure(scale * one.value)}{unit}{within}"


def chart(version: VersionAccuracy) -> Table:
    """The first figure over time: a bar, the interval in words, how many came true."""
    points = [each for each in version.points if each.HasField("value")][-MOST_POINTS:]
    shares = version.kind == "labels"
    name = "accuracy" if shares else "mean absolute error"
    width = _width(points[0].width_seconds) if points else ""
    made = Table(
        title=text(f"version {version.version}, {name} each {width}"), title_justify="left", box=None, pad_edge=False
    )
    for heading, justify in (("from", "left"), ("", "right"), ("", "left"), ("", "left"), ("rows", "right")):
        made.add_column(heading, justify=justify)  # type: ignore[arg-type]  # rich's own words
    most = 1.0 if shares else max((each.value for each in points), default=1.0) or 1.0
    limit = version.baseline.limit if version.HasField("baseline") else None
    for each in points:
        bad = limit is not None and (each.value < limit if shares else each.value > limit)
        value = f"{100 * each.value:.1f} %" if shares else figure(each.value)
        bar = Bar(most, 0, each.value, width=WIDTH, color="red" if bad else "green")
        made.add_row(moment(each.begin), value, bar, _within(each, shares), str(each.rows))
    return made


def _within(point: Point, shares: bool) -> str:
    if not point.HasField("low"):
        return ""
    scale, unit = (100.0, " %") if shares else (1.0, "")
    return f"{figure(round(scale * point.low, 3))} to {figure(round(scale * point.high, 3))}{unit}"


def _width(seconds: float) -> str:
    for unit, factor in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= factor:
            count = seconds / factor
            return unit if count == 1 else f"{count:g} {unit}s"
    return f"{seconds:g} s"


def classes(version: VersionAccuracy) -> Table:
    """Precision, recall, F1 of each class, and what it is mostly taken for; the most frequent classes."""
    ordered: Sequence[ClassFigures] = sorted(version.classes, key=lambda each: -each.actual)[:MOST_CLASSES]
    rest = len(version.classes) - len(ordered)
    more = f", {rest} more in --json" if rest else ""
    others = ", others together" if version.more_classes else ""
    title = f"version {version.version}, classes since {moment(version.classes_since)}{more}{others}"
    made = Table(title=text(title), title_justify="left", box=None, pad_edge=False)
    for heading in ("class", "true", "said", "precision", "recall", "F1"):
        made.add_column(heading, justify="left" if heading == "class" else "right")
    made.add_column("taken for")
    for each in ordered:
        taken = [f"{cell.said} ({cell.count})" for cell in version.confusion if cell.truth == each.label != cell.said]
        precision = _percent(each.precision) if each.HasField("precision") else NOTHING
        recall = _percent(each.recall) if each.HasField("recall") else NOTHING
        made.add_row(
            text(each.label), str(each.actual), str(each.said), precision, recall, _percent(each.f1),
            text(", ".join(taken[:3])),
        )  # fmt: skip
    return made


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
