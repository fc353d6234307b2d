"""What a promotion would do, before it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.errors import Refused
from tests.control.lifecycle_fakes import ADA, House, champions, promoted, run, settled, stage, started


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


def test_a_plan_shows_evidence_moves_and_the_way_back(house: House) -> None:
    """And changes nothing; the promotion then does what it said."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.put("a", 3)
        report = await lifecycle.test("a", "3", ADA)
        await lifecycle.set_alias("a", "stable", "2", ADA)
        before, entries = lifecycle.table, len(house.entries)
        plan = await lifecycle.plan("a", "3")
        assert plan.possible
        assert plan.evidence == (report,)
        assert plan.moves == (
            "version 3: ready → champion",
            "version 2: champion → standby",
            "version 1: standby → draining → retired",
            "alias stable stays with version 2",
        )
        assert plan.way_back == "`router rollback a` makes version 2 answer again, in one flip"
        assert (plan.champion, plan.standby, plan.standby_after) == ("2", "1", "2")
        assert (plan.memory_needed_bytes, plan.memory_free_bytes) == (0, 1 << 30), "it is loaded already"
        assert (lifecycle.table, len(house.entries)) == (before, entries)
        swapped = await lifecycle.promote("a", "3", ADA)
        assert (swapped.champion, swapped.standby) == ("3", plan.standby_after)

    run(test())


def test_a_plan_to_go_back_to_the_standby(house: House) -> None:
    """The two would change places, and nobody else would move."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        plan = await lifecycle.plan("a", "1")
        assert plan.possible
        assert plan.moves == ("version 1: standby → champion", "version 2: champion → standby")

    run(test())


def test_a_plan_names_everything_in_the_way(house: House) -> None:
    """All of it at once, each with the mend."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        await lifecycle.freeze("a", True, ADA)
        plan = await lifecycle.plan("a", "2")
        assert not plan.possible
        assert plan.obstacles == (
            "model 'a' is frozen: `router thaw a` allows promotions again",
            "version 2 of model 'a' has not been tested: `router test a 2` first",
        )
        with pytest.raises(Refused) as refused:
            await lifecycle.promote("a", "2", ADA)
        assert str(refused.value) == plan.obstacles[0]

    run(test())


def test_a_plan_for_the_champion(house: House) -> None:
    """It would move nothing."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        plan = await lifecycle.plan("a", "2")
        assert plan.obstacles == ("version 2 of model 'a' is its champion already",)
        assert (plan.moves, plan.way_back) == ((), "")
        assert (plan.champion, plan.standby, plan.standby_after) == ("2", "1", "1")

    run(test())


def test_a_plan_where_nothing_serves(house: House) -> None:
    """There is no way back yet."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await lifecycle.unload("a")
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        await lifecycle.test("a", "1", ADA)
        plan = await lifecycle.plan("a", "1")
        assert plan.possible
        assert plan.way_back == "none: nothing serves now"
        await lifecycle.promote("a", "1", ADA)
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_plan_shows_settings_that_would_not_fit(house: House) -> None:
    """As the promotion would be refused for them."""

    async def test() -> None:
        house.toml("a", '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n')
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.rename("a/2", "z")
        await lifecycle.test("a", "2", ADA)
        plan = await lifecycle.plan("a", "2")
        assert len(plan.obstacles) == 1
        assert "`fallback.default` names the unknown output 'y'" in plan.obstacles[0]
        with pytest.raises(Refused) as refused:
            await lifecycle.promote("a", "2", ADA)
        assert str(refused.value) == plan.obstacles[0]

    run(test())
