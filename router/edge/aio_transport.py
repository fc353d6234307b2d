"""The transport that uses grpcio's public API only: `grpc.aio` on uvloop. The twin of `core_transport`.

It differs in what the public API cannot do: a caller that does not read is told so only behind the message that is
already on its way to it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc
import structlog
import uvloop
from grpc import aio

from router.edge.transport import (
    SLOW_READER,
    Credentials,
    Limits,
    Metadata,
    Methods,
    StreamHandler,
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
from router.errors import InternalError, RouterError, Status

log = structlog.get_logger()

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_PATIENCE_S: Final = 1.0
"""After the grace of a drain: cancelled calls have this long to end."""

Answer = bytes | RouterError


class _SlowReader(RouterError):
    """The caller let the bound of its stream be reached."""

    status = Status.RESOURCE_EXHAUSTED


def _metadata(context: aio.ServicerContext[Any, Any]) -> Metadata:
    return tuple((key, value) for key, value in context.invocation_metadata() or ())


def _identity(context: aio.ServicerContext[Any, Any]) -> str:
    names = context.peer_identities() or ()
    return ",".join(name.decode("utf-8", "replace") for name in names)


def _guarded(callback: Callable[[], None]) -> None:
    """Tell a handler that its caller has gone, or that there is room."""
    try:
        callback()
    except Exception:  # a fault of ours must not end the call of anybody else
        log.exception("a handler failed at the news of its caller")


async def _abort(context: aio.ServicerContext[Any, Any], error: RouterError) -> None:
    await context.abort(_CODES[int(error.status)], detail(error).decode(), tuple(trailers(error)))


class _AioRpc:
    """One unary call; the coroutine that serves it waits for `answer`.

    The flags are each tested and set with no call in between, where the interpreter does not change threads.
    """

    def __init__(self, transport: AioTransport, message: bytes, context: aio.ServicerContext[Any, Any]) -> None:
        self._transport = transport
        self._context = context
        self._cancel: Callable[[], None] | None = None
        self._answered = False
        self._gone = False
        self.answer: asyncio.Future[Answer] = transport.loop.create_future()
        self.message = message
        remaining = context.time_remaining()
        self.deadline = None if remaining is None else time.monotonic() + remaining
        self.metadata = _metadata(context)
        self.peer = str(context.peer())  # now: once the call has ended there is nobody left to ask

    @property
    def identity(self) -> str:
        return _identity(self._context)

    def finish(self, message: bytes) -> None:
        self._settle(message)

    def fail(self, error: RouterError) -> None:
        self._settle(error)

    def _settle(self, answer: Answer) -> None:
        if self._answered:
            return
        self._answered = True
        self._transport.soon(self._wake, answer)

    def _wake(self, answer: Answer) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        self._cancel = callback
        if self._gone:
            self._tell()

    def abandoned(self) -> None:
        """The caller went away."""
        if not self._answered:
            self._answered = self._gone = True
            self._tell()
        self._cancel = None

    def _tell(self) -> None:
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            _guarded(cancel)


class _AioStream:
    """One streaming call. Writes are queued here and sent by a task of the loop."""

    def __init__(self, transport: AioTransport, context: aio.ServicerContext[Any, Any]) -> None:
        self._transport = transport
        self._context = context
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._reads: deque[Callable[[bytes | None], None]] = deque()
        self._wanted = asyncio.Event()
        self._over = False  # nothing more is sent
        self._gone = False  # the call has ended
        self._ended = False  # `finish` or `fail` was called
        self._error: RouterError | None = None
        self._cancel: Callable[[], None] | None = None
        self._resume: Callable[[], None] | None = None
        self._waiting = False  # for room
        self.end: asyncio.Future[RouterError | None] = transport.loop.create_future()
        self.metadata = _metadata(context)

    @property
    def identity(self) -> str:
        return _identity(self._context)

    def read(self, callback: Callable[[bytes | None], None]) -> None:
        with self._lock:
            gone = self._gone
            if not gone:
                self._reads.append(callback)
        if gone:
            self._transport.soon(self._received, callback, None)
        else:
            self._transport.soon(self._wanted.set)

    def write(self, message: bytes) -> bool:
        limits = self._transport.limits
        with self._lock:
            if self._over or self._ended:
                return False
            full = len(self._queue) >= limits.stream_queue or (
                len(self._queue) > 0 and self._queued_bytes + len(message) > limits.stream_queue_bytes
            )
            if not full:
                self._queue.append(message)
                self._queued_bytes += len(message)
            else:
                self._over = True
                self._queue.clear()
        self._transport.soon(self._overflow if full else self._wake.set)
        return not full

    def room(self) -> bool:
        with self._lock:
            room = self._transport.limits.room(len(self._queue), self._queued_bytes)
            self._waiting = not room
            return room

    def on_room(self, callback: Callable[[], None]) -> None:
        self._resume = callback

    def finish(self) -> None:
        self._end(None)

    def fail(self, error: RouterError) -> None:
        self._end(error)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._ended:
                return
            if not self._gone:
                self._cancel = callback
                return
        _guarded(callback)

    def _end(self, error: RouterError | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended, self._error = True, error
            self._cancel = None
        self._transport.soon(self._wake.set)

    def _overflow(self) -> None:
        if not self.end.done():
            self.end.set_result(_SlowReader(SLOW_READER))

    async def receive(self) -> None:
        """Answer the reads, one after another."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._reads:
                try:
                    message = await self._context.read()
                except Exception:  # noqa: BLE001  # however it says so: the caller has gone
                    message = aio.EOF
                self._received(self._reads.popleft(), None if message is aio.EOF else message)

    def _received(self, callback: Callable[[bytes | None], None], message: bytes | None) -> None:
        try:
            callback(message)
        except Exception:  # a fault of ours is told to the log, not to the caller
            log.exception("a handler failed")
            self.fail(InternalError())
        self._transport.look()

    async def send(self) -> None:
        """Send what is queued until the stream has ended."""
        opened = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (message := self._next()) is not None:
                if not opened:
                    opened = True
                    await self._context.send_initial_metadata(())  # apart: a stuck message must not hold it
                await self._context.write(message)
                self._make_room()
            with self._lock:
                done = self._ended and not self._queue
                self._over = self._over or done
            if done:
                if not self.end.done():
                    self.end.set_result(self._error)
                return

    def _make_room(self) -> None:
        with self._lock:
            room = self._waiting and self._transport.limits.room(len(self._queue), self._queued_bytes)
            if room:
                self._waiting = False
        if room and self._resume is not None:
            _guarded(self._resume)

    def _next(self) -> bytes | None:
        with self._lock:
            if not self._queue:
                return None
            message = self._queue.popleft()
            self._queued_bytes -= len(message)
            return message

    def close(self) -> None:
        """The call is over, in order or not."""
        with self._lock:
            self._over = self._gone = True
            self._queue.clear()
            cancel, self._cancel = self._cancel, None
            reads = tuple(self._reads)
            self._reads.clear()
        if cancel is not None:
            _guarded(cancel)
        for callback in reads:
            self._received(callback, None)


class _Handlers(grpc.GenericRpcHandler):
    """Finds the handler of a method and dresses it for `grpc.aio`.

    Unary calls are taken as streams of requests: only so is it seen when one is closed without a message.
    """

    def __init__(self, transport: AioTransport, methods: Methods) -> None:
        self._methods: dict[str, Any] = {
            name: grpc.stream_unary_rpc_method_handler(_unary(transport, handler))
            for name, handler in methods.unary.items()
        } | {
            name: grpc.stream_stream_rpc_method_handler(_streaming(transport, handler))
            for name, handler in methods.stream.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        method = handler_call_details.method
        return self._methods.get(method) or grpc.stream_unary_rpc_method_handler(_unimplemented(method))


def _unimplemented(method: str) -> Any:
    async def serve(requests: Any, context: aio.ServicerContext[Any, Any]) -> None:  # noqa: ARG001
        await _abort(context, no_method(method))

    return serve


def _unary(transport: AioTransport, handler: UnaryHandler) -> Any:
    async def serve(requests: Any, context: aio.ServicerContext[Any, Any]) -> bytes:  # noqa: ARG001
        message = await context.read()
        if message is aio.EOF:
            await _abort(context, no_message())
        rpc = _AioRpc(transport, message, context)
        try:
            handler(rpc)
        except Exception:  # a fault of ours is told to the log, not to the caller
            log.exception("a handler failed")
            rpc.fail(InternalError())
        transport.look()
        try:
            answer = await rpc.answer
        except asyncio.CancelledError:
            return b""  # to nobody; `grpc.aio` leaks calls whose cancellation is passed on (grpc#43360)
        finally:
            rpc.abandoned()
        if isinstance(answer, RouterError):
            await _abort(context, answer)
            return b""
        return answer

    return serve


def _streaming(transport: AioTransport, handler: StreamHandler) -> Any:
    async def serve(requests: Any, context: aio.ServicerContext[Any, Any]) -> None:  # noqa: ARG001
        stream = _AioStream(transport, context)
        tasks = [asyncio.ensure_future(stream.receive()), asyncio.ensure_future(stream.send())]
        try:
            try:
                handler(stream)
            except Exception:  # as above
                log.exception("a handler failed")
                stream.fail(InternalError())
            transport.look()
            tasks[1].add_done_callback(lambda _: stream.end.done() or stream.end.cancel())
            error = await stream.end
        except asyncio.CancelledError:
            return  # as above
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            stream.close()
        if error is not None:
            await _abort(context, error)

    return serve


class AioTransport:
    """A gRPC server on `grpc.aio`."""

    def __init__(self, methods: Methods, work: Work, limits: Limits = Limits()) -> None:  # noqa: B008  # frozen
        self.limits = limits
        self._methods = methods
        self._work = work
        self._looking = False
        self._lock = threading.RLock()  # a signal's handler may drain while this thread does
        self._draining = False
        self._over = False
        self._grace_s = 0.0
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.loop = self._runner.get_loop()
        self._server, self._drain_wanted = self._runner.run(self._prepare())

    async def _prepare(self) -> tuple[aio.Server, asyncio.Event]:
        server = aio.server(options=server_options(self.limits))
        server.add_generic_rpc_handlers((_Handlers(self, self._methods),))
        return server, asyncio.Event()

    def bind(self, address: str, credentials: Credentials | None) -> int:
        """Open the port; gives its number. Raises SettingsError when it cannot."""
        try:
            if credentials is None:
                return self._server.add_insecure_port(checked(address))
            return self._server.add_secure_port(checked(address), server_credentials(credentials))
        except RuntimeError as error:
            raise cannot_open(address) from error

    def soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call back, from any thread; nothing happens once it has ended."""
        if not self._over:
            self.loop.call_soon_threadsafe(callback, *arguments)

    def look(self) -> None:
        """Have the router look at what has come in, once what is ready now has been taken in."""
        if not self._looking:
            self._looking = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        self._looking = False
        try:
            more = self._work()
        except Exception:  # a fault of ours must not end the loop of everybody
            log.exception("the router's work failed")
            more = False
        if more:
            self.look()

    def run(self) -> None:
        """Serve on this thread until the drain is over.

        The loop is not closed: `grpc.aio` has one poller for all loops of a process, never forgets one, and stumbles
        over late events of one that is closed.
        """
        try:
            self._runner.run(self._serve())
        finally:
            self._over = True

    async def _serve(self) -> None:
        await self._server.start()
        await self._drain_wanted.wait()
        try:
            await asyncio.wait_for(self._server.stop(self._grace_s), self._grace_s + _PATIENCE_S)
        except TimeoutError:
            log.warning("calls did not end after they were cancelled: the server leaves without them")
        if rest := asyncio.all_tasks() - {asyncio.current_task()}:  # `grpc.aio` is still tidying up after its calls
            _, stuck = await asyncio.wait(rest, timeout=_PATIENCE_S)
            for task in stuck:
                task.cancel()

    def drain(self, grace_seconds: float) -> None:
        """Take no new calls, let those in flight finish within the grace, then cancel them; `run` returns."""
        with self._lock:
            if self._draining:
                return
            self._draining = True
            self._grace_s = grace_seconds
        self.soon(self._drain_wanted.set)
