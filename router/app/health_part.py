"""Service health as a part of the controller: once a second it looks at what workers have reported anyway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Final

import structlog
from grpc import aio

from router.app.monitoring import Looking
from router.control.declines import Declines
from router.control.events import Events
from router.control.health import HealthWatch
from router.control.health_counts import Counts
from router.core.table import Route
from router.edge.health_figures import health_figures
from router.edge.health_service import HealthService
from router.edge.http import HealthGauge
from router.errors import NotReady
from router.pb.link_pb2 import Telemetry

log = structlog.get_logger()

LOOK_S: Final = 1.0


class HealthPart(Looking):
    """Judges every model once a second, and knows what other parts have told of their drift and accuracy."""

    def __init__(
        self,
        routes: Callable[[], Mapping[str, Route]],
        started: Callable[[], bool],
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._started = started
        self._counts = Counts(clock)
        self.watch = HealthWatch(routes, self._counts, events, clock)
        self._declines = Declines(events)
        self._service = HealthService(self.watch, self._ready, self._declines.of)

    def reported(self, incarnation: str, telemetry: Telemetry) -> None:
        """A worker has sent its figures."""
        self._counts.reported(incarnation, health_figures(telemetry))

    def left(self, incarnation: str) -> None:
        """A worker has gone."""
        self._counts.left(incarnation)

    def gauges(self) -> list[HealthGauge]:
        """What the metrics tell of each model."""
        if not self._started():
            return []
        made = []
        for model in self.watch.models():
            health = self.watch.health(model)
            if health is not None:
                seen = health.seen
                attainment = seen.five.attainment if seen is not None else None
                left = seen.day.left(health.availability) if seen is not None else 1.0
                made.append(HealthGauge(model, int(health.level), attainment, left))
        return made

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """Look, again and again, and hear what others tell."""
        return (self._look(), self._declines.hear())

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""
        self._service.add_to(server)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.watch.look()
            except Exception:  # a fault of ours: it costs one look
                log.exception("the health of models could not be looked at")

    async def _ready(self) -> None:
        if not self._started():
            raise NotReady("the server has just started and tries its models: ask again")
