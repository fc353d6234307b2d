"""What may be done with a version: at which stage of its life, by whom. One table; what is not in it is refused.

Two refusals differ: who may not do it at all (`Denied`, with the role that it takes), and what cannot be done now
(`Refused`, with the stages at which it can). What else stands in the way (a frozen model, no memory, another rollout)
is seen where the action is carried out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from router.core.access import Actor, permit
from router.core.importance import Rule
from router.core.version import SERVING, UNDER_TRIAL, Stage
from router.errors import Refused


class Action(StrEnum):
    """What somebody wants."""

    TEST = "test"
    WARM = "warm"
    LOAD = "load"
    UNLOAD = "unload"
    PROMOTE = "promote"
    CANARY = "promote by canary"
    OVERRIDE = "promote against the gates"
    ROLLBACK = "rollback"
    CHALLENGE = "challenge"
    SPLIT = "split"
    WITHDRAW = "withdraw"
    START_TRIAL = "start a trial"
    STOP_TRIAL = "stop a trial"
    STOP_ROLLOUT = "stop a rollout"
    APPROVE = "approve"
    REJECT = "reject"
    ALIAS = "alias"
    FREEZE = "freeze"
    APPLY = "apply"


@dataclass(frozen=True, slots=True)
class Terms:
    """On which an action is to be had: `method` of the admin service, whose role it takes, and `stages`."""

    method: str
    stages: frozenset[Stage] = frozenset(Stage)


_IDLE: Final = frozenset({Stage.FOUND, Stage.RETIRED, Stage.FAILED})
"""Nothing of it is in memory, and nobody has it in hand."""

TERMS: Final[Mapping[Action, Terms]] = {
    Action.TEST: Terms("TestVersion", _IDLE | {Stage.READY}),
    Action.WARM: Terms("WarmVersion", _IDLE | {Stage.READY}),
    Action.LOAD: Terms("LoadModel", _IDLE | SERVING),
    Action.UNLOAD: Terms("UnloadModel", SERVING - {Stage.CHAMPION}),
    Action.PROMOTE: Terms("Promote", SERVING - {Stage.CHAMPION}),
    Action.CANARY: Terms("Promote", frozenset({Stage.READY, Stage.CHALLENGER})),
    Action.OVERRIDE: Terms("Promote", (_IDLE | SERVING) - {Stage.CHAMPION}),
    Action.ROLLBACK: Terms("Rollback", (SERVING - {Stage.CHAMPION}) | {Stage.RETIRED, Stage.FAILED}),
    Action.CHALLENGE: Terms("Challenge", frozenset({Stage.READY, Stage.CHALLENGER})),
    Action.SPLIT: Terms("SetSplit", frozenset({Stage.CHALLENGER})),
    Action.WITHDRAW: Terms("Withdraw", frozenset({Stage.CHALLENGER})),
    Action.START_TRIAL: Terms("StartTrial", frozenset({Stage.CHALLENGER})),
    Action.STOP_TRIAL: Terms("StopTrial"),  # from here on it is all one where the version stands
    Action.STOP_ROLLOUT: Terms("StopRollout"),
    Action.APPROVE: Terms("Approve"),
    Action.REJECT: Terms("Reject"),
    Action.ALIAS: Terms("SetAlias"),
    Action.FREEZE: Terms("Freeze"),
    Action.APPLY: Terms("Apply"),
}
PROMOTIONS: Final = frozenset({Action.PROMOTE, Action.CANARY, Action.OVERRIDE})
"""Actions of which the policy of the model's importance says who may do them, and who must agree."""


def check_actor(action: Action, who: Actor, rule: Rule, model: str) -> None:
    """Whether somebody may do this with a model for which `rule` holds. Raises Denied, with the rule that says no."""
    override = action is Action.OVERRIDE
    if action in PROMOTIONS:
        rule.permit(who, model, override=override)
    permit(who, TERMS[action].method, override)


def check_stage(action: Action, model: str, number: str, stage: Stage) -> None:
    """Whether this can be done with a version that is where it is. Raises Refused, with the stages at which it can."""
    may = TERMS[action].stages
    if stage in may:
        return
    what = f"version {number} of model '{model[:200]}'"
    if stage in UNDER_TRIAL:
        raise Refused(f"{what} is {stage}: wait for its verdict (`router watch {model[:200]}`)")
    if stage is Stage.DRAINING:
        raise Refused(f"{what} is draining: try again in a moment")
    if action in PROMOTIONS and stage is Stage.CHAMPION:
        raise Refused(f"{what} is its champion already")
    words = ", ".join(each for each in Stage if each in may)
    raise Refused(f"{what} is {stage}: to {action} it must be {words}")
