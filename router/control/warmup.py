"""Warm-ups: versions on copies of live requests until there is a verdict. Observations: others, as long as wanted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from router.control.rehearsal import Rehearsal, Seen, WarmOrder, new_run
from router.control.rehearsals import Process, Rehearsals, ServingWorker, WarmupWorker
from router.core.gate import Outcome, Report
from router.core.mirrored import Truth
from router.core.table import Version, VersionState
from router.core.warmup import (
    SYNTHETIC,
    Figures,
    Mirrored,
    Purpose,
    Source,
    decided,
    next_source,
    outcomes,
    report,
)
from router.errors import NotReady, Refused
from router.model_settings import ModelSettings

PATIENCE_S: Final = 60.0
"""How long the warm-up worker may be out of reach."""
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A version `number` of a model that is run on copies of the runs of the version `reference`, without a verdict.

    Of these runs the part `fraction` is copied, and at most `max_per_s` requests a second in each worker. A `control`
    is the old champion beside the candidate of a canary, which is the reference: numbers agree by `[canary] tolerance`
    or by how much the old champion's vary. Of others, by `[warmup] tolerance` or by how much the reference's do.
    """

    model: str
    number: str
    reference: str
    fraction: float
    max_per_s: float
    control: bool = False


Wanted = Mapping[Observed, tuple[Version, Version, ModelSettings]]
"""Each with the version that is run, the version of the reference, and the model's settings."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a warm-up is: requests that were run, of so many wanted, and the seconds since the version was loaded."""

    model: str
    number: str
    source: Source
    samples: int
    wanted: int
    seconds: float
    errors: int
    loaded: bool

    def __str__(self) -> str:
        if not self.loaded:
            return "the warm-up worker loads it"
        failed = f", {self.errors} failed" if self.errors else ""
        return f"{self.samples} of {self.wanted} requests ({self.source}) in {self.seconds:.0f} s{failed}"


class Warmups:
    """All warm-ups and observations. One event loop calls everything.

    `left_out` hears of a version (model, number) which of its recordings could not be used to warm it, in one line.
    """

    def __init__(
        self,
        process: Process,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
        left_out: Callable[[str, str, str], None] = lambda model, number, line: None,  # noqa: ARG005
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._patience_s = patience_s
        self._look_s = look_s
        self._left_out = left_out
        self._rehearsals = Rehearsals(process, clock)
        self._active: dict[str, Rehearsal] = {}
        self._observed: dict[tuple[str, str, str], Rehearsal] = {}
        self._wanted: dict[tuple[str, str, str], tuple[Observed, tuple[Version, Version, ModelSettings]]] = {}
        self._mirrored: dict[tuple[str, str], Mirrored] = {}
        """By worker and model, of the mirror that goes on."""
        self._ended: dict[str, Mirrored] = {}
        """By model, of mirrors that others have replaced."""

    async def warm(
        self,
        version: Version,
        champion: Version | None,
        settings: ModelSettings,
        told: Callable[[Progress], None] = lambda _: None,
    ) -> Report:
        """Warm a version up until there is a verdict; `told` hears of it on the way. Cancelling it stops it everywhere.

        Raises Refused while another version of the model is warmed, NotReady when the warm-up worker is out of reach.
        """
        model = version.model
        if model in self._active:
            other = self._active[model].order.version.number
            raise Refused(f"version {other} of model '{model}' is being warmed: wait for its verdict")
        began, wall = self._clock(), self._wall()
        order = WarmOrder(new_run(), version, champion, settings)
        active = Rehearsal(order, settings.warmup.fraction, settings.warmup.max_per_s, began)
        before = self._mirrored_of(model)
        self._active[model] = active
        self._rehearsals.begin(active)
        try:
            self._rehearsals.tell()
            while not (found := self._verdict(active, before)):
                await self._wait(active)
                told(_progress(active))
            if active.figures.left_out:
                self._left_out(model, version.number, active.figures.left_out)
        finally:
            del self._active[model]
            self._end(active)
            self._rehearsals.tell()
        compared = (champion.number, champion.digest) if champion else ("", "")
        names_of = (model, version.number, version.digest)
        return report(names_of, compared, found, active.figures, wall, self._clock() - began)

    def set_observed(self, wanted: Wanted) -> None:
        """Observe these and no others. Whatever is as before goes on as it was.

        An observation of other files begins anew. Where settings have changed its figures go on.
        """
        asked = {(each.model, each.number, each.reference): (each, about) for each, about in wanted.items()}
        if asked == self._wanted:
            return
        before, self._wanted = self._wanted, asked
        for key in before:
            if key not in asked:
                self._end(self._observed.pop(key))
        for key, (each, about) in asked.items():
            if key not in before or before[key] != (each, about):
                self._observe(key, each, *about)
        self._rehearsals.tell()

    def observed(self, model: str, number: str, reference: str) -> Figures | None:
        """What was seen of an observation since it began; None if there is none.

        Sums never go back: what the warm-up worker had seen when it was restarted still counts. `failed` says why the
        version is run no more: it cannot be loaded, it hangs, or it has crashed the warm-up worker.
        """
        known = self._observed.get((model, number, reference))
        return None if known is None else known.total

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests (id, row, truth) has come in: of use to warm-ups of the model."""
        self._rehearsals.came_true(model, actuals)

    # ---- who comes and goes ----

    def join_worker(self, worker: ServingWorker) -> None:
        """A serving worker has joined, perhaps anew. Raises ConnectionError when it is gone again."""
        self._rehearsals.join_worker(worker)

    def leave_worker(self, worker: ServingWorker) -> None:
        """A serving worker is gone."""
        self._rehearsals.leave_worker(worker)

    def join(self, worker: WarmupWorker) -> None:
        """The warm-up worker has joined: another process than before, or the same one whose link was cut."""
        self._rehearsals.join(worker)

    def leave(self, worker: WarmupWorker) -> None:
        """The link to the warm-up worker has ended."""
        self._rehearsals.leave(worker)

    def seen(self, worker: WarmupWorker, found: Sequence[Seen]) -> None:
        """The warm-up worker tells what it has seen."""
        self._rehearsals.seen(worker, found)

    def mirrored(self, worker: ServingWorker, figures: Mapping[str, Mirrored]) -> None:
        """A serving worker tells of its mirrors, by model."""
        for model, each in figures.items():
            if self._rehearsals.of(model):
                known = self._mirrored.get((worker.incarnation, model), Mirrored())
                if each.offered < known.offered:  # another mirror than before
                    self._ended[model] = self._ended.get(model, Mirrored()) + known
                self._mirrored[worker.incarnation, model] = each

    # ---- inside ----

    def _observe(
        self, key: tuple[str, str, str], wanted: Observed, version: Version, reference: Version, settings: ModelSettings
    ) -> None:
        """Begin an observation, or go on with it as it is wanted now."""
        tolerance = settings.canary.tolerance if wanted.control else settings.warmup.tolerance
        warmup = settings.warmup.model_copy(update={"tolerance": tolerance})
        purpose = Purpose.CONTROL if wanted.control else Purpose.SHADOW
        order = WarmOrder(
            new_run(), version, reference, settings.model_copy(update={"warmup": warmup}), purpose=purpose
        )
        known = self._observed.get(key)
        if known is not None and _files(known.order) != _files(order):
            self._end(known)
            known = None
        if known is None:
            known = self._observed[key] = Rehearsal(order, wanted.fraction, wanted.max_per_s, self._clock())
            self._rehearsals.begin(known)
        elif _running(known.order) != _running(order):
            known.interrupted()
            known.order = replace(order, beside=known.order.beside)
        known.fraction, known.max_per_s = wanted.fraction, wanted.max_per_s

    def _end(self, rehearsal: Rehearsal) -> None:
        """One is not wanted any more; what was told of its mirrors is forgotten with the model's last one."""
        model = rehearsal.model
        self._rehearsals.end(rehearsal)
        if not self._rehearsals.of(model):
            self._ended.pop(model, None)
            self._mirrored = {key: each for key, each in self._mirrored.items() if key[1] != model}

    async def _wait(self, active: Rehearsal) -> None:
        """Until something is known that was not. Raises NotReady when the warm-up worker stays away."""
        try:
            async with asyncio.timeout(self._look_s):  # `wait_for` of Python 3.11 may swallow a cancellation
                await active.changed.wait()
        except TimeoutError:
            since = max(self._rehearsals.missing_since, active.began)
            if not self._rehearsals.reached and self._clock() - since >= self._patience_s:
                raise NotReady(
                    f"the warm-up worker has been out of reach for {self._patience_s:.0f} s: `router status` and the"
                    " server's log tell why"
                ) from None
        active.changed.clear()

    def _verdict(self, active: Rehearsal, before: Mirrored) -> tuple[Outcome, ...]:
        """The outcomes, empty while there is none. Where more is needed, the next source is opened.

        `before` is what was mirrored of the model when the warm-up began.
        """
        order, figures, warmup = active.order, active.figures, active.order.settings.warmup
        if active.over is not None:
            return (active.over,)
        if decided(order.source, figures, warmup):
            return outcomes(figures, order.settings, self._mirrored_of(active.model) - before, active.accuracy)
        source = next_source(order.source, figures, warmup, champion=bool(order.champion))
        if source is not None:
            missing = max(warmup.min_samples - figures.total, 1)
            count = min(missing, SYNTHETIC) if source is Source.SYNTHETIC else missing
            active.order = replace(order, source=source, count=count)
            active.figures = replace(figures, exhausted=False)  # of the new source nothing is known yet
            self._rehearsals.tell_warmup()
        return ()

    def _mirrored_of(self, model: str) -> Mirrored:
        """The sum over all workers."""
        mine = (each for (_, mirrored), each in self._mirrored.items() if mirrored == model)
        return sum(mine, self._ended.get(model, Mirrored()))


def _progress(active: Rehearsal) -> Progress:
    order, figures = active.order, active.figures
    wanted = order.settings.warmup.min_samples
    failed = figures.errors + figures.broken
    return Progress(
        order.version.model,
        order.version.number,
        order.source,
        figures.total,
        wanted,
        figures.seconds,
        failed,
        figures.loaded,
    )


def _files(order: WarmOrder) -> tuple[str, ...]:
    """What an observation is of."""
    return (order.version.digest, order.champion.digest if order.champion else "")


def _running(order: WarmOrder) -> tuple[object, ...]:
    """What the warm-up worker has to begin anew for when it changes; in which state a version is, is nothing to it."""
    versions = [
        replace(each, state=VersionState.READY, reason="", left_out=False)
        for each in (order.version, order.champion)
        if each is not None
    ]
    return (versions, order.settings, order.purpose)
