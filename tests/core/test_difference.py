"""What differs between a file and what is: the steps in their order, and why there can be none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from router.core.declared import declared
from router.core.difference import Action, difference
from router.core.split import Match
from router.core.standing import EVERYTHING, CaseKind, Going, Present, Standing
from router.core.version import Stage

STAGES = {
    "1": Stage.STANDBY,
    "2": Stage.CHAMPION,
    "3": Stage.READY,
    "4": Stage.CHALLENGER,
    "5": Stage.FOUND,
    "6": Stage.FAILED,
    "7": Stage.TESTING,
    "8": Stage.DRAINING,
}
MODEL = Standing(STAGES, {"stable": "2"}, can_switch=True, shares={"4": 10.0}, shadows=frozenset({"4"}))


def present(*frozen: str, **changed: Any) -> Present:
    """One model `a`."""
    return Present({"a": replace(MODEL, **changed)}, frozenset(frozen))


def steps(text: str, now: Present) -> list[str]:
    """What is to be done, a line each."""
    found = difference(declared(text), now)
    assert found.conflicts == ()
    return [f"{each.action}: {each.text}" + (f" ({each.outcome})" if each.outcome else "") for each in found.steps]


def conflict(text: str, now: Present) -> str:
    """The one reason why nothing is done."""
    found = difference(declared(text), now)
    assert found.steps == ()
    (line,) = found.conflicts
    return line


# ---- steps ----


def test_what_a_file_does_not_name_is_left_alone() -> None:
    """Nothing is done for a file that says nothing, or what is so already."""
    assert steps("", present("a")) == []
    assert steps("[models.a]", present("a")) == []
    same = """
    [models.a]
    champion = 2
    aliases = { stable = 2 }
    fallback = false
    frozen = true
    challengers = { 4 = { share = 10, shadow = true } }
    """
    assert steps(same, present("a")) == []


def test_all_steps_in_their_order() -> None:
    """Thawed first and frozen last; challengers go before the champion changes, and come after it; one split."""
    text = """
    frozen = false
    [models.a]
    champion = 3
    importance = "high"
    frozen = true
    fallback = true
    aliases = { new = 3 }
    challengers = {}
    """
    assert steps(text, present(EVERYTHING)) == [
        "thaw: promotions of all models go on",
        "importance: the importance of model 'a' is high",
        "fallback: the fallback of model 'a' answers, nothing is run",
        "withdraw: version 4 of model 'a' challenges no more",
        "promote: version 3 of model 'a' becomes champion by swap, version 2 stands by",
        "alias: 'new' is version 3 of model 'a'",
        "alias: 'stable' stands for nothing any more at model 'a'",
        "freeze: no promotions of model 'a'",
    ]
    text = """
    frozen = true
    [models.a]
    frozen = false
    champion = 4
    challengers = { 3 = { share = 60, match = { x-cohort = ["b", "c"] } } }
    fallback = false
    """
    assert steps(text, present("a", switched=True)) == [
        "thaw: promotions of model 'a' go on",
        "promote: version 4 of model 'a' becomes champion by swap, version 2 stands by",
        "challenge: version 3 of model 'a' challenges: 60 % of the requests, those with x-cohort = \"b\", those with"
        ' x-cohort = "c"',
        "fallback: model 'a' answers itself again",
        "freeze: no promotions of any model",
    ]


def test_a_promotion_names_the_champion_that_the_file_knew() -> None:
    """Whoever was first wins: the step is for the champion of now."""
    (step,) = difference(declared("[models.a]\nchampion = 3"), present()).steps
    assert (step.number, step.expected, step.on) == ("3", "2", False)
    (step,) = difference(declared("[models.a]\nchampion = 3"), Present({"a": Standing({"3": Stage.READY})})).steps
    assert (step.expected, step.text) == ("", "version 3 of model 'a' becomes champion by swap")


def test_a_shadow_comes_and_goes_without_its_share() -> None:
    """The challenge has what the challenger has already; no split is needed."""
    text = "[models.a]\nchallengers = { 4 = { share = 10 } }"
    (step,) = difference(declared(text), present()).steps
    assert (step.action, step.number, step.on, step.shares) == (Action.CHALLENGE, "4", False, {"4": 10.0})
    assert step.text == "version 4 of model 'a' challenges: 10 % of the requests"


def test_a_newcomer_begins_with_the_least_where_other_shares_move_too() -> None:
    """All of them move in one split then, so that no key moves twice; else it comes with all that it is to have."""
    text = "[models.a]\nchallengers = { 3 = { share = 60 }, 4 = { share = 40, shadow = true } }"
    challenge, split = difference(declared(text), present(shares={"4": 100.0})).steps
    assert (challenge.shares, split.shares) == ({"3": 0.0001}, {"3": 60.0, "4": 40.0})
    (challenge,) = difference(declared(text), present(shares={"4": 40.0})).steps
    assert challenge.shares == {"3": 60.0}
    text = "[models.a]\nchallengers = { 3 = { match = { x = 'b' } }, 4 = { share = 40, shadow = true } }"
    challenge, split = difference(declared(text), present()).steps
    assert (challenge.shares, challenge.matches) == ({"3": 0.0}, (Match("x", "b", "3"),)), "without it has nothing"
    assert (split.shares, split.matches) == ({"4": 40.0}, challenge.matches)


def test_a_canary_comes_last_of_its_model_and_keeps_its_share() -> None:
    """It needs the places that others give up; what it has as a challenger is its own."""
    now = present(stages=STAGES | {"3": Stage.CHALLENGER}, shares={"3": 20.0, "4": 10.0})
    text = '[models.a]\nchampion = 3\nstrategy = "canary"\nchallengers = { 4 = { shadow = true } }\nfrozen = true'
    assert steps(text, now) == [
        "split: model 'a' is divided: the champion has all requests",
        "promote: version 3 of model 'a' becomes champion by canary, version 2 stands by",
        "freeze: no promotions of model 'a'",
    ]
    split, promote, freeze = difference(declared(text), now).steps
    assert split.shares == {"3": 20.0}
    assert (promote.on, freeze.waits) == (True, True)


def test_what_is_on_its_way_is_no_step() -> None:
    """A canary or a request that the file asked for is told; what makes sense only with the new champion waits."""
    rollout, request = Going(CaseKind.ROLLOUT, 7, "3"), Going(CaseKind.REQUEST, 8, "3")
    text = "frozen = true\n[models.a]\nchampion = 3\nfrozen = true\naliases = { stable = 3 }"
    wait = " (waits until version 3 is champion: apply the file again then)"
    for going, told in (
        (rollout, "on its way: `router canary a` shows it"),
        (request, "waits for approval: `router approve 8`"),
    ):
        now = present(going=(going,))
        assert steps(text, now) == [
            f"promote: version 3 of model 'a' becomes champion, version 2 stands by ({told})",
            "alias: 'stable' is version 3 of model 'a'" + wait,
            "freeze: no promotions of model 'a'" + wait,
            "freeze: no promotions of any model" + wait,
        ]
        assert difference(declared(text), now).open == ()
    shares = "[models.a]\nchampion = 3\nchallengers = { 4 = { share = 20, shadow = true } }"
    split = "split: model 'a' is divided: version 4 20 % of the requests; the champion has what is left"
    assert steps(shares, present(going=(rollout,)))[1:] == [split + wait], "the shares are the canary's"
    assert steps(shares, present(going=(request,)))[1:] == [split]


# ---- conflicts ----


@pytest.mark.parametrize(
    ("text", "now", "line"),
    [
        ("[models.b]", present(), "[models.b]: there is no such model; there are a"),
        ("[models.b]", Present({}), "[models.b]: there is no such model; there are none"),
        (
            "[models.a]\nchampion = 9",
            present(),
            "[models.a] champion: model 'a' has no version 9; it has 8, 7, 6, 5, 4, 3, 2, 1",
        ),
        ("[models.a]\naliases = { x = 9 }", present(), "[models.a] aliases.x: model 'a' has no version 9"),
        (
            "[models.a]\nchallengers = { 9 = { shadow = true } }",
            present(),
            "challengers: model 'a' has no version 9",
        ),
        (
            "[models.a]\nchampion = 5",
            present(),
            "[models.a] champion = 5: version 5 of model 'a' has not passed its gates; `router test a 5` first",
        ),
        ("[models.a]\nchampion = 6", present(), "version 6 of model 'a' has failed; `router test a 6` first"),
        ("[models.a]\nchampion = 7", present(), "version 7 of model 'a' is testing; wait for its verdict"),
        ("[models.a]\nchampion = 8", present(), "version 8 of model 'a' is draining; try again in a moment"),
        ("[models.a]\nchampion = 3", present("a"), "champion = 3: model 'a' is frozen; have the file say frozen = fal"),
        ("[models.a]\nchampion = 3", present(EVERYTHING), "model 'a' is frozen, as all models are; have the"),
        ("[models.a]\nfrozen = false", present("a", EVERYTHING), "frozen = false: all models are frozen"),
        ("[models.a]\nfallback = true", present(can_switch=False), "set fallback.chain in its model.toml"),
        (
            "[models.a]\nchallengers = { 2 = { share = 1 } }",
            present(),
            "challengers.2: this version is the champion; leave one of both out",
        ),
        (
            "[models.a]\nchampion = 3\nchallengers = { 3 = { share = 1 } }",
            present(),
            "challengers.3: this version is the champion",
        ),
        (
            "[models.a]\nchampion = 3\nchallengers = { 2 = { share = 1 } }",
            present(),
            "challengers.2: this version is to stand by for a rollback and cannot be a challenger",
        ),
        (
            "[models.a]\nchallengers = { 1 = { share = 1 } }",
            present(),
            "`router unload a 1` and `router test a 1` make",
        ),
        (
            "[models.a]\nchallengers = { 5 = { shadow = true } }",
            present(),
            "challengers.5: version 5 of model 'a' has not passed its",
        ),
        (
            "[models.a]\nchallengers = { 3 = { share = 60 }, 4 = { share = 41 } }",
            present(),
            "challengers: the shares are 101 % together (version 3 60 %, version 4 41 %)",
        ),
        (
            "[models.a]\nchallengers = { 3 = { match = { x = 'b' } }, 4 = { match = { x = ['a', 'b'] } } }",
            present(),
            'challengers.4: x = "b" is what version 3 matches; leave one of both out',
        ),
        (
            "[models.a]\nchallengers = { 3 = { share = 1 } }",
            present(stages={"3": Stage.READY}),
            "challengers: model 'a' has no champion; have the file name one",
        ),
        (
            "[models.a]\nchampion = 3\nstrategy = 'canary'",
            present(canary=92.0),
            "challengers: they have 10 % of the requests, and a canary of version 3 needs 92 % to begin; give",
        ),
        (
            "[models.a]\nchallengers = { 4 = { share = 11, shadow = true } }",
            present("a"),
            "challengers.4: model 'a' is frozen, and no share of it may rise; have the file say frozen = false for it",
        ),
        (
            "[models.a]\nchampion = 1\nstrategy = 'canary'",
            present(shares={}),
            'strategy = "canary": version 1 stands by, and comes back at once; say strategy = "swap"',
        ),
        (
            "[models.a]\nchampion = 3\nstrategy = 'canary'",
            present(stages={"3": Stage.READY}, shares={}),
            "strategy = \"canary\": model 'a' has no champion to compare with",
        ),
    ],
)
def test_what_cannot_be(text: str, now: Present, line: str) -> None:
    """Told in one line with its place in the file and the mend."""
    assert line in conflict(text, now)


@pytest.mark.parametrize(
    ("text", "kind", "number", "line"),
    [
        (
            "champion = 2",
            CaseKind.ROLLOUT,
            "4",
            "champion = 2: a canary of version 4 is under way; `router canary a --st",
        ),
        ("champion = 3", CaseKind.ROLLOUT, "4", "`router canary a --stop` undoes it"),
        (
            "challengers = { 4 = { share = 50 } }",
            CaseKind.ROLLOUT,
            "4",
            "challengers.4: a canary of this version is under",
        ),
        ("challengers = {}", CaseKind.ROLLOUT, "4", "version 4 is not among them, and a canary of it is under way"),
        ("champion = 3", CaseKind.TRIAL, "4", "a trial of version 4 is under way; `router trial a --stop` ends it"),
        ("champion = 4", CaseKind.TRIAL, "4", "champion = 4: a trial of version 4 is under way"),
        ("challengers = {}", CaseKind.TRIAL, "4", "version 4 is not among them, and a trial of it is under way"),
        ("champion = 3", CaseKind.REQUEST, "4", "version 4 waits for approval; `router reject 7` ends that"),
        ("champion = 2", CaseKind.REQUEST, "4", "champion = 2: version 4 waits for approval"),
    ],
)
def test_what_fights_with_what_is_under_way(text: str, kind: CaseKind, number: str, line: str) -> None:
    """The whole file is refused, with the command that ends it."""
    now = present(going=(Going(kind, 7, number),))
    assert line in conflict(f"[models.a]\n{text}\naliases = {{}}", now)


@pytest.mark.parametrize(
    ("challenger", "paired", "line"),
    [
        ("share = 10", True, "challengers.4: the trial of it that is under way compares what it says as a shadow;"),
        ("shadow = true", False, "compares callers who are drawn by its share, and no others; `router trial a --stop`"),
        ("share = 10, match = { x = 'b' }", False, "compares callers who are drawn by its share, and no others"),
    ],
)
def test_a_trial_goes_on_as_it_began(challenger: str, paired: bool, line: str) -> None:
    """What it compares keeps coming."""
    now = present(going=(Going(CaseKind.TRIAL, 7, "4", paired),))
    assert line in conflict(f"[models.a]\nchallengers = {{ 4 = {{ {challenger} }} }}", now)


def test_what_does_not_fight() -> None:
    """A share of a challenger in a trial may move, and what a file does not name goes on."""
    now = present(going=(Going(CaseKind.TRIAL, 7, "4"),))
    assert len(steps("[models.a]\nchallengers = { 4 = { share = 20, shadow = true } }", now)) == 1
    assert steps("[models.a]\nchampion = 2", now) == []
    assert len(steps("[models.a]\naliases = {}", present(going=(Going(CaseKind.ROLLOUT, 7, "4"),)))) == 1


def test_all_conflicts_are_told_at_once() -> None:
    """Of all models, so that a file is mended in one go; a model that is well is not touched."""
    now = Present({"a": MODEL, "b": MODEL, "c": MODEL})
    text = "[models.a]\nchampion = 5\naliases = { x = 9 }\n[models.b]\nchampion = 6\n[models.c]\nchampion = 3"
    found = difference(declared(text), now)
    assert [line[:12] for line in found.conflicts] == ["[models.a] a", "[models.a] c", "[models.b] c"]
    assert found.steps == ()


def test_nobody_is_told_of_more_than_can_be_read() -> None:
    """A file of thousands of mistakes has a hundred of them told, and how many more there are."""
    aliases = ", ".join(f"a{n} = 9" for n in range(5000))
    found = difference(declared(f"[models.a]\naliases = {{ {aliases} }}"), present())
    assert (len(found.conflicts), found.conflicts[-1]) == (101, "and 4900 more")
    unknown = "\n".join(f"[models.m{n}]" for n in range(5000))
    assert difference(declared(unknown), present()).conflicts[-1] == "and 4900 more"
