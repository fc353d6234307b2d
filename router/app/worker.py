"""A worker process: answers requests and nothing else.

Threads: the loop thread (this process's main thread) polls the core's queue and runs short runs; executor threads
run the long ones; the timer thread watches deadlines and beats; the link thread talks to the controller and loads
sessions; the stop thread waits for SIGTERM; a small pool does what must keep nobody waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NoReturn

import psutil
import structlog

from router.app.board import Board, Phase, Slot, worker_slot
from router.app.child import ANSWERS, EX_CONFIG, QUARANTINE, RUNNING, adopt, link_path, mirror_path
from router.app.logs import configure
from router.config import ServerSettings
from router.control import artefact
from router.control.swap import Refusal
from router.core.faults import Fault
from router.core.health import target_ms
from router.core.table import Route, Version, VersionState, VersionTable
from router.edge.aio_transport import AioTransport
from router.edge.core_transport import CoreTransport
from router.edge.health import Health
from router.edge.inference import EXTENSIONS, FAULT_INJECTION, SERVICE, Inference, reply_encoder
from router.edge.link_client import LinkClient
from router.edge.mirrors import encode
from router.edge.observations import figures as observed_figures
from router.edge.reflection import Reflection
from router.edge.remote import Remotes
from router.edge.stories import told
from router.edge.telemetry import merged, past, telemetry
from router.edge.transport import Credentials, Limits, Methods, Transport
from router.edge.warmup_link import mirror_figures
from router.errors import ModelBroken, NotFound, RouterError, SettingsError
from router.model_settings import ModelSettings
from router.pb import story_pb2 as pb
from router.pb.link_pb2 import Joined, PredictionFigures, Telemetry
from router.serving.answers import Answers
from router.serving.faults import Faulty, Injection
from router.serving.inflight import REGION, InFlight, mapped, region
from router.serving.lanes import Executor, Lane, Runnable
from router.serving.loop import Loop
from router.serving.mirror import Mirror, MirrorOrder, connected
from router.serving.observer import Observer, wishes_of
from router.serving.predictions import Predictions
from router.serving.quarantine import Quarantine
from router.serving.remote import Peer
from router.serving.router import Router
from router.serving.serving_table import ServingTable
from router.serving.session import Session, give_back_memory, synthetic
from router.serving.stories import Stories
from router.serving.timers import Timers

log = structlog.get_logger()

BEAT_S: Final = 0.1
SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter while another wants it: executor threads must not make the loop wait."""
COLLECT_S: Final = 10.0
TELEMETRY_S: Final = 1.0
COMING_S: Final = 60.0
"""How long a version is kept that was loaded for a table which has not come."""
LINGER_S: Final = 1.0
"""How long a table is kept that does not serve any more: the loop thread may have read the word just before."""
MOST_MISSING: Final = 16
"""A worker with so many threads in runs that were given up asks to be relieved: each keeps memory, and maybe a core."""
HANGING_S: Final = 1.5
"""What a drain may take beyond its grace."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("options", type=Path)
    parser.add_argument("--index", type=int, required=True)
    chosen = parser.parse_args(arguments)
    options = json.loads(chosen.options.read_text(encoding="utf-8"))
    board, slot = adopt(Path(options["state"]), worker_slot(chosen.index))
    settings = ServerSettings.model_validate(options)
    configure(settings.log_format, process=f"worker-{chosen.index}")
    try:
        Worker(settings, chosen.index, board, slot).run()
    except SettingsError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201  # to the person who started the server
        _leave(EX_CONFIG)
    _leave(0)


def _leave(code: int) -> NoReturn:
    """End at once: a run that hangs must not keep the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Worker:
    """The parts of a worker, put together."""

    def __init__(self, settings: ServerSettings, index: int, board: Board, slot: Slot) -> None:
        self._settings = settings
        self._slot = slot
        self._may_bind: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._phase_lock = threading.Lock()
        self._stopping = False
        self.timers = Timers()
        self.executor = Executor(slots=max(1, len(os.sched_getaffinity(0)) // settings.workers))
        self.loop = Loop(self.timers)
        runs = mapped(settings.state / RUNNING, settings.workers * REGION)
        self._inflight = InFlight(region(runs, index))
        self._quarantine = Quarantine(settings.state / QUARANTINE)
        self._revision = -1
        self.router = Router(board.words, self.loop, inflight=self._inflight)
        self._index = index
        self._stories = Stories()
        self._lanes: dict[tuple[object, ...], Lane] = {}
        self._coming: dict[Lane, float] = {}  # loaded lately, for a table that may be on its way, and until when
        self._loading: dict[tuple[object, ...], threading.Lock] = {}
        self._ill: set[tuple[object, ...]] = set()  # the lanes of which no session may be asked
        self._tables: dict[int, ServingTable] = {}
        self._tables_lock = threading.Lock()
        self._figures_lock = threading.Lock()
        self._retiring: set[Lane] = set()
        self._injections: dict[str, Injection] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._mirror_path = mirror_path(settings.state)
        self._past = Telemetry()
        self._answers: Answers | None = None
        self._predictions: Predictions | None = None
        self._observer: Observer | None = None
        self._remotes = Remotes(settings.max_message_mib << 20)
        self._peers: dict[str, Peer] = {}
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="aside")
        joined = Joined(worker=index, pid=os.getpid(), incarnation=uuid.uuid4().hex)
        self._link = LinkClient(link_path(settings.state), joined, self, self.timers)
        self._health = Health(self._serves, self._pool)
        extensions = (*EXTENSIONS, FAULT_INJECTION) if settings.allow_faults else EXTENSIONS
        self._inference = Inference(self.router, self._link.forward, lambda: not self._stopping, extensions)
        methods = Methods(
            self._inference.unary() | self._health.unary(),
            self._inference.stream() | self._health.stream() | Reflection(self._pool).stream(),
        )
        limits = Limits(message_bytes=settings.max_message_mib << 20, spin_seconds=settings.spin_us / 1e6)
        self._collected = time.monotonic()
        self._transport: Transport
        if settings.transport == "core":
            self._transport = core = CoreTransport(methods, self._work, limits, self.loop.enter)
            self.loop.hand_over = core.hand_over
        else:  # its loop cannot change threads: all runs are the executor's
            self._transport = AioTransport(methods, self._work, limits)

    def run(self) -> None:
        """Join the controller, open the port when everything is prepared, serve until the drain is over.

        Raises SettingsError when the port cannot be opened.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # A pipe tells a thread of SIGTERM: a handler would run in the middle of whatever the loop thread holds. It is
        # written at once while this thread waits in C, and by the handler where uvloop has taken the wake-up over.
        told, telling = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(telling, False)
        signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: _tell(telling))
        threading.Thread(target=self._await_stop, args=(told,), name="stop", daemon=True).start()
        self.timers.start()
        self.timers.every(BEAT_S, self._beat)
        self._link.start()
        if not self._may_bind.get():
            return
        self._transport.bind(self._settings.grpc, _credentials(self._settings))
        self._settle()
        with self._phase_lock:
            if self._stopping:
                return
            self._slot.phase = Phase.SERVING
        self.timers.every(TELEMETRY_S, self._link.send_telemetry)
        self._transport.run()
        if self._answers is not None:
            self._answers.close()
        if self._predictions is not None:
            self._predictions.close()

    def _await_stop(self, told: int) -> None:
        while signal.SIGTERM not in os.read(told, 64):
            pass
        self.stop()
        # The transport's own patience is shorter. What then still hangs must not make the server look stuck.
        time.sleep(self._settings.drain_delay_s + self._settings.grace_s + HANGING_S)
        _leave(0)

    def stop(self) -> None:
        """Say NOT_SERVING, give balancers time to look away, then drain."""
        with self._phase_lock:
            self._stopping = True
            self._slot.phase = Phase.DRAINING
        self._may_bind.put(False)
        self._health.changed()
        time.sleep(self._settings.drain_delay_s)
        self._health.end()
        self._inference.end()
        self._transport.drain(self._settings.grace_s)

    def _beat(self) -> None:
        """This process is alive; runs that hang are given up."""
        self._slot.beat()
        now = time.monotonic()
        self.router.lag_s = self._stories.lag_s = self.timers.lag.seconds(now)
        if self._revision != (revision := self._quarantine.revision):
            self._revision = revision
            self._inflight.refused = frozenset([each.fingerprint for each in self._quarantine.refused()])
        lanes = self._lanes
        for lane in (*lanes.values(), *list(self._retiring)):
            lane.look(now)
        if self.executor.missing >= MOST_MISSING and not self._slot.worn:
            log.warning("too many threads hang in runs: a fresh worker is asked for", threads=self.executor.missing)
            self._slot.wear_out()
        ill = {key for key, lane in lanes.items() if not lane.replicas.healthy(now)}
        if ill != self._ill:
            self._ill = ill
            self._health.changed()

    def _work(self) -> bool:
        more = self.router.work()
        if not more:
            now = time.monotonic()
            if now - self._collected > COLLECT_S:
                self._collected = now
                gc.collect()
        return more

    def _settle(self) -> None:
        """What is loaded now stays: keep the collector away from it, and let it run only when nobody waits."""
        gc.collect()
        gc.freeze()
        gc.disable()

    def _serves(self, name: str) -> bool | None:
        if name in {"", SERVICE}:
            return not self._stopping
        try:
            lane = self.router.table.lane(name, "")
        except NotFound:
            return None
        except RouterError:
            return False
        return not self._stopping and lane.replicas.healthy(time.monotonic())

    # ---- what the controller asks, on the link's thread ----

    def prepare(self, table: VersionTable) -> list[Refusal]:
        """Load what is missing and run it once; what could not be loaded."""
        with self._tables_lock:
            lanes, refusals = self._loaded(table.routes.values())
            if not refusals:
                prepared = ServingTable(
                    table, lanes, reply_encoder, self._memory(table), self._peers_of(table), self._ledger(table)
                )
                given_up = self.router.withdraw(table.generation)
                kept = {number: each for number, each in self._tables.items() if number not in given_up}
                self._tables = {**kept, table.generation: prepared}
                self.router.install(prepared)
                self._observe(table, lanes)
                with self._figures_lock:
                    for lane in lanes.values():
                        self._coming.pop(lane, None)
                if self._settings.allow_faults:
                    for route in table.routes.values():
                        self._injection(route.model).configure(route.settings.faults)
        return refusals

    def preload(self, route: Route, done: Callable[[Sequence[Refusal]], None]) -> None:
        """Load what is missing for a route that is to come, while everything else goes on. Returns at once."""

        def load() -> None:
            _, refusals = self._loaded([route])
            done(refusals)
            # If no table has come for it by then, it goes.
            self.timers.at(time.monotonic() + COMING_S, lambda: self.retire(min(self._tables, default=0), lambda: None))

        threading.Thread(target=load, name="loader", daemon=True).start()

    def _loaded(self, routes: Iterable[Route]) -> tuple[dict[tuple[str, str], Lane], list[Refusal]]:
        """The lanes of what these routes serve, loaded where they are missing; what could not be loaded."""
        refusals = []
        lanes: dict[tuple[str, str], Lane] = {}
        for route in routes:
            for version in route.versions.values():
                if version.state is not VersionState.READY:
                    continue
                try:
                    lane = lanes[version.model, version.number] = self._lane(version, route.settings)
                except ModelBroken as error:
                    refusals.append(Refusal(version.model, version.number, str(error)))
                except Exception:  # a fault of ours costs this version, not the worker
                    log.exception("a version could not be loaded", model=version.model, version=version.number)
                    refusals.append(Refusal(version.model, version.number, "a worker failed to load it"))
                else:
                    target = target_ms(route.settings)
                    lane.stats.aim(None if target is None else target / 1e3)
        return lanes, refusals

    def _memory(self, table: VersionTable) -> Answers | None:
        """The memory of answers, opened when the first model asks for it."""
        asked = any(
            "cached" in route.settings.fallback.chain or route.settings.answers.serve_fresh_s
            for route in table.routes.values()
        )
        if asked and self._answers is None:
            self._answers = Answers(self._settings.state / ANSWERS, self._settings.answers_mib << 20)
            self._answers.start()
        return self._answers if asked else None

    def _ledger(self, table: VersionTable) -> Predictions | None:
        """What goes to the ledger, begun when the first model asks for it."""
        asked = any(route.settings.ledger.enabled for route in table.routes.values())
        if asked and self._predictions is None:
            self._predictions = Predictions(self._link.send_predictions)
            self._predictions.start()
        return self._predictions if asked else None

    def _observe(self, table: VersionTable, lanes: Mapping[tuple[str, str], Lane]) -> None:
        """Have rows looked at and recorded as this table says. The observer begins when the first model asks for it."""
        wishes = {model: wishes_of(route.settings) for model, route in table.routes.items()}
        wishes = {model: each for model, each in wishes.items() if any(each)}
        if wishes and self._observer is None:
            self._observer = Observer(self._link.send_observations)
            self._observer.start()
        turns = {} if self._observer is None else self._observer.turns(wishes)
        for (model, _), lane in lanes.items():
            lane.observer = turns.get(model)

    def _peers_of(self, table: VersionTable) -> dict[str, Peer]:
        """The models on other servers that the table names, by URL."""
        for url in _remote_targets(table.routes.values()):
            if url not in self._peers:
                self._peers[url] = Peer(url, self._remotes.model(url))
        return {url: self._peers[url] for url in _remote_targets(table.routes.values())}

    def _lane(self, version: Version, settings: ModelSettings) -> Lane:
        """The lane of a version. What concerns no run (fallback, deadlines) may change without a new one."""
        key = (version.model, version.number, version.digest, version.batching, settings.sessions)
        lane = self._lanes.get(key)
        if lane is not None:
            return lane
        with self._loading.setdefault(key, threading.Lock()):  # a version that is being loaded is waited for
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._load(key, version, settings)
        return lane

    def _load(self, key: tuple[object, ...], version: Version, settings: ModelSettings) -> Lane:
        began = time.monotonic_ns()
        load = functools.partial(Session, version, settings.sessions.providers)
        session = load()
        if artefact.digest(Path(version.path).parent) != version.digest:
            raise ModelBroken("its files are not those that were tried: they have changed since")
        sessions = [session, *(load() for _ in range(settings.sessions.replicas - 1))]
        reload = functools.partial(self._reloaded, load, version) if self._settings.allow_faults else load
        lane = Lane(
            version,
            sessions,
            self.executor,
            self.timers,
            self.loop,
            reload=reload,
            stories=self._stories,
            inflight=self._inflight,
        )
        lane.prove(lambda rows: synthetic(version.signature.inputs, rows))
        if self._settings.allow_faults:  # not before: a model that hangs could not be loaded
            for index, replica in enumerate(lane.replicas):
                well, injection = replica.session, self._injection(version.model)
                replica.session = Faulty(well, injection, index, version=version.number)
        lane.stats.load_ns = time.monotonic_ns() - began
        lane.mirror = self._mirrors.get(version.model)
        with self._figures_lock:
            self._lanes = {**self._lanes, key: lane}
            self._coming[lane] = time.monotonic() + COMING_S
        return lane

    def _reloaded(self, load: Callable[[], Session], version: Version) -> Runnable:
        """A fresh session in the place of one that hangs; what is wrong with all of them is wrong with it too."""
        return Faulty(load(), self._injection(version.model), version=version.number)

    def _injection(self, model: str) -> Injection:
        return self._injections.setdefault(model, Injection())

    def set_faults(self, model: str, faults: tuple[Fault, ...]) -> None:
        """An operator makes the runs of a model fail."""
        self._injection(model).command(faults)

    def retire(self, before: int, done: Callable[[], None]) -> None:
        """Let go of older tables, and of the sessions that no table needs any more. Returns at once."""
        self._health.changed()

        def retire() -> None:
            self._retire(before)
            done()

        threading.Thread(target=retire, name="retire", daemon=True).start()

    def _retire(self, before: int) -> None:
        time.sleep(LINGER_S)
        with self._tables_lock:
            self.router.forget(before)
            self._tables = {number: table for number, table in self._tables.items() if number >= before}
            routes = [route for table in self._tables.values() for route in table.routes.values()]
            self._remotes.keep(_remote_targets(routes))
            needed = {lane for table in self._tables.values() for lane in table.lanes.values()}
            with self._figures_lock:
                now = time.monotonic()
                self._coming = {lane: until for lane, until in self._coming.items() if until > now}
                needed |= self._coming.keys()
                kept = {key: lane for key, lane in self._lanes.items() if lane in needed}
                gone = set(self._lanes.values()) - needed
                self._lanes = kept
                self._retiring |= gone
        if not gone:
            return
        while any(lane.pending for lane in gone):  # their last calls are being answered
            time.sleep(0.05)
        with self._figures_lock:
            self._retiring -= gone
            self._past = merged((self._past, past(telemetry(gone))))
        gone.clear()
        give_back_memory()

    def bind(self) -> None:
        """Open the port."""
        self._may_bind.put(True)

    def telemetry(self) -> Telemetry:
        """The figures since this worker started, of what has been retired too."""
        with self._figures_lock:
            figures = merged((telemetry([*self._lanes.values(), *self._retiring]), self._past))
        figures.loop_taken = self.loop.taken
        if self._predictions is not None:
            for model, each in self._predictions.figures().items():
                figures.predictions.append(PredictionFigures(model=model, kept=each.kept, lost=each.lost))
        if self._observer is not None:
            figures.observations.extend(map(observed_figures, self._observer.figures()))
        figures.mirrors.extend(mirror_figures(list(self._mirrors.values())))
        figures.resident_bytes = psutil.Process().memory_info().rss
        return figures

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Copy the runs of these models for the warm-up worker, and of no others."""
        before, self._mirrors = self._mirrors, {}
        for order in orders:
            mirror = before.get(order.model)
            if mirror is not None and mirror.order != order:
                mirror.follow(order)
            elif mirror is None:
                mirror = Mirror(order, functools.partial(connected, self._mirror_path), encode)
                mirror.start()
            self._mirrors[order.model] = mirror
        for lane in (*self._lanes.values(), *list(self._retiring)):
            lane.mirror = self._mirrors.get(lane.version.model)
        for mirror in before.values():
            if mirror not in self._mirrors.values():
                mirror.stop()

    def attached(self) -> None:
        """The controller is there: it hears again of the predictions that it has not confirmed."""
        if self._predictions is not None:
            self._predictions.again()

    def kept(self, number: int) -> None:
        """Predictions that were handed over are kept."""
        if self._predictions is not None:
            self._predictions.kept(number)

    def hand_over(self, done: Callable[[], None]) -> None:
        """Hand over the predictions that wait; `done` is called when they are kept."""
        if self._predictions is None:
            done()
        else:
            self._predictions.ask(done)

    def stories(self, wanted: pb.ExplainRequest) -> pb.Stories:
        """What became of recent requests."""
        return told(self._stories, wanted, self._index)


def _remote_targets(routes: Iterable[Route]) -> set[str]:
    """The URLs of the models on other servers that hedges may ask."""
    hedges = [route.settings.hedge for route in routes]
    return {hedge.target for hedge in hedges if hedge.enabled and hedge.target is not None}


def _tell(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(pipe, bytes([signal.SIGTERM]))


def _credentials(settings: ServerSettings) -> Credentials | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Credentials(
            settings.tls_key.read_bytes(),
            settings.tls_cert.read_bytes(),
            settings.tls_client_ca.read_bytes() if settings.tls_client_ca else None,
        )
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    main()
