"""The models that the harness makes itself: which of them a scenario needs, and in which versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from loadtest import bench_models
from loadtest.sla import heavy_model, pace_model
from loadtest.sla.actions import AdminAction, PublishAction
from loadtest.sla.scenario import Scenario

Maker = Callable[[Path, str], None]


def _bench(name: str) -> Maker:
    return lambda repository, version: bench_models.make(repository, (name,), version)


SCORES: Final = "scores"
MAKERS: Final[Mapping[str, Maker]] = {
    **{name: _bench(name) for name in bench_models.NAMES},
    SCORES: _bench(SCORES),
    pace_model.NAME: pace_model.make,
    heavy_model.NAME: heavy_model.make,
}
USUAL: Final[Mapping[str, tuple[str, ...]]] = {heavy_model.NAME: ("1", "2", "3")}
"""Versions of a model beside those that a scenario names; of others the first."""
ON_DEMAND: Final = frozenset({SCORES, heavy_model.NAME})
"""Made only where the mix has them: the heavy one costs a gigabyte of disk."""


def make(repository: Path, scenario: Scenario) -> None:
    """Write them into a repository that is not there yet."""
    asked = {mix.model for mix in scenario.mix}
    for model, maker in MAKERS.items():
        if model in asked or model not in ON_DEMAND:
            for version in versions(scenario, model):
                maker(repository, version)


def versions(scenario: Scenario, model: str) -> list[str]:
    """The numbers of a model's versions: the usual ones, and those that the scenario speaks of."""
    named = {*USUAL.get(model, ("1",)), *scenario.server.versions.get(model, ())}
    named |= {mix.version for mix in scenario.mix if mix.model == model}
    for action in scenario.action:
        match action:
            case PublishAction() if action.model == model:
                named.add(action.version)
            case AdminAction() if action.request.get("model") == model:
                named.add(_text(action.request.get("version")))
    return sorted((each for each in named if each.isdecimal() and each.isascii() and each[0] != "0"), key=int)


def _text(value: Any) -> str:
    """A version may be anything until the request is made."""
    return value if isinstance(value, str) else ""
