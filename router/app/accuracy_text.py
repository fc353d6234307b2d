"""How right a model is, for a person at a terminal: versions as a table, each over time as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from router.app.mistake import one_line
from router.app.roomy import Roomy
from router.app.span import span
from router.app.terminal import NOTHING, figure, moment, text
from router.pb.accuracy_pb2 import ClassFigures, Figure, ModelAccuracy, Point, VersionAccuracy

COLOURS: Final = {"green": "bold green", "red": "bold red", "unknown": "bold yellow"}
MOST_POINTS: Final = 16
"""Lines of a chart: the newest."""
MOST_CLASSES: Final = 12
"""Lines of the table of classes; --json has all."""
WIDTH: Final = 40
"""Characters of a bar, at most."""
BESIDE: Final = 118
"""Columns of a terminal in which figures fit beside what they are of."""
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
        apart = Group(versions(seen, beside=False), figures(seen.versions))
        yield Roomy(BESIDE, versions(seen), apart)
    for each in seen.versions:
        if any(point.HasField("value") for point in each.points):
            yield chart(each)
        if each.classes and each.version == seen.champion:
            yield classes(each)
    yield text(heard(seen))


def heard(seen: ModelAccuracy) -> str:
    """What became of actuals, in a line."""
    parts = [f"{seen.actuals[name]} {name}" for name in ORDER if seen.actuals.get(name)]
    return f"actuals since the controller began: {', '.join(parts) or 'none'}"


def versions(seen: ModelAccuracy, *, beside: bool = True) -> Table:
    """A line a version; with its figures `beside` it."""
    made = Table()
    for heading in ("version", "status", "said", "came true", "missing", "delay"):
        made.add_column(heading, overflow="fold", justify="left" if heading in {"version", "status"} else "right")
    if beside:
        made.add_column("figures (98 % interval)", overflow="fold")
    for each in seen.versions:
        name = each.version + (f" ({each.role})" if each.role else "")
        known = f"{each.rows} ({100 * each.rows / each.said:.0f} %)" if each.said else str(each.rows)
        lines = Text("\n").join(text(told(one)) for one in each.figures) if each.figures else Text(NOTHING)
        made.add_row(
            text(name), text(each.status, COLOURS.get(each.status, "")), str(each.said), known,
            str(missing(each)), delay(each), *((lines,) if beside else ()),
        )  # fmt: skip
    return made


def missing(version: VersionAccuracy) -> int:
    """Predictions of which nobody has said what was right."""
    return max(version.said - version.rows, 0)


def delay(version: VersionAccuracy) -> str:
    """How long it took in the mean until it was known what was right."""
    return span(version.delay_seconds) if version.HasField("delay_seconds") else NOTHING


def figures(of: Sequence[VersionAccuracy]) -> Table:
    """A line a figure, where there is no room beside the versions."""
    made = Table(box=None, pad_edge=False)
    made.add_column("version", overflow="fold")
    made.add_column("figure", overflow="fold")
    made.add_column("value", justify="right")
    made.add_column("98 % interval")
    for each in of:
        for place, one in enumerate(each.figures):
            name, value, interval = parted(one)
            made.add_row(text("" if place else each.version), text(name), value, interval)
    return made


def parted(one: Figure) -> tuple[str, str, str]:
    """A figure's name, its value and its interval."""
    share = one.name in SHARES
    interval = ""
    if one.HasField("low") and one.HasField("high"):
        interval = f"{_number(one.low, share)} to {_number(one.high, share)}"
    return one.name.replace("_", " "), _number(one.value, share) + (" %" if share else ""), interval


def _number(value: float, share: bool) -> str:
    """A share in percent, with two places."""
    return f"{100.0 * value:.2f}" if share else figure(value)


def told(one: Figure) -> str:
    """The same in one line."""
    name, value, interval = parted(one)
    return f"{name} {value}{f' ({interval})' if interval else ''}"


def chart(version: VersionAccuracy) -> Table:
    """The first figure over time: a bar, the interval in words, how many came true."""
    points = [each for each in version.points if each.HasField("value")][-MOST_POINTS:]
    shares = version.kind == "labels"
    name = "accuracy" if shares else "mean absolute error"
    width = _width(points[0].width_seconds) if points else ""
    made = Table(
        title=text(f"version {version.version}, {name} each {width}"), title_justify="left", box=None, pad_edge=False
    )
    made.add_column("from", no_wrap=True)
    made.add_column("", justify="right", no_wrap=True)
    made.add_column("", max_width=WIDTH)  # it gives way where there is little room
    made.add_column("98 % interval", no_wrap=True)
    made.add_column("rows", justify="right", no_wrap=True)
    most = 1.0 if shares else max((each.value for each in points), default=1.0) or 1.0
    limit = version.baseline.limit if version.HasField("baseline") else None
    for each in points:
        bad = limit is not None and (each.value < limit if shares else each.value > limit)
        value = f"{100 * each.value:.1f} %" if shares else figure(each.value)
        bar = Bar(most, 0, each.value, color="red" if bad else "green")
        made.add_row(moment(each.begin), value, bar, _within(each, shares), str(each.rows))
    return made


def _within(point: Point, shares: bool) -> str:
    if not point.HasField("low"):
        return ""
    return f"{_number(point.low, shares)} to {_number(point.high, shares)}{' %' if shares else ''}"


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
    made.add_column("class", overflow="fold")
    for heading in ("true", "said", "precision", "recall", "F1"):
        made.add_column(heading, justify="right", no_wrap=True)
    made.add_column("taken for", overflow="fold")
    for each in ordered:
        precision, recall, f1 = rates(each)
        made.add_row(
            text(each.label), str(each.actual), str(each.said), precision, recall, f1, text(taken_for(version, each))
        )
    return made


def rates(of: ClassFigures) -> tuple[str, str, str]:
    """Precision, recall and F1."""
    precision = _percent(of.precision) if of.HasField("precision") else NOTHING
    recall = _percent(of.recall) if of.HasField("recall") else NOTHING
    return precision, recall, _percent(of.f1)


def taken_for(version: VersionAccuracy, of: ClassFigures) -> str:
    """What a class is taken for wrongly, the most frequent first."""
    taken = [f"{cell.said} ({cell.count})" for cell in version.confusion if cell.truth == of.label != cell.said]
    return ", ".join(taken[:3])


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
