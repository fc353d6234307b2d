"""The first table of a controller: what serves goes on, or what is stored and still there begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from router.control.change import Changes, Draft
from router.control.demand import Demand
from router.control.lookout import Lookout
from router.control.opening import Opening
from router.control.records import Order, VersionRecord
from router.control.repository import FoundModel, named
from router.control.rollout import Rollouts
from router.control.swap import Word
from router.core.table import VersionTable
from router.core.tensor import Signature
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import Refused, SettingsError

log = structlog.get_logger()

ROUTER: Final = Order()
NOTHING: Final = Signature((), ())
"""Of a version of which nothing is known."""
Again = Coroutine[Any, Any, None]
"""A trial that is begun anew."""


class Start:
    """Nobody else has a turn before it is done. `scan` looks at the repository, it blocks and raises SettingsError."""

    def __init__(
        self,
        changes: Changes,
        lookout: Lookout,
        opening: Opening,
        demand: Demand,
        rollouts: Rollouts,
        word: Word,
        scan: Callable[[], Mapping[str, FoundModel]],
        explicit: bool,
    ) -> None:
        self._changes = changes
        self._registry = changes.registry
        self._swap = changes.swap
        self._turns = changes.turns
        self._lookout = lookout
        self._opening = opening
        self._demand = demand
        self._rollouts = rollouts
        self._word = word
        self._scan = scan
        self._explicit = explicit

    async def run(self, new: Callable[[VersionRecord], None], broken_off: Callable[[VersionRecord], Again]) -> None:
        """Make the first table. `new` hears of versions that appeared meanwhile, `broken_off` goes on with those that
        were under trial.

        Raises SettingsError when there can be no table.
        """
        stored = await asyncio.to_thread(self._changes.store.load)
        self._registry.put(stored.records.values())
        self._registry.frozen = stored.frozen
        self._registry.take_cases(stored.cases, stored.last_case)
        self._registry.importance = stored.importance
        for route in stored.table.routes.values():
            for number, version in route.versions.items():
                record = stored.records.get((route.model, number))
                if record is not None and record.stage in SERVING and version.signature != NOTHING:
                    self._changes.versions[route.model, number] = version
        serving = self._word.generation
        if 0 < serving <= stored.table.generation:
            # Whoever serves has prepared the stored table: it was stored after that, and may wait for its flip.
            self._demand.wanted = {model for model, each in stored.table.routes.items() if each.champion}
            self._swap.begin(stored.table)
            self._registry.found = await asyncio.to_thread(self._scanned)
            log.info("serving goes on", generation=stored.table.generation)
            self._turns.started.set()
            self._turns.keep(self._resume(new, broken_off))
            return
        self._swap.table = stored.table
        fresh = await self._first(stored.table, serving)
        self._turns.started.set()
        for record in fresh:
            new(record)

    async def _first(self, stored: VersionTable, serving: int) -> list[VersionRecord]:
        """The table of a server of which nothing runs yet; the versions that are new."""
        found = await asyncio.to_thread(self._scan)
        self._demand.wanted = named(found, self._demand.wanted)
        if serving:
            log.error("the stored table is older than the one that serves", serving=serving, stored=stored.generation)
            self._swap.fence_all()
        self._changes.versions.clear()  # their files may be others by now
        draft = Draft()
        self._opening.settle(draft, self._demand.wanted if self._explicit else None)
        self._rollouts.settle(draft)
        fresh = self._lookout.seen(draft, found)
        self._registry.put(draft.records.values())
        await self._lookout.follow(draft)
        records = {**self._registry.records, **draft.records}
        beginning = [each for each in found.values() if self._demand.starts(each.name, records)]
        await self._opening.begin(draft, beginning, ROUTER)
        self._registry.put(draft.records.values())
        table = self._changes.first(draft, max(stored.generation, serving) + 1)
        if not serving and stored.generation and stored.answers_like(table.routes):
            table = VersionTable(stored.generation, table.routes)
        await self._changes.save_first(draft, table)
        self._swap.begin(table)
        return fresh

    def _scanned(self) -> Mapping[str, FoundModel]:
        try:
            return self._scan()
        except SettingsError as error:  # what serves needs no repository; it is looked at again when it is back
            log.error("serving goes on without a repository", reason=str(error))
            return {}

    async def _resume(self, new: Callable[[VersionRecord], None], broken_off: Callable[[VersionRecord], Again]) -> None:
        """After a restart of this process alone: what was under trial begins anew, what was draining is let go of."""
        under_trial: list[VersionRecord] = []

        async def resume() -> list[VersionRecord]:
            draft = Draft()
            fresh: list[VersionRecord] = []
            if self._registry.found:  # somebody may have looked again before us
                fresh = self._lookout.seen(draft, self._registry.found)
                await self._lookout.mark(draft, {})
            for record in self._registry.records.values():
                if record.stage in UNDER_TRIAL:
                    under_trial.append(record)
                    why = "its trial was broken off when the controller ended"
                    draft.put(self._registry.moved(record, Stage.FAILED, Order(record.actor), why))
            try:
                await self._changes.commit(draft)
            except Refused as error:
                log.error("what was found could not be stored", reason=str(error))
                self._changes.owe(draft)
            return fresh

        fresh = await self._turns.alone(resume)
        for record in fresh:
            new(record)
        for record in under_trial:
            self._turns.keep(broken_off(record))
        self._changes.let_go(await self._swap.reached())
