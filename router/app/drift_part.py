"""Drift as a part of the controller."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping

from grpc import aio

from router.app.monitoring import Looking
from router.control.drift import Drift
from router.core.observation import Observation
from router.core.table import Route
from router.edge import families
from router.edge.drift_service import DriftService


class DriftPart(Looking):
    """Hands what came by to `drift`, and answers from it. `routes` are None while the server starts."""

    def __init__(self, drift: Drift, routes: Callable[[], Mapping[str, Route] | None]) -> None:
        self._drift = drift
        self._service = DriftService(drift, routes)

    def observed(self, observation: Observation) -> None:
        """Rows came by."""
        self._drift.observed(observation)

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """What goes on until it is cancelled."""
        return (self._drift.run(),)

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""
        self._service.add_to(server)

    async def figures(self) -> Iterable[families.Family]:
        """The status and the highest index of each model."""
        return families.drift(self._drift.now)
