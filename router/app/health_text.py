"""How models do, for a person at a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from router.app.roomy import Roomy
from router.app.terminal import NOTHING, figure, size, text
from router.core.health import duration
from router.pb.health_report_pb2 import Budget, Figures, HealthReport, ModelHealth, VersionHealth

COLOURS: Final = {"green": "green", "yellow": "yellow", "red": "bold red"}
WINDOWS: Final = ("1 minute", "5 minutes", "1 hour")
STEPS: Final = "▁▂▃▄▅▆▇█"
_INDENT: Final = Text("  ")
_ROOM: Final = 118
"""Columns of a terminal for all figures of a model in a line."""
_MORE: Final = ("fallback", "in time", "budget")
"""Figures that `router health MODEL` has, where there is less."""


def overview(report: HealthReport) -> RenderableType:
    """A line for each model, the worst first; the figures are those of the last 5 minutes. Then what is not well."""
    if not report.models:
        return Text("there are no models: `router models` shows what the server looks at")
    order = {level: place for place, level in enumerate(("red", "yellow", "green"))}
    models = sorted(report.models, key=lambda one: (order.get(one.level, 0), one.model))
    title = f"the last 5 minutes; {_known(report)}"
    table = Roomy(_ROOM, _overview(title, models, ()), _overview(title, models, _MORE))
    return Group(table, *(line for each in models for line in _ills(each)))


def _overview(title: str, models: Sequence[ModelHealth], without: Sequence[str]) -> Table:
    made = Table(title=text(title), title_justify="left")
    others = [name for name in ("drift", "accuracy") if any(getattr(each, name) for each in models)]
    made.add_column("model", overflow="fold")
    for heading in ("health", *others):
        made.add_column(heading)
    for heading in ("req/s", "errors", "fallback", "p99", "in time", "budget"):
        if heading not in without:
            made.add_column(heading, justify="right", no_wrap=True)
    for each in models:
        span, asked = each.five_minutes, each.five_minutes.requests > 0
        figures = {
            "req/s": figure(round(span.per_second, 1)),
            "errors": rate(span.error_rate) if asked else NOTHING,
            "fallback": rate(span.fallback_rate) if asked else NOTHING,
            "p99": ms(span.p99_seconds) if span.HasField("p99_seconds") else NOTHING,
            "in time": rate(span.attainment) if span.HasField("attainment") else NOTHING,
            "budget": left(each.budget) if each.HasField("budget") else NOTHING,
        }
        words = (level(getattr(each, name) or NOTHING) for name in others)
        told = (value for name, value in figures.items() if name not in without)
        made.add_row(text(each.model), level(each.level), *words, *told)
    return made


def _ills(model: ModelHealth) -> Iterator[Text]:
    """Why a model is not well, and what tells more."""
    if model.level != "green":
        for reason in model.reasons:
            yield text(model.model, COLOURS.get(model.level, "")) + Text(": ") + text(reason)
        yield Text("next: ", "bold") + text(f"router health {model.model}", "cyan")
    for name in ("drift", "accuracy"):
        word = getattr(model, name)
        if word in {"yellow", "red"}:
            yield text(model.model, COLOURS[word]) + text(f": its {name} is {word}")
            yield Text("next: ", "bold") + text(f"router {name} {model.model}", "cyan")


def whole(report: HealthReport, model: ModelHealth) -> Iterator[RenderableType]:
    """Why a model does as it does, what to do, and the figures of each version."""
    yield text(model.model) + Text(" is ") + level(model.level) + Text(f" ({_known(report)})", "dim")
    for reason in model.reasons:
        yield _INDENT + text(reason)
    yield from next_steps(model.next_steps)
    for name in ("drift", "accuracy"):
        if word := getattr(model, name):
            yield Text(f"{name}: ") + level(word) + Text(" ") + text(f"(router {name} {model.model})", "dim")
    goal = f"{model.availability:.4%}".rstrip("0%").rstrip(".") + " % of the requests are to be answered"
    goal += f" within {model.target_ms:g} ms" if model.HasField("target_ms") else ", however long it takes"
    yield text(goal)
    for version in model.versions:
        yield from _version(version)
    yield text(f"workers take {size(report.workers_resident_bytes)} of memory, for all models", "dim")


def next_steps(steps: Sequence[str]) -> Iterator[Text]:
    """Commands to run."""
    for number, step in enumerate(steps):
        yield Text("next: " if not number else "      ", "bold") + text(step, "cyan")


def _version(version: VersionHealth) -> Iterator[RenderableType]:
    yield Text()
    since = f", for {duration(version.level_seconds)}"
    yield (
        text(f"version {version.number} ({version.role}):", "bold")
        + Text(" ")
        + level(version.level)
        + Text(since, "dim")
    )
    if not version.windows:
        yield Text("  no request since the controller started")
        return
    yield windows(version.windows)
    gauges = [f"{version.pending} requests wait or run", f"{version.hung} runs were given up and go on"]
    gauges.append(f"{version.breakers_open} breakers are open")
    yield Text("  " + ", ".join(gauges))
    burn = version.budget
    yield Text(
        f"  error budget of a day: {left(burn)}; it burns {burn.burn_5m:.3g} times as fast as it may over"
        f" 5 minutes, {burn.burn_1h:.3g} over 1 hour, {burn.burn_6h:.3g} over 6 hours"
    )
    if version.minutes:
        yield Text()
        yield Text("  the last hour, by the minute:", "dim")
        rates = [each.per_second for each in version.minutes]
        times = [each.p99_seconds if each.HasField("p99_seconds") else math.nan for each in version.minutes]
        yield line("req/s", rates, figure(round(max(rates), 1)))
        seen = [each for each in times if not math.isnan(each)]
        yield line("p99  ", times, ms(max(seen)) if seen else NOTHING)


def windows(spans: Sequence[Figures]) -> Table:
    """A column for each window."""
    made = Table(box=None, pad_edge=False, padding=(0, 2))
    made.add_column("  ")
    for window in WINDOWS[: len(spans)]:
        made.add_column(window, justify="right")
    for name, cells in rows(spans):
        made.add_row(_INDENT + text(name, "dim"), *cells)
    return made


def rows(spans: Sequence[Figures]) -> Iterator[tuple[str, list[str]]]:
    """Names, and a cell for each window."""
    yield "requests", [str(each.requests) for each in spans]
    yield "a second", [figure(round(each.per_second, 2)) for each in spans]
    for reason in sorted({name for each in spans for name, count in each.failures.items() if count}):
        yield f"failed, {reason.lower()}", [str(each.failures.get(reason, 0)) for each in spans]
    yield "errors", [rate(each.error_rate) for each in spans]
    yield "by fallback", [rate(each.fallback_rate) for each in spans]
    yield "too late", [str(each.late) for each in spans]
    yield "in time", [rate(each.attainment) if each.HasField("attainment") else NOTHING for each in spans]
    for field, name in (("p50_seconds", "p50"), ("p99_seconds", "p99"), ("p999_seconds", "p99.9")):
        yield name, [ms(getattr(each, field)) if each.HasField(field) else NOTHING for each in spans]
    waited = [ms(each.mean_queue_seconds) if each.HasField("mean_queue_seconds") else NOTHING for each in spans]
    yield "mean wait", waited
    yield "rows a run", [figure(round(each.mean_rows, 2)) if each.HasField("mean_rows") else NOTHING for each in spans]
    yield "from memory", [str(each.fresh) for each in spans]
    yield "hedges won / sent", [f"{each.hedges_won} / {each.hedges_sent}" for each in spans]
    yield "breakers opened", [str(each.breakers_opened) for each in spans]


def line(name: str, values: Sequence[float], most: str) -> Text:
    """A value a minute as bars in one line, and the most of them; what is not known is a gap."""
    return Text(f"  {name} ", "dim") + Text(bars(values), "cyan") + Text(f" ≤ {most}", "dim")


def bars(values: Sequence[float]) -> str:
    """One character each, from 0 to the largest."""
    most = max((each for each in values if not math.isnan(each)), default=0.0)
    made = []
    for each in values:
        if math.isnan(each):
            made.append(" ")
        else:
            made.append(STEPS[min(round(each / most * (len(STEPS) - 1)), len(STEPS) - 1)] if most else STEPS[0])
    return "".join(made)


def level(word: str) -> Text:
    """In its colour."""
    return text(word, COLOURS.get(word, ""))


def rate(share: float) -> str:
    """A share in percent, with what matters near 0 and near 100."""
    percent = 100.0 * share
    near = min(percent, 100.0 - percent)
    return f"{percent:.0f} %" if near in {0.0, 100.0} else f"{percent:.3f} %" if near < 1 else f"{percent:.1f} %"


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds * 1e3:.0f} ms"


def left(budget: Budget) -> str:
    """Of the error budget; where it is overspent, how often it is spent."""
    return f"{100 * budget.left:.0f} % left" if budget.left > 0 else f"spent {figure(round(1 - budget.left, 1))} times"


def _known(report: HealthReport) -> str:
    return f"counted for {duration(report.known_seconds)}"
