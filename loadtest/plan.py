"""What to measure, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.cells import Cell
from loadtest.servers import ServerSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """Cells, servers besides the baselines, rounds, and the seconds of one measurement."""

    cells: tuple[Cell, ...]
    specs: tuple[ServerSpec, ...]
    rounds: int
    seconds: float

    @property
    def models(self) -> tuple[str, ...]:
        """The models of the cells, each once."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells))
