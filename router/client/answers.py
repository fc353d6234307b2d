"""What servers tell: answers, and what they say about themselves and their models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Parameter = bool | int | float | str


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """An answer. The arrays of `outputs` are read-only views of the received bytes: copy before writing into one.

    A BYTES output is an array of Python `bytes`. `parameters` holds what the server says about the answer.
    """

    model: str
    version: str
    id: str
    outputs: dict[str, Array]
    parameters: dict[str, Parameter]

    def __getitem__(self, output: str) -> Array:
        try:
            return self.outputs[output]
        except KeyError:
            raise KeyError(f"the answer has no output {output!r}; it has {list(self.outputs)}") from None

    @property
    def served_by(self) -> str | None:
        """Who answered (champion, challenger, hedge, failover, cached, default); None from servers that do not say."""
        value = self.parameters.get("served_by")
        return None if value is None else str(value)

    @property
    def generation(self) -> int | None:
        """The number of the table of routes that this answer belongs to; None from servers that do not say."""
        value = self.parameters.get("generation")
        return None if value is None else int(value)

    @property
    def degraded(self) -> bool:
        """Whether this answer stands in for one that the model could not give in time."""
        return self.parameters.get("degraded") in {True, "true"}


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Name and version of a server, and the extensions of the protocol that it offers."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output of a model. `shape` holds sizes, -1 where any size is taken; the batch comes first."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model takes and gives."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something happened, and how long it took in all (`ns`, nanoseconds)."""

    count: int
    ns: int

    @property
    def mean_seconds(self) -> float:
        """Seconds for each; 0 when it never happened."""
        return self.ns / self.count / 1e9 if self.count else 0.0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """The runs of one batch size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """The counters of one version since the server started. `last_inference_ms` is in ms since the epoch."""

    name: str
    version: str
    last_inference_ms: int
    inference_count: int
    execution_count: int
    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration
    batches: tuple[BatchStatistics, ...]


@dataclass(frozen=True, slots=True)
class ModelState:
    """A line of the repository index. `state` is READY, UNAVAILABLE, LOADING, UNLOADING or UNKNOWN."""

    name: str
    version: str
    state: str
    reason: str
