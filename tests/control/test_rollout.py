"""Canaries on fakes: step by step to the end, undone by themselves, stopped, refused; every step one commit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.control.change import Draft
from router.control.records import Order
from router.core.split import Match, moved
from router.core.version import Stage
from router.errors import Conflict, InvalidRequest, NotFound, Refused
from tests.control.canary_fakes import QUICK, Canary, Habit, candidate
from tests.control.lifecycle_fakes import ADA, BOB, House, champions, promoted, record, run, stage, stages, started


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


async def begun(house: House, toml: str = QUICK, **more: Any) -> Canary:
    """A canary of version 2 of model a that ada has begun."""
    lifecycle, _ = await started(house)
    made = await candidate(house, lifecycle, toml=toml, **more)
    await made.rollouts.begin("a", "2", ADA)
    return made


def acts(house: House) -> list[tuple[str, str, object]]:
    """What the audit log says of canaries."""
    return [(each.actor, each.number, each.after["state"]) for each in house.entries if each.action == "canary"]


# ---- to the end ----


def test_a_canary_of_one_step_leaves_the_control_to_the_champion(house: House) -> None:
    """All requests but its share, until the bake is over."""

    async def test() -> None:
        canary = await begun(house, toml=QUICK.replace("[10, 50, 100]", "[100]"))
        assert canary.share() == 95
        await canary.passes(200, lambda: not canary.case.open)
        assert canary.case.state == "finished"

    run(test())


def test_a_good_candidate_becomes_champion_step_by_step(house: House) -> None:
    """Each step is one flip; at the end the champion before stands by, and the case is over with the flip."""

    async def test() -> None:
        canary = await begun(house)
        lifecycle = canary.lifecycle
        watching = lifecycle.events.watch("a")
        await anext(watching)
        shares: list[float] = []
        generations: list[int] = []

        def over() -> bool:
            if not shares or shares[-1] != canary.share():
                shares.append(canary.share())
                generations.append(house.word)
            return not canary.case.open

        took = await canary.passes(200, over)
        over()
        assert shares == [10.0, 50.0, 95.0, 0.0]
        assert generations == list(range(generations[0], generations[0] + 4))
        assert 60 <= took <= 78
        assert stages(lifecycle, "a") == {"2": "champion", "1": "standby"}
        assert record(lifecycle, "a", "2").actor == "ada"
        case = canary.case
        assert (case.state, case.actor, case.number, case.digest) == (
            "finished",
            "ada",
            "2",
            house.records["a", "2"].digest,
        )
        assert [each["share"] for each in case.body["steps"]] == [10.0, 50.0, 95.0]
        assert case.body["served"]["requests"] == canary.callers.vitals["a", "2"].requests
        assert "version 2 has taken the place of version 1; it had" in case.body["text"]
        assert acts(house) == [
            ("ada", "2", "begun"),
            ("router", "2", "step"),
            ("router", "2", "step"),
            ("ada", "2", "finished"),
        ]
        promotion = next(each for each in house.entries if each.action == "promote")
        assert (promotion.actor, promotion.before, promotion.after) == ("ada", {"champion": "1"}, {"champion": "2"})
        assert house.every_case[case.id] == case
        told = [await anext(watching)]
        while told[-1].facts.get("state") != "finished":
            told.append(await anext(watching))
        texts = [each.text for each in told if each.kind == "rollout"]
        assert texts == ["step 2 of 3, 50 % of the requests", "step 3 of 3, 95 % of the requests", case.body["text"]]
        assert [each.text for each in told if each.kind == "champion"] == [
            "canary: version 2 answers, 1 before, step by step"
        ]
        await watching.aclose()
        await lifecycle.rollback("a", "", BOB)
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_step_waits_for_its_requests_and_the_canary_not_for_ever(house: House) -> None:
    """Where there is too little traffic it goes back, and the version stays ready."""

    async def test() -> None:
        canary = await begun(house)
        canary.callers.per_second = 10
        await canary.passes(95)
        assert canary.share() == 10.0
        await canary.passes(20)
        assert canary.share() == 50.0
        canary.callers.per_second = 0
        await canary.passes(300, lambda: not canary.case.open)
        assert stages(canary.lifecycle, "a") == {"2": "ready", "1": "champion"}
        assert canary.case.state == "undone"
        assert ", in step 2 of 3, 50 %: too little traffic, " in canary.case.body["why"]
        assert canary.case.body["why"].endswith(" of 100 requests")
        assert canary.share() == 0.0

    run(test())


def test_a_challenger_keeps_the_share_that_it_has(house: House) -> None:
    """Other challengers keep theirs; what the canary takes is the champion's."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        canary = await candidate(house, lifecycle)
        await candidate(house, lifecycle, 3)
        await split(canary, {"2": 60.0, "3": 20.0})
        case = await canary.rollouts.begin("a", "2", BOB)
        assert (case.body["step"], case.body["share"]) == (1, 60.0)
        assert canary.lifecycle.table.routes["a"].split.shares == {"2": 60.0, "3": 20.0}
        await canary.passes(30)
        assert canary.lifecycle.table.routes["a"].split.shares == {"2": 75.0, "3": 20.0}
        await canary.rollouts.stop("a", BOB)
        assert canary.lifecycle.table.routes["a"].split.shares == {"3": 20.0}
        assert stage(lifecycle, "a", "2") == "ready"

    run(test())


def test_a_finish_that_is_refused_is_tried_again_and_not_for_ever(house: House) -> None:
    """Another model has begun to rely on the old champion's signature; it says so, and in the end it is undone."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.rename("a/2", "other")
        canary = await candidate(house, lifecycle)
        await canary.rollouts.begin("a", "2", ADA)
        await canary.passes(60)
        house.toml("b", '[fallback]\nchain = ["failover"]\nfailover = "a"\n')
        await lifecycle.refresh()
        watching = lifecycle.events.watch("a")
        await anext(watching)
        await canary.passes(100)
        assert (canary.case.open, canary.share()) == (True, 95.0)
        told = await anext(watching)
        assert "it could not go on: model 'b' would be left without its failover" in told.text
        await watching.aclose()
        await canary.passes(150, lambda: not canary.case.open)
        assert canary.case.state == "undone"
        assert canary.case.body["why"].startswith("it could not go on within canary.max_seconds: model 'b' would be")
        assert stages(lifecycle, "a") == {"2": "ready", "1": "champion"}

    run(test())


async def split(canary: Canary, shares: dict[str, float], *matches: Match) -> None:
    """These versions of model a challenge, with these shares."""
    changes = canary.lifecycle._changes
    draft, route = Draft(), canary.lifecycle.table.routes["a"]
    for number in shares:
        draft.put(changes.registry.moved(changes.registry.record("a", number), Stage.CHALLENGER, ADA))
    draft.routes["a"] = replace(route, split=replace(moved(route.split, shares), matches=matches))
    await changes.turns.alone(lambda: changes.commit(draft))


# ---- undone ----


@pytest.mark.parametrize(
    ("habit", "measure", "said"),
    [
        (Habit(failing=0.05), "errors", r"5.00% of \d+ requests failed within \d+ s, 0.00% of \d+ of version 1"),
        (Habit(falling=0.05), "fallbacks", "were answered by something else"),
        (Habit(seconds=0.008), "p99", "2.0 times as long, 1.3 times are allowed"),
        (Habit(alike=0.5), "agreement", "the same in 'label' as version 1 for 50.00% of"),
    ],
)
def test_a_candidate_that_turns_bad_is_sent_back_by_itself(house: House, habit: Habit, measure: str, said: str) -> None:
    """At the first check after a whole interval; failed, with the figures. Those whom it had answered are counted."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(36)
        assert canary.share() == 50.0
        canary.callers.habits["a/2"] = habit
        took = await canary.passes(30, lambda: not canary.case.open)
        assert took <= 10
        case = canary.case
        assert stages(canary.lifecycle, "a") == {"2": "failed", "1": "champion"}
        assert case.state == "undone"
        assert any(each["breach"] and each["measure"] == measure for each in case.body["steps"][-1]["findings"])
        assert re.search(said, case.body["why"])
        assert case.body["why"] in record(canary.lifecycle, "a", "2").reason
        had = canary.callers.vitals["a", "2"]
        assert case.body["served"] == {"requests": had.requests, "failures": had.failures, "fallbacks": had.fallbacks}
        assert f"it had {had.requests} requests" in case.body["text"]
        assert canary.share() == 0.0
        entry = house.entries[-1]
        assert (entry.actor, entry.action, entry.after["state"]) == ("router", "canary", "undone")
        assert entry.after["served"] == case.body["served"]
        await canary.passes(10)
        assert canary.callers.vitals["a", "2"] == had

    run(test())


def test_what_the_champion_does_as_well_is_not_held_against_a_candidate(house: House) -> None:
    """Both fail, both are slow: it goes on to the end."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(10)
        bad = Habit(failing=0.1, falling=0.1, seconds=0.03)
        canary.callers.habits |= {"a/1": bad, "a/2": bad}
        await canary.passes(100, lambda: not canary.case.open)
        assert champions(canary.lifecycle)["a"] == "2"

    run(test())


def test_a_candidate_that_cannot_be_run_any_more_is_sent_back(house: House) -> None:
    """As the warm-up worker says; that the old champion cannot be run there says nothing of the candidate."""

    async def test() -> None:
        canary = await begun(house)
        canary.callers.failed["a", "1", "2"] = "no memory"
        await canary.passes(10)
        assert canary.case.open
        canary.callers.failed["a", "2", "1"] = "no memory"
        await canary.passes(10)
        assert canary.case.body["why"] == "it cannot be run on copies: no memory"
        assert stage(canary.lifecycle, "a", "2") == "failed"

    run(test())


def test_somebody_else_changes_the_champion(house: House) -> None:
    """The canary has nothing to compare with any more: it is undone, the version stays ready."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(7)
        await promoted(house, canary.lifecycle, "a", version=3)
        await canary.passes(6)
        assert canary.case.state == "undone"
        assert canary.case.body["why"] == "the champion is version 3 by now, made so by ada"
        assert stages(canary.lifecycle, "a") == {"3": "champion", "2": "ready", "1": "standby"}

    run(test())


def test_somebody_promotes_the_candidate_at_once(house: House) -> None:
    """Then it is over, and well."""

    async def test() -> None:
        canary = await begun(house)
        await canary.lifecycle.promote("a", "2", BOB)
        await canary.passes(6)
        assert (canary.case.state, canary.case.body["why"]) == ("finished", "promoted at once by bob")
        assert champions(canary.lifecycle)["a"] == "2"

    run(test())


def test_a_candidate_that_workers_lose_has_failed(house: House) -> None:
    """A worker that comes cannot load it: the case ends, whoever it answered is the champion's."""

    async def test() -> None:
        canary = await begun(house)
        late = house.worker(2)
        late.refuses["a/2"] = "no memory"
        await canary.lifecycle.join(late)
        assert stage(canary.lifecycle, "a", "2") == "failed"
        await canary.passes(6)
        assert (canary.case.state, canary.case.body["why"]) == ("undone", "no memory")

    run(test())


def test_an_undoing_that_cannot_be_stored_is_tried_with_every_look(house: House) -> None:
    """Not only when the next comparison is due, which may find nothing any more."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(6)
        canary.callers.habits["a/2"] = Habit(failing=0.5)
        house.store_error = Refused("the disk is full")
        await canary.passes(6)
        assert canary.case.open
        canary.callers.habits.clear()
        house.store_error = None
        await canary.passes(1)
        assert canary.case.state == "undone"
        assert "requests failed" in canary.case.body["why"]
        assert stage(canary.lifecycle, "a", "2") == "failed"

    run(test())


# ---- by hand ----


def test_an_operator_stops_a_canary(house: House) -> None:
    """The version is ready, its share the champion's; without a canary there is nothing to stop."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(7)
        case = await canary.rollouts.stop("a", BOB)
        assert (case.state, case.body["why"]) == ("stopped", "by bob, it is worse")
        assert (case.body["served"]["requests"], canary.share()) == (280, 0.0)
        assert stages(canary.lifecycle, "a") == {"2": "ready", "1": "champion"}
        assert acts(house)[-1] == ("bob", "2", "stopped")
        with pytest.raises(Refused, match="no canary of model 'a' is under way: `router promote a VERSION --canary`"):
            await canary.rollouts.stop("a", BOB)
        with pytest.raises(NotFound):
            await canary.rollouts.stop("none", BOB)
        await canary.passes(30)
        assert not canary.lifecycle._registry.cases
        assert canary.rollouts.next_due() is None

    run(test())


def test_what_is_frozen_does_not_grow(house: House) -> None:
    """Nor is it promoted; thawed, it goes on. What turns bad is sent back all the same."""

    async def test() -> None:
        canary = await begun(house)
        await canary.lifecycle.freeze("a", True, ADA)
        await canary.passes(40)
        assert canary.share() == 10.0
        await canary.lifecycle.freeze("a", False, ADA)
        await canary.passes(5)
        assert canary.share() == 50.0
        await canary.lifecycle.freeze("a", True, ADA)
        canary.callers.habits["a/2"] = Habit(failing=0.5)
        await canary.passes(10)
        assert canary.case.state == "undone"

    run(test())


# ---- refused ----


def test_what_stands_in_the_way_of_a_canary(house: House) -> None:
    """One clear error each, and nothing has changed."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 3)
        canary = await candidate(house, lifecycle)
        begin = canary.rollouts.begin
        entries = list(house.entries)
        with pytest.raises(NotFound, match="has no version '9'"):
            await begin("a", "9", ADA)
        with pytest.raises(NotFound, match="unknown model 'none'"):
            await begin("none", "1", ADA)
        with pytest.raises(Refused, match="version 3 of model 'a' has not been tested: `router test a 3` first"):
            await begin("a", "3", ADA)
        with pytest.raises(Refused, match="version 1 of model 'a' is its champion already"):
            await begin("a", "1", ADA)
        with pytest.raises(InvalidRequest, match="an override needs a reason"):
            await begin("a", "3", Order("ada"), override=True)
        with pytest.raises(Conflict, match="the champion of 'a' is version 1, made so by router, not 7: look again"):
            await begin("a", "2", ADA, expected="7")
        await lifecycle.freeze("a", True, ADA)
        with pytest.raises(Refused, match="model 'a' is frozen: `router thaw a`"):
            await begin("a", "2", ADA)
        await lifecycle.freeze("a", False, ADA)
        assert [each for each in house.entries if each.action not in {"freeze", "thaw"}] == entries
        assert (stages(lifecycle, "a"), house.every_case) == ({"3": "found", "2": "ready", "1": "champion"}, {})
        await begin("a", "2", ADA)
        with pytest.raises(
            Conflict, match=r"version 2 of model 'a' is being rolled out already \(canary 1, begun by ada\)"
        ):
            await begin("a", "3", ADA)
        await lifecycle.promote("a", "2", ADA)
        await canary.passes(6)
        with pytest.raises(Refused, match="is its standby: `router rollback a` makes it answer again"):
            await begin("a", "1", ADA)
        await lifecycle.test("a", "3", ADA)
        await begin("a", "3", ADA, override=True)
        assert stage(lifecycle, "a", "3") == "challenger"

    run(test())


def test_an_override_is_loaded_without_its_gates(house: House) -> None:
    """As by a promotion at once, with its reason on record."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        canary = await candidate(house, lifecycle)
        house.put("a", 3)
        house.failing["a/3"] = "too slow"
        await lifecycle.refresh()
        await lifecycle.test("a", "3", ADA)
        case = await canary.rollouts.begin("a", "3", BOB, override=True)
        assert (case.body["override"], case.body["reason"]) == (True, "it is worse")
        await canary.passes(100, lambda: not canary.case.open)
        assert champions(lifecycle)["a"] == "3"

    run(test())


def test_other_challengers_leave_no_room(house: House) -> None:
    """It says who has what."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        canary = await candidate(house, lifecycle)
        await candidate(house, lifecycle, 3)
        await split(canary, {"3": 90.0})
        with pytest.raises(Refused, match=r"have 90 % of its requests \(version 3 90 %\): a canary begins with 10 %"):
            await canary.rollouts.begin("a", "2", ADA)
        assert stage(lifecycle, "a", "2") == "ready"

    run(test())


def test_a_candidate_that_no_worker_can_load_is_refused(house: House) -> None:
    """Nothing has changed then."""

    async def test() -> None:
        lifecycle, crew = await started(house)
        canary = await candidate(house, lifecycle)
        await lifecycle.unload("a", "2", ADA)
        house.put("a", 3)
        await lifecycle.refresh()
        crew[0].refuses["a/3"] = "no memory"
        with pytest.raises(Refused, match="version 3 of model 'a' cannot be loaded: no memory"):
            await canary.rollouts.begin("a", "3", ADA, override=True)
        assert house.every_case == {}
        assert canary.lifecycle._registry.cases == {}

    run(test())


# ---- looks ----


def test_looks_are_due_as_often_as_the_settings_say(house: House) -> None:
    """The workers are asked once for all canaries, and not at all without one; a late look is a look."""

    async def test() -> None:
        canary = await begun(house)
        rollouts, callers = canary.rollouts, canary.callers
        callers.asked = 0
        assert rollouts.next_due() == 0.0
        await canary.passes(1)
        assert (callers.asked, rollouts.next_due()) == (1, 5.0)
        await canary.passes(4)
        assert callers.asked == 1
        await canary.passes(1)
        assert callers.asked == 2
        canary.seconds += 17
        callers.call(17)
        callers.habits["a/2"] = Habit(failing=0.3)
        callers.call(3)
        await rollouts.look()
        assert callers.asked == 3
        assert canary.case.state == "undone"
        callers.asked = 0
        await canary.passes(20)
        assert callers.asked == 0

    run(test())


def test_workers_that_do_not_say_how_versions_do(house: House) -> None:
    """Nothing grows meanwhile; counters that begin anew are not held against anybody."""

    async def test() -> None:
        canary = await begun(house)
        await canary.passes(10)
        canary.callers.error = ConnectionError("gone")
        await canary.passes(40)
        assert (canary.share(), canary.case.open) == (10.0, True)
        canary.callers.error = None
        canary.callers.vitals.clear()
        await canary.passes(30)
        assert (canary.share(), canary.case.open) == (50.0, True)

    run(test())


def test_a_worker_that_serves_and_has_not_joined(house: House) -> None:
    """As when the controller has just been started again: what it did before is not taken for what it does now."""

    async def test() -> None:
        canary = await begun(house)
        house.open.add(7)
        canary.callers.asked = 0
        await canary.passes(40)
        assert (canary.callers.asked, canary.share()) == (0, 10.0)
        house.open.discard(7)
        await canary.passes(19)
        assert canary.share() == 10.0
        await canary.passes(8)
        assert canary.share() == 50.0

    run(test())


def test_the_old_champion_is_to_be_run_on_copies(house: House) -> None:
    """Of the candidate's runs, by the canary's own settings; of a version that serves."""

    async def test() -> None:
        canary = await begun(house, QUICK + "control = 20\ntolerance = 0.5\n")
        ((wanted, (runs, reference, settings)),) = canary.rollouts.controls().items()
        assert (wanted.model, wanted.number, wanted.reference, wanted.fraction) == ("a", "1", "2", 0.2)
        assert wanted.control
        assert (runs.number, reference.number, settings.canary.tolerance) == ("1", "2", 0.5)
        house.toml("a", QUICK)
        await canary.lifecycle.refresh()
        ((again, (_, _, settings)),) = canary.rollouts.controls().items()
        assert (again, settings.canary.control) == (wanted, 20)
        await canary.rollouts.stop("a", ADA)
        assert canary.rollouts.controls() == {}

    run(test())
