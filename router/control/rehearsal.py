"""A version that the warm-up worker runs on copies: what the worker is told of it, and what was seen."""

from __future__ import annotations

import asyncio
import math
import uuid
from dataclasses import dataclass, field, replace
from typing import Final

from router.core.gate import Outcome
from router.core.table import Version
from router.core.warmup import Accuracy, Figures, Purpose, Source, crashed, stability, summed
from router.model_settings import ModelSettings

MAX_DEATHS: Final = 3
"""A version is given up when the worker has died so often while it was run, unless surely for another reason,"""
DEATHS_WITHIN_S: Final = 3600.0
"""within so long: an observation may go on for weeks."""
ALONE_S: Final = 60.0
"""An observation that may have taken the worker down runs alone for so long. A warm-up does until its verdict."""


@dataclass(frozen=True, slots=True)
class WarmOrder:
    """A version that is to be run. `run` tells one stretch of it from the next.

    Copies of runs of `champion` count (of a control that is the candidate of a canary); None: there is none. It takes
    the part `share` of the copies that come, and of each worker at most `max_per_s` requests a second. Beside live
    copies, `count` requests of `source`. `beside`: the champion is run beside it, to compare their times.
    """

    run: str
    version: Version
    champion: Version | None
    settings: ModelSettings
    source: Source = Source.LIVE
    count: int = 0
    purpose: Purpose = Purpose.WARM_UP
    share: float = 1.0
    max_per_s: float = math.inf
    beside: bool = True


@dataclass(frozen=True, slots=True)
class Seen:
    """What the warm-up worker says of one version, and which source it is at."""

    run: str
    source: Source
    figures: Figures
    accuracy: Accuracy


def new_run() -> str:
    """Of a stretch that begins."""
    return uuid.uuid4().hex


@dataclass(slots=True, eq=False)
class Rehearsal:
    """One version on copies, from when it is wanted until it is not: to be warmed, or observed.

    It may be interrupted: by a death of the worker, or while another one runs alone. A warm-up then begins afresh. Of
    an observation `before` keeps what was seen in the stretches before this one.
    """

    order: WarmOrder
    fraction: float
    """Of the champion's runs so many are to be copied for it,"""
    max_per_s: float
    """and at most so many requests a second in each worker."""
    began: float
    figures: Figures = field(default_factory=Figures)
    before: Figures = field(default_factory=Figures)
    accuracy: Accuracy | None = None
    incarnation: str = ""
    """Of the warm-up worker that was last told of it; empty while it is to run in none."""
    deaths: list[float] = field(default_factory=list)
    suspect: bool = False
    over: Outcome | None = None
    """Why it is not run any more."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str:
        """Whose runs are copied."""
        return self.order.version.model

    @property
    def observed(self) -> bool:
        """Whether it goes on without a verdict."""
        return self.order.purpose is not Purpose.WARM_UP

    @property
    def total(self) -> Figures:
        """All that was seen of it."""
        known = summed(self.before, self.figures)
        return replace(known, loaded=False, failed=self.over.reason, running_s=0.0) if self.over else known

    def take(self, seen: Seen) -> bool:
        """The worker tells of it. Whether that changes what others are to do: it is loaded now, or at its end."""
        before, alone = self.figures.loaded, self.suspect
        more = seen.source is not self.order.source  # the worker has not heard of the new source yet
        self.figures = replace(seen.figures, exhausted=seen.figures.exhausted and not more)
        self.accuracy = seen.accuracy
        if self.observed:
            self.over = stability(self.figures)
            self.suspect = self.suspect and self.figures.seconds < ALONE_S
        self.changed.set()
        return self.figures.loaded != before or self.over is not None or self.suspect != alone

    def interrupted(self) -> None:
        """It is not run any more for now; when it is again, that is another stretch."""
        if self.observed:
            self.before = summed(self.before, replace(self.figures, loaded=False, failed="", running_s=0.0))
        self.figures = Figures()
        self.order = replace(self.order, run=new_run())
        self.incarnation = ""

    def died(self, now: float, requests: int, *, sure: bool, innocent: bool, champion: bool) -> None:
        """The worker has died, in so many requests that it ran; `sure` if in those of no other version.

        `innocent` if in those of others, or as it went by itself. `champion`: it may have been the one that runs beside
        it, which is not done again.
        """
        self.interrupted()
        if champion:
            self.order = replace(self.order, beside=False)
        if not innocent:
            self.deaths = [*(at for at in self.deaths if now - at < DEATHS_WITHIN_S), now]
        if sure:
            self.over = crashed(len(self.deaths), requests)
        elif len(self.deaths) >= MAX_DEATHS:
            self.over = crashed(len(self.deaths), 0)
        elif requests:
            self.suspect = True
        self.changed.set()
