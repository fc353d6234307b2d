"""What workers have looked at comes to the parts in its order; with too much of it the newest is dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from router.app import observing as module
from router.app.observing import Observing
from router.core.observation import Observation
from router.edge.observations import to_message
from router.pb.observation_pb2 import Observations


def message(*names: str) -> Observations:
    """A message with an observation of two rows for each name."""
    y = np.ones(2, np.float32)
    return to_message([Observation(name, "1", "champion", ("a", "b"), (1, 1), (1, 1), {}, {"y": y}) for name in names])


def passed_on(*messages: Observations) -> tuple[list[str], Observing]:
    """The models of which the parts hear."""
    heard: list[str] = []

    async def take() -> Any:
        observing = Observing(lambda observation: heard.append(observation.model))
        for each in messages:
            observing.take(each)
        while observing._tasks:
            await asyncio.sleep(0)
        return observing

    return heard, asyncio.run(take())


def test_all_parts_hear_of_it_in_order() -> None:
    """Each observation once."""
    heard, observing = passed_on(message("a", "b"), message("c"))
    assert sorted(heard) == ["a", "b", "c"]
    assert heard.index("a") < heard.index("b")
    assert observing.dropped == 0


def test_what_cannot_be_read_costs_itself_only() -> None:
    """The others of its message come."""
    broken = message("a", "b")
    broken.observed[0].outputs[0].raw = b"no"
    heard, _ = passed_on(broken)
    assert heard == ["b"]


def test_parts_that_are_behind_lose_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that found no place are counted."""
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    heard, observing = passed_on(message("a"), message("b"), message("c", "d"))
    assert sorted(heard) == ["a", "b"]
    assert observing.dropped == 4
