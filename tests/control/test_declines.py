"""What was told of drift and accuracy, remembered by model."""

from __future__ import annotations

import asyncio

from router.control.declines import MOST, Declines
from router.control.events import Event, Events


def test_the_newest_of_each_version_counts_and_the_worst_of_a_model() -> None:
    """By kind; what is no status and what other kinds tell is left out."""
    declines = Declines(Events())
    for kind, model, number, status in (
        ("drift", "m", "1", "red"),
        ("drift", "m", "1", "green"),
        ("drift", "m", "2", "yellow"),
        ("accuracy", "m", "1", "red"),
        ("health", "n", "1", "red"),
        ("drift", "n", "1", "purple"),
    ):
        declines.take(Event(1.0, kind, model, number, facts={"status": status}))
    assert [declines.of(*each) for each in (("drift", "m"), ("accuracy", "m"), ("drift", "n"), ("health", "n"))] == [
        "yellow", "red", "", "",
    ]  # fmt: skip


def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten."""
    declines = Declines(Events())
    for number in range(MOST + 1):
        declines.take(Event(1.0, "drift", f"m{number}", "1", facts={"status": "red"}))
    assert (declines.of("drift", "m0"), declines.of("drift", "m1")) == ("", "red")


def test_it_hears_until_nothing_more_is_told() -> None:
    """It ends with the server."""

    async def heard() -> str:
        events = Events()
        declines = Declines(events)
        hearing = asyncio.ensure_future(declines.hear())
        await asyncio.sleep(0)
        events.tell("drift", "m", "1", "it moved", status="yellow")
        events.close()
        await hearing
        return declines.of("drift", "m")

    assert asyncio.run(heard()) == "yellow"
