"""A run without a network: records made by hand, a connection and a clock under the test's thumb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.sla.core_client import Answer
from loadtest.sla.figures import Figures
from loadtest.sla.job import Job
from loadtest.sla.records import COLUMNS, Records, Source, State, Writer, create
from loadtest.sla.requests import Pool
from loadtest.sla.schedule import Schedule, Span
from loadtest.sla.sender import Sender
from router.pb import inference_pb2 as pb

START = 1000.0


class FakeClock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds


class FakeLine:
    """A connection whose answers the test gives, or that answers everything after `answered_after` seconds."""

    def __init__(self, clock: FakeClock, costs: float = 0.0) -> None:
        self.clock = clock
        self.costs = costs
        self.sent: list[tuple[float, int, bytes, float]] = []
        self.answers: list[tuple[float, Answer]] = []
        self.answered_after: float | None = None
        self.precedes: list[bool] = []
        """Whether its sender goes before the server, span by span."""
        self.closed = False

    def send(self, number: int, message: bytes, seconds: float) -> None:
        """Remember when it was sent; sending takes its time."""
        self.sent.append((self.clock.now, number, message, seconds))
        self.clock.now += self.costs
        if self.answered_after is not None:
            self.answers.append((self.clock.now + self.answered_after, (number, 0, "", reply(number))))

    def receive(self) -> Answer | None:
        """What has come by now."""
        for index, (at, answer) in enumerate(self.answers):
            if at <= self.clock.now:
                del self.answers[index]
                return answer
        return None

    def close(self) -> None:
        """The end."""
        self.closed = True


def reply(number: int, served_by: str = "champion", version: str = "1", generation: int = 1, **about: Any) -> bytes:
    """An answer to a request, with an output `y` that bears its number unless told otherwise."""
    response = pb.ModelInferResponse(model_name="m", model_version=version, id=about.get("id", str(number)))
    response.parameters["served_by"].string_param = served_by
    response.parameters["generation"].int64_param = generation
    response.parameters["degraded"].bool_param = about.get("degraded", False)
    value = np.array([about.get("value", number)], "<f4")
    response.outputs.add(name="y", datatype="FP32", shape=value.shape)
    response.raw_output_contents.append(value.tobytes())
    return response.SerializeToString()


def world(
    folder: Path,
    due: Sequence[float],
    *,
    costs: float = 0.0,
    in_flight: int = 0,
    first: int = 0,
    step: int = 1,
    look: float = 100e-6,
) -> tuple[Sender, FakeLine]:
    """A sender with a job of these instants (seconds), every answer compared: request i must be answered by i.

    It is the `first` of `step` senders, and alone unless told otherwise.
    """
    clock = FakeClock()
    line = FakeLine(clock, costs)
    count = len(due)
    span = Span("it", 0.0, max([*due, 0.0]) + 1.0, measured=True, first=0, last=count, in_flight=in_flight)
    schedule = Schedule(
        np.array([round(each * 1e9) for each in due], np.int64),
        np.zeros(count, np.uint8),
        np.arange(count, dtype=np.uint32),
        (span,),
        first,
        step,
    )
    expected = {"1": [{"y": np.array([number], np.float32)} for number in range(count)]}
    pool = Pool([b"\x0a\x01m"] * count, expected)
    job = Job("nowhere", (0,), 0.5, look, 1, schedule, (pool,))
    folder.mkdir(exist_ok=True)
    create(folder, count)
    sender = Sender(job, [line], Writer(folder), clock, clock.sleep, line.precedes.append)
    return sender, line


def figures(rows: Sequence[dict[str, Any]], deadline: float = 0.5, sources: Sequence[Source] = ()) -> Figures:
    """Figures of requests made by hand: `due`, `sent`, `done` in seconds, and whatever else a column holds."""
    columns: dict[str, Any] = {}
    defaults: dict[str, Any] = {"due": 0.0, "used": True, "kind": 0, "key": 0, "state": State.DONE}
    rows = sorted(rows, key=lambda row: float(row.get("due", 0.0)))
    for name in (*COLUMNS, "due", "used", "kind", "key"):
        values = []
        for row in rows:
            value = row.get(name, defaults.get(name, 0))
            if name == "sent":
                value = row.get("sent", row.get("due", 0.0))
            if name in {"due", "sent", "done"}:
                value = round(value * 1e9)
            values.append(value)
        kind: Any = {"used": bool, "generation": np.uint64}.get(name, np.int64)
        columns[name] = np.array(values, kind)
    return Figures(Records(columns, tuple(sources) or (Source("champion", "1"),)), deadline)
