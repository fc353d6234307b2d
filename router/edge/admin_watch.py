"""Events of the server as a stream of the admin port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from router.control.events import PENDING, Event
from router.edge import admin_words as words
from router.edge.admin_sources import Lifecycle
from router.errors import NotReady, Overloaded
from router.pb import admin_pb2 as pb

AGAIN_MS = 100
"""Who was too slow may watch again after so long."""


class Watching:
    """Tells events to whoever watches."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._watchers = 0

    async def events(self, request: pb.WatchRequest) -> AsyncIterator[pb.Event]:
        """Everything from now on. Raises NotReady when the server stops, Overloaded when the watcher is too slow."""
        model = words.any_model(request.model)
        lifecycle = self._lifecycle
        if model and lifecycle.started:
            lifecycle.versions(model)
        self._watchers += 1
        try:
            async with aclosing(lifecycle.events.watch(model)) as told:
                async for event in told:
                    yield _message(event, lifecycle.table.generation)
        finally:
            self._watchers -= 1
        if lifecycle.events.closed:
            raise NotReady("the server stops: watch again when it is back")
        raise Overloaded(f"this watcher was {PENDING} events behind: read faster, or watch one model", AGAIN_MS)

    def close(self) -> None:
        """End all streams."""
        if self._watchers:
            self._lifecycle.events.close()


def _message(event: Event, generation: int) -> pb.Event:
    return pb.Event(
        seconds=event.seconds,
        kind=event.kind,
        model=event.model,
        version=event.number,
        text=event.text,
        facts=event.facts,
        generation=event.generation or (generation if event.kind == "hello" else 0),
    )
