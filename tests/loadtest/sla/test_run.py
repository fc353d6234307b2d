"""What a result says beside its figures."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.sla.job import split
from loadtest.sla.records import State
from loadtest.sla.run import notes
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
