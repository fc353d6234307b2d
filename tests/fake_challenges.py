"""Challengers, trials, canaries, approvals, declared state for tests: the part of a lifecycle that only remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from router.control.records import Case, Order
from router.core.split import Match, Split, moved
from router.core.standing import CaseKind
from router.errors import Conflict, NotFound, Refused

BEGAN = 1.7e9
ENDED = 1.7e9 + 60


@dataclass(frozen=True)
class Step:
    """One act."""

    action: str
    model: str
    number: str
    text: str
    outcome: str = ""


@dataclass(frozen=True)
class Plan:
    """What a file declares, against what is."""

    steps: tuple[Step, ...] = ()
    conflicts: tuple[str, ...] = ()


DOSSIER: Mapping[str, object] = {
    "made_at": BEGAN,
    "router": "9",
    "model": "a",
    "version": {"number": "2", "stage": "ready", "digest": "2" * 64},
}


class FakeChallenges:
    """Promotions of the models in `asks` wait for approval. `cases` are all that there were, by their numbers."""

    table: Any
    records: Any

    def __init__(self) -> None:
        self.asks: set[str] = set()
        self.cases: dict[int, Case] = {}
        self.dossier = DOSSIER

    def _find(self, model: str, number: str = "") -> Any:
        raise NotImplementedError

    async def _wait(self, what: str, order: Order) -> None:
        raise NotImplementedError

    def _put(self, generation: int, model: str, **changed: Any) -> None:
        raise NotImplementedError

    # ---- challengers ----

    async def challenge(
        self,
        model: str,
        number: str,
        order: Order,
        share: float = 0.0,
        shadow: bool = False,
        matches: Sequence[Match] = (),
    ) -> int:
        """Version 3 has failed."""
        route = self._find(model, number)
        await self._wait("challenge", order)
        if number in {route.champion, "3"}:
            raise Refused(f"version {number} cannot be a challenger")
        split = moved(route.split, {**route.split.shares, number: share})
        shadows = route.shadows | {number} if shadow else route.shadows - {number}
        return self._divided(model, Split(split.intervals, (*split.matches, *matches)), shadows)

    async def split(
        self, model: str, shares: Mapping[str, float], matches: Sequence[Match] | None, order: Order
    ) -> int:
        """Whatever there can be."""
        route = self._find(model)
        for number in shares:
            self._find(model, number)
        await self._wait("split", order)
        split = moved(route.split, shares)
        return self._divided(model, split if matches is None else Split(split.intervals, tuple(matches)), route.shadows)

    async def withdraw(self, model: str, number: str, order: Order) -> int:
        """Whoever is one."""
        route = self._find(model, number)
        await self._wait("withdraw", order)
        if number not in route.split.numbers | route.shadows:
            raise Refused(f"version {number} of model '{model}' is no challenger")
        rest = route.split.numbers - {number}
        return self._divided(model, route.split.kept(frozenset(rest)), route.shadows - {number})

    def _divided(self, model: str, split: Split, shadows: frozenset[str]) -> int:
        generation: int = self.table.generation + 1
        self._put(generation, model, split=split, shadows=shadows)
        return generation

    # ---- cases ----

    def going(self, model: str, kind: CaseKind) -> Case | None:
        """The open case of a kind."""
        return next(
            (each for each in self.cases.values() if (each.model, each.kind) == (model, kind) and each.open), None
        )

    def opened(self, kind: CaseKind, model: str, number: str, order: Order, **body: Any) -> Case:
        """A new one."""
        if (there := self.going(model, kind)) is not None:
            raise Conflict(f"{kind} {there.id} of model '{model}' is under way")
        case = Case(len(self.cases) + 1, kind, model, number, number * 64, order.actor, BEGAN, body=body)
        self.cases[case.id] = case
        return case

    def ended(self, case: Case, state: str, **body: Any) -> Case:
        """The case after its end."""
        case = replace(case, ended=ENDED, state=state, body={**case.body, **body})
        self.cases[case.id] = case
        return case

    async def _stopped(self, model: str, kind: CaseKind, order: Order) -> Case:
        self._find(model)
        await self._wait(f"stop {kind}", order)
        case = self.going(model, kind)
        if case is None:
            raise Refused(f"no {kind} of model '{model}' is under way")
        return self.ended(case, "stopped")

    async def start_trial(self, model: str, number: str, order: Order) -> Case:
        """Of whoever is a challenger."""
        route = self._find(model, number)
        await self._wait("trial", order)
        if number not in route.split.numbers | route.shadows:
            raise Refused(f"version {number} is no challenger: `router challenge {model} {number} --shadow` first")
        return self.opened(CaseKind.TRIAL, model, number, order)

    async def stop_trial(self, model: str, order: Order) -> Case:
        """Without a verdict."""
        return await self._stopped(model, CaseKind.TRIAL, order)

    async def stop_rollout(self, model: str, order: Order) -> Case:
        """Undone."""
        return await self._stopped(model, CaseKind.ROLLOUT, order)

    async def approve(self, number: int, /, order: Order, digest: str = "") -> Case:
        """One is enough."""
        return self._judged(number, "approved", order, digest)

    async def reject(self, number: int, /, order: Order) -> Case:
        """At once."""
        return self._judged(number, "rejected", order, "")

    def _judged(self, number: int, state: str, order: Order, digest: str) -> Case:
        case = self.cases.get(number)
        if case is None or case.kind is not CaseKind.REQUEST:
            raise NotFound(f"there is no request {number}: `router cases --kind request` lists them")
        if not case.open:
            raise Refused(f"request {number} has ended: {case.state}")
        if digest and digest != case.digest:
            raise Refused(f"request {number} is for files of another digest")
        return self.ended(case, state, given=[{"actor": order.actor}])

    # ---- declared state, evidence ----

    async def diff(self, text: str) -> Plan:
        """A text that says so fights."""
        if "fight" in text:
            return Plan(conflicts=("a canary of [bold]digits[/] is under way: `router canary digits --stop` first",))
        return Plan((Step("promote", "a", "2", "version 2 becomes champion of 'a'"),))

    async def apply(self, text: str, order: Order) -> Plan:
        """Done at once."""
        plan = await self.diff(text)
        await self._wait("apply", order)
        return replace(plan, steps=tuple([replace(each, outcome="done") for each in plan.steps]))

    async def evidence(self, model: str, number: str) -> Mapping[str, object]:
        """What was given."""
        self._find(model, number)
        return self.dossier
