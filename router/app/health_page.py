"""How models do as one HTML file: its charts work with no network, and words of others are text in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from router.app.health_text import WINDOWS, left, ms, rate, rows
from router.app.report_page import BLUE, document, drawn, escaped, marked
from router.app.terminal import NOTHING, figure
from router.core.health import duration
from router.pb.health_report_pb2 import HealthReport, Minute, ModelHealth, VersionHealth


def page(report: HealthReport) -> str:
    """The whole page as text."""
    names = [each.model for each in report.models]
    return document(f"Health: {names[0]}" if len(names) == 1 else f"Health of {len(names)} models", _parts(report))


def _parts(report: HealthReport) -> Iterator[str]:
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(report.seconds))
    yield f"<p>Made {made}. Counted for {escaped(duration(report.known_seconds))}.</p>"
    if not report.models:
        yield "<p>There are no models.</p>"
        return
    yield _overview(report.models)
    for model in report.models:
        if any(version.windows for version in model.versions):
            yield from _model(model)


def _overview(models: Sequence[ModelHealth]) -> str:
    others = [name for name in ("drift", "accuracy") if any(getattr(each, name) for each in models)]
    heads = ("model", "health", *others, "requests/s", "errors", "fallback", "p99", "in time", "budget")
    lines = []
    for each in models:
        span, asked = each.five_minutes, each.five_minutes.requests > 0
        cells = (
            figure(round(span.per_second, 1)),
            rate(span.error_rate) if asked else NOTHING,
            rate(span.fallback_rate) if asked else NOTHING,
            ms(span.p99_seconds) if span.HasField("p99_seconds") else NOTHING,
            rate(span.attainment) if span.HasField("attainment") else NOTHING,
            left(each.budget) if each.HasField("budget") else NOTHING,
        )
        ills = [f"router {name} {each.model}" for name in others if getattr(each, name) in {"yellow", "red"}]
        below = [*map(escaped, each.reasons)]
        below += [f"<b>Next:</b> <code>{escaped(step)}</code>" for step in (*each.next_steps, *ills)]
        words = "".join(f"<td>{marked(getattr(each, name))}</td>" for name in others)
        figures = "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
        lines.append(f"<tr><td>{escaped(each.model)}</td><td>{marked(each.level)}</td>{words}{figures}</tr>")
        if below:
            lines.append(f"<tr><td></td><td class='why' colspan='{len(heads) - 1}'>{'<br>'.join(below)}</td></tr>")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<p>The last 5 minutes:</p><div class='wide'><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _model(model: ModelHealth) -> Iterator[str]:
    for version in model.versions:
        if not version.windows:
            continue
        title = f"{model.model}, version {version.number} ({version.role})"
        yield f"<h2>{escaped(title)} {marked(version.level)}</h2>"
        yield _windows(version)
        if version.minutes:
            yield drawn(_chart("Requests a second", [each.per_second for each in version.minutes], None))
            target = model.target_ms if model.HasField("target_ms") else None
            yield drawn(_chart("p99 of the time to an answer, ms", [_p99(each) for each in version.minutes], target))


def _p99(minute: Minute) -> float | None:
    return minute.p99_seconds * 1e3 if minute.HasField("p99_seconds") else None


def _windows(version: VersionHealth) -> str:
    heads = "".join(f"<th>{each}</th>" for each in WINDOWS[: len(version.windows)])
    lines = "".join(
        f"<tr><th>{escaped(name)}</th>{''.join(f'<td>{escaped(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows(version.windows)
    )
    return f"<table><tr><th></th>{heads}</tr>{lines}</table>"


def _chart(title: str, values: Sequence[float | None], target: float | None) -> go.Figure:
    """A value for each minute of the last hour; what is not known is a gap."""
    chart = go.Figure()
    minutes = list(range(-len(values), 0))
    chart.add_scatter(x=minutes, y=list(values), mode="lines", line={"color": BLUE, "width": 2}, connectgaps=False)
    if target is not None:
        chart.add_hline(y=target, line={"color": "#888888", "dash": "dot"}, annotation_text="target")
    chart.update_layout(
        title=title, xaxis={"title": "minutes"}, yaxis={"rangemode": "tozero"}, template="plotly_white", height=280,
        font={"size": 13}, showlegend=False, margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart
