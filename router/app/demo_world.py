"""The world of `router demo retrain`: pictures whose truth is known, and a scanner that is replaced by another."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from router.app.demo_traffic import Tally, Traffic
from router.app.demo_truth import Truth, exam
from router.app.mistake import Wrong
from router.client import Reply

Array = np.ndarray[Any, Any]

THINNER: Final = 5.0
"""Of 16, which is black."""
SIDE: Final = 8
FIRST: Final = 400
"""Rows that the first version is trained on,"""
DAILY: Final = 600
"""rows that are sent until a new version is there; those that are left are sent from then on, and nothing has ever
been trained on them."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pixels `[rows, 64]` from 0 (white) to 16 (black), and what they show `[rows]`."""

    pixels: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, begin: int, end: int | None = None) -> Pictures:
        """Some of the rows."""
        return Pictures(self.pixels[begin:end], self.labels[begin:end])

    def scanned(self) -> Pictures:
        """The same on the new scanner: thinner ink, and the paper lies a pixel further to the right."""
        moved = np.roll(self.pixels.reshape(-1, SIDE, SIDE), 1, axis=2)
        moved[:, :, 0] = 0.0
        return Pictures(np.maximum(moved.reshape(-1, SIDE * SIDE) - THINNER, 0.0), self.labels)


@dataclass(frozen=True, slots=True)
class World:
    """`first`, `daily` and `later` have no row in common, and none with the `exam`."""

    first: Pictures
    daily: Pictures
    later: Pictures
    exam: Pictures


def world(model: Path) -> World:
    """The pictures beside the versions of a model. Raises Wrong where they are not there."""
    try:
        with np.load(model / "training.npz", allow_pickle=False) as kept:
            rows = Pictures(kept["pixels"].astype(np.float32), kept["label"].astype(np.int64))
        inputs, labels = exam(model / "exam")
    except (OSError, StopIteration, KeyError, ValueError) as error:
        raise Wrong(
            f"{model} does not hold training.npz and exam/: leave --models out, or name the folder of the bundled"
            " models"
        ) from error
    return World(
        rows.part(0, FIRST),
        rows.part(FIRST, FIRST + DAILY),
        rows.part(FIRST + DAILY),
        Pictures(inputs["pixels"], labels),
    )


def outputs(version: Path, pictures: Pictures) -> dict[str, Array]:
    """What a version gives for pictures, by output: computed here, by the operators' own definition."""
    model = onnx.load(version / "model.onnx")
    made = ReferenceEvaluator(model).run(None, {"pixels": pictures.pixels})
    return dict(zip((each.name for each in model.graph.output), made, strict=True))


class Score:
    """Which answers came true, and when. `right` may be called by any thread."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._answers: list[tuple[float, bool]] = []

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def right(self, true: bool) -> None:
        """An answer has come."""
        with self._lock:
            self._answers.append((self.now, true))

    def share(self, begin: float, end: float | None = None) -> tuple[float, int]:
        """Of the answers between two instants, in seconds since it began, and how many they were."""
        with self._lock:
            answers = [true for at, true in self._answers if begin <= at and (end is None or at < end)]
        return (sum(answers) / len(answers) if answers else 0.0), len(answers)

    def points(self, step: float = 0.5, over: float = 1.5) -> list[tuple[float, float]]:
        """Instants and the share of the answers that came within `over` seconds around each."""
        end, made = self.now, []
        for number in range(int(end / step) + 1):
            share, answers = self.share(number * step - over / 2, number * step + over / 2)
            if answers:
                made.append((number * step, share))
        return made


class Stretch:
    """Requests for some pictures; a moment after each answer it is handed in what was right.

    `versions` are the folders of those that may answer, by number: every answer is held against what they give.
    """

    def __init__(
        self,
        addresses: tuple[str, str],
        model: str,
        pictures: Pictures,
        versions: Mapping[str, Path],
        rate: float,
        score: Score,
        name: str,
    ) -> None:
        target, admin = addresses
        self._labels = pictures.labels
        self._score = score
        self._truth = Truth(admin, model, pictures.labels)
        expected = {number: outputs(folder, pictures) for number, folder in versions.items()}
        self._traffic = Traffic(
            target, model, {"pixels": pictures.pixels}, expected, rate, name=name, answered=self._answered
        )

    def start(self) -> None:
        """Begin."""
        self._traffic.start()
        self._truth.start()

    def stop(self) -> Tally:
        """End, and wait for the last answers."""
        tally = self._traffic.stop()
        self._truth.stop()
        tally.failed += self._truth.failed
        return tally

    def _answered(self, request_id: str, row: int, reply: Reply) -> None:
        self._truth.answered(request_id, row)
        self._score.right(bool(reply["label"][0] == self._labels[row]))
