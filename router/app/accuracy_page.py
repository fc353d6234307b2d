"""How right a model is, as one HTML file: its charts work with no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go

from router.app.accuracy_text import delay, heard, missing, parted, rates, taken_for
from router.app.evidence_charts import GREY, PALE
from router.app.report_page import BLUE, LEVELS, document, drawn, escaped, keep, marked, table
from router.app.terminal import moment
from router.pb.accuracy_pb2 import ModelAccuracy, VersionAccuracy


def write(seen: ModelAccuracy, path: Path) -> None:
    """The whole page. Raises OSError."""
    keep(document(f"Accuracy of {seen.model}", parts(seen)), path)


def parts(seen: ModelAccuracy) -> Iterator[str]:
    """What stands below its title, as HTML."""
    yield f"<p>{marked(seen.status)} {escaped(seen.text)}</p>"
    if seen.next_step:
        yield f"<p><b>Next:</b> {escaped(seen.next_step)}</p>"
    if seen.reading:
        yield "<p>The ledger is still being read: the figures are not complete yet.</p>"
    yield f"<p class='figures'>{escaped(heard(seen))}; as of {escaped(moment(seen.now))}</p>"
    for each in seen.versions:
        role = f" ({each.role})" if each.role else ""
        yield f"<h2>{escaped(f'Version {each.version}{role}')} {marked(each.status)}</h2>"
        if each.text != seen.text:
            yield f"<p>{escaped(each.text)}</p>"
        counts = f"{each.said} predictions: {each.rows} came true or did not"
        counts += f", of {missing(each)} it is not known" if missing(each) else ""
        after = f"; known after {delay(each)} in the mean" if each.HasField("delay_seconds") else ""
        yield f"<p class='figures'>{escaped(counts + after)}</p>"
        if each.figures:
            yield table(("figure", "value", "98 % interval"), map(parted, each.figures))
        if any(point.HasField("value") for point in each.points):
            yield drawn(_over_time(each))
        if each.classes:
            headings = ("class", "true", "said", "precision", "recall", "F1", "taken for")
            rows = [
                (one.label, str(one.actual), str(one.said), *rates(one), taken_for(each, one)) for one in each.classes
            ]
            others = ", others together" if each.more_classes else ""
            yield f"<p>Classes since {escaped(moment(each.classes_since))}{others}:</p>" + table(headings, rows)
        if each.classes and each.confusion:
            yield drawn(_confused(each))


def _over_time(version: VersionAccuracy) -> go.Figure:
    points = [each for each in version.points if each.HasField("value")]
    when = [moment(each.begin) for each in points]
    labels = version.kind == "labels"
    chart = go.Figure()
    for values, more in (
        ([each.high if each.HasField("high") else each.value for each in points], {}),
        ([each.low if each.HasField("low") else each.value for each in points], {"fill": "tonexty"}),
    ):
        chart.add_scatter(
            x=when, y=values, mode="lines", line={"width": 0}, hoverinfo="skip", fillcolor=PALE, **more
        )  # fmt: skip
    rows = [f"{each.rows} rows" for each in points]
    chart.add_scatter(
        x=when, y=[each.value for each in points], mode="lines+markers", line={"color": BLUE, "width": 3}, text=rows
    )
    if version.HasField("baseline"):
        chart.add_hline(y=version.baseline.value, line={"color": GREY, "dash": "dot"})
        chart.add_hline(y=version.baseline.limit, line={"color": LEVELS["red"], "dash": "dash"})
    ends = [each for trace in chart.data for each in trace.y]
    if version.HasField("baseline"):
        ends += [version.baseline.value, version.baseline.limit]
    room = 0.08 * (max(ends) - min(ends)) or 0.05 * max(ends) or 1.0
    name = "Accuracy" if labels else "Mean absolute error"
    known = "; dotted: the baseline, dashed: beyond it is a decline" if version.HasField("baseline") else ""
    chart.update_layout(
        title=f"{name} over time, in its 98 % interval{known}", template="plotly_white", height=340,
        font={"size": 13}, showlegend=False, margin={"l": 60, "r": 20, "t": 50, "b": 50}, xaxis={"type": "date"},
        yaxis={"range": [min(ends) - room, max(ends) + room], "tickformat": ".1%" if labels else ""},
    )  # fmt: skip
    return chart


def _confused(version: VersionAccuracy) -> go.Figure:
    labels = [each.label for each in version.classes]
    counts = {(cell.truth, cell.said): cell.count for cell in version.confusion}
    names = [escaped(label) for label in labels]
    chart = go.Figure()
    chart.add_heatmap(
        x=names, y=names, z=[[counts.get((true, said), 0) for said in labels] for true in labels],
        colorscale="Blues", texttemplate="%{z}",
    )  # fmt: skip
    chart.update_layout(
        title="Rows: what was true, columns: what was said", template="plotly_white", height=480, font={"size": 13},
        xaxis={"type": "category"}, yaxis={"type": "category", "autorange": "reversed"},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart
