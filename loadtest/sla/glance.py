"""A look at a running test: what the columns say now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loadtest.sla.figures import Latencies
from loadtest.sla.records import State
from loadtest.sla.schedule import Schedule
from loadtest.sla.sender import AFTER_S

WINDOW_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What a look shows. Times in seconds; `rate` and `recent` are of the answers that came within the last second.

    `waits` is how long the oldest request that is still open has waited; 0 when none is.
    """

    elapsed: float
    total: float
    phase: str
    due: int
    answered: int
    failed: int
    rate: float
    recent: Latencies
    waits: float


Watcher = Callable[[Glance], None]


def look(
    whole: Schedule,
    parts: Sequence[tuple[Schedule, Mapping[str, Any]]],
    elapsed: float,
    deadline: float,
) -> Glance:
    """A look at `parts`, each with its columns. It reads as few of them as will do: the machine is being measured."""
    due = answered = failed = 0
    waits = 0.0
    recent = [np.zeros(0)]
    now, since = elapsed * 1e9, (elapsed - WINDOW_S) * 1e9
    oldest = (elapsed - WINDOW_S - deadline - AFTER_S) * 1e9  # what was due before it has ended before the window
    for part, columns in parts:
        for span in part.spans:
            mine = slice(span.first, span.last)
            state, code, done = (columns[name][mine] for name in ("state", "code", "done"))
            meant = columns["sent"][mine] if span.in_flight else part.due[mine]
            here = int((state != State.DUE).sum()) if span.in_flight else int(np.searchsorted(meant, now))
            due += here
            finished = state == State.DONE
            ok = finished & (code == 0)
            answered += int(ok.sum())
            failed += int(finished.sum() - ok.sum())
            near = slice(int(np.searchsorted(meant[:here], oldest)), here)
            lately = ok[near] & (done[near] > since) & (done[near] <= now)
            recent.append((done[near][lately] - meant[near][lately]) / 1e9)
            open_ones = meant[near][state[near] == State.OPEN]
            if len(open_ones):
                waits = max(waits, elapsed - float(open_ones[0]) / 1e9)
    times = Latencies.of(np.concatenate(recent))
    total = whole.spans[-1].end
    return Glance(
        elapsed=min(max(elapsed, 0.0), total),
        total=total,
        phase=next((span.name for span in whole.spans if span.start <= elapsed < span.end), ""),
        due=due,
        answered=answered,
        failed=failed,
        rate=times.count / WINDOW_S,
        recent=times,
        waits=waits,
    )
