"""How much memory processes here may still take: of the machine, or of the container that they are in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(cgroup: Path = _CGROUP) -> int:
    """What is free of the machine's memory and of the control group's limit (version 2), whichever is less."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no control group, or one without a limit (`max`)
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        used = int((cgroup / "memory.current").read_text(encoding="ascii"))
        free = min(free, max(0, limit - used + _reclaimable(cgroup)))
    return free


def _reclaimable(cgroup: Path) -> int:
    """Files that were read and not used lately: the kernel gives that memory away when it is asked for."""
    for line in (cgroup / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0
