"""Declared state through the whole lifecycle: what a file says is what serves, also after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from router.control.lifecycle import Lifecycle
from router.control.records import Order
from router.core.access import Role
from router.core.declared import fingerprint
from router.core.difference import Difference
from tests.control.lifecycle_fakes import ADA, House, run, stages, started

AMY, OLI = Order("amy", "checked", Role.APPROVER), Order("oli", "", Role.OPERATOR)
DEFAULT = '[fallback]\nchain = ["default"]\ndefault = { y = 1.0 }\n'


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


async def tried(house: House, *numbers: int) -> Lifecycle:
    """A server with more versions of a, which are ready."""
    lifecycle, _ = await started(house)
    for number in numbers:
        house.put("a", number)
        await lifecycle.test("a", str(number), ADA)
    return lifecycle


def told(plan: Difference) -> list[tuple[str, str]]:
    """What became of each step."""
    assert plan.conflicts == ()
    return [(f"{each.action} {each.number or each.model}".strip(), each.outcome) for each in plan.steps]


def test_what_a_file_says_is_what_serves(house: House) -> None:
    """One file after another, each with one record of its own; the store keeps what was applied."""
    house.toml("a", DEFAULT)
    first = """
    [models.a]
    champion = 2
    fallback = true
    aliases = { stable = 1 }
    challengers = { 3 = { share = 40 }, 4 = { shadow = true, match = { x-cohort = "beta" } } }
    frozen = true
    """
    second = """
    frozen = true
    [models.a]
    frozen = false
    fallback = false
    aliases = {}
    challengers = { 4 = { share = 60, match = { x-cohort = ["beta", "eu"] } }, 3 = { share = 1, shadow = true } }
    """

    async def test() -> None:
        lifecycle = await tried(house, 2, 3, 4)
        assert told(await lifecycle.apply(first, OLI)) == [
            ("fallback a", "done"),
            ("promote 2", "done"),
            ("challenge 3", "done"),
            ("challenge 4", "done"),
            ("alias 1", "done"),
            ("freeze a", "done"),
        ]
        route = lifecycle.table.routes["a"]
        assert (route.champion, route.standby, route.switched, route.aliases) == ("2", "1", True, {"stable": "1"})
        assert (route.split.shares, route.shadows) == ({"3": 40.0}, {"4"})
        assert lifecycle.frozen == {"a"}
        assert (await lifecycle.diff(first)).steps == ()
        entry = next(each for each in house.entries if each.action == "apply")
        assert (entry.actor, entry.after) == ("oli", {"sha256": fingerprint(first), "steps": 6})
        assert [each.outcome for each in (await lifecycle.apply(second, OLI)).steps] == ["done"] * 7
        route = lifecycle.table.routes["a"]
        assert [(each.value, each.number) for each in route.split.matches] == [("beta", "4"), ("eu", "4")]
        assert (route.split.shares, route.shadows) == ({"3": 1.0, "4": 60.0}, {"3"})
        assert (lifecycle.frozen, route.aliases, route.switched) == ({""}, {}, False)
        house.reboot()
        again = house.lifecycle()
        await again.start()
        assert (await again.diff(second)).steps == ()
        assert told(await again.apply("[models.a]\nchallengers = {}", OLI)) == [
            ("withdraw 3", "done"),
            ("withdraw 4", "done"),
        ]
        assert stages(again, "a") == {"4": "ready", "3": "ready", "2": "champion", "1": "standby"}

    run(test())


def test_a_canary_that_a_file_asked_for(house: House) -> None:
    """While it is on its way nothing differs; a file that fights it is refused; once it is undone the file wants it
    again."""
    text = '[models.a]\nchampion = 2\nstrategy = "canary"\nchallengers = { 3 = { share = 20 } }\nfrozen = true'
    waits = "waits until version 2 is champion: apply the file again then"

    async def test() -> None:
        lifecycle = await tried(house, 2, 3)
        assert told(await lifecycle.apply(text, OLI)) == [
            ("challenge 3", "done"),
            ("promote 2", "on its way: `router canary a` shows it"),
            ("freeze a", waits),
        ]
        assert stages(lifecycle, "a") == {"3": "challenger", "2": "challenger", "1": "champion"}
        assert told(await lifecycle.apply(text, OLI)) == [
            ("promote 2", "on its way: `router canary a` shows it"),
            ("freeze a", waits),
        ]
        more = await lifecycle.diff(text.replace("20", "30"))
        assert told(more)[1] == ("split a", waits)
        for fights in ("champion = 1", "champion = 3", "challengers = { 2 = { share = 50 } }", "challengers = {}"):
            (line,) = (await lifecycle.apply(f"[models.a]\n{fights}", OLI)).conflicts
            assert "`router canary a --stop` undoes it" in line
        await lifecycle.stop_rollout("a", OLI)
        assert told(await lifecycle.diff(text)) == [("promote 2", ""), ("freeze a", "")]

    run(test())


def test_a_promotion_that_others_must_agree_to(house: House) -> None:
    """The importance that the file declares holds for its own promotion; the freeze waits for it."""
    text = '[models.a]\nchampion = 2\nimportance = "high"\nfrozen = true\n[models.b]\nfrozen = true'

    async def test() -> None:
        lifecycle = await tried(house, 2)
        (_, promote, freeze, other) = (await lifecycle.apply(text, ADA)).steps
        assert promote.outcome.startswith("waits for approval: `router approve ")
        assert (freeze.outcome[:5], other.outcome) == ("waits", "done")
        assert lifecycle.table.routes["a"].champion == "1"
        (case,) = lifecycle.versions("a")[0].cases
        assert (await lifecycle.diff(text)).open == ()
        (line,) = (await lifecycle.diff("[models.a]\nchampion = 1")).conflicts
        assert line.endswith(f"version 2 waits for approval; `router reject {case.id}` ends that")
        await lifecycle.approve(case.id, AMY)
        assert lifecycle.table.routes["a"].champion == "2"
        assert told(await lifecycle.apply(text, replace(ADA, role=Role.OPERATOR))) == [("freeze a", "done")]
        assert lifecycle.frozen == {"a", "b"}

    run(test())


def test_what_a_plan_has_against_a_promotion(house: House) -> None:
    """It is in the way of the whole file."""

    async def test() -> None:
        lifecycle = await tried(house, 2)
        house.toml("a", '[lifecycle]\npromote_needs = "warm"\n')
        await lifecycle.refresh()
        plan = await lifecycle.apply("[models.b]\nfrozen = true\n[models.a]\nchampion = 2", OLI)
        assert "`router warm a 2` first" in plan.conflicts[0]
        assert (lifecycle.frozen, "apply" in {each.action for each in house.entries}) == (frozenset(), False)

    run(test())


def test_what_others_must_agree_to_is_a_conflict_of_the_file(house: House) -> None:
    """Too large shares, callers by their metadata and names of what nobody has agreed to: all at once, each with the
    rule; nothing is applied. What needs nobody is, and what waits for a new champion is seen when it is one."""
    against = """
    [models.a]
    aliases = { stable = 2, first = 1 }
    challengers = { 2 = { share = 40 }, 3 = { share = 30 } }
    [models.b]
    challengers = { 2 = { share = 5, match = { user-agent = "grpc" } } }
    """
    fine = """
    [models.a]
    champion = 2
    aliases = { stable = 2, first = 1 }
    challengers = { 3 = { share = 30 } }
    [models.b]
    challengers = { 2 = { share = 50 } }
    """

    async def test() -> None:
        lifecycle, _ = await started(house, importance={"a": "high", "b": "critical"})
        for model in ("a", "b"):
            for number in (2, 3):
                house.put(model, number)
                await lifecycle.test(model, str(number), ADA)
        was = (list(house.entries), dict(house.records))
        for plan in (await lifecycle.diff(against), await lifecycle.apply(against, AMY)):
            assert plan.steps == ()
            shares, alias, match = plan.conflicts
            assert shares.startswith("[models.a] challengers: the challengers of model 'a' would have 70 % of its requ")
            assert alias.startswith("[models.a] aliases.stable: version 2 of model 'a' cannot go by the name 'stable':")
            assert match.startswith("[models.b] challengers: version 2 of model 'b' cannot have all requests with user")
            assert "[policy.critical] approvals = 2" in match
        assert (house.entries, house.records) == was
        outcomes = dict(told(await lifecycle.apply(fine, AMY)))
        assert outcomes["promote 2"].startswith("waits for approval")
        assert outcomes["alias 2"].startswith("waits until version 2 is champion")
        assert outcomes["alias 1"] == outcomes["challenge 2"] == "done"
        assert lifecycle.table.routes["b"].split.shares == {"2": 50.0}

    run(test())


def test_a_file_may_leave_what_is_more_than_may_be_had_now(house: House) -> None:
    """As before a model became more important: less is fine, and so is what stays."""
    text = "[models.a]\nchallengers = {{ 2 = {{ share = {} }}, 3 = {{ share = 30 }} }}"

    async def test() -> None:
        lifecycle = await tried(house, 2, 3)
        await lifecycle.apply(text.format(60), OLI)
        await lifecycle.set_importance("a", "high", ADA)
        assert (await lifecycle.diff(text.format(60))).steps == ()
        assert told(await lifecycle.apply(text.format(40), OLI)) == [("split a", "done")]
        assert "would have 80 % of its requests" in (await lifecycle.diff(text.format(50))).conflicts[0]

    run(test())
