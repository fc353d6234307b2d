"""How models begin: the newest version that passes its gates, where nothing is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.control.opening import session_bytes, why
from router.core.gate import Outcome, Report, Verdict
from router.core.table import VersionState
from router.errors import RouterError, SettingsError
from tests.control.lifecycle_fakes import ADA, House, champions, promoted, record, run, settled, stages, started


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Model a with versions 1 to 3, and b."""
    made = House(tmp_path, "a", "b")
    made.put("a", 2)
    made.put("a", 3)
    return made


def test_the_newest_version_begins(house: House) -> None:
    """The others are not tried: with `latest` only the newest is asked for."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"3": "champion", "2": "found", "1": "found"}
        assert house.tested == [("a", "3", ""), ("b", "1", "")]
        assert record(lifecycle, "a", "3").digest != ""
        assert record(lifecycle, "a", "2").digest == "", "nothing of it is decided yet"
        assert [(each.action, each.model, each.number) for each in house.entries] == [
            ("began", "a", "3"),
            ("began", "b", "1"),
        ]
        assert house.entries[0].after == {"champion": "3"}

    run(test())


@pytest.mark.parametrize("how", ["gate", "load"])
def test_an_older_one_begins_where_the_newest_fails(house: House, how: str) -> None:
    """In their order, and the first that passes ends the search."""

    async def test() -> None:
        if how == "gate":
            house.failing["a/3"] = "too slow"
        else:
            house.broken.add("a/3")
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"3": "failed", "2": "champion", "1": "found"}
        reason = lifecycle.table.routes["a"].versions["3"].reason
        assert reason == ("exam: too slow" if how == "gate" else "it is broken")
        assert lifecycle.table.routes["a"].versions["3"].state is VersionState.UNAVAILABLE

    run(test())


def test_a_model_of_which_nothing_passes_has_no_champion(house: House) -> None:
    """All reasons are told; the others serve; at the next start it is tried again."""

    async def test() -> None:
        house.failing |= {"a/3": "too slow", "a/2": "not finite"}
        house.broken.add("a/1")
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        reasons = {number: each.reason for number, each in lifecycle.table.routes["a"].versions.items()}
        assert reasons == {"1": "it is broken", "2": "exam: not finite", "3": "exam: too slow"}
        house.reboot()
        house.failing.clear()
        again = house.lifecycle()
        await again.start()
        assert champions(again) == {"a": "3", "b": "1"}

    run(test())


def test_all_versions_that_the_owner_wants_are_ready(house: House) -> None:
    """The newest of them answers; the others do when they are named."""

    async def test() -> None:
        house.toml("a", 'versions = "all"')
        house.failing["a/3"] = "too slow"
        lifecycle, crew = await started(house)
        assert stages(lifecycle, "a") == {"3": "failed", "2": "champion", "1": "ready"}
        assert all(worker.holds == {"a/1", "a/2", "b/1"} for worker in crew)

    run(test())


def test_the_owner_says_which_version_begins(house: House) -> None:
    """No other does, whatever is newer; it counts at the beginning only."""

    async def test() -> None:
        house.toml("a", "[lifecycle]\ninitial_champion = 1")
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"3": "found", "2": "found", "1": "champion"}
        await promoted(house, lifecycle, "a")
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert champions(again)["a"] == "2"

    run(test())


@pytest.mark.parametrize(
    ("toml", "listed", "said"),
    [
        ("", "3", "lifecycle.initial_champion = 9: no such version"),
        ("versions = [9]", "9", "there is no such directory, and versions = [9]"),
    ],
)
def test_a_first_champion_that_is_not_there_is_told(house: House, toml: str, listed: str, said: str) -> None:
    """Nothing else takes its place; when it comes it begins."""

    async def test() -> None:
        house.toml("a", f"{toml}\n[lifecycle]\ninitial_champion = 9")
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        assert lifecycle.table.routes["a"].versions[listed].reason == said
        house.put("a", 9)
        await lifecycle.refresh()
        await settled(lambda: champions(lifecycle)["a"] == "9")

    run(test())


def test_a_first_champion_that_fails_has_no_substitute(house: House) -> None:
    """Its owner wanted that one."""

    async def test() -> None:
        house.toml("a", "[lifecycle]\ninitial_champion = 2")
        house.failing["a/2"] = "too slow"
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"3": "found", "2": "failed", "1": "found"}
        assert champions(lifecycle)["a"] is None

    run(test())


def test_what_passed_before_as_it_is_begins_at_once(house: House) -> None:
    """Its report holds as long as nothing changes."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        known = record(lifecycle, "b", "1").digest
        house.evidence[known] = next(each for each in house.kept if each.model == "b")
        house.records.clear()
        house.stored = type(house.stored)(0, {})
        house.tested.clear()
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert champions(again) == {"a": "3", "b": "1"}
        assert house.tested == [("a", "3", "")]

    run(test())


def test_a_fault_of_the_machine_keeps_a_version_from_serving_and_not_the_server(house: House) -> None:
    """The process for the gates cannot start: the model's reason says so."""

    async def test() -> None:
        usual = house.test

        def test_(candidate: object, *more: object) -> Report:
            if getattr(candidate, "model", "") == "a":
                raise RouterError("the process for the gates cannot start: no memory")
            return usual(candidate, *more)  # type: ignore[arg-type]

        house.test = test_  # type: ignore[method-assign]
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": None, "b": "1"}
        assert "cannot start" in record(lifecycle, "a", "3").reason

    run(test())


def test_a_version_may_not_bring_settings_of_its_own(house: House) -> None:
    """Neither as the newest nor as the one that is to begin."""

    async def test() -> None:
        (house.root / "b" / "1" / "model.toml").touch()
        house.toml("b", "[lifecycle]\ninitial_champion = 1")
        lifecycle, _ = await started(house)
        assert champions(lifecycle) == {"a": "3", "b": None}
        assert "stands in the version's directory" in lifecycle.table.routes["b"].versions["1"].reason

    run(test())


# ---- later starts ----


def test_a_model_that_has_lost_its_champion_is_given_no_other(house: House) -> None:
    """Not at the next start either: an untried version is for its owner to bring in."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        late = house.worker(2)
        late.refuses["a/3"] = "no memory"
        await lifecycle.join(late)
        assert champions(lifecycle)["a"] is None
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert stages(again, "a") == {"3": "failed", "2": "found", "1": "found"}
        await again.test("a", "3", ADA)
        await again.promote("a", "3", ADA)
        assert champions(again)["a"] == "3"

    run(test())


def test_a_champion_that_cannot_be_loaded_at_a_start_has_failed(house: House) -> None:
    """Its files have changed, are broken, or are gone: the standby takes its place, under a new generation."""

    async def test() -> None:
        for number, spoil in enumerate(("changed", "broken", "gone"), 1):
            model = f"m{number}"
            house.put(model)
            lifecycle = house.lifecycle()
            await lifecycle.start()
            await promoted(house, lifecycle, model)
            generation = house.word
            house.reboot()
            if spoil == "changed":
                house.put(model, 2, "other weights")
            elif spoil == "broken":
                house.broken.add(f"{model}/2")
            else:
                house.drop(model, 2)
            again = house.lifecycle()
            await again.start()
            assert champions(again)[model] == "1"
            assert stages(again, model) == {"2": "failed", "1": "champion"}
            assert house.word == generation + 1
            house.reboot()

    run(test())


def test_a_champion_whose_model_cannot_be_looked_at_comes_back(house: House) -> None:
    """Its settings are broken, or its directory is away: nothing serves, with the reason, and a later look mends it."""

    async def test() -> None:
        await started(house)
        house.reboot()
        house.toml("a", "nonsense")
        away = (house.root / "b").rename(house.root.parent / "b")
        lifecycle = house.lifecycle()
        await lifecycle.start()
        assert champions(lifecycle) == {"a": None, "b": None}
        assert "model.toml" in lifecycle.table.routes["a"].versions["3"].reason
        assert lifecycle.table.routes["b"].versions["1"].reason == "its directory is gone"
        worker = house.worker()
        await lifecycle.join(worker)
        again = house.lifecycle()
        await again.start()
        await again.join(worker)
        assert champions(again) == {"a": None, "b": None}, "a new controller takes nothing of it for loaded"
        house.toml("a", "")
        away.rename(house.root / "b")
        await again.refresh()
        assert champions(again) == {"a": "3", "b": "1"}
        assert worker.holds == {"a/3", "b/1"}

    run(test())


def test_models_that_are_asked_for_at_a_start_serve(house: House) -> None:
    """With explicit control: those named go on or begin, all others have been unloaded by the restart."""

    async def test() -> None:
        lifecycle, _ = await started(house, explicit=True)
        assert champions(lifecycle) == {"a": None, "b": None}
        for model in "ab":
            await lifecycle.load(model)
        house.reboot()
        named = house.lifecycle("a", explicit=True)
        await named.start()
        assert champions(named) == {"a": "3", "b": None}
        assert record(named, "b", "1").stage == "retired"
        house.reboot()
        other = house.lifecycle("b", explicit=True)
        await other.start()
        assert champions(other) == {"a": None, "b": "1"}, "named is asked for, though it had been unloaded"

    run(test())


def test_a_name_that_is_not_there_ends_the_start(house: House) -> None:
    """`*` stands for all that is."""
    with pytest.raises(SettingsError, match="'c'"):
        run(house.lifecycle("a", "c", explicit=True).start())
    every = house.lifecycle("*", explicit=True)
    run(every.start())
    assert champions(every) == {"a": "3", "b": "1"}


# ---- words ----


def test_what_a_report_says() -> None:
    """Why it keeps a version from serving, and what a session takes."""
    report = Report(
        "test",
        "a",
        "1",
        "d",
        (
            Outcome("exam", Verdict.FAIL, "accuracy 0.8", blocks=True),
            Outcome("speed", Verdict.FAIL, "p99 9 ms", blocks=True),
            Outcome("consistency", Verdict.FAIL, "other answers"),
            Outcome("memory", Verdict.PASS, "", figures={"session_bytes": 4096.0}),
        ),
        1.0,
        1.0,
    )
    assert why(report) == "exam: accuracy 0.8; speed: p99 9 ms"
    assert session_bytes(report) == 4096
    assert session_bytes(Report("test", "a", "1", "d", (), 1.0, 1.0)) == 0
