"""The controller is killed at each step of a trial: it goes on or has ended, whole, and a winner is promoted once. With
the real store and the real ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from router.control.challenge import Challenges
from router.control.contests import LOOK_S, Contests
from router.control.database import FILE, Database
from router.control.ledger import FILE as LEDGER
from router.control.ledger import Actual, Ledger
from router.control.lifecycle import Lifecycle
from router.control.records import Order
from router.core.prediction import MIRROR, Form, Prediction
from router.core.standing import CaseKind
from router.core.version import Stage
from router.edge.tables import from_text, to_text
from tests.control.crash_fakes import Crash, Process
from tests.control.lifecycle_fakes import ADA, FakeWorker, House, run, settled
from tests.control.test_crash_points import STEPS, whole

TOML = '[ledger]\nenabled = true\n[trial]\nwithin = 0.5\nmin_samples = 100\non_win = "promote"\nstrategy = "swap"\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    made = House(tmp_path, "a", "b")
    made.toml("a", TOML)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The real store."""
    made = Database(tmp_path / FILE, to_text, from_text)
    made.open()
    with closing(made):
        yield made


class World:
    """A controller's trials, and what came true."""

    def __init__(self, house: House, process: Process, folder: Path) -> None:
        self.house = house
        self.process = process
        self.lifecycle: Lifecycle = process.lifecycle
        self.promoted: list[str] = []
        self.seconds = 10.0
        self.ledger = Ledger(folder / LEDGER, lambda: self.lifecycle.table.routes, 64 << 20)
        changes = self.lifecycle._changes
        self.challenges = Challenges(changes)
        self.contests = Contests(changes, self.ledger, house.observed, house.seen, self._promote, lambda: self.seconds)

    async def _promote(self, model: str, number: str, order: Order, strategy: str, ask: bool) -> None:
        self.promoted.append(f"{model}/{number} by {strategy}")
        assert not ask
        await self.lifecycle._succession.promote(model, number, order)

    async def came_true(self, name: str, count: int, champion: float, challenger: float) -> None:
        """Of so many requests that both ran, with what either was off."""
        ids, now = [f"{name} {n}" for n in range(count)], time.time_ns()
        made = [
            Prediction(each, 0, now, version, 1, by, Form.NUMBER, off)
            for version, by, off in (("1", "champion", champion), ("2", MIRROR, challenger))
            for each in ids
        ]
        written = asyncio.Event()
        self.ledger.take("a", made, written.set)
        await written.wait()
        await self.ledger.submit("a", [Actual(each, 0, 0.0) for each in ids])

    async def look(self) -> None:
        """After a while."""
        self.seconds += LOOK_S
        await self.contests.look()
        await settled(lambda: not self.lifecycle._turns._tasks)


async def begun(house: House, database: Database, folder: Path) -> tuple[World, list[FakeWorker]]:
    """A trial of version 2 against version 1, sixty requests of which it was better."""
    process = Process(house, database)
    crew = [house.worker(index) for index in range(2)]
    lifecycle = await process.start(*crew)
    world = World(house, process, folder)
    house.put("a", 2)
    await lifecycle.test("a", "2", ADA)
    await world.challenges.challenge("a", "2", ADA, shadow=True, share=5)
    await world.contests.start("a", "2", ADA)
    await world.came_true("first", 60, 1.0, 0.0)
    await world.look()
    await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
    process.steps.clear()
    return world, crew


async def restarted(world: World, database: Database, crew: list[FakeWorker], folder: Path) -> World:
    """The next controller, when it has come to rest."""
    await world.process.end()
    await world.ledger.close()
    process = Process(world.house, database)
    lifecycle = await process.start(*crew)
    again = World(world.house, process, folder)
    await again.look()
    await settled(lambda: all(list(worker.tables) == [world.house.word] for worker in crew))
    whole(world.house, database, lifecycle, crew)
    return again


async def win(world: World) -> None:
    """There are enough requests, and it is promoted in the place of the champion."""
    await world.came_true("second", 60, 1.0, 0.0)
    await world.look()


async def stop(world: World) -> None:
    """By hand."""
    await world.contests.stop("a", ADA)


async def save(world: World) -> None:
    """What came true is kept."""
    await world.came_true("second", 30, 1.0, 0.0)
    await world.look()


@pytest.mark.parametrize(("act", "step"), [*((win, step) for step in STEPS), *((stop, step) for step in STEPS[3:6])])
def test_a_trial_that_ends_has_ended_or_goes_on(
    house: House, database: Database, tmp_path: Path, step: str, act: Callable[[World], Awaitable[None]]
) -> None:
    """Its case, its challenger's stage, its share and its copies say the same, whatever the step."""

    async def test() -> None:
        world, crew = await begun(house, database, tmp_path)
        world.process.dies_at = step
        with suppress(Crash):
            await act(world)
        assert not world.process.alive
        again = await restarted(world, database, crew, tmp_path)
        stored, (case,) = database.load(), database.cases("a", kind=CaseKind.TRIAL)
        stage, route = stored.records["a", "2"].stage, stored.table.routes["a"]
        if case.open:
            assert (act, stage, route.split.shares, route.shadows) == (stop, Stage.CHALLENGER, {"2": 5}, {"2"})
            assert case.body["standing"]["rows"] == 60
        else:
            assert stage is (Stage.CHAMPION if act is win else Stage.READY)
            assert (route.split.shares, route.shadows) == ({}, frozenset())
            assert case.state == ("won" if act is win else "stopped")
        if act is win:
            assert len(world.promoted + again.promoted) <= 2
            assert case.body["due"] is False
        ends = [each for each in database.audit("a") if each.entry.after.get("verdict")]
        assert len(ends) == (not case.open)
        await again.ledger.close()

    run(test())


@pytest.mark.parametrize("step", ["before the store", "after the store"])
def test_what_was_read_counts_once(house: House, database: Database, tmp_path: Path, step: str) -> None:
    """Whether it was stored or not when the controller was killed."""

    async def test() -> None:
        world, crew = await begun(house, database, tmp_path)
        world.process.dies_at = step
        with pytest.raises(Crash):
            await save(world)
        again = await restarted(world, database, crew, tmp_path)
        (case,) = database.cases("a", kind=CaseKind.TRIAL)
        assert (case.open, case.body["standing"]["rows"]) == (True, 90)
        await again.ledger.close()

    run(test())
