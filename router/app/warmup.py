"""The warm-up worker: runs versions on copies of what another version was asked, to warm or to observe them.

It has the same parts as a worker and no port. Serving workers write copies of their runs to its socket in the state
directory; the controller says over the link which versions are run. The supervisor starts it when it is wanted, and it
leaves when it is not any more. The whole process has the lowest priority, and what it runs may take it down: that
costs no caller anything, and a mapped file tells whoever comes after it what it was running.

Threads: the main thread beats and reports; one for each connection takes copies in; one for each version runs them.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import structlog

from router.app.board import Board, Phase, Slot, warmup_slot
from router.app.child import SAMPLES, WARMING, adopt, link_path, mirror_path
from router.app.logs import configure
from router.config import ServerSettings
from router.control import artefact
from router.control.rehearsal import Seen, WarmOrder
from router.core.mirrored import MirroredCall, MirroredRun, Truth
from router.core.prediction import MIRROR, form_of, predicted
from router.core.request import InputHeader
from router.core.table import Version
from router.core.tensor import BYTES, encode_bytes
from router.core.warmup import Figures, Purpose, Source
from router.edge.mirrors import decode
from router.edge.warmup_link import WarmupLink
from router.errors import InvalidRequest, ModelBroken
from router.model_settings import LedgerSettings
from router.pb.link_pb2 import Joined
from router.serving.candidate import Array, Candidate, Note
from router.serving.inflight import REGION, InFlight, leave, mapped
from router.serving.intake import Intake
from router.serving.mirror import LENGTH
from router.serving.predictions import Notes, Predictions
from router.serving.samples import Samples
from router.serving.session import Session, synthetic
from router.serving.timers import Timers

if TYPE_CHECKING:
    from router.control.recorded_runs import RecordedRuns

log = structlog.get_logger()

LOWEST: Final = 19
"""Of the process: it serves nobody."""
BEAT_S: Final = 0.1
REPORT_S: Final = 0.5
LINGER_S: Final = 10.0
"""It leaves when it has not been wanted for so long: what is wanted next often follows at once."""
STOP_S: Final = 2.0
"""A version whose run does not end within so long hangs; only the end of the process ends that."""
RECORD_S: Final = 0.1
"""One run of a model is recorded in so long while it is warmed up,"""
OBSERVED_S: Final = 1.0
"""and in so long while it is only observed, which may go on for weeks."""
LARGEST: Final = 256 << 20
"""Bytes of a message."""
SYNTHETIC_ROWS: Final = (1, 4)
BACKLOG: Final = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Warm up what the controller says, until told to stop or not wanted any more."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    options = json.loads(Path(path).read_text(encoding="utf-8"))
    board, slot = adopt(Path(options["state"]), warmup_slot(options["workers"]))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # before any thread: the main thread takes it
    lowest_priority()
    settings = ServerSettings.model_validate(options)
    configure(settings.log_format, process="warm-up")
    WarmupWorker(settings, board, slot).run()
    _leave()


def lowest_priority() -> None:
    """Of the whole process: any other that wants a core has it at once, where the system knows such a class."""
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _leave() -> NoReturn:
    """End at once: a run that hangs must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class WarmupWorker:
    """The parts of the warm-up worker, put together."""

    def __init__(self, settings: ServerSettings, board: Board, slot: Slot) -> None:
        self._settings = settings
        self._board = board
        self._slot = slot
        self._region = mapped(settings.state / WARMING, REGION)
        self._inflight = InFlight(self._region)
        self._lock = threading.Lock()  # of what is run
        self._orders: dict[str, WarmOrder] = {}  # by run, as the candidates
        self._candidates: dict[str, Candidate] = {}
        self._by_model: dict[str, tuple[Candidate, ...]] = {}
        self._samples: dict[str, Samples] = {}  # by model
        self._recorded: dict[str, RecordedRuns] = {}  # by run
        joined = Joined(pid=os.getpid(), incarnation=uuid.uuid4().hex)
        self._link = WarmupLink(link_path(settings.state), joined, self, Timers())
        self._predictions = Predictions(self._link.send_predictions)
        self._predictions.start()
        self._hangs = False

    def run(self) -> None:
        """Until it is told to stop, is not wanted any more, or only its end can end a run."""
        listener = self._listen()
        threading.Thread(target=self._accept, args=(listener,), name="mirrors", daemon=True).start()
        self._link.start()
        self._slot.phase = Phase.SERVING
        wanted_at = reported_at = time.monotonic()
        while not self._hangs:
            self._slot.beat()
            now = time.monotonic()
            if self._slot.wanted or self._candidates:
                wanted_at = now
            if now - wanted_at > LINGER_S:
                break
            if now - reported_at >= REPORT_S:
                reported_at = now
                self._report()
            # After SIGSTOP and SIGCONT CPython returns an empty record instead of None.
            told = signal.sigtimedwait({signal.SIGTERM}, BEAT_S)
            if told is not None and told.si_signo == signal.SIGTERM:
                break
        self._slot.phase = Phase.DRAINING
        self._predictions.close()
        leave(self._region)

    def _report(self) -> None:
        with self._lock:
            now = [(self._orders[run], candidate) for run, candidate in self._candidates.items()]
        if now:
            self._link.report(
                Seen(order.run, order.source, self._figures(order.run, candidate), candidate.tally.accuracy())
                for order, candidate in now
            )

    def _figures(self, run: str, candidate: Candidate) -> Figures:
        """What was seen, and of which recordings."""
        figures, recorded = candidate.figures(), self._recorded.get(run)
        if recorded is None:
            return figures
        return replace(figures, replayed=recorded.words, left_out=recorded.left_out)

    # ---- what the controller says, on the link's thread ----

    def attached(self) -> None:
        """It is there; it will say what is to be run, and hears of the predictions that it has not confirmed."""
        self._predictions.again()

    def kept(self, number: int) -> None:
        """Predictions that were handed over are kept."""
        self._predictions.kept(number)

    def set_warmings(self, orders: Sequence[WarmOrder]) -> None:
        """Run these versions and no others."""
        wanted = {order.run: order for order in orders}
        for run in [run for run in self._orders if run not in wanted]:
            self._stop(run)
        for run, order in wanted.items():
            known = self._orders.get(run)
            if known is None:
                self._start(order)
            else:
                candidate = self._candidates[run]
                candidate.share, candidate.max_per_s = order.share, order.max_per_s
                with self._lock:
                    self._orders[run] = order
                if known.source is not order.source:
                    candidate.replay(order.source, self._replay(order))

    def _start(self, order: WarmOrder) -> None:
        version = order.version
        load = functools.partial(_load, order.settings.sessions.providers)
        note = noting(version, order.settings.ledger, self._predictions)
        candidate = Candidate(
            version,
            order.champion,
            order.settings,
            load,
            self._inflight,
            note=note,
            purpose=order.purpose,
            beside=order.beside,
        )
        candidate.share, candidate.max_per_s = order.share, order.max_per_s
        with self._lock:
            self._orders[order.run], self._candidates[order.run] = order, candidate
            self._by_model[version.model] = (*self._by_model.get(version.model, ()), candidate)
        candidate.start()
        if order.source is not Source.LIVE:
            candidate.replay(order.source, self._replay(order))
        log.info("a version is run on copies", model=version.model, version=version.number, purpose=order.purpose)

    def _stop(self, run: str) -> None:
        with self._lock:
            candidate = self._candidates.pop(run)
            self._recorded.pop(run, None)
            model = self._orders.pop(run).version.model
            others = tuple([each for each in self._by_model.pop(model) if each is not candidate])
            if others:
                self._by_model[model] = others
        if not candidate.stop(STOP_S) and candidate.figures().loaded:  # a load that is under way ends by itself
            log.warning("a run hangs: this process ends", model=model, version=candidate.version.number)
            self._hangs = True

    def _of(self, model: str) -> Sequence[Candidate]:
        """All that run copies of a model's runs."""
        return self._by_model.get(model, ())

    def came_true(self, model: str, actuals: Sequence[tuple[str, int, Truth]]) -> None:
        """What was right for rows of requests."""
        for candidate in self._of(model):
            if candidate.purpose is Purpose.WARM_UP:
                for request_id, row, truth in actuals:
                    candidate.tally.came_true(request_id, row, truth)

    # ---- what is run where nobody asks ----

    def _replay(self, order: WarmOrder) -> Iterator[MirroredRun]:
        source = self._kept(order) if order.source is Source.RECORDED else _synthetic(order.version)
        requests = 0
        for run in source:
            if requests >= order.count:
                return
            requests += len(run.calls)
            yield run

    def _kept(self, order: WarmOrder) -> Iterator[MirroredRun]:
        """The newest requests that the model has recorded, then copies that were kept while others were run on them."""
        yield from self._recordings(order)
        yield from self._copies(order)

    def _recordings(self, order: WarmOrder) -> Iterator[MirroredRun]:
        """Nothing where the model has none."""
        from router.control.recorded_runs import RecordedRuns  # noqa: PLC0415  # half a second, and few want it
        from router.control.recorded_schema import FOLDER, folder_of  # noqa: PLC0415

        version = order.version
        folder = folder_of(self._settings.state / FOLDER, version.model)
        signature = (order.champion or version).signature  # what is asked is what the champion takes
        runs = RecordedRuns(folder, version.model, signature, order.settings.recording.redact, order.count)
        self._recorded[order.run] = runs
        yield from runs
        if runs.left_out:
            log.warning("recordings are left out of a warm-up", model=version.model, reason=runs.left_out)

    def _copies(self, order: WarmOrder) -> Iterator[MirroredRun]:
        """Copies that were kept; with outputs of another version than the champion there is nothing to compare."""
        for message in Samples(self._settings.state / SAMPLES, order.version.model).messages():
            try:
                run = decode(message)
            except InvalidRequest:  # the rest of it is not to be trusted
                log.warning("recorded requests cannot be read", model=order.version.model)
                return
            known = order.champion is not None and run.champion == order.champion.number
            yield run if known else replace(run, outputs={}, seconds=0.0)

    # ---- what the workers bring ----

    def _listen(self) -> socket.socket:
        path = mirror_path(self._settings.state)
        path.unlink(missing_ok=True)  # of the one before
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(BACKLOG)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._take_in, args=(connection,), name="mirror", daemon=True).start()

    def _take_in(self, connection: socket.socket) -> None:
        """All copies of one model from one worker. While its versions have enough, nothing more is read."""
        intake: Intake | None = None
        with connection, connection.makefile("rb") as incoming:
            try:
                while len(head := incoming.read(LENGTH.size)) == LENGTH.size:
                    (length,) = LENGTH.unpack(head)
                    if length > LARGEST or len(message := incoming.read(length)) < length:
                        return
                    run = decode(message)
                    now = time.monotonic()
                    self._record(run.model, message, now)
                    intake = intake or Intake(functools.partial(self._of, run.model))
                    intake.put(run, now)
            except (OSError, InvalidRequest) as error:
                log.debug("a mirror ends", reason=str(error))
            except Exception:  # a fault of ours costs this connection: the worker makes another
                log.exception("a mirror failed")

    def _record(self, model: str, message: bytes, now: float) -> None:
        """Keep a run now and then, for versions of a day on which nobody asks."""
        samples = self._samples.get(model)
        if samples is None:
            samples = self._samples.setdefault(model, Samples(self._settings.state / SAMPLES, model))
        warmed = any(each.purpose is Purpose.WARM_UP for each in self._of(model))
        samples.offer(message, now, RECORD_S if warmed else OBSERVED_S)


def noting(version: Version, settings: LedgerSettings, predictions: Predictions) -> Note:
    """What writes down for the ledger what a version says to copies, where its model keeps one."""
    spec = predicted(settings, version.signature.outputs)
    form = None if spec is None or not settings.enabled else form_of(spec)
    if spec is None or form is None:
        return lambda run, rows, outputs: None  # noqa: ARG005
    notes = Notes(predictions, 0, form, version.model, version.number, 0, MIRROR, settings.sample)
    name = spec.name

    def note(run: MirroredRun, rows: Sequence[int], outputs: Mapping[str, Array]) -> None:
        ids = [call.id_field for call in run.calls]
        if name in outputs and any(ids):
            notes.put(ids, rows if len(rows) > 1 else None, outputs[name], time.monotonic_ns())

    return note


def _load(providers: Sequence[str], version: Version) -> Session:
    """A session of the version that takes one core. Raises ModelBroken."""
    session = Session(replace(version, intra_op_threads=1), providers)
    if artefact.digest(Path(version.path).parent) != version.digest:
        raise ModelBroken("its files are not those that were tested: they have changed since")
    return session


def _synthetic(version: Version) -> Iterator[MirroredRun]:
    """Zeros and empty texts, by turns of one row and of a few, without end."""
    for rows in itertools.cycle(SYNTHETIC_ROWS):
        feeds = synthetic(version.signature.inputs, rows)
        kinds = {spec.name: spec.datatype for spec in version.signature.inputs}
        inputs = tuple(InputHeader(name, kinds[name], each.shape) for name, each in feeds.items())
        elements = tuple(
            memoryview(encode_bytes(each) if kinds[name] == BYTES else each.tobytes()) for name, each in feeds.items()
        )
        yield MirroredRun(version.model, "", (MirroredCall(b"", inputs, elements),), {}, 0.0)


if __name__ == "__main__":
    main()
