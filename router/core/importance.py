"""How much depends on a model, and what follows: who may promote its versions, and how many others must agree.

What was declared of a model (by an admin, with `router apply`) goes before `[importance]` in router.toml, and a model
that neither names is of low importance. What a level asks for stands in `[policy.LEVEL]`, or is `config.POLICY`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from router.config import POLICY, PolicySettings
from router.core.access import Actor, Role
from router.errors import Denied, Refused

Policy = Mapping[Any, PolicySettings]
"""By level: a text, or the literal that settings have."""

LEAST: Final = "low"
MOST: Final = "critical"
MOST_SHARES: Final = 50.0
"""In percent: a model that has more answered by challengers goes on with its champion in name only."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for the models of a level. `written`: its table stands in router.toml."""

    level: str
    settings: PolicySettings
    written: bool = False

    def role(self, *, override: bool = False) -> Role:
        """The lowest that may promote, or ask for it. `override`: although the gates say no."""
        words = [self.settings.promote, *([self.settings.override] if override else [])]
        return max(Role[word.upper()] for word in words)

    def place(self, key: str) -> str:
        """One of its lines and where it stands, for a person: `[policy.high] approvals = 1 in router.toml`."""
        value = getattr(self.settings, key)
        line = f'[policy.{self.level}] {key} = "{value}"' if isinstance(value, str) else f"{key} = {value:g}"
        line = line if line.startswith("[") else f"[policy.{self.level}] {line}"
        return f"{line} in router.toml" if self.written else f"{line}, which holds where router.toml has no other"

    def permit(self, who: Actor, model: str, *, override: bool = False) -> None:
        """Whether somebody may promote versions of a model of this level, or ask for it.

        Raises Denied, with the role that it takes and the line that says so.
        """
        role = self.role(override=override)
        if who.role >= role:
            return
        against = " against the gates" if override else ""
        key = "override" if override and role > self.role() else "promote"
        raise Denied(
            f"a promotion of model '{model[:200]}'{against} needs the role {role.word}, and '{who.name[:80]}' is"
            f" {who.role.word}: {self.place(key)}"
        )

    def check_shares(
        self, model: str, shares: Mapping[str, float], before: Mapping[str, float] = MappingProxyType({})
    ) -> None:
        """Whether challengers of a model may have these shares, in percent, together. Raises Refused.

        Where others must agree to a promotion, whoever has not asked them leaves the champion at least half; where
        challengers had more `before`, none may have more than it had.
        """
        total = sum(shares.values())
        rises = any(share > before.get(number, 0.0) for number, share in shares.items())
        if self.settings.approvals and rises and total > MOST_SHARES:
            raise Refused(
                f"the challengers of model '{model[:200]}' would have {total:g} % of its requests: beyond"
                f" {MOST_SHARES:g} % that is a promotion, to which others must agree: {self.place('approvals')}"
            )


def level_of(model: str, declared: Mapping[str, str], configured: Mapping[str, str]) -> str:
    """How important a model is: as it was declared, or as router.toml says, or low."""
    return declared.get(model) or configured.get(model) or LEAST


def rule_of(level: str, policy: Policy) -> Rule:
    """What holds for a level. One that nobody knows (a newer program may have stored it) is as the highest."""
    known = level if level in POLICY else MOST
    return Rule(known, policy.get(known, POLICY[known]), known in policy)
