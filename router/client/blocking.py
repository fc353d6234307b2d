"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from numpy.typing import ArrayLike

from router.client import methods
from router.client.answers import ModelMetadata, ModelState, ModelStatistics, Parameter, Reply, ServerMetadata
from router.client.connection import MAX_MESSAGE_BYTES, channel_options, seconds
from router.client.errors import InferenceError, error_of
from router.client.inference import Request, encode, streamed

T = TypeVar("T")


class Client:
    """A blocking client; threads may share one.

    `target` is HOST:PORT (or any other gRPC target). `credentials` switches TLS on: see `tls`. Messages above
    `max_message_bytes` are refused both ways. `options` are gRPC's channel arguments.

    Every method takes `deadline`: seconds within which the answer must be here, None for as long as it takes. They
    raise `InferenceError` (`Unavailable`, `DeadlineExceeded`) when there is no answer.
    """

    def __init__(
        self,
        target: str = "127.0.0.1:8001",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, int | str]] | Mapping[str, int | str] = (),
    ) -> None:
        arguments = channel_options(max_message_bytes, options)
        self._channel = (
            grpc.insecure_channel(target, arguments)
            if credentials is None
            else grpc.secure_channel(target, credentials, arguments)
        )
        self._methods: dict[str, Any] = {}

    def infer(
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
        """One inference.

        `inputs` are arrays by name, or anything that `np.asarray` takes; each goes out in the datatype that its
        numpy type has (str and bytes as BYTES, str in UTF-8). `version` "" leaves the choice to the server.
        `outputs` names those wanted, None for all. `id` comes back in the reply. `parameters` go with the request,
        for example `{"timeout": 1000}` (microseconds) or `{"priority": 1}`.

        Raises `TypeError` or `ValueError`, before anything is sent, for what the protocol cannot carry.
        """
        return self._call(methods.infer(Request(model, inputs, version, outputs, id, parameters)), deadline)

    def stream(self, requests: Iterable[Request], *, deadline: float | None = None) -> Iterator[Reply | InferenceError]:
        """Many inferences on one stream: for each request, as answers come, a `Reply` or an `InferenceError`.

        A request that fails gives its error as a value, and the stream lives on. What ends the stream itself is
        raised. `requests` is read from another thread, ahead of the answers; what it raises is raised here, after
        the answers to all that it gave before. Leaving the loop early cancels what is still open.
        """
        failure: list[Exception] = []  # what `requests` raised: gRPC would only log it

        def send() -> Iterator[bytes]:
            try:
                for request in requests:
                    yield encode(request)
            except Exception as error:  # noqa: BLE001 - the caller's own, given back to the caller below
                failure.append(error)

        method: Any = self._channel.stream_stream(methods.STREAM)
        call = method(send(), timeout=seconds(deadline))
        try:
            for message in call:
                yield streamed(message)
        except grpc.RpcError as error:
            raise failure[0] if failure else error_of(error) from error
        finally:
            call.cancel()
        if failure:
            raise failure[0]

    def live(self, *, deadline: float | None = None) -> bool:
        """Whether the server says that it is alive; raises `Unavailable` when nobody is there to say so."""
        return self._call(methods.live(), deadline)

    def ready(self, *, deadline: float | None = None) -> bool:
        """Whether the server takes requests."""
        return self._call(methods.ready(), deadline)

    def model_ready(self, name: str, version: str = "", *, deadline: float | None = None) -> bool:
        """Whether this model takes requests."""
        return self._call(methods.model_ready(name, version), deadline)

    def metadata(self, *, deadline: float | None = None) -> ServerMetadata:
        """Who the server is."""
        return self._call(methods.metadata(), deadline)

    def model_metadata(self, name: str, version: str = "", *, deadline: float | None = None) -> ModelMetadata:
        """What a model takes and gives."""
        return self._call(methods.model_metadata(name, version), deadline)

    def statistics(
        self, name: str = "", version: str = "", *, deadline: float | None = None
    ) -> tuple[ModelStatistics, ...]:
        """The counters of one model, or of all."""
        return self._call(methods.statistics(name, version), deadline)

    def index(self, *, ready: bool = False, deadline: float | None = None) -> tuple[ModelState, ...]:
        """The models that the server knows, or only those that are `ready`."""
        return self._call(methods.index(ready), deadline)

    def load(self, name: str, *, config: Mapping[str, Any] | None = None, deadline: float | None = None) -> None:
        """Load a model, or look at its files again; returns when it is done. `config` is sent along as JSON."""
        self._call(methods.load(name, config), deadline)

    def unload(self, name: str, *, dependents: bool = False, deadline: float | None = None) -> None:
        """Stop serving a model, and with `dependents` those made of it."""
        self._call(methods.unload(name, dependents), deadline)

    def close(self) -> None:
        """Cancel what is open and let the connection go."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, ask: methods.Call[T], deadline: float | None) -> T:
        method = self._methods.get(ask.method)
        if method is None:
            method = self._methods[ask.method] = self._channel.unary_unary(methods.SERVICE + ask.method)
        try:
            message = method(ask.message, timeout=seconds(deadline))
        except grpc.RpcError as error:
            raise error_of(error) from error
        return ask.read(message)
