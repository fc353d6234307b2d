"""The life of versions: who serves, and how that changes. Every act is recorded, durable, then visible to all workers.

The one place that decides. `swap` makes a table visible, `change` makes it durable first, `lookout` compares with the
repository, `opening` finds first champions, `examination` takes a version from a file to ready.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import structlog

from router.control.change import Changes, Draft, Store
from router.control.events import Events
from router.control.examination import Examination, Warmups
from router.control.examiner import Evidence, Examiner, Gates, Progress, Trials
from router.control.lookout import NOT_ASKED, Lookout
from router.control.opening import Opening
from router.control.planning import Planning
from router.control.records import ModelView, Order, PromotionPlan, VersionRecord
from router.control.registry import Registry
from router.control.repository import FoundModel, named, scan
from router.control.room import Room
from router.control.succession import Succession
from router.control.swap import PATIENCE_S, Crew, Swap, Word, Worker
from router.control.switches import Switches
from router.control.turns import Turns
from router.core.gate import Report
from router.core.table import VersionTable
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import NotFound, Refused

log = structlog.get_logger()

ROUTER: Final = Order()
Answer = TypeVar("Answer")


class Lifecycle:
    """`explicit`: models serve only when they are asked for; `wanted` are those asked for at the start, `*` all that
    are there then. `allow_faults`: settings may make a model fail. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        models: Path,
        store: Store,
        word: Word,
        trials: Trials,
        gates: Gates,
        evidence: Evidence,
        warmups: Warmups,
        crew: Crew,
        room: Room,
        explicit: bool,
        wanted: Collection[str],
        progress: Progress = lambda done, of, request: None,  # noqa: ARG005
        patience_s: float = PATIENCE_S,
        allow_faults: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._scan = functools.partial(scan, models, allow_faults)
        self._word = word
        self._explicit = explicit
        self._wanted = set(wanted)
        self._clock = clock
        self._room = room
        self.events = Events(clock)
        self._registry = Registry(clock)
        self._swap = Swap(word, crew, patience_s)
        self._turns = Turns()
        self._changes = Changes(self._registry, self._swap, store, self.events, self._turns, clock)
        self._examiner = Examiner(trials, gates, evidence, progress)
        self._lookout = Lookout(self._changes, self._examiner, explicit)
        self._opening = Opening(self._changes, self._examiner, self._lookout)
        self._examination = Examination(self._changes, self._examiner, self._lookout, warmups, room)
        self._planning = Planning(self._changes, room)
        succession, switches = Succession(self._changes, self._planning, self._examination), Switches(self._changes)
        self.promote, self.rollback = succession.promote, succession.rollback
        self.freeze, self.set_alias, self.set_fallback = switches.freeze, switches.set_alias, switches.set_fallback

    @property
    def table(self) -> VersionTable:
        """What serves. Until there is a first table it is none that could be told to anybody."""
        return self._swap.table

    @property
    def started(self) -> bool:
        """Whether there is a first table."""
        return self._turns.started.is_set()

    @property
    def frozen(self) -> frozenset[str]:
        """The models that may not be promoted; EVERYTHING among them stands for all."""
        return self._registry.frozen

    def versions(self, model: str = "") -> list[ModelView]:
        """Models with their versions. Raises NotFound for one that is not known."""
        if model:
            self._registry.known(model)
        names = {*self.table.routes, *self._registry.found} if not model else {model}
        return [self._registry.view(name, self.table.routes.get(name)) for name in sorted(names)]

    # ---- starting ----

    async def start(self) -> None:
        """Make the first table: the stored one if workers may be serving it, else what is stored and still there.

        Raises SettingsError when there can be none.
        """
        stored = await asyncio.to_thread(self._changes.store.load)
        self._registry.put(stored.records.values())
        self._registry.frozen = stored.frozen
        for route in stored.table.routes.values():
            for number, version in route.versions.items():
                record = stored.records.get((route.model, number))
                if record is not None and record.stage in SERVING and version.path:
                    self._changes.versions[route.model, number] = version
        serving = self._word.generation
        if 0 < serving <= stored.table.generation:
            # Whoever serves has prepared the stored table: it was stored after that, and may wait for its flip.
            self._wanted = {model for model, each in stored.table.routes.items() if each.champion}
            self._swap.begin(stored.table)
            self._registry.found = await asyncio.to_thread(self._scan)
            log.info("serving goes on", generation=stored.table.generation)
            self._turns.started.set()
            self._turns.keep(self._resume())
            return
        self._swap.table = stored.table
        await self._first(stored.table, serving)
        self._turns.started.set()

    async def _first(self, stored: VersionTable, serving: int) -> None:
        """The table of a server of which nothing runs yet."""
        found = await asyncio.to_thread(self._scan)
        self._wanted = named(found, self._wanted)
        if serving:
            log.error("the stored table is older than the one that serves", serving=serving, stored=stored.generation)
            self._swap.fence_all()
        self._changes.versions.clear()  # their files may be others by now
        draft = Draft()
        self._opening.settle(draft, self._wanted if self._explicit else None)
        self._lookout.seen(draft, found)
        self._registry.put(draft.records.values())
        await self._lookout.follow(draft)
        await self._opening.begin(
            draft, [each for each in found.values() if self._wants_champion(each.name, draft)], ROUTER
        )
        self._registry.put(draft.records.values())
        table = self._changes.first(draft, max(stored.generation, serving) + 1)
        if not serving and stored.generation and stored.answers_like(table.routes):
            table = VersionTable(stored.generation, table.routes)
        await self._changes.save_first(draft, table)
        self._swap.begin(table)

    def _wants_champion(self, model: str, draft: Draft | None = None) -> bool:
        """Whether a model is to serve and nothing is there that could."""
        if self._explicit and model not in self._wanted:
            return False
        records = {**self._registry.records, **(draft.records if draft is not None else {})}
        mine = [record for (name, _), record in records.items() if name == model]
        # One that has lost its champion is not given an untried version by itself: that is for its owner to say.
        return not any(record.stage in SERVING or record.memory_bytes for record in mine)

    async def _resume(self) -> None:
        """After a restart of this process alone: what was under trial begins anew."""
        async with self._turns.lock:
            draft = Draft()
            self._lookout.seen(draft, self._registry.found)
            under_trial = [each for each in self._registry.records.values() if each.stage in UNDER_TRIAL]
            for record in under_trial:
                again = "its trial was broken off when the controller ended"
                draft.put(replace(record, stage=Stage.FAILED, reason=again, since=self._clock()))
            await self._changes.commit(draft)
        for record in under_trial:
            warm = record.stage is Stage.WARMING
            order = Order(record.actor, "begun anew: the controller had ended")
            self._turns.keep(self._examined(record.model, record.number, order, warm=warm))

    # ---- workers ----

    async def join(self, worker: Worker) -> None:
        """Bring a worker to the table that serves, then let it open its port. Raises ConnectionError, RouterError."""
        await self._turns.started.wait()
        if not await self._swap.join(worker):
            return
        # Not all that serves could be loaded here. Workers must agree: what it refuses serves nowhere.
        async with self._turns.lock:
            draft = Draft()
            for refusal in await worker.prepare(self.table):
                record = self._registry.record(refusal.model, refusal.version)
                if record.stage in SERVING:
                    self._changes.lose(draft, record, refusal.reason)
            await self._changes.commit(draft, joining=worker)

    def leave(self, worker: Worker) -> None:
        """The worker is gone."""
        self._swap.leave(worker)

    # ---- the repository ----

    async def refresh(self) -> None:
        """Look at the repository again: settings, versions, models. Raises RouterError; what serves goes on then."""

        async def look() -> list[VersionRecord]:
            draft = Draft()
            fresh = self._lookout.seen(draft, await asyncio.to_thread(self._scan))
            self._registry.put(each for each in draft.records.values() if each in fresh)
            await self._lookout.follow(draft)
            await self._changes.commit(draft)
            return fresh

        fresh = await self._turns.alone(look)
        starting = [each for each in self._registry.found.values() if self._wants_champion(each.name)]
        if starting:
            await self._begin(starting, ROUTER)
        for record in fresh:
            self._by_policy(record)

    def _by_policy(self, record: VersionRecord) -> None:
        found = self._registry.found[record.model]
        champion = self._registry.at(record.model, Stage.CHAMPION)
        policy = found.settings.lifecycle.on_new_version
        if policy == "none" or champion is None or int(record.number) <= int(champion.number):
            return
        order = Order(reason=f"lifecycle.on_new_version = {policy}")

        async def when_whole() -> None:
            if await self._lookout.whole(found, record.number):
                await self._examined(record.model, record.number, order, warm=policy == "warm")

        self._turns.keep(when_whole())

    async def _begin(self, models: Sequence[FoundModel], order: Order) -> dict[str, str]:
        """Have models serve that serve nothing; the reasons of those that cannot."""

        async def begin() -> dict[str, str]:
            draft = Draft()
            failures = await self._opening.begin(draft, models, order)
            await self._changes.commit(draft)
            return failures

        return await self._turns.alone(begin)

    async def load(self, model: str, number: str = "", order: Order = ROUTER) -> None:
        """Have a model serve, or one of its versions be ready. Raises RouterError; what served goes on then."""
        found = (await asyncio.to_thread(self._scan)).get(model)
        if found is None:
            raise NotFound(f"the repository holds no model '{model[:200]}'")
        self._wanted.add(model)
        await self.refresh()
        champion = self._registry.at(model, Stage.CHAMPION)
        wanted = number or next(iter(found.chosen()), "")
        if found.reason or not wanted:
            self._give_up(model, found.reason or "it has no version that is to be served")
        if champion is None and not number:
            failures = await self._begin([found], order) if self._registry.at(model, *SERVING) is None else {}
            if self._registry.at(model, Stage.CHAMPION) is None:
                self._give_up(model, failures.get(model) or self._reasons(model))
            return
        record = self._registry.record(model, wanted)
        if record.stage not in SERVING:
            report = await self._examined(model, wanted, order, warm=False)
            if not report.passed:
                goes_on = f", version {champion.number} serves on" if champion else ""
                why = self._registry.record(model, wanted).reason
                raise Refused(f"model '{model}' cannot be loaded{goes_on}: version {wanted}: {why}")
        elif record.mark:
            raise Refused(f"version {wanted} of model '{model}': {record.mark}")
        if not number and (champion is None or champion.number != wanted):
            await self.promote(model, wanted, order)

    def _give_up(self, model: str, reason: str) -> None:
        self._wanted.discard(model)
        raise Refused(f"model '{model}' cannot be loaded: {reason}")

    def _reasons(self, model: str) -> str:
        return "; ".join(f"version {each.number}: {each.reason}" for each in self._registry.of(model))

    async def unload(self, model: str, number: str = "", order: Order = ROUTER) -> None:
        """Serve a model, or one of its versions, no more. Raises RouterError; nothing has changed then."""

        async def change() -> None:
            self._registry.known(model)
            going = [each for each in self._registry.of(model) if each.stage in SERVING and number in {"", each.number}]
            if number:
                record = self._registry.record(model, number)
                if record.stage is Stage.CHAMPION:
                    raise Refused(
                        f"version {number} of model '{model}' is its champion: promote another, or unload all"
                    )
                if not going:
                    raise Refused(f"version {number} of model '{model}' is {record.stage}, it is not loaded")
            draft = Draft()
            for record in going:
                draft.put(self._lookout.retired(record, order, NOT_ASKED))
            draft.entries.append(self._changes.entry(order, "unload", model, number))
            await self._changes.commit(draft)
            if not number:
                self._wanted.discard(model)

        await self._turns.alone(change)

    # ---- trials ----

    async def test(self, model: str, number: str, order: Order) -> Report:
        """Put a version through its gates; one that passes is ready. Raises RouterError."""
        return await self._examined(model, number, order, warm=False)

    async def warm(self, model: str, number: str, order: Order) -> Report:
        """The same, then the warm-up; the report of the last of both. Raises RouterError."""
        return await self._examined(model, number, order, warm=True)

    async def _examined(self, model: str, number: str, order: Order, *, warm: bool) -> Report:
        await self._turns.started.wait()
        if (model, number) not in self._registry.records:
            await self.refresh()
        return await self._turns.shielded(self._examination.run(model, number, order, warm=warm))

    # ---- who answers ----

    async def plan(self, model: str, number: str) -> PromotionPlan:
        """What a promotion would do. Raises NotFound."""
        return await self._planning.promotion(model, number)

    # ---- time passes ----

    async def sweep(self) -> None:
        """Let go of standbys whose window is over; to be called every second or so."""
        now = self._clock()
        over = []
        for record in list(self._registry.records.values()):
            if record.stage is Stage.STANDBY and record.model in self.table.routes:
                window = self.table.routes[record.model].settings.lifecycle.rollback_window_s
                if now - record.since > window:
                    over.append(record)
        if over:

            async def change() -> None:
                draft = Draft()
                for record in over:
                    if self._registry.records[record.model, record.number] == record:
                        draft.put(self._lookout.retired(record, ROUTER, "retired: its rollback window is over"))
                        draft.entries.append(self._changes.entry(ROUTER, "retire", record.model, record.number))
                await self._changes.commit(draft)

            await self._turns.alone(change)
