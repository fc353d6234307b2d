"""The awaited client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from router.client import methods
from router.client.answers import ModelMetadata, ModelState, ModelStatistics, Parameter, Reply, ServerMetadata
from router.client.connection import MAX_MESSAGE_BYTES, channel_options, seconds
from router.client.errors import InferenceError, error_of
from router.client.inference import Request, encode, streamed

T = TypeVar("T")


class AsyncClient:
    """`Client`, awaited. Make it where an event loop is running, and use it on that loop."""

    def __init__(
        self,
        target: str = "127.0.0.1:8001",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, int | str]] | Mapping[str, int | str] = (),
    ) -> None:
        asyncio.get_running_loop()  # raises here, where the mistake is
        arguments = channel_options(max_message_bytes, options)
        self._channel = (
            grpc.aio.insecure_channel(target, arguments)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, arguments)
        )
        self._methods: dict[str, Any] = {}

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str = "",
        outputs: Sequence[str] | None = None,
        id: str = "",  # noqa: A002 - the protocol's word
        parameters: Mapping[str, Parameter] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """One inference: see `Client.infer`."""
        return await self._call(methods.infer(Request(model, inputs, version, outputs, id, parameters)), deadline)

    async def stream(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, deadline: float | None = None
    ) -> AsyncIterator[Reply | InferenceError]:
        """Many inferences on one stream: see `Client.stream`."""
        failure: list[Exception] = []  # what `requests` raised: gRPC would only log it

        async def send() -> AsyncIterator[bytes]:
            try:
                if isinstance(requests, AsyncIterable):
                    async for request in requests:
                        yield encode(request)
                else:
                    for request in requests:
                        yield encode(request)
            except Exception as error:  # noqa: BLE001 - the caller's own, given back to the caller below
                failure.append(error)

        method: Any = self._channel.stream_stream(methods.STREAM)
        call = method(send(), timeout=seconds(deadline))
        try:
            async for message in call:
                yield streamed(message)
        except grpc.RpcError as error:
            raise failure[0] if failure else error_of(error) from error
        finally:
            call.cancel()
        if failure:
            raise failure[0]

    async def live(self, *, deadline: float | None = None) -> bool:
        """Whether the server says that it is alive; raises `Unavailable` when nobody is there to say so."""
        return await self._call(methods.live(), deadline)

    async def ready(self, *, deadline: float | None = None) -> bool:
        """Whether the server takes requests."""
        return await self._call(methods.ready(), deadline)

    async def model_ready(self, name: str, version: str = "", *, deadline: float | None = None) -> bool:
        """Whether this model takes requests."""
        return await self._call(methods.model_ready(name, version), deadline)

    async def metadata(self, *, deadline: float | None = None) -> ServerMetadata:
        """Who the server is."""
        return await self._call(methods.metadata(), deadline)

    async def model_metadata(self, name: str, version: str = "", *, deadline: float | None = None) -> ModelMetadata:
        """What a model takes and gives."""
        return await self._call(methods.model_metadata(name, version), deadline)

    async def statistics(
        self, name: str = "", version: str = "", *, deadline: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """The counters of one model, or of all."""
        return await self._call(methods.statistics(name, version), deadline)

    async def index(self, *, ready: bool = False, deadline: float | None = None) -> tuple[ModelState, ...]:
        """The models that the server knows, or only those that are `ready`."""
        return await self._call(methods.index(ready), deadline)

    async def load(self, name: str, *, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model: see `Client.load`."""
        await self._call(methods.load(name, config), deadline)

    async def unload(self, name: str, *, dependents: bool = False, deadline: float | None = None) -> None:
        """Stop serving a model: see `Client.unload`."""
        await self._call(methods.unload(name, dependents), deadline)

    async def close(self) -> None:
        """Cancel what is open and let the connection go."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, ask: methods.Call[T], deadline: float | None) -> T:
        method = self._methods.get(ask.method)
        if method is None:
            method = self._methods[ask.method] = self._channel.unary_unary(methods.SERVICE + ask.method)
        try:
            message = await method(ask.message, timeout=seconds(deadline))
        except grpc.RpcError as error:
            raise error_of(error) from error
        return ask.read(message)
