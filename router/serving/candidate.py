"""A version that has never served, on copies of what the champion was asked. It lives in the warm-up worker.

One thread loads it and runs what comes, live copies before recorded ones and synthetic input. What waits is bounded:
whoever brings more waits, so that copies are dropped where they are made, before anything was spent on them.
"""

from __future__ import annotations

import os
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
from router.core.table import Version
from router.core.tensor import BYTES, DTYPES, decode_bytes
from router.core.warmup import Figures, Source
from router.errors import InvalidRequest, ModelBroken, ModelFailed, SettingsError
from router.model_settings import ModelSettings
from router.serving.inflight import InFlight
from router.serving.run import Runnable, Stop
from router.serving.session import synthetic
from router.serving.tally import Tally

Array = np.ndarray[Any, Any]
Replay = Iterator[MirroredRun]
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


def working_clock() -> Callable[[], int]:
    """Nanoseconds for which the thread that asks for this clock did not wait for a core.

    At the lowest priority waiting is most of a run, and says nothing of the version.
    """
    try:
        schedule = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        os.pread(schedule, 64, 0).split()[1]
    except (OSError, IndexError):
        return time.monotonic_ns

    def now() -> int:
        while True:
            waited = os.pread(schedule, 64, 0).split()[1]
            instant = time.monotonic_ns()
            if os.pread(schedule, 64, 0).split()[1] == waited:  # else it lost its core between the two
                return instant - int(waited)

    return now


class Candidate:
    """A version while it is warmed. `load` makes the session of a version and raises ModelBroken.

    Copies of runs of `champion` count; without one there are none. The champion is loaded here too: run by turns on the
    same inputs, both have the same conditions, which is the only fair way to compare their times.
    """

    def __init__(
        self,
        version: Version,
        champion: Version | None,
        settings: ModelSettings,
        load: Callable[[Version], Runnable],
        inflight: InFlight,
        clock: Callable[[], Callable[[], int]] = working_clock,
        note: Note = lambda run, rows, outputs: None,  # noqa: ARG005
    ) -> None:
        self.version = version
        self.champion = champion
        self.stopped = False
        self._reference: Runnable | None = None
        self._pairs = 0
        self._load = load
        self._inflight = inflight
        self._clock = clock
        self._note = note
        self._settings = settings
        self._names = [spec.name for spec in version.signature.outputs]
        self.tally = Tally(version.signature.outputs, settings.warmup.tolerance)
        self._known: dict[tuple[InputHeader, ...], Checked | InvalidRequest] = {}
        self._condition = threading.Condition()
        self._waiting: deque[MirroredRun] = deque()
        self._waiting_bytes = 0
        self._replay: tuple[Source, Replay] | None = None
        self._loaded_at: float | None = None
        self._failed = ""
        self._began: float | None = None
        self._stop: Stop | None = None
        self._exhausted = False
        self._thread = threading.Thread(target=self._work, name=f"warm-{version.model[:40]}", daemon=True)

    # ---- for others ----

    def start(self) -> None:
        """Load it and run what comes."""
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Run no more; False when its thread has not come back within so long: it hangs in a run."""
        with self._condition:
            self.stopped = True
            if self._stop is not None:
                self._stop.terminate = True
            self._condition.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def put(self, run: MirroredRun) -> None:
        """A live copy has come. Waits while too many do, until the version is stopped."""
        if self.champion is None or run.champion != self.champion.number:
            return
        nbytes = _nbytes(run)
        with self._condition:
            while not self.stopped and self._waiting:
                if len(self._waiting) < MAX_WAITING and self._waiting_bytes + nbytes <= MAX_WAITING_BYTES:
                    break
                self._condition.wait(LOOK_S)
            if not self.stopped:
                self._waiting.append(run)
                self._waiting_bytes += nbytes
                self._condition.notify_all()

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
        return self.tally.figures(seconds, self._failed, 0.0 if began is None else now - began, self._exhausted)

    # ---- its own thread ----

    def _work(self) -> None:
        try:
            session = self._loaded()
            if session is None:
                return
            clock = self._clock()
            while (found := self._next()) is not None:
                self._run(session, clock, *found)
        except Exception as error:  # a fault of ours must not look like a version that does nothing
            log.exception("a warm-up failed", model=self.version.model, version=self.version.number)
            self._failed = f"the warm-up worker failed on it ({type(error).__name__}); its log has the details"

    def _loaded(self) -> Runnable | None:
        """Its session, which has run once; None when it cannot be loaded."""
        place = self._inflight.began([of_version(self.version)])
        self._began = time.monotonic()
        try:
            self._contract = contract_of(self._settings.contract, self.version.signature)
            session = self._load(self.version)
            with self._condition:
                self._stop = session.stop()
            try:
                session.run(self._names, synthetic(self.version.signature.inputs, 1), self._stop)
            except ModelFailed:
                log.debug("a version fails on zeros", model=self.version.model)  # it need not answer them
        except (ModelBroken, SettingsError) as error:
            self._failed = str(error)
            return None
        finally:
            self._began = None
            self._inflight.ended(place, 1)
        self._reference = self._loaded_reference()
        self._loaded_at = time.monotonic()
        return session

    def _loaded_reference(self) -> Runnable | None:
        """The champion's session, which has run once; None where it cannot be had: then times are not compared."""
        if self.champion is None:
            return None
        try:
            made = self._load(self.champion)
            names = [spec.name for spec in self.champion.signature.outputs]
            made.run(names, synthetic(self.champion.signature.inputs, 1))
        except ModelBroken as error:
            log.warning("the champion cannot be run beside it", model=self.version.model, reason=str(error))
            return None
        except ModelFailed:
            log.debug("the champion fails on zeros", model=self.version.model)
        return made

    def _next(self) -> tuple[Source, MirroredRun] | None:
        """What is to be run next; None when it is stopped."""
        with self._condition:
            while not self.stopped:
                if self._waiting:
                    run = self._waiting.popleft()
                    self._waiting_bytes -= _nbytes(run)
                    self._condition.notify_all()
                    return Source.LIVE, run
                if self._replay is not None:
                    source, runs = self._replay
                    found = next(runs, None)
                    if found is not None:
                        return source, found
                    self._replay, self._exhausted = None, True
                self._condition.wait(LOOK_S)
        return None

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
        for at, alone in enumerate(_parts(run, rows)):
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
        place = self._inflight.began([self._mark(call) for call in run.calls])
        failed, outputs, seconds = "", [], 0.0
        theirs: tuple[dict[str, Array], float] | None = None
        self._began = time.monotonic()
        try:
            feeds = _feeds(run.calls, checked, sum(rows))
            first = self._pairs % 2 == 0
            if first:
                theirs = self._beside(run, names, feeds, clock)
            began = clock()
            outputs = session.run(names, feeds, self._stop)
            seconds = max(clock() - began, 1) / 1e9
            if not first:
                theirs = self._beside(run, names, feeds, clock)
        except (ModelFailed, InvalidRequest) as error:
            failed = str(error)
        finally:
            self._began = None
            self._inflight.ended(place, len(run.calls))
        if self.stopped:
            return True
        if failed:
            if len(run.calls) > 1:
                return False
            self.tally.failed(source, 1, failed)
            return True
        reasons = [] if self._contract is None else self._contract.of(names).broken_parts(outputs, rows)
        breaches = [each for each in reasons if each]
        said = run.outputs or (theirs[0] if theirs else {})
        if breaches:
            self.tally.broke(len(breaches), breaches[0])
        elif said and (wrong := self.tally.compare(run, rows, said, dict(zip(names, outputs, strict=True)))):
            self.tally.broke(len(run.calls), wrong)
        champion_s = run.seconds if paired else 0.0
        if source is Source.LIVE and not breaches:
            self._note(run, rows, dict(zip(names, outputs, strict=True)))
        self.tally.ran(source, len(run.calls), sum(rows), seconds, champion_s, theirs[1] if theirs else 0.0)
        return True

    def _beside(
        self, run: MirroredRun, names: Sequence[str], feeds: dict[str, Array], clock: Callable[[], int]
    ) -> tuple[dict[str, Array], float] | None:
        """The champion on the same input: outputs and seconds. Until there are enough pairs, or to have its outputs."""
        if self._reference is None or (run.outputs and self._pairs >= PAIRS):
            return None
        assert self.champion is not None
        known = {spec.name for spec in self.champion.signature.outputs}
        asked = [name for name in names if name in known]
        if not asked:
            return None
        try:
            began = clock()
            outputs = self._reference.run(asked, feeds)
            ended = clock()
        except ModelFailed:
            return None
        self._pairs += 1
        return dict(zip(asked, outputs, strict=True)), max(ended - began, 1) / 1e9

    def _mark(self, call: MirroredCall) -> int:
        """What a request is known by if this process dies of it."""
        begun = 0
        for each in call.elements:
            begun = crc32(each, begun)
        return of_version(self.version) | begun


def _nbytes(run: MirroredRun) -> int:
    return sum([call.nbytes for call in run.calls]) + sum([each.nbytes for each in run.outputs.values()])


def _parts(run: MirroredRun, rows: Sequence[int]) -> Iterator[MirroredRun]:
    """Each call of a run with its own rows of the outputs."""
    if len(run.calls) == 1:
        yield run
        return
    at = 0
    for call, count in zip(run.calls, rows, strict=True):
        outputs = {name: each[at : at + count] for name, each in run.outputs.items()}
        yield MirroredRun(run.model, run.champion, (call,), outputs, 0.0)
        at += count


def _feeds(calls: Sequence[MirroredCall], checked: Sequence[Checked], rows: int) -> dict[str, Array]:
    """The arrays of one run for all calls. Raises InvalidRequest when elements do not fit their header."""
    feeds: dict[str, Array] = {}
    for index, feed in enumerate(checked[0].feeds):
        parts = [
            _array(call, each.feeds[index].position, each.feeds[index].shape)
            for call, each in zip(calls, checked, strict=True)
        ]
        feeds[feed.name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    assert len(calls) == 1 or all(len(each) == rows for each in feeds.values())
    return feeds


def _array(call: MirroredCall, position: int, shape: tuple[int, ...]) -> Array:
    header, elements = call.inputs[position], call.elements[position]
    if header.datatype == BYTES:
        return decode_bytes(header.name, elements, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    try:
        return np.ndarray(shape, DTYPES[header.datatype], elements)
    except TypeError:
        raise InvalidRequest(f"the copy of input '{header.name[:200]}' is not what it says") from None
