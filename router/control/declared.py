"""Declared state: what a file says of the models, shown against what is, and brought about step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import structlog

from router.control.acts import Acts
from router.control.records import Case, ModelView, Order
from router.control.turns import Turns
from router.core.access import Role
from router.core.declared import Declared, declared, fingerprint
from router.core.difference import Action, Difference, Step, asked, baking, difference, waiting
from router.core.split import moved
from router.core.standing import EVERYTHING, CaseKind, Going, Present, Standing
from router.core.table import Route
from router.errors import Denied, Refused, RouterError

log = structlog.get_logger()

DONE: Final = "done"
FAILED: Final = "failed"
"""How the outcome of a step begins that was refused; what was refused follows."""
NOT_DONE: Final = "not done"
"""The outcome of steps after one that failed."""


class Lifecycle(Acts, Protocol):
    """What there is, and what changes it: as operators have it."""

    @property
    def importance(self) -> Mapping[str, str]:
        """What was declared for models."""

    async def check_split(self, before: Route, after: Route) -> None:
        """Whether a model's requests may be divided so without others. Raises Refused."""

    async def check_alias(self, model: str, alias: str, number: str) -> None:
        """Whether a version may go by a name without others. Raises Refused."""

    async def set_importance(self, model: str, level: str, order: Order) -> None:
        """Declare how important a model is."""

    async def note(self, action: str, order: Order, facts: Mapping[str, object]) -> None:
        """An act for the audit log."""


class Declarations:
    """Diff and apply. Files are applied one after another, each to its end even if whoever asked goes away."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._turns = Turns()
        self._turns.started.set()

    async def diff(self, text: str) -> Difference:
        """What would be done so that what is, is what the TOML text declares; nothing is done.

        Raises SettingsError for a text that declares nothing of the kind.
        """
        return await self._compared(await asyncio.to_thread(declared, text))

    async def apply(self, text: str, order: Order) -> Difference:
        """Do it, step by step, each with its outcome. Where there are conflicts nothing is done.

        A promotion that others must agree to leaves its request open, and what does not depend on it goes on. A step
        that is refused ends it: what was done before stays, and the outcomes tell what was not.

        Raises SettingsError; Denied for whoever may not do it, nothing is done then; Refused where the act could not be
        recorded.
        """
        if order.role < Role.OPERATOR:
            raise Denied(f"apply needs the role {Role.OPERATOR.word}, and '{order.actor[:80]}' is {order.role.word}")
        file = await asyncio.to_thread(declared, text)
        return await self._turns.alone(lambda: self._applied(file, fingerprint(text), order))

    async def _compared(self, file: Declared) -> Difference:
        """With what a plan of each promotion has to say against it."""
        lifecycle = self._lifecycle
        found = difference(file, self._present())
        conflicts: list[str] = []
        for step in found.open:
            # A model that is frozen would be in its own way, and the file thaws it first.
            if step.action is Action.PROMOTE and not {step.model, EVERYTHING} & set(lifecycle.frozen):
                plan = await lifecycle.plan(step.model, step.number)
                conflicts += [f"[models.{step.model}] champion = {step.number}: {each}" for each in plan.obstacles]
        conflicts += await self._unapproved(found.open)
        return Difference((), tuple(conflicts)) if conflicts else found

    async def _unapproved(self, steps: Sequence[Step]) -> list[str]:
        """What others would have to agree to first. Of a model whose importance the file changes that is seen when its
        turn comes, and so is what waits for a new champion."""
        lifecycle, lines = self._lifecycle, list[str]()
        graded = {EVERYTHING, *(step.model for step in steps if step.action is Action.IMPORTANCE)}
        for model in dict.fromkeys(step.model for step in steps if step.model not in graded):
            mine, route = [step for step in steps if step.model == model], lifecycle.table.routes.get(model)
            if route is None:
                continue
            try:
                await lifecycle.check_split(route, _divided(route, mine))
            except Refused as error:
                lines.append(f"[models.{model}] challengers: {error}")
            for step in mine:
                try:
                    if step.action is Action.ALIAS and step.number and not step.waits:
                        await lifecycle.check_alias(model, step.name, step.number)
                except Refused as error:
                    lines.append(f"[models.{model}] aliases.{step.name}: {error}")
        return lines

    def _present(self) -> Present:
        lifecycle = self._lifecycle
        return Present({view.model: self._standing(view) for view in lifecycle.versions()}, frozenset(lifecycle.frozen))

    def _standing(self, view: ModelView) -> Standing:
        route = self._lifecycle.table.routes.get(view.model)
        return Standing(
            {each.number: each.stage for each in view.records},
            view.aliases,
            route is not None and route.switched,
            route is not None and bool(route.settings.fallback.chain),
            view.split.shares,
            view.split.matches,
            view.shadows,
            self._lifecycle.importance.get(view.model, ""),
            0.0 if route is None else route.settings.canary.room,
            tuple(Going(each.kind, each.id, each.number, bool(each.body.get("paired"))) for each in view.cases),
        )

    async def _applied(self, file: Declared, digest: str, order: Order) -> Difference:
        plan = await self._compared(file)
        graded = next((each for each in plan.open if each.action is Action.IMPORTANCE), None)
        if graded is not None and order.role < Role.ADMIN:
            raise Denied(
                f"[models.{graded.model}] importance: this needs the role admin, and '{order.actor[:80]}' is"
                f" {order.role.word}; nothing was applied"
            )
        if not plan.open:
            return plan
        await self._lifecycle.note("apply", order, {"sha256": digest, "steps": len(plan.open)})
        log.info("a file is applied", actor=order.actor, sha256=digest, steps=len(plan.open))
        return Difference(await self._taken(plan.steps, replace(order, reason=order.reason or "apply")))

    async def _taken(self, steps: Sequence[Step], order: Order) -> tuple[Step, ...]:
        """Take steps in their order, to the first that is refused."""
        taken: list[Step] = []
        late: dict[str, str] = {}
        failed = False
        for step in steps:
            outcome = step.outcome
            # What was opened here is not done yet, and the freeze of all models waits for every one.
            waits = late.get(step.model) if step.model != EVERYTHING else next(iter(late.values()), None)
            if outcome:
                pass
            elif failed:
                outcome = NOT_DONE
            elif step.waits and waits is not None:
                outcome = waiting(waits)
            else:
                try:
                    case = await self._take(step, order)
                except RouterError as error:
                    outcome, failed = f"{FAILED}: {error}", True
                    log.warning("a file was applied in part", step=step.text, reason=str(error), actor=order.actor)
                else:
                    outcome = DONE
                    if case is not None:
                        late[step.model] = step.number
                        outcome = asked(case.id) if case.kind is CaseKind.REQUEST else baking(step.model)
            taken.append(replace(step, outcome=outcome))
        return tuple(taken)

    async def _take(self, step: Step, order: Order) -> Case | None:
        """Take a step; the case of one that only begins something. Raises RouterError."""
        lifecycle, model, number = self._lifecycle, step.model, step.number
        match step.action:
            case Action.THAW | Action.FREEZE:
                await lifecycle.freeze(model, step.action is Action.FREEZE, order)
            case Action.IMPORTANCE:
                await lifecycle.set_importance(model, step.name, order)
            case Action.FALLBACK:
                await lifecycle.set_fallback(model, step.on, order)
            case Action.WITHDRAW:
                await lifecycle.withdraw(model, number, order)
            case Action.PROMOTE:
                made = await lifecycle.promote(model, number, order, step.expected, canary=step.on)
                return made if isinstance(made, Case) else None
            case Action.CHALLENGE:
                await lifecycle.challenge(model, number, order, step.shares.get(number, 0.0), step.on, step.matches)
            case Action.SPLIT:
                await lifecycle.split(model, step.shares, step.matches, order)
            case Action.ALIAS:
                await lifecycle.set_alias(model, step.name, number, order)
        return None


def _divided(route: Route, steps: Sequence[Step]) -> Route:
    """A model's requests as they are divided after these steps, but for those that wait."""
    shares, matches = dict(route.split.shares), list(route.split.matches)
    for step in steps:
        if step.action is Action.SPLIT and not step.waits:
            shares, matches = dict(step.shares), list(step.matches)
        elif step.action in {Action.CHALLENGE, Action.WITHDRAW} and not step.waits:
            shares.pop(step.number, None)
            shares |= step.shares
            matches = [*(each for each in matches if each.number != step.number), *step.matches]
    return replace(route, split=moved(replace(route.split, matches=tuple(matches)), shares))
