"""Who sends what and when, drawn from the seed before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from loadtest.errors import ScenarioError
from loadtest.sla.arrivals import instants, pieces
from loadtest.sla.scenario import MOST_REQUESTS, Closed, Mix, Replay, Scenario

CLOSED_PER_SECOND: Final = 20_000
"""Places kept for each second of a closed phase."""


@dataclass(frozen=True, slots=True)
class Span:
    """A phase on the schedule: its times in seconds since the start, and its places `first` up to `last`.

    `in_flight` is above 0 for callers that wait for their answers: then a place is used when one of them asks.
    """

    name: str
    start: float
    end: float
    measured: bool
    first: int
    last: int
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """One row a request: when it is due (ns since the start), which kind of the mix, which of its inputs.

    A part of a schedule holds the rows `first`, `first + step`, … of the whole.
    """

    due: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    key: npt.NDArray[np.uint32]
    spans: tuple[Span, ...]
    first: int = 0
    step: int = 1

    def __len__(self) -> int:
        return len(self.due)

    def id(self, place: int) -> int:
        """The id of the request in a row: its row in the whole, so that no two senders use the same."""
        return self.first + place * self.step

    def place(self, number: int) -> int | None:
        """The row of the request with this id; None when it is not here."""
        place, other = divmod(number - self.first, self.step)
        return place if not other and 0 <= place < len(self.due) else None


def keys(mix: Mix, count: int, available: int, random: np.random.Generator) -> npt.NDArray[np.uint32]:
    """Which of the `available` inputs each of `count` requests has."""
    if mix.keys == "uniform":
        return random.integers(0, available, count, dtype=np.uint32)
    weights = 1.0 / np.arange(1, available + 1) ** mix.skew
    return random.choice(available, count, p=weights / weights.sum()).astype(np.uint32)


def expected(phase: Any) -> float:
    """How many places a phase takes, before any is drawn; nothing is known of a trace."""
    if isinstance(phase, Closed):
        return phase.lasts * CLOSED_PER_SECOND
    return 0.0 if isinstance(phase, Replay) else sum(piece.area for piece in pieces(phase))


def plan(scenario: Scenario, available: list[int]) -> Schedule:
    """The schedule of a scenario whose kinds of requests have so many inputs each. The same seed, the same schedule.

    Raises ScenarioError when it is too long, or when a trace cannot be read.
    """
    _check_count(sum(expected(phase) for phase in scenario.phase))
    due, spans = [], []
    start, place = 0.0, 0
    for number, phase in enumerate(scenario.phase):
        # Each phase has its own source: a change of one leaves the others as they were.
        if isinstance(phase, Closed):
            at = np.zeros(round(expected(phase)))
        else:
            at = instants(phase, np.random.default_rng([scenario.seed, number]))
        due.append(np.round((at + start) * 1e9).astype(np.int64))
        in_flight = phase.in_flight if isinstance(phase, Closed) else 0
        spans.append(Span(phase.name, start, start + phase.lasts, phase.measured, place, place + len(at), in_flight))
        start += phase.lasts
        place += len(at)
    _check_count(place)  # now with what stands in traces
    if not place:
        raise ScenarioError("the scenario sends nothing: raise a rate or lengthen a phase")
    random = np.random.default_rng([scenario.seed, len(scenario.phase)])
    weights = np.array([mix.weight for mix in scenario.mix])
    kind = random.choice(len(weights), place, p=weights / weights.sum()).astype(np.uint8)
    key = np.zeros(place, np.uint32)
    for number, mix in enumerate(scenario.mix):
        mine = kind == number
        key[mine] = keys(mix, int(mine.sum()), available[number], random)
    return Schedule(np.concatenate(due), kind, key, tuple(spans))


def _check_count(count: float) -> None:
    if count > MOST_REQUESTS:
        raise ScenarioError(
            f"the scenario has {count:.0f} requests, at most {MOST_REQUESTS} are sent: shorten its phases"
        )
