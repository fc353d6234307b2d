"""A canary whose step was decided while somebody else had the turn: who was acknowledged first has it his way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from router.control.lifecycle import Lifecycle
from router.control.records import Change
from tests.control.canary_fakes import Canary, candidate
from tests.control.lifecycle_fakes import ADA, BOB, House, champions, run, settled, stages, started

Act = Callable[[Lifecycle], Awaitable[object]]


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Model a, with versions 1 and 3."""
    house = House(tmp_path, "a")
    house.put("a", 3)
    return house


async def upto(house: House, share: float) -> tuple[Canary, Lifecycle]:
    """A canary of version 2 beside champion 1, that has decided at the next look to leave this share."""
    house.toml("a", "[lifecycle]\ninitial_champion = 1\n")
    lifecycle, _ = await started(house)
    await lifecycle.test("a", "3", ADA)
    canary = await candidate(house, lifecycle)
    await canary.rollouts.begin("a", "2", ADA)
    await canary.passes(100, lambda: canary.share() == share)
    await canary.passes(20)
    assert canary.share() == share
    return canary, lifecycle


async def overtaken(house: House, canary: Canary, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has the turn and is about to store what was asked for; the canary decides meanwhile."""
    entered, go_on, save = threading.Event(), threading.Event(), house.save

    def slow(change: Change) -> None:
        entered.set()
        assert go_on.wait(10)
        save(change)

    monkeypatch.setattr(house, "save", slow)
    acting = asyncio.ensure_future(act(canary.lifecycle))  # type: ignore[arg-type]
    await settled(entered.is_set)
    asked = canary.callers.asked
    passing = asyncio.ensure_future(canary.passes(6, lambda: canary.callers.asked > asked))
    await settled(lambda: canary.callers.asked > asked)
    go_on.set()
    await acting
    await passing
    monkeypatch.undo()


@pytest.mark.parametrize("share", [10.0, 95.0], ids=["a step", "the end"])
@pytest.mark.parametrize(
    "act",
    [
        lambda lifecycle: lifecycle.promote("a", "3", BOB),
        lambda lifecycle: lifecycle.rollback("a", "3", BOB),
    ],
    ids=["promoted", "rolled back"],
)
def test_another_champion_is_not_overruled(
    house: House, act: Act, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a step nor by the candidate: the canary is undone with the next look."""

    async def test() -> None:
        canary, lifecycle = await upto(house, share)
        await overtaken(house, canary, act, monkeypatch)
        assert (champions(lifecycle)["a"], canary.share()) == ("3", share)
        await canary.passes(6)
        assert canary.case.body["why"] == "the champion is version 3 by now, made so by bob"
        assert stages(lifecycle, "a") == {"3": "champion", "2": "ready", "1": "standby"}

    run(test())


@pytest.mark.parametrize("share", [10.0, 95.0], ids=["a step", "the end"])
def test_a_freeze_holds_from_when_it_was_acknowledged(
    house: House, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing grows then that had been decided before; thawed, it goes on."""

    async def test() -> None:
        canary, lifecycle = await upto(house, share)
        await overtaken(house, canary, lambda life: life.freeze("a", True, BOB), monkeypatch)
        assert (champions(lifecycle)["a"], canary.share(), canary.case.open) == ("1", share, True)
        await canary.passes(10)
        assert (champions(lifecycle)["a"], canary.share(), canary.case.open) == ("1", share, True)
        await lifecycle.freeze("a", False, BOB)
        await canary.passes(6)
        assert canary.share() == 50.0 if share == 10.0 else champions(lifecycle)["a"] == "2"

    run(test())
