"""What a result says beside its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.errors import ScenarioError
from loadtest.sla.job import split
from loadtest.sla.records import State
from loadtest.sla.run import notes, shown
from loadtest.sla.scenario import parse
from loadtest.sla.schedule import plan

TEXT = """
title = "It"
[[mix]]
model = "a"
[[phase]]
name = "open"
arrivals = "constant"
rate = "10/s"
lasts = "1s"
[[phase]]
name = "closed"
arrivals = "closed"
in_flight = 5
lasts = "1s"
"""


@pytest.mark.parametrize("senders", [1, 2])
def test_a_closed_phase_that_has_used_up_its_requests_is_told(senders: int) -> None:
    """Once, whichever sender had no more to send; one that had time only is no matter, nor is an open phase."""
    parts = split(plan(parse(TEXT, "it.toml"), [1]), senders)
    states = [np.full(len(part), State.DONE) for part in parts]
    for part, state in zip(parts, states, strict=True):
        state[part.spans[1].last - 1] = State.DUE
    assert notes(parts, states) == []
    states[-1][:] = State.DONE
    (told,) = notes(parts, states)
    assert told.startswith(
        "phase 'closed' ended early: in a closed loop at most 20000 requests are sent for each second"
    )
    states[0][:] = State.DONE
    assert notes(parts, states) == [told]


def alone(answered: int, late: int, *invalid: str, interrupted: bool = False) -> dict[str, Any]:
    """What is used of the result of a closed phase of four seconds."""
    counts = {"answered": answered, "late": late}
    measured = {"seconds": 4.0, "counts": counts}
    return {"interrupted": interrupted, "invalid": list(invalid), "measured": measured}


def test_a_closed_phase_shows_what_a_server_can_do() -> None:
    """In time; one that shows nothing is told before the load, and an interrupt ends it all."""
    assert shown(alone(420, 20), "all") == 100
    with pytest.raises(ScenarioError, match=r"phase 'all' had no answer in time.*raise `deadline`"):
        shown(alone(20, 20), "all")
    with pytest.raises(ScenarioError, match="phase 'all', of which rates are parts: the sender was late"):
        shown(alone(420, 20, "the sender was late"), "all")
    with pytest.raises(KeyboardInterrupt):
        shown(alone(420, 20, interrupted=True), "all")
