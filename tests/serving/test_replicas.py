"""The sessions of a version: whether one can be asked, as health and metrics tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from router.errors import ModelFailed
from router.serving.lanes import Lane
from router.serving.loop import Loop
from router.serving.timers import Timers
from tests.serving.fakes import FakeClock, FakeExecutor, FakeSession, World, doubled, version


def fails(_: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """A model that is ill."""
    raise ModelFailed("ill")


def test_a_lane_is_ill_while_its_breaker_is_open() -> None:
    """Many failures open it; after a second it may be tried again, and callers may come."""
    world = World()
    world.lane.guarded = True
    world.session.function = fails
    for _ in range(10):
        world.send(1)
        world.work()
        world.clock.now += 0.05
    replicas = world.lane.replicas
    assert not replicas.healthy(world.clock.now)
    assert (replicas.refused, replicas.opened) == (1, 1)
    assert replicas.healthy(world.clock.now + 1)
    world.session.function = doubled
    world.clock.now += 1
    assert replicas.refused == 1  # until probes have shown that it is well
    for _ in range(3):
        world.send(1)
        world.work()
    assert (replicas.refused, replicas.opened) == (0, 1)


def test_one_of_two_sessions_is_enough() -> None:
    """Also while the other is being loaded anew; without any the lane is ill."""
    clock = FakeClock()
    timers = Timers(clock.monotonic)
    executor: Any = FakeExecutor()
    lane = Lane(version(), [FakeSession(), FakeSession()], executor, timers, Loop(timers, clock), clock)
    lane.replicas[0].loading = True
    assert lane.replicas.healthy(clock.now)
    lane.replicas[1].loading = True
    assert not lane.replicas.healthy(clock.now)
