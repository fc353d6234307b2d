"""What a version may have before others have agreed to it: where a policy asks for approvals, nothing is a promotion by
another name.

Not a rollback to what has never been the champion, not a load, not a share or a match or an alias, and not the place of
a champion that is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from router.control.registry import Registry
from router.core.importance import Policy, Rule, level_of, rule_of
from router.core.table import Route
from router.errors import Refused


class Consent:
    """`policy` by level and `importance` by model are router.toml's. `champions` are the versions that have been a
    model's: it blocks, and raises RouterError where they cannot be known.
    """

    def __init__(
        self,
        registry: Registry,
        policy: Policy,
        importance: Mapping[str, str],
        champions: Callable[[str], Sequence[str]],
    ) -> None:
        self._registry = registry
        self._policy = policy
        self._configured = importance
        self._champions = champions

    def rule(self, model: str) -> Rule:
        """What holds for promotions of a model now."""
        return rule_of(level_of(model, self._registry.importance, self._configured), self._policy)

    def unapproved(self, model: str, numbers: Sequence[str]) -> Mapping[str, str]:
        """Those of these versions that may not answer for a model unless others agree, and why: where its policy asks
        for approvals, those that have never been its champion, once any has. It blocks. Raises RouterError."""
        rule = self.rule(model)
        if not rule.settings.approvals or not numbers:
            return {}
        been = self._champions(model)
        line = f"it has never been the champion, and others must agree to that ({rule.place('approvals')})"
        return {each: f"{line}: `router promote {model} {each}`" for each in numbers if been and each not in been}

    async def asked(self, model: str, numbers: Sequence[str]) -> Mapping[str, str]:
        """The same, beside everything else. Raises RouterError."""
        return await asyncio.to_thread(self.unapproved, model, numbers)

    async def check_way_back(self, model: str, number: str) -> None:
        """Whether going to a version is a rollback, which needs nobody, and no promotion by another name.

        Raises NotFound, Refused.
        """
        self._registry.record(model, number)
        for why in (await self.asked(model, [number])).values():
            raise Refused(f"version {number} of model '{model}' is no way back: {why}")

    async def check_split(self, before: Route, after: Route) -> None:
        """Whether a model's requests may be divided so: together challengers have no more than their part, and nobody's
        callers are given by their metadata to what others have not agreed to. What is so already may stay.

        For whoever has the turn: what is checked is what will be. Raises Refused.
        """
        model = after.model
        self.rule(model).check_shares(model, after.split.shares, before.split.shares)
        fresh = [each for each in after.split.matches if each not in before.split.matches]
        against = await self.asked(model, sorted({each.number for each in fresh}, key=int))
        for each in fresh:
            if why := against.get(each.number):
                raise Refused(
                    f"version {each.number} of model '{model}' cannot have all requests with {each.key[:80]} ="
                    f" {each.value[:80]}: {why}"
                )

    async def check_alias(self, model: str, alias: str, number: str) -> None:
        """Whether a version may go by a name, by which callers may be asking already. Raises Refused."""
        for why in (await self.asked(model, [number])).values():
            raise Refused(f"version {number} of model '{model}' cannot go by the name '{alias}': {why}")
