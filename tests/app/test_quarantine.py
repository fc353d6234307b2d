"""A request that was in a run at two crashes of workers is not run any more."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from router.app.board import worker_slot
from router.app.child import RUNNING
from router.client import InferenceError, Unavailable
from router.serving.inflight import REGION, mapped, region, running
from tests import slow_models
from tests.server import Server, eventually, put, router
from tests.server import running as serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Two workers, a slow model and a short one."""
    models = put(tmp_path / "models", "digits")
    slow_models.save(slow_models.lasting(0.8), models, "slow")
    with serving(tmp_path, models=models, workers=2) as server:
        yield server


def crash(server: Server, x: float) -> None:
    """Send a request, and end the worker that runs it as a native fault would."""
    runs = mapped(server.state / RUNNING, 2 * REGION)

    def who() -> int | None:
        return next((index + 1 for index in range(2) if running(region(runs, index))), None)

    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(server.client().infer, "slow", {"x": np.array([[x]], np.float32)}, deadline=30)
        index = (eventually(who) or 0) - 1
        pid = server.worker(index)
        os.kill(pid, signal.SIGSEGV)
        with pytest.raises(Unavailable):
            asked.result(30)
    server.back(worker_slot(index), pid)


def told(server: Server, *words: str) -> str:
    """What `router quarantine` prints."""
    done = router("quarantine", "--admin", server.admin, *words)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_crashes_are_enough(server: Server) -> None:
    """The third time it is refused with the reason, and listed; others are answered; cleared it is run again."""
    crash(server, 666)
    (suspect,) = json.loads(told(server, "--json"))["suspects"]
    assert (suspect["model"], suspect["version"], suspect["crashes"], suspect["refused"]) == ("slow", "1", 1, False)
    crash(server, 666)
    client = server.client()
    with pytest.raises(InferenceError, match=r"two crashes of a worker \(model 'slow' version 1\).*--clear"):
        client.infer("slow", {"x": np.array([[666]], np.float32)}, deadline=20)
    (suspect,) = json.loads(told(server, "--json"))["suspects"]
    assert (suspect["crashes"], suspect["refused"]) == (2, True)
    assert "refused" in told(server)
    assert client.infer("slow", {"x": np.array([[1]], np.float32)}, deadline=30)["y"] == 1
    assert any("refused from now on" in line["event"] for line in server.log)

    assert told(server, "--clear") == "1 requests forgotten\n"
    assert json.loads(told(server, "--json"))["suspects"] == []
    eventually(lambda: answers(server, 666))


def answers(server: Server, x: float) -> bool:
    """Whether the model runs this; workers learn within a moment."""
    try:
        return bool(server.client().infer("slow", {"x": np.array([[x]], np.float32)}, deadline=30)["y"] == x)
    except InferenceError:
        return False
