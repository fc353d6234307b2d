"""A rollout as it is kept: what of it outlives the process, as plain JSON, and the rollout that goes on from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from router.control.records import Case, Order, VersionRecord
from router.core.bake import NONE
from router.core.rollout import Rollout, advanced
from router.core.standing import CaseKind
from router.core.vitals import Vitals, vitals_of
from router.errors import RouterError
from router.version_settings import CanarySettings


def opened(number: int, record: VersionRecord, champion: str, rollout: Rollout, order: Order, wall: float) -> Case:
    """The case of a rollout that begins. `number` is the case's own, `wall` seconds since 1970.

    Its body holds the `champion`, the `reason` and the `settings` that it goes by, `step` (from 0) and `share`; the
    `seconds` and `looks` until then, what callers had of the candidate (`served`) and `text` for a person, all of them
    stored anew now and then; and of each step that is over, in `steps`, what both had in it and the findings of its
    bake.
    """
    body: dict[str, Any] = {
        "champion": champion,
        "reason": order.reason,
        "settings": rollout.settings.model_dump(mode="json"),
        "steps": [],
    }
    case = Case(number, CaseKind.ROLLOUT, record.model, record.number, record.digest, order.actor, wall, state="baking")
    return moved_on(replace(case, body=body), rollout, wall)


def moved_on(case: Case, rollout: Rollout, wall: float) -> Case:
    """The case of a rollout that begins a step."""
    body = {**case.body, "step": rollout.at, "share": rollout.share, "step_began": wall}
    return kept_up(replace(case, body=body), rollout, rollout.began)


def kept_up(case: Case, rollout: Rollout, now: float, waits: str = "") -> Case:
    """The case with what has come since its step began: what a rollout that is resumed must not have anew.

    `waits`: what its step waits for, for a person. `now` is in monotonic seconds.
    """
    body = {
        **case.body,
        "seconds": rollout.seconds(now),
        "looks": rollout.looks,
        "served": rollout.served.counts(),
        "counted": None if rollout.counted is None else rollout.counted.counts(),
        "old_champion": rollout.champion.plain(),
        "text": f"{rollout.step} of the requests" + (f": {waits}" if waits else ""),
    }
    return replace(case, body=body)


def baked(case: Case, rollout: Rollout, now: float, wall: float) -> Case:
    """The case with its present step among those that are over. `now` is in monotonic seconds."""
    bake, before = rollout.bake, case.body.get("steps", [])
    made: dict[str, Any] = {
        "step": rollout.at,
        "share": rollout.share,
        "began": case.body.get("step_began", case.began),
        "ended": wall,
        "seconds": max(now - rollout.began, 0.0),
        "findings": [each.facts for each in rollout.findings],
    }
    if bake is not None:
        for name in ("candidate", "control"):
            had = getattr(bake.past[-1], name).since(getattr(bake.began, name)) or NONE
            made[name] = had.plain()
    return replace(case, body={**case.body, "steps": [*(before if isinstance(before, list) else ()), made]})


def stepped(case: Case, rollout: Rollout, share: float, now: float, wall: float) -> tuple[Case, Rollout]:
    """The case and its rollout in the next step, which begins now."""
    following = advanced(rollout, share, now)
    return moved_on(baked(case, rollout, now, wall), following, wall), following


def ended(case: Case, rollout: Rollout, state: str, why: str, now: float, wall: float) -> Case:
    """The case that is over: finished, undone or stopped."""
    had = callers(rollout.served)
    closed = baked(case, rollout, now, wall)
    body = {**closed.body, "seconds": rollout.seconds(now), "looks": rollout.looks, "served": rollout.served.counts()}
    body |= {"why": why, "text": f"{state}: {why}; {had}"}
    return replace(closed, ended=wall, state=state, body=body)


def callers(served: Vitals) -> str:
    """How many callers the candidate has had, for a person."""
    had = f"it had {served.requests} requests"
    parts = [(served.failures, "failed"), (served.fallbacks, "were answered by something else")]
    return ", ".join([had, *(f"{count} of them {what}" for count, what in parts if count)])


def resumed(case: Case, now: float) -> Rollout:
    """The rollout of a case that was stored: at its step, whose bake begins anew. Raises RouterError."""
    body = case.body
    try:
        settings = CanarySettings.model_validate(body["settings"])
        at, old = int(body["step"]), body["old_champion"]
        if not 0 <= at < len(settings.steps):
            raise ValueError("no such step")
        if not isinstance(body["champion"], str) or not isinstance(body.get("steps", []), list):
            raise TypeError("another form")
        return Rollout(
            settings,
            at,
            float(body["share"]),
            now,
            spent=float(body["seconds"]),
            looks=int(body["looks"]),
            served=vitals_of(body["served"]),
            counted=None if body["counted"] is None else vitals_of(body["counted"]),
            champion=vitals_of(old),
        )
    except (ValidationError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RouterError(f"case {case.id} of the store holds no rollout that this program can go on with") from error
