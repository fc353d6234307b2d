"""What looks at models while they serve, put together: each part hears what it needs and adds its admin service."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol

import structlog
from grpc import aio

from router.core.observation import Observation
from router.edge.families import Family
from router.errors import RouterError

log = structlog.get_logger()


class Part(Protocol):
    """One of them. On the event loop, but what takes long is its own thread's."""

    def observed(self, observation: Observation) -> None:
        """Rows came by. Returns at once."""

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """What goes on until it is cancelled."""

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""

    async def figures(self) -> Iterable[Family]:
        """For metrics: what is known now, at once."""


class Monitoring:
    """The parts of one server."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = tuple(parts)

    def observed(self, observation: Observation) -> None:
        """Rows came by: all parts hear of them, and a fault of one is told and costs no other."""
        for part in self._parts:
            try:
                part.observed(observation)
            except Exception:  # a fault of ours
                log.exception("what came by could not be looked at", part=type(part).__name__, model=observation.model)

    async def figures(self) -> list[Family]:
        """Of all parts, for metrics. A fault of one is told, and costs its own figures only."""
        made: list[Family] = []
        for part in self._parts:
            try:
                made += await part.figures()
            except RouterError as error:  # such as a store that is locked
                log.warning("figures are missing", part=type(part).__name__, reason=str(error))
            except Exception:  # a fault of ours
                log.exception("figures are missing", part=type(part).__name__)
        return made

    def services(self) -> list[Callable[[aio.Server], None]]:
        """What adds the services of all parts."""
        return [part.add_to for part in self._parts]

    def work(self) -> list[Coroutine[None, None, None]]:
        """What goes on while the server serves; of it nothing ends by itself."""
        return [each for part in self._parts for each in part.work()]


class Looking:
    """A part that has nothing to do; those that have some of it say so."""

    def observed(self, observation: Observation) -> None:
        """Rows came by."""

    def work(self) -> Iterable[Coroutine[None, None, None]]:
        """What goes on until it is cancelled."""
        return ()

    def add_to(self, server: aio.Server) -> None:
        """Add its service to the admin port."""

    async def figures(self) -> Iterable[Family]:
        """For metrics: what is known now."""
        return ()
