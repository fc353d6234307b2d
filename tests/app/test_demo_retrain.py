"""A model is trained anew by itself, under traffic: nothing is lost, and it is right again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from router.model_settings import model_settings
from tests.server import ROOT, environment
from tests.server import router as run

STEPS = (
    "DRIFT BEGINS", "DRIFT SEEN", "RETRAINING BEGINS", "RETRAINED", "TESTED", "WARMED", "PROMOTED", "RECOVERED",
    "DRIFT IS OVER",
)  # fmt: skip


@pytest.mark.story
@pytest.mark.timeout(200)
def test_drift_is_seen_and_answered_by_a_version_that_is_trained_anew(tmp_path: Path) -> None:
    """Exit code 0 within three minutes; every step in its order; a page and a picture of it."""
    words = [str(Path(sys.executable).with_name("router")), "demo", "retrain"]
    words += ["--html", str(tmp_path / "page.html"), "--png", str(tmp_path / "picture.png")]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    places = [done.stdout.index(f"{step}: ") for step in STEPS]
    assert places == sorted(places)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(step.lower() in page for step in STEPS)
    assert len(page) < 200_000
    assert (tmp_path / "picture.png").stat().st_size < 200_000


def test_settings_of_the_demo_are_valid(tmp_path: Path) -> None:
    """Its model.toml is one that a server takes, and looks for drift and accuracy."""
    from router.app.demo_retrain import MODEL_TOML

    (tmp_path / "model.toml").write_text(MODEL_TOML)
    settings = model_settings(tmp_path / "model.toml")
    assert settings.drift.enabled
    assert settings.recording.enabled
    assert settings.ledger.enabled


def test_the_demo_says_what_it_needs(tmp_path: Path) -> None:
    """One line where the models are not, and where its page cannot be."""
    done = run("demo", "retrain", "--models", str(tmp_path))
    assert done.exit_code != 0
    assert "retrain_digits.py is not there" in done.output
    assert done.output.count("\n") == 1
