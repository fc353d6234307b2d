"""Warm-ups: versions on copies of live requests, until there is a verdict.

What the warm-up worker and the serving workers are to do is told to them as a whole, whenever it changes and whenever
one of them joins: who comes back is up to date, whatever it has missed.

A version that takes the warm-up worker down fails. Its process leaves behind what it was running when it died. Where
that was several versions at once, each of them is run alone from then on, so that the next crash names the guilty.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from router.core.fingerprint import names
from router.core.gate import Outcome, Report
from router.core.mirrored import Truth
from router.core.table import Version
from router.core.warmup import (
    SYNTHETIC,
    Accuracy,
    Figures,
    Mirrored,
    Source,
    crashed,
    decided,
    next_source,
    outcomes,
    report,
)
from router.errors import NotReady, Refused
from router.model_settings import ModelSettings
from router.serving.mirror import MirrorOrder

log = structlog.get_logger()

PATIENCE_S: Final = 60.0
"""How long the warm-up worker may be out of reach."""
MAX_DEATHS: Final = 3
"""A version during whose warm-up the worker has died so often is not tried again, whosever fault it was."""
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class WarmOrder:
    """A version that is to be warmed. `run` tells one warm-up of it from the next.

    Copies of runs of `champion` count; None: there is none. Beside live copies, `count` requests of `source`.
    """

    run: str
    version: Version
    champion: Version | None
    settings: ModelSettings
    source: Source = Source.LIVE
    count: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the warm-up worker says of one warm-up, and which source it is at."""

    run: str
    source: Source
    figures: Figures
    accuracy: Accuracy


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


class ServingWorker(Protocol):
    """A worker that serves and has joined."""

    incarnation: str

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Which models it is to mirror; no others. Raises ConnectionError when it is gone."""


class WarmupWorker(Protocol):
    """The warm-up worker, when it has joined."""

    incarnation: str

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Which versions it is to warm; no others. Raises ConnectionError when it is gone."""

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests: id, row, truth. Raises ConnectionError when it is gone."""


class Process(Protocol):
    """The warm-up worker's process."""

    def want(self, wanted: bool) -> None:
        """Have it run, or let it go."""

    def take_suspects(self) -> Sequence[int]:
        """The fingerprints of what it was running when it died; they are forgotten."""


@dataclass(slots=True)
class _Active:
    """A warm-up under way."""

    order: WarmOrder
    began: float
    figures: Figures = field(default_factory=Figures)
    accuracy: Accuracy | None = None
    incarnation: str = ""
    """Of the warm-up worker that was last told of it."""
    deaths: int = 0
    suspect: bool = False
    verdict: Outcome | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Warmups:
    """All warm-ups. One event loop calls everything."""

    def __init__(
        self,
        process: Process,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._process = process
        self._clock = clock
        self._wall = wall
        self._patience_s = patience_s
        self._look_s = look_s
        self._active: dict[str, _Active] = {}
        self._serving: set[ServingWorker] = set()
        self._worker: WarmupWorker | None = None
        self._incarnation = ""
        self._missing_since = 0.0
        self._mirrored: dict[tuple[str, str], Mirrored] = {}
        process.want(False)

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
        if version.model in self._active:
            other = self._active[version.model].order.version.number
            raise Refused(f"version {other} of model '{version.model}' is being warmed: wait for its verdict")
        began, wall = self._clock(), self._wall()
        order = WarmOrder(uuid.uuid4().hex, version, champion, settings)
        active = self._active[version.model] = _Active(order, began)
        if len(self._active) == 1:
            self._missing_since = began
        try:
            self._tell_all()
            while not (found := self._verdict(active)):
                await self._wait(active)
                told(self._progress(active))
        finally:
            del self._active[version.model]
            self._mirrored = {key: each for key, each in self._mirrored.items() if key[1] != version.model}
            self._tell_all()
        compared = (champion.number, champion.digest) if champion else ("", "")
        names_of = (version.model, version.number, version.digest)
        return report(names_of, compared, found, active.figures, wall, self._clock() - began)

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests (id, row, truth) has come in."""
        if model in self._active and self._worker is not None:
            try:
                self._worker.came_true(model, actuals)
            except ConnectionError:
                log.debug("the warm-up worker is gone")

    # ---- who comes and goes ----

    def join_worker(self, worker: ServingWorker) -> None:
        """A serving worker has joined, perhaps anew. Raises ConnectionError when it is gone again."""
        self._serving.add(worker)
        worker.set_mirrors(self._mirrors())

    def leave_worker(self, worker: ServingWorker) -> None:
        """A serving worker is gone."""
        self._serving.discard(worker)

    def join(self, worker: WarmupWorker) -> None:
        """The warm-up worker has joined: another process than before, or the same one whose link was cut."""
        before, self._incarnation = self._incarnation, worker.incarnation
        self._worker = worker
        if before != worker.incarnation:
            suspects = self._process.take_suspects()
            if before:
                self._died(before, suspects)
        self._tell_all()

    def leave(self, worker: WarmupWorker) -> None:
        """The link to the warm-up worker has ended."""
        if self._worker is worker:
            self._worker = None
            self._missing_since = self._clock()

    def seen(self, worker: WarmupWorker, found: Sequence[Seen]) -> None:
        """The warm-up worker tells what it has seen."""
        by_run = {each.run: each for each in found}
        loaded = False
        for active in self._active.values():
            if worker is self._worker and (each := by_run.get(active.order.run)) is not None:
                if each.figures.loaded != active.figures.loaded:
                    loaded = True
                more = each.source is not active.order.source  # it has not heard of the new source yet
                active.figures = replace(each.figures, exhausted=each.figures.exhausted and not more)
                active.accuracy = each.accuracy
                active.changed.set()
        if loaded:
            self._tell_serving()

    def mirrored(self, worker: ServingWorker, figures: Mapping[str, Mirrored]) -> None:
        """A serving worker tells of its mirrors, by model."""
        for model, each in figures.items():
            if model in self._active:
                self._mirrored[worker.incarnation, model] = each

    # ---- inside ----

    async def _wait(self, active: _Active) -> None:
        """Until something is known that was not. Raises NotReady when the warm-up worker stays away."""
        try:
            async with asyncio.timeout(self._look_s):  # `wait_for` of Python 3.11 may swallow a cancellation
                await active.changed.wait()
        except TimeoutError:
            if self._worker is None and self._clock() - self._missing_since >= self._patience_s:
                raise NotReady(
                    f"the warm-up worker has been out of reach for {self._patience_s:.0f} s: `router status` and the"
                    " server's log tell why"
                ) from None
        active.changed.clear()

    def _verdict(self, active: _Active) -> tuple[Outcome, ...]:
        """The outcomes, empty while there is none. Where more is needed, the next source is opened."""
        order, figures, warmup = active.order, active.figures, active.order.settings.warmup
        if active.verdict is not None:
            return (active.verdict,)
        if decided(order.source, figures, warmup):
            return outcomes(figures, order.settings, self._mirrored_of(order.version.model), active.accuracy)
        source = next_source(order.source, figures, warmup, champion=bool(order.champion))
        if source is not None:
            missing = max(warmup.min_samples - figures.total, 1)
            count = min(missing, SYNTHETIC) if source is Source.SYNTHETIC else missing
            active.order = replace(order, source=source, count=count)
            active.figures = replace(figures, exhausted=False)  # of the new source nothing is known yet
            self._tell_warmup()
        return ()

    def _progress(self, active: _Active) -> Progress:
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

    def _mirrored_of(self, model: str) -> Mirrored:
        """The sum over all workers."""
        offered = sent = 0
        dropped: dict[str, int] = {}
        for (_, mirrored), each in self._mirrored.items():
            if mirrored == model:
                offered, sent = offered + each.offered, sent + each.sent
                for why, count in each.dropped.items():
                    dropped[why] = dropped.get(why, 0) + count
        return Mirrored(offered, sent, dropped)

    def _died(self, incarnation: str, suspects: Sequence[int]) -> None:
        """The warm-up worker of that incarnation has died, in these runs."""
        told = [active for active in self._active.values() if active.incarnation == incarnation]
        blamed = {active.order.run: sum(names(each, active.order.version) for each in suspects) for active in told}
        several = sum(map(bool, blamed.values())) > 1
        for active in told:
            requests = blamed[active.order.run]
            active.deaths += 1
            active.figures = Figures()
            facts = {"model": active.order.version.model, "version": active.order.version.number}
            if requests and not several:
                active.verdict = crashed(active.deaths, requests)
                log.warning("a version has crashed the warm-up worker", **facts)
            elif active.deaths >= MAX_DEATHS:
                active.verdict = crashed(active.deaths, 0)
            elif requests:
                active.suspect = True
                log.warning("a version may have crashed the warm-up worker: it is run alone now", **facts)
            active.changed.set()

    def _now(self) -> list[_Active]:
        """The warm-ups that go on now: a suspect goes on alone, the others wait for it."""
        going = [active for active in self._active.values() if active.verdict is None]
        return next(([active] for active in going if active.suspect), going)

    def _mirrors(self) -> list[MirrorOrder]:
        return [
            MirrorOrder(active.order.version.model, each.fraction, each.max_per_s)
            for active in self._now()
            for each in (active.order.settings.warmup,)
            if active.order.champion is not None and active.figures.loaded  # not before somebody can take them
        ]

    def _tell_all(self) -> None:
        """The warm-ups are others than before."""
        self._process.want(bool(self._active))
        self._tell_serving()
        self._tell_warmup()

    def _tell_serving(self) -> None:
        mirrors = self._mirrors()
        for worker in list(self._serving):
            try:
                worker.set_mirrors(mirrors)
            except ConnectionError:  # it is told when it joins again
                self._serving.discard(worker)

    def _tell_warmup(self) -> None:
        if self._worker is None:
            return
        now = self._now()
        for active in now:
            active.incarnation = self._incarnation
        try:
            self._worker.set_warmings([active.order for active in now])
        except ConnectionError:
            log.debug("the warm-up worker is gone")  # it is told when it joins again
