"""How models do by what was told of them last: of drift and of accuracy, which parts of their own look at."""

from __future__ import annotations

from typing import Final

from router.control.events import Event, Events

KINDS: Final = frozenset({"drift", "accuracy"})
ORDER: Final = ("green", "yellow", "red")
MOST: Final = 4096
"""Versions of which something is remembered; of more, what was told longest ago is forgotten."""


class Declines:
    """Remembers the newest status of each version from the events that tell of it."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: dict[tuple[str, str, str], str] = {}

    async def hear(self) -> None:
        """For as long as anything is told."""
        while not self._events.closed:  # who was too slow begins again
            async for event in self._events.watch():
                self.take(event)

    def take(self, event: Event) -> None:
        """One event."""
        status = event.facts.get("status", "")
        if event.kind in KINDS and status in ORDER:
            key = (event.kind, event.model, event.number)
            self._told.pop(key, None)
            self._told[key] = status
            if len(self._told) > MOST:
                del self._told[next(iter(self._told))]

    def of(self, kind: str, model: str) -> str:
        """The worst status of a model's versions; empty where nothing was told."""
        told = [status for (of, name, _), status in self._told.items() if (of, name) == (kind, model)]
        return max(told, key=ORDER.index, default="")
