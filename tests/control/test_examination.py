"""A version on its way from a file to ready: trials beside everything else, verdicts that are kept; on fakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router.core.gate import Report
from router.core.table import VersionState
from router.errors import Conflict, NoRoom, NotFound, Refused, RouterError
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


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each, and a second version of a."""
    made = House(tmp_path, "a", "b")
    made.toml("a", "[lifecycle]\ninitial_champion = 1")
    made.put("a", 2)
    return made


def acts(house: House) -> list[tuple[str, str, str]]:
    """Who did what to which version, since the models began."""
    return [(each.actor, each.action, each.number) for each in house.entries if each.action != "began"]


# ---- tests ----


def test_a_version_that_passes_is_ready_in_all_workers(house: House) -> None:
    """It is compared with the champion; its stages are told as they come; report and acts are kept."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        watching = lifecycle.events.watch("a")
        await anext(watching)
        house.takes = 4096
        report = await lifecycle.test("a", "2", ADA)
        assert report.passed
        assert house.tested[-1] == ("a", "2", "1")
        assert house.kept[-1] == report
        ready = record(lifecycle, "a", "2")
        assert (ready.stage, ready.actor, ready.reason) == ("ready", "ada", "passed its gates")
        assert (ready.memory_bytes, ready.warmed, ready.digest) == (4096, False, report.digest)
        assert house.records["a", "2"] == ready
        assert champions(lifecycle)["a"] == "1"
        assert all(worker.holds == {"a/1", "a/2", "b/1"} for worker in crew)
        assert acts(house) == [("ada", "test", "2"), ("ada", "verdict", "2")]
        told = [(await anext(watching)).text for _ in range(5)]
        assert told == [
            "version 2 is loading: being loaded in a trial process",
            "version 2 is testing: its gates are being tried",
            "exam: pass, well",
            "version 2 is ready: passed its gates",
            f"generation {house.word} serves",
        ]
        await watching.aclose()

    run(test())


def test_a_trial_makes_no_table_until_it_has_passed(house: House) -> None:
    """Callers are answered as before: no worker prepares anything for its stages, nor for one that fails."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.failing["a/2"] = "too slow"
        await lifecycle.test("a", "2", ADA)
        assert house.events == []
        assert lifecycle.table.routes["a"].versions["2"].reason == "exam: too slow"

    run(test())


@pytest.mark.parametrize("how", ["gate", "load"])
def test_a_version_that_fails_is_failed_with_its_reason(house: House, how: str) -> None:
    """The report says so, is kept, and the champion serves on."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        if how == "gate":
            house.failing["a/2"] = "accuracy 0.8"
        else:
            house.broken.add("a/2")
        report = await lifecycle.test("a", "2", ADA)
        assert not report.passed
        assert house.kept[-1] == report
        reason = "exam: accuracy 0.8" if how == "gate" else "it is broken"
        assert record(lifecycle, "a", "2").reason == reason
        assert stage(lifecycle, "a", "2") == "failed"
        assert house.entries[-1].after == {"stage": "failed", "why": reason}
        assert champions(lifecycle)["a"] == "1"
        house.failing.clear()
        house.broken.clear()
        assert (await lifecycle.test("a", "2", ADA)).passed

    run(test())


def test_a_version_that_a_worker_cannot_load_has_failed(house: House) -> None:
    """Whoever asked learns it; the report of its gates is kept all the same."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        crew[1].refuses["a/2"] = "no memory"
        with pytest.raises(Refused, match="version 2 of model 'a' cannot be loaded: no memory"):
            await lifecycle.test("a", "2", ADA)
        assert stage(lifecycle, "a", "2") == "failed"
        assert [each.passed for each in house.kept if each.number == "2"] == [True]
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_version_for_which_there_is_no_room_has_failed(house: House) -> None:
    """With the figures, and before any worker loads it; what it takes is known from then on."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.takes, house.memory = 1 << 20, 1 << 20
        with pytest.raises(NoRoom, match=r"needs 2 MB of memory \(2 workers, 1 sessions each\), 1 MB are free"):
            await lifecycle.test("a", "2", ADA)
        assert stage(lifecycle, "a", "2") == "failed"
        assert "needs 2 MB" in record(lifecycle, "a", "2").reason
        assert all(worker.holds == {"a/1", "b/1"} for worker in crew)
        assert len([each for each in house.kept if each.number == "2"]) == 1

    run(test())


def test_a_version_under_trial_is_tried_once(house: House) -> None:
    """Whoever comes second learns who is at it; other models are tested after it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("b", 2)
        house.go_on.clear()
        house.trying.clear()
        first = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        for again in (lifecycle.test("a", "2", BOB), lifecycle.warm("a", "2", BOB)):
            with pytest.raises(Conflict, match="version 2 of model 'a' is testing already: ada asked for it"):
                await again
        other = asyncio.ensure_future(lifecycle.test("b", "2", BOB))
        await settled(lambda: "2" in stages(lifecycle, "b") and stage(lifecycle, "b", "2") == "testing")
        assert [each[0] for each in house.tested[-1:]] == ["a"]
        house.go_on.set()
        assert (await first).passed
        assert (await other).passed

    run(test())


def test_whoever_serves_is_not_tested(house: House) -> None:
    """Champion and standby have been through this."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        for number, part in (("2", "champion"), ("1", "standby")):
            with pytest.raises(Refused, match=f"version {number} of model 'a' is its {part}"):
                await lifecycle.test("a", number, ADA)

    run(test())


def test_what_is_not_in_the_repository_cannot_be_tested(house: House) -> None:
    """Its directory went away, or its settings keep it out."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.drop("a", 2)
        await lifecycle.refresh()
        with pytest.raises(NotFound, match="version 2 of model 'a' is not in the repository any more"):
            await lifecycle.test("a", "2", ADA)
        house.put("a", 2)
        (house.root / "a" / "2" / "config.pbtxt").touch()
        await lifecycle.refresh()
        with pytest.raises(Refused, match=r"version 2 of model 'a': .*stands in the version's directory"):
            await lifecycle.test("a", "2", ADA)
        assert stage(lifecycle, "a", "2") == "found"

    run(test())


def test_a_version_that_came_a_moment_ago_is_found(house: House) -> None:
    """Nobody has to look at the repository before; by policy it is not tried a second time beside."""

    async def test() -> None:
        house.toml("a", '[lifecycle]\ninitial_champion = 1\non_new_version = "test"')
        lifecycle, _ = await started(house)
        await settled(lambda: stage(lifecycle, "a", "2") == "ready")
        house.put("a", 3)
        assert (await lifecycle.test("a", "3", ADA)).passed
        await asyncio.sleep(0.01)
        assert [each[1] for each in house.tested if each[0] == "a"] == ["1", "2", "3"]

    run(test())


def test_a_ready_version_that_is_tested_again_is_out_of_service_meanwhile(house: House) -> None:
    """Whoever names it is told why; one that fails now is not loaded any more."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await lifecycle.test("a", "2", ADA)
        house.go_on.clear()
        house.trying.clear()
        again = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        version = lifecycle.table.routes["a"].versions["2"]
        assert (version.state, version.reason) == (VersionState.UNAVAILABLE, "its gates are being tried")
        house.failing["a/2"] = "too slow"
        house.go_on.set()
        assert not (await again).passed
        await settled(lambda: all(worker.holds == {"a/1", "b/1"} for worker in crew))

    run(test())


def test_whoever_asked_may_go_away(house: House) -> None:
    """The trial goes on to its verdict."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.go_on.clear()
        house.trying.clear()
        trial = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        house.go_on.set()
        await settled(lambda: stage(lifecycle, "a", "2") == "ready")

    run(test())


# ---- the warm-up ----


def test_a_version_that_is_warmed_passes_its_gates_first(house: House) -> None:
    """Both reports are kept; it is told how far it is; promotions of others go on meanwhile."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "b")
        warming = asyncio.ensure_future(lifecycle.warm("a", "2", ADA))
        await settled(lambda: stage(lifecycle, "a", "2") == "warming")
        await lifecycle.rollback("b", "", BOB)
        assert [each.kind for each in house.kept if (each.model, each.number) == ("a", "2")] == ["test"]
        house.warmth.set()
        assert (await warming).kind == "warm"
        ready = record(lifecycle, "a", "2")
        assert (ready.stage, ready.warmed, ready.reason) == ("ready", True, "passed its gates and its warm-up")
        assert [each.kind for each in house.kept if (each.model, each.number) == ("a", "2")] == ["test", "warm"]
        assert (await lifecycle.test("a", "2", ADA)).passed
        assert record(lifecycle, "a", "2").warmed, "the same files have been warmed"

    run(test())


@pytest.mark.parametrize("where", ["a/2", "warm a/2"])
def test_a_warm_up_ends_where_it_fails(house: House, where: str) -> None:
    """At the gates, or on copies of live requests."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.warmth.set()
        house.failing[where] = "other answers"
        report = await lifecycle.warm("a", "2", ADA)
        assert not report.passed
        assert stage(lifecycle, "a", "2") == "failed"
        assert record(lifecycle, "a", "2").reason.endswith(": other answers")
        assert not record(lifecycle, "a", "2").warmed
        assert all(worker.holds == {"a/1", "b/1"} for worker in crew)

    run(test())


# ---- faults that are not the version's ----


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RouterError("the process for the gates cannot start"), "the process for the gates cannot start"),
        (ValueError("a fault"), "its trial failed by a fault of the server: see its log"),
    ],
)
def test_a_trial_that_breaks_off_has_an_end(house: House, error: Exception, said: str) -> None:
    """The version is failed with the reason and may be tested again; whoever asked has the error."""

    async def test() -> None:
        lifecycle, _ = await started(house)

        def broken(*_: object) -> Report:
            raise error

        usual, house.test = house.test, broken  # type: ignore[method-assign,assignment]
        with pytest.raises(type(error)):
            await lifecycle.test("a", "2", ADA)
        assert (stage(lifecycle, "a", "2"), record(lifecycle, "a", "2").reason) == ("failed", said)
        house.test = usual  # type: ignore[method-assign]
        assert (await lifecycle.test("a", "2", ADA)).passed

    with capture_logs():
        run(test())


def test_a_verdict_that_cannot_be_stored_is_stored_later(house: House) -> None:
    """The disk is full when a trial ends: whoever asked learns it, nothing is stuck, and the next change brings it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.failing["a/2"] = "too slow"
        house.go_on.clear()
        house.trying.clear()
        trial = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        house.store_error = Refused("the disk is full")
        house.go_on.set()
        with pytest.raises(Refused, match="disk is full"):
            await trial
        assert stage(lifecycle, "a", "2") == "failed"
        assert house.records["a", "2"].stage == "testing"
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.sweep()
        house.store_error = None
        await lifecycle.freeze("b", True, BOB)
        assert house.records["a", "2"] == record(lifecycle, "a", "2")
        assert [each.number for each in house.kept if not each.passed] == ["2"]
        assert acts(house) == [("ada", "test", "2"), ("ada", "verdict", "2"), ("bob", "freeze", "")]
        house.failing.clear()
        assert (await lifecycle.test("a", "2", ADA)).passed

    run(test())


def test_a_verdict_that_is_owed_is_stored_without_another_change(house: House) -> None:
    """By the sweep, once the disk takes it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.broken.add("a/2")
        usual = house.save
        saves = iter([True, False, False])

        def save(change: object) -> None:
            if not next(saves, True):
                raise Refused("the disk is full")
            usual(change)  # type: ignore[arg-type]

        house.save = save  # type: ignore[method-assign,assignment]
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.test("a", "2", ADA)
        assert (house.records["a", "2"].stage, stage(lifecycle, "a", "2")) == ("loading", "failed")
        saves = iter([True])
        await lifecycle.sweep()
        assert house.records["a", "2"] == record(lifecycle, "a", "2")

    run(test())


def test_a_test_that_cannot_be_noted_does_not_begin(house: House) -> None:
    """Nothing has changed then."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.store_error = Refused("the disk is full")
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.test("a", "2", ADA)
        assert stage(lifecycle, "a", "2") == "found"
        assert not [each for each in house.tested if each[1] == "2"]

    run(test())
