"""When a model is to be trained anew, and how such a run may end. Pure: instants are arguments, in seconds since 1970.

A decline asks for one run when it begins, not for as long as it lasts: what has been trained on the new data has to be
tried first. Where it begins too soon after the last run, it waits, and is forgotten if all is well again by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final


class Trigger(StrEnum):
    """Why a run begins. The first three are also the kinds of the events that tell of a decline."""

    ACCURACY = "accuracy"
    DRIFT = "drift"
    HEALTH = "health"
    SCHEDULE = "schedule"
    HAND = "hand"


DECLINES: Final = (Trigger.ACCURACY, Trigger.DRIFT, Trigger.HEALTH)
"""What is closest to the callers' harm comes first."""
AGAIN_S: Final = 60.0
"""After a run that came to nothing a decline that goes on rests for so long, however short the interval is."""
LEVELS: Final[Mapping[str, int]] = {"green": 0, "yellow": 1, "red": 2}
"""Of a status, the worst last."""


class State(StrEnum):
    """Where a run stands: the first three are under way, the others its ends."""

    RUNNING = "running"
    """The command runs."""
    ASKED = "asked"
    """Others train; their version is waited for."""
    BROUGHT = "brought"
    """The new version is in the repository, and goes through its gates."""
    DONE = "done"
    """Its version has passed, as far as was wanted."""
    REJECTED = "rejected"
    """Its version has failed."""
    UNSTARTED = "unstarted"
    """The command could not be started."""
    FAILED = "failed"
    """The command ended with another exit code than 0, or what it brought could not be taken."""
    TIMEOUT = "timeout"
    EMPTY = "empty"
    """Nothing was brought back, or no model file."""
    SAME = "same"
    """The same files as a version that is known."""
    FULL = "full"
    """No room on the disk for what was brought."""
    STOPPED = "stopped"
    """By hand."""
    INTERRUPTED = "interrupted"
    """The controller ended meanwhile."""


CAME_TO_NOTHING: Final = (
    State.REJECTED,
    State.UNSTARTED,
    State.FAILED,
    State.TIMEOUT,
    State.EMPTY,
    State.FULL,
)
"""Ends after which a decline that goes on asks for another run: not one by hand, nor one that brings the same again."""
UNDER_WAY: Final = (State.RUNNING, State.ASKED, State.BROUGHT)
ENDS: Final = tuple(each for each in State if each not in UNDER_WAY)


@dataclass(frozen=True, slots=True)
class Policy:
    """When a model is trained anew by itself. `declines`: from which status on, by trigger."""

    declines: Mapping[Trigger, str] = field(default_factory=dict)
    min_interval_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What asks for a run: why by trigger, and when the schedule fires next (None: it has none)."""

    declines: Mapping[Trigger, str] = field(default_factory=dict)
    scheduled: float | None = None
    status: Mapping[Trigger, str] = field(default_factory=dict)
    """As it was heard last."""
    again_at: float = 0.0
    """No decline asks for another run before."""

    def heard(self, policy: Policy, trigger: Trigger, status: str, why: str) -> Waiting:
        """After an event: `status` is green, yellow or red; any other says nothing."""
        if status not in LEVELS:
            return self
        known = replace(self, status={**self.status, trigger: status})
        others = {each: told for each, told in self.declines.items() if each is not trigger}
        threshold = policy.declines.get(trigger)
        if threshold is None or LEVELS[status] < LEVELS[threshold]:
            return replace(known, declines=others)
        before = self.status.get(trigger, "green")
        if trigger not in self.declines and LEVELS[before] >= LEVELS[threshold]:  # it has had its run
            return known
        return replace(known, declines={**others, trigger: why})

    def again(self, policy: Policy, trigger: Trigger, why: str, now: float) -> Waiting:
        """After a run that came to nothing: a decline that goes on asks for another, after a rest."""
        threshold = policy.declines.get(trigger)
        if threshold is None or LEVELS[self.status.get(trigger, "green")] < LEVELS[threshold]:
            return self
        return replace(self, declines={**self.declines, trigger: why}, again_at=now + AGAIN_S)

    def pause(self, now: float) -> float:
        """For how many seconds no decline asks for another run."""
        return self.again_at - now if now < self.again_at <= now + AGAIN_S else 0.0

    def begun(self, scheduled: float | None) -> Waiting:
        """After a run has begun: everything that asked for one has it. `scheduled` is the next instant."""
        return replace(self, declines={}, scheduled=scheduled)


@dataclass(frozen=True, slots=True)
class Due:
    """A run that is to begin now."""

    trigger: Trigger
    why: str


def due(policy: Policy, waiting: Waiting, now: float, last: float | None) -> Due | None:
    """What is to begin, if anything. `last` is when a run of the model began, None where none ever has.

    A clock that was set back keeps nothing waiting for longer than the interval, or a rest.
    """
    if rests(policy, now, last) > 0:
        return None
    for trigger in DECLINES:
        if trigger in waiting.declines and not waiting.pause(now):
            return Due(trigger, waiting.declines[trigger])
    if waiting.scheduled is not None and waiting.scheduled <= now:
        return Due(Trigger.SCHEDULE, "it was due")
    return None


def rests(policy: Policy, now: float, last: float | None) -> float:
    """For how many seconds no run begins by itself."""
    return 0.0 if last is None or last > now else max(0.0, last + policy.min_interval_s - now)


def newer(number: str, than: object) -> bool:
    """Whether a version came after another, both by their numbers; every one comes after none."""
    return not isinstance(than, str) or not than.isdecimal() or int(number) > int(than)
