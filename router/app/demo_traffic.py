"""Steady traffic for the demo: every answer is looked at."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
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
    """What came back. `times` are in seconds, each with the instant at which its answer came."""

    asked: int = 0
    failed: list[str] = field(default_factory=list)
    wrong: int = 0
    older: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    times: list[tuple[float, float]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost, wrong, or older than what had been answered before."""
        return self.asked > 0 and not (self.failed or self.wrong or self.older)

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

    `expected` are the outputs by version, a row for each row of `inputs`.
    """

    def __init__(
        self,
        target: str,
        model: str,
        inputs: Mapping[str, Array],
        expected: Mapping[str, Mapping[str, Array]],
        rate: float,
        callers: int = 4,
    ) -> None:
        self._target = target
        self._model = model
        self._inputs = inputs
        self._expected = expected
        self._pause_s = callers / rate
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

    def _call(self, number: int) -> None:
        rows = len(next(iter(self._inputs.values())))
        due = time.monotonic() + number * self._pause_s / len(self._threads)
        with Client(self._target) as client:
            while not self._over.wait(max(0.0, due - time.monotonic())):
                row = number % rows
                number += 1
                self._ask(client, number, row)
                due += self._pause_s

    def _ask(self, client: Client, number: int, row: int) -> None:
        asked = {name: value[row : row + 1] for name, value in self._inputs.items()}
        before, began = self._newest, time.monotonic()
        try:
            reply = client.infer(self._model, asked, id=f"demo-{number}", deadline=1.0)
        except InferenceError as error:
            with self._lock:
                self.tally.asked += 1
                self.tally.failed.append(str(error))
            return
        ended = time.monotonic()
        wrong = not self._right(reply, row)
        with self._lock:
            self.tally.asked += 1
            self.tally.wrong += wrong
            self.tally.versions[reply.version] += 1
            self.tally.times.append((ended, ended - began))
            generation = reply.generation or 0
            self.tally.older += generation < before
            self._newest = max(self._newest, generation)

    def _right(self, reply: Reply, row: int) -> bool:
        expected = self._expected.get(reply.version)
        return expected is not None and all(
            np.allclose(reply[name], value[row : row + 1], rtol=CLOSE, atol=CLOSE) for name, value in expected.items()
        )
