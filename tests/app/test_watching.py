"""`router watch`: a line for each event."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from router.app.story import told
from router.pb.admin_pb2 import Event
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
    said = service.router("watch")
    thread.join(10)
    hello, swapped, moved, end = said.output.splitlines()
    assert hello.endswith("hello       watching all models, generation 7 serves")
    assert swapped.endswith("swapped     a 2: [red]flip[/] [2J")
    assert moved.endswith("moved       b: step: two")
    assert (said.exit_code, end) == (1, "Error: the server stops: watch again when it is back")


def test_events_for_programs(service: Served) -> None:
    """A JSON object a line."""
    thread = tell_when_watched(service)
    said = service.router("watch", "a", "--json")
    thread.join(10)
    hello, swapped = [json.loads(line) for line in said.output.splitlines()[:-1]]
    assert (hello["kind"], hello["generation"]) == ("hello", 7)
    assert (swapped["kind"], swapped["version"], swapped["generation"]) == ("swapped", "2", 8)


def test_a_watch_for_some_time(service: Served) -> None:
    """It ends well."""
    assert service.router("watch", "a", "--for", "0.05").exit_code == 0
    assert service.router("watch", "c").exit_code == 1


@pytest.mark.parametrize(
    ("kind", "facts", "mark", "style"),
    [
        ("drift", {"status": "red"}, "✗ ", "bold red"),
        ("accuracy", {"status": "green"}, "✓ ", "green"),
        ("health", {"status": "yellow"}, "! ", "yellow"),
        ("health", {"status": "[mauve]"}, "", "yellow"),
        ("retraining", {"state": "brought"}, "↻ ", "cyan"),
        ("retraining", {"state": "done"}, "✓ ", "green"),
        ("retraining", {"state": "timeout"}, "✗ ", "bold red"),
        ("retraining", {}, "", "cyan"),
        ("gate", {"status": "red"}, "", "cyan"),
    ],
)
def test_how_a_model_does_has_a_mark_and_a_colour(kind: str, facts: dict[str, str], mark: str, style: str) -> None:
    """By the status that the event tells; one of another release is shown without."""
    shown = told(Event(kind=kind, model="a", version="2", text="[red]words", facts=facts))
    assert (shown.plain, str(shown.style)) == (f"{mark}a 2: [red]words", style)
