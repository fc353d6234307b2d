"""All versions that run on copies, and the workers that have to do with it.

What the warm-up worker and the serving workers are to do is told to them as a whole, whenever it changes and whenever
one of them joins: who comes back is up to date, whatever it has missed.

A version that takes the warm-up worker down is run no more. Its process leaves behind what it was running when it died.
Where that was several versions at once, each of them is run alone from then on, so that the next crash names the
guilty. A reference that may have taken it down is not run again beside those that are compared with it. Where the
process left by itself nobody is to blame: it says so in the same place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from router.control.rehearsal import Rehearsal, Seen, WarmOrder
from router.core.fingerprint import names
from router.core.mirrored import Truth
from router.serving.inflight import LEFT
from router.serving.mirror import MirrorOrder, Part

log = structlog.get_logger()


class ServingWorker(Protocol):
    """A worker that serves and has joined."""

    incarnation: str

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Which models it is to mirror; no others. Raises ConnectionError when it is gone."""


class WarmupWorker(Protocol):
    """The warm-up worker, when it has joined."""

    incarnation: str

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Which versions it is to run; no others. Raises ConnectionError when it is gone."""

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests: id, row, truth. Raises ConnectionError when it is gone."""


class Process(Protocol):
    """The warm-up worker's process."""

    def want(self, wanted: bool) -> None:
        """Have it run, or let it go."""

    def take_suspects(self) -> Sequence[int]:
        """The fingerprints of what it was running when it died, or `LEFT` among them; they are forgotten."""


class Rehearsals:
    """All of them, and who is told of them. One event loop calls everything."""

    def __init__(self, process: Process, clock: Callable[[], float]) -> None:
        self._process = process
        self._clock = clock
        self._all: list[Rehearsal] = []
        self._serving: set[ServingWorker] = set()
        self._worker: WarmupWorker | None = None
        self._incarnation = ""
        self.missing_since = 0.0
        """When the warm-up worker was last seen to go."""
        process.want(False)

    @property
    def reached(self) -> bool:
        """Whether the warm-up worker is there."""
        return self._worker is not None

    def of(self, model: str) -> bool:
        """Whether versions of the model are run."""
        return any(each.model == model for each in self._all)

    def begin(self, *rehearsals: Rehearsal) -> None:
        """These are wanted too. Whoever changes something calls `tell` when it is complete."""
        self._all += rehearsals

    def end(self, rehearsal: Rehearsal) -> None:
        """It is not wanted any more."""
        self._all.remove(rehearsal)

    def tell(self) -> None:
        """The rehearsals are others than before."""
        self._process.want(any(each.over is None for each in self._all))
        self.tell_warmup()  # before the mirrors: who is interrupted takes no copies
        self._tell_serving()

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests (id, row, truth) has come in: of use to warm-ups of the model."""
        if self._worker is not None and any(each.model == model and not each.observed for each in self._all):
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
        self.tell()

    def leave(self, worker: WarmupWorker) -> None:
        """The link to the warm-up worker has ended."""
        if self._worker is worker:
            self._worker = None
            self.missing_since = self._clock()

    def seen(self, worker: WarmupWorker, found: Sequence[Seen]) -> None:
        """The warm-up worker tells what it has seen."""
        if worker is not self._worker:
            return
        by_run = {each.run: each for each in found}
        told = [each for each in self._all if each.over is None and each.order.run in by_run]
        changed = [each for each in told if each.take(by_run[each.order.run])]
        for each in changed:
            if each.over is not None:
                number, reason = each.order.version.number, each.over.reason
                log.warning("an observation ends", model=each.model, version=number, reason=reason)
        if changed:
            self.tell()

    # ---- inside ----

    def _died(self, incarnation: str, suspects: Sequence[int]) -> None:
        """The warm-up worker of that incarnation has died, in these runs."""
        told = [each for each in self._all if each.incarnation == incarnation and each.over is None]
        found = [] if LEFT in suspects else suspects
        blamed = {each: sum(names(suspect, each.order.version) for suspect in found) for each in told}
        beside = {each for each in told if any(_names_reference(suspect, each.order) for suspect in found)}
        guilty = {suspect >> 32 for suspect in found}
        for each in told:
            requests = blamed[each]
            sure = bool(requests) and len(guilty) == 1
            innocent = bool(suspects) and not requests
            each.died(self._clock(), requests, sure=sure, innocent=innocent, champion=each in beside)
            facts = {"model": each.model, "version": each.order.version.number}
            if sure:
                log.warning("a version has crashed the warm-up worker", **facts)
            elif each.suspect and requests:
                log.warning("a version may have crashed the warm-up worker: it is run alone now", **facts)

    def _now(self) -> list[Rehearsal]:
        """Those that go on now: a suspect goes on alone, the others wait for it."""
        going = [each for each in self._all if each.over is None]
        return next(([each] for each in going if each.suspect), going)

    def _widest(self, model: str, reference: str) -> Part:
        """How the runs of a version are copied: the largest fraction and the largest rate that anybody wants of it."""
        wants = [
            each
            for each in self._now()
            if each.model == model and each.order.champion is not None and each.order.champion.number == reference
        ]
        return Part(max(each.fraction for each in wants), max(each.max_per_s for each in wants))

    def _mirrors(self) -> list[MirrorOrder]:
        versions: dict[str, dict[str, Part]] = {}
        for each in self._now():
            if each.order.champion is not None and each.figures.loaded:  # not before somebody can take them
                reference = each.order.champion.number
                versions.setdefault(each.model, {})[reference] = self._widest(each.model, reference)
        return [MirrorOrder(model, parts) for model, parts in versions.items()]

    def _tell_serving(self) -> None:
        mirrors = self._mirrors()
        for worker in list(self._serving):
            try:
                worker.set_mirrors(mirrors)
            except ConnectionError:  # it is told when it joins again
                self._serving.discard(worker)

    def tell_warmup(self) -> None:
        """The warm-up worker is to know what to run, if it is there."""
        now = self._now()
        for each in self._all:
            if each not in now and each.over is None and each.incarnation:
                each.interrupted()
        if self._worker is None:
            return
        for each in now:
            each.incarnation = self._incarnation
        try:
            self._worker.set_warmings([self._order(each) for each in now])
        except ConnectionError:
            log.debug("the warm-up worker is gone")  # it is told when it joins again

    def _order(self, rehearsal: Rehearsal) -> WarmOrder:
        """What it is told of one: which part of its reference's copies are for it."""
        if rehearsal.order.champion is None:
            return rehearsal.order
        fraction, max_per_s = self._widest(rehearsal.model, rehearsal.order.champion.number)
        own = rehearsal.max_per_s
        share = rehearsal.fraction / fraction
        return replace(rehearsal.order, share=share, max_per_s=own if own < max_per_s else math.inf)


def _names_reference(suspect: int, order: WarmOrder) -> bool:
    return order.champion is not None and names(suspect, order.champion)
