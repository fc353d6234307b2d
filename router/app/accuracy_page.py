"""How right a model is, as one HTML file: its charts work with no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import plotly.graph_objects as go

from router.app.accuracy_text import heard, told
from router.app.evidence_charts import GREY, PALE
from router.app.report_page import BLUE, document, drawn, escaped, keep
from router.app.terminal import moment
from router.pb.accuracy_pb2 import ModelAccuracy, VersionAccuracy


def write(seen: ModelAccuracy, path: Path) -> None:
    """The whole page. Raises OSError."""
    keep(document(f"Accuracy of {seen.model}", parts(seen)), path)


def parts(seen: ModelAccuracy) -> Iterator[str]:
    """What stands below its title, as HTML."""
    yield f"<p><b>{escaped(seen.status)}</b>: {escaped(seen.text)}</p>"
    if seen.next_step:
        yield f"<p>Next: {escaped(seen.next_step)}</p>"
    yield f"<p>{escaped(heard(seen))}; as of {escaped(moment(seen.now))}</p>"
    for each in seen.versions:
        role = f" ({each.role})" if each.role else ""
        yield f"<h2>{escaped(f'Version {each.version}{role}')}</h2>"
        yield f"<p>{each.said} predictions, {each.rows} came true or did not. {escaped(each.text)}</p>"
        yield _grid(("figure (98 % interval)",), [(told(one),) for one in each.figures])
        if any(point.HasField("value") for point in each.points):
            yield drawn(_over_time(each))
        if each.confusion:
            yield drawn(_confused(each))


def _over_time(version: VersionAccuracy) -> go.Figure:
    points = [each for each in version.points if each.HasField("value")]
    when = [moment(each.begin) for each in points]
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
        chart.add_hline(y=version.baseline.limit, line={"color": "#c0392b", "dash": "dash"})
    name = "accuracy" if version.kind == "labels" else "mean absolute error"
    chart.update_layout(
        title=f"{name}; dotted: the baseline, dashed: beyond it is a decline", template="plotly_white", height=340,
        font={"size": 13}, showlegend=False, margin={"l": 60, "r": 20, "t": 50, "b": 50},
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
        title="rows: what was true, columns: what was said", template="plotly_white", height=480, font={"size": 13},
        xaxis={"type": "category"}, yaxis={"type": "category", "autorange": "reversed"},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escaped(each)}</th>" for each in headings)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
