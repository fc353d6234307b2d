"""Whether those who are known here are enough for the approvals that models need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from router.config import POLICY, ServerSettings
from router.core.access import LOCAL, Role
from router.core.approval import APPROVER
from router.core.gate import named
from router.core.importance import LEAST, Rule, rule_of

SHOWN: Final = 5
"""Names in a line."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Promotions that nobody can approve, and the mend. As a text it is one line."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what}: {self.mend}"


def needy(settings: ServerSettings, declared: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """Models whose promotions others must agree to, by their importance; the lowest level is everybody's whom nobody
    names. `declared` goes before router.toml."""
    levels = {**settings.importance, **(declared or {})}
    models: dict[str, list[str]] = {level: [] for level in POLICY}
    for model, level in sorted(levels.items()):
        models[rule_of(level, settings.policy).level].append(model)
    asks = {level: rule_of(level, settings.policy).settings.approvals for level in POLICY}
    return {level: each for level, each in models.items() if asks[level] and (each or level == LEAST)}


def shortages(settings: ServerSettings, declared: Mapping[str, str] | None = None) -> list[Shortage]:
    """All of them. They are said at the start: such a model goes on with its champion whatever is asked for."""
    return list(_shortages(settings, declared))


def _shortages(settings: ServerSettings, declared: Mapping[str, str] | None) -> Iterator[Shortage]:
    people = _people(settings)
    for level, models in needy(settings, declared).items():
        rule = rule_of(level, settings.policy)
        if _enough(people, rule):
            continue
        needs = rule.settings.approvals
        whose = ", ".join([*map(named, models[:SHOWN]), *(["…"] if len(models) > SHOWN else [])])
        whose = whose or "all that are not named"
        what = f"models of importance {level} ({whose}) need {needs} approval{'s' if needs > 1 else ''} by others"
        if settings.guarded:
            able = sum(role >= APPROVER for role in people.values())
            what += f" than who asks, and those known here are too few: {able} may approve"
        else:
            what += f", and whoever asks here is '{LOCAL.name}'"
        mend = f"`router token create NAME --role {APPROVER.word} --config FILE` makes somebody known"
        yield Shortage(what, f"{mend}, or change {rule.place('approvals')}")


def _people(settings: ServerSettings) -> dict[str, Role]:
    """Who is known by a name, and the highest role that it has."""
    if not settings.guarded:
        return {LOCAL.name: LOCAL.role}
    known: dict[str, Role] = {}
    given = [(name, token.role) for name, token in settings.tokens.items()]
    for name, word in [*given, *settings.access.certificates.items()]:
        known[name] = max(Role[word.upper()], known.get(name, Role.VIEWER))
    return known


def _enough(people: Mapping[str, Role], rule: Rule) -> bool:
    """Whether there is somebody who may ask, and beside them as many as must agree."""
    approvers = {name for name, role in people.items() if role >= APPROVER}
    askers = [name for name, role in people.items() if role >= rule.role()]
    return any(len(approvers - {each}) >= rule.settings.approvals for each in askers)
