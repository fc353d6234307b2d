"""The transport that stands on the completion queue of grpcio's core.

`grpc.aio` costs about five times as much per call as the queue that grpcio's own public server is built on
(`grpc._cython.cygrpc`). That queue is private: this file alone touches it, for the stated range of grpcio
versions, after a self-test; `aio_transport` is the twin that uses public API only.

What to know of the core:
- operations own C memory: new ones for every batch;
- a batch may be started on any thread, its event comes out of the queue;
- a message of None means that the caller went away, or that it closed its side without a message;
- an event holds its call: let go of it before the next poll;
- one send at a time per call; a second one is refused by the return value alone, and the refused batch leaks;
- a batch started on a queue that is shut down aborts the process. So the queue is never shut down: answers that
  come after the drain are dropped by the core, and the queue goes when the last call that refers to it has gone;
- its shutdown closes the ports at once, but in the same instant it hangs up on connections that are being made and
  cancels calls whose callers do not know of it yet. Nothing that it offers makes it stop listening, or tell callers,
  before that (grpc#41785).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc
import structlog
from grpc._cython import cygrpc

from router.edge.transport import (
    SLOW_READER,
    Credentials,
    Limits,
    Metadata,
    Methods,
    UnaryHandler,
    Work,
    cannot_open,
    checked,
    detail,
    no_message,
    no_method,
    server_credentials,
    server_options,
    trailers,
)
from router.errors import InternalError, RouterError, SettingsError, Status

log = structlog.get_logger()

SUPPORTED: Final = ("1.85", "1.86")
"""Versions of grpcio from the first up to, not including, the second."""

_OUTSTANDING: Final = 128
"""Calls that the core may hand out before it is asked for more."""
_DRAIN_EVENTS: Final = 256
_DRAIN_BYTES: Final = 256 << 10
"""Take in at most this much before running: many large messages alive at once cost fresh memory."""
_INTAKE_S: Final = 0.75e-3
"""While work waits, take in for no longer than this: taking in alone must not eat up a time in which runs are due."""
_SMALL: Final = 16 << 10
"""Spinning takes a core from the socket work of messages above this size."""
_DRAIN_TICK_S: Final = 0.05
_PATIENCE_S: Final = 1.0
"""After the grace of a drain: cancelled calls have this long to end."""
_LEARN: Final = 0.02
_UNLUCKY: Final = 0.25
"""Looking finds something this seldom: not worth it."""
_PROBE: Final = 32
"""Then one opportunity in so many is still taken, to learn when that changes."""

_ReceiveMessage = cygrpc.ReceiveMessageOperation
_ReceiveClose = cygrpc.ReceiveCloseOnServerOperation
_SendInitialMetadata = cygrpc.SendInitialMetadataOperation
_SendMessage = cygrpc.SendMessageOperation
_SendStatus = cygrpc.SendStatusFromServerOperation
_FAR: Final = 1e11
"""Epoch seconds beyond this are no deadline at all."""


def supported() -> str:
    """Empty, or why this grpcio cannot carry the transport and what to do."""
    low, high = (tuple(int(part) for part in version.split(".")) for version in SUPPORTED)
    have = tuple(int(part) for part in grpc.__version__.split(".")[:2])
    wanted = f"install grpcio>={SUPPORTED[0]},<{SUPPORTED[1]}, or run with --transport aio (at a fifth of the capacity)"
    if not low <= have < high:
        return f"grpcio {grpc.__version__} is not one that the core transport knows; {wanted}"
    names = ("Server", "CompletionQueue", "SendStatusFromServerOperation", "ReceiveCloseOnServerOperation")
    missing = [name for name in names if not hasattr(cygrpc, name)]
    if missing:
        return f"this build of grpcio lacks {', '.join(missing)}; {wanted}"
    return ""


def _ignore(event: Any) -> None:
    """The answer has left, or the caller was gone."""


def _guarded(callback: Callable[[], None]) -> None:
    """Tell a handler that its caller has gone, or that there is room."""
    try:
        callback()
    except Exception:  # a fault of ours must not end the loop of everybody
        log.exception("a handler failed at the news of its caller")


def _identity(call: Any) -> str:
    """The name that the caller's certificate proves; empty where none was asked for."""
    names = cygrpc.peer_identities(call) or ()
    return ",".join(name.decode("utf-8", "replace") for name in names)


class _CoreRpc:
    """One unary call.

    `_answered` and `_closing` are each tested and set with no call in between, where the interpreter does not change
    threads: of two threads that answer one wins, and the close is asked for by one batch only. That saves a lock.
    """

    __slots__ = ("_answered", "_call", "_cancel", "_closing", "_handler", "_server", "deadline", "message", "metadata")

    def __init__(
        self, server: CoreTransport, call: Any, handler: UnaryHandler, deadline: float | None, metadata: Metadata
    ) -> None:
        self._server = server
        self._call = call
        self._handler = handler
        self._answered = False
        self._closing = False
        self._cancel: Callable[[], None] | None = None
        self.deadline = deadline
        self.metadata = metadata
        self.message = b""

    @property
    def peer(self) -> str:
        return str(self._call.peer().decode())

    @property
    def identity(self) -> str:
        return _identity(self._call)

    def received(self, event: Any) -> None:
        """The message is here."""
        message = event.batch_operations[0].message()
        if message is None:
            self.fail(no_message())
            return
        self.message = message
        self._server.taken += len(message)
        try:
            self._handler(self)
        except Exception:  # a fault of ours must not end the loop of everybody
            log.exception("a handler failed")
            self.fail(InternalError())

    def finish(self, message: bytes) -> None:
        if self._answered:
            return
        self._answered = True
        operations: tuple[Any, ...] = (
            _SendInitialMetadata(None, 0),
            _SendMessage(message, 0),
            _SendStatus(None, 0, b"", 0),
        )
        if not self._closing:
            operations += (_ReceiveClose(0),)
        if self._call.start_server_batch(operations, _ignore):
            log.error("the core refused an answer", peer=self.peer)

    def fail(self, error: RouterError) -> None:
        if self._answered:
            return
        self._answered = True
        operations: tuple[Any, ...] = (
            _SendInitialMetadata(None, 0),
            _SendStatus(trailers(error) or None, int(error.status), detail(error), 0),
        )
        if not self._closing:
            operations += (_ReceiveClose(0),)
        if self._call.start_server_batch(operations, _ignore):
            log.error("the core refused an error", peer=self.peer)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        self._cancel = callback
        if self._answered:
            self._cancel = None
        elif not self._closing:
            self._closing = True
            self._call.start_server_batch((_ReceiveClose(0),), self._closed)

    def _closed(self, event: Any) -> None:
        cancelled = event.batch_operations[0].cancelled()
        cancel, self._cancel = self._cancel, None
        if cancelled and not self._answered:
            self._answered = True
            if cancel is not None:
                _guarded(cancel)


class _CoreStream:
    """One streaming call: one read and one send under way at most."""

    __slots__ = (
        "_call",
        "_cancel",
        "_ended",
        "_gone",
        "_lock",
        "_over",
        "_queue",
        "_queued_bytes",
        "_resume",
        "_sending",
        "_server",
        "_started",
        "_waiting",
        "metadata",
    )

    def __init__(self, server: CoreTransport, call: Any, metadata: Metadata) -> None:
        self._server = server
        self._call = call
        self.metadata = metadata
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._sending = False
        self._started = False
        self._over = False  # nothing more is sent
        self._gone = False  # the core has closed the call
        self._ended: Any = None  # the operation that `finish` or `fail` asked for
        self._cancel: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None
        self._waiting = False  # for room
        call.start_server_batch((_ReceiveClose(0),), self._closed)

    @property
    def identity(self) -> str:
        return _identity(self._call)

    def read(self, callback: Callable[[bytes | None], None]) -> None:
        def received(event: Any) -> None:
            message = event.batch_operations[0].message()
            if message is not None:
                self._server.taken += len(message)
            try:
                callback(message)
            except Exception:  # a fault of ours must not end the loop of everybody
                log.exception("a handler failed")
                self.fail(InternalError())

        if self._call.start_server_batch((_ReceiveMessage(0),), received):
            log.error("the core refused a read of a stream: is one under way?")

    def write(self, message: bytes) -> bool:
        limits = self._server.limits
        with self._lock:
            if self._over or self._ended is not None:
                return False
            full = len(self._queue) >= limits.stream_queue or (
                len(self._queue) > 0 and self._queued_bytes + len(message) > limits.stream_queue_bytes
            )
            if not full:
                self._queue.append(message)
                self._queued_bytes += len(message)
                self._pump()
                return True
            self._give_up()
        self._call.cancel(int(Status.RESOURCE_EXHAUSTED), SLOW_READER)
        return False

    def room(self) -> bool:
        with self._lock:
            room = self._server.limits.room(len(self._queue), self._queued_bytes)
            self._waiting = not room
            return room

    def on_room(self, callback: Callable[[], None]) -> None:
        self._resume = callback

    def finish(self) -> None:
        self._end(_SendStatus(None, 0, b"", 0))

    def fail(self, error: RouterError) -> None:
        self._end(_SendStatus(trailers(error) or None, int(error.status), detail(error), 0))

    def on_cancel(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._ended is not None:
                return
            if not self._gone:
                self._cancel = callback
                return
        _guarded(callback)

    def _end(self, status: Any) -> None:
        with self._lock:
            if self._ended is None:
                self._ended = status
                self._cancel = None
                self._pump()

    def _give_up(self) -> None:
        """Let go of what waits: nothing more is sent. Called with the lock held."""
        self._over = True
        self._queue.clear()

    def _pump(self) -> None:
        """Start the next send. Called with the lock held."""
        if self._sending or self._over:
            return
        operations: tuple[Any, ...] = () if self._started else (_SendInitialMetadata(None, 0),)
        if self._queue:
            message = self._queue.popleft()
            self._queued_bytes -= len(message)
            operations += (_SendMessage(message, 0),)
        elif self._ended is not None:
            operations += (self._ended,)
            self._over = True
        else:
            return
        self._started = self._sending = True
        if self._call.start_server_batch(operations, self._sent):
            self._give_up()
            log.error("the core refused a message of a stream")

    def _sent(self, event: Any) -> None:
        with self._lock:
            self._sending = False
            if not event.success:
                self._give_up()
            self._pump()
            room = self._waiting and self._server.limits.room(len(self._queue), self._queued_bytes)
            if room:
                self._waiting = False
        if room and self._resume is not None:
            _guarded(self._resume)

    def _closed(self, event: Any) -> None:  # noqa: ARG002
        with self._lock:
            self._gone = True
            self._give_up()
            cancel, self._cancel = self._cancel, None
        if cancel is not None:
            _guarded(cancel)


class CoreTransport:
    """A gRPC server whose loop is ours: poll, take in what is there, let the router work, answer."""

    def __init__(
        self,
        methods: Methods,
        work: Work,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        reason = supported()
        if reason:
            raise SettingsError(reason)
        self.limits = limits
        self.taken = 0
        self._work = work
        self._enter = enter
        self._epoch = 0
        self._over = threading.Event()
        self._unary = {name.encode(): handler for name, handler in methods.unary.items()}
        self._stream = {name.encode(): handler for name, handler in methods.stream.items()}
        self._queue = cygrpc.CompletionQueue()
        options = tuple((name.encode(), value) for name, value in server_options(limits))
        self._server = cygrpc.Server(options, False)
        self._server.register_completion_queue(self._queue)
        self._lock = threading.RLock()  # a signal's handler may drain while this thread starts
        self._started = False
        self._draining = False
        self._grace_ends = 0.0
        self._cancelled = False
        self._stopped = False
        self._wall_offset = 0.0
        self._calls = 0

    def bind(self, address: str, credentials: Credentials | None) -> int:
        """Open the port; gives its number. Raises SettingsError when it cannot."""
        name = checked(address).encode()
        if credentials is None:
            port = self._server.add_http2_port(name)
        else:
            made: Any = server_credentials(credentials)
            port = self._server.add_http2_port(name, made._credentials)  # noqa: SLF001  # grpcio's own
        if not port:
            raise cannot_open(address)
        return int(port)

    def drain(self, grace_seconds: float) -> None:
        """Take no new calls, let those in flight finish within the grace, then cancel them; `run` returns."""
        with self._lock:
            if self._draining:
                return
            self._grace_ends = time.monotonic() + grace_seconds
            self._draining = True
            if self._started:
                self._server.shutdown(self._queue, self._shut_down)  # wakes the loop

    def _shut_down(self, event: Any) -> None:  # noqa: ARG002
        self._stopped = True

    def _overdue(self, now: float) -> bool:
        """Cancel what is left when the grace has passed; True when even that did not end it."""
        if now < self._grace_ends:
            return False
        if not self._cancelled:
            self._cancelled = True
            self._server.cancel_all_calls()
        return now > self._grace_ends + _PATIENCE_S

    def run(self) -> None:
        """Serve until the drain is over: on this thread, and on those that the loop is handed to."""
        with self._lock:
            self._server.start()
            self._started = True
            if self._draining:  # started all the same: only this closes the port
                self._server.shutdown(self._queue, self._shut_down)
        with contextlib.suppress(ValueError):  # the drain began in between
            for _ in range(_OUTSTANDING):
                self._server.request_call(self._queue, self._queue, self._new_call)
        self._loop(self._epoch)
        self._over.wait()

    def hand_over(self) -> None:
        """The loop thread is stuck in the router's work: a fresh one polls from now on, the stuck one retires."""
        self._epoch += 1
        threading.Thread(target=self._loop, args=(self._epoch,), name=f"loop-{self._epoch}", daemon=True).start()

    def _loop(self, epoch: int) -> None:
        self._enter()
        poll = self._queue.poll
        monotonic, wall = time.monotonic, time.time
        spin_seconds = self.limits.spin_seconds
        more = False
        luck, opportunity = 1.0, 0
        calls = 2
        while not self._stopped:
            # 1. Wait. A caller that sends one call after another is back within microseconds: look for it before
            #    sleeping, as long as looking tends to find something.
            event = None
            if more:
                event = poll(0.0)
            elif spin_seconds and calls <= 1 and self.taken <= _SMALL:
                opportunity += 1
                if luck > _UNLUCKY or not opportunity % _PROBE:
                    until = monotonic() + spin_seconds
                    while True:
                        event = poll(0.0)
                        tag = event.tag
                        if tag is None:
                            if monotonic() > until:
                                event = None
                                luck -= luck * _LEARN
                                break
                        elif tag is not _ignore:  # an answer that has left is not what it looks for
                            luck += (1.0 - luck) * _LEARN
                            break
            if event is None:
                event = poll(wall() + _DRAIN_TICK_S if self._draining else None)
            # 2. Take in what is there: a natural batch, nobody waits for it.
            now = monotonic()
            self._wall_offset = wall() - now  # fresh, so that a step of the wall clock moves no deadline
            self.taken = self._calls = events = 0
            until = now + _INTAKE_S
            while (tag := event.tag) is not None:
                tag(event)
                events += 1
                if events >= _DRAIN_EVENTS or self.taken >= _DRAIN_BYTES or (more and monotonic() > until):
                    break
                event = poll(0.0)
            calls = self._calls
            event = tag = None
            # 3. Run.
            try:
                more = self._work()
            except Exception:  # a fault of ours must not end the loop of everybody
                log.exception("the router's work failed")
                more = False
            if self._epoch != epoch:
                return
            if self._draining and self._overdue(now):
                log.warning("calls did not end after they were cancelled: the server leaves without them")
                break
        self._take_rest()
        self._over.set()

    def _take_rest(self) -> None:
        """Take in what came with the end, such as the news of calls that were cancelled."""
        until = time.monotonic() + _PATIENCE_S
        while (event := self._queue.poll(0.0)).tag is not None and time.monotonic() < until:
            event.tag(event)

    def _new_call(self, event: Any) -> None:
        if not event.success:
            return  # the server is shutting down
        if not self._draining:
            try:  # noqa: SIM105  # free of charge, which `suppress` is not
                self._server.request_call(self._queue, self._queue, self._new_call)
            except ValueError:  # the drain began in between
                pass
        self._calls += 1
        details = event.call_details
        method = details.method
        handler = self._unary.get(method)
        if handler is not None:
            deadline = details.deadline
            call = event.call
            rpc = _CoreRpc(
                self,
                call,
                handler,
                None if deadline > _FAR else deadline - self._wall_offset,
                event.invocation_metadata,
            )
            call.start_server_batch((_ReceiveMessage(0),), rpc.received)
            return
        streaming = self._stream.get(method)
        if streaming is not None:
            stream = _CoreStream(self, event.call, event.invocation_metadata)
            try:
                streaming(stream)
            except Exception:  # a fault of ours must not end the loop of everybody
                log.exception("a handler failed")
                stream.fail(InternalError())
            return
        error = no_method(method.decode("utf-8", "replace"))
        operations = (
            _SendInitialMetadata(None, 0),
            _SendStatus(None, int(error.status), detail(error), 0),
            _ReceiveClose(0),
        )
        event.call.start_server_batch(operations, _ignore)
