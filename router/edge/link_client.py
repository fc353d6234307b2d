"""The worker's end of the link to the controller: messages on a Unix socket, in threads of its own.

When the controller is gone the worker serves on and keeps knocking. The link is not gRPC: a client channel of grpcio
beside the server in one process adds pollers to the gRPC core, which costs every caller's request some 70 µs. `link` is
the controller's end.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from router.control.swap import Refusal
from router.core.access import NOBODY, Caller
from router.core.faults import Fault
from router.core.observation import Observation
from router.core.table import Route, VersionTable
from router.edge.faults import from_messages as faults_from
from router.edge.frames import LENGTH, framed
from router.edge.mirrors import mirrors_from
from router.edge.observations import to_message as observations_to
from router.edge.predictions import to_message as predictions_to
from router.edge.tables import from_message, routes_from_messages
from router.errors import Cancelled, NotReady, RouterError, Status, TooLate
from router.pb import link_pb2 as pb
from router.pb.story_pb2 import ExplainRequest, Stories
from router.serving.mirror import MirrorOrder
from router.serving.predictions import Handed
from router.serving.timers import Timers

log = structlog.get_logger()

FORWARD_TIMEOUT_S: Final = 300.0
"""A load may take long; whoever asked has a deadline of its own."""
MOST_UNSENT: Final = 16
"""Messages that wait for the socket; while there are so many, nothing is sent that may as well be lost."""
_KNOCK_S: Final = 0.2


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
                    length = incoming.read(LENGTH.size)
                    if len(length) < LENGTH.size:
                        return
                    self._handle(pb.ToWorker.FromString(incoming.read(*LENGTH.unpack(length))))
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
        frame = framed(message)
        try:
            connection.sendall(frame)
        except OSError:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # whoever reads learns it
            return
