"""A change on its way: gathered, agreed with the workers, made durable, then visible."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from router.control.events import Events
from router.control.heirs import Unapproved, all_may, inheritance
from router.control.policy import bereft, fitted, settled
from router.control.records import Case, Change, Entry, Order, Stored, VersionRecord
from router.control.registry import Registry, route_of
from router.control.swap import Refusal, Routes, Swap, Worker, champions_last
from router.control.turns import Turns
from router.core.gate import Report
from router.core.table import Route, Version, VersionState, VersionTable
from router.core.version import SERVING, Stage
from router.errors import Refused, RouterError, SettingsError
from router.model_settings import ModelSettings

log = structlog.get_logger()

DRAIN_S: Final = 10.0
"""A run that takes longer is not waited for by those who want a version back that drains."""

Move = tuple[VersionRecord | None, VersionRecord]
"""A record as it was, and as it is."""
_UNLOADED: Final = frozenset({Stage.FAILED, Stage.RETIRED})
"""Versions that are tried anew before they serve again."""


class Store(Protocol):
    """What outlives the processes. All methods block."""

    def load(self) -> Stored:
        """Everything, a table of generation 0 when there is nothing. Raises RouterError."""

    def save(self, change: Change) -> None:
        """Durable when it returns. Raises Refused; nothing has changed then."""

    def reports(self, model: str, number: str = "", kind: str = "", last: int = 0) -> list[Report]:
        """Reports, newest first; `last` 0: the newest of each kind and version."""

    def cases(self, model: str = "", number: str = "", kind: str = "", last: int = 0) -> list[Case]:
        """Cases, newest first, open and ended; `last` 0: all."""


@dataclass(slots=True)
class Draft:
    """What a change is to bring. `routes` are those whose operators' switches or aliases change.

    `must`: a version without which the change makes no sense.
    """

    records: dict[tuple[str, str], VersionRecord] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)
    frozen: frozenset[str] | None = None
    cases: dict[int, Case] = field(default_factory=dict)
    importance: Mapping[str, str] | None = None
    must: tuple[str, str] | None = None

    def put(self, *records: VersionRecord) -> None:
        """These take the place of those before."""
        for record in records:
            self.records[record.model, record.number] = record

    def take(self, other: Draft) -> None:
        """Bring what another is to bring as well, after what this one does."""
        self.put(*other.records.values())
        self.entries += other.entries
        self.reports += other.reports
        self.cases |= other.cases

    @property
    def changes(self) -> bool:
        """Whether there is anything to store."""
        kept = bool(self.records or self.entries or self.reports or self.cases)
        return kept or self.frozen is not None or self.importance is not None


class Changes:
    """Makes drafts durable and visible. One at a time: whoever commits has its turn."""

    def __init__(
        self,
        registry: Registry,
        swap: Swap,
        store: Store,
        events: Events,
        turns: Turns,
        clock: Callable[[], float],
        unapproved: Unapproved = all_may,
    ) -> None:
        self.registry = registry
        self.swap = swap
        self.store = store
        self.events = events
        self.clock = clock
        self.turns = turns
        self._unapproved = unapproved
        self._drains: set[asyncio.Task[None]] = set()
        self.versions: dict[tuple[str, str], Version] = {}
        """What is known of versions that can be loaded."""
        self._owed = Draft()
        self._held: dict[str, tuple[ModelSettings, str]] = {}  # settings with which workers cannot load what serves

    @property
    def table(self) -> VersionTable:
        """What serves."""
        return self.swap.table

    def entry(
        self,
        order: Order,
        action: str,
        model: str = "",
        number: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> Entry:
        """An act by somebody, now."""
        return Entry(self.clock(), order.actor, action, model, number, order.reason, before or {}, after or {})

    def _made(self, draft: Draft) -> dict[str, Route]:
        """All routes as the records make them."""
        records = {**self.registry.records, **draft.records}
        by_model: dict[str, list[VersionRecord]] = {}
        for (model, _), record in records.items():
            by_model.setdefault(model, []).append(record)
        found = self.registry.found
        served = {model for model, mine in by_model.items() if any(each.stage in SERVING for each in mine)}
        made: dict[str, Route] = {}
        for model in sorted({*found, *served}):
            there = found.get(model)
            before = draft.routes.get(model) or self.table.routes.get(model)
            if there is None and before is None:
                continue
            mine = {number: version for (name, number), version in self.versions.items() if name == model}
            made[model] = route_of(there, before, by_model.get(model, ()), mine)
        return made

    def routes(self, draft: Draft) -> Routes:
        """All routes as they would be."""
        return fitted(self._followed(self._made(draft))[0], self.table.routes)

    def misfit(self, draft: Draft, model: str, number: str) -> str:
        """Why the settings would keep a version from being the champion that the draft makes it; empty if they fit."""
        route = self.routes(draft)[model]
        return "" if route.champion == number else route.versions[number].reason

    def bereft(self, draft: Draft) -> Mapping[str, str]:
        """Models that the draft would leave without the failover that they have, and why."""
        return bereft(self.routes(draft), self.table.routes)

    def unfit(self, draft: Draft) -> Mapping[str, str]:
        """Models that serve with the settings they had, and why those of now are not followed."""
        return self._followed(self._made(draft))[1]

    def _followed(self, made: Mapping[str, Route]) -> tuple[Mapping[str, Route], Mapping[str, str]]:
        if not self.turns.started.is_set():  # nothing serves that could go on with what it had
            return made, {}
        before, held = self.table.routes, dict[str, str]()
        for name, (refused, reason) in self._held.items():
            if name in made and name in before and made[name].settings == refused:
                held[name] = reason
        kept = {name: replace(made[name], settings=before[name].settings) for name in held}
        routes, unfit = settled({**made, **kept}, before)
        return routes, held | unfit

    def _log(self, routes: Routes, draft: Draft) -> None:
        """Versions that settings keep from serving, once."""
        for key, record in {**self.registry.records, **draft.records}.items():
            version, before = (
                table[key[0]].versions.get(key[1]) if key[0] in table else None for table in (routes, self.table.routes)
            )
            if record.stage not in SERVING or version is None or version.state is VersionState.READY:
                continue
            if before is None or before.reason != version.reason:
                log.warning("a version cannot be served", model=key[0], version=key[1], reason=version.reason)

    async def commit(self, draft: Draft, joining: Worker | None = None) -> int:
        """Durable, then visible to all workers, in one flip; gives the generation. Raises RouterError: then nothing
        has changed."""
        routes = self.routes(draft)
        self._log(routes, draft)
        if joining is None and self.table.answers_like(routes):
            if draft.changes or self._owed.changes:
                self._tell(await self._save(draft, None))
            self.swap.table = VersionTable(self.table.generation, routes)  # why others do not serve may be new
            if any(record.stage is Stage.DRAINING for record in draft.records.values()):
                self.let_go(())  # it was to serve, and nobody had loaded it
            return self.table.generation

        async def cut(refused: Routes, refusals: Sequence[Refusal]) -> Routes:
            for refusal in champions_last(refused, refusals):
                self._lose(draft, refused, refusal, joins=joining is not None)
            return self.routes(draft)

        moved: list[Move] = []

        async def save(table: VersionTable) -> None:
            moved.extend(await self._save(draft, table))

        try:
            workers = await self.swap.to(routes, save, cut, joining)
        except Exception:
            self.turns.keep(self._released(self.swap.workers, self.table.generation))  # what they loaded in vain
            raise
        self._tell(moved)
        text = f"generation {self.table.generation} serves"
        self.events.tell("swapped", draft.must[0] if draft.must else "", "", text, self.table.generation)
        self.let_go(workers)
        return self.table.generation

    def owe(self, draft: Draft) -> None:
        """What could not be stored and concerns nobody who serves: so it is from now on, and it is stored with the next
        change. A server that ends before finds it as it was, and comes to the same end."""
        self._tell(self._put(draft))
        self._owed.take(draft)

    async def pay(self) -> None:
        """Store what is owed; for whoever has the turn. Raises Refused when that is still not possible."""
        if self._owed.changes:
            await self._save(Draft(), None)

    def _tell(self, moved: Iterable[Move]) -> None:
        for before, record in moved:
            if before is None or before.stage is not record.stage:
                text = f"version {record.number} is {record.stage}" + (f": {record.reason}" if record.reason else "")
                self.events.tell("moved", record.model, record.number, text, stage=record.stage, actor=record.actor)
            elif before.mark != record.mark:
                self.events.tell("marked", record.model, record.number, record.mark or "all is well with it again")

    async def _save(self, draft: Draft, table: VersionTable | None) -> list[Move]:
        """Make it durable, and with it what is owed; how records have changed."""
        whole = Draft()
        whole.take(self._owed)
        whole.take(draft)
        change = Change(
            table,
            tuple(whole.records.values()),
            tuple(whole.reports),
            tuple(whole.entries),
            draft.frozen,
            tuple(whole.cases.values()),
            draft.importance,
        )
        await asyncio.to_thread(self.store.save, change)
        self._owed = Draft()
        return self._put(draft)

    def _put(self, draft: Draft) -> list[Move]:
        known = self.registry.records
        moved = [(known.get(key), record) for key, record in draft.records.items()]
        self.registry.put(draft.records.values())
        for key, record in draft.records.items():
            if record.stage in _UNLOADED:
                self.versions.pop(key, None)
        if draft.frozen is not None:
            self.registry.frozen = draft.frozen
        self.registry.put_cases(draft.cases.values())
        if draft.importance is not None:
            self.registry.importance = draft.importance
        return moved

    def first(self, draft: Draft, generation: int) -> VersionTable:
        """The table of a server that starts."""
        routes = self.routes(draft)
        self._log(routes, draft)
        return VersionTable(generation, routes)

    async def save_first(self, draft: Draft, table: VersionTable) -> None:
        """Make it durable, before any worker sees it. Raises SettingsError when it cannot be."""
        try:
            await self._save(draft, table)
        except Refused as error:
            raise SettingsError(f"the state directory cannot be written: {error}") from error

    # ---- what workers refuse ----

    def _lose(self, draft: Draft, routes: Routes, refusal: Refusal, *, joins: bool) -> None:
        """A worker, or one that `joins`, cannot load a version: it serves no more; its model goes on with what it has.

        Raises Refused.
        """
        key = (refusal.model, refusal.version)
        record = draft.records.get(key) or self.registry.records.get(key)
        each = routes.get(refusal.model)
        if record is None or each is None or refusal.version not in each.versions:
            raise RouterError("a worker refused a version that the table does not hold")
        if record.stage not in SERVING:  # two workers refuse it
            return
        if key == draft.must:
            raise Refused(f"version {record.number} of model '{record.model}' cannot be loaded: {refusal.reason}")
        served = self.table.routes.get(record.model)
        now = served.versions.get(record.number) if served is not None else None
        if not joins and now is not None and now.state is VersionState.READY:
            # Every worker has it: what cannot be loaded is what its new settings would make of it.
            self._held[record.model] = (routes[record.model].settings, refusal.reason)
            self.versions[key] = now
            return
        self.lose(draft, record, refusal.reason)

    def lose(self, draft: Draft, record: VersionRecord, reason: str) -> None:
        """A version that served cannot: another takes its place, the standby before any other.

        Where none may, the model does not answer, and its fallback does.
        """
        model, number = record.model, record.number
        record, order = draft.records.get((model, number), record), Order(reason=reason)
        draft.put(self.registry.moved(record, Stage.FAILED, order, reason))
        draft.entries.append(self.entry(order, "lost", model, number))
        log.warning("a version cannot be served", model=model, version=number, reason=reason)
        if record.stage is not Stage.CHAMPION:
            return
        others = [draft.records.get((model, each.number), each) for each in self.registry.of(model)]
        able = [each for each in others if (model, each.number) in self.versions]
        cases = {**self.registry.cases, **draft.cases}.values()
        found = inheritance(record, able, cases, self._unapproved, self.clock())
        for each, why in found.passed:
            draft.put(replace(each, reason=why))
            draft.entries.append(self.entry(order, "passed over", model, each.number, {}, {"why": why}))
        if (over := found.over) is not None:
            draft.cases[over.id] = over
            after: dict[str, object] = {"state": over.state, "case": over.id, "why": over.body["why"]}
            draft.entries.append(self.entry(order, "canary", model, over.number, {}, after))
        if (heir := found.heir) is not None:
            draft.put(self.registry.moved(heir, Stage.CHAMPION, order, f"version {number} cannot be loaded"))
            draft.entries.append(self.entry(order, "succeeded", model, heir.number))

    async def preload(self, version: Version, settings: ModelSettings) -> None:
        """Have all workers load a version before it is its turn to serve: no other change waits for that.

        Raises Refused when one of them cannot.
        """
        ready = replace(version, state=VersionState.READY)
        refusals = await self.swap.preload(Route(version.model, None, {version.number: ready}, settings))
        if refusals:
            what = f"version {version.number} of model '{version.model}'"
            raise Refused(f"{what} cannot be loaded: {refusals[0].reason}")

    # ---- what is not needed any more ----

    def let_go(self, workers: Collection[Worker]) -> None:
        """Have these workers let go of all but the table that serves; what drained is retired when they have."""
        going = [each for each in self.registry.records.values() if each.stage is Stage.DRAINING]
        drain = self.turns.keep(self._drain(workers, self.table.generation, going))
        self._drains.add(drain)
        drain.add_done_callback(self._drains.discard)

    async def drained(self, model: str, number: str = "") -> None:
        """Wait until what drains of a model, or that version of it, has been let go, as long as that should take."""
        draining = [each for each in self.registry.of(model) if each.stage is Stage.DRAINING]
        if self._drains and any(number in {"", each.number} for each in draining):
            await asyncio.wait(list(self._drains), timeout=DRAIN_S)

    async def _drain(self, workers: Collection[Worker], generation: int, going: Sequence[VersionRecord]) -> None:
        """Have the workers let go of older tables; versions that drained meanwhile are retired then."""
        await self._released(workers, generation)
        async with self.turns.lock:
            draft = Draft()
            for record in going:
                if self.registry.records[record.model, record.number] == record:
                    draft.put(self.registry.moved(record, Stage.RETIRED, Order(record.actor), record.reason))
            try:
                if draft.changes:
                    await self.commit(draft)
            except RouterError as error:  # it is tried again with the next change, or at the next start
                log.error("versions that have drained could not be stored as retired", reason=str(error))

    async def _released(self, workers: Collection[Worker], generation: int) -> None:
        """Have the workers let go of tables older than this one, and of what no table needs."""
        told = await asyncio.gather(*(worker.retire(generation) for worker in workers), return_exceptions=True)
        for answer in told:
            if isinstance(answer, BaseException) and not isinstance(answer, ConnectionError):
                log.error("a worker could not let go of older tables", reason=str(answer))

    # ---- answers to whoever asks ----

    def loaded(self, model: str, number: str) -> bool:
        """Whether all workers hold the version."""
        route = self.table.routes.get(model)
        version = route.versions.get(number) if route is not None else None
        return version is not None and version.state is VersionState.READY

    def route(self, model: str, **changed: object) -> Route:
        """A model's route with other switches. Raises NotFound."""
        route = self.table.routes.get(model)
        if route is None:
            self.registry.known(model)
            raise Refused(f"model '{model}' serves nothing, and its directory is gone")
        return replace(route, **changed)  # type: ignore[arg-type]  # by name
