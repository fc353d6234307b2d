"""What is seen of a rollout: of its candidate and the champion beside it, of the model, of those who run copies."""

from __future__ import annotations

from router.control.change import Changes
from router.control.crashes import CrashesOf
from router.control.records import Case
from router.core.bake import NONE, Instant, compared
from router.core.rollout import Seen
from router.core.version import Stage
from router.core.vitals import AllVitals
from router.core.warmup import Figures, FiguresOf


def seen(
    changes: Changes, figures: FiguresOf, crashes: CrashesOf, case: Case, vitals: AllVitals | None, now: float
) -> Seen:
    """A rollout's candidate and what it is compared with. `vitals` None: the workers do not say. `now` is monotonic."""
    model, number, champion = case.model, case.number, champion_of_case(case)
    beside, shadow = figures(model, champion, number), figures(model, number, champion)
    instant = None
    if vitals is not None:
        ours, theirs = (vitals.get((model, each), NONE) for each in (number, champion))
        instant = Instant(now, ours, theirs, compared(beside))
    route = changes.table.routes.get(model)
    left = 100.0 - sum(route.split.shares.values()) if route is not None else 100.0
    gone, broken = out(changes, case)
    if not gone and not broken:
        gone, broken = _crashed(changes, crashes, case)
    if not broken and shadow is not None and shadow.failed:
        broken = f"it cannot be run on copies: {shadow.failed}"
    return Seen(now, left, instant, gone, broken, changes.registry.is_frozen(model), _uncompared(beside, champion))


def champion_of_case(case: Case) -> str:
    """The champion that a rollout began with; empty in a case that does not say, which no champion is."""
    return str(case.body.get("champion", ""))


def _uncompared(beside: Figures | None, champion: str) -> str:
    """Why the old champion does not run copies now, if that is so."""
    if beside is not None and beside.failed:
        return f"version {champion} cannot be run on copies of its requests: {beside.failed}"
    if beside is None or not beside.loaded:
        return f"version {champion} is not loaded in the warm-up worker, to be run on copies of its requests"
    return ""


def _crashed(changes: Changes, crashes: CrashesOf, case: Case) -> tuple[str, str]:
    """What crashes of workers since the canary began say of the candidate: nothing, that it is in doubt, or its fault.

    A worker that crashes takes with it what it had counted: these failures are seen nowhere else. Where runs of the old
    champion were in a crash as well, nobody knows whose it was.
    """
    route, champion = changes.table.routes.get(case.model), champion_of_case(case)
    if route is None or case.number not in route.versions:
        return "", ""
    count = crashes(route.versions[case.number], case.began)
    if not count:
        return "", ""
    what = f"a worker crashed {'once' if count == 1 else f'{count} times'} while it ran requests of it"
    theirs = crashes(route.versions[champion], case.began) if champion in route.versions else 0
    if theirs:
        return f"{what}, and of version {champion}: nobody knows whose fault it was", ""
    return "", what


def out(changes: Changes, case: Case) -> tuple[str, str]:
    """Why there is nothing to roll out any more, or why the candidate cannot go on; empty where it can."""
    record = changes.registry.records.get((case.model, case.number))
    first, champion = changes.registry.at(case.model, Stage.CHAMPION), champion_of_case(case)
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
