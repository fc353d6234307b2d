"""The warm-up worker's process, as the controller sees it: wanted or not, and what it left behind when it died."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from router.app.board import Slot
from router.app.child import WARMING
from router.serving.inflight import REGION, mapped, running, wipe


class WarmupProcess:
    """Its slot on the board, and the file in which it notes what it runs."""

    def __init__(self, slot: Slot, state: Path) -> None:
        self._slot = slot
        self._running = mapped(state / WARMING, REGION)

    def want(self, wanted: bool) -> None:
        """Have it run, or let it go."""
        self._slot.wanted = wanted

    def take_suspects(self) -> Sequence[int]:
        """The fingerprints of what it was running when it died; they are forgotten."""
        suspects = running(self._running)
        wipe(self._running)
        return suspects
