"""The sessions of one version side by side: which of them may be asked, and which has least to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import overload

from router.core.breaker import Breaker, State, choose
from router.serving.run import Replica, Run, Runnable
from router.serving.timers import Clock


class Replicas(Sequence[Replica]):
    """Each with its breaker; `reload` makes a fresh session in the place of one that hangs. From any thread."""

    def __init__(self, sessions: Sequence[Runnable], clock: Clock, reload: Callable[[], Runnable] | None) -> None:
        self._all = [Replica(each) for each in sessions]
        self._clock = clock
        self._reload = reload
        self._lock = threading.Lock()  # of the breakers, and of who is being loaded

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Replica: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Replica]: ...
    def __getitem__(self, index: int | slice) -> Replica | Sequence[Replica]:
        return self._all[index]

    # ---- how they are ----

    @property
    def ready(self) -> int:
        """Those that are not being loaded."""
        return len([each for each in self._all if not each.loading])

    @property
    def refused(self) -> int:
        """Those whose breaker lets nobody, or only a probe, through."""
        now = self._clock.monotonic()
        with self._lock:
            return sum([each.breaker.state(now) is not State.CLOSED for each in self._all])

    @property
    def opened(self) -> int:
        """How often a breaker has opened."""
        return sum([each.breaker.opened for each in self._all])

    def healthy(self, now: float) -> bool:
        """Whether one may be asked: it is there, and its breaker is not open."""
        with self._lock:
            return any(not each.loading and each.breaker.state(now) is not State.OPEN for each in self._all)

    def report(self, replica: Replica, *, well: bool | None) -> None:
        """Tell a breaker of a run; None: it says nothing of the session."""
        breaker, now = replica.breaker, self._clock.monotonic()
        with self._lock:
            (breaker.released if well is None else breaker.succeeded if well else breaker.failed)(now)

    # ---- who runs the next batch ----

    def choose(self, runs: Sequence[Run], *, guarded: bool, must_run: bool) -> Replica | Breaker:
        """The one that has least to do, by the runs under way, of those that may be asked.

        The breaker of one that may not where none may: but a batch that `must_run` (nothing else could answer) has one
        asked all the same. Unless `guarded` breakers are not looked at.
        """
        replicas = [each for each in self._all if not each.loading] or self._all
        if len(replicas) > 1:
            replicas = sorted(replicas, key=lambda each: sum([run.replica is each for run in runs]))
        if not guarded:
            return replicas[0]
        breakers = [each.breaker for each in replicas]
        with self._lock:
            place = choose(breakers, self._clock.monotonic(), must_run=must_run)
        return breakers[0] if place is None else replicas[place]

    def spare(self, run: Run, runs: Sequence[Run], slots: int) -> Replica | None:
        """Another one than that of the run, that has nothing to do (or only stalls, within slots) and may be asked."""
        now = self._clock.monotonic()
        busy = [each.replica for each in runs if not each.stalled]
        stalls = [each.replica for each in runs if each.stalled]
        with self._lock:
            for replica in sorted(self._all, key=stalls.count):
                idle = replica is not run.replica and replica not in busy and not replica.loading
                if idle and stalls.count(replica) <= slots and replica.breaker.state(now) is State.CLOSED:
                    return replica
        return None

    # ---- one that hangs ----

    def take_out(self, run: Run) -> bool:
        """The session of this run hangs. True: it is out, have it replaced; False: somebody does so, or nobody can."""
        replica = run.replica
        with self._lock:
            fresh = replica.session is run.session and not replica.loading and self._reload is not None
            replica.loading |= fresh
            return fresh

    def replace(self, replica: Replica) -> None:
        """Load a fresh session in its place. Raises RouterError when it cannot be loaded: the old one stays."""
        assert self._reload is not None
        try:
            replica.session = self._reload()
        finally:
            with self._lock:
                replica.loading = False
