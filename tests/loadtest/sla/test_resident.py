"""What processes hold in memory."""

from __future__ import annotations

import os
import time

import pytest

from loadtest.sla.resident import Resident, plateau, resident_bytes
from tests.server import eventually


def test_processes_are_looked_at_by_name() -> None:
    """One that is gone, or has not begun, holds nothing that could be told; before the start nothing is noted."""
    now = [99.0]
    held = {1: 100, 2: 200}
    pids = {"worker-0": 1, "warm-up": 2}
    resident = Resident(lambda: pids, lambda: now[0], held.get)
    resident._start = 100.0
    for at in (99.0, 100.0, 101.0):
        now[0] = at
        resident.look()
        del held[max(held)]
        held[1] = held.get(1, 100) + 10
    seen = resident.end()
    assert seen["seconds"] == [0.0, 1.0]
    assert seen["bytes"] == {"worker-0": [110, 110]}
    assert seen["last_third"] == {"worker-0": None}


def test_it_looks_by_itself() -> None:
    """At a real process, until the end."""
    resident = Resident(lambda: {"me": os.getpid(), "nobody": 0x7FFF_FFFF})
    resident.begin(time.monotonic())
    eventually(lambda: bool(resident._bytes))
    seen = resident.end()
    assert seen["bytes"]["me"][0] > 1_000_000
    assert "nobody" not in seen["bytes"]
    assert not resident._thread.is_alive()
    assert resident_bytes(0x7FFF_FFFF) is None


def saw(seconds: int, period: int = 5, grown: float = 0.0) -> list[int | None]:
    """Bytes by second: up with every load, down with every retirement, and grown by a share at the end."""
    return [round(1e9 * (1 + grown * at / seconds)) + (300_000_000 if at % period < 2 else 0) for at in range(seconds)]


def test_ups_and_downs_are_a_plateau() -> None:
    """What is loaded and let go again and again comes back to the same."""
    level = plateau(saw(1500))
    assert level == pytest.approx(0, abs=1e-6)


def test_a_load_that_takes_longer_is_no_growth() -> None:
    """Cores that others have make it long; what is held afterwards is the same."""
    fast, slow = saw(750), [size + (300_000_000 if at % 5 < 3 else 0) for at, size in enumerate([10**9] * 750)]
    level = plateau([*fast, *slow])
    assert level == pytest.approx(0, abs=1e-6)


def test_growth_is_none() -> None:
    """A fifth more at the end than in the beginning: that shows in the last third alone."""
    level = plateau(saw(1500, grown=0.2))
    assert level is not None
    assert level > 0.03


def test_of_few_samples_nothing_is_said() -> None:
    """Nor of a process that was away."""
    assert plateau(saw(400)) is None
    assert plateau([]) is None
    assert plateau([*saw(500)[:450], None, *saw(500)[451:]]) is None
    assert plateau([None, *saw(499)]) is not None
