"""What a server has seen of a model outlives its processes: the baseline of its accuracy, and its recorded requests."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from router.app.board import CONTROLLER
from router.control.ledger import FILE as LEDGER
from router.control.recorded import Recordings
from router.control.recorded_schema import FOLDER
from router.edge.admin_client import AdminClient
from router.pb.admin_pb2 import Actual
from tests import slow_models
from tests.server import Server, eventually, router, running

TOML = """
[lifecycle]
initial_champion = 1

[ledger]
enabled = true

[accuracy]
baseline_requests = 30

[recording]
enabled = true
share = 1
max_per_s = 1000
rotate_s = 1

[warmup]
min_samples = 40
min_seconds = 0.5
max_seconds = 5

[gates]
difference = 100
slowdown = 1000
"""


def asked(server: Server, name: str, count: int, off: float) -> None:
    """So many requests, of which it comes true that the answers are so far off."""
    client = server.client()
    for number in range(count):
        client.infer("m", {"x": np.array([number], np.float32)}, id=f"{name}{number}", deadline=10)
    actuals = [Actual(request_id=f"{name}{number}", value=2.0 * number + off) for number in range(count)]
    with AdminClient(server.admin) as admin:
        assert admin.submit_actuals("m", actuals).joined == count


def baseline(server: Server) -> dict[str, Any]:
    """What version 1 is compared with; empty while nothing is known."""
    told = json.loads(router("accuracy", "m", "--json", "--admin", server.admin).output)
    versions = [each for each in told.get("versions", ()) if each["version"] == "1"]
    made: dict[str, Any] = versions[0].get("baseline", {}) if versions else {}
    return made


@pytest.mark.story
def test_baseline_and_recordings_outlive_the_processes(tmp_path: Path) -> None:
    """Whatever becomes of the controller and of the ledger; a version is warmed with what was recorded, and told so."""
    for number, factor in enumerate((2.0, 2.0000002), start=1):
        slow_models.save(slow_models.scale(factor), tmp_path / "models", "m", number, TOML)
    with running(tmp_path, models=tmp_path / "models") as server:
        asked(server, "first", 30, off=1.0)
        made = eventually(lambda: baseline(server), bound_s=30)
        assert (made["requests"], made["value"]) == (30, pytest.approx(1.0))
        old = server.controller
        os.kill(old, signal.SIGKILL)
        server.back(CONTROLLER, old)
        assert eventually(lambda: baseline(server), bound_s=30) == made
        asked(server, "later", 50, off=1.1)
        folder = server.state / FOLDER / "m"
        eventually(lambda: sum(each.rows for each in Recordings(folder).files() if each.first) >= 50, bound_s=30)
        (folder / "rows-9.parquet").write_bytes(b"PAR1 and no more")
        with AdminClient(server.admin) as client:
            report = client.warm("m", "2")
        assert report.passed, report
        (samples,) = [each for each in report.outcomes if each.gate == "samples"]
        assert samples.figures["recorded_requests"] >= 40
        assert "40 of the recorded ones are from " in samples.reason
        assert samples.reason.endswith("1 file of recordings cannot be read: rows-9.parquet")
    for path in server.state.glob(f"{LEDGER}*"):
        path.unlink()
    with running(tmp_path, models=tmp_path / "models") as server:
        asked(server, "much later", 1, off=5.0)
        assert eventually(lambda: baseline(server), bound_s=30) == made
        reset = router("accuracy", "m", "--reset-baseline", "--reason", "a test", "--admin", server.admin)
        assert reset.output == (
            "version 1 is compared with the first 30 requests that come true from now on: local wanted it\n"
        )
        assert not baseline(server)
