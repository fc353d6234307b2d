"""What a person sees of the last second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from loadtest.sla.glance import Glance, look
from loadtest.sla.live import watching
from loadtest.sla.records import State
from loadtest.sla.schedule import Schedule, Span

DEADLINE = 5.0
RATE = 100


def seen(elapsed: float, answered: Any, *, in_flight: int = 0, lasts: float = 10.0) -> Glance:
    """A look at 100 requests a second; `answered` says when each that was sent at an instant has its answer."""
    meant = np.arange(0, lasts, 1 / RATE)
    sent = meant <= elapsed
    done = np.array([answered(at) for at in meant])
    columns = {
        "sent": np.where(sent, meant * 1e9, 0).astype(np.int64),
        "done": (np.where(done <= elapsed, done, 0) * 1e9).astype(np.int64),
        "state": np.where(done <= elapsed, State.DONE, np.where(sent, State.OPEN, State.DUE)).astype(np.uint8),
        "code": np.zeros(len(meant), np.uint8),
    }
    span = Span("it", 0.0, lasts, measured=True, first=0, last=len(meant), in_flight=in_flight)
    due = np.zeros(len(meant), np.int64) if in_flight else (meant * 1e9).astype(np.int64)
    made = Schedule(due, np.zeros(len(meant), np.uint8), np.zeros(len(meant), np.uint32), (span,))
    return look(made, [(made, columns)], elapsed, DEADLINE)


@pytest.mark.parametrize("in_flight", [0, 4])
def test_the_rate_is_that_of_the_last_second(in_flight: int) -> None:
    """In an open loop and in a closed one."""
    glance = seen(5.0, lambda at: at + 0.02, in_flight=in_flight)
    assert glance.rate == pytest.approx(RATE, abs=1)
    assert glance.recent.p50 == pytest.approx(0.02, rel=0.01)
    assert glance.waits == pytest.approx(0.02, abs=0.011)
    assert (glance.due, glance.answered, glance.failed) == (501 if in_flight else 500, 499, 0)


@pytest.mark.parametrize("in_flight", [0, 4])
def test_a_stall_is_seen(in_flight: int) -> None:
    """Nothing is answered from the third second on: no rate, and the oldest request waits longer and longer."""
    glance = seen(6.0, lambda at: at + 0.02 if at < 3 else at + 100, in_flight=in_flight)
    assert (glance.rate, glance.recent.count) == (0.0, 0)
    assert glance.waits == pytest.approx(3.0, abs=0.02)


def test_what_comes_late_counts_when_it_comes() -> None:
    """The end of a stall: what was due long ago is answered within this second."""
    glance = seen(6.0, lambda at: at + 0.02 if at < 3 else max(5.5, at + 0.02))
    assert glance.rate == pytest.approx(298, abs=3)
    assert glance.recent.max == pytest.approx(2.5, abs=0.02)


def test_before_the_start_and_after_the_end_there_is_nothing_to_see() -> None:
    """And nothing fails."""
    assert seen(-0.5, lambda at: at + 0.02).rate == 0
    glance = seen(12.0, lambda at: at + 0.02)
    assert (glance.rate, glance.phase, glance.elapsed) == (0, "", 10.0)


def test_a_second_without_answers_is_told_as_such() -> None:
    """No percentile of nothing."""
    console = Console(record=True, width=200)
    with watching(console) as watch:
        watch(seen(6.0, lambda at: at + 100))
    line = console.export_text()
    assert "0/s" in line
    assert "p50        –" in line
    assert "oldest open      6 s" in line
