"""Any file against any state of a server: the steps that are found can be taken, and then nothing differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from router.core.declared import Declared
from router.core.difference import Action, Step, difference
from router.core.split import Match
from router.core.standing import EVERYTHING, CaseKind, Going, Present, Standing
from router.core.version import SERVING, Stage

NUMBERS = ("1", "2", "3", "4", "5")
QUIET = st.sampled_from([Stage.READY] * 3 + [Stage.CHALLENGER] * 4 + [Stage.FOUND, Stage.STANDBY])
SHARES = st.sampled_from([0.0, 5.0, 33.3333, 50.0, 60.0, 95.0])
MATCHES = st.tuples(st.sampled_from(["x-cohort", "x-region"]), st.sampled_from(["beta", "eu"]))


@st.composite
def standings(draw: st.DrawFn) -> Standing:
    """A model that there can be."""
    stages: dict[str, Stage] = {"1": draw(st.sampled_from([Stage.CHAMPION] * 5 + [Stage.READY]))}
    for number in NUMBERS[1:]:
        stage = draw(QUIET)
        stages[number] = stage if stage is not Stage.STANDBY or stage not in stages.values() else Stage.READY
    challengers = [number for number, stage in stages.items() if stage is Stage.CHALLENGER]
    if stages["1"] is not Stage.CHAMPION:
        challengers = []
        stages = {n: Stage.READY if each is Stage.CHALLENGER else each for n, each in stages.items()}
    left = 100.0
    shares = {}
    for number in challengers:
        if share := min(draw(SHARES), left):
            shares[number], left = share, left - share
    matches = [Match(*draw(MATCHES), number) for number in challengers if draw(st.booleans())]
    shadows = frozenset(number for number in challengers if draw(st.booleans()))
    going = []
    if challengers and draw(st.integers(0, 2)) == 0:
        going.append(_going(draw, challengers, shares, matches, shadows))
    if draw(st.integers(0, 4)) == 0:
        going.append(Going(CaseKind.REQUEST, 2, draw(st.sampled_from(NUMBERS[1:]))))
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
        return Going(CaseKind.ROLLOUT, 1, number)
    drawn = number in shares and number not in {each.number for each in matches}
    return (
        Going(CaseKind.TRIAL, 1, number, number in shadows)
        if drawn or number in shadows
        else Going(CaseKind.ROLLOUT, 1, number)
    )


@st.composite
def wishes(draw: st.DrawFn, now: Standing) -> dict[str, Any]:
    """What a file may say of a model: mostly what there can be."""
    likely = [number for number, stage in now.stages.items() if stage in {Stage.READY, Stage.CHALLENGER}]
    wish: dict[str, Any] = {"strategy": draw(st.sampled_from(["swap", "canary"]))}
    going = [each.number for each in now.going if each.kind is not CaseKind.TRIAL]
    if draw(st.integers(0, 2)):
        wish["champion"] = int(draw(st.sampled_from(going or [*likely, *likely, *NUMBERS])))
    champion = str(wish.get("champion", now.champion or 1))
    if draw(st.integers(0, 3)):
        free = [number for number in likely if number != champion] or likely or ["1"]
        chosen = draw(st.lists(st.sampled_from(free), max_size=3, unique=True))
        wish["challengers"] = {number: draw(CHALLENGER) for number in chosen}
    for key, value in (
        ("importance", st.sampled_from(["low", "critical"])),
        ("frozen", st.booleans()),
        ("fallback", st.booleans()),
        ("aliases", st.dictionaries(st.sampled_from(["x", "z"]), st.sampled_from([1, 2, int(champion)]))),
    ):
        if draw(st.integers(0, 2)) == 0:
            wish[key] = draw(value)
    return wish


@st.composite
def meetings(draw: st.DrawFn) -> tuple[Declared, Present]:
    """A file about one or both of two models, and how they stand."""
    now = {"a": draw(standings()), "b": draw(standings())}
    models = {name: draw(wishes(now[name])) for name in draw(st.sampled_from([("a",), ("b",), ("a", "b")]))}
    frozen = draw(st.sampled_from([(), (), (), ("a",), ("",), ("a", "")]))
    file = Declared.model_validate({"frozen": draw(FROZEN), "models": models})
    return file, Present(now, frozenset(frozen))


CHALLENGER = st.fixed_dictionaries(
    {
        "share": SHARES,
        "shadow": st.booleans(),
        "match": st.dictionaries(
            st.sampled_from(["x-cohort", "x-region"]), st.sampled_from(["beta", "eu"]), max_size=1
        ),
    }
).map(lambda each: each if any(each.values()) else {"shadow": True})
FROZEN = st.sampled_from([None, None, True, False, False])
KINDS = st.sampled_from([None, CaseKind.ROLLOUT, CaseKind.REQUEST])


class World:
    """What steps act upon: refuses whatever a server would."""

    def __init__(self, now: Present) -> None:
        self.models = dict(now.models)
        self.frozen = set(now.frozen)

    @property
    def present(self) -> Present:
        """How it stands."""
        return Present(dict(self.models), frozenset(self.frozen))

    def do(self, step: Step, becomes: CaseKind | None) -> bool:
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
                assert step.number not in {each.number for each in now.going if each.kind is not CaseKind.REQUEST}
                changed = _without(now, step.number) | {"stages": {**now.stages, step.number: Stage.READY}}
            case Action.CHALLENGE:
                assert now.champion is not None
                assert now.stages[step.number] in {Stage.READY, Stage.CHALLENGER}
                assert now.under_way(CaseKind.ROLLOUT) is None
                share = step.shares[step.number]
                assert share or step.on or step.matches, "it is to challenge with nothing"
                shares = {**now.shares, step.number: share}
                matches = (*(each for each in now.matches if each.number != step.number), *step.matches)
                shadows = now.shadows | {step.number} if step.on else now.shadows - {step.number}
                stages = {**now.stages, step.number: Stage.CHALLENGER}
                self._divide(step.model, replace(now, stages=stages, shadows=shadows), shares, matches)
                return True
            case Action.SPLIT:
                assert now.under_way(CaseKind.ROLLOUT) is None
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
        trial = now.under_way(CaseKind.TRIAL)
        if trial is not None and trial.paired:
            assert trial.number in now.shadows
        elif trial is not None:
            assert after[trial.number]
            assert trial.number not in {each.number for each in matches}
        self.models[model] = replace(now, shares=after, matches=matches)

    def _promote(self, step: Step, now: Standing, becomes: CaseKind | None) -> bool:
        assert not self.frozen & {step.model, EVERYTHING}
        assert now.stages[step.number] in SERVING - {Stage.CHAMPION}
        assert step.expected == (now.champion or "")
        assert now.under_way(CaseKind.TRIAL) is None
        if becomes is CaseKind.ROLLOUT and not step.on:
            becomes = None
        if step.on and becomes is None:
            becomes = CaseKind.ROLLOUT
        if becomes is CaseKind.ROLLOUT:
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


def taken(world: World, file: Declared, becomes: CaseKind | None) -> None:
    """Take all steps of a file, as `router apply` does."""
    late: set[str] = set()
    for step in difference(file, world.present).open:
        if step.waits and late & ({step.model} if step.model else late):
            continue
        if not world.do(step, becomes):
            late.add(step.model)


@settings(max_examples=120, deadline=None)
@given(meetings(), KINDS)
def test_what_was_applied_differs_no_more(meeting: tuple[Declared, Present], becomes: CaseKind | None) -> None:
    """Whatever the file and the state: each step is allowed when its turn comes, and then nothing is left to do, also
    while a canary or an approval is in between; once that is over, the rest is done the same way."""
    file, before = meeting
    world = World(before)
    assume(not difference(file, world.present).conflicts)
    taken(world, file, becomes)
    again = difference(file, world.present)
    assert (again.open, again.conflicts) == ((), ())
    for name, now in world.models.items():
        coming = file.models[name].champion if name in file.models else None
        if coming is not None and coming != now.champion:
            assert not world.frozen & {name, EVERYTHING} - before.frozen, "it could not become champion"
            named = before.models[name].aliases
            assert all(at != coming or named.get(alias) == at for alias, at in now.aliases.items())
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
