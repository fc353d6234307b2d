"""The controller is killed at each named step of a change: after its return the old or the new table serves, whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from router.control.database import FILE, Database
from router.control.lifecycle import Lifecycle
from router.core.version import Stage
from router.edge.tables import from_text, to_text
from tests.control.crash_fakes import Crash, Process
from tests.control.lifecycle_fakes import ADA, BOB, FakeWorker, House, champions, run, settled, stages

STEPS = [
    "worker 0 is to prepare",
    "worker 0 has prepared",
    "worker 1 is to prepare",
    "worker 1 has prepared",
    "before the store",
    "after the store",
    "before the word",
    "after the word",
]
AFTERWARDS = ["worker 0 is to let go", "worker 0 has let go", "worker 1 is to let go", "worker 1 has let go"]

Act = Callable[[Lifecycle], Awaitable[object]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b; version 2 of a is the first champion."""
    made = House(tmp_path, "a", "b")
    made.put("a", 2)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The real store."""
    made = Database(tmp_path / FILE, to_text, from_text)
    made.open()
    with closing(made):
        yield made


async def promote(lifecycle: Lifecycle) -> None:
    """To a version that is ready."""
    await lifecycle.promote("a", "3", BOB)


async def rollback(lifecycle: Lifecycle) -> None:
    """To an older one than who stands by."""
    await lifecycle.rollback("a", "1", BOB)


async def begun(house: House, database: Database) -> tuple[Process, list[FakeWorker]]:
    """A controller after one promotion: version 2 of model a stands by, 4 answers, 1 and 3 are ready."""
    process = Process(house, database)
    crew = [house.worker(index) for index in range(2)]
    lifecycle = await process.start(*crew)
    house.put("a", 3)
    house.put("a", 4)
    for number in ("1", "3", "4"):
        await lifecycle.test("a", number, ADA)
    await lifecycle.promote("a", "4", ADA)
    await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
    return process, crew


def whole(house: House, database: Database, lifecycle: Lifecycle, crew: list[FakeWorker]) -> None:
    """What serves is one table: in the store, in the controller, in every worker; and the audit log verifies."""
    stored = database.load()
    assert house.word == stored.table.generation == lifecycle.table.generation
    assert stored.table.answers_like(lifecycle.table.routes)
    for worker in crew:
        assert worker.tables[house.word].answers_like(lifecycle.table.routes)
    for model, route in lifecycle.table.routes.items():
        for part, number in ((Stage.CHAMPION, route.champion), (Stage.STANDBY, route.standby)):
            at = [key[1] for key, each in stored.records.items() if key[0] == model and each.stage is part]
            assert at == ([number] if number else [])
    assert database.verify().whole


def noted(database: Database) -> list[tuple[str, str]]:
    """What was done to model a, and with which version, since it was begun."""
    acts = [(each.entry.action, each.entry.number) for each in database.audit("a")]
    return [act for act in acts if act[0] in {"promote", "rollback"}][1:]


@pytest.mark.parametrize("act", [promote, rollback])
@pytest.mark.parametrize("step", STEPS + AFTERWARDS)
def test_a_controller_that_is_killed_in_a_change(house: House, database: Database, act: Act, step: str) -> None:
    """The old table serves, or the new one: what the store says. What was acknowledged stays, what is on record was
    done, and the next controller brings the rest to its end."""

    async def test() -> None:
        first, crew = await begun(house, database)
        old = champions(first.lifecycle)
        new = {**old, "a": "3" if act is promote else "1"}
        first.dies_at, first.steps = step, []
        acknowledged = False
        try:
            await act(first.lifecycle)
            acknowledged = True
            await settled(lambda: not first.alive)
        except Crash:
            pass
        await first.end()
        assert first.steps[-1] == step
        stored = step not in STEPS[: STEPS.index("after the store")]
        named = step not in STEPS[: STEPS.index("after the word")]
        for worker in crew:  # they serve on, from what the word names
            assert worker.answers("a") == (new if named else old)["a"]

        second = Process(house, database)
        lifecycle = await second.start(*crew)
        assert champions(lifecycle) == (new if stored else old)
        if acknowledged:
            assert champions(lifecycle) == new
        await settled(lambda: "draining" not in stages(lifecycle, "a").values())
        whole(house, database, lifecycle, crew)
        assert noted(database) == ([(act.__name__, str(new["a"]))] if stored else [])
        await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
        if not stored:  # what the dead one has prepared under the same number is not what serves now
            await act(lifecycle)
            whole(house, database, lifecycle, crew)
            assert champions(lifecycle) == new
        await lifecycle.rollback("a", "", ADA)
        assert champions(lifecycle) == old
        whole(house, database, lifecycle, crew)

    run(test())


@pytest.mark.parametrize("step", ["before the store", "after the store", "before the word", "after the word"])
def test_a_controller_that_is_killed_at_its_first_start(house: House, database: Database, step: str) -> None:
    """The next one begins anew, or goes on with what is stored: the same either way."""

    async def test() -> None:
        first = Process(house, database)
        first.dies_at = step
        with pytest.raises(Crash):
            await first.start()
        await first.end()
        crew = [house.worker(index) for index in range(2)]
        lifecycle = await Process(house, database).start(*crew)
        assert champions(lifecycle) == {"a": "2", "b": "1"}
        assert house.word == 1
        whole(house, database, lifecycle, crew)

    run(test())


@pytest.mark.parametrize("steps", range(1, 19))
def test_a_controller_that_is_killed_in_a_trial(house: House, database: Database, steps: int) -> None:
    """At any step: it is tried anew, or was ready, or was never begun; nobody is answered otherwise meanwhile."""

    async def test() -> None:
        first, crew = Process(house, database), [house.worker(index) for index in range(2)]
        await first.start(*crew)
        house.put("a", 3)
        await first.lifecycle.refresh()
        await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
        first.dies_in = len(first.steps) + steps
        try:
            await first.lifecycle.test("a", "3", ADA)
        except Crash:
            assert steps <= 16
        await settled(lambda: not first.alive)
        await first.end()
        lifecycle = await Process(house, database).start(*crew)
        await settled(lambda: stages(lifecycle, "a")["3"] in {"found", "ready"})
        assert (stages(lifecycle, "a")["3"] == "found") == (steps == 1)
        assert champions(lifecycle) == {"a": "2", "b": "1"}
        whole(house, database, lifecycle, crew)

    run(test())
