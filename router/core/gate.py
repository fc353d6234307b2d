"""Gates: tests that a version must pass. What was measured goes in, a report with a verdict comes out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """How a gate ended."""

    PASS = "pass"  # noqa: S105  # a verdict, not a password
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One gate. `reason` is one line for a person; `blocks`: a fail keeps the version from serving.

    `figures` are numbers by name (the unit in the name: `p99_ms`), `facts` are texts by name.
    """

    gate: str
    verdict: Verdict
    reason: str
    blocks: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram: `counts[i]` values lie at or above `bounds[i]` and below `bounds[i + 1]`."""

    name: str
    unit: str
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What a version was put through, kept with it. `kind` is `test` or `warm`.

    `champion` is the number that it was compared with, empty without one. `began` is in seconds since 1970.
    """

    kind: str
    model: str
    number: str
    digest: str
    outcomes: tuple[Outcome, ...]
    began: float
    took_s: float
    champion: str = ""
    champion_digest: str = ""
    exam_digest: str = ""
    distributions: tuple[Distribution, ...] = ()

    @property
    def blocking(self) -> tuple[Outcome, ...]:
        """The gates that keep the version from serving."""
        return tuple(each for each in self.outcomes if each.blocks and each.verdict is Verdict.FAIL)

    @property
    def passed(self) -> bool:
        """Whether no gate keeps it from serving."""
        return not self.blocking


def named(text: str) -> str:
    """A name out of somebody else's file, fit for a reason: quoted, one line, not endless."""
    safe = text if text.isprintable() else repr(text)[1:-1]
    return f"'{safe}'" if len(safe) <= 80 else f"'{safe[:79]}…'"
