"""Who answers for a model: promotion and rollback, one flip each; on fakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.control import artefact, change
from router.control.records import Order
from router.errors import Conflict, InvalidRequest, NoRoom, Refused
from tests.control.lifecycle_fakes import (
    ADA,
    BOB,
    House,
    champions,
    promoted,
    record,
    run,
    settled,
    stage,
    stages,
    started,
)

TO_B = '[fallback]\nchain = ["failover"]\nfailover = "b"\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- promotion ----


def test_a_promotion_is_one_flip(house: House) -> None:
    """Of all workers; the champion before stands by, loaded; who, why, before and after are kept and told."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        await lifecycle.set_alias("a", "stable", "1", ADA)
        watching = lifecycle.events.watch("a")
        await anext(watching)
        house.events.clear()
        swapped = await lifecycle.promote("a", "2", BOB)
        generation = house.word
        assert sorted(house.events) == [
            f"stored {generation}",
            f"word {generation}",
            f"worker 0 prepares {generation}",
            f"worker 1 prepares {generation}",
        ]
        assert swapped.generation == generation
        assert (swapped.champion, swapped.standby, swapped.was_champion) == ("2", "1", "1")
        assert swapped.took_s > 0
        route = lifecycle.table.routes["a"]
        assert (route.champion, route.standby, route.aliases) == ("2", "1", {"stable": "1"})
        assert stages(lifecycle, "a") == {"2": "champion", "1": "standby"}
        assert record(lifecycle, "a", "2").reason == "it is worse"
        assert all(worker.holds == {"a/1", "a/2", "b/1"} for worker in crew)
        entry = house.entries[-1]
        assert (entry.actor, entry.action, entry.number, entry.reason) == ("bob", "promote", "2", "it is worse")
        assert (entry.before, entry.after) == ({"champion": "1"}, {"champion": "2"})
        kinds = [(await anext(watching)).kind for _ in range(4)]
        assert kinds == ["moved", "moved", "swapped", "champion"]
        await watching.aclose()

    run(test())


def test_who_stood_by_drains_and_is_retired(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last lease has come back in every worker, and not before; then its memory is free.

    Whoever wants it back waits for that, though not for ever.
    """

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        crew[1].leases = asyncio.Event()
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: bool(crew[0].retired))
        assert stages(lifecycle, "a") == {"3": "champion", "2": "standby", "1": "draining"}
        with monkeypatch.context() as patched:
            patched.setattr(change, "DRAIN_S", 0.001)
            with pytest.raises(Conflict, match="version 1 of model 'a' is draining: try again"):
                await lifecycle.rollback("a", "1", ADA)
            with pytest.raises(Refused, match="is draining: try again in a moment"):
                await lifecycle.promote("a", "1", ADA)
        back = asyncio.ensure_future(lifecycle.rollback("a", "1", ADA))
        await settled(lambda: stage(lifecycle, "a", "1") == "draining")
        crew[1].leases.set()
        await back
        await settled(lambda: stage(lifecycle, "a", "2") == "retired")
        assert record(lifecycle, "a", "2").reason == "retired: version 3 stands by now"
        assert all(worker.holds == {"a/1", "a/3", "b/1"} for worker in crew)

    run(test())


@pytest.mark.parametrize("failed", [False, True])
def test_what_has_not_passed_its_gates_is_not_promoted(house: House, failed: bool) -> None:
    """Without an override, which needs a reason; then it is loaded without them, if it can be."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        if failed:
            house.failing["a/2"] = "too slow"
            await lifecycle.test("a", "2", ADA)
        said = r"has failed \(exam: too slow\)" if failed else "has not been tested"
        with pytest.raises(Refused, match=f"version 2 of model 'a' {said}: `router test a 2` first"):
            await lifecycle.promote("a", "2", ADA)
        with pytest.raises(InvalidRequest, match="an override needs a reason"):
            await lifecycle.promote("a", "2", Order("ada"), override=True)
        house.broken.add("a/2")
        with pytest.raises(Refused, match="cannot be loaded: it is broken"):
            await lifecycle.promote("a", "2", ADA, override=True)
        house.broken.clear()
        tested = len(house.tested)
        await lifecycle.promote("a", "2", ADA, override=True)
        assert all(worker.answers("a") == "2" for worker in crew)
        assert len(house.tested) == tested
        assert record(lifecycle, "a", "2").digest

    run(test())


def test_a_version_that_a_worker_cannot_load_is_not_promoted(house: House) -> None:
    """Nothing has changed then: it may be tried again."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        crew[1].refuses["a/2"] = "no memory"
        before = lifecycle.table
        with pytest.raises(Refused, match="version 2 of model 'a' cannot be loaded: no memory"):
            await lifecycle.promote("a", "2", ADA, override=True)
        assert lifecycle.table == before
        assert stages(lifecycle, "a") == {"2": "found", "1": "champion"}
        crew[1].refuses.clear()
        await lifecycle.promote("a", "2", ADA, override=True)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_what_needs_a_warm_up_is_not_promoted_without(house: House) -> None:
    """Where its owner says so."""

    async def test() -> None:
        house.toml("a", '[lifecycle]\npromote_needs = "warm"')
        house.warmth.set()
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        with pytest.raises(Refused, match=r"has not been warmed, .*`router warm a 2` first"):
            await lifecycle.promote("a", "2", ADA)
        await lifecycle.warm("a", "2", ADA)
        await lifecycle.promote("a", "2", ADA)
        await lifecycle.rollback("a", "", BOB)
        assert champions(lifecycle)["a"] == "1", "a way back needs nothing"

    run(test())


def test_a_promotion_against_the_gates_is_recorded_as_that(house: House) -> None:
    """Whoever reads the audit log need not guess; of one that needed none nothing is said."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        for number in (2, 3):
            house.put("a", number)
        await lifecycle.refresh()
        await lifecycle.promote("a", "2", ADA, override=True)
        assert house.entries[-1].after == {"champion": "2", "override": True}
        await lifecycle.test("a", "3", ADA)
        await lifecycle.promote("a", "3", ADA)
        assert house.entries[-1].after == {"champion": "3"}
        await lifecycle.rollback("a", "", BOB)
        assert house.entries[-1].after == {"champion": "2"}

    run(test())


@pytest.mark.parametrize("tested", [False, True])
def test_files_that_were_not_agreed_to_are_not_promoted(house: House, tested: bool) -> None:
    """Whether the version has been ready meanwhile or not: what is loaded is compared, in the same turn."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        agreed = artefact.digest(house.root / "a" / "2")
        house.put("a", 2, "other weights")
        await lifecycle.refresh()
        if tested:
            await lifecycle.test("a", "2", ADA)
        was = (dict(house.records), list(house.entries))
        with pytest.raises(Conflict) as error:
            await lifecycle._succession.promote("a", "2", ADA, "1", True, agreed)
        there = artefact.digest(house.root / "a" / "2")
        assert str(error.value) == (
            f"the files of version 2 of model 'a' have the digest {there[:12]}…, and {agreed[:12]}… was agreed to: ask"
            " again"
        )
        assert (house.records, house.entries) == was
        assert champions(lifecycle)["a"] == "1"
        await lifecycle._succession.promote("a", "2", ADA, "1", True, there)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_version_under_trial_is_not_promoted(house: House) -> None:
    """Not by an override either."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.go_on.clear()
        house.trying.clear()
        trial = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        for override in (False, True):
            with pytest.raises(Refused, match="version 2 of model 'a' is testing: wait for its verdict"):
                await lifecycle.promote("a", "2", ADA, override=override)
        house.go_on.set()
        await trial

    run(test())


def test_a_version_whose_files_have_gone_is_not_promoted(house: House) -> None:
    """It serves as long as no worker has to load it: that is no state for a champion, unless somebody insists."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        house.drop("a", 2)
        await lifecycle.refresh()
        with pytest.raises(Refused, match="could not be loaded by a worker that comes: its directory is gone"):
            await lifecycle.promote("a", "2", ADA)
        await lifecycle.promote("a", "2", ADA, override=True)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_the_champion_cannot_be_promoted(house: House) -> None:
    """It is already."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        for again in (lifecycle.promote("a", "1", ADA), lifecycle.rollback("a", "1", ADA)):
            with pytest.raises(Refused, match="version 1 of model 'a' is its champion already"):
                await again

    run(test())


# ---- two operators ----


def test_of_two_operators_one_wins(house: House) -> None:
    """The other learns who it was and what now answers; nothing of theirs is done."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        for number in (2, 3):
            house.put("a", number)
            await lifecycle.test("a", str(number), ADA)
        won, lost = await asyncio.gather(
            lifecycle.promote("a", "2", ADA), lifecycle.promote("a", "3", BOB), return_exceptions=True
        )
        assert not isinstance(won, BaseException)
        assert isinstance(lost, Conflict)
        assert str(lost) == "the champion of 'a' is version 2, made so by ada, not 1: look again"
        assert stages(lifecycle, "a") == {"3": "ready", "2": "champion", "1": "standby"}

    run(test())


def test_what_is_expected_is_compared(house: House) -> None:
    """An order that was made for another champion is refused, also under a new controller."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        for order in (again.promote("a", "1", BOB, "1"), again.rollback("a", "", BOB, "1")):
            with pytest.raises(Conflict, match="is version 2, made so by ada, not 1"):
                await order
        await again.rollback("a", "", BOB, "2")
        assert champions(again)["a"] == "1"

    run(test())


def test_two_models_change_in_any_order(house: House) -> None:
    """Many orders at once: each generation is stored and named once, in order, and all are done."""

    async def test() -> None:
        for number in range(4):
            house.put(f"m{number}")
        lifecycle, crew = await started(house)
        models = [f"m{number}" for number in range(4)]
        await promoted(house, lifecycle, *models)
        house.events.clear()
        await asyncio.gather(*(lifecycle.rollback(model, "", ADA) for model in models), lifecycle.refresh())
        assert [champions(lifecycle)[model] for model in models] == ["1"] * 4
        stored = [event.split()[1] for event in house.events if event.startswith("stored")]
        words = [event.split()[1] for event in house.events if event.startswith("word")]
        assert stored == words == sorted(set(words), key=int)
        assert len(words) == 4
        assert all(worker.answers(model) == "1" for worker in crew for model in models)

    run(test())


# ---- rollback ----


def test_a_rollback_goes_to_who_stands_by_and_back(house: House) -> None:
    """By one flip that loads nothing; the two have changed places."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        tested = len(house.tested)
        for champion, standby in (("1", "2"), ("2", "1")):
            swapped = await lifecycle.rollback("a", "", BOB)
            assert (swapped.champion, swapped.standby) == (champion, standby)
            assert all(worker.answers("a") == champion for worker in crew)
        assert len(house.tested) == tested
        assert house.entries[-1].action == "rollback"

    run(test())


def test_a_rollback_to_an_older_version_loads_it(house: House) -> None:
    """Without its gates, and although they would refuse it; whoever stood by makes room."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        house.failing["a/1"] = "too slow"
        await lifecycle.rollback("a", "1", BOB)
        await settled(lambda: stage(lifecycle, "a", "2") == "retired")
        assert stages(lifecycle, "a") == {"3": "standby", "2": "retired", "1": "champion"}
        assert all(worker.holds == {"a/1", "a/3", "b/1"} for worker in crew)

    run(test())


def test_a_load_holds_up_no_change_of_another_model(house: House) -> None:
    """An older version is loaded before it is its turn: meanwhile another model goes back at once."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await promoted(house, lifecycle, "b")
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        for worker in crew:
            worker.loads = asyncio.Event()
        going = asyncio.ensure_future(lifecycle.rollback("a", "1", BOB))
        await settled(lambda: any(worker.preloaded[-1:] and worker.preloaded[-1].model == "a" for worker in crew))
        assert (await lifecycle.rollback("b", "", BOB)).champion == "1"
        assert not going.done()
        for worker in crew:
            worker.loads.set()
        assert (await going).champion == "1"
        assert champions(lifecycle) == {"a": "1", "b": "1"}

    run(test())


def test_what_cannot_be_loaded_is_told_before_anybodys_turn(house: House) -> None:
    """Nothing has changed then, and no table was prepared for it."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        prepared = list(crew[1].prepared)
        crew[1].refuses["a/1"] = "no memory"
        with pytest.raises(Refused, match="version 1 of model 'a' cannot be loaded: no memory"):
            await lifecycle.rollback("a", "1", BOB)
        assert crew[1].prepared == prepared
        assert champions(lifecycle) == {"a": "3", "b": "1"}

    run(test())


def test_a_rollback_does_not_wait_for_another_models_gates(house: House) -> None:
    """They may take minutes; whether an older version can be loaded is asked beside them."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        house.put("b", 2)
        house.go_on.clear()
        house.trying.clear()
        trial = asyncio.ensure_future(lifecycle.test("b", "2", ADA))
        await settled(house.trying.is_set)
        await lifecycle.rollback("a", "1", BOB)
        assert champions(lifecycle)["a"] == "1"
        assert stage(lifecycle, "b", "2") == "testing"
        house.go_on.set()
        await trial

    run(test())


def test_a_rollback_for_which_there_is_no_room_is_refused(house: House) -> None:
    """With the figures, before it starts."""

    async def test() -> None:
        house.takes = 1 << 20
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        house.memory = 1 << 20
        before = lifecycle.table
        with pytest.raises(NoRoom, match="version 1 of model 'a' needs 2 MB"):
            await lifecycle.rollback("a", "1", BOB)
        assert lifecycle.table == before
        await lifecycle.rollback("a", "", BOB)

    run(test())


def test_a_rollback_needs_somewhere_to_go(house: House) -> None:
    """A standby, or the name of a version that has been ready: what nobody has seen serve is no way back."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        with pytest.raises(Refused, match="model 'a' has no standby: name a version to go back to; it has no other"):
            await lifecycle.rollback("a", "", ADA)
        house.put("a", 2)
        await lifecycle.refresh()
        with pytest.raises(Refused, match="it has 2"):
            await lifecycle.rollback("a", "", ADA)
        with pytest.raises(Refused, match="version 2 of model 'a' has never been ready, so there is no way back to it"):
            await lifecycle.rollback("a", "2", ADA)

    run(test())


def test_what_is_frozen_may_be_rolled_back(house: House) -> None:
    """And not promoted, until it is thawed."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        await lifecycle.freeze("a", True, ADA)
        await lifecycle.rollback("a", "", BOB)
        for override in (False, True):
            with pytest.raises(Refused, match="model 'a' is frozen: `router thaw a` allows promotions again"):
                await lifecycle.promote("a", "2", ADA, override=override)
        await lifecycle.freeze("a", False, ADA)
        await lifecycle.promote("a", "2", ADA)
        assert champions(lifecycle)["a"] == "2"

    run(test())


# ---- other models ----


def test_no_promotion_takes_another_models_failover(house: House) -> None:
    """Unless somebody insists; a rollback may. The other serves on either way, through a restart as well."""

    async def test() -> None:
        house.toml("a", TO_B)
        lifecycle, _ = await started(house)
        house.put("b", 2)
        house.rename("b/2", "z")
        await lifecycle.test("b", "2", ADA)
        with pytest.raises(Refused, match=r"model 'a' would be left without its failover: .*output 'y' is FP32"):
            await lifecycle.promote("b", "2", ADA)
        plan = await lifecycle.plan("b", "2")
        assert any("model 'a' would be left without its failover" in each for each in plan.obstacles)
        await lifecycle.promote("b", "2", ADA, override=True)
        assert champions(lifecycle) == {"a": "1", "b": "2"}
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert champions(again) == {"a": "1", "b": "2"}

    run(test())
