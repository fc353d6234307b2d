"""Who takes the place of a champion that is lost: where others must agree to promotions, and in a canary."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from router.control.database import FILE, Database
from router.control.heirs import all_may, inheritance
from router.control.lifecycle import Lifecycle
from router.control.records import Case, Order, VersionRecord
from router.core.access import Role
from router.core.version import Stage
from router.edge.tables import from_text, to_text
from router.errors import RouterError
from tests.control.canary_fakes import QUICK, Canary, candidate
from tests.control.lifecycle_fakes import ADA, House, champions, record, run, stages, started

OLI, BOB = Order("oli", "it is better", Role.OPERATOR), Order("bob", "I have looked", Role.APPROVER)
LINE = (
    "it could not take the place of version 1: it has never been the champion, and others must agree to that"
    " ([policy.critical] approvals = 2, which holds where router.toml has no other): `router promote a 2`"
)
DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


async def loses(house: House, lifecycle: Lifecycle, *versions: str) -> None:
    """A worker comes that cannot load these."""
    late = house.worker(7)
    late.refuses = dict.fromkeys(versions, "no memory")
    await lifecycle.join(late)


# ---- where others must agree ----


def test_a_model_that_is_lost_goes_dark_rather_than_to_what_nobody_has_agreed_to(house: House) -> None:
    """Its fallback answers; the versions that were passed over say why, in the audit log too; and once others agree
    one of them answers."""

    async def test() -> None:
        house.toml("a", DEFAULT)
        lifecycle, crew = await started(house, importance={"a": "critical"})
        for model in ("a", "b"):
            house.put(model, 2)
            await lifecycle.test(model, "2", ADA)
        await loses(house, lifecycle, "a/1", "b/1")
        assert champions(lifecycle) == {"a": None, "b": "2"}
        assert all(worker.answers("a") is None for worker in crew)
        assert stages(lifecycle, "a") == {"2": "ready", "1": "failed"}
        assert record(lifecycle, "a", "2").reason == house.records["a", "2"].reason == LINE
        told = [(each.action, each.number, dict(each.after)) for each in house.entries if each.model == "a"]
        assert told[-2:] == [("lost", "1", {}), ("passed over", "2", {"why": LINE})]
        asked = Order("oli", "nothing else is left", Role.APPROVER)
        case = await lifecycle.promote("a", "2", asked)
        assert isinstance(case, Case)
        await lifecycle.approve(case.id, BOB)
        await lifecycle.approve(case.id, replace(BOB, actor="carl"))
        assert champions(lifecycle)["a"] == "2"

    run(test())


def test_a_version_that_was_agreed_to_once_succeeds_before_a_newer_one(house: House) -> None:
    """It has been the champion, was let go and is ready again."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        await lifecycle.promote("a", "2", OLI)
        await lifecycle.unload("a", "1", OLI)
        await lifecycle._changes.drained("a")
        house.put("a", 3)
        for number in ("1", "3"):
            await lifecycle.test("a", number, ADA)
        await lifecycle.set_importance("a", "critical", ADA)
        await loses(house, lifecycle, "a/2")
        assert stages(lifecycle, "a") == {"3": "ready", "2": "failed", "1": "champion"}
        assert "others must agree" in record(lifecycle, "a", "3").reason

    run(test())


def test_who_stands_by_needs_nobody(house: House) -> None:
    """It was the champion before."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        await lifecycle.promote("a", "2", OLI)
        await lifecycle.set_importance("a", "critical", ADA)
        await loses(house, lifecycle, "a/2")
        assert champions(lifecycle)["a"] == "1"

    run(test())


def test_a_champion_whose_files_are_gone_at_a_start_has_no_heir_that_nobody_agreed_to(house: House) -> None:
    """As while the server runs."""

    async def test() -> None:
        lifecycle, _ = await started(house)
        house.put("a", 2)
        await lifecycle.test("a", "2", ADA)
        house.drop("a", 1)
        house.reboot()
        again = house.lifecycle(importance={"a": "critical"})
        await again.start()
        assert champions(again) == {"a": None, "b": "1"}
        assert house.records["a", "2"].reason == LINE

    run(test())


def test_where_nobody_knows_who_was_agreed_to_nobody_succeeds() -> None:
    """The store cannot be read: each is passed over with that reason."""

    def unknown(_model: str, _numbers: Sequence[str]) -> dict[str, str]:
        raise RouterError("the store cannot be read")

    lost, ready = version("1", Stage.CHAMPION), version("2", Stage.READY)
    found = inheritance(lost, [ready], [], unknown, 1000.0)
    why = "it is not known whether others have agreed to it: the store cannot be read"
    assert found.heir is None
    assert found.passed == ((ready, f"it could not take the place of version 1: {why}"),)
    assert inheritance(lost, [], [], unknown, 1000.0).passed == ()
    assert inheritance(lost, [ready], [], all_may, 1000.0).heir == ready


def version(number: str, stage: Stage) -> VersionRecord:
    """Of model a."""
    return VersionRecord("a", number, "ab", stage)


# ---- in the middle of a canary ----


@pytest.mark.parametrize("level", ["low", "critical"])
def test_the_candidate_of_a_canary_takes_the_place_of_a_champion_that_is_lost(house: House, level: str) -> None:
    """In one flip: it serves on and has all callers, and the canary is finished, with the reason; other versions that
    are ready do not come before it."""

    async def test() -> None:
        canary = await baking(house)
        lifecycle = canary.lifecycle
        house.put("a", 3)
        await lifecycle.test("a", "3", ADA)
        await lifecycle.set_importance("a", level, ADA)
        generation = house.word
        await loses(house, lifecycle, "a/1")
        assert house.word == generation + 1
        assert stages(lifecycle, "a") == {"3": "ready", "2": "champion", "1": "failed"}
        assert lifecycle.table.routes["a"].split.shares == {}
        case = canary.case
        assert (case.open, case.state) == (False, "finished")
        why = "version 1 cannot be loaded any more, and version 2 has taken its place"
        assert case.body["why"] == why
        assert case.body["text"].startswith(f"finished: {why}; when it was last counted, it had ")
        assert 0 < case.body["seconds"] <= canary.seconds
        assert [each["share"] for each in case.body["steps"]] == [10.0, 50.0]
        told = [(each.action, each.number) for each in house.entries if each.model == "a"]
        assert told[-3:] == [("lost", "1"), ("canary", "2"), ("succeeded", "2")]
        assert house.entries[-2].after == {"state": "finished", "case": case.id, "why": why}
        await canary.passes(60)
        assert canary.case == case
        assert champions(lifecycle)["a"] == "2"

    run(test())


async def baking(house: House) -> Canary:
    """A canary of version 2 of model a that is in its second step."""
    lifecycle, _ = await started(house)
    made = await candidate(house, lifecycle, toml=QUICK)
    await made.rollouts.begin("a", "2", ADA)
    await made.passes(100, lambda: made.share() == 50.0)
    await made.passes(5)
    return made


def test_a_candidate_that_is_lost_with_its_champion_is_no_heir(house: House) -> None:
    """Neither serves, nobody else is there: the model is dark, and the canary ends by itself."""

    async def test() -> None:
        canary = await baking(house)
        await loses(house, canary.lifecycle, "a/1", "a/2")
        assert champions(canary.lifecycle)["a"] is None
        await canary.passes(10)
        assert (canary.case.open, canary.case.state) == (False, "undone")

    run(test())


def test_a_canary_that_cannot_be_read_has_no_heir(house: House) -> None:
    """What is ready comes then."""

    async def test() -> None:
        canary = await baking(house)
        lifecycle = canary.lifecycle
        house.put("a", 3)
        await lifecycle.test("a", "3", ADA)
        torn = replace(canary.case, body={"step": "three"})
        lifecycle._registry.put_cases([torn])
        await loses(house, lifecycle, "a/1")
        assert champions(lifecycle)["a"] == "3"

    run(test())


# ---- the real store ----


def test_who_was_agreed_to_is_read_in_the_real_store(house: House, tmp_path: Path) -> None:
    """One that succeeded where nobody need agree has been the champion, and may be it again; another may not."""
    database = Database(tmp_path / FILE, to_text, from_text)
    database.open()

    async def test() -> None:
        lifecycle, _ = await started(house, store=database)
        for number in (2, 3):
            house.put("a", number)
        await lifecycle.test("a", "2", ADA)
        await loses(house, lifecycle, "a/1")
        assert champions(lifecycle)["a"] == "2"
        await lifecycle.test("a", "3", ADA)
        await lifecycle.promote("a", "3", OLI)
        await lifecycle.unload("a", "2", OLI)
        await lifecycle._changes.drained("a")
        await lifecycle.test("a", "2", ADA)
        house.put("a", 4)
        await lifecycle.test("a", "4", ADA)
        await lifecycle.set_importance("a", "critical", ADA)
        await loses(house, lifecycle, "a/3")
        assert stages(lifecycle, "a") == {"4": "ready", "3": "failed", "2": "champion", "1": "failed"}
        assert [each.entry.number for each in database.audit("a") if each.entry.action == "passed over"] == ["4"]
        assert database.verify().whole

    with closing(database):
        run(test())
