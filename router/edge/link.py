"""The controller's end of the link to its workers: messages on a Unix socket, on the controller's event loop.

`link_client` is a worker's end, and says why this is not gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from google.protobuf.message import DecodeError

from router.control.swap import Refusal
from router.core.access import Caller
from router.core.faults import Fault
from router.core.table import Route, VersionTable
from router.edge.faults import to_messages as faults_to
from router.edge.frames import LENGTH, framed
from router.edge.mirrors import mirrors_to
from router.edge.tables import route_to_message, to_message
from router.errors import InternalError, RouterError
from router.pb import link_pb2 as pb
from router.pb.faults_pb2 import ModelFaults
from router.pb.observation_pb2 import Observations
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.mirror import MirrorOrder

log = structlog.get_logger()

PREPARE_TIMEOUT_S: Final = 600.0
FAULTS_TIMEOUT_S: Final = 2.0


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
                writer.write(framed(message))
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
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        return pb.FromWorker.FromString(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, DecodeError):
        return None
