"""How much memory is free, on a machine and in a container."""

from __future__ import annotations

from pathlib import Path

import psutil

from router.app.memory import free_bytes


def test_a_container_s_limit_goes_before_the_machine_s(tmp_path: Path) -> None:
    """What was read from files and is not needed counts as free."""
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 2000000\ninactive_file 300000\n")
    assert free_bytes(tmp_path) == 800_000


def test_without_a_limit_it_is_the_machine_s(tmp_path: Path) -> None:
    """No control group, or one that says `max`."""
    assert 0 < free_bytes(tmp_path) <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("max\n")
    assert 0 < free_bytes(tmp_path) <= psutil.virtual_memory().total
