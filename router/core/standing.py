"""How models stand: what there is of a server that a file may declare, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from router.core.split import Match
from router.core.version import Stage

EVERYTHING: Final = ""
"""In the place of a model's name: all of them."""


class CaseKind(StrEnum):
    """What may be under way about a version."""

    TRIAL = "trial"
    ROLLOUT = "rollout"
    REQUEST = "request"
    """For approval."""
    RETRAINING = "retraining"
    """Of its model: the version is the one that came of it, if there is one yet."""


@dataclass(frozen=True, slots=True)
class Going:
    """Something that is under way about a version. `id` is its number as a case; a trial is `paired` where both run the
    same inputs."""

    kind: CaseKind
    id: int
    number: str
    paired: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model stands. `importance` is what was declared for it, empty without that.

    `stages` are of all its versions by number; `shares` in percent, `matches` and `shadows` of its challengers.
    `switched`: its fallback answers; `can_switch`: it has one. `canary` is the percentage of the requests that a canary
    needs to begin. Of each kind one thing at most is `going` on.
    """

    stages: Mapping[str, Stage]
    aliases: Mapping[str, str] = field(default_factory=dict)
    switched: bool = False
    can_switch: bool = False
    shares: Mapping[str, float] = field(default_factory=dict)
    matches: tuple[Match, ...] = ()
    shadows: frozenset[str] = frozenset()
    importance: str = ""
    canary: float = 0.0
    going: tuple[Going, ...] = ()

    @property
    def champion(self) -> str | None:
        """The version that is its champion."""
        return next((number for number, stage in self.stages.items() if stage is Stage.CHAMPION), None)

    def under_way(self, kind: CaseKind) -> Going | None:
        """What of this kind is."""
        return next((each for each in self.going if each.kind is kind), None)


@dataclass(frozen=True, slots=True)
class Present:
    """How all models stand, by name. `frozen` names those without promotions; EVERYTHING among them: all are."""

    models: Mapping[str, Standing]
    frozen: frozenset[str] = frozenset()
