"""What differs between a file and what is: the steps in their order, and why there can be none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.core.declared import Declared, declared
from router.core.difference import Action, Step, difference
from router.core.split import Match
from router.core.standing import EVERYTHING, Going, Kind, Present, Standing
from router.core.version import SERVING, Stage

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
    rollout, request = Going(Kind.ROLLOUT, 7, "3"), Going(Kind.REQUEST, 8, "3")
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
        ("champion = 2", Kind.ROLLOUT, "4", "champion = 2: a canary of version 4 is under way; `router canary a --st"),
        ("champion = 3", Kind.ROLLOUT, "4", "`router canary a --stop` undoes it"),
        ("challengers = { 4 = { share = 50 } }", Kind.ROLLOUT, "4", "challengers.4: a canary of this version is under"),
        ("challengers = {}", Kind.ROLLOUT, "4", "version 4 is not among them, and a canary of it is under way"),
        ("champion = 3", Kind.TRIAL, "4", "a trial of version 4 is under way; `router trial a --stop` ends it"),
        ("champion = 4", Kind.TRIAL, "4", "champion = 4: a trial of version 4 is under way"),
        ("challengers = {}", Kind.TRIAL, "4", "version 4 is not among them, and a trial of it is under way"),
        ("champion = 3", Kind.REQUEST, "4", "version 4 waits for approval; `router reject 7` ends that"),
        ("champion = 2", Kind.REQUEST, "4", "champion = 2: version 4 waits for approval"),
    ],
)
def test_what_fights_with_what_is_under_way(text: str, kind: Kind, number: str, line: str) -> None:
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
    now = present(going=(Going(Kind.TRIAL, 7, "4", paired),))
    assert line in conflict(f"[models.a]\nchallengers = {{ 4 = {{ {challenger} }} }}", now)


def test_what_does_not_fight() -> None:
    """A share of a challenger in a trial may move, and what a file does not name goes on."""
    now = present(going=(Going(Kind.TRIAL, 7, "4"),))
    assert len(steps("[models.a]\nchallengers = { 4 = { share = 20, shadow = true } }", now)) == 1
    assert steps("[models.a]\nchampion = 2", now) == []
    assert len(steps("[models.a]\naliases = {}", present(going=(Going(Kind.ROLLOUT, 7, "4"),)))) == 1


def test_all_conflicts_are_told_at_once() -> None:
    """Of all models, so that a file is mended in one go; a model that is well is not touched."""
    now = Present({"a": MODEL, "b": MODEL, "c": MODEL})
    text = "[models.a]\nchampion = 5\naliases = { x = 9 }\n[models.b]\nchampion = 6\n[models.c]\nchampion = 3"
    found = difference(declared(text), now)
    assert [line[:12] for line in found.conflicts] == ["[models.a] a", "[models.a] c", "[models.b] c"]
    assert found.steps == ()


# ---- any file against any state ----

NUMBERS = ("1", "2", "3", "4", "5")
QUIET = st.sampled_from([Stage.READY, Stage.READY, Stage.CHALLENGER, Stage.CHALLENGER, Stage.FOUND, Stage.STANDBY])
SHARES = st.sampled_from([0.0, 0.0, 5.0, 33.33335, 50.0])
MATCHES = st.tuples(st.sampled_from(["x-cohort", "x-region"]), st.sampled_from(["beta", "eu"]))


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """A model that there can be."""
    stages: dict[str, Stage] = {"1": draw(st.sampled_from([Stage.CHAMPION, Stage.CHAMPION, Stage.READY]))}
    for number in NUMBERS[1:]:
        stage = draw(QUIET)
        stages[number] = stage if stage is not Stage.STANDBY or stage not in stages.values() else Stage.READY
    challengers = [number for number, stage in stages.items() if stage is Stage.CHALLENGER]
    if stages["1"] is not Stage.CHAMPION:
        challengers = []
        stages = {n: Stage.READY if each is Stage.CHALLENGER else each for n, each in stages.items()}
    shares = {number: share for number in challengers if (share := min(draw(SHARES), 25.0))}
    matches = [Match(*draw(MATCHES), number) for number in challengers if draw(st.booleans())]
    shadows = frozenset(number for number in challengers if draw(st.booleans()))
    going = []
    if challengers and draw(st.booleans()):
        going.append(_going(draw, challengers, shares, matches, shadows))
    if draw(st.integers(0, 3)) == 0:
        going.append(Going(Kind.REQUEST, 2, draw(st.sampled_from(NUMBERS[1:]))))
    aliases = draw(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(NUMBERS)))
    level = draw(st.sampled_from(["", "low", "high"]))
    switched, can = draw(st.booleans()), draw(st.booleans())
    return Standing(stages, aliases, switched, can, shares, tuple(matches), shadows, level, 10.0, tuple(going))


def _going(
    draw: st.DrawFn, challengers: list[str], shares: dict[str, float], matches: list[Match], shadows: frozenset[str]
) -> Going:
    """A trial or a canary that there can be."""
    number = draw(st.sampled_from(challengers))
    if draw(st.booleans()):
        return Going(Kind.ROLLOUT, 1, number)
    drawn = number in shares and number not in {each.number for each in matches}
    return (
        Going(Kind.TRIAL, 1, number, number in shadows)
        if drawn or number in shadows
        else Going(Kind.ROLLOUT, 1, number)
    )


def files() -> st.SearchStrategy[Declared]:
    """Any file about the models a and b."""
    number = st.integers(1, 5)
    challenger = st.fixed_dictionaries(
        {},
        optional={
            "share": SHARES,
            "shadow": st.booleans(),
            "match": st.dictionaries(st.sampled_from(["x-cohort", "x-region"]), st.sampled_from(["beta", "eu"])),
        },
    ).map(lambda each: each if any(each.values()) else {"shadow": True})
    model = st.fixed_dictionaries(
        {},
        optional={
            "champion": number,
            "strategy": st.sampled_from(["swap", "canary"]),
            "importance": st.sampled_from(["low", "critical"]),
            "frozen": st.booleans(),
            "fallback": st.booleans(),
            "aliases": st.dictionaries(st.sampled_from(["x", "z"]), number),
            "challengers": st.dictionaries(st.sampled_from(NUMBERS), challenger, max_size=2),
        },
    )
    models = st.dictionaries(st.sampled_from(["a", "b"]), model, min_size=1)
    return st.builds(lambda frozen, each: Declared.model_validate({"frozen": frozen, "models": each}), FROZEN, models)


FROZEN = st.sampled_from([None, True, False])
KINDS = st.sampled_from([None, Kind.ROLLOUT, Kind.REQUEST])


class World:
    """What steps act upon: refuses whatever a server would."""

    def __init__(self, now: Present) -> None:
        self.models = dict(now.models)
        self.frozen = set(now.frozen)

    @property
    def present(self) -> Present:
        """How it stands."""
        return Present(dict(self.models), frozenset(self.frozen))

    def do(self, step: Step, becomes: Kind | None) -> bool:
        """Take a step; whether a promotion is done: it may become a canary or a request instead."""
        if step.action in {Action.FREEZE, Action.THAW}:
            assert step.action is Action.FREEZE or step.model == EVERYTHING or EVERYTHING not in self.frozen
            (self.frozen.add if step.action is Action.FREEZE else self.frozen.discard)(step.model)
            return True
        now = self.models[step.model]
        if step.action is Action.PROMOTE:
            return self._promote(step, now, becomes)
        changed: dict[str, Any] = {}
        match step.action:
            case Action.IMPORTANCE:
                changed = {"importance": step.name}
            case Action.FALLBACK:
                assert now.can_switch or not step.on
                changed = {"switched": step.on}
            case Action.WITHDRAW:
                assert now.stages[step.number] is Stage.CHALLENGER
                assert step.number not in {each.number for each in now.going if each.kind is not Kind.REQUEST}
                changed = _without(now, step.number) | {"stages": {**now.stages, step.number: Stage.READY}}
            case Action.CHALLENGE:
                assert now.champion is not None
                assert now.stages[step.number] in {Stage.READY, Stage.CHALLENGER}
                assert now.under_way(Kind.ROLLOUT) is None
                share = step.shares[step.number]
                assert share or step.on or step.matches, "it is to challenge with nothing"
                shares = {**now.shares, step.number: share}
                matches = (*(each for each in now.matches if each.number != step.number), *step.matches)
                shadows = now.shadows | {step.number} if step.on else now.shadows - {step.number}
                stages = {**now.stages, step.number: Stage.CHALLENGER}
                self._divide(step.model, replace(now, stages=stages, shadows=shadows), shares, matches)
                return True
            case Action.SPLIT:
                assert now.under_way(Kind.ROLLOUT) is None
                self._divide(step.model, now, step.shares, step.matches)
                return True
            case _:
                aliases = {name: at for name, at in now.aliases.items() if name != step.name}
                changed = {"aliases": {**aliases, step.name: step.number} if step.number else aliases}
        self.models[step.model] = replace(now, **changed)
        return True

    def _divide(self, model: str, now: Standing, shares: Mapping[str, float], matches: tuple[Match, ...]) -> None:
        named = {*shares, *(each.number for each in matches)}
        assert all(now.stages[number] is Stage.CHALLENGER for number in named)
        assert sum(shares.values()) <= 100.0002, "one place more than there are, which is put right"
        after = {number: share for number, share in shares.items() if share}
        if self.frozen & {model, EVERYTHING}:
            assert all(share <= now.shares.get(number, 0.0) for number, share in after.items())
            assert set(matches) <= set(now.matches)
        trial = now.under_way(Kind.TRIAL)
        if trial is not None and trial.paired:
            assert trial.number in now.shadows
        elif trial is not None:
            assert after[trial.number]
            assert trial.number not in {each.number for each in matches}
        self.models[model] = replace(now, shares=after, matches=matches)

    def _promote(self, step: Step, now: Standing, becomes: Kind | None) -> bool:
        assert not self.frozen & {step.model, EVERYTHING}
        assert now.stages[step.number] in SERVING - {Stage.CHAMPION}
        assert step.expected == (now.champion or "")
        assert now.under_way(Kind.TRIAL) is None
        if becomes is Kind.ROLLOUT and not step.on:
            becomes = None
        if step.on and becomes is None:
            becomes = Kind.ROLLOUT
        if becomes is Kind.ROLLOUT:
            mine, others = now.shares.get(step.number, 0.0), {**now.shares, step.number: 0.0}
            assert sum(others.values()) + max(mine, now.canary) <= 100 or not any(others.values())
            assert now.stages[step.number] in {Stage.READY, Stage.CHALLENGER}
            stages = {**now.stages, step.number: Stage.CHALLENGER}
            now = replace(now, stages=stages, shares={**others, step.number: max(5.0, mine)})
        if becomes is None:
            self.models[step.model] = crowned(now, step.number)
            return True
        self.models[step.model] = replace(now, going=(*now.going, Going(becomes, 9, step.number)))
        return False


def crowned(now: Standing, number: str) -> Standing:
    """After the flip."""
    falls = {Stage.CHAMPION: Stage.STANDBY, Stage.STANDBY: Stage.DRAINING}
    stages = {each: falls.get(stage, stage) for each, stage in now.stages.items()} | {number: Stage.CHAMPION}
    return replace(now, stages=stages, **_without(now, number), going=())


def _without(now: Standing, number: str) -> dict[str, Any]:
    return {
        "shares": {each: share for each, share in now.shares.items() if each != number},
        "matches": tuple(each for each in now.matches if each.number != number),
        "shadows": now.shadows - {number},
    }


def taken(world: World, file: Declared, becomes: Kind | None) -> None:
    """Take all steps of a file, as `router apply` does."""
    late: set[str] = set()
    for step in difference(file, world.present).open:
        if step.waits and late & ({step.model} if step.model else late):
            continue
        if not world.do(step, becomes):
            late.add(step.model)


@settings(max_examples=200, deadline=None)
@given(files(), standings(), standings(), st.sampled_from([(), ("a",), ("",), ("a", "")]), KINDS)
def test_what_was_applied_differs_no_more(
    file: Declared, first: Standing, second: Standing, frozen: tuple[str, ...], becomes: Kind | None
) -> None:
    """Whatever the file and the state: each step is allowed when its turn comes, and then nothing is left to do, also
    while a canary or an approval is in between; once that is over, the rest is done the same way."""
    world = World(Present({"a": first, "b": second}, frozenset(frozen)))
    assume(not difference(file, world.present).conflicts)
    taken(world, file, becomes)
    again = difference(file, world.present)
    assert (again.open, again.conflicts) == ((), ())
    for name, now in world.models.items():
        coming = file.models[name].champion if name in file.models else None
        if coming is not None and coming != now.champion:
            assert not world.frozen & {name, EVERYTHING} - set(frozen), "it could not become champion"
            before = {"a": first, "b": second}[name].aliases
            assert all(at != coming or before.get(alias) == at for alias, at in now.aliases.items())
            world.models[name] = crowned(now, coming)
    assume(not difference(file, world.present).conflicts)  # another may have frozen meanwhile
    taken(world, file, None)
    assert difference(file, world.present).steps == ()
    for name, wanted in file.models.items():
        _is_so(wanted, world.models[name], frozen=name in world.frozen)
    assert file.frozen is None or file.frozen == (EVERYTHING in world.frozen)


def _is_so(wanted: Any, now: Standing, *, frozen: bool) -> None:
    assert wanted.champion in {None, now.champion}
    assert wanted.importance in {None, now.importance}
    assert wanted.frozen in {None, frozen}
    assert wanted.fallback in {None, now.switched}
    assert wanted.aliases in (None, now.aliases)
    if wanted.challengers is not None:
        assert now.matches == wanted.matches
        assert {n for n, stage in now.stages.items() if stage is Stage.CHALLENGER} == set(wanted.challengers)
        for number, each in wanted.challengers.items():
            assert now.shares.get(number, 0.0) == pytest.approx(each.share, abs=2e-4)
            assert (number in now.shadows) is each.shadow
