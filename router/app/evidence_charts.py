"""Charts of trials and canaries for the page of evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from router.app.canary_steps import CanaryStep, p99_ms, rate, steps
from router.app.report_page import BLUE, drawn, escaped
from router.app.share import percent
from router.core.vitals import Vitals

GREY: Final = "#888888"
"""The old champion beside the version."""
PALE: Final = "rgba(37, 99, 168, 0.2)"


def trial_charts(body: Mapping[str, Any]) -> Iterator[str]:
    """The challenger's advantage, and the interval that encloses the true one; as it went, where that is known."""
    path = [each for each in body.get("path", ()) if _whole(each)] if isinstance(body.get("path"), list) else []
    if len(path) > 1:
        yield drawn(_narrowing(path))
        return
    told = body.get("standing", body)
    figures = [told.get(name) if isinstance(told, Mapping) else None for name in ("low", "difference", "high")]
    if all(isinstance(each, int | float) and math.isfinite(each) for each in figures):
        yield drawn(_interval(*(100.0 * float(each) for each in figures if each is not None)))


def _whole(step: Any) -> bool:
    """Whether it is one of a trial's path: how many were compared, then low, difference and high."""
    return (
        isinstance(step, list) and len(step) == 4 and all(isinstance(n, int | float) and math.isfinite(n) for n in step)
    )


def _narrowing(path: Sequence[Sequence[float]]) -> go.Figure:
    compared = [each[0] for each in path]
    low, difference, high = ([100.0 * each[place] for each in path] for place in (1, 2, 3))
    chart = go.Figure()
    chart.add_scatter(x=compared, y=high, mode="lines", line={"width": 0}, hoverinfo="skip")
    chart.add_scatter(x=compared, y=low, mode="lines", line={"width": 0}, fill="tonexty", fillcolor=PALE)
    chart.add_scatter(x=compared, y=difference, mode="lines", line={"color": BLUE, "width": 3})
    chart.add_hline(y=0, line={"color": GREY, "dash": "dot"})
    chart.update_layout(
        title="Of 100 requests so many more right (or fewer): the truth lies in the band",
        xaxis={"title": "requests that were compared"}, template="plotly_white", height=300, font={"size": 13},
        showlegend=False, margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart


def _interval(low: float, difference: float, high: float) -> go.Figure:
    chart = go.Figure()
    chart.add_scatter(
        x=[difference],
        y=["challenger"],
        mode="markers",
        marker={"color": BLUE, "size": 12},
        error_x={"type": "data", "array": [high - difference], "arrayminus": [difference - low], "thickness": 3},
    )
    chart.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    chart.update_layout(
        title="Of 100 requests so many more right (or fewer), and where the truth lies",
        xaxis={"title": "of 100 requests"}, template="plotly_white", height=220, font={"size": 13}, showlegend=False,
        margin={"l": 90, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart


def canary_charts(body: Mapping[str, Any]) -> Iterator[str]:
    """What callers had of both versions, step by step: errors, p99, and what was found."""
    over = [*steps(body)]
    if not over:
        return
    sides = [side for each in over for side in (each.candidate, each.control)]
    if any(side.requests for side in sides) and not any(side.failures for side in sides):
        yield "<p>No request failed, of either version.</p>"
    elif any(side.requests for side in sides):
        yield drawn(_beside(over, "Requests that failed", "percent", lambda side: rate(side.failures, side)))
    if any(each.candidate.timed or each.control.timed for each in over):
        yield drawn(_beside(over, "p99 of the time to an answer", "ms", p99_ms))
    rows = []
    for each in over:
        found = [f"<b>{escaped(words)}</b>" for words in each.breaches]
        found += [escaped(words) for words in each.findings if words not in each.breaches]
        both = f"{each.candidate.requests} / {each.control.requests}"
        cells = (str(each.place), percent(each.share), f"{each.seconds:.0f} s", both, "<br>".join(found))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    heads = "".join(f"<th>{each}</th>" for each in ("step", "share", "baked", "requests of both", "what was found"))
    yield f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def _beside(over: Sequence[CanaryStep], title: str, unit: str, measured: Callable[[Vitals], float | None]) -> go.Figure:
    names = [f"step {each.place}: {percent(each.share)}" for each in over]
    chart = go.Figure()
    chart.add_bar(x=names, y=[measured(each.candidate) for each in over], name="version", marker={"color": BLUE})
    chart.add_bar(x=names, y=[measured(each.control) for each in over], name="old champion", marker={"color": GREY})
    chart.update_layout(
        title=title, yaxis={"title": unit, "rangemode": "tozero"}, xaxis={"type": "category"}, barmode="group",
        template="plotly_white", height=320, font={"size": 13}, margin={"l": 60, "r": 20, "t": 50, "b": 40},
    )  # fmt: skip
    return chart
