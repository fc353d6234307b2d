"""The seam between gRPC and the router: what a transport gives to handlers, and what it asks of them.

Two transports stand behind it and pass one suite of tests: `core_transport` (the completion queue of grpcio's own
core; the default) and `aio_transport` (public API only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import grpc

from router.errors import InvalidRequest, RouterError, SettingsError, Unimplemented

Metadata = Sequence[tuple[str, str | bytes]]


class Rpc(Protocol):
    """One unary call. It is answered once, by `finish` or `fail`, from any thread; a second answer is dropped.

    An answer may come at any time: after the caller has gone or the server has stopped it is dropped too.
    """

    @property
    def message(self) -> bytes:
        """The request as it came."""

    @property
    def deadline(self) -> float | None:
        """The caller's deadline in seconds of the monotonic clock."""

    @property
    def metadata(self) -> Metadata:
        """What the caller sent beside the message."""

    @property
    def peer(self) -> str:
        """The caller's address, for logs."""

    @property
    def identity(self) -> str:
        """The name that the caller's certificate proves; empty where none was asked for."""

    def finish(self, message: bytes) -> None:
        """Answer."""

    def fail(self, error: RouterError) -> None:
        """Answer with an error."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, at most once and on any thread, if the caller goes away before the answer.

        A caller goes away by cancelling, by its deadline, with its connection, or at the end of a drain's grace.
        """


class StreamRpc(Protocol):
    """One streaming call. Reads are asked for one at a time; writes are queued up to a bound.

    A caller that does not read until the bound is reached is cancelled with RESOURCE_EXHAUSTED: to the handler it has
    gone away. A handler that asks for `room` before it writes never reaches the bound, and slows its caller down
    instead. Every method may be called from any thread and at any time.
    """

    @property
    def metadata(self) -> Metadata:
        """What the caller sent at the start."""

    @property
    def identity(self) -> str:
        """The name that the caller's certificate proves; empty where none was asked for."""

    def read(self, callback: Callable[[bytes | None], None]) -> None:
        """Have `callback` called with the next message, or with None when the caller sends no more or has gone."""

    def write(self, message: bytes) -> bool:
        """Queue a message; False when the stream is over."""

    def room(self) -> bool:
        """Less than half of the bound waits. False: the callback of `on_room` will be called once that has changed."""

    def on_room(self, callback: Callable[[], None]) -> None:
        """Have `callback` called each time that there is room again after `room` gave False."""

    def finish(self) -> None:
        """End the stream in order, after what is queued."""

    def fail(self, error: RouterError) -> None:
        """End the stream with an error, after what is queued."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, at most once, if the caller goes away before `finish` or `fail` was called."""


UnaryHandler = Callable[[Rpc], None]
"""Returns at once; answers now or later, from any thread."""
StreamHandler = Callable[[StreamRpc], None]


@dataclass(frozen=True, slots=True)
class Methods:
    """Handlers by full method name, such as `/inference.GRPCInferenceService/ModelInfer`."""

    unary: Mapping[str, UnaryHandler]
    stream: Mapping[str, StreamHandler]


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM texts for TLS; with `client_ca` callers must show a certificate that it signed."""

    key: bytes
    certificate: bytes
    client_ca: bytes | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a transport. `spin_seconds`: look for the next call this long before sleeping."""

    message_bytes: int = 64 << 20
    metadata_bytes: int = 8 << 10
    streams_per_connection: int = 256
    stream_queue: int = 128
    stream_queue_bytes: int = 64 << 20
    spin_seconds: float = 50e-6

    def room(self, messages: int, size: int) -> bool:
        """Whether a stream with so many messages and bytes queued takes more without hurry: half of each bound."""
        return messages * 2 < self.stream_queue and size * 2 < self.stream_queue_bytes


def server_options(limits: Limits) -> tuple[tuple[str, int], ...]:
    """The arguments of grpcio's server that keep the limits."""
    return (
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.message_bytes),
        ("grpc.max_metadata_size", limits.metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes * 2),
        ("grpc.max_concurrent_streams", limits.streams_per_connection),
        # It refuses calls (UNAVAILABLE) of honest callers with more than 250 in flight on a connection, as it counts
        # those that are over and not yet freed. A flood of resets costs no more memory without it.
        ("grpc.http.overload_protection", 0),
        ("grpc.http2.max_ping_strikes", 0),
    )


def server_credentials(credentials: Credentials) -> grpc.ServerCredentials:
    """TLS, and mutual TLS where there is a `client_ca`."""
    return grpc.ssl_server_credentials(
        [(credentials.key, credentials.certificate)],
        root_certificates=credentials.client_ca,
        require_client_auth=credentials.client_ca is not None,
    )


def checked(address: str) -> str:
    """The address, unless its port is none: the core would open 34463 for 99999. Raises SettingsError."""
    port = address.rpartition(":")[2]
    if port.isdecimal() and int(port) > 65535:
        raise SettingsError(f"{address} cannot be opened: a port is a number up to 65535")
    return address


def cannot_open(address: str) -> SettingsError:
    """The error of a port that cannot be opened."""
    return SettingsError(f"{address} cannot be opened: is the port taken, or the address not of this machine?")


Work = Callable[[], bool]
"""Called by a transport after it has taken in what was there; True: there is more to do, look in and call again."""


class Transport(Protocol):
    """A gRPC server. `run` is the loop thread; the other methods may be called from any thread."""

    def bind(self, address: str, credentials: Credentials | None) -> int:
        """Open the port; gives its number. Raises SettingsError when it cannot."""

    def run(self) -> None:
        """Serve on this thread until the drain is over."""

    def drain(self, grace_seconds: float) -> None:
        """Take no new calls, let those in flight finish within the grace, then cancel them; `run` returns."""


SLOW_READER: Final = "answers wait unread: read faster or send less"
"""What a caller is told that let the bound of its stream be reached."""


def no_message() -> InvalidRequest:
    """The error of a unary call that was closed without a message."""
    return InvalidRequest("the call was closed without a message: one is needed")


def no_method(name: str) -> Unimplemented:
    """The error of a call to a method that has no handler."""
    return Unimplemented(f"this server has no method {name[:200]}")


_DETAIL_BYTES: Final = 2000
"""Percent-encoding may triple it, and callers refuse more than 8 KB of trailers, the status included."""


def detail(error: RouterError) -> bytes:
    """The text of an error as it goes out: UTF-8, cut where callers would refuse it."""
    text = str(error).encode("utf-8", "replace")
    if len(text) <= _DETAIL_BYTES:
        return text
    return text[:_DETAIL_BYTES].decode("utf-8", "ignore").encode() + "…".encode()


def trailers(error: RouterError) -> Metadata:
    """What goes out beside an error."""
    if error.retry_after_ms is None:
        return ()
    return (("grpc-retry-pushback-ms", str(error.retry_after_ms)),)
