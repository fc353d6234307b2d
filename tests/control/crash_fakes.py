"""A controller's process that can be killed at a named step: from then on nothing of it acts any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from router.control.lifecycle import Lifecycle
from router.control.records import AuditRecord, Case, Change, Stored
from router.control.swap import Refusal
from router.core.audit import Verified
from router.core.gate import Report
from router.core.table import Route, VersionTable
from tests.control.lifecycle_fakes import FakeWorker, House


class Crash(BaseException):
    """The process was killed."""


class Storage(Protocol):
    """A store behind a process; it outlives it."""

    def load(self) -> Stored:
        """All of it."""

    def save(self, change: Change) -> None:
        """Durable."""

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:
        """Those of a model."""

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Those that were ever stored."""

    def champions(self, model: str) -> list[str]:
        """Those that a model has had."""

    def audit(self, model: str = "", last: int = 100) -> list[AuditRecord]:
        """What was done."""

    def verify(self, head: str = "") -> Verified:
        """Whether that is whole."""


class Process:
    """A controller: its lifecycle, and steps at one of which it dies, by name or by number. `steps` are those that it
    has come to.

    It is the store and the word as its lifecycle sees them.
    """

    def __init__(self, house: House, store: Storage, **more: Any) -> None:
        self.house = house
        self.store = store
        self.dies_at = ""
        self.dies_in: int | None = None
        self.alive = True
        self.steps: list[str] = []
        self.handles: dict[FakeWorker, Handle] = {}
        self.lifecycle: Lifecycle = house.lifecycle(store=self, word=self, **more)

    def step(self, name: str) -> None:
        """Come to a step. Raises Crash there, and at every step once the process is dead."""
        if self.alive:
            self.steps.append(name)
            self.alive = name != self.dies_at and len(self.steps) != self.dies_in
        if not self.alive:
            raise Crash(name)

    async def end(self) -> None:
        """What was under way in it stops."""
        self.alive = False
        while tasks := set(self.lifecycle._turns._tasks):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def start(self, *workers: FakeWorker) -> Lifecycle:
        """Begin, and have these workers join."""
        await self.lifecycle.start()
        for worker in workers:
            await self.join(worker)
        return self.lifecycle

    async def join(self, worker: FakeWorker) -> None:
        """A worker knocks."""
        self.handles[worker] = Handle(self, worker)
        await self.lifecycle.join(self.handles[worker])

    # The word.
    @property
    def generation(self) -> int:
        """What it says."""
        return self.house.word

    @generation.setter
    def generation(self, generation: int) -> None:
        self.step("before the word")
        self.house.generation = generation
        self.step("after the word")

    # The store.
    def load(self) -> Stored:
        """All that is stored."""
        return self.store.load()

    def save(self, change: Change) -> None:
        """Store."""
        self.step("before the store")
        self.store.save(change)
        self.step("after the store")

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:
        """Those that are stored."""
        return self.store.reports(model, number, kind, last)

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Those that are stored."""
        return self.store.cases(model, number, kind, last)

    def champions(self, model: str) -> list[str]:
        """Those that are stored."""
        return self.store.champions(model)

    def audit(self, model: str = "", last: int = 100) -> list[AuditRecord]:
        """What is stored."""
        return self.store.audit(model, last)

    def verify(self, head: str = "") -> Verified:
        """Of what is stored."""
        return self.store.verify(head)


class Handle:
    """A worker, as one controller sees it."""

    def __init__(self, process: Process, worker: FakeWorker) -> None:
        self.process = process
        self.worker = worker
        self.index = worker.index

    async def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """As the worker does."""
        self.process.step(f"worker {self.index} is to prepare")
        refusals = await self.worker.prepare(table)
        self.process.step(f"worker {self.index} has prepared")
        return refusals

    async def preload(self, route: Route) -> Sequence[Refusal]:
        """As the worker does."""
        self.process.step(f"worker {self.index} is to load")
        refusals = await self.worker.preload(route)
        self.process.step(f"worker {self.index} has loaded")
        return refusals

    async def retire(self, before: int) -> None:
        """As the worker does."""
        self.process.step(f"worker {self.index} is to let go")
        await self.worker.retire(before)
        self.process.step(f"worker {self.index} has let go")

    async def bind(self) -> None:
        """As the worker does."""
        self.process.step(f"worker {self.index} is to open its port")
        await self.worker.bind()
