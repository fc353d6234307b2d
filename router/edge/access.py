"""Who asks on the admin port: bearer tokens and certificates, checked before a method sees the call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

import grpc
import structlog
from grpc import aio

from router.core.access import LOCAL, Actor, Caller, Failures, Register, bearer, certified, permit
from router.errors import Denied, RouterError, Unauthenticated

log = structlog.get_logger()

PENALTY_S: Final = 0.5
"""How long whoever is not known waits for the answer."""
MOST_WAITING: Final = 100
"""Callers that are made to wait; beyond that they are refused at once, so that they cost no memory."""

_ASKING: Final[ContextVar[Actor]] = ContextVar("asking", default=LOCAL)
"""Whoever asks, for the task that answers."""

Sleep = Callable[[float], Awaitable[None]]


def actor_of(context: aio.ServicerContext[Any, Any]) -> Actor:  # noqa: ARG001  # the call that this task answers
    """Whoever asks, for the audit log and for policies; `local` on an open port. Asked by a method of the admin
    service."""
    return _ASKING.get()


class Doorkeeper:
    """Decides whether a caller may do something, and slows down whoever is not known. On the event loop only."""

    def __init__(
        self, register: Register, clock: Callable[[], float] = time.monotonic, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._register = register
        self._clock = clock
        self._sleep = sleep
        self._failures = Failures()
        self._waiting = 0

    @property
    def open(self) -> bool:
        """Nothing is configured: everybody is let in."""
        return self._register.open

    async def admit(self, caller: Caller, method: str, override: bool = False, peer: str = "") -> Actor:
        """Who it is. Raises Unauthenticated after a while, Denied at once; the log has both, never the token."""
        try:
            actor = self._register.actor(caller, method)
            permit(actor, method, override)
        except Denied as error:
            self._tell(error, method, peer)
            raise
        except Unauthenticated as error:
            self._tell(error, method, peer)
            await self._hold_up()
            raise
        return actor

    def _tell(self, error: RouterError, method: str, peer: str) -> None:
        times = self._failures.note(self._clock())
        if times:
            log.warning("somebody was refused", method=method, reason=str(error), peer=peer, times=times)

    async def _hold_up(self) -> None:
        if self._waiting >= MOST_WAITING:
            return
        self._waiting += 1
        try:
            await self._sleep(PENALTY_S)
        finally:
            self._waiting -= 1


class Access(aio.ServerInterceptor):
    """Stands before every method of the admin service. It raises RouterErrors, which the guard before it tells."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method behind its door; None for one that is not known."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name = handler_call_details.method.rpartition("/")[2]
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                self._answering(handler.unary_unary, name), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(
                self._telling(handler.unary_stream, name), handler.request_deserializer, handler.response_serializer
            )
        raise TypeError(f"{name} reads a stream: nobody has said who may")  # the admin service has no such method

    def _answering(self, method: Any, name: str) -> Any:
        async def answer(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            await self._enter(request, context, name)
            return await method(request, context)

        return answer

    def _telling(self, method: Any, name: str) -> Any:
        async def tell(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            await self._enter(request, context, name)
            async for each in method(request, context):
                yield each

        return tell

    async def _enter(self, request: Any, context: aio.ServicerContext[Any, Any], name: str) -> None:
        override = bool(getattr(request, "override", False))
        _ASKING.set(await self._doorkeeper.admit(_caller(context), name, override, context.peer()))


def _caller(context: aio.ServicerContext[Any, Any]) -> Caller:
    proved = context.auth_context()
    names = [*proved.get("x509_common_name", ()), *proved.get("x509_subject_alternative_name", ())]
    return Caller(bearer(tuple(context.invocation_metadata() or ())), certified(names))
