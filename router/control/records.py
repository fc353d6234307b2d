"""What is kept of models and versions beside the table that serves, and what changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from router.core.access import Role
from router.core.gate import Report
from router.core.split import NO_SPLIT, Split
from router.core.standing import EVERYTHING, CaseKind
from router.core.table import VersionTable
from router.core.version import Stage


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants something, and why. `role` is theirs."""

    actor: str = "router"
    """The server itself acts by its own policies."""
    reason: str = ""
    role: Role = Role.ADMIN


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version and where it stands. `since` is in seconds since 1970.

    `digest` is empty until the version is ready for the first time: from then on its number means these files.
    `mark` says what is wrong with its files on disk by now; `memory_bytes` is what a loaded session was measured to
    take, 0 while that is not known. `warmed`: it came through a warm-up.
    """

    model: str
    number: str
    digest: str
    stage: Stage
    reason: str = ""
    since: float = 0.0
    actor: str = ""
    mark: str = ""
    memory_bytes: int = 0
    warmed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One act, for the audit log. `before` and `after` hold plain JSON values."""

    seconds: float
    actor: str
    action: str
    model: str = EVERYTHING
    number: str = ""
    reason: str = ""
    before: Mapping[str, object] = field(default_factory=dict)
    after: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An act as it is kept: `hash` covers it and the hash of the record before it, `previous`."""

    sequence: int
    entry: Entry
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Case:
    """Something that is under way about a version, or was, and must outlive the process: a trial, a rollout, a request.

    `id` is given once in the life of the store. `state` is a word of its kind, `body` holds plain JSON
    values. Times are in seconds since 1970; `ended` 0: it is open. Of one kind a model has one open case at most.
    """

    id: int
    kind: CaseKind
    model: str
    number: str
    digest: str
    actor: str
    began: float
    ended: float = 0.0
    state: str = "open"
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether it is still under way."""
        return not self.ended


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes durable in one transaction. `table` None: the one that serves goes on.

    `records` and `cases` replace those of the same key; `frozen` and `importance` None: it stays as it is.
    """

    table: VersionTable | None = None
    records: tuple[VersionRecord, ...] = ()
    reports: tuple[Report, ...] = ()
    entries: tuple[Entry, ...] = ()
    frozen: frozenset[str] | None = None
    cases: tuple[Case, ...] = ()
    importance: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that was stored. `frozen` names models that may not be promoted; EVERYTHING among them: none may.

    `cases` are those that are open; `last_case` is the highest number that any had. `importance` has what was declared
    for models, by name.
    """

    table: VersionTable
    records: Mapping[tuple[str, str], VersionRecord] = field(default_factory=dict)
    frozen: frozenset[str] = frozenset()
    cases: tuple[Case, ...] = ()
    last_case: int = 0
    importance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as operators see it: its versions newest first, what serves, and by which names versions go.

    `cases` are those that are open.
    """

    model: str
    records: tuple[VersionRecord, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    frozen: bool = False
    champion: str | None = None
    standby: str | None = None
    split: Split = NO_SPLIT
    shadows: frozenset[str] = frozenset()
    cases: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class Swapped:
    """A change of champion that serves. `took_s` from the order to the last worker's new table."""

    generation: int
    model: str
    champion: str
    standby: str | None
    was_champion: str | None
    took_s: float


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What a promotion would do. `obstacles` are the reasons why it would be refused, `moves` what would move."""

    model: str
    number: str
    obstacles: tuple[str, ...]
    evidence: tuple[Report, ...]
    memory_needed_bytes: int
    memory_free_bytes: int
    champion: str | None
    standby: str | None
    standby_after: str | None
    moves: tuple[str, ...]
    way_back: str

    @property
    def possible(self) -> bool:
        """Whether nothing is in its way."""
        return not self.obstacles
