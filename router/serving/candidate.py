"""A version on copies of what another one was asked: to be warmed, or observed. It lives in the warm-up worker.

One thread loads it and runs what comes, live copies before recorded ones and synthetic input. After each run it rests
while cores are scarce, and takes nothing meanwhile. What waits is bounded: who brings more has to wait or to drop it.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

import numpy as np
import structlog

from router.core.contract import contract_of
from router.core.fingerprint import of_version
from router.core.mirrored import MirroredCall, MirroredRun
from router.core.request import Checked, Header, InputHeader, check
from router.core.rest import LEAST_PER_S, Rest, least_per_s
from router.core.table import Version
from router.core.warmup import Figures, Purpose, Source
from router.errors import InvalidRequest, ModelBroken, ModelFailed, SettingsError
from router.model_settings import ModelSettings
from router.serving.copied_run import feeds as feeds_of
from router.serving.copied_run import nbytes, parts
from router.serving.core_time import CoreTime
from router.serving.inflight import InFlight
from router.serving.run import Runnable, Stop
from router.serving.session import synthetic
from router.serving.tally import Tally

Array = np.ndarray[Any, Any]
Replay = Iterator[MirroredRun]
Wait = Callable[[threading.Event, float], object]
Note = Callable[[MirroredRun, Sequence[int], Mapping[str, Array]], None]
"""Hears what the version says to live copies: the run, the rows of each call, outputs of all by name."""

log = structlog.get_logger()

MAX_WAITING: Final = 64
MAX_WAITING_BYTES: Final = 64 << 20
"""One run waits, however large it is."""
LOOK_S: Final = 0.1
PAIRS: Final = 400
"""Runs for which the champion runs beside it."""
MAX_KNOWN: Final = 1024
"""Kinds of requests that are remembered; when full, all are forgotten."""


class Candidate:
    """A version on copies of the runs of `champion`. `load` makes the session of a version and raises ModelBroken.

    Without a champion there are no copies. With `beside` it is loaded here too: run by turns on the same inputs, both
    have the same conditions, which is the only fair way to compare their times. (Of a canary's control the version is
    the old champion and `champion` the candidate: what is said of the champion here is said of whoever made the runs.)
    Of the copies that come it takes the part `share`, at most `max_per_s` requests a second of each worker; both may be
    changed at any time. `wait` waits for an event, for so many seconds at most.
    """

    def __init__(
        self,
        version: Version,
        champion: Version | None,
        settings: ModelSettings,
        load: Callable[[Version], Runnable],
        inflight: InFlight,
        core_time: Callable[[], CoreTime] = CoreTime,
        note: Note = lambda run, rows, outputs: None,  # noqa: ARG005
        purpose: Purpose = Purpose.WARM_UP,
        wait: Wait = threading.Event.wait,
        *,
        beside: bool = True,
    ) -> None:
        self.version = version
        self.champion = champion
        self.purpose = purpose
        self._beside_too = beside
        self.share = 1.0
        self.max_per_s = math.inf
        self._reference: tuple[Runnable, Stop] | None = None
        self._pairs = 0
        self._load = load
        self._inflight = inflight
        self._core_time = core_time
        self._note = note
        self._settings = settings
        self._names = [spec.name for spec in version.signature.outputs]
        self.tally = Tally(version.signature.outputs, settings.warmup.tolerance, purpose)
        self._known: dict[tuple[InputHeader, ...], Checked | InvalidRequest] = {}
        self._condition = threading.Condition()
        self._waiting: deque[MirroredRun] = deque()
        self._waiting_bytes = 0
        self._replay: tuple[Source, Replay] | None = None
        self._loaded_at: float | None = None
        self._failed = ""
        self._began: float | None = None
        self._stops: list[Stop] = []
        self._stopped = threading.Event()
        self._exhausted = False
        self._wait = wait
        self._rest = Rest()
        self._rested = 0.0
        self._thread = threading.Thread(target=self._work, name=f"warm-{version.model[:40]}", daemon=True)

    # ---- for others ----

    def start(self) -> None:
        """Load it and run what comes."""
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether it was told to run no more."""
        return self._stopped.is_set()

    def stop(self, seconds: float) -> bool:
        """Run no more; False when its thread has not come back within so long: it hangs in a run."""
        with self._condition:
            self._stopped.set()
            for each in self._stops:
                each.terminate = True
            self._condition.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def open(self) -> bool:
        """Whether it runs copies: it is loaded, and has not come to its end."""
        return self.champion is not None and self._loaded_at is not None and not self._failed and not self.stopped

    def takes(self, run: MirroredRun) -> bool:
        """Whether a copy is one for it: of a run of its champion, while it is open."""
        return self.open and self.champion is not None and run.champion == self.champion.number

    @property
    def full(self) -> bool:
        """Whether it has as many runs as may wait."""
        return len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES

    def put(self, run: MirroredRun) -> bool:
        """A live copy has come; False if there is no room for it."""
        size = nbytes(run)
        with self._condition:
            if self._waiting and (self.full or self._waiting_bytes + size > MAX_WAITING_BYTES):
                return False
            self._waiting.append(run)
            self._waiting_bytes += size
            self._condition.notify_all()
            return True

    def wait_for_room(self, seconds: float) -> None:
        """Until it has taken one of those that wait, or is stopped; for so long at most."""
        with self._condition:
            if self._waiting and not self.stopped:
                self._condition.wait(seconds)

    def replay(self, source: Source, runs: Replay) -> None:
        """Where what is to be run comes from while nothing live waits."""
        with self._condition:
            self._replay = (source, runs)
            self._exhausted = False
            self._condition.notify_all()

    def figures(self) -> Figures:
        """What was seen of it so far."""
        now, began, loaded = time.monotonic(), self._began, self._loaded_at
        seconds = None if loaded is None else now - loaded
        running_s = 0.0 if began is None else now - began
        return self.tally.figures(seconds, self._failed, running_s, self._exhausted, self._rested)

    # ---- its own thread ----

    def _work(self) -> None:
        try:
            session = self._loaded()
            if session is None:
                return
            with contextlib.closing(self._core_time()) as core:
                spent = core.spent()
                while (found := self._next()) is not None:
                    self._run(session, core.now, *found)
                    before, spent = spent, core.spent()
                    self._give_way((spent[0] - before[0]) / 1e9, (spent[1] - before[1]) / 1e9, len(found[1].calls))
        except Exception as error:  # a fault of ours must not look like a version that does nothing
            log.exception("a warm-up failed", model=self.version.model, version=self.version.number)
            self._failed = f"the warm-up worker failed on it ({type(error).__name__}); its log has the details"

    def _give_way(self, ran_s: float, waited_s: float, requests: int) -> None:
        """Rest after a run, so that whoever serves has the cores and their caches; nothing is taken meanwhile."""
        least = LEAST_PER_S.get(self.purpose)
        if least is None:
            since = time.monotonic() - (self._loaded_at or 0.0)
            least = least_per_s(self.tally.total, since, self._settings.warmup)
        seconds = self._rest.after(ran_s, waited_s, requests, least)
        if seconds > 0.0:
            self._rested += seconds
            self._wait(self._stopped, seconds)

    def _loaded(self) -> Runnable | None:
        """Its session, which has run once; None when it cannot be loaded."""
        try:
            self._contract = contract_of(self._settings.contract, self.version.signature)
            session, self._stop = self._tried(self.version)
        except (ModelBroken, SettingsError) as error:
            self._failed = str(error)
            return None
        try:
            if self.champion is not None and self._beside_too:
                self._reference = self._tried(self.champion)
        except ModelBroken as error:  # then times are not compared
            log.warning("the champion cannot be run beside it", model=self.version.model, reason=str(error))
        self._loaded_at = time.monotonic()
        return session

    def _tried(self, version: Version) -> tuple[Runnable, Stop]:
        """A session of a version, which has run once, and what stops its runs. Raises ModelBroken."""
        place = self._inflight.began([of_version(version)])
        self._began = time.monotonic()
        try:
            session = self._load(version)
            stop = session.stop()
            with self._condition:
                self._stops.append(stop)
                stop.terminate = self.stopped
            try:
                outputs = [spec.name for spec in version.signature.outputs]
                session.run(outputs, synthetic(version.signature.inputs, 1), stop)
            except ModelFailed:
                log.debug("a version fails on zeros", model=version.model)  # it need not answer them
            return session, stop
        finally:
            self._began = None
            self._inflight.ended(place, 1)

    def _next(self) -> tuple[Source, MirroredRun] | None:
        """What is to be run next; None when it is stopped."""
        while True:
            with self._condition:
                if self.stopped:
                    return None
                if self._waiting:
                    run = self._waiting.popleft()
                    self._waiting_bytes -= nbytes(run)
                    self._condition.notify_all()
                    return Source.LIVE, run
                replay = self._replay
                if replay is None:
                    self._condition.wait(LOOK_S)
                    continue
            source, runs = replay
            found = next(runs, None)  # it may read files: nobody who brings a copy waits for that
            if found is not None:
                return source, found
            with self._condition:
                if self._replay is replay:
                    self._replay, self._exhausted = None, True

    def _run(self, session: Runnable, clock: Callable[[], int], source: Source, run: MirroredRun) -> None:
        """Run a copy as the champion did: its calls together, if this version may join them."""
        checked = [self._checked(call) for call in run.calls]
        for each in checked:
            if isinstance(each, InvalidRequest):
                self.tally.failed(source, len(run.calls), f"it does not take what the champion takes: {each}")
                return
        fits = [each for each in checked if isinstance(each, Checked)]
        rows = [1 if each.rows is None else each.rows for each in fits]
        joined = len(rows) == 1 or (sum(rows) <= self.version.batching.max_size and all(each.rows for each in fits))
        if joined and self._together(session, clock, source, run, fits, rows, paired=True):
            return
        for at, alone in enumerate(parts(run, rows)):
            self._together(session, clock, source, alone, fits[at : at + 1], rows[at : at + 1], paired=len(rows) == 1)

    def _checked(self, call: MirroredCall) -> Checked | InvalidRequest:
        known = self._known.get(call.inputs)
        if known is None:
            try:
                known = check(Header(self.version.model, "", call.inputs, ()), self.version.signature)
            except InvalidRequest as error:
                known = error.with_traceback(None)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[call.inputs] = known
        return known

    def _together(
        self,
        session: Runnable,
        clock: Callable[[], int],
        source: Source,
        run: MirroredRun,
        checked: Sequence[Checked],
        rows: Sequence[int],
        *,
        paired: bool,
    ) -> bool:
        """One run for these calls. False when it failed and each is to be run alone. `paired`: as the champion ran."""
        names = [name for name in run.outputs if name in self._names] or self._names
        failed, seconds = "", 0.0
        outputs: list[Array] = []
        theirs: tuple[dict[str, Array], float] | None = None
        self._began = time.monotonic()
        try:
            feeds = feeds_of(run.calls, checked, sum(rows))
            first = self._pairs % 2 == 0
            if first:
                theirs = self._beside(run, names, feeds, clock)
            outputs, seconds = self._timed(self.version, session, self._stop, run, names, feeds, clock)
            if not first:
                theirs = self._beside(run, names, feeds, clock)
        except (ModelFailed, InvalidRequest) as error:
            failed = str(error)
        finally:
            self._began = None
        if self.stopped:
            return True
        if failed:
            if len(run.calls) > 1:
                return False
            self.tally.failed(source, 1, failed)
            return True
        reasons = [] if self._contract is None else self._contract.of(names).broken_parts(outputs, rows)
        breach = any(reasons)
        said, ours = run.outputs or (theirs[0] if theirs else {}), dict(zip(names, outputs, strict=True))
        if breach:
            self.tally.compare_parts(run, rows, said, ours, reasons)
        elif said and (wrong := self.tally.compare(run, rows, said, ours)):
            self.tally.broke(len(run.calls), wrong)
        champion_s = run.seconds if paired else 0.0
        if source is Source.LIVE and not breach:
            self._note(run, rows, ours)
        self.tally.ran(source, len(run.calls), sum(rows), seconds, champion_s, theirs[1] if theirs else 0.0)
        return True

    def _beside(
        self, run: MirroredRun, names: Sequence[str], feeds: dict[str, Array], clock: Callable[[], int]
    ) -> tuple[dict[str, Array], float] | None:
        """The champion on the same input: outputs and seconds. Until there are enough pairs, or to have its outputs."""
        if self._reference is None:
            return None
        if run.outputs and self._pairs >= PAIRS:
            if self.purpose is not Purpose.WARM_UP:
                self._reference = None  # an observation is only of runs that have outputs: this one's memory is free
            return None
        assert self.champion is not None
        known = {spec.name for spec in self.champion.signature.outputs}
        asked = [name for name in names if name in known]
        if not asked:
            return None
        try:
            outputs, seconds = self._timed(self.champion, *self._reference, run, asked, feeds, clock)
        except ModelFailed:
            return None
        self._pairs += 1
        return dict(zip(asked, outputs, strict=True)), seconds

    def _timed(
        self,
        version: Version,
        session: Runnable,
        stop: Stop,
        run: MirroredRun,
        names: Sequence[str],
        feeds: dict[str, Array],
        clock: Callable[[], int],
    ) -> tuple[list[Array], float]:
        """Outputs and seconds of a run of either version, which is to blame if this process dies meanwhile."""
        place = self._inflight.began([_mark(version, call) for call in run.calls])
        try:
            began = clock()
            outputs = session.run(names, feeds, stop)
            return outputs, max(clock() - began, 1) / 1e9
        finally:
            self._inflight.ended(place, len(run.calls))


def _mark(version: Version, call: MirroredCall) -> int:
    """What a request is known by if this process dies of it."""
    begun = 0
    for each in call.elements:
        begun = crc32(each, begun)
    return of_version(version) | begun
