"""What came true of a champion and a challenger since somebody last looked: each once, in an order that no clock and no
restart changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from router.control.ledger import FILE
from router.core.prediction import MIRROR, Prediction
from router.core.trial import Answer, Pair
from tests.control.test_ledger import World, played

MOST = 1000


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A ledger on a file."""
    return World(tmp_path)


def mirrored(world: World, request_id: str, value: int = 4, row: int = 0) -> Prediction:
    """What version 2 said as a mirror."""
    return world.said(request_id, value, row, "2", MIRROR)


async def pairs(world: World, after: int = 0, most: int = MOST) -> tuple[int, list[Pair]]:
    """Of versions 1 and 2."""
    page = await world.ledger.since("m", "1", "2", after, most, paired=True)
    assert page.answers == []
    return page.turn, page.pairs


async def answers(world: World, after: int = 0, most: int = MOST) -> tuple[int, list[Answer]]:
    """Of versions 1 and 2."""
    page = await world.ledger.since("m", "1", "2", after, most, paired=False)
    assert page.pairs == []
    return page.turn, page.answers


def test_pairs_come_once_in_the_order_in_which_they_came_true(world: World) -> None:
    """By turns, not by when they were predicted."""

    async def story() -> None:
        await world.keep(world.said("a"), world.said("b"), world.said("c"), world.said("alone"))
        await world.keep(mirrored(world, "a"), mirrored(world, "b"), mirrored(world, "c"), mirrored(world, "other"))
        assert await pairs(world) == (0, [])
        await world.submit(("c", 3), ("alone", 3))
        await world.submit(("a", 4), ("b", 3))
        assert await pairs(world) == (2, [Pair(1, "c", 0, 1), Pair(2, "a", 1, 0), Pair(2, "b", 0, 1)])
        assert await pairs(world, 1) == (2, [Pair(2, "a", 1, 0), Pair(2, "b", 0, 1)])
        assert await pairs(world, 2) == (2, [])
        assert await world.ledger.last_turn("m") == 2

    played(world, story)


def test_a_mirror_that_runs_after_it_came_true_has_a_turn_of_its_own(world: World) -> None:
    """It would be missed by whoever asks for what came true since."""

    async def story() -> None:
        await world.keep(world.said("a"))
        await world.submit(("a", 4))
        assert await pairs(world) == (1, [])
        await world.keep(mirrored(world, "a"))
        assert await pairs(world, 1) == (2, [Pair(2, "a", 1, 0)])

    played(world, story)


def test_a_clock_that_jumps_back_loses_nothing(world: World) -> None:
    """What comes true after it comes after it."""

    async def story() -> None:
        await world.keep(world.said("a"), mirrored(world, "a"))
        await world.submit(("a", 3))
        world.clock.now -= 7200
        await world.keep(world.said("b"), mirrored(world, "b"))
        await world.submit(("b", 3))
        assert await pairs(world, 1) == (2, [Pair(2, "b", 0, 1)])

    played(world, story)


def test_rows_of_a_request_that_come_true_later_are_not_told_of(world: World) -> None:
    """They hang together with those that did before."""

    async def story() -> None:
        await world.keep(*[world.said("a", row=row) for row in range(3)], *[mirrored(world, "a", 4, n) for n in (0, 1)])
        await world.submit(("a", 3, 0), ("a", 3, 2))
        await world.submit(("a", 3, 1))
        assert await pairs(world) == (2, [Pair(1, "a", 0, 1)])
        assert await answers(world) == (
            2,
            [Answer(1, "a", by_challenger=False, off=0), Answer(1, "a", by_challenger=False, off=0)],
        )

    played(world, story)


def test_answers_are_of_callers_who_named_no_version(world: World) -> None:
    """In the order in which they were predicted, within a turn."""

    async def story() -> None:
        await world.keep(
            world.said("a"),
            world.said("b", version="2", served_by="challenger"),
            world.said("named", version="2", served_by="version"),
            world.said("hedged", served_by="hedge"),
            world.said("another", version="3", served_by="challenger"),
            world.said("c"),
            mirrored(world, "a"),
        )
        await world.submit(*[(name, 3) for name in ("c", "b", "a", "named", "hedged", "another")])
        _, found = await answers(world)
        assert [(each.request, each.by_challenger, each.off) for each in found] == [
            ("a", False, 0),
            ("b", True, 0),
            ("c", False, 0),
        ]

    played(world, story)


def test_pages_are_whole_turns(world: World) -> None:
    """One at least, else as many as are asked for; where nothing of them counts one goes on from their end."""

    async def story() -> None:
        for turn in range(4):
            ids = [f"{turn} {n}" for n in range(3)]
            await world.keep(*map(world.said, ids), *[mirrored(world, each) for each in ids if turn != 2])
            await world.submit(*[(each, 3) for each in ids])
        turn, found = 0, []
        sizes = []
        while (page := await pairs(world, turn, 8))[0] > turn:
            turn, rows = page
            found += rows
            sizes.append((turn, len(rows)))
        assert sizes == [(1, 3), (2, 3), (3, 0), (4, 3)]
        assert len({each.request for each in found}) == 9
        assert (await pairs(world, 0, 12))[0] == 2
        assert (await pairs(world, 0, 1))[0] == 1

    played(world, story)


def test_turns_go_on_after_a_restart_also_where_all_is_gone(world: World) -> None:
    """What is deleted does not give its turn back."""

    async def story() -> None:
        await world.keep(world.said("a"), mirrored(world, "a"))
        await world.submit(("a", 3))
        await world.ledger.close()
        with closing(sqlite3.connect(world.path)) as connection, connection:
            connection.execute("DELETE FROM predictions")
        world.new()
        assert await world.ledger.last_turn("m") == 1
        await world.keep(world.said("b"), mirrored(world, "b"))
        await world.submit(("b", 3))
        assert await pairs(world, 1) == (2, [Pair(2, "b", 0, 1)])

    played(world, story)


def test_a_file_that_was_lost_begins_anew(world: World) -> None:
    """A turn that it has not come to is of the one that is gone: all of this one is new. Without a file there is
    nothing."""

    async def story() -> None:
        assert await pairs(world, 7) == (7, [])
        await world.keep(world.said("a"), mirrored(world, "a"))
        await world.submit(("a", 3))
        assert await pairs(world, 7) == (1, [Pair(1, "a", 0, 1)])

    played(world, story)


def test_a_prediction_that_is_made_again_comes_true_again(world: World) -> None:
    """An id that is used twice: the newer prediction counts, from when something came true for it."""

    async def story() -> None:
        await world.keep(world.said("a", ago=60), mirrored(world, "a"))
        await world.submit(("a", 3))
        world.clock.passes(300)
        await world.keep(world.said("a"), mirrored(world, "a"))
        assert await pairs(world, 0) == (0, [])
        await world.submit(("a", 4))
        assert await pairs(world, 1) == (2, [Pair(2, "a", 1, 0)])

    played(world, story)


def test_a_file_of_the_layout_before_is_begun_anew(tmp_path: Path) -> None:
    """Its predictions are lost, and what comes is kept."""
    world = World(tmp_path)

    async def story() -> None:
        await world.keep(world.said("a"))
        await world.ledger.close()
        with closing(sqlite3.connect(world.path)) as connection, connection:
            connection.execute("PRAGMA user_version = 1")
        world.new()
        await world.keep(world.said("b"), mirrored(world, "b"))
        await world.submit(("b", 3))
        assert await pairs(world) == (1, [Pair(1, "b", 0, 1)])
        assert (tmp_path / f"{FILE}.damaged").exists()

    played(world, story)
