"""What comes true in the demo: the labels of an exam, submitted a moment after its rows were asked."""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np

from router.edge.admin_client import AdminClient
from router.errors import RouterError
from router.pb.admin_pb2 import Actual

EVERY_S: Final = 0.25
Array = np.ndarray[Any, Any]


def exam(folder: Path) -> tuple[dict[str, Array], Array]:
    """The inputs and the labels of an operator's exam."""
    with np.load(next(iter(sorted(folder.glob("*.npz")))), allow_pickle=False) as kept:
        inputs = {name.removeprefix("input:"): kept[name] for name in kept.files if name.startswith("input:")}
        return inputs, kept["label"]


class Truth:
    """Submits the labels of what was asked. `answered` may be called by any thread."""

    def __init__(self, admin: str, model: str, labels: Array) -> None:
        self._admin = admin
        self._model = model
        self._labels = labels
        self._waiting: deque[tuple[str, int]] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._submit, daemon=True)
        self.failed: list[str] = []

    def answered(self, request_id: str, row: int, _: object = None) -> None:
        """A request for a row has been answered."""
        self._waiting.append((request_id, row))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join(10.0)

    def _submit(self) -> None:
        with AdminClient(self._admin) as client:
            while not self._over.wait(EVERY_S):
                ripe = [self._waiting.popleft() for _ in range(len(self._waiting))]
                actuals = [Actual(request_id=name, label=int(self._labels[row])) for name, row in ripe]
                try:
                    if actuals:
                        client.submit_actuals(self._model, actuals)
                except RouterError as error:
                    self.failed.append(str(error))
