"""Whether there is memory for what is to be loaded, before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from router.core.table import Version
from router.errors import NoRoom

OVERHEAD = 1.5
"""A session takes about its files, and what a run needs; taken where nothing was measured."""
KEPT_FREE = 0.05
"""Of what is free so much is not given away."""


@dataclass(frozen=True, slots=True)
class Room:
    """`free` gives the bytes that processes may still take; `workers` is how many load each version."""

    free: Callable[[], int]
    workers: int

    def needed(self, version: Version, session_bytes: int, replicas: int) -> int:
        """Bytes that a version takes in all workers together."""
        return int((session_bytes or version.file_bytes * OVERHEAD) * replicas * self.workers)

    def check(self, version: Version, session_bytes: int, replicas: int) -> None:
        """Raises NoRoom with the figures."""
        needed, free = self.needed(version, session_bytes, replicas), self.free()
        if needed > free * (1 - KEPT_FREE):
            raise NoRoom(
                f"version {version.number} of model '{version.model}' needs {needed / 1e6:,.0f} MB of memory"
                f" ({self.workers} workers, {replicas} sessions each), {free / 1e6:,.0f} MB are free: unload another"
                " version, or give the server more"
            )
