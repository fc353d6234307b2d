"""The stages of a version's life: one table of pairs. A pair that is not in it is illegal."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from router.errors import Refused


class Stage(StrEnum):
    """Where a version stands in its life."""

    FOUND = "found"
    LOADING = "loading"
    TESTING = "testing"
    WARMING = "warming"
    READY = "ready"
    CHAMPION = "champion"
    CHALLENGER = "challenger"
    STANDBY = "standby"
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"


MOVES: Final[Mapping[tuple[Stage, Stage], str]] = {
    (Stage.FOUND, Stage.LOADING): "load or test asked, or policy on a new version",
    (Stage.LOADING, Stage.TESTING): "loaded in the trial process",
    (Stage.LOADING, Stage.FAILED): "cannot be loaded",
    (Stage.TESTING, Stage.READY): "blocking gates passed, no warm-up asked",
    (Stage.TESTING, Stage.WARMING): "blocking gates passed, warm-up asked",
    (Stage.TESTING, Stage.FAILED): "a blocking gate failed",
    (Stage.WARMING, Stage.READY): "verdict good",
    (Stage.WARMING, Stage.FAILED): "verdict bad",
    (Stage.READY, Stage.LOADING): "test or warm-up asked again",
    (Stage.READY, Stage.CHAMPION): "promoted",
    (Stage.READY, Stage.CHALLENGER): "challenge",
    (Stage.READY, Stage.RETIRED): "unloaded",
    (Stage.READY, Stage.FAILED): "a worker cannot load it",
    (Stage.CHALLENGER, Stage.CHAMPION): "wins or is promoted",
    (Stage.CHALLENGER, Stage.READY): "trial ends",
    (Stage.CHALLENGER, Stage.FAILED): "breaks",
    (Stage.CHAMPION, Stage.STANDBY): "another was promoted, or rolled back",
    (Stage.CHAMPION, Stage.DRAINING): "model unloaded",
    (Stage.CHAMPION, Stage.FAILED): "a worker cannot load it any more",
    (Stage.STANDBY, Stage.CHAMPION): "rollback",
    (Stage.STANDBY, Stage.DRAINING): "rollback window over, or unloaded",
    (Stage.STANDBY, Stage.FAILED): "a worker cannot load it any more",
    (Stage.DRAINING, Stage.RETIRED): "last lease returned",
    (Stage.RETIRED, Stage.LOADING): "asked again, for a rollback or a test",
    (Stage.FAILED, Stage.LOADING): "asked again, as it may be repaired",
}
"""From, to, and what moves it: words without a colon, which the drawing could not hold."""

SERVING: Final = frozenset({Stage.READY, Stage.CHALLENGER, Stage.CHAMPION, Stage.STANDBY})
"""A request that names such a version is answered by it."""
UNDER_TRIAL: Final = frozenset({Stage.LOADING, Stage.TESTING, Stage.WARMING})


def check_move(named: str, before: Stage, after: Stage) -> None:
    """Whether a version, `named` for a person, may go from one stage to another. Raises Refused."""
    if (before, after) not in MOVES:
        may = ", ".join(to for at, to in MOVES if at is before) or "nothing else"
        raise Refused(f"{named} is {before} and cannot become {after}; from here it can become {may}")


def drawing() -> str:
    """All moves as a state diagram in Mermaid's words."""
    lines = [f"    {before} --> {after}: {trigger}" for (before, after), trigger in MOVES.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> found: seen in the repository", *lines])
