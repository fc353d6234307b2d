"""The drift of a model as one HTML file: its charts work with no network, and words of others are text in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import plotly.graph_objects as go

from router.app.drift_text import joined, origin
from router.app.report_page import BLUE, LEVELS, document, drawn, escaped, keep, marked
from router.app.terminal import NOTHING, figure
from router.pb.drift_pb2 import FeatureDrift, ModelDrift

GREY: Final = "#888888"
DRAWN: Final = 24
"""Features with a chart of their own, the worst first."""
LABEL: Final = 40
"""Characters of a category in a chart."""
MEANT: Final = (
    "index: population stability index; chance: what so few rows may show without a change;"
    " JS: Jensen–Shannon distance; W1: Wasserstein distance in standard deviations of the reference"
)


def write(drift: ModelDrift, path: Path) -> None:
    """The page, whole or not at all. Raises OSError."""
    keep(document(f"Drift of {drift.model}", parts(drift)), path)


def parts(drift: ModelDrift) -> Iterator[str]:
    """What stands below its title, as HTML."""
    yield f"<p>{marked(drift.status)} {escaped(drift.reason)}</p>"
    if drift.next_step:
        yield f"<p><b>Next:</b> {escaped(drift.next_step)}</p>"
    for info in drift.references:
        yield f"<p class='figures'>{escaped(origin(info))}</p>"
    for note in drift.notes:
        yield f"<p class='figures'>{escaped(note)}</p>"
    measured = [each for each in drift.features if each.HasField("psi")]
    if not measured:
        return
    yield drawn(_ranking(measured[:DRAWN], drift.yellow, drift.red))
    yield f"<p class='figures'>{MEANT}</p>"
    yield _table(measured)
    for each in measured[:DRAWN]:
        yield f"<h2>{escaped(each.name)} {marked(each.status)}</h2><p>{escaped(each.reason)}</p>"
        yield drawn(_shares(each))


def _ranking(features: list[FeatureDrift], yellow: float, red: float) -> go.Figure:
    """The indices of the worst features beside what chance reaches."""
    names = [f"{place}. {_cut(each.name)}" for place, each in enumerate(features, 1)]
    chart = go.Figure()
    chart.add_bar(
        x=names,
        y=[each.psi for each in features],
        marker={"color": [LEVELS.get(each.status, GREY) for each in features]},
        name="index",
        showlegend=False,
    )
    chart.add_scatter(
        x=names, y=[each.floor for each in features], mode="markers", name="chance reaches",
        marker={"color": "#222222", "symbol": "line-ew-open", "size": 14},
    )  # fmt: skip
    for level, colour in ((yellow, LEVELS["yellow"]), (red, LEVELS["red"])):
        chart.add_hline(y=level, line={"color": colour, "dash": "dot"})
    chart.update_layout(
        title="How far features are from the reference", yaxis={"title": "population stability index"},
        xaxis={"type": "category"}, template="plotly_white", height=380, font={"size": 13},
        margin={"l": 60, "r": 20, "t": 50, "b": 90},
    )  # fmt: skip
    return chart


def _shares(feature: FeatureDrift) -> go.Figure:
    bars = joined(feature, most=40)
    labels = [f"{_cut(label)}" for label, _, _ in bars]
    chart = go.Figure()
    chart.add_bar(x=labels, y=[100 * before for _, before, _ in bars], name="reference", marker={"color": GREY})
    chart.add_bar(x=labels, y=[100 * now for _, _, now in bars], name="now", marker={"color": BLUE})
    chart.update_layout(
        barmode="group", xaxis={"type": "category"}, yaxis={"title": "percent of the rows", "rangemode": "tozero"},
        template="plotly_white", height=320, font={"size": 13}, margin={"l": 60, "r": 20, "t": 20, "b": 90},
    )  # fmt: skip
    return chart


def _table(features: list[FeatureDrift]) -> str:
    heads = ("feature", "side", "", "index", "chance", "JS", "W1", "missing", "unseen", "mean before", "now")
    rows = []
    for each in features:
        figures = [
            f"{each.psi:.3f}",
            f"{each.floor:.3f}",
            f"{each.jensen_shannon:.3f}",
            _figure(each, "wasserstein"),
            f"{100 * each.missing:.3g} %",
            f"{100 * each.unseen:.3g} %" if each.HasField("unseen") else NOTHING,
            _figure(each, "mean_before"),
            _figure(each, "mean"),
        ]
        cells = [escaped(each.name), escaped(each.side), marked(each.status), *figures]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        if each.status != "green":
            rows.append(f"<tr><td></td><td class='why' colspan='{len(heads) - 1}'>{escaped(each.reason)}</td></tr>")
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f"<div class='wide'><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _figure(feature: FeatureDrift, name: str) -> str:
    return figure(getattr(feature, name)) if feature.HasField(name) else NOTHING


def _cut(words: str) -> str:
    """For a chart."""
    return escaped(words if len(words) <= LABEL else words[: LABEL - 1] + "…")
