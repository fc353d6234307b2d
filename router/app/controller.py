"""The controller process: decides what serves, and answers what concerns all workers. It never touches a request."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
import structlog
import uvloop

from router import __version__
from router.app.access import admin_credentials, open_doors, register_of
from router.app.accuracy_part import AccuracyPart
from router.app.approvers import shortages
from router.app.banner import Loading, banner
from router.app.board import CONTROLLER, Board, Phase, Slot, warmup_slot, worker_slot
from router.app.child import EX_CONFIG, QUARANTINE, adopt, link_path
from router.app.drift_part import DriftPart
from router.app.health_part import HealthPart
from router.app.logs import configure
from router.app.memory import free_bytes
from router.app.monitoring import Monitoring, Part
from router.app.observing import Observing
from router.app.outbox import WebhookPart
from router.app.recording_part import RecordingPart
from router.app.retraining_part import RetrainingPart
from router.app.rounds import rounds
from router.app.warmup_process import WarmupProcess
from router.config import ServerSettings
from router.control.accuracy import Accuracy
from router.control.baseline_rows import BaselineRows
from router.control.crashes import crashes_of
from router.control.database import FILE, Database
from router.control.drift import Drift
from router.control.drift_rows import DriftRows
from router.control.events import Events
from router.control.evidence import Evidence
from router.control.faults import FaultBoard
from router.control.gates import Gates
from router.control.inspection import TRIED, Inspector
from router.control.ledger import FILE as LEDGER
from router.control.ledger import Actual, Ledger
from router.control.lifecycle import LOOK_S, Lifecycle
from router.control.reference_rows import ReferenceRows
from router.control.repository_watch import changes
from router.control.room import Room
from router.control.warmup import Warmups
from router.core.access import Caller
from router.core.vitals import Vitals
from router.edge.access import Access, Doorkeeper
from router.edge.admin import Admin, serve_admin
from router.edge.http import ServerFacts, application, http_server
from router.edge.link import LinkServer, WorkerHandle
from router.edge.predictions import from_message as predictions_from
from router.edge.repository_service import RepositoryService
from router.edge.stories import together
from router.edge.tables import from_text, to_text
from router.edge.telemetry import Total, merged, vitals
from router.edge.warmup_link import ROLE, WarmupHandle, mirrored
from router.errors import RouterError, SettingsError
from router.pb.admin_pb2 import Process, Status
from router.pb.link_pb2 import PredictionFigures, Telemetry
from router.pb.link_pb2 import Predictions as PredictionsMessage
from router.pb.observation_pb2 import Observations
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.quarantine import Quarantine

log = structlog.get_logger()

BEAT_S: Final = 0.1
TELEMETRY_TIMEOUT_S: Final = 1.0
HAND_OVER_S: Final = 1.0
"""What workers may need to hand over the predictions that they have."""
SWEEP_S: Final = 1.0
LEAVE_S: Final = 1.0
"""What looks at models may need to leave, beside everything else."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Control until told to stop."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    options = json.loads(Path(path).read_text(encoding="utf-8"))
    board, slot = adopt(Path(options["state"]), CONTROLLER)
    settings = ServerSettings.model_validate(options)
    configure(settings.log_format, process="controller")
    code = 0
    try:
        uvloop.run(Controller(settings, board, slot).run())
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201  # to the person who started the server
        code = EX_CONFIG
    except Exception:  # the last one to see it
        log.exception("the controller failed")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a trial that goes on must not keep the process


class Controller:
    """The parts of the controller, put together."""

    def __init__(self, settings: ServerSettings, board: Board, slot: Slot) -> None:
        self._settings = settings
        self._board = board
        self._slot = slot
        self._workers: dict[int, WorkerHandle] = {}
        self._total = Total()
        self._loading = Loading()
        explicit = settings.model_control == "explicit"
        self._database = Database(settings.state / FILE, to_text, from_text)
        self._events = Events(time.time)
        self._warmups = Warmups(
            WarmupProcess(board.slot(warmup_slot(settings.workers)), settings.state), left_out=self._left_out
        )
        self._recording = RecordingPart(settings.state, lambda: self._lifecycle.table.routes, self._events)
        self._ledger = Ledger(
            settings.state / LEDGER,
            lambda: self._lifecycle.table.routes,
            settings.ledger_mib << 20,
            self._hand_over,
            self._events,
            self._came_true,
        )
        self._lifecycle = Lifecycle(
            settings.models,
            store=self._database,
            word=board,
            trials=Inspector(settings.state),
            gates=Gates(),
            evidence=Evidence(settings.state / TRIED),
            warmups=self._warmups,
            pairs=self._ledger,
            vitals=self._vitals,
            crew=self,
            room=Room(free_bytes, settings.workers),
            explicit=explicit,
            wanted=settings.load_models,
            progress=self._loading,
            allow_faults=settings.allow_faults,
            policy=settings.policy,
            importance=settings.importance,
            crashes=crashes_of(Quarantine(settings.state / QUARANTINE)),
            events=self._events,
        )
        self._webhook = WebhookPart(settings.webhook, self._database, self._events)
        life = self._lifecycle
        self._drift = Drift(
            lambda: life.table.routes,
            ReferenceRows(self._database),
            self._events,
            memory=DriftRows(self._database),
        )
        self._health = HealthPart(lambda: life.table.routes, lambda: life.started, self._events)
        self._monitoring = Monitoring(self._parts())
        self._observing = Observing(self._monitoring.observed)
        self._faults = FaultBoard(self._lifecycle) if settings.allow_faults else None
        self._doorkeeper = Doorkeeper(register_of(settings))
        self._repository = RepositoryService(self._lifecycle, self._figures, explicit, self._doorkeeper)
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: list[asyncio.Task[None]] = []
        self._failed: list[BaseException] = []

    async def run(self) -> None:
        """Start everything, then wait for the signal to stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._look_again)
        self._keep(self._beat())
        self._keep(self._ledger.run())
        await asyncio.to_thread(self._database.open)
        await asyncio.to_thread(self._webhook.begin)  # before anybody can act: who is told that it is done is heard of
        for each in open_doors(self._settings):
            log.info(str(each))
        for shortage in shortages(self._settings):
            log.warning(str(shortage))
        access = Access(self._doorkeeper)
        admin = await serve_admin(
            self._settings.admin, self._admin(), access, admin_credentials(self._settings), self._monitoring.services()
        )
        answers = application(self._figures, self._facts, self._ready, self._health.gauges, self._monitoring.figures)
        http = http_server(answers, self._settings.http)
        serving = self._keep(http.serve())
        link = LinkServer(self, {ROLE: WarmupHandle})
        await link.start(link_path(self._settings.state))
        await self._until_stopped(self._lifecycle.start())
        if not self._stop.is_set():
            self._slot.phase = Phase.SERVING
            self._keep(self._announce())
            self._keep(self._sweep())
            self._keep(self._look_after())
            self._keep(self._look_after_canaries())
            self._keep(self._watch())
            self._looking = [self._keep(looking) for looking in self._monitoring.work()]
        await self._stop.wait()
        self._slot.phase = Phase.DRAINING
        http.should_exit = True
        for looking in self._looking:  # commands of theirs are to be ended before we are
            looking.cancel()
        await asyncio.gather(serving, admin.stop(0.5), link.stop(), return_exceptions=True)
        await self._ledger.close()
        await self._recording.close()
        if self._looking:
            await asyncio.wait(self._looking, timeout=LEAVE_S)
        if self._failed:
            raise RuntimeError("a task of the controller failed") from self._failed[0]

    def _admin(self) -> Admin:
        quarantine = Quarantine(self._settings.state / QUARANTINE)
        return Admin(
            self._lifecycle, self._status, self._explain, quarantine, self._faults, self._database, self._ledger
        )

    def _parts(self) -> Iterable[Part]:
        """What looks at models while they serve."""
        yield self._health
        yield self._recording
        life = self._lifecycle
        yield DriftPart(self._drift, lambda: life.table.routes if life.started else None)
        yield self._webhook
        yield AccuracyPart(
            Accuracy(
                self._ledger,
                lambda: self._lifecycle.table.routes,
                self._events,
                BaselineRows(self._database),
                lambda model, number: self._database.reports(model, number, "test", 1),
            )
        )
        yield RetrainingPart(self._lifecycle, self._settings.retraining, self._settings.state)

    async def _until_stopped(self, work: Coroutine[None, None, None]) -> None:
        """Until the work is done or a signal says stop, whichever is first. Raises what the work raises."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            await working
        else:
            working.cancel()

    async def _beat(self) -> None:
        while True:
            self._slot.beat()
            await asyncio.sleep(BEAT_S)

    def _look_again(self) -> None:
        self._keep(self._look())

    async def _look(self) -> None:
        try:
            await self._lifecycle.refresh()
            log.info("the repository was looked at again", generation=self._lifecycle.table.generation)
        except RouterError as error:
            log.error("the repository was looked at again", reason=str(error))

    async def _watch(self) -> None:
        """Look again whenever something in the repository has changed."""
        async for _ in changes(self._settings.models, self._stop):
            await self._look()

    async def _sweep(self) -> None:
        """Let go of what has stood by for long enough."""
        while not self._stop.is_set():
            await asyncio.sleep(SWEEP_S)
            try:
                await self._lifecycle.sweep()
            except RouterError as error:
                log.error("a standby could not be let go", reason=str(error))

    async def _look_after(self) -> None:
        """Trials and requests for approval go on."""
        await rounds(self._lifecycle.look, lambda: LOOK_S, self._stop, "what is under way could not go on")

    async def _look_after_canaries(self) -> None:
        """Canaries go on, whatever others wait for."""
        life = self._lifecycle
        await rounds(life.look_at_canaries, life.next_look, self._stop, "canaries could not go on")

    async def _announce(self) -> None:
        """Tell the person at the terminal what serves, once all workers do."""
        first = self._board.slot(CONTROLLER).restarts == 0
        while len(self.serving()) < self._settings.workers:
            await asyncio.sleep(0.02)
        if first:
            banner(self._settings, self._lifecycle.table)

    def _keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)
            self._stop.set()  # leave; the supervisor starts us afresh

    def _left_out(self, model: str, number: str, line: str) -> None:
        """Not all recordings could be used for a warm-up."""
        self._events.tell("recording", model, number, f"warmed without a part of its recordings: {line}")

    # ---- all worker processes ----

    def serving(self) -> list[int]:
        """The indices of the workers whose port is open."""
        return [i for i in range(self._settings.workers) if self._board.slot(worker_slot(i)).serves]

    def fence(self, index: int) -> None:
        """End a worker whose port is open; the supervisor starts another."""
        slot = self._board.slot(worker_slot(index))
        if slot.serves and slot.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(slot.pid, signal.SIGKILL)

    # ---- what workers bring ----

    async def joined(self, worker: WorkerHandle) -> None:
        """Bring a new worker up to date."""
        if isinstance(worker, WarmupHandle):
            worker.told = functools.partial(self._warmups.seen, worker)
            self._warmups.join(worker)
            return
        before = self._workers.get(worker.index)
        if before is not None:  # it has joined anew, and the end of its first connection is not seen yet
            before.gone()
            self.left(before)
        if self._faults is not None:
            await self._faults.join(worker)
        await self._lifecycle.join(worker)
        self._workers[worker.index] = worker
        self._warmups.join_worker(worker)

    def left(self, worker: WorkerHandle) -> None:
        """A worker is gone; what it had done still counts."""
        if isinstance(worker, WarmupHandle):
            self._warmups.leave(worker)
            return
        self._warmups.leave_worker(worker)
        self._lifecycle.leave(worker)
        if self._faults is not None:
            self._faults.leave(worker)
        self._total.bury(worker.incarnation)
        self._health.left(worker.incarnation)
        if self._workers.get(worker.index) is worker:
            del self._workers[worker.index]

    def reported(self, worker: WorkerHandle, telemetry: Telemetry) -> None:
        """A worker has sent its figures."""
        self._total.put(worker.incarnation, telemetry)
        self._health.reported(worker.incarnation, telemetry)
        self._warmups.mirrored(worker, mirrored(telemetry))

    def predicted(self, worker: WorkerHandle, predictions: PredictionsMessage) -> None:
        """A worker hands over predictions; it is told when they are kept."""
        sheet = predictions_from(predictions)
        self._ledger.take(sheet.model, sheet, lambda: worker.kept(predictions.number))

    def _came_true(self, model: str, actuals: Sequence[Actual]) -> None:
        """Actuals were joined: whoever is warmed up and what is recorded have them too."""
        self._warmups.came_true(model, actuals)
        self._recording.came_true(model, actuals)

    def observed(self, worker: WorkerHandle, observations: Observations) -> None:  # noqa: ARG002
        """A worker has looked at rows that came by."""
        self._observing.take(observations)

    async def _hand_over(self) -> None:
        """Have all workers hand over what they have; one that does not come or answer in time is not waited for."""
        until = time.monotonic() + HAND_OVER_S
        while set(self.serving()) - set(self._workers) and time.monotonic() < until:  # we have just been started
            await asyncio.sleep(0.02)
        await asyncio.gather(
            *(worker.hand_over(HAND_OVER_S) for worker in self._workers.values()), return_exceptions=True
        )

    async def forwarded(self, method: str, message: bytes, caller: Caller) -> bytes:
        """Answer a client's request. Raises a RouterError."""
        return await self._repository.answer(method, message, caller)

    # ---- what people ask ----

    async def _figures(self) -> Telemetry:
        """The sum over all workers, asked now; a worker that does not answer counts with what it said last."""
        await asyncio.gather(
            *(worker.telemetry(TELEMETRY_TIMEOUT_S) for worker in self._workers.values()), return_exceptions=True
        )
        lost = [PredictionFigures(model=model, lost=count) for model, count in self._ledger.lost.items()]
        return merged((self._total.all(), Telemetry(predictions=lost)))

    async def _vitals(self) -> Mapping[tuple[str, str], Vitals]:
        """What callers had of each version, asked now."""
        return vitals(await self._figures())

    async def _explain(self, wanted: ExplainRequest) -> Stories:
        """The stories of all workers that answer."""
        answers = await asyncio.gather(
            *(worker.stories(wanted, TELEMETRY_TIMEOUT_S) for worker in self._workers.values()), return_exceptions=True
        )
        return together([each for each in answers if isinstance(each, Stories)], wanted.last)

    def _ready(self) -> bool:
        return bool(self.serving())

    def _facts(self) -> ServerFacts:
        slots = {f"worker-{i}": self._board.slot(worker_slot(i)) for i in range(self._settings.workers)}
        slots["controller"] = self._slot
        return ServerFacts(
            self._board.generation,
            {name: slot.serves for name, slot in slots.items()},
            {name: slot.restarts for name, slot in slots.items()},
        )

    def _status(self) -> Status:
        settings = self._settings
        status = Status(
            version=__version__,
            generation=self._board.generation,
            uptime_seconds=_uptime(self._board.supervisor),
            transport=settings.transport,
            model_control=settings.model_control,
            addresses={"grpc": settings.grpc, "http": settings.http, "admin": settings.admin},
            models_dir=str(settings.models),
            ready=self._ready(),
        )
        processes = [("supervisor", self._board.supervisor, "serving", 0)]
        slots = [("controller", self._slot)]
        slots += [(f"worker-{i}", self._board.slot(worker_slot(i))) for i in range(settings.workers)]
        processes += [(name, slot.pid, slot.phase.name.lower(), slot.restarts) for name, slot in slots]
        warmup = self._board.slot(warmup_slot(settings.workers))
        if warmup.pid or warmup.wanted:
            processes.append(("warm-up", warmup.pid, warmup.phase.name.lower(), warmup.restarts))
        for name, pid, state, restarts in processes:
            status.processes.append(
                Process(name=name, pid=pid, state=state if pid else "gone", restarts=restarts, resident_bytes=_rss(pid))
            )
        return status


def _uptime(pid: int) -> float:
    try:
        return max(0.0, time.time() - psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
