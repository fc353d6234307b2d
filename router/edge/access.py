"""Who asks on the admin port: bearer tokens and certificates, checked before a method sees the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

import grpc
from grpc import aio

_ASKING: Final[ContextVar[str]] = ContextVar("asking", default="local")
"""The name of whoever asks, for the task that answers; an open port is asked by `local`."""


def actor_of(context: aio.ServicerContext[Any, Any]) -> str:  # noqa: ARG001  # the call that this task answers
    """The name of whoever asks, for the audit log. Asked by a method of the admin service."""
    return _ASKING.get()


class Access(aio.ServerInterceptor):
    """Lets everybody in."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Find the method."""
        return await continuation(handler_call_details)
