"""`router watch`: a line for each event."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from tests.fake_admin import Served, served


@pytest.fixture
def service() -> Iterator[Served]:
    """A service of its own."""
    with served() as made:
        yield made


def tell_when_watched(service: Served) -> threading.Thread:
    """As soon as somebody watches, two events are told and the server stops."""

    def tell() -> None:
        events = service.lifecycle.events
        while not events._watchers:
            pass
        service.loop.call_soon_threadsafe(lambda: events.tell("swapped", "a", "2", "[red]flip[/]\x1b[2J", 8))
        service.loop.call_soon_threadsafe(lambda: events.tell("moved", "b", "", "", step="two"))
        service.stop(5)

    thread = threading.Thread(target=tell)
    thread.start()
    return thread


def test_events_as_lines(service: Served) -> None:
    """Time, kind, whose, what; the server's end is the command's, with exit code 1."""
    thread = tell_when_watched(service)
    told = service.router("watch")
    thread.join(10)
    hello, swapped, moved, end = told.output.splitlines()
    assert hello.endswith("hello      watching all models, generation 7 serves")
    assert swapped.endswith("swapped    a 2: [red]flip[/] [2J")
    assert moved.endswith("moved      b: step: two")
    assert (told.exit_code, end) == (1, "Error: the server stops: watch again when it is back")


def test_events_for_programs(service: Served) -> None:
    """A JSON object a line."""
    thread = tell_when_watched(service)
    told = service.router("watch", "a", "--json")
    thread.join(10)
    hello, swapped = [json.loads(line) for line in told.output.splitlines()[:-1]]
    assert (hello["kind"], hello["generation"]) == ("hello", 7)
    assert (swapped["kind"], swapped["version"], swapped["generation"]) == ("swapped", "2", 8)


def test_a_watch_for_some_time(service: Served) -> None:
    """It ends well."""
    assert service.router("watch", "a", "--for", "0.05").exit_code == 0
    assert service.router("watch", "c").exit_code == 1
