"""What differs between what a file declares and what is: steps in an order that is safe, or why there can be none.

A pure function of both. For each model: promotions are thawed first, then its importance holds, challengers go, the
champion changes, challengers come, all shares move in one split, names move, and what is frozen is frozen last. A step
that makes sense only with the new champion waits for it where a canary or an approval is in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router.core.conflict import conflicts, place
from router.core.contrast import Contrast
from router.core.declared import Declared, short
from router.core.split import PER_CENT, Match
from router.core.standing import EVERYTHING, Present
from router.core.version import Stage

LEAST: Final = 1 / PER_CENT
"""Percent: the smallest share that there is."""
MOST: Final = 100
"""Conflicts that are told; whoever has more begins with these."""


class Action(StrEnum):
    """What a step does."""

    THAW = "thaw"
    IMPORTANCE = "importance"
    FALLBACK = "fallback"
    WITHDRAW = "withdraw"
    PROMOTE = "promote"
    CHALLENGE = "challenge"
    SPLIT = "split"
    ALIAS = "alias"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Step:
    """One act on the way to what is declared. `text` says it to a person; `outcome` is empty while it is to be done.

    `on`: a promotion is by canary, a fallback answers, a challenger is a shadow. `name` is an alias, or a level of
    importance. `number` is empty where an alias goes. `shares` and `matches` are a split's, or what a
    challenger gets. `expected` is the champion before. `waits`: it makes sense only with the new champion.
    """

    action: Action
    model: str
    text: str
    number: str = ""
    on: bool = False
    name: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    matches: tuple[Match, ...] = ()
    expected: str = ""
    waits: bool = False
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """What is to be done, in this order, and with an `outcome` what is on its way; or the `conflicts`, each in one
    line with its mend: nothing is done then."""

    steps: tuple[Step, ...]
    conflicts: tuple[str, ...] = ()

    @property
    def open(self) -> tuple[Step, ...]:
        """What is still to be done."""
        return tuple(each for each in self.steps if not each.outcome)


def waiting(number: str) -> str:
    """The outcome of a step that waits for a version to be champion."""
    return f"waits until version {number} is champion: apply the file again then"


def baking(model: str) -> str:
    """The outcome of a promotion that goes by canary."""
    return f"on its way: `router canary {model}` shows it"


def asked(case: int) -> str:
    """The outcome of a promotion that others must agree to."""
    return f"waits for approval: `router approve {case}`"


def difference(file: Declared, present: Present) -> Difference:
    """What is to be done so that what is, is what the file declares."""
    unknown = [name for name in file.models if name not in present.models]
    if unknown:
        there = ", ".join(short(name) for name in sorted(present.models)[:20]) or "none"
        lines = [f"{place(name)}: there is no such model; there are {there}" for name in unknown[:MOST]]
        return _refused(lines, len(unknown))
    models = [Contrast(name, file, present) for name in file.models]
    against = [line for each in models for line in conflicts(each)]
    if against:
        return _refused(against[:MOST], len(against))
    steps: list[Step] = []
    if file.frozen is False and EVERYTHING in present.frozen:
        steps.append(Step(Action.THAW, EVERYTHING, "promotions of all models go on"))
    for each in models:
        steps += _steps(each)
    if file.frozen and EVERYTHING not in present.frozen:
        coming = [each for each in models if each.coming is not None]
        late = next((waiting(str(each.coming)) for each in coming if each.pending), "")
        text = "no promotions of any model"
        steps.append(Step(Action.FREEZE, EVERYTHING, text, waits=bool(coming), outcome=late))
    return Difference(tuple(steps))


def _refused(conflicts: Sequence[str], count: int) -> Difference:
    """The first of so many conflicts."""
    more = count - len(conflicts)
    return Difference((), (*conflicts, *([f"and {more} more"] if more else [])))


def _steps(of: Contrast) -> Iterator[Step]:
    """In their order."""
    name, file, now = of.name, of.file, of.now
    if file.frozen is False and of.frozen:
        yield Step(Action.THAW, name, f"promotions of {of.model} go on")
    if file.importance not in {None, now.importance}:
        level, before = str(file.importance), f", it was {now.importance}" if now.importance else ""
        text = f"the importance of {of.model} is {level}{before}"
        yield Step(Action.IMPORTANCE, name, text, name=level)
    if file.fallback and not now.switched:
        yield Step(Action.FALLBACK, name, f"the fallback of {of.model} answers, nothing is run", on=True)
    for number in of.leaving:
        yield Step(Action.WITHDRAW, name, f"version {number} of {of.model} challenges no more", number)
    if of.canary:  # it needs the places of those that lose them
        yield from _challenge(of)
    yield from _promote(of)
    if not of.canary:
        yield from _challenge(of)
    yield from _aliases(of)
    if file.fallback is False and now.switched:
        yield Step(Action.FALLBACK, name, f"{of.model} answers itself again")
    if file.frozen and not of.frozen:
        yield _after(of, Step(Action.FREEZE, name, f"no promotions of {of.model}"))


def _after(of: Contrast, step: Step) -> Step:
    """A step that makes sense only with the new champion, if there is to be one."""
    if of.coming is None:
        return step
    return replace(step, waits=True, outcome=waiting(of.coming) if of.pending else "")


def _promote(of: Contrast) -> Iterator[Step]:
    number = of.coming
    if number is None:
        return
    text = f"version {number} of {of.model} becomes champion"
    text += f" by {'canary' if of.canary else 'swap'}" if of.promotes else ""
    text += f", version {of.champion} stands by" if of.champion is not None else ""
    outcome = ""
    if of.rollout is not None and of.pending:
        outcome = baking(of.name)
    elif of.request is not None and of.pending:
        outcome = asked(of.request.id)
    expected = of.champion or ""
    yield Step(Action.PROMOTE, of.name, text, number, of.canary, expected=expected, outcome=outcome)


def _challenge(of: Contrast) -> Iterator[Step]:
    """Who is to challenge, and how the requests are divided then."""
    coming = of.coming or ""
    theirs = coming in of.now.shares or coming in {each.number for each in of.now.matches}
    late = not of.canary and (theirs or of.rollout is not None)
    for step in _divided(of):
        yield _after(of, step) if late or of.champion is None else step


def _divided(of: Contrast) -> Iterator[Step]:
    """Challengers come, then all shares move at once, so that no key moves twice. A candidate keeps what it has.

    Where others' shares move as well, a newcomer begins with the least there is.
    """
    now, wanted, final = of.now, of.wanted, of.shares()
    if wanted is None:
        return
    staying = {number for number in wanted if now.stages[number] is Stage.CHALLENGER}
    kept = {of.coming} if of.canary else set()
    shares = {number: share for number, share in now.shares.items() if number in staying}
    matches = [each for each in now.matches if each.number in staying]
    alone = all(shares.get(number) == final.get(number) for number in staying)
    for number, each in wanted.items():
        if number in staying and (number in now.shadows) is each.shadow:
            continue
        mine = [match for match in of.file.matches if match.number == number]
        share = final.get(number, 0.0)
        if not alone:
            share = shares.get(number) or (LEAST if share else 0.0)
            had = [match for match in matches if match.number == number]
            mine = had if had or share or each.shadow else mine
        shares |= {number: share} if share else {}
        matches = [*(match for match in matches if match.number != number), *mine]
        text = f"version {number} of {of.model} challenges: {_given(share, each.shadow, mine)}"
        gets = {number: share}
        yield Step(Action.CHALLENGE, of.name, text, number, each.shadow, shares=gets, matches=tuple(mine))
    if (shares, matches) == (final, list(of.file.matches)):
        return
    told = [f"version {number} {_given(share, False, ())}" for number, share in final.items()]
    told += [f"version {each.number} {_given(0.0, False, (each,))}" for each in of.file.matches]
    rest = f"the champion has {'what is left' if told else 'all requests'}"
    text = f"{of.model} is divided: {'; '.join([*told, rest])}"
    shares = {**final, **{number: share for number, share in now.shares.items() if number in kept}}
    matches = [*of.file.matches, *(each for each in now.matches if each.number in kept)]
    yield Step(Action.SPLIT, of.name, text, shares=shares, matches=tuple(matches))


def _aliases(of: Contrast) -> Iterator[Step]:
    wanted, now = of.file.aliases, of.now.aliases
    if wanted is None:
        return
    for alias, number in wanted.items():
        if now.get(alias) != number:
            text = f"'{alias}' is version {number} of {of.model}"
            step = Step(Action.ALIAS, of.name, text, number, name=alias)
            yield _after(of, step) if number == of.coming else step
    for alias in now:
        if alias not in wanted:
            text = f"'{short(alias)}' stands for nothing any more at {of.model}"
            yield Step(Action.ALIAS, of.name, text, name=alias)


def _given(share: float, shadow: bool, matches: Iterable[Match]) -> str:
    """What a challenger has."""
    parts = [f"{share:g} % of the requests"] if share else []
    parts += [f'those with {each.key} = "{each.value}"' for each in matches]
    parts += ["copies of what the champion is asked"] if shadow else []
    return ", ".join(parts)
