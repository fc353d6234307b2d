"""The table of routes: which version answers for a model now. Immutable; a change is a new table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router.core.split import NO_SPLIT, Split
from router.core.tensor import Signature
from router.model_settings import ModelSettings

CHAMPION: Final = "champion"
STANDBY: Final = "standby"
ROLES: Final = frozenset({CHAMPION, STANDBY, "challenger", "latest"})
"""Names in the place of a version's number that are not for aliases."""


class VersionState(StrEnum):
    """What the protocol's repository index says of a version."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True)
class Batching:
    """How rows of different callers may share a run.

    `max_size` is in rows, 1 means never. `max_wait_us` 0 takes what is already waiting. `decided_by` is `shown`,
    `owner`, or the reason why rows are not joined.
    """

    max_size: int = 1
    max_wait_us: int = 0
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One set of weights of a model, named by its number and the SHA-256 `digest` of its files."""

    model: str
    number: str
    digest: str
    path: str
    state: VersionState
    reason: str = ""
    signature: Signature = field(default_factory=lambda: Signature((), ()))
    batching: Batching = field(default_factory=Batching)
    intra_op_threads: int = 1
    file_bytes: int = 0
    declared: str = ""
    """Text of the model's own `config.pbtxt`, empty without one."""
    left_out: bool = False
    """It does not serve because nobody asked for it, not because it could not; `reason` says by which rule."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a model's requests are answered now. `champion` is the number that answers, None when nothing can.

    `switched`: an operator has switched the model to its fallback, nothing is run. `standby` is the champion before,
    loaded for a rollback; `aliases` are names of operators for versions, by name. `split` says which requests that name
    no version are a challenger's; `shadows` are challengers that run copies of what the champion is asked.
    """

    model: str
    champion: str | None
    versions: Mapping[str, Version]
    settings: ModelSettings = field(default_factory=ModelSettings)
    switched: bool = False
    standby: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    split: Split = NO_SPLIT
    shadows: frozenset[str] = frozenset()

    def number(self, named: str) -> str | None:
        """The version that a caller means: a number, a role or an alias; empty is the champion.

        None where nothing has that role. A name that nobody knows comes back as it is.
        """
        if not named or named == CHAMPION:
            return self.champion
        if named == STANDBY:
            return self.standby
        return self.aliases.get(named, named)

    def answers_like(self, other: Route) -> bool:
        """Whether callers are answered by both in the same way, but for the reasons of versions that do not serve."""
        return self._answering == other._answering

    @property
    def _answering(self) -> Route:
        quiet = {
            number: version
            if version.state is VersionState.READY
            else Version(self.model, number, "", "", VersionState.UNAVAILABLE)
            for number, version in self.versions.items()
        }
        return replace(self, versions=quiet)


@dataclass(frozen=True, slots=True)
class VersionTable:
    """All routes under one generation number."""

    generation: int
    routes: Mapping[str, Route]

    def answers_like(self, routes: Mapping[str, Route]) -> bool:
        """Whether callers are answered by these routes in the same way."""
        mine = self.routes
        return mine.keys() == routes.keys() and all(mine[name].answers_like(each) for name, each in routes.items())
