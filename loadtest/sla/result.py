"""The result of a run: made of what it has left behind, written, read again, and put into one word."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from loadtest import machine
from loadtest.errors import ScenarioError
from loadtest.sla import comparisons, deeds, flips, output, server_figures
from loadtest.sla.bootstrap import Ratio
from loadtest.sla.comparisons import Answered
from loadtest.sla.figures import LAGGED_SHARE, Figures, parts
from loadtest.sla.flips import Flip
from loadtest.sla.happenings import Happening, What, happenings
from loadtest.sla.moves import Move
from loadtest.sla.remembered import Remembered, remembered
from loadtest.sla.scenario import Limits, Scenario
from loadtest.sla.schedule import Span
from loadtest.sla.subject import Subject
from loadtest.sla.timeline import Deed
from loadtest.sla.units import PartOf
from loadtest.sla.verdict import (
    EXIT,
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    Grade,
    Line,
    age_line,
    judge,
    overall,
    ratio_line,
    remembered_line,
    resident_line,
)

FORMAT: Final = 1
PARTS: Final = frozenset(
    {"title", "seed", "server", "machine", "interrupted", "invalid", "closed_loop", "actions", "measured", "seconds",
     "lagged_seconds", "curve", "slices", "sla"}
)  # fmt: skip
"""What a result must have to be shown."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Left:
    """What a run leaves behind. `end` is when it ended, in seconds since its start; `invalid` and `notes` are lines.

    `resident` is what `Resident` has seen; empty of a server that the harness has not started.
    `answer_bytes` is what the tensors of an answer take, where there is a single kind of request.
    """

    scenario: Scenario
    subject: Subject
    spans: Sequence[Span]
    figures: Figures
    deeds: Sequence[Deed]
    moves: Sequence[Move]
    resident: dict[str, Any]
    end: float
    interrupted: bool
    invalid: Sequence[str]
    notes: Sequence[str]
    answer_bytes: float | None = None


def made(left: Left) -> Document:
    """The result."""
    scenario, figures, end = left.scenario, left.figures, left.end
    measured = figures.measured(left.spans)
    seconds = figures.seconds(end, scenario.lag)
    times, counts = figures.latencies(measured), figures.counts(measured)
    invalid = [*left.invalid, *deeds.invalid(left.deeds)]
    lagged = [row["second"] for row in seconds if row["lagged"]]
    if len(lagged) > LAGGED_SHARE * len(seconds):
        invalid.append(
            f"the sender was late in {len(lagged)} of {len(seconds)} seconds: lower the rate, raise `senders`, or"
            " give it a core of its own"
        )
    counted = server_figures.ask(left.subject.http) if left.subject.ours else None
    length = sum(max(min(span.end, end) - span.start, 0.0) for span in left.spans if span.measured)
    phases = _phases(left)
    memory = _memory(left)
    limits, told, lacking = _settled(scenario.sla, phases)
    invalid += lacking
    lines = judge(limits, times, counts, length) + _judged(scenario, phases, left.resident)
    lines += _judged_memory(scenario, memory)
    return {
        "format": FORMAT,
        "title": scenario.title,
        "seed": scenario.seed,
        "server": {"target": left.subject.target, "title": left.subject.title, "counted": counted},
        "machine": machine.facts(),
        "scenario": scenario.model_dump(mode="json"),
        "interrupted": left.interrupted,
        "invalid": invalid,
        "closed_loop": scenario.closed,
        "notes": [*left.notes, *told, *server_figures.told(counted)],
        "phases": phases,
        "actions": deeds.single(left.deeds, figures, end),
        "repeated": deeds.repeated(left.deeds, figures, left.spans),
        "resident": left.resident,
        "remembered": None if memory is None else {**asdict(memory), "share": memory.share},
        "measured": {
            "seconds": length,
            **parts(figures, measured),
            "service": asdict(figures.service_times(measured)),
            "lag": _quantiles(figures.lag[measured & figures.done]),
        },
        "models": _models(scenario, figures, measured),
        "seconds": seconds,
        "lagged_seconds": lagged,
        "curve": figures.curve(measured),
        "slices": figures.slices(measured),
        "sla": [asdict(line) for line in lines],
    }


def in_time(counts: Mapping[str, Any], seconds: float) -> float:
    """How many requests a second were answered within the deadline."""
    return float((counts["answered"] - counts["late"]) / seconds) if seconds else 0.0


def _settled(limits: Limits, phases: Sequence[Document]) -> tuple[Limits, list[str], list[str]]:
    """The limits with a throughput in requests/s, what is to be said of it, and why it says nothing."""
    part = limits.throughput
    if not isinstance(part, PartOf):
        return limits, [], []
    row = next(row for row in phases if row["name"] == part.phase)
    whole = in_time(row["counts"], row["end"] - row["start"])
    told = f"throughput is a part of what phase {part.phase!r} was answered in time, {whole:.0f}/s"
    lacking = [] if whole else [f"phase {part.phase!r} had no answer in time, and `sla.throughput` is a part of it"]
    return limits.model_copy(update={"throughput": part.share * whole}), [told], lacking


def _models(scenario: Scenario, figures: Figures, mask: Any) -> Document:
    """Of each kind of request by itself."""
    kinds = figures.records["kind"]
    return {
        f"{number}:{mix.model}": parts(figures, mask & (kinds == number)) for number, mix in enumerate(scenario.mix)
    }


def _phases(left: Left) -> list[Document]:
    seen = flips.flips(left.figures)
    happened = happenings(left.deeds, seen, left.moves)
    kinds = {f"{number}:{mix.model}": Answered.of(left.figures, number) for number, mix in enumerate(left.scenario.mix)}
    by_name = {span.name: (span.start, span.end) for span in left.spans}
    rows = []
    for phase, span in zip(left.scenario.phase, left.spans, strict=True):
        mask = left.figures.within(span.start, span.end)
        row = {
            "name": span.name,
            "start": span.start,
            "end": span.end,
            "measured": span.measured,
            **parts(left.figures, mask),
            "models": _models(left.scenario, left.figures, mask),
        }
        if span.measured:
            row |= _compared(kinds, (span.start, span.end), happened, left.deeds, seen)
        if phase.against:
            other = comparisons.by_phase(kinds, (span.start, span.end), by_name[phase.against])
            row["against"] = {"phase": phase.against, "at_most": phase.at_most, "models": other}
        rows.append(row)
    return rows


def _compared(
    kinds: comparisons.Kinds,
    span: tuple[float, float],
    happened: Sequence[Happening],
    done: Sequence[Deed],
    seen: Sequence[Flip],
) -> Document:
    """What happened in a phase, and how its flips went by what has led to them."""
    mine = [deed for deed in done if span[0] <= deed.due < span[1]]
    labels = dict.fromkeys(deed.label for deed in mine)
    went = {label: flips.handovers([deed for deed in mine if deed.label == label], seen) for label in labels}
    return {
        "happenings": comparisons.by_happening(kinds, span, happened),
        "flips": {label: each for label, each in went.items() if each is not None},
    }


def _judged(scenario: Scenario, phases: Sequence[Document], resident: Document) -> list[Line]:
    """The lines on comparisons and memory."""
    lines = []
    for model, limit in scenario.sla.after.items():
        rows = [
            (phase["name"], row, each)
            for phase in phases
            for row in phase.get("happenings", ())
            for name, each in row["models"].items()
            if comparisons.judged(row["what"]) and name.partition(":")[2] == model and each["ratio"] is not None
        ]
        for phase, row, each in rows:
            lines.append(ratio_line(f"{model} p99", _around(phase, row), limit, comparisons.read(each)))
        if not rows:
            about = "after flips"
            lines.append(ratio_line(f"{model} p99", about, limit, Ratio(0, 0)))
    for row in phases:
        if "against" in row and row["against"]["at_most"] is not None:
            for name, each in row["against"]["models"].items():
                model, about = name.partition(":")[2], f"{row['name']} against {row['against']['phase']}"
                lines.append(ratio_line(f"{model} p99", about, row["against"]["at_most"], comparisons.read(each)))
    if scenario.sla.resident is not None:
        shares = {name: each for name, each in resident.get("last_third", {}).items() if name.startswith("worker-")}
        lines.append(resident_line(scenario.sla.resident, shares))
    return lines


def _memory(left: Left) -> Remembered | None:
    """What the memory of answers gave, where its size is known."""
    size = left.scenario.server.answers_mib
    if size is None or not left.answer_bytes or not left.subject.ours:
        return None
    return remembered(left.figures, left.spans, size << 20, left.answer_bytes)


def _judged_memory(scenario: Scenario, memory: Remembered | None) -> list[Line]:
    """The lines on what was answered from memory."""
    lines = []
    if scenario.sla.remembered is not None:
        lines.append(remembered_line(scenario.sla.remembered, memory))
    if scenario.sla.age is not None:
        lines.append(age_line(scenario.sla.age, memory))
    return lines


def _around(phase: str, row: Document) -> str:
    """A happening that is judged, in a few words."""
    return f"{phase}, 2 s after {'flips by ' if row['what'] == What.FLIP else 'retirements of '}{row['about']}"


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "p50": float(np.quantile(values, 0.5)), "p99": float(np.quantile(values, 0.99)), "max": float(values.max())
    }  # fmt: skip


def quickened(document: Document) -> Document:
    """The result of a short run: without the lines that so few samples cannot conclude, if there was any answer."""
    if not document["measured"]["counts"]["answered"]:
        return {**document, "quick": True}
    kept = [line for line in document["sla"] if line["grade"] != Grade.INCONCLUSIVE]
    return {**document, "sla": kept, "quick": True}


def verdict(document: Document) -> tuple[str, int]:
    """The word for a run and its exit code."""
    if document["interrupted"]:
        return "INTERRUPTED", EXIT_INTERRUPTED
    if document["invalid"]:
        return "INVALID", EXIT_INVALID
    grade = overall(lines(document))
    return str(grade), EXIT[grade]


def lines(document: Document) -> list[Line]:
    """The lines of a result."""
    return [replace(Line(**line), grade=Grade(line["grade"])) for line in document["sla"]]


def read(path: Path) -> Document:
    """A result that was written as JSON. Raises ScenarioError when the file is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path} cannot be read as a result: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ScenarioError(f"{path} is no result of this harness (format {FORMAT})")
    if missing := PARTS - found.keys():
        raise ScenarioError(f"{path} is no whole result: {min(missing)!r} is missing; run the scenario again")
    return found


def write(document: Document, path: Path) -> None:
    """As JSON. Raises ScenarioError when the file cannot be written."""
    output.write(path, _text(document) + "\n")


def _text(value: Any, indent: str = "") -> str:
    """JSON, with a line for each row of a table: a run of a quarter of an hour has a thousand of them."""
    deeper = indent + " "
    if isinstance(value, dict) and any(isinstance(each, dict | list | tuple) for each in value.values()):
        inner = [f"{deeper}{json.dumps(str(key))}: {_text(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(each, dict | list | tuple) for each in value):
        inner = [deeper + json.dumps(each, ensure_ascii=False, allow_nan=False) for each in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
