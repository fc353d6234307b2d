"""The controller is killed at each named step of a canary: it goes on, or it is undone, and never half."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from router.control.database import FILE, Database
from router.core.standing import CaseKind
from router.core.version import Stage
from router.edge.tables import from_text, to_text
from tests.control.canary_fakes import Canary, Habit, candidate
from tests.control.crash_fakes import Crash, Process
from tests.control.lifecycle_fakes import ADA, FakeWorker, House, champions, run, settled, stages
from tests.control.test_crash_points import STEPS, whole

Act = Callable[[Canary], Awaitable[object]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The real store."""
    made = Database(tmp_path / FILE, to_text, from_text)
    made.open()
    with closing(made):
        yield made


async def begin(canary: Canary) -> None:
    """The first step."""
    await canary.rollouts.begin("a", "2", ADA)


async def advance(canary: Canary) -> None:
    """The second one."""
    await canary.passes(40)


async def finish(canary: Canary) -> None:
    """To the champion's place."""
    await canary.passes(40)


async def undo(canary: Canary) -> None:
    """By itself, as it has turned bad."""
    canary.callers.habits["a/2"] = Habit(failing=0.3)
    await canary.passes(20)


async def stop(canary: Canary) -> None:
    """By hand."""
    await canary.rollouts.stop("a", ADA)


ACTS: list[Act] = [begin, advance, finish, undo, stop]


async def upto(act: Act, house: House, database: Database) -> tuple[Process, list[FakeWorker], Canary]:
    """A controller that is about to do it."""
    process = Process(house, database)
    crew = [house.worker(index) for index in range(2)]
    canary = await candidate(house, await process.start(*crew))
    if act is not begin:
        await begin(canary)
        await canary.passes(10 if act is not finish else 100, lambda: canary.share() == 95.0)
    await settled(lambda: all(list(worker.tables) == [house.word] for worker in crew))
    process.steps.clear()
    return process, crew, canary


def one_piece(database: Database, canary: Canary) -> str:
    """How the newest case stands; the store, the table and the case say the same of it."""
    stored, (case, *_) = database.load(), database.cases("a", kind=CaseKind.ROLLOUT)
    stage, split = stored.records["a", "2"].stage, stored.table.routes["a"].split.shares
    assert canary.lifecycle.table.routes["a"].split.shares == split
    assert {each.id for each in stored.cases} == set(canary.lifecycle._registry.cases)
    if case.open:
        assert (stage, split) == (Stage.CHALLENGER, {"2": case.body["share"]})
    else:
        wanted = {"finished": Stage.CHAMPION, "stopped": Stage.READY}.get(case.state)
        assert split == {}
        assert stage is wanted if wanted else stage in {Stage.READY, Stage.FAILED}
    assert (champions(canary.lifecycle)["a"] == "2") == (case.state == "finished")
    return case.state


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("step", [STEPS[0], *STEPS[4:]])
def test_the_controller_is_killed_in_a_canary(house: House, database: Database, act: Act, step: str) -> None:
    """What was stored is what goes on, at its step with a bake that begins anew; and it comes to its end."""

    async def test() -> None:
        first, crew, canary = await upto(act, house, database)
        first.dies_at = step
        with pytest.raises(Crash):
            await act(canary)
        await first.end()
        done = STEPS.index(step) >= STEPS.index("after the store")

        second = Process(house, database)
        lifecycle = await second.start(*crew)
        again = Canary(house, lifecycle, canary.callers)
        whole(house, database, lifecycle, crew)
        if act is begin and not done:
            assert database.cases("a") == []
            assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}
            await again.rollouts.begin("a", "2", ADA)
        state = one_piece(database, again)
        ends = {finish: "finished", undo: "undone", stop: "stopped"}.get(act)
        assert state == (ends if ends and done else "baking")
        before = database.cases("a")[0].body["served"]["requests"]
        if state == "baking":
            share = again.share()
            assert share == {begin: 10.0, advance: 50.0 if done else 10.0, finish: 95.0}.get(act, 10.0)
            await again.passes(19)
            assert again.share() == share or act is undo
        await again.passes(100, lambda: not lifecycle._registry.cases)
        assert one_piece(database, again) == (state if state != "baking" else "undone" if act is undo else "finished")
        whole(house, database, lifecycle, crew)
        after = database.cases("a")[0].body["served"]["requests"]
        assert after > before or state != "baking"
        assert after == canary.callers.vitals["a", "2"].requests or champions(lifecycle)["a"] == "2"

    run(test())


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("step", ["before the store", "after the store", "after the word"])
def test_the_whole_server_ends_in_a_canary(house: House, database: Database, act: Act, step: str) -> None:
    """When it is started again the canary is undone, or was over: the candidate is ready, nobody has a share."""

    async def test() -> None:
        first, _, canary = await upto(act, house, database)
        first.dies_at = step
        with pytest.raises(Crash):
            await act(canary)
        await first.end()
        done = STEPS.index(step) >= STEPS.index("after the store")

        house.reboot()
        second = Process(house, database)
        crew = [house.worker(index) for index in range(2)]
        lifecycle = await second.start(*crew)
        again = Canary(house, lifecycle, canary.callers)
        whole(house, database, lifecycle, crew)
        assert database.load().cases == ()
        over = {finish: "champion", undo: "failed"}.get(act) if done else None
        assert stages(lifecycle, "a")["2"] == (over or "ready")
        if act is begin and not done:
            assert database.cases("a") == []
            return
        state = one_piece(database, again)
        assert state == ({finish: "finished", stop: "stopped"}.get(act, "undone") if done else "undone")
        (case, *_) = database.cases("a")
        if not (done and act in {finish, stop, undo}):
            assert case.body["why"] == "the server was started again"
            ended = database.audit("a")[-1].entry
            assert (ended.actor, ended.action, ended.after["state"]) == ("router", "canary", "undone")
        await again.passes(20)
        assert one_piece(database, again) == state

    run(test())


@pytest.mark.parametrize("body", [{}, {"settings": {"steps": [50]}}, {"settings": {}, "step": 7}, {"champion": 3}])
def test_a_case_that_cannot_be_read_is_undone(house: House, body: dict[str, object]) -> None:
    """As by a program that knows other words: the champion answers all, and it says why."""

    async def test() -> None:
        lifecycle = house.lifecycle()
        await lifecycle.start()
        canary = await candidate(house, lifecycle)
        await begin(canary)
        case = canary.case
        lifecycle._registry.put_cases([replace(case, body={"champion": "1", **body})])
        again = Canary(house, lifecycle, canary.callers)
        await again.passes(3)
        assert (again.case.state, again.share()) == ("undone", 0.0)
        assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}
        assert "holds no rollout that this program can go on with" in again.case.body["why"]

    run(test())
