"""Trials in trouble: a ledger that is lost or cannot be read, and faults of one trial that are to stop no other."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from router.control.contests import SAVE_S, _Step
from router.control.ledger import FILE, Actual, Ledger
from router.control.ledger_since import Page
from router.core.prediction import MIRROR, Form, Prediction
from router.core.warmup import Figures
from router.errors import NotReady
from tests.control.lifecycle_fakes import ADA, run, stage
from tests.control.test_contests import TOML, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing runs yet."""
    return World(tmp_path)


# ---- a ledger that is lost ----


class Kept:
    """A real ledger of a world's trials, in a file that may be lost."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.count = 0
        self.open()

    def open(self) -> None:
        """As after a restart."""
        self.ledger = Ledger(self.path, lambda: self.world.lifecycle.table.routes, 64 << 20)
        self.world.contests._pairs = self.ledger

    async def came_true(self, count: int, champion: float, challenger: float) -> None:
        """Of so many requests that both ran, with what either was off; in a turn."""
        ids, now = [f"{self.count + n}" for n in range(count)], time.time_ns()
        self.count += count
        made = [
            Prediction(each, 0, now, version, 1, by, Form.NUMBER, off)
            for version, by, off in (("1", "champion", champion), ("2", MIRROR, challenger))
            for each in ids
        ]
        written = asyncio.Event()
        self.ledger.take("m", made, written.set)
        await written.wait()
        await self.ledger.submit("m", [Actual(each, 0, 0.0) for each in ids])


def deleted(path: Path) -> None:
    """Somebody deletes the file."""
    path.unlink()


def damaged(path: Path) -> None:
    """The disk loses it."""
    path.write_bytes(b"no database at all" * 1000)


def other_layout(path: Path) -> None:
    """The program that comes back has other tables."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize("lost", [deleted, damaged, other_layout])
def test_a_trial_goes_on_when_the_ledger_is_begun_anew(
    world: World, tmp_path: Path, lost: Callable[[Path], None]
) -> None:
    """What it had read counts, all of the new file as well, each once; that is told, once, and said to the end."""

    async def story() -> None:
        await world.begin()
        kept = Kept(world, tmp_path / FILE)
        await world.contests.start("m", "2", ADA)
        for _ in range(3):
            await kept.came_true(20, 0.0, 0.0)
        await world.look()
        assert (world.case().body["turn"], world.case().body["standing"]["rows"]) == (3, 60)
        await kept.ledger.close()
        lost(kept.path)
        kept.open()
        watch = world.lifecycle.events.watch("m")
        await anext(watch)
        await kept.came_true(30, 1.0, 0.0)
        await world.look()
        assert (world.case().body["turn"], world.case().body["standing"]["rows"]) == (1, 90)
        assert "Meanwhile the ledger was lost and begun anew: what was read of it before" in world.case().body["text"]
        assert (await anext(watch)).text.startswith("the ledger was lost and begun anew: its trial goes on")
        await kept.came_true(30, 1.0, 0.0)
        await world.look()
        assert (world.case().state, world.case().body["standing"]["rows"]) == ("won", 120)
        assert world.case().body["text"].endswith("begun anew: what was read of it before counts.")
        assert "was lost" not in (await anext(watch)).text
        await kept.ledger.close()

    run(story())


def test_a_ledger_that_is_lost_before_anything_came_true_again_is_told_too(world: World, tmp_path: Path) -> None:
    """And the next one that is lost is counted."""

    async def story() -> None:
        await world.begin()
        kept = Kept(world, tmp_path / FILE)
        await world.contests.start("m", "2", ADA)
        for round_ in range(2):
            await kept.came_true(20, 0.0, 0.0)
            await world.look()
            await kept.ledger.close()
            damaged(kept.path)
            kept.open()
            await world.look()
            assert (world.case().body["turn"], world.case().body["standing"]["rows"]) == (0, 20 + 20 * round_)
        assert "was lost and begun anew 2 times: " in world.case().body["text"]
        await kept.ledger.close()

    run(story())


def test_what_a_loss_of_power_takes_from_the_ledger_does_not_count_twice(world: World, tmp_path: Path) -> None:
    """The file is the same, only its last turn is gone: the trial keeps what it had read, and reads on."""

    async def story() -> None:
        await world.begin()
        kept = Kept(world, tmp_path / FILE)
        await world.contests.start("m", "2", ADA)
        await kept.came_true(20, 0.0, 0.0)
        await kept.ledger.close()
        before = kept.path.read_bytes()
        kept.open()
        await kept.came_true(20, 0.0, 0.0)
        await world.look()
        assert (world.case().body["turn"], rows(world.case().body)) == (2, 40)
        await kept.ledger.close()
        kept.path.write_bytes(before)
        kept.open()
        await world.look()
        assert (world.case().body["turn"], rows(world.case().body)) == (1, 40)
        await kept.came_true(20, 0.0, 0.0)
        await world.look()
        assert (world.case().body["turn"], rows(world.case().body)) == (2, 60)
        assert "was lost" not in world.case().body["text"]
        await kept.ledger.close()

    run(story())


def test_a_ledger_that_was_lost_is_known_also_where_the_new_one_has_come_farther(world: World, tmp_path: Path) -> None:
    """Turns are counted in each; nothing of the new one is left out."""

    async def story() -> None:
        await world.begin()
        kept = Kept(world, tmp_path / FILE)
        await world.contests.start("m", "2", ADA)
        await kept.came_true(20, 0.0, 0.0)
        await world.look()
        await kept.ledger.close()
        deleted(kept.path)
        kept.open()
        for _ in range(3):
            await kept.came_true(20, 0.0, 0.0)
        await world.look()
        assert (world.case().body["turn"], rows(world.case().body)) == (3, 80)
        assert "the ledger was lost and begun anew: " in world.case().body["text"]
        await kept.ledger.close()

    run(story())


# ---- a ledger that cannot be read ----


def test_time_goes_on_while_the_ledger_cannot_be_read(world: World) -> None:
    """Also over a restart; it ends undecided when it is over, and says why nothing more is known."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(60, 1.0, 0.0)
        await world.look()
        world.ledger.error = NotReady("the ledger cannot be read: the disk fails")
        await world.look(1800)
        assert world.case().open
        assert world.case().body["standing"]["rows"] == 60
        assert world.case().body["seconds"] == pytest.approx(1802)
        assert world.case().body["text"].endswith("What came true since is not known: the ledger cannot be read: the"
                                                  " disk fails.")  # fmt: skip
        world.up = 3.0
        await world.restart()
        await world.look(0)
        assert world.case().open
        await world.look(1800)
        assert world.case().state == "undecided"
        assert world.case().body["text"].startswith("Undecided after 60 minutes: of 100 requests version 2 has 100 mo")
        assert world.case().body["text"].endswith("the disk fails.")
        assert stage(world.lifecycle, "m", "2") == "ready"

    run(story())


def test_a_ledger_that_can_be_read_again_ends_what_was_said(world: World) -> None:
    """It is read from where it was left."""

    async def story() -> None:
        await world.begin()
        await world.contests.start("m", "2", ADA)
        world.ledger.pair(60, 1.0, 0.0)
        world.ledger.error = NotReady("the ledger cannot be read: the disk fails")
        await world.look(SAVE_S)
        assert "the disk fails" in world.case().body["text"]
        world.ledger.error = None
        await world.look()
        assert world.case().body["standing"]["rows"] == 60
        assert "the disk fails" not in world.case().body["text"]

    run(story())


# ---- faults ----


class Fault(Exception):
    """Something of ours that should not be."""


def in_winners(world: World) -> None:
    """Winners that wait cannot be looked for."""

    async def failing() -> None:
        raise Fault

    world.contests._winners.catch_up = failing  # type: ignore[method-assign]


def in_a_shadow(world: World) -> None:
    """What is known of a shadow without a trial cannot be understood."""
    known = world.contests._figures

    def figures(model: str, number: str, reference: str) -> Figures | None:
        if model == "k":
            raise Fault
        return known(model, number, reference)

    world.contests._figures = figures


def in_a_count(world: World) -> None:
    """What contradicts cannot be counted for one model."""

    class Counts(dict[str, int]):
        def get(self, model: str, default: Any = None) -> Any:
            """Of a model."""
            if model == "m":
                raise Fault
            return super().get(model, default)

    world.ledger.contradicted = Counts()
    world.contests._contradicted.clear()


def in_the_ledger(world: World) -> None:
    """What came true of one model cannot be understood."""
    known = world.ledger.since

    async def since(model: str, *rest: Any, **how: Any) -> Page:
        if model == "m":
            raise Fault
        return await known(model, *rest, **how)

    world.ledger.since = since  # type: ignore[method-assign,assignment]


def in_a_case(world: World) -> None:
    """What is stored of one is nothing that one knows."""
    registry = world.lifecycle._changes.registry
    (case,) = [each for each in registry.cases.values() if each.model == "m"]

    class Body(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise Fault

    object.__setattr__(case, "body", Body())


@pytest.mark.parametrize("fault", [in_winners, in_a_shadow, in_a_count, in_the_ledger, in_a_case])
def test_a_fault_of_one_stops_no_other_trial(world: World, fault: Callable[[World], None]) -> None:
    """Whatever is wrong with one of them, or beside them: the others come to their verdict, and nothing is raised."""

    async def story() -> None:
        for model in ("k", "n"):
            world.house.put(model)
        world.toml(TOML, "k", "m", "n")
        await world.begin()
        await world.challenger("2", "k", shadow=True)
        await world.challenger("2", "n", shadow=True)
        await world.contests.start("m", "2", ADA)
        case = await world.contests.start("n", "2", ADA)
        fault(world)
        world.ledger.pair(120, 1.0, 0.0)
        await world.look()
        assert world.house.every_case[case.id].state == "won"

    run(story())


def test_what_cannot_be_stored_of_one_is_stored_of_the_others(world: World) -> None:
    """Together where that goes, else each for itself; it is tried again with the next look."""

    async def story() -> None:
        world.house.put("n")
        world.toml(TOML, "m", "n")
        await world.begin()
        await world.challenger("2", "n", shadow=True)
        first = await world.contests.start("m", "2", ADA)
        second = await world.contests.start("n", "2", ADA)
        save, saved = world.contests._save, []

        async def saving(going: Sequence[_Step]) -> None:
            saved.append([each.after.model for each in going])
            if "m" in saved[-1] and len(saved) < 4:
                raise Fault
            await save(list(going))

        world.contests._save = saving  # type: ignore[method-assign]
        world.ledger.pair(20, 1.0, 0.0)
        await world.look()
        assert saved == [["m", "n"], ["m"], ["n"]]
        assert rows(world.house.every_case[first.id].body) == 0
        assert rows(world.house.every_case[second.id].body) == 20
        await world.look()
        assert rows(world.house.every_case[first.id].body) == 20

    run(story())


def rows(body: Mapping[str, Any]) -> int:
    """That a trial has compared."""
    return int(body["standing"]["rows"])
