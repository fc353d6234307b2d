"""The swap: every worker prepares a new table, it becomes durable, one word names it.

A table is prepared by every worker before anything visible changes, stored, and only then named by the generation word,
in one store of eight bytes that all workers read. A worker that joins opens its port under the lock that swaps take,
with the table that serves then. A worker that serves without having prepared the new table would have nothing to answer
from: whoever cannot be reached is waited for, then ended (the supervisor starts it again).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from router.core.table import Route, VersionTable
from router.errors import Refused

log = structlog.get_logger()

MAX_ATTEMPTS: Final = 4
"""How often a table is cut down by what the workers refuse before the change is given up."""
PATIENCE_S: Final = 5.0
"""A change waits so long for a worker that serves but is not here: it knocks several times a second."""
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Refusal:
    """A version that a worker could not load."""

    model: str
    version: str
    reason: str


class Worker(Protocol):
    """A worker that has joined."""

    index: int

    async def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """Load what is missing and run it once; what could not be loaded. A table beyond the one that serves takes the
        place of those that were prepared for a change that was given up. Raises ConnectionError when it is gone."""

    async def preload(self, route: Route) -> Sequence[Refusal]:
        """Load what is missing for a route that is to come, beside everything else; what could not be loaded.

        Raises ConnectionError when it is gone.
        """

    async def retire(self, before: int) -> None:
        """Let go of older generations; returns when their last runs are over. Raises ConnectionError."""

    async def bind(self) -> None:
        """Open the port."""


class Crew(Protocol):
    """All worker processes, joined or not."""

    def serving(self) -> Collection[int]:
        """The indices of those whose port is open."""

    def fence(self, index: int) -> None:
        """End the process if its port is open; the supervisor starts another."""


class Word(Protocol):
    """The generation word."""

    generation: int


Routes = Mapping[str, Route]
Save = Callable[[VersionTable], Awaitable[None]]
"""Makes a table durable. Raises Refused; nothing has changed then."""
Cut = Callable[[Routes, Sequence[Refusal]], Awaitable[Routes]]
"""The routes without what workers could not load. Raises a RouterError where the change makes no sense without it."""


def champions_last(routes: Routes, refusals: Iterable[Refusal]) -> list[Refusal]:
    """In the order in which they are to be lost: whoever is refused with its champion is no heir of it."""
    return sorted(refusals, key=lambda each: each.model in routes and routes[each.model].champion == each.version)


class Swap:
    """Owns the table that serves. `to` and `join` are for one caller at a time: the lifecycle's lock sees to that.

    `patience_s`: so long a worker that serves but has not joined is waited for.
    """

    def __init__(self, word: Word, crew: Crew, patience_s: float = PATIENCE_S) -> None:
        self._word = word
        self._crew = crew
        self._patience_s = patience_s
        self._lock = asyncio.Lock()  # a swap or a join
        self._workers: set[Worker] = set()
        self._last = 0  # generations are used once, also by tables that never served
        self.table = VersionTable(0, {})
        """What serves."""

    @property
    def workers(self) -> Collection[Worker]:
        """Those that have joined."""
        return set(self._workers)

    @property
    def serving(self) -> int:
        """The generation that workers answer from; 0 before the first."""
        return self._word.generation

    def begin(self, table: VersionTable) -> None:
        """The first table of this process: prepared by all that serve, or by nobody because nobody does."""
        self.table = table
        self._last = self._word.generation = table.generation

    def next_generation(self) -> int:
        """A number that no table has had."""
        self._last = max(self._last, self.table.generation, self._word.generation) + 1
        return self._last

    # ---- workers ----

    async def join(self, worker: Worker) -> Sequence[Refusal]:
        """Bring a worker to the table that serves, then let it open its port; what it refused, if it is not taken in.

        Changes do not wait while it loads: it loads what has changed meanwhile, until it has caught up. Raises
        ConnectionError.
        """
        while True:
            table = self.table
            if refusals := await worker.prepare(table):
                return refusals
            async with self._lock:
                if table.generation == self.table.generation:
                    await self._take_in(worker)
                    return ()

    async def _take_in(self, worker: Worker) -> None:
        await worker.bind()
        self._workers.add(worker)

    def has(self, worker: Worker) -> bool:
        """Whether the worker was taken in, and is not gone since."""
        return worker in self._workers

    def leave(self, worker: Worker) -> None:
        """The worker is gone."""
        self._workers.discard(worker)

    def fence_all(self) -> None:
        """End every worker that serves."""
        for index in self._crew.serving():
            self._crew.fence(index)

    async def reached(self) -> Collection[Worker]:
        """The workers, once all that serve are here or patience is over."""
        until = asyncio.get_running_loop().time() + self._patience_s
        while self._absent() and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_LOOK_S)
        return self.workers

    @property
    def complete(self) -> bool:
        """Whether all that serve have joined."""
        return not self._absent()

    def _absent(self) -> set[int]:
        return set(self._crew.serving()) - {worker.index for worker in self._workers}

    async def _gathered(self) -> None:
        """Wait for workers that serve but are not here, as when this process has just been started again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience_s
        while absent := self._absent():
            if loop.time() > until:
                for index in absent:
                    log.error("a worker serves but cannot be reached: it is ended", worker=index)
                    self._crew.fence(index)
                until = loop.time() + self._patience_s
            await asyncio.sleep(_LOOK_S)

    # ---- before a swap ----

    async def preload(self, route: Route) -> Sequence[Refusal]:
        """Have all workers load what a route will need, while others have their turns; what could not be loaded.

        One after another: they share the cores with those who answer. One that is gone, or comes meanwhile, loads it
        when the table is prepared.
        """
        for worker in list(self._workers):
            try:
                if refusals := await worker.preload(route):
                    return refusals
            except ConnectionError:
                log.info("a worker went while it loaded", worker=worker.index)
        return []

    # ---- the swap ----

    async def to(self, routes: Routes, save: Save, cut: Cut, joining: Worker | None = None) -> Collection[Worker]:
        """Swap to these routes, with every worker that serves; `joining` is then one of them.

        Gives the workers that answer from it. Raises what `save` and `cut` raise; nothing has changed then.
        """
        while True:
            await self._gathered()
            async with self._lock:
                if not self._absent():
                    return await self._publish(routes, save, cut, joining)

    async def _publish(self, routes: Routes, save: Save, cut: Cut, joining: Worker | None) -> Collection[Worker]:
        workers = self._workers | ({joining} if joining else set())
        try:
            table = await self._agreed(routes, workers, cut)
            await save(table)
        except Exception:
            await self._taken_back()
            raise
        self.table = table
        self._word.generation = table.generation
        log.info("a new table serves", generation=table.generation, models=len(table.routes))
        if joining in workers:
            try:
                await self._take_in(joining)
            except ConnectionError:  # the others have the table
                workers.discard(joining)
        return workers

    async def _agreed(self, routes: Routes, workers: set[Worker], cut: Cut) -> VersionTable:
        """A table that all workers have prepared."""
        for _ in range(MAX_ATTEMPTS):
            table = VersionTable(self.next_generation(), routes)
            refusals = await self._prepared(table, workers)
            if not refusals:
                return table
            for refusal in refusals:
                facts = {"model": refusal.model, "version": refusal.version, "reason": refusal.reason}
                log.warning("a worker cannot load a version", **facts)
            routes = await cut(routes, refusals)
        raise Refused("the workers could not agree on what to load; nothing has changed")

    async def _taken_back(self) -> None:
        """Have the workers forget what they have prepared in vain: what serves is all that they need."""
        asked = list(self._workers)
        for answer in await asyncio.gather(*(each.prepare(self.table) for each in asked), return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, ConnectionError):
                log.error("a worker could not go back to what serves", reason=str(answer))

    async def _prepared(self, table: VersionTable, workers: set[Worker]) -> list[Refusal]:
        """Have all workers prepare a table; what they refuse. Those who are gone are taken out of `workers`."""
        asked = list(workers)
        answers = await asyncio.gather(*(worker.prepare(table) for worker in asked), return_exceptions=True)
        refusals: list[Refusal] = []
        for worker, answer in zip(asked, answers, strict=True):
            if isinstance(answer, ConnectionError):  # when it comes back it prepares what is stored then
                workers.discard(worker)
                self._workers.discard(worker)
                self._crew.fence(worker.index)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                refusals += answer
        return refusals
