"""The faults that operators have set: every worker has them, also one that comes later."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from router.core.faults import Fault
from router.core.table import VersionTable

log = structlog.get_logger()


class Worker(Protocol):
    """A worker as far as faults go."""

    async def set_faults(self, model: str, faults: Sequence[Fault]) -> None:
        """Returns when they are in effect. Raises ConnectionError when it is gone, TimeoutError."""


class Tables(Protocol):
    """What serves."""

    @property
    def table(self) -> VersionTable:
        """The table."""


class FaultBoard:
    """What operators have said goes before what the models' settings say, for as long as this process lives."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._set: dict[str, tuple[Fault, ...]] = {}
        self._workers: set[Worker] = set()

    def now(self) -> Mapping[str, tuple[Fault, ...]]:
        """Those of each model."""
        return {name: self._set.get(name, route.settings.faults) for name, route in self._tables.table.routes.items()}

    async def set(self, model: str, faults: tuple[Fault, ...]) -> int:
        """Tell all workers; in how many of them they are in effect now."""
        self._set[model] = faults
        log.warning("faults were set", model=model, kinds=[fault.kind for fault in faults])
        told = [worker.set_faults(model, faults) for worker in self._workers]
        return sum(result is None for result in await asyncio.gather(*told, return_exceptions=True))

    async def join(self, worker: Worker) -> None:
        """Tell a worker that has just come, before it serves. Raises ConnectionError, TimeoutError."""
        self._workers.add(worker)
        for model, faults in list(self._set.items()):
            await worker.set_faults(model, faults)

    def leave(self, worker: Worker) -> None:
        """The worker is gone."""
        self._workers.discard(worker)
