"""What the memory of answers gave, beside what one ideal memory of its size would have given.

The ideal one has no parts, forgets nothing and is never away. It knows beforehand how often each input is asked, and
from the start it holds the answers to those that are asked most: as many as go into its bytes by their tensors alone,
without keys, ages, an index or free pages. Who learns from what was asked, has to keep all that, and is killed
meanwhile, holds less, and sometimes the wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loadtest.sla.figures import Figures
from loadtest.sla.requests import Pool
from loadtest.sla.schedule import Span

CACHED: Final = "cached"
LEARNS: Final = 20
"""Before so many requests for each answer that the ideal memory holds, nobody can know which are asked most."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Of the measured requests `asked`, `answered` were answered from memory, and `ideal` would have been by one that
    `holds` so many answers; `learned` requests came before. `oldest_ms` is the age of the oldest of all answers from
    memory, None where there was none, or one that does not say how old it is."""

    holds: int
    learned: int
    asked: int
    answered: int
    ideal: int
    oldest_ms: int | None

    @property
    def share(self) -> float:
        """Of what the ideal one would have answered."""
        return self.answered / self.ideal if self.ideal else 0.0


def remembered(figures: Figures, spans: Sequence[Span], memory_bytes: int, answer_bytes: float) -> Remembered:
    """Of a run with a single kind of request, whose inputs are numbered from the one that is asked most on.

    `memory_bytes` is the size of the memory, `answer_bytes` what the tensors of an answer take.
    """
    records = figures.records
    sources = [place for place, source in enumerate(records.sources) if source.served_by == CACHED]
    cached = figures.ok & np.isin(records["source"], sources)
    measured = figures.measured(spans)
    begins = min((span.start for span in spans if span.measured), default=0.0)
    holds = int(memory_bytes // answer_bytes)
    ages = records["age"][cached]
    return Remembered(
        holds=holds,
        learned=int((figures.ok & figures.within(0.0, begins)).sum()),
        asked=int(measured.sum()),
        answered=int((measured & cached).sum()),
        ideal=int((measured & (records["key"] < holds)).sum()),
        oldest_ms=int(ages.max()) if len(ages) and ages.min() >= 0 else None,
    )


def answer_bytes(pool: Pool) -> float | None:
    """What the tensors of an answer take, on average; None where nobody knows what is answered."""
    for answers in pool.expected.values():
        return sum(_nbytes(each) for answer in answers for each in answer.values()) / len(answers)
    return None


def _nbytes(tensor: np.ndarray[Any, Any]) -> int:
    if tensor.dtype.kind in "OSU":
        return sum(len(each if isinstance(each, bytes) else str(each).encode()) for each in tensor.flat)
    return tensor.nbytes
