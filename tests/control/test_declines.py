"""What was told of drift and accuracy, remembered by model."""

from __future__ import annotations

import asyncio

from router.control.declines import MOST, Declines
from router.control.events import Event, Events


def test_what_is_known_of_a_model_goes_with_its_champion() -> None:
    """What comes is the model's, whoever is champion: what was told last counts. How right it is, is the version's:
    that the one before had declined says nothing of the next, and is so again after a rollback."""
    declines = Declines(Events())
    for kind, model, number, status in (
        ("drift", "m", "1", "red"),
        ("drift", "m", "2", "green"),
        ("accuracy", "m", "1", "red"),
        ("health", "n", "1", "red"),
        ("drift", "n", "1", "purple"),
    ):
        declines.take(Event(1.0, kind, model, number, facts={"status": status}))
    asked = [("drift", "m", "2"), ("drift", "m", "1"), ("accuracy", "m", "2"), ("accuracy", "m", "1")]
    assert [declines.of(*each) for each in asked] == ["green", "green", "", "red"]
    assert [declines.of(*each) for each in (("drift", "n", "1"), ("health", "n", "1"))] == ["", ""]


def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten."""
    declines = Declines(Events())
    for number in range(MOST + 1):
        declines.take(Event(1.0, "drift", f"m{number}", "1", facts={"status": "red"}))
    assert (declines.of("drift", "m0", "1"), declines.of("drift", "m1", "1")) == ("", "red")


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
        return declines.of("drift", "m", "1")

    assert asyncio.run(heard()) == "yellow"
