"""What a call has to expect of its lane, and what it is told where that is too much."""

from __future__ import annotations

import pytest

from router.errors import Overloaded, TooLate
from router.serving.admission import PROBE_S, PROBE_SHARE
from router.serving.run import Run
from tests.serving.fakes import World, version


def busy(rows_s: float = 0.01) -> World:
    """A lane of the executor whose runs take so long, of one call each."""
    world = World(version(max_size=1), inline=False)
    world.lane.pace.record(1, rows_s, world.clock.now, joined=False)
    return world


def under_way(world: World, *taken: float) -> list[Run]:
    """Runs of one call each that have taken so long."""
    lane = world.lane
    world.send(1)
    call = lane.waiting[0]
    return [
        Run(lane, [call], lane.replicas[0], world.clock.now - each, lane.replicas[0].session.stop()) for each in taken
    ]


def test_a_call_waits_for_those_before_it_and_for_a_slot() -> None:
    """Rows before it over the slots, and where all are taken what is left of the run that ends first."""
    world = busy()
    admission, now, row = world.lane.admission, world.clock.now, world.lane.pace.row_s
    runs = under_way(world, 0.004, 0.001)
    assert row == pytest.approx(0.011, rel=0.05)  # with the margin for sums of runs that vary
    assert admission.wait(now, 0, [], 1) == 0
    assert admission.wait(now, 4, [], 2) == pytest.approx(2 * row)
    assert admission.wait(now, 0, runs[:1], 2) == 0
    assert admission.wait(now, 2, runs, 2) == pytest.approx(row + 0.006, rel=0.05)


def test_a_run_that_overstays_is_taken_to_last_as_long_again() -> None:
    """Nobody knows better."""
    world = busy()
    (run,) = under_way(world, 0.03)
    assert world.lane.admission.wait(world.clock.now, 0, [run], 1) == pytest.approx(0.03)


def test_without_a_session_a_call_waits_for_one_to_be_loaded() -> None:
    """As long as the last one took."""
    world = busy()
    world.lane.stats.load_ns = 2_000_000_000
    assert world.lane.admission.wait(world.clock.now, 5, [], 0) == 2.0


def test_what_looks_hopeless_is_tried_now_and_then() -> None:
    """Once a second, and more often where there is nothing else to do; one try counts for both, and so does a run."""
    world = busy()
    admission, now = world.lane.admission, world.clock.now + PROBE_S * 1.01
    often = world.lane.pace.run_s / PROBE_SHARE
    assert not admission.probes(now - PROBE_S)
    assert admission.probes(now)
    assert not admission.probes(now + often * 0.9, idle=True)
    assert admission.probes(now + often * 1.1, idle=True)
    assert not admission.probes(now + PROBE_S)
    assert admission.probes(now + often * 1.1 + PROBE_S * 1.01)


@pytest.mark.parametrize(
    ("left", "kind", "words"),
    [
        (-0.001, TooLate, "leaves no time for a run of model 'm'"),
        (0.005, TooLate, "leaves no time for a run of model 'm'"),
        (1.0, Overloaded, "model 'm' has 7 requests waiting: come back later"),
    ],
)
def test_who_is_turned_away_learns_why(left: float, kind: type[Exception], words: str) -> None:
    """Too late for any run, or too much before it: then when to come back, once that has run."""
    world = busy()
    reply = world.send(1, deadline=10.0)
    call = world.lane.waiting[0]
    call.due = call.received * 1e-9 + left
    world.lane.admission.turn_away(call, 6, 7, wait=0.06)
    (error,) = reply.errors
    assert isinstance(error, kind)
    assert words in str(error)
    if isinstance(error, Overloaded):
        assert error.retry_after_ms == pytest.approx(70, abs=5)
    assert call.ran is None
    assert call.expected == (0.06, 6)
