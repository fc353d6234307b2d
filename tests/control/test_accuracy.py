"""Accuracy from a real ledger: figures, a decline told once, restarts, and what cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from grpc import aio

from router.app.accuracy_page import write
from router.app.accuracy_part import AccuracyPart
from router.app.accuracy_text import shown
from router.control.accuracy import Accuracy
from router.control.events import Event
from router.edge.accuracy_service import AccuracyService, to_message
from router.edge.error_details import BadField
from router.errors import InvalidRequest, NotFound, Refused
from router.model_settings import ModelSettings
from router.pb.accuracy_pb2 import GetAccuracyRequest
from tests.control.test_ledger import World, played
from tests.rendering import rendered


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A ledger in a folder; the models need few requests for a baseline."""
    made = World(tmp_path)
    for name, route in made.routes.items():
        tables = route.settings.model_dump()
        tables["accuracy"]["baseline_requests"] = 100
        made.routes[name] = replace(route, settings=ModelSettings.model_validate(tables))
    return iter([made])


async def come_true(world: World, name: str, count: int, wrong: int) -> None:
    """So many requests, of which one in `wrong` is wrong; half a minute passes."""
    ids = [f"{name} {place}" for place in range(count)]
    await world.keep(*[world.said(each, 3) for each in ids])
    await world.submit(*[(each, 4 if place % wrong == 0 else 3) for place, each in enumerate(ids)])
    world.clock.passes(30)


async def looked(accuracy: Accuracy) -> None:
    """Until there is nothing more."""
    while await accuracy.look():
        pass


async def told(world: World, accuracy: Accuracy, story: list[tuple[str, int, int]]) -> list[Event]:
    """What is told of accuracy while that comes true."""
    heard: list[Event] = []
    began = asyncio.Event()

    async def listen() -> None:
        async for event in world.events.watch():
            began.set()
            heard.append(event)

    listening = asyncio.ensure_future(listen())
    await began.wait()
    for part in story:
        await come_true(world, *part)
        await looked(accuracy)
    await asyncio.sleep(0)
    listening.cancel()
    return [each for each in heard if each.kind == "accuracy"]


def test_a_decline_is_told_once_and_known_after_a_restart(world: Iterator[World]) -> None:
    """With its figures; the way back is told too; who reads the file anew finds the same and tells nothing."""
    here = next(world)

    async def story() -> None:
        accuracy = Accuracy(here.ledger, lambda: here.routes, here.events, clock=here.clock.time)
        await looked(accuracy)
        red = await told(here, accuracy, [("a", 300, 25), ("b", 300, 25), ("c", 300, 2), ("d", 60, 2)])
        assert [(each.model, each.number, each.facts["status"]) for each in red] == [("m", "1", "red")]
        assert float(red[0].facts["accuracy"]) < float(red[0].facts["limit_accuracy"]) < 0.96
        assert red[0].text.startswith("version 1 is right less often than it was: ")
        again = Accuracy(here.ledger, lambda: here.routes, here.events, clock=here.clock.time)
        assert not await told(here, again, [("e", 1, 1)])
        seen = await again.of("m", "", 3600)
        assert (seen.finding.status, seen.versions[0].sums[0], seen.versions[0].sums[1]) == ("red", 961, 961)
        assert "router drift m" in seen.step
        (back,) = await told(here, again, [("f", 3000, 30)])
        assert back.facts["status"] == "green"
        (measured,) = again.measured
        assert (measured.model, measured.version, measured.declined) == ("m", "1", False)
        assert {each.name for each in await AccuracyPart(again).figures()} >= {"router_actuals"}

    played(here, story)


def test_what_is_missing_late_or_contradicts_is_counted(world: Iterator[World], tmp_path: Path) -> None:
    """And shown, with words of others as text."""
    here = next(world)

    async def story() -> None:
        accuracy = Accuracy(here.ledger, lambda: here.routes, here.events, clock=here.clock.time)
        await here.keep(here.said("old", 3, ago=90_000))
        await here.keep(*[here.said(f"a{n}", 3) for n in range(10)])
        await here.submit(("a1", 3), ("a2", 4), ("nobody", 1), ("old", 3))
        await here.submit(("a1", 5), ("a2", 4))
        with pytest.raises(InvalidRequest, match="expected an integer"):
            await here.submit(("a3", "seven"), ("a4", 3))
        await looked(accuracy)
        seen = await accuracy.of("m", "1", 86_400)
        wanted = {"joined": 2, "unknown": 1, "repeated": 1, "contradicting": 1, "late": 1, "refused": 2}
        assert dict(seen.heard) == wanted
        message = to_message(seen)
        (version,) = message.versions
        assert (version.said, version.rows, version.role, version.figures[0].name) == (10, 2, "champion", "accuracy")
        message.versions[0].classes[0].label = "[red]<b>"
        text = rendered(*shown(message))
        assert "[red]<b>" in text
        assert "2 joined, 1 unknown, 1 repeated, 1 contradicting, 1 late, 2 refused" in text
        write(message, tmp_path / "page.html")
        assert "[red]<b>" not in (tmp_path / "page.html").read_text()

    played(here, story)


def test_numbers_and_versions_apart(world: Iterator[World]) -> None:
    """A shadow has figures of its own."""
    here = next(world)

    async def story() -> None:
        accuracy = Accuracy(here.ledger, lambda: here.routes, here.events, clock=here.clock.time)
        form = here.said("x").form.NUMBER
        await here.keep(
            *[here.said(f"n{n}", 1.5, form=form) for n in range(4)],
            *[here.said(f"n{n}", 3.0, form=form, version="2", served_by="mirror") for n in range(4)],
            model="number",
        )
        await here.submit(*[(f"n{n}", 2.0) for n in range(4)], model="number")
        await looked(accuracy)
        two, one = to_message(await accuracy.of("number", "", 600)).versions
        assert [(each.version, each.figures[0].name, each.figures[0].value) for each in (one, two)] == [
            ("1", "mae", 0.5),
            ("2", "mae", 1.0),
        ]
        rendered(*shown(to_message(await accuracy.of("number", "", 600))))

    played(here, story)


def test_what_cannot_be_asked(world: Iterator[World]) -> None:
    """One line each; a model without a ledger says how to get one."""
    here = next(world)

    async def story() -> None:
        accuracy = Accuracy(here.ledger, lambda: here.routes, here.events, clock=here.clock.time)
        with pytest.raises(NotFound, match="unknown model"):
            await accuracy.of("nobody", "", 60)
        with pytest.raises(Refused, match=r"\[ledger\]"):
            await accuracy.of("off", "", 60)
        with pytest.raises(InvalidRequest, match="15 days"):
            await accuracy.of("m", "", 1e9)
        with pytest.raises(NotFound, match="no prediction of version 7"):
            await accuracy.of("m", "7", 60)
        service = AccuracyService(accuracy)
        for since in (-1.0, float("nan")):
            with pytest.raises(BadField):
                await service.GetAccuracy(GetAccuracyRequest(model="m", since_seconds=since), None)  # type: ignore[arg-type]
        nothing = await service.GetAccuracy(GetAccuracyRequest(model="m"), None)  # type: ignore[arg-type]
        assert (nothing.status, "router actuals m" in nothing.next_step) == ("unknown", True)
        assert "none" in rendered(*shown(nothing))
        AccuracyPart(accuracy).add_to(aio.server())

    played(here, story)
