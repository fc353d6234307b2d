"""What operators switch by hand: no promotions, names for versions, a model's fallback, how important it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, get_args

from router.config import ImportanceName
from router.control.change import Changes, Draft
from router.control.records import Order
from router.core.access import Role
from router.core.standing import EVERYTHING
from router.core.table import ROLES
from router.errors import Denied, InvalidRequest, NotFound, Refused

Facts = dict[str, object]
ROUTER = Order()
LONGEST_ALIAS = 100
"""Characters."""
LEVELS: Final[tuple[str, ...]] = get_args(ImportanceName)


CheckAlias = Callable[[str, str, str], Awaitable[None]]
"""Whether a version may go by a name: model, alias, number. Raises Refused."""


async def _any(_model: str, _alias: str, _number: str) -> None:
    """All may."""


class Switches:
    """Freeze, alias, fallback, importance."""

    def __init__(self, changes: Changes, check_alias: CheckAlias = _any) -> None:
        self._changes = changes
        self._check_alias = check_alias
        self._registry = changes.registry

    async def freeze(self, model: str, on: bool, order: Order) -> None:
        """No promotions of a model (EVERYTHING: of any), or promotions again. Raises NotFound, Refused."""

        async def change() -> None:
            if model != EVERYTHING:
                self._registry.known(model)
            frozen = self._registry.frozen | {model} if on else self._registry.frozen - {model}
            if not on and model != EVERYTHING and EVERYTHING in self._registry.frozen:
                raise Refused("all models are frozen: thaw all of them, by `router thaw` without a model")
            entry = self._changes.entry(order, "freeze" if on else "thaw", model)
            await self._changes.commit(Draft(entries=[entry], frozen=frozen))
            self._changes.events.tell(
                "frozen", model, text="no promotions" if on else "promotions again", actor=order.actor
            )

        await self._changes.turns.alone(change)

    async def set_alias(self, model: str, alias: str, number: str, order: Order) -> int:
        """Let a version go by a name as well; without a `number` the name goes. Gives the generation that serves then.

        Raises NotFound, InvalidRequest for a name that cannot be one, Refused for a version that may not answer by it.
        """
        if not alias or alias in ROLES or alias.isdigit() or len(alias) > LONGEST_ALIAS or not alias.isprintable():
            raise InvalidRequest(
                f"'{alias[:LONGEST_ALIAS]}' cannot be an alias: it takes a name of at most {LONGEST_ALIAS} characters"
                f" that is neither a number nor one of {', '.join(sorted(ROLES))}"
            )

        async def change() -> int:
            self._registry.known(model)
            route = self._changes.route(model)
            aliases = {name: at for name, at in route.aliases.items() if name != alias}
            if number:
                self._registry.record(model, number)
                if route.aliases.get(alias) != number:  # what is so already may stay
                    await self._check_alias(model, alias, number)
                aliases[alias] = number
            elif alias not in route.aliases:
                raise NotFound(f"model '{model}' has no alias '{alias}'; it has {', '.join(route.aliases) or 'none'}")
            draft = Draft(routes={model: replace(route, aliases=aliases)})
            before: Facts = {alias: route.aliases.get(alias)}
            after: Facts = {alias: number or None}
            draft.entries.append(self._changes.entry(order, "alias", model, number, before, after))
            generation = await self._changes.commit(draft)
            self._changes.events.tell(
                "alias", model, number, f"'{alias}' is {f'version {number}' if number else 'gone'}"
            )
            return generation

        return await self._changes.turns.alone(change)

    async def set_fallback(self, model: str, on: bool, order: Order = ROUTER) -> None:
        """Switch a model to its fallback, so that nothing is run, or back. Raises RouterError; nothing has changed."""

        async def change() -> None:
            each = self._changes.route(model)
            if on and not each.settings.fallback.chain:
                raise Refused(f"model '{model}' has no fallback to switch to: set `fallback.chain` in its model.toml")
            draft = Draft(routes={model: replace(each, switched=on)})
            before: Facts = {"switched": each.switched}
            after: Facts = {"switched": on}
            draft.entries.append(self._changes.entry(order, "fallback", model, "", before, after))
            await self._changes.commit(draft)
            text = "its fallback answers, nothing is run" if on else "it answers itself again"
            self._changes.events.tell("fallback", model, text=text, actor=order.actor)

        await self._changes.turns.alone(change)

    async def set_importance(self, model: str, level: str, order: Order) -> None:
        """Declare how important a model is: that goes before what router.toml says.

        Raises Denied for whoever is no admin, NotFound, InvalidRequest for a level that there is not.
        """
        if order.role < Role.ADMIN:
            raise Denied(
                f"the importance of a model needs the role admin, and '{order.actor[:80]}' is {order.role.word}"
            )
        if level not in LEVELS:
            raise InvalidRequest(f"'{level[:80]}' is no importance: {', '.join(LEVELS)} are")

        async def change() -> None:
            self._registry.known(model)
            before = self._registry.importance.get(model)
            if before == level:
                return
            entry = self._changes.entry(order, "importance", model, "", {"importance": before}, {"importance": level})
            importance = {**self._registry.importance, model: level}
            await self._changes.commit(Draft(entries=[entry], importance=importance))
            self._changes.events.tell("importance", model, text=f"its importance is {level}", actor=order.actor)

        await self._changes.turns.alone(change)

    async def note(self, action: str, order: Order, facts: Mapping[str, object]) -> None:
        """An act about all models that changes nothing by itself, for the audit log. Raises Refused."""

        async def change() -> None:
            await self._changes.commit(Draft(entries=[self._changes.entry(order, action, after=facts)]))

        await self._changes.turns.alone(change)
