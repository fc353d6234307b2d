"""The link between the controller and its workers: messages on a Unix socket, each after its length.

`LinkClient` is the worker's end (threads of its own), `LinkServer` the controller's (on its event loop). When the
controller is gone the worker serves on and keeps knocking. It is not gRPC: a client channel of grpcio beside the
server in one process adds pollers to the gRPC core, which costs every caller's request some 70 µs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from google.protobuf.message import DecodeError

from router.control.swap import Refusal
from router.core.access import NOBODY, Caller
from router.core.faults import Fault
from router.core.observation import Observation
from router.core.table import Route, VersionTable
from router.edge.faults import from_messages as faults_from
from router.edge.faults import to_messages as faults_to
from router.edge.mirrors import mirrors_from, mirrors_to
from router.edge.observations import to_message as observations_to
from router.edge.predictions import to_message as predictions_to
from router.edge.tables import from_message, route_to_message, routes_from_messages, to_message
from router.errors import Cancelled, InternalError, NotReady, RouterError, Status, TooLate
from router.pb import link_pb2 as pb
from router.pb.faults_pb2 import ModelFaults
from router.pb.observation_pb2 import Observations
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.mirror import MirrorOrder
from router.serving.predictions import Handed
from router.serving.timers import Timers

log = structlog.get_logger()

FORWARD_TIMEOUT_S: Final = 300.0
"""A load may take long; whoever asked has a deadline of its own."""
PREPARE_TIMEOUT_S: Final = 600.0
FAULTS_TIMEOUT_S: Final = 2.0
MOST_UNSENT: Final = 16
"""Messages that wait for the socket; while there are so many, nothing is sent that may as well be lost."""
_KNOCK_S: Final = 0.2
_LENGTH: Final = struct.Struct(">I")


class WorkerEnd(Protocol):
    """What a worker does when the controller asks. Called on the link's thread."""

    def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """Load what is missing; what could not be loaded."""

    def preload(self, route: Route, done: Callable[[Sequence[Refusal]], None]) -> None:
        """Load what is missing for a route that is to come; returns at once, `done` is told what could not be."""

    def retire(self, before: int, done: Callable[[], None]) -> None:
        """Let go of older tables; returns at once, `done` is called when their last runs are over."""

    def bind(self) -> None:
        """Open the port."""

    def telemetry(self) -> pb.Telemetry:
        """The figures since this worker started."""

    def set_faults(self, model: str, faults: tuple[Fault, ...]) -> None:
        """Make the runs of a model fail."""

    def stories(self, wanted: ExplainRequest) -> Stories:
        """What became of recent requests."""

    def attached(self) -> None:
        """The controller is there, for the first time or again."""

    def kept(self, number: int) -> None:
        """Predictions that were handed over are kept."""

    def hand_over(self, done: Callable[[], None]) -> None:
        """Hand over the predictions that wait; `done` is called when they are kept."""

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Copy the runs of these models for the warm-up worker, and of no others."""


class RemoteError(RouterError):
    """An error that the controller raised, with its status."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status  # type: ignore[misc]  # the class names it for all other errors


Answered = Callable[[bytes | RouterError], None]
"""Takes the controller's answer, on a thread of the link."""


class LinkClient:
    """The worker's end. `start` begins to knock; `forward` asks the controller something for a client."""

    def __init__(self, path: Path, joined: pb.Joined, end: WorkerEnd, timers: Timers) -> None:
        self._path = path
        self._joined = pb.FromWorker(joined=joined)
        self._end = end
        self._timers = timers
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self._outgoing: queue.SimpleQueue[pb.FromWorker | None] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._asked: dict[int, tuple[str, Answered]] = {}
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Join the controller, now and whenever it comes back."""
        self._thread.start()

    def stop(self) -> None:
        """Knock no more."""
        self._stopped.set()
        self._hang_up()

    def send_telemetry(self) -> None:
        """Send the figures unasked."""
        self._outgoing.put(pb.FromWorker(telemetry=self._end.telemetry()))

    def send_predictions(self, handed: Handed) -> None:
        """Hand over predictions, if the controller is there: whoever does so hears when it comes (`attached`)."""
        if self._socket is not None:
            self._outgoing.put(pb.FromWorker(predictions=predictions_to(handed)))

    def send_observations(self, observations: Sequence[Observation]) -> bool:
        """Send what was looked at. False when the controller is not there, or takes nothing: it does not get it."""
        if self._socket is None or self._outgoing.qsize() >= MOST_UNSENT:
            return False
        self._outgoing.put(pb.FromWorker(observations=observations_to(observations)))
        return True

    def forward(
        self, method: str, message: bytes, deadline: float | None, answered: Answered, caller: Caller = NOBODY
    ) -> Callable[[], object]:
        """Ask the controller a method of the protocol, until `deadline` (monotonic seconds). No thread waits for it.

        Gives what takes the question back.
        """
        latest = time.monotonic() + FORWARD_TIMEOUT_S
        until = latest if deadline is None else min(deadline, latest)
        if until <= time.monotonic():
            answered(_too_late(method))
            return lambda: None
        question = next(self._ids)
        self._asked[question] = (method, answered)
        if self._socket is None:
            self._settle(question, _not_there(method))
            return lambda: None
        asking = pb.Question(id=question, method=method, message=message, token=caller.token)
        asking.identity = ",".join(caller.names)
        self._outgoing.put(pb.FromWorker(question=asking))
        self._timers.at(until, lambda: self._give_up(question, _too_late(method)))
        return lambda: self._give_up(question, Cancelled("the caller went away"))

    def _give_up(self, question: int, why: RouterError) -> None:
        if self._settle(question, why):
            self._outgoing.put(pb.FromWorker(take_back=pb.TakeBack(id=question)))

    def _settle(self, question: int, answer: bytes | RouterError) -> bool:
        """Answer whoever asked, once."""
        asked = self._asked.pop(question, None)
        if asked is None:
            return False
        asked[1](answer)
        return True

    def _hang_up(self) -> None:
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.connect(str(self._path))
                    self._attached(connection)
            except OSError as error:
                log.debug("no link to the controller", reason=error.strerror)
            except Exception:  # a fault of ours must not be the end of the link: join anew
                log.exception("the link failed")
            self._stopped.wait(_KNOCK_S)

    def _attached(self, connection: socket.socket) -> None:
        """Speak over one connection until it ends."""
        outgoing: queue.SimpleQueue[pb.FromWorker | None] = queue.SimpleQueue()
        outgoing.put(self._joined)
        # A thread of its own: a controller that stands still must not hold up whoever has something to say.
        writing = threading.Thread(target=_write_all, args=(connection, outgoing), name="link-out", daemon=True)
        self._outgoing, self._socket = outgoing, connection  # before the controller can know of us
        writing.start()
        try:
            self._end.attached()
            with connection.makefile("rb") as incoming:
                while not self._stopped.is_set():
                    length = incoming.read(_LENGTH.size)
                    if len(length) < _LENGTH.size:
                        return
                    self._handle(pb.ToWorker.FromString(incoming.read(*_LENGTH.unpack(length))))
        finally:
            self._hang_up()
            self._socket = None
            outgoing.put(None)
            writing.join()
            for question, (method, _) in list(self._asked.items()):
                self._settle(question, _not_there(method))

    def _handle(self, message: pb.ToWorker) -> None:
        kind = message.WhichOneof("kind")
        if kind == "prepare":
            table = from_message(message.prepare.table)
            refusals = _refusals_to(self._end.prepare(table))
            self._outgoing.put(pb.FromWorker(prepared=pb.Prepared(generation=table.generation, refusals=refusals)))
        elif kind == "preload":
            question = message.preload.question
            (route,) = routes_from_messages([message.preload.route])
            self._end.preload(route, lambda refusals: self._outgoing.put(_preloaded(question, refusals)))
        elif kind == "retire":
            before = message.retire.before_generation
            retired = pb.FromWorker(retired=pb.Retired(before_generation=before))
            self._end.retire(before, lambda: self._outgoing.put(retired))
        elif kind == "bind":
            self._end.bind()
        elif kind == "ask_telemetry":
            telemetry = self._end.telemetry()
            telemetry.question = message.ask_telemetry.question
            self._outgoing.put(pb.FromWorker(telemetry=telemetry))
        elif kind == "ask_stories":
            asked = message.ask_stories
            told = pb.Told(question=asked.question, stories=self._end.stories(asked.wanted))
            self._outgoing.put(pb.FromWorker(told=told))
        elif kind == "kept":
            self._end.kept(message.kept.number)
        elif kind == "ask_predictions":
            done = pb.FromWorker(handed_over=pb.HandedOver(question=message.ask_predictions.question))
            self._end.hand_over(lambda: self._outgoing.put(done))
        elif kind == "answer":
            answer = message.answer
            error = RemoteError(Status(answer.code), answer.detail) if answer.code else None
            self._settle(answer.id, error or answer.message)
        elif kind == "set_faults":
            faulty = message.set_faults
            self._end.set_faults(faulty.model, faults_from(faulty.faults))
        elif kind == "set_mirrors":
            self._end.set_mirrors(mirrors_from(message.set_mirrors))


def _refusals_to(refusals: Sequence[Refusal]) -> list[pb.Refusal]:
    return [pb.Refusal(model=each.model, version=each.version, reason=each.reason) for each in refusals]


def _preloaded(question: int, refusals: Sequence[Refusal]) -> pb.FromWorker:
    return pb.FromWorker(preloaded=pb.Preloaded(question=question, refusals=_refusals_to(refusals)))


def _too_late(method: str) -> TooLate:
    return TooLate(f"the deadline passed before the controller had answered {method}")


def _not_there(method: str) -> NotReady:
    return NotReady(f"{method} needs the controller, which is not there just now: try again")


def _write_all(connection: socket.socket, outgoing: queue.SimpleQueue[pb.FromWorker | None]) -> None:
    """Write what is queued until None comes or the connection ends."""
    while (message := outgoing.get()) is not None:
        encoded = message.SerializeToString()
        try:
            connection.sendall(_LENGTH.pack(len(encoded)) + encoded)
        except OSError:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # whoever reads learns it
            return


class WorkerHandle:
    """A worker that has joined, as the controller sees it. Methods raise ConnectionError once it is gone."""

    def __init__(self, joined: pb.Joined) -> None:
        self.index = joined.worker
        self.pid = joined.pid
        self.incarnation = joined.incarnation
        self.outgoing: asyncio.Queue[pb.ToWorker | None] = asyncio.Queue()
        self._prepared: dict[int, asyncio.Future[Sequence[Refusal]]] = {}
        self._retired: dict[int, asyncio.Future[None]] = {}
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._questions = itertools.count(1)
        self._gone = False

    def _send(self, message: pb.ToWorker) -> None:
        if self._gone:
            raise ConnectionError(f"worker {self.index} is gone")
        self.outgoing.put_nowait(message)

    async def prepare(self, table: VersionTable) -> Sequence[Refusal]:
        """Have the worker load what is missing; what it could not load."""
        self._send(pb.ToWorker(prepare=pb.Prepare(table=to_message(table))))
        waiting: asyncio.Future[Sequence[Refusal]] = asyncio.get_running_loop().create_future()
        self._prepared[table.generation] = waiting
        try:
            return await asyncio.wait_for(waiting, PREPARE_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionError(f"worker {self.index} did not prepare in time") from error
        finally:
            self._prepared.pop(table.generation, None)

    async def preload(self, route: Route) -> Sequence[Refusal]:
        """Have the worker load what is missing for a route that is to come; what it could not load."""
        question = next(self._questions)
        message = pb.ToWorker(preload=pb.Preload(question=question, route=route_to_message(route)))
        try:
            answer: Sequence[Refusal] = await self._ask(question, message, PREPARE_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionError(f"worker {self.index} did not load in time") from error
        return answer

    async def retire(self, before: int) -> None:
        """Have the worker let go of older tables; returns when their last runs are over, however long that takes."""
        self._send(pb.ToWorker(retire=pb.Retire(before_generation=before)))
        waiting = self._retired.get(before) or asyncio.get_running_loop().create_future()
        self._retired[before] = waiting
        await waiting

    async def bind(self) -> None:
        """Have the worker open its port."""
        self._send(pb.ToWorker(bind=pb.Bind()))

    async def telemetry(self, seconds: float) -> pb.Telemetry:
        """The worker's figures now. Raises TimeoutError after so many seconds."""
        question = next(self._questions)
        message = pb.ToWorker(ask_telemetry=pb.AskTelemetry(question=question))
        answer: pb.Telemetry = await self._ask(question, message, seconds)
        return answer

    async def stories(self, wanted: ExplainRequest, seconds: float) -> Stories:
        """What became of recent requests. Raises TimeoutError after so many seconds."""
        question = next(self._questions)
        message = pb.ToWorker(ask_stories=pb.AskStories(question=question, wanted=wanted))
        answer: Stories = await self._ask(question, message, seconds)
        return answer

    async def hand_over(self, seconds: float) -> None:
        """Have the predictions that wait handed over and kept. Raises TimeoutError after so many seconds."""
        question = next(self._questions)
        await self._ask(question, pb.ToWorker(ask_predictions=pb.AskPredictions(question=question)), seconds)

    def kept(self, number: int) -> None:
        """Predictions that it handed over are kept; one that is gone hands them over again."""
        with contextlib.suppress(ConnectionError):
            self._send(pb.ToWorker(kept=pb.Kept(number=number)))

    async def _ask(self, question: int, message: pb.ToWorker, seconds: float) -> Any:
        self._send(message)
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[question] = waiting
        try:
            return await asyncio.wait_for(waiting, seconds)
        finally:
            self._answers.pop(question, None)

    async def set_faults(self, model: str, faults: Sequence[Fault]) -> None:
        """Make the runs of a model fail; returns when they do. Raises TimeoutError when the worker says nothing."""
        self._send(pb.ToWorker(set_faults=ModelFaults(model=model, faults=faults_to(faults))))
        await self.telemetry(FAULTS_TIMEOUT_S)  # it takes in what it is told one after another

    def set_mirrors(self, orders: Sequence[MirrorOrder]) -> None:
        """Which models it is to mirror, and no others."""
        self._send(pb.ToWorker(set_mirrors=mirrors_to(orders)))

    def received(self, message: pb.FromWorker) -> None:
        """Take in an answer."""
        kind = message.WhichOneof("kind")
        if kind == "prepared":
            waiting = self._prepared.get(message.prepared.generation)
            if waiting is not None and not waiting.done():
                waiting.set_result([Refusal(r.model, r.version, r.reason) for r in message.prepared.refusals])
        elif kind == "preloaded":
            told = message.preloaded
            self._answered(told.question, [Refusal(r.model, r.version, r.reason) for r in told.refusals])
        elif kind == "retired":
            waiting_for = self._retired.pop(message.retired.before_generation, None)
            if waiting_for is not None and not waiting_for.done():
                waiting_for.set_result(None)
        elif kind == "telemetry":
            self._answered(message.telemetry.question, message.telemetry)
        elif kind == "told":
            self._answered(message.told.question, message.told.stories)
        elif kind == "handed_over":
            self._answered(message.handed_over.question, None)

    def _answered(self, question: int, answer: object) -> None:
        asked = self._answers.get(question)
        if asked is not None and not asked.done():
            asked.set_result(answer)

    def gone(self) -> None:
        """The connection has ended, or is ended by this: whoever waits learns it."""
        if self._gone:
            return
        self._gone = True
        everybody: list[asyncio.Future[Any]] = [
            *self._prepared.values(),
            *self._retired.values(),
            *self._answers.values(),
        ]
        for waiting in everybody:
            if not waiting.done():
                waiting.set_exception(ConnectionError(f"worker {self.index} is gone"))
        self.outgoing.put_nowait(None)


NO_HANDLES: Final[Mapping[str, type[WorkerHandle]]] = {}


class ControllerEnd(Protocol):
    """What the controller does with its workers."""

    async def joined(self, worker: WorkerHandle) -> None:
        """Bring a new worker up to date."""

    def left(self, worker: WorkerHandle) -> None:
        """A worker is gone."""

    def reported(self, worker: WorkerHandle, telemetry: pb.Telemetry) -> None:
        """A worker has sent its figures."""

    def predicted(self, worker: WorkerHandle, predictions: pb.Predictions) -> None:
        """A worker hands over predictions; it is to be told when they are kept."""

    def observed(self, worker: WorkerHandle, observations: Observations) -> None:
        """A worker has looked at rows that came by."""

    async def forwarded(self, method: str, message: bytes, caller: Caller) -> bytes:
        """Answer a client's request. Raises a RouterError."""


class LinkServer:
    """The controller's end. `handles` are for those who join in another role than that of a worker that serves."""

    def __init__(self, end: ControllerEnd, handles: Mapping[str, type[WorkerHandle]] = NO_HANDLES) -> None:
        self._end = end
        self._handles = handles
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers: set[WorkerHandle] = set()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Open the socket; one that a dead controller left behind makes room."""
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, path)

    async def stop(self) -> None:
        """Close the socket and all connections."""
        if self._server is not None:
            self._server.close()
        for worker in list(self._workers):
            worker.gone()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=1.0)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio would make the task, and Python 3.11 prints a traceback when that is cancelled.
        self._keep(self._attach(reader, writer))

    async def _attach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker, from joining to leaving."""
        first = await _read(reader)
        if first is None or not first.HasField("joined"):
            writer.close()
            return
        worker = self._handles.get(first.joined.role, WorkerHandle)(first.joined)
        self._workers.add(worker)
        reading = self._keep(self._read_all(worker, reader))
        self._keep(self._join(worker))  # ends by itself when the worker is gone
        try:
            while (message := await worker.outgoing.get()) is not None:
                encoded = message.SerializeToString()
                writer.write(_LENGTH.pack(len(encoded)) + encoded)
                await writer.drain()
        except ConnectionError:
            log.debug("a worker hung up", worker=worker.index)
        finally:
            worker.gone()
            reading.cancel()
            writer.close()
            self._workers.discard(worker)
            self._end.left(worker)

    async def _read_all(self, worker: WorkerHandle, reader: asyncio.StreamReader) -> None:
        questions: dict[int, asyncio.Task[None]] = {}
        try:
            while (message := await _read(reader)) is not None:
                kind = message.WhichOneof("kind")
                if kind == "question":
                    question = message.question
                    asked = questions[question.id] = self._keep(self._answer(worker, question))
                    asked.add_done_callback(lambda _, number=question.id: questions.pop(number, None))  # type: ignore[misc]
                elif kind == "take_back":
                    if message.take_back.id in questions:
                        questions[message.take_back.id].cancel()
                else:
                    if kind == "telemetry":
                        self._end.reported(worker, message.telemetry)
                    elif kind == "predictions":
                        self._end.predicted(worker, message.predictions)
                    elif kind == "observations":
                        self._end.observed(worker, message.observations)
                    worker.received(message)
        except Exception:  # a fault of ours: the worker joins anew
            log.exception("a worker's message could not be taken in", worker=worker.index)
        finally:
            for asked in list(questions.values()):
                asked.cancel()
            worker.gone()

    async def _answer(self, worker: WorkerHandle, question: pb.Question) -> None:
        """A client's request that a worker has passed on."""
        answer = pb.Answer(id=question.id)
        try:
            caller = Caller(question.token, (question.identity,) if question.identity else ())
            answer.message = await self._end.forwarded(question.method, question.message, caller)
        except RouterError as error:
            answer.code, answer.detail = int(error.status), str(error)
        except Exception:  # a fault of ours: the log has it all
            log.exception("a forwarded request failed", method=question.method)
            fault = InternalError()
            answer.code, answer.detail = int(fault.status), str(fault)
        worker.outgoing.put_nowait(pb.ToWorker(answer=answer))

    async def _join(self, worker: WorkerHandle) -> None:
        try:
            await self._end.joined(worker)
        except ConnectionError:
            log.info("a worker left while it was joining", worker=worker.index)
        except RouterError as error:
            log.error("a worker cannot join", worker=worker.index, reason=str(error))
            worker.gone()
        except Exception:  # a fault of ours: the worker knocks again
            log.exception("a worker cannot join", worker=worker.index)
            worker.gone()

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _read(reader: asyncio.StreamReader) -> pb.FromWorker | None:
    """The next message; None when there is none, or nothing that a worker would send."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return pb.FromWorker.FromString(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, DecodeError):
        return None
