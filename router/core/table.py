"""The table of routes: which version answers for a model now. Immutable; a change is a new table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from router.core.tensor import Signature
from router.model_settings import ModelSettings


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

    `switched`: an operator has switched the model to its fallback, nothing is run.
    """

    model: str
    champion: str | None
    versions: Mapping[str, Version]
    settings: ModelSettings = field(default_factory=ModelSettings)
    switched: bool = False


@dataclass(frozen=True, slots=True)
class VersionTable:
    """All routes under one generation number."""

    generation: int
    routes: Mapping[str, Route]
