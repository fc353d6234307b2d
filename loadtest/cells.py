"""Cells of the benchmark (a model under so many calls in flight) and the ratios that are asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from loadtest.bench_models import NAMES
from loadtest.h2load import Load

CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """A model and how it is loaded. `connections` of None spreads the calls over eight where that is possible."""

    model: str
    in_flight: int
    connections: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `tiny:64`, or `tiny:64x1` for 64 calls on one connection. Raises ValueError."""
        model, _, rest = text.strip().partition(":")
        in_flight, _, connections = rest.partition("x")
        if model not in NAMES or not in_flight.isdigit() or not (connections.isdigit() or rest == in_flight):
            raise ValueError(f"{text!r}: expected MODEL:IN_FLIGHT or MODEL:IN_FLIGHTxCONNECTIONS, MODEL of {NAMES}")
        cell = cls(model, int(in_flight), int(connections) if connections else None)
        if cell.in_flight < 1 or (cell.connections is not None and (cell.connections < 1 or cell.uneven)):
            raise ValueError(f"{text!r}: the calls in flight must spread evenly over the connections")
        return cell

    @property
    def uneven(self) -> bool:
        """Whether the calls cannot be spread evenly."""
        return bool(self.in_flight % (self.connections or 1))

    @property
    def load(self) -> Load:
        """How h2load makes it."""
        connections = self.connections or (CONNECTIONS if self.in_flight % CONNECTIONS == 0 else 1)
        return Load(connections, self.in_flight // connections)

    def __str__(self) -> str:
        return f"{self.model}:{self.in_flight}" + ("" if self.connections is None else f"x{self.connections}")


DEFAULT_CELLS: Final = "tiny:1,tiny:16,tiny:64,mid:1,mid:16,mid:64,large:16"
DEFAULT_SERVERS: Final = "default,workers-1,bare-2,bare-1"

_COLUMNS: Final = tuple(DEFAULT_CELLS.split(","))
TARGETS: Final[dict[str, dict[str, float]]] = {
    "default": dict(zip(_COLUMNS, (4.2, 4.4, 6.5, 1.6, 4.2, 7.0, 1.25), strict=True)),
    "workers-1": dict(zip(_COLUMNS, (4.2, 5.5, 5.0, 1.6, 4.8, 5.2, 1.25), strict=True)),
}
"""By row and cell: our throughput divided by that of the better baseline."""

BESIDE_TARGET: Final = 3.0
"""The p99 of `tiny` beside a loaded `mid`, divided by its p99 alone: at most this."""
