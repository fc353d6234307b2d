"""The world of `router demo retrain`: no picture is in two places, and another scanner gives other pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from router.app.demo_world import Pictures, Score, outputs, world
from router.app.mistake import Wrong

MODELS = Path(__file__).parents[2] / "models"


def test_no_picture_is_in_two_places() -> None:
    """What is trained on is neither sent later nor in the exam, from either scanner."""
    pictures = world(MODELS / "digits")
    parts = [pictures.first, pictures.daily, pictures.later, pictures.exam]
    seen = [{row.tobytes() for row in part.pixels} for part in parts]
    assert [len(part) for part in parts] == [400, 600, 397, 400]
    for place, rows in enumerate(seen):
        for other in seen[place + 1 :]:
            assert not rows & other
    assert not {row.tobytes() for row in pictures.daily.scanned().pixels} & seen[2]


def test_another_scanner_moves_and_thins() -> None:
    """A pixel to the right, what leaves the paper is gone; ink is thinner, and never less than none."""
    pixels = np.zeros((1, 8, 8), np.float32)
    pixels[0, 2, 3], pixels[0, 4, 7], pixels[0, 5, 0] = 16.0, 16.0, 4.0
    scanned = Pictures(pixels.reshape(1, 64), np.array([1])).scanned()
    moved = scanned.pixels.reshape(8, 8)
    assert moved[2, 4] == 11.0
    assert moved.sum() == 11.0
    assert scanned.labels.tolist() == [1]


def test_where_the_pictures_are_not_is_told(tmp_path: Path) -> None:
    """In one line, with what to do."""
    with pytest.raises(Wrong, match="leave --models out, or name the folder of the bundled models"):
        world(tmp_path)


def test_what_a_version_gives_is_computed_apart() -> None:
    """By the operators' definition, not by the runtime that serves."""
    pictures = world(MODELS / "digits").first.part(0, 50)
    given = outputs(MODELS / "digits" / "1", pictures)
    assert np.mean(given["label"] == pictures.labels) > 0.9
    assert given["probabilities"].shape == (50, 10)


def test_a_share_is_of_the_answers_between_two_instants() -> None:
    """And 0 of none."""
    score = Score()
    assert score.share(0.0) == (0.0, 0)
    for true in (True, True, False, True):
        score.right(true)
    assert score.share(0.0) == (0.75, 4)
    assert score.share(60.0) == (0.0, 0)
    assert score.points()[0] == (0.0, 0.75)
