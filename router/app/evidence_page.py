"""The dossier of a version as one HTML file: its charts work with no network, and words of others are text in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from router.app.audit import difference
from router.app.case_text import flat
from router.app.evidence_charts import canary_charts, trial_charts
from router.app.report_page import BLUE, document, drawn, escaped, sections
from router.control.records import Case
from router.control.report_text import from_text
from router.core.standing import CaseKind
from router.edge.admin_cases import text
from router.edge.reports import to_message
from router.errors import RouterError

ACTS: Final = 500
"""The newest, of the audit log: the JSON has all."""
WORDS: Final = 300
"""Characters of anybody's words."""
TITLES: Final = {"trial": "Trial", "rollout": "Canary", "request": "Request for approval"}

DRAWN: Final = {"given", "shown", "steps", "path", "state"}
"""What of a case's body stands in its table or chart, or is for the program."""

_NOTHING: Final = "–"


def page(dossier: Mapping[str, Any]) -> str:
    """The whole page as text. What a dossier does not hold is left out."""
    version = _table(dossier.get("version"))
    title = f"Evidence: {dossier.get('model', '?')} {version.get('number', '?')}"
    return document(title, parts(dossier))


def parts(dossier: Mapping[str, Any]) -> Iterator[str]:
    """What stands below its title, as HTML."""
    yield f"<p>Made {_moment(dossier.get('made_at'))} by router {_shown(dossier.get('router'))}.</p>"
    yield _facts(_standing(dossier, _table(dossier.get("version"))))
    for kept in _rows(dossier.get("cases")):
        yield from _case(kept)
    for kept in _rows(dossier.get("reports")):
        yield from _report(kept)
    yield "<h2>How it came there</h2>"
    yield _acts(_rows(dossier.get("history")), "stage")
    yield from _audit(_table(dossier.get("audit")))
    settings = _table(dossier.get("settings"))
    if settings:
        told = _facts(flat(settings))
        yield f"<h2>Settings in force</h2><details><summary>model.toml, as it is followed</summary>{told}</details>"


def _standing(dossier: Mapping[str, Any], version: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What it is now, and beside what."""
    route, digests = _table(dossier.get("route")), _table(dossier.get("digests"))
    yield "stage", _word(version.get("stage"))
    yield "since", f"{_time(version.get('since'))}, by {_word(version.get('actor')) or _NOTHING}"
    yield "why", _word(version.get("reason"))
    yield "what is wrong with it", _word(version.get("mark"))
    yield "files (SHA-256)", _word(digests.get("files"))
    yield "champion it was compared with", _word(digests.get("champion"))
    yield "exam", _word(digests.get("exam"))
    yield "importance, as declared", _word(dossier.get("importance"))
    if route:
        yield "champion now", f"{_word(route.get('champion')) or _NOTHING}, generation {_word(route.get('generation'))}"
        yield "standby", _word(route.get("standby"))
        shares = _table(route.get("shares"))
        yield "shares", ", ".join(f"version {number}: {_word(share)} %" for number, share in shares.items())
        yield "shadows", ", ".join(map(_word, _list(route.get("shadows"))))
        yield "promotions", "frozen" if route.get("frozen") else ""
        yield "fallback", "on: nothing of the model is run" if route.get("switched") else ""


def _report(kept: Mapping[str, Any]) -> Iterator[str]:
    """Gates and distributions, as `router report` shows them."""
    try:
        report = from_text(json.dumps(_numbers({name: each for name, each in kept.items() if name != "passed"})))
    except (RouterError, ValueError, TypeError, AttributeError, LookupError):  # another release's, or nobody's
        yield f"<p>A report of kind {_shown(kept.get('kind'))} cannot be read by this release.</p>"
        return
    yield from sections(to_message(report))


def _numbers(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON has no number for stands in a dossier as a text."""
    made = dict(kept)
    made["outcomes"] = [
        {**each, "figures": {name: float(value) for name, value in each["figures"].items()}}
        for each in _rows(kept.get("outcomes"))
        if isinstance(each.get("figures"), Mapping)
    ]
    made["distributions"] = [
        {**each, "bounds": [float(bound) for bound in _list(each.get("bounds"))]}
        for each in _rows(kept.get("distributions"))
    ]
    return made


# ---- trials, canaries, requests ----


def _case(kept: Mapping[str, Any]) -> Iterator[str]:
    body, kind = _table(kept.get("body")), _word(kept.get("kind"))
    state, number = _word(kept.get("state")), _word(kept.get("number"))
    began, ended = _number(kept.get("began")), _number(kept.get("ended"))
    yield f"<h2>{_shown(TITLES.get(kind, kind))} {_shown(kept.get('id'))}</h2>"
    actor = _word(kept.get("actor"))
    if kind in set(CaseKind):
        told = text(Case(0, CaseKind(kind), "", number, "", actor, began, ended, state, body))
    else:
        told = state
    times = f"begun {_moment(began)} by {_shown(actor or _NOTHING)}" + (f", ended {_moment(ended)}" if ended else "")
    yield f"<p><b>{_shown(told)}</b><br>{times}, files {_hash(kept)}</p>"
    if kind == CaseKind.REQUEST:
        yield _approvals(_rows(body.get("given")))
    charts = {CaseKind.TRIAL: trial_charts, CaseKind.ROLLOUT: canary_charts}.get(kind)  # type: ignore[call-overload]
    yield from (charts(body) if charts is not None else ())
    facts = {name: each for name, each in body.items() if name not in DRAWN}
    yield f"<details><summary>all of its figures</summary>{_facts(flat(facts))}</details>"


def _approvals(given: Sequence[Mapping[str, Any]]) -> str:
    if not given:
        return "<p>Nobody has approved it.</p>"
    rows = [(_time(each.get("seconds")), _word(each.get("actor")), _word(each.get("reason"))) for each in given]
    return _grid(("approved", "by", "why"), rows)


# ---- the audit log ----


def _audit(audit: Mapping[str, Any]) -> Iterator[str]:
    acts = _rows(audit.get("records"))
    yield "<h2>Audit log</h2>"
    checked, head = _shown(audit.get("checked")), _shown(audit.get("head") or _NOTHING)
    if audit.get("whole"):
        yield f"<p>The whole log, {checked} records, is as it was written: the chain of hashes holds. Head: {head}</p>"
    else:
        yield f"<p><b>The log is not whole: {_shown(audit.get('finding'))}.</b> Head: {head}</p>"
    if not audit.get("complete", True):
        yield "<p>Older acts than these are in the log and not here.</p>"
    if len(acts) > ACTS:
        yield f"<p>The newest {ACTS} of {len(acts)} acts: the JSON has all of them.</p>"
    if acts:
        yield drawn(_timeline(acts[-ACTS:]))
    yield _acts(acts[-ACTS:], "hash")


def _timeline(acts: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Which act was when; who and why under the pointer."""
    told = [
        f"{_cut(_word(each.get('actor')))}: {_cut(_word(each.get('action')))} {_cut(_word(each.get('number')))}"
        f"<br>{_cut(_word(each.get('reason')))}"
        for each in acts
    ]
    chart = go.Figure()
    chart.add_scatter(
        x=[_time(each.get("seconds")).removesuffix(" UTC") for each in acts],
        y=[_cut(_word(each.get("action"))) for each in acts],
        mode="markers",
        marker={"color": BLUE, "size": 9},
        text=told,
        hoverinfo="text+x",
    )
    chart.update_layout(
        template="plotly_white", height=340, font={"size": 13}, showlegend=False, xaxis={"title": "UTC"},
        yaxis={"type": "category"}, margin={"l": 110, "r": 20, "t": 20, "b": 50},
    )  # fmt: skip
    return chart


def _cut(words: str) -> str:
    """For a chart."""
    return escaped(words if len(words) <= 80 else words[:79] + "…")


def _acts(acts: Sequence[Mapping[str, Any]], last: str) -> str:
    """A line an act; `last` is what its last column holds."""
    rows = [
        (
            _word(each.get("sequence")),
            _time(each.get("seconds")),
            _word(each.get("actor")),
            _word(each.get("action")),
            _word(each.get("number")),
            _word(each.get("reason")),
            difference(_table(each.get("before")), _table(each.get("after"))),
            _word(each.get(last))[:12],
        )
        for each in acts
    ]
    if not rows:
        return "<p>The log has no act about it.</p>"
    shown = _grid(("no.", "when", "who", "did", "version", "why", "change", last), rows)
    return f"<div class='acts'>{shown}</div>"


# ---- words ----


def _facts(facts: Iterator[tuple[str, str]]) -> str:
    rows = [f"<tr><th>{_shown(name)}</th><td>{_shown(value)}</td></tr>" for name, value in facts if value]
    return f"<table>{''.join(rows)}</table>"


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_shown(each)}</th>" for each in headings)
    body = "".join("<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _shown(value: Any) -> str:
    """Escaped, and not endless."""
    words = _word(value)
    return escaped(words if len(words) <= WORDS else words[: WORDS - 1] + "…")


def _word(value: Any) -> str:
    return (
        ""
        if value is None
        else value
        if isinstance(value, str)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _hash(kept: Mapping[str, Any]) -> str:
    return _shown(_word(kept.get("digest"))[:12] or _NOTHING)


def _time(seconds: Any) -> str:
    """The same wherever it is read."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(_number(seconds))) if _number(seconds) else _NOTHING
    except (ValueError, OverflowError, OSError):  # no year that a clock knows
        return _NOTHING


def _moment(seconds: Any) -> str:
    return escaped(_time(seconds))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _rows(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, Mapping)]
