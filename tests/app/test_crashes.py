"""What counts as a crash, and what follows from several."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from router.app.child import ANSWERS, QUARANTINE, RUNNING
from router.app.crashes import Crashes
from router.serving.inflight import REGION, mapped, region
from router.serving.quarantine import Quarantine


def crash(crashes: Crashes, state: Path, returncode: int, now: float = 0.0) -> list[str]:
    """Worker 1 ends while it runs the request 5."""
    region(mapped(state / RUNNING, 2 * REGION), 1)[0] = 5
    return crashes.ended(1, returncode, now)


@pytest.mark.parametrize("returncode", [-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, 1, 3])
def test_faults_and_unasked_exits_count(tmp_path: Path, returncode: int) -> None:
    """At the second the log says that it is refused; a fresh worker's region is empty."""
    crashes = Crashes(tmp_path, 2)
    assert crash(crashes, tmp_path, returncode) == []
    assert crashes.ended(1, returncode, 0) == []
    (line,) = crash(crashes, tmp_path, returncode)
    assert "refused from now on" in line
    assert [each.fingerprint for each in Quarantine(tmp_path / QUARANTINE).refused()] == [5]


@pytest.mark.parametrize("returncode", [-signal.SIGKILL, -signal.SIGTERM, 0])
def test_a_worker_that_was_ended_has_not_crashed(tmp_path: Path, returncode: int) -> None:
    """Whoever sent that says nothing of the request."""
    crashes = Crashes(tmp_path, 2)
    for _ in range(3):
        assert crash(crashes, tmp_path, returncode) == []
    assert Quarantine(tmp_path / QUARANTINE).suspects() == []


def test_suspects_outlive_the_server_and_its_runs_do_not(tmp_path: Path) -> None:
    """The next server counts on, but nothing that stood in the last one's regions."""
    crash(Crashes(tmp_path, 2), tmp_path, -signal.SIGSEGV)
    region(mapped(tmp_path / RUNNING, 2 * REGION), 0)[0] = 6
    crashes = Crashes(tmp_path, 2)
    assert crashes.ended(0, -signal.SIGSEGV, 0) == []
    assert len(crash(crashes, tmp_path, -signal.SIGSEGV)) == 1
    Quarantine(tmp_path / QUARANTINE).ask_to_forget()
    crashes.look()
    assert Quarantine(tmp_path / QUARANTINE).suspects() == []


def test_faults_that_go_on_cost_the_memory_of_answers(tmp_path: Path) -> None:
    """Three within a minute remove it, once; as many over a longer time, or other deaths, do not."""
    crashes = Crashes(tmp_path, 2)
    (tmp_path / ANSWERS).mkdir()
    (tmp_path / ANSWERS / "data.mdb").touch()
    for now in (0.0, 40.0, 80.0):
        assert crashes.ended(0, -signal.SIGABRT, now) == []
    assert crashes.ended(0, -signal.SIGKILL, 81.0) == []
    assert (tmp_path / ANSWERS).exists()
    (line,) = crashes.ended(1, -signal.SIGBUS, 90.0)
    assert "memory of answers is removed" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == [QUARANTINE, RUNNING]
    assert crashes.ended(1, -signal.SIGBUS, 91.0) == []
