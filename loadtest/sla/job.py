"""What a sender process is told: a folder with everything that it needs, written before it starts."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from loadtest.sla.requests import Pool
from loadtest.sla.schedule import Schedule, Span

READY: Final = "ready"
"""A file that a sender makes in its folder when all is loaded."""


@dataclass(frozen=True, slots=True)
class Job:
    """One sender's part of a run.

    `deadline` and `look` are in seconds, `check_every` the distance of answers that are compared (0: none is).
    """

    target: str
    connections: tuple[int, ...]
    deadline: float
    look: float
    check_every: int
    schedule: Schedule
    pools: tuple[Pool, ...]

    def write(self, folder: Path) -> None:
        """Into a folder that nobody else writes to."""
        folder.mkdir(parents=True, exist_ok=True)
        plain = {name: getattr(self, name) for name in ("target", "connections", "deadline", "look", "check_every")}
        plain |= {"first": self.schedule.first, "step": self.schedule.step}
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
            rows = arrays["due"], arrays["kind"], arrays["key"]
            schedule = Schedule(*rows, spans, plain["first"], plain["step"])
        pools = tuple(Pool(*each) for each in pickle.loads((folder / "pools.pickle").read_bytes()))
        connections = tuple(plain["connections"])
        return cls(
            plain["target"], connections, plain["deadline"], plain["look"], plain["check_every"], schedule, pools
        )


def split(schedule: Schedule, senders: int) -> list[Schedule]:
    """The schedule dealt out: request i to sender i modulo `senders`. Callers of closed phases are dealt out too."""
    parts = []
    for index in range(senders):
        spans = []
        for span in schedule.spans:
            first = len(range(index, span.first, senders))
            last = len(range(index, span.last, senders))
            callers = len(range(index, span.in_flight, senders))
            spans.append(Span(span.name, span.start, span.end, span.measured, first, last, callers))
        mine = slice(index, None, senders)
        rows = schedule.due[mine], schedule.kind[mine], schedule.key[mine]
        parts.append(Schedule(*rows, tuple(spans), index, senders))
    return parts
