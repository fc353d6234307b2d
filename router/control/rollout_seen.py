"""What is seen of a rollout: of its candidate and the champion beside it, of the model, of those who run copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from router.control.change import Changes
from router.control.records import Case
from router.core.bake import NONE, Instant, compared
from router.core.rollout import Seen
from router.core.version import Stage
from router.core.vitals import Vitals
from router.core.warmup import Figures

AllVitals = Mapping[tuple[str, str], Vitals]
"""By model and number."""
FiguresOf = Callable[[str, str, str], Figures | None]
"""What an observation has seen: of a model, of the version that is run, on copies of the runs of another."""


def seen(changes: Changes, figures: FiguresOf, case: Case, vitals: AllVitals | None, now: float) -> Seen:
    """A rollout's candidate and what it is compared with. `vitals` None: the workers do not say. `now` is monotonic."""
    model, number, champion = case.model, case.number, str(case.body.get("champion", ""))
    instant = None
    if vitals is not None:
        ours, theirs = (vitals.get((model, each), NONE) for each in (number, champion))
        instant = Instant(now, ours, theirs, compared(figures(model, champion, number)))
    route = changes.table.routes.get(model)
    left = 100.0 - sum(route.split.shares.values()) if route is not None else 100.0
    gone, broken = _out(changes, case, champion)
    shadow = figures(model, number, champion)
    if not broken and shadow is not None and shadow.failed:
        broken = f"it cannot be run on copies: {shadow.failed}"
    return Seen(now, left, instant, gone, broken, changes.registry.is_frozen(model))


def _out(changes: Changes, case: Case, champion: str) -> tuple[str, str]:
    """Why there is nothing to roll out any more, or why the candidate cannot go on; empty where it can."""
    record = changes.registry.records.get((case.model, case.number))
    first = changes.registry.at(case.model, Stage.CHAMPION)
    if record is None:
        return "nothing is known of it any more", ""
    if record.stage is Stage.FAILED:
        return "", record.reason or "it has failed"
    if record.stage is not Stage.CHALLENGER:
        return f"it is {record.stage} by now, made so by {record.actor}", ""
    if first is None:
        return "its model has no champion any more", ""
    if first.number != champion:
        return f"the champion is version {first.number} by now, made so by {first.actor}", ""
    return "", ""
