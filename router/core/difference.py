"""What differs between what a file declares and what is: steps in an order that is safe, or why there can be none.

A pure function of both. For each model: promotions are thawed first, then its importance holds, challengers go, the
champion changes, challengers come, all shares move in one split, names move, and what is frozen is frozen last. A step
that makes sense only with the new champion waits for it where a canary or an approval is in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from router.core.declared import Declared, DeclaredChallenger, DeclaredModel, short
from router.core.split import NO_SPLIT, Match, moved
from router.core.standing import EVERYTHING, Kind, Present
from router.core.version import UNDER_TRIAL, Stage
from router.errors import InvalidRequest


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
    importance. `number` is empty where an alias goes. `shares` and `matches` are a split's, and what a challenger has
    already. `expected` is the champion before. `waits`: it makes sense only with the new champion.
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
        return Difference((), tuple(f"{_place(name)}: there is no such model; there are {there}" for name in unknown))
    models = [_Comparison(name, file, present) for name in file.models]
    conflicts = tuple(line for each in models for line in each.conflicts())
    if conflicts:
        return Difference((), conflicts)
    steps: list[Step] = []
    if file.frozen is False and EVERYTHING in present.frozen:
        steps.append(Step(Action.THAW, EVERYTHING, "promotions of all models go on"))
    for each in models:
        steps += each.steps()
    if file.frozen and EVERYTHING not in present.frozen:
        coming = [each for each in models if each.coming is not None]
        late = next((waiting(str(each.coming)) for each in coming if each.pending), "")
        text = "no promotions of any model"
        steps.append(Step(Action.FREEZE, EVERYTHING, text, waits=bool(coming), outcome=late))
    return Difference(tuple(steps))


def _place(name: str) -> str:
    return f"[models.{short(name)}]"


class _Comparison:
    """One model of the file, beside how it stands."""

    def __init__(self, name: str, file: Declared, present: Present) -> None:
        self.name = name
        self.file: DeclaredModel = file.models[name]
        self.now = present.models[name]
        self.held = EVERYTHING in present.frozen and file.frozen is not False
        self.frozen = name in present.frozen
        self.champion = self.now.champion
        wanted = self.file.champion
        self.coming = None if wanted in {None, self.champion} else wanted
        self.rollout, self.trial, self.request = (self.now.under_way(kind) for kind in _KINDS)
        begun = {each.number for each in (self.rollout, self.request) if each is not None}
        self.pending = self.coming is not None and self.coming in begun
        self.promotes = self.coming is not None and not self.pending
        self.canary = self.promotes and self.file.strategy == "canary"
        self.wanted: Mapping[str, DeclaredChallenger] | None = self.file.challengers
        challengers = {number for number, stage in self.now.stages.items() if stage is Stage.CHALLENGER}
        staying = challengers if self.wanted is None else {*self.wanted, self.coming}
        self.leaving = sorted(challengers - staying, key=int)
        self.model = f"model '{short(name)}'"

    # ---- why nothing can be done ----

    def conflicts(self) -> Iterator[str]:
        """Each in one line, with its place in the file and the mend."""
        place = _place(self.name)
        for line in (*self._unknown(), *self._fights(), *self._champion(), *self._challengers(), *self._switches()):
            yield f"{place} {line}"

    def _unknown(self) -> Iterator[str]:
        there = ", ".join(sorted(self.now.stages, key=int, reverse=True)[:20]) or "none"
        named = [("champion", self.file.champion)]
        named += [(f"aliases.{name}", number) for name, number in (self.file.aliases or {}).items()]
        named += [("challengers", number) for number in self.wanted or ()]
        for key, number in named:
            if number is not None and number not in self.now.stages:
                yield f"{key}: {self.model} has no version {number}; it has {there}"

    def _fights(self) -> Iterator[str]:
        """What is under way, and would not go on as it is meant to."""
        name, wanted = self.name, self.file.champion
        if (rollout := self.rollout) is not None:
            stop = f"`router canary {name} --stop` undoes it"
            if wanted not in {None, rollout.number}:
                yield f"champion = {wanted}: a canary of version {rollout.number} is under way; {stop}"
            elif self.wanted is not None and rollout.number in self.wanted:
                yield f"challengers.{rollout.number}: a canary of this version is under way and moves its share; {stop}"
            elif self.wanted is not None and wanted is None:
                yield (
                    f"challengers: version {rollout.number} is not among them, and a canary of it is under way; {stop},"
                    f" or have the file say champion = {rollout.number}"
                )
        if (trial := self.trial) is not None:
            stop = f"`router trial {name} --stop` ends it"
            if self.promotes:
                yield f"champion = {wanted}: a trial of version {trial.number} is under way; {stop}"
            if trial.number in self.leaving:
                yield f"challengers: version {trial.number} is not among them, and a trial of it is under way; {stop}"
        if (request := self.request) is not None and wanted not in {None, request.number}:
            yield (
                f"champion = {wanted}: version {request.number} waits for approval;"
                f" `router reject {request.id}` ends that"
            )

    def _champion(self) -> Iterator[str]:
        number = self.coming
        if not self.promotes or number is None or number not in self.now.stages:
            return
        stage = self.now.stages[number]
        if stage not in {Stage.READY, Stage.CHALLENGER, Stage.STANDBY}:
            yield f"champion = {number}: {self._untested(number)}"
        if self.held:
            yield f"champion = {number}: all models are frozen; have the file say frozen = false, or `router thaw`"
        if self.frozen and self.file.frozen is not False:
            yield (
                f"champion = {number}: {self.model} is frozen; have the file say frozen = false for it,"
                f" or `router thaw {self.name}`"
            )
        if not self.canary:
            return
        if stage is Stage.STANDBY:
            yield f'strategy = "canary": version {number} stands by, and comes back at once; say strategy = "swap"'
        if self.champion is None:
            yield f'strategy = "canary": {self.model} has no champion to compare with; say strategy = "swap"'
        shares = {n: each.share for n, each in self.wanted.items()} if self.wanted is not None else self.now.shares
        for other, share in shares.items():
            if other != number and share:
                yield (
                    f"challengers.{other}: a canary of version {number} needs all requests, and this one has"
                    f" {share:g} %; give it none until the canary is over"
                )

    def _challengers(self) -> Iterator[str]:
        champion, seen = self.coming or self.champion, dict[tuple[str, str], str]()
        for number in self.wanted or ():
            stage = self.now.stages.get(number, Stage.READY)
            if number == champion:
                yield f"challengers.{number}: this version is the champion; leave one of both out"
            elif stage in {Stage.CHAMPION, Stage.STANDBY}:
                yield (
                    f"challengers.{number}: this version is to stand by for a rollback and cannot be a challenger;"
                    f" `router unload {self.name} {number}` and `router test {self.name} {number}` make it ready"
                )
            elif stage not in {Stage.READY, Stage.CHALLENGER}:
                yield f"challengers.{number}: {self._untested(number)}"
        if self.wanted and champion is None:
            yield f"challengers: {self.model} has no champion; have the file name one"
        try:
            self._shares()
        except InvalidRequest as error:
            yield f"challengers: {error}"
        for key, value, number in ((each.key, each.value, each.number) for each in self.file.matches):
            other = seen.setdefault((key, value), number)
            if other != number:
                yield f'challengers.{number}: {key} = "{value}" is what version {other} matches; leave one of both out'

    def _switches(self) -> Iterator[str]:
        if self.file.fallback and not self.now.switched and not self.now.can_switch:
            yield f"fallback = true: {self.model} has none; set fallback.chain in its model.toml"
        if self.file.frozen is False and self.frozen and self.held:
            yield "frozen = false: all models are frozen; have the file say frozen = false above its tables"

    def _untested(self, number: str) -> str:
        stage, test = self.now.stages[number], f"`router test {self.name} {number}`"
        what = f"version {number} of {self.model}"
        if stage in UNDER_TRIAL:
            return f"{what} is {stage}; wait for its verdict (`router watch {self.name}`)"
        if stage is Stage.DRAINING:
            return f"{what} is draining; try again in a moment"
        return f"{what} {'has failed' if stage is Stage.FAILED else 'has not passed its gates'}; {test} first"

    # ---- what is to be done ----

    def steps(self) -> Iterator[Step]:
        """In their order."""
        name, file, now = self.name, self.file, self.now
        if file.frozen is False and self.frozen:
            yield Step(Action.THAW, name, f"promotions of {self.model} go on")
        if file.importance not in {None, now.importance}:
            level, before = str(file.importance), f", it was {now.importance}" if now.importance else ""
            text = f"the importance of {self.model} is {level}{before}"
            yield Step(Action.IMPORTANCE, name, text, name=level)
        if file.fallback and not now.switched:
            yield Step(Action.FALLBACK, name, f"the fallback of {self.model} answers, nothing is run", on=True)
        for number in self.leaving:
            yield Step(Action.WITHDRAW, name, f"version {number} of {self.model} challenges no more", number)
        if self.canary:  # it needs the places of those that lose them
            yield from self._challenge()
        yield from self._promote()
        if not self.canary:
            yield from self._challenge()
        yield from self._aliases()
        if file.fallback is False and now.switched:
            yield Step(Action.FALLBACK, name, f"{self.model} answers itself again")
        if file.frozen and not self.frozen:
            yield self._after(Step(Action.FREEZE, name, f"no promotions of {self.model}"))

    def _after(self, step: Step) -> Step:
        """A step that makes sense only with the new champion, if there is to be one."""
        if self.coming is None:
            return step
        return replace(step, waits=True, outcome=waiting(self.coming) if self.pending else "")

    def _promote(self) -> Iterator[Step]:
        number = self.coming
        if number is None:
            return
        text = f"version {number} of {self.model} becomes champion"
        text += f" by {'canary' if self.canary else 'swap'}" if self.promotes else ""
        text += f", version {self.champion} stands by" if self.champion is not None else ""
        outcome = ""
        if self.rollout is not None and self.pending:
            outcome = baking(self.name)
        elif self.request is not None and self.pending:
            outcome = asked(self.request.id)
        expected = self.champion or ""
        yield Step(Action.PROMOTE, self.name, text, number, self.canary, expected=expected, outcome=outcome)

    def _challenge(self) -> Iterator[Step]:
        """Who is to challenge, and how the requests are divided then."""
        now, wanted = self.now, self.wanted
        if wanted is None:
            return
        staying = {number for number in wanted if now.stages[number] is Stage.CHALLENGER}
        for number, each in wanted.items():
            if number in staying and (number in now.shadows) is each.shadow:
                continue
            text = f"version {number} of {self.model} {'is a challenger' if number in staying else 'challenges'}"
            text += ", and runs copies of what the champion is asked" if each.shadow else ""
            text += ", and runs no copies any more" if number in staying and not each.shadow else ""
            mine = tuple(match for match in now.matches if match.number == number)
            has = {number: now.shares.get(number, 0.0)}
            step = Step(Action.CHALLENGE, self.name, text, number, each.shadow, shares=has, matches=mine)
            yield step if self.champion is not None else self._after(step)
        shares = self._shares()
        before = {number: share for number, share in now.shares.items() if number in staying}
        matches = self.file.matches
        if shares == before and matches == tuple(m for m in now.matches if m.number in staying):
            return
        told = ", ".join(f"version {number} {share:g} %" for number, share in shares.items())
        text = f"of the requests to {self.model} the champion has {'all' if not shares else 'what is left'}"
        text = f"{told}; {text}" if told else text
        told = ", ".join(f'{match.key} = "{match.value}" is for version {match.number}' for match in matches)
        text += f"; {told}" if told else ""
        mine = tuple(match for match in now.matches if match.number == self.coming)
        own = now.shares.get(self.coming or "", 0.0)
        if self.canary and self.coming is not None:  # what it has already, it keeps
            shares, matches = {**shares, self.coming: own} if own else shares, (*matches, *mine)
        step = Step(Action.SPLIT, self.name, text, shares=shares, matches=matches)
        theirs = not self.canary and (own or mine or self.rollout is not None)
        yield self._after(step) if theirs or self.champion is None else step

    def _shares(self) -> Mapping[str, float]:
        """What challengers are to have, as exactly as it can be. Raises InvalidRequest for more than there is."""
        wanted = {number: each.share for number, each in (self.wanted or {}).items() if each.share}
        return moved(NO_SPLIT, wanted).shares

    def _aliases(self) -> Iterator[Step]:
        wanted, now = self.file.aliases, self.now.aliases
        if wanted is None:
            return
        for alias, number in wanted.items():
            if now.get(alias) != number:
                text = f"'{alias}' is version {number} of {self.model}"
                step = Step(Action.ALIAS, self.name, text, number, name=alias)
                yield self._after(step) if number == self.coming else step
        for alias in now:
            if alias not in wanted:
                text = f"'{short(alias)}' stands for nothing any more at {self.model}"
                yield Step(Action.ALIAS, self.name, text, name=alias)


_KINDS: Final = (Kind.ROLLOUT, Kind.TRIAL, Kind.REQUEST)
