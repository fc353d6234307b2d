"""What the repository holds against what serves: marks, settings that are followed, files that are still coming."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from router.control.lookout import Lookout
from router.control.repository import scan
from router.core.table import VersionState
from router.errors import Refused
from tests.control.lifecycle_fakes import ADA, House, champions, promoted, record, run, settled, stage, stages, started

DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'
MISFIT = '[fallback]\nchain = ["default"]\ndefault = { z = 1.0 }\n'
TO_B = '[fallback]\nchain = ["failover"]\nfailover = "b"\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


# ---- files ----


@pytest.mark.parametrize("what", ["changed", "gone", "more"])
def test_what_serves_from_files_that_are_not_its_own_any_more_is_marked(house: House, what: str) -> None:
    """It serves on, cannot be loaded again, and when its files are back all is well; no caller notices any of it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        generation = house.word
        watching = lifecycle.events.watch("a")
        assert (await anext(watching)).kind == "hello"
        if what == "changed":
            house.put("a", 2, "other weights")
        elif what == "gone":
            house.drop("a", 2)
        else:
            (house.root / "a" / "2" / "notes.txt").touch()
        await lifecycle.refresh()
        mark = record(lifecycle, "a", "2").mark
        assert ("its directory is gone" if what == "gone" else "its files have changed") in mark
        assert house.records["a", "2"].mark == mark, "durable"
        event = await anext(watching)
        assert (event.kind, event.number, event.text) == ("marked", "2", mark)
        assert champions(lifecycle)["a"] == "2"
        with pytest.raises(Refused, match="cannot be loaded; version 2 serves on: "):
            await lifecycle.load("a")
        (house.root / "a" / "2" / "notes.txt").unlink(missing_ok=True)
        house.put("a", 2)
        await lifecycle.refresh()
        assert record(lifecycle, "a", "2").mark == ""
        assert (await anext(watching)).kind == "marked"
        assert house.word == generation
        await lifecycle.load("a")
        assert champions(lifecycle)["a"] == "2"
        await watching.aclose()

    run(test())


def test_a_whole_model_that_is_gone_serves_on(house: House) -> None:
    """Also through a rollback, which needs no files, until it is unloaded; then it is not listed any more."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        (house.root / "a").rename(house.root.parent / "a")
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "2"
        assert "its directory is gone" in record(lifecycle, "a", "2").mark
        await lifecycle.rollback("a", "", ADA)
        assert champions(lifecycle)["a"] == "1"
        await lifecycle.unload("a")
        assert champions(lifecycle) == {"b": "1"}

    run(test())


def test_files_that_were_only_touched_are_no_change(house: House) -> None:
    """What counts is what they hold."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        os.utime(house.root / "a" / "1" / "model.onnx", (1, 1))
        await lifecycle.refresh()
        assert record(lifecycle, "a", "1").mark == ""

    run(test())


def test_what_changed_while_no_controller_looked_is_marked(house: House) -> None:
    """The next one compares the contents: it has seen nothing before."""

    async def test() -> None:
        _, crew = await started(house)
        house.put("a", 1, "other weights")
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        await settled(lambda: bool(record(again, "a", "1").mark))
        assert record(again, "b", "1").mark == ""
        assert champions(again)["a"] == "1"

    run(test())


def test_a_mark_goes_with_what_it_was_for(house: House) -> None:
    """A version that serves no more has none."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        house.drop("a", 1)
        await lifecycle.refresh()
        assert record(lifecycle, "a", "1").mark
        await lifecycle.unload("a", "1")
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        assert record(lifecycle, "a", "1").mark == ""
        assert "1" not in lifecycle.table.routes["a"].versions

    run(test())


def test_files_that_change_under_a_number_are_refused(house: House) -> None:
    """By a test, a load, a rollback: what was ready once is what the number means. The same files will do again."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        await promoted(house, lifecycle, "a", version=3)
        await settled(lambda: stage(lifecycle, "a", "1") == "retired")
        house.put("a", 1, "other weights")
        with pytest.raises(Refused, match="cannot be loaded: its files have changed under the number 1: give what is"):
            await lifecycle.rollback("a", "1", ADA)
        for _ in range(2):
            report = await lifecycle.test("a", "1", ADA)
            assert not report.passed
            assert "its files have changed under the number 1" in record(lifecycle, "a", "1").reason
        house.put("a", 1)
        assert (await lifecycle.test("a", "1", ADA)).passed
        await lifecycle.rollback("a", "1", ADA)
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_version_that_was_never_ready_may_be_repaired(house: House) -> None:
    """Under its number: nobody has been answered by it."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2, "bad weights")
        house.failing["a/2"] = "too slow"
        assert not (await lifecycle.test("a", "2", ADA)).passed
        house.put("a", 2, "better weights")
        house.failing.clear()
        assert (await lifecycle.test("a", "2", ADA)).passed

    run(test())


def test_a_version_is_whole_when_its_files_have_stopped_changing(house: House) -> None:
    """Or when the empty file says so; one that goes away meanwhile never is."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        pauses: list[float] = []
        copied = iter([b"some", b"more", b"all"])

        async def pause(seconds: float) -> None:
            pauses.append(seconds)
            if content := next(copied, None):
                (house.root / "a" / "2" / "model.onnx").write_bytes(content * len(pauses))

        lookout = Lookout(lifecycle._changes, lifecycle._examiner, False, pause)
        house.put("a", 2, complete=False)
        found = scan(house.root)["a"]
        assert await lookout.whole(found, "2")
        assert len(pauses) == 4
        house.put("a", 2)
        assert await lookout.whole(found, "2")
        assert len(pauses) == 4, "it says that it is complete"
        house.drop("a", 2)
        assert not await lookout.whole(found, "2")

    run(test())


# ---- settings ----


def test_what_serves_follows_its_settings(house: House) -> None:
    """What concerns no session at once, what does by a trial; under a new controller too."""

    async def test() -> None:
        _, crew = await started(house)
        again = house.lifecycle()
        await again.start()
        for worker in crew:
            await again.join(worker)
        house.toml("a", DEFAULT + "[batch]\nmax_size = 4\n[sessions]\nintra_op_threads = 3\n")
        await again.refresh()
        route = again.table.routes["a"]
        assert route.settings.fallback.chain == ("default",)
        assert (route.versions["1"].batching.max_size, route.versions["1"].intra_op_threads) == (4, 3)
        assert all(worker.tables[house.word].routes["a"] == route for worker in crew)
        generation = house.word
        await again.refresh()
        assert house.word == generation
        house.toml("a", DEFAULT + "[batch]\nmax_size = 4\n[sessions]\nintra_op_threads = 2\n")
        await again.refresh()
        assert again.table.routes["a"].versions["1"].intra_op_threads == 2

    run(test())


def test_settings_that_cannot_be_read_are_not_followed(house: House) -> None:
    """The model serves on with those it had, its versions are marked with the line, and a mend is followed."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, _ = await started(house)
        await promoted(house, lifecycle, "a")
        generation = house.word
        house.toml("a", "[fallbak]")
        await lifecycle.refresh()
        for number in ("1", "2"):
            mark = record(lifecycle, "a", number).mark
            assert mark.startswith("it serves on with the settings it had: model.toml: ")
            assert "fallbak" in mark
        assert champions(lifecycle) == {"a": "2", "b": "1"}
        assert lifecycle.table.routes["a"].settings.fallback.chain == ("default",)
        assert house.word == generation
        with pytest.raises(Refused, match=r"model 'a' cannot be loaded; version 2 serves on: model\.toml"):
            await lifecycle.load("a")
        await lifecycle.rollback("a", "", ADA)
        assert lifecycle.table.routes["a"].settings.fallback.chain == ("default",)
        house.toml("a", "")
        await lifecycle.refresh()
        assert record(lifecycle, "a", "1").mark == ""
        assert lifecycle.table.routes["a"].settings.fallback.chain == ()

    run(test())


def test_settings_that_do_not_fit_keep_a_model_from_beginning(house: House) -> None:
    """Its reason is stored; the others serve; mended, it does too."""

    async def test() -> None:
        house.toml("a", MISFIT)
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        reason = lifecycle.table.routes["a"].versions["1"].reason
        assert "`fallback.default` names the unknown output 'z'" in reason
        assert house.stored == lifecycle.table
        await lifecycle.refresh()
        assert house.events == [], "nothing had changed"
        house.toml("a", DEFAULT)
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}

    run(test())


def test_settings_that_do_not_fit_what_serves_are_not_followed(house: House) -> None:
    """A typing error costs no answer: the model serves on with those it had, and says so."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, _ = await started(house)
        house.toml("a", MISFIT)
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        assert lifecycle.table.routes["a"].settings.fallback.default == {"y": 1.0}
        mark = record(lifecycle, "a", "1").mark
        assert mark.startswith("it serves on with the settings it had: model.toml: `fallback.default`")
        house.toml("a", TO_B)
        house.toml("b", TO_B.replace('"b"', '"a"'))
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "1", "b": "1"}
        assert "a → b → a" in record(lifecycle, "a", "1").mark
        house.toml("b", "")
        await lifecycle.refresh()
        assert record(lifecycle, "a", "1").mark == ""
        assert lifecycle.table.routes["a"].settings.fallback.failover == "b"

    run(test())


def test_settings_that_fit_only_the_next_version_wait_for_it(house: House) -> None:
    """The champion goes on with the old ones; who takes its place has the new."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, crew = await started(house)
        house.put("a", 2)
        house.rename("a/2", "z")
        house.toml("a", MISFIT)
        await lifecycle.refresh()
        await lifecycle.test("a", "2", ADA)
        await lifecycle.promote("a", "2", ADA)
        route = lifecycle.table.routes["a"]
        assert (route.champion, route.settings.fallback.default) == ("2", {"z": 1.0})
        assert route.versions["1"].state is VersionState.UNAVAILABLE, "they do not fit the one before"
        assert all(worker.answers("a") == "2" for worker in crew)
        assert stages(lifecycle, "a") == {"2": "champion", "1": "standby"}
        with pytest.raises(Refused, match=r"version 1 of model 'a': model\.toml: `fallback\.default`"):
            await lifecycle.rollback("a", "", ADA)
        house.toml("a", DEFAULT)
        await lifecycle.refresh()
        assert "serves on with the settings it had" in record(lifecycle, "a", "2").mark
        await lifecycle.rollback("a", "", ADA)
        assert lifecycle.table.routes["a"].settings.fallback.default == {"y": 1.0}

    run(test())


def test_settings_are_never_a_reason_to_promote(house: House) -> None:
    """A ready version does not take the place of a champion that its settings do not fit."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.rename("a/2", "z")
        await lifecycle.test("a", "2", ADA)
        house.reboot()
        house.toml("a", MISFIT)
        again = house.lifecycle()
        await again.start()
        assert champions(again)["a"] is None
        assert stages(again, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_a_trial_for_new_settings_that_fails_leaves_what_serves(house: House) -> None:
    """It serves on as it was, and is marked."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.broken.add("a/1")
        house.toml("a", "[batch]\nmax_size = 4")
        await lifecycle.refresh()
        assert champions(lifecycle)["a"] == "1"
        assert record(lifecycle, "a", "1").mark == "it serves on with the settings it had: it is broken"
        assert lifecycle.table.routes["a"].versions["1"].batching.max_size == 32
        house.broken.clear()
        await lifecycle.refresh()
        assert record(lifecycle, "a", "1").mark == ""
        assert lifecycle.table.routes["a"].versions["1"].batching.max_size == 4

    run(test())


def test_settings_with_which_no_worker_can_load_what_serves_are_not_followed(house: House) -> None:
    """There is no memory for more sessions, or its files are not there any more: it serves on as it was, marked."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        await promoted(house, lifecycle, "a")
        crew[1].refuses["a/2"] = "its files have changed"
        house.toml("a", "[sessions]\nreplicas = 4")
        house.toml("b", "[sessions]\nreplicas = 2")
        await lifecycle.refresh()
        assert champions(lifecycle) == {"a": "2", "b": "1"}
        assert lifecycle.table.routes["a"].settings.sessions.replicas == 1
        assert lifecycle.table.routes["b"].settings.sessions.replicas == 2
        mark = "it serves on with the settings it had: its files have changed"
        assert record(lifecycle, "a", "2").mark == mark
        generation = house.word
        await lifecycle.refresh()
        assert (house.word, record(lifecycle, "a", "2").mark) == (generation, mark), "it is not tried at every look"
        assert not [each for each in house.entries if each.action == "lost"]
        crew[1].refuses.clear()
        house.toml("a", "[sessions]\nreplicas = 3")
        await lifecycle.refresh()
        assert lifecycle.table.routes["a"].settings.sessions.replicas == 3
        assert record(lifecycle, "a", "2").mark == ""

    run(test())


def test_looks_beside_each_other_come_to_the_same(house: House) -> None:
    """One after another."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        house.put("c")
        await asyncio.gather(*(lifecycle.refresh() for _ in range(5)))
        await settled(lambda: champions(lifecycle) == {"a": "1", "b": "1", "c": "1"})
        assert [each[0] for each in house.tested] == ["a", "b", "c"]

    run(test())
