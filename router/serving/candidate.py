"""A version that has never served, on copies of what the champion was asked. It lives in the warm-up worker.

One thread loads it and runs what comes, live copies before recorded ones and synthetic input. What waits is bounded:
whoever brings more waits, so that copies are dropped where they are made, before anything was spent on them.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from zlib import crc32

import numpy as np
import structlog

from router.core.comparison import Comparison
from router.core.contract import contract_of
from router.core.fingerprint import of_version
from router.core.histogram import RATIOS, TIMES
from router.core.mirrored import Foretold, MirroredCall, MirroredRun, Truth
from router.core.request import Checked, Header, InputHeader, check
from router.core.table import Version
from router.core.tensor import BYTES, DTYPES, decode_bytes
from router.core.warmup import Accuracy, Figures, Source
from router.errors import InvalidRequest, ModelBroken, ModelFailed, SettingsError
from router.model_settings import ModelSettings
from router.serving.inflight import InFlight
from router.serving.run import Runnable, Stop
from router.serving.session import synthetic

Array = np.ndarray[Any, Any]
Replay = Iterator[MirroredRun]

log = structlog.get_logger()

MAX_WAITING: Final = 64
MAX_WAITING_BYTES: Final = 64 << 20
"""One run waits, however large it is."""
LOOK_S: Final = 0.1
MAX_KNOWN: Final = 1024
"""Kinds of requests that are remembered; when full, all are forgotten."""
_ID: Final = 0x1A
"""The tag of a request's id as it travels: field 3, a text."""


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
        return time.monotonic_ns() - int(os.pread(schedule, 64, 0).split()[1])

    return now


class Candidate:
    """A version while it is warmed. `load` makes its session and raises ModelBroken.

    `champion` is the number of the version whose copies count; without one there are none.
    """

    def __init__(
        self,
        version: Version,
        champion: str,
        settings: ModelSettings,
        load: Callable[[], Runnable],
        inflight: InFlight,
        clock: Callable[[], Callable[[], int]] = working_clock,
    ) -> None:
        self.version = version
        self.champion = champion
        self.stopped = False
        self._load = load
        self._inflight = inflight
        self._clock = clock
        self._settings = settings
        self._names = [spec.name for spec in version.signature.outputs]
        self._comparison = Comparison(version.signature.outputs, settings.warmup.tolerance)
        self._judged = self._comparison.judged
        self._foretold = Foretold()
        self._known: dict[tuple[InputHeader, ...], Checked | InvalidRequest] = {}
        self._condition = threading.Condition()
        self._waiting: deque[MirroredRun] = deque()
        self._waiting_bytes = 0
        self._replay: tuple[Source, Replay] | None = None
        self._lock = threading.Lock()  # of all figures
        self._loaded_at: float | None = None
        self._failed = ""
        self._began: float | None = None
        self._stop: Stop | None = None
        self._samples = dict.fromkeys(Source, 0)
        self._rows = self._errors = self._broken = 0
        self._first_error = ""
        self._times = np.zeros(TIMES.buckets, np.int64)
        self._champion_times = np.zeros(TIMES.buckets, np.int64)
        self._ratios = np.zeros(RATIOS.buckets, np.int64)
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
        if run.champion != self.champion:
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

    def came_true(self, request_id: str, row: int, truth: Truth) -> bool:
        """What was right for a row of a request. False when it is not known here."""
        with self._lock:
            return self._foretold.came_true(request_id, row, truth)

    def accuracy(self) -> Accuracy:
        """How often it and the champion were right."""
        with self._lock:
            return self._foretold.accuracy()

    def figures(self) -> Figures:
        """What was seen of it so far."""
        now, began = time.monotonic(), self._began
        with self._lock:
            return Figures(
                loaded=self._loaded_at is not None,
                failed=self._failed,
                seconds=0.0 if self._loaded_at is None else now - self._loaded_at,
                samples=dict(self._samples),
                rows=self._rows,
                errors=self._errors,
                broken=self._broken,
                first_error=self._first_error,
                times=tuple(self._times.tolist()),
                champion_times=tuple(self._champion_times.tolist()),
                ratios=tuple(self._ratios.tolist()),
                outputs=self._comparison.figures() if any(self._samples.values()) else (),
                running_s=0.0 if began is None else now - began,
                exhausted=self._exhausted,
            )

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
            session = self._load()
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
        self._loaded_at = time.monotonic()
        return session

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
                self._fail(source, len(run.calls), f"it does not take what the champion takes: {each}")
                return
        fits = [each for each in checked if isinstance(each, Checked)]
        rows = [each.rows or 1 for each in fits]
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
        failed, outputs = "", []
        self._began = time.monotonic()
        began = ended = clock()
        try:
            feeds = _feeds(run.calls, checked, sum(rows))
            began = clock()
            outputs = session.run(names, feeds, self._stop)
            ended = clock()
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
            self._fail(source, 1, failed)
            return True
        seconds = max(ended - began, 1) / 1e9
        wrong = "" if self._contract is None else self._breach(names, outputs, rows)
        with self._lock:
            self._samples[source] += len(run.calls)
            self._rows += sum(rows)
            self._times[TIMES.place(seconds)] += 1
            if not wrong and run.outputs:
                wrong = self._comparison.add(run.outputs, dict(zip(names, outputs, strict=True)))
                if paired and run.seconds > 0:
                    self._champion_times[TIMES.place(run.seconds)] += 1
                    self._ratios[RATIOS.place(seconds / run.seconds)] += 1
                if not wrong and self._judged in run.outputs:
                    self._foretell(run, rows, outputs[names.index(self._judged)])
            if wrong:
                self._broken += len(run.calls) if len(run.calls) == 1 else self._breaches(names, outputs, rows)
                self._first_error = self._first_error or wrong
        return True

    def _breach(self, names: Sequence[str], outputs: Sequence[Array], rows: Sequence[int]) -> str:
        """The first breach of the contract; empty when it is kept."""
        assert self._contract is not None
        return next((each for each in self._contract.of(names).broken_parts(outputs, rows) if each), "")

    def _breaches(self, names: Sequence[str], outputs: Sequence[Array], rows: Sequence[int]) -> int:
        """How many calls of a run are concerned; all, where it is not the contract that is broken."""
        if self._contract is None:
            return len(rows)
        return sum(map(bool, self._contract.of(names).broken_parts(outputs, rows))) or len(rows)

    def _fail(self, source: Source, calls: int, why: str) -> None:
        with self._lock:
            self._samples[source] += calls
            self._errors += calls
            self._first_error = self._first_error or why

    def _foretell(self, run: MirroredRun, rows: Sequence[int], output: Array) -> None:
        """Keep what both say of requests that have an id: it may come true."""
        if output.ndim == 0 or len(output) != sum(rows) or not any(call.id_field for call in run.calls):
            return
        theirs = self._comparison.classes(self._judged, run.outputs[self._judged])
        ours = self._comparison.classes(self._judged, output)
        at = 0
        for call, count in zip(run.calls, rows, strict=True):
            if call.id_field:
                self._foretold.said(_id(call.id_field), theirs[at : at + count], ours[at : at + count])
            at += count

    def _mark(self, call: MirroredCall) -> int:
        """What a request is known by if this process dies of it."""
        begun = 0
        for each in call.elements:
            begun = crc32(each, begun)
        return of_version(self.version) | begun


def _nbytes(run: MirroredRun) -> int:
    return sum([call.nbytes for call in run.calls]) + sum([each.nbytes for each in run.outputs.values()])


def _id(id_field: bytes) -> str:
    """The id in a field as it travels: its tag, its length, its text."""
    if not id_field or id_field[0] != _ID:
        return ""
    at = 1
    while at < len(id_field) and id_field[at] & 0x80:
        at += 1
    return id_field[at + 1 :].decode("utf-8", "replace")


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
