"""The rollout of a candidate: its share grows step by step, as long as its bakes find nothing against it. Pure.

A rollout is a value. `decide` looks at what is seen of it and says what is to be done; whoever asked does that, and
makes the value that follows with `advanced`. Nothing here changes what serves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from router.core.bake import FEW, NONE, Bake, Finding, Instant, breaches, found, level
from router.core.vitals import Vitals
from router.version_settings import CanarySettings

WITHOUT: Final = "canary.min_agreement = 0 does without"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a rollout stands. Times are monotonic seconds, shares percent.

    `at` is the step, from 0, and `share` what the candidate has in it. `spent` is what the steps before took. `looks`
    counts the comparisons so far. `served` is what callers had of the candidate since the canary began, and `counted`
    its counters when that was last added up, None: not yet; `here` is how many requests the step has had of the
    candidate, `there` of the old champion. `bake` is None until the step is looked at for the first time. `champion` is
    what callers had of the old champion while it had no smaller share than the candidate. `findings` are the latest
    ones.
    """

    settings: CanarySettings
    at: int
    share: float
    began: float
    spent: float = 0.0
    looks: int = 0
    served: Vitals = NONE
    counted: Vitals | None = None
    here: int = 0
    there: int = 0
    bake: Bake | None = None
    champion: Vitals = NONE
    findings: tuple[Finding, ...] = ()

    @property
    def step(self) -> str:
        """For a person: which step it is of how many, and the candidate's share."""
        return f"step {self.at + 1} of {len(self.settings.steps)}, {self.share:g} %"

    @property
    def last(self) -> bool:
        """Whether no step follows."""
        return self.at + 1 >= len(self.settings.steps)

    def seconds(self, now: float) -> float:
        """How long the canary has taken; a step never takes less than no time."""
        return self.spent + max(now - self.began, 0.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of a rollout at a time. `left` is the champion's own share in percent.

    `instant` is None where the workers could not be asked. `gone`: why there is nothing to roll out any more; `broken`:
    why the candidate cannot go on. `frozen`: its share must not grow now. `uncompared`: why the old champion does not
    run copies of the candidate's requests now; empty where it does.
    """

    now: float
    left: float
    instant: Instant | None = None
    gone: str = ""
    broken: str = ""
    frozen: bool = False
    uncompared: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is to be done now. `waits`: what for, for a person."""

    waits: str


@dataclass(frozen=True, slots=True)
class Advance:
    """The next step: the candidate gets this share."""

    share: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The last bake is over: the candidate becomes the champion."""


@dataclass(frozen=True, slots=True)
class Undo:
    """The candidate loses its share. `broken`: by its own fault, so that it is not to be tried again as it is."""

    reason: str
    broken: bool = False


Decision = Hold | Advance | Finish | Undo


def begin(settings: CanarySettings, share: float, whole: float, now: float, counted: Vitals | None = None) -> Rollout:
    """A rollout of a candidate that has this share by now: it keeps it where that is more than the first step's.

    `whole` is what it and the champion have together. The control stays with the champion, also where the candidate had
    that too: without it there is nothing to compare with.
    """
    at = max((at for at, step in enumerate(settings.steps) if step <= share), default=0)
    begins = min(_share(settings, at, share, whole), whole - settings.control)
    return Rollout(settings, at, begins, now, counted=counted)


def advanced(rollout: Rollout, share: float, now: float) -> Rollout:
    """In its next step, which begins now."""
    fresh = replace(rollout, at=rollout.at + 1, share=share, began=now, spent=rollout.seconds(now))
    return replace(fresh, here=0, there=0, bake=None, findings=())


def counted(rollout: Rollout, now: Vitals) -> Rollout:
    """With what callers had of the candidate until `now`. What counters lost that began anew is not known."""
    more = now.since(rollout.counted) if rollout.counted is not None else None
    return replace(rollout, counted=now, served=rollout.served + (more or NONE))


def planned(settings: CanarySettings) -> int:
    """How many looks the bakes of a canary have, if there are requests enough."""
    return len(settings.steps) * max(ceil(settings.bake_seconds / settings.check_seconds), 1)


def decide(rollout: Rollout, seen: Seen, control: str) -> tuple[Rollout, Decision]:
    """The rollout after what is seen, and what is to be done. `control` names the old champion for people."""
    rollout = _looked(rollout, seen, control) if seen.instant is not None else rollout
    settings, spent = rollout.settings, rollout.seconds(seen.now)
    if seen.gone:
        return rollout, Undo(seen.gone)
    if seen.broken:
        return rollout, Undo(seen.broken, broken=True)
    if wrong := breaches(rollout.findings) if seen.instant is not None else ():
        return rollout, Undo("; ".join(each.text for each in wrong), broken=True)
    if not (waits := _waits(rollout, seen, control)):
        if rollout.last:
            return rollout, Finish()
        return rollout, Advance(_share(settings, rollout.at + 1, rollout.share, seen.left + rollout.share))
    if spent > settings.max_seconds:
        limit = f"canary.max_seconds = {settings.max_seconds:g}"
        return rollout, Undo(f"not over after {limit}, in {rollout.step}: {waits}")
    return rollout, Hold(waits)


def _waits(rollout: Rollout, seen: Seen, control: str) -> str:
    """What the step waits for, for a person; empty where it is over."""
    settings, few = rollout.settings, min(FEW, rollout.settings.min_requests)  # of nobody more than was asked for
    if seen.instant is None:
        return "the workers do not say how it does"
    if rollout.here < settings.min_requests:
        return f"too little traffic, {rollout.here} of {settings.min_requests} requests"
    bake = rollout.bake
    if bake is None or len(bake.past) < 2 or seen.now - bake.began.seconds < settings.bake_seconds:
        return "it is still baking"
    if rollout.there < few:
        return f"too little to compare with, version {control} had {rollout.there} of {few} requests"
    if few and settings.min_agreement:
        if seen.uncompared:
            return f"its answers cannot be compared ({WITHOUT}): {seen.uncompared}"
        if bake.compared.lacks(few):
            rows = max((rows for rows, _ in bake.compared.outputs.values()), default=0)
            return (
                f"too few of its answers could be compared with those of version {control} to the same requests"
                f" ({WITHOUT}): {bake.compared.requests} requests with {rows} rows, of {few} each"
            )
    return "its model is frozen" if seen.frozen else ""


def _looked(rollout: Rollout, seen: Seen, control: str) -> Rollout:
    """With what this look has found."""
    assert seen.instant is not None
    rollout = counted(rollout, seen.instant.candidate)
    if rollout.bake is None:
        return replace(rollout, bake=Bake.at(seen.instant))
    settings, before = rollout.settings, rollout.bake.past[-1]
    bake = rollout.bake.after(seen.instant)
    ours, theirs = seen.instant.candidate.since(before.candidate), seen.instant.control.since(before.control)
    if ours is None or theirs is None:  # counters began anew: the bake goes on from here
        return replace(rollout, bake=bake, findings=())
    looks, larger = rollout.looks + 1, rollout.share > seen.left
    champion = rollout.champion if larger else rollout.champion + theirs
    rare = level(looks, planned(settings), settings.alpha)
    findings = found(bake, settings, rare, control, champion if larger else None)
    here, there = rollout.here + ours.requests, rollout.there + theirs.requests
    return replace(rollout, looks=looks, here=here, there=there, bake=bake, champion=champion, findings=findings)


def _share(settings: CanarySettings, at: int, share: float, whole: float) -> float:
    """What the candidate gets in a step, of what it and the champion have together: some stays with the champion."""
    return max(share, min(settings.steps[at], whole - settings.control))
