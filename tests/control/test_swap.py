"""The swap: prepared by all, durable, then visible by one word; on fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from router.control.swap import MAX_ATTEMPTS, Refusal, Routes, Swap
from router.core.table import Route, Version, VersionState, VersionTable
from router.errors import Refused
from tests.control.lifecycle_fakes import FakeWorker, House, run, settled


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A word, a crew, and the order of what happened."""
    return House(tmp_path)


def routes(*numbers: int, champion: int | None = None) -> dict[str, Route]:
    """One model with these versions, the last of which answers."""
    versions = {str(n): Version("a", str(n), "d", "/p", VersionState.READY) for n in numbers}
    return {"a": Route("a", str(champion or numbers[-1]) if numbers else None, versions)}


class Desk:
    """Whoever asks for swaps."""

    def __init__(self, house: House, patience_s: float = 5.0) -> None:
        self.house = house
        self.swap = Swap(house, house, patience_s)
        self.saves: Exception | None = None
        self.cuts: list[Refusal] = []

    async def save(self, table: VersionTable) -> None:
        """Durable, or not."""
        if self.saves is not None:
            raise self.saves
        self.house.events.append(f"stored {table.generation}")

    async def cut(self, routes: Routes, refusals: Sequence[Refusal]) -> Routes:
        """Without what was refused."""
        self.cuts += refusals
        refused = {(each.model, each.version) for each in refusals}
        return {
            name: replace(
                each,
                champion=None if (name, each.champion) in refused else each.champion,
                versions={number: one for number, one in each.versions.items() if (name, number) not in refused},
            )
            for name, each in routes.items()
        }

    async def to(self, routes: Routes, joining: FakeWorker | None = None) -> Collection[object]:
        """Swap."""
        return await self.swap.to(routes, self.save, self.cut, joining)

    async def crew(self, workers: int = 2) -> list[FakeWorker]:
        """Workers that serve the first table, which names version 1."""
        self.swap.begin(VersionTable(1, routes(1)))
        crew = [self.house.worker(index) for index in range(workers)]
        for worker in crew:
            assert await self.swap.join(worker) == ()
        self.house.events.clear()
        return crew


def test_prepared_everywhere_then_stored_then_named(house: House) -> None:
    """In this order; the workers that answer from it are given back, for whoever has older tables let go."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        assert await desk.to(routes(1, 2)) == set(crew)
        assert sorted(house.events[:2]) == ["worker 0 prepares 2", "worker 1 prepares 2"]
        assert house.events[2:] == ["stored 2", "word 2"]
        assert desk.swap.table.generation == desk.swap.serving == 2
        assert all(worker.tables[2] == desk.swap.table for worker in crew)

    run(test())


def test_nothing_is_visible_while_a_worker_prepares(house: House) -> None:
    """One slow worker holds the flip for all."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        crew[1].gate = asyncio.Event()
        change = asyncio.ensure_future(desk.to(routes(1, 2)))
        await crew[1].at_gate.wait()
        await settled(lambda: crew[0].prepared[-1] == 2)
        assert (house.word, desk.swap.table.generation) == (1, 1)
        assert not [event for event in house.events if event.startswith("stored")]
        crew[1].gate.set()
        await change
        assert house.word == 2

    run(test())


def test_what_a_worker_refuses_serves_nowhere(house: House) -> None:
    """The table is cut down and prepared anew, under another number, by all of them."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        crew[1].refuses["a/2"] = "no memory"
        await desk.to(routes(1, 2, champion=1))
        assert desk.cuts == [Refusal("a", "2", "no memory")]
        assert house.word == 3
        assert all(worker.tables[3].routes["a"].versions.keys() == {"1"} for worker in crew)

    run(test())


def test_workers_that_never_agree_give_the_change_up(house: House) -> None:
    """Nothing has changed then; the next one has a number of its own."""

    async def test() -> None:
        desk = Desk(house)
        (worker,) = await desk.crew(1)
        usual = worker.prepare

        async def contrary(_: VersionTable) -> Sequence[Refusal]:
            return [Refusal("a", "9", "no")]

        worker.prepare = contrary  # type: ignore[method-assign]
        with pytest.raises(Refused, match="could not agree on what to load; nothing has changed"):
            await desk.to(routes(1, 2))
        assert len(desk.cuts) == MAX_ATTEMPTS
        assert (house.word, desk.swap.table.generation) == (1, 1)
        worker.prepare = usual  # type: ignore[method-assign]
        await desk.to(routes(1, 2))
        assert house.word == 2 + MAX_ATTEMPTS

    run(test())


@pytest.mark.parametrize("error", [Refused("the disk is full"), ValueError("a fault")])
def test_what_cannot_be_stored_is_not_named(house: House, error: Exception) -> None:
    """Workers forget what they have prepared of it, and its number is never used again."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        desk.saves = error
        with pytest.raises(type(error)):
            await desk.to(routes(1, 2))
        assert (house.word, desk.swap.table.generation) == (1, 1)
        assert all(2 in worker.prepared and list(worker.tables) == [1] for worker in crew)
        desk.saves = None
        await desk.to(routes(1, 3))
        assert house.word == 3
        assert all(worker.answers("a") == "3" for worker in crew)

    run(test())


def test_a_new_process_prepares_anew_what_the_one_before_has_numbered(house: House) -> None:
    """It died before it had stored generation 2, which workers hold: they take the other table of that number."""

    async def test() -> None:
        before = Desk(house)
        crew = await before.crew()

        async def killed(_: VersionTable) -> None:
            raise asyncio.CancelledError

        before.save = killed  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await before.to(routes(1, 2))
        assert all(2 in worker.tables for worker in crew)
        after = Desk(house)
        after.swap.begin(before.swap.table)
        for worker in crew:
            await after.swap.join(worker)
        await after.to(routes(1, 3))
        assert house.word == 2
        assert all(worker.answers("a") == "3" for worker in crew)

    run(test())


# ---- workers that come and go ----


def test_a_worker_that_dies_while_it_prepares_does_not_stop_a_change(house: House) -> None:
    """The others go on; when it comes back it prepares what serves then."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        crew[1].gate = asyncio.Event()
        change = asyncio.ensure_future(desk.to(routes(1, 2)))
        await crew[1].at_gate.wait()
        crew[1].die(desk.swap)
        assert await change == {crew[0]}
        assert (house.word, house.fenced) == (2, [])
        back = house.worker(1)
        await desk.swap.join(back)
        assert back.prepared == [2]

    run(test())


def test_a_worker_that_loses_its_link_only_is_ended(house: House) -> None:
    """Its process serves on with the old table: it must not when the new one is named."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        crew[1].gone = True
        await desk.to(routes(1, 2))
        assert house.fenced == [1]
        assert house.open == {0}
        assert not desk.swap.has(crew[1])

    run(test())


def test_a_change_waits_for_workers_that_serve_but_have_not_joined(house: House) -> None:
    """As when the controller has just been started again."""

    async def test() -> None:
        before = Desk(house)
        crew = await before.crew()
        desk = Desk(house)
        desk.swap.begin(before.swap.table)
        change = asyncio.ensure_future(desk.to(routes(1, 2)))
        reached = asyncio.ensure_future(desk.swap.reached())
        await desk.swap.join(crew[0])
        for _ in range(20):
            await asyncio.sleep(0)
        assert house.word == 1
        assert not reached.done()
        await desk.swap.join(crew[1])
        await change
        assert house.word == 2
        assert await reached == set(crew)
        assert all(worker.answers("a") == "2" for worker in crew)

    run(test())


def test_workers_that_never_come_are_ended(house: House) -> None:
    """Patience has an end: then the change happens without them. Who only asks for them ends nobody."""

    async def test() -> None:
        before = Desk(house)
        crew = await before.crew()
        desk = Desk(house, patience_s=0.01)
        desk.swap.begin(before.swap.table)
        await desk.swap.join(crew[0])
        assert await desk.swap.reached() == {crew[0]}
        assert house.fenced == []
        await desk.to(routes(1, 2))
        assert (house.fenced, house.word) == ([1], 2)

    run(test())


def test_a_join_loads_beside_a_change_and_opens_its_port_after_it(house: House) -> None:
    """It catches up until nothing has changed meanwhile, however often that is."""

    async def test() -> None:
        desk = Desk(house)
        await desk.crew(1)
        late = house.worker(1)
        late.gate = asyncio.Event()
        joining = asyncio.ensure_future(desk.swap.join(late))
        await late.at_gate.wait()
        await desk.to(routes(1, 2))
        await desk.to(routes(2, 3))
        assert house.open == {0}
        late.gate.set()
        assert await joining == ()
        assert late.prepared == [1, 3]
        assert house.open == {0, 1}

    run(test())


def test_a_worker_that_refuses_does_not_open_its_port(house: House) -> None:
    """Whoever asked is told what it refuses, and may swap with it."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        late = house.worker(2)
        late.refuses["a/1"] = "no memory"
        assert await desk.swap.join(late) == [Refusal("a", "1", "no memory")]
        assert house.open == {0, 1}
        assert not desk.swap.has(late)
        await desk.to(routes(2), late)
        assert house.open == {0, 1, 2}
        assert desk.swap.has(late)
        assert all(worker.answers("a") == "2" for worker in [*crew, late])

    run(test())


def test_a_worker_that_goes_while_it_is_taken_in_costs_the_others_nothing(house: House) -> None:
    """The table serves; it is not one of those that answer from it."""

    async def test() -> None:
        desk = Desk(house)
        crew = await desk.crew()
        for moment in ("prepare", "bind"):
            late = house.worker(2)

            async def gone(*_: object) -> None:
                raise ConnectionError

            setattr(late, moment, gone)
            assert await desk.to(routes(1), late) == set(crew)
            assert not desk.swap.has(late)
            assert house.open == {0, 1}
        assert house.word == 3

    run(test())


def test_everybody_can_be_ended(house: House) -> None:
    """When what is stored is older than what they serve."""

    async def test() -> None:
        desk = Desk(house)
        await desk.crew(3)
        desk.swap.fence_all()
        assert sorted(house.fenced) == [0, 1, 2]

    run(test())
