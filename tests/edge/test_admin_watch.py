"""The stream of events, to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from router.control.events import PENDING, Event, Events
from router.edge.admin_client import AdminClient, AdminError
from router.edge.admin_watch import Watching
from router.errors import NotReady, Overloaded, Status
from router.pb import admin_pb2 as pb
from tests.fake_admin import FakeLifecycle, Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service that may be stopped."""
    with served() as made:
        yield made


def test_what_happens_after_hello_is_told(service: Served) -> None:
    """Of one model or of all; what concerns all models comes to everybody."""
    with AdminClient(service.address) as client:
        every, one = client.watch(), client.watch("b")
        assert [(next(each).kind, next_generation) for each, next_generation in ((every, 7), (one, 7))]
        events = service.lifecycle.events
        for kind, model in (("moved", "a"), ("gate", "b"), ("frozen", "")):
            service.loop.call_soon_threadsafe(lambda kind=kind, model=model: events.tell(kind, model, "2", "x", step=1))  # type: ignore[misc]
        assert [next(every).kind for _ in range(3)] == ["moved", "gate", "frozen"]
        told = [next(one) for _ in range(2)]
        assert [(each.kind, each.model, each.version, each.text) for each in told] == [
            ("gate", "b", "2", "x"),
            ("frozen", "", "2", "x"),
        ]
        assert dict(told[0].facts) == {"step": "1"}
        every.close()
        one.close()


def test_hello_says_which_generation_serves(service: Served) -> None:
    """Whoever watches from now on knows where it begins."""
    with AdminClient(service.address) as client:
        stream = client.watch("a")
        hello = next(stream)
        assert (hello.kind, hello.model, hello.generation) == ("hello", "a", 7)
        stream.close()


def test_an_unknown_model_is_not_watched(service: Served) -> None:
    """A typing error is told at once."""
    with AdminClient(service.address) as client, pytest.raises(AdminError, match="unknown model 'c'") as raised:
        next(client.watch("c"))
    assert raised.value.status is Status.NOT_FOUND


def test_a_watch_ends_with_the_server(service: Served) -> None:
    """At once, with the reason, and after what was still to be told."""
    with AdminClient(service.address) as client:
        stream = client.watch()
        next(stream)
        service.loop.call_soon_threadsafe(lambda: service.lifecycle.events.tell("moved", "a"))
        assert next(stream).kind == "moved"
        service.stop(grace_s=5)
        with pytest.raises(AdminError, match="the server stops: watch again when it is back") as raised:
            next(stream)
    assert raised.value.status is Status.UNAVAILABLE


def test_a_watch_of_some_seconds_ends_by_itself(service: Served) -> None:
    """Without an error."""
    with AdminClient(service.address) as client:
        assert [each.kind for each in client.watch(seconds=0.1)] == ["hello"]


def test_who_goes_leaves_nothing_behind(service: Served) -> None:
    """The server forgets a watcher whose call is over."""
    with AdminClient(service.address) as client:
        next(client.watch())

    async def gone() -> None:
        while service.lifecycle.events._watchers:
            await asyncio.sleep(0.001)

    service.run(gone())


async def read(stream: object, into: list[str]) -> None:
    """All events of a stream."""
    async for each in stream:  # type: ignore[attr-defined]
        into.append(each.kind)  # noqa: PERF401  # kept also when the stream ends with an error


def test_a_watcher_that_is_too_slow_is_told_so() -> None:
    """It gets what it had room for, and then the reason; the others go on."""

    async def case() -> tuple[list[str], list[str]]:
        lifecycle = FakeLifecycle()
        slow, quick = Watching(lifecycle).events(pb.WatchRequest()), lifecycle.events.watch()
        await anext(slow)
        await anext(quick)
        seen = []
        for _ in range(PENDING + 1):
            lifecycle.events.tell("moved", "a")
            seen.append((await anext(quick)).kind)
        got: list[str] = []
        with pytest.raises(Overloaded, match="1000 events behind"):
            await read(slow, got)
        return got, seen

    got, seen = asyncio.run(case())
    assert (len(got), len(seen)) == (PENDING, PENDING + 1)


def test_a_watch_that_begins_when_all_is_over_ends_at_once() -> None:
    """With the reason for the end of the others."""

    async def case() -> None:
        lifecycle = FakeLifecycle()
        lifecycle.events.close()
        got: list[str] = []
        with pytest.raises(NotReady):
            await read(Watching(lifecycle).events(pb.WatchRequest()), got)
        assert got == ["hello"]

    asyncio.run(case())


def test_closed_events_give_what_was_told_before() -> None:
    """In order."""

    async def case() -> list[Event]:
        events = Events(lambda: 5.0)
        stream = events.watch("a")
        first = await anext(stream)
        events.tell("moved", "a", "2")
        events.tell("moved", "b", "2")
        events.close()
        return [first, *[each async for each in stream]]

    assert asyncio.run(case()) == [Event(5.0, "hello", "a"), Event(5.0, "moved", "a", "2")]
