"""What a sender process is told: a folder with everything that it needs, written before it starts."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from loadtest.sla.requests import Pool
from loadtest.sla.schedule import Schedule, Span


@dataclass(frozen=True, slots=True)
class Job:
    """One sender's part of a run. `start` is an instant of the monotonic clock, the same for all senders.

    `deadline` is in seconds, `check_every` the distance of answers that are compared (0: none is).
    """

    target: str
    connections: tuple[int, ...]
    deadline: float
    check_every: int
    start: float
    schedule: Schedule
    pools: tuple[Pool, ...]

    def write(self, folder: Path) -> None:
        """Into a folder that nobody else writes to."""
        folder.mkdir(parents=True, exist_ok=True)
        plain = {name: getattr(self, name) for name in ("target", "connections", "deadline", "check_every", "start")}
        plain["spans"] = [asdict(span) for span in self.schedule.spans]
        (folder / "job.json").write_text(json.dumps(plain))
        np.savez(folder / "schedule.npz", due=self.schedule.due, kind=self.schedule.kind, key=self.schedule.key)
        (folder / "pools.pickle").write_bytes(pickle.dumps([(each.messages, each.expected) for each in self.pools]))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` wrote."""
        plain: dict[str, Any] = json.loads((folder / "job.json").read_text())
        with np.load(folder / "schedule.npz") as arrays:
            spans = tuple(Span(**span) for span in plain["spans"])
            schedule = Schedule(arrays["due"], arrays["kind"], arrays["key"], spans)
        pools = tuple(Pool(*each) for each in pickle.loads((folder / "pools.pickle").read_bytes()))
        return cls(
            plain["target"],
            tuple(plain["connections"]),
            plain["deadline"],
            plain["check_every"],
            plain["start"],
            schedule,
            pools,
        )


def split(schedule: Schedule, senders: int) -> list[Schedule]:
    """The schedule dealt out: request i to sender i modulo `senders`. Callers of closed phases are dealt out too."""
    parts = []
    for index in range(senders):
        spans = []
        for span in schedule.spans:
            first = len(range(index, span.first, senders))
            last = len(range(index, span.last, senders))
            mine = len(range(index, span.in_flight, senders))
            spans.append(Span(span.name, span.start, span.end, span.measured, first, last, mine))
        parts.append(
            Schedule(
                schedule.due[index::senders], schedule.kind[index::senders], schedule.key[index::senders], tuple(spans)
            )
        )
    return parts
