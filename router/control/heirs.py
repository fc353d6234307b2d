"""Who takes the place of a champion that is lost: at once, and nobody to whom others would have had to agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from router.control.records import Case, VersionRecord
from router.control.rollout_case import callers, ended, resumed
from router.core.standing import CaseKind
from router.core.version import Stage
from router.errors import RouterError

log = structlog.get_logger()

Unapproved = Callable[[str, Sequence[str]], Mapping[str, str]]
"""Of a model's versions, those that may not answer for it unless others agree, and why. It blocks and raises
RouterError."""


def all_may(_model: str, _numbers: Sequence[str]) -> Mapping[str, str]:
    """Nobody need agree to any."""
    return {}


@dataclass(frozen=True, slots=True)
class Inheritance:
    """`heir` None: the model goes dark, and its fallback answers. `over` is the canary that ends with it. `passed` are
    the versions that were passed over, each with the reason."""

    heir: VersionRecord | None = None
    over: Case | None = None
    passed: tuple[tuple[VersionRecord, str], ...] = ()


def inheritance(
    lost: VersionRecord, able: Iterable[VersionRecord], cases: Iterable[Case], unapproved: Unapproved, wall: float
) -> Inheritance:
    """Who succeeds: who stands by; else the candidate of a canary that is under way, as that was agreed to and serves;
    else the newest that is ready and may.

    `able` are the model's other versions that can be served, newest first; `cases` are those that are open. `wall` is
    in seconds since 1970.
    """
    others = list(able)
    standby = next((each for each in others if each.stage is Stage.STANDBY), None)
    if standby is not None:
        return Inheritance(standby)
    for case in cases:
        if case.kind is not CaseKind.ROLLOUT or case.model != lost.model or not case.open:
            continue
        candidate = next((e for e in others if e.number == case.number and e.stage is Stage.CHALLENGER), None)
        if candidate is not None and (over := _over(case, lost, wall)) is not None:
            return Inheritance(candidate, over)
    ready = [each for each in others if each.stage is Stage.READY]
    numbers = [each.number for each in ready]
    try:
        against = unapproved(lost.model, numbers) if numbers else {}
    except RouterError as error:  # then nobody knows who may
        against = dict.fromkeys(numbers, f"it is not known whether others have agreed to it: {error}")
    for number, why in against.items():
        log.warning("a version may not succeed", model=lost.model, version=number, lost=lost.number, reason=why)
    heir = next((each for each in ready if each.number not in against), None)
    if heir is None:
        log.error("a model has lost its champion, and nothing else may answer", model=lost.model, lost=lost.number)
    told = f"it could not take the place of version {lost.number}: "
    return Inheritance(heir, passed=tuple([(e, told + against[e.number]) for e in ready if e.number in against]))


def _over(case: Case, lost: VersionRecord, wall: float) -> Case | None:
    """The canary that comes to its end early, with what was counted last; None where what is stored of it cannot be
    read."""
    why = f"version {lost.number} cannot be loaded any more, and version {case.number} has taken its place"
    try:
        rollout = resumed(case, 0.0)
    except RouterError as error:
        log.error("a candidate cannot succeed", model=case.model, version=case.number, reason=str(error))
        return None
    closed = ended(case, rollout, "finished", why, rollout.began, wall)
    text = f"finished: {why}; when it was last counted, {callers(rollout.served)}"
    return replace(closed, body={**closed.body, "text": text})
