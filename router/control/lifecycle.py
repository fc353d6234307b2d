"""What serves, and how that changes: look at the repository, prepare everywhere, store, flip.

A change is a new table. It is prepared by every worker before anything visible changes, written to the store, and
only then named by the generation word, in one store of eight bytes that all workers read. A worker that joins
meanwhile waits: joins and swaps take one lock. A worker that serves without having prepared the new table would
have nothing to answer from: whoever cannot be reached is waited for, then ended (the supervisor starts it again).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import structlog

from router.control.inspection import Request, Result
from router.control.policy import fitted
from router.control.repository import FoundModel, named, route, scan
from router.core.table import Route, Version, VersionState, VersionTable
from router.errors import NotFound, Refused, RouterError, SettingsError

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
        """Load what is missing and run it once; what could not be loaded. Raises ConnectionError when it is gone."""

    async def retire(self, before: int) -> None:
        """Tables of older generations are not needed any more."""

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


class Store(Protocol):
    """What outlives the processes."""

    def load(self) -> VersionTable:
        """The stored table, of generation 0 when there is none. Raises RouterError, OSError."""

    def save(self, table: VersionTable) -> None:
        """Durable when it returns. Raises OSError."""


class Trials(Protocol):
    """Tries versions before any worker sees them."""

    def inspect(self, requests: Iterable[Request]) -> Iterator[Result]:
        """One result for each request, in their order. Blocks."""

    def close(self) -> None:
        """Give back what the trials needed."""


Progress = Callable[[int, int, Request | None], None]
"""Told how many of how many versions have been tried, and which is next."""


class Lifecycle:
    """The one place that changes the table. `explicit`: models serve only when they are asked for.

    `wanted` are those that are asked for at the start; `*` stands for all that are there then. `allow_faults`: settings
    may make a model fail.
    """

    def __init__(
        self,
        models: Path,
        store: Store,
        word: Word,
        trials: Trials,
        crew: Crew,
        explicit: bool,
        wanted: Collection[str],
        progress: Progress = lambda done, of, request: None,  # noqa: ARG005
        patience_s: float = PATIENCE_S,
        allow_faults: bool = False,
    ) -> None:
        self._scan = functools.partial(scan, models, allow_faults)
        self._store = store
        self._word = word
        self._trials = trials
        self._crew = crew
        self._explicit = explicit
        self._wanted = set(wanted)
        self._progress = progress
        self._patience_s = patience_s
        self._changing = asyncio.Lock()  # one change at a time, from the look at the repository on
        self._lock = asyncio.Lock()  # a swap or a join
        self._started = asyncio.Event()
        self._workers: set[Worker] = set()
        self._changes: set[asyncio.Task[None]] = set()
        self._spares: dict[str, Version] = {}
        self._last = 0  # generations are used once, also by tables that never served
        self.table = VersionTable(0, {})

    # ---- starting ----

    async def start(self) -> None:
        """Make the first table: the stored one if workers may be serving it, else what the repository holds now.

        Raises SettingsError when there can be none.
        """
        stored = await asyncio.to_thread(load_stored, self._store)
        serving = self._word.generation
        if 0 < serving <= stored.generation:
            # Whoever serves has prepared the stored table: it was stored after that, and may wait for its flip.
            self._wanted = {model for model, each in stored.routes.items() if each.champion}
            log.info("serving goes on", generation=stored.generation)
        else:
            self.table = stored
            stored = await self._first(stored, serving)
        self.table = stored
        self._last = self._word.generation = stored.generation
        self._started.set()

    @property
    def started(self) -> bool:
        """Whether there is a first table. Until then `table` is none that could be told to anybody."""
        return self._started.is_set()

    async def _first(self, stored: VersionTable, serving: int) -> VersionTable:
        found = await asyncio.to_thread(self._scan)
        self._wanted = named(found, self._wanted)
        routes = self._fitting(await self._try_all(found))
        if serving:
            log.error("the stored table is older than the one that serves", serving=serving, stored=stored.generation)
            for index in self._crew.serving():
                self._crew.fence(index)
        elif stored.generation and routes == stored.routes:
            return stored
        table = VersionTable(max(stored.generation, serving) + 1, routes)
        try:
            await asyncio.to_thread(self._store.save, table)
        except OSError as error:
            raise SettingsError(f"the state directory cannot be written: {error.strerror}") from error
        return table

    async def join(self, worker: Worker) -> None:
        """Bring a worker to the table that serves, then let it open its port. Raises ConnectionError, RouterError."""
        await self._started.wait()
        async with self._lock:
            if not await worker.prepare(self.table):
                await self._take_in(worker)
                return
        # Not all that serves could be loaded here. Workers must agree: look at what it refuses again, change for all.
        async with self._changing:
            refusals = await worker.prepare(self.table)
            routes = self.table.routes
            if refusals:
                found = await asyncio.to_thread(self._scan)
                refused = {refusal.model for refusal in refusals} & set(found)
                tried = await self._try({name: found[name] for name in refused})
                routes = {**routes, **{name: self._serving_on(each) for name, each in tried.items()}}
            await self._change(routes, joining=worker)

    async def _take_in(self, worker: Worker) -> None:
        await worker.bind()
        self._workers.add(worker)

    def leave(self, worker: Worker) -> None:
        """The worker is gone."""
        self._workers.discard(worker)

    # ---- changing: to the end, even if whoever asked goes away meanwhile ----

    async def refresh(self) -> None:
        """Look at the repository again and serve what it holds now. Raises RouterError; nothing has changed then."""

        async def change() -> None:
            await self._change(await self._try_all(await asyncio.to_thread(self._scan)))

        await self._shielded(change)

    async def load(self, model: str) -> None:
        """Serve a model (again, from what is on disk now). Raises RouterError; what served goes on then."""
        await self._shielded(lambda: self._load(model))

    async def unload(self, model: str) -> None:
        """Serve a model no more. Raises RouterError; nothing has changed then."""

        async def change() -> None:
            each = self.table.routes.get(model)
            if each is None:
                raise NotFound(f"unknown model '{model[:200]}'")
            await self._change({**self.table.routes, model: _unloaded(each)})
            self._wanted.discard(model)

        await self._shielded(change)

    async def set_fallback(self, model: str, on: bool) -> None:
        """Switch a model to its fallback, so that nothing is run, or back. Raises RouterError; nothing has changed."""

        async def change() -> None:
            each = self.table.routes.get(model)
            if each is None:
                raise NotFound(f"unknown model '{model[:200]}'")
            if on and not each.settings.fallback.chain:
                raise Refused(f"model '{model}' has no fallback to switch to: set `fallback.chain` in its model.toml")
            await self._change({**self.table.routes, model: replace(each, switched=on)})

        await self._shielded(change)

    async def _load(self, model: str) -> None:
        found = await asyncio.to_thread(self._scan)
        if model not in found:
            raise NotFound(f"the repository holds no model '{model[:200]}'")
        made = (await self._try({model: found[model]}))[model]
        others = {name: self.table.routes.get(name) or _unloaded(route(each, {})) for name, each in found.items()} | {
            name: each for name, each in self.table.routes.items() if each.champion
        }
        routes = self._fitted({**others, model: made})
        made = routes[model]
        if made.champion is None and model in self._spares:
            raise Refused(f"model '{model}' cannot be loaded, and serves on as it was: {_reasons(made)}")
        await self._change(routes)
        now = self.table.routes[model]
        if now.champion is not None:
            self._wanted.add(model)
        if now.champion is None or now.champion != made.champion:  # the workers had a word in it
            goes_on = f", version {now.champion} serves on" if now.champion else ""
            raise Refused(f"model '{model}' cannot be loaded{goes_on}: {_reasons(now)}")

    async def _shielded(self, change: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(self._alone(change))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_told_nobody)
            raise

    async def _alone(self, change: Callable[[], Awaitable[None]]) -> None:
        await self._started.wait()
        async with self._changing:
            await change()

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

    # ---- looking ----

    async def _try_all(self, found: Mapping[str, FoundModel]) -> dict[str, Route]:
        """The routes of a whole repository."""
        asked = {name: each for name, each in found.items() if not self._explicit or name in self._wanted}
        tried = await self._try(asked)
        return {
            name: self._serving_on(tried[name]) if name in tried else _unloaded(self._route(each, {}))
            for name, each in found.items()
        }

    async def _try(self, found: Mapping[str, FoundModel]) -> dict[str, Route]:
        """The routes of some models, all of whose versions are tried."""
        requests = [request for model in found.values() for request in model.requests()]
        results: dict[str, dict[str, Result]] = {name: {} for name in found}
        for result in await asyncio.to_thread(self._inspect, requests):
            results[result.model][result.number] = result
            if result.note:
                log.info("a version was tried", model=result.model, version=result.number, note=result.note)
        routes = {name: self._route(model, results[name]) for name, model in found.items()}
        for name, model in found.items():
            self._spares.pop(name, None)
            if (spare := _spare(self.table.routes.get(name), model, results[name])) is not None:
                self._spares[name] = spare
            for number, version in routes[name].versions.items():
                if version.state is not VersionState.READY and not version.left_out:
                    facts = {"model": name, "version": number, "reason": version.reason}
                    log.warning("a version cannot be served", **facts)
        return routes

    def _route(self, model: FoundModel, results: Mapping[str, Result]) -> Route:
        """The route of a model, switched to its fallback as long as nobody switches it back."""
        serving = self.table.routes.get(model.name)
        return replace(route(model, results), switched=serving is not None and serving.switched)

    def _fitting(self, routes: Mapping[str, Route]) -> dict[str, Route]:
        """The routes without what their settings do not fit; the version that serves now goes on where it fits them."""
        made = self._fitted(routes)
        return fitted({name: self._serving_on(each) if routes[name].champion else each for name, each in made.items()})

    @staticmethod
    def _fitted(routes: Mapping[str, Route]) -> dict[str, Route]:
        made = fitted(routes)
        for name, each in made.items():
            for number, version in each.versions.items():
                if version.state is not routes[name].versions[number].state:
                    facts = {"model": name, "version": number, "reason": version.reason}
                    log.warning("a version cannot be served", **facts)
        return made

    def _serving_on(self, made: Route) -> Route:
        """The route, with the version that serves now when nothing newer can."""
        spare = self._spares.get(made.model)
        if made.champion is not None or spare is None:
            return made
        return replace(made, champion=spare.number, versions={**made.versions, spare.number: spare})

    def _inspect(self, requests: list[Request]) -> list[Result]:
        results: list[Result] = []
        self._progress(0, len(requests), requests[0] if requests else None)
        try:
            for result in self._trials.inspect(requests):
                results.append(result)
                upcoming = requests[len(results)] if len(results) < len(requests) else None
                self._progress(len(results), len(requests), upcoming)
        finally:
            self._trials.close()
        return results

    # ---- the swap ----

    async def _change(self, routes: Mapping[str, Route], joining: Worker | None = None) -> None:
        """Swap to these routes, with every worker that serves; `joining` is then one of them."""
        routes = self._fitting(routes)
        if joining is None and routes == self.table.routes:
            return
        while True:
            await self._gathered()
            async with self._lock:
                if not self._absent():
                    await self._publish(routes, joining)
                    if joining is not None:
                        await self._take_in(joining)
                    return

    async def _publish(self, routes: Mapping[str, Route], joining: Worker | None) -> None:
        """Prepare, store, flip. What a worker refuses is left out; its model keeps what it had."""
        workers = self._workers | ({joining} if joining else set())
        for _ in range(MAX_ATTEMPTS):
            self._last += 1
            table = VersionTable(self._last, routes)
            refusals = await self._prepared(table, workers)
            if not refusals:
                break
            for refusal in refusals:
                if (spare := self._spares.get(refusal.model)) is not None and spare.number == refusal.version:
                    del self._spares[refusal.model]
                facts = {"model": refusal.model, "version": refusal.version, "reason": refusal.reason}
                log.warning("a worker cannot load a version", **facts)
            routes = self._fitting(
                {name: self._serving_on(each) for name, each in _without(routes, self.table.routes, refusals).items()}
            )
        else:
            raise Refused("the workers could not agree on what to load; nothing has changed")
        try:
            await asyncio.to_thread(self._store.save, table)
        except OSError as error:
            raise Refused(f"the change could not be stored ({error.strerror}); nothing has changed") from error
        self.table = table
        self._word.generation = table.generation
        log.info("a new table serves", generation=table.generation, models=len(routes))
        for worker in workers:
            try:
                await worker.retire(table.generation)
            except ConnectionError:
                self._workers.discard(worker)

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


def load_stored(store: Store) -> VersionTable:
    """The stored table. Raises SettingsError with the mend."""
    try:
        return store.load()
    except (RouterError, OSError, ValueError) as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        wrong = f"the stored table of routes, table.json, cannot be read{reason}"
        raise SettingsError(f"{wrong}; remove it from the state directory to begin anew") from error


def _spare(serving: Route | None, found: FoundModel, tried: Mapping[str, Result]) -> Version | None:
    """The champion that serves now, where it is not to be loaded any more but is still there.

    It goes on until what was to take its place can.
    """
    number = serving.champion if serving is not None else None
    if serving is None or number is None or number not in found.versions or number in tried:
        return None
    return serving.versions[number]


def _told_nobody(task: asyncio.Task[None]) -> None:
    """The end of a change whose caller has gone."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a change failed after its caller had gone", reason=str(error))


def _reasons(each: Route) -> str:
    return "; ".join(f"version {number}: {version.reason}" for number, version in each.versions.items())


def _unloaded(each: Route) -> Route:
    """The route of a model that nobody has asked for."""
    versions = {
        number: replace(version, state=VersionState.UNAVAILABLE, reason="unloaded", left_out=True)
        for number, version in each.versions.items()
    }
    return replace(each, champion=None, versions=versions)


def _without(
    routes: Mapping[str, Route], serving: Mapping[str, Route], refusals: Iterable[Refusal]
) -> dict[str, Route]:
    """The routes without the versions that a worker refused; a champion so lost falls back to the one before."""
    made = dict(routes)
    for refusal in refusals:
        each = made.get(refusal.model)
        if each is None or refusal.version not in each.versions:
            raise RouterError("a worker refused a version that the table does not hold")
        versions: dict[str, Version] = dict(each.versions)
        versions[refusal.version] = replace(
            versions[refusal.version], state=VersionState.UNAVAILABLE, reason=refusal.reason
        )
        ready = [number for number, version in versions.items() if version.state is VersionState.READY]
        before = serving[refusal.model].champion if refusal.model in serving else None
        champion = each.champion
        if champion == refusal.version:
            champion = before if before in ready else max(ready, key=int, default=None)
        made[refusal.model] = replace(each, champion=champion, versions=versions)
    return made
