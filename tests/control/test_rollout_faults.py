"""Canaries among faults: of their own program, of the store, of workers that crash, of what is not compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.control.crashes import crashes_of
from router.control.rollout import FAULT, SAVE_S
from router.control.rollout_case import resumed
from router.core.fingerprint import of_version
from router.core.split import Match
from router.core.standing import CaseKind
from router.core.version import Stage
from router.core.warmup import Figures
from router.errors import Refused, RouterError
from router.serving.quarantine import Quarantine
from tests.control.canary_fakes import QUICK, Canary, Habit, candidate
from tests.control.lifecycle_fakes import ADA, House, champions, run, stage, stages, started


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


async def begun(house: House, toml: str = QUICK) -> Canary:
    """A canary of version 2 of model a that ada has begun."""
    lifecycle, _ = await started(house)
    made = await candidate(house, lifecycle, toml=toml)
    await made.rollouts.begin("a", "2", ADA)
    return made


# ---- of the program, and of what it had stored ----


def test_a_fault_of_the_program_ends_one_canary_and_nothing_else(house: House) -> None:
    """Others go on, and so does the controller; the one waits, and goes back in the end."""

    async def test() -> None:
        canary = await begun(house, QUICK.replace("max_seconds = 300", "max_seconds = 50"))
        house.toml("b", QUICK)
        house.put("b", 2)
        await canary.lifecycle.refresh()
        await canary.lifecycle.test("b", "2", ADA)
        await canary.rollouts.begin("b", "2", ADA)
        figures = canary.callers.figures

        def fails(model: str, number: str, reference: str) -> Figures | None:
            if model == "a":
                raise ZeroDivisionError("of its own")
            return figures(model, number, reference)

        canary.rollouts._figures = fails
        with capture_logs() as logs:
            await canary.passes(45)
        assert any(each.get("exc_info") and each["event"] == "a canary could not go on" for each in logs)
        assert (canary.case.open, canary.share()) == (True, 10.0)
        assert canary.lifecycle.table.routes["b"].split.shares == {"2": 95.0}
        with capture_logs():
            await canary.passes(60)
        assert champions(canary.lifecycle) == {"a": "1", "b": "2"}
        assert canary.case.body["why"] == f"it could not go on within canary.max_seconds: {FAULT}"
        assert stages(canary.lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_workers_that_cannot_be_understood_say_nothing(house: House) -> None:
    """As those do that do not answer."""

    async def test() -> None:
        canary = await begun(house)
        canary.callers.error = ValueError("no such field")
        with capture_logs() as logs:
            await canary.passes(40)
        assert all(each["exc_info"] for each in logs)
        assert (canary.share(), canary.case.open) == (10.0, True)
        canary.callers.error = None
        await canary.passes(30)
        assert canary.share() == 50.0

    run(test())


@pytest.mark.parametrize(
    "change",
    [
        {"champion": None},
        {"champion": 1},
        {"steps": 3},
        {"seconds": float("inf"), "looks": float("inf")},
        {"served": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_case_that_lacks_something_ends_undone(house: House, change: dict[str, Any]) -> None:
    """The champion answers all, also when the whole server is started again."""

    async def test() -> None:
        canary = await begun(house)
        lifecycle, case = canary.lifecycle, canary.case
        body = {name: value for name, value in {**case.body, **change}.items() if value is not None}
        broken = replace(case, body=body)
        with pytest.raises(RouterError, match="holds no rollout that this program can go on with"):
            resumed(broken, 0.0)
        lifecycle._registry.put_cases([broken])
        again = Canary(house, lifecycle, canary.callers)
        assert again.rollouts.controls() == {} or "champion" in body
        await again.passes(3)
        assert (again.case.state, again.share(), stage(lifecycle, "a", "2")) == ("undone", 0.0, "ready")

    run(test())


@pytest.mark.parametrize("change", [{"champion": None}, {"steps": 3}], ids=["champion", "steps"])
def test_a_server_starts_with_a_case_that_lacks_something(house: House, change: dict[str, Any]) -> None:
    """And undoes it."""

    async def test() -> None:
        canary = await begun(house)
        case = canary.case
        body = {name: value for name, value in {**case.body, **change}.items() if value is not None}
        house.every_case[case.id] = replace(case, body=body)
        house.reboot()
        lifecycle, _ = await started(house)
        assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}
        assert house.cases("a", kind=CaseKind.ROLLOUT)[0].state == "undone"

    run(test())


# ---- of the store ----


def test_an_undoing_that_cannot_be_stored_rests_between_attempts(house: House) -> None:
    """The controller looks when it is due again, and not all the time."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(6)
        canary.callers.habits["a/2"] = Habit(failing=0.5)
        house.store_error = Refused("the disk is full")
        await canary.passes(5)
        assert canary.case.open
        assert canary.rollouts.next_due() == 1.0

    run(test())


def test_a_controller_that_comes_back_now_and_then_does_not_begin_anew(house: House) -> None:
    """Neither its time nor its risk: it comes to its end. That is stored now and then, and is no act of anybody."""

    async def test() -> None:
        canary = await begun(house, QUICK.replace("bake_seconds = 20", "bake_seconds = 200"))
        entries, seconds = list(house.entries), 0.0
        for _ in range(6):
            await canary.passes(45)
            assert canary.case.open
            assert canary.case.body["seconds"] >= seconds + SAVE_S
            assert canary.case.body["text"] == "step 1 of 3, 10 % of the requests: it is still baking"
            seconds = canary.case.body["seconds"]
            looks, served = canary.case.body["looks"], canary.case.body["served"]["requests"]
            again = Canary(house, canary.lifecycle, canary.callers)
            again.seconds = canary.seconds
            canary = again
            rollout = canary.rollouts._rollout(canary.case)
            assert (rollout.looks, rollout.served.requests) == (looks, served)
            assert looks >= 5
        assert house.entries == entries
        await canary.passes(150, lambda: not canary.case.open)
        assert canary.case.body["why"].startswith("not over after canary.max_seconds = 300, in step 1 of 3, 10 %: ")
        assert canary.case.body["served"]["requests"] == canary.callers.vitals["a", "2"].requests

    run(test())


def test_time_that_cannot_be_stored_hinders_nobody(house: House) -> None:
    """It is tried again, and the canary goes on."""

    async def test() -> None:
        canary = await begun(house, QUICK.replace("bake_seconds = 20", "bake_seconds = 70"))
        house.store_error = Refused("the disk is full")
        await canary.passes(40)
        assert canary.case.body["seconds"] == 0.0
        house.store_error = None
        await canary.passes(30)
        assert canary.case.body["seconds"] > SAVE_S
        await canary.passes(10, lambda: canary.share() == 50.0)
        assert canary.share() == 50.0

    run(test())


# ---- of workers ----


def test_a_candidate_that_crashes_workers_is_sent_back(house: House) -> None:
    """What a worker had counted has gone with it; what it ran is known. Crashes before the canary are not its own."""

    async def test() -> None:
        canary = await begun(house)
        canary.callers.crashes["a/2"] = [house.now - 10]
        await canary.passes(10)
        assert canary.case.open
        canary.callers.crashes["a/2"] += [house.now]
        await canary.passes(6)
        assert canary.case.body["why"] == "a worker crashed once while it ran requests of it"
        assert stages(canary.lifecycle, "a") == {"2": "failed", "1": "champion"}

    run(test())


def test_a_crash_in_runs_of_both_is_nobodys_fault(house: House) -> None:
    """The candidate loses its share all the same, and may be tried again."""

    async def test() -> None:
        canary = await begun(house)
        canary.callers.error = ConnectionError("the worker that has crashed has not come back")
        canary.callers.crashes |= {"a/1": [house.now + 3], "a/2": [house.now + 1, house.now + 3]}
        await canary.passes(6)
        assert canary.case.body["why"] == (
            "a worker crashed 2 times while it ran requests of it, and of version 1: nobody knows whose fault it was"
        )
        assert stages(canary.lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_the_record_of_crashes_is_the_quarantine(house: House, tmp_path: Path) -> None:
    """What the supervisor writes there sends a candidate back."""

    async def test() -> None:
        quarantine = Quarantine(tmp_path / "quarantine")
        lifecycle, _ = await started(house, crashes=crashes_of(quarantine))
        await candidate(house, lifecycle)
        await lifecycle.promote("a", "2", ADA, canary=True)
        await lifecycle.look_at_canaries()
        assert stage(lifecycle, "a", "2") == "challenger"
        version = lifecycle.table.routes["a"].versions["2"]
        quarantine.crashed([of_version(version) | 7], int(house.now))
        house.up += 5
        await lifecycle.look_at_canaries()
        assert stages(lifecycle, "a") == {"2": "failed", "1": "champion"}

    run(test())


# ---- of what is not compared ----


@pytest.mark.parametrize("failed", [True, False], ids=["failed", "away"])
def test_a_step_waits_for_the_old_champion_on_copies(house: House, failed: bool) -> None:
    """It says what it waits for, and does so not for ever; where the copies come again it goes on."""

    async def test() -> None:
        canary = await begun(house)
        watching = canary.lifecycle.events.watch("a")
        await anext(watching)
        canary.callers.away = not failed
        if failed:
            canary.callers.failed["a", "1", "2"] = "it cannot be loaded: no memory"
        await canary.passes(70)
        assert canary.share() == 10.0
        why = "cannot be run on copies of its requests: it cannot be loaded: no memory"
        if not failed:
            why = "is not loaded in the warm-up worker, to be run on copies of its requests"
        waits = f"its answers cannot be compared (canary.min_agreement = 0 does without): version 1 {why}"
        assert (await anext(watching)).text.endswith(f"; {waits}")
        assert canary.case.body["text"] == f"step 1 of 3, 10 % of the requests: {waits}"
        await watching.aclose()
        canary.callers.away = False
        canary.callers.failed.clear()
        await canary.passes(20)
        assert canary.share() == 50.0
        canary.callers.away = True
        await canary.passes(300, lambda: not canary.case.open)
        assert ", in step 2 of 3, 50 %: its answers cannot be compared" in canary.case.body["why"]
        assert stages(canary.lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


def test_a_challenger_that_has_all_requests_leaves_some_to_compare_with(house: House) -> None:
    """What is bad about it is found, as the old champion answers beside it again."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        canary = await candidate(house, lifecycle)
        await lifecycle.challenge("a", "2", ADA, share=100.0)
        canary.callers.habits["a/2"] = Habit(failing=0.2)
        case = await canary.rollouts.begin("a", "2", ADA)
        assert (case.body["step"], case.body["share"], canary.share()) == (2, 95.0, 95.0)
        await canary.passes(60, lambda: not canary.case.open)
        assert "requests failed" in canary.case.body["why"]
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_callers_who_are_chosen_are_no_sample(house: House) -> None:
    """It is refused, with the mend; nothing has changed."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        canary = await candidate(house, lifecycle)
        await lifecycle.challenge("a", "2", ADA, share=5.0, matches=[Match("x-cohort", "beta", "2")])
        with pytest.raises(Refused, match="has the callers with x-cohort = beta, who are no fair sample") as refused:
            await canary.rollouts.begin("a", "2", ADA)
        assert "`router challenge a 2 --withdraw`" in str(refused.value)
        assert house.every_case == {}
        await lifecycle.withdraw("a", "2", ADA)
        await canary.rollouts.begin("a", "2", ADA)
        assert lifecycle._registry.record("a", "2").stage is Stage.CHALLENGER

    run(test())
