"""On what terms a canary can begin: against whom, of which version, and with which share."""

from __future__ import annotations

from router.control.planning import Planning
from router.control.records import VersionRecord
from router.control.registry import Registry
from router.core.rollout import Rollout, begin
from router.core.standing import CaseKind
from router.core.table import Route
from router.core.version import Stage
from router.core.vitals import Vitals
from router.errors import Conflict, Refused


def champion_of(registry: Registry, model: str, believed: str) -> VersionRecord:
    """The champion of a model. Raises Refused without one, Conflict where it is another than somebody believes."""
    now = registry.at(model, Stage.CHAMPION)
    if now is None:
        raise Refused(f"model '{model}' has no champion to compare with: promote the version without --canary")
    if now.number != believed:
        who = f"version {now.number}, made so by {now.actor}"
        raise Conflict(f"the champion of '{model}' is {who}, not {believed or 'none'}: look again")
    return now


def check(registry: Registry, planning: Planning, record: VersionRecord, *, override: bool) -> None:
    """Whether a version may be rolled out now. Raises Refused, Conflict."""
    model, number = record.model, record.number
    if (other := registry.case(model, CaseKind.ROLLOUT)) is not None:
        raise Conflict(
            f"version {other.number} of model '{model}' is being rolled out already (canary {other.id}, begun by"
            f" {other.actor}): wait for its end, or `router canary {model} --stop`"
        )
    if record.stage is Stage.CHAMPION:
        raise Refused(f"version {number} of model '{model}' is its champion already")
    if record.stage is Stage.STANDBY:
        raise Refused(
            f"version {number} of model '{model}' is its standby: `router rollback {model}` makes it answer again"
        )
    if obstacles := planning.obstacles(record, override=override):
        raise Refused(obstacles[0])


def first_step(route: Route, record: VersionRecord, counted: Vitals | None, now: float) -> Rollout:
    """The rollout that begins, at `now` in monotonic seconds; `counted` is what callers had of the version before.

    Raises Refused where the version has callers who are not drawn by lot, or other challengers leave it no room.
    """
    model, number = record.model, record.number
    settings, shares = route.settings.canary, route.split.shares
    if match := next((each for each in route.split.matches if each.number == number), None):
        raise Refused(
            f"version {number} of model '{model}' has the callers with {match.key} = {match.value}, who are no fair"
            f" sample to compare with the champion's: `router challenge {model} {number} --withdraw` takes them away"
        )
    others = {each: share for each, share in shares.items() if each != number}
    whole = 100.0 - sum(others.values())
    if whole < settings.room:
        told = ", ".join(f"version {each} {share:g} %" for each, share in others.items())
        raise Refused(
            f"other challengers of model '{model}' have {100 - whole:g} % of its requests ({told}): a canary begins"
            f" with {settings.room - settings.control:g} %, and {settings.control:g} % stay with the champion"
        )
    return begin(settings, shares.get(number, 0.0), whole, now, counted)
