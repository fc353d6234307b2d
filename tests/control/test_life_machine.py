"""Any sequence of what may happen to a server: its promises hold after each step."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from router.control.records import Change, Entry
from router.core.table import Route, VersionState
from router.core.version import MOVES, SERVING, UNDER_TRIAL, Stage
from router.errors import Refused, RouterError
from tests.control.crash_fakes import Crash, Process
from tests.control.lifecycle_fakes import ADA, FakeWorker, House

MODELS, NUMBERS = ("a", "b"), ("1", "2", "3")
model, number = st.sampled_from(MODELS), st.sampled_from(NUMBERS)
TOML = {
    "plain": "",
    "default": '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n',
    "misfit": '[fallback]\nchain = ["default"]\ndefault = { z = 1.0 }\n',
    "broken": "nonsense",
    "sessions": "[sessions]\nintra_op_threads = 2\n[batch]\nmax_size = 4\n",
    "brief": "[lifecycle]\nrollback_window_s = 60\n",
    "all": 'versions = "all"\n',
    "tested": '[lifecycle]\non_new_version = "test"\n',
}
order = st.one_of(
    st.tuples(st.just("test"), model, number),
    st.tuples(st.just("warm"), model, number),
    st.tuples(st.just("promote"), model, number),
    st.tuples(st.just("override"), model, number),
    st.tuples(st.just("rollback"), model, st.sampled_from(("", *NUMBERS))),
    st.tuples(st.just("load"), model, st.sampled_from(("", "", *NUMBERS))),
    st.tuples(st.just("unload"), model, st.sampled_from(("", *NUMBERS))),
    st.tuples(st.just("freeze"), st.sampled_from(("", *MODELS)), st.booleans()),
    st.tuples(st.just("alias"), model, number),
    st.tuples(st.just("refresh"), model, number),
    st.tuples(st.just("sweep"), model, number),
)


def reach() -> dict[Stage, set[Stage]]:
    """What a version may be after a few moves that are stored as one."""
    may = {stage: {stage} for stage in Stage}
    for _ in range(4):
        may = {stage: at | {after for before, after in MOVES if before in at} for stage, at in may.items()}
    return may


REACH = reach()


class Checked(House):
    """A house whose store looks at what it is given."""

    def save(self, change: Change) -> None:
        """No illegal move, no generation that goes back."""
        for record in change.records:
            before = self.records.get((record.model, record.number))
            assert before is None or record.stage in REACH[before.stage]
        assert change.table is None or change.table.generation >= self.stored.generation
        super().save(change)


class Life(RuleBasedStateMachine):
    """Two models, two workers, one controller at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.place = tempfile.TemporaryDirectory()
        self.house = Checked(Path(self.place.name), *MODELS)
        self.house.warmth.set()
        self.quiet = capture_logs()
        self.quiet.__enter__()
        self.crew: list[FakeWorker] = []
        self.away: list[FakeWorker] = []
        self.answered = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something, and let everything come to rest."""

        async def rested() -> Any:
            done = await asyncio.wait_for(asyncio.gather(work, return_exceptions=True), 20)
            while self.process.alive and (tasks := self.process.lifecycle._turns._tasks):
                await asyncio.wait(tasks, timeout=20)
            return done[0]

        answer = self.runner.run(rested())
        if isinstance(answer, BaseException) and not isinstance(answer, RouterError | ConnectionError | Crash):
            raise answer
        return answer

    async def new_controller(self) -> None:
        """It reads what is stored, and the workers knock again."""
        self.house.store_error = None
        self.process = Process(self.house, self.house, patience_s=0.02)
        self.lifecycle = self.process.lifecycle
        await self.lifecycle.start()
        await self.knock()

    async def knock(self) -> None:
        """Whoever is not taken in tries again."""
        for worker in [*self.crew, *self.away]:
            if worker in self.process.handles and self.lifecycle._swap.has(self.process.handles[worker]):
                continue
            (self.away if worker in self.away else self.crew).remove(worker)
            if worker.gone:
                worker = self.house.worker(worker.index)  # noqa: PLW2901  # another process in its place
            self.away.append(worker)
            try:
                await self.process.join(worker)
            except (RouterError, ConnectionError):
                continue
            self.away.remove(worker)
            self.crew.append(worker)

    @initialize()
    def begin(self) -> None:
        """Nothing is stored; what came after the first champions is still to be tested."""
        self.away = [self.house.worker(index) for index in range(2)]
        self.run(self.new_controller())
        for name in MODELS:
            self.house.put(name, 2)
            self.house.put(name, 3)

    # ---- what operators and clients do ----

    async def act(self, what: str, name: str, which: Any) -> None:
        """One order."""
        life = self.lifecycle
        if what == "test":
            await life.test(name, which, ADA)
        elif what == "warm":
            await life.warm(name, which, ADA)
        elif what in {"promote", "override"}:
            done = await life.promote(name, which, ADA, override=what == "override")
            self.answered = max(self.answered, done.generation)
        elif what == "rollback":
            done = await life.rollback(name, which, ADA)
            self.answered = max(self.answered, done.generation)
        elif what == "load":
            await life.load(name, which, ADA)
        elif what == "unload":
            await life.unload(name, which, ADA)
        elif what == "freeze":
            await life.freeze(name, which, ADA)
        elif what == "alias":
            await life.set_alias(name, "stable", which, ADA)
        elif what == "refresh":
            await life.refresh()
        else:
            await life.sweep()

    @rule(orders=st.lists(order, min_size=1, max_size=3))
    def operators(self, orders: list[tuple[str, str, Any]]) -> None:
        """One, or several at once."""

        async def at_once() -> None:
            for answer in await asyncio.gather(*(self.act(*each) for each in orders), return_exceptions=True):
                if isinstance(answer, BaseException) and not isinstance(answer, RouterError):
                    raise answer

        self.run(at_once())

    @rule(name=model, which=number)
    def succeed(self, name: str, which: str) -> None:
        """The usual way: tested, then promoted."""

        async def usual() -> None:
            await self.lifecycle.test(name, which, ADA)
            await self.lifecycle.promote(name, which, ADA)

        self.run(usual())

    # ---- what happens to files ----

    @rule(name=model, which=number, content=st.sampled_from(("weights", "weights", "weights", "others")))
    def put(self, name: str, which: str, content: str) -> None:
        """A version comes, or its files are written anew."""
        self.house.put(name, int(which), content)

    @rule(name=model, which=number)
    def drop(self, name: str, which: str) -> None:
        """A version goes."""
        if (self.house.root / name / which).exists():
            self.house.drop(name, int(which))

    @rule(name=model, which=st.sampled_from(sorted(TOML)))
    def settle(self, name: str, which: str) -> None:
        """An owner writes settings."""
        self.house.toml(name, TOML[which])

    @rule(name=model, which=number, kind=st.sampled_from(("broken", "failing", "well", "well")))
    def spoil(self, name: str, which: str, kind: str) -> None:
        """A version cannot be loaded from now on, fails its gates, or is well."""
        self.house.broken.discard(f"{name}/{which}")
        self.house.failing.pop(f"{name}/{which}", None)
        if kind == "broken":
            self.house.broken.add(f"{name}/{which}")
        elif kind == "failing":
            self.house.failing[f"{name}/{which}"] = "too slow"

    # ---- what happens to processes ----

    @rule(index=st.integers(0, 1), name=model, which=number, refuses=st.booleans())
    def memory(self, index: int, name: str, which: str, refuses: bool) -> None:
        """A worker has no room for a version, or has it again."""
        for worker in [*self.crew, *self.away]:
            if worker.index == index:
                worker.refuses.pop(f"{name}/{which}", None)
                if refuses:
                    worker.refuses[f"{name}/{which}"] = "no memory"

    @precondition(lambda self: self.crew)
    @rule(comes_back=st.booleans())
    def worker_dies(self, comes_back: bool) -> None:
        """As by kill -9; the supervisor starts another, which may take a while."""
        worker = self.crew[0]
        worker.gone = True
        self.house.open.discard(worker.index)
        self.lifecycle.leave(self.process.handles[worker])
        if comes_back:
            self.run(self.knock())

    @rule()
    def worker_comes(self) -> None:
        """Whoever was away knocks."""
        self.run(self.knock())

    @rule(orders=st.lists(order, min_size=0, max_size=2), steps=st.integers(1, 12))
    def controller_dies(self, orders: list[tuple[str, str, Any]], steps: int) -> None:
        """In the middle of something, after so many steps of it; another begins."""
        self.process.dies_in = len(self.process.steps) + steps

        async def killed() -> None:
            await asyncio.gather(*(self.act(*each) for each in orders), return_exceptions=True)
            await self.process.end()

        self.run(killed())
        self.run(self.new_controller())

    @rule()
    def everything_restarts(self) -> None:
        """All processes."""

        async def restart() -> None:
            await self.process.end()
            self.house.reboot()
            self.away = [self.house.worker(worker.index) for worker in [*self.crew, *self.away]]
            self.crew = []
            await self.new_controller()

        self.run(self.lifecycle.refresh())
        before = {} if self.house.store_error else self.undisturbed()
        self.answered = 0
        self.run(restart())
        for name, route in before.items():
            assert self.lifecycle.table.routes[name].answers_like(route), "a restart serves exactly what is stored"

    def undisturbed(self) -> dict[str, Route]:
        """Models of which all that serves could be loaded again as it is."""
        marked = {record.model for record in self.house.records.values() if record.mark}
        broken = {name.partition("/")[0] for name in self.house.broken}
        routes = self.lifecycle.table.routes.items()
        return {name: route for name, route in routes if route.champion and name not in marked | broken}

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        """It is full, or has room."""
        self.house.store_error = Refused("the change was not made: the disk is full") if full else None

    @rule(seconds=st.sampled_from((-1000, 1, 61, 4000)))
    def clock(self, seconds: int) -> None:
        """It moves, or jumps."""
        self.house.now += seconds

    # ---- what always holds ----

    @invariant()
    def the_word_names_what_is_stored_and_prepared(self) -> None:
        """One table: in the store, in the controller, in every worker that serves, and nothing else in those."""
        table = self.lifecycle.table
        assert self.house.word == table.generation == self.house.stored.generation >= self.answered
        assert self.house.stored.answers_like(table.routes)
        for worker in self.crew:
            if worker.index in self.house.open:
                assert list(worker.tables) == [table.generation], "memory is given back"
                assert worker.tables[table.generation].answers_like(table.routes)

    @invariant()
    def records_table_and_store_agree(self) -> None:
        """At most one champion and one standby; who answers is on record; what is owed is all that is not stored."""
        records, owed = self.lifecycle._registry.records, self.lifecycle._changes._owed.records
        assert {**self.house.records, **owed} == records
        for name in MODELS:
            mine = {which: record for (at, which), record in records.items() if at == name}
            route = self.lifecycle.table.routes.get(name)
            for stage, at in ((Stage.CHAMPION, "champion"), (Stage.STANDBY, "standby")):
                have = [which for which, record in mine.items() if record.stage is stage]
                assert len(have) <= 1
                assert route is None or getattr(route, at) in {None, *have}
            assert not any(record.stage in UNDER_TRIAL or record.stage is Stage.DRAINING for record in mine.values())
            for which, version in (route.versions if route is not None else {}).items():
                if version.state is VersionState.READY:
                    assert mine[which].stage in SERVING
                    assert mine[which].digest == version.digest
                    assert version.reason == ""
                else:
                    assert version.reason

    @invariant()
    def the_audit_log_tells_who_answers(self) -> None:
        """Whoever reads it from the beginning comes to the champions of now: nothing acknowledged is lost."""
        assert replayed(self.house.entries) == {
            key[0]: key[1] for key, record in self.house.records.items() if record.stage is Stage.CHAMPION
        }

    def teardown(self) -> None:
        """Nothing of it stays."""
        self.quiet.__exit__(None, None, None)
        self.runner.close()
        self.place.cleanup()


def replayed(entries: list[Entry]) -> dict[str, str]:
    """The champions to which a log leads."""
    champions: dict[str, str] = {}
    for each in entries:
        if each.action in {"began", "promote", "rollback", "succeeded"}:
            champions[each.model] = each.number
        elif each.action in {"lost", "unload"} and each.number in {"", champions.get(each.model)}:
            champions.pop(each.model, None)
    return champions


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
