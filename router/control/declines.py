"""How models do by what was told of them last: of drift and of accuracy, which parts of their own look at."""

from __future__ import annotations

from typing import Final

from router.control.events import Event, Events

DRIFT, ACCURACY = "drift", "accuracy"
KINDS: Final = frozenset({DRIFT, ACCURACY})
STATUSES: Final = frozenset({"green", "yellow", "red"})
MOST: Final = 4096
"""Statuses that are remembered; of more, what was told longest ago is forgotten."""


class Declines:
    """Remembers the newest status from the events that tell of it.

    What comes is the model's, whichever version answers; how right it is, is the version's own.
    """

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
        if event.kind in KINDS and status in STATUSES:
            key = _key(event.kind, event.model, event.number)
            self._told.pop(key, None)
            self._told[key] = status
            if len(self._told) > MOST:
                del self._told[next(iter(self._told))]

    def of(self, kind: str, model: str, champion: str) -> str:
        """The status of a model that has this champion; empty where nothing was told."""
        return self._told.get(_key(kind, model, champion), "")


def _key(kind: str, model: str, number: str) -> tuple[str, str, str]:
    return kind, model, "" if kind == DRIFT else number
