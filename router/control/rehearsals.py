"""All versions that run on copies, and the workers that have to do with it.

What the warm-up worker and the serving workers are to do is told to them as a whole, whenever it changes and whenever
one of them joins: who comes back is up to date, whatever it has missed.

A version that takes the warm-up worker down is run no more. Its process leaves behind what it was running when it died.
Where that was several versions at once, each of them is run alone from then on, so that the next crash names the
guilty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from router.control.rehearsal import Rehearsal, Seen, WarmOrder
from router.core.fingerprint import names, of_version
from router.core.mirrored import Truth
from router.serving.mirror import MirrorOrder

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
        """The fingerprints of what it was running when it died; they are forgotten."""


class Rehearsals:
    """All of them, and who is told of them. One event loop calls everything."""

    def __init__(self, process: Process, clock: Callable[[], float]) -> None:
        self._process = process
        self._clock = clock
        self._all: list[Rehearsal] = []
        self._serving: set[ServingWorker] = set()
        self._worker: WarmupWorker | None = None
        self._incarnation = ""
        self._hung = False
        """A run that hangs was given up: the worker ends, and that is nobody's fault."""
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
        self._hung = self._hung or _ends_the_worker(rehearsal)

    def tell(self) -> None:
        """The rehearsals are others than before."""
        self._process.want(any(each.over is None for each in self._all))
        self.tell_warmup()  # before the mirrors: who is interrupted takes no copies
        self._tell_serving()

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests (id, row, truth) has come in."""
        if self._worker is not None and self.of(model):
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
                self._hung = self._hung or _ends_the_worker(each)
                number, reason = each.order.version.number, each.over.reason
                log.warning("an observation ends", model=each.model, version=number, reason=reason)
        if changed:
            self.tell()

    # ---- inside ----

    def _died(self, incarnation: str, suspects: Sequence[int]) -> None:
        """The warm-up worker of that incarnation has died, in these runs."""
        told = [each for each in self._all if each.incarnation == incarnation and each.over is None]
        blamed = {each: sum(names(suspect, each.order.version) for suspect in suspects) for each in told}
        guilty = {of_version(each.order.version) for each, requests in blamed.items() if requests}
        hung, self._hung = self._hung and not suspects, False
        for each in told:
            requests = blamed[each]
            sure = bool(requests) and len(guilty) == 1
            each.died(self._clock(), requests, sure=sure, innocent=hung or (bool(guilty) and not requests))
            facts = {"model": each.model, "version": each.order.version.number}
            if sure:
                log.warning("a version has crashed the warm-up worker", **facts)
            elif each.suspect and requests:
                log.warning("a version may have crashed the warm-up worker: it is run alone now", **facts)

    def _now(self) -> list[Rehearsal]:
        """Those that go on now: a suspect goes on alone, the others wait for it."""
        going = [each for each in self._all if each.over is None]
        return next(([each] for each in going if each.suspect), going)

    def _widest(self, model: str) -> tuple[float, float]:
        """The fraction and the rate of the model's mirrors: the largest that anybody wants."""
        wants = [each for each in self._now() if each.model == model and each.order.champion is not None]
        return max(each.fraction for each in wants), max(each.max_per_s for each in wants)

    def _mirrors(self) -> list[MirrorOrder]:
        versions: dict[str, set[str]] = {}
        for each in self._now():
            if each.order.champion is not None and each.figures.loaded:  # not before somebody can take them
                versions.setdefault(each.model, set()).add(each.order.champion.number)
        return [MirrorOrder(model, *self._widest(model), frozenset(each)) for model, each in versions.items()]

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
        """What it is told of one: which part of the model's copies are for it."""
        if rehearsal.order.champion is None:
            return rehearsal.order
        fraction, max_per_s = self._widest(rehearsal.model)
        own = rehearsal.max_per_s
        share = rehearsal.fraction / fraction
        return replace(rehearsal.order, share=share, max_per_s=own if own < max_per_s else math.inf)


def _ends_the_worker(rehearsal: Rehearsal) -> bool:
    """Whether to give it up takes the end of the process: only that ends a run which hangs."""
    return bool(rehearsal.incarnation) and rehearsal.figures.loaded and rehearsal.figures.hangs
