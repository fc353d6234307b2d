"""Models that are asked for: loads and unloads, with explicit control and without; on fakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from router.errors import Conflict, NotFound, Refused
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

DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'
MISFIT = '[fallback]\nchain = ["default"]\ndefault = { z = 1.0 }\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- loads ----


def test_nothing_serves_until_it_is_loaded(house: House) -> None:
    """Then it does, once it has passed its gates; what is there is listed all the time; a load concerns its model."""

    async def test() -> None:
        lifecycle, crew = await started(house, explicit=True)
        assert champions(lifecycle) == {"a": None, "b": None}
        assert lifecycle.table.routes["a"].versions["1"].reason == "unloaded"
        await lifecycle.load("a", order=ADA)
        house.put("c")
        await lifecycle.load("b")
        assert champions(lifecycle) == {"a": "1", "b": "1", "c": None}
        assert [each[:2] for each in house.tested] == [("a", "1"), ("b", "1")]
        assert all(worker.answers("a") == "1" for worker in crew)
        began = next(each for each in house.entries if each.action == "began")
        assert (began.actor, began.model) == ("ada", "a")
        await lifecycle.refresh()
        assert champions(lifecycle)["c"] is None, "nobody has asked for it"

    run(test())


def test_a_load_of_what_serves_brings_what_its_settings_choose(house: House) -> None:
    """The newest version, through its gates; one that fails leaves the champion. Loaded again, nothing changes."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.load("a", order=ADA)
        assert stages(lifecycle, "a") == {"2": "champion", "1": "standby"}
        assert house.entries[-1].action == "promote"
        table, entries = lifecycle.table, len(house.entries)
        await lifecycle.load("a", order=ADA)
        assert (lifecycle.table, len(house.entries)) == (table, entries)
        house.put("a", 3)
        house.failing["a/3"] = "too slow"
        with pytest.raises(Refused, match="model 'a' cannot be loaded; version 2 serves on: version 3: exam: too slow"):
            await lifecycle.load("a", order=ADA)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_load_of_what_serves_obeys_the_rules_of_a_promotion(house: House) -> None:
    """A frozen model is not promoted by this door either; the version is ready meanwhile."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await lifecycle.freeze("a", True, BOB)
        house.put("a", 2)
        with pytest.raises(Refused, match="cannot be loaded; version 1 serves on: model 'a' is frozen"):
            await lifecycle.load("a", order=ADA)
        assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_one_version_can_be_loaded(house: House) -> None:
    """It is ready then, and nothing else changes."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        house.put("a", 3)
        await lifecycle.load("a", "2", ADA)
        assert stages(lifecycle, "a") == {"3": "found", "2": "ready", "1": "champion"}
        await lifecycle.load("a", "2", ADA)
        assert len([each for each in house.tested if each[:2] == ("a", "2")]) == 1
        assert all(worker.holds == {"a/1", "a/2", "b/1"} for worker in crew)
        with pytest.raises(NotFound, match="model 'a' has no version '9'; it has 3, 2, 1"):
            await lifecycle.load("a", "9", ADA)

    run(test())


def test_what_passed_before_as_it_is_begins_at_once(house: House) -> None:
    """Its report holds where nothing serves; beside a champion it is to be compared with that."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.load("a")
        house.evidence[record(lifecycle, "a", "1").digest] = house.kept[-1]
        await lifecycle.unload("a")
        await lifecycle.load("a")
        assert [each[:2] for each in house.tested] == [("a", "1")]
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        house.evidence[record(lifecycle, "a", "2").digest] = house.kept[-1]
        await lifecycle.unload("a", "2")
        await lifecycle.load("a")
        assert house.tested[1:] == [("a", "2", "1"), ("a", "2", "1")]
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_ready_version_is_what_a_load_brings(house: House) -> None:
    """Somebody has tested it before: it need not be tried again."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.test("a", "1", ADA)
        assert champions(lifecycle)["a"] is None
        await lifecycle.load("a", order=ADA)
        assert champions(lifecycle)["a"] == "1"
        assert len(house.tested) == 1

    run(test())


def test_loads_at_once_are_one(house: House) -> None:
    """Of one model: it begins once. Of many: all of them do."""

    async def test() -> None:
        for number in range(4):
            house.put(f"m{number}")
        lifecycle, crew = await started(house, explicit=True)
        models = ["a", "b", *(f"m{number}" for number in range(4))]
        await asyncio.gather(*(lifecycle.load(model) for model in models * 3), lifecycle.refresh())
        assert champions(lifecycle) == dict.fromkeys(sorted(models), "1")
        assert sorted(each[0] for each in house.tested) == sorted(models)
        assert [each.action for each in house.entries].count("began") == len(models)
        assert all(worker.tables[house.word] == lifecycle.table for worker in crew)

    run(test())


def test_a_load_goes_on_when_its_caller_goes_away(house: House) -> None:
    """To its end, the promotion included."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.go_on.clear()
        house.trying.clear()
        load = asyncio.ensure_future(lifecycle.load("a"))
        await settled(house.trying.is_set)
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
        house.go_on.set()
        await settled(lambda: champions(lifecycle)["a"] == "2")

    run(test())


def test_a_load_that_fails_says_why(house: House) -> None:
    """It is broken, fails its gates, a worker cannot load it, or its settings do not fit; mended, it serves."""

    async def test() -> None:
        lifecycle, crew = await started(house, explicit=True)
        house.broken.add("a/1")
        with pytest.raises(Refused, match="model 'a' cannot be loaded: version 1: it is broken"):
            await lifecycle.load("a")
        assert lifecycle.table.routes["a"].versions["1"].reason == "it is broken"
        house.broken.clear()
        house.failing["a/1"] = "too slow"
        with pytest.raises(Refused, match="model 'a' cannot be loaded: version 1: exam: too slow"):
            await lifecycle.load("a")
        house.failing.clear()
        crew[0].refuses["a/1"] = "no memory"
        with pytest.raises(Refused, match="no memory"):
            await lifecycle.load("a")
        crew[0].refuses.clear()
        house.toml("a", MISFIT)
        with pytest.raises(Refused, match=r"model 'a' cannot be loaded: version 1: model\.toml: `fallback\.default`"):
            await lifecycle.load("a")
        house.toml("a", "nonsense")
        with pytest.raises(Refused, match=r"model 'a' cannot be loaded: model\.toml"):
            await lifecycle.load("a")
        assert champions(lifecycle)["a"] is None
        house.toml("a", DEFAULT)
        await lifecycle.load("a")
        assert champions(lifecycle)["a"] == "1"
        with pytest.raises(NotFound, match="the repository holds no model 'nothing'"):
            await lifecycle.load("nothing")

    run(test())


def test_an_older_version_is_loaded_where_the_newest_fails(house: House) -> None:
    """As at a first start: nothing has served before."""

    async def test() -> None:
        house.put("a", 2)
        house.failing["a/2"] = "too slow"
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.load("a")
        assert stages(lifecycle, "a") == {"2": "failed", "1": "champion"}

    run(test())


def test_a_model_that_has_lost_its_champion_is_loaded_on_request(house: House) -> None:
    """Somebody says so: what failed is tried again."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.load("a")
        late = house.worker(2)
        late.refuses["a/1"] = "no memory"
        await lifecycle.join(late)
        await lifecycle.refresh()
        assert stage(lifecycle, "a", "1") == "failed"
        late.refuses.clear()
        await lifecycle.load("a")
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_first_champion_that_somebody_promotes_meanwhile_stays(house: House) -> None:
    """A load does not go over the head of an operator."""

    async def test() -> None:
        house.put("a", 2)
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.test("a", "1", ADA)
        house.toml("a", "[lifecycle]\ninitial_champion = 2")
        house.go_on.clear()
        house.trying.clear()
        load = asyncio.ensure_future(lifecycle.load("a"))
        await settled(house.trying.is_set)
        await lifecycle.promote("a", "1", ADA)
        house.go_on.set()
        await load
        assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_a_load_of_a_version_under_trial_says_so(house: House) -> None:
    """Somebody is at it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.go_on.clear()
        house.trying.clear()
        trial = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        with pytest.raises(Conflict, match="version 2 of model 'a' is testing already: ada asked for it"):
            await lifecycle.load("a", order=BOB)
        house.go_on.set()
        await trial
        await lifecycle.load("a", order=BOB)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_load_is_told_of_a_full_disk(house: House) -> None:
    """Nothing serves that is not stored; once there is room it does."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        house.store_error = Refused("the disk is full")
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.load("a")
        assert champions(lifecycle)["a"] is None
        house.store_error = None
        await lifecycle.load("a")
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_load_of_what_settings_keep_from_serving_is_refused(house: House) -> None:
    """Its champion, or a version that is ready: nobody would be answered by it."""

    async def test() -> None:
        await started(house)
        house.reboot()
        house.toml("a", MISFIT)
        lifecycle = house.lifecycle()
        await lifecycle.start()
        assert champions(lifecycle)["a"] is None
        for number in ("", "1"):
            with pytest.raises(Refused, match=r"'a' cannot be loaded: version 1: model\.toml: `fallback\.default`"):
                await lifecycle.load("a", number)
        house.toml("a", DEFAULT)
        await lifecycle.load("a")
        assert champions(lifecycle)["a"] == "1"

    run(test())


# ---- unloads ----


def test_an_unload_takes_all_versions_away(house: House) -> None:
    """They drain; what was only ready is retired at once; nobody has it begin again but by a load."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        house.put("a", 3)
        await lifecycle.test("a", "3", ADA)
        crew[0].leases = asyncio.Event()
        await lifecycle.unload("a", order=ADA)
        assert stages(lifecycle, "a") == {"3": "retired", "2": "draining", "1": "draining"}
        assert champions(lifecycle) == {"a": None, "b": "1"}
        crew[0].leases.set()
        await settled(lambda: set(stages(lifecycle, "a").values()) == {"retired"})
        assert all(worker.holds == {"b/1"} for worker in crew)
        assert (house.entries[-1].actor, house.entries[-1].action) == ("ada", "unload")
        await lifecycle.refresh()
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert champions(again) == {"a": None, "b": "1"}
        assert record(again, "a", "2").reason == "unloaded"
        await again.load("a")
        assert champions(again)["a"] == "3"

    run(test())


def test_one_version_can_be_unloaded(house: House) -> None:
    """Not the champion, and not what is not loaded."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.put("a", 3)
        await lifecycle.test("a", "3", ADA)
        with pytest.raises(Refused, match="version 2 of model 'a' is its champion: promote another, or unload all"):
            await lifecycle.unload("a", "2", ADA)
        await lifecycle.unload("a", "3", ADA)
        await lifecycle.unload("a", "1", ADA)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        assert stages(lifecycle, "a") == {"3": "retired", "2": "champion", "1": "retired"}
        assert lifecycle.table.routes["a"].standby is None
        with pytest.raises(Refused, match="version 3 of model 'a' is retired, it is not loaded"):
            await lifecycle.unload("a", "3", ADA)

    run(test())


def test_an_unload_of_what_does_not_serve_changes_nothing(house: House) -> None:
    """It has been done; that somebody asked is kept."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        await lifecycle.unload("a")
        assert house.events == []
        with pytest.raises(NotFound, match="unknown model 'nothing'"):
            await lifecycle.unload("nothing")

    run(test())


def test_what_was_unloaded_and_loaded_again_at_once(house: House) -> None:
    """The load waits until it has drained."""

    async def test() -> None:
        lifecycle, crew = await started(house, explicit=True)
        await lifecycle.load("a")
        crew[0].leases = asyncio.Event()
        await lifecycle.unload("a")
        load = asyncio.ensure_future(lifecycle.load("a"))
        await asyncio.sleep(0.01)
        assert not load.done()
        crew[0].leases.set()
        await load
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_champion_that_was_never_in_memory_can_be_unloaded(house: House) -> None:
    """Its settings could not be read when the server started: it is retired at once."""

    async def test() -> None:
        await started(house)
        house.reboot()
        house.toml("a", "nonsense")
        lifecycle = house.lifecycle()
        await lifecycle.start()
        await lifecycle.unload("a")
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")

    run(test())


# ---- a new controller ----


def test_a_new_controller_knows_what_was_loaded(house: House) -> None:
    """Also what was unloaded although the command line named it."""

    async def test() -> None:
        lifecycle = house.lifecycle("a", explicit=True)
        await lifecycle.start()
        worker = house.worker()
        await lifecycle.join(worker)
        await lifecycle.load("b")
        await lifecycle.unload("a")
        again = house.lifecycle("a", explicit=True)
        await again.start()
        await again.join(worker)
        await again.refresh()
        assert champions(again) == {"a": None, "b": "1"}

    run(test())
