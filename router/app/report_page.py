"""Reports as one HTML file: its charts work with no network. Other pages are made of the same parts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from router.app.mistake import one_line
from router.app.report_text import headline, joined, measured
from router.app.terminal import NOTHING, figure
from router.pb.admin_pb2 import Distribution, Outcome, Report

COLOURS: Final = {"pass": "#4a9b6e", "fail": "#c0392b", "warn": "#e08a1e", "skip": "#888888"}
"""Told apart by the colour-blind, and the words stand in them."""
LEVELS: Final = {"green": COLOURS["pass"], "yellow": COLOURS["warn"], "red": COLOURS["fail"]}
"""The same of how a model does."""
BLUE: Final = "#2563a8"

STYLE: Final = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
td { vertical-align: top } .word { color: white; padding: .1rem .6rem; border-radius: .3rem; font-weight: 600 }
.figures { color: #666 }
.acts td:nth-child(2) { white-space: nowrap }
.wide { overflow-x: auto } .wide td { white-space: nowrap } .wide .why { white-space: normal }
.plotly-graph-div { margin-top: 1rem }
@media (prefers-color-scheme: dark) {
  body { background: #1a1a1a; color: #ddd } td, th { border-color: #444 } .figures { color: #999 }
  .plotly-graph-div { filter: invert(.9) hue-rotate(180deg) }
}
"""
"""Charts are drawn for a light page; a dark one turns their lightness round and keeps their colours."""


def write(reports: Sequence[Report], path: Path) -> None:
    """All of them, one below the other. Raises OSError."""
    keep(page(reports), path)


def keep(text: str, path: Path) -> None:
    """Write a file whole: a reader never sees half of it. Raises OSError."""
    if path.exists() and not path.is_file():  # a pipe or a device
        path.write_text(text, encoding="utf-8")
        return
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def page(reports: Sequence[Report]) -> str:
    """The whole page as text."""
    models = dict.fromkeys(f"{each.model} {each.version}" for each in reports)
    return document(", ".join(models) or "No reports", [part for each in reports for part in sections(each)])


def document(title: str, parts: Iterable[str]) -> str:
    """A page with a title, which is escaped, and parts, which are HTML."""
    title, body = escaped(title), "".join(parts)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><body><h1>{title}</h1>{body}</body></html>\n"
    )


def escaped(words: str) -> str:
    """Words of others as text of a page, in one line; charts, too, take some words for markup."""
    return html.escape(one_line(words))


def marked(word: str) -> str:
    """How a model does, in its colour; nothing where nobody looks."""
    if not word:
        return NOTHING
    return f"<span class='word' style='background:{LEVELS.get(word, COLOURS['skip'])}'>{escaped(word)}</span>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Headings and cells as text; one that is too wide for the page moves in it."""
    head = "".join(f"<th>{escaped(each)}</th>" for each in headings)
    body = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def sections(report: Report) -> list[str]:
    """What a version was put through: a headline, its gates, its distributions."""
    made = [f"<h2>{escaped(headline(report).plain)}</h2>", _gates(report.outcomes)]
    made += [drawn(histogram(each)) for each in report.distributions if sum(each.counts)]
    return made


def _gates(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for each in outcomes:
        told = escaped(measured(each))
        colour = COLOURS.get(each.verdict, COLOURS["skip"])
        mild = "" if each.blocks or each.verdict != "fail" else " (does not block)"
        rows.append(
            f"<tr><td>{escaped(each.gate)}</td>"
            f"<td><span class='word' style='background:{colour}'>{escaped(each.verdict)}</span>{mild}</td>"
            f"<td>{escaped(each.reason)}</td><td class='figures'>{told}</td></tr>"
        )
    return f"<table><tr><th>gate</th><th></th><th>why</th><th></th></tr>{''.join(rows)}</table>"


def histogram(distribution: Distribution) -> go.Figure:
    """A distribution as bars, one beside the other: buckets need not be equally wide."""
    bars = joined(distribution.bounds, distribution.counts, most=200)
    labels = [f"{figure(low)} – {figure(high)}" for low, high, _ in bars]
    chart = go.Figure()
    chart.add_bar(x=labels, y=[count for _, _, count in bars], marker={"color": BLUE})
    unit = escaped(distribution.unit)
    chart.update_layout(
        title=escaped(distribution.name), xaxis={"title": unit, "type": "category"}, yaxis={"title": "values"},
        bargap=0.05, template="plotly_white", height=340, font={"size": 13}, showlegend=False,
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
    )  # fmt: skip
    return chart


def drawn(chart: go.Figure) -> str:
    """A chart as HTML, for a page that has plotly's script."""
    text: str = chart.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return text
