"""Challengers: shares, shadows and matches, all that is refused, and what stays as it was then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from router.control.challenge import Challenges
from router.control.lifecycle import Lifecycle
from router.control.records import Case, Change
from router.core.split import Match
from router.core.standing import CaseKind
from router.core.table import Route
from router.core.version import Stage
from router.errors import InvalidRequest, NotFound, Refused
from tests.control.lifecycle_fakes import ADA, BOB, FakeWorker, House, promoted, run, stage, started

BETA = Match("x-cohort", "beta", "2")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """A model whose version 1 is the champion."""
    return House(tmp_path, "m")


async def ready(house: House, *numbers: str, toml: str = "") -> tuple[Lifecycle, Challenges, list[FakeWorker]]:
    """A server whose versions `numbers` are ready beside the champion."""
    if toml:
        house.toml("m", toml)
    lifecycle, workers = await started(house)
    for number in numbers:
        house.put("m", int(number))
        await lifecycle.test("m", number, ADA)
    house.entries.clear()
    return lifecycle, Challenges(lifecycle._changes), workers


def route(lifecycle: Lifecycle) -> Route:
    """As it serves."""
    return lifecycle.table.routes["m"]


def opened(house: House, lifecycle: Lifecycle, kind: CaseKind, number: str, **body: Any) -> None:
    """A case is under way."""
    case = Case(lifecycle._changes.registry.next_case(), kind, "m", number, "", "ada", house.now, body=body)
    house.save(Change(cases=(case,)))
    lifecycle._changes.registry.put_cases([case])


# ---- what is done ----


def test_a_challenger_has_a_share_in_all_workers_at_once(house: House) -> None:
    """In one flip, with an entry that has the shares before and after; the champion stays."""

    async def story() -> None:
        lifecycle, challenges, workers = await ready(house, "2")
        before = lifecycle.table.generation
        generation = await challenges.challenge("m", "2", ADA, share=10, matches=[BETA])
        assert generation == before + 1 == lifecycle.table.generation
        assert (route(lifecycle).split.shares, route(lifecycle).split.matches) == ({"2": 10}, (BETA,))
        assert (route(lifecycle).champion, stage(lifecycle, "m", "2")) == ("1", "challenger")
        assert all(worker.prepared[-1] == generation for worker in workers)
        (entry,) = house.entries
        assert (entry.action, entry.actor, entry.number, entry.reason) == ("challenge", "ada", "2", ADA.reason)
        assert entry.before == {"shares": {}, "matches": [], "shadows": []}
        assert entry.after == {"shares": {"2": 10}, "matches": [["x-cohort", "beta", "2"]], "shadows": []}

    run(story())


def test_several_challenge_and_each_is_told(house: House) -> None:
    """A shadow, a share, and both; who watches has a line for each."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        watch = lifecycle.events.watch("m")
        await anext(watch)
        await challenges.challenge("m", "2", ADA, shadow=True)
        await challenges.challenge("m", "3", ADA, share=2.5, shadow=True)
        assert route(lifecycle).shadows == {"2", "3"}
        told = []
        while len(told) < 2:
            event = await anext(watch)
            told += [event.text] if event.kind == "challenge" else []
        assert told == [
            "version 2 challenges version 1: runs copies as a shadow",
            "version 3 challenges version 1: has 2.5 % of the requests, runs copies as a shadow",
        ]

    run(story())


def test_a_challenger_that_is_told_anew_has_just_that(house: House) -> None:
    """What it had before goes; what others have stays."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "3", ADA, share=20)
        await challenges.challenge("m", "2", ADA, share=10, shadow=True, matches=[BETA])
        await challenges.challenge("m", "2", BOB, share=5)
        assert (route(lifecycle).split.shares, route(lifecycle).split.matches) == ({"2": 5, "3": 20}, ())
        assert route(lifecycle).shadows == frozenset()

    run(story())


def test_shares_are_divided_anew(house: House) -> None:
    """Who is not named has none and stays a challenger; matches stay unless there are others."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10, matches=[BETA])
        await challenges.challenge("m", "3", ADA, share=10)
        house.entries.clear()
        await challenges.split("m", {"3": 30}, None, BOB)
        assert (route(lifecycle).split.shares, route(lifecycle).split.matches) == ({"3": 30}, (BETA,))
        assert stage(lifecycle, "m", "2") == "challenger"
        await challenges.split("m", {"2": 1, "3": 30}, [], BOB)
        assert (route(lifecycle).split.shares, route(lifecycle).split.matches) == ({"2": 1, "3": 30}, ())
        assert [(each.action, each.actor) for each in house.entries] == [("split", "bob")] * 2
        assert house.entries[0].before["shares"] == {"2": 10, "3": 10}

    run(story())


def test_a_share_that_grows_moves_no_other_key(house: House) -> None:
    """Who was the challenger's stays so."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10)
        await challenges.challenge("m", "3", ADA, share=10)
        before = route(lifecycle).split
        await challenges.split("m", {"2": 11, "3": 10}, None, ADA)
        after = route(lifecycle).split
        changed = [place for place in range(0, 1_000_000, 500) if before.at(place) != after.at(place)]
        assert len(changed) == 20
        assert all((before.at(place), after.at(place)) == (None, "2") for place in changed)

    run(story())


def test_a_challenger_is_withdrawn(house: House) -> None:
    """It is ready, its callers are the champion's, and others keep what they have."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10, shadow=True, matches=[BETA])
        await challenges.challenge("m", "3", ADA, share=10)
        await challenges.withdraw("m", "2", BOB)
        assert (stage(lifecycle, "m", "2"), stage(lifecycle, "m", "3")) == ("ready", "challenger")
        assert route(lifecycle).split.numbers == {"3"}
        assert not route(lifecycle).shadows
        assert (house.entries[-1].action, house.entries[-1].after["shares"]) == ("withdraw", {"3": 10})

    run(story())


def test_another_promotion_leaves_challengers_as_they_are(house: House) -> None:
    """A challenger that is promoted itself has no share any more."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10)
        await challenges.challenge("m", "3", ADA, share=20, shadow=True)
        await lifecycle.promote("m", "2", ADA)
        assert (route(lifecycle).champion, route(lifecycle).split.shares) == ("2", {"3": 20})
        assert route(lifecycle).shadows == {"3"}

    run(story())


# ---- what is refused ----


@pytest.mark.parametrize(
    ("number", "arguments", "error", "said"),
    [
        ("2", {"share": 101}, InvalidRequest, "a share of 101 % for version 2: it is to lie from 0 to 100"),
        ("2", {"share": -1}, InvalidRequest, "a share of -1 %"),
        ("2", {"share": float("nan")}, InvalidRequest, "a share of nan %"),
        ("2", {"share": 95}, InvalidRequest, "100 % are all there are"),
        ("2", {}, InvalidRequest, "version 2 of model 'm' is to challenge with nothing: give it a share"),
        ("2", {"matches": [Match("X-Cohort", "beta", "2")]}, InvalidRequest, "a match takes a key in lower case"),
        ("2", {"matches": [Match("x-cohort", "", "2")]}, InvalidRequest, "a match takes a key in lower case"),
        ("2", {"matches": [Match("x-cohort", "beta", "3")]}, InvalidRequest, "for version 3"),
        ("1", {"share": 5}, Refused, "version 1 of model 'm' is its champion: another version can challenge it"),
        ("4", {"share": 5}, Refused, "version 4 of model 'm' is found, not ready: `router test m 4` first"),
        ("5", {"share": 5}, Refused, "version 5 of model 'm' has failed (exam: badly): `router test m 5` first"),
        ("6", {"shadow": True}, Refused, "has another signature than the champion, version 1: output 'y' is gone"),
        ("9", {"share": 5}, NotFound, "model 'm' has no version '9'; it has 6, 5, 4, 3, 2, 1"),
    ],
)
def test_what_cannot_challenge_is_refused(
    house: House, number: str, arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """In a line with the mend; nothing has changed."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "3", ADA, share=10)
        house.put("m", 4)
        house.put("m", 5)
        house.put("m", 6)
        house.failing["m/5"] = "badly"
        house.rename("m/6", "z")
        await lifecycle.test("m", "5", ADA)
        await lifecycle.test("m", "6", ADA)
        house.entries.clear()
        before = lifecycle.table
        with pytest.raises(error) as refused:
            await challenges.challenge("m", number, ADA, **arguments)
        assert said in str(refused.value)
        assert str(refused.value).isprintable()
        assert (lifecycle.table, house.entries) == (before, [])

    run(story())


def test_a_standby_does_not_challenge(house: House) -> None:
    """It stands by for a rollback; the line says how it could."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house)
        await promoted(house, lifecycle, "m")
        with pytest.raises(Refused, match=r"stands by for a rollback.*`router unload m 1`, then `router test m 1`"):
            await challenges.challenge("m", "1", ADA, share=5)

    run(story())


@pytest.mark.parametrize("word", [Stage.LOADING, Stage.TESTING, Stage.WARMING, Stage.DRAINING, Stage.RETIRED])
def test_no_other_stage_challenges(house: House, word: Stage) -> None:
    """Whatever it is doing; the line says what to do."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2")
        registry = lifecycle._changes.registry
        registry.records["m", "2"] = replace(registry.record("m", "2"), stage=word)
        with pytest.raises(Refused, match=r"wait for its verdict|try again in a moment|`router test m 2` first"):
            await challenges.challenge("m", "2", ADA, share=5)

    run(story())


def test_a_frozen_model_takes_shadows_and_gives_no_shares(house: House) -> None:
    """Shares may only fall: a split changes who answers, as a promotion does."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10)
        await lifecycle.freeze("m", True, ADA)
        with pytest.raises(Refused, match=r"frozen: version 3 of model 'm' may be a shadow; `router thaw m` allows"):
            await challenges.challenge("m", "3", ADA, share=1)
        with pytest.raises(Refused, match="frozen"):
            await challenges.challenge("m", "3", ADA, matches=[Match("x-cohort", "beta", "3")])
        with pytest.raises(Refused, match="frozen"):
            await challenges.split("m", {"2": 11}, None, ADA)
        await challenges.challenge("m", "3", ADA, shadow=True)
        await challenges.split("m", {"2": 9}, None, ADA)
        await challenges.withdraw("m", "2", ADA)
        assert (route(lifecycle).split.shares, route(lifecycle).shadows) == ({}, {"3"})

    run(story())


def test_a_share_needs_the_warm_up_that_a_promotion_needs(house: House) -> None:
    """A shadow answers nobody and needs none."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", toml='[lifecycle]\npromote_needs = "warm"\n')
        with pytest.raises(Refused, match=r"has not been warmed.*`router warm m 2` first, or let it be a shadow"):
            await challenges.challenge("m", "2", ADA, share=1)
        await challenges.challenge("m", "2", ADA, shadow=True)
        with pytest.raises(Refused, match="has not been warmed"):
            await challenges.split("m", {"2": 1}, None, ADA)
        await challenges.withdraw("m", "2", ADA)
        house.warmth.set()
        await lifecycle.warm("m", "2", ADA)
        await challenges.challenge("m", "2", ADA, share=1)
        assert route(lifecycle).split.shares == {"2": 1}

    run(story())


def test_while_a_canary_is_under_way_shares_are_its_own(house: House) -> None:
    """A shadow may come and go."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=5)
        opened(house, lifecycle, CaseKind.ROLLOUT, "2")
        for change in (
            challenges.challenge("m", "3", ADA, share=1),
            challenges.split("m", {"2": 50}, None, ADA),
            challenges.split("m", {}, None, ADA),
        ):
            with pytest.raises(Refused, match=r"a canary of version 2.*`router canary m --stop` undoes it"):
                await change
        with pytest.raises(Refused, match=r"promoted by canary: `router canary m --stop`"):
            await challenges.withdraw("m", "2", ADA)
        await challenges.challenge("m", "3", ADA, shadow=True)
        await challenges.withdraw("m", "3", ADA)
        assert route(lifecycle).split.shares == {"2": 5}

    run(story())


def test_what_a_trial_compares_is_not_taken_from_it(house: House) -> None:
    """The copies of a shadow, the lot of a share; the share itself may change."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3")
        await challenges.challenge("m", "2", ADA, share=10)
        opened(house, lifecycle, CaseKind.TRIAL, "2", paired=False)
        for change in (
            challenges.split("m", {}, None, ADA),
            challenges.split("m", {"2": 10}, [BETA], ADA),
            challenges.challenge("m", "2", ADA, shadow=True),
            challenges.withdraw("m", "2", ADA),
        ):
            with pytest.raises(Refused, match=r"trial.*`router trial m --stop` ends"):
                await change
        await challenges.split("m", {"2": 20}, None, ADA)
        await challenges.challenge("m", "3", ADA, shadow=True)
        assert (route(lifecycle).split.shares, route(lifecycle).shadows) == ({"2": 20}, {"3"})

    run(story())


def test_a_shadow_on_trial_stays_one(house: House) -> None:
    """It may have a share beside it."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2")
        await challenges.challenge("m", "2", ADA, shadow=True)
        opened(house, lifecycle, CaseKind.TRIAL, "2", paired=True)
        with pytest.raises(Refused, match="compares what it says as a shadow"):
            await challenges.challenge("m", "2", ADA, share=5)
        await challenges.challenge("m", "2", ADA, share=5, shadow=True)
        assert route(lifecycle).split.shares == {"2": 5}

    run(story())


@pytest.mark.parametrize(
    ("shares", "matches", "error", "said"),
    [
        ({"2": 60, "3": 60}, None, InvalidRequest, "the shares are 120 % together"),
        ({"2": -0.5}, None, InvalidRequest, "a share of -0.5 %"),
        ({"4": 5}, None, Refused, "only a challenger has a share: `router challenge m 4 --share PERCENT` makes it one"),
        ({"1": 5}, None, Refused, "version 1 of model 'm' is champion, and only a challenger"),
        ({"9": 5}, None, NotFound, "has no version '9'"),
        ({}, [Match("x-cohort", "beta", "4")], Refused, "version 4 of model 'm' is ready, and only a challenger"),
        ({}, [Match("", "beta", "2")], InvalidRequest, "a match takes a key in lower case"),
    ],
)
def test_a_split_that_cannot_be_is_refused(
    house: House, shares: dict[str, float], matches: Sequence[Match] | None, error: type[Exception], said: str
) -> None:
    """In one line; nothing has changed."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2", "3", "4")
        await challenges.challenge("m", "2", ADA, share=10)
        await challenges.challenge("m", "3", ADA, share=10)
        before = lifecycle.table
        with pytest.raises(error) as refused:
            await challenges.split("m", shares, matches, ADA)
        assert said in str(refused.value)
        assert lifecycle.table is before

    run(story())


def test_who_is_no_challenger_cannot_be_withdrawn(house: House) -> None:
    """Nor who does not exist."""

    async def story() -> None:
        _, challenges, _ = await ready(house, "2")
        with pytest.raises(Refused, match="version 2 of model 'm' is ready and challenges nobody"):
            await challenges.withdraw("m", "2", ADA)
        with pytest.raises(NotFound, match="unknown model 'x'"):
            await challenges.withdraw("x", "2", ADA)

    run(story())


def test_a_store_that_fails_leaves_all_as_it_was(house: House) -> None:
    """The change is refused, and can be made once the store is back."""

    async def story() -> None:
        lifecycle, challenges, _ = await ready(house, "2")
        before = route(lifecycle)
        house.store_error = Refused("the disk is full")
        with pytest.raises(Refused, match="the disk is full"):
            await challenges.challenge("m", "2", ADA, share=5)
        assert (route(lifecycle), stage(lifecycle, "m", "2")) == (before, "ready")
        house.store_error = None
        await challenges.challenge("m", "2", ADA, share=5)
        assert route(lifecycle).split.shares == {"2": 5}

    run(story())
