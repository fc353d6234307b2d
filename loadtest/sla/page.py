"""A result as one HTML file: its charts work with no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from loadtest.sla import capacity, latency, output, told
from loadtest.sla import compare as comparing
from loadtest.sla.result import Document, lines, verdict
from loadtest.sla.units import spoken

BLUE, ORANGE, GREEN, PURPLE, GREY, RED = "#2563a8", "#e08a1e", "#4a9b6e", "#8a5aa8", "#888888", "#c0392b"
"""Told apart by the colour-blind."""
SOURCES: Final = (BLUE, GREEN, ORANGE, PURPLE, "#3aa6a6", "#b5651d")
GRADES: Final = {"PASS": GREEN, "FAIL": RED, "INCONCLUSIVE": ORANGE, "INVALID": PURPLE, "INTERRUPTED": PURPLE}
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
.word { color: white; padding: .15rem .6rem; border-radius: .3rem; font-weight: 600 }
.about { color: #666 } .note { background: #fff6e5; padding: .5rem .8rem; border-radius: .3rem }
"""


def write(documents: list[Document], path: Path) -> None:
    """One result, or several side by side."""
    output.write(path, page(documents))


def page(documents: list[Document]) -> str:
    """The whole page as text."""
    title = html.escape(" against ".join(dict.fromkeys(each["title"] for each in documents)))
    body = [f"<h1>{title}</h1>"]
    if len(documents) > 1:
        body.append(_figure(percentile_curve(documents)))
    for document in documents:
        body += _sections(document, alone=len(documents) == 1)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><body>{''.join(body)}</body></html>\n"
    )


def _sections(document: Document, *, alone: bool) -> list[str]:
    word, _ = verdict(document)
    machine = document["machine"]
    about = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, {machine['measured']}"
    made = [
        f"<h2>{html.escape(document['server']['title'])} "
        f"<span class='word' style='background:{GRADES[word]}'>{word}</span></h2>",
        f"<p class='about'>{html.escape(about)} · seed {document['seed']}</p>",
    ]
    notes = list(document["invalid"])
    if document["closed_loop"]:
        notes.append("Closed loop: callers wait for their answers before they ask again. Queueing is hidden here.")
    made += map(_note, (*notes, *document.get("notes", ())))
    made.append(_table(("", "limit", "measured", "", ""), [_line(line) for line in lines(document)]))
    made.append(_figure(over_time(document)))
    if alone:
        made.append(_figure(percentile_curve([document])))
    made.append(_figure(by_source(document)))
    if told.resident(document):
        made.append(_figure(memory(document)))
    made.append(_actions(document))
    for title, headings, rows in (
        ("Repeated actions", told.REPEATED, told.repeated(document)),
        ("Flips", told.FLIPS, told.flips(document)),
        ("Around what happened, and phases side by side: p99", told.COMPARED, told.compared(document)),
        ("Memory", told.RESIDENT, told.resident(document)),
    ):
        if rows:
            made.append(f"<h2>{title}</h2>" + _table(headings, rows))
    made += map(_note, told.failures(document))
    made.append(_requests(document))
    return made


def _note(text: str) -> str:
    return f"<p class='note'>{html.escape(text)}</p>"


def _line(line: Any) -> tuple[str, ...]:
    return line.name, line.limit, line.measured, str(line.grade), line.why


def _actions(document: Document) -> str:
    rows = [
        (
            f"{deed['began']:.1f} s",
            deed["label"],
            deed["detail"] if deed["ok"] else f"failed: {deed['detail']}",
            spoken(deed["before"]["latency"]["p99"]),
            spoken(deed["after"]["latency"]["p99"]),
            str(sum(deed["after"]["counts"]["errors"].values())),
            _after(deed.get("last_failed")),
            _after(deed.get("last_degraded")),
        )
        for deed in document["actions"]
    ]
    if not rows:
        return ""
    headings = ("at", "", "", "p99 before", "p99 after", "errors after", "last failed", "last degraded")
    return "<h2>Actions</h2>" + _table(headings, rows)


def _after(seconds: float | None) -> str:
    """When something was seen for the last time after an action."""
    return "–" if seconds is None else f"+{seconds:.2f} s"


def _requests(document: Document) -> str:
    counts = document["measured"]["counts"]
    rows = [
        ("due", counts["due"]),
        ("answered", counts["answered"]),
        ("not sent", counts["unsent"]),
        *((name, count) for name, count in counts["errors"].items()),
        ("answered or refused in time", counts["told"]),
        ("late", counts["late"]),
        ("degraded", counts["degraded"]),
        ("wrong", f"{counts['wrong']} of {counts['checked']} compared"),
        ("duplicates", counts["duplicates"]),
        ("of an older generation", counts["older_generation"]),
        *((f"version {name}", count) for name, count in counts["versions"].items()),
        *((f"generation {name}", count) for name, count in counts["generations"].items()),
    ]
    return "<h2>Requests</h2>" + _table(("", ""), [(name, str(value)) for name, value in rows])


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{html.escape(each)}</th>" for each in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(figure: go.Figure) -> str:
    figure.update_layout(
        template="plotly_white", height=380, margin={"l": 60, "r": 20, "t": 50, "b": 50}, font={"size": 13},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0},
    )  # fmt: skip
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return text


def over_time(document: Document) -> go.Figure:
    """Latency by second, with the actions and the seconds in which the sender was late."""
    rows = document["seconds"]
    at = [row["second"] for row in rows]
    figure = go.Figure()
    for name, colour, words in (("p50", BLUE, "p50"), ("p99", ORANGE, "p99"), ("p999", PURPLE, "p99.9")):
        values = [row[name] * 1e3 if row["answered"] else None for row in rows]
        figure.add_scatter(x=at, y=values, name=words, mode="lines", line={"color": colour, "shape": "hv"})
    failed = [sum(row["errors"].values()) + row["unsent"] for row in rows]
    if any(failed):
        figure.add_bar(x=at, y=failed, name="failed", yaxis="y2", marker={"color": RED, "opacity": 0.35}, offset=0)
    for deed in document["actions"]:
        figure.add_vline(
            x=deed["began"], line={"color": GREY, "dash": "dash"}, annotation_text=html.escape(deed["label"])
        )
    for row, colour in zip(document.get("repeated", ()), SOURCES * len(document.get("repeated", ())), strict=False):
        figure.add_scatter(
            x=row["at"], y=[0.02] * len(row["at"]), yaxis="y3", mode="markers", name=html.escape(row["label"]),
            marker={"symbol": "line-ns-open", "size": 9, "color": colour}, hoverinfo="x+name",
        )  # fmt: skip
    for second in document["lagged_seconds"]:
        figure.add_vrect(x0=second, x1=second + 1, fillcolor=GREY, opacity=0.15, line_width=0)
    figure.update_layout(
        title="Latency by second, from the intended send",
        xaxis={"title": "seconds"},
        yaxis={"title": "ms", "type": "log"},
        yaxis2={
            "title": "failed",
            "type": "linear",
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "rangemode": "tozero",
            "tickformat": "d",
            "tickmode": "auto",
            "nticks": 4,
        },
        yaxis3={"overlaying": "y", "range": [0, 1], "visible": False},
    )
    return figure


def memory(document: Document) -> go.Figure:
    """What each process held, by second."""
    found = document["resident"]
    figure = go.Figure()
    for (name, column), colour in zip(found["bytes"].items(), SOURCES * len(found["bytes"]), strict=False):
        values = [None if each is None else each / 1e6 for each in column]
        figure.add_scatter(x=found["seconds"], y=values, name=html.escape(name), mode="lines", line={"color": colour})
    figure.update_layout(
        title="Resident memory",
        xaxis={"title": "seconds"},
        yaxis={"title": "MB", "rangemode": "tozero"},
        showlegend=True,
    )
    return figure


def percentile_curve(documents: list[Document]) -> go.Figure:
    """Latency by percentile; the axis is stretched towards 100 %."""
    figure = go.Figure()
    deepest = 10.0
    for document, colour in zip(documents, SOURCES * len(documents), strict=False):
        points = [(1 / (1 - share), value * 1e3) for share, value in document["curve"] if share < 1]
        if not points:
            continue
        deepest = max(deepest, points[-1][0])
        name = html.escape(comparing.label(document, documents)) if len(documents) > 1 else "from the intended send"
        figure.add_scatter(
            x=[x for x, _ in points], y=[y for _, y in points], name=name, mode="lines", line={"color": colour}
        )
    ticks = [(10**n, f"{100 - 100 / 10**n:g} %") for n in range(7) if 10**n <= deepest * 10]
    figure.update_layout(
        title="Latency by percentile",
        xaxis={"type": "log", "tickvals": [x for x, _ in ticks], "ticktext": [name for _, name in ticks]},
        yaxis={"title": "ms", "type": "log"},
        showlegend=True,
    )
    return figure


def by_source(document: Document) -> go.Figure:
    """Answers by second, stacked by who gave them, and what failed on top."""
    rows = document["seconds"]
    at = [row["second"] for row in rows]
    figure = go.Figure()
    names = sorted({name for row in rows for name in row["sources"]})
    for name, colour in zip(names, SOURCES * len(names), strict=False):
        values = [row["sources"].get(name, 0) for row in rows]
        figure.add_bar(x=at, y=values, name=html.escape(name), marker={"color": colour})
    failed = [sum(row["errors"].values()) + row["unsent"] for row in rows]
    if any(failed):
        figure.add_bar(x=at, y=failed, name="failed or not sent", marker={"color": RED})
    figure.update_layout(
        title="Answers by source",
        barmode="stack",
        bargap=0.05,
        xaxis={"title": "seconds"},
        yaxis={"title": "per second"},
        showlegend=True,
    )
    return figure


def write_capacity(results: list[dict[str, Any]], path: Path) -> None:
    """Latency against rate for each server, its capacity marked."""
    figure = go.Figure()
    for result, colour in zip(results, SOURCES * len(results), strict=False):
        probes = sorted(result["probes"], key=lambda probe: float(probe["rate"]))
        figure.add_scatter(
            x=[probe["rate"] for probe in probes],
            y=[probe["p99"] * 1e3 for probe in probes],
            name=html.escape(result["server"]),
            mode="lines+markers",
            line={"color": colour},
        )
        if result["capacity"] is not None:
            figure.add_vline(x=result["capacity"], line={"color": colour, "dash": "dash"})
    figure.update_layout(
        title="p99 against rate; dashed: the highest rate at which the level held",
        xaxis={"title": "requests/s"},
        yaxis={"title": "ms", "type": "log"},
        showlegend=True,
    )
    rows = [(result["server"], capacity.told(result), result["bounded_by"] or "–", result["why"]) for result in results]
    _plain_page("Capacity", _figure(figure) + _table(("", "requests/s", "bounded by", ""), rows), path)


def write_latency(document: dict[str, Any], path: Path) -> None:
    """Percentiles of all servers at the same rates."""
    figure = go.Figure()
    servers = [row["server"] for table in document["rates"][:1] for row in table["rows"]]
    for index, (server, colour) in enumerate(zip(servers, SOURCES * len(servers), strict=False)):
        names, values = [], []
        for table in document["rates"]:
            for name, words in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")):
                names.append(f"{words} at {table['rate']:.0f}/s")
                seconds = table["rows"][index][name]
                values.append(None if seconds is None else seconds * 1e3)
        figure.add_bar(x=names, y=values, name=html.escape(server), marker={"color": colour})
    figure.update_layout(title="Latency at the same rates", yaxis={"title": "ms", "type": "log"}, showlegend=True)
    notes = [_note(f"not valid: {reason}") for reason in latency.invalid(document)]
    body = "".join(notes) + _figure(figure) + _table(latency.HEADINGS, latency.cells(document))
    _plain_page("Latency", body, path)


def _plain_page(title: str, body: str, path: Path) -> None:
    output.write(
        path,
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><body><h1>{title}</h1>{body}</body></html>\n",
    )
