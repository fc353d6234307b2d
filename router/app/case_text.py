"""Trials, canaries and requests for a person at a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from router.app.canary_steps import CanaryStep, p99_ms, rate, steps
from router.app.share import percent
from router.app.terminal import NOTHING, figure, moment, text
from router.pb.admin_pb2 import Case

KINDS: Final = {"trial": "trial", "rollout": "canary", "request": "request", "retraining": "retraining"}
"""As people call them."""
INNER: Final = frozenset({"trial", "vitals", "turn", "role", "old_champion", "counted", "step", "step_began", "shown"})
"""What a case needs to go on, and nobody to read; JSON has it."""
LISTED: Final = 10
"""So many values of a list are told in a line."""


def body(case: Case) -> Mapping[str, Any]:
    """The figures of a case; nothing where they are no table."""
    try:
        made = json.loads(case.body or "{}")
    except ValueError:
        return {}
    return made if isinstance(made, dict) else {}


def named(case: Case) -> str:
    """As in `canary 4 of a 2`."""
    return f"{KINDS.get(case.kind, case.kind)} {case.id} of {case.model} {case.version}"


def headline(case: Case) -> Text:
    """What it is, how it stands, since when."""
    begun = f"begun {moment(case.began_seconds)} by {case.actor or NOTHING}"
    ended = f", ended {moment(case.ended_seconds)}" if case.ended_seconds else ""
    return text(f"{named(case)}: {case.text}", "bold") + Text(" ") + text(f"({begun}{ended})", "dim")


def shown(case: Case) -> Iterator[RenderableType]:
    """How it stands, and its figures."""
    yield headline(case)
    told = body(case)
    if over := [*steps(told)]:
        yield baked(over)
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in (*_trial(case, told), *flat({name: each for name, each in told.items() if name not in INNER})):
        facts.add_row(text(name), text(value))
    if facts.row_count:
        yield facts


def _trial(case: Case, told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who leads a trial, and what it waits for."""
    standing, settings = _inner(told, "standing"), _inner(told, "settings")
    lead = _number(standing, "difference")
    if case.kind != "trial" or lead is None:
        return
    sides = [f"version {told.get(side, NOTHING)}" for side in ("champion", "challenger")]
    yield "leads", "nobody" if not lead else sides[lead > 0]
    rows, needed = _number(standing, "rows"), _number(settings, "min_samples")
    limit, passed = _number(settings, "max_seconds"), _number(told, "seconds")
    if case.ended_seconds or rows is None or needed is None or limit is None or passed is None:
        return
    if rows < needed:
        yield "waits for", f"{figure(needed)} rows that came true: {figure(rows)} did so far"
    else:
        yield "waits for", f"a difference that is sure, for {figure(max(limit - passed, 0.0) / 3600)} hours at most"


def _inner(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = told.get(name)
    return table if isinstance(table, Mapping) else {}


def _number(told: Mapping[str, Any], name: str) -> float | None:
    value = told.get(name)
    return value if isinstance(value, int | float) else None


def baked(over: Sequence[CanaryStep]) -> Table:
    """The steps of a canary, and what callers had in them: of the version first, of the old champion second."""
    made = Table()
    for heading in ("step", "share", "baked", "requests", "errors", "fallbacks", "p99 ms", "what was found"):
        made.add_column(heading, overflow="fold")
    for each in over:
        sides = (each.candidate, each.control)
        found = text("; ".join(each.breaches), "red") if each.breaches else text("; ".join(each.findings), "dim")
        made.add_row(
            str(each.place),
            percent(each.share),
            f"{figure(each.seconds)} s",
            " / ".join(str(side.requests) for side in sides),
            _both([rate(side.failures, side) for side in sides], " %"),
            _both([rate(side.fallbacks, side) for side in sides], " %"),
            _both([p99_ms(side) for side in sides]),
            found,
        )
    return made


def _both(figures: Sequence[float | None], unit: str = "") -> str:
    return " / ".join(NOTHING if each is None else f"{figure(each)}{unit}" for each in figures)


def flat(facts: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and values, tables within tables too; long lists are left out, JSON has them."""
    for name, value in facts.items():
        words = f"{before}{str(name).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{words}, ")
        elif isinstance(value, bool):
            yield words, "yes" if value else "no"
        elif isinstance(value, int | float):
            yield words, figure(value)
        elif isinstance(value, str):
            if value and name != "text":
                yield words, value
        elif isinstance(value, list) and value and len(value) <= LISTED and not any(map(_nested, value)):
            yield words, ", ".join(figure(each) if isinstance(each, int | float) else str(each) for each in value)


def _nested(value: object) -> bool:
    return isinstance(value, Mapping | list)


def table(cases: Sequence[Case]) -> Table:
    """A line each."""
    shown = Table()
    for heading in ("no.", "kind", "model", "version", "files", "by", "begun", "ended", "how it stands"):
        shown.add_column(heading, overflow="fold")
    for each in cases:
        shown.add_row(
            str(each.id),
            text(KINDS.get(each.kind, each.kind)),
            text(each.model),
            text(each.version),
            text(each.digest[:12] or NOTHING),
            text(each.actor),
            Text(moment(each.began_seconds)),
            Text(moment(each.ended_seconds)) if each.ended_seconds else Text("open", "green"),
            text(each.text),
        )
    return shown
