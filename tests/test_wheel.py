"""What is installed has all that its commands need: none of them looks into a checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT, environment

ELSEWHERE = """
import sys
from router.app.bundled import bundled
from router.app.cli import main
print(bundled())
main(["dashboards", "--write", sys.argv[1]], standalone_mode=False)
main(["demo", "retrain", "--help"])
"""


def shipped() -> Iterator[str]:
    """Files of the checkout that belong into a wheel, by their names there."""
    for folder, place in (("router", "router"), ("loadtest", "loadtest"), ("models", "router/bundled")):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT / folder).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and not name.startswith("results/"):
                yield f"{place}/{name}"


@pytest.mark.story
def test_a_wheel_holds_all_that_commands_need(tmp_path: Path) -> None:
    """Every file of the packages and the bundled models, no figures and no tests; unpacked elsewhere, commands work."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        packed.extractall(tmp_path / "site")
    assert {name for name in names if ".dist-info/" not in name} == set(shipped())
    assert names > {
        "router/dashboards/grafana.json", "router/dashboards/alerts.yml", "router/pb/inference_pb2.py",
        "router/control/migrations/env.py", "router/control/migrations/versions/__init__.py",
        "router/bundled/retrain_digits.py", "router/bundled/digits/2/model.onnx", "router/bundled/digits/training.npz",
        "router/bundled/digits/exam/exam.npz", "loadtest/scenarios/steady.toml",
    }  # fmt: skip
    site, there = tmp_path / "site", tmp_path / "there"
    done = subprocess.run(
        [sys.executable, "-P", "-c", ELSEWHERE, str(there)],
        cwd=tmp_path, env={**environment(), "PYTHONPATH": str(site)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(site / "router/bundled")
    assert {path.name for path in there.iterdir()} == {"grafana.json", "alerts.yml"}
    assert "Usage: " in done.stdout
