"""Which challengers run copies of what their champions are asked, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from router.control.warmup import Observed
from router.core.table import Route, Version
from router.model_settings import ModelSettings

MOST_PER_S: Final = 100.0
"""Requests whose copies go to shadows, of all models together, in each worker: a copy costs the worker some 50 µs."""


def shadows(routes: Mapping[str, Route]) -> dict[Observed, tuple[Version, Version, ModelSettings]]:
    """Each shadow with what observes it is to know. Where many models have some, each has its part of what there is."""
    going = [route for route in routes.values() if route.shadows and route.champion is not None]
    made: dict[Observed, tuple[Version, Version, ModelSettings]] = {}
    for route in going:
        champion = str(route.champion)
        trial = route.settings.trial
        most = min(trial.max_per_s, MOST_PER_S / len(going))
        for number in sorted(route.shadows):
            wanted = Observed(route.model, number, champion, trial.fraction, most)
            made[wanted] = (route.versions[number], route.versions[champion], route.settings)
    return made
