"""Health on fake streams: what is told, to whom, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from grpc_health.v1 import health_pb2 as pb

from router.edge.health import NOT_SERVING, SERVICE_UNKNOWN, SERVING, Health
from router.errors import InvalidRequest, NotFound, NotReady, RouterError


class AtOnce(Executor):
    """Runs what is submitted, now."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class FakeStream:
    """A watch: `told` are the states, `error` how it ended."""

    metadata = ()

    def __init__(self, message: bytes | None = b"") -> None:
        self.message = message
        self.told: list[int] = []
        self.error: RouterError | None = None
        self.gone = False
        self.cancel: Callable[[], None] | None = None

    def read(self, callback: Callable[[bytes | None], None]) -> None:
        """The request is here already."""
        callback(self.message)

    def write(self, message: bytes) -> bool:
        """Remember what was told."""
        if not self.gone and self.error is None:
            self.told.append(pb.HealthCheckResponse.FromString(message).status)
        return not self.gone

    def finish(self) -> None:
        """A watch never ends in order."""
        raise AssertionError

    def fail(self, error: RouterError) -> None:
        """Remember."""
        self.error = error

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call back now if it has gone, else later."""
        if self.gone:
            callback()
        self.cancel = callback


class FakeRpc:
    """A check."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.status: int | None = None
        self.error: RouterError | None = None

    def finish(self, message: bytes) -> None:
        """The answer."""
        self.status = pb.HealthCheckResponse.FromString(message).status

    def fail(self, error: RouterError) -> None:
        """The error."""
        self.error = error


class Watched:
    """A health service whose states tests set."""

    def __init__(self) -> None:
        self.states: dict[str, bool] = {"": True, "m": False}
        self.health = Health(self.states.get, AtOnce())

    def watch(self, name: str, gone: bool = False) -> FakeStream:
        """Open a watch."""
        stream = FakeStream(pb.HealthCheckRequest(service=name).SerializeToString())
        stream.gone = gone
        (handler,) = self.health.stream().values()
        handler(stream)
        return stream

    def check(self, message: bytes) -> FakeRpc:
        """Ask once."""
        rpc = FakeRpc(message)
        (handler,) = self.health.unary().values()
        handler(rpc)  # type: ignore[arg-type]
        return rpc


@pytest.fixture
def watched() -> Watched:
    """The server serves, model m does not."""
    return Watched()


def test_check(watched: Watched) -> None:
    """The state by name; an unknown one and a message that is none are errors."""
    assert watched.check(b"").status == SERVING
    assert watched.check(pb.HealthCheckRequest(service="m").SerializeToString()).status == NOT_SERVING
    assert isinstance(watched.check(pb.HealthCheckRequest(service="x").SerializeToString()).error, NotFound)
    assert isinstance(watched.check(b"\x0a\xff").error, InvalidRequest)


def test_a_watch_is_told_now_and_at_every_change(watched: Watched) -> None:
    """Once for each change, whatever happened to others meanwhile."""
    server, model, unknown = watched.watch(""), watched.watch("m"), watched.watch("x")
    watched.health.changed()
    watched.states["m"] = True
    watched.health.changed()
    watched.states["x"] = True
    watched.states[""] = False
    watched.health.changed()
    assert server.told == [SERVING, NOT_SERVING]
    assert model.told == [NOT_SERVING, SERVING]
    assert unknown.told == [SERVICE_UNKNOWN, SERVING]


def test_watchers_that_have_gone_are_forgotten(watched: Watched) -> None:
    """By their own end, before they were taken in, or when they cannot be told any more."""
    first, silent = watched.watch(""), watched.watch("")
    assert watched.watch("", gone=True).told == []
    assert first.cancel is not None
    first.cancel()
    silent.gone = True
    watched.states[""] = False
    watched.health.changed()
    assert watched.health._watchers == {}


def test_at_the_end_of_the_server_watches_end(watched: Watched) -> None:
    """After they were told; one that comes then is told and ended as well."""
    stream = watched.watch("")
    watched.states[""] = False
    watched.health.changed()
    watched.health.end()
    late = watched.watch("")
    assert stream.told == [SERVING, NOT_SERVING]
    assert late.told == [NOT_SERVING]
    assert isinstance(stream.error, NotReady)
    assert isinstance(late.error, NotReady)


@pytest.mark.parametrize("message", [None, b"\x0a\xff"])
def test_a_watch_without_a_good_request_is_refused(watched: Watched, message: bytes | None) -> None:
    """INVALID_ARGUMENT."""
    stream = FakeStream(message)
    (handler,) = watched.health.stream().values()
    handler(stream)
    assert isinstance(stream.error, InvalidRequest)
