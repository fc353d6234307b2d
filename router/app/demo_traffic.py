"""Steady traffic for the demo: every answer is looked at."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.client import Client, InferenceError, Reply

CLOSE: Final = 1e-3
"""Two kernels may differ by less."""
Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Tally:
    """What came back. `times` are in seconds, each with the instant at which its answer came.

    `degraded` answers stand in for one that a version could not give.
    """

    asked: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: int = 0
    older: int = 0
    degraded: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    times: list[tuple[float, float]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, wrong, or older than what had been answered before."""
        return self.asked > 0 and not (self.failed or self.wrong or self.older)

    def take(self, other: Tally) -> None:
        """What came back elsewhere too."""
        self.asked += other.asked
        self.failed += other.failed
        self.wrong += other.wrong
        self.older += other.older
        self.degraded += other.degraded
        self.versions += other.versions
        self.times += other.times

    def quantile(self, q: float) -> float:
        """Seconds within which a share `q` of the answers came."""
        return float(np.quantile([seconds for _, seconds in self.times], q)) if self.times else 0.0


def golden(version: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs and the outputs that a version's trainer wrote down."""
    with np.load(next(iter(sorted((version / "golden").glob("*.npz")))), allow_pickle=False) as kept:
        parts = {name: kept[name] for name in kept.files}
    return (
        {name.removeprefix("input:"): value for name, value in parts.items() if name.startswith("input:")},
        {name.removeprefix("output:"): value for name, value in parts.items() if name.startswith("output:")},
    )


class Traffic:
    """So many callers that ask one after another, `rate` requests a second together.

    `expected` are the outputs by version, a row for each row of `inputs`; None: nobody knows them. `answered` hears of
    each request, by its id, of its row and of the answer. Ids begin with `name`.
    """

    def __init__(
        self,
        target: str,
        model: str,
        inputs: Mapping[str, Array],
        expected: Mapping[str, Mapping[str, Array]] | None,
        rate: float,
        callers: int = 4,
        name: str = "demo",
        answered: Callable[[str, int, Reply], None] = lambda request_id, row, reply: None,  # noqa: ARG005
    ) -> None:
        self._target = target
        self._model = model
        self._inputs = inputs
        self._expected = expected
        self._pause_s = callers / rate
        self._name = name
        self._answered = answered
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._newest = 0  # the newest generation that any caller has seen
        self.tally = Tally()
        self._threads = [threading.Thread(target=self._call, args=(each,), daemon=True) for each in range(callers)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> Tally:
        """End, and wait for the last answers."""
        self._over.set()
        for thread in self._threads:
            thread.join(10.0)
        return self.tally

    def _call(self, caller: int) -> None:
        rows, callers = len(next(iter(self._inputs.values()))), len(self._threads)
        due = time.monotonic() + caller * self._pause_s / callers
        number = caller
        with Client(self._target) as client:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                self._ask(client, f"{self._name}-{number}", number % rows)
                number += callers
                due += self._pause_s

    def _ask(self, client: Client, request_id: str, row: int) -> None:
        asked = {name: value[row : row + 1] for name, value in self._inputs.items()}
        before, began = self._newest, time.monotonic()
        try:
            reply = client.infer(self._model, asked, id=request_id, deadline=1.0)
        except InferenceError as error:
            with self._lock:
                self.tally.asked += 1
                self.tally.failed.append(str(error))
            return
        ended = time.monotonic()
        self._answered(request_id, row, reply)
        wrong = not self._right(reply, row)
        with self._lock:
            self.tally.asked += 1
            self.tally.wrong += wrong
            self.tally.degraded += reply.degraded
            if not reply.degraded:
                self.tally.versions[reply.version] += 1
            self.tally.times.append((ended, ended - began))
            generation = reply.generation or 0
            self.tally.older += generation < before
            self._newest = max(self._newest, generation)

    def _right(self, reply: Reply, row: int) -> bool:
        if self._expected is None or reply.degraded:
            return True
        expected = self._expected.get(reply.version)
        return expected is not None and all(
            np.allclose(reply[name], value[row : row + 1], rtol=CLOSE, atol=CLOSE) for name, value in expected.items()
        )
