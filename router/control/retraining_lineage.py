"""Where a retrained version comes from, and what has become of it, in the words that are kept and shown."""

from __future__ import annotations

from typing import Any, Final

from router.control.artefact import shown
from router.control.records import Case, VersionRecord
from router.core.gate import Outcome
from router.core.lineage import HYPERPARAMETER_PREFIX
from router.core.version import Stage

LINES: Final = 20
"""Of the output that are kept with a run; the file beside it has more."""
LINE: Final = 200
"""Characters of each."""

_FATES: Final = {
    Stage.FOUND: "not tried yet",
    Stage.LOADING: "in its gates",
    Stage.TESTING: "in its gates",
    Stage.WARMING: "in its warm-up",
    Stage.READY: "ready",
    Stage.CHALLENGER: "challenger",
    Stage.CHAMPION: "champion",
    Stage.STANDBY: "was champion, stands by",
    Stage.DRAINING: "was champion, drains",
    Stage.RETIRED: "retired",
    Stage.FAILED: "rejected",
}


def fate(case: Case, record: VersionRecord | None) -> str:
    """What has become of the version of a run; empty where none came of it."""
    if not case.number:
        return ""
    if record is None:
        return "gone"
    if record.digest and case.digest and record.digest != case.digest:
        return "gone: other files have its number"
    return _FATES[record.stage]


def window(seen: tuple[float, float] | None) -> list[float]:
    """The instants of the first and the last recording when a run began, in seconds since 1970; empty without any."""
    return [] if seen is None else [seen[0], seen[1]]


def declared(outcome: Outcome | None) -> dict[str, Any]:
    """What the version's file says that was kept, and whether its graph agrees, by its gates."""
    if outcome is None:
        return {}
    kept = {
        name.removeprefix(HYPERPARAMETER_PREFIX): value
        for name, value in outcome.facts.items()
        if name.startswith(HYPERPARAMETER_PREFIX)
    }
    said = {"declared": kept, "declared_parent": outcome.facts.get("parent", "")}
    return {**said, "lineage": outcome.facts.get("path", ""), "lineage_reason": outcome.reason[:500]}


def output_lines(tail: bytes) -> list[str]:
    """The last lines of an output, each fit for one line."""
    lines = [line for line in tail.split(b"\n")[-LINES - 1 :] if line.strip()]
    return [shown(line.rstrip(), LINE) for line in lines[-LINES:]]
