"""What operators switch by hand: freeze, aliases, the fallback."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.control.records import Order
from router.control.switches import LONGEST_ALIAS, Switches
from router.core.access import Role
from router.core.standing import EVERYTHING
from router.errors import Denied, InvalidRequest, NotFound, Refused
from tests.control.lifecycle_fakes import ADA, BOB, House, champions, promoted, run, settled, stage, started

DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- freeze ----


def test_a_freeze_is_durable_and_makes_no_table(house: House) -> None:
    """It is noted with who and why, told, and survives every restart."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        watching = lifecycle.events.watch("a")
        await anext(watching)
        await lifecycle.freeze("a", True, ADA)
        assert house.events == []
        assert (house.entries[-1].actor, house.entries[-1].action, house.entries[-1].model) == ("ada", "freeze", "a")
        event = await anext(watching)
        assert (event.kind, event.model, event.text) == ("frozen", "a", "no promotions")
        await watching.aclose()
        assert [view.frozen for view in lifecycle.versions()] == [True, False]
        for start in ("controller", "everything"):
            if start == "everything":
                house.reboot()
            again = house.lifecycle()
            await again.start()
            assert again.frozen == {"a"}
        await again.freeze("a", False, BOB)
        await again.freeze("a", False, BOB)
        assert again.frozen == frozenset()

    run(test())


def test_all_models_can_be_frozen_at_once(house: House) -> None:
    """One of them cannot be thawed by itself then; what was frozen by itself stays so."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("b", 2)
        await lifecycle.test("b", "2", ADA)
        await lifecycle.freeze("a", True, ADA)
        await lifecycle.freeze(EVERYTHING, True, ADA)
        with pytest.raises(Refused, match="model 'b' is frozen, as all models are: `router thaw` allows"):
            await lifecycle.promote("b", "2", ADA)
        with pytest.raises(Refused, match="all models are frozen: thaw all of them"):
            await lifecycle.freeze("b", False, ADA)
        await lifecycle.freeze(EVERYTHING, False, ADA)
        assert lifecycle.frozen == {"a"}
        await lifecycle.promote("b", "2", ADA)

    run(test())


# ---- aliases ----


def test_an_alias_moves_with_one_flip(house: House) -> None:
    """All workers know it then; it stays with its version through promotions and restarts."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        assert await lifecycle.set_alias("a", "stable", "1", ADA) == 2
        assert all(worker.tables[2].routes["a"].number("stable") == "1" for worker in crew)
        await promoted(house, lifecycle, "a")
        assert lifecycle.table.routes["a"].aliases == {"stable": "1"}
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert again.table.routes["a"].aliases == {"stable": "1"}
        generation = house.word
        assert await again.set_alias("a", "stable", "1", ADA) == generation, "it is there already"
        assert await again.set_alias("a", "stable", "2", BOB) == generation + 1
        assert (house.entries[-1].before, house.entries[-1].after) == ({"stable": "1"}, {"stable": "2"})
        await again.set_alias("a", "stable", "", BOB)
        assert again.table.routes["a"].aliases == {}

    run(test())


def test_an_alias_goes_with_a_version_that_is_gone(house: House) -> None:
    """Nobody is answered by what there is not."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        await lifecycle.set_alias("a", "next", "2", ADA)
        house.drop("a", 2)
        await lifecycle.refresh()
        assert lifecycle.table.routes["a"].aliases == {}

    run(test())


@pytest.mark.parametrize(
    "alias", ["", "7", "champion", "standby", "challenger", "latest", "x" * (LONGEST_ALIAS + 1), "a\nb", "a\x00"]
)
def test_a_name_that_cannot_be_an_alias(house: House, alias: str) -> None:
    """It would be taken for a number or a role, or could not be shown."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        with pytest.raises(InvalidRequest, match="cannot be an alias: it takes a name of at most 100 characters"):
            await lifecycle.set_alias("a", alias, "1", ADA)
        assert house.entries[-1].action == "began"

    run(test())


def test_an_alias_of_what_there_is_not(house: House) -> None:
    """A version, an alias, a model: told with what there is."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        with pytest.raises(NotFound, match="model 'a' has no version '9'; it has 1"):
            await lifecycle.set_alias("a", "next", "9", ADA)
        with pytest.raises(NotFound, match="model 'a' has no alias 'next'; it has none"):
            await lifecycle.set_alias("a", "next", "", ADA)
        await lifecycle.unload("a")
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        (house.root / "a").rename(house.root.parent / "a")
        await lifecycle.refresh()
        with pytest.raises(Refused, match="model 'a' serves nothing, and its directory is gone"):
            await lifecycle.set_alias("a", "next", "1", ADA)

    run(test())


# ---- the fallback ----


def test_the_switch_survives_until_it_is_switched_back(house: House) -> None:
    """A promotion, changed settings, a new controller and a restart of all leave it; each turn is one new table."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, crew = await started(house)
        await lifecycle.set_fallback("a", True)
        assert house.events[-2:] == ["stored 2", "word 2"]
        assert all(worker.tables[2].routes["a"].switched for worker in crew)
        house.events.clear()
        await lifecycle.set_fallback("a", True, ADA)
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"
        await promoted(house, lifecycle, "a")
        assert lifecycle.table.routes["a"].switched
        assert not lifecycle.table.routes["b"].switched
        again = house.lifecycle()
        await again.start()
        assert again.table.routes["a"].switched, "a new controller"
        house.reboot()
        fresh = house.lifecycle()
        await fresh.start()
        assert fresh.table.routes["a"].switched, "everything was started again"
        house.toml("a", "")
        await fresh.refresh()
        assert fresh.table.routes["a"].switched, "nothing is run unasked"
        await fresh.set_fallback("a", False, BOB)
        assert not fresh.table.routes["a"].switched
        entry = house.entries[-1]
        assert (entry.actor, entry.action) == ("bob", "fallback")
        assert (entry.before, entry.after) == ({"switched": True}, {"switched": False})

    run(test())


def test_the_switch_is_refused_where_nothing_could_answer(house: House) -> None:
    """A model without a chain, and one that nobody knows; nothing has changed."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        with pytest.raises(Refused, match=r"model 'a' has no fallback to switch to: set `fallback\.chain`"):
            await lifecycle.set_fallback("a", True, ADA)
        await lifecycle.set_fallback("a", False, ADA)
        for on in (True, False):
            with pytest.raises(NotFound, match="unknown model 'nothing'"):
                await lifecycle.set_fallback("nothing", on, ADA)
        assert house.events == []
        assert champions(lifecycle) == {"a": "1", "b": "1"}

    run(test())


# ---- importance, acts ----


def test_importance_is_declared_by_admins(house: House) -> None:
    """It is durable, recorded with what was before, and no table is made; the same again is nothing."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        switches = Switches(lifecycle._changes)
        watching = lifecycle.events.watch("a")
        await anext(watching)
        await switches.set_importance("a", "high", ADA)
        await switches.set_importance("a", "high", ADA)
        assert (house.importance, house.events) == ({"a": "high"}, [])
        event = await anext(watching)
        assert (event.kind, event.text) == ("importance", "its importance is high")
        await watching.aclose()
        await switches.set_importance("a", "low", BOB)
        entry = house.entries[-1]
        assert [each.action for each in house.entries].count("importance") == 2
        assert (entry.before, entry.after, entry.actor) == ({"importance": "high"}, {"importance": "low"}, "bob")
        with pytest.raises(NotFound, match="unknown model 'x'"):
            await switches.set_importance("x", "low", ADA)
        with pytest.raises(InvalidRequest, match="'huge' is no importance: low, moderate, high, critical are"):
            await switches.set_importance("a", "huge", ADA)
        with pytest.raises(Denied, match="the importance of a model needs the role admin, and 'oli' is approver"):
            await switches.set_importance("a", "high", Order("oli", role=Role.APPROVER))
        assert house.importance == {"a": "low"}

    run(test())


def test_an_act_may_change_nothing_by_itself(house: House) -> None:
    """It is in the audit log, about all models."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await Switches(lifecycle._changes).note("apply", ADA, {"sha256": "ab"})
        entry = house.entries[-1]
        assert (entry.action, entry.model, entry.actor, entry.reason) == ("apply", EVERYTHING, "ada", "it is better")
        assert (entry.after, house.events) == ({"sha256": "ab"}, [])

    run(test())
