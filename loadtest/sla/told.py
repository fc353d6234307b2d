"""What a result says of its actions, flips and memory: rows for the page, and the same as lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from loadtest.sla import comparisons
from loadtest.sla.result import Document
from loadtest.sla.units import spoken

REPEATED: Final = (
    "from",
    "to",
    "phase",
    "",
    "done",
    "took, p50",
    "p99",
    "late, max",
    "worst p99 after",
    "at",
    "errors",
)
FLIPS: Final = ("phase", "flips by", "", "told, p99", "max", "old's last, p99", "max", "handover, p99", "max")
COMPARED: Final = ("phase", "", "", "requests", "p99", "against", "ratio")
RESIDENT: Final = ("process", "least", "most", "last third within")
WORDS: Final = {
    "doing": "until {about} is done",
    "flip": "2 s after the flip, {about}",
    "after": "2 s after {about}",
    "retirement": "a retirement of {about}, of {most} at most, and 2 s after",
}


def repeated(document: Document) -> list[tuple[str, ...]]:
    """A row for actions that were repeated often."""
    return [
        (
            f"{row['at'][0]:.1f} s",
            f"{row['at'][-1]:.1f} s",
            row["phase"],
            row["label"],
            f"{row['ok']} of {row['count']}",
            spoken(row["took"]["p50"]),
            spoken(row["took"]["p99"]),
            spoken(row["late"]["max"]),
            spoken(row["worst_p99"]),
            f"{row['worst_at']:.1f} s",
            str(row["errors"]),
        )
        for row in document.get("repeated", ())
    ]


def failures(document: Document) -> list[str]:
    """Some of the repeated actions that failed."""
    return [
        f"{each['at']:.1f} s  {row['label']} failed: {each['detail']}"
        for row in document.get("repeated", ())
        for each in row["failures"]
    ]


def flips(document: Document) -> list[tuple[str, ...]]:
    """How long flips took: from the command to its answer and to the last answer of the old table, and from the first
    answer of the new one to the last of the old."""
    return [
        (
            phase["name"],
            label,
            str(went["count"]),
            *(spoken(went[name][share]) for name in ("told", "all", "handover") for share in ("p99", "max")),
        )
        for phase in document.get("phases", ())
        for label, went in phase.get("flips", {}).items()
    ]


def compared(document: Document) -> list[tuple[str, ...]]:
    """Latencies around what has happened, and of phases that are compared with others."""
    rows: list[tuple[str, ...]] = []
    for phase in document.get("phases", ()):
        for each in phase.get("happenings", ()):
            words = WORDS[each["what"]].format(about=each["about"], most=spoken(each["took"]["max"]))
            words = f"{words} ({each['times']} times)"
            rows += _rows(phase["name"], words, each["models"])
        if "against" in phase:
            rows += _rows(phase["name"], f"against {phase['against']['phase']}", phase["against"]["models"])
    return rows


def _rows(phase: str, words: str, models: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, each in models.items():
        if each["count"]:
            found = comparisons.read(each)
            p99, base = ("–" if seconds is None else spoken(seconds) for seconds in (found.seconds, found.base))
            yield (phase, words, name.partition(":")[2], str(found.count), p99, base, str(found))


def resident(document: Document) -> list[tuple[str, ...]]:
    """What each process held."""
    found = document.get("resident") or {}
    rows: list[tuple[str, ...]] = []
    for name, column in found.get("bytes", {}).items():
        known = [each for each in column if each is not None]
        share = found["last_third"][name]
        within = "–" if share is None else f"{share:.2%}"
        rows.append((name, f"{min(known) / 1e6:.0f} MB", f"{max(known) / 1e6:.0f} MB", within))
    return rows


def lines(document: Document) -> list[str]:
    """All of it as lines."""
    made = [
        f"{start} to {end}, {phase}: {label}, {done} done in {p50} (p99 {p99}), at most {late} late; then p99 up to"
        f" {worst} (at {at}), {errors} errors"
        for start, end, phase, label, done, p50, p99, late, worst, at, errors in repeated(document)
    ]
    made += [
        f"{phase}: {count} flips by {label}; p99 (and max): its answer after {told} ({told_max}), the old table's last"
        f" answer after {last} ({last_max}), which is {handover} ({handover_max}) after the first of the new one"
        for phase, label, count, told, told_max, last, last_max, handover, handover_max in flips(document)
    ]
    made += [
        f"{phase}, {words}: p99 of {model} {p99} of {count} requests, {ratio} of {base}"
        for phase, words, model, count, p99, base, ratio in compared(document)
    ]
    held = [f"{name} {least} to {most} (last third within {share})" for name, least, most, share in resident(document)]
    return [*made, f"memory: {', '.join(held)}"] if held else made
