"""The table of a server: what it starts with, who joins, what a look at the repository changes; on fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.control import lookout
from router.control.swap import Refusal
from router.core.table import VersionTable
from router.errors import NotFound, Refused, RouterError, SettingsError
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

MISFIT = '[fallback]\nchain = ["default"]\ndefault = { z = 1.0 }\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- starting ----


def test_the_first_table_is_stored_before_the_word_names_it(house: House) -> None:
    """Stored, then named; workers that knocked early wait until then; trials and gates are given back."""

    async def test() -> None:
        lifecycle = house.lifecycle()
        early = house.worker()
        joining = asyncio.ensure_future(lifecycle.join(early))
        await asyncio.sleep(0)
        assert not joining.done()
        assert not lifecycle.started
        await lifecycle.start()
        assert lifecycle.started
        await joining
        assert house.events == ["stored 1", "word 1", "worker 0 prepares 1"]
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        assert house.closed == 2

    run(test())


def test_what_is_asked_before_the_first_table_waits_for_it(house: House) -> None:
    """Also a promotion, which believes in the champion that there will be."""

    async def test() -> None:
        house.put("a", 2)
        house.toml("a", "[lifecycle]\ninitial_champion = 1")
        lifecycle = house.lifecycle()
        early = asyncio.ensure_future(lifecycle.promote("a", "2", ADA, override=True))
        await asyncio.sleep(0)
        await lifecycle.start()
        assert (await early).was_champion == "1"

    run(test())


def test_a_restart_serves_exactly_what_is_stored(house: House) -> None:
    """Standby, alias, switch and freeze included, under the same generation; what is new is only listed."""

    async def test() -> None:
        house.toml("a", '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n')
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        await lifecycle.set_alias("a", "stable", "1", ADA)
        await lifecycle.set_fallback("a", True, ADA)
        await lifecycle.freeze("b", True, ADA)
        before = lifecycle.table
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert again.table == before
        assert again.frozen == {"b"}
        assert house.events == ["stored 6", "word 6"]
        house.reboot()
        house.put("a", 3)
        more = house.lifecycle()
        await more.start()
        assert champions(more) == {"a": "2", "b": "1"}
        assert record(more, "a", "3").reason == "new: not tested yet"
        assert house.word == 7, "callers who name it learn that it is there"

    run(test())


def test_a_new_controller_goes_on_with_what_is_stored(house: House) -> None:
    """What has come meanwhile is listed, and nobody who serves is disturbed by its start."""

    async def test() -> None:
        _, crew = await started(house)
        house.put("a", 2)
        again = house.lifecycle()
        await again.start()
        assert house.word == again.table.generation == 1
        for worker in crew:
            await again.join(worker)
        await settled(lambda: "2" in stages(again, "a"))
        assert champions(again) == {"a": "1", "b": "1"}
        assert stage(again, "a", "2") == "found"
        await promoted(house, again, "a")
        assert all(worker.answers("a") == "2" for worker in crew)

    run(test())


def test_a_table_stored_but_not_yet_named_serves_after_a_crash(house: House) -> None:
    """Everybody that serves has prepared it, so the new controller may name it."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        assert house.word == 4
        house.word = 3  # as if it had not been written
        again = house.lifecycle()
        await again.start()
        assert house.word == 4
        assert all(worker.answers("a") == "2" for worker in crew)

    run(test())


def test_a_new_controller_does_not_need_the_repository(house: House) -> None:
    """It may be away for a moment: serving goes on, and a later look finds it."""

    async def test() -> None:
        _, crew = await started(house)
        away = house.root.rename(house.root.with_name("away"))
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        with pytest.raises(RouterError, match="cannot be read"):
            await again.refresh()
        assert champions(again) == {"a": "1", "b": "1"}
        assert record(again, "a", "1").mark == "", "nothing is known of its files"
        away.rename(house.root)
        await promoted(house, again, "a")
        assert champions(again) == {"a": "2", "b": "1"}

    run(test())


def test_a_new_controller_retires_what_was_draining(house: House) -> None:
    """The one before ended between the flip and the retirement; the workers are told again, and memory comes back."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        for worker in crew:
            worker.leases = asyncio.Event()
        await promoted(house, lifecycle, "a", version=3)
        assert stages(lifecycle, "a") == {"3": "champion", "2": "standby", "1": "draining"}
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        assert stage(again, "a", "1") == "draining"
        for worker in crew:
            assert worker.leases is not None
            worker.leases.set()
        await settled(lambda: stage(again, "a", "1") == "retired")
        assert all(worker.holds == {"a/3", "a/2", "b/1"} for worker in crew)

    run(test())


def test_a_trial_goes_on_under_a_new_controller(house: House) -> None:
    """It is begun anew for whoever asked; after a restart of everything it is said to be broken off."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        first = asyncio.ensure_future(lifecycle.warm("a", "2", ADA))
        await settled(lambda: "2" in stages(lifecycle, "a") and stage(lifecycle, "a", "2") == "warming")
        kept = dict(house.records)
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        house.warmth.set()
        await settled(lambda: stage(again, "a", "2") == "ready")
        assert record(again, "a", "2").warmed
        assert record(again, "a", "2").actor == "ada"
        await first
        house.records = kept
        house.reboot()
        cold = house.lifecycle()
        await cold.start()
        assert stage(cold, "a", "2") == "failed"
        assert "test it again" in record(cold, "a", "2").reason

    run(test())


def test_a_store_that_was_put_back_never_takes_the_word_back(house: House) -> None:
    """The next table is newer than what serves, and who serves without it is ended."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        old = house.stored, dict(house.records)
        await promoted(house, lifecycle, "a")
        assert house.word == 4
        house.stored, house.records = old
        again = house.lifecycle()
        await again.start()
        assert house.word == again.table.generation == 5
        assert champions(again)["a"] == "1", "as it is stored"
        assert sorted(house.fenced) == [0, 1]

    run(test())


def test_a_store_that_cannot_be_read_or_written_ends_the_start(house: House) -> None:
    """With the line that says how to mend it."""
    house.store_error = SettingsError("the store is damaged: put back a copy")
    with pytest.raises(SettingsError, match="put back a copy"):
        run(house.lifecycle().start())
    house.store_error = None

    def full(change: object) -> None:  # noqa: ARG001
        raise Refused("the change was not made: the disk is full")

    house.save = full  # type: ignore[method-assign]
    with pytest.raises(SettingsError, match=r"cannot be written: .*the disk is full"):
        run(house.lifecycle().start())
    assert house.word == 0


# ---- joining ----


def test_a_join_in_the_middle_of_a_change_catches_up_with_it(house: House) -> None:
    """It opens its port with the table that serves then."""

    async def test() -> None:
        lifecycle, crew = await started(house, workers=1)
        crew[0].gate = asyncio.Event()
        house.put("a", 2)
        change = asyncio.ensure_future(lifecycle.refresh())
        await crew[0].at_gate.wait()
        late = house.worker(1)
        joining = asyncio.ensure_future(lifecycle.join(late))
        await settled(lambda: late.prepared == [1])
        assert house.open == {0}
        crew[0].gate.set()
        await change
        await joining
        assert late.prepared == [1, 2]
        assert house.open == {0, 1}
        await settled(lambda: late.retired == [2])
        assert list(late.tables) == [2]

    run(test())


def test_a_worker_that_takes_long_to_join_holds_up_no_change(house: House) -> None:
    """Nor does one that dies of it again and again: a rollback goes on meanwhile."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        for _ in range(2):
            slow = house.worker(2)
            slow.gate = asyncio.Event()
            joining = asyncio.ensure_future(lifecycle.join(slow))
            await slow.at_gate.wait()
            champion = champions(lifecycle)["a"]
            await lifecycle.rollback("a", "", ADA)
            assert champions(lifecycle)["a"] != champion
            slow.die(lifecycle)
            with pytest.raises(ConnectionError):
                await joining
        assert house.fenced == []

    run(test())


def test_a_worker_that_cannot_load_the_champion_changes_it_for_all(house: House) -> None:
    """Workers agree: it has failed, who stood by takes its place, and a model without another has none."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        late = house.worker(2)
        late.refuses = {"a/2": "its files have changed", "b/1": "no memory"}
        await lifecycle.join(late)
        assert champions(lifecycle) == {"a": "1", "b": None}
        assert stages(lifecycle, "a") == {"2": "failed", "1": "champion"}
        assert record(lifecycle, "a", "2").reason == "its files have changed"
        assert all(worker.answers("a") == "1" for worker in [*crew, late])
        assert [each.action for each in house.entries][-3:] == ["lost", "succeeded", "lost"]
        house.put("b", 2)
        await lifecycle.refresh()
        assert champions(lifecycle)["b"] is None, "an untried version is for its owner to bring in"

    run(test())


def test_the_newest_ready_version_succeeds_where_nobody_stands_by(house: House) -> None:
    """It has passed its gates; one that has not does not serve."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        for version in (2, 3, 4):
            house.put("a", version)
        await lifecycle.test("a", "2", ADA)
        await lifecycle.test("a", "3", ADA)
        late = house.worker(2)
        late.refuses["a/1"] = "no memory"
        await lifecycle.join(late)
        assert stages(lifecycle, "a") == {"4": "found", "3": "champion", "2": "ready", "1": "failed"}
        assert all(worker.answers("a") == "3" for worker in [*crew, late])

    run(test())


def test_a_refusal_that_is_over_when_it_is_asked_again_costs_nothing(house: House) -> None:
    """The worker joins then, and no table is made for it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        late = house.worker(2)
        usual = late.prepare

        async def once(_: VersionTable) -> Sequence[Refusal]:
            late.prepare = usual  # type: ignore[method-assign]
            return [Refusal("a", "1", "no memory")]

        late.prepare = once  # type: ignore[method-assign]
        await lifecycle.join(late)
        assert house.open == {0, 1, 2}
        assert (house.word, champions(lifecycle)["a"]) == (1, "1")

    run(test())


def test_two_workers_that_refuse_the_same_lose_it_once(house: House) -> None:
    """As when its settings fit at last, and no worker has room for it."""

    async def test() -> None:
        house.toml("a", MISFIT)
        lifecycle, crew = await started(house)
        for worker in crew:
            worker.refuses["a/1"] = "no memory"
        house.toml("a", "")
        await lifecycle.refresh()
        assert stages(lifecycle, "a") == {"1": "failed"}
        assert [each.action for each in house.entries].count("lost") == 1

    run(test())


def test_a_worker_that_dies_while_it_joins(house: House) -> None:
    """Whoever waits learns it, also at the last moment, and nobody counts on it."""

    async def test() -> None:
        lifecycle, _ = await started(house, workers=1)
        late = house.worker(1)
        late.gate = asyncio.Event()
        joining = asyncio.ensure_future(lifecycle.join(late))
        await late.at_gate.wait()
        late.die(lifecycle)
        with pytest.raises(ConnectionError):
            await joining
        unsure = house.worker(2)
        unsure.refuses["b/1"] = "no memory"

        async def bind() -> None:
            raise ConnectionError

        unsure.bind = bind  # type: ignore[method-assign]
        with pytest.raises(ConnectionError):
            await lifecycle.join(unsure)
        assert champions(lifecycle) == {"a": "1", "b": None}, "the others have changed"
        await promoted(house, lifecycle, "a")
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_join_does_not_wait_for_trials(house: House) -> None:
    """A version that takes minutes to test keeps no worker from coming back, and no other model from being promoted."""

    async def test() -> None:
        lifecycle, _ = await started(house, workers=1)
        house.put("b", 2)
        await lifecycle.test("b", "2", ADA)
        house.go_on.clear()
        house.trying.clear()
        house.put("a", 2)
        trial = asyncio.ensure_future(lifecycle.test("a", "2", ADA))
        await settled(house.trying.is_set)
        late = house.worker(1)
        await lifecycle.join(late)
        await lifecycle.promote("b", "2", ADA)
        await lifecycle.rollback("b", "", ADA)
        assert stage(lifecycle, "a", "2") == "testing"
        house.go_on.set()
        assert (await trial).passed
        assert late.holds >= {"a/2"}

    run(test())


# ---- looking again ----


def test_a_new_version_is_listed_and_nothing_else(house: House) -> None:
    """Callers who name it learn that it is not ready; nobody tests it unasked; a second look changes nothing."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "1"
        assert sorted(house.events[:2]) == ["worker 0 prepares 2", "worker 1 prepares 2"]
        assert house.events[2:] == ["stored 2", "word 2"]
        assert lifecycle.table.routes["a"].versions["2"].reason == "new: not tested yet"
        assert all(worker.holds == {"a/1", "b/1"} for worker in crew)
        house.events.clear()
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"

    run(test())


def test_a_version_that_goes_before_anybody_wanted_it_is_not_listed_any_more(house: House) -> None:
    """And is there again when it comes again."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        house.drop("a", 2)
        await lifecycle.refresh()
        assert set(lifecycle.table.routes["a"].versions) == {"1"}
        house.put("a", 2)
        await lifecycle.refresh()
        assert set(lifecycle.table.routes["a"].versions) == {"1", "2"}

    run(test())


def test_a_new_model_begins_of_itself(house: House) -> None:
    """As at a first start; one whose versions fail is tried again when something has changed, and not before."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("c")
        house.put("c", 2)
        house.failing["c/1"] = house.failing["c/2"] = "too slow"
        await lifecycle.refresh()
        await settled(lambda: stages(lifecycle, "c") == {"2": "failed", "1": "failed"})
        assert champions(lifecycle)["c"] is None
        assert lifecycle.table.routes["c"].versions["2"].reason == "exam: too slow"
        del house.failing["c/1"]
        house.put("c", 2, "other weights")
        await lifecycle.refresh()
        await settled(lambda: [each[:2] for each in house.tested[-3:]] == [("c", "2"), ("c", "1"), ("c", "2")])
        await settled(lambda: stage(lifecycle, "c", "2") == "failed")
        assert champions(lifecycle)["c"] is None, "version 1 is as it was when it failed"
        house.put("c", 1, "other weights")
        await lifecycle.refresh()
        await settled(lambda: champions(lifecycle)["c"] == "1")
        assert len(house.tested) == 6
        assert all(worker.answers("c") == "1" for worker in crew)
        assert house.entries[-1].action == "began"

    run(test())


def test_a_new_model_that_is_tested_holds_up_nobody(house: House) -> None:
    """Other models are promoted and rolled back meanwhile."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.put("c")
        house.go_on.clear()
        house.trying.clear()
        await lifecycle.refresh()
        await settled(house.trying.is_set)
        await lifecycle.rollback("a", "", ADA)
        house.put("b", 2)
        await lifecycle.refresh()
        assert stage(lifecycle, "b", "2") == "found"
        assert champions(lifecycle) == {"a": "1", "b": "1", "c": None}
        house.go_on.set()
        await settled(lambda: champions(lifecycle)["c"] == "1")
        assert [each[0] for each in house.tested].count("c") == 1, "both looks have it begin once"

    run(test())


def test_a_new_model_begins_when_it_has_been_copied(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of its files may look like a whole: they have to stop changing first."""

    async def test() -> None:
        monkeypatch.setattr(lookout, "SETTLED_S", 0.001)
        lifecycle, _ = await started(house)
        house.put("c", 1, "half", complete=False)
        house.put("d", 1, "half", complete=False)
        await lifecycle.refresh()
        house.put("c", 1, "all the weights", complete=False)
        house.drop("d", 1)
        await settled(lambda: champions(lifecycle).get("c") == "1")
        await lifecycle.refresh()
        assert record(lifecycle, "c", "1").mark == "", "it serves what lies there"
        assert champions(lifecycle).get("d") is None

    run(test())


@pytest.mark.parametrize(("policy", "after"), [("none", "found"), ("test", "ready"), ("warm", "ready")])
def test_what_is_done_with_a_new_version_is_the_owners_choice(house: House, policy: str, after: str) -> None:
    """Whether it comes while the server runs, while it does not, or while only the controller is away."""

    async def test() -> None:
        house.toml("a", f'[lifecycle]\non_new_version = "{policy}"')
        house.warmth.set()
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == after)
        house.put("a", 3)
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        await settled(lambda: "3" in stages(again, "a") and stage(again, "a", "3") == after)
        house.reboot()
        house.put("a", 4)
        cold = house.lifecycle()
        await cold.start()
        await settled(lambda: stage(cold, "a", "4") == after)
        assert champions(cold)["a"] == "1", "nobody has promoted another"
        assert record(cold, "a", "3").warmed == (policy == "warm")

    run(test())


def test_a_version_that_is_not_the_newest_or_not_chosen_is_not_tested_by_policy(house: House) -> None:
    """One older than the champion, and one that the owner's list leaves out."""

    async def test() -> None:
        house.put("a", 3)
        house.toml("a", 'versions = [1, 3]\n[lifecycle]\non_new_version = "test"')
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"3": "champion", "1": "ready"}
        tested = len(house.tested)
        house.put("a", 2)
        house.put("a", 4)
        await lifecycle.refresh()
        await asyncio.sleep(0.01)
        assert stages(lifecycle, "a") == {"4": "found", "3": "champion", "2": "found", "1": "ready"}
        assert len(house.tested) == tested

    run(test())


def test_a_repository_that_cannot_be_read_changes_nothing(house: House) -> None:
    """What served goes on, and nothing is marked."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.root.rename(house.root.with_name("gone"))
        with pytest.raises(RouterError, match="cannot be read"):
            await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        assert record(lifecycle, "a", "1").mark == ""

    run(test())


# ---- what cannot be done ----


def test_a_full_disk_changes_nothing(house: House) -> None:
    """The change is refused with the reason; serving goes on; the next one has a number of its own."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        table, word, entries = lifecycle.table, house.word, len(house.entries)
        house.store_error = Refused("the change was not made: the disk is full")
        house.put("b", 2)
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.refresh()
        for change in (lifecycle.rollback("a", "", BOB), lifecycle.freeze("a", True, BOB), lifecycle.unload("b")):
            with pytest.raises(Refused, match="disk is full"):
                await change
        assert (lifecycle.table, house.word, len(house.entries)) == (table, word, entries)
        assert stages(lifecycle, "a") == {"2": "champion", "1": "standby"}
        assert lifecycle.frozen == frozenset()
        house.store_error = None
        await lifecycle.rollback("a", "", ADA)
        assert house.word > word + 1, "what workers prepared in vain is never named"
        assert all(worker.answers("a") == "1" for worker in crew)
        await lifecycle.refresh()
        assert stage(lifecycle, "b", "2") == "found"

    run(test())


def test_a_version_lost_in_a_change_that_fails_is_not_lost(house: House) -> None:
    """A new worker refuses the champion, and then the disk is full: it serves on, with the next change too."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        late = house.worker(2)
        late.refuses["b/1"] = "no memory"
        house.store_error = Refused("the disk is full")
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.join(late)
        house.store_error = None
        await promoted(house, lifecycle, "a")
        assert champions(lifecycle) == {"a": "2", "b": "1"}
        assert stage(lifecycle, "b", "1") == "champion"
        assert house.open == {0, 1}

    run(test())


def test_a_fault_of_a_worker_changes_nothing(house: House) -> None:
    """An error that nobody foresaw comes out, and nothing has changed."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        word = house.word
        crew[0].fails = ValueError("a fault")
        with pytest.raises(ValueError, match="a fault"):
            await lifecycle.promote("a", "2", ADA)
        assert house.word == word
        crew[0].fails = None
        await lifecycle.promote("a", "2", ADA)
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_change_is_brought_to_its_end_when_its_caller_goes_away(house: House) -> None:
    """Between storing and naming there is no way out."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        crew[0].gate = asyncio.Event()
        crew[0].at_gate.clear()
        change = asyncio.ensure_future(lifecycle.rollback("a", "", ADA))
        await crew[0].at_gate.wait()
        change.cancel()
        with pytest.raises(asyncio.CancelledError):
            await change
        crew[0].gate.set()
        await settled(lambda: champions(lifecycle)["a"] == "1")
        assert house.stored.generation == house.word

    run(test())


def test_names_that_nobody_knows(house: House) -> None:
    """Of models and versions: told, with what there is."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        for ask in (
            lifecycle.promote("c", "1", ADA),
            lifecycle.rollback("c", "", ADA),
            lifecycle.test("c", "1", ADA),
            lifecycle.plan("c", "1"),
            lifecycle.unload("c"),
            lifecycle.load("c"),
            lifecycle.freeze("c", True, ADA),
            lifecycle.set_alias("c", "x", "1", ADA),
            lifecycle.set_fallback("c", True, ADA),
        ):
            with pytest.raises(NotFound, match="'c'"):
                await ask
        with pytest.raises(NotFound, match="unknown model 'c'"):
            lifecycle.versions("c")
        for ask in (lifecycle.promote("a", "9", ADA), lifecycle.warm("a", "9", ADA), lifecycle.unload("a", "9")):
            with pytest.raises(NotFound, match="model 'a' has no version '9'; it has 1"):
                await ask
        assert house.events == []

    run(test())


# ---- time passes ----


def test_a_standby_is_let_go_when_its_window_is_over(house: House) -> None:
    """It drains, and is retired when every worker has let it go."""

    async def test() -> None:
        house.toml("a", "[lifecycle]\nrollback_window_s = 60")
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        house.now += 60
        await lifecycle.sweep()
        assert stage(lifecycle, "a", "1") == "standby"
        house.now += 1
        await lifecycle.sweep()
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        assert lifecycle.table.routes["a"].standby is None
        assert all(worker.holds == {"a/2", "b/1"} for worker in crew)
        assert house.entries[-1].action == "retire"

    run(test())


def test_a_clock_that_goes_back_keeps_the_standby(house: House) -> None:
    """It is let go later; nothing fails."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.now -= 1e6
        await lifecycle.sweep()
        assert stage(lifecycle, "a", "1") == "standby"

    run(test())


def test_a_standby_that_cannot_be_let_go_is_not_tried_every_second(house: House) -> None:
    """Each attempt has the workers prepare a table."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.now += 1e6
        house.store_error = Refused("the disk is full")
        with pytest.raises(Refused, match="disk is full"):
            await lifecycle.sweep()
        house.events.clear()
        for _ in range(3):
            await lifecycle.sweep()
        assert house.events == []
        assert stage(lifecycle, "a", "1") == "standby"

    run(test())


def test_a_canary_waits_for_no_ledger(house: House) -> None:
    """A trial of another model cannot read what came true for as long as it takes: requests and canaries go on."""

    async def test() -> None:
        house.toml("a", "[canary]\nsteps = [50, 100]\nbake_seconds = 0\nmin_requests = 0\n")
        house.toml("b", "[ledger]\nenabled = true\n[trial]\nwithin = 0.5\n")
        lifecycle, _ = await started(house)
        for model in ("a", "b"):
            house.put(model, 2)
            await lifecycle.test(model, "2", ADA)
        await lifecycle.challenge("b", "2", ADA, shadow=True)
        await lifecycle.start_trial("b", "2", ADA)
        locked, asked, since = asyncio.Event(), asyncio.Event(), house.ledger.since

        async def waits(*args: Any, **more: Any) -> Any:
            asked.set()
            await locked.wait()
            return await since(*args, **more)

        house.ledger.since = waits  # type: ignore[method-assign]
        house.up += 10
        looking = asyncio.ensure_future(lifecycle.look())
        await asked.wait()
        await lifecycle.promote("a", "2", ADA, canary=True)
        assert lifecycle.next_look() == 0.0
        for _ in range(20):
            house.up += 5
            house.now += 5
            await lifecycle.look_at_canaries()
        assert champions(lifecycle)["a"] == "2"
        assert not looking.done()
        assert lifecycle.next_look() == 1.0
        locked.set()
        await looking

    run(test())


def test_a_line_is_logged_for_what_nobody_waited_for(house: House) -> None:
    """A trial by policy that fails is no news for anybody but the log."""

    async def test() -> None:
        house.toml("a", '[lifecycle]\non_new_version = "test"')
        lifecycle, crew = await started(house)
        crew[1].refuses["a/2"] = "no memory"
        house.put("a", 2)
        await lifecycle.refresh()
        await settled(lambda: stage(lifecycle, "a", "2") == "failed")
        await asyncio.sleep(0.01)

    with capture_logs() as logs:
        run(test())
    assert any("no memory" in str(each.get("reason")) for each in logs)
