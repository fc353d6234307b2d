"""What a version may have before others have agreed to it: no share, match, alias, rollback or start is a promotion."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from router.control.lifecycle import Lifecycle
from router.control.records import Case, Order
from router.core.access import Role
from router.core.split import Match
from router.errors import Denied, NotFound, Refused, RouterError
from tests.control.lifecycle_fakes import ADA, House, champions, record, run, stages, started

OLI, BOB = Order("oli", "to see", Role.OPERATOR), Order("bob", "I have looked", Role.APPROVER)
EVE = Order("eve", "to see as well", Role.OPERATOR)
AGENT = Match("user-agent", "grpc", "2")
HIGH = {"importance": {"a": "high"}}
LINE = (
    "it has never been the champion, and others must agree to that ([policy.high] approvals = 1, which holds where"
    " router.toml has no other): `router promote a 2`"
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Models a and b, version 1 of each."""
    return House(tmp_path, "a", "b")


async def ready(house: House, *numbers: str, **more: Any) -> Lifecycle:
    """A server whose versions `numbers` of both models are ready beside their champions; a is of high importance."""
    lifecycle, _ = await started(house, **(HIGH | more))
    for model in ("a", "b"):
        for number in numbers:
            house.put(model, int(number))
            await lifecycle.test(model, number, ADA)
    return lifecycle


async def agreed(lifecycle: Lifecycle, number: str, **more: Any) -> None:
    """Promoted, as others have agreed."""
    case = await lifecycle.promote("a", number, OLI, **more)
    assert isinstance(case, Case)
    assert (await lifecycle.approve(case.id, BOB)).state == "approved"


async def untouched(work: Any, house: House, error: type[RouterError], line: str) -> None:
    """An order is refused with this line, and nothing has changed."""
    was = (dict(house.records), list(house.entries), house.stored)
    with pytest.raises(error) as refused:
        await work
    assert line in str(refused.value)
    assert str(refused.value).isprintable()
    assert (dict(house.records), list(house.entries), house.stored) == was


# ---- shares and matches ----


def test_metadata_that_all_callers_have_are_no_way_around_approvals(house: House) -> None:
    """A match of what others have not agreed to is refused with the rule, whether it comes with a challenge or with a
    split; where nobody need agree it is had."""

    async def test() -> None:
        lifecycle = await ready(house, "2")
        line = f"version 2 of model 'a' cannot have all requests with user-agent = grpc: {LINE}"
        await untouched(lifecycle.challenge("a", "2", OLI, matches=[AGENT]), house, Refused, line)
        await untouched(lifecycle.challenge("a", "2", OLI, 5.0, True, [AGENT]), house, Refused, line)
        await lifecycle.challenge("a", "2", OLI, 5.0)
        await untouched(lifecycle.split("a", {"2": 5.0}, [AGENT], OLI), house, Refused, line)
        await lifecycle.challenge("b", "2", OLI, matches=[AGENT])
        assert lifecycle.table.routes["b"].split.matches == (AGENT,)

    run(test())


def test_who_has_been_champion_may_have_callers_by_their_metadata(house: House) -> None:
    """Others have agreed to it once."""

    async def test() -> None:
        lifecycle = await ready(house, "2", "3")
        await agreed(lifecycle, "2")
        await agreed(lifecycle, "3")
        await lifecycle._changes.drained("a")
        await lifecycle.unload("a", "2", OLI)
        await lifecycle._changes.drained("a")
        await lifecycle.test("a", "2", OLI)
        await lifecycle.challenge("a", "2", OLI, matches=[AGENT])
        assert lifecycle.table.routes["a"].split.matches == (AGENT,)

    run(test())


def test_what_was_so_before_a_model_became_important_may_stay(house: House) -> None:
    """Its matches and its shares may go or be less, and not be more."""

    async def test() -> None:
        lifecycle = await ready(house, "2", "3", importance={})
        await lifecycle.challenge("a", "2", OLI, 50.0, matches=[AGENT])
        await lifecycle.challenge("a", "3", OLI, 40.0)
        await lifecycle.set_importance("a", "high", ADA)
        await lifecycle.split("a", {"2": 50.0, "3": 30.0}, None, OLI)
        beyond = "the challengers of model 'a' would have 70 % of its requests: beyond 50 % that is a promotion"
        await untouched(lifecycle.split("a", {"2": 30.0, "3": 40.0}, None, OLI), house, Refused, beyond)
        await lifecycle.challenge("a", "3", OLI, 30.0, shadow=True)
        await lifecycle.challenge("a", "2", OLI, 10.0, matches=[AGENT])
        assert lifecycle.table.routes["a"].split.shares == {"2": 10.0, "3": 30.0}
        await lifecycle.split("a", {"2": 20.0, "3": 30.0}, [], OLI)
        line = "version 2 of model 'a' cannot have all requests with user-agent = grpc"
        await untouched(lifecycle.split("a", {}, [AGENT], OLI), house, Refused, line)

    run(test())


@pytest.mark.parametrize("split", [False, True])
def test_two_who_give_shares_at_once_do_not_go_beyond_what_each_may(house: House, split: bool) -> None:
    """It is what both together would make that counts: the second is refused."""

    async def test() -> None:
        lifecycle = await ready(house, "2", "3")
        for number in ("2", "3"):
            await lifecycle.challenge("a", number, OLI, shadow=True)
        other = lifecycle.split("a", {"2": 40.0, "3": 40.0}, None, EVE) if split else None
        answers = await asyncio.gather(
            lifecycle.challenge("a", "2", OLI, 40.0),
            other or lifecycle.challenge("a", "3", EVE, 40.0),
            return_exceptions=True,
        )
        assert "would have 80 % of its requests" in str(answers[1])
        assert lifecycle.table.routes["a"].split.shares == {"2": 40.0}
        with pytest.raises(NotFound, match="unknown model 'z'"):
            await lifecycle.split("z", {}, None, OLI)

    run(test())


def test_half_of_the_requests_need_nobody(house: House) -> None:
    """Where nobody need agree at all, challengers may have all of them."""

    async def test() -> None:
        lifecycle = await ready(house, "2", "3")
        await lifecycle.challenge("a", "2", OLI, 30.0)
        await lifecycle.challenge("a", "3", OLI, 20.0)
        await lifecycle.challenge("b", "2", OLI, 100.0)
        line = "the challengers of model 'a' would have 50.5 % of its requests: beyond 50 % that is a promotion"
        await untouched(lifecycle.challenge("a", "3", OLI, 20.5), house, Refused, line)

    run(test())


# ---- names ----


def test_an_alias_is_no_way_around_approvals(house: House) -> None:
    """Callers who ask by a name are not moved to what others have not agreed to; a name that goes, or that stands for
    it already, needs nobody."""

    async def test() -> None:
        lifecycle = await ready(house, "2", importance={})
        await lifecycle.set_alias("a", "next", "2", OLI)
        await lifecycle.set_alias("a", "stable", "1", OLI)
        await lifecycle.set_importance("a", "high", ADA)
        line = f"version 2 of model 'a' cannot go by the name 'stable': {LINE}"
        await untouched(lifecycle.set_alias("a", "stable", "2", OLI), house, Refused, line)
        await lifecycle.set_alias("a", "next", "2", OLI)
        await lifecycle.set_alias("a", "next", "", OLI)
        await lifecycle.set_alias("b", "stable", "2", OLI)
        await agreed(lifecycle, "2")
        await lifecycle.set_alias("a", "stable", "2", OLI)
        assert lifecycle.table.routes["a"].aliases == {"stable": "2"}
        await lifecycle.set_alias("a", "stable", "1", OLI)

    run(test())


# ---- starts ----


def test_a_start_brings_nobody_in_to_whom_others_have_not_agreed(house: House) -> None:
    """A model whose champion is gone does not begin with a newer version, though it is asked for by its name: it says
    why, and it is as it was found."""

    async def test() -> None:
        lifecycle = await ready(house, explicit=True)
        await lifecycle.load("a", order=ADA)
        await lifecycle.unload("a", order=OLI)
        await lifecycle._changes.drained("a")
        house.drop("a", 1)
        house.put("a", 3)
        house.reboot()
        again = house.lifecycle("a", explicit=True, **HIGH)
        await again.start()
        assert champions(again)["a"] is None
        assert record(again, "a", "3").reason == LINE.replace("promote a 2", "promote a 3")
        assert house.records["a", "3"].stage == "found"
        version = again.table.routes["a"].versions["3"]
        assert "others must agree to that" in version.reason

    run(test())


def test_a_start_brings_back_who_was_agreed_to(house: House) -> None:
    """An older version that has been champion, where the newest never was."""

    async def test() -> None:
        lifecycle = await ready(house, "2")
        await lifecycle.unload("a", order=OLI)
        await lifecycle._changes.drained("a")
        house.reboot()
        again = house.lifecycle("a", explicit=True, **HIGH)
        await again.start()
        assert champions(again)["a"] == "1"
        assert stages(again, "a")["2"] == "retired"

    run(test())


def test_whoever_may_not_say_how_important_a_model_is(house: House) -> None:
    """Nobody makes it less important to do as they like."""

    async def test() -> None:
        lifecycle = await ready(house, "2")
        await untouched(lifecycle.set_importance("a", "low", OLI), house, Denied, "needs the role admin")

    run(test())
