"""Whether models' settings fit the models: fallbacks, contracts, humility rules, who stands in for whom.

A model whose settings do not fit does not begin to serve: a fallback that would fail when it is needed is worse than
none. One that serves goes on with the settings it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from router.control.artefact import shown
from router.core.contract import contract_of
from router.core.fallback import check_default
from router.core.humility_terms import humility_of
from router.core.prediction import check_ledger
from router.core.table import Route, Version, VersionState
from router.core.tensor import ANY, Signature, TensorSpec
from router.errors import SettingsError

REASON_LIMIT: Final = 400
"""Characters: names in a reason come out of files."""
_NAMED: Final = 8


def fitted(routes: Mapping[str, Route], before: Mapping[str, Route] = MappingProxyType({})) -> dict[str, Route]:
    """The routes of a whole repository, their READY versions UNAVAILABLE where the settings do not fit them.

    A champion that does not fit leaves its model without one: who takes its place is not for settings to say. What
    served by the routes `before` and is the same serves on, also if another model's change has taken its failover.
    """
    return {name: _fitted(each, routes, before.get(name)) for name, each in routes.items()}


def _fitted(route: Route, routes: Mapping[str, Route], before: Route | None) -> Route:
    reasons = {
        number: reason
        for number, version in route.versions.items()
        if version.state is VersionState.READY
        and not _same(route, version, before)
        and (reason := misfit(route, version, routes))
    }
    if not reasons:
        return route
    versions = {
        number: replace(version, state=VersionState.UNAVAILABLE, reason=reasons[number])
        if number in reasons
        else version
        for number, version in route.versions.items()
    }
    return replace(route, champion=None if route.champion in reasons else route.champion, versions=versions)


def _same(route: Route, version: Version, before: Route | None) -> bool:
    """Whether a version has served with these settings."""
    return before is not None and before.settings == route.settings and before.versions.get(version.number) == version


def settled(routes: Mapping[str, Route], before: Mapping[str, Route]) -> tuple[dict[str, Route], dict[str, str]]:
    """The routes, with the settings of `before` where a champion serves that those of now do not fit; and the reasons.

    Settings that would end what serves are not followed: whoever wrote them learns why, and callers notice nothing.
    """
    made, reasons = dict(routes), dict[str, str]()
    while wrong := {name: why for name in made if (why := _would_end(made[name], before.get(name), made))}:
        made |= {name: replace(made[name], settings=before[name].settings) for name in wrong}
        reasons |= wrong
    return made, reasons


def bereft(routes: Mapping[str, Route], before: Mapping[str, Route]) -> dict[str, str]:
    """Models that serve on and whose failover would fit them no more, unlike `before`; with the reasons."""
    return {
        name: reason
        for name, each in routes.items()
        if name in before
        and each.champion is not None
        and _same(each, each.versions[each.champion], before[name])
        and (reason := misfit(each, each.versions[each.champion], routes))
        and not misfit(each, each.versions[each.champion], before)
    }


def _would_end(route: Route, before: Route | None, routes: Mapping[str, Route]) -> str:
    """Why the settings of now would end what serves; empty where they would not, or are those of before."""
    if before is None or before.champion is None or route.champion is None or before.settings == route.settings:
        return ""
    return misfit(route, route.versions[route.champion], routes)


def misfit(route: Route, version: Version, routes: Mapping[str, Route]) -> str:
    """What of its settings does not fit a version, in one line: key, value, what is allowed. Empty if all does."""
    fallback = route.settings.fallback
    try:
        contract_of(route.settings.contract, version.signature)
        check_ledger(route.settings.ledger, version.signature)
        humility_of(route.settings.humility, version.signature)
        if fallback.default:
            _check_default(fallback.default, version.signature)
        if fallback.failover is not None:
            _check_failover(fallback.failover, route, version, routes)
    except SettingsError as error:
        return shown(str(error), REASON_LIMIT)
    return ""


def _check_default(default: Mapping[str, object], signature: Signature) -> None:
    try:
        check_default(default, signature)
    except SettingsError as error:
        raise SettingsError(f"model.toml: {error}") from error


def _check_failover(failover: str, route: Route, version: Version, routes: Mapping[str, Route]) -> None:
    """Raises SettingsError. One that is merely not loaded now will do: what it takes may not even be known."""
    key = f"model.toml: `fallback.failover` = {failover[:80]!r}"
    model, colon, number = failover.partition(":")
    if model == route.model:
        raise SettingsError(f"{key}: a model cannot stand in for itself; expected another MODEL or MODEL:VERSION")
    target = routes.get(model)
    if target is None:
        have = _listed([name for name in routes if name != route.model])
        raise SettingsError(f"{key}: the repository holds no such model; it holds {have}")
    if colon and number not in target.versions:
        have = ", ".join(number for number in target.versions if number) or "none"
        raise SettingsError(f"{key}: model '{model}' has no such version; it has {have}")
    circle = _circle(route.model, routes)
    if circle:
        raise SettingsError(f"{key}: failovers go round in a circle, {' → '.join(circle)}; one of them has to go")
    other = target.versions.get(number or target.champion or "")
    if other is not None and other.signature != Signature((), ()):
        _check_alike(key, version.signature, other)


def _circle(model: str, routes: Mapping[str, Route]) -> list[str]:
    """The way from a model over failovers back to it; empty when it does not lead back."""
    way = [model]
    while way[-1] in routes:
        failover = routes[way[-1]].settings.fallback.failover
        if failover is None:
            break
        following = failover.partition(":")[0]
        if following in way[1:]:  # a circle of others
            break
        way.append(following)
        if following == model:
            return way
    return []


def _check_alike(key: str, signature: Signature, other: Version) -> None:
    """Names, datatypes and shapes are the same; the model's names of free sizes may differ."""
    for side, here, there in (
        ("input", signature.inputs, other.signature.inputs),
        ("output", signature.outputs, other.signature.outputs),
    ):
        mine = {spec.name: _told(spec) for spec in here}
        its = {spec.name: _told(spec) for spec in there}
        for name in {**mine, **its}:
            if mine.get(name) != its.get(name):
                raise SettingsError(
                    f"{key}: its signature has to be the same, and {side} '{name[:80]}' is {mine.get(name, 'missing')}"
                    f" here and {its.get(name, 'missing')} in version {other.number} of '{other.model}'"
                )


def _told(spec: TensorSpec) -> str:
    sizes = ",".join("?" if size == ANY else str(size) for size in spec.shape)
    return f"{spec.datatype}[{sizes}]" + (" (optional)" if spec.optional else "")


def _listed(names: list[str]) -> str:
    listed = ", ".join(f"'{name[:80]}'" for name in names[:_NAMED]) or "no other"
    return listed if len(names) <= _NAMED else f"{listed}, … ({len(names)} in all)"
